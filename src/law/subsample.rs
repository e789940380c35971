//! Each member sees a few training samples only, a fixed number or each with a fixed probability, then an inner law.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::{DataFacts, Law, LikelihoodRatio, NoiseLaw, SampleSpecific};
use crate::change::Edits;
use crate::error::{Error, Result};
use crate::seed::{Role, Seed};
use crate::stop::Stop;

/// Some of the training samples, then `inner` on them (bagging, if there is none).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subsample {
    inner: Option<Box<Law>>,
    #[serde(flatten)]
    draw: Draw,
}

/// How a member's samples are drawn. Neither way knows how many there are to draw from, but for being able to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Draw {
    /// So many, without replacement.
    Fixed { size: usize },
    /// Each with this probability, independently (Poisson sampling).
    Poisson { rate: f64 },
}

/// 2^64: a rate is drawn as a multiple of its inverse.
const WORDS: f64 = 18_446_744_073_709_551_616.0;

impl Subsample {
    /// A subsample of `size` samples, with an optional inner law.
    ///
    /// # Errors
    /// [`ErrorKind::Parameter`](crate::ErrorKind::Parameter) when size is 0 or the inner law subsamples
    /// itself. That size <= n is checked when n is known.
    pub fn new(inner: Option<Law>, size: usize) -> Result<Self> {
        if size == 0 {
            return Err(Error::parameter("size", "an integer from 1 to the number of training samples", 0));
        }
        Self::of(inner, Draw::Fixed { size })
    }

    /// A subsample to which each sample belongs with probability `rate`, independently of all others, with an optional
    /// inner law. A member whose set is empty votes for the lowest class.
    ///
    /// # Errors
    /// [`ErrorKind::Parameter`](crate::ErrorKind::Parameter) unless 1e-9 <= rate < 1, or when the inner law subsamples
    /// itself.
    ///
    /// # Example
    /// ```
    /// use certssb::{NoiseLaw, Seed, Subsample};
    /// let law = Subsample::poisson(None, 0.1)?;
    /// let drawn = law.subset(Seed::new(1), 0, 1000).unwrap_or_default();
    /// assert!((60..140).contains(&drawn.len()));
    /// // Samples that follow leave the draw of those before them alone.
    /// let longer = law.subset(Seed::new(1), 0, 1200).unwrap_or_default();
    /// assert!(longer.starts_with(&drawn));
    /// # Ok::<(), certssb::Error>(())
    /// ```
    pub fn poisson(inner: Option<Law>, rate: f64) -> Result<Self> {
        if !(1e-9..1.0).contains(&rate) {
            return Err(Error::parameter("rate", "a float in the range [1e-9, 1)", rate));
        }
        Self::of(inner, Draw::Poisson { rate })
    }

    fn of(inner: Option<Law>, draw: Draw) -> Result<Self> {
        match &inner {
            Some(Law::Subsample(_)) => {
                return Err(Error::parameter("inner", "a law that does not subsample itself", "a Subsample"))
            }
            Some(Law::Discrete(law)) if law.test_input() => {
                return Err(Error::parameter(
                    "inner",
                    "a law that leaves the test input alone",
                    "a Discrete that noises it",
                ))
            }
            Some(Law::Cascade(_)) => {
                let expected = "a law of one level; a cascade may have subsamples as levels";
                return Err(Error::parameter("inner", expected, "a Cascade"));
            }
            Some(Law::Partition(_)) => {
                return Err(Error::parameter("inner", "noise on the drawn samples", "a Partition"));
            }
            Some(law) if !law.sound() => {
                let expected = "a law with a proof; the published form of SampleSpecific stands alone";
                return Err(Error::parameter("inner", expected, law.describe()));
            }
            _ => {}
        }
        Ok(Self { inner: inner.map(Box::new), draw })
    }

    /// The same draw as its constructor makes it.
    pub(super) fn again(&self) -> Result<Self> {
        match self.draw {
            Draw::Fixed { size } => Self::new(self.inner().cloned(), size),
            Draw::Poisson { rate } => Self::poisson(self.inner().cloned(), rate),
        }
    }

    /// The law inside.
    pub fn inner(&self) -> Option<&Law> {
        self.inner.as_deref()
    }

    /// How many samples a member sees, if that is fixed.
    pub fn size(&self) -> Option<usize> {
        match self.draw {
            Draw::Fixed { size } => Some(size),
            Draw::Poisson { .. } => None,
        }
    }

