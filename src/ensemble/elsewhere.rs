//! A fit whose members are trained by other processes: who is asked for which, and what comes back as bytes.
//!
//! Whoever trains them gets numbers and returns members in the form of a checkpoint's files. What is kept, compared, counted and
//! remembered is the same as in a fit on this machine ([`Course`]).

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use super::run::Run;
use super::train::{train_only, Course};
use super::{Control, Ensemble, Execution};
use crate::error::{Error, ErrorKind, Result};
use crate::member::checkpoint::Checkpoint;
use crate::member::encoding::{decode, encode};
use crate::member::{Member, TrainingSet};

/// A fit under way.
#[derive(Debug)]
pub struct Elsewhere {
    run: Run,
    course: Course,
    queue: VecDeque<u64>,
    /// Members that other processes which share the checkpoint are training.
    theirs: Vec<u64>,
    /// The checkpoint that gets votes, and no members.
    votes: Option<Arc<Checkpoint>>,
}

impl Elsewhere {
    /// How many members are still to be handed out.
    pub fn left(&self) -> usize {
        self.queue.len() + self.theirs.len()
    }

    /// The member that is trained twice, if there is one: it comes back whole, for its two trainings to be compared.
    pub fn twice(&self) -> Option<u64> {
        self.course.twice
    }

    /// Takes a member of which only votes came back.
    pub(super) fn keep(
        &mut self,
        ensemble: &mut Ensemble,
        member: Member,
        control: &Control<'_>,
    ) -> Result<()> {
        self.course.keep(ensemble, (member, false), self.run.files.as_ref(), control)
    }

    /// Tells those who wait for members that were handed out that somebody works on them; to be called all the time.
    pub fn keep_claims(&self) {
        self.run.files.iter().chain(self.votes.as_deref()).for_each(Checkpoint::keep_claims);
    }
}

impl Ensemble {
    /// Begins a fit of which members are trained elsewhere; otherwise as [`Ensemble::train`]. To be ended by
    /// [`Ensemble::end_elsewhere`], whatever happens.
    ///
    /// # Errors
    /// As [`Ensemble::train`].
    pub fn begin_elsewhere(
        &mut self,
        data: &dyn TrainingSet,
        n_members: u64,
        checkpoint: Option<&Path>,
        control: &Control<'_>,
    ) -> Result<Elsewhere> {
        self.check_same_data(data)?;
        let run = self.begin_run(data, n_members, checkpoint)?;
        let files = run.files.as_ref();
        let begun = self
            .scout(data, files, control)
            .and_then(|()| Course::begin(self, data, n_members, files, control));
        match begun {
            Ok(mut course) => {
                let queue = std::mem::take(&mut course.todo).into();
                Ok(Elsewhere { run, course, queue, theirs: Vec::new(), votes: self.votes_in.clone() })
            }
            Err(error) => self.end_run(run, data, Err(error)),
        }
    }

    /// Up to `most` members that are to be trained now, claimed; those that the checkpoint has by now are taken over. Nothing while
    /// others are training all that is left. The member that is trained twice comes alone.
    ///
    /// # Errors
    /// Those of the checkpoint, a training error if too many members have failed by now.
    pub fn hand_out(&mut self, fit: &mut Elsewhere, most: usize, control: &Control<'_>) -> Result<Vec<u64>> {
        if fit.queue.is_empty() {
            fit.queue = std::mem::take(&mut fit.theirs).into();
            self.hear(fit, control)?;
        }
        let mut numbers = Vec::new();
        while numbers.len() < most {
            let Some(number) = fit.queue.pop_front() else { break };
            if fit.course.twice == Some(number) {
                if numbers.is_empty() {
                    return Ok(vec![number]);
                }
                fit.queue.push_front(number);
                break;
            }
            if let Some(votes) = &fit.votes {
                if self.members.contains_key(&number) {
                    continue;
                }
                let to = if votes.claim(number)? { &mut numbers } else { &mut fit.theirs };
                to.push(number);
                continue;
            }
            let Some(files) = &fit.run.files else {
                numbers.push(number);
                continue;
            };
            let ours = files.claim(number)?;
            match files.load(number)? {
                Some(member) => {
                    files.give_up(number);
                    let member = self.backend.read(member)?;
                    fit.course.keep(self, (member, true), fit.run.files.as_ref(), control)?;
                }
                None if ours => numbers.push(number),
                None => fit.theirs.push(number),
            }
        }
        if fit.votes.is_some() && !numbers.is_empty() {
            // Who gives a claim up has written the votes before.
            self.hear(fit, control)?;
            let there = |number: &u64| self.members.contains_key(number);
            let votes = fit.votes.iter();
            votes.for_each(|votes| {
                numbers.iter().filter(|n| there(n)).for_each(|number| votes.give_up(*number))
            });
            numbers.retain(|number| !there(number));
        }
        Ok(numbers)
    }

