//! Normal noise on every feature of every training sample: RAB (Weber et al., S&P 2023).

use serde::{Deserialize, Serialize};

use super::{DataFacts, LikelihoodRatio, NoiseLaw};
use crate::error::Result;
use crate::interval::Interval;
use crate::noise::add_normals;
use crate::normal::normal_quantile_upper;
use crate::quantity::{NoiseScale, Quantity};
use crate::seed::{Role, Seed};

/// x~ = x + sigma e, e standard normal, drawn once per member and sample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gaussian {
    sigma: NoiseScale,
}

impl Gaussian {
    /// A law with the standard deviation `sigma`, in the units of the features.
    ///
    /// # Errors
    /// [`ErrorKind::Parameter`](crate::ErrorKind::Parameter) unless sigma is greater than 0 and
    /// finite, also in single precision.
    pub fn new(sigma: f64) -> Result<Self> {
        Ok(Self { sigma: NoiseScale::check("sigma", sigma)? })
    }

    /// The standard deviation.
    pub fn sigma(&self) -> f64 {
        self.sigma.get()
    }
}

impl NoiseLaw for Gaussian {
    fn noise_features(&self, seed: Seed, member: u64, sample: usize, features: &mut [f32]) {
        add_normals(&seed.member(Role::Noise, member), sample as u64, self.sigma.drawn(), features);
    }

    /// L = N(-v/2, v), v = hits norm^2 / sigma^2.
    fn feature_ratio(&self, hits: usize, norm: f64, _facts: &DataFacts) -> Option<LikelihoodRatio> {
        let step = norm / self.sigma.certified();
        Some(LikelihoodRatio::normal((hits as f64 * step * step).next_up()))
    }

    fn norm_unit(&self) -> Option<f64> {
        Some(self.sigma.certified())
    }

    /// sigma/2 (Phi^-1(p_A) - Phi^-1(p_B)) (Weber et al., S&P 2023).
    fn total_radius(&self, interval: &Interval, _facts: &DataFacts) -> Option<f64> {
        let rho = -0.5 * (normal_quantile_upper(interval.rest) + normal_quantile_upper(interval.p_upper));
        Some((self.sigma.certified() * rho).next_down().next_down())
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
        "changes to the features of its samples whose total L2 norm (the square root of the summed squares \
         over the whole training set) is below the radius, with all labels as received (so flipped labels \
         are the same on both sides of the comparison)"
            .to_owned()
    }

    fn describe(&self) -> String {
        format!("Gaussian noise of sigma {}", self.sigma.get())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_radius_counts_with_no_more_noise_than_was_drawn() {
        let facts = DataFacts { n_train: 10, n_features: Some(2), n_classes: 2 };
        let interval = Interval::new(0, 0.9, 1.0);
        let unit = Gaussian::new(1.0).unwrap().total_radius(&interval, &facts).unwrap();
        for sigma in [0.5, 0.7, 0.1, 0.12, 1.0 / 3.0] {
            let radius = Gaussian::new(sigma).unwrap().total_radius(&interval, &facts).unwrap();
            let drawn = f64::from(sigma as f32);
            assert!(radius <= sigma.min(drawn) * unit * (1.0 + 1e-15), "{sigma}");
            assert!(radius >= sigma * unit * (1.0 - 1e-7), "{sigma}");
        }
        // In single precision 0.7 is less than 0.7.
        let law = Gaussian::new(0.7).unwrap();
        assert_eq!(law.norm_unit(), Some(f64::from(0.7_f32)));
        let [recorded, drawn] = [0.7, f64::from(0.7_f32)]
            .map(|sigma| LikelihoodRatio::normal((1.0_f64 / (sigma * sigma)).next_up()));
        let ratio = law.feature_ratio(1, 1.0, &facts).unwrap();
        assert!(ratio.worst_lower(0.9) <= drawn.worst_lower(0.9) + 1e-15);
        assert!(ratio.worst_lower(0.9) < recorded.worst_lower(0.9));
    }
}
