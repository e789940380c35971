//! From votes to p_A and p_B: which statements are made, at which alpha, with which bound.
//!
//! | class choice | runner-up | statements that hold together | alpha of each |
//! |---|---|---|---|
//! | union | complement | lower bounds of all classes | alpha / 2 above 1/2; below, alpha / K (see below) |
//! | union | bound | K lower bounds, 2 upper bounds | alpha / (K + 2) |
//! | split | complement | 1 lower bound | alpha |
//! | split | bound | 1 lower and 1 upper bound | alpha / 2 |
//!
//! `family_wise` divides alpha by the number of test samples as well.
//!
//! **Upper bounds.** Let B* be the class with the largest true probability among all but A. Whatever the bounds of
//! the others, the largest upper bound of a class other than A is at least that of B*, so only B*'s has to hold. A
//! split fixes A, and with it B*, before the votes that bound them: one statement. With a union, A depends on the
//! votes, but B* is one of the two truly largest classes (the second, if A is the first; the first, if not): two.
//!
//! **Complement.** The levels of K lower bounds may depend on what is refuted (`bounds`, page): a true probability g is
//! refuted at the level alpha min(g, 1/2), and the g sum to 1. A certificate needs a lower bound above 1/2, which is
//! the bound at alpha/2 for any K. Where nothing is certified, the bound at alpha/K is reported, and below 1/K the
//! one at the level alpha g. That is what makes *all* that is reported hold together: alpha/K for whatever is not
//! certified, beside alpha/2 for what is, would not (N = 2, K = 3, alpha = 0.51, probabilities 0.088, 0.456, 0.456: wrong
//! with probability 0.59).
//!
//! **Cascades** need bounds of every class at each level ([`Confidence::class_bounds`]): with complement K lower
//! bounds at alpha/K, from which upper bounds follow; with bound K lower and 2 upper ones as above, since a margin of
//! the largest class but A is the largest margin but A's.
//!
//! With two classes "complement" and "bound" say the same, and the first needs fewer statements: it is taken for both.

use std::collections::HashMap;

use ndarray::Array2;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::bounds::{self, MAJORITY};
use super::settings::{Bound, ConfidenceBuilder, RunnerUp, Selection};
use crate::error::{Error, Result};
use crate::interval::Interval;
use crate::process::install_each;
use crate::quantity::{Alpha, Quantity};
use crate::stop::Stop;
use crate::votes::{Answers, Ballots, Counts, Tally};

/// The checked settings of a certification.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Confidence {
    /// Chance that a statement is wrong.
    pub alpha: Alpha,
    /// The confidence bound.
    pub bound: Bound,
    /// How the class is chosen.
    pub selection: Selection,
    /// What bounds the other classes.
    pub runner_up: RunnerUp,
    /// Whether all test samples' statements hold together.
    pub family_wise: bool,
}

impl Confidence {
    /// Settings at `alpha`, the usual ones until others are named; checked once members and classes are known.
    ///
    /// # Example
    /// ```
    /// use certssb::{Bound, Confidence, RunnerUp};
    /// let usual = Confidence::at(0.001).for_votes(1000, 10)?;
    /// assert_eq!((usual.bound, usual.runner_up), (Bound::ClopperPearson, RunnerUp::Bound));
    /// let split = Confidence::at(0.001).bound("kl").selection("split").split(50).for_scores(1000, 2)?;
    /// assert_eq!((split.bound, split.choosing()), (Bound::Kl, 50));
    /// # Ok::<(), certssb::Error>(())
    /// ```
    pub fn at(alpha: f64) -> ConfidenceBuilder {
        ConfidenceBuilder::new(alpha)
    }

    /// How many members choose the class and are not used for bounds.
    pub fn choosing(&self) -> usize {
        match self.selection {
            Selection::Union => 0,
            Selection::Split { members } => members,
        }
    }

    /// The alpha of a single bound that a certificate rests on.
    pub fn share(&self, n_classes: usize, n_samples: usize) -> f64 {
        let statements = match (self.selection, self.runner_up) {
            (Selection::Union, RunnerUp::Complement) | (Selection::Split { .. }, RunnerUp::Bound) => 2,
            (Selection::Union, RunnerUp::Bound) => n_classes + 2,
            (Selection::Split { .. }, RunnerUp::Complement) => 1,
        };
        self.family_share(n_samples) / statements as f64
    }

