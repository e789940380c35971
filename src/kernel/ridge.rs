//! Ridge regression onto the classes (`ridge`): a member in closed form, without gradient steps.

use ndarray::linalg::general_mat_mul;
use ndarray::{s, Array1, Array2, ArrayViewMut2, Axis};

use super::discriminant::{ABSENT, FLOOR, ROWS};
use super::symmetric::{add_products, solve};

/// Least squares onto indicators of the classes, with a penalty on the weights (Hoerl and Kennard 1970).
///
/// With X the rows relative to their mean mu (n, d), T the indicators of the classes relative to their shares s (n, K),
///
/// ```text
/// W = (X^T X + l I)^-1 X^T T,    l = penalty tr(X^T X) / n + 1e-6
/// logit_c(x) = s_c + w_c^T (x - mu)
/// ```
///
/// The penalty is relative to the mean squared distance of the samples from their mean, so that one means the same for
/// features of any scale and number. With fewer samples than features the system is that of the products of samples,
/// W = X^T (X X^T + l I)^-1 T, whose size does not grow with the features (the dual form; Saunders, Gammerman and Vovk 1998).
///
/// Rows (n) of features (d) and their class numbers below `n_classes`; returns the weights (K, d) and biases (K) of a
/// linear layer, one after the other, and the mean squared error on the rows, summed over the classes that have samples;
/// a class without any is never voted for. All is calculated in double precision. A system that cannot be factorised leaves
/// values that are not finite, and is no error. `None` if `goes_on`, which is asked between blocks of the work, said no.
pub fn ridge(
    rows: &[&[f32]],
    labels: &[usize],
    n_classes: usize,
    penalty: f64,
    goes_on: impl Fn() -> bool,
) -> Option<(Vec<f32>, f32)> {
    let set = Set::new(rows, labels, n_classes);
    let weights = if rows.len() < set.centre.len() {
        set.dual(penalty, &goes_on)?
    } else {
        set.primal(penalty, &goes_on)?
    };
    let mut biases = &set.shares - &weights.dot(&set.centre);
    for (bias, share) in biases.iter_mut().zip(&set.shares) {
        if *share == 0.0 {
            *bias = ABSENT;
        }
    }
    let loss = set.loss(&weights, &biases, &goes_on)?;
    Some((weights.iter().chain(&biases).map(|value| *value as f32).collect(), loss as f32))
}

/// A noised set, and what it is relative to.
struct Set<'a> {
    rows: &'a [&'a [f32]],
    labels: &'a [usize],
    /// The mean of all samples (d).
    centre: Array1<f64>,
    /// The share of each class (K).
    shares: Array1<f64>,
}

impl<'a> Set<'a> {
    fn new(rows: &'a [&'a [f32]], labels: &'a [usize], n_classes: usize) -> Self {
        let n = rows.len() as f64;
        let mut centre = Array1::<f64>::zeros(rows.first().map_or(0, |row| row.len()));
        for row in rows {
            centre.iter_mut().zip(*row).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        let mut shares = Array1::<f64>::zeros(n_classes);
        labels.iter().for_each(|&label| shares[label] += 1.0);
        Self { rows, labels, centre: centre / n, shares: shares / n }
    }

    /// Writes the rows from number `start` on, relative to their mean.
    fn relative(&self, start: usize, mut target: ArrayViewMut2<'_, f64>) {
        for (mut target, row) in target.rows_mut().into_iter().zip(&self.rows[start..]) {
            let places = target.iter_mut().zip(*row).zip(&self.centre);
            places.for_each(|((place, value), centre)| *place = f64::from(*value) - centre);
        }
    }

    /// The indicators of the classes from number `start` on, relative to the shares (K, n).
    fn targets(&self, start: usize, n: usize) -> Array2<f64> {
        Array2::from_shape_fn((self.shares.len(), n), |(class, row)| {
            f64::from(u8::from(self.labels[start + row] == class)) - self.shares[class]
        })
    }

    fn penalty(&self, relative: f64, trace: f64) -> f64 {
        relative * trace / self.rows.len() as f64 + FLOOR
    }

