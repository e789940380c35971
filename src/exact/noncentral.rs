//! The noncentral chi law: distance between a fixed point and a point with unit normal noise in every coordinate.
//!
//! With `d` coordinates and noiseless distance `s`, the noised distance `R` has density (Johnson, Kotz and
//! Balakrishnan, *Continuous Univariate Distributions* 2, ch. 29; `R^2` is noncentral chi-square with
//! noncentrality `s^2`)
//!
//! ```text
//! f(r) = r (r/s)^nu exp(-(r^2 + s^2)/2) I_nu(r s),     nu = d/2 - 1.
//! ```
//!
//! On the scale of `r` the law has a standard deviation between 0.6 and 1, whatever `d` and `s` are, and lies around
//! `sqrt(d + s^2)`.

use std::f64::consts::PI;

/// Nodes and weights of a Gauss-Legendre rule on [-1, 1].
#[derive(Debug)]
pub(super) struct GaussLegendre(Vec<(f64, f64)>);

impl GaussLegendre {
    /// Newton's method on the Legendre polynomial of degree `n` (Golub and Welsch's nodes, Tricomi's first guess).
    pub(super) fn new(n: usize) -> Self {
        let node = |i: usize| {
            let mut x = (PI * (i as f64 + 0.75) / (n as f64 + 0.5)).cos();
            let mut slope = 1.0;
            for _ in 0..60 {
                let (value, derivative) = legendre(n, x);
                slope = derivative;
                x -= value / derivative;
            }
            (x, 2.0 / ((1.0 - x * x) * slope * slope))
        };
        Self((0..n).map(node).collect())
    }

    /// Nodes and weights.
    pub(super) fn nodes(&self) -> &[(f64, f64)] {
        &self.0
    }

    /// Integral of `f` over [a, b].
    fn integrate(&self, a: f64, b: f64, mut f: impl FnMut(f64) -> f64) -> f64 {
        let (middle, half) = (0.5 * (a + b), 0.5 * (b - a));
        half * self.0.iter().map(|&(x, w)| w * f(middle + half * x)).sum::<f64>()
    }
}

/// The Legendre polynomial of degree `n` and its derivative at `x`.
pub(super) fn legendre(n: usize, x: f64) -> (f64, f64) {
    let (mut before, mut value) = (0.0, 1.0);
    for k in 0..n {
        let k = k as f64;
        let next = ((2.0 * k + 1.0) * x * value - k * before) / (k + 1.0);
        before = value;
        value = next;
    }
    (value, n as f64 * (x * value - before) / (x * x - 1.0))
}

/// Where Debye's expansion takes over from the power series: at `sqrt(nu^2 + (r s)^2)` of this size its
/// terms fall below 1e-16 before they grow again.
const DEBYE_FROM: f64 = 30.0;
const DEBYE_TERMS: usize = 18;
/// A tail is exhausted after some ten panels; this only keeps a loop over bad numbers finite.
const MAX_PANELS: usize = 2000;

/// The law of the noised distance in a fixed number of dimensions.
#[derive(Debug)]
pub(crate) struct NoncentralChi {
    dimension: f64,
    root: f64,
    order: f64,
    ln_scale: f64,
    debye: Vec<Vec<f64>>,
    panel: GaussLegendre,
    step: GaussLegendre,
}

/// A noiseless distance `s`: its square, and `sqrt(d + s^2) - sqrt(d)` without cancellation.
#[derive(Clone, Copy, Debug)]
struct Point {
    squared: f64,
    excess: f64,
}

/// A density as `factor * exp(exponent)`, so that ratios of densities never overflow or vanish.
#[derive(Clone, Copy, Debug)]
struct Scaled {
    exponent: f64,
    factor: f64,
}

impl Scaled {
    fn relative_to(self, exponent: f64) -> f64 {
        self.factor * (self.exponent - exponent).exp()
    }
}

/// Logarithm of the survival function and hazard rate (density over survival function).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Survival {
    pub(crate) ln_survival: f64,
    pub(crate) hazard: f64,
}

