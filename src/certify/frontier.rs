//! The largest change that a prediction survives: norm for a count of poisoned samples, count for a norm.
//!
//! Both searches rest on one monotone question, `holds`, and return a value at which it was answered yes.
//! Samples with the same p_A and p_B share one search.

use std::collections::HashMap;

use rayon::prelude::*;

use super::budget::Change;
use super::confidence::Interval;
use crate::error::Result;
use crate::law::{DataFacts, Law, LikelihoodRatio};

/// Norms are found to this relative accuracy, from below.
const NORM_TOLERANCE: f64 = 1e-10;

/// A norm beyond this is treated as the search's end; infinity is asked for separately.
const LARGEST_NORM: f64 = 1e15;

/// A search for flips stops here; no p_A below 1 - 1e-300 gets near.
const MOST_FLIPS: usize = 1_000_000;

/// The distinct (p_A, p_B) among samples, and which of them each sample has.
pub(super) struct Distinct {
    pairs: Vec<(f64, f64)>,
    which: Vec<usize>,
}

impl Distinct {
    pub(super) fn of(intervals: &[Interval]) -> Self {
        let mut known = HashMap::new();
        let mut pairs = Vec::new();
        let which = intervals
            .iter()
            .map(|interval| {
                *known.entry((interval.p_lower.to_bits(), interval.p_upper.to_bits())).or_insert_with(|| {
                    pairs.push((interval.p_lower, interval.p_upper));
                    pairs.len() - 1
                })
            })
            .collect();
        Self { pairs, which }
    }

    fn spread<T: Copy>(&self, values: &[T]) -> Vec<T> {
        self.which.iter().map(|at| values[*at]).collect()
    }

    /// Whether each sample's prediction survives `change`.
    pub(super) fn holds(&self, law: &Law, facts: &DataFacts, change: &Change) -> Result<Vec<bool>> {
        let ratio = law.likelihood(change, facts)?;
        let verdicts: Vec<bool> = self.pairs.iter().map(|(a, b)| ratio.holds(*a, *b)).collect();
        Ok(self.spread(&verdicts))
    }

    /// The largest trigger norm that each sample's prediction survives on `n_poisoned` samples; 0 where none.
    pub(super) fn norms(
        &self,
        law: &Law,
        facts: &DataFacts,
        n_poisoned: usize,
        labels: bool,
    ) -> Result<Vec<f64>> {
        let at = |trigger_norm| law.likelihood(&Change { n_poisoned, trigger_norm, labels }, facts);
        let (none, any) = (at(0.0)?, at(f64::INFINITY)?);
        let norms: Result<Vec<f64>> = self
            .pairs
            .par_iter()
            .map(|pair| match (none.holds(pair.0, pair.1), any.holds(pair.0, pair.1)) {
                (false, _) => Ok(0.0),
                (true, true) => Ok(f64::INFINITY),
                (true, false) => largest_norm(|norm| Ok(at(norm)?.margin(pair.0, pair.1))),
            })
            .collect();
        Ok(self.spread(&norms?))
    }

    /// The largest number of poisoned samples that each sample's prediction survives at `trigger_norm`.
    pub(super) fn counts(
        &self,
        law: &Law,
        facts: &DataFacts,
        trigger_norm: f64,
        labels: bool,
    ) -> Result<Vec<usize>> {
        let mut ratios: HashMap<usize, LikelihoodRatio> = HashMap::new();
        let mut holds = |n_poisoned: usize, pair: (f64, f64)| -> Result<bool> {
            if !ratios.contains_key(&n_poisoned) {
                let change = Change { n_poisoned, trigger_norm, labels };
                ratios.insert(n_poisoned, law.likelihood(&change, facts)?);
            }
            Ok(ratios.get(&n_poisoned).is_some_and(|ratio| ratio.holds(pair.0, pair.1)))
        };
        // One sample at least must be asked about, so that an uncovered change is an error, not a zero.
        holds(facts.n_train.min(1), (1.0, 0.0))?;
        let counts: Result<Vec<usize>> =
            self.pairs.iter().map(|pair| largest_count(facts.n_train, |r| holds(r, *pair))).collect();
        Ok(self.spread(&counts?))
    }

