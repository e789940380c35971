//! Whatever changes a member's samples while it is trained: an [`Augmentation`], or a function of the caller's.
//!
//! It is handed batches of one member's noised samples and the address of their random stream, nothing else; so what a
//! member becomes stays a function of its noised set and of randomness that is independent of the data. Where samples pass a
//! fixed map and nothing is added to their features, it may be handed a member's samples as they were before the map
//! ([`before`](super::before)).

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::before::FeatureMap;
#[cfg(feature = "training")]
use super::before::{Originals, OwnSamples};
use super::{Augmentation, Frame, Scratch};
use crate::error::{Error, Result};
use crate::seed::{Role, Seed};

/// Where a batch stands: the address of what is drawn for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Root seed.
    pub seed: Seed,
    /// Whose noised samples these are.
    pub member: u64,
    /// How many samples the member has seen before these: passes over its noised set times its size, and those of this
    /// pass. Two batches of a member never begin at the same number.
    pub first: u64,
    /// Shape of one sample; a table's is (1, 1, features).
    pub frame: Frame,
}

/// Changes batches of one member's noised samples.
pub trait Augmenter: Send + Sync + fmt::Debug {
    /// What stands in a record for it; two that do something else have other ones.
    fn recorded(&self) -> &Recorded;

    /// Changes whole samples in place, on the calling thread; what becomes of them is a function of them, of the batch's
    /// address and of nothing else.
    ///
    /// # Errors
    /// Whatever the caller's function reports.
    fn change(&self, batch: Place, rows: &mut [f32]) -> Result<()>;

    /// Whether it might remember something from one call to the next; such members are trained twice where that can be
    /// compared.
    fn may_keep_state(&self) -> bool {
        false
    }
}

/// What a record says of an augmentation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Recorded {
    /// One of this crate, whole.
    BuiltIn(Augmentation),
    /// A function of the caller's, in words that tell it from others.
    Own(String),
}

/// An [`Augmenter`], as settings hold it: equal to another if both are recorded alike.
#[derive(Clone, Debug)]
pub struct Augment {
    augmenter: Arc<dyn Augmenter>,
    /// The map that changed samples pass, where they are changed before it.
    map: Option<Arc<dyn FeatureMap>>,
}

impl Augment {
    /// A function of the caller's.
    pub fn new(augmenter: Arc<dyn Augmenter>) -> Self {
        Self { augmenter, map: None }
    }

    /// The same, before `map`: it changes a member's samples as they were received
    /// ([`TrainingSet::received`](crate::TrainingSet::received)), and members see what the map makes of them. For laws that add
    /// nothing to features.
    #[must_use]
    pub fn before(self, map: Arc<dyn FeatureMap>) -> Self {
        Self { map: Some(map), ..self }
    }

    /// Whether samples are changed before they pass a map.
    pub fn is_before_map(&self) -> bool {
        self.map.is_some()
    }

    /// What changes samples of which `originals` knows what they were before the map; itself where there is none.
    #[cfg(feature = "training")]
    pub(crate) fn of(&self, originals: Originals) -> Self {
        let Some(map) = &self.map else { return self.clone() };
        let (augmenter, map) = (Arc::clone(&self.augmenter), Arc::clone(map));
        Self { augmenter: Arc::new(OwnSamples { augmenter, map, originals }), map: None }
    }

    /// What a record says: a built-in works again; a function of the caller's is only remembered, and an error when it is
    /// asked for.
    pub fn of_record(recorded: Recorded) -> Self {
        match recorded {
            Recorded::BuiltIn(_) => Self::new(Arc::new(BuiltIn(recorded))),
            Recorded::Own(_) => Self::new(Arc::new(Absent(recorded))),
        }
    }

    /// What stands in a record for it.
    pub fn recorded(&self) -> &Recorded {
        self.augmenter.recorded()
    }

    /// See [`Augmenter::change`].
    ///
    /// # Errors
    /// The same, and a shape error if `rows` are no whole samples.
    pub fn change(&self, batch: Place, rows: &mut [f32]) -> Result<()> {
        let size = batch.frame.len();
        if size == 0 || !rows.len().is_multiple_of(size) {
            return Err(Error::shape("rows", format_args!("a multiple of {size} values"), rows.len()));
        }
        if self.is_before_map() {
            let expected = "a member whose samples are known as they were before the map";
            return Err(Error::parameter("augment", expected, "another"));
        }
        self.augmenter.change(batch, rows)
    }

    /// See [`Augmenter::may_keep_state`]; a map is somebody else's code too.
    pub fn may_keep_state(&self) -> bool {
        self.map.is_some() || self.augmenter.may_keep_state()
    }

    /// Refuses what cannot be done with such samples, and descriptions with values outside their ranges.
    ///
    /// # Errors
    /// A parameter error.
    pub fn check(&self, is_image: bool) -> Result<()> {
        let Recorded::BuiltIn(augmentation) = self.recorded() else { return Ok(()) };
        augmentation.check(0)?;
        if is_image {
            return Ok(());
        }
        let expected = "a callable of your own for samples that are not images";
        Err(Error::parameter("augment", expected, "one for images"))
    }
}

impl From<Augmentation> for Augment {
    fn from(augmentation: Augmentation) -> Self {
        Self::of_record(Recorded::BuiltIn(augmentation))
    }
}

impl PartialEq for Augment {
    fn eq(&self, other: &Self) -> bool {
        self.recorded() == other.recorded()
    }
}

/// One of this crate.
#[derive(Debug)]
struct BuiltIn(Recorded);

impl Augmenter for BuiltIn {
    fn recorded(&self) -> &Recorded {
        &self.0
    }

    fn change(&self, batch: Place, rows: &mut [f32]) -> Result<()> {
        let Recorded::BuiltIn(augmentation) = &self.0 else { return Ok(()) };
        let streams = batch.seed.member(Role::Augment, batch.member);
        let mut scratch = Scratch::new(batch.frame);
        for (place, row) in (batch.first..).zip(rows.chunks_exact_mut(batch.frame.len())) {
            augmentation.one(&streams, place, batch.frame, row, &mut scratch);
        }
        Ok(())
    }
}

/// One of which only the record is left.
#[derive(Debug)]
struct Absent(Recorded);

impl Augmenter for Absent {
    fn recorded(&self) -> &Recorded {
        &self.0
    }

    fn change(&self, _: Place, _: &mut [f32]) -> Result<()> {
        let Recorded::Own(text) = &self.0 else { return Ok(()) };
        let expected = format_args!("the callable that the members were trained with, '{text}'");
        Err(Error::parameter("augment", expected, "none"))
    }
}
