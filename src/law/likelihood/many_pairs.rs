//! One likelihood ratio and many pairs of bounds: the curve of the worst case, enclosed by chords and tangents.

use super::{Component, LikelihoodRatio};
use crate::interval::Masses;

/// One ratio asked about many pairs (p_A, p_B).
///
/// The largest Q-probability as a function of the P-probability q is concave: every threshold t gives a point
/// (P(L >= t), Q(L >= t)) on the curve and a tangent of slope e^t above it. Tangents answer yes, chords answer no,
/// and only a pair between the two has its own thresholds sought, which refines the curve there.
#[derive(Clone, Debug)]
pub(crate) struct ManyPairs {
    ratio: LikelihoodRatio,
    total_q: f64,
    /// Ordered by threshold, so that the probabilities fall.
    points: Vec<Point>,
    /// All places of a ratio that has atoms only, if they are many.
    ladder: Option<Ladder>,
}

/// Many atoms, from the largest down, with the probabilities of {L >= t} at each: the Neyman-Pearson threshold is found by
/// bisection.
#[derive(Clone, Debug)]
struct Ladder {
    points: Vec<Point>,
}

/// More atoms than this are put on a ladder.
const FEW_ATOMS: usize = 32;

impl Ladder {
    fn of(ratio: &LikelihoodRatio) -> Option<Self> {
        let atoms = &ratio.components;
        if atoms.len() <= FEW_ATOMS || atoms.iter().any(|atom| atom.variance > 0.0) {
            return None;
        }
        let mut atoms: Vec<&Component> = atoms.iter().filter(|atom| atom.shift.abs() <= 700.0).collect();
        atoms.sort_unstable_by(|a, b| b.shift.total_cmp(&a.shift));
        let mut above = (0.0, 0.0);
        let points = atoms.into_iter().map(|atom| {
            above = (above.0 + atom.weight, above.1 + atom.weight_q());
            Point { threshold: atom.shift, above }
        });
        Some(Self { points: points.collect() })
    }

    /// The atom at which P(L > t) <= q <= P(L >= t), or the last one.
    fn at(&self, q: f64) -> Option<&Point> {
        let at = self.points.partition_point(|point| point.above.0 < q);
        self.points.get(at).or_else(|| self.points.last())
    }
}

#[derive(Clone, Copy, Debug)]
struct Point {
    threshold: f64,
    above: (f64, f64),
}

/// Half the distance of the two points put around a threshold, so that an atom at it lies on a chord.
const ATOM_WIDTH: f64 = 1e-9;

/// A no by chords needs at least this: far more than the rounding error of the points.
const CLEAR_NO: f64 = 1e-9;

impl ManyPairs {
    pub(crate) fn new(ratio: LikelihoodRatio) -> Self {
        let total_q = ratio.total_q();
        let ladder = Ladder::of(&ratio);
        let mut new = Self { ratio, total_q, points: Vec::new(), ladder };
        if new.ladder.is_some() {
            return new;
        }
        let (low, high) = new.ratio.support();
        if low < high {
            new.insert(low);
            new.insert(high);
        }
        new
    }

    /// [`LikelihoodRatio::holds`], with the same answer up to rounding.
    pub(crate) fn holds(&mut self, masses: Masses) -> bool {
        if let Some(ladder) = &self.ladder {
            let worst = |q: f64| match ladder.at(q) {
                Some(point) => self.ratio.upper_dual_of(q, point.threshold, point.above, self.total_q),
                None => 1.0,
            };
            let own = 1.0 - worst(masses.rest);
            return (own.next_down() - worst(masses.other)).next_down() > 0.0;
        }
        let other = self.enclose(masses.other);
        let single = masses.single();
        let own = if single { other } else { self.enclose(masses.rest) };
        if ((1.0 - own.1).next_down() - other.1).next_down() > 0.0 {
            return true;
        }
        if own.0 + other.0 > 1.0 + CLEAR_NO {
            return false;
        }
        self.refine(masses.other);
        if !single {
            self.refine(masses.rest);
        }
        self.ratio.margin_of(masses) > 0.0
    }

    /// Bounds of the curve at q: a chord below it, tangents above it.
    fn enclose(&self, q: f64) -> (f64, f64) {
        let at = self.points.partition_point(|point| point.above.0 > q);
        let own = (1.0 - self.total_q).max(0.0);
        let right = self.points.get(at);
        let left = at.checked_sub(1).and_then(|at| self.points.get(at));
        let upper = [left, right]
            .into_iter()
            .flatten()
            .map(|point| self.ratio.upper_dual_of(q, point.threshold, point.above, self.total_q))
            .fold(1.0, f64::min);
        let lower = match (left, right) {
            (Some(left), Some(right)) => {
                let share = (q - right.above.0) / (left.above.0 - right.above.0);
                own + right.above.1 + share * (left.above.1 - right.above.1)
            }
            (None, Some(right)) => own + right.above.1,
            _ => 0.0,
        };
        (lower, upper)
    }

    fn refine(&mut self, q: f64) {
        let threshold = self.ratio.upper_threshold(q);
        let width = ATOM_WIDTH * (1.0 + threshold.abs());
        self.insert(threshold - width);
        self.insert(threshold + width);
    }

    fn insert(&mut self, threshold: f64) {
        let above = self.ratio.above(threshold);
        let at = self.points.partition_point(|point| point.threshold < threshold);
        self.points.insert(at, Point { threshold, above });
    }
}