    /// The largest number of changed entries that each sample's prediction survives, for a law that counts them.
    pub(super) fn flips(&self, law: &Law, facts: &DataFacts) -> Result<Vec<usize>> {
        let mut ratios: HashMap<usize, LikelihoodRatio> = HashMap::new();
        let mut holds = |flips: usize, pair: (f64, f64)| -> Result<bool> {
            if !ratios.contains_key(&flips) {
                ratios.insert(flips, law.flip_likelihood(flips, facts)?);
            }
            Ok(ratios.get(&flips).is_some_and(|ratio| ratio.holds(pair.0, pair.1)))
        };
        let counts: Result<Vec<usize>> =
            self.pairs.iter().map(|pair| largest_count(MOST_FLIPS, |flips| holds(flips, *pair))).collect();
        Ok(self.spread(&counts?))
    }
}

/// The end of the norms with positive margin: bracketed by doubling, then regula falsi (Illinois) on the
/// margin with bisection as its guard.
fn largest_norm(margin: impl Fn(f64) -> Result<f64>) -> Result<f64> {
    let (mut low, mut low_margin, mut high, mut high_margin) = (0.0, f64::NAN, 1.0, margin(1.0)?);
    while high_margin > 0.0 && high < LARGEST_NORM {
        (low, low_margin) = (high, high_margin);
        high *= 2.0;
        high_margin = margin(high)?;
    }
    while low == 0.0 && high > 1.0 / LARGEST_NORM {
        let half = 0.5 * high;
        let value = margin(half)?;
        if value > 0.0 {
            (low, low_margin) = (half, value);
        } else {
            (high, high_margin) = (half, value);
        }
    }
    let mut stuck = 0;
    while high - low > NORM_TOLERANCE * high {
        let secant = (low * high_margin - high * low_margin) / (high_margin - low_margin);
        let inset = 0.25 * NORM_TOLERANCE * high;
        let middle = if stuck < 3 && secant.is_finite() {
            secant.clamp(low + inset, high - inset)
        } else {
            0.5 * (low + high)
        };
        let value = margin(middle)?;
        let narrow = (high - low) * 0.5;
        if value > 0.0 {
            (low, low_margin) = (middle, value);
            high_margin *= 0.5;
        } else {
            (high, high_margin) = (middle, value);
            low_margin *= 0.5;
        }
        stuck = if high - low > narrow && stuck < 3 { stuck + 1 } else { 0 };
    }
    Ok(low)
}

/// The largest count with a yes, by doubling and bisection.
fn largest_count(most: usize, mut holds: impl FnMut(usize) -> Result<bool>) -> Result<usize> {
    if !holds(0)? {
        return Ok(0);
    }
    let (mut low, mut step) = (0, 1);
    let mut high = loop {
        let next = (low + step).min(most);
        if next == low {
            return Ok(low);
        }
        if !holds(next)? {
            break next;
        }
        low = next;
        step *= 2;
    };
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if holds(middle)? {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn searches_return_the_last_yes() {
        for edge in [1e-6, 0.3, 1.0, 77.7] {
            let found = largest_norm(|t| Ok(edge - t)).unwrap();
            assert!(found < edge && found > edge * (1.0 - 1e-9), "{edge}: {found}");
            let step = largest_norm(|t| Ok(if t < edge { 0.1 } else { -5.0 })).unwrap();
            assert!(step < edge && step > edge * (1.0 - 1e-9), "{edge}: {step}");
        }
        for edge in 0..40 {
            assert_eq!(largest_count(30, |r| Ok(r <= edge)).unwrap(), edge.min(30));
        }
        assert_eq!(largest_count(30, |_| Ok(false)).unwrap(), 0);
    }
}
