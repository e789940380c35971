//! Regularised linear discriminant analysis (`discriminant`): a member in closed form, without gradient steps.

use ndarray::linalg::general_mat_mul;
use ndarray::{s, Array1, Array2, ArrayView2, ArrayViewMut2, Axis};

use super::symmetric::{add_products, solve};

/// Keeps the metric invertible when all samples of a class agree; in squared units of the features.
pub(super) const FLOOR: f64 = 1e-6;

/// The bias of a class without samples: it is never voted for.
pub(crate) const ABSENT: f64 = -1e9;

/// Samples that are in double precision at the same time.
pub(super) const ROWS: usize = 256;

/// Normal classes with one common covariance and equal priors (Fisher 1936; Friedman 1989 for the regularisation).
///
/// With n_c samples of class c, mu the mean of all samples and d features,
///
/// ```text
/// m_c = (sum of the class + mu) / (n_c + 1)
/// S   = sum_i (x_i - m_{y_i})(x_i - m_{y_i})^T / max(1, n - K)  +  (penalty tr S / d + 1e-6) I
/// logit_c(x) = m_c^T S^-1 (x - mu) - m_c^T S^-1 m_c / 2         (m_c relative to mu)
/// ```
///
/// The means lean towards mu by one sample and, with a penalty of 1, the metric towards the sphere by one half: with few and very noisy
/// samples, which is what members under strong laws see, this beats anything that is trained by gradient, and costs
/// milliseconds.
///
/// With fewer samples than features the metric is never formed: with R the rows x_i - m_{y_i}, nu = max(1, n - K) and r
/// the regularisation, S^-1 m = (m - R^T (R R^T + nu r I)^-1 R m) / r (Woodbury 1950), a system of n equations. So memory
/// is that of the noised set, and not of its features squared.
///
/// Rows (n) of features (d) and their class numbers below `n_classes`; returns the weights (K, d) and biases (K) of a
/// linear layer, one after the other, and its mean cross-entropy on the rows. All is calculated in double precision.
/// A metric that cannot be factorised leaves values that are not finite, and is no error. `None` if `goes_on`, which is
/// asked between blocks of the work, said no.
pub fn discriminant(
    rows: &[&[f32]],
    labels: &[usize],
    n_classes: usize,
    penalty: f64,
    goes_on: impl Fn() -> bool,
) -> Option<(Vec<f32>, f32)> {
    let set = Set { penalty, ..Set::new(rows, labels, n_classes) };
    let directions = if rows.len() < set.n_features() { set.dual(&goes_on)? } else { set.primal(&goes_on)? };
    let along = |point: ArrayView2<'_, f64>| (&directions * &point).sum_axis(Axis(1));
    let mut biases = along(set.means.view()) * -0.5 - along(set.centre.view().insert_axis(Axis(0)));
    for (bias, count) in biases.iter_mut().zip(&set.counts) {
        if *count == 0.0 {
            *bias = ABSENT;
        }
    }
    let loss = set.loss(&directions, &biases, &goes_on)?;
    Some((directions.iter().chain(&biases).map(|value| *value as f32).collect(), loss as f32))
}

/// A noised set and what its classes have in common.
struct Set<'a> {
    rows: &'a [&'a [f32]],
    labels: &'a [usize],
    /// The mean of all samples (d).
    centre: Array1<f64>,
    /// Each class's mean (K, d), relative to the centre and leaning towards it by one sample.
    means: Array2<f64>,
    /// Samples of each class (K).
    counts: Array1<f64>,
    /// The regularisation, relative to the mean of the scatter's diagonal.
    penalty: f64,
}

impl<'a> Set<'a> {
    fn new(rows: &'a [&'a [f32]], labels: &'a [usize], n_classes: usize) -> Self {
        let d = rows.first().map_or(0, |row| row.len());
        let mut centre = Array1::<f64>::zeros(d);
        for row in rows {
            centre.iter_mut().zip(*row).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        centre /= rows.len() as f64;
        let mut means = Array2::<f64>::zeros((n_classes, d));
        let mut counts = Array1::<f64>::zeros(n_classes);
        for (row, &label) in rows.iter().zip(labels) {
            counts[label] += 1.0;
            let sums = means.row_mut(label).into_iter().zip(&centre);
            sums.zip(*row).for_each(|((sum, centre), value)| *sum += f64::from(*value) - centre);
        }
        for (mut mean, count) in means.rows_mut().into_iter().zip(&counts) {
            mean /= count + 1.0;
        }
        Self { rows, labels, centre, means, counts, penalty: 1.0 }
    }

