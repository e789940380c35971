//! The 1-nearest-neighbour classifier under Gaussian noise on every training point, certified without members.

use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;

use super::distance::{relative_error, squared_distances, ROUNDOFF};
use super::nearest::{class_probabilities, Estimate, Fixed};
use super::table::Table;
use crate::error::{Error, Result};
use crate::process::install_each;
use crate::quantity::{NoiseScale, Quantity};
use crate::stop::{Pace, Stop};

/// Probabilities below this are reported as this: nothing smaller is resolved.
const FLOOR: f64 = 1e-299;
/// Largest noised distance, in units of sigma, that the tables address.
const FARTHEST: f64 = 1e12;
/// Distances held at once by one thread.
const DISTANCES: usize = 1 << 20;
/// Squared differences between two looks at the flag that stops work: some ten milliseconds.
const LOOK: usize = 1 << 24;
/// Test points that share one pass over the training set.
const GROUP: usize = 16;

/// The 1-nearest-neighbour classifier on a training set with noise `sigma e_i`, `e_i ~ N(0, I)`, added to every
/// training point; the test point is fixed.
///
/// The noised classifier gives class c with probability
///
/// ```text
/// p_c = sum over i in class c of  integral of f_i(u)  product over j != i of (1 - F_j(u))  du,
/// ```
///
/// `f_i`, `F_i` being density and distribution function of the noncentral chi-square law with d degrees of freedom and
/// noncentrality `||x_i - x||^2 / sigma^2` (Weber et al., *RAB*, IEEE S&P 2023, section on K-NN). No sampling error
/// enters: the prediction holds for every change of the training features (labels unchanged) of total L2 norm below
/// `sigma/2 (Phi^-1(p_lower) - Phi^-1(p_upper))`.
///
/// **Trusted points** have no noise. The nearest of them, of class t, lies at a distance b that nothing random moves (of
/// several at the same distance, as it is computed, the one of the smallest class counts), and
///
/// ```text
/// p_c = integral from 0 to b^2 of (sum over i in class c of f_i(u) product over j != i of (1 - F_j(u))) du
///       + [c = t] product over j of (1 - F_j(b^2)),
/// ```
///
/// i and j being the others. The classifier is a function of the others' noised features in which b and t are constants, so
/// that the certificate is the same one, of changes of the others. In many dimensions noise lengthens distances by about
/// `sigma sqrt(d)`: where that is more than neighbours differ by, a trusted point is nearly always the nearest.
///
/// # Example
/// ```
/// use certssb::CertifiedKnn;
/// use ndarray::array;
/// let train = array![[0.0_f32, 0.0], [4.0, 0.0]];
/// let knn = CertifiedKnn::new(1.0)?.fit(train.view(), &[0, 1], 2)?;
/// let certificates = knn.certify(array![[1.0_f32, 0.0], [2.0, 5.0]].view())?;
/// assert_eq!(certificates[0].class, 0);
/// assert!(certificates[0].p_lower > 0.9 && certificates[0].p_upper < 0.1);
/// // As far from one as from the other: the smaller class, and nothing certified.
/// assert_eq!(certificates[1].class, 0);
/// assert!(certificates[1].p_lower < 0.5 && certificates[1].p_upper > 0.5);
/// # Ok::<(), certssb::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CertifiedKnn {
    sigma: NoiseScale,
}

/// What is known of the noised 1-NN classifier at one test point. All bounds are rounded outward.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KnnCertificate {
    /// The most probable class; the smallest of those that the error bounds cannot tell apart.
    pub class: u32,
    /// Lower bound on the probability of `class`.
    pub p_lower: f64,
    /// Upper bound on the probability of all other classes together. Where `p_lower` rounds to 1 this
    /// still has its digits: take `Phi^-1(p_lower)` as `-Phi^-1(one_minus_p_lower)`.
    pub one_minus_p_lower: f64,
    /// Upper bound on the probability of every other class.
    pub p_upper: f64,
}

