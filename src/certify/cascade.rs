//! Certificates of a cascade: levels asked one after another, the choice of the level inside the proof.
//!
//! At level g, class c has the margin m_gc = unit/2 (Phi^-1(g_c) - max over c' != c of Phi^-1(g_c')). A level decides
//! for A if m_gA >= tau_g, else the next is asked; the last decides by majority. Suppose a change may grow to
//! t. Level g surely still decides for A while t < `sure`, and surely for no other class while t < `open`. Then A
//! survives every t below
//!
//! ```text
//! R_G = sure_G,   R_g = max(sure_g, min(open_g, R_{g+1})).
//! ```
//!
//! Proof: below `sure` the level decides for A; below `open` it decides for A or passes on, and R_{g+1} covers the
//! rest. Under Gaussian noise margins are 1-Lipschitz in the total L2 distance, so sure = m_gA - tau_g and
//! open = tau_g - max over c != A of m_gc; under any law `sure` and `open` are found through the likelihood ratio,
//! which bounds every class's probability within a budget. All bounds of all classes and levels hold together,
//! each at alpha divided by their number.

use std::collections::HashMap;

use ndarray::{Array3, Axis};

use super::confidence::Confidence;
use crate::error::{Error, Result};
use crate::interval::Interval;
use crate::law::Cascade;
use crate::normal::{normal_quantile_lower, normal_quantile_upper};
use crate::votes::{Ballots, Tally};

/// Bounds of every class's probability at every level, all holding together.
#[derive(Clone, Debug, PartialEq)]
pub struct LevelBounds {
    /// Lower bounds, shape (levels, n_samples, n_classes).
    pub lower: Array3<f64>,
    /// Upper bounds, shape (levels, n_samples, n_classes).
    pub upper: Array3<f64>,
    /// The level that decided each sample.
    pub level: Vec<usize>,
}

/// The class a cascade predicts, and the level that decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The class.
    pub prediction: usize,
    /// The deciding level, from 0.
    pub level: usize,
}

/// What the members' own shares of votes decide, one tally per level; ties at the last level go to the lowest class.
pub fn decide(cascade: &Cascade, tallies: &[Tally]) -> Vec<Decision> {
    let units = cascade.units();
    let n = tallies.first().map_or(0, |tally| tally.sums().nrows());
    (0..n).map(|sample| decide_one(cascade, &units, tallies, sample)).collect()
}

fn decide_one(cascade: &Cascade, units: &[f64], tallies: &[Tally], sample: usize) -> Decision {
    for (level, (tally, unit)) in tallies.iter().zip(units).enumerate() {
        let row = tally.sums().row(sample);
        let best = tally.winner(sample);
        let others = row.iter().enumerate().filter(|(class, _)| *class != best);
        let runner_up = others.map(|(_, sum)| *sum).fold(0.0, f64::max);
        let quantile = |sum: f64| normal_quantile_lower(sum / tally.n_members() as f64);
        let Some(threshold) = cascade.threshold(level) else {
            return Decision { prediction: best, level };
        };
        // 0/0 cannot occur: the best class has votes.
        let margin = 0.5 * unit * (quantile(row[best]) - quantile(runner_up));
        if margin >= threshold {
            return Decision { prediction: best, level };
        }
    }
    Decision { prediction: 0, level: 0 }
}

impl LevelBounds {
    /// The bounds of some of the samples, in this order.
    pub(super) fn rows(&self, rows: &[usize]) -> Self {
        let (lower, upper) = (self.lower.select(Axis(1), rows), self.upper.select(Axis(1), rows));
        Self { lower, upper, level: rows.iter().map(|row| self.level[*row]).collect() }
    }

    /// The bounds from votes, one set of ballots per level, and the interval of the deciding level of each sample.
    ///
    /// # Errors
    /// `Parameter` for a confidence that lets other members choose the class; `Shape` when levels differ in
    /// members' answers.
    pub(super) fn of(
        cascade: &Cascade,
        confidence: &Confidence,
        ballots: &[Ballots],
    ) -> Result<(Self, Vec<Interval>)> {
        check_ballots(cascade, confidence, ballots)?;
        let tallies: Vec<Tally> = ballots.iter().map(|own| own.tally(0, own.n_members())).collect();
        let decisions = decide(cascade, &tallies);
        let (n, k) = (ballots[0].n_samples(), ballots[0].n_classes());
        let shape = (ballots.len(), n, k);
        let (mut lower, mut upper) = (Array3::zeros(shape), Array3::zeros(shape));
        let part = confidence.part_of(ballots.len());
        for (level, own) in ballots.iter().enumerate() {
            let (low, high) = part.class_bounds(own)?;
            lower.index_axis_mut(Axis(0), level).assign(&low);
            upper.index_axis_mut(Axis(0), level).assign(&high);
        }
        let level = decisions.iter().map(|decision| decision.level).collect();
        let bounds = Self { lower, upper, level };
        let intervals =
            decisions.iter().enumerate().map(|(i, decision)| bounds.interval(i, *decision)).collect();
        Ok((bounds, intervals))
    }