impl NoncentralChi {
    /// The law in `dimension >= 1` coordinates.
    pub(crate) fn new(dimension: usize) -> Self {
        let d = dimension as f64;
        let order = 0.5 * d - 1.0;
        Self {
            dimension: d,
            root: d.sqrt(),
            order,
            ln_scale: ln_scale(dimension),
            debye: debye_polynomials(DEBYE_TERMS),
            panel: GaussLegendre::new(16),
            step: GaussLegendre::new(6),
        }
    }

    /// `sqrt(d + s^2)`: about where the noised distance lies.
    pub(crate) fn middle(&self, s: f64) -> f64 {
        self.root + self.point(s).excess
    }

    fn point(&self, s: f64) -> Point {
        let squared = s * s;
        Point { squared, excess: squared / ((self.dimension + squared).sqrt() + self.root) }
    }

    /// `r^2 - (d + s^2)`, without cancellation between the two squares.
    fn gap(&self, r: f64, point: Point) -> f64 {
        (r - self.root - point.excess) * (r + self.root + point.excess)
    }

    /// An upper bound of `ln P(R <= r)`: Chernoff's, with the best exponent.
    ///
    /// `P(R^2 <= u) <= inf over z < 0 of exp(K(z) - z u)` with the cumulant function
    /// `K(z) = -(d/2) ln(1 - 2z) + s^2 z/(1 - 2z)`; the infimum is the exponent of the density with order d/2.
    pub(crate) fn ln_cdf_bound(&self, r: f64, s: f64) -> f64 {
        let point = self.point(s);
        if r >= self.root + point.excess {
            return 0.0;
        }
        let (exponent, _) = saddle_exponent(0.5 * self.dimension, self.gap(r, point), r, point.squared);
        exponent.min(0.0)
    }

    fn density(&self, r: f64, point: Point) -> Scaled {
        let squared = point.squared;
        let q = (self.order * self.order + r * r * squared).sqrt();
        if q < DEBYE_FROM {
            return self.density_by_series(r, squared);
        }
        let (exponent, q) = saddle_exponent(self.order, self.gap(r, point) + 2.0, r, squared);
        Scaled { exponent, factor: r / (2.0 * PI * q).sqrt() * self.debye_sum(q) }
    }

    /// `I_nu(z) = (z/2)^nu / Gamma(nu+1) * sum over k of (z^2/4)^k / (k! (nu+1)_k)`: at most some fifty positive terms.
    fn density_by_series(&self, r: f64, squared: f64) -> Scaled {
        let s = squared.sqrt();
        let quarter = 0.25 * r * r * squared;
        let (mut term, mut sum, mut k) = (1.0, 1.0, 0.0);
        while term > 1e-18 * sum {
            k += 1.0;
            term *= quarter / (k * (self.order + k));
            sum += term;
        }
        let exponent = (2.0 * self.order + 1.0) * r.ln() - 0.5 * (r - s) * (r - s) - r * s - self.ln_scale;
        Scaled { exponent, factor: sum }
    }

    /// `sum over k of U_k(nu/q) / nu^k` (DLMF 10.41.3), written in powers of `1/q` so that it also serves small orders.
    fn debye_sum(&self, q: f64) -> f64 {
        let (inverse, square) = (1.0 / q, (self.order / q) * (self.order / q));
        let (mut power, mut sum) = (1.0, 1.0);
        for coefficients in &self.debye {
            power *= inverse;
            let term = power * coefficients.iter().rev().fold(0.0, |value, c| value * square + c);
            sum += term;
            if power * coefficients[0].abs() < 1e-18 && term.abs() < 1e-18 {
                break;
            }
        }
        sum
    }

    /// Slope of the logarithm of the density, to a few per cent: it only sets the width of panels.
    fn slope(&self, r: f64, point: Point) -> f64 {
        let squared = point.squared;
        let q = (self.order * self.order + r * r * squared).sqrt();
        (self.dimension - 1.0) / r - r + r * squared / (self.order + q).max(0.5)
    }

