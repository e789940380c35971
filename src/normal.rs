//! The standard normal distribution with directed rounding: Phi, and quantiles from either tail.

use std::f64::consts::{FRAC_1_SQRT_2, TAU};
use std::sync::LazyLock;

/// Relative error of [`cdf`] at `x`: one unit in the last place from `erfc`, and the rounding of its argument,
/// which the density amplifies by x^2; doubled.
fn cdf_error(x: f64) -> f64 {
    (4.0 + 2.0 * x * x) * f64::EPSILON
}

/// Phi(x), with full relative accuracy in the lower tail.
#[inline]
pub(crate) fn cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x * FRAC_1_SQRT_2)
}

/// The density of the standard normal distribution.
#[inline]
pub(crate) fn density(x: f64) -> f64 {
    (-0.5 * x * x).exp() / TAU.sqrt()
}

/// Spacing of the nodes of [`mills`] is 1 / this.
const MILLS_NODES_PER_UNIT: f64 = 32.0;

/// Beyond this z, [`mills`] is a continued fraction.
const MILLS_END: f64 = 12.0;

/// Taylor coefficients of Mills' ratio R at the nodes: R' = z R - 1, R^(n+1) = z R^(n) + n R^(n-1).
static MILLS: LazyLock<Vec<[f64; 5]>> = LazyLock::new(|| {
    let nodes = (MILLS_END * MILLS_NODES_PER_UNIT) as usize + 1;
    (0..=nodes)
        .map(|node| {
            let z = node as f64 / MILLS_NODES_PER_UNIT;
            let r0 = cdf(-z) / density(z);
            let r1 = z * r0 - 1.0;
            let r2 = z * r1 + r0;
            let r3 = z * r2 + 2.0 * r1;
            let r4 = z * r3 + 3.0 * r2;
            [r0, r1, r2 / 2.0, r3 / 6.0, r4 / 24.0]
        })
        .collect()
});

/// Makes the table of [`mills`], which a child of a fork would wait for if another thread were making it.
#[cfg(feature = "python")]
pub(crate) fn prepare() {
    LazyLock::force(&MILLS);
}

/// (1 - Phi(z)) / phi(z) for z >= 0, to nine digits (seven beyond 12): for guesses, never for bounds.
#[inline]
pub(crate) fn mills(z: f64) -> f64 {
    let place = z * MILLS_NODES_PER_UNIT + 0.5;
    // 32-bit, because its conversions are single instructions; it saturates.
    let node = place as i32;
    match MILLS.get(node as usize) {
        Some(c) if z < MILLS_END => {
            let d = (place - f64::from(node) - 0.5) * (1.0 / MILLS_NODES_PER_UNIT);
            c[0] + d * (c[1] + d * (c[2] + d * (c[3] + d * c[4])))
        }
        _ => 1.0 / (z + 1.0 / (z + 2.0 / (z + 3.0 / z))),
    }
}

/// The x with Phi(x) = p, to nearly full accuracy for p down to the smallest normal number.
fn quantile(p: f64) -> f64 {
    let mut x = -std::f64::consts::SQRT_2 * statrs::function::erf::erfc_inv(2.0 * p);
    for _ in 0..2 {
        let slope = density(x);
        if slope > 0.0 {
            // Halley's step; Phi'' = -x Phi'.
            let u = (cdf(x) - p) / slope;
            x -= u / (1.0 + 0.5 * x * u);
        }
    }
    x
}

/// A lower bound for the x with Phi(x) = `p`: -infinity for p <= 0, infinity for p >= 1.
///
/// # Example
/// The quantile of 0.975 is 1.959964 (a lower bound here).
/// ```
/// # use certssb::normal_quantile_lower;
/// let z = normal_quantile_lower(0.975);
/// assert!(z < 1.95996398454006 && z > 1.95996398453);
/// assert_eq!(normal_quantile_lower(0.0), f64::NEG_INFINITY);
/// assert_eq!(normal_quantile_lower(1.0), f64::INFINITY);
/// ```
pub fn normal_quantile_lower(p: f64) -> f64 {
    if p <= 0.0 {
        return f64::NEG_INFINITY;
    }
    if p >= 1.0 {
        return f64::INFINITY;
    }
    if p > 0.5 {
        // 1 - p is exact here (Sterbenz).
        return -normal_quantile_upper(1.0 - p);
    }
    let mut x = quantile(p);
    let mut step = 4.0 * f64::EPSILON * x.abs().max(1.0);
    while cdf(x) * (1.0 + cdf_error(x)) > p {
        x -= step;
        step *= 2.0;
    }
    x
}

/// An upper bound for the x with Phi(x) = `p`; see [`normal_quantile_lower`].
pub fn normal_quantile_upper(p: f64) -> f64 {
    if p <= 0.0 {
        return f64::NEG_INFINITY;
    }
    if p >= 1.0 {
        return f64::INFINITY;
    }
    if p > 0.5 {
        return -normal_quantile_lower(1.0 - p);
    }
    let mut x = quantile(p);
    let mut step = 4.0 * f64::EPSILON * x.abs().max(1.0);
    while cdf(x) * (1.0 - cdf_error(x)) < p {
        x += step;
        step *= 2.0;
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (x, Phi(x)), computed with 50 digits.
    const TABLE: [(f64, f64); 7] = [
        (-38.0, 2.885428e-316),
        (-20.0, 2.7536241186062337e-89),
        (-8.0, 6.220960574271785e-16),
        (-3.0, 0.0013498980316300946),
        (-1.0, 0.15865525393145705),
        (0.0, 0.5),
        (1.25, 0.8943502263331446),
    ];

    #[test]
    fn cdf_agrees_with_the_table() {
        for (x, expected) in TABLE {
            let got = cdf(x);
            assert!((got / expected - 1.0).abs() < if x < -37.0 { 1e-6 } else { 2e-14 }, "{x}: {got}");
        }
    }

    #[test]
    fn mills_ratio_has_its_digits() {
        for i in 0..20_000 {
            let z = f64::from(i) * 0.00137;
            let exact = cdf(-z) / density(z);
            let error = if z < MILLS_END { 1e-9 } else { 1e-7 };
            assert!((mills(z) / exact - 1.0).abs() < error, "{z}: {} {exact}", mills(z));
        }
    }

    #[test]
    fn quantiles_enclose_and_are_tight() {
        let mut p = 1e-300;
        while p < 1.0 {
            let (low, high) = (normal_quantile_lower(p), normal_quantile_upper(p));
            assert!(low < high && high - low < 1e-11 * low.abs().max(1.0), "{p}: {low} {high}");
            assert!(cdf(low) <= p && cdf(high) >= p, "{p}");
            p *= 1.37;
        }
        for q in [1e-15, 1e-9, 1e-3, 0.3] {
            let (low, high) = (normal_quantile_lower(1.0 - q), normal_quantile_upper(1.0 - q));
            assert!(low < high && high - low < 1e-11, "{q}: {low} {high}");
        }
    }
}
