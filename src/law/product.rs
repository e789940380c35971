//! Independent laws together, such as noise on the features and noise on the labels.

use serde::{Deserialize, Serialize};

use super::{DataFacts, Law, NoiseLaw};
use crate::error::{Error, Result};
use crate::seed::Seed;

/// Laws that act on different parts of a sample, one after another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Product {
    parts: Vec<Law>,
}

impl Product {
    /// `left & right`; products are flattened.
    ///
    /// # Errors
    /// [`ErrorKind::Parameter`](crate::ErrorKind::Parameter) when both noise the same part of a sample,
    /// or when one is a subsample (noise goes inside a subsample, not beside it).
    pub fn new(left: Law, right: Law) -> Result<Self> {
        let mut parts = Vec::new();
        for law in [left, right] {
            match law {
                Law::Product(product) => parts.extend(product.parts),
                Law::Subsample(_) => {
                    return Err(Error::parameter(
                        "&",
                        "a composition of noise on features and noise on labels; put them inside: \
                         Subsample(a & b, size)",
                        "a Subsample beside another law",
                    ))
                }
                law => parts.push(law),
            }
        }
        let on_labels = parts.iter().filter(|law| matches!(law, Law::LabelNoise(_))).count();
        if on_labels > 1 || parts.len() - on_labels > 1 {
            return Err(Error::parameter(
                "&",
                "a composition of one law on the features and one on the labels",
                "two laws on the same part",
            ));
        }
        Ok(Self { parts })
    }

    /// The laws, in order of application.
    pub fn parts(&self) -> &[Law] {
        &self.parts
    }
}

impl NoiseLaw for Product {
    fn check(&self, facts: &DataFacts) -> Result<()> {
        self.parts.iter().try_for_each(|law| law.check(facts))
    }
    fn noise_features(&self, seed: Seed, member: u64, sample: usize, features: &mut [f32]) {
        for law in &self.parts {
            law.noise_features(seed, member, sample, features);
        }
    }
    fn noise_label(&self, seed: Seed, member: u64, sample: usize, label: u32, n_classes: usize) -> u32 {
        self.parts.iter().fold(label, |label, law| law.noise_label(seed, member, sample, label, n_classes))
    }
    fn noises_test_inputs(&self) -> bool {
        self.parts.iter().any(NoiseLaw::noises_test_inputs)
    }
    fn noise_test_input(&self, seed: Seed, member: u64, sample: usize, features: &mut [f32]) {
        for law in &self.parts {
            law.noise_test_input(seed, member, sample, features);
        }
    }
}
