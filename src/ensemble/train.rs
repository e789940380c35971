//! Training of many members at the same time, resumed from and saved to a checkpoint.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use super::control::{Control, Progress};
use super::stacks::{stack_size, Stacks};
use super::threads::with_workers;
use super::twice::{again, learner_again, Twice};
use super::worker::{self, Finished, Role};
use super::{Ensemble, Execution};
use crate::backend::{Backend, Flag, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::law::Law;
use crate::member::checkpoint::Checkpoint;
use crate::member::{keep_freed_memory, Device, Member, Settings, TrainingSet};

/// Everything the members of a run have in common.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) source: Source<'a>,
    pub(super) backend: &'a dyn Backend,
    pub(super) settings: &'a Settings,
    /// The member that is trained twice, and kept when both trainings have been compared.
    pub(super) twice: Option<u64>,
}

/// Of how many members one may fail. Decided over all members of a fit, so that the order in which they finish has no
/// part in it.
const ONE_FAILS_OF: usize = 2;

/// How often the calling thread looks whether it should stop.
const POLL: Duration = Duration::from_millis(50);

/// See [`Ensemble::train`].
pub(super) fn train(
    ensemble: &mut Ensemble,
    data: &dyn TrainingSet,
    n_members: u64,
    checkpoint: Option<&Checkpoint>,
    control: &Control<'_>,
) -> Result<()> {
    let mut course = Course::begin(ensemble, data, n_members, checkpoint, control)?;
    let (record, settings) = (ensemble.record.clone(), ensemble.settings.clone());
    let (backend, sigmas) = (ensemble.backend.clone(), ensemble.sigmas.clone());
    let parts = ensemble.assignment(data)?;
    let parts = parts.as_deref();
    let source = Source { data, law: &record.law, seed: record.seed, parts, sigmas: sigmas.as_deref() };
    let job = Job { source, backend: backend.as_ref(), settings: &settings, twice: course.twice };
    let todo = std::mem::take(&mut course.todo);
    let execution =
        run(job, &todo, checkpoint, control, |finished| course.keep(ensemble, finished, checkpoint, control))
            .map_err(|error| match error.kind() {
                ErrorKind::Cancelled => cancelled(ensemble, n_members),
                _ => error,
            })?;
    course.end(ensemble, execution, checkpoint)
}

/// Trains some members alone, each of which `keep` gets: nothing is compared or remembered, which is the affair of whoever asked.
///
/// # Errors
/// Those of training.
pub(super) fn train_only(
    ensemble: &mut Ensemble,
    data: &dyn TrainingSet,
    numbers: &[u64],
    control: &Control<'_>,
    mut keep: impl FnMut(&mut Ensemble, Member),
) -> Result<()> {
    keep_freed_memory();
    let (record, settings) = (ensemble.record.clone(), ensemble.settings.clone());
    let (backend, sigmas) = (ensemble.backend.clone(), ensemble.sigmas.clone());
    let parts = ensemble.assignment(data)?;
    let parts = parts.as_deref();
    let source = Source { data, law: &record.law, seed: record.seed, parts, sigmas: sigmas.as_deref() };
    let job = Job { source, backend: backend.as_ref(), settings: &settings, twice: None };
    let execution = run(job, numbers, None, control, |(member, _)| {
        keep(ensemble, member);
        Ok(())
    })?;
    ensemble.execution = execution.or_else(|| ensemble.execution.take());
    Ok(())
}

/// A fit under way, wherever its members are trained: which are still to come, and what becomes of those that do.
#[derive(Debug)]
pub(super) struct Course {
    n_members: u64,
    /// In the order in which they are trained; the one that is trained twice is there twice.
    pub(super) todo: Vec<u64>,
    /// Those that were missing at the beginning, and are there at the end.
    missing: Vec<u64>,
    pub(super) twice: Option<u64>,
    compared: Twice,
    /// What was found when the two were compared.
    unsound: Result<()>,
}

