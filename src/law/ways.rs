//! A threat's likelihood ratios: one for each way between the received training set and the other one.

use super::{LikelihoodRatio, ManyPairs};
use crate::interval::Masses;

/// What is between two training sets of which the attacker made one, whichever of them was received: the worst of the two.
///
/// A prediction survives where it survives each; a probability is at least the lower of the two lower ends, and at most the
/// higher of the two upper ones.
#[derive(Clone, Debug, PartialEq)]
pub struct BothWays {
    /// One, where the ways do not differ, or two.
    ways: Vec<LikelihoodRatio>,
}

impl From<LikelihoodRatio> for BothWays {
    fn from(ratio: LikelihoodRatio) -> Self {
        Self { ways: vec![ratio] }
    }
}

impl BothWays {
    /// Of no ways at all nothing is certified.
    pub(super) fn of(ways: Vec<LikelihoodRatio>) -> Self {
        if ways.is_empty() {
            return Self::from(LikelihoodRatio::disjoint());
        }
        Self { ways }
    }

    /// The smallest probability that anything of probability at least `p` has in the other set, rounded down.
    pub fn worst_lower(&self, p: f64) -> f64 {
        self.ways.iter().map(|way| way.worst_lower(p)).fold(1.0, f64::min)
    }

    /// The largest probability that anything of probability at most `p` has in the other set, rounded up.
    pub fn worst_upper(&self, p: f64) -> f64 {
        self.ways.iter().map(|way| way.worst_upper(p)).fold(0.0, f64::max)
    }

    /// Whether the prediction survives: class A at least `p_lower` against at most `p_upper` for any other.
    pub fn holds(&self, p_lower: f64, p_upper: f64) -> bool {
        self.ways.iter().all(|way| way.holds(p_lower, p_upper))
    }

    /// By how much the worst of class A stays above the worst of any other class, the less of both ways; rounded down.
    pub(crate) fn margin_of(&self, masses: Masses) -> f64 {
        self.ways.iter().map(|way| way.margin_of(masses)).fold(1.0, f64::min)
    }

    /// The only way, if there is one only.
    pub(crate) fn only(self) -> Option<LikelihoodRatio> {
        <[LikelihoodRatio; 1]>::try_from(self.ways).ok().map(|[only]| only)
    }
}

/// Both ways asked about many pairs (p_A, p_B).
#[derive(Clone, Debug)]
pub(crate) struct ManyWays {
    ways: Vec<ManyPairs>,
}

impl ManyWays {
    pub(crate) fn new(ways: impl Into<BothWays>) -> Self {
        Self { ways: ways.into().ways.into_iter().map(ManyPairs::new).collect() }
    }

    pub(crate) fn holds(&mut self, masses: Masses) -> bool {
        self.ways.iter_mut().all(|way| way.holds(masses))
    }
}