/// A [`CertifiedKnn`] with its training set.
#[derive(Debug)]
pub struct FittedKnn {
    sigma: NoiseScale,
    train: Array2<f32>,
    labels: Vec<u32>,
    /// Points without noise, and their classes.
    trusted: Option<(Array2<f32>, Vec<u32>)>,
    n_classes: usize,
    table: Table,
}

impl CertifiedKnn {
    /// A classifier with noise of standard deviation `sigma`, in the units of the features.
    ///
    /// # Errors
    /// [`ErrorKind::Parameter`](crate::ErrorKind::Parameter) unless `sigma` is finite and greater than 0.
    pub fn new(sigma: f64) -> Result<Self> {
        Ok(Self { sigma: NoiseScale::check("sigma", sigma)? })
    }

    /// The standard deviation of the noise.
    pub fn sigma(&self) -> f64 {
        self.sigma.get()
    }

    /// Takes a training set: `train` of shape (n_samples, n_features), `labels` in `0..n_classes`.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`](crate::ErrorKind::Shape) for an empty set or labels of another length;
    /// [`ErrorKind::Parameter`](crate::ErrorKind::Parameter) for NaN or infinite features (the first is named), for labels
    /// outside `0..n_classes` and for fewer than two classes.
    pub fn fit(&self, train: ArrayView2<f32>, labels: &[u32], n_classes: usize) -> Result<FittedKnn> {
        check_features("train", train)?;
        if train.is_empty() || train.nrows() > u32::MAX as usize {
            return Err(Error::shape(
                "train",
                "at least one sample and one feature",
                format!("{:?}", train.shape()),
            ));
        }
        check_labels(labels, train.nrows(), n_classes)?;
        Ok(FittedKnn {
            sigma: self.sigma,
            train: train.as_standard_layout().into_owned(),
            labels: labels.to_vec(),
            trusted: None,
            n_classes,
            table: Table::new(train.ncols()),
        })
    }
}

impl FittedKnn {
    /// The same classifier with trusted points beside the training set: `trusted` of shape (n_trusted, n_features) and their
    /// `labels`. No noise is added to them, and no certificate allows for a change of theirs.
    ///
    /// # Errors
    /// As [`CertifiedKnn::fit`], naming `trusted`; a shape error for another number of features.
    ///
    /// # Example
    /// ```
    /// use certssb::CertifiedKnn;
    /// use ndarray::array;
    /// let train = array![[0.0_f32], [4.0]];
    /// let knn = CertifiedKnn::new(1.0)?.fit(train.view(), &[0, 1], 2)?;
    /// let alone = knn.certify(array![[1.0_f32]].view())?;
    /// let knn = knn.with_trusted(array![[0.9_f32]].view(), &[0])?;
    /// assert!(knn.certify(array![[1.0_f32]].view())?[0].p_lower > alone[0].p_lower);
    /// # Ok::<(), certssb::Error>(())
    /// ```
    pub fn with_trusted(self, trusted: ArrayView2<f32>, labels: &[u32]) -> Result<Self> {
        check_features("trusted", trusted)?;
        if trusted.ncols() != self.train.ncols() {
            let expected = format!("{} features, as the training set has", self.train.ncols());
            return Err(Error::shape("trusted", expected, trusted.ncols()));
        }
        check_labels(labels, trusted.nrows(), self.n_classes)?;
        let points = (trusted.as_standard_layout().into_owned(), labels.to_vec());
        Ok(Self { trusted: Some(points).filter(|(points, _)| points.nrows() > 0), ..self })
    }

    /// The standard deviation of the noise.
    pub fn sigma(&self) -> f64 {
        self.sigma.get()
    }

    /// Probability of every class at every test point, of shape (n_test, n_classes), to an absolute error of at most 1e-10;
    /// small probabilities have their relative accuracy as well, where they matter to a certificate.
    ///
    /// # Errors
    /// As [`FittedKnn::certify`].
    pub fn probabilities(&self, test: ArrayView2<f32>) -> Result<Array2<f64>> {
        let estimates = self.estimates(test, &|_| {})?;
        let mut probabilities = Array2::zeros((test.nrows(), self.n_classes));
        for (mut row, (estimate, _)) in probabilities.axis_iter_mut(Axis(0)).zip(&estimates) {
            row.iter_mut().zip(&estimate.probability).for_each(|(p, value)| *p = value.clamp(0.0, 1.0));
        }
        Ok(probabilities)
    }