    /// `P(R > r) / exp(scale)`, integrated panel by panel to the right until nothing is left.
    fn upper_tail(&self, r: f64, point: Point, scale: f64) -> f64 {
        let (mut total, mut a) = (0.0, r);
        for _ in 0..MAX_PANELS {
            let b = a + (10.0 / self.slope(a, point).abs()).min(1.5);
            let part = self.panel.integrate(a, b, |x| self.density(x, point).relative_to(scale));
            total += part;
            a = b;
            if part <= 1e-18 * total && self.slope(a, point) < 0.0 {
                break;
            }
        }
        total
    }

    /// `P(R <= r) / exp(scale)`, integrated panel by panel to the left until nothing is left.
    fn lower_tail(&self, r: f64, point: Point, scale: f64) -> f64 {
        let (mut total, mut b) = (0.0, r);
        for _ in 0..MAX_PANELS {
            let width = (10.0 / self.slope(b, point).abs()).min(1.5);
            let a = if b <= width { 0.0 } else { b - width };
            let part = self.panel.integrate(a, b, |x| self.density(x, point).relative_to(scale));
            total += part;
            b = a;
            if b == 0.0 || (part <= 1e-18 * total && self.slope(b, point) > 0.0) {
                break;
            }
        }
        total
    }

    /// Survival function and hazard rate at ascending distances, for one noiseless distance.
    ///
    /// Left of the mean the distribution function is accumulated from the left, right of it the survival
    /// function from the right: sums of positive terms, so that both keep their relative accuracy far into the tails.
    pub(crate) fn profile(&self, distances: &[f64], s: f64) -> Vec<Survival> {
        let point = self.point(s);
        match distances.get(distances.len() / 2) {
            None => Vec::new(),
            Some(&middle) if middle < self.root + point.excess => self.profile_from_left(distances, point),
            Some(_) => self.profile_from_right(distances, point),
        }
    }

    fn profile_from_left(&self, distances: &[f64], point: Point) -> Vec<Survival> {
        let mut before = distances[0];
        let mut cdf = self.lower_tail(before, point, 0.0);
        let at = |&r: &f64| {
            cdf += self.step.integrate(before, r, |x| self.density(x, point).relative_to(0.0));
            before = r;
            let density = self.density(r, point).relative_to(0.0);
            Survival { ln_survival: (-cdf).ln_1p(), hazard: density / (1.0 - cdf) }
        };
        distances.iter().map(at).collect()
    }

    fn profile_from_right(&self, distances: &[f64], point: Point) -> Vec<Survival> {
        let mut before = distances[distances.len() - 1];
        let scale = self.density(before, point).exponent;
        let mut tail = self.upper_tail(before, point, scale);
        let at = |&r: &f64| {
            tail += self.step.integrate(r, before, |x| self.density(x, point).relative_to(scale));
            before = r;
            let density = self.density(r, point).relative_to(scale);
            Survival { ln_survival: (tail.ln() + scale).min(0.0), hazard: density / tail }
        };
        let mut profile: Vec<Survival> = distances.iter().rev().map(at).collect();
        profile.reverse();
        profile
    }
}

/// Exponent of the density at the saddle point, and `q = sqrt(nu^2 + (r s)^2)`; `gap = r^2 - s^2 - 2 nu`.
///
/// With `b = nu + q`, `kappa = r^2/b`, `e = kappa - 1` and `x = e/kappa` the exponent
/// `-(r^2 + s^2)/2 + q - nu asinh(nu/(r s)) + nu ln(r/s)` of Debye's leading term is
/// `-b e x/2 + nu (-ln(1 - x) - x)`: two terms of second order in `e`, where the first form subtracts numbers of
/// the size of `d` and loses as many digits. Far to the left, for small kappa, it is the other way round. (From `s^2 = (b - 2 nu)/kappa`; likewise `e = gap/(b + s^2)`.)
fn saddle_exponent(order: f64, gap: f64, r: f64, squared: f64) -> (f64, f64) {
    let u = r * r;
    let q = (order * order + u * squared).sqrt();
    let b = order + q;
    let kappa = u / b;
    if kappa < 0.5 {
        return (q + order * kappa.ln() - 0.5 * (u + squared), q);
    }
    let e = gap / (b + squared);
    let x = e / kappa;
    (-0.5 * b * e * x + order * log_remainder(x, e), q)
}