    /// Checks bounds that came from a file.
    pub(super) fn check(&self, cascade: &Cascade, n_samples: usize, n_classes: usize) -> Result<()> {
        let shape = (cascade.levels().len(), n_samples, n_classes);
        let inside = |bounds: &Array3<f64>| bounds.iter().all(|p| (0.0..=1.0).contains(p));
        let right = self.lower.dim() == shape
            && self.upper.dim() == shape
            && self.level.len() == n_samples
            && self.level.iter().all(|level| *level < shape.0)
            && inside(&self.lower)
            && inside(&self.upper);
        if right {
            return Ok(());
        }
        let expected = format_args!("probabilities of shape {shape:?}");
        Err(Error::parameter("levels", expected, format_args!("shape {:?}", self.lower.dim())))
    }

    /// What the level that decided knows of a sample.
    pub(super) fn interval(&self, sample: usize, decision: Decision) -> Interval {
        let Decision { prediction, level } = decision;
        let upper = self.upper.slice(ndarray::s![level, sample, ..]);
        let others = upper.iter().enumerate().filter(|(class, _)| *class != prediction);
        let p_upper = others.map(|(_, p)| *p).fold(0.0, f64::max);
        Interval::new(prediction, self.lower[[level, sample, prediction]], p_upper)
    }

    /// The different contests at a level, and which of them each sample has.
    pub(super) fn contests(&self, level: usize, intervals: &[Interval]) -> (Vec<Contest>, Vec<usize>) {
        let mut known: HashMap<[u64; 6], usize> = HashMap::new();
        let mut contests = Vec::new();
        let which = intervals.iter().enumerate().map(|(sample, interval)| {
            let row = |bounds: &Array3<f64>| bounds.slice(ndarray::s![level, sample, ..]).to_vec();
            let contest = Contest::of(&row(&self.lower), &row(&self.upper), interval.prediction);
            *known.entry(contest.key()).or_insert_with(|| {
                contests.push(contest);
                contests.len() - 1
            })
        });
        let which = which.collect();
        (contests, which)
    }
}

fn check_ballots(cascade: &Cascade, confidence: &Confidence, ballots: &[Ballots]) -> Result<()> {
    if confidence.choosing() > 0 {
        return Err(Error::parameter("selection", "'union' for a cascade", "'split'"));
    }
    let size = |own: &Ballots| (own.n_members(), own.n_samples(), own.n_classes());
    // The sentence speaks of one number of members, at each level.
    let same = ballots.windows(2).all(|pair| size(&pair[0]) == size(&pair[1]));
    if ballots.len() != cascade.levels().len() || !same {
        let expected = format_args!(
            "answers of the same number of members on the same samples from each of {} levels",
            cascade.levels().len()
        );
        return Err(Error::shape("votes", expected, format_args!("{} levels", ballots.len())));
    }
    Ok(())
}

/// All that decides a class A's fate at one level: margins are differences of quantiles, which grow with the
/// probability, so of all classes' bounds only a few can matter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Contest {
    /// A's lower bound, and the largest upper bound of another class.
    own: (f64, f64),
    /// Another class's upper bound, and the largest lower bound among all classes but that one: the others with the
    /// largest upper bound against the class with the largest lower bound, and that class itself if it is not A.
    rivals: [(f64, f64); 2],
}

impl Contest {
    fn of(lower: &[f64], upper: &[f64], class: usize) -> Self {
        let largest = |bounds: &[f64], but: &[usize]| {
            let rest = bounds.iter().enumerate().filter(|(c, _)| !but.contains(c));
            rest.map(|(_, p)| *p).fold(0.0, f64::max)
        };
        let top = (1..lower.len()).fold(0, |top, c| if lower[c] > lower[top] { c } else { top });
        let many = (largest(upper, &[class, top]), lower[top]);
        let rivals = if top != class {
            // With two classes there is nobody but the top one.
            let one = (upper[top], largest(lower, &[top]));
            [one, if lower.len() > 2 { many } else { one }]
        } else {
            [many, many]
        };
        Self { own: (lower[class], largest(upper, &[class])), rivals }
    }