    /// The alpha of a single bound where every class of a level is bounded.
    pub(crate) fn class_share(&self, n_classes: usize, n_samples: usize) -> f64 {
        let statements = match self.runner_up {
            RunnerUp::Complement => n_classes,
            RunnerUp::Bound => n_classes + 2,
        };
        self.family_share(n_samples) / statements as f64
    }

    fn family_share(&self, n_samples: usize) -> f64 {
        let family = if self.family_wise { n_samples.max(1) } else { 1 };
        self.alpha.get() / family as f64
    }

    /// The same settings for one of `parts` statements that hold together.
    pub(crate) fn part_of(&self, parts: usize) -> Self {
        Self { alpha: Alpha::wrap(self.alpha.get() / parts as f64), ..*self }
    }

    /// Lower and upper bounds of the classes' probabilities, shapes (n_samples, n_classes). All lower bounds hold
    /// together, and with `RunnerUp::Complement` all upper bounds as well, which are 1 minus the others' lower bounds;
    /// with `RunnerUp::Bound` those of the two truly largest classes do, and with them the largest upper bound among
    /// all classes but one, whichever that is.
    ///
    /// # Errors
    /// `Cancelled` where the work is to stop.
    pub(crate) fn class_bounds(&self, ballots: &Ballots) -> Result<(Array2<f64>, Array2<f64>)> {
        let (n, k) = (ballots.n_samples(), ballots.n_classes());
        let alpha = self.class_share(k, n);
        let tally = ballots.tally(0, ballots.n_members());
        let mut table = Tables::new(*self, tally.n_members() as u64, alpha);
        let mut bounds = |sample: usize, class: usize| match self.bound {
            Bound::Betting => {
                let answers = ballots.sequence(0, sample, class);
                (bounds::betting_lower(&answers, alpha), bounds::betting_upper(&answers, alpha))
            }
            _ => {
                let sum = tally.sums()[[sample, class]];
                (table.lower.of(sum), table.upper.of(sum))
            }
        };
        let (mut lower, mut upper, stop) = (Array2::zeros((n, k)), Array2::zeros((n, k)), Stop::current());
        for sample in 0..n {
            for class in 0..k {
                stop.check()?;
                (lower[[sample, class]], upper[[sample, class]]) = bounds(sample, class);
            }
            if self.runner_up == RunnerUp::Complement {
                for class in 0..k {
                    let others = (0..k).filter(|c| *c != class).map(|c| lower[[sample, c]]);
                    // Each addition rounds down, so that the difference is not too small.
                    let sum =
                        others.fold(0.0_f64, |sum, p| if p > 0.0 { (sum + p).next_down() } else { sum });
                    upper[[sample, class]] = (1.0 - sum).next_up().clamp(0.0, 1.0);
                }
            }
        }
        stop.check()?;
        Ok((lower, upper))
    }

    /// The interval of every sample.
    ///
    /// # Errors
    /// A device error if the betting bound finds no thread to work on; `Cancelled` where the work is to stop.
    pub fn intervals(&self, ballots: &Ballots) -> Result<Vec<Interval>> {
        let counts = ballots.counts(self.choosing());
        if self.bound == Bound::Betting {
            return self.bet(ballots, &counts.winners());
        }
        self.counted(&counts)
    }

    /// The interval of every sample from counts alone, for every bound that does not read the members' order.
    fn counted(&self, counts: &Counts) -> Result<Vec<Interval>> {
        let alpha = self.share(counts.n_classes(), counts.n_samples());
        let tally = counts.tally();
        let mut tables = Tables::new(*self, tally.n_members() as u64, alpha);
        tables.share_among(counts.n_classes());
        let winners: Vec<(usize, usize)> = counts.winners().into_iter().enumerate().collect();
        let (mut intervals, stop) = (Vec::with_capacity(winners.len()), Stop::current());
        for some in winners.chunks(LOOK) {
            stop.check()?;
            intervals.extend(some.iter().map(|(i, winner)| self.interval(&mut tables, tally, *i, *winner)));
        }
        stop.check()?;
        Ok(intervals)
    }

    /// The interval of every sample from whatever is known of the votes.
    ///
    /// # Errors
    /// `Parameter` when the votes were counted for another choice of the class, or the bound reads their order.
    pub fn intervals_of(&self, answers: Answers<'_>) -> Result<Vec<Interval>> {
        match answers {
            Answers::Ordered(ballots) => self.intervals(ballots),
            Answers::Counted(_) if self.bound == Bound::Betting => Err(Error::parameter(
                "bound",
                "a bound on counts; betting reads the members' order",
                "counts",
            )),
            Answers::Counted(counts) if counts.choosing() != self.choosing() => {
                let expected = format_args!("votes of {} choosing members counted apart", self.choosing());
                Err(Error::parameter("votes", expected, counts.choosing()))
            }
            Answers::Counted(counts) => self.counted(counts),
        }
    }

