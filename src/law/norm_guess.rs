//! Where a certificate ends, guessed fast and then checked by the engine.
//!
//! For laws whose changes enter L only through variances that grow with norm^2 (Gaussian noise, alone, beside
//! label noise or inside a subsample), L at the norm x, in units of the noise, is a mixture of normals
//! a_j + N(-h_j x^2/2, h_j x^2) and one atom at 0. With a = 1 - p_A, b = p_B and
//!
//! ```text
//! D_q(x) = min over s of  own + Q(L >= s) + e^s (q - P(L >= s)),
//! ```
//!
//! the largest norm is the x with D_a(x) + D_b(x) = 1. Both minima and the norm are found together by Newton's method:
//! D has the s-derivative e^s (q - P), which vanishes at the minimum, and the x-derivative e^s V with
//! V = sum w_j sqrt(h_j) phi(z_j), since a component's densities under P and Q at s differ by the factor e^s.
//!
//! Nothing here is trusted: the guess, a little smaller, counts only when the engine's own sum, with its rounding
//! error, confirms it at the thresholds found. Whatever Newton's method does not find is searched for slowly.

use super::{DataFacts, Law, LikelihoodRatio, NoiseLaw};
use crate::change::Threat;
use crate::interval::Masses;
use crate::normal;

/// A normal part of L at the norm x: weight w under P and w e^a under Q, mean a - (root x)^2/2, deviation root x.
#[derive(Clone, Copy, Debug)]
struct Part {
    weight: f64,
    weight_q: f64,
    shift: f64,
    root: f64,
    inverse_root: f64,
}

/// The likelihood ratio of a law at every norm, for fixed numbers of poisoned samples.
#[derive(Clone, Debug)]
pub(crate) struct RatioByNorm {
    unit: LikelihoodRatio,
    norm_unit: f64,
    parts: Vec<Part>,
    /// Q-mass on which P has none (or next to none).
    own: f64,
    /// Weight of the atom at L = 0.
    pinned: f64,
}

/// Components lighter than this share of the smallest q, under both P and Q, are left out: P-mass w above a threshold
/// counts for e^s w <= w / q.
const LIGHT: f64 = 1e-10;

/// Newton's method has converged when the next step would be below the square of this.
const CLOSE_NORM: f64 = 5e-5;
const CLOSE_THRESHOLD: f64 = 1e-3;

/// Steps of Newton's method before a pair is left to the slow search.
const MOST_STEPS: usize = 60;

/// How far below the guess the engine is asked, relatively.
const BELOW: [f64; 3] = [3e-9, 3e-8, 3e-7];

impl RatioByNorm {
    /// `None` for a law whose L depends on the norm in another way. `smallest` is the least of 1 - p_A and p_B
    /// among the pairs that will be asked about.
    pub(crate) fn of(law: &Law, facts: &DataFacts, threat: &Threat, smallest: f64) -> Option<Self> {
        let norm_unit = law.norm_unit()?;
        // Where the ways differ, the slow search asks both.
        let unit = law.against(threat.with_norm(norm_unit), facts).ok()?.only()?.without(LIGHT * smallest);
        let mut new = Self { norm_unit, parts: Vec::new(), own: 1.0, pinned: 0.0, unit };
        for c in new.unit.parts().0 {
            let weight_q = c.weight_q();
            let root = c.variance.sqrt();
            if c.variance > 0.0 {
                let (weight, shift) = (c.weight, c.shift);
                new.parts.push(Part { weight, weight_q, shift, root, inverse_root: root.recip() });
            } else if c.shift == 0.0 {
                new.pinned += c.weight;
            } else {
                return None;
            }
            new.own -= weight_q;
        }
        new.own = new.own.max(0.0);
        Some(new)
    }

    /// P(L >= s) and Q(L >= s) of the normal parts, and their derivatives.
    fn sums(&self, x: f64, s: f64) -> Sums {
        let (slope, inverse_x) = (s.exp(), x.recip());
        let mut sums = Sums { above_p: 0.0, above_q: 0.0, density: 0.0, spread: 0.0, drift: 0.0 };
        for part in &self.parts {
            let sd = part.root * x;
            let offset = (s - part.shift) * part.inverse_root * inverse_x;
            let (z_p, z_q) = (offset + 0.5 * sd, offset - 0.5 * sd);
            let bulk = part.weight * normal::density(z_p);
            let (tail_p, tail_q) = (bulk * normal::mills(z_p.abs()), slope * bulk * normal::mills(z_q.abs()));
            sums.above_p += if z_p >= 0.0 { tail_p } else { part.weight - tail_p };
            sums.above_q += if z_q >= 0.0 { tail_q } else { part.weight_q - tail_q };
            sums.density += bulk * part.inverse_root;
            sums.spread += bulk * part.root;
            sums.drift += bulk * (offset * inverse_x - 0.5 * part.root);
        }
        sums.density *= inverse_x;
        sums
    }

    fn side(&self, x: f64, s: f64) -> Side {
        Side { s, sums: self.sums(x, s) }
    }

