//! Everything that decides what members are.

use super::Gpus;
use serde::{Deserialize, Serialize};

use super::checkpoint::record_digest;
use super::{check_classes, Behaviour, FeatureShape, Precision, TrainConfig, Trusted};
use crate::augment::{Augment, Recorded};
use crate::error::{Error, Result};
use crate::law::{DataFacts, Law, NoiseLaw};
use crate::seed::Seed;

/// Version of the training procedure and of the checkpoint's format. Members of different versions do
/// not mix. (2: noise drawn in panels. 3: noised features on a grid. 4: the grid in single precision.)
pub(crate) const SCHEMA: u32 = 4;

/// Everything that decides what members are: the identity of a checkpoint, and what certificates read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Version of the training procedure and of the format.
    pub schema: u32,
    /// Root seed of all random streams.
    pub seed: Seed,
    /// The noise law members were trained under.
    pub law: Law,
    /// Name of the architecture.
    pub model: String,
    /// Shape of one sample.
    pub shape: FeatureShape,
    /// Number of classes.
    pub n_classes: usize,
    /// Number of training samples; trusted ones are not among them.
    pub n_train: usize,
    /// Passes over a member's noised set.
    pub epochs: usize,
    /// Samples of one step.
    pub batch_size: usize,
    /// Adam's step size.
    pub learning_rate: f64,
    /// Arithmetic of training and voting.
    pub precision: Precision,
    /// SHA-256 of the received training set.
    pub data_digest: String,
    /// Samples that every member sees as they are, beside the `n_train` that the law draws from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted: Option<Trusted>,
    /// What changed members' noised samples while they were trained, if anything did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub augment: Option<Recorded>,
    /// The shape of samples before the map, where they are changed there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_before_map: Option<FeatureShape>,
    /// Changed copies beside the noised set of members that look at it once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<usize>,
    /// The penalty of members that are solved with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub penalty: Option<f64>,
    /// The fixed map that each sample passed before the noise, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_noise: Option<String>,
    /// What a model does that its name does not describe. It stands beside the record and is compared with a tolerance.
    #[serde(skip)]
    pub behaviour: Behaviour,
}

impl Record {
    /// SHA-256 of the record, in hexadecimal; what each member's file says of it.
    ///
    /// # Errors
    /// None in practice.
    pub fn digest(&self) -> Result<String> {
        record_digest(self)
    }

    /// Refuses what no ensemble can have; for a record that comes from a file.
    ///
    /// # Errors
    /// Parameter and shape errors.
    pub(crate) fn check(&self) -> Result<()> {
        if crate::size::product("X", &self.shape.sizes())? == 0 {
            return Err(Error::shape("X", "at least one feature", format_args!("shape {}", self.shape)));
        }
        if self.n_train == 0 {
            return Err(Error::shape("X", "at least one sample", "none"));
        }
        if self.trusted.as_ref().is_some_and(|trusted| !(1..=crate::size::LARGEST).contains(&trusted.n)) {
            return Err(Error::parameter("trusted", "a number of samples, or left out", self.n_trusted()));
        }
        check_classes(self.n_classes)?;
        self.check_augment()?;
        if self.changed_before_map.is_some() && (self.augment.is_none() || self.law.measures_features()) {
            let expected =
                "left out unless an augmentation goes before a map under a law that adds nothing to features";
            return Err(Error::parameter("changed_before_map", expected, "a shape"));
        }
        TrainConfig { device: "cpu".to_owned(), ..TrainConfig::of(self) }.check(Gpus::default)?;
        self.law.check_own()?;
        self.law.check(&self.facts())
    }

    /// What it says of an augmentation must be possible for its samples.
    pub(crate) fn check_augment(&self) -> Result<()> {
        let changed = self.changed_before_map.unwrap_or(self.shape);
        let is_image = matches!(changed, FeatureShape::Image { .. });
        let given = self.augment.clone().map(Augment::of_record);
        given.map_or(Ok(()), |augment| augment.check(is_image))
    }

    /// Number of trusted samples.
    pub fn n_trusted(&self) -> usize {
        self.trusted.as_ref().map_or(0, |trusted| trusted.n)
    }

    /// The sizes a law has to know.
    pub fn facts(&self) -> DataFacts {
        DataFacts {
            n_train: self.n_train,
            n_features: Some(self.shape.n_features()),
            n_classes: self.n_classes,
        }
    }
}
