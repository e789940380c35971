//! Regularised linear discriminant analysis (`discriminant`): a member in closed form, without gradient steps.

use tch::{Kind, Reduction, Tensor};

use super::layers;
use super::weights::{to_vec, Weights};
use super::{Architecture, Mode, Solution, TorchResult};
use crate::member::{FeatureShape, Layout};

/// Keeps the metric invertible when all samples of a class agree; in squared units of the features.
const FLOOR: f64 = 1e-6;

/// The bias of a class without samples: it is never voted for.
const ABSENT: f64 = -1e9;

/// What [`crate::kernel::discriminant`] describes and computes for single members on the CPU, with torch, for stacks and
/// other devices. `epochs`, `batch_size` and `learning_rate` have no effect.
#[derive(Debug)]
pub(super) struct Discriminant {
    layout: Layout,
    n_classes: i64,
}

impl Discriminant {
    pub(super) fn new(shape: FeatureShape, n_classes: usize) -> Self {
        let mut layout = Layout::default();
        layout.dense("fc1", shape.n_features(), n_classes);
        Self { layout, n_classes: n_classes as i64 }
    }

    /// Weights (K, d) and biases (K), in double precision.
    fn weights(&self, x: &Tensor, labels: &Tensor, penalty: f64) -> TorchResult<(Tensor, Tensor)> {
        let centre = x.f_mean_dim(&[0_i64][..], true, None::<Kind>)?;
        let x = x.f_sub(&centre)?;
        let (n, d) = x.size2()?;
        let member_of = labels.f_one_hot(self.n_classes)?.f_to_kind(Kind::Double)?;
        let counts = member_of.f_sum_dim_intlist(&[0_i64][..], false, None::<Kind>)?;
        let means = member_of.f_t_copy()?.f_matmul(&x)?.f_div(&counts.f_add_scalar(1.0)?.f_unsqueeze(1)?)?;
        let rest = x.f_sub(&means.f_index_select(0, labels)?)?;
        let scatter = rest.f_t_copy()?.f_matmul(&rest)?.f_div_scalar((n - self.n_classes).max(1) as f64)?;
        let ridge = scatter.f_trace()?.f_mul_scalar(penalty / d as f64)?.f_add_scalar(FLOOR)?;
        let metric = scatter.f_add(&Tensor::f_eye(d, (Kind::Double, x.device()))?.f_mul(&ridge)?)?;
        // A metric that cannot be factorised leaves values that are not finite, and is no error.
        let (factor, failed) = metric.f_linalg_cholesky_ex(false, false)?;
        let factor = factor.f_masked_fill(&failed.f_ne(0)?, f64::NAN)?;
        let directions = means.f_t_copy()?.f_cholesky_solve(&factor, false)?.f_t_copy()?;
        let along = |point: &Tensor| directions.f_mul(point)?.f_sum_dim_intlist(&[1_i64][..], false, None);
        let bias = along(&means)?.f_mul_scalar(-0.5)?.f_sub(&along(&centre)?)?;
        let bias = bias.f_masked_fill(&counts.f_eq(0.0)?, ABSENT)?;
        Ok((directions, bias))
    }
}

impl Architecture for Discriminant {
    fn name(&self) -> &str {
        "discriminant"
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn forward(&self, weights: &Weights, inputs: &Tensor, _mode: Mode) -> TorchResult<Tensor> {
        weights.rewind();
        let first = if weights.stack() == 1 { 1 } else { 2 };
        layers::dense(weights, &inputs.f_flatten(first, -1)?)
    }

    fn is_built_in(&self) -> bool {
        true
    }

    fn looks_once(&self) -> bool {
        true
    }

    fn solve(&self, features: &Tensor, labels: &Tensor, penalty: f64) -> TorchResult<Option<Solution>> {
        let _no_grad = tch::no_grad_guard();
        let x = features.f_flatten(1, -1)?.f_to_kind(Kind::Double)?;
        let (weight, bias) = self.weights(&x, labels, penalty)?;
        let logits = x.f_matmul(&weight.f_t_copy()?)?.f_add(&bias)?;
        let loss = logits.f_cross_entropy_loss(labels, None::<Tensor>, Reduction::Mean, -100, 0.0)?;
        let mut values = to_vec(&weight)?;
        values.extend(to_vec(&bias)?);
        Ok(Some(Solution { values, loss: loss.f_double_value(&[])? as f32 }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// More samples than features and fewer, which the kernels solve another way; classes without samples; data far from
    /// the origin.
    #[test]
    fn is_what_the_kernels_compute() {
        for (n, d, k) in [(4, 2, 3), (1, 3, 2), (30, 200, 10), (300, 40, 10), (120, 121, 4), (600, 65, 2)] {
            let value =
                |i: usize, j: usize| ((i * d + j) as f32 * 0.731).sin() + (i % 3 * j) as f32 % 7.0 + 20.0;
            let features: Vec<f32> = (0..n * d).map(|place| value(place / d, place % d)).collect();
            let labels: Vec<usize> = (0..n).map(|i| i % 3 % (k - 1)).collect();
            let rows: Vec<&[f32]> = features.chunks(d).collect();
            let (values, loss) = crate::kernel::discriminant(&rows, &labels, k, 0.3, || true).unwrap();
            let targets: Vec<i64> = labels.iter().map(|&label| label as i64).collect();
            let model = Discriminant::new(FeatureShape::Flat(d), k);
            let x = Tensor::from_slice(&features).view([n as i64, d as i64]);
            let solution = model.solve(&x, &Tensor::from_slice(&targets), 0.3).unwrap().unwrap();
            assert_eq!(values.len(), solution.values.len());
            for (own, torch) in
                [(&values[..k * d], &solution.values[..k * d]), (&values[k * d..], &solution.values[k * d..])]
            {
                let real = |value: &f32| if *value > -1e8 { f64::from(*value) } else { 0.0 };
                let scale = torch.iter().map(real).fold(0.0, |most: f64, value| most.max(value.abs()));
                for (own, torch) in own.iter().zip(torch) {
                    let apart = f64::from((own - torch).abs());
                    assert!(apart <= 1e-6 * scale, "{n} {d} {k}: {own} for {torch}, scale {scale}");
                }
            }
            assert!((loss - solution.loss).abs() <= 1e-5 * loss.max(1e-3), "{loss} for {}", solution.loss);
        }
    }

    #[test]
    fn samples_that_all_agree_are_no_obstacle() {
        let model = Discriminant::new(FeatureShape::Flat(3), 2);
        let solution = model.solve(
            &Tensor::ones([4, 3], (Kind::Float, tch::Device::Cpu)),
            &Tensor::zeros([4], (Kind::Int64, tch::Device::Cpu)),
            0.3,
        );
        assert!(solution.unwrap().unwrap().values.iter().all(|value| value.is_finite()));
    }
}
