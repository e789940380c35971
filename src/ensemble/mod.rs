//! The ensemble: one law, one model, many members trained on noised training sets.
//!
//! Path of the data: [`TrainingSet`] -> a member's noised set (the only door) -> trained member -> votes.

mod control;
mod elsewhere;
mod forgotten;
mod influence;
mod own_noise;
mod parts;
mod scout;
mod stacks;
mod threads;
mod train;
mod twice;
mod vote;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::augment::Augment;
use crate::backend::{self, Backend, Changes};
use crate::error::{Error, Result};
use crate::law::{Law, NoiseLaw};
use crate::member::built_in::{closed_form, ClosedForm};
use crate::member::checkpoint::{read_record, Checkpoint};
use crate::member::encoding::member_digest;
use crate::member::votes::Said;
use crate::member::{
    check_features, check_members, check_sizes, Device, FeatureShape, Gpus, Settings, SCHEMA,
};
use crate::member::{History, Layout, Member, Record, TrainConfig, TrainingSet, Trusted};
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

/// What was there before a run, and where it keeps its members.
#[derive(Debug)]
struct Run {
    files: Option<Checkpoint>,
    earlier: BTreeSet<u64>,
}

impl Ensemble {
    /// An ensemble without members; checks everything that can be checked before training.
    ///
    /// # Errors
    /// Parameter, shape and device errors, each naming what was expected and what came.
    pub fn new(data: &dyn TrainingSet, law: Law, config: &TrainConfig) -> Result<Self> {
        let settings = config.check(backend::gpus)?;
        let backend = backend::built_in(&config.model, data.shape(), data.n_classes(), &settings)?;
        Self::with_backend(data, law, config, backend)
    }

    /// The same with members that are computed by `backend`; its name goes into the record.
    ///
    /// # Errors
    /// As [`Ensemble::new`].
    pub fn with_backend(
        data: &dyn TrainingSet,
        law: Law,
        config: &TrainConfig,
        backend: Arc<dyn Backend>,
    ) -> Result<Self> {
        let settings = config.check(|| backend.gpus())?;
        if let Law::Cascade(_) = law {
            let expected = "a law of one level; each level of a cascade is an ensemble of its own";
            return Err(Error::parameter("law", expected, law.describe()));
        }
        check_sizes(data)?;
        let record = Record {
            schema: SCHEMA,
            seed: Seed::new(config.seed),
            law,
            model: backend.name().to_owned(),
            shape: data.shape(),
            n_classes: data.n_classes(),
            n_train: data.n_samples(),
            epochs: settings.epochs,
            batch_size: settings.batch_size,
            learning_rate: settings.learning_rate,
            precision: settings.precision,
            data_digest: data.digest()?,
            trusted: Trusted::of(data)?,
            augment: config.augment.as_ref().map(|augment| augment.recorded().clone()),
            changed_before_map: changed_before_map(data, config)?,
            copies: checked_copies(config, &settings, backend.as_ref())?,
            penalty: recorded_penalty(config, &settings),
            before_noise: config.before_noise.clone(),
            behaviour: backend.behaviour().clone(),
        };
        record.law.check(&record.facts())?;
        if record.law.sample_specific().is_some() && !backend.searches() {
            let expected = "one without sample-specific noise, whose magnitudes are searched by gradient: this model has none";
            return Err(Error::parameter("law", expected, record.law.describe()));
        }
        record.check_augment()?;
        check_features(data, &record.law)?;
        data.trusted().map_or(Ok(()), |trusted| check_features(trusted, &record.law))?;
        check_member_size(&record, backend.as_ref())?;
        Ok(Self::without_members(record, settings, backend))
    }

    fn without_members(record: Record, settings: Settings, backend: Arc<dyn Backend>) -> Self {
        Self {
            record,
            settings,
            backend,
            members: BTreeMap::new(),
            on_disk: false,
            said: Said::default(),
            comes_to: None,
            votes_in: None,
            part: None,
            heard: BTreeSet::new(),
            scout: None,
            sigmas: None,
            asked_sigmas: None,
            execution: None,
            parts: Parts::default(),
            new: BTreeSet::new(),
            older: BTreeSet::new(),
            history: Mutex::default(),
        }
    }

    /// Trains `n_members` members: [`Ensemble::new`], then [`Ensemble::train`].
    ///
    /// # Errors
    /// As the two.
    pub fn fit(
        data: &dyn TrainingSet,
        law: Law,
        config: &TrainConfig,
        n_members: u64,
        checkpoint: Option<&Path>,
        control: &Control<'_>,
    ) -> Result<Self> {
        let mut ensemble = Self::new(data, law, config)?;
        ensemble.train_same(data, n_members, checkpoint, control)?;
        Ok(ensemble)
    }

    /// An ensemble of a record, without members, without data; only built-in networks.
    ///
    /// # Errors
    /// Parameter errors for a record that no ensemble can have.
    pub fn of_record(record: Record) -> Result<Self> {
        let settings = settings_of(&record)?;
        let backend = backend::built_in(&record.model, record.shape, record.n_classes, &settings)?;
        Self::of_record_with(record, backend)
    }

    /// The same with members that are computed by `backend`.
    ///
    /// # Errors
    /// A parameter error if it does not compute the model of the record.
    pub fn of_record_with(record: Record, backend: Arc<dyn Backend>) -> Result<Self> {
        check_same_model(&record, backend.as_ref())?;
        let settings = settings_of(&record)?;
        Ok(Self::without_members(record, settings, backend))
    }

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
    fn place(&mut self, number: u64, checkpoint: Option<&Checkpoint>) {
        let Some(checkpoint) = checkpoint.filter(|_| self.on_disk) else { return };
        if let Some(member) = self.members.get_mut(&number) {
            *member = checkpoint.placed(member);
        }
    }

