//! Normal noise on every feature of every training sample: RAB (Weber et al., S&P 2023).

use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use super::NoiseLaw;
use crate::error::Result;
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
    /// [`ErrorKind::Parameter`](crate::ErrorKind::Parameter) unless 0 < sigma < infinity.
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
        let mut rng = seed.stream(Role::Noise, member, sample as u64);
        let sigma = self.sigma.get() as f32;
        for value in features {
            let e: f32 = StandardNormal.sample(&mut rng);
            *value += sigma * e;
        }
    }
}
