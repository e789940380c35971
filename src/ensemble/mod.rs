//! The ensemble: one law, one model, many members trained on noised training sets.
//!
//! Path of the data: [`TrainingSet`](crate::member::TrainingSet) -> a member's noised set (the only door) -> trained member -> votes.

mod control;
mod elsewhere;
mod folders;
mod forgotten;
mod influence;
mod looks;
mod making;
mod own_noise;
mod parts;
mod run;
mod scout;
mod stacks;
mod threads;
mod train;
mod twice;
mod vote;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::backend::{self, Backend};
use crate::error::{Error, Result};
use crate::member::checkpoint::Checkpoint;
use crate::member::encoding::member_digest;
use crate::member::votes::Said;
use crate::member::{Device, History, Layout, Member, Record, Settings, TrainConfig};
use crate::seed::{Seed, SCOUT};

pub use control::{Control, Progress};
pub use elsewhere::Elsewhere;
pub use influence::Influence;
use parts::Parts;

/// Names of the devices that built-in networks can be computed on: "cpu", then "cuda:0" and on.
pub fn devices() -> Vec<String> {
    let gpus = (0..backend::gpus().number).map(Device::Cuda);
    std::iter::once(Device::Cpu).chain(gpus).map(|device| device.to_string()).collect()
}

/// How many members may have files of their own when a training ends: where members are in memory, and where they are not.
const MANY_FILES: usize = 64;
const FEW_FILES: usize = 8;

/// An ensemble under one law, trained or in training.
///
/// Members are numbered from 0; member m depends on the record and on m alone, so that an ensemble can be
/// continued to more members, interrupted and resumed without changing any of them.
#[derive(Debug)]
pub struct Ensemble {
    record: Record,
    settings: Settings,
    backend: Arc<dyn Backend>,
    members: BTreeMap<u64, Member>,
    /// Whether members whose values a checkpoint has are read from there when they are asked.
    on_disk: bool,
    /// What members said that were forgotten.
    said: Said,
    /// To how many members a training in parts comes.
    comes_to: Option<u64>,
    /// The checkpoint that gets votes of such a training, and no members.
    votes_in: Option<Arc<Checkpoint>>,
    /// Members of the part that is trained next, where there are parts.
    part: Option<BTreeSet<u64>>,
    /// Files of votes that were looked at.
    heard: BTreeSet<PathBuf>,
    /// For the published form of sample-specific noise: who finds magnitudes, and those of the training samples.
    scout: Option<Member>,
    sigmas: Option<Arc<[f32]>>,
    /// Magnitudes of the inputs that are going to be asked about, where they are known from elsewhere.
    asked_sigmas: Option<Vec<f32>>,
    execution: Option<Execution>,
    parts: Parts,
    /// Members that were trained here, in this process: in the run that is under way, or was the last, and in those before it.
    new: BTreeSet<u64>,
    older: BTreeSet<u64>,
    /// Behind a lock, because asking for answers adds to it.
    history: Mutex<History>,
}

/// How the members of the last training run were trained: no part of the record, since it changes them by rounding
/// only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// Members computed together at first; 1 is one by one.
    pub stack: usize,
    /// Members computed together at the end: fewer if memory did not suffice, 1 if stacks failed.
    pub smallest: usize,
    /// Threads that trained at the same time: on the CPU, or one or more for each GPU.
    pub side_by_side: usize,
    /// Why stacks were given up during training, if they were.
    pub failure: Option<String>,
}

impl Ensemble {
    /// A digest of everything that a member's file says, for each trained member by number: of the record, of its
    /// values, and of whatever else is known of it.
    ///
    /// # Errors
    /// None in practice.
    pub fn digests(&self) -> Result<Vec<(u64, String)>> {
        let digest = self.record.digest()?;
        self.trained().map(|member| Ok((member.number, member_digest(&digest, member)?))).collect()
    }

    /// How the members of the last training run were trained; `None` before one.
    pub fn execution(&self) -> Option<&Execution> {
        self.execution.as_ref()
    }

    /// What the members are.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Names, shapes and kinds of a member's values.
    pub fn layout(&self) -> &Layout {
        self.backend.layout()
    }

    /// How many members are computed together, where that was asked for.
    pub fn stack(&self) -> Option<usize> {
        self.settings.stack
    }

    /// Number of trained members.
    pub fn n_members(&self) -> usize {
        self.members.len()
    }

    /// Number of members whose training diverged, which vote for the lowest class.
    pub fn n_failed(&self) -> usize {
        let failed = |member: &&Member| member.is_failed() && !member.is_idle() && !self.is_empty(member);
        self.members.values().filter(failed).count()
    }

    /// Number of a partition's learners with too few samples to be trained, each of which votes for a fixed class.
    pub fn n_idle(&self) -> usize {
        self.members.values().filter(|member| member.is_idle()).count()
    }