    /// A digest of everything that a member's file says, for each trained member by number: of the record, of its
    /// values, and of whatever else is known of it.
    ///
    /// # Errors
    /// None in practice.
    pub fn digests(&self) -> Result<Vec<(u64, String)>> {
        let digest = self.record.digest()?;
        self.trained().map(|member| Ok((member.number, member_digest(&digest, member)?))).collect()
    }

    /// How the number of members came about.
    pub fn history(&self) -> History {
        self.known().clone()
    }

    /// Takes over what is known of the same members from elsewhere, such as a pickle.
    pub fn recall(&self, history: &History) {
        self.known().merge(history);
    }

    /// Begins a checkpoint directory, or finds it begun for the same members.
    ///
    /// # Errors
    /// A checkpoint error if the directory cannot be used, or belongs to other members.
    pub fn begin(&self, checkpoint: &Path) -> Result<()> {
        Checkpoint::open(checkpoint, &self.record, self.backend.layout()).map(drop)
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

    fn plan_in(&self, n_members: u64, files: Option<&Checkpoint>) -> Result<bool> {
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

    fn tell(&self, checkpoint: Option<&Path>, add: impl FnOnce(&mut History)) -> Result<()> {
        let files = checkpoint.map(|path| Checkpoint::again(path, &self.record, self.backend.layout()));
        let files = files.transpose()?.flatten();
        if let Some(files) = &files {
            self.recall(&files.history()?);
        }
        add(&mut self.known());
        self.remember(files.as_ref())
    }

    fn remember(&self, files: Option<&Checkpoint>) -> Result<()> {
        let history = self.history();
        files.map_or(Ok(()), |files| files.remember(&history))
    }

    fn known(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

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
    fn train_same(
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

    fn begin_run(
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
    fn end_run<T>(&mut self, run: Run, data: &dyn TrainingSet, outcome: Result<T>) -> Result<T> {
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

    fn check_same_data(&self, data: &dyn TrainingSet) -> Result<()> {
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
    fn has_digests_of(&self, data: &dyn TrainingSet) -> Result<bool> {
        Ok(data.digest()? == self.record.data_digest && Trusted::of(data)? == self.record.trusted)
    }
}

/// Settings that a record says nothing of are those of a CPU.
fn settings_of(record: &Record) -> Result<Settings> {
    TrainConfig { device: "cpu".to_owned(), ..TrainConfig::of(record) }.check(Gpus::default)
}

fn check_same_model(record: &Record, backend: &dyn Backend) -> Result<()> {
    if record.model != backend.name() {
        let expected = format_args!("the model that the members were trained as, '{}'", record.model);
        return Err(Error::parameter("model", expected, format_args!("'{}'", backend.name())));
    }
    if record.behaviour != *backend.behaviour() {
        let expected = format_args!("the model that the members were trained as, '{}'", record.model);
        return Err(Error::parameter(
            "model",
            expected,
            "one that is built like it but computes something else",
        ));
    }
    Ok(())
}

/// The shape of samples as an augmentation changes them, where it goes before a map.
fn changed_before_map(data: &dyn TrainingSet, config: &TrainConfig) -> Result<Option<FeatureShape>> {
    let received = data.received().map(|received| received.shape());
    let is_before = config.augment.as_ref().is_some_and(Augment::is_before_map);
    if is_before == received.is_some() {
        return Ok(received);
    }
    let expected = "one before a map exactly where the samples are known as they were before it";
    Err(Error::parameter("augment", expected, "another"))
}

/// Copies of the noised set belong to the record where members look at it once, and nowhere else.
fn checked_copies(config: &TrainConfig, settings: &Settings, backend: &dyn Backend) -> Result<Option<usize>> {
    match (backend.changes(), &config.augment, config.copies) {
        (Changes::Never, Some(_), _) => {
            let expected = "left out: this model's learner does not change its samples";
            Err(Error::parameter("augment", expected, "an augmentation"))
        }
        (Changes::Once, augment, _) => Ok(augment.as_ref().map(|_| settings.copies)),
        (_, _, None) => Ok(None),
        (_, _, Some(copies)) => {
            let expected = "left out for members that see changed samples in every epoch";
            Err(Error::parameter("copies", expected, copies))
        }
    }
}

/// The penalty of members in closed form; that of discriminants was always 1 once, and is not written.
fn recorded_penalty(config: &TrainConfig, settings: &Settings) -> Option<f64> {
    let form = closed_form(&config.model)?;
    Some(settings.penalty).filter(|penalty| form == ClosedForm::Ridge || *penalty != form.penalty())
}

/// A member's noised set must be large enough for its model.
fn check_member_size(record: &Record, backend: &dyn Backend) -> Result<()> {
    if record.law.sizes_vary() || matches!(record.law, Law::Partition(_)) {
        // Members whose sets are too small vote for a fixed class.
        return Ok(());
    }
    let n = record.law.subset(record.seed, 0, record.n_train).map_or(record.n_train, |subset| subset.len());
    if n + record.n_trusted() >= backend.min_samples() {
        return Ok(());
    }
    Err(Error::parameter(
        "size",
        format_args!("an integer of at least {} for the model '{}'", backend.min_samples(), backend.name()),
        n,
    ))
}