    /// D_q, its x-derivative, and Newton's step for the threshold at this x.
    fn dual(&self, side: &Side, q: f64) -> Dual {
        let Side { s, sums } = side;
        let with_atom = sums.above_p + self.pinned;
        // At the atom, the threshold may lie on either side of it, or stay.
        let above_p = if *s < 0.0 || (*s == 0.0 && q > with_atom) { with_atom } else { sums.above_p };
        let stays = *s == 0.0 && q >= sums.above_p && q <= with_atom;
        let step = if stays { 0.0 } else { above_p / sums.density * (above_p / q).ln() };
        let step = if step.is_nan() {
            if above_p > q {
                1.0
            } else {
                -1.0
            }
        } else {
            step.clamp(-1.0, 1.0)
        };
        let slope = s.exp();
        let above_q = sums.above_q + (above_p - sums.above_p);
        let value = self.own + above_q + slope * (q - above_p) - 0.5 * slope * (above_p - q) * step;
        Dual {
            value,
            spread: slope * sums.spread,
            step,
            drift: if stays { 0.0 } else { sums.drift / sums.density },
        }
    }

    /// The threshold moved by a step; it stops at the atom rather than jump over it.
    fn moved(&self, s: f64, step: f64) -> f64 {
        if self.pinned > 0.0 && s * (s + step) < 0.0 {
            0.0
        } else {
            s + step
        }
    }

    /// One step of Newton's method from an evaluated place: the new norm and thresholds, and whether it is the last.
    fn step(&self, at: &Place, target: &Target) -> Option<(f64, f64, f64, bool)> {
        let other = self.dual(&at.other, target.q_other);
        let own = if target.single { other } else { self.dual(&at.own, target.q_own) };
        let change = (1.0 - own.value - other.value) / (own.spread + other.spread);
        if !change.is_finite() {
            return None;
        }
        let change = change.clamp(-0.5 * at.x, at.x);
        let shift = |dual: &Dual| (dual.step + dual.drift * change).clamp(-1.0, 1.0);
        let (shift_own, shift_other) = (shift(&own), shift(&other));
        let last =
            change.abs() < CLOSE_NORM * at.x && shift_own.abs().max(shift_other.abs()) < CLOSE_THRESHOLD;
        Some((at.x + change, self.moved(at.own.s, shift_own), self.moved(at.other.s, shift_other), last))
    }

    fn place(&self, x: f64, s_own: f64, s_other: f64, single: bool) -> Place {
        let other = self.side(x, s_other);
        Place { x, own: if single { other } else { self.side(x, s_own) }, other }
    }

    /// The engine's verdict at a norm.
    fn confirms(&self, norm: f64, pair: Masses, thresholds: (f64, f64)) -> bool {
        self.unit.scaled(norm / self.norm_unit).margin_at(pair, thresholds) > 0.0
    }
}

/// Sums over the normal parts at (x, s): P(L >= s), Q(L >= s), -dP/ds, e^-s dD/dx, dP/dx.
#[derive(Clone, Copy, Debug)]
struct Sums {
    above_p: f64,
    above_q: f64,
    density: f64,
    spread: f64,
    drift: f64,
}

#[derive(Clone, Copy, Debug)]
struct Side {
    s: f64,
    sums: Sums,
}

#[derive(Clone, Copy, Debug)]
struct Dual {
    value: f64,
    spread: f64,
    step: f64,
    drift: f64,
}

/// A norm and two thresholds with everything evaluated there.
#[derive(Clone, Copy, Debug)]
struct Place {
    x: f64,
    own: Side,
    other: Side,
}

/// What is asked of a place: D_a + D_b = 1, or D_b = 1/2 where p_B = 1 - p_A.
#[derive(Clone, Copy, Debug)]
struct Target {
    q_own: f64,
    q_other: f64,
    single: bool,
}

/// Walks from pair to pair; neighbours should be alike.
#[derive(Clone, Debug)]
pub(crate) struct NormGuide<'a> {
    ratio: &'a RatioByNorm,
    last: Option<Place>,
}

impl<'a> NormGuide<'a> {
    pub(crate) fn new(ratio: &'a RatioByNorm) -> Self {
        Self { ratio, last: None }
    }

    /// A norm at which the pair is certified, within 1e-6 of the largest; `None` where it was not found.
    pub(crate) fn norm(&mut self, pair: Masses) -> Option<f64> {
        let target = Target { q_own: pair.rest, q_other: pair.other, single: pair.single() };
        let warm = self.last.take().and_then(|place| self.follow(place, &target));
        let (x, s_own, s_other) = match warm {
            Some(found) => found,
            None => self.follow(self.ratio.place(1.0, 0.5, 0.5, false), &target)?,
        };
        BELOW
            .iter()
            .map(|below| x * (1.0 - below) * self.ratio.norm_unit)
            .find(|norm| *norm > 0.0 && self.ratio.confirms(*norm, pair, (s_own, s_other)))
    }

    /// Newton's method from a place; the last evaluated place is kept for the next pair.
    fn follow(&mut self, mut place: Place, target: &Target) -> Option<(f64, f64, f64)> {
        for _ in 0..MOST_STEPS {
            let (x, s_own, s_other, last) = self.ratio.step(&place, target)?;
            if last {
                self.last = Some(place);
                return Some((x, s_own, s_other));
            }
            place = self.ratio.place(x, s_own, s_other, target.single);
        }
        None
    }
}