    /// The weights (K, d) from the products of features.
    fn primal(&self, penalty: f64, goes_on: &impl Fn() -> bool) -> Option<Array2<f64>> {
        let (n, d) = (self.rows.len(), self.centre.len());
        let mut products = Array2::<f64>::zeros((d, d));
        let mut weights = Array2::<f64>::zeros((self.shares.len(), d));
        let mut block = Array2::<f64>::zeros((ROWS.min(n), d));
        for start in (0..n).step_by(ROWS) {
            let mut block = block.slice_mut(s![..ROWS.min(n - start), ..]);
            self.relative(start, block.view_mut());
            add_products(1.0, block.t(), products.view_mut(), goes_on)?;
            general_mat_mul(1.0, &self.targets(start, block.nrows()), &block, 1.0, &mut weights);
        }
        let penalty = self.penalty(penalty, products.diag().sum());
        products.diag_mut().mapv_inplace(|value| value + penalty);
        solve(products, &mut weights, goes_on)?;
        Some(weights)
    }

    /// The same weights from the products of samples.
    fn dual(&self, penalty: f64, goes_on: &impl Fn() -> bool) -> Option<Array2<f64>> {
        let (n, d) = (self.rows.len(), self.centre.len());
        let mut rows = Array2::<f64>::zeros((n, d));
        self.relative(0, rows.view_mut());
        let mut products = Array2::<f64>::zeros((n, n));
        add_products(1.0, rows.view(), products.view_mut(), goes_on)?;
        let penalty = self.penalty(penalty, products.diag().sum());
        products.diag_mut().mapv_inplace(|value| value + penalty);
        let mut shares = self.targets(0, n);
        solve(products, &mut shares, goes_on)?;
        Some(shares.dot(&rows))
    }

