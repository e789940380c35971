//! Adam (Kingma & Ba 2015) over one flat tensor.

use tch::Tensor;

use super::model::TorchResult;

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// Steps between two sweeps of the moments.
const SWEEP: i32 = 64;

/// Moments below this are zero after a sweep: far below the epsilon and its square.
const NEGLIGIBLE: f64 = 1e-30;

/// Adam with PyTorch's semantics:
///
/// m <- beta1 m + (1 - beta1) g,  v <- beta2 v + (1 - beta2) g^2,
/// p <- p - lr / (1 - beta1^t) * m / (sqrt(v / (1 - beta2^t)) + epsilon)
///
/// The first moments of weights without a gradient (those of units that are never active) decay by a tenth
/// a step and are subnormal after 800 steps; an update with a quarter of them subnormal takes five times as
/// long. A sweep every 64 steps sets them to zero before.
#[derive(Debug)]
pub(super) struct Adam {
    learning_rate: f64,
    step: i32,
    mean: Tensor,
    square: Tensor,
}

impl Adam {
    pub(super) fn new(parameters: &Tensor, learning_rate: f64) -> TorchResult<Self> {
        let zeros = || parameters.f_detach()?.f_zeros_like();
        Ok(Self { learning_rate, step: 0, mean: zeros()?, square: zeros()? })
    }

    /// One step; `parameters` is changed in place, outside the gradient's record.
    pub(super) fn step(&mut self, parameters: &Tensor, gradient: &Tensor) -> TorchResult<()> {
        let _no_grad = tch::no_grad_guard();
        self.step += 1;
        let rate = self.learning_rate / (1.0 - BETA1.powi(self.step));
        let correction = (1.0 - BETA2.powi(self.step)).sqrt();
        let _ = self.mean.f_lerp_(gradient, 1.0 - BETA1)?;
        let _ = self.square.f_lerp_(&gradient.f_mul(gradient)?, 1.0 - BETA2)?;
        // The step size goes into the denominator, for want of addcdiv's scalar.
        let mut denominator = self.square.f_sqrt()?;
        let _ = denominator.f_mul_scalar_(-1.0 / (rate * correction))?;
        let _ = denominator.f_add_scalar_(-EPSILON / rate)?;
        let _ = parameters.f_detach()?.f_addcdiv_(&self.mean, &denominator)?;
        if self.step % SWEEP == 0 {
            for moment in [&mut self.mean, &mut self.square] {
                let negligible = moment.f_abs()?.f_lt(NEGLIGIBLE)?;
                let _ = moment.f_masked_fill_(&negligible, 0.0)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::torch::model::weights_to_vec as to_vec;

    #[test]
    fn follows_the_formula_in_double_precision() {
        let gradients = [[0.5_f32, -2.0, 0.0], [0.1, 3.0, 0.0], [-0.7, 1e-6, 1e-3]];
        let mut expected = [1.0_f64, -1.0, 0.25];
        let parameters = Tensor::from_slice(&[1.0_f32, -1.0, 0.25]);
        let mut adam = Adam::new(&parameters, 0.01).unwrap();
        let (mut m, mut v) = ([0.0_f64; 3], [0.0_f64; 3]);
        for (t, gradient) in gradients.iter().enumerate() {
            adam.step(&parameters, &Tensor::from_slice(gradient)).unwrap();
            let t = t as i32 + 1;
            for i in 0..3 {
                let g = f64::from(gradient[i]);
                m[i] = 0.9 * m[i] + 0.1 * g;
                v[i] = 0.999 * v[i] + 0.001 * g * g;
                let (m_hat, v_hat) = (m[i] / (1.0 - 0.9_f64.powi(t)), v[i] / (1.0 - 0.999_f64.powi(t)));
                expected[i] -= 0.01 * m_hat / (v_hat.sqrt() + 1e-8);
            }
        }
        for (value, expected) in to_vec(&parameters).unwrap().into_iter().zip(expected) {
            assert!((f64::from(value) - expected).abs() < 1e-6, "{value} for {expected}");
        }
    }

    #[test]
    fn moments_never_become_subnormal() {
        let parameters = Tensor::from_slice(&[1.0_f32; 4]);
        let mut adam = Adam::new(&parameters, 0.01).unwrap();
        adam.step(&parameters, &Tensor::from_slice(&[1.0_f32, 1e-9, -1e-12, 1e-15])).unwrap();
        for step in 0..1500 {
            adam.step(&parameters, &Tensor::from_slice(&[0.0_f32; 4])).unwrap();
            for moment in [&adam.mean, &adam.square] {
                let values = to_vec(moment).unwrap();
                assert!(values.iter().all(|v| *v == 0.0 || v.is_normal()), "{values:?} at step {step}");
            }
        }
        assert_eq!(to_vec(&adam.mean).unwrap(), [0.0; 4]);
    }
}
