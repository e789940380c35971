//! Ensembles of any size in constant memory: members vote on inputs that are known when they are trained, and are forgotten.
//!
//! What is left of a member is its number, its loss, a digest of its values and its votes. Asked about the very same inputs, the
//! ensemble answers from these; about others nobody can say anything any more.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use ndarray::Array2;
use sha2::{Digest, Sha256};

use super::train::{check_failed, train_only};
use super::{Control, Elsewhere, Ensemble, Progress};
use crate::error::{Error, Result};
use crate::member::checkpoint::Checkpoint;
use crate::member::votes::{decode, encode, read_all, read_new, remove, write, Said};
use crate::member::{forgotten, hex, read, Inputs, Member, TrainingSet, Values};
use crate::seed::SCOUT;

/// Bytes of values that are in memory before members vote.
const VALUES: usize = 64 << 20;
/// Members at most, whatever they are.
const MEMBERS: usize = 256;
/// What share of the missing members a process takes at most where others may share the work, and for how many members of each thread
/// it takes them anyway.
const SHARES: usize = 4;
const SMALLEST: usize = 4;

impl Ensemble {
    /// How many members are in memory at the same time where they are forgotten when they have voted.
    pub fn part(&self) -> usize {
        (VALUES / (4 * self.layout().n_values()).max(1 << 18)).clamp(2, MEMBERS)
    }

    /// Says that so many members are trained in parts, each by a call of [`Ensemble::train`] with a smaller number; `None` ends
    /// that. What is planned, and of how many members half may fail, is this number. `checkpoint` is the directory that gets their
    /// votes, and from which those are removed of members that turn out to be worth nothing.
    ///
    /// # Errors
    /// A checkpoint error if the directory cannot be used.
    pub fn come_to(&mut self, n_members: Option<u64>, checkpoint: Option<&Path>) -> Result<()> {
        let open = |folder| Checkpoint::open(folder, &self.record, self.backend.layout()).map(Arc::new);
        self.votes_in = checkpoint.map(open).transpose()?;
        (self.comes_to, self.part, self.heard) = (n_members, None, BTreeSet::new());
        Ok(())
    }

    /// Members that this process trains next, of so many, claimed if other processes share the checkpoint: those that the next
    /// call of [`Ensemble::train`] trains. None for now where others are training all that are missing, and `None` when nobody is
    /// missing.
    ///
    /// # Errors
    /// Those of the checkpoint, a training error if too many members have failed by now.
    pub fn next_part(&mut self, n_members: u64, control: &Control<'_>) -> Result<Option<Vec<u64>>> {
        self.hear_others(n_members, control)?;
        let missing: Vec<u64> = (0..n_members).filter(|number| !self.members.contains_key(number)).collect();
        let mut most = self.part();
        let mut part = Vec::new();
        if let Some(votes) = self.votes_in.clone() {
            // What is left is divided, so that nobody waits long for the last part of another one.
            most = most.min((missing.len() / SHARES).max(SMALLEST * self.settings.workers()));
            for number in &missing {
                if part.len() < most && votes.claim(*number)? {
                    part.push(*number);
                }
            }
            // Who gives a claim up has written the votes before.
            self.hear_others(n_members, control)?;
            part.retain(|number| {
                let there = self.members.contains_key(number);
                if there {
                    votes.give_up(*number);
                }
                !there
            });
        } else {
            part.extend(missing.iter().take(most));
        }
        self.part = Some(part.iter().copied().collect());
        Ok((!missing.is_empty()).then_some(part))
    }

    /// Takes over what other processes that share the checkpoint have written of these inputs since.
    fn hear_others(&mut self, n_members: u64, control: &Control<'_>) -> Result<()> {
        for member in self.heard_from_others(n_members)? {
            let (number, loss) = (member.number, member.loss);
            self.members.insert(number, member);
            let done = self.members.range(..n_members).count() as u64;
            control.report(&Progress { member: number, done, total: n_members, loss, resumed: true });
        }
        check_failed(self, n_members)
    }

