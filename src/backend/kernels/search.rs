//! The search for noise magnitudes by the crate's own kernels: stochastic gradient ascent on each sample's magnitude, through
//! the network.
//!
//! R(s) = s/2 (Phi^-1(p_a(s)) - max over c != a of Phi^-1(p_c(s))), p(s) the mean softmax over noisy copies x + s e, each
//! probability kept in \[0.02, 0.98\]. The gap is signed: where noise hides the class, it is negative, and the
//! ascent shrinks s. The gradient goes through noise, network and softmax (reparametrisation); a step is
//! s <- s exp(rate dR/ds) within the bounds, ascent on log s with a rate that has no unit and falls linearly to 0.
//!
//! All samples of a member share a step's noise vectors, so the first layer's products with them are calculated once
//! a step, those with the samples once a search; a step's own work begins behind the first layer.

use std::sync::atomic::AtomicBool;

use crate::backend::{go_on, STEEPEST};
use crate::error::Result;
use crate::kernel::{Network, Rays, Workspace};
use crate::law::SigmaSearch;
use crate::noise::unit_normals;
use crate::normal::normal_quantile_lower;
use crate::quantity::Quantity;
use crate::seed::{Role, Seed};

/// Samples whose first layer's products are in memory at the same time.
const BLOCK: usize = 64;

/// Points of a forward pass, noisy copies counted.
const POINTS: usize = 128;

/// One member's network and the noise of its search.
#[derive(Clone, Copy)]
pub(super) struct Ascent<'a> {
    pub(super) network: &'a Network,
    pub(super) values: &'a [f32],
    pub(super) search: &'a SigmaSearch,
    pub(super) seed: Seed,
    pub(super) member: u64,
}

impl Ascent<'_> {
    /// The magnitude of each sample: its noise must not hide its label, or without labels the class that the network
    /// gives it without noise.
    ///
    /// # Errors
    /// Cancellation.
    pub(super) fn magnitudes(
        &self,
        samples: &[&[f32]],
        labels: Option<&[usize]>,
        work: &mut Workspace,
        stop: &AtomicBool,
    ) -> Result<Vec<f32>> {
        let SigmaSearch { start, steps, samples: copies, .. } = *self.search;
        let size = samples.first().map_or(0, |sample| sample.len());
        let noise = self.noise(Role::Optimise, steps * copies * size);
        let mut sigmas = vec![start.get() as f32; samples.len()];
        let blocks = samples.chunks(BLOCK).zip(sigmas.chunks_mut(BLOCK)).enumerate();
        for (number, (block, sigmas)) in blocks {
            let own: Vec<usize> = match labels {
                Some(labels) => labels.iter().skip(number * BLOCK).take(block.len()).copied().collect(),
                None => self.own_classes(block, work),
            };
            self.ascend(block, &own, &noise, sigmas, work, stop)?;
        }
        Ok(sigmas)
    }

    /// Logarithms of the mean scores (n, K) of each sample at its magnitude, on as many noisy copies as a step of the
    /// search has. NaN stays.
    ///
    /// # Errors
    /// Cancellation.
    pub(super) fn log_scores(
        &self,
        samples: &[&[f32]],
        sigmas: &[f32],
        work: &mut Workspace,
        stop: &AtomicBool,
    ) -> Result<Vec<f32>> {
        let size = samples.first().map_or(0, |sample| sample.len());
        let noise = self.noise(Role::TestNoise, self.search.samples * size);
        let directions = self.products(&noise, size);
        let (mut origins, mut scores) = (Vec::new(), Vec::new());
        for (samples, scales) in samples.chunks(self.together()).zip(sigmas.chunks(self.together())) {
            go_on(stop)?;
            self.network.first_products(self.values, samples, &mut origins);
            let rays = Rays { origins: &origins, directions: &directions, scales };
            let mut logits = self.network.logits_along(self.values, rays, work).to_vec();
            for logits in logits.chunks_exact_mut(self.search.samples * self.network.n_classes()) {
                scores.extend(log_mean_scores(logits, self.search.samples, self.network.n_classes()));
            }
        }
        Ok(scores)
    }

    fn noise(&self, role: Role, n: usize) -> Vec<f32> {
        let mut noise = vec![0.0; n];
        unit_normals(&self.seed.member(role, self.member), 0, &mut noise);
        noise
    }

    /// Samples of a forward pass.
    fn together(&self) -> usize {
        (POINTS / self.search.samples).max(1)
    }

    fn products(&self, samples: &[f32], size: usize) -> Vec<f32> {
        let rows: Vec<&[f32]> = samples.chunks_exact(size).collect();
        let mut products = Vec::new();
        self.network.first_products(self.values, &rows, &mut products);
        products
    }

    fn own_classes(&self, samples: &[&[f32]], work: &mut Workspace) -> Vec<usize> {
        let logits = self.network.logits(self.values, samples, work);
        logits.chunks_exact(self.network.n_classes()).map(|logits| largest(logits, None)).collect()
    }

    /// All steps of a block; each step's directions serve all its samples.
    fn ascend(
        &self,
        samples: &[&[f32]],
        own: &[usize],
        noise: &[f32],
        sigmas: &mut [f32],
        work: &mut Workspace,
        stop: &AtomicBool,
    ) -> Result<()> {
        let SigmaSearch { sigma_min, sigma_max, steps, samples: copies, learning_rate, .. } = *self.search;
        let size = samples.first().map_or(0, |sample| sample.len());
        let (mut origins, mut slopes) = (Vec::new(), Vec::new());
        self.network.first_products(self.values, samples, &mut origins);
        let width = self.network.first_len();
        for (step, noise) in noise.chunks_exact(copies * size).enumerate() {
            go_on(stop)?;
            let rate = learning_rate.get() * (1.0 - step as f64 / steps as f64);
            let directions = self.products(noise, size);
            let together = self.together();
            let parts = sigmas.chunks_mut(together).zip(own.chunks(together));
            for ((sigmas, own), origins) in parts.zip(origins.chunks(together * width)) {
                let rays = Rays { origins, directions: &directions, scales: sigmas };
                self.slopes(rays, own, &mut slopes, work);
                for (sigma, slope) in sigmas.iter_mut().zip(&slopes) {
                    let factor = (slope.clamp(-STEEPEST, STEEPEST) * rate).exp();
                    let next = (f64::from(*sigma) * factor) as f32;
                    *sigma = next.clamp(sigma_min.get() as f32, sigma_max.get() as f32);
                }
            }
        }
        Ok(())
    }

    /// dR/ds of every origin.
    fn slopes(&self, rays: Rays<'_>, own: &[usize], slopes: &mut Vec<f64>, work: &mut Workspace) {
        let k = self.network.n_classes();
        let mut gradient = self.network.logits_along(self.values, rays, work).to_vec();
        slopes.clear();
        let points = gradient.chunks_exact_mut(self.search.samples * k);
        for ((logits, &own), &scale) in points.zip(own).zip(rays.scales) {
            slopes.push(radius_gradient(logits, k, own, f64::from(scale)));
        }
        let mut through = vec![0.0; rays.scales.len()];
        self.network.slopes(self.values, rays, &gradient, &mut through, work);
        for (slope, through) in slopes.iter_mut().zip(through) {
            // Samples that drive the network to infinity leave sigma as it is.
            let sum = *slope + f64::from(through);
            *slope = if sum.is_finite() { sum } else { 0.0 };
        }
    }
}