/// `-ln(1 - x) - x`, where `1 - x = 1/(1 + e)`.
fn log_remainder(x: f64, e: f64) -> f64 {
    if x.abs() < 0.05 {
        let sum = (2..=14).rev().fold(0.0, |sum, k| sum * x + 1.0 / f64::from(k));
        return sum * x * x;
    }
    e.ln_1p() - x
}

/// `nu ln 2 + ln Gamma(nu + 1)`, by the recurrence of the Gamma function; only small orders use it.
fn ln_scale(dimension: usize) -> f64 {
    if dimension as f64 > 2.0 * DEBYE_FROM + 4.0 {
        return f64::NAN;
    }
    let (first, start) = if dimension % 2 == 1 { (0.5 * PI.ln(), 0.5) } else { (0.0, 1.0) };
    let goal = 0.5 * dimension as f64;
    let factors = std::iter::successors(Some(start), |a| Some(a + 1.0)).take_while(|a| *a < goal - 0.25);
    first + factors.map(f64::ln).sum::<f64>() + (goal - 1.0) * std::f64::consts::LN_2
}

/// Coefficients of `U_k(p) = p^k (c_0 + c_1 p^2 + ... + c_k p^(2k))`, k = 1.. (DLMF 10.41.9).
fn debye_polynomials(terms: usize) -> Vec<Vec<f64>> {
    let mut all: Vec<Vec<f64>> = vec![vec![1.0]];
    for k in 0..terms {
        let mut next = vec![0.0; k + 2];
        for (j, c) in all[k].iter().enumerate() {
            let m = (k + 2 * j) as f64;
            next[j] += c * (0.5 * m + 0.125 / (m + 1.0));
            next[j + 1] -= c * (0.5 * m + 0.625 / (m + 3.0));
        }
        all.push(next);
    }
    all.split_off(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ln_density(law: &NoncentralChi, r: f64, point: Point) -> f64 {
        let density = law.density(r, point);
        density.exponent + density.factor.ln()
    }

    #[test]
    fn densities_and_both_tails_agree_with_60_digit_values() {
        for &(dimension, squared, r, density, cdf, survival) in REFERENCE {
            let law = NoncentralChi::new(dimension);
            let point = law.point(squared.sqrt());
            let left_of_mean = r < law.root + point.excess;
            let scale = |far: bool| if far { law.density(r, point).exponent } else { 0.0 };
            let left = law.lower_tail(r, point, scale(left_of_mean)).ln() + scale(left_of_mean);
            let right = law.upper_tail(r, point, scale(!left_of_mean)).ln() + scale(!left_of_mean);
            for (value, exact) in [(ln_density(&law, r, point), density), (left, cdf), (right, survival)] {
                let tolerance = 1e-14 * (10.0 + exact.abs());
                assert!((value - exact).abs() < tolerance, "{dimension} {squared} {r}: {value} {exact}");
            }
        }
    }

    #[test]
    fn a_profile_agrees_with_single_tails_on_both_sides_of_the_mean() {
        for (dimension, squared) in [(1, 4.0_f64), (3, 900.0), (57, 0.0), (784, 600.0)] {
            let law = NoncentralChi::new(dimension);
            let point = law.point(squared.sqrt());
            for shift in [-6.0, -0.7, 0.0, 9.0] {
                let first = (law.root + point.excess + shift).max(0.01);
                let distances: Vec<f64> = (0..24).map(|i| first + f64::from(i) / 24.0).collect();
                for (&r, at) in distances.iter().zip(law.profile(&distances, squared.sqrt())) {
                    let scale = law.density(r, point).exponent;
                    let survival = law.upper_tail(r, point, scale);
                    let hazard = law.density(r, point).relative_to(scale) / survival;
                    let ln_survival = if shift < 0.0 {
                        (-law.lower_tail(r, point, 0.0)).ln_1p()
                    } else {
                        survival.ln() + scale
                    };
                    assert!((at.hazard / hazard - 1.0).abs() < 2e-13, "{dimension} {r}");
                    assert!((at.ln_survival / ln_survival - 1.0).abs() < 2e-13, "{dimension} {r}");
                }
            }
        }
    }

    #[test]
    fn chernoff_is_above_the_distribution_function_and_not_far() {
        for &(dimension, squared, r, _, cdf, _) in REFERENCE {
            let law = NoncentralChi::new(dimension);
            let bound = law.ln_cdf_bound(r, squared.sqrt());
            assert!(bound >= cdf, "{dimension} {squared} {r}: {bound} {cdf}");
            assert!(bound <= cdf + 5.0, "{dimension} {squared} {r}: {bound} {cdf}");
        }
    }

    /// d, noncentrality, r, ln of the density of R, of P(R <= r), of P(R > r); made with mpmath at 60 digits from the
    /// Bessel function and from the Poisson mixture.
    const REFERENCE: &[(usize, f64, f64, f64, f64, f64)] = &[
        (1, 0.0, 1.0, -0.7257913526447274, -0.38171514630212605, -1.1478744644493182),
        (1, 0.0, 13.0, -84.72579135264473, -1.223432879909976e-38, -87.29657279046258),
        (1, 0.3, 1.140625, -0.8426629697917566, -0.3890439078356612, -1.1322864921896234),
        (1, 0.3, 13.140625, -80.2095339360234, -1.1550995643582718e-36, -82.74887680461956),
        (1, 50.0, 6.140625, -1.351800446280739, -1.7368683510856517, -0.19367083344798394),
        (1, 50.0, 12.140625, -13.769143575087888, -1.9937117789742955e-07, -15.42809763369706),
        (2, 0.0, 0.421875, -0.9520354751678428, -2.4634043039488778, -0.0889892578125),
        (2, 0.0, 6.421875, -18.760529126675937, -1.1085208728235682e-09, -20.6202392578125),
        (2, 7.0, 2.0, -1.2408029172672423, -1.6500020505328987, -0.21325450305227397),
        (2, 7.0, 8.0, -14.69363217911229, -7.595555276381312e-08, -16.393117537773918),
        (3, 900.0, 20.046875, -50.85441126642336, -53.167076853267574, -8.125159660855157e-24),
        (3, 900.0, 30.046875, -0.9184758854502203, -0.6823851019975752, -0.7040263426619113),
        (3, 900.0, 42.046875, -73.14494948031209, -1.4144257744111412e-33, -75.63858443320974),
        (10, 0.0, 3.15625, -0.5871380574639308, -0.586701132387473, -0.8122887910592456),
        (10, 0.0, 15.15625, -96.34088269059792, -9.870751679405343e-44, -99.02416808319803),
        (10, 25.0, 4.921875, -1.3188593491685157, -1.8262382689941685, -0.1755661899918037),
        (10, 25.0, 10.921875, -15.082740620077782, -4.962948375194003e-08, -16.818680774151428),
        (57, 0.5, 3.578125, -20.485133924736235, -23.01351615455881, -1.0124111625241901e-10),
        (57, 0.5, 8.578125, -1.6457816381518637, -0.07875615110323558, -2.580518545182062),
        (57, 0.5, 37.578125, -582.8354460583384, 0.0, -586.4144346999516),
        (57, 10000.0, 90.28125, -51.05059163303947, -53.36584652004752, -6.660507692883249e-24),
        (57, 10000.0, 99.28125, -1.417291588673457, -1.8406647250898338, -0.17282109891109346),
        (57, 10000.0, 105.28125, -13.459620499047492, -2.744352760150897e-07, -15.108550529668744),
        (61, 3.0, 4.0, -19.3326270134787, -21.783620745955503, -3.463328719189684e-10),
        (61, 3.0, 9.0, -1.634372913385286, -0.08182864676220225, -2.543763233734987),
        (61, 3.0, 38.0, -572.5036182710671, 0.0, -576.0686156994507),
        (62, 400.0, 11.5, -55.879642785076385, -58.31604505530605, -4.71697338787908e-26),
        (62, 400.0, 20.5, -1.3889191117086017, -1.850797083474067, -0.17092105233113428),
        (62, 400.0, 26.5, -14.31025392413339, -1.1083573600813693e-07, -16.015216642902544),
        (64, 64.0, 1.3125, -114.45883981115752, -118.34515849132609, 0.0),
        (64, 64.0, 11.3125, -0.7774341501195027, -0.6586324671719849, -0.7288958768254374),
        (64, 64.0, 23.3125, -87.04120439772409, -1.1340239029700718e-39, -89.67504634322752),
        (784, 0.0, 18.0, -116.52762256240032, -119.77150367185438, 0.0),
        (784, 0.0, 24.0, -17.27255983265585, -19.456889621863926, -3.547972156856867e-09),
        (784, 0.0, 29.0, -1.5960741156881082, -0.08056763070057485, -2.5586716800277913),
        (784, 0.0, 58.0, -720.3618317372509, 0.0, -724.1579423968294),
        (784, 40.0, 18.703125, -110.60212542486347, -113.78956988276559, -3.817839806351437e-50),
        (784, 40.0, 27.703125, -1.5302870634676953, -2.471190912408632, -0.08826764117927195),
        (784, 40.0, 33.703125, -23.36449639818473, -7.8836669433907e-12, -25.566227972157545),
        (784, 900.0, 31.03125, -69.22304942949538, -71.87878053707594, -6.0735449050458e-32),
        (784, 900.0, 41.03125, -0.7865562714974459, -0.6880277000831793, -0.6982930050425205),
        (784, 900.0, 53.03125, -90.93137074023312, -2.1764337438594445e-41, -93.62830117280816),
        (784, 100000.0, 307.46875, -51.0622537281328, -53.37805482920831, -6.57968849248391e-24),
        (784, 100000.0, 313.46875, -8.926895178091545, -10.370597415461365, -3.134105229139413e-05),
        (784, 100000.0, 318.46875, -1.4243459544683459, -0.17065886601299024, -1.8522048593168683),
        (784, 100000.0, 347.46875, -452.73015897682336, 0.0, -456.1361948210888),
        (3072, 0.0, 45.421875, -107.42289758329562, -110.52747951267962, -9.96610707696729e-49),
        (3072, 0.0, 54.421875, -1.5678249056139328, -2.5448253140604935, -0.08173813552609165),
        (3072, 0.0, 60.421875, -24.918474673594254, -1.5405718700940827e-12, -27.198867424218044),
        (3072, 2500.0, 64.640625, -71.87830666520476, -74.557393103663, -4.16999553530761e-33),
        (3072, 2500.0, 74.640625, -0.757704149058542, -0.692544153240309, -0.6937505717409592),
        (3072, 2500.0, 86.640625, -97.29144876530502, -3.5001158154254535e-44, -100.06094803366858),
        (3072, 1000000.0, 991.53125, -51.02611821464706, -53.34029898943694, -6.832859423550872e-24),
        (3072, 1000000.0, 997.53125, -8.942782778184917, -10.386102162775085, -3.085885751121968e-05),
        (3072, 1000000.0, 1002.53125, -1.4158664662460216, -0.17341905540751665, -1.8375010791318036),
        (3072, 1000000.0, 1031.53125, -451.5023051602546, 0.0, -454.9059941291347),
        (5, 1000000.0, 990.0, -50.93904021501319, -53.251585000749735, -7.466730588435055e-24),
        (5, 1000000.0, 999.0, -1.4209405348733417, -1.8440750457883461, -0.17217903216776412),
        (5, 1000000.0, 1005.0, -13.408964445207966, -2.896324849630008e-07, -15.054653155708312),
        (20000, 300.0, 132.484375, -101.35386750366564, -104.37595264123851, -4.6784255691835175e-46),
        (20000, 300.0, 142.484375, -0.5797918168187919, -0.6834715554527769, -0.702917338800184),
        (20000, 300.0, 154.484375, -138.9622084235941, 0.0, -142.09029658099539),
    ];
}
