//! Noise laws: how a training set becomes a member's noised training set, and what that proves.
//!
//! A law does two things and must do them consistently: it *draws* (which samples a member sees,
//! what is added to their features, what happens to their labels), and it states the *likelihood
//! ratio* between two training sets that differ by a [`Change`](crate::certify::Change).
//! A new law is one file here and one arm of [`Law`].

mod gaussian;
mod label_noise;
mod product;
mod subsample;

use serde::{Deserialize, Serialize};

pub use gaussian::Gaussian;
pub use label_noise::LabelNoise;
pub use product::Product;
pub use subsample::Subsample;

use crate::error::Result;
use crate::seed::Seed;

/// What a law has to know of the training set before it can be checked: sizes, never contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFacts {
    /// Number of training samples.
    pub n_train: usize,
    /// Number of features of one sample (pixels times channels), where it is known.
    pub n_features: Option<usize>,
    /// Number of classes.
    pub n_classes: usize,
}

/// The one door between the received training set and a member.
///
/// Every method draws from streams addressed by (role, member, sample), so a member's noised set is
/// the same whenever, wherever and in whatever order it is regenerated.
pub trait NoiseLaw {
    /// Checks the law against the sizes of the data.
    ///
    /// # Errors
    /// [`ErrorKind::Parameter`](crate::ErrorKind::Parameter) when the law cannot be applied to such data.
    fn check(&self, _facts: &DataFacts) -> Result<()> {
        Ok(())
    }

    /// The training samples that `member` sees, ascending and distinct; `None` means all of them.
    fn subset(&self, _seed: Seed, _member: u64, _n_train: usize) -> Option<Vec<usize>> {
        None
    }

    /// Adds the noise of (`member`, `sample`) to one sample's features, in place.
    fn noise_features(&self, _seed: Seed, _member: u64, _sample: usize, _features: &mut [f32]) {}

    /// The noised label of (`member`, `sample`).
    fn noise_label(&self, _seed: Seed, _member: u64, _sample: usize, label: u32, _n_classes: usize) -> u32 {
        label
    }

    /// Whether [`NoiseLaw::noise_test_input`] does anything; if not, members share their test inputs.
    fn noises_test_inputs(&self) -> bool {
        false
    }

    /// Adds `member`'s noise to the test input numbered `sample`, in place; most laws leave it alone.
    fn noise_test_input(&self, _seed: Seed, _member: u64, _sample: usize, _features: &mut [f32]) {}
}

/// Any law; this is what a record of a run stores and what a certificate reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "law", rename_all = "snake_case")]
pub enum Law {
    /// Normal noise on the features.
    Gaussian(Gaussian),
    /// Random labels.
    LabelNoise(LabelNoise),
    /// Independent laws together.
    Product(Product),
    /// A random subset of the training set, then another law.
    Subsample(Subsample),
}

impl Law {
    fn inner(&self) -> &dyn NoiseLaw {
        match self {
            Law::Gaussian(law) => law,
            Law::LabelNoise(law) => law,
            Law::Product(law) => law,
            Law::Subsample(law) => law,
        }
    }
}

impl NoiseLaw for Law {
    fn check(&self, facts: &DataFacts) -> Result<()> {
        self.inner().check(facts)
    }
    fn subset(&self, seed: Seed, member: u64, n_train: usize) -> Option<Vec<usize>> {
        self.inner().subset(seed, member, n_train)
    }
    fn noise_features(&self, seed: Seed, member: u64, sample: usize, features: &mut [f32]) {
        self.inner().noise_features(seed, member, sample, features);
    }
    fn noise_label(&self, seed: Seed, member: u64, sample: usize, label: u32, n_classes: usize) -> u32 {
        self.inner().noise_label(seed, member, sample, label, n_classes)
    }
    fn noises_test_inputs(&self) -> bool {
        self.inner().noises_test_inputs()
    }
    fn noise_test_input(&self, seed: Seed, member: u64, sample: usize, features: &mut [f32]) {
        self.inner().noise_test_input(seed, member, sample, features);
    }
}
