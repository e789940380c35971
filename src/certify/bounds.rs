//! Confidence bounds for a mean in \[0, 1\] from independent members, one-sided, rounded outward.
//!
//! | bound | for | formula | source |
//! |---|---|---|---|
//! | Clopper-Pearson | votes | Beta quantile(alpha; k, N - k + 1) | Clopper & Pearson 1934 |
//! | Kullback-Leibler | scores | smallest q with N kl(mean, q) <= log(1/alpha) | Hoeffding 1963, Thm 1 |
//! | Hoeffding | scores | mean - sqrt(log(1/alpha) / 2N) | Hoeffding 1963, Thm 2 |
//! | betting | scores, any-time | sup_t capital_t(m) < 1/alpha | Waudby-Smith & Ramdas 2024 |
//!
//! **Bounds of all classes at once** (`*_shared`). Each bound refutes a supposed mean g at a level, the chance that g
//! is refuted though it is true. The levels of K classes need to sum to alpha, and the true means sum to 1, so a mean
//! g may be refuted at the level alpha min(g, 1/2), whatever K is: alpha (g_1 + ... + g_K) <= alpha where no g is
//! above 1/2, and alpha/2 + alpha (1 - g_1) <= alpha where g_1 is. What is below a bound must be refuted, each g at
//! its own level. Where the bound at alpha/2 is above 1/2, every g <= 1/2 is: the level it is refuted at, divided by
//! g, grows with g there, so that it is at most 2 (alpha/2) = alpha. (Binomial tails: P_g(X >= k) is convex in g up to
//! (k - 1)/(N - 1), which is at least 1/2 for a majority k, and 0 at g = 0. Kullback-Leibler: g^(Nx - 1) (1 - g)^(N -
//! Nx) grows up to (Nx - 1)/(N - 1), which is at least 1/2 once N kl(x, 1/2) >= log 2, because kl(x, 1/2) <= (2x -
//! 1)^2 and so 2x - 1 >= sqrt(log 2 / N) >= 1/N; Hoeffding's refutes less. Betting: see `betting_lower_shared`.)

use crate::binomial::{binomial_pmf, deviance};
use crate::stop::Stop;

/// The share of alpha that every class has where the levels are shared among classes that may be certified.
pub(crate) const MAJORITY: f64 = 0.5;

/// Relative error of [`binomial_tail`] that the bounds leave room for, beside that of n p in its last place, which counts
/// by the distance of k from it.
const TAIL_ERROR: f64 = 1e-11;

/// A lower bound for the chance behind `k` successes in `n` trials: below the true chance with probability at
/// least 1 - `alpha`.
///
/// The quantile is found by bisection on the binomial tail P(X >= k) itself, which is summed with relative
/// accuracy, because Beta quantiles of statistics libraries misbehave in far tails.
///
/// # Example
/// ```
/// use certssb::bounds::clopper_pearson_lower;
/// let p = clopper_pearson_lower(1000, 1000, 0.001);
/// assert!((p - 0.001_f64.powf(0.001)).abs() < 1e-12);
/// ```
pub fn clopper_pearson_lower(k: u64, n: u64, alpha: f64) -> f64 {
    if k == 0 || n == 0 {
        return 0.0;
    }
    let (k, stop) = (k.min(n), Stop::current());
    // P(X >= k) grows with p from 0 to 1; the mean k/n has a tail above alpha for any alpha in use, and
    // where it has not (alpha > 1/2) the bisection still encloses the root.
    let unsafe_at = |p: f64| tail_above(k, n, p) > alpha || stop.is_set();
    bisect(0.0, 1.0, unsafe_at)
}

/// An upper bound for the chance behind `k` successes in `n` trials; see [`clopper_pearson_lower`].
pub fn clopper_pearson_upper(k: u64, n: u64, alpha: f64) -> f64 {
    (1.0 - clopper_pearson_lower(n.saturating_sub(k), n, alpha)).next_up().min(1.0)
}

/// A lower bound at the level alpha min(g, `cap`) of a supposed chance g, `cap` at most 1/2; see the module's page.
pub(crate) fn clopper_pearson_lower_shared(k: u64, n: u64, alpha: f64, cap: f64) -> f64 {
    if k <= 1 || n <= 1 {
        return 0.0;
    }
    let convex_to = (k.min(n) - 1) as f64 / (n - 1) as f64;
    let plain = clopper_pearson_lower(k, n, alpha * cap);
    if plain >= cap && convex_to >= cap {
        return plain;
    }
    let stop = Stop::current();
    let unsafe_at = |p: f64| tail_above(k, n, p) > alpha * p || stop.is_set();
    bisect(0.0, cap.min(convex_to), unsafe_at)
}

