//! Regularised linear discriminant analysis (`discriminant`): a member in closed form, without gradient steps.

use tch::{Kind, Reduction, Tensor};

use super::layers;
use super::layout::Layout;
use super::weights::{to_vec, Weights};
use super::{Architecture, FeatureShape, Mode, Solution, TorchResult};

/// Keeps the metric invertible when all samples of a class agree; in squared units of the features.
const FLOOR: f64 = 1e-6;

/// The bias of a class without samples: it is never voted for.
const ABSENT: f64 = -1e9;

/// Normal classes with one common covariance and equal priors (Fisher 1936; Friedman 1989 for the
/// regularisation), on the flattened input.
///
/// With n_c samples of class c, mu the mean of all samples and d features,
///
/// ```text
/// m_c = (sum of the class + mu) / (n_c + 1)
/// S   = sum_i (x_i - m_{y_i})(x_i - m_{y_i})^T / max(1, n - K)  +  (tr S / d + 1e-6) I
/// logit_c(x) = m_c^T S^-1 (x - mu) - m_c^T S^-1 m_c / 2         (m_c relative to mu)
/// ```
///
/// The means lean towards mu by one sample and the metric towards the sphere by one half: with few and very
/// noisy samples, which is what members under strong laws see, this beats anything that is trained by
/// gradient, and costs milliseconds. `epochs`, `batch_size` and `learning_rate` have no effect.
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
    fn weights(&self, x: &Tensor, labels: &Tensor) -> TorchResult<(Tensor, Tensor)> {
        let centre = x.f_mean_dim(&[0_i64][..], true, None::<Kind>)?;
        let x = x.f_sub(&centre)?;
        let (n, d) = x.size2()?;
        let member_of = labels.f_one_hot(self.n_classes)?.f_to_kind(Kind::Double)?;
        let counts = member_of.f_sum_dim_intlist(&[0_i64][..], false, None::<Kind>)?;
        let means = member_of.f_t_copy()?.f_matmul(&x)?.f_div(&counts.f_add_scalar(1.0)?.f_unsqueeze(1)?)?;
        let rest = x.f_sub(&means.f_index_select(0, labels)?)?;
        let scatter = rest.f_t_copy()?.f_matmul(&rest)?.f_div_scalar((n - self.n_classes).max(1) as f64)?;
        let ridge = scatter.f_trace()?.f_div_scalar(d as f64)?.f_add_scalar(FLOOR)?;
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

    fn solve(&self, features: &Tensor, labels: &Tensor) -> TorchResult<Option<Solution>> {
        let _no_grad = tch::no_grad_guard();
        let x = features.f_flatten(1, -1)?.f_to_kind(Kind::Double)?;
        let (weight, bias) = self.weights(&x, labels)?;
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

    /// Two features that do not vary within classes beyond +-1: everything can be done by hand.
    #[test]
    fn follows_the_formula() {
        let x = Tensor::from_slice(&[-3.0_f32, 0.0, -1.0, 0.0, 1.0, 0.0, 3.0, 0.0]).view([4, 2]);
        let labels = Tensor::from_slice(&[0_i64, 0, 1, 1]);
        let model = Discriminant::new(FeatureShape::Flat(2), 3);
        let solution = model.solve(&x, &labels).unwrap().unwrap();
        // mu = 0; means -4/3 and 4/3; scatter in x: 2 ((5/3)^2 + (1/3)^2) / 1 = 52/9; ridge 26/9 + 1e-6.
        let metric = 52.0 / 9.0 + 26.0 / 9.0 + 1e-6;
        let slope = 4.0 / 3.0 / metric;
        let bias = -0.5 * slope * 4.0 / 3.0;
        let expected = [-slope, 0.0, slope, 0.0, 0.0, 0.0, bias, bias, ABSENT];
        for (value, expected) in solution.values.iter().zip(expected) {
            assert!((f64::from(*value) - expected).abs() < 1e-6 * expected.abs().max(1.0), "{solution:?}");
        }
        assert!(solution.loss > 0.0 && solution.loss < 1.0);
    }

    #[test]
    fn samples_that_all_agree_are_no_obstacle() {
        let model = Discriminant::new(FeatureShape::Flat(3), 2);
        let solution = model.solve(
            &Tensor::ones([4, 3], (Kind::Float, tch::Device::Cpu)),
            &Tensor::zeros([4], (Kind::Int64, tch::Device::Cpu)),
        );
        assert!(solution.unwrap().unwrap().values.iter().all(|value| value.is_finite()));
    }
}