impl Course {
    /// Takes over what is in the checkpoint; the others are to come.
    ///
    /// # Errors
    /// Those of the checkpoint, cancellation, and a training error if too many members failed already.
    pub(super) fn begin(
        ensemble: &mut Ensemble,
        data: &dyn TrainingSet,
        n_members: u64,
        checkpoint: Option<&Checkpoint>,
        control: &Control<'_>,
    ) -> Result<Self> {
        keep_freed_memory();
        let mut todo = Vec::new();
        for number in 0..n_members {
            match find(ensemble, number, checkpoint)? {
                None if ensemble.part.as_ref().is_none_or(|part| part.contains(&number)) => todo.push(number),
                None => {}
                Some((member, from_disk)) if from_disk => {
                    ensemble.members.insert(number, member);
                    ensemble.place(number, checkpoint);
                }
                Some(_) => {}
            }
            if control.stops() {
                return Err(cancelled(ensemble, n_members));
            }
        }
        let missing = todo.clone();
        let total = ensemble.comes_to.unwrap_or(n_members);
        if ensemble.comes_to.is_none() {
            report_resumed(ensemble, n_members, control);
        }
        check_failed(ensemble, total)?;
        let parts = ensemble.assignment(data)?;
        let (law, seed) = (&ensemble.record.law, ensemble.record.seed);
        let source = Source { data, law, seed, parts: parts.as_deref(), sigmas: None };
        let votes = ensemble.votes_in.as_deref();
        let mut free = |numbers: &[u64]| match votes {
            Some(votes) => first_unclaimed(numbers, votes),
            None => first_free(numbers, checkpoint, control),
        };
        let twice = match law {
            Law::Partition(_) => learner_again(&mut todo, |number| source.samples(number).len(), &mut free),
            _ => again(&mut todo, ensemble.backend.as_ref(), &ensemble.settings, &mut free),
        }
        .map_err(|error| match error.kind() {
            ErrorKind::Cancelled => cancelled(ensemble, n_members),
            _ => error,
        })?;
        let compared = Twice::of(&ensemble.record.law);
        Ok(Self { n_members: total, todo, missing, twice, compared, unsound: Ok(()) })
    }

    /// Takes a member that is there, and whether it came from the checkpoint.
    ///
    /// # Errors
    /// A checkpoint error if it cannot be written, a training error if too many have failed by now.
    pub(super) fn keep(
        &mut self,
        ensemble: &mut Ensemble,
        (member, resumed): Finished,
        checkpoint: Option<&Checkpoint>,
        control: &Control<'_>,
    ) -> Result<()> {
        let (number, loss, total) = (member.number, member.loss, self.n_members);
        let member = if self.twice == Some(number) {
            let same = self.compared.compare(member).and_then(|same| match (&same, checkpoint) {
                (Some(member), Some(checkpoint)) => checkpoint.save(member).map(|()| same),
                _ => Ok(same),
            });
            match same {
                Ok(Some(member)) => member,
                Ok(None) => return Ok(()),
                Err(error) => {
                    self.unsound = Err(error);
                    return Ok(());
                }
            }
        } else {
            member
        };
        if !resumed {
            ensemble.new.insert(number);
        }
        ensemble.members.insert(number, member);
        ensemble.place(number, checkpoint);
        let done = ensemble.members.range(..total).count() as u64;
        control.report(&Progress { member: number, done, total, loss, resumed });
        check_failed(ensemble, total)
    }

