//! Ridge regression onto the classes (`ridge`): a member in closed form, without gradient steps.

use tch::{Kind, Tensor};

use super::layers;
use super::weights::{to_vec, Weights};
use super::{Architecture, Mode, Solution, TorchResult};
use crate::member::{FeatureShape, Layout};

/// Keeps the system invertible when all samples agree; in squared units of the features.
const FLOOR: f64 = 1e-6;

/// The bias of a class without samples: it is never voted for.
const ABSENT: f64 = -1e9;

/// What [`crate::kernel::ridge`] describes and computes for single members on the CPU, with torch, for stacks and other
/// devices. `epochs`, `batch_size` and `learning_rate` have no effect.
#[derive(Debug)]
pub(super) struct Ridge {
    layout: Layout,
    n_classes: i64,
}

impl Ridge {
    pub(super) fn new(shape: FeatureShape, n_classes: usize) -> Self {
        let mut layout = Layout::default();
        layout.dense("fc1", shape.n_features(), n_classes);
        Self { layout, n_classes: n_classes as i64 }
    }
}

impl Architecture for Ridge {
    fn name(&self) -> &str {
        "ridge"
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
        let centre = x.f_mean_dim(&[0_i64][..], false, None::<Kind>)?;
        let own = labels.f_one_hot(self.n_classes)?.f_to_kind(Kind::Double)?;
        let shares = own.f_mean_dim(&[0_i64][..], false, None::<Kind>)?;
        let (rows, targets) = (x.f_sub(&centre)?, own.f_sub(&shares)?);
        let n = rows.size2()?.0;
        let products = rows.f_matmul(&rows.f_t_copy()?)?;
        let penalty = products.f_trace()?.f_mul_scalar(penalty / n as f64)?.f_add_scalar(FLOOR)?;
        let system = products.f_add(&Tensor::f_eye(n, (Kind::Double, x.device()))?.f_mul(&penalty)?)?;
        // A system that cannot be factorised leaves values that are not finite, and is no error.
        let (factor, failed) = system.f_linalg_cholesky_ex(false, false)?;
        let factor = factor.f_masked_fill(&failed.f_ne(0)?, f64::NAN)?;
        let weight = targets.f_cholesky_solve(&factor, false)?.f_t_copy()?.f_matmul(&rows)?;
        let absent = shares.f_eq(0.0)?;
        let bias = shares.f_sub(&weight.f_matmul(&centre)?)?.f_masked_fill(&absent, ABSENT)?;
        let off = x.f_matmul(&weight.f_t_copy()?)?.f_add(&bias)?.f_sub(&own)?;
        let loss =
            off.f_masked_fill(&absent, 0.0)?.f_square()?.f_sum(Kind::Double)?.f_div_scalar(n as f64)?;
        let mut values = to_vec(&weight)?;
        values.extend(to_vec(&bias)?);
        Ok(Some(Solution { values, loss: loss.f_double_value(&[])? as f32 }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// More samples than features and fewer, classes without samples, data far from the origin.
    #[test]
    fn is_what_the_kernels_compute() {
        for (n, d, k) in [(4, 2, 3), (1, 3, 2), (30, 200, 10), (300, 40, 10), (120, 121, 4)] {
            let value =
                |i: usize, j: usize| ((i * d + j) as f32 * 0.731).sin() + (i % 3 * j) as f32 % 7.0 + 20.0;
            let features: Vec<f32> = (0..n * d).map(|place| value(place / d, place % d)).collect();
            let labels: Vec<usize> = (0..n).map(|i| i % 3 % (k - 1)).collect();
            let rows: Vec<&[f32]> = features.chunks(d).collect();
            let (values, loss) = crate::kernel::ridge(&rows, &labels, k, 0.1, || true).unwrap();
            let targets: Vec<i64> = labels.iter().map(|&label| label as i64).collect();
            let model = Ridge::new(FeatureShape::Flat(d), k);
            let x = Tensor::from_slice(&features).view([n as i64, d as i64]);
            let solution = model.solve(&x, &Tensor::from_slice(&targets), 0.1).unwrap().unwrap();
            assert_eq!(values.len(), solution.values.len());
            let scale = values[..k * d].iter().fold(0.0_f32, |most, value| most.max(value.abs()));
            for (place, (own, torch)) in values.iter().zip(&solution.values).enumerate() {
                let scale = if place < k * d { scale } else { own.abs().max(1.0) };
                assert!((own - torch).abs() <= 1e-5 * scale, "{n} {d} {k}: {own} for {torch} at {place}");
            }
            assert!((loss - solution.loss).abs() <= 1e-5 * loss.max(1e-3), "{loss} for {}", solution.loss);
        }
    }
}
