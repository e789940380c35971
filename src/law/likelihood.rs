//! The Neyman-Pearson engine: what the worst training set of a budget can do to a probability.
//!
//! For a noised training set with law P and its image Q under a change, only the distribution of the
//! log-likelihood ratio L = log dQ/dP matters. Every law of this crate describes it as a finite mixture
//! of *components*: with weight w under P, L = a + N(-v/2, v); v = 0 is an atom at a. Under Q the same
//! component has weight w e^a and mean a + v/2. What P can produce and Q cannot (L = -infinity) is the
//! *singular* mass; what Q can produce and P cannot is 1 minus the total weight under Q.
//!
//! **Worst case by duality.** For every event (or score in \[0, 1\]) S with P(S) >= p and every threshold t,
//!
//! ```text
//! Q(S) >= Q(L < t) + e^t (p - P(L < t)),
//! ```
//!
//! because the integral of (e^t dP - dQ) over S is at most its integral over {L < t}, where it is positive.
//! Equality holds at the Neyman-Pearson threshold P(L < t) <= p <= P(L <= t). The threshold is found
//! numerically, but a threshold that is slightly off only loosens the bound: soundness never rests on the
//! search, only on evaluating two sums, whose rounding error is bounded and taken off.

mod many_pairs;

use super::walk::Walk;
use crate::interval::Masses;
use crate::normal;
use crate::stop::Stop;

/// With more components than this, a search for a threshold listens for a stop at every step.
const FEW: usize = 1000;

pub(crate) use many_pairs::ManyPairs;
/// One component of a [`LikelihoodRatio`]: weight w under P, and L = shift + N(-variance/2, variance).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Component {
    /// Probability under P.
    pub weight: f64,
    /// The atom's place; finite.
    pub shift: f64,
    /// Variance of the normal part; 0 for an atom.
    pub variance: f64,
}

impl Component {
    pub(super) fn weight_q(&self) -> f64 {
        if self.shift == 0.0 {
            self.weight
        } else {
            self.weight * self.shift.exp()
        }
    }

    /// (t - mean) / standard deviation under P, under Q.
    fn standardise(&self, t: f64) -> (f64, f64) {
        let sd = self.variance.sqrt();
        let z = (t - self.shift) / sd;
        (z + 0.5 * sd, z - 0.5 * sd)
    }

    /// Probabilities of {L < t}, given the component, under P and under Q.
    fn below(&self, t: f64) -> (f64, f64) {
        if self.variance > 0.0 {
            let (p, q) = self.standardise(t);
            (normal::cdf(p), normal::cdf(q))
        } else if self.shift < t {
            (1.0, 1.0)
        } else {
            (0.0, 0.0)
        }
    }

    /// Probabilities of {L >= t}, given the component, under P and under Q.
    fn above(&self, t: f64) -> (f64, f64) {
        if self.variance > 0.0 {
            let (p, q) = self.standardise(t);
            (normal::cdf(-p), normal::cdf(-q))
        } else if self.shift < t {
            (0.0, 0.0)
        } else {
            (1.0, 1.0)
        }
    }
}

/// The distribution of L = log dQ/dP under P: a mixture of normals and atoms, and a singular mass.
///
/// # Example
/// One Gaussian noise of scale sigma on a change of norm R: the prediction holds while
/// R < sigma Phi^-1(p_A) (Weber et al., S&P 2023).
/// ```
/// use certssb::LikelihoodRatio;
/// let ratio = LikelihoodRatio::normal(1.0); // R / sigma = 1
/// assert!(ratio.holds(0.8414, 0.1586)); // Phi(1) = 0.84134...
/// assert!(!ratio.holds(0.8413, 0.1587));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LikelihoodRatio {
    components: Vec<Component>,
    /// P-probability of L = -infinity; lost tails are counted here, which can only weaken a certificate.
    singular: f64,
    /// Relative rounding error of the weights, under P and Q, in units of the machine epsilon.
    rounding: f64,
}

/// Components lighter than this are counted as singular: outward, and far below any alpha in use.
const NEGLIGIBLE: f64 = 1e-17;

impl LikelihoodRatio {
    /// No change at all: L = 0.
    pub fn identity() -> Self {
        Self::from_components(vec![Component { weight: 1.0, shift: 0.0, variance: 0.0 }])
    }

    /// A change after which nothing in common is left: L = -infinity under P.
    pub fn disjoint() -> Self {
        Self { components: Vec::new(), singular: 1.0, rounding: 0.0 }
    }