/// Logarithms of the mean scores (n, K) of inputs whose noisy copies have the logits (n copies, K).
pub(crate) fn log_mean_scores(logits: &mut [f32], copies: usize, k: usize) -> Vec<f32> {
    let own = logits.chunks_exact_mut((copies * k).max(1));
    own.flat_map(|logits| mean_scores(logits, k)).map(ln_of_score).collect()
}

/// A probability below the smallest float is that float; NaN stays NaN, which no comparison holds for.
fn ln_of_score(score: f64) -> f32 {
    let least = f64::from(f32::MIN_POSITIVE);
    if score < least {
        least.ln() as f32
    } else {
        score.ln() as f32
    }
}

/// The class with the largest score, the lowest of several; without `except` among all.
fn largest<T: PartialOrd + Copy>(scores: &[T], except: Option<usize>) -> usize {
    let mut best: Option<(usize, T)> = None;
    for (class, &score) in scores.iter().enumerate().filter(|(class, _)| Some(*class) != except) {
        if best.is_none_or(|(_, other)| score > other) {
            best = Some((class, score));
        }
    }
    best.map_or(0, |(class, _)| class)
}

/// Turns the logits (C, K) of noisy copies into scores; their mean (K).
fn mean_scores(logits: &mut [f32], k: usize) -> Vec<f64> {
    let copies = logits.len() / k;
    let mut mean = vec![0.0; k];
    for row in logits.chunks_exact_mut(k) {
        let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        row.iter_mut().for_each(|value| *value = (*value - top).exp());
        let sum: f32 = row.iter().sum();
        for (value, mean) in row.iter_mut().zip(&mut mean) {
            *value /= sum;
            *mean += f64::from(*value) / copies as f64;
        }
    }
    mean
}

