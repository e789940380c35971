//! Random labels (Rosenfeld et al. 2020): puts label flips inside the guarantee.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::{DataFacts, LikelihoodRatio, NoiseLaw};
use crate::error::{Error, Result};
use crate::seed::{Role, Seed};

/// Each label is kept with probability 1 - q, else replaced by one of the other classes, uniformly.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelNoise {
    q: f64,
}

impl LabelNoise {
    /// Label noise of probability `q`.
    ///
    /// # Errors
    /// [`ErrorKind::Parameter`](crate::ErrorKind::Parameter) unless 0 <= q < 1. That q < (K-1)/K is
    /// checked when K is known.
    pub fn new(q: f64) -> Result<Self> {
        if (0.0..1.0).contains(&q) {
            Ok(Self { q })
        } else {
            Err(Error::parameter("q", "a float in the range [0, (K-1)/K) for K classes", q))
        }
    }

    /// The probability that a label is replaced.
    pub fn q(&self) -> f64 {
        self.q
    }
}

impl NoiseLaw for LabelNoise {
    fn check(&self, facts: &DataFacts) -> Result<()> {
        let k = facts.n_classes as f64;
        if self.q < (k - 1.0) / k {
            return Ok(());
        }
        Err(Error::parameter(
            "q",
            format_args!(
                "a float in the range [0, (K-1)/K) = [0, {:.4}) for {} classes",
                (k - 1.0) / k,
                facts.n_classes
            ),
            self.q,
        ))
    }

    fn noise_label(&self, seed: Seed, member: u64, sample: usize, label: u32, n_classes: usize) -> u32 {
        let mut rng = seed.stream(Role::Label, member, sample as u64);
        if rng.random::<f64>() >= self.q {
            return label;
        }
        another(&mut rng, label, n_classes as u32)
    }

    fn label_ratio(&self, hits: usize, facts: &DataFacts) -> Option<LikelihoodRatio> {
        Some(LikelihoodRatio::categorical(hits, 1.0 - self.q, facts.n_classes))
    }

    fn subset(&self, _seed: Seed, _member: u64, _n_train: usize) -> Option<Vec<usize>> {
        None
    }

    fn noise_features(&self, _seed: Seed, _member: u64, _sample: usize, _features: &mut [f32]) {}

    fn noises_test_inputs(&self) -> bool {
        false
    }

    fn noise_test_input(&self, _seed: Seed, _member: u64, _sample: usize, _features: &mut [f32]) {}

    fn covered(&self) -> String {
        "changes to the labels of at most n_poisoned of its samples, with all features as received".to_owned()
    }

    fn describe(&self) -> String {
        format!("label noise of probability {}", self.q)
    }
}

/// A value of `0..alphabet` other than `value`, uniformly.
pub(super) fn another(rng: &mut impl Rng, value: u32, alphabet: u32) -> u32 {
    let shift = rng.random_range(1..alphabet);
    (value + shift) % alphabet
}