    fn interval(&self, tables: &mut Tables, tally: &Tally, sample: usize, prediction: usize) -> Interval {
        let row = tally.sums().row(sample);
        let p_upper = match self.runner_up {
            RunnerUp::Complement => 1.0,
            RunnerUp::Bound => {
                let others = row.iter().enumerate().filter(|(class, _)| *class != prediction);
                tables.upper.of(others.map(|(_, sum)| *sum).fold(0.0, f64::max))
            }
        };
        Interval::new(prediction, tables.lower_of_the_chosen(row[prediction]), p_upper)
    }

    /// The betting bound reads each member's answer in order, so nothing can be looked up by count.
    fn bet(&self, ballots: &Ballots, winners: &[usize]) -> Result<Vec<Interval>> {
        let from = self.choosing();
        let alpha = self.share(ballots.n_classes(), ballots.n_samples());
        let shared = self.shares_levels().then(|| (2.0 * alpha, 1.0 / ballots.n_classes() as f64));
        let stop = Stop::current();
        let bet = |(sample, prediction): (usize, &usize)| {
            stop.check()?;
            let sequence = |class| ballots.sequence(from, sample, class);
            let own = sequence(*prediction);
            let p_lower = match (bounds::betting_lower(&own, alpha), shared) {
                (low, Some((whole, cap))) if low <= MAJORITY => {
                    bounds::betting_lower_shared(&own, whole, cap)
                }
                (low, _) => low,
            };
            let others = (0..ballots.n_classes()).filter(|class| class != prediction);
            let p_upper = match self.runner_up {
                RunnerUp::Complement => 1.0,
                RunnerUp::Bound => {
                    others.map(|class| bounds::betting_upper(&sequence(class), alpha)).fold(0.0, f64::max)
                }
            };
            stop.check()?;
            Ok(Interval::new(*prediction, p_lower, p_upper))
        };
        if winners.len() < 2 {
            return winners.iter().enumerate().map(bet).collect();
        }
        install_each(winners.par_iter().enumerate(), || (), |(), own| stop.carried(|| bet(own)))
    }

    /// Whether all classes' lower bounds share alpha by what they refute.
    fn shares_levels(&self) -> bool {
        (self.selection, self.runner_up) == (Selection::Union, RunnerUp::Complement)
    }

    /// The interval of a sample on which `n_members` members agree; p_lower is exact only where it is above 1/2.
    pub fn unanimous(&self, n_members: usize, n_classes: usize, n_samples: usize) -> Interval {
        self.unanimous_at(self.share(n_classes, n_samples), n_members)
    }

    /// The same with a single bound's alpha.
    fn unanimous_at(&self, alpha: f64, n_members: usize) -> Interval {
        let n = n_members.saturating_sub(self.choosing());
        let (p_lower, p_upper) = match self.bound {
            Bound::Betting => {
                (bounds::betting_lower(&vec![1.0; n], alpha), bounds::betting_upper(&vec![0.0; n], alpha))
            }
            bound => {
                (lower_bound(bound, n as f64, n as u64, alpha), upper_bound(bound, 0.0, n as u64, alpha))
            }
        };
        Interval::new(0, p_lower, if self.runner_up == RunnerUp::Bound { p_upper } else { 1.0 })
    }

    /// A single bound's alpha in a table of so many levels.
    pub(crate) fn share_at_levels(&self, n_levels: usize, n_classes: usize, n_samples: usize) -> f64 {
        if n_levels > 1 {
            self.part_of(n_levels).class_share(n_classes, n_samples)
        } else {
            self.share(n_classes, n_samples)
        }
    }

    /// Whether unanimous votes certify anything, at a single bound's alpha.
    pub(crate) fn enough(&self, alpha: f64, n_members: usize) -> bool {
        !self.unanimous_at(alpha, n_members).abstained()
    }
}

/// Samples between two looks at the flag that stops work, where each takes a fraction of a millisecond at most.
const LOOK: usize = 64;

/// The smallest number of members with which even unanimous votes certify anything, searched up to 2^40.
pub fn members_needed(confidence: &Confidence, n_classes: usize, n_samples: usize) -> usize {
    members_needed_at(confidence, confidence.share(n_classes, n_samples))
}