    /// The probability with which a member sees a sample, if each is drawn on its own.
    pub fn rate(&self) -> Option<f64> {
        match self.draw {
            Draw::Fixed { .. } => None,
            Draw::Poisson { rate } => Some(rate),
        }
    }

    /// Outcomes fall into three classes (`threats.md`, section 9): draws of samples that both sets have, which are an
    /// atom of weight alpha at log q or, where some were modified and hidden by inner noise, a mixture over the number b of
    /// modified samples drawn; draws that touch what only the received set has, which the other one never makes; and the
    /// other way round.
    ///
    /// | draw | alpha | q | b |
    /// |---|---|---|---|
    /// | fixed size k, n -> n' = n - deleted + inserted | C(n - deleted, k) / C(n, k) | C(n, k) / C(n', k) | hypergeometric(n - deleted, modified, k) |
    /// | each with probability p | (1-p)^deleted | (1-p)^(inserted - deleted) | binomial(modified, p) |
    ///
    /// Which samples were drawn is revealed to the attacker: that can only help them, so the bound is valid (data
    /// processing). Fewer edits are never worse than more. For a Poisson draw: forget whether a sample was drawn that the
    /// smaller threat does not delete, and draw it anew. For a fixed size: where none of the deleted was drawn, put such a
    /// sample x in the place of a random one with probability k/n'; where x was, and no other of the deleted, put a random
    /// sample in its place with probability (n - deleted + 1 - k)/n' (n' of the smaller threat). Both sides become the
    /// draws of the smaller threat, so it is a garbling of the larger; insertions mirror deletions.
    ///
    /// # Errors
    /// `Cancelled` where the work is to stop.
    pub(super) fn likelihood(&self, edits: &Edits, facts: &DataFacts) -> Result<LikelihoodRatio> {
        let Edits { modified: change, inserted, deleted } = edits;
        let hit = |hits| match self.inner() {
            Some(law) => law.hit_ratio(hits, change, facts),
            None if hits == 0 || (change.trigger_norm == 0.0 && !change.labels) => {
                LikelihoodRatio::identity()
            }
            None => LikelihoodRatio::disjoint(),
        };
        let n = facts.n_train;
        if self.size().is_some() && *inserted >= n.saturating_sub(*deleted) {
            // A set of twice as many common samples is drawn from without a new one in less than half of the cases.
            return Ok(LikelihoodRatio::disjoint());
        }
        let weights = match self.draw {
            Draw::Fixed { size } => {
                let size = size.min(n);
                match n.checked_sub(*deleted) {
                    Some(left) if left >= size => hypergeometric(left, change.n_poisoned.min(left), size),
                    _ => return Ok(LikelihoodRatio::disjoint()),
                }
            }
            Draw::Poisson { rate } => binomial(change.n_poisoned, drawn_rate(rate)),
        };
        let stop = Stop::current();
        let going_on = weights.into_iter().take_while(|_| !stop.is_set());
        let mixture = LikelihoodRatio::mixture(going_on.map(|(hits, weight)| (weight, hit(hits))));
        stop.check()?;
        if edits.in_place() {
            return Ok(mixture);
        }
        let Common { log_alpha, log_q, operations } = self.common(*inserted, *deleted, n);
        if !log_alpha.is_finite() || !log_q.is_finite() {
            return Ok(LikelihoodRatio::disjoint());
        }
        Ok(LikelihoodRatio::common(log_alpha, log_q, operations).product(&mixture))
    }

    /// Probability under P that none of the deleted samples is drawn, and density of Q to P on such draws.
    fn common(&self, inserted: usize, deleted: usize, n: usize) -> Common {
        match self.draw {
            Draw::Poisson { rate } => {
                let rest = (-drawn_rate(rate)).ln_1p();
                let log_alpha = deleted as f64 * rest;
                let log_q = (inserted as f64 - deleted as f64) * rest;
                Common { log_alpha, log_q, operations: 8.0 * (1.0 + log_alpha.abs() + log_q.abs()) }
            }
            Draw::Fixed { size } => {
                let log_alpha = log_missed(n, size, deleted);
                let log_q = match inserted.checked_sub(deleted) {
                    Some(more) => log_missed(n + more, size, more),
                    None => -log_missed(n, size, deleted - inserted),
                };
                let terms = (2 + size.min(deleted + inserted)) as f64;
                Common { log_alpha, log_q, operations: 8.0 * terms * (1.0 + log_alpha.abs() + log_q.abs()) }
            }
        }
    }
}

