//! The largest change that a prediction survives: norm for a count of poisoned samples, count for a norm.
//!
//! Both searches rest on one monotone question, `holds`, and return a value at which it was answered yes.
//! Samples with the same p_A and p_B share one search.

use std::collections::hash_map::Entry;
use std::collections::HashMap;

use rayon::prelude::*;

use super::budget::Change;
use super::confidence::Interval;
use crate::error::Result;
use crate::law::{DataFacts, Edges, Guide, Law, LikelihoodRatio, ManyPairs};

/// Norms are found to this relative accuracy, from below.
const NORM_TOLERANCE: f64 = 1e-10;

/// A norm beyond this is treated as the search's end; infinity is asked for separately.
const LARGEST_NORM: f64 = 1e15;

/// Distinct pairs searched one after another, each search starting where the last one ended.
const CHUNK: usize = 256;
const COUNT_CHUNK: usize = 1024;

/// A search for flips stops here; no p_A below 1 - 1e-300 gets near.
const MOST_FLIPS: usize = 1_000_000;

/// The distinct (p_A, p_B) among samples, and which of them each sample has.
pub(super) struct Distinct {
    pairs: Vec<(f64, f64)>,
    which: Vec<usize>,
}

impl Distinct {
    pub(super) fn of(intervals: &[Interval]) -> Self {
        let key = |interval: &Interval| (interval.p_lower.to_bits(), interval.p_upper.to_bits());
        let mut keys: Vec<(u64, u64)> = intervals.iter().map(key).collect();
        // Probabilities are not negative, so their bits are ordered as they are.
        keys.sort_unstable();
        keys.dedup();
        // To and fro in p_B, so that neighbours are alike and a search can start where the last one ended.
        let rows = keys.chunk_by_mut(|left, right| left.0 == right.0);
        rows.skip(1).step_by(2).for_each(<[_]>::reverse);
        let known: HashMap<(u64, u64), usize> = keys.iter().enumerate().map(|(at, key)| (*key, at)).collect();
        let which = intervals.iter().map(|interval| known.get(&key(interval)).copied().unwrap_or(0)).collect();
        let pairs = keys.iter().map(|(a, b)| (f64::from_bits(*a), f64::from_bits(*b))).collect();
        Self { pairs, which }
    }

    fn spread<T: Copy>(&self, values: &[T]) -> Vec<T> {
        self.which.iter().map(|at| values[*at]).collect()
    }

    /// Whether each sample's prediction survives `change`.
    pub(super) fn holds(&self, law: &Law, facts: &DataFacts, change: &Change) -> Result<Vec<bool>> {
        let mut ratio = ManyPairs::new(law.likelihood(change, facts)?);
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
        let (none, any) = (ManyPairs::new(at(0.0)?), ManyPairs::new(at(f64::INFINITY)?));
        let edges = Edges::of(law, facts, n_poisoned, labels);
        let search = |chunk: &[(f64, f64)]| -> Result<Vec<f64>> {
            let (mut none, mut any) = (none.clone(), any.clone());
            let mut guide = edges.as_ref().map(Guide::new);
            let norm = |pair: &(f64, f64)| {
                if !none.holds(pair.0, pair.1) {
                    Ok(0.0)
                } else if any.holds(pair.0, pair.1) {
                    Ok(f64::INFINITY)
                } else if let Some(norm) = guide.as_mut().and_then(|guide| guide.norm(*pair)) {
                    Ok(norm)
                } else {
                    largest_norm(|norm| Ok(at(norm)?.margin(pair.0, pair.1)))
                }
            };
            chunk.iter().map(norm).collect()
        };
        let norms: Result<Vec<Vec<f64>>> = self.pairs.par_chunks(CHUNK).map(search).collect();
        Ok(self.spread(&norms?.concat()))
    }

    /// The largest number of poisoned samples that each sample's prediction survives at `trigger_norm`.
    pub(super) fn counts(
        &self,
        law: &Law,
        facts: &DataFacts,
        trigger_norm: f64,
        labels: bool,
    ) -> Result<Vec<usize>> {
        let at = |n_poisoned| law.likelihood(&Change { n_poisoned, trigger_norm, labels }, facts);
        // One sample at least must be asked about, so that an uncovered change is an error, not a zero.
        at(facts.n_train.min(1))?;
        self.largest_counts(facts.n_train, at)
    }

    /// The largest number of changed entries that each sample's prediction survives, for a law that counts them.
    pub(super) fn flips(&self, law: &Law, facts: &DataFacts) -> Result<Vec<usize>> {
        self.largest_counts(MOST_FLIPS, |flips| law.flip_likelihood(flips, facts))
    }

    /// The largest count up to `most` that each sample survives; each count's ratio is built once a chunk.
    fn largest_counts(
        &self,
        most: usize,
        at: impl Fn(usize) -> Result<LikelihoodRatio> + Sync,
    ) -> Result<Vec<usize>> {
        let search = |chunk: &[(f64, f64)]| -> Result<Vec<usize>> {
            let mut known: HashMap<usize, ManyPairs> = HashMap::new();
            let mut holds = |count: usize, pair: &(f64, f64)| -> Result<bool> {
                Ok(match known.entry(count) {
                    Entry::Occupied(ratio) => ratio.into_mut().holds(pair.0, pair.1),
                    Entry::Vacant(free) => free.insert(ManyPairs::new(at(count)?)).holds(pair.0, pair.1),
                })
            };
            let mut start = 0;
            chunk
                .iter()
                .map(|pair| {
                    start = largest_count(start, most, |count| holds(count, pair))?;
                    Ok(start)
                })
                .collect()
        };
        let counts: Result<Vec<Vec<usize>>> = self.pairs.par_chunks(COUNT_CHUNK).map(search).collect();
        Ok(self.spread(&counts?.concat()))
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

/// The largest count with a yes, 0 if there is none: strides doubled away from `start`, then bisection.
fn largest_count(start: usize, most: usize, mut holds: impl FnMut(usize) -> Result<bool>) -> Result<usize> {
    let (mut low, mut high, mut stride) = (0, most + 1, 1_usize);
    let mut probe = start.clamp(1, most.max(1));
    while high - low > 1 {
        if holds(probe)? {
            low = probe;
        } else {
            high = probe;
        }
        probe = if high > most {
            low.saturating_add(stride).min(most)
        } else if low == 0 {
            high.saturating_sub(stride).max(1)
        } else {
            low + (high - low) / 2
        };
        stride = stride.saturating_mul(2);
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
            for start in [0, 1, 17, 30, 99] {
                assert_eq!(largest_count(start, 30, |r| Ok(r <= edge)).unwrap(), edge.min(30));
            }
        }
        assert_eq!(largest_count(7, 30, |_| Ok(false)).unwrap(), 0);
        assert_eq!(largest_count(0, 0, |_| Ok(true)).unwrap(), 0);
    }
}