    /// Normal noise: L = N(-v/2, v), with v the squared norm of the change in units of the noise.
    pub fn normal(variance: f64) -> Self {
        if variance.is_finite() {
            Self::from_components(vec![Component { weight: 1.0, shift: 0.0, variance }])
        } else {
            Self::disjoint()
        }
    }

    /// P and Q have a part in common, of probability e^`log_alpha` under P, on which Q has e^`log_q` times the density of P;
    /// on the rest they exclude each other. `operations` roundings went into each.
    pub(super) fn common(log_alpha: f64, log_q: f64, operations: f64) -> Self {
        let atom = Component { weight: log_alpha.exp(), shift: log_q, variance: 0.0 };
        Self::from_components(vec![atom]).rounded(operations)
    }

    /// P and Q agree on a part of probability `common` and exclude each other on the rest.
    pub fn overlap(common: f64) -> Self {
        Self::from_components(vec![Component { weight: common, shift: 0.0, variance: 0.0 }])
    }

    /// A mixture of the given components; the missing weight is singular.
    pub fn from_components(components: Vec<Component>) -> Self {
        let kept: Vec<Component> = components.into_iter().filter(|c| c.weight > NEGLIGIBLE).collect();
        let total: f64 = kept.iter().map(|c| c.weight).sum();
        let farthest = kept.iter().map(|c| c.shift.abs()).fold(0.0, f64::max);
        let rounding = farthest + kept.len() as f64;
        Self { components: kept, singular: (1.0 - total).max(0.0), rounding }
    }

    /// The same, after `operations` more roundings of each weight.
    fn rounded(mut self, operations: f64) -> Self {
        self.rounding += operations;
        self
    }

    /// Categorical noise on `changes` entries: an entry keeps its value with probability `keep`, else takes
    /// one of the other `alphabet` - 1 values, uniformly (Lee et al. 2019; Wang et al. 2020).
    ///
    /// With b = (1 - keep)/(alphabet - 1) and l = log(keep/b), a changed entry has L = -l with probability
    /// keep, +l with probability b and 0 otherwise; L sums over the entries.
    pub fn categorical(changes: usize, keep: f64, alphabet: usize) -> Self {
        let moved = (1.0 - keep) / (alphabet as f64 - 1.0);
        if moved <= 0.0 {
            return if changes == 0 { Self::identity() } else { Self::disjoint() };
        }
        let step = (keep / moved).ln();
        let Walk { first, weights, operations } = Walk::of(changes, moved, keep, alphabet);
        let atom = |(j, weight)| Component { weight, shift: (first + j as i64) as f64 * step, variance: 0.0 };
        Self::from_components(weights.into_iter().enumerate().map(atom).collect()).rounded(operations)
    }

    /// The same mixture after every change has grown by `factor`: variances times factor^2, rounded up.
    pub(super) fn scaled(&self, factor: f64) -> Self {
        // Four roundings, here and in the unit's own variance, each of half an epsilon.
        let square = factor * factor * (1.0 + 4.0 * f64::EPSILON);
        let grow = |c: &Component| Component { variance: c.variance * square, ..*c };
        Self { components: self.components.iter().map(grow).collect(), ..*self }
    }

    /// Without components lighter than `light` under both P and Q, which then count as excluding each other: outward.
    pub(super) fn without(self, light: f64) -> Self {
        let rounding = self.rounding;
        let heavy = |c: &Component| c.weight > light || c.weight_q() > light;
        Self::from_components(self.components.into_iter().filter(heavy).collect()).rounded(rounding)
    }

    /// Independent parts of a law: their L add.
    pub fn product(&self, other: &Self) -> Self {
        let mut components = Vec::with_capacity(self.components.len() * other.components.len());
        for a in &self.components {
            for b in &other.components {
                components.push(Component {
                    weight: a.weight * b.weight,
                    shift: a.shift + b.shift,
                    variance: a.variance + b.variance,
                });
            }
        }
        Self::from_components(components).rounded(self.rounding + other.rounding)
    }

    /// A mixture whose index is part of what is observed (such as how many changed samples were drawn).
    pub fn mixture(parts: impl IntoIterator<Item = (f64, Self)>) -> Self {
        let mut components = Vec::new();
        let mut rounding = 0.0_f64;
        for (weight, part) in parts {
            components.extend(part.components.iter().map(|c| Component { weight: c.weight * weight, ..*c }));
            rounding = rounding.max(part.rounding);
        }
        Self::from_components(components).rounded(rounding)
    }

    /// The components, and the singular mass under P.
    pub fn parts(&self) -> (&[Component], f64) {
        (&self.components, self.singular)
    }