    fn loss(&self, weights: &Array2<f64>, biases: &Array1<f64>, goes_on: &impl Fn() -> bool) -> Option<f64> {
        let mut sum = 0.0;
        let present: Vec<usize> = (0..self.shares.len()).filter(|&class| self.shares[class] > 0.0).collect();
        let (weights, biases) = (weights.select(Axis(0), &present), biases.select(Axis(0), &present));
        for (rows, labels) in self.rows.chunks(ROWS).zip(self.labels.chunks(ROWS)) {
            if !goes_on() {
                return None;
            }
            let x = Array2::from_shape_fn((rows.len(), self.centre.len()), |(i, j)| f64::from(rows[i][j]));
            let logits = x.dot(&weights.t()) + &biases;
            for (logits, label) in logits.rows().into_iter().zip(labels) {
                let off =
                    |(logit, class): (&f64, &usize)| (logit - f64::from(u8::from(class == label))).powi(2);
                sum += logits.iter().zip(&present).map(off).sum::<f64>();
            }
        }
        Some(sum / self.rows.len() as f64)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn on() -> bool {
        true
    }

    fn made_up(n: usize, d: usize) -> Vec<f32> {
        let value =
            |i: usize, j: usize| ((i * d + j) as f64 * 0.731).sin() + 0.4 * ((i % 3 * j) as f64).cos();
        (0..n * d).map(|place| (value(place / d, place % d) + 5.0) as f32).collect()
    }

    /// Two samples of each class on one axis: everything can be done by hand.
    #[test]
    fn follows_the_formula() {
        let rows = [[-2.0_f32, 7.0], [0.0, 7.0], [2.0, 7.0], [4.0, 7.0]];
        let rows: Vec<&[f32]> = rows.iter().map(|row| &row[..]).collect();
        let (values, loss) = ridge(&rows, &[0, 0, 1, 1], 3, 0.2, on).unwrap();
        // mu = (1, 7); X^T X = 9 + 1 + 1 + 9 = 20 in x, penalty 0.2 * 20 / 4 = 1; X^T T = 4 for class 1.
        let slope = 4.0 / (21.0 + 1e-6);
        let expected = [-slope, 0.0, slope, 0.0, 0.0, 0.0, 0.5 + slope, 0.5 - slope, ABSENT];
        for (value, expected) in values.iter().zip(expected) {
            assert!((f64::from(*value) - expected).abs() < 1e-6 * expected.abs().max(1.0), "{values:?}");
        }
        let off = |x: f64| 2.0 * (0.5 - slope * x).powi(2);
        assert!((f64::from(loss) - (off(3.0) + off(1.0)) / 2.0).abs() < 1e-6, "{loss}");
    }

    /// The gradient of the penalised squares is 0 at the weights, whichever system was solved.
    #[test]
    fn both_forms_solve_the_system() {
        for (n, d) in [(1, 1), (2, 7), (40, 13), (49, 49), (48, 97), (60, 300), (700, 150)] {
            let features = made_up(n, d);
            let rows: Vec<&[f32]> = features.chunks(d).collect();
            let labels: Vec<usize> = (0..n).map(|i| i % 3).collect();
            let set = Set::new(&rows, &labels, 4);
            let mut x = Array2::zeros((n, d));
            set.relative(0, x.view_mut());
            let products = x.t().dot(&x);
            let system = &products + Array2::<f64>::eye(d) * set.penalty(0.1, products.diag().sum());
            let expected = set.targets(0, n).dot(&x);
            let scale = expected.iter().fold(1e-3_f64, |most, value| most.max(value.abs()));
            for (name, weights) in [("primal", set.primal(0.1, &on)), ("dual", set.dual(0.1, &on))] {
                let again = weights.unwrap().dot(&system);
                let apart = (&again - &expected).iter().fold(0.0_f64, |most, value| most.max(value.abs()));
                assert!(apart < 1e-9 * scale, "{name} {n} {d}: {apart} of {scale}");
            }
        }
    }

    #[test]
    fn the_penalty_means_the_same_at_every_scale() {
        let features = made_up(30, 50);
        let labels: Vec<usize> = (0..30).map(|i| i % 3).collect();
        let logits = |factor: f32| {
            let scaled: Vec<f32> = features.iter().map(|value| value * factor).collect();
            let rows: Vec<&[f32]> = scaled.chunks(50).collect();
            let (values, _) = ridge(&rows, &labels, 3, 0.3, on).unwrap();
            let class =
                |c: usize| (0..50).map(|j| values[c * 50 + j] * rows[7][j]).sum::<f32>() + values[150 + c];
            [0, 1, 2].map(class)
        };
        for (one, other) in logits(1.0).iter().zip(logits(64.0)) {
            assert!((one - other).abs() < 1e-3, "{one} {other}");
        }
    }

    #[test]
    fn one_class_and_samples_that_all_agree_are_no_obstacle() {
        for (n, d) in [(4, 3), (3, 4), (1, 1)] {
            let features = vec![1.0_f32; n * d];
            let rows: Vec<&[f32]> = features.chunks(d).collect();
            let (values, loss) = ridge(&rows, &vec![1; n], 3, 0.1, on).unwrap();
            let mut expected = vec![0.0_f32; 3 * d];
            expected.extend([ABSENT as f32, 1.0, ABSENT as f32]);
            assert_eq!((values, loss), (expected, 0.0), "{n} {d}");
        }
    }

    #[test]
    fn what_is_not_finite_shows() {
        for (n, d) in [(30, 4), (4, 30)] {
            let mut features = made_up(n, d);
            let labels: Vec<usize> = (0..n).map(|i| i % 2).collect();
            for bad in [f32::NAN, f32::INFINITY] {
                features[5] = bad;
                let rows: Vec<&[f32]> = features.chunks(d).collect();
                let (values, loss) = ridge(&rows, &labels, 2, 0.1, on).unwrap();
                assert!(loss.is_nan() && values[..2 * d].iter().all(|value| value.is_nan()), "{n} {d}");
            }
        }
    }

    #[test]
    fn the_work_stops_between_blocks() {
        for (n, d) in [(600, 150), (150, 200)] {
            let features = made_up(n, d);
            let rows: Vec<&[f32]> = features.chunks(d).collect();
            let labels: Vec<usize> = (0..n).map(|i| i % 3).collect();
            let asked = Cell::new(0);
            let until = |last: usize| {
                asked.set(0);
                ridge(&rows, &labels, 3, 0.1, || {
                    asked.set(asked.get() + 1);
                    asked.get() < last
                })
            };
            assert!(until(usize::MAX).is_some());
            let all = asked.get();
            assert!(all > 3, "{all}");
            for last in 1..=all {
                assert!(until(last).is_none() && asked.get() == last);
            }
        }
    }
}
