//! Noise of each sample's own magnitude: Cert-SSBD (Qiao et al., arXiv 2504.21730).
//!
//! A sample far from the decision boundary bears more noise than one near it; stochastic gradient ascent through
//! a network finds how much ([`SigmaSearch`]). When that may look at the received data decides what is proved:
//!
//! * [`Guarantee::Sound`]: x~ = x + sigma e is drawn first, once; everything after it looks at x~ only. By
//!   post-processing the certificate is that of [`Gaussian`] noise of the same sigma, and each sample's own
//!   noise is free.
//! * [`Guarantee::Published`]: each sample's sigma is tuned on the received sample, then the noise is drawn with
//!   it. Moving a trigger then also moves the noise, and a test sample's sigma says nothing about training
//!   samples: the radius sigma_x/2 (Phi^-1(p_A) - Phi^-1(p_B)) is not a proof. It is here for comparison.

use serde::{Deserialize, Serialize};

use super::{DataFacts, Gaussian, LikelihoodRatio, NoiseLaw};
use crate::error::{Error, Result};
use crate::interval::Interval;
use crate::quantity::{NoiseScale, Quantity};
use crate::seed::Seed;

/// What certificates of sample-specific noise promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guarantee {
    /// A proof: the base draw comes first.
    Sound,
    /// The form of the publication, no proof against an attacker on the training set.
    Published,
}

/// Stochastic gradient ascent on a sample's noise magnitude.
///
/// Maximises s/2 (Phi^-1(p_a(s)) - max over c of Phi^-1(p_c(s))), p the mean of several noisy soft outputs, over
/// log s in \[log `sigma_min`, log `sigma_max`\]: s <- s exp(rate dR/ds), where the rate has no unit and falls
/// linearly from `learning_rate` to 0, and |dR/ds| is cut to Phi^-1(0.98).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SigmaSearch {
    /// Where the ascent begins, in the units of the features.
    pub start: NoiseScale,
    /// The smallest magnitude.
    pub sigma_min: NoiseScale,
    /// The largest magnitude.
    pub sigma_max: NoiseScale,
    /// Number of steps.
    pub steps: usize,
    /// Step size at the beginning.
    pub learning_rate: NoiseScale,
    /// Noisy outputs averaged in each step.
    pub samples: usize,
}

impl SigmaSearch {
    /// Probabilities are kept in \[`CLAMP`, 1 - `CLAMP`\], as in the published code.
    pub const CLAMP: f64 = 0.02;

    /// The defaults for a base noise of `sigma`: sound, from sigma/4 within \[sigma/20, sigma\]; published, from
    /// sigma within \[sigma/4, 4 sigma\].
    pub fn around(sigma: NoiseScale, guarantee: Guarantee) -> Self {
        let times = |factor: f64| NoiseScale::wrap(sigma.get() * factor);
        let (start, low, high) = match guarantee {
            Guarantee::Sound => (0.25, 0.05, 1.0),
            Guarantee::Published => (1.0, 0.25, 4.0),
        };
        Self {
            start: times(start),
            sigma_min: times(low),
            sigma_max: times(high),
            steps: 8,
            learning_rate: NoiseScale::wrap(0.3),
            samples: 4,
        }
    }

    fn check(&self) -> Result<()> {
        let Self { start, sigma_min, sigma_max, .. } = self;
        if sigma_min > sigma_max {
            let expected = format_args!("a float of at most sigma_max, {}", sigma_max.get());
            return Err(Error::parameter("sigma_min", expected, sigma_min.get()));
        }
        if start < sigma_min || start > sigma_max {
            let expected = format_args!("a float from {} to {}", sigma_min.get(), sigma_max.get());
            return Err(Error::parameter("start", expected, start.get()));
        }
        for (name, value) in [("steps", self.steps), ("samples", self.samples)] {
            if !(1..=10_000).contains(&value) {
                return Err(Error::parameter(name, "an integer from 1 to 10000", value));
            }
        }
        Ok(())
    }
}

/// Sample-specific noise around a base noise of one sigma.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleSpecific {
    base: Gaussian,
    guarantee: Guarantee,
    search: SigmaSearch,
}

impl SampleSpecific {
    /// A law with base noise `base`.
    ///
    /// # Errors
    /// [`ErrorKind::Parameter`](crate::ErrorKind::Parameter) when bounds are in the wrong order, the start is
    /// outside them, or a number of steps or samples is 0.
    pub fn new(base: Gaussian, guarantee: Guarantee, search: SigmaSearch) -> Result<Self> {
        search.check()?;
        Ok(Self { base, guarantee, search })
    }

    /// The base noise, drawn first.
    pub fn base(&self) -> Gaussian {
        self.base
    }