/// The largest number found by bisection in \[low, high\] at which `beyond` is still false; `beyond` is
/// monotone, and false at `low`.
fn bisect(mut low: f64, mut high: f64, beyond: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high || high - low <= 1e-15 * high || high < 1e-18 {
            break;
        }
        if beyond(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    low
}

/// [`binomial_tail`], rounded up.
fn tail_above(k: u64, n: u64, p: f64) -> f64 {
    let far = (k as f64 - n as f64 * p).abs();
    binomial_tail(k, n, p) * (1.0 + TAIL_ERROR + 8.0 * f64::EPSILON * far)
}

/// P(X >= k) for X binomial (n, p), 1 <= k <= n, with small relative error in the upper tail.
fn binomial_tail(k: u64, n: u64, p: f64) -> f64 {
    if p <= 0.0 {
        return 0.0;
    }
    if p >= 1.0 {
        return 1.0;
    }
    let odds = p / (1.0 - p);
    if (k as f64) < n as f64 * p {
        // Below the mode the other tail is the short sum.
        return (1.0
            - sum_terms(
                k - 1,
                binomial_pmf(k - 1, n, p),
                |j| j as f64 / ((n - j + 1) as f64 * odds),
                |j| j.checked_sub(1),
            ))
        .max(0.0);
    }
    sum_terms(
        k,
        binomial_pmf(k, n, p),
        |j| (n - j) as f64 / (j + 1) as f64 * odds,
        |j| (j < n).then_some(j + 1),
    )
}

/// Terms, or scores, between two looks at the flag that stops work: less than a millisecond.
const LOOK: usize = 1 << 16;

/// first + first ratio(start) + ... along `next`, until terms no longer count; some of it where the work is to stop.
fn sum_terms(start: u64, first: f64, ratio: impl Fn(u64) -> f64, next: impl Fn(u64) -> Option<u64>) -> f64 {
    let (mut sum, mut term, mut at) = (first, first, start);
    while let Some(following) = next(at) {
        let r = ratio(at);
        term *= r;
        sum += term;
        let counts = term >= sum * 1e-18 * (1.0 - r).max(1e-6);
        if !counts || (at.is_multiple_of(LOOK as u64) && Stop::current().is_set()) {
            break;
        }
        at = following;
    }
    sum
}

/// kl(a, b) between Bernoulli distributions, in nats.
fn kl(a: f64, b: f64) -> f64 {
    let part = |x: f64, y: f64| if x > 0.0 { deviance(x, y) } else { y };
    // deviance(x, y) = x log(x/y) + y - x; the linear terms of both parts cancel.
    part(a, b) + part(1.0 - a, 1.0 - b)
}

/// A lower bound for the expectation of a score in \[0, 1\] whose mean over `n` members is `mean`:
/// the smallest q with n kl(mean, q) <= log(1/alpha) (Hoeffding 1963, Theorem 1).
///
/// # Example
/// ```
/// use certssb::bounds::{hoeffding_lower, kl_lower};
/// assert!(kl_lower(0.97, 100, 0.001) > hoeffding_lower(0.97, 100, 0.001));
/// ```
pub fn kl_lower(mean: f64, n: u64, alpha: f64) -> f64 {
    // Rounding down the mean covers the rounding of the sum it came from.
    let mean = (mean - 1e-13).clamp(0.0, 1.0);
    if n == 0 || mean == 0.0 {
        return 0.0;
    }
    let budget = (1.0 / alpha).ln() / n as f64 * (1.0 + 1e-12);
    // kl(mean, q) falls in q below the mean: beyond the root it is within the budget.
    bisect(0.0, mean, |q| kl(mean, q) * (1.0 - 1e-12) <= budget)
}

/// A lower bound at the level alpha min(g, `cap`) of a supposed mean g, `cap` at most 1/2; see the module's page.
pub(crate) fn kl_lower_shared(mean: f64, n: u64, alpha: f64, cap: f64) -> f64 {
    let lowered = (mean - 1e-13).clamp(0.0, 1.0);
    let grows_to = (n as f64 * lowered - 1.0) / (n as f64 - 1.0);
    if n <= 1 || grows_to <= 0.0 {
        return 0.0;
    }
    let plain = kl_lower(mean, n, alpha * cap);
    if plain >= cap && grows_to >= cap {
        return plain;
    }
    let unsafe_at = |q: f64| {
        let budget = -(alpha * q).ln() / n as f64 * (1.0 + 1e-12);
        kl(lowered, q) * (1.0 - 1e-12) <= budget
    };
    bisect(0.0, cap.min(grows_to * (1.0 - 1e-12)), unsafe_at)
}

/// An upper bound for the expectation of a score; see [`kl_lower`].
pub fn kl_upper(mean: f64, n: u64, alpha: f64) -> f64 {
    (1.0 - kl_lower((1.0 - mean).max(0.0), n, alpha)).next_up().min(1.0)
}

/// mean - sqrt(log(1/alpha) / 2n): the literature's bound, for comparison (Hoeffding 1963, Theorem 2).
pub fn hoeffding_lower(mean: f64, n: u64, alpha: f64) -> f64 {
    if n == 0 {
        return 0.0;
    }
    let width = ((1.0 / alpha).ln() / (2.0 * n as f64)).sqrt();
    ((mean - width) - 1e-13).max(0.0)
}

/// A lower bound at the level alpha min(g, `cap`) of a supposed mean g, `cap` at most 1/2; see the module's page.
pub(crate) fn hoeffding_lower_shared(mean: f64, n: u64, alpha: f64, cap: f64) -> f64 {
    // What this bound refutes, Kullback-Leibler's refutes as well.
    hoeffding_lower(mean, n, alpha * cap).min(kl_lower_shared(mean, n, alpha, cap))
}

/// An upper bound for the expectation of a score; see [`hoeffding_lower`].
pub fn hoeffding_upper(mean: f64, n: u64, alpha: f64) -> f64 {
    (1.0 - hoeffding_lower((1.0 - mean).max(0.0), n, alpha)).next_up().min(1.0)
}

/// The shares of the capital in the betting bound: each bets a fixed fraction c/m of what it may.
///
/// A mixture of constant bets is a nonnegative martingale whatever the fractions are; these cover, from
/// right to left, votes that all agree and votes that hardly lean.
const FRACTIONS: [f64; 10] = [0.998, 0.98, 0.93, 0.8, 0.6, 0.4, 0.25, 0.12, 0.05, 0.02];

/// A lower bound for the expectation of scores in \[0, 1\] that holds at *every* number of members at once, so
/// that members may be added until the answer is liked (Waudby-Smith & Ramdas 2024, section 4).
///
/// For a supposed mean m the capital K_t(m) = average over c of prod_{s <= t} (1 + c (x_s / m - 1)) is a
/// nonnegative martingale if the mean is m; by Ville's inequality it reaches 1/alpha with probability at most
/// alpha. K_t(m) falls in m, so the bound is the smallest m whose capital never reached 1/alpha. Scores are
/// taken in the order of the members.
///
/// # Example
/// ```
/// use certssb::bounds::{betting_lower, clopper_pearson_lower};
/// let all_agree = vec![1.0; 1000];
/// let any_time = betting_lower(&all_agree, 0.001);
/// assert!(any_time < clopper_pearson_lower(1000, 1000, 0.001) && any_time > 0.99);
/// ```
pub fn betting_lower(scores: &[f64], alpha: f64) -> f64 {
    betting_lower_at(scores, |_| alpha)
}

/// A lower bound at the level alpha min(m, `cap`) of a supposed mean m, `cap` at most 1/2, at every number of members
/// at once.
///
/// If a mean m <= 1/2 is refuted at the level alpha m, every g < m is at alpha g: g K_t(g) only grows as g falls. The
/// logarithm of a factor 1 + c (x/g - 1) is convex in log g, so that of K_t, a mean of products, is as well, and it is
/// enough that -d log K_t / d log g >= 1 at m. A factor f contributes rho = 1 - (1 - c)/f >= 0, and rho >= log f /
/// log(1/m) on \[1 - c, 1 + c (1/m - 1)\]: the difference rises, then falls, and is not negative at either end. So a
/// product K contributes at least max(0, log K)/log(1/m), and their mean, weighted by K, is by convexity of
/// x max(0, log x) at least log K_t / log(1/m), which is above 1 because K_t >= 1/(alpha m) > 1/m.
pub(crate) fn betting_lower_shared(scores: &[f64], alpha: f64, cap: f64) -> f64 {
    betting_lower_at(scores, |m| alpha * m.min(cap))
}

fn betting_lower_at(scores: &[f64], level: impl Fn(f64) -> f64) -> f64 {
    if scores.is_empty() {
        return 0.0;
    }
    // Each member's factors carry three roundings.
    let slack = 1.0 + 1e-9 + 4.0 * f64::EPSILON * scores.len() as f64;
    // True once some capital has reached the target: m is refuted, the mean is larger.
    let refuted = |m: f64| {
        let target = slack / level(m);
        highest_capital(scores, m, target) >= target
    };
    bisect(0.0, 1.0, |m| !refuted(m))
}

/// An upper bound for the expectation of scores at every number of members at once; see [`betting_lower`].
pub fn betting_upper(scores: &[f64], alpha: f64) -> f64 {
    let mirrored: Vec<f64> = scores.iter().map(|x| 1.0 - x).collect();
    (1.0 - betting_lower(&mirrored, alpha)).next_up().min(1.0)
}

/// max over t of K_t(m), or the first value at `enough` or above.
fn highest_capital(scores: &[f64], m: f64, enough: f64) -> f64 {
    if m <= 0.0 {
        return f64::INFINITY;
    }
    let mut capital = [1.0; FRACTIONS.len()];
    let mut highest = 1.0_f64;
    let enough = enough * FRACTIONS.len() as f64;
    let stop = Stop::current();
    // A bet that is stopped refutes nothing more.
    for some in scores.chunks(LOOK).take_while(|_| !stop.is_set()) {
        for x in some {
            let gain = x / m - 1.0;
            let mut sum = 0.0;
            for (k, c) in capital.iter_mut().zip(FRACTIONS) {
                *k *= 1.0 + c * gain;
                sum += *k;
            }
            highest = highest.max(sum);
            if sum >= enough {
                return highest / FRACTIONS.len() as f64;
            }
        }
    }
    highest / FRACTIONS.len() as f64
}
