//! Training of many members at the same time, resumed from and saved to a checkpoint.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::control::{Control, Progress};
use super::data::TrainingSet;
use super::memory::keep_freed_memory;
use super::noisy_set::Source;
use super::threads::{guarded, with_workers};
use super::train_member::{train_stack, Job};
use super::{Ensemble, Member};
use crate::error::{Error, ErrorKind, Result};
use crate::model::checkpoint::Checkpoint;

/// How often the calling thread looks whether it should stop.
const POLL: Duration = Duration::from_millis(50);

/// A member that is there, and whether it came from the checkpoint.
type Finished = (Member, bool);

/// See [`Ensemble::train`].
pub(super) fn train(
    ensemble: &mut Ensemble,
    data: &dyn TrainingSet,
    n_members: u64,
    checkpoint: Option<&Checkpoint>,
    control: &Control<'_>,
) -> Result<()> {
    keep_freed_memory();
    let mut todo = Vec::new();
    for number in 0..n_members {
        match find(ensemble, number, checkpoint)? {
            None => todo.push(number),
            Some((member, from_disk)) if from_disk => {
                ensemble.members.insert(number, member);
            }
            Some(_) => {}
        }
        if control.stops() {
            return Err(cancelled(ensemble, n_members));
        }
    }
    report_resumed(ensemble, n_members, control);
    let (record, settings) = (ensemble.record.clone(), ensemble.settings.clone());
    let architecture = ensemble.architecture.clone();
    let sigmas = ensemble.sigmas.clone();
    let source = Source { data, law: &record.law, seed: record.seed, sigmas: sigmas.as_deref() };
    let job = Job { source, architecture: architecture.as_ref(), settings: &settings };
    run(job, &todo, checkpoint, control, |(member, resumed)| {
        let (number, loss) = (member.number, member.loss);
        ensemble.members.insert(number, member);
        let done = ensemble.members.range(..n_members).count() as u64;
        control.report(&Progress { member: number, done, total: n_members, loss, resumed });
    })
    .map_err(|error| match error.kind() {
        ErrorKind::Cancelled => cancelled(ensemble, n_members),
        _ => error,
    })
}

/// A member that need not be trained: in memory (then it is saved, if it is not yet), or on disk.
fn find(ensemble: &Ensemble, number: u64, checkpoint: Option<&Checkpoint>) -> Result<Option<Finished>> {
    let Some(member) = ensemble.members.get(&number) else {
        let loaded = checkpoint.map(|checkpoint| checkpoint.load(number)).transpose()?.flatten();
        return Ok(loaded.map(|member| (member, true)));
    };
    if let Some(checkpoint) = checkpoint {
        if !checkpoint.has(number) {
            checkpoint.save(member)?;
        }
    }
    Ok(Some((member.clone(), false)))
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
/// The first error stops the others, cancellation does so within a batch; what was finished is kept.
pub(super) fn run(
    job: Job<'_>,
    todo: &[u64],
    checkpoint: Option<&Checkpoint>,
    control: &Control<'_>,
    keep: impl FnMut(Finished),
) -> Result<()> {
    if todo.is_empty() {
        return Ok(());
    }
    let stacks: Vec<&[u64]> = todo.chunks(stack_size(job, todo.len())).collect();
    let workers = job.settings.workers().min(stacks.len());
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (sender, results) = mpsc::channel();
    // One sender per worker: when the last has gone, the receiver knows.
    let senders = Mutex::new(vec![sender; workers]);
    let work = || {
        let Some(sender) = senders.lock().unwrap_or_else(PoisonError::into_inner).pop() else { return };
        while let Some(stack) = stacks.get(next.fetch_add(1, Ordering::Relaxed)) {
            let first = stack.first().copied().unwrap_or(0);
            let result = guarded(first, || obtain(job, stack, checkpoint, &stop));
            if sender.send(result).is_err() || stop.load(Ordering::Relaxed) {
                return;
            }
        }
    };
    with_workers(workers, work, || collect(&results, &stop, control, keep))
}

/// Members of a stack, at most as many as share the workers evenly.
fn stack_size(job: Job<'_>, n_members: usize) -> usize {
    let share = n_members.div_ceil(job.settings.workers());
    job.settings.stack.min(job.architecture.max_stack()).min(share).max(1)
}

/// One stack: from the checkpoint what another process has put there meanwhile, else by training.
fn obtain(
    job: Job<'_>,
    stack: &[u64],
    checkpoint: Option<&Checkpoint>,
    stop: &AtomicBool,
) -> Result<Vec<Finished>> {
    let mut finished = Vec::new();
    let mut missing = Vec::new();
    for &number in stack {
        match checkpoint.map(|checkpoint| checkpoint.load(number)).transpose()?.flatten() {
            Some(member) => finished.push((member, true)),
            None => missing.push(number),
        }
    }
    if missing.is_empty() {
        return Ok(finished);
    }
    for member in train_stack(job, &missing, stop)? {
        if let Some(checkpoint) = checkpoint {
            checkpoint.save(&member)?;
        }
        finished.push((member, false));
    }
    Ok(finished)
}

/// Receives results on the calling thread until the last worker has gone.
///
/// The first error, or the caller's wish, stops the workers; what they had finished is still kept.
fn collect(
    results: &Receiver<Result<Vec<Finished>>>,
    stop: &AtomicBool,
    control: &Control<'_>,
    mut keep: impl FnMut(Finished),
) -> Result<()> {
    let mut outcome = Ok(());
    loop {
        if outcome.is_ok() && control.stops() {
            outcome = Err(Error::cancelled("Training was cancelled."));
        }
        if outcome.is_err() {
            stop.store(true, Ordering::Relaxed);
        }
        match results.recv_timeout(POLL) {
            Ok(Ok(members)) => members.into_iter().for_each(&mut keep),
            Ok(Err(error)) => outcome = outcome.and(Err(error)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return outcome,
        }
    }
}
