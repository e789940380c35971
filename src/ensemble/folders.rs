//! Ensembles in directories: opened, saved, and asked from there.

use std::path::Path;
use std::sync::Arc;

use super::making::check_same_model;
use super::{Ensemble, MANY_FILES};
use crate::backend::{self, Backend};
use crate::error::Result;
use crate::member::checkpoint::{read_record, Checkpoint};
use crate::member::{Member, Record, TrainConfig};

impl Ensemble {
    /// The ensemble in a checkpoint directory, with all members that are whole, in memory; only built-in networks.
    ///
    /// # Errors
    /// A checkpoint error if the directory is none or is damaged.
    pub fn open(checkpoint: &Path, device: &str, n_jobs: Option<usize>) -> Result<Self> {
        Self::open_as(checkpoint, device, n_jobs, false)
    }

    /// The same with members that are read from the directory when they are asked, if `on_disk`.
    ///
    /// # Errors
    /// As [`Ensemble::open`].
    pub fn open_as(checkpoint: &Path, device: &str, n_jobs: Option<usize>, on_disk: bool) -> Result<Self> {
        let record = Self::read_record(checkpoint)?;
        let config = TrainConfig { device: device.to_owned(), n_jobs, ..TrainConfig::of(&record) };
        let settings = config.check(backend::gpus)?;
        let backend = backend::built_in(&record.model, record.shape, record.n_classes, &settings)?;
        Self::open_with(checkpoint, backend, device, n_jobs, on_disk)
    }

    /// The record of a checkpoint directory.
    ///
    /// # Errors
    /// A checkpoint error if the directory is none or is damaged.
    pub fn read_record(checkpoint: &Path) -> Result<Record> {
        read_record(checkpoint)
    }

    /// [`Ensemble::open_as`] with members that are computed by `backend`.
    ///
    /// # Errors
    /// The same; a parameter error if it does not compute the model of the record.
    pub fn open_with(
        checkpoint: &Path,
        backend: Arc<dyn Backend>,
        device: &str,
        n_jobs: Option<usize>,
        on_disk: bool,
    ) -> Result<Self> {
        let record = read_record(checkpoint)?;
        check_same_model(&record, backend.as_ref())?;
        let config = TrainConfig { device: device.to_owned(), n_jobs, ..TrainConfig::of(&record) };
        let files = Checkpoint::view(checkpoint, &record, backend.layout())?;
        let settings = config.check(|| backend.gpus())?;
        let mut ensemble = Self::without_members(record, settings, backend);
        ensemble.known().merge(&files.history()?);
        ensemble.on_disk = on_disk;
        for number in files.numbers()? {
            if let Some(member) = files.load(number)? {
                let member = ensemble.backend.read(member)?;
                ensemble.insert(member)?;
                ensemble.place(number, Some(&files));
            }
        }
        if ensemble.members.is_empty() {
            ensemble.open_votes(checkpoint)?;
        }
        Ok(ensemble)
    }

    /// Writes all members into a directory, as a checkpoint holds them.
    ///
    /// # Errors
    /// A checkpoint error if the directory cannot be used or is another ensemble's.
    pub fn save(&self, folder: &Path) -> Result<()> {
        if !self.forgets() {
            self.backend.can_write()?;
        }
        let files = Checkpoint::open(folder, &self.record, self.backend.layout())?;
        self.remember(Some(&files))?;
        let forgets = self.forgets();
        let whole = |member: &&Member| member.values.digest_of_forgotten().is_none() && !files.holds(member);
        self.trained().filter(whole).try_for_each(|member| files.save(member))?;
        if forgets {
            self.save_votes(folder)?;
        }
        files.tidy(MANY_FILES);
        Ok(())
    }

    /// Begins a checkpoint directory, or finds it begun for the same members.
    ///
    /// # Errors
    /// A checkpoint error if the directory cannot be used, or belongs to other members.
    pub fn begin(&self, checkpoint: &Path) -> Result<()> {
        Checkpoint::open(checkpoint, &self.record, self.backend.layout()).map(drop)
    }

    /// Whether members whose values a checkpoint has are read from there when they are asked, so that memory does not grow with their
    /// number; for those that are trained or found from now on.
    pub fn keep_on_disk(&mut self, on_disk: bool) {
        self.on_disk = on_disk;
    }

    /// A member with its values in memory, until it is dropped.
    ///
    /// # Errors
    /// A checkpoint error if they were kept in a directory that has them no more.
    pub fn fetch(&self, member: &Member) -> Result<Member> {
        if member.values.are_here() {
            return Ok(member.clone());
        }
        self.backend.read(Member { values: member.values.here()?, ..*member })
    }

    /// Leaves a member's values to the checkpoint, which has them, if they are to be kept there.
    pub(super) fn place(&mut self, number: u64, checkpoint: Option<&Checkpoint>) {
        let Some(checkpoint) = checkpoint.filter(|_| self.on_disk) else { return };
        if let Some(member) = self.members.get_mut(&number) {
            *member = checkpoint.placed(member);
        }
    }
}
