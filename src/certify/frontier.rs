//! The largest change that a prediction survives: norm for a count of poisoned samples, count for a norm.
//!
//! Both searches rest on one monotone question, `holds`, and return a value at which it was answered yes.
//! Samples with the same 1 - p_A and p_B share one search.

use std::collections::hash_map::Entry;
use std::collections::HashMap;

use rayon::prelude::*;

use crate::change::{Counted, Kind, Threat};
use crate::error::Result;
use crate::interval::{Interval, Masses};
use crate::law::{BothWays, DataFacts, Law, ManyWays, NormGuide, RatioByNorm};
use crate::normal::normal_quantile_upper;
use crate::process::install_each;
use crate::stop::Stop;

/// Norms are found to this relative accuracy, from below.
const NORM_TOLERANCE: f64 = 1e-10;

/// A norm beyond this is treated as the search's end; infinity is asked for separately.
const LARGEST_NORM: f64 = 1e15;

/// Pairs between two looks at the flag that stops work, where each takes a fraction of a millisecond at most.
const LOOK: usize = 64;

/// Distinct pairs searched one after another, each search starting where the last one ended.
const CHUNK: usize = 256;
const COUNT_CHUNK: usize = 1024;

/// A search for flips stops here, or at the number of entries that there are.
const MOST_FLIPS: usize = 1_000_000;

/// A search for inserted or deleted samples stops here.
const MOST_INSERTED: usize = 1 << 36;

/// So many flips are worth a guess.
const FEW_FLIPS: f64 = 64.0;

/// The distinct (1 - p_A, p_B) among samples, and which of them each sample has.
pub(super) struct Distinct {
    pairs: Vec<Masses>,
    which: Vec<usize>,
}

impl Distinct {
    pub(super) fn of(intervals: &[Interval]) -> Self {
        let key = |interval: &Interval| (interval.rest.to_bits(), interval.p_upper.to_bits());
        let mut keys: Vec<(u64, u64)> = intervals.iter().map(key).collect();
        // Probabilities are not negative, so their bits are ordered as they are.
        keys.sort_unstable();
        keys.dedup();
        // To and fro in p_B, so that neighbours are alike and a search can start where the last one ended.
        let rows = keys.chunk_by_mut(|left, right| left.0 == right.0);
        rows.skip(1).step_by(2).for_each(<[_]>::reverse);
        let known: HashMap<(u64, u64), usize> = keys.iter().enumerate().map(|(at, key)| (*key, at)).collect();
        let which =
            intervals.iter().map(|interval| known.get(&key(interval)).copied().unwrap_or(0)).collect();
        let masses = |(rest, other): &(u64, u64)| Masses {
            rest: f64::from_bits(*rest),
            other: f64::from_bits(*other),
        };
        let pairs = keys.iter().map(masses).collect();
        Self { pairs, which }
    }

    /// The least of 1 - p_A and p_B.
    fn smallest(&self) -> f64 {
        self.pairs.iter().map(|pair| pair.other.min(pair.rest)).fold(1.0, f64::min)
    }

    fn spread<T: Copy>(&self, values: &[T]) -> Vec<T> {
        self.which.iter().map(|at| values[*at]).collect()
    }

    /// Whether each sample's prediction survives `threat`.
    pub(super) fn holds(&self, law: &Law, facts: &DataFacts, threat: &Threat) -> Result<Vec<bool>> {
        let mut ratio = ManyWays::new(law.against(threat, facts)?);
        let (mut verdicts, stop) = (Vec::with_capacity(self.pairs.len()), Stop::current());
        for some in self.pairs.chunks(LOOK) {
            stop.check()?;
            verdicts.extend(some.iter().map(|pair| ratio.holds(*pair)));
        }
        Ok(self.spread(&verdicts))
    }

    /// The largest trigger norm that each sample's prediction survives, whatever else `threat` says; 0 where none.
    pub(super) fn norms(&self, law: &Law, facts: &DataFacts, threat: &Threat) -> Result<Vec<f64>> {
        let stop = Stop::current();
        let at = |trigger_norm| {
            stop.check()?;
            law.against(threat.with_norm(trigger_norm), facts)
        };
        let (none, any) = (ManyWays::new(at(0.0)?), ManyWays::new(at(f64::INFINITY)?));
        let ratio = RatioByNorm::of(law, facts, threat, self.smallest());
        let search = |(): &mut (), chunk: &[Masses]| -> Result<Vec<f64>> {
            let (mut none, mut any) = (none.clone(), any.clone());
            let mut guide = ratio.as_ref().map(NormGuide::new);
            let norm = |pair: &Masses| {
                stop.check()?;
                if !none.holds(*pair) {
                    Ok(0.0)
                } else if any.holds(*pair) {
                    Ok(f64::INFINITY)
                } else if let Some(norm) = guide.as_mut().and_then(|guide| guide.norm(*pair)) {
                    Ok(norm)
                } else {
                    largest_norm(|norm| Ok(at(norm)?.margin_of(*pair)))
                }
            };
            chunk.iter().map(norm).collect()
        };
        let norms = install_each(self.pairs.par_chunks(CHUNK), || (), search)?;
        Ok(self.spread(&norms.concat()))
    }