    /// What certificates promise.
    pub fn guarantee(&self) -> Guarantee {
        self.guarantee
    }

    /// How each sample's magnitude is found.
    pub fn search(&self) -> &SigmaSearch {
        &self.search
    }
}

impl NoiseLaw for SampleSpecific {
    fn check(&self, _facts: &DataFacts) -> Result<()> {
        self.search.check()
    }

    /// The base draw. What follows it needs a network, and is the trainer's.
    fn noise_features(&self, seed: Seed, member: u64, sample: usize, features: &mut [f32]) {
        self.base.noise_features(seed, member, sample, features);
    }

    fn feature_ratio(&self, hits: usize, norm: f64, facts: &DataFacts) -> Option<LikelihoodRatio> {
        self.base.feature_ratio(hits, norm, facts)
    }

    fn norm_unit(&self) -> Option<f64> {
        self.base.norm_unit()
    }

    fn sample_specific(&self) -> Option<&SampleSpecific> {
        Some(self)
    }

    fn total_radius(&self, interval: &Interval, facts: &DataFacts) -> Option<f64> {
        self.base.total_radius(interval, facts)
    }

    fn subset(&self, _seed: Seed, _member: u64, _n_train: usize) -> Option<Vec<usize>> {
        None
    }

    fn noise_label(&self, _seed: Seed, _member: u64, _sample: usize, label: u32, _n_classes: usize) -> u32 {
        label
    }

    fn noises_test_inputs(&self) -> bool {
        false
    }

    fn noise_test_input(&self, _seed: Seed, _member: u64, _sample: usize, _features: &mut [f32]) {}

    fn covered(&self) -> String {
        self.base.covered()
    }

    fn describe(&self) -> String {
        let sigma = self.base.sigma();
        match self.guarantee {
            Guarantee::Sound => format!(
                "sample-specific noise after a base draw of Gaussian noise of sigma {sigma} (everything \
                 after the base draw looks at nothing else)"
            ),
            Guarantee::Published => {
                format!("sample-specific noise in the published form, around sigma {sigma}")
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::change::Change;
    use crate::law::{Law, Subsample};

    fn facts() -> DataFacts {
        DataFacts { n_train: 1000, n_features: Some(10), n_classes: 2 }
    }

    fn law(guarantee: Guarantee) -> SampleSpecific {
        let base = Gaussian::new(0.5).unwrap();
        let search = SigmaSearch::around(NoiseScale::wrap(0.5), guarantee);
        SampleSpecific::new(base, guarantee, search).unwrap()
    }

    #[test]
    fn the_sound_form_certifies_what_its_base_does() {
        let (own, base) =
            (Law::SampleSpecific(law(Guarantee::Sound)), Law::Gaussian(Gaussian::new(0.5).unwrap()));
        let interval = Interval::new(1, 0.97, 1.0);
        assert_eq!(own.total_radius(&interval, &facts()), base.total_radius(&interval, &facts()));
        let change = Change { n_poisoned: 20, trigger_norm: 0.1, labels: false };
        assert_eq!(own.likelihood(change, &facts()).unwrap(), base.likelihood(change, &facts()).unwrap());
        let inside = |law: Law| Law::Subsample(Subsample::new(Some(law), 30).unwrap());
        let (own, base) = (inside(own), inside(base));
        assert_eq!(own.likelihood(change, &facts()).unwrap(), base.likelihood(change, &facts()).unwrap());
        assert!(own.sound() && own.sample_specific().is_some());
    }

    #[test]
    fn the_published_form_has_no_budgets_and_cannot_hide_in_another_law() {
        let published = Law::SampleSpecific(law(Guarantee::Published));
        assert!(!published.sound());
        let change = Change { n_poisoned: 1, trigger_norm: 0.1, labels: false };
        let error = published.likelihood(change, &facts()).unwrap_err();
        assert!(error.to_string().contains("radius only"), "{error}");
        assert!(Subsample::new(Some(published), 3).is_err());
    }

    #[test]
    fn a_search_out_of_order_is_refused() {
        let base = Gaussian::new(0.5).unwrap();
        let good = SigmaSearch::around(NoiseScale::wrap(0.5), Guarantee::Sound);
        let small = NoiseScale::wrap(1e-3);
        for (bad, name) in [
            (SigmaSearch { sigma_max: small, ..good }, "'sigma_min'"),
            (SigmaSearch { start: small, ..good }, "'start'"),
            (SigmaSearch { steps: 0, ..good }, "'steps'"),
            (SigmaSearch { samples: 0, ..good }, "'samples'"),
        ] {
            let error = SampleSpecific::new(base, Guarantee::Sound, bad).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