    fn n_features(&self) -> usize {
        self.centre.len()
    }

    /// What the scatter is divided by.
    fn freedom(&self) -> f64 {
        self.rows.len().saturating_sub(self.counts.len()).max(1) as f64
    }

    /// The regularisation, from the sum of the scatter's diagonal.
    fn ridge(&self, trace: f64) -> f64 {
        self.penalty * trace / self.freedom() / self.n_features() as f64 + FLOOR
    }

    /// Writes the rows from number `start` on, each relative to its class's mean.
    fn rest(&self, start: usize, mut target: ArrayViewMut2<'_, f64>) {
        let labels = &self.labels[start..];
        for ((mut target, row), &label) in target.rows_mut().into_iter().zip(&self.rows[start..]).zip(labels)
        {
            let from = self.centre.iter().zip(self.means.row(label));
            let places = target.iter_mut().zip(*row).zip(from);
            places.for_each(|((place, value), (centre, mean))| *place = f64::from(*value) - centre - mean);
        }
    }

    /// The directions S^-1 m_c (K, d) from the metric.
    fn primal(&self, goes_on: &impl Fn() -> bool) -> Option<Array2<f64>> {
        let (n, d) = (self.rows.len(), self.n_features());
        let mut metric = Array2::<f64>::zeros((d, d));
        let mut rest = Array2::<f64>::zeros((ROWS.min(n), d));
        for start in (0..n).step_by(ROWS) {
            let mut rest = rest.slice_mut(s![..ROWS.min(n - start), ..]);
            self.rest(start, rest.view_mut());
            add_products(1.0, rest.t(), metric.view_mut(), goes_on)?;
        }
        let trace = metric.diag().sum();
        metric /= self.freedom();
        metric.diag_mut().mapv_inplace(|value| value + self.ridge(trace));
        let mut directions = self.means.clone();
        solve(metric, &mut directions, goes_on)?;
        Some(directions)
    }

    /// The same directions from the products of samples.
    fn dual(&self, goes_on: &impl Fn() -> bool) -> Option<Array2<f64>> {
        let (n, d) = (self.rows.len(), self.n_features());
        let mut rest = Array2::<f64>::zeros((n, d));
        self.rest(0, rest.view_mut());
        let mut products = Array2::<f64>::zeros((n, n));
        add_products(1.0, rest.view(), products.view_mut(), goes_on)?;
        let ridge = self.ridge(products.diag().sum());
        products.diag_mut().mapv_inplace(|value| value + self.freedom() * ridge);
        let mut shares = self.means.dot(&rest.t());
        solve(products, &mut shares, goes_on)?;
        let mut directions = self.means.clone();
        general_mat_mul(-1.0, &shares, &rest, 1.0, &mut directions);
        directions /= ridge;
        Some(directions)
    }