    /// Number of members for which no samples were drawn, or fewer than their model needs: they vote for the lowest class.
    pub fn n_empty(&self) -> usize {
        self.members.values().filter(|member| member.is_failed() && self.is_empty(member)).count()
    }

    /// Whether that is why a member votes for the lowest class.
    fn is_empty(&self, member: &Member) -> bool {
        let Record { law, seed, n_train, .. } = &self.record;
        law.too_few(*seed, member.number, *n_train, self.record.n_trusted(), self.backend.min_samples())
    }

    /// The trained members, by number; their values may lie in a checkpoint ([`Ensemble::fetch`]).
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// Everything that was trained: the members, and the scout of the published form of sample-specific noise.
    /// [`Ensemble::insert`] takes them back.
    pub fn trained(&self) -> impl Iterator<Item = &Member> {
        self.members.values().chain(&self.scout)
    }

    /// Adds a member that was trained elsewhere for the same record, such as one that was pickled.
    ///
    /// # Errors
    /// A shape error if it has another number of values than the model.
    pub fn insert(&mut self, member: Member) -> Result<()> {
        let expected = self.backend.layout().n_values();
        let is_object = member.values.object().is_some();
        if is_object == self.backend.has_values() && !member.is_failed() && member.values.are_here() {
            let expected = if self.backend.has_values() { "numbers" } else { "an object" };
            return Err(Error::parameter("member", expected, "the other"));
        }
        if member.values.len() != expected {
            let got = format_args!("{} values", member.values.len());
            return Err(Error::shape("member", format_args!("{expected} values"), got));
        }
        if member.number == SCOUT {
            self.scout = Some(member);
        } else {
            self.members.insert(member.number, member);
        }
        Ok(())
    }

    /// Keeps the members 0..`n_members` only.
    pub fn truncate(&mut self, n_members: u64) {
        self.members =
            std::mem::take(&mut self.members).into_iter().filter(|(m, _)| *m < n_members).collect();
    }

    /// Gives an ensemble that has no members another root seed.
    ///
    /// # Errors
    /// A parameter error if it has members: they belong to the seed that they were trained with.
    pub fn reseed(&mut self, seed: u64) -> Result<()> {
        if self.trained().next().is_some() {
            let expected = "given before any member is trained";
            return Err(Error::parameter("seed", expected, "it afterwards"));
        }
        self.record.seed = Seed::new(seed);
        Ok(())
    }

    /// Takes back all members that were trained by this object, here and in a checkpoint: it turned out that they are not
    /// independent.
    ///
    /// # Errors
    /// A checkpoint error if a file cannot be removed.
    pub fn discard_new(&mut self, checkpoint: Option<&Path>) -> Result<()> {
        let view = |path| Checkpoint::view(path, &self.record, self.backend.layout());
        let files = checkpoint.filter(|path| path.exists()).map(view).transpose()?;
        self.discard(files.as_ref())
    }

    fn discard(&mut self, files: Option<&Checkpoint>) -> Result<()> {
        // Earlier runs too: these members are of one kind.
        let mut new = std::mem::take(&mut self.new);
        new.append(&mut self.older);
        self.members.retain(|number, _| !new.contains(number));
        self.scout = self.scout.take().filter(|scout| !new.contains(&scout.number));
        self.remove_votes(&new)?;
        files.map_or(Ok(()), |files| files.remove(&new))
    }

    /// One parameter of one member with its shape; `None` if there is no such member or parameter.
    ///
    /// # Errors
    /// As [`Ensemble::fetch`].
    pub fn parameter(&self, member: u64, name: &str) -> Result<Option<(Vec<usize>, Vec<f32>)>> {
        let Some(member) = self.members.get(&member) else { return Ok(None) };
        let found = self.backend.layout().ranges().find(|(spec, _)| spec.name == name);
        let Some((spec, range)) = found else { return Ok(None) };
        let values = member.values.here()?;
        Ok(values.get(range).map(|values| (spec.shape.clone(), values.to_vec())))
    }

    /// Changes how the work is done, not what comes out: threads, device, stack.
    ///
    /// # Errors
    /// Parameter and device errors.
    pub fn reconfigure(&mut self, device: &str, n_jobs: Option<usize>, stack: Option<usize>) -> Result<()> {
        let config =
            TrainConfig { device: device.to_owned(), n_jobs, stack, ..TrainConfig::of(&self.record) };
        let settings = config.check(|| self.backend.gpus())?;
        if self.backend.is_built_in() {
            let Record { model, shape, n_classes, .. } = &self.record;
            self.backend = backend::built_in(model, *shape, *n_classes, &settings)?;
        }
        let augment = self.settings.augment.take();
        self.settings = Settings { augment, ..settings };
        Ok(())
    }
}
