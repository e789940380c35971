//! Independent laws together, such as noise on the features and noise on the labels.

use serde::{Deserialize, Serialize};

use super::{DataFacts, Law, LikelihoodRatio, NoiseLaw, SampleSpecific};
use crate::error::{Error, Result};
use crate::interval::Interval;
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
                Law::Cascade(_) => return Err(Error::parameter(
                    "&",
                    "a composition of noise on features and noise on labels; compose the levels of a cascade",
                    "a Cascade",
                )),
                Law::Partition(_) => {
                    let expected = "a composition of noise on features and noise on labels";
                    return Err(Error::parameter("&", expected, "a Partition"));
                }
                law if !law.sound() => {
                    let expected = "a law with a proof; the published form of SampleSpecific stands alone";
                    return Err(Error::parameter("&", expected, law.describe()));
                }
                law => parts.push(law),
            }
        }
        let on_labels = parts.iter().filter(|law| law.noises_labels()).count();
        let on_features = parts.iter().filter(|law| !matches!(law, Law::LabelNoise(_))).count();
        if on_labels > 1 || on_features > 1 {
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
    fn restricts_features(&self) -> bool {
        self.parts.iter().any(NoiseLaw::restricts_features)
    }
    fn check_features(&self, features: &[f32]) -> Result<()> {
        self.parts.iter().try_for_each(|law| law.check_features(features))
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
    fn feature_ratio(&self, hits: usize, norm: f64, facts: &DataFacts) -> Option<LikelihoodRatio> {
        self.parts.iter().find_map(|law| law.feature_ratio(hits, norm, facts))
    }
    fn label_ratio(&self, hits: usize, facts: &DataFacts) -> Option<LikelihoodRatio> {
        self.parts.iter().find_map(|law| law.label_ratio(hits, facts))
    }
    fn norm_unit(&self) -> Option<f64> {
        self.parts.iter().find_map(NoiseLaw::norm_unit)
    }
    fn sample_specific(&self) -> Option<&SampleSpecific> {
        self.parts.iter().find_map(NoiseLaw::sample_specific)
    }

    fn total_radius(&self, interval: &Interval, facts: &DataFacts) -> Option<f64> {
        self.parts.iter().find_map(|law| law.total_radius(interval, facts))
    }
    fn subset(&self, _seed: Seed, _member: u64, _n_train: usize) -> Option<Vec<usize>> {
        None
    }

    fn covered(&self) -> String {
        "changes to at most n_poisoned of its samples, each by an L2 norm of at most trigger_norm and, \
         if labels=True is asked for, with any labels (a radius is a total L2 norm over the whole \
         training set with all labels as received)"
            .to_owned()
    }
    fn describe(&self) -> String {
        self.parts.iter().map(NoiseLaw::describe).collect::<Vec<_>>().join(" and ")
    }
}