/// The same with a single bound's alpha.
pub(crate) fn members_needed_at(confidence: &Confidence, alpha: f64) -> usize {
    // Where the work is to stop, any number ends the search.
    let stop = Stop::current();
    let enough = |n: usize| stop.is_set() || confidence.enough(alpha, n);
    let mut high = confidence.choosing() + 1;
    while !enough(high) && high < 1 << 40 {
        high *= 2;
    }
    let mut low = high / 2;
    while high - low > 1 {
        let middle = (low + high) / 2;
        if enough(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

/// A bound by counts; a betting bound on counts alone would lose its order and never comes here.
fn lower_bound(bound: Bound, sum: f64, n: u64, alpha: f64) -> f64 {
    match bound {
        Bound::ClopperPearson => bounds::clopper_pearson_lower(sum as u64, n, alpha),
        Bound::Hoeffding => bounds::hoeffding_lower(mean(sum, n), n, alpha),
        Bound::Kl | Bound::Betting => bounds::kl_lower(mean(sum, n), n, alpha),
    }
}

fn upper_bound(bound: Bound, sum: f64, n: u64, alpha: f64) -> f64 {
    match bound {
        Bound::ClopperPearson => bounds::clopper_pearson_upper(sum as u64, n, alpha),
        Bound::Hoeffding => bounds::hoeffding_upper(mean(sum, n), n, alpha),
        Bound::Kl | Bound::Betting => bounds::kl_upper(mean(sum, n), n, alpha),
    }
}

fn lower_bound_shared(bound: Bound, sum: f64, n: u64, alpha: f64, cap: f64) -> f64 {
    match bound {
        Bound::ClopperPearson => bounds::clopper_pearson_lower_shared(sum as u64, n, alpha, cap),
        Bound::Hoeffding => bounds::hoeffding_lower_shared(mean(sum, n), n, alpha, cap),
        Bound::Kl | Bound::Betting => bounds::kl_lower_shared(mean(sum, n), n, alpha, cap),
    }
}

fn mean(sum: f64, n: u64) -> f64 {
    if n == 0 {
        0.0
    } else {
        (sum / n as f64).min(1.0)
    }
}

/// Lower and upper bounds by sum of votes or scores.
struct Tables {
    lower: Table,
    upper: Table,
    /// Of classes that are not certified, where levels are shared among classes.
    reported: Option<Table>,
    settings: (Confidence, u64, f64),
}

impl Tables {
    fn new(settings: Confidence, n: u64, alpha: f64) -> Self {
        let bound = settings.bound;
        Self {
            lower: Table::new(n, move |sum| lower_bound(bound, sum, n, alpha)),
            upper: Table::new(n, move |sum| upper_bound(bound, sum, n, alpha)),
            reported: None,
            settings: (settings, n, alpha),
        }
    }

    /// Shares levels among so many classes, if the settings do.
    fn share_among(&mut self, n_classes: usize) {
        let (settings, n, alpha) = self.settings;
        if settings.shares_levels() {
            // A certified class has half of the whole.
            let (whole, cap, bound) = (2.0 * alpha, 1.0 / n_classes as f64, settings.bound);
            let of = move |sum| lower_bound_shared(bound, sum, n, whole, cap);
            self.reported = Some(Table::new(n, of));
        }
    }

    /// The lower bound of the class that the same votes have chosen.
    fn lower_of_the_chosen(&mut self, sum: f64) -> f64 {
        let low = self.lower.of(sum);
        match &mut self.reported {
            Some(reported) if low <= MAJORITY => reported.of(sum),
            _ => low,
        }
    }
}

/// Bounds by sum of votes or scores: computed once per distinct value.
struct Table {
    bound: Box<dyn Fn(f64) -> f64>,
    known: HashMap<u64, f64>,
    /// Of whole sums, which votes have, by sum.
    counts: Vec<Option<f64>>,
}

/// Whole sums up to this are looked up by place.
const COUNTS: u64 = 1 << 16;

impl Table {
    fn new(n: u64, bound: impl Fn(f64) -> f64 + 'static) -> Self {
        let places = if n <= COUNTS { n as usize + 1 } else { 0 };
        Self { bound: Box::new(bound), known: HashMap::new(), counts: vec![None; places] }
    }

    fn of(&mut self, sum: f64) -> f64 {
        let count = sum as usize;
        match self.counts.get_mut(count) {
            Some(known) if count as f64 == sum => *known.get_or_insert_with(|| (self.bound)(sum)),
            _ => *self.known.entry(sum.to_bits()).or_insert_with(|| (self.bound)(sum)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::normal::normal_quantile_lower;

    fn settings(bound: &str, selection: &str, runner_up: &str, split: Option<usize>, n: usize) -> Confidence {
        Confidence::at(0.001)
            .bound(bound)
            .selection(selection)
            .runner_up(runner_up)
            .split(split)
            .for_votes(n, 2)
            .unwrap()
    }

    fn rho(confidence: &Confidence, n: usize) -> f64 {
        let interval = confidence.unanimous(n, 2, 1);
        0.5 * (normal_quantile_lower(interval.p_lower) - normal_quantile_lower(interval.p_upper))
    }

    #[test]
    fn unanimous_thousand() {
        // The figures of the literature's settings: N = 1000, alpha = 0.001, two classes.
        let split = settings("clopper_pearson", "split", "auto", Some(100), 1100);
        assert!((rho(&split, 1100) - 2.463).abs() < 5e-4, "{}", rho(&split, 1100));
        let hoeffding = settings("hoeffding", "split", "auto", Some(100), 1100);
        assert!((rho(&hoeffding, 1100) - 1.565).abs() < 5e-4);
        let union = settings("clopper_pearson", "union", "auto", None, 1000);
        assert!(rho(&union, 1000) < rho(&split, 1100) && rho(&union, 1000) > 2.36, "{}", rho(&union, 1000));
    }

    #[test]
    fn members_needed_is_the_smallest_number() {
        for (bound, selection, expected) in
            [("auto", "union", Some(11)), ("hoeffding", "union", Some(16)), ("betting", "union", None)]
        {
            let confidence = settings(bound, selection, "auto", None, 1000);
            let needed = members_needed(&confidence, 2, 1);
            assert!(!confidence.unanimous(needed, 2, 1).abstained());
            assert!(confidence.unanimous(needed - 1, 2, 1).abstained());
            if let Some(expected) = expected {
                assert_eq!(needed, expected, "{bound}");
            }
        }
    }

    #[test]
    fn the_runner_up_bound_certifies_more_with_ten_classes() {
        let mut votes = Array2::<u16>::from_shape_fn((1000, 1), |(m, _)| (m % 10) as u16);
        votes.slice_mut(ndarray::s![..400, ..]).fill(3);
        let ballots = Ballots::from_votes(votes, 10).unwrap();
        let interval = |runner_up: &str| {
            Confidence::at(0.001)
                .runner_up(runner_up)
                .for_votes(1000, 10)
                .unwrap()
                .intervals(&ballots)
                .unwrap()[0]
        };
        assert!(interval("complement").abstained());
        assert!(!interval("bound").abstained() && interval("auto") == interval("bound"));
    }

    #[test]
    fn betting_reads_the_order_and_stays_below_clopper_pearson() {
        let votes = Array2::<u16>::from_shape_fn((500, 3), |(m, i)| u16::from(m % 50 == 0 && i > 0));
        let ballots = Ballots::from_votes(votes, 2).unwrap();
        let bets = settings("betting", "union", "auto", None, 500).intervals(&ballots).unwrap();
        let exact = settings("auto", "union", "auto", None, 500).intervals(&ballots).unwrap();
        for (bet, exact) in bets.iter().zip(&exact) {
            assert!(bet.p_lower < exact.p_lower && bet.p_lower > exact.p_lower - 0.05, "{bet:?} {exact:?}");
        }
    }

    #[test]
    fn refusals_name_the_parameter() {
        let check = |bound: &str, selection: &str, runner_up: &str, split| {
            Confidence::at(0.001)
                .bound(bound)
                .selection(selection)
                .runner_up(runner_up)
                .split(split)
                .for_votes(100, 2)
                .unwrap_err()
                .to_string()
        };
        assert!(check("bernstein", "union", "auto", None).contains("'clopper_pearson'"));
        assert!(check("auto", "first", "auto", None).contains("'union', 'split'"));
        assert!(check("auto", "union", "third", None).contains("'runner_up'"));
        assert!(check("auto", "split", "auto", Some(100)).contains("'split'"));
        assert!(check("auto", "union", "auto", Some(10)).contains("'split'"));
        assert!(Confidence::at(1.0).for_votes(9, 2).is_err());
        assert!(Confidence::at(0.1).bound("clopper_pearson").for_scores(9, 2).is_err());
    }
}