    fn key(&self) -> [u64; 6] {
        let [(a, b), (c, d)] = self.rivals;
        [self.own.0, self.own.1, a, b, c, d].map(f64::to_bits)
    }

    /// A lower bound for A's margin and an upper bound for every other class's, when every probability may be as
    /// `low` makes of its lower bound and `high` of its upper bound.
    pub(super) fn margins(
        &self,
        unit: f64,
        low: impl Fn(f64) -> f64,
        high: impl Fn(f64) -> f64,
    ) -> (f64, f64) {
        let (below, above) = (|p| normal_quantile_lower(low(p)), |p| normal_quantile_upper(high(p)));
        let own = 0.5 * unit * (below(self.own.0) - above(self.own.1));
        let rival = |(p, against): (f64, f64)| 0.5 * unit * (above(p) - below(against));
        let others = if self.rivals[0] == (self.own.1, self.own.0) && self.rivals[1] == self.rivals[0] {
            // The usual contest: A leads, and the margins mirror each other.
            -own
        } else {
            rival(self.rivals[0]).max(rival(self.rivals[1]))
        };
        // Three operations, each rounded to nearest.
        (own - 4.0 * f64::EPSILON * own.abs(), others + 4.0 * f64::EPSILON * others.abs())
    }
}

/// What is known of one level's margins of one sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LevelMargins {
    /// A lower bound for the margin of the class in question.
    pub own: f64,
    /// An upper bound for the margin of every other class.
    pub others: f64,
    /// From which margin on the level decides; `None` for the last level.
    pub threshold: Option<f64>,
}

/// An end that is nowhere: not even the received training set is certain to give it.
pub(super) const NOWHERE: f64 = -1.0;

/// The certified radius R_1 of a class, in the units of the margins: it survives every change below; 0 or less where
/// nothing is certified.
///
/// # Example
/// Two levels: the first is passed (margins within its threshold), the second decides.
/// ```
/// use certssb::{cascade_radius, LevelMargins};
/// let first = LevelMargins { own: 0.1, others: -0.05, threshold: Some(0.3) };
/// let last = LevelMargins { own: 0.6, others: -0.6, threshold: None };
/// assert!((cascade_radius(&[first, last]) - 0.35).abs() < 1e-12);
/// ```
pub fn cascade_radius(levels: &[LevelMargins]) -> f64 {
    let ends: Vec<_> = levels.iter().map(LevelMargins::ends).collect();
    survives(&ends).unwrap_or(NOWHERE)
}

impl LevelMargins {
    /// `sure` and `open`, rounded down.
    pub(super) fn ends(&self) -> (f64, Option<f64>) {
        match self.threshold {
            Some(tau) => ((self.own - tau).next_down(), Some((tau - self.others).next_down())),
            None => (self.own, None),
        }
    }
}