    /// P(L < t) and Q(L < t), the singular mass included in P.
    fn below(&self, t: f64) -> (f64, f64) {
        let mut sums = (self.singular, 0.0);
        for c in &self.components {
            let (p, q) = c.below(t);
            sums.0 += c.weight * p;
            sums.1 += c.weight_q() * q;
        }
        sums
    }

    /// P(L >= t), and Q(L >= t) without what P cannot produce.
    fn above(&self, t: f64) -> (f64, f64) {
        let mut sums = (0.0, 0.0);
        for c in &self.components {
            let (p, q) = c.above(t);
            sums.0 += c.weight * p;
            sums.1 += c.weight_q() * q;
        }
        sums
    }

    /// The smallest Q-probability of anything whose P-probability is at least `p`, rounded down.
    pub fn worst_lower(&self, p: f64) -> f64 {
        if p < 0.5 {
            self.lower_tail(p)
        } else {
            // 1 - p is exact here (Sterbenz).
            (1.0 - self.upper_tail(1.0 - p)).next_down().max(0.0)
        }
    }

    /// The largest Q-probability of anything whose P-probability is at most `p`, rounded up.
    pub fn worst_upper(&self, p: f64) -> f64 {
        if p <= 0.5 {
            self.upper_tail(p)
        } else {
            (1.0 - self.lower_tail(1.0 - p)).next_up().min(1.0)
        }
    }

    /// Whether the prediction survives: class A at least `p_lower` against at most `p_upper` for any other.
    pub fn holds(&self, p_lower: f64, p_upper: f64) -> bool {
        self.margin(p_lower, p_upper) > 0.0
    }

    /// By how much the worst of class A stays above the worst of any other class; rounded down.
    pub(crate) fn margin(&self, p_lower: f64, p_upper: f64) -> f64 {
        self.margin_of(Masses { rest: complement(p_lower), other: p_upper })
    }

    /// [`margin`](Self::margin) where 1 - p_A is known to more digits than p_A has near 1.
    pub(crate) fn margin_of(&self, masses: Masses) -> f64 {
        let other = self.worst_upper(masses.other);
        if masses.single() {
            // Both worst cases are one number.
            return (1.0 - 2.0 * other).next_down();
        }
        ((1.0 - self.worst_upper(masses.rest)).next_down() - other).next_down()
    }

    /// A lower bound for [`margin`](Self::margin) from two given thresholds, one for class A and one for the
    /// other class: any thresholds are sound, good ones are tight.
    pub(super) fn margin_at(&self, masses: Masses, thresholds: (f64, f64)) -> f64 {
        let total_q = self.total_q();
        let other = self.upper_dual(masses.other, thresholds.1, total_q);
        if masses.single() {
            return (1.0 - 2.0 * other).next_down();
        }
        let own = self.upper_dual(masses.rest, thresholds.0, total_q);
        ((1.0 - own).next_down() - other).next_down()
    }

    /// The dual value for small `p`: Q(L < t) + e^t (p - P(L < t)), less its rounding error.
    fn lower_tail(&self, p: f64) -> f64 {
        if p.is_nan() || p <= self.singular {
            return 0.0;
        }
        let t = self.threshold(|t| to_log(self.below(t).0, p));
        let (below_p, below_q) = self.below(t);
        let slope = t.exp();
        let error = self.rounding_error(p) * (below_q + slope * (p + below_p));
        (below_q + slope * (p - below_p) - error).clamp(0.0, 1.0)
    }

    /// The dual value for a small `rest`, from above, where the products with e^t stay small: the mass that only
    /// Q has, plus Q(L >= t) + e^t (rest - P(L >= t)), and its rounding error.
    fn upper_tail(&self, rest: f64) -> f64 {
        self.upper_dual(rest, self.upper_threshold(rest), self.total_q())
    }

    fn upper_threshold(&self, rest: f64) -> f64 {
        self.threshold(|t| -to_log(self.above(t).0, rest))
    }

    fn total_q(&self) -> f64 {
        self.components.iter().map(Component::weight_q).sum()
    }

    fn upper_dual(&self, rest: f64, t: f64, total_q: f64) -> f64 {
        self.upper_dual_of(rest, t, self.above(t), total_q)
    }

