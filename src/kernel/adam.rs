//! Adam (Kingma & Ba 2015) in one pass over the values.

use crate::vectors::dispatch;
use pulp::{Simd, WithSimd};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// Moments below this become zero: far below epsilon and its square, and not yet subnormal, which would slow the
/// processor down.
const NEGLIGIBLE: f32 = 1e-30;

/// Adam with PyTorch's semantics:
///
/// m <- beta1 m + (1 - beta1) g,  v <- beta2 v + (1 - beta2) g^2,
/// p <- p - lr / (1 - beta1^t) * m / (sqrt(v / (1 - beta2^t)) + epsilon)
#[derive(Clone, Debug)]
pub struct Adam {
    learning_rate: f64,
    step: i32,
    mean: Vec<f32>,
    square: Vec<f32>,
}

impl Adam {
    /// The state before the first step over `n` values.
    pub fn new(n: usize, learning_rate: f64) -> Self {
        Self { learning_rate, step: 0, mean: vec![0.0; n], square: vec![0.0; n] }
    }

    /// One step, in place; `values` and `gradient` have the length given to [`Adam::new`].
    pub fn step(&mut self, values: &mut [f32], gradient: &[f32]) {
        self.step = self.step.saturating_add(1);
        let rate = self.learning_rate / (1.0 - BETA1.powi(self.step));
        let correction = (1.0 - BETA2.powi(self.step)).sqrt();
        // rate m / (sqrt(v) / correction + epsilon), with one division.
        dispatch(Update {
            values,
            gradient,
            mean: &mut self.mean,
            square: &mut self.square,
            rate: (rate * correction) as f32,
            epsilon: (EPSILON * correction) as f32,
        });
    }
}

struct Update<'a> {
    values: &'a mut [f32],
    gradient: &'a [f32],
    mean: &'a mut [f32],
    square: &'a mut [f32],
    rate: f32,
    epsilon: f32,
}

impl WithSimd for Update<'_> {
    type Output = ();

    /// Plain loops: the compiler makes vectors of them here, where it may use all instructions.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Self { values, gradient, mean, square, rate, epsilon } = self;
        let (fresh, fresh_square) = ((1.0 - BETA1) as f32, (1.0 - BETA2) as f32);
        let moments = mean.iter_mut().zip(square);
        for ((value, g), (m, v)) in values.iter_mut().zip(gradient).zip(moments) {
            let mean = *m + fresh * (*g - *m);
            let square = *v + fresh_square * (*g * *g - *v);
            *m = if mean.abs() < NEGLIGIBLE { 0.0 } else { mean };
            *v = if square < NEGLIGIBLE { 0.0 } else { square };
            *value -= rate * *m / (v.sqrt() + epsilon);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::with_each;

    #[test]
    fn follows_the_formula_in_double_precision() {
        with_each(|_| steps());
    }

    fn steps() {
        let gradients = [[0.5_f32, -2.0, 0.0], [0.1, 3.0, 0.0], [-0.7, 1e-6, 1e-3]];
        let mut expected = [1.0_f64, -1.0, 0.25];
        let mut values = [1.0_f32, -1.0, 0.25];
        let mut adam = Adam::new(3, 0.01);
        let (mut m, mut v) = ([0.0_f64; 3], [0.0_f64; 3]);
        for (t, gradient) in (1..).zip(&gradients) {
            adam.step(&mut values, gradient);
            for i in 0..3 {
                let g = f64::from(gradient[i]);
                m[i] = 0.9 * m[i] + 0.1 * g;
                v[i] = 0.999 * v[i] + 0.001 * g * g;
                let (m_hat, v_hat) = (m[i] / (1.0 - 0.9_f64.powi(t)), v[i] / (1.0 - 0.999_f64.powi(t)));
                expected[i] -= 0.01 * m_hat / (v_hat.sqrt() + 1e-8);
            }
        }
        for (value, expected) in values.into_iter().zip(expected) {
            assert!((f64::from(value) - expected).abs() < 1e-6, "{value} for {expected}");
        }
    }

    #[test]
    fn moments_never_become_subnormal() {
        let mut values = [1.0_f32; 4];
        let mut adam = Adam::new(4, 0.01);
        adam.step(&mut values, &[1.0, 1e-9, -1e-12, 1e-15]);
        for step in 0..1500 {
            adam.step(&mut values, &[0.0; 4]);
            let moments = adam.mean.iter().chain(&adam.square);
            assert!(moments.clone().all(|v| *v == 0.0 || v.is_normal()), "step {step}");
        }
        assert_eq!(adam.mean, [0.0; 4]);
    }
}