    /// Members of which other processes have written votes since the last look, and that are not here; their votes are.
    pub(super) fn heard_from_others(&mut self, n_members: u64) -> Result<Vec<Member>> {
        let Some(votes) = &self.votes_in else { return Ok(Vec::new()) };
        if self.published().is_some() && self.scout.is_none() {
            return Ok(Vec::new());
        }
        let sizes = (self.backend.layout().n_values(), self.record.n_classes);
        let found = read_new(votes.folder(), &self.record.digest()?, &self.said, sizes, &mut self.heard);
        let mut members = Vec::new();
        for (member, row) in found {
            if member.number < n_members && !self.members.contains_key(&member.number) {
                self.said.rows.insert(member.number, row);
                members.push(member);
            }
        }
        Ok(members)
    }

    /// The same work, which also tells others all the time that members which were claimed are worked on.
    pub(super) fn keeping_claims<'a>(&self, control: &'a Control<'_>) -> Control<'a> {
        let votes = self.votes_in.clone();
        Control::new().on_progress(|progress| control.report(progress)).on_poll(move || {
            votes.iter().for_each(|votes| votes.keep_claims());
            control.stops()
        })
    }

    /// Removes what the checkpoint of a training in parts has of these members.
    pub(super) fn remove_votes(&mut self, members: &BTreeSet<u64>) -> Result<()> {
        self.said.rows.retain(|number, _| !members.contains(number));
        self.votes_in.as_deref().map_or(Ok(()), |votes| remove(votes.folder(), members))
    }

    /// Takes over the votes on these inputs that a checkpoint has, of members that are not there; members that were forgotten and
    /// voted on others are dropped.
    ///
    /// # Errors
    /// Those of inputs that cannot be read, a checkpoint error.
    pub fn recall_votes(
        &mut self,
        inputs: &dyn Inputs,
        n_members: u64,
        checkpoint: Option<&Path>,
    ) -> Result<()> {
        self.check_inputs(inputs)?;
        let digest = digest_of(inputs)?;
        if self.said.inputs != digest {
            self.members.retain(|_, member| member.values.digest_of_forgotten().is_none());
            self.said = Said::of(digest, inputs.n_samples(), self.record.n_classes);
        }
        // Of several earlier trainings, each with its own votes, those of the last are left.
        let said = &self.said;
        self.members.retain(|number, member| {
            member.values.digest_of_forgotten().is_none() || said.rows.contains_key(number)
        });
        let Some(folder) = checkpoint else { return Ok(()) };
        let files = Checkpoint::open(folder, &self.record, self.backend.layout())?;
        if self.published().is_some() && self.scout.is_none() {
            // Who finds magnitudes is asked later as well: without it, votes are not enough.
            let Some(scout) = files.load(SCOUT)? else { return Ok(()) };
            self.scout = Some(self.backend.read(scout)?);
        }
        let sizes = (self.backend.layout().n_values(), self.record.n_classes);
        let (mut known, members) = read_all(folder, &self.record.digest()?, Some(&self.said.inputs), sizes);
        if known.n != self.said.n {
            return Ok(());
        }
        for member in members {
            let number = member.number;
            if number >= n_members || self.members.contains_key(&number) {
                continue;
            }
            if let Some(row) = known.rows.remove(&number) {
                self.said.rows.insert(number, row);
                self.members.insert(number, member);
            }
        }
        Ok(())
    }

    /// Members that are in memory vote on the inputs, and are forgotten; their votes go into the checkpoint. `done` says that
    /// these were the last.
    ///
    /// # Errors
    /// As [`Ensemble::votes`]; a checkpoint error if they cannot be written.
    pub fn forget(
        &mut self,
        inputs: &dyn Inputs,
        checkpoint: Option<&Path>,
        done: bool,
        control: &Control<'_>,
    ) -> Result<()> {
        let present = |member: &&Member| member.values.digest_of_forgotten().is_none();
        let here: Vec<Member> = self.members.values().filter(present).cloned().collect();
        let numbers: Vec<u64> = here.iter().map(|member| member.number).collect();
        let control = &self.keeping_claims(control);
        for (member, row) in self.heard_of(here, inputs, control)? {
            self.said.add(member.number, &row);
            self.members.insert(member.number, member);
        }
        let Some(folder) = checkpoint else { return Ok(()) };
        if let Some(scout) = &self.scout {
            let files = Checkpoint::open(folder, &self.record, self.backend.layout())?;
            if !files.holds(scout) {
                files.save(scout)?;
            }
        }
        let written = if done { self.members.keys().copied().collect() } else { numbers };
        self.write_votes(folder, &written, done)
    }

