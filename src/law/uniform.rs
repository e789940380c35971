//! Uniform noise on every feature of every training sample (RAB, Weber et al., S&P 2023).

use serde::{Deserialize, Serialize};

use super::{DataFacts, LikelihoodRatio, NoiseLaw};
use crate::error::{Error, Result};
use crate::interval::Interval;
use crate::noise::add_uniforms;
use crate::quantity::{NoiseScale, Quantity};
use crate::seed::{Role, Seed};

/// x~ = x + u, u uniform on \[-half_width, half_width\], drawn once per member and sample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Uniform {
    half_width: NoiseScale,
}

impl Uniform {
    /// A law with the given half width, in the units of the features.
    ///
    /// # Errors
    /// [`ErrorKind::Parameter`](crate::ErrorKind::Parameter) unless half_width is greater than 0
    /// and finite, also in single precision.
    pub fn new(half_width: f64) -> Result<Self> {
        Ok(Self { half_width: NoiseScale::check("half_width", half_width)? })
    }

    /// Half the width of the noise.
    pub fn half_width(&self) -> f64 {
        self.half_width.get()
    }

    /// A lower bound for prod_j (1 - |delta_j| / 2h) over all changes of `coordinates` features whose L2 norm is
    /// at most `norm`: the chance that the noised point could have come from either side.
    ///
    /// With x_j = |delta_j| / 2h and X = norm / 2h: log(1 - sqrt(y)) is convex for y <= 1/4, so for X <= 1/2 the
    /// worst change spreads evenly, (1 - X/sqrt(m))^m. Beyond, log(1 - x) >= -x - c x^2 for x <= X with
    /// c = (-log(1 - X) - X)/X^2, since that quotient grows in x; and sum x_j <= sqrt(m) X.
    fn overlap(&self, norm: f64, coordinates: f64) -> f64 {
        let x = norm / (2.0 * self.half_width.certified());
        if x >= 1.0 {
            return 0.0;
        }
        let log = if x <= 0.5 {
            coordinates * (-x / coordinates.sqrt()).ln_1p()
        } else {
            let c = (-(-x).ln_1p() - x) / (x * x);
            -coordinates.sqrt() * x - c * x * x
        };
        (log * (1.0 + 1e-13)).exp() * (1.0 - 1e-13)
    }
}

impl NoiseLaw for Uniform {
    fn check(&self, facts: &DataFacts) -> Result<()> {
        if facts.n_features.is_some() {
            return Ok(());
        }
        Err(Error::parameter(
            "n_features",
            "the number of features of a sample under Uniform, whose certificate depends on it",
            "None",
        ))
    }

    fn noise_features(&self, seed: Seed, member: u64, sample: usize, features: &mut [f32]) {
        add_uniforms(&seed.member(Role::Noise, member), sample as u64, self.half_width.drawn(), features);
    }

    /// Of probability `overlap` both sides agree, else they exclude each other.
    fn feature_ratio(&self, hits: usize, norm: f64, facts: &DataFacts) -> Option<LikelihoodRatio> {
        let one = self.overlap(norm, facts.n_features.unwrap_or(0) as f64);
        Some(LikelihoodRatio::overlap(if facts.n_features.is_none() { 0.0 } else { one.powi(hits as i32) }))
    }

    /// The largest norm, spread in the worst way over all features of all samples, with
    /// 1 - (p_A - p_B)/2 < prod (1 - |delta|/2h) (Weber et al.).
    fn total_radius(&self, interval: &Interval, facts: &DataFacts) -> Option<f64> {
        let coordinates = (facts.n_features? * facts.n_train) as f64;
        let holds = |norm: f64| {
            LikelihoodRatio::overlap(self.overlap(norm, coordinates)).margin_of(interval.masses()) > 0.0
        };
        let (mut low, mut high) = (0.0, 2.0 * self.half_width.certified());
        while high - low > 1e-12 * high {
            let middle = 0.5 * (low + high);
            if holds(middle) {
                low = middle;
            } else {
                high = middle;
            }
        }
        Some(low)
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
        "changes to the features of at most n_poisoned of its samples, each by an L2 norm of at most trigger_norm \
         (or of a total L2 norm below the radius), with all labels as received"
            .to_owned()
    }

    fn describe(&self) -> String {
        let h = self.half_width.get();
        format!("uniform noise on [-{h}, {h}]")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn no_change_of_that_norm_overlaps_less() {
        let law = Uniform::new(0.5).unwrap();
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        for coordinates in [1_usize, 2, 5, 40] {
            for norm in [0.01, 0.3, 0.5, 0.7, 0.95] {
                let bound = law.overlap(norm, coordinates as f64);
                for _ in 0..500 {
                    // Some directions are spread, some concentrated.
                    let power = rng.random_range(0..4) * 3;
                    let raw: Vec<f64> = (0..coordinates).map(|_| rng.random::<f64>().powi(power)).collect();
                    let length = raw.iter().map(|v| v * v).sum::<f64>().sqrt();
                    let overlap: f64 = raw.iter().map(|v| (1.0 - v / length * norm).max(0.0)).product();
                    assert!(overlap >= bound, "{coordinates} {norm}: {overlap} < {bound}");
                }
            }
            assert_eq!(law.overlap(1.0, coordinates as f64), 0.0);
        }
    }

    #[test]
    fn the_width_that_was_drawn_counts() {
        // In single precision 0.7 is less than 0.7: nothing overlaps between the two.
        let drawn = 2.0 * f64::from(0.7_f32);
        let law = Uniform::new(0.7).unwrap();
        assert!(drawn < 1.4 && law.overlap(drawn, 1.0) == 0.0 && law.overlap(drawn - 1e-6, 1.0) > 0.0);
    }
}