    /// The mean cross-entropy of a linear layer.
    fn loss(
        &self,
        directions: &Array2<f64>,
        biases: &Array1<f64>,
        goes_on: &impl Fn() -> bool,
    ) -> Option<f64> {
        let mut sum = 0.0;
        for (rows, labels) in self.rows.chunks(ROWS).zip(self.labels.chunks(ROWS)) {
            if !goes_on() {
                return None;
            }
            let x = Array2::from_shape_fn((rows.len(), self.n_features()), |(i, j)| f64::from(rows[i][j]));
            let logits = x.dot(&directions.t()) + biases;
            for (logits, &label) in logits.rows().into_iter().zip(labels) {
                let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let all: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
                sum += all.ln() + largest - logits[label];
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

    /// Made-up rows around one point of each class, far from the origin.
    fn made_up(n: usize, d: usize) -> Vec<f32> {
        let value =
            |i: usize, j: usize| ((i * d + j) as f64 * 0.731).sin() + 0.4 * ((i % 3 * j) as f64).cos();
        (0..n * d).map(|place| (value(place / d, place % d) + 5.0) as f32).collect()
    }

    /// Two features that do not vary within classes beyond +-1: everything can be done by hand.
    #[test]
    fn follows_the_formula() {
        let rows = [[-3.0_f32, 0.0], [-1.0, 0.0], [1.0, 0.0], [3.0, 0.0]];
        let rows: Vec<&[f32]> = rows.iter().map(|row| &row[..]).collect();
        let (values, loss) = discriminant(&rows, &[0, 0, 1, 1], 3, 1.0, on).unwrap();
        // mu = 0; means -4/3 and 4/3; scatter in x: 2 ((5/3)^2 + (1/3)^2) / 1 = 52/9; ridge 26/9 + 1e-6.
        let metric = 52.0 / 9.0 + 26.0 / 9.0 + 1e-6;
        let slope = 4.0 / 3.0 / metric;
        let bias = -0.5 * slope * 4.0 / 3.0;
        let expected = [-slope, 0.0, slope, 0.0, 0.0, 0.0, bias, bias, ABSENT];
        for (value, expected) in values.iter().zip(expected) {
            assert!((f64::from(*value) - expected).abs() < 1e-6 * expected.abs().max(1.0), "{values:?}");
        }
        let own = |x: f64| (1.0 + (-2.0 * slope * x).exp()).ln();
        assert!((f64::from(loss) - (own(3.0) + own(1.0)) / 2.0).abs() < 1e-6, "{loss}");
    }

    /// The metric applied to the directions gives the means again, whichever system was solved.
    #[test]
    fn both_forms_invert_the_metric() {
        for (n, d) in [(1, 1), (2, 7), (40, 13), (49, 49), (48, 97), (97, 48), (60, 300), (700, 150)] {
            let features = made_up(n, d);
            let rows: Vec<&[f32]> = features.chunks(d).collect();
            let labels: Vec<usize> = (0..n).map(|i| i % 3).collect();
            let set = Set { penalty: 2.5, ..Set::new(&rows, &labels, 4) };
            let mut rest = Array2::zeros((n, d));
            set.rest(0, rest.view_mut());
            let freedom = (n as f64 - 4.0).max(1.0);
            let scatter = rest.t().dot(&rest) / freedom;
            let metric = &scatter + Array2::<f64>::eye(d) * (2.5 * scatter.diag().sum() / d as f64 + FLOOR);
            let scale = set.means.iter().fold(1e-300_f64, |most, value| most.max(value.abs()));
            for (name, directions) in [("primal", set.primal(&on)), ("dual", set.dual(&on))] {
                let again = directions.unwrap().dot(&metric);
                let apart = (&again - &set.means).iter().fold(0.0_f64, |most, value| most.max(value.abs()));
                assert!(apart < 1e-10 * scale, "{name} {n} {d}: {apart} of {scale}");
            }
            let mean: f64 = (0..d).map(|j| f64::from(features[j])).sum::<f64>() / d as f64;
            assert!(mean > 1.0, "the samples lie far from the origin");
        }
    }

    #[test]
    fn one_class_and_samples_that_all_agree_are_no_obstacle() {
        for (n, d) in [(4, 3), (3, 4), (1, 1)] {
            let features = vec![1.0_f32; n * d];
            let rows: Vec<&[f32]> = features.chunks(d).collect();
            let (values, loss) = discriminant(&rows, &vec![1; n], 3, 1.0, on).unwrap();
            let mut expected = vec![0.0_f32; 3 * d];
            expected.extend([ABSENT as f32, 0.0, ABSENT as f32]);
            assert_eq!((values, loss), (expected, 0.0), "{n} {d}");
        }
    }

    #[test]
    fn huge_values_are_solved_and_what_is_not_finite_shows() {
        for (n, d) in [(30, 4), (4, 30)] {
            let labels: Vec<usize> = (0..n).map(|i| i % 2).collect();
            let solved = |features: &[f32]| {
                let rows: Vec<&[f32]> = features.chunks(d).collect();
                discriminant(&rows, &labels, 2, 1.0, on).unwrap()
            };
            let mut features: Vec<f32> = made_up(n, d).iter().map(|value| value * 5e37).collect();
            let (values, loss) = solved(&features);
            assert!(loss.is_finite() && values.iter().all(|value| value.is_finite()), "{n} {d}");
            for bad in [f32::NAN, f32::INFINITY] {
                features[5] = bad;
                let (values, loss) = solved(&features);
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
                discriminant(&rows, &labels, 3, 1.0, || {
                    asked.set(asked.get() + 1);
                    asked.get() < last
                })
            };
            assert!(until(usize::MAX).is_some());
            let all = asked.get();
            assert!(all > 5, "{all}");
            for last in 1..=all {
                assert!(until(last).is_none() && asked.get() == last);
            }
        }
    }
}