    /// The same, with the probabilities of {L >= t} at hand.
    fn upper_dual_of(&self, rest: f64, t: f64, (above_p, above_q): (f64, f64), total_q: f64) -> f64 {
        let slope = t.exp();
        let own = 1.0 - total_q;
        // Only what is computed by cancellation carries an absolute error.
        let sure = self.components.len() == 1 && self.components.iter().all(|c| c.shift == 0.0);
        let absolute = if own.abs() > 1e-3 || !sure { total_q } else { 0.0 };
        let error = self.rounding_error(rest) * (above_q + slope * (rest + above_p) + absolute);
        (own.max(0.0) + above_q + slope * (rest - above_p) + error).clamp(0.0, 1.0)
    }

    /// Relative error of a sum of tails of mass `q`: of its weights, and of Phi, which grows with the square of its
    /// argument, at most -2 log q where the mass lies (see `normal`).
    fn rounding_error(&self, q: f64) -> f64 {
        (self.rounding + 64.0 - 2.0 * q.clamp(1e-300, 1.0).ln()) * 4.0 * f64::EPSILON
    }

    /// The Neyman-Pearson threshold, nearly: where `gap`, an increasing function of t with the slope of the tail,
    /// changes sign.
    fn threshold(&self, gap: impl Fn(f64) -> f64) -> f64 {
        let (mut low, mut high) = self.support();
        let mut t = 0.5 * (low + high);
        // Sums of a hundred thousand components take hundredths of a second, and callers listen between thresholds only.
        let stop = if self.components.len() > FEW { Stop::current() } else { Stop::default() };
        for _ in 0..200 {
            if stop.is_set() {
                break; // Any threshold gives a bound that holds.
            }
            let value = gap(t);
            if value <= 0.0 {
                low = t;
            } else {
                high = t;
            }
            if high - low <= 1e-15 * (1.0 + low.abs().max(high.abs())) {
                break;
            }
            let step = value / self.slope(t);
            let newton = t - step;
            // Newton where it stays well inside the bracket; jumps at atoms need bisection.
            t = if newton > low && newton < high && step.abs() < 0.5 * (high - low) {
                if step.abs() <= 1e-14 * (1.0 + t.abs()) {
                    return newton;
                }
                newton
            } else {
                0.5 * (low + high)
            };
        }
        // An atom between low and high: everything at it or below is inside, up to its share.
        high
    }

    /// Density of the continuous part of L under P at t.
    fn slope(&self, t: f64) -> f64 {
        let mut sum = 0.0;
        for c in self.components.iter().filter(|c| c.variance > 0.0) {
            let (p, _) = c.standardise(t);
            sum += c.weight * normal::density(p) / c.variance.sqrt();
        }
        sum
    }

    /// An interval outside which L has no mass that matters, under P or Q.
    fn support(&self) -> (f64, f64) {
        if self.components.is_empty() {
            // Nothing in common: any threshold will do.
            return (-1.0, 1.0);
        }
        let mut range = (f64::INFINITY, f64::NEG_INFINITY);
        for c in &self.components {
            let reach = 0.5 * c.variance + 40.0 * c.variance.sqrt();
            range.0 = range.0.min(c.shift - reach);
            range.1 = range.1.max(c.shift + reach);
        }
        // e^t must stay finite; a threshold beyond 700 would be of no use anyway.
        ((range.0 - 1.0).max(-700.0), (range.1 + 1.0).min(700.0))
    }
}

/// 1 - p, rounded up.
fn complement(p: f64) -> f64 {
    if p >= 0.5 {
        // Exact (Sterbenz).
        1.0 - p
    } else {
        (1.0 - p).next_up()
    }
}

