//! What an ensemble is made of, checked before anything is computed: data, law and settings, or a record.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::parts::Parts;
use super::{Control, Ensemble};
use crate::augment::Augment;
use crate::backend::{self, Backend, Changes};
use crate::error::{Error, Result};
use crate::law::{Law, NoiseLaw};
use crate::member::built_in::{closed_form, ClosedForm};
use crate::member::votes::Said;
use crate::member::{check_features, check_sizes, FeatureShape, Gpus, Settings, SCHEMA};
use crate::member::{Record, TrainConfig, TrainingSet, Trusted};
use crate::seed::Seed;

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

    pub(super) fn without_members(record: Record, settings: Settings, backend: Arc<dyn Backend>) -> Self {
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
}

/// Settings that a record says nothing of are those of a CPU.
pub(super) fn settings_of(record: &Record) -> Result<Settings> {
    TrainConfig { device: "cpu".to_owned(), ..TrainConfig::of(record) }.check(Gpus::default)
}

pub(super) fn check_same_model(record: &Record, backend: &dyn Backend) -> Result<()> {
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
