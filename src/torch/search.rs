//! The search for noise magnitudes through torch: what `backend/kernels/search.rs` describes, equal to it up to rounding.
//!
//! All samples of a member share a step's noise vectors: each sample's gradient stays unbiased, the cost of
//! drawing does not depend on the number of samples, and the result for one sample not on the others.

use std::sync::atomic::AtomicBool;

use tch::{Kind, Tensor};

use super::model::{Architecture, Mode, TorchResult, Weights};
use super::session::training_error;
use super::train::{gradient, no_gradient};
use crate::backend::{go_on, STEEPEST};
use crate::error::Result;
use crate::law::SigmaSearch;
use crate::noise::unit_normals;
use crate::quantity::Quantity;
use crate::seed::{Role, Seed};

/// One member's network and the noise of its search.
pub(super) struct Ascent<'a> {
    pub(super) architecture: &'a dyn Architecture,
    /// Parameters of one member, without a stack's leading dimension.
    pub(super) weights: &'a Weights,
    pub(super) search: &'a SigmaSearch,
    pub(super) seed: Seed,
    pub(super) member: u64,
}

/// Which class a sample's noise must not hide.
#[derive(Clone, Copy)]
pub(super) enum Reference<'a> {
    /// The label, (n) class numbers.
    Labels(&'a Tensor),
    /// The class the network gives the sample without noise.
    OwnClass,
}

/// Rows of a forward pass, noisy copies counted.
const ROWS: usize = 256;

impl Ascent<'_> {
    /// The magnitudes (n) of the samples `inputs` (n, ...).
    ///
    /// # Errors
    /// A training error from torch, naming the member; cancellation.
    pub(super) fn magnitudes(
        &self,
        inputs: &Tensor,
        reference: Reference<'_>,
        stop: &AtomicBool,
    ) -> Result<Tensor> {
        let torch = |error| training_error(self.member, &error);
        let n = inputs.size().first().copied().unwrap_or(0);
        let noise = self.noise(inputs).map_err(torch)?;
        let rows = (ROWS / self.search.samples).max(1) as i64;
        let mut parts = Vec::new();
        for start in (0..n).step_by(rows as usize) {
            go_on(stop)?;
            let length = rows.min(n - start);
            let part = inputs.f_narrow(0, start, length).map_err(torch)?;
            let classes = match reference {
                Reference::Labels(labels) => labels.f_narrow(0, start, length),
                Reference::OwnClass => self.own_class(&part),
            };
            parts.push(classes.and_then(|classes| self.ascend(&part, &classes, &noise)).map_err(torch)?);
        }
        Tensor::f_cat(&parts, 0).map_err(torch)
    }

    /// The noise of all steps, (steps, samples, ...).
    fn noise(&self, inputs: &Tensor) -> TorchResult<Tensor> {
        let SigmaSearch { steps, samples, .. } = *self.search;
        let sample = inputs.size().split_off(1);
        unit_noise(
            self.seed,
            Role::Optimise,
            self.member,
            &[&[steps as i64, samples as i64], &sample[..]].concat(),
        )?
        .f_to_device(inputs.device())
    }

    fn own_class(&self, inputs: &Tensor) -> TorchResult<Tensor> {
        let _no_grad = tch::no_grad_guard();
        self.architecture.forward(self.weights, inputs, Mode::Eval)?.f_argmax(-1, false)
    }

    fn ascend(&self, inputs: &Tensor, classes: &Tensor, noise: &Tensor) -> TorchResult<Tensor> {
        let SigmaSearch { start, sigma_min, sigma_max, steps, learning_rate, .. } = *self.search;
        let n = inputs.size().first().copied().unwrap_or(0);
        let mut sigma = Tensor::f_full([n], start.get(), (Kind::Float, inputs.device()))?;
        for step in 0..steps {
            let slope = self.slope(inputs, classes, &sigma, &noise.f_get(step as i64)?)?;
            let rate = learning_rate.get() * (1.0 - step as f64 / steps as f64);
            let factor = slope.f_clamp(-STEEPEST, STEEPEST)?.f_mul_scalar(rate)?.f_exp()?;
            sigma = sigma.f_mul(&factor)?.f_clamp(sigma_min.get(), sigma_max.get())?;
        }
        Ok(sigma)
    }

    /// dR/ds of every sample at `sigma` (n), with the step's noise vectors (samples, ...).
    fn slope(
        &self,
        inputs: &Tensor,
        classes: &Tensor,
        sigma: &Tensor,
        noise: &Tensor,
    ) -> TorchResult<Tensor> {
        let sigma = sigma.f_detach()?.f_set_requires_grad(true)?;
        let radius = self.radius(inputs, classes, &sigma, noise)?.f_sum(None)?;
        // Samples that drive the network to infinity leave sigma as it is.
        gradient(&radius, &sigma)?.f_nan_to_num(0.0, 0.0, 0.0)
    }

    /// R(sigma) of every sample (n), differentiable in `sigma`.
    fn radius(
        &self,
        inputs: &Tensor,
        classes: &Tensor,
        sigma: &Tensor,
        noise: &Tensor,
    ) -> TorchResult<Tensor> {
        let scores = self.mean_scores(inputs, sigma, noise)?;
        // R has a gradient of its own, through its factor sigma: without that of the scores it would be another one.
        if sigma.requires_grad() && !scores.requires_grad() {
            return Err(no_gradient());
        }
        let clamp = SigmaSearch::CLAMP;
        // Phi^-1(p) = sqrt(2) erfinv(2p - 1).
        let scores = scores.f_clamp(clamp, 1.0 - clamp)?;
        let quantiles = scores.f_mul_scalar(2.0)?.f_sub_scalar(1.0)?.f_erfinv()?;
        let index = classes.f_unsqueeze(1)?;
        let own = quantiles.f_gather(1, &index, false)?;
        let others = quantiles.f_scatter_value(1, &index, f64::NEG_INFINITY)?.f_amax([1], true)?;
        let gap = own.f_sub(&others)?.f_squeeze_dim(1)?;
        sigma.f_mul(&gap)?.f_mul_scalar(0.5 * std::f64::consts::SQRT_2)
    }

    /// Mean softmax over the noisy copies, (n, K).
    pub(super) fn mean_scores(&self, inputs: &Tensor, sigma: &Tensor, noise: &Tensor) -> TorchResult<Tensor> {
        let shape = inputs.size();
        let copies = noise.size().first().copied().unwrap_or(1);
        let mut column = vec![1; shape.len()];
        column[0] = -1;
        let spread = sigma.f_view(&column[..])?.f_unsqueeze(1)?.f_mul(&noise.f_unsqueeze(0)?)?;
        let noisy = inputs.f_unsqueeze(1)?.f_add(&spread)?.f_flatten(0, 1)?;
        let logits = self.architecture.forward(self.weights, &noisy, Mode::Eval)?;
        let scores = logits.f_softmax(-1, None::<Kind>)?;
        scores.f_view([shape.first().copied().unwrap_or(0), copies, -1])?.f_mean_dim(1, false, None::<Kind>)
    }
}