    /// What members say of the inputs, each as what is left of it then.
    fn heard_of(
        &self,
        members: Vec<Member>,
        inputs: &dyn Inputs,
        control: &Control<'_>,
    ) -> Result<Vec<(Member, Vec<u16>)>> {
        if members.is_empty() {
            return Ok(Vec::new());
        }
        let mut asked =
            Self::without_members(self.record.clone(), self.settings.clone(), self.backend.clone());
        asked.scout.clone_from(&self.scout);
        asked.asked_sigmas.clone_from(&self.asked_sigmas);
        asked.members.extend(members.into_iter().map(|member| (member.number, member)));
        let votes = asked.votes(inputs, control)?;
        let heard = asked.members.into_values().zip(votes.outer_iter()).map(|(member, row)| {
            let digest = match member.values.bytes() {
                Ok(bytes) => Sha256::digest(bytes),
                // An estimator that no file may hold is known by what it said.
                Err(_) => Sha256::digest(row.iter().flat_map(|vote| vote.to_le_bytes()).collect::<Vec<u8>>()),
            };
            let values = Values::forgotten(hex(&digest), member.values.len());
            (Member { values, ..member }, row.to_vec())
        });
        Ok(heard.collect())
    }

    /// Trains some members, for a fit elsewhere, that vote on the inputs and are forgotten; what is left of them, as bytes.
    ///
    /// # Errors
    /// Those of training and of votes.
    pub fn vote_for(
        &mut self,
        data: &dyn TrainingSet,
        numbers: &[u64],
        inputs: &dyn Inputs,
        control: &Control<'_>,
    ) -> Result<Vec<u8>> {
        let mut members = Vec::with_capacity(numbers.len());
        train_only(self, data, numbers, control, |_, member| members.push(member))?;
        let mut said = Said::of(digest_of(inputs)?, inputs.n_samples(), self.record.n_classes);
        let mut left = Vec::with_capacity(members.len());
        for (member, row) in self.heard_of(members, inputs, control)? {
            said.add(member.number, &row);
            left.push(member);
        }
        let left: Vec<&Member> = left.iter().collect();
        Ok(encode(&self.record.digest()?, &said, &left)?.map_or_else(Vec::new, |(bytes, _)| bytes))
    }

    /// Takes members that were trained elsewhere, voted there, and were forgotten.
    ///
    /// # Errors
    /// A training error if the bytes are damaged, or speak of other members, inputs or settings, or if too many members have
    /// failed by now.
    pub fn take_votes(
        &mut self,
        fit: &mut Elsewhere,
        numbers: &[u64],
        bytes: &[u8],
        control: &Control<'_>,
    ) -> Result<()> {
        let sizes = (self.backend.layout().n_values(), self.record.n_classes);
        let damaged = || {
            Error::training(numbers.first().copied(), "the votes that came back are damaged, or of others")
        };
        let heard = decode(bytes, &self.record.digest()?, &self.said, sizes).ok_or_else(damaged)?;
        let wanted: BTreeSet<u64> = numbers.iter().copied().collect();
        let came: BTreeSet<u64> = heard.iter().map(|(member, _)| member.number).collect();
        if came != wanted || came.len() != heard.len() {
            return Err(damaged());
        }
        let mut outcome = Ok(());
        for (member, row) in heard {
            self.said.rows.insert(member.number, row);
            outcome = outcome.and(fit.keep(self, member, control));
        }
        outcome
    }

    /// Writes the votes of some members that were forgotten into a checkpoint.
    ///
    /// # Errors
    /// A checkpoint error if they cannot be written.
    pub fn keep_votes(&self, numbers: &[u64], checkpoint: &Path) -> Result<()> {
        self.write_votes(checkpoint, numbers, false)
    }