/// log C(n - marked, k) / C(n, k), the probability that none of the marked ones is among `k` of `n`; negative infinity where
/// that is far too small to matter.
fn log_missed(n: usize, k: usize, marked: usize) -> f64 {
    if k as f64 * marked as f64 > 50.0 * n as f64 {
        return f64::NEG_INFINITY;
    }
    // The product of 1 - k/m over the marked, or of 1 - marked/m over the draws.
    let (few, many) = (k.min(marked), k.max(marked) as f64);
    (0..few).map(|j| (-many / (n - j) as f64).ln_1p()).sum()
}

/// What [`Subsample::common`] finds, and how many roundings that took.
struct Common {
    log_alpha: f64,
    log_q: f64,
    operations: f64,
}

/// The probability with which a sample is drawn: a multiple of 2^-64.
fn drawn_rate(rate: f64) -> f64 {
    threshold(rate) as f64 / WORDS
}

/// A sample is drawn if its word is below this.
fn threshold(rate: f64) -> u64 {
    (rate * WORDS) as u64
}

/// Probabilities of b hits among `n` independent ones of probability `p`; tails below 1e-20 are left out.
fn binomial(n: usize, p: f64) -> Vec<(usize, f64)> {
    let mode = (((n as f64 + 1.0) * p) as usize).min(n);
    let odds = p / (1.0 - p);
    around(mode, 0, n, |b| (n - b) as f64 / (b + 1) as f64 * odds)
}

/// Probabilities of b marked ones among `draws` of `n`, `marked` of them marked; tails below 1e-20 are left out.
fn hypergeometric(n: usize, marked: usize, draws: usize) -> Vec<(usize, f64)> {
    let lowest = (marked + draws).saturating_sub(n);
    let highest = marked.min(draws);
    let mode = ((marked as f64 + 1.0) * (draws as f64 + 1.0) / (n as f64 + 2.0)) as usize;
    let mode = mode.clamp(lowest, highest);
    // P(b + 1) / P(b)
    let ratio = |b: usize| {
        (marked - b) as f64 * (draws - b) as f64 / ((b + 1) as f64 * (n + b + 1 - marked - draws) as f64)
    };
    around(mode, lowest, highest, ratio)
}

/// Probabilities from `lowest` to `highest`, from the ratios of each to the one before it, which is `ratio` of that one.
fn around(mode: usize, lowest: usize, highest: usize, ratio: impl Fn(usize) -> f64) -> Vec<(usize, f64)> {
    let mut weights = vec![(mode, 1.0)];
    let mut weight = 1.0;
    for b in mode..highest {
        weight *= ratio(b);
        if weight < 1e-20 {
            break;
        }
        weights.push((b + 1, weight));
    }
    weight = 1.0;
    for b in (lowest..mode).rev() {
        weight /= ratio(b);
        if weight < 1e-20 {
            break;
        }
        weights.push((b, weight));
    }
    weights.sort_unstable_by_key(|(b, _)| *b);
    let total: f64 = weights.iter().map(|(_, w)| w).sum();
    weights.iter().map(|(b, w)| (*b, w / total)).collect()
}

impl NoiseLaw for Subsample {
    fn sample_specific(&self) -> Option<&SampleSpecific> {
        self.inner().and_then(NoiseLaw::sample_specific)
    }

    fn check(&self, facts: &DataFacts) -> Result<()> {
        if let Some(size) = self.size().filter(|size| *size > facts.n_train) {
            return Err(Error::parameter(
                "size",
                format_args!("an integer from 1 to the number of training samples, {}", facts.n_train),
                size,
            ));
        }
        self.inner().map_or(Ok(()), |law| law.check(facts))
    }

    fn restricts_features(&self) -> bool {
        self.inner().is_some_and(NoiseLaw::restricts_features)
    }

    fn check_features(&self, features: &[f32]) -> Result<()> {
        self.inner().map_or(Ok(()), |law| law.check_features(features))
    }

    fn subset(&self, seed: Seed, member: u64, n_train: usize) -> Option<Vec<usize>> {
        let mut rng = seed.stream(Role::Subsample, member, 0);
        Some(match self.draw {
            Draw::Fixed { size } => {
                let mut drawn = rand::seq::index::sample(&mut rng, n_train, size).into_vec();
                drawn.sort_unstable();
                drawn
            }
            // One word a sample, in the order of the samples: nothing of a coin depends on how many there are.
            Draw::Poisson { rate } => {
                let below = threshold(rate);
                (0..n_train).filter(|_| rng.next_u64() < below).collect()
            }
        })
    }

