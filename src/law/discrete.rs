//! Discrete noise on categorical features, labels and, if wanted, the test input (Wang, Cao, Jia, Gong 2020).

use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::label_noise::another;
use super::{DataFacts, LikelihoodRatio, NoiseLaw};
use crate::error::{Error, Result};
use crate::seed::{Role, Seed};

/// Every entry keeps its value with probability `keep`, else takes one of the other values, uniformly. Features
/// are codes 0..alphabet-1; labels are entries as well.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Discrete {
    keep: f64,
    alphabet: usize,
    labels: bool,
    test_input: bool,
}

impl Discrete {
    /// A law on features with `alphabet` values each; with `labels`, labels are noised too, with `test_input`
    /// every member also sees its own noised copy of the test input, so that changes to it count as well.
    ///
    /// # Errors
    /// [`ErrorKind::Parameter`](crate::ErrorKind::Parameter) unless 1/alphabet < keep <= 1 and alphabet >= 2.
    pub fn new(keep: f64, alphabet: usize, labels: bool, test_input: bool) -> Result<Self> {
        if !(2..=1 << 24).contains(&alphabet) {
            return Err(Error::parameter("alphabet", "an integer from 2 to 16777216", alphabet));
        }
        if !(keep > 1.0 / alphabet as f64 && keep <= 1.0) {
            let range = format!("a float in the range (1/alphabet, 1] = ({:.4}, 1]", 1.0 / alphabet as f64);
            return Err(Error::parameter("keep", range, keep));
        }
        Ok(Self { keep, alphabet, labels, test_input })
    }

    /// The chance that an entry keeps its value.
    pub fn keep(&self) -> f64 {
        self.keep
    }

    /// Number of values of a feature.
    pub fn alphabet(&self) -> usize {
        self.alphabet
    }

    /// Whether labels are noised too.
    pub fn labels(&self) -> bool {
        self.labels
    }

    /// Whether the test input is noised too.
    pub fn test_input(&self) -> bool {
        self.test_input
    }

    /// L for `flips` changed entries of the worst kind. The larger the alphabet, the easier a change is to tell
    /// (the smaller one is a garbling of it), so all flips are counted at the largest alphabet in play.
    pub(crate) fn flip_ratio(&self, flips: usize, facts: &DataFacts) -> LikelihoodRatio {
        LikelihoodRatio::categorical(flips, self.keep, self.largest_alphabet(facts))
    }

    fn largest_alphabet(&self, facts: &DataFacts) -> usize {
        if self.labels {
            self.alphabet.max(facts.n_classes)
        } else {
            self.alphabet
        }
    }

    /// The variance that L gains with each flip.
    pub(crate) fn flip_variance(&self, facts: &DataFacts) -> f64 {
        let moved = (1.0 - self.keep) / (self.largest_alphabet(facts) as f64 - 1.0);
        let (step, drift) = ((self.keep / moved).ln(), self.keep - moved);
        step * step * (self.keep + moved - drift * drift)
    }

    /// How many entries there are to change; `None` where the number of features is not known.
    pub(crate) fn entries(&self, facts: &DataFacts) -> Option<usize> {
        let features = facts.n_features?;
        let train = facts.n_train.saturating_mul(features);
        let labels = if self.labels { facts.n_train } else { 0 };
        let test = if self.test_input { features } else { 0 };
        Some(train.saturating_add(labels).saturating_add(test))
    }

    fn noise(&self, mut rng: impl rand::Rng, features: &mut [f32]) {
        for value in features {
            if rng.random::<f64>() >= self.keep {
                *value = another(&mut rng, *value as u32, self.alphabet as u32) as f32;
            } else {
                // The code that it is: -0 is none of its own, and would show that the entry was kept.
                *value += 0.0;
            }
        }
    }
}

impl NoiseLaw for Discrete {
    fn check(&self, facts: &DataFacts) -> Result<()> {
        if !self.labels || self.keep > 1.0 / facts.n_classes as f64 {
            return Ok(());
        }
        Err(Error::parameter("keep", "greater than 1/K for labels of K classes", self.keep))
    }

    fn restricts_features(&self) -> bool {
        true
    }

    fn check_features(&self, features: &[f32]) -> Result<()> {
        match features.iter().find(|v| !(v.fract() == 0.0 && **v >= 0.0 && (**v as usize) < self.alphabet)) {
            None => Ok(()),
            Some(value) => Err(Error::parameter(
                "X",
                format_args!(
                    "codes from 0 to {} under Discrete noise (for images: X = (X > 0.5).astype('float32'))",
                    self.alphabet - 1
                ),
                value,
            )),
        }
    }

    fn noise_features(&self, seed: Seed, member: u64, sample: usize, features: &mut [f32]) {
        self.noise(seed.stream(Role::Noise, member, sample as u64), features);
    }

    fn noise_label(&self, seed: Seed, member: u64, sample: usize, label: u32, n_classes: usize) -> u32 {
        let mut rng = seed.stream(Role::Label, member, sample as u64);
        if !self.labels || rng.random::<f64>() < self.keep {
            return label;
        }
        another(&mut rng, label, n_classes as u32)
    }

    fn noise_test_input(&self, seed: Seed, member: u64, sample: usize, features: &mut [f32]) {
        if self.test_input {
            self.noise(seed.stream(Role::TestNoise, member, sample as u64), features);
        }
    }

    fn noises_test_inputs(&self) -> bool {
        self.test_input
    }

    /// Codes are whole numbers, so an L2 norm of `norm` changes at most norm^2 entries of a sample.
    fn feature_ratio(&self, hits: usize, norm: f64, facts: &DataFacts) -> Option<LikelihoodRatio> {
        let entries =
            (norm * norm * (1.0 + 1e-12)).floor().min(facts.n_features.map_or(f64::INFINITY, |d| d as f64));
        let flips = entries * hits as f64;
        Some(if flips < 1e7 {
            LikelihoodRatio::categorical(flips as usize, self.keep, self.alphabet)
        } else {
            LikelihoodRatio::disjoint()
        })
    }

    fn label_ratio(&self, hits: usize, facts: &DataFacts) -> Option<LikelihoodRatio> {
        self.labels.then(|| LikelihoodRatio::categorical(hits, self.keep, facts.n_classes))
    }

    fn subset(&self, _seed: Seed, _member: u64, _n_train: usize) -> Option<Vec<usize>> {
        None
    }

    fn covered(&self) -> String {
        let labels = if self.labels { " and training labels" } else { "" };
        let test = if self.test_input { " and entries of the test input" } else { "" };
        let rest = if self.labels { "" } else { ", with all labels as received" };
        format!("changes to at most n_flips entries in total, counting training features{labels}{test}{rest}")
    }

    fn describe(&self) -> String {
        format!("discrete noise that keeps an entry with probability {}", self.keep)
    }
}
