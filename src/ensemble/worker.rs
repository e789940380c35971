//! What a worker does: draw stacks of noised sets, train on them, or both in turn.
//!
//! A thread of the CPU does both. A GPU has two threads: one draws the sets of the next stack on all cores while
//! the other trains; they meet at a channel without room, so that at most one stack waits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};

use tch::Device;

use super::calibrate::calibrated;
use super::config::Settings;
use super::native;
use super::noisy_set::{Cores, NoisySet, PlainSet};
use super::stacks::{is_out_of_memory, Stacks};
use super::threads::{guarded, training_error};
use super::train_member::{train_stack, Job};
use super::Member;
use crate::error::Result;
use crate::kernel::Workspace;
use crate::model::checkpoint::Checkpoint;

/// A member that is there, and whether it came from the checkpoint.
pub(super) type Finished = (Member, bool);

type Results = Sender<Result<Vec<Finished>>>;

/// A stack whose noised sets are drawn.
pub(super) struct Drawn {
    stack: Vec<u64>,
    /// Members that the checkpoint had.
    found: Vec<Finished>,
    missing: Vec<u64>,
    /// The sets of the missing members, if there are any.
    sets: Option<Sets>,
}

/// Noised sets as the one who trains on them takes them.
enum Sets {
    Torch(NoisySet),
    /// One of each member.
    Plain(Vec<PlainSet>),
}

/// What one worker does.
pub(super) enum Role {
    /// Draws for a trainer.
    Draw(SyncSender<Result<Drawn>>),
    /// Trains on what is drawn for it; draws itself what comes back later.
    Train(Settings, Option<Receiver<Result<Drawn>>>, Results),
}

/// The roles of all workers, for trainers with the given settings.
pub(super) fn roles(trainers: Vec<Settings>, results: &Results) -> Vec<Role> {
    let roles = |own: Settings| {
        if !own.ahead {
            return vec![Role::Train(own, None, results.clone())];
        }
        let (sender, receiver) = mpsc::sync_channel(0);
        vec![Role::Draw(sender), Role::Train(own, Some(receiver), results.clone())]
    };
    trainers.into_iter().flat_map(roles).collect()
}

impl Role {
    /// Works until nothing is left to do, the receiver has gone, or `stop` is set.
    pub(super) fn play(
        self,
        job: Job<'_>,
        stacks: &Stacks,
        checkpoint: Option<&Checkpoint>,
        stop: &AtomicBool,
    ) {
        match self {
            Self::Draw(sender) => {
                while let Some(stack) = stacks.take() {
                    let drawn = draw(job, stack, checkpoint, Cores::All, stop);
                    if sender.send(drawn).is_err() || stop.load(Ordering::Relaxed) {
                        return;
                    }
                }
            }
            Self::Train(own, drawn, results) => {
                let mut trainer = Trainer {
                    job,
                    own,
                    stacks,
                    checkpoint,
                    results,
                    stop,
                    tried: false,
                    work: Workspace::default(),
                };
                let mut ahead = drawn.into_iter().flatten();
                if ahead.all(|drawn| trainer.finish(drawn)) {
                    trainer.alone();
                }
            }
        }
    }
}

/// A stack's members that the checkpoint has, and noised sets for the others.
fn draw(
    job: Job<'_>,
    stack: Vec<u64>,
    checkpoint: Option<&Checkpoint>,
    cores: Cores,
    stop: &AtomicBool,
) -> Result<Drawn> {
    let first = stack.first().copied().unwrap_or(0);
    guarded(first, || {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for &number in &stack {
            // Another process may have put it there meanwhile.
            match checkpoint.map(|checkpoint| checkpoint.load(number)).transpose()?.flatten() {
                Some(member) => found.push((member, true)),
                None => missing.push(number),
            }
        }
        let plain = || -> Result<Vec<_>> {
            missing.iter().map(|&member| PlainSet::draw(job.source, member, stop)).collect()
        };
        let sets = if missing.is_empty() {
            None
        } else if native::network(job).is_some() {
            Some(Sets::Plain(plain()?))
        } else {
            Some(Sets::Torch(NoisySet::draw(job.source, &missing, cores, stop)?))
        };
        Ok(Drawn { stack, found, missing, sets })
    })
}

struct Trainer<'a> {
    job: Job<'a>,
    own: Settings,
    stacks: &'a Stacks,
    checkpoint: Option<&'a Checkpoint>,
    results: Results,
    stop: &'a AtomicBool,
    /// Whether ways of convolving have been tried.
    tried: bool,
    /// Buffers of the crate's own kernels.
    work: Workspace,
}

impl Trainer<'_> {
    /// Draws and trains whatever is left.
    fn alone(&mut self) {
        let cores = if self.own.device == Device::Cpu { Cores::Own } else { Cores::All };
        while let Some(stack) = self.stacks.take() {
            let drawn = draw(self.job, stack, self.checkpoint, cores, self.stop);
            if !self.finish(drawn) {
                return;
            }
        }
    }

    /// Trains a stack and delivers it, or hands it back halved when memory does not suffice; whether to go on.
    fn finish(&mut self, drawn: Result<Drawn>) -> bool {
        let stack = drawn.as_ref().map_or_else(|_| Vec::new(), |drawn| drawn.stack.clone());
        let first = stack.first().copied().unwrap_or(0);
        let result = drawn.and_then(|drawn| guarded(first, || self.train(drawn)));
        if result.as_ref().is_err_and(is_out_of_memory) && self.stacks.halve(&stack) {
            return !self.stop.load(Ordering::Relaxed);
        }
        self.results.send(result).is_ok() && !self.stop.load(Ordering::Relaxed)
    }

    fn train(&mut self, drawn: Drawn) -> Result<Vec<Finished>> {
        let Drawn { mut found, missing, sets, .. } = drawn;
        let trained = match sets {
            None => Vec::new(),
            Some(Sets::Torch(set)) => self.train_stack(&missing, set)?,
            Some(Sets::Plain(sets)) => self.train_native(&missing, &sets)?,
        };
        for member in trained {
            if let Some(checkpoint) = self.checkpoint {
                checkpoint.save(&member)?;
            }
            found.push((member, false));
        }
        Ok(found)
    }

    fn train_native(&mut self, missing: &[u64], sets: &[PlainSet]) -> Result<Vec<Member>> {
        let job = Job { settings: &self.own, ..self.job };
        let Some(network) = native::network(job) else { return Ok(Vec::new()) };
        let train = |(&member, set)| native::train(job, network, member, set, &mut self.work, self.stop);
        missing.iter().zip(sets).map(train).collect()
    }

    fn train_stack(&mut self, missing: &[u64], set: NoisySet) -> Result<Vec<Member>> {
        let first = missing.first().copied().unwrap_or(0);
        let set = set.on(self.own.device).map_err(|error| training_error(first, &error))?;
        if self.own.device != Device::Cpu && !self.tried {
            self.own = calibrated(Job { settings: &self.own, ..self.job }, missing, &set);
            self.tried = true;
        }
        train_stack(Job { settings: &self.own, ..self.job }, missing, &set, self.stop)
    }
}
