//! What is known of one sample: its class, and the probabilities behind it as a law's proof reads them.

use serde::{Deserialize, Serialize};

/// One sample's class and what is known of the probabilities behind it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The predicted class.
    pub prediction: usize,
    /// Lower bound for the class's probability.
    pub p_lower: f64,
    /// Upper bound for every other class's probability.
    pub p_upper: f64,
    /// Upper bound for the probability of all other classes together: 1 - `p_lower`, but accurate where
    /// `p_lower` is so close to 1 that the difference is lost.
    pub rest: f64,
}

impl Interval {
    /// An interval in which nothing is known beyond the two bounds; `p_upper` may be any upper bound, 1 included.
    pub fn new(prediction: usize, p_lower: f64, p_upper: f64) -> Self {
        // Exact from 1/2 on (Sterbenz), rounded up below.
        let rest = if p_lower >= 0.5 { 1.0 - p_lower } else { (1.0 - p_lower).next_up().min(1.0) };
        Self { prediction, p_lower, p_upper: p_upper.min(rest), rest }
    }

    /// What the likelihood-ratio engine reads: the mass of all other classes, not p_A, which has fewer digits.
    pub(crate) fn masses(&self) -> Masses {
        Masses { rest: self.rest, other: self.p_upper }
    }

    /// Whether no class could be certified, not even against no change at all.
    pub fn abstained(&self) -> bool {
        self.p_lower <= self.p_upper
    }
}

/// What is asked of a ratio: class A has all but `rest`, any other class at most `other`.
///
/// 1 - p_A rather than p_A: where p_A rounds to 1, its distance from 1 still has all its digits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Masses {
    /// Upper bound for 1 - p_A.
    pub(crate) rest: f64,
    /// Upper bound for p_B.
    pub(crate) other: f64,
}

impl Masses {
    /// Whether p_B is 1 - p_A, rounded up.
    pub(crate) fn single(self) -> bool {
        let Self { rest, other } = self;
        rest <= 0.5 && other >= rest && other <= rest + 4.0 * f64::EPSILON * rest
    }
}
