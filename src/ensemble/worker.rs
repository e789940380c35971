//! What a worker does: draw stacks of noised sets, train on them, or both in turn.
//!
//! A thread of the CPU does both. A GPU has two threads: one draws the sets of the next stack on all cores while
//! the other trains; they meet at a channel without room, so that at most one stack waits. Where members of a GPU
//! cannot be stacked, several such pairs work side by side.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::own_noise;
use super::stacks::{is_out_of_memory, Stacks};
use super::threads::guarded;
use super::train::Job;
use crate::backend::{Backend, Cores, Fit, Flag, NoisySet, Session};
use crate::error::{ErrorKind, Result};
use crate::member::checkpoint::Checkpoint;
use crate::member::{Device, Member, Settings};

/// A member that is there, and whether it came from the checkpoint.
pub(super) type Finished = (Member, bool);

type Results = Sender<Result<Vec<Finished>>>;

/// A stack whose noised sets are drawn.
pub(super) struct Drawn {
    stack: Vec<u64>,
    /// Members that the checkpoint had.
    found: Vec<Finished>,
    missing: Vec<u64>,
    /// Learners of a partition with too few samples to be trained.
    idle: Vec<u64>,
    /// The sets of the missing members, if there are any.
    sets: Option<NoisySet>,
}

/// The trainers of one device: they work side by side until its memory does not suffice for that, then in turn.
pub(super) struct Lanes {
    several: bool,
    crowded: AtomicBool,
    turn: RwLock<()>,
}