    /// Takes members of which other processes have written votes.
    fn hear(&mut self, fit: &mut Elsewhere, control: &Control<'_>) -> Result<()> {
        let twice = fit.course.twice;
        for member in self.heard_from_others(fit.course.n_members())? {
            if twice != Some(member.number) {
                fit.course.keep(self, (member, true), None, control)?;
            }
        }
        fit.queue.retain(|number| twice == Some(*number) || !self.members.contains_key(number));
        fit.theirs.retain(|number| !self.members.contains_key(number));
        Ok(())
    }

    /// Takes a member that was trained elsewhere, into the checkpoint too.
    ///
    /// # Errors
    /// A training error if the bytes are damaged, or those of another member or record, or if too many members have failed
    /// by now; those of the checkpoint.
    pub fn take(
        &mut self,
        fit: &mut Elsewhere,
        number: u64,
        bytes: &[u8],
        control: &Control<'_>,
    ) -> Result<()> {
        let member = self.of_bytes(number, bytes)?;
        let files = fit.run.files.as_ref();
        if fit.course.twice != Some(number) {
            files.map_or(Ok(()), |files| files.save(&member))?;
        }
        fit.course.keep(self, (member, false), files, control)
    }

    /// Ends a fit: `execution` says how members were trained if all of them are there, and is `None` for a fit that did not come to
    /// its end, of which what was finished is kept.
    ///
    /// # Errors
    /// A parameter error if the data are others than at the beginning, a training error if the member that was trained twice
    /// is another one the second time.
    pub fn end_elsewhere(
        &mut self,
        fit: Elsewhere,
        data: &dyn TrainingSet,
        execution: Option<Option<Execution>>,
    ) -> Result<()> {
        let Elsewhere { run, course, .. } = fit;
        match execution {
            Some(execution) => {
                let outcome = course.end(self, execution, run.files.as_ref());
                self.end_run(run, data, outcome)
            }
            None => {
                let cancelled = course.cancelled(self);
                match self.end_run(run, data, Err(cancelled)) {
                    Err(error) if *error.kind() == ErrorKind::Cancelled => Ok(()),
                    other => other,
                }
            }
        }
    }

    /// What is said of a fit that was cancelled.
    pub fn cancelled_elsewhere(&self, fit: &Elsewhere) -> Error {
        fit.course.cancelled(self)
    }

    /// Trains some members of data that the ensemble was made of, for a fit elsewhere: they are returned, and not kept.
    ///
    /// # Errors
    /// Those of training.
    pub fn train_for(
        &mut self,
        data: &dyn TrainingSet,
        numbers: &[u64],
        control: &Control<'_>,
    ) -> Result<Vec<(u64, Vec<u8>)>> {
        let mut members = Vec::with_capacity(numbers.len());
        train_only(self, data, numbers, control, |_, member| members.push(member))?;
        members.iter().map(|member| Ok((member.number, self.to_bytes(member)?))).collect()
    }

    /// Members as bytes, in the order of their numbers: all of them, the scout included, or those with the given numbers.
    ///
    /// # Errors
    /// Those of a learner that cannot write an object.
    pub fn pack(&self, numbers: Option<&[u64]>) -> Result<Vec<(u64, Vec<u8>)>> {
        let wanted = |member: &&Member| numbers.is_none_or(|numbers| numbers.contains(&member.number));
        let pack = |member: &Member| Ok((member.number, self.to_bytes(member)?));
        match numbers {
            Some(numbers) if numbers.len() < self.members.len() => {
                numbers.iter().filter_map(|number| self.members.get(number)).map(pack).collect()
            }
            _ => self.trained().filter(wanted).map(pack).collect(),
        }
    }

    /// Takes over a member of this record as [`Ensemble::pack`] gave it.
    ///
    /// # Errors
    /// A training error if the bytes are damaged, or those of another member or record.
    pub fn unpack(&mut self, number: u64, bytes: &[u8]) -> Result<()> {
        let member = self.of_bytes(number, bytes)?;
        self.insert(member)
    }

    /// The noise magnitudes of the training samples that the scout of the published form found.
    pub fn sigmas(&self) -> Option<&[f32]> {
        self.sigmas.as_deref()
    }

    /// Takes them over from elsewhere.
    pub fn recall_sigmas(&mut self, sigmas: Vec<f32>) {
        self.sigmas = Some(Arc::from(sigmas));
    }

    /// Takes over what [`Ensemble::magnitudes`] said of the inputs that are going to be asked about, under the published form:
    /// they are then not searched here.
    pub fn recall_magnitudes(&mut self, magnitudes: Vec<f32>) {
        self.asked_sigmas = Some(magnitudes);
    }

    fn to_bytes(&self, member: &Member) -> Result<Vec<u8>> {
        encode(&self.record.digest()?, self.backend.layout(), member)
    }

    fn of_bytes(&self, number: u64, bytes: &[u8]) -> Result<Member> {
        let damaged = |why: &str| Error::training(Some(number), format!("what came back for it {why}"));
        let member = decode(bytes, &self.record.digest()?, self.backend.layout())
            .map_err(|_| damaged("belongs to other settings or data"))?
            .ok_or_else(|| damaged("is damaged"))?;
        if member.number != number {
            return Err(damaged("is another member"));
        }
        self.backend.read(member)
    }
}
