//! A training from its beginning to its end, whatever that is.

use std::collections::BTreeSet;
use std::path::Path;

use super::{train, Control, Ensemble, FEW_FILES, MANY_FILES};
use crate::error::{Error, Result};
use crate::member::checkpoint::Checkpoint;
use crate::member::{TrainingSet, Trusted};

/// What was there before a run, and where it keeps its members.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) files: Option<Checkpoint>,
    pub(super) earlier: BTreeSet<u64>,
}

impl Ensemble {
    /// Trains the missing ones of the members 0..`n_members`.
    ///
    /// Members in the checkpoint directory are verified and not trained again; new ones are written there
    /// as they finish. Whatever the error, members that were finished are kept, in `self` and on disk.
    ///
    /// # Errors
    /// A parameter error if the data are not those of the record, a checkpoint error if the directory
    /// cannot be used, a training error naming the member, or without one if the training of more than half of the
    /// members diverged, or
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled).
    pub fn train(
        &mut self,
        data: &dyn TrainingSet,
        n_members: u64,
        checkpoint: Option<&Path>,
        control: &Control<'_>,
    ) -> Result<()> {
        self.check_same_data(data)?;
        self.train_same(data, n_members, checkpoint, control)
    }

    /// Trains these members alone, whatever others there are: who audits takes a few and compares. They are what
    /// [`Ensemble::train`] would make of them; no checkpoint is read or written, and no number of members is planned.
    ///
    /// # Errors
    /// A parameter error if the data are not those of the record, a training error naming the member, or cancellation.
    pub fn train_these(
        &mut self,
        data: &dyn TrainingSet,
        numbers: &[u64],
        control: &Control<'_>,
    ) -> Result<()> {
        self.check_same_data(data)?;
        self.scout(data, None, control)?;
        train::these(self, data, numbers, control)?;
        self.check_same_data(data)
    }

    /// [`Ensemble::train`] on data that are known to be those of the record.
    pub(super) fn train_same(
        &mut self,
        data: &dyn TrainingSet,
        n_members: u64,
        checkpoint: Option<&Path>,
        control: &Control<'_>,
    ) -> Result<()> {
        let control = &self.keeping_claims(control);
        let run = self.begin_run(data, n_members, checkpoint)?;
        let outcome = self.scout(data, run.files.as_ref(), control);
        let outcome = outcome.and_then(|()| train::train(self, data, n_members, run.files.as_ref(), control));
        self.end_run(run, data, outcome)
    }

    pub(super) fn begin_run(
        &mut self,
        data: &dyn TrainingSet,
        n_members: u64,
        checkpoint: Option<&Path>,
    ) -> Result<Run> {
        if n_members == 0 {
            return Err(Error::parameter("n_members", "an integer of at least 1", 0));
        }
        let n_members = self.comes_to.unwrap_or(n_members);
        self.check_learners(n_members)?;
        if checkpoint.is_some() {
            self.backend.can_write()?;
        }
        let files = checkpoint.map(|path| Checkpoint::open(path, &self.record, self.backend.layout()));
        let files = files.transpose()?;
        self.plan_in(n_members, files.as_ref())?;
        self.note_parts(data, files.as_ref())?;
        let mut earlier: BTreeSet<u64> = self.trained().map(|member| member.number).collect();
        if let Some(files) = &files {
            earlier.extend(files.numbers()?);
        }
        self.older.append(&mut self.new);
        Ok(Run { files, earlier })
    }

    /// Ends a run with its outcome, whatever that is: if the data are others by now, nothing of it is kept.
    pub(super) fn end_run<T>(&mut self, run: Run, data: &dyn TrainingSet, outcome: Result<T>) -> Result<T> {
        let Run { files, mut earlier } = run;
        if self.has_digests_of(data)? {
            if let Some(files) = &files {
                files.tidy(if self.on_disk { FEW_FILES } else { MANY_FILES });
            }
            self.settle_parts(files.as_ref());
            return outcome;
        }
        // A damaged file's member is trained anew under a number that was there before.
        let trained = std::mem::take(&mut self.new);
        earlier.retain(|number| !trained.contains(number));
        // Nobody can say which members saw which data: of those that were trained now none is kept.
        self.members.retain(|number, _| earlier.contains(number));
        self.scout = self.scout.take().filter(|scout| earlier.contains(&scout.number));
        self.sigmas = None;
        if let Some(files) = &files {
            let now = files.numbers()?.into_iter().filter(|number| !earlier.contains(number));
            files.remove(&now.collect())?;
        }
        self.remove_votes(&trained)?;
        let got = "values that changed during training; none of the members trained now is kept";
        Err(Error::parameter("X", "left as it is, labels included, until all members are trained", got))
    }

    pub(super) fn check_same_data(&self, data: &dyn TrainingSet) -> Result<()> {
        let same = data.shape() == self.record.shape
            && data.n_samples() == self.record.n_train
            && data.n_classes() == self.record.n_classes;
        if same && self.has_digests_of(data)? {
            return Ok(());
        }
        Err(Error::parameter(
            "X",
            "the training set that the ensemble was started with",
            "another training set",
        ))
    }

    /// Whether samples, and trusted samples, are those of the record.
    pub(super) fn has_digests_of(&self, data: &dyn TrainingSet) -> Result<bool> {
        Ok(data.digest()? == self.record.data_digest && Trusted::of(data)? == self.record.trusted)
    }
}