/// R from the ends of each level: `sure` and `open`, the last level without `open`.
pub(super) fn survives<T: PartialOrd + Copy>(ends: &[(T, Option<T>)]) -> Option<T> {
    let greater = |a: T, b: T| if b > a { b } else { a };
    let lesser = |a: T, b: T| if b < a { b } else { a };
    ends.iter().rev().fold(None, |inner, (sure, open)| match (inner, open) {
        (Some(inner), Some(open)) => Some(greater(*sure, lesser(*open, inner))),
        _ => Some(*sure),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::certify::{Certificates, Detail, Evidence, Record};
    use crate::change::Change;
    use crate::law::{DataFacts, Gaussian, LabelNoise, Law, Product, Subsample};
    use rand::{Rng, RngExt};

    fn gaussian(sigma: f64) -> Law {
        Law::Gaussian(Gaussian::new(sigma).unwrap())
    }

    fn facts(n_classes: usize) -> DataFacts {
        DataFacts { n_train: 400, n_features: Some(10), n_classes }
    }

    /// Probabilities of K classes at each level.
    fn draw(rng: &mut impl Rng, levels: usize, classes: usize) -> Array3<f64> {
        let mut p =
            Array3::from_shape_fn((levels, 1, classes), |_| rng.random_range(0.0_f64..1.0).powi(4) + 1e-6);
        for mut row in p.lanes_mut(Axis(2)) {
            let sum = row.sum();
            row /= sum;
        }
        p
    }

    /// Certificates from probabilities that are known: all bounds equal them.
    fn known(cascade: &Cascade, p: &Array3<f64>) -> Certificates {
        let (_, n, k) = p.dim();
        let decisions: Vec<Decision> = (0..n).map(|i| truth(cascade, p, i)).collect();
        let level = decisions.iter().map(|d| d.level).collect();
        let bounds = LevelBounds { lower: p.clone(), upper: p.clone(), level };
        let intervals = decisions.iter().enumerate().map(|(i, d)| bounds.interval(i, *d)).collect();
        let record = Record::new(Law::Cascade(cascade.clone()), facts(k), Evidence::Exact, None);
        Certificates::from_parts(record, intervals, Detail::Levels(bounds)).unwrap()
    }

    fn truth(cascade: &Cascade, p: &Array3<f64>, sample: usize) -> Decision {
        let tallies: Vec<Tally> = (0..p.dim().0)
            .map(|level| Tally::of_shares(p.slice(ndarray::s![level, sample..=sample, ..]).to_owned()))
            .collect();
        decide(cascade, &tallies)[0]
    }

    /// All classes' probabilities after a change of Gaussian size t that helps `class` at a level: every quantile moves
    /// by at most t / sigma.
    fn moved(p: &[f64], sigma: f64, t: f64, rng: &mut impl Rng, attack: Option<(usize, usize)>) -> Vec<f64> {
        let phi = |x: f64| crate::normal::cdf(x);
        let shift = |class: usize, rng: &mut dyn FnMut() -> f64| match attack {
            Some((victim, _)) if class == victim => -t / sigma,
            Some((_, rival)) if class == rival => t / sigma,
            Some(_) => 0.0,
            None => (2.0 * rng() - 1.0) * t / sigma,
        };
        let mut uniform = || rng.random_range(0.0..1.0);
        (0..p.len()).map(|c| phi(normal_quantile_lower(p[c]) + shift(c, &mut uniform))).collect()
    }

    fn decide_shares(cascade: &Cascade, shares: &[Vec<f64>]) -> usize {
        let tallies: Vec<Tally> = shares
            .iter()
            .map(|row| {
                Tally::of_shares(ndarray::Array2::from_shape_vec((1, row.len()), row.clone()).unwrap())
            })
            .collect();
        decide(cascade, &tallies)[0].prediction
    }

    #[test]
    fn a_contest_keeps_what_all_classes_decide() {
        let mut rng = crate::Seed::new(4).stream(crate::Role::Model, 0, 0);
        for _ in 0..3000 {
            let k = rng.random_range(2..6);
            let lower: Vec<f64> = (0..k).map(|_| rng.random_range(0.0..0.6)).collect();
            let upper: Vec<f64> = lower.iter().map(|p| p + rng.random_range(0.0..0.4)).collect();
            let class = rng.random_range(0..k);
            let (own, others) = Contest::of(&lower, &upper, class).margins(2.0, |p| p, |p| p);
            let margin = |c: usize, p: f64, against: &[f64]| {
                let others = (0..k).filter(|o| *o != c).map(|o| normal_quantile_lower(against[o]));
                normal_quantile_lower(p) - others.fold(f64::NEG_INFINITY, f64::max)
            };
            let rivals = (0..k).filter(|c| *c != class).map(|c| margin(c, upper[c], &lower));
            let expected = (margin(class, lower[class], &upper), rivals.fold(f64::NEG_INFINITY, f64::max));
            assert!((own - expected.0).abs() < 1e-9 && own <= expected.0, "{own} {expected:?}");
            assert!(
                (others - expected.1).abs() < 1e-9 && others >= expected.1 - 1e-12,
                "{others} {expected:?}"
            );
        }
    }

    #[test]
    fn nothing_within_the_radius_changes_the_class() {
        let sigmas = [1.0, 0.5, 0.25];
        let cascade = Cascade::new(sigmas.map(gaussian).to_vec(), Some(vec![0.3, 0.15])).unwrap();
        let mut rng = crate::Seed::new(1).stream(crate::Role::Model, 0, 0);
        let (mut certified, mut flipped_outside) = (0, 0);
        for _ in 0..2000 {
            let k = rng.random_range(2..5);
            let p = draw(&mut rng, 3, k);
            let table = known(&cascade, &p);
            let (class, radius) = (table.predictions()[0], table.radius().unwrap()[0]);
            certified += usize::from(radius > 0.0);
            for attempt in 0..20 {
                let t = radius * 0.9999;
                let attack = (attempt < 10).then(|| (class, (class + 1 + attempt % (k - 1)) % k));
                let shares: Vec<Vec<f64>> = (0..3)
                    .map(|g| {
                        // An attacker may aim at a margin at each level, in either direction.
                        let attack =
                            attack.map(|(a, b)| if attempt & (1 << g) == 0 { (a, b) } else { (b, a) });
                        moved(
                            p.slice(ndarray::s![g, 0, ..]).as_slice().unwrap(),
                            sigmas[g],
                            t,
                            &mut rng,
                            attack,
                        )
                    })
                    .collect();
                if radius > 0.0 {
                    assert_eq!(decide_shares(&cascade, &shares), class, "{p} {radius}");
                }
            }
            if radius > 0.0 && k == 2 {
                // Two classes: just outside, an attack on every level at once succeeds, for some pattern of directions.
                flipped_outside += usize::from((0..8).any(|pattern| {
                    let shares: Vec<Vec<f64>> = (0..3)
                        .map(|g| {
                            let attack =
                                if pattern & (1 << g) == 0 { (class, 1 - class) } else { (1 - class, class) };
                            let p = p.slice(ndarray::s![g, 0, ..]).to_vec();
                            let mut moved =
                                moved(&p, sigmas[g], radius * 1.001 + 1e-9, &mut rng, Some(attack));
                            // Keep what the attack leaves consistent: probabilities of two classes.
                            moved[1 - class] = 1.0 - moved[class];
                            moved
                        })
                        .collect();
                    decide_shares(&cascade, &shares) != class
                }));
            }
        }
        assert!(certified > 1000 && flipped_outside > 300, "{certified} {flipped_outside}");
    }

    #[test]
    fn budgets_and_radius_say_the_same_under_gaussian_levels() {
        let cascade = Cascade::new([1.0, 0.5, 0.25].map(gaussian).to_vec(), Some(vec![0.3, 0.15])).unwrap();
        let mut rng = crate::Seed::new(2).stream(crate::Role::Model, 0, 0);
        for _ in 0..60 {
            let k = rng.random_range(2..4);
            let table = known(&cascade, &draw(&mut rng, 3, k));
            let radius = table.radius().unwrap()[0];
            let norm = table.trigger_norm(9, false).unwrap()[0];
            assert!((3.0 * norm - radius).abs() < 1e-7 * (1.0 + radius), "{norm} {radius}");
            assert_eq!(table.abstained()[0], radius <= 0.0);
            let holds =
                |trigger_norm| table.holds(Change { n_poisoned: 9, trigger_norm, labels: false }).unwrap()[0];
            if norm > 0.0 {
                assert!(holds(norm) && !holds(1.0001 * norm));
            }
            let count = table.n_poisoned(0.1, false).unwrap()[0];
            let largest = ((radius / 0.1).powi(2)).min(400.0);
            assert!(
                (count as f64) <= largest && count as f64 >= largest - 1.0 - 1e-6 * largest,
                "{count} {largest}"
            );
        }
    }

    #[test]
    fn budgets_of_subsample_levels_are_those_of_brute_force() {
        let inner = Law::Product(
            Product::new(gaussian(1.0), Law::LabelNoise(LabelNoise::new(0.2).unwrap())).unwrap(),
        );
        let bag = |inner, size| Law::Subsample(Subsample::new(inner, size).unwrap());
        let levels = vec![bag(Some(inner), 20), bag(None, 10), bag(Some(gaussian(0.5)), 5)];
        let cascade = Cascade::new(levels, None).unwrap();
        let mut rng = crate::Seed::new(3).stream(crate::Role::Model, 0, 0);
        let mut certified = 0;
        for _ in 0..20 {
            let table = known(&cascade, &draw(&mut rng, 3, 2));
            assert_eq!(table.radius(), None);
            for labels in [false, true] {
                let holds = |n_poisoned, trigger_norm| {
                    table.holds(Change { n_poisoned, trigger_norm, labels }).unwrap()[0]
                };
                let norm = table.trigger_norm(10, labels).unwrap()[0];
                assert_eq!(norm > 0.0, holds(10, 1e-6));
                if norm > 0.0 && norm.is_finite() {
                    certified += 1;
                    assert!(holds(10, norm) && !holds(10, norm * 1.0001));
                }
                let count = table.n_poisoned(0.5, labels).unwrap()[0];
                assert!(count == 0 || holds(count, 0.5));
                assert!(count == 400 || !holds(count + 1, 0.5));
            }
        }
        assert!(certified > 5, "{certified}");
    }
}