    /// All members are there.
    ///
    /// # Errors
    /// A training error if the member that was trained twice is another one the second time; none is kept then. One that names
    /// a member which never came, whatever those who trained it say.
    pub(super) fn end(
        self,
        ensemble: &mut Ensemble,
        execution: Option<Execution>,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<()> {
        if let Err(error) = self.unsound {
            ensemble.discard(checkpoint)?;
            return Err(error);
        }
        if let Some(number) = self.missing.iter().find(|number| !ensemble.members.contains_key(number)) {
            return Err(Error::training(
                Some(*number),
                "it did not come back. Fit again: finished members are kept.",
            ));
        }
        // Where nothing was left to train, what is known of an earlier run stays.
        ensemble.execution = execution.or_else(|| ensemble.execution.take());
        Ok(())
    }

    /// To how many members the fit comes.
    pub(super) fn n_members(&self) -> u64 {
        self.n_members
    }

    /// What is said of a fit that was cancelled.
    pub(super) fn cancelled(&self, ensemble: &Ensemble) -> Error {
        cancelled(ensemble, self.n_members)
    }
}

/// See [`Ensemble::train_these`].
pub(super) fn these(
    ensemble: &mut Ensemble,
    data: &dyn TrainingSet,
    numbers: &[u64],
    control: &Control<'_>,
) -> Result<()> {
    let total = numbers.len() as u64;
    let mut done = 0;
    train_only(ensemble, data, numbers, control, |ensemble, member| {
        done += 1;
        let (number, loss) = (member.number, member.loss);
        control.report(&Progress { member: number, done, total, loss, resumed: false });
        ensemble.members.insert(number, member);
    })
}

/// The first of `numbers` that no other process is training, claimed; `None` if the checkpoint has all of them by now. Waits
/// while others are training all that is left.
fn first_free(
    numbers: &[u64],
    checkpoint: Option<&Checkpoint>,
    control: &Control<'_>,
) -> Result<Option<u64>> {
    let Some(checkpoint) = checkpoint else { return Ok(numbers.first().copied()) };
    loop {
        let missing: Vec<u64> = numbers.iter().copied().filter(|number| !checkpoint.has(*number)).collect();
        for &number in &missing {
            if checkpoint.claim(number)? {
                // It may have been written, and given up, since the look.
                if !checkpoint.has(number) {
                    return Ok(Some(number));
                }
                checkpoint.give_up(number);
            }
        }
        if missing.is_empty() {
            return Ok(None);
        }
        if control.stops() {
            return Err(Error::cancelled("Training was cancelled."));
        }
        std::thread::sleep(POLL);
    }
}

/// The first of `numbers` that no other process is training, claimed; `None` if others are training all.
fn first_unclaimed(numbers: &[u64], votes: &Checkpoint) -> Result<Option<u64>> {
    for &number in numbers {
        if votes.claim(number)? {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

/// Refuses a fit of which too many members fail; before it is finished, as soon as that is certain.
pub(super) fn check_failed(ensemble: &Ensemble, n_members: u64) -> Result<()> {
    let many = |failed: usize| (failed.saturating_mul(ONE_FAILS_OF) as u64) > n_members;
    let failed = |(_, member): &(&u64, &Member)| member.is_failed() && !member.is_idle();
    let failed = || ensemble.members.range(..n_members).filter(failed);
    if !many(failed().count()) || !many(failed().filter(|(_, member)| !ensemble.is_empty(member)).count()) {
        return Ok(());
    }
    Err(Error::training(
        None,
        format_args!(
            "the loss or the parameters of more than half of the {n_members} members became infinite or NaN; a smaller \
             learning_rate or inputs of ordinary size may help"
        ),
    ))
}

/// A member that need not be trained: in memory (then it is saved, if it is not yet), or on disk.
fn find(ensemble: &Ensemble, number: u64, checkpoint: Option<&Checkpoint>) -> Result<Option<Finished>> {
    // Of members that were forgotten only their votes are left, which are enough where all are.
    let left =
        |member: &&Member| ensemble.comes_to.is_some() || member.values.digest_of_forgotten().is_none();
    let Some(member) = ensemble.members.get(&number).filter(left) else {
        let loaded = checkpoint.map(|checkpoint| checkpoint.load(number)).transpose()?.flatten();
        return loaded.map(|member| Ok((ensemble.backend.read(member)?, true))).transpose();
    };
    let (kept, mut moved) = (member.values.are_kept(), false);
    if let Some(checkpoint) = checkpoint {
        // What is read when it is asked may have been damaged since.
        if !checkpoint.has(number) || (kept && checkpoint.load(number)?.is_none()) {
            match ensemble.fetch(member) {
                Ok(member) => checkpoint.save(&member)?,
                Err(_) if kept => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        moved = ensemble.on_disk;
    }
    if kept && !moved {
        // Its directory may go, now that nobody asked for it.
        return Ok(ensemble.fetch(member).ok().map(|member| (member, true)));
    }
    Ok(Some((member.clone(), moved)))
}

fn report_resumed(ensemble: &Ensemble, total: u64, control: &Control<'_>) {
    for (done, member) in ensemble.members.range(..total).map(|(_, member)| member).enumerate() {
        let done = done as u64 + 1;
        control.report(&Progress { member: member.number, done, total, loss: member.loss, resumed: true });
    }
}

fn cancelled(ensemble: &Ensemble, total: u64) -> Error {
    let done = ensemble.members.range(..total).count();
    Error::cancelled(format!("Training was cancelled; {done} of {total} members are finished and kept."))
}

/// Trains the members of `todo` on all workers; `keep` gets each as it finishes, on the calling thread.
///
/// The first error, of a worker or of `keep`, stops the others, cancellation does so within a batch; what was finished is kept. Says how the
/// work was done, if there was any.
pub(super) fn run(
    job: Job<'_>,
    todo: &[u64],
    checkpoint: Option<&Checkpoint>,
    control: &Control<'_>,
    keep: impl FnMut(Finished) -> Result<()>,
) -> Result<Option<Execution>> {
    if todo.is_empty() {
        return Ok(None);
    }
    let mut trainers = job.settings.trainers(todo.len());
    let size = stack_size(job, todo.len(), trainers.len());
    if size == 1 && job.settings.device != Device::Cpu {
        trainers = vec![trainers; job.backend.lanes().max(1)].concat();
    }
    trainers.truncate(todo.len().div_ceil(size));
    let (stacks, stop) = (Stacks::new(todo, size), Flag::default());
    let (sender, results) = mpsc::channel();
    // One sender per worker: when the last has gone, the receiver knows.
    let roles = worker::roles(trainers, &sender);
    drop(sender);
    let trains: Vec<bool> = roles.iter().map(|role| matches!(role, Role::Train(..))).collect();
    let work = |role: Role| role.play(job, &stacks, checkpoint, &stop);
    let side_by_side = with_workers(
        roles,
        |role| role.ready(job.backend),
        job.backend,
        work,
        |threads| {
            collect(&results, &stop, checkpoint, control, keep)?;
            Ok(trains.iter().take(threads).filter(|trains| **trains).count())
        },
    )??;
    let (smallest, failure) = stacks.state();
    Ok(Some(Execution { stack: size, smallest, side_by_side, failure }))
}

/// What is said of a fit in which a worker met `error`: the first error that came, or of two that name members that of the
/// lower one, which may have been slower.
fn worse(outcome: Result<()>, error: Error) -> Error {
    match outcome {
        Ok(()) => error,
        Err(known) => match (known.member(), error.member()) {
            (Some(first), Some(member)) if member < first => error,
            _ => known,
        },
    }
}

/// Receives results on the calling thread until the last worker has gone.
///
/// The first error, or the caller's wish, stops the workers; what they had finished is still kept.
fn collect(
    results: &Receiver<Result<Vec<Finished>>>,
    stop: &AtomicBool,
    checkpoint: Option<&Checkpoint>,
    control: &Control<'_>,
    mut keep: impl FnMut(Finished) -> Result<()>,
) -> Result<()> {
    let mut outcome = Ok(());
    loop {
        if outcome.is_ok() && control.stops() {
            outcome = Err(Error::cancelled("Training was cancelled."));
        }
        if outcome.is_err() {
            stop.store(true, Ordering::Relaxed);
        }
        checkpoint.into_iter().for_each(Checkpoint::keep_claims);
        match results.recv_timeout(POLL) {
            Ok(Ok(members)) => {
                for member in members {
                    outcome = outcome.and(keep(member));
                }
            }
            Ok(Err(error)) => outcome = Err(worse(outcome, error)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_members_that_fail_the_lower_one_is_told() {
        let of = |member| Error::training(Some(member), "no");
        assert_eq!(worse(Ok(()), of(3)), of(3));
        assert_eq!(worse(Err(of(3)), of(1)), of(1));
        assert_eq!(worse(Err(of(3)), of(5)), of(3));
        for other in [Error::cancelled("stopped"), Error::device("full")] {
            assert_eq!(worse(Err(of(3)), other.clone()), of(3));
            assert_eq!(worse(Err(other.clone()), of(3)), other);
        }
    }
}