    /// Certificates of the test points (n_test, n_features), in their order.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`](crate::ErrorKind::Shape) when the number of features is not the training set's;
    /// [`ErrorKind::Parameter`](crate::ErrorKind::Parameter) for NaN or infinite features, or when `sigma` is so small that
    /// distances exceed 1e12 sigma; [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) when stopped ([`until`](crate::until)).
    pub fn certify(&self, test: ArrayView2<f32>) -> Result<Vec<KnnCertificate>> {
        self.certify_with(test, &|_| {})
    }

    /// [`FittedKnn::certify`]; `progress` is told the number of finished test points.
    ///
    /// # Errors
    /// As [`FittedKnn::certify`].
    pub fn certify_with(
        &self,
        test: ArrayView2<f32>,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<Vec<KnnCertificate>> {
        let estimates = self.estimates(test, progress)?;
        Ok(estimates.iter().map(|(estimate, shift)| certificate(estimate, *shift)).collect())
    }

    /// For every test point the estimate and the shift (see [`certificate`]) that stands for rounded distances.
    fn estimates(
        &self,
        test: ArrayView2<f32>,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<Vec<(Estimate, f64)>> {
        check_features("test", test)?;
        if test.ncols() != self.train.ncols() {
            let expected = format!("{} features, as the training set has", self.train.ncols());
            return Err(Error::shape("test", expected, test.ncols()));
        }
        let all = self.train.nrows() + self.trusted.as_ref().map_or(0, |(points, _)| points.nrows());
        let group = (DISTANCES / all).clamp(1, GROUP);
        let done = AtomicUsize::new(0);
        let groups: Vec<_> = test.axis_chunks_iter(Axis(0), group).collect();
        let stop = Stop::current();
        let group =
            |points| self.group(points, &stop, &|| progress(done.fetch_add(1, Ordering::Relaxed) + 1));
        let parts = install_each(groups.into_par_iter(), || (), |(), points| group(points))?;
        Ok(parts.into_iter().flatten().collect())
    }

    fn group(&self, points: ArrayView2<f32>, stop: &Stop, done: &dyn Fn()) -> Result<Vec<(Estimate, f64)>> {
        let mut estimates = Vec::with_capacity(points.nrows());
        let fixed = self.nearest_trusted(points, stop)?;
        for (distances, fixed) in self.distances(self.train.view(), points, stop)?.into_iter().zip(fixed) {
            self.check_range(&distances)?;
            let estimate =
                class_probabilities(&self.table, &distances, &self.labels, self.n_classes, fixed, stop)?;
            let shift = self.relative_rounding() * estimate.squared_total.sqrt();
            estimates.push((estimate, shift));
            done();
        }
        Ok(estimates)
    }

    /// The nearest trusted point of each test point, if there are any.
    fn nearest_trusted(&self, points: ArrayView2<f32>, stop: &Stop) -> Result<Vec<Option<Fixed>>> {
        let Some((trusted, labels)) = &self.trusted else { return Ok(vec![None; points.nrows()]) };
        let nearest = |distances: Vec<f64>| {
            self.check_range(&distances)?;
            let pairs = distances.into_iter().zip(labels.iter().map(|label| *label as usize));
            let least = pairs.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            Ok(least.map(|(distance, class)| Fixed { distance, class }))
        };
        self.distances(trusted.view(), points, stop)?.into_iter().map(nearest).collect()
    }

    /// Noiseless distances, in units of sigma, of all `train` points for a group of test points: one pass over them.
    fn distances(
        &self,
        train: ArrayView2<f32>,
        points: ArrayView2<f32>,
        stop: &Stop,
    ) -> Result<Vec<Vec<f64>>> {
        let variance = self.sigma.get() * self.sigma.get();
        let points: Vec<Vec<f64>> =
            points.outer_iter().map(|point| point.iter().map(|&x| f64::from(x)).collect()).collect();
        let mut distances = vec![Vec::with_capacity(train.nrows()); points.len()];
        let rows = (LOOK / (points.len() * train.ncols()).max(1)).max(1);
        for rows in train.axis_chunks_iter(Axis(0), rows) {
            stop.check()?;
            squared_distances(&points, rows, &mut distances);
        }
        distances.iter_mut().flatten().for_each(|distance| *distance = (*distance / variance).sqrt());
        Ok(distances)
    }

    /// Bound on the relative rounding error of a noiseless distance, with its square root and its place in a bin.
    fn relative_rounding(&self) -> f64 {
        relative_error(self.train.ncols()) + 4.0 * ROUNDOFF
    }

    fn check_range(&self, distances: &[f64]) -> Result<()> {
        match distances.iter().all(|v| *v < FARTHEST) {
            true => Ok(()),
            false => Err(Error::parameter(
                "sigma",
                "at least 1e-12 times the largest distance between a training and a test point",
                self.sigma.get(),
            )),
        }
    }
}

/// Rounds an estimate outward.
///
/// Rounding the distances amounts to moving training point j by at most a share eta of its distance `s_j`. `Phi^-1` of
/// any event's probability is 1-Lipschitz in the total movement (in units of sigma: the certificate itself), here `shift =
/// eta sqrt(sum s_j^2)`. So `p` grows to at most `Phi(Phi^-1(p) + shift)`.
fn certificate(estimate: &Estimate, shift: f64) -> KnnCertificate {
    let (p, error) = (&estimate.probability, &estimate.error);
    let upper: Vec<f64> = p.iter().zip(error).map(|(p, e)| round_up(p + e, shift)).collect();
    let best = p.iter().zip(error).map(|(p, e)| p - e).fold(f64::NEG_INFINITY, f64::max);
    let class = upper.iter().position(|u| *u >= best).unwrap_or(0);
    let others = || (0..p.len()).filter(|&c| c != class);
    let one_minus_p_lower = round_up(others().map(|c| p[c] + error[c]).sum(), shift);
    let p_upper = others().map(|c| upper[c]).fold(0.0, f64::max);
    KnnCertificate {
        class: class as u32,
        p_lower: (1.0 - one_minus_p_lower) * (1.0 - f64::EPSILON),
        one_minus_p_lower,
        p_upper: p_upper.min(one_minus_p_lower),
    }
}

/// An upper bound of `Phi(Phi^-1(p) + shift)`.
///
/// The logarithmic derivative of `Phi(z)` is at most `1 + |z|` for z < 0 (Birnbaum's bound on Mills' ratio) and below 1 for z > 0, and `|z| <=
/// sqrt(2 ln(1/p))` for p <= 1/2.
fn round_up(p: f64, shift: f64) -> f64 {
    let p = p.max(0.0) + FLOOR;
    let z = (-2.0 * p.min(1.0).ln()).sqrt();
    (p * (shift * (1.0 + z)).exp() * (1.0 + 16.0 * f64::EPSILON)).min(1.0)
}

fn check_features(name: &str, features: ArrayView2<f32>) -> Result<()> {
    let mut pace = Pace::new();
    for (row, features) in features.outer_iter().enumerate() {
        pace.step(features.len())?;
        if let Some((column, x)) = features.iter().enumerate().find(|(_, x)| !x.is_finite()) {
            let got = format!("{x} at sample {row}, feature {column}");
            return Err(Error::parameter(name, "free of NaN and infinite values", got));
        }
    }
    Ok(())
}

fn check_labels(labels: &[u32], n: usize, n_classes: usize) -> Result<()> {
    if n_classes < 2 {
        return Err(Error::parameter("n_classes", "an integer of at least 2", n_classes));
    }
    if labels.len() != n {
        return Err(Error::shape("labels", format!("one label for each of the {n} samples"), labels.len()));
    }
    match labels.iter().position(|&label| label as usize >= n_classes) {
        None => Ok(()),
        Some(i) => Err(Error::parameter(
            "labels",
            format!("integers in the range [0, {}]", n_classes - 1),
            format!("{} at sample {i}", labels[i]),
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::error::ErrorKind;
    use crate::seed::{Role, Seed};
    use crate::stop::until;
    use ndarray::{array, s};
    use rand::RngExt;
    use rand_distr::StandardNormal;
    use std::sync::atomic::AtomicBool;
    use std::sync::Arc;

    /// Three overlapping classes around (c, c/2, c/3, ...), and test points among them.
    fn problem(n: usize, n_test: usize, dimension: usize) -> (Array2<f32>, Vec<u32>, Array2<f32>) {
        let mut rng = Seed::new(5).stream(Role::FeatureMap, n as u64, dimension as u64);
        let mut normal = || rng.sample::<f32, _>(StandardNormal);
        let labels: Vec<u32> = (0..n as u32).map(|i| i % 3).collect();
        let centre = |i: usize, j: usize| (i % 3) as f32 / (j + 1) as f32;
        let train = Array2::from_shape_fn((n, dimension), |(i, j)| centre(i, j) + 0.5 * normal());
        let test = Array2::from_shape_fn((n_test, dimension), |(i, j)| centre(i, j) + 0.5 * normal());
        (train, labels, test)
    }

    fn fitted(sigma: f64, n: usize, n_test: usize, dimension: usize) -> (FittedKnn, Array2<f32>) {
        let (train, labels, test) = problem(n, n_test, dimension);
        (CertifiedKnn::new(sigma).unwrap().fit(train.view(), &labels, 3).unwrap(), test)
    }

    #[test]
    fn simulated_nearest_neighbours_vote_as_computed() {
        const DRAWS: usize = 4000;
        for (dimension, sigma) in [(1, 0.7), (5, 1.0), (40, 0.3)] {
            let (train, labels, test) = problem(12, 2, dimension);
            let knn = CertifiedKnn::new(sigma).unwrap().fit(train.view(), &labels, 3).unwrap();
            let exact = knn.probabilities(test.view()).unwrap();
            for (x, exact) in test.outer_iter().zip(exact.outer_iter()) {
                let mut rng = Seed::new(1).stream(Role::Noise, dimension as u64, 0);
                let mut votes = [0.0; 3];
                for _ in 0..DRAWS {
                    let mut noised = |a: &f32, b: &f32| {
                        (f64::from(a - b) + sigma * rng.sample::<f64, _>(StandardNormal)).powi(2)
                    };
                    let distance = |row: ndarray::ArrayView1<f32>| {
                        row.iter().zip(x).map(|(a, b)| noised(a, b)).sum::<f64>()
                    };
                    let distances: Vec<f64> = train.outer_iter().map(distance).collect();
                    let nearest = (0..12).min_by(|&i, &j| distances[i].total_cmp(&distances[j])).unwrap();
                    votes[labels[nearest] as usize] += 1.0 / DRAWS as f64;
                }
                for (vote, &p) in votes.iter().zip(exact) {
                    assert!(
                        (vote - p).abs() < 4.0 * (p * (1.0 - p) / DRAWS as f64).sqrt() + 1e-9,
                        "{votes:?} {exact}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_order_of_the_training_points_does_not_matter() {
        let (train, labels, test) = problem(50, 4, 6);
        let reversed = train.slice(s![..;-1, ..]);
        let backwards: Vec<u32> = labels.iter().rev().copied().collect();
        let knn = CertifiedKnn::new(0.8).unwrap();
        let one = knn.fit(train.view(), &labels, 3).unwrap().certify(test.view()).unwrap();
        let two = knn.fit(reversed, &backwards, 3).unwrap().certify(test.view()).unwrap();
        for (a, b) in one.iter().zip(&two) {
            assert_eq!(a.class, b.class);
            assert!(
                (a.one_minus_p_lower - b.one_minus_p_lower).abs() < 1e-13
                    && (a.p_upper - b.p_upper).abs() < 1e-13
            );
        }
    }

    #[test]
    fn threads_grouping_and_earlier_calls_do_not_matter() {
        let (knn, test) = fitted(0.8, 40, 11, 6);
        let pool = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        let all = pool(3).install(|| knn.certify(test.view())).unwrap();
        let (fresh, _) = fitted(0.8, 40, 11, 6);
        assert_eq!(all, pool(1).install(|| fresh.certify(test.view())).unwrap());
        let one_by_one: Vec<_> =
            (0..11).map(|i| fresh.certify(test.slice(s![i..i + 1, ..])).unwrap()[0]).collect();
        assert_eq!(all, one_by_one);
    }

    #[test]
    fn bounds_enclose_the_probabilities_within_1e_10() {
        let (knn, test) = fitted(0.5, 60, 8, 9);
        let exact = knn.probabilities(test.view()).unwrap();
        for (certificate, p) in knn.certify(test.view()).unwrap().iter().zip(exact.outer_iter()) {
            let class = certificate.class as usize;
            let second = (0..3).filter(|&c| c != class).map(|c| p[c]).fold(0.0, f64::max);
            assert!((0..3).all(|c| p[c] <= p[class] + 1e-11));
            assert!(certificate.p_lower < p[class] && p[class] - certificate.p_lower < 1e-10);
            assert!(certificate.p_upper > second && certificate.p_upper - second < 1e-10);
            assert!(certificate.p_lower + certificate.one_minus_p_lower <= 1.0);
        }
    }

    /// Moving all distances by the rounding error of the sums would move the probability by less than the bounds allow.
    #[test]
    fn rounding_up_follows_the_normal_quantile() {
        use statrs::distribution::{ContinuousCDF, Normal};
        let normal = Normal::standard();
        for z in [-9.0, -4.0, -1.0, 0.0, 0.5, 2.0] {
            for shift in [1e-9, 1e-4, 0.1, 1.0] {
                let bound = round_up(normal.cdf(z), shift);
                assert!(bound >= normal.cdf(z + shift).min(1.0), "{z} {shift}");
                assert!(
                    bound <= normal.cdf(z) * (shift * (2.5 + 2.0 * z.abs() + shift)).exp() + 1e-15,
                    "{z} {shift}"
                );
            }
        }
    }

    #[test]
    fn a_probability_that_rounds_to_one_keeps_the_digits_of_its_complement() {
        let train = array![[0.0_f32], [20.0]];
        let knn = CertifiedKnn::new(1.0).unwrap().fit(train.view(), &[1, 0], 2).unwrap();
        let certificate = knn.certify(array![[0.5_f32]].view()).unwrap()[0];
        // P(|19.5 + e| < |0.5 + e'|), nearly P(N(19, 2) < 0) + P(N(20, 2) < 0); from mpmath.
        let exact = 1.8847116670284287e-41;
        assert_eq!(certificate.class, 1);
        assert!(certificate.p_lower < 1.0 && certificate.p_lower > 1.0 - 1e-15);
        assert!(certificate.one_minus_p_lower >= exact && certificate.one_minus_p_lower < exact * 1.000_001);
        assert_eq!(certificate.p_upper, certificate.one_minus_p_lower);
    }

    #[test]
    fn ties_go_to_the_smallest_class() {
        let train = array![[1.0_f32, 0.0], [0.0, 1.0], [-1.0, 0.0]];
        let knn = CertifiedKnn::new(1.0).unwrap().fit(train.view(), &[2, 1, 3], 4).unwrap();
        let certificate = knn.certify(array![[0.0_f32, 0.0]].view()).unwrap()[0];
        assert_eq!(certificate.class, 1);
        assert!(certificate.p_lower <= certificate.p_upper);
    }

    #[test]
    fn one_training_point_or_class_is_always_right() {
        let train = array![[1.0_f32, 0.0]];
        let knn = CertifiedKnn::new(1.0).unwrap().fit(train.view(), &[1], 2).unwrap();
        let certificate = knn.certify(array![[9.0_f32, 0.0]].view()).unwrap()[0];
        assert_eq!((certificate.class, certificate.p_lower >= 1.0 - 1e-15), (1, true));
        assert!(certificate.one_minus_p_lower < 1e-290);
    }

    #[test]
    fn simulated_nearest_neighbours_beside_trusted_ones_vote_as_computed() {
        const DRAWS: usize = 4000;
        let mut shares = Vec::new();
        for (dimension, sigma) in [(1, 0.7), (2, 1.0), (5, 0.5), (40, 0.08)] {
            let (train, labels, test) = problem(15, 3, dimension);
            let (others, trusted) = train.view().split_at(Axis(0), 12);
            let knn = CertifiedKnn::new(sigma).unwrap().fit(others, &labels[..12], 3).unwrap();
            let knn = knn.with_trusted(trusted, &labels[12..]).unwrap();
            let exact = knn.probabilities(test.view()).unwrap();
            for (x, exact) in test.outer_iter().zip(exact.outer_iter()) {
                let mut rng = Seed::new(1).stream(Role::Noise, dimension as u64, 0);
                let mut votes = [0.0; 3];
                let mut of_trusted = 0.0;
                for _ in 0..DRAWS {
                    let mut distance = |i: usize| {
                        let noise = if i < 12 { sigma } else { 0.0 };
                        let differences =
                            train.row(i).iter().zip(x).map(|(a, b)| f64::from(a - b)).collect::<Vec<_>>();
                        differences
                            .iter()
                            .map(|v| (v + noise * rng.sample::<f64, _>(StandardNormal)).powi(2))
                            .sum::<f64>()
                    };
                    let distances: Vec<f64> = (0..15).map(&mut distance).collect();
                    let nearest = (0..15).min_by(|a, b| distances[*a].total_cmp(&distances[*b])).unwrap();
                    votes[labels[nearest] as usize] += 1.0 / DRAWS as f64;
                    of_trusted += f64::from(u8::from(nearest >= 12)) / DRAWS as f64;
                }
                shares.push(of_trusted);
                assert!((exact.sum() - 1.0).abs() < 1e-10);
                for (vote, p) in votes.iter().zip(exact) {
                    // Five standard deviations.
                    let allowed = 5.0 * (p * (1.0 - p) / DRAWS as f64).max(0.0).sqrt() + 1e-3;
                    assert!((vote - p).abs() < allowed, "{dimension} {vote} {p}");
                }
            }
        }
        assert!(shares.iter().filter(|share| (0.05..0.95).contains(*share)).count() > 3, "{shares:?}");
    }

    #[test]
    fn a_trusted_point_that_is_far_away_changes_nothing_and_one_at_hand_decides() {
        let (knn, test) = fitted(0.5, 60, 6, 4);
        let plain = knn.probabilities(test.view()).unwrap();
        let far = knn.with_trusted(Array2::from_elem((2, 4), 50.0).view(), &[1, 2]).unwrap();
        let beside = far.probabilities(test.view()).unwrap();
        assert!(plain.iter().zip(&beside).all(|(a, b)| (a - b).abs() < 1e-11), "{plain} {beside}");
        let certificates = far.certify(test.view()).unwrap();
        // Where the test points are: of two at the same place the smaller class counts.
        let twice = ndarray::concatenate![Axis(0), test.view(), test.view()];
        let at_hand = far.with_trusted(twice.view(), &[2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1]).unwrap();
        for (own, before) in at_hand.certify(test.view()).unwrap().iter().zip(certificates) {
            assert!(own.class == 1 && own.p_lower > 1.0 - 1e-14 && own.one_minus_p_lower < 1e-200);
            assert!(before.p_lower < 1.0 - 1e-6);
        }
    }

    #[test]
    fn no_change_of_the_others_within_the_radius_turns_a_prediction_beside_trusted_points() {
        use statrs::distribution::{ContinuousCDF, Normal};
        let normal = Normal::standard();
        let (train, labels, test) = problem(30, 12, 3);
        let (others, trusted) = train.view().split_at(Axis(0), 24);
        let fit = |others: ArrayView2<f32>| {
            let knn = CertifiedKnn::new(0.6).unwrap().fit(others, &labels[..24], 3).unwrap();
            knn.with_trusted(trusted, &labels[24..]).unwrap()
        };
        let knn = fit(others);
        let mut tried = 0;
        for (x, own) in test.outer_iter().zip(knn.certify(test.view()).unwrap()) {
            let radius = 0.3 * (normal.inverse_cdf(own.p_lower) - normal.inverse_cdf(own.p_upper));
            if radius <= 0.05 || !radius.is_finite() {
                continue;
            }
            tried += 1;
            // All points of other classes towards the test point, those of its class away from it.
            let mut moved = others.to_owned();
            let towards: Array2<f32> = Array2::from_shape_fn(moved.dim(), |(i, j)| {
                (x[j] - moved[[i, j]]) * if labels[i] == own.class { -1.0 } else { 1.0 }
            });
            let length = towards.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
            moved.scaled_add((0.999 * radius / length) as f32, &towards);
            let point = x.to_owned().insert_axis(Axis(0));
            assert_eq!(fit(moved.view()).certify(point.view()).unwrap()[0].class, own.class);
        }
        assert!(tried > 4, "{tried}");
    }

    #[test]
    fn progress_counts_every_test_point_and_cancelling_stops() {
        let (knn, test) = fitted(0.8, 10, 20, 2);
        let (largest, calls) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let progress = |done: usize| {
            largest.fetch_max(done, Ordering::Relaxed);
            calls.fetch_add(1, Ordering::Relaxed);
        };
        knn.certify_with(test.view(), &progress).unwrap();
        assert_eq!((largest.into_inner(), calls.into_inner()), (20, 20));
        let cancel = Arc::new(AtomicBool::new(false));
        let at_first = |_: usize| cancel.store(true, Ordering::Relaxed);
        for progress in [&at_first as &(dyn Fn(usize) + Sync), &|_| {}] {
            let error = until(&cancel, || knn.certify_with(test.view(), progress)).unwrap_err();
            assert_eq!(*error.kind(), ErrorKind::Cancelled);
        }
        assert!(knn.certify(test.view()).is_ok());
    }

    fn message(error: Error) -> String {
        error.to_string()
    }

    #[test]
    fn bad_input_is_named() {
        assert!(message(CertifiedKnn::new(0.0).unwrap_err()).contains("'sigma'"));
        let knn = CertifiedKnn::new(1.0).unwrap();
        let good = array![[0.0_f32, 1.0], [2.0, 3.0]];
        let fit = |train: &Array2<f32>, labels: &[u32], k| {
            knn.fit(train.view(), labels, k).map(|_| ()).unwrap_err()
        };
        let nan = array![[0.0_f32, 1.0], [f32::NAN, 3.0]];
        assert_eq!(
            message(fit(&nan, &[0, 1], 2)),
            "The 'train' parameter must be free of NaN and infinite values. Got NaN at sample 1, feature 0 instead."
        );
        assert_eq!(*fit(&Array2::zeros((0, 3)), &[], 2).kind(), ErrorKind::Shape);
        assert_eq!(*fit(&Array2::zeros((2, 0)), &[0, 1], 2).kind(), ErrorKind::Shape);
        assert_eq!(*fit(&good, &[0], 2).kind(), ErrorKind::Shape);
        assert!(message(fit(&good, &[0, 2], 2)).contains("Got 2 at sample 1"));
        assert!(message(fit(&good, &[0, 0], 1)).contains("'n_classes'"));
        let fitted = knn.fit(good.view(), &[0, 1], 2).unwrap();
        let certify = |test: Array2<f32>| fitted.certify(test.view()).unwrap_err();
        assert_eq!(*certify(array![[1.0]]).kind(), ErrorKind::Shape);
        assert!(message(certify(array![[1.0, f32::INFINITY]])).contains("'test'"));
        let tiny = CertifiedKnn::new(1e-37).unwrap().fit(good.view(), &[0, 1], 2).unwrap();
        assert!(message(tiny.certify(good.view()).unwrap_err()).contains("'sigma'"));
        assert!(fitted.certify(Array2::zeros((0, 2)).view()).unwrap().is_empty());
    }
}