/// Held by a trainer while it trains.
enum Turn<'a> {
    Beside(#[allow(dead_code)] RwLockReadGuard<'a, ()>),
    Alone(#[allow(dead_code)] RwLockWriteGuard<'a, ()>),
}

impl Lanes {
    fn of(number: usize) -> Self {
        Self { several: number > 1, crowded: AtomicBool::new(false), turn: RwLock::new(()) }
    }

    /// Waits for as long as somebody needs the device alone.
    fn turn(&self) -> Turn<'_> {
        if self.crowded.load(Ordering::Relaxed) {
            return Turn::Alone(self.turn.write().unwrap_or_else(PoisonError::into_inner));
        }
        Turn::Beside(self.turn.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes note that memory does not suffice; whether somebody who had `turn` may hope for more.
    fn is_crowded(&self, turn: &Turn<'_>) -> bool {
        let hope = self.several && matches!(turn, Turn::Beside(_));
        self.crowded.fetch_or(hope, Ordering::Relaxed);
        hope
    }
}

/// What one worker does.
pub(super) enum Role {
    /// Draws for a trainer.
    Draw(SyncSender<Result<Drawn>>, Cores),
    /// Trains on what is drawn for it; draws itself what comes back later.
    Train(Settings, Arc<Lanes>, Option<Receiver<Result<Drawn>>>, Results),
}

/// The roles of all workers, for trainers with the given settings; each that draws comes after the one it draws for, who
/// can do without.
pub(super) fn roles(trainers: Vec<Settings>, results: &Results) -> Vec<Role> {
    let mut lanes: Vec<(Device, Arc<Lanes>)> = Vec::new();
    for own in &trainers {
        if lanes.iter().all(|(device, _)| *device != own.device) {
            let number = trainers.iter().filter(|other| other.device == own.device).count();
            lanes.push((own.device, Arc::new(Lanes::of(number))));
        }
    }
    let roles = |own: Settings| {
        let known = lanes.iter().find(|(device, _)| *device == own.device);
        let lanes = known.map_or_else(|| Arc::new(Lanes::of(1)), |(_, lanes)| Arc::clone(lanes));
        if !own.ahead {
            return vec![Role::Train(own, lanes, None, results.clone())];
        }
        let cores = if lanes.several { Cores::Own } else { Cores::All };
        let (sender, receiver) = mpsc::sync_channel(0);
        vec![Role::Train(own, lanes, Some(receiver), results.clone()), Role::Draw(sender, cores)]
    };
    trainers.into_iter().flat_map(roles).collect()
}

impl Role {
    /// Prepares the thread that plays it; only one that trains computes with the backend.
    pub(super) fn ready(&self, backend: &dyn Backend) {
        if let Self::Train(own, ..) = self {
            backend.ready(own.device);
        }
    }

    /// Works until nothing is left to do, the receiver has gone, or `stop` is set.
    pub(super) fn play(self, job: Job<'_>, stacks: &Stacks, checkpoint: Option<&Checkpoint>, stop: &Flag) {
        match self {
            Self::Draw(sender, cores) => {
                while let Some(stack) = stacks.take(stop) {
                    let drawn = draw(job, stack, stacks, checkpoint, cores, stop);
                    if sender.send(drawn).is_err() || stop.load(Ordering::Relaxed) {
                        return;
                    }
                }
            }
            Self::Train(own, lanes, drawn, results) => {
                let shape = job.source.data.shape();
                let session = guarded(0, || job.backend.session(&own, shape, lanes.several));
                let session = match session {
                    Ok(session) => session,
                    Err(error) => {
                        // A receiver that has gone has had an error before.
                        let _ = results.send(Err(error));
                        return;
                    }
                };
                let mut trainer = Trainer { job, own, lanes, stacks, checkpoint, results, stop, session };
                let mut ahead = drawn.into_iter().flatten();
                if ahead.all(|drawn| trainer.finish(drawn)) {
                    trainer.alone();
                }
            }
        }
    }
}

/// A stack's members that the checkpoint has, and noised sets for the others. Those that another process is training leave
/// the stack.
fn draw(
    job: Job<'_>,
    mut stack: Vec<u64>,
    stacks: &Stacks,
    checkpoint: Option<&Checkpoint>,
    cores: Cores,
    stop: &AtomicBool,
) -> Result<Drawn> {
    let first = stack.first().copied().unwrap_or(0);
    guarded(first, || {
        let (mut found, mut missing, mut elsewhere) = (Vec::new(), Vec::new(), Vec::new());
        for &number in &stack {
            // The one that is trained twice was claimed before.
            let kept = checkpoint.filter(|_| job.twice != Some(number));
            let ours = kept.map_or(Ok(true), |checkpoint| checkpoint.claim(number))?;
            // Another process may have put it there meanwhile.
            match kept.map(|checkpoint| checkpoint.load(number)).transpose()?.flatten() {
                Some(member) => {
                    kept.into_iter().for_each(|checkpoint| checkpoint.give_up(number));
                    found.push((job.backend.read(member)?, true));
                }
                None if !ours => elsewhere.push(number),
                None if job.source.is_too_small(number, job.backend.min_samples()) => {
                    let member = Member::failed(number, job.backend.layout().n_values());
                    kept.map_or(Ok(()), |checkpoint| checkpoint.save(&member))?;
                    found.push((member, false));
                }
                None => missing.push(number),
            }
        }
        stack.retain(|number| !elsewhere.contains(number));
        stacks.leave(&elsewhere);
        let idle = match job.source.parts {
            Some(_) => missing.iter().copied().filter(|&number| is_idle(job, number)).collect(),
            None => Vec::new(),
        };
        missing.retain(|number| !idle.contains(number));
        let stride = job.backend.stride(job.source.data.shape().n_features());
        let draw = || NoisySet::draw(job.source, &missing, stride, cores, stop);
        let sets = if missing.is_empty() { None } else { Some(draw()?) };
        Ok(Drawn { stack, found, missing, idle, sets })
    })
}

/// Whether a learner has too few samples.
fn is_idle(job: Job<'_>, number: u64) -> bool {
    job.source.samples(number).len() + job.source.data.n_trusted() < job.backend.min_samples().max(1)
}

struct Trainer<'a> {
    job: Job<'a>,
    own: Settings,
    lanes: Arc<Lanes>,
    stacks: &'a Stacks,
    checkpoint: Option<&'a Checkpoint>,
    results: Results,
    stop: &'a Flag,
    session: Box<dyn Session + 'a>,
}

impl Trainer<'_> {
    /// Draws and trains whatever is left.
    fn alone(&mut self) {
        while let Some(stack) = self.stacks.take(self.stop) {
            let drawn = self.draw(stack);
            if !self.finish(drawn) {
                return;
            }
        }
    }

    fn draw(&self, stack: Vec<u64>) -> Result<Drawn> {
        let own = self.own.device == Device::Cpu || self.lanes.several;
        let cores = if own { Cores::Own } else { Cores::All };
        draw(self.job, stack, self.stacks, self.checkpoint, cores, self.stop)
    }

    /// Trains a stack and delivers it, or hands it back: halved when memory does not suffice, one by one when it
    /// failed as a stack. Whether to go on.
    fn finish(&mut self, drawn: Result<Drawn>) -> bool {
        let stack = drawn.as_ref().map_or_else(|_| Vec::new(), |drawn| drawn.stack.clone());
        let lanes = Arc::clone(&self.lanes);
        let turn = lanes.turn();
        let mut result = drawn.and_then(|drawn| self.train_guarded(drawn));
        if let Err(error) = &result {
            if is_out_of_memory(error) {
                if self.stacks.halve(&stack) {
                    return !self.stop.load(Ordering::Relaxed);
                }
                if lanes.is_crowded(&turn) {
                    drop(turn);
                    let _alone = lanes.turn();
                    result = self.draw(stack).and_then(|drawn| self.train_guarded(drawn));
                }
            } else if matches!(error.kind(), ErrorKind::Training { .. })
                && !self.job.backend.stacks_are_sure()
                && self.stacks.part(&stack, error)
            {
                return !self.stop.load(Ordering::Relaxed);
            }
        }
        self.results.send(result).is_ok() && !self.stop.load(Ordering::Relaxed)
    }

    fn train_guarded(&mut self, drawn: Drawn) -> Result<Vec<Finished>> {
        let first = drawn.stack.first().copied().unwrap_or(0);
        guarded(first, || self.train(drawn))
    }

    fn train(&mut self, drawn: Drawn) -> Result<Vec<Finished>> {
        let Drawn { mut found, missing, idle, sets, .. } = drawn;
        let mut trained = sets.map_or(Ok(Vec::new()), |set| self.train_on(&missing, set))?;
        let n_values = self.job.backend.layout().n_values();
        trained.extend(idle.into_iter().map(|number| Member::idle(number, n_values)));
        for member in trained {
            let kept = self.checkpoint.filter(|_| self.job.twice != Some(member.number));
            if let Some(checkpoint) = kept {
                checkpoint.save(&member)?;
            }
            found.push((member, false));
        }
        Ok(found)
    }

    fn train_on(&mut self, missing: &[u64], set: NoisySet) -> Result<Vec<Member>> {
        let source = self.job.source;
        let (seed, n_classes) = (source.seed, source.data.n_classes());
        let augment = match &self.own.augment {
            Some(augment) if augment.is_before_map() => Some(augment.of(source.originals(missing)?)),
            other => other.clone(),
        };
        let settings = Settings { augment, ..self.own.clone() };
        let fit = Fit { members: missing, seed, n_classes, settings: &settings };
        own_noise::fit(self.session.as_mut(), fit, source.law, set, self.stop)
    }
}