    fn noise_features(&self, seed: Seed, member: u64, sample: usize, features: &mut [f32]) {
        if let Some(law) = self.inner() {
            law.noise_features(seed, member, sample, features);
        }
    }

    fn noise_label(&self, seed: Seed, member: u64, sample: usize, label: u32, n_classes: usize) -> u32 {
        self.inner().map_or(label, |law| law.noise_label(seed, member, sample, label, n_classes))
    }

    fn noises_test_inputs(&self) -> bool {
        self.inner().is_some_and(NoiseLaw::noises_test_inputs)
    }

    fn noise_test_input(&self, seed: Seed, member: u64, sample: usize, features: &mut [f32]) {
        if let Some(law) = self.inner() {
            law.noise_test_input(seed, member, sample, features);
        }
    }

    fn feature_ratio(&self, hits: usize, norm: f64, facts: &DataFacts) -> Option<LikelihoodRatio> {
        self.inner()?.feature_ratio(hits, norm, facts)
    }

    fn label_ratio(&self, hits: usize, facts: &DataFacts) -> Option<LikelihoodRatio> {
        self.inner()?.label_ratio(hits, facts)
    }

    fn norm_unit(&self) -> Option<f64> {
        self.inner()?.norm_unit()
    }

    fn covered(&self) -> String {
        "changes to at most n_poisoned of its samples, each by an L2 norm of at most trigger_norm and, \
         if labels=True is asked for, with any labels"
            .to_owned()
    }

    fn sizes_vary(&self) -> bool {
        self.rate().is_some()
    }