impl Ascent<'_> {
    /// Logarithms of the mean scores (n, K) on as many noisy copies as a step of the search has.
    ///
    /// # Errors
    /// Whatever torch reports.
    pub(super) fn log_scores(&self, inputs: &Tensor, sigma: &Tensor) -> TorchResult<Tensor> {
        let _no_grad = tch::no_grad_guard();
        let shape = [&[self.search.samples as i64], &inputs.size()[1..]].concat();
        let noise =
            unit_noise(self.seed, Role::TestNoise, self.member, &shape)?.f_to_device(inputs.device())?;
        // A probability below the smallest float is that float.
        self.mean_scores(inputs, sigma, &noise)?.f_clamp_min(f64::from(f32::MIN_POSITIVE))?.f_log()
    }
}

/// Standard normal values of one (role, member), of any shape.
pub(super) fn unit_noise(seed: Seed, role: Role, member: u64, shape: &[i64]) -> TorchResult<Tensor> {
    let mut values = vec![0.0; shape.iter().product::<i64>() as usize];
    unit_normals(&seed.member(role, member), 0, &mut values);
    Tensor::f_from_slice(&values)?.f_view(shape)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::member::{FeatureShape, Layout};
    use crate::quantity::NoiseScale;
    use crate::torch::model::{weights_to_vec, FlatWeights};
    use crate::torch::{by_name, on_one_thread};
    use tch::Device;

    static STOP: AtomicBool = AtomicBool::new(false);

    fn search(start: f64, low: f64, high: f64, steps: usize, samples: usize) -> SigmaSearch {
        let scale = NoiseScale::wrap;
        SigmaSearch {
            start: scale(start),
            sigma_min: scale(low),
            sigma_max: scale(high),
            steps,
            learning_rate: scale(0.3),
            samples,
        }
    }

    /// The rule "class 0 where |x_0| < 1, else class 1" in the plane: a band, which large noise leaves on both sides.
    #[derive(Debug)]
    struct Band(Layout);

    impl Architecture for Band {
        fn name(&self) -> &str {
            "band"
        }
        fn layout(&self) -> &Layout {
            &self.0
        }
        fn forward(&self, _weights: &Weights, inputs: &Tensor, _mode: Mode) -> TorchResult<Tensor> {
            let inside = (inputs.f_select(1, 0)?.f_abs()?.f_neg()? + 1.0) * 30.0;
            Tensor::f_stack(&[&inside, &inside.f_neg()?], 1)
        }
    }

    /// The magnitudes of the points (x_0, 0.3).
    fn found(search: &SigmaSearch, places: &[f32], labels: Option<&Tensor>) -> Vec<f32> {
        let band = Band(by_name("linear", FeatureShape::Flat(1), 2).unwrap().layout().clone());
        let weights = FlatWeights::new(&band.0, &[&[0.0; 4]], Device::Cpu).unwrap().views().unwrap();
        let ascent = Ascent { architecture: &band, weights: &weights, search, seed: Seed::new(3), member: 1 };
        let values: Vec<f32> = places.iter().flat_map(|x| [*x, 0.3]).collect();
        let points = Tensor::from_slice(&values).view([-1, 2]);
        let reference = labels.map_or(Reference::OwnClass, Reference::Labels);
        weights_to_vec(&ascent.magnitudes(&points, reference, &STOP).unwrap()).unwrap()
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences_with_common_random_numbers() {
        for model in ["linear", "mlp", "cnn", "resnet"] {
            on_one_thread(|| check_gradient(model));
        }
    }

    fn check_gradient(model: &str) {
        let shape = FeatureShape::Image { channels: 1, height: 10, width: 10 };
        let architecture = by_name(model, shape, 3).unwrap();
        let values = architecture.layout().initial(Seed::new(1), 0);
        // Initial weights say next to nothing; larger ones give gaps of ordinary size.
        let values: Vec<f32> = values.iter().map(|v| 1.5 * v).collect();
        let weights =
            FlatWeights::new(architecture.layout(), &[&values], Device::Cpu).unwrap().views().unwrap();
        let weights = if model == "linear" { weights } else { weights.double() };
        let search = search(0.5, 0.1, 2.0, 1, 6);
        let ascent = Ascent {
            architecture: architecture.as_ref(),
            weights: &weights,
            search: &search,
            seed: Seed::new(2),
            member: 0,
        };
        let kind = if model == "linear" { Kind::Float } else { Kind::Double };
        let inputs = (Tensor::arange(5 * 100, (kind, Device::Cpu)) * 0.37).sin().view([5, 1, 10, 10]);
        let classes = Tensor::from_slice(&[0_i64, 1, 2, 0, 1]);
        let noise = ascent.noise(&inputs).unwrap().get(0).to_kind(kind);
        let sigma = Tensor::from_slice(&[0.3_f64, 0.4, 0.5, 0.6, 0.7]).to_kind(kind);
        let slope = Vec::<f64>::try_from(
            &ascent.slope(&inputs, &classes, &sigma, &noise).unwrap().to_kind(Kind::Double),
        )
        .unwrap();
        let step = if model == "linear" { 1e-2 } else { 1e-5 };
        let radius = |sigma: &Tensor| {
            let radius =
                ascent.radius(&inputs, &classes, sigma, &noise).unwrap().detach().to_kind(Kind::Double);
            Vec::<f64>::try_from(&radius).unwrap()
        };
        let (above, below) = (radius(&(&sigma + step)), radius(&(&sigma - step)));
        assert!(slope.iter().any(|g| g.abs() > 1e-3), "{model}: there is a gradient: {slope:?}");
        for ((slope, above), below) in slope.iter().zip(above).zip(below) {
            let difference = (above - below) / (2.0 * step);
            assert!((slope - difference).abs() < 2e-3 * (1.0 + slope.abs()), "{model}: {slope} {difference}");
        }
    }

    #[test]
    fn magnitudes_grow_and_shrink_to_what_a_sample_bears() {
        // In the middle R(s) = s Phi^-1(2 Phi(1/s) - 1), with probabilities up to 0.98: largest where 2 Phi(1/s) - 1 = 0.98.
        let best = 1.0 / 2.326;
        for start in [0.05, 0.43, 1.5] {
            let sigma = found(&search(start, 0.02, 4.0, 60, 200), &[0.0, 0.5, 0.8, 0.95], None);
            assert!((0.75..1.33).contains(&(sigma[0] / best)), "from {start}: {sigma:?}");
            // Near one side alone R is flat, R = the distance, up to where the other side is felt.
            assert!(sigma[3] < 0.8, "from {start}: {sigma:?}");
        }
    }

    #[test]
    fn a_sample_that_the_network_takes_for_another_class_gets_the_least_noise() {
        let labels = Tensor::from_slice(&[1_i64, 0]);
        let sigma = found(&search(0.2, 0.1, 1.0, 30, 16), &[0.0, 0.0], Some(&labels));
        assert!((sigma[0] - 0.1).abs() < 1e-6 && sigma[1] > 0.25, "{sigma:?}");
    }

    #[test]
    fn a_magnitude_does_not_depend_on_the_other_samples() {
        let search = search(0.5, 0.1, 1.0, 5, 4);
        let many: Vec<f32> = (0..200).map(|i| 0.01 * i as f32).collect();
        let together = found(&search, &many, None);
        let alone = found(&search, &many[150..151], None)[0];
        assert!((together[150] - alone).abs() < 1e-5, "{} {alone}", together[150]);
        assert_eq!(together, found(&search, &many, None), "and repeats");
    }
}
