//! Each member sees a few training samples only, drawn without replacement, then an inner law.

use serde::{Deserialize, Serialize};

use super::{DataFacts, Law, NoiseLaw};
use crate::error::{Error, Result};
use crate::seed::{Role, Seed};

/// `size` of the training samples without replacement, then `inner` on them (bagging, if there is none).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subsample {
    inner: Option<Box<Law>>,
    size: usize,
}

impl Subsample {
    /// A subsample of `size` samples, with an optional inner law.
    ///
    /// # Errors
    /// [`ErrorKind::Parameter`](crate::ErrorKind::Parameter) when size is 0 or the inner law subsamples
    /// itself. That size <= n is checked when n is known.
    pub fn new(inner: Option<Law>, size: usize) -> Result<Self> {
        if size == 0 {
            return Err(Error::parameter("size", "an integer from 1 to the number of training samples", 0));
        }
        if matches!(inner, Some(Law::Subsample(_))) {
            return Err(Error::parameter("inner", "a law that does not subsample itself", "a Subsample"));
        }
        Ok(Self { inner: inner.map(Box::new), size })
    }

    /// The law inside.
    pub fn inner(&self) -> Option<&Law> {
        self.inner.as_deref()
    }

    /// How many samples a member sees.
    pub fn size(&self) -> usize {
        self.size
    }
}

impl NoiseLaw for Subsample {
    fn check(&self, facts: &DataFacts) -> Result<()> {
        if self.size > facts.n_train {
            return Err(Error::parameter(
                "size",
                format_args!("an integer from 1 to the number of training samples, {}", facts.n_train),
                self.size,
            ));
        }
        self.inner().map_or(Ok(()), |law| law.check(facts))
    }

    fn subset(&self, seed: Seed, member: u64, n_train: usize) -> Option<Vec<usize>> {
        let mut rng = seed.stream(Role::Subsample, member, 0);
        let mut drawn = rand::seq::index::sample(&mut rng, n_train, self.size).into_vec();
        drawn.sort_unstable();
        Some(drawn)
    }

    fn noise_features(&self, seed: Seed, member: u64, sample: usize, features: &mut [f32]) {
        if let Some(law) = self.inner() {
            law.noise_features(seed, member, sample, features);
        }
    }

    fn noise_label(&self, seed: Seed, member: u64, sample: usize, label: u32, n_classes: usize) -> u32 {
        self.inner().map_or(label, |law| law.noise_label(seed, member, sample, label, n_classes))
    }

    fn noises_test_inputs(&self) -> bool {
        self.inner().is_some_and(NoiseLaw::noises_test_inputs)
    }

    fn noise_test_input(&self, seed: Seed, member: u64, sample: usize, features: &mut [f32]) {
        if let Some(law) = self.inner() {
            law.noise_test_input(seed, member, sample, features);
        }
    }
}