/// tail - target as Newton's method likes it, tail log(tail / target): far out, logarithms of tails are nearly
/// straight where the tails themselves are flat.
fn to_log(tail: f64, target: f64) -> f64 {
    if tail > 0.0 && target > 0.0 {
        tail * (tail / target).ln()
    } else {
        tail - target
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;
    use crate::stop::until;

    #[test]
    fn one_normal_has_a_closed_form() {
        for v in [1e-6_f64, 0.04, 1.0, 9.0, 100.0] {
            let ratio = LikelihoodRatio::normal(v);
            for p in [1e-9, 1e-3, 0.2, 0.5, 0.9, 0.999, 1.0 - 1e-9] {
                let z = crate::normal::normal_quantile_lower(p);
                let (low, high) = (normal::cdf(z - v.sqrt()), normal::cdf(z + v.sqrt()));
                let (got_low, got_high) = (ratio.worst_lower(p), ratio.worst_upper(p));
                assert!(got_low <= low * (1.0 + 1e-11) && got_low >= low - 1e-11, "{v} {p}: {got_low} {low}");
                assert!(
                    got_high >= high * (1.0 - 1e-11) && got_high <= high + 1e-11,
                    "{v} {p}: {got_high} {high}"
                );
            }
        }
    }

    #[test]
    fn far_tails_are_reached() {
        // Phi(z + 16) for p = Phi(z): the quantiles of such p are far out, the answer is not.
        for z in [-36.0, -30.0, -20.0, -17.0] {
            let (p, expected) = (normal::cdf(z), normal::cdf(z + 16.0));
            let got = LikelihoodRatio::normal(256.0).worst_upper(p);
            assert!(
                got >= expected * (1.0 - 1e-9) && got <= expected * (1.0 + 1e-9),
                "{z}: {got} {expected}"
            );
        }
    }

    #[test]
    fn a_search_over_many_components_stops_at_a_looser_bound() {
        let n = 300_000;
        let one =
            |i: usize| Component { weight: 1.0 / n as f64, shift: 0.0, variance: 1e-5 * (i + 1) as f64 };
        let shifted = |c: Component| Component { shift: -0.3 * c.variance, ..c };
        let ratio = LikelihoodRatio::from_components((0..n).map(|i| shifted(one(i))).collect());
        let timed = |work: &dyn Fn() -> f64| {
            let start = Instant::now();
            (work(), start.elapsed())
        };
        let (bound, whole) = timed(&|| ratio.worst_upper(0.2));
        let stopped = Arc::new(AtomicBool::new(true));
        let soon = || timed(&|| until(&stopped, || ratio.worst_upper(0.2)));
        let (looser, mut at_once) = soon();
        assert!(looser >= bound && looser <= 1.0, "{looser} {bound}");
        // Whatever else the machine does.
        (0..4).for_each(|_| at_once = at_once.min(soon().1));
        assert!(at_once < whole / 3, "{at_once:?} of {whole:?}");
    }

    #[test]
    fn any_threshold_is_sound() {
        let ratio = LikelihoodRatio::mixture([
            (0.5, LikelihoodRatio::identity()),
            (0.5, LikelihoodRatio::normal(2.0).product(&LikelihoodRatio::categorical(2, 0.8, 3))),
        ]);
        for p in [0.01, 0.4, 0.6, 0.95, 0.9999] {
            let best = ratio.worst_lower(p);
            for t in [-5.0, -1.0, -0.1, 0.0, 0.3, 2.0, 6.0] {
                assert!(1.0 - ratio.upper_dual(1.0 - p, t, 1.0) <= best + 1e-12, "{p} {t}");
            }
        }
    }

    #[test]
    fn atoms_share_their_mass() {
        // One changed bit kept with probability 0.8: L = -l w.p. 0.8, +l w.p. 0.2, l = log 4.
        let ratio = LikelihoodRatio::categorical(1, 0.8, 2);
        for (p, expected) in [(0.4, 0.1), (0.8, 0.2), (0.9, 0.6), (1.0, 1.0)] {
            let got = ratio.worst_lower(p);
            assert!(got <= expected && got > expected - 1e-11, "{p}: {got}");
        }
    }

    #[test]
    fn disjoint_and_identical() {
        assert_eq!(LikelihoodRatio::disjoint().worst_lower(1.0), 0.0);
        let nothing = LikelihoodRatio::disjoint();
        assert_eq!((nothing.worst_lower(0.4), nothing.worst_upper(0.1)), (0.0, 1.0));
        assert!(nothing.margin(0.9, 0.1) <= -1.0);
        let same = LikelihoodRatio::identity();
        assert!((same.worst_lower(0.7) - 0.7).abs() < 1e-13 && same.worst_lower(0.7) <= 0.7);
        assert!(same.holds(0.51, 0.49) && !same.holds(0.5, 0.5));
        assert!(LikelihoodRatio::overlap(0.9).holds(0.95, 0.05));
    }

    #[test]
    fn mass_is_conserved_under_both_laws() {
        let ratio = LikelihoodRatio::categorical(5, 0.7, 4).product(&LikelihoodRatio::normal(0.5));
        let (components, singular) = ratio.parts();
        let q: f64 = components.iter().map(Component::weight_q).sum();
        assert!(singular < 1e-12 && (q - 1.0).abs() < 1e-12, "{singular} {q}");
    }

    #[test]
    fn worse_changes_are_worse() {
        let mut last = 1.0;
        for flips in 0..40 {
            let value = LikelihoodRatio::categorical(flips, 0.8, 2).worst_lower(0.99);
            assert!(value <= last + 1e-12);
            last = value;
        }
        assert!(last < 1e-3);
    }
}
