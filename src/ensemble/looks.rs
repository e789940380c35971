//! What is said of an ensemble before answers are seen: how many members are asked for, and who has looked.

use std::path::Path;
use std::sync::{MutexGuard, PoisonError};

use super::Ensemble;
use crate::error::Result;
use crate::member::checkpoint::Checkpoint;
use crate::member::{check_members, History};

impl Ensemble {
    /// How the number of members came about.
    pub fn history(&self) -> History {
        self.known().clone()
    }

    /// Takes over what is known of the same members from elsewhere, such as a pickle.
    pub fn recall(&self, history: &History) {
        self.known().merge(history);
    }

    /// Says that `n_members` are going to be asked for, before they are; whether that makes this a grown ensemble,
    /// because answers of another number were seen. [`Ensemble::train`] does the same. Written into the checkpoint.
    ///
    /// # Errors
    /// A checkpoint error if the directory cannot be used.
    pub fn plan(&self, n_members: u64, checkpoint: Option<&Path>) -> Result<bool> {
        let files = checkpoint.map(|path| Checkpoint::open(path, &self.record, self.backend.layout()));
        self.plan_in(n_members, files.transpose()?.as_ref())
    }

    pub(super) fn plan_in(&self, n_members: u64, files: Option<&Checkpoint>) -> Result<bool> {
        check_members(
            n_members,
            if self.on_disk || self.comes_to.is_some() { 0 } else { self.backend.layout().n_values() },
        )?;
        if let Some(files) = files {
            self.recall(&files.history()?);
        }
        let grows = self.known().plan(n_members);
        self.remember(files)?;
        Ok(grows)
    }

    /// Says that answers of all members are about to be seen, before they are. Written into the checkpoint, unless the
    /// directory is gone or another ensemble's by now; what other processes wrote there is taken over.
    ///
    /// # Errors
    /// A checkpoint error if the directory cannot be read or written.
    pub fn see(&self, checkpoint: Option<&Path>) -> Result<()> {
        let n_members = self.n_members() as u64;
        self.tell(checkpoint, |history| history.see(n_members))
    }

    /// Says that answers decide on the number of members, before they do; otherwise as [`Ensemble::see`].
    ///
    /// # Errors
    /// The same.
    pub fn grow(&self, checkpoint: Option<&Path>) -> Result<()> {
        self.tell(checkpoint, History::grow)
    }

    pub(super) fn tell(&self, checkpoint: Option<&Path>, add: impl FnOnce(&mut History)) -> Result<()> {
        let files = checkpoint.map(|path| Checkpoint::again(path, &self.record, self.backend.layout()));
        let files = files.transpose()?.flatten();
        if let Some(files) = &files {
            self.recall(&files.history()?);
        }
        add(&mut self.known());
        self.remember(files.as_ref())?;
        // Of two that see different numbers at the same time, neither may have found the other's fact above. Both have
        // written theirs by now, or the one that has not will find this one.
        if let Some(files) = &files {
            self.recall(&files.history()?);
        }
        self.remember(files.as_ref())
    }

    pub(super) fn remember(&self, files: Option<&Checkpoint>) -> Result<()> {
        let history = self.history();
        files.map_or(Ok(()), |files| files.remember(&history))
    }

    pub(super) fn known(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