    /// The largest number that each sample's prediction survives, whatever else `threat` says.
    pub(super) fn counts(&self, law: &Law, facts: &DataFacts, threat: &Threat) -> Result<Vec<usize>> {
        let at = |n_poisoned| law.against(threat.at(n_poisoned), facts);
        self.largest_counts(most(threat, facts), at, |_, last| last)
    }

    /// The largest number of changed entries that each sample's prediction survives, for a law that counts them.
    pub(super) fn flips(&self, law: &Law, facts: &DataFacts) -> Result<Vec<usize>> {
        let most = law.entries(facts).map_or(MOST_FLIPS, |entries| entries.min(MOST_FLIPS));
        // Many flips that are hard to tell are nearly one normal: L = N(-v/2, v), which ends where sqrt(v) = rho.
        let variance = law.flip_variance(facts).filter(|v| *v > 0.0);
        let guess = |pair: &Masses, last: usize| {
            let rho = -0.5 * (normal_quantile_upper(pair.rest) + normal_quantile_upper(pair.other));
            match variance.map(|variance| rho * rho / variance) {
                Some(flips) if rho > 0.0 && flips > FEW_FLIPS && flips.is_finite() => flips as usize,
                _ => last,
            }
        };
        self.largest_counts(most, |flips| law.flip_likelihood(flips, facts).map(BothWays::from), guess)
    }

    /// The largest count up to `most` that each sample survives; each count's ratio is built once a chunk. A search begins
    /// at a guess from the pair and from the last pair's answer.
    fn largest_counts(
        &self,
        most: usize,
        at: impl Fn(usize) -> Result<BothWays> + Sync,
        guess: impl Fn(&Masses, usize) -> usize + Sync,
    ) -> Result<Vec<usize>> {
        let stop = Stop::current();
        let search = |(): &mut (), chunk: &[Masses]| -> Result<Vec<usize>> {
            let mut known: HashMap<usize, ManyWays> = HashMap::new();
            let mut holds = |count: usize, pair: &Masses| -> Result<bool> {
                stop.check()?;
                Ok(match known.entry(count) {
                    Entry::Occupied(ratio) => ratio.into_mut().holds(*pair),
                    Entry::Vacant(free) => free.insert(ManyWays::new(at(count)?)).holds(*pair),
                })
            };
            let mut start = 0;
            chunk
                .iter()
                .map(|pair| {
                    start = largest_count(guess(pair, start), most, |count| holds(count, pair))?;
                    Ok(start)
                })
                .collect()
        };
        let counts = install_each(self.pairs.par_chunks(COUNT_CHUNK), || (), search)?;
        Ok(self.spread(&counts.concat()))
    }
}

/// Where a search for the largest number of `threat` ends: nobody can change more samples than there are, but anybody can add
/// them, or have removed them before.
pub(super) fn most(threat: &Threat, facts: &DataFacts) -> usize {
    match (threat.kind, threat.counted) {
        (Kind::Inserted | Kind::Deleted, _) | (Kind::Any, Counted::SymmetricDifference) => MOST_INSERTED,
        (Kind::Modified, Counted::SymmetricDifference) => facts.n_train.saturating_mul(2).saturating_add(1),
        _ => facts.n_train,
    }
}