    fn write_votes(&self, folder: &Path, numbers: &[u64], done: bool) -> Result<()> {
        let members: Vec<&Member> = numbers.iter().filter_map(|number| self.members.get(number)).collect();
        write(folder, &self.record.digest()?, &self.said, &members, done)?;
        let written = members.iter().filter(|member| self.said.rows.contains_key(&member.number));
        written.for_each(|member| self.votes_in.iter().for_each(|votes| votes.give_up(member.number)));
        Ok(())
    }

    /// Whether a member was forgotten.
    pub fn forgets(&self) -> bool {
        self.members.values().any(|member| member.values.digest_of_forgotten().is_some())
    }

    /// Writes the votes of members that were forgotten, for [`Ensemble::save`].
    pub(super) fn save_votes(&self, folder: &Path) -> Result<()> {
        let all: Vec<u64> = self.members.keys().copied().collect();
        self.write_votes(folder, &all, true)
    }

    /// Takes over all votes of a directory that has no members.
    pub(super) fn open_votes(&mut self, folder: &Path) -> Result<()> {
        let sizes = (self.backend.layout().n_values(), self.record.n_classes);
        let (said, members) = read_all(folder, &self.record.digest()?, None, sizes);
        self.said = said;
        self.members.extend(members.into_iter().map(|member| (member.number, member)));
        Ok(())
    }

    /// What was said of these very inputs; `None` where members can be asked.
    ///
    /// # Errors
    /// A parameter error where they cannot, and these are other inputs.
    pub(super) fn said_of(&self, inputs: &dyn Inputs) -> Result<Option<Array2<u16>>> {
        if !self.forgets() {
            return Ok(None);
        }
        self.check_inputs(inputs)?;
        if inputs.n_samples() != self.said.n || digest_of(inputs)? != self.said.inputs {
            return Err(forgotten());
        }
        let mut votes = Array2::zeros((self.members.len(), self.said.n));
        for (number, mut own) in self.members.keys().zip(votes.outer_iter_mut()) {
            let row = self.said.row(*number).ok_or_else(forgotten)?;
            own.iter_mut().zip(row).for_each(|(own, vote)| *own = vote);
        }
        Ok(Some(votes))
    }

    /// What members said that were forgotten: the digest of what was asked, how many inputs that are, and each member's votes as
    /// bytes. [`Ensemble::recall_said`] takes it back.
    pub fn said(&self) -> (String, usize, Vec<(u64, Vec<u8>)>) {
        let rows = self.said.rows.iter().map(|(number, row)| (*number, row.to_vec())).collect();
        (self.said.inputs.clone(), self.said.n, rows)
    }

    /// Takes over what [`Ensemble::said`] gave.
    pub fn recall_said(&mut self, (inputs, n, rows): (String, usize, Vec<(u64, Vec<u8>)>)) {
        let mut said = Said::of(inputs, n, self.record.n_classes);
        let whole = |row: &Vec<u8>| row.len() == n * said.width;
        let rows: Vec<_> = rows.into_iter().filter(|(_, row)| whole(row)).collect();
        said.rows.extend(rows.into_iter().map(|(number, row)| (number, row.into())));
        self.said = said;
    }

    /// A member of which only a digest is left, as a pickle holds it.
    pub fn insert_forgotten(&mut self, number: u64, loss: f32, digest: String) {
        let values = Values::forgotten(digest, self.backend.layout().n_values());
        self.members.insert(number, Member { number, values, loss });
    }
}

fn digest_of(inputs: &dyn Inputs) -> Result<String> {
    let mut digest = Sha256::new();
    digest.update(format!("{} {}", inputs.n_samples(), inputs.shape()));
    let mut row = vec![0.0_f32; inputs.shape().n_features()];
    for index in 0..inputs.n_samples() {
        read(inputs, index, &mut row)?;
        digest.update(bytemuck::cast_slice(&row));
    }
    Ok(hex(&digest.finalize()))
}