    fn covers_edits(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        let draw = match self.draw {
            Draw::Fixed { size } => {
                let s = if size == 1 { "" } else { "s" };
                format!("a random subsample of {size} training sample{s} for each member")
            }
            Draw::Poisson { rate } => {
                format!("a random subsample for each member, to which each training sample belongs with probability {rate}")
            }
        };
        match self.inner() {
            Some(law) => format!("{draw}, then {}", law.describe()),
            None => draw,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashMap;

    use rand::RngExt;

    use super::*;
    use crate::change::{Change, Counted, Kind, Threat};
    use crate::law::LabelNoise;

    fn facts(n_train: usize) -> DataFacts {
        DataFacts { n_train, n_features: None, n_classes: 2 }
    }

    fn edits(modified: usize, inserted: usize, deleted: usize) -> Edits {
        let modified = Change { n_poisoned: modified, trigger_norm: f64::INFINITY, labels: true };
        Edits { modified, inserted, deleted }
    }

    /// All drawn sets of samples with their probabilities.
    fn outcomes(samples: &[u32], law: &Subsample) -> HashMap<Vec<u32>, f64> {
        let n = samples.len();
        let sets = (0..1_u32 << n).map(|mask| {
            let set: Vec<u32> = (0..n).filter(|i| mask >> i & 1 == 1).map(|i| samples[i]).collect();
            let k = set.len() as i32;
            let p = match (law.size(), law.rate()) {
                (Some(size), _) => f64::from(u8::from(size as i32 == k)),
                (_, rate) => rate.unwrap().powi(k) * (1.0 - rate.unwrap()).powi(n as i32 - k),
            };
            (set, p)
        });
        let mut all: HashMap<Vec<u32>, f64> = sets.filter(|(_, p)| *p > 0.0).collect();
        let total: f64 = all.values().sum();
        all.values_mut().for_each(|p| *p /= total);
        all
    }

    /// The least Q(A) - Q(B) of disjoint tests with P(A) >= p_a and P(B) <= p_b, by sorting all outcomes.
    fn truth(p: &HashMap<Vec<u32>, f64>, q: &HashMap<Vec<u32>, f64>, rest: f64, other: f64) -> f64 {
        let mut all: Vec<(f64, f64)> =
            p.iter().map(|(set, p)| (*p, q.get(set).copied().unwrap_or(0.0))).collect();
        let own: f64 = 1.0 - all.iter().map(|(_, q)| q).sum::<f64>();
        all.sort_by(|a, b| (b.1 / b.0).total_cmp(&(a.1 / a.0)));
        let most = |mass: f64| {
            let mut left = mass;
            let mut sum = own;
            for (p, q) in &all {
                let share = (left / p).clamp(0.0, 1.0);
                sum += share * q;
                left -= share * p;
            }
            sum
        };
        1.0 - most(rest) - most(other)
    }

    fn laws() -> Vec<Subsample> {
        vec![
            Subsample::new(None, 1).unwrap(),
            Subsample::new(None, 2).unwrap(),
            Subsample::new(None, 4).unwrap(),
            Subsample::poisson(None, 0.07).unwrap(),
            Subsample::poisson(None, 0.3).unwrap(),
        ]
    }

    #[test]
    fn every_set_of_edits_of_a_small_bag_is_the_one_that_the_engine_finds() {
        let n = 7;
        let received: Vec<u32> = (0..n).collect();
        let mut certified = 0;
        for law in laws() {
            let own = outcomes(&received, &law);
            for (modified, inserted, deleted) in
                (0..4).flat_map(|m| (0..4).flat_map(move |i| (0..3).map(move |d| (m, i, d))))
            {
                let kept = received[(modified + deleted) as usize..].iter().copied();
                let other: Vec<u32> = kept.chain(100..100 + modified + inserted).collect();
                if law.size().is_some_and(|size| size > other.len()) {
                    continue;
                }
                let image = outcomes(&other, &law);
                let edits = edits(modified as usize, inserted as usize, deleted as usize);
                let ratio = law.likelihood(&edits, &facts(n as usize)).unwrap();
                for (rest, other) in [(0.001, 0.001), (0.05, 0.02), (0.1, 0.1), (0.2, 0.05), (0.3, 0.3)] {
                    let exact = truth(&own, &image, rest, other);
                    let got = ratio.margin(1.0 - rest, other);
                    certified += usize::from(got > 0.0);
                    // Where more than half of Q is its own the engine need not say by how much it fails.
                    let agree = if exact > 0.0 { (got - exact).abs() < 1e-9 } else { got <= 1e-12 };
                    assert!(agree, "{law:?} {edits:?} {rest} {other}: {got} {exact}");
                }
            }
        }
        assert!(certified > 60, "{certified}");
    }

    /// Edits (modified, inserted, deleted) that an attacker may make within a threat.
    fn within(threat: &Threat) -> Vec<(usize, usize, usize)> {
        let r = threat.change.n_poisoned;
        let weight = if threat.counted == Counted::Edits { 1 } else { 2 };
        let top = if let Kind::Mixed { .. } = threat.kind { 4 } else { r };
        let all = (0..=top).flat_map(|m| (0..=top).flat_map(move |i| (0..=top).map(move |d| (m, i, d))));
        all.filter(|(m, i, d)| match threat.kind {
            Kind::Any => weight * m + i + d <= r,
            Kind::Modified => weight * m <= r && i + d == 0,
            Kind::Inserted => m + d == 0,
            Kind::Deleted => m + i == 0,
            Kind::Mixed { modified, inserted, deleted } => m <= &modified && i <= &inserted && d <= &deleted,
        })
        .collect()
    }

    #[test]
    fn the_worst_of_a_threat_is_the_worst_of_all_edits_within_it_whoever_was_first() {
        let (n, mut certified, mut one_way) = (12_usize, 0, 0);
        let mixed = |modified, inserted, deleted| Kind::Mixed { modified, inserted, deleted };
        let kinds =
            [Kind::Any, Kind::Modified, Kind::Inserted, Kind::Deleted, mixed(1, 2, 0), mixed(0, 1, 3)];
        for law in laws() {
            for (counted, kind, r) in [Counted::Edits, Counted::SymmetricDifference]
                .into_iter()
                .flat_map(|counted| kinds.map(|kind| (counted, kind)))
                .flat_map(|(counted, kind)| (0..5_usize).map(move |r| (counted, kind, r)))
            {
                let change = Change { n_poisoned: r, trigger_norm: f64::INFINITY, labels: true };
                let threat = Threat { change, kind, counted };
                let whole = Law::Subsample(law.clone()).against(threat, &facts(n)).unwrap();
                let ratios = |back: bool| -> Vec<LikelihoodRatio> {
                    let all = within(&threat).into_iter();
                    let turned = all.map(|(m, i, d)| if back { (m, d, i) } else { (m, i, d) });
                    turned.map(|(m, i, d)| law.likelihood(&edits(m, i, d), &facts(n)).unwrap()).collect()
                };
                let (onward, back) = (ratios(false), ratios(true));
                for gap in (1..100).map(|g| f64::from(g) * 0.01 + 0.003) {
                    let (p, other) = (0.5 + 0.5 * gap, 0.5 - 0.5 * gap);
                    let survives = |ways: &[LikelihoodRatio]| ways.iter().all(|way| way.holds(p, other));
                    let both = survives(&onward) && survives(&back);
                    assert_eq!(whole.holds(p, other), both, "{law:?} {threat:?} {gap}");
                    certified += usize::from(both && r > 0);
                    one_way += usize::from(survives(&onward) != survives(&back));
                }
            }
        }
        // Many hold one way only: the other way is what decides there.
        assert!(certified > 2000 && one_way > 100, "{certified} {one_way}");
    }

    #[test]
    fn fewer_edits_are_never_worse_also_under_noise() {
        let noise = || Some(Law::LabelNoise(LabelNoise::new(0.3).unwrap()));
        let noised = |modified, inserted, deleted| Edits {
            modified: Change { n_poisoned: modified, trigger_norm: 0.0, labels: true },
            inserted,
            deleted,
        };
        let mut moved = 0;
        for law in [Subsample::new(noise(), 9).unwrap(), Subsample::poisson(noise(), 0.2).unwrap()] {
            for (m, i, d) in [(2, 1, 3), (4, 0, 6), (1, 3, 2), (3, 2, 2), (0, 2, 5)] {
                let at = |m, i, d| law.likelihood(&noised(m, i, d), &facts(40)).unwrap();
                let whole = at(m, i, d);
                let fewer = [(m.max(1) - 1, i, d), (m, i.max(1) - 1, d), (m, i, d.max(1) - 1)];
                for fewer in fewer.map(|(m, i, d)| at(m, i, d)) {
                    for p in (1..200).map(|p| f64::from(p) * 0.005) {
                        let (less, more) = (fewer.worst_upper(p), whole.worst_upper(p));
                        assert!(less <= more + 1e-11, "{law:?} {m} {i} {d} {p}: {less} {more}");
                        moved += usize::from(less < more - 1e-6);
                    }
                }
            }
        }
        assert!(moved > 500, "{moved}");
    }

    #[test]
    fn poisson_draws_are_independent_coins_of_their_rate() {
        let law = Subsample::poisson(None, 0.25).unwrap();
        let (n, members) = (40_usize, 4000_u64);
        let mut each = vec![0_u32; n];
        let (mut pairs, mut empty) = (0, 0);
        let small = Subsample::poisson(None, 0.05).unwrap();
        for member in 0..members {
            let drawn = law.subset(Seed::new(8), member, n).unwrap();
            assert!(drawn.windows(2).all(|pair| pair[0] < pair[1]));
            drawn.iter().for_each(|i| each[*i] += 1);
            pairs += usize::from(drawn.contains(&3) && drawn.contains(&4));
            empty += usize::from(small.subset(Seed::new(8), member, n).unwrap().is_empty());
        }
        // 1000 expected, standard deviation 27; 250 pairs, 15; 514 empty ones, 21.
        assert!(each.iter().all(|hits| (870..1130).contains(hits)), "{each:?}");
        assert!((180..320).contains(&pairs) && (420..610).contains(&empty), "{pairs} {empty}");
    }

    #[test]
    fn numbers_beyond_all_bounds_are_answered_at_once() {
        let mut rng = Seed::new(1).stream(Role::Noise, 0, 0);
        for law in laws() {
            for _ in 0..4 {
                let n = 10 + rng.random_range(0..1_usize << 40);
                let some = |rng: &mut rand_chacha::ChaCha8Rng| {
                    rng.random_range(0..1_usize << 39) >> rng.random_range(0..39)
                };
                let edits = edits(some(&mut rng).min(n / 4), some(&mut rng), some(&mut rng).min(n / 4));
                let ratio = law.likelihood(&edits, &facts(n)).unwrap();
                assert!(ratio.worst_lower(0.9) <= 0.9);
            }
        }
        let law = Subsample::new(None, 1 << 30).unwrap();
        let ratio = law.likelihood(&edits(0, 3, 1), &facts(1 << 36)).unwrap();
        assert!(ratio.worst_lower(0.99) > 0.9);
    }
}