/// The end of the norms with positive margin: bracketed by doubling, then regula falsi (Illinois) on the
/// margin with bisection as its guard.
pub(super) fn largest_norm(margin: impl Fn(f64) -> Result<f64>) -> Result<f64> {
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
    if low == 0.0 {
        // No norm at all, as under a law that leaves features alone.
        return Ok(0.0);
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
pub(super) fn largest_count(
    start: usize,
    most: usize,
    mut holds: impl FnMut(usize) -> Result<bool>,
) -> Result<usize> {
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
    use rand::{Rng, RngExt};

    use super::*;
    use crate::change::Change;
    use crate::law::{Gaussian, LabelNoise, LikelihoodRatio, Product, Subsample};
    use crate::seed::{Role, Seed};

    fn laws() -> Vec<(Law, bool)> {
        let noise = || Law::Gaussian(Gaussian::new(0.7).unwrap());
        let both = |q| {
            let labels = Law::LabelNoise(LabelNoise::new(q).unwrap());
            Law::Product(Product::new(noise(), labels).unwrap())
        };
        let inside = |law, size| Law::Subsample(Subsample::new(Some(law), size).unwrap());
        vec![
            (noise(), false),
            (both(0.2), false),
            (both(0.2), true),
            (inside(noise(), 30), false),
            (inside(noise(), 30), true),
            (inside(noise(), 200), false),
            (inside(both(0.3), 20), true),
            (inside(both(0.0), 20), true),
            (inside(Law::LabelNoise(LabelNoise::new(0.2).unwrap()), 20), false),
            (Law::Subsample(Subsample::new(None, 20).unwrap()), true),
        ]
    }

    /// Pairs as two, several and very many votes make them, certified or not.
    fn pairs(rng: &mut impl Rng, ends: bool) -> Vec<Interval> {
        let mut pairs = vec![(0.5, 0.5), (0.3, 0.3)];
        if ends {
            pairs.extend([(1.0, 0.0), (1.0, f64::MIN_POSITIVE), (0.9, 0.0), (0.9, 1e-9)]);
        }
        for _ in 0..8 {
            let tail: f64 = 10_f64.powf(-12.0 * rng.random::<f64>().powi(3));
            let p_lower = 1.0 - 0.6 * tail;
            let rest = 1.0 - p_lower;
            pairs.push((p_lower, rest.next_up()));
            pairs.push((p_lower, rest * rng.random::<f64>()));
            let low = 0.05 + 0.45 * rng.random::<f64>();
            pairs.push((low, low * rng.random::<f64>()));
            pairs.push((low, 1.0 - low));
        }
        pairs.iter().map(|(a, b)| Interval::new(0, *a, *b)).collect()
    }

    #[test]
    fn the_guided_search_agrees_with_the_plain_one() {
        let mut rng = Seed::new(3).stream(Role::Noise, 0, 0);
        let mut finite = 0;
        for (law, labels) in laws() {
            for (n_classes, n_poisoned) in [(2, 0), (2, 1), (2, 40), (10, 7)] {
                let facts = DataFacts { n_train: 1000, n_features: None, n_classes };
                let at = |trigger_norm| law.likelihood(Change { n_poisoned, trigger_norm, labels }, &facts);
                if at(1.0).is_err() {
                    continue;
                }
                let intervals = pairs(&mut rng, n_poisoned == 40);
                let got = {
                    let change = Change { n_poisoned, trigger_norm: 0.0, labels };
                    Distinct::of(&intervals).norms(&law, &facts, &change.into()).unwrap()
                };
                let (none, any) = (at(0.0).unwrap(), at(f64::INFINITY).unwrap());
                for (interval, got) in intervals.iter().zip(got) {
                    let (a, b) = (interval.p_lower, interval.p_upper);
                    let plain = match (none.holds(a, b), any.holds(a, b)) {
                        (false, _) => 0.0,
                        (true, true) => f64::INFINITY,
                        _ => largest_norm(|norm| Ok(at(norm)?.margin(a, b))).unwrap(),
                    };
                    finite += usize::from(plain > 0.0 && plain.is_finite());
                    let agree = got == plain || (got <= plain + 1e-9 && got >= plain * (1.0 - 1e-6));
                    let case = format!("{law:?} {n_classes} {n_poisoned} {labels} {a} {b}");
                    assert!(agree, "{got} {plain} {case}");
                    assert!(got == 0.0 || at(got).unwrap().holds(a, b), "{got} {case}");
                }
            }
        }
        assert!(finite > 250, "{finite}");
    }

    #[test]
    fn counts_agree_with_one_question_at_a_time() {
        let mut rng = Seed::new(4).stream(Role::Noise, 0, 0);
        for (law, labels) in laws() {
            let facts = DataFacts { n_train: 300, n_features: None, n_classes: 3 };
            let at = |n_poisoned| law.likelihood(Change { n_poisoned, trigger_norm: 0.4, labels }, &facts);
            if at(1).is_err() {
                continue;
            }
            let intervals = pairs(&mut rng, true);
            let got = {
                let change = Change { n_poisoned: 0, trigger_norm: 0.4, labels };
                Distinct::of(&intervals).counts(&law, &facts, &change.into()).unwrap()
            };
            let ratios: Vec<LikelihoodRatio> = (0..=300).map(|r| at(r).unwrap()).collect();
            for (interval, got) in intervals.iter().zip(got) {
                let (a, b) = (interval.p_lower, interval.p_upper);
                let last = ratios[got].holds(a, b) || got == 0;
                let next = ratios.get(got + 1).is_some_and(|ratio| ratio.holds(a, b));
                assert!(last && !next, "{got} {law:?} {labels} {a} {b}");
            }
        }
    }

    #[test]
    fn searches_return_the_last_yes() {
        for edge in [1e-6, 0.3, 1.0, 77.7] {
            let found = largest_norm(|t| Ok(edge - t)).unwrap();
            assert!(found < edge && found > edge * (1.0 - 1e-9), "{edge}: {found}");
            let step = largest_norm(|t| Ok(if t < edge { 0.1 } else { -5.0 })).unwrap();
            assert!(step < edge && step > edge * (1.0 - 1e-9), "{edge}: {step}");
        }
        assert_eq!(largest_norm(|t| Ok(if t > 0.0 { -1.0 } else { 1.0 })).unwrap(), 0.0);
        for edge in 0..40 {
            for start in [0, 1, 17, 30, 99] {
                assert_eq!(largest_count(start, 30, |r| Ok(r <= edge)).unwrap(), edge.min(30));
            }
        }
        assert_eq!(largest_count(7, 30, |_| Ok(false)).unwrap(), 0);
        assert_eq!(largest_count(0, 0, |_| Ok(true)).unwrap(), 0);
    }
}