/// R(s) = s/2 (Phi^-1(p_own) - max over c != own of Phi^-1(p_c)), p the mean scores of the copies whose logits (C, K)
/// these are, each kept in \[CLAMP, 1 - CLAMP\]. Returns its derivative where s alone changes, R / s, and puts its
/// gradient in place of the logits.
fn radius_gradient(logits: &mut [f32], k: usize, own: usize, scale: f64) -> f64 {
    let copies = (logits.len() / k) as f64;
    let mean = mean_scores(logits, k);
    let other = largest(&mean, Some(own));
    let clamp = SigmaSearch::CLAMP;
    let quantile = |class: usize| normal_quantile_lower(mean[class].clamp(clamp, 1.0 - clamp));
    let (q_own, q_other) = (quantile(own), quantile(other));
    // d Phi^-1(p) / dp = 1 / phi(Phi^-1(p)), and nothing beyond the clamp.
    let weight = |class: usize, q: f64| {
        let inside = (clamp..=1.0 - clamp).contains(&mean[class]);
        let density = (-0.5 * q * q).exp() / (2.0 * std::f64::consts::PI).sqrt();
        if inside {
            0.5 * scale / density / copies
        } else {
            0.0
        }
    };
    let (for_own, for_other) = (weight(own, q_own), weight(other, q_other));
    for scores in logits.chunks_exact_mut(k) {
        let (up, down) = (for_own * f64::from(scores[own]), for_other * f64::from(scores[other]));
        scores.iter_mut().for_each(|score| *score = (f64::from(*score) * (down - up)) as f32);
        scores[own] += up as f32;
        scores[other] -= down as f32;
    }
    0.5 * (q_own - q_other)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::member::built_in::{describe, BuiltIn};
    use crate::member::FeatureShape;
    use crate::quantity::NoiseScale;

    fn search(steps: usize, samples: usize) -> SigmaSearch {
        SigmaSearch {
            start: NoiseScale::wrap(0.5),
            sigma_min: NoiseScale::wrap(0.05),
            sigma_max: NoiseScale::wrap(2.0),
            steps,
            learning_rate: NoiseScale::wrap(0.3),
            samples,
        }
    }

    /// Networks with several classes, samples, and the weights' values.
    fn case(model: &str, n: usize) -> (BuiltIn, Vec<f32>, Vec<f32>) {
        let shape = FeatureShape::Image { channels: 1, height: 10, width: 10 };
        let built_in = describe(model, shape, 3).unwrap();
        // Initial weights say next to nothing; larger ones give gaps of ordinary size.
        let values = built_in.layout.initial(Seed::new(1), 0).iter().map(|v| 1.5 * v).collect();
        let x = (0..n * 100).map(|i| (i as f32 * 0.37).sin()).collect();
        (built_in, values, x)
    }

    #[test]
    fn a_magnitude_does_not_depend_on_the_other_samples() {
        let stop = AtomicBool::new(false);
        for model in ["linear", "mlp", "cnn"] {
            let (built_in, values, x) = case(model, 100);
            let search = search(4, 16);
            let network = built_in.network.as_ref().unwrap();
            let own = Ascent { network, values: &values, search: &search, seed: Seed::new(2), member: 5 };
            let rows: Vec<&[f32]> = x.chunks(100).collect();
            let mut work = Workspace::default();
            let all = own.magnitudes(&rows, None, &mut work, &stop).unwrap();
            let scores = own.log_scores(&rows, &all, &mut work, &stop).unwrap();
            for i in [0, 7, 63, 64, 99] {
                let alone = own.magnitudes(&rows[i..=i], None, &mut work, &stop).unwrap();
                assert_eq!(alone, all[i..=i], "{model}, sample {i}");
                let alone = own.log_scores(&rows[i..=i], &alone, &mut work, &stop).unwrap();
                assert_eq!(alone, scores[3 * i..3 * i + 3], "{model}, sample {i}");
            }
        }
    }

    #[test]
    fn what_is_not_finite_shows_in_the_scores_and_leaves_magnitudes_in_their_bounds() {
        let stop = AtomicBool::new(false);
        for model in ["linear", "mlp", "cnn"] {
            let (built_in, values, x) = case(model, 1);
            let search = search(4, 16);
            let network = built_in.network.as_ref().unwrap();
            let own = Ascent { network, values: &values, search: &search, seed: Seed::new(2), member: 5 };
            let rows: [&[f32]; 2] = [&[f32::MAX; 100], &x];
            let mut work = Workspace::default();
            let sigmas = own.magnitudes(&rows, None, &mut work, &stop).unwrap();
            assert!(sigmas.iter().all(|sigma| (0.05..=2.0).contains(sigma)), "{model}: {sigmas:?}");
            let scores = own.log_scores(&rows, &sigmas, &mut work, &stop).unwrap();
            assert!(scores[..3].iter().all(|score| score.is_nan()), "{model}: {scores:?}");
            assert!(scores[3..].iter().all(|score| score.is_finite()), "{model}: {scores:?}");
        }
        assert_eq!(ln_of_score(0.0), f32::MIN_POSITIVE.ln());
    }

    #[test]
    fn a_gradient_of_the_radius_is_that_of_differences() {
        let logits = [0.3_f32, -0.2, 0.1, 0.9, 0.4, -0.5];
        let radius = |logits: &[f32]| {
            let mut logits = logits.to_vec();
            1.4 * radius_gradient(&mut logits, 3, 1, 1.4)
        };
        let mut gradient = logits;
        radius_gradient(&mut gradient, 3, 1, 1.4);
        for i in 0..6 {
            let (mut above, mut below) = (logits, logits);
            above[i] += 1e-2;
            below[i] -= 1e-2;
            let difference = (radius(&above) - radius(&below)) / 2e-2;
            assert!((f64::from(gradient[i]) - difference).abs() < 1e-4, "{gradient:?} {difference}");
        }
        // Certain of another class: nothing moves it.
        let mut certain = [9.0_f32, -9.0, -9.0];
        assert!(radius_gradient(&mut certain, 3, 1, 1.0) < -2.0);
        assert_eq!(certain, [0.0; 3]);
    }
}
