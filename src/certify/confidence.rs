//! From votes to p_A and p_B: which statements are made, at which alpha, with which bound.
//!
//! | class choice | runner-up | statements that hold together | alpha of each |
//! |---|---|---|---|
//! | union | complement | K lower bounds | alpha / K |
//! | union | bound | K lower and K upper bounds | alpha / 2K |
//! | split | complement | 1 lower bound | alpha |
//! | split | bound | 1 lower and K - 1 upper bounds | alpha / K |
//!
//! `family_wise` divides alpha by the number of test samples as well.

use std::collections::HashMap;

use ndarray::Array2;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::bounds;
use crate::error::{Error, Result};
use crate::quantity::{Alpha, Quantity};
use crate::votes::{Answers, Ballots, Counts, Tally};

/// Which confidence bound turns a vote share into a probability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Exact binomial bound; votes only.
    ClopperPearson,
    /// Chernoff's form of Hoeffding's bound; votes or scores.
    Kl,
    /// The literature's bound.
    Hoeffding,
    /// Any-time valid, for ensembles that grow until the answer is liked.
    Betting,
}

impl Bound {
    const KNOWN: [&'static str; 5] = ["auto", "clopper_pearson", "kl", "hoeffding", "betting"];

    /// The bound of that name; `auto` is Clopper-Pearson for votes and Kullback-Leibler for scores.
    ///
    /// # Errors
    /// `Parameter` for an unknown name (lists the known), or Clopper-Pearson on scores.
    pub fn parse(name: &str, scores: bool) -> Result<Self> {
        match name {
            "auto" if scores => Ok(Self::Kl),
            "auto" => Ok(Self::ClopperPearson),
            "clopper_pearson" if scores => Err(Error::parameter(
                "bound",
                "'kl', 'hoeffding' or 'betting' for scores, which are not yes-or-no votes",
                "'clopper_pearson'",
            )),
            "clopper_pearson" => Ok(Self::ClopperPearson),
            "kl" => Ok(Self::Kl),
            "hoeffding" => Ok(Self::Hoeffding),
            "betting" => Ok(Self::Betting),
            other => Err(Error::unknown("bound", &Self::KNOWN, other)),
        }
    }
}

/// How the class is chosen without spoiling the bound on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// The same members choose and bound: all classes' bounds hold together.
    Union,
    /// The first members choose, the others bound (Cohen et al. 2019).
    Split {
        /// How many members choose.
        members: usize,
    },
}

/// What bounds the other classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunnerUp {
    /// p_B = 1 - p_A.
    Complement,
    /// p_B = the largest upper bound of another class, at most 1 - p_A.
    Bound,
}

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

    /// Whether no class could be certified, not even against no change at all.
    pub fn abstained(&self) -> bool {
        self.p_lower <= self.p_upper
    }
}

impl Confidence {
    /// Checks settings as a user types them. `split` is the number of choosing members; by default a tenth.
    ///
    /// # Errors
    /// `Parameter` for alpha outside (0, 1), unknown names (the known are listed), and a `split` without
    /// members left to bound.
    #[allow(clippy::too_many_arguments)]
    pub fn check(
        alpha: f64,
        bound: &str,
        selection: &str,
        runner_up: &str,
        family_wise: bool,
        split: Option<usize>,
        n_members: usize,
        n_classes: usize,
        scores: bool,
    ) -> Result<Self> {
        Ok(Self {
            alpha: Alpha::check("alpha", alpha)?,
            bound: Bound::parse(bound, scores)?,
            selection: check_selection(selection, split, n_members)?,
            runner_up: match runner_up {
                "auto" if n_classes == 2 => RunnerUp::Complement,
                "auto" => RunnerUp::Bound,
                "complement" => RunnerUp::Complement,
                "bound" => RunnerUp::Bound,
                other => return Err(Error::unknown("runner_up", &["auto", "complement", "bound"], other)),
            },
            family_wise,
        })
    }

    /// How many members choose the class and are not used for bounds.
    pub fn choosing(&self) -> usize {
        match self.selection {
            Selection::Union => 0,
            Selection::Split { members } => members,
        }
    }

    /// The alpha of a single bound.
    pub fn share(&self, n_classes: usize, n_samples: usize) -> f64 {
        let statements = match (self.selection, self.runner_up) {
            (Selection::Union, RunnerUp::Complement) => n_classes,
            (Selection::Union, RunnerUp::Bound) => 2 * n_classes,
            (Selection::Split { .. }, RunnerUp::Complement) => 1,
            (Selection::Split { .. }, RunnerUp::Bound) => n_classes,
        };
        let family = if self.family_wise { n_samples.max(1) } else { 1 };
        self.alpha.get() / (statements as f64 * family as f64)
    }

    /// The same settings for one of `parts` statements that hold together.
    pub(crate) fn part_of(&self, parts: usize) -> Self {
        Self { alpha: Alpha::wrap(self.alpha.get() / parts as f64), ..*self }
    }

    /// Lower and upper bounds of every class's probability, all holding together; shapes (n_samples, n_classes).
    /// With `RunnerUp::Complement` a class's upper bound is 1 minus the others' lower bounds.
    pub(crate) fn class_bounds(&self, ballots: &Ballots) -> (Array2<f64>, Array2<f64>) {
        let (n, k) = (ballots.n_samples(), ballots.n_classes());
        let alpha = self.share(k, n);
        let tally = ballots.tally(0, ballots.n_members());
        let mut table = Table::new(self.bound, tally.n_members() as u64, alpha);
        let mut bounds = |sample: usize, class: usize| match self.bound {
            Bound::Betting => {
                let answers = ballots.sequence(0, sample, class);
                (bounds::betting_lower(&answers, alpha), bounds::betting_upper(&answers, alpha))
            }
            _ => table.bounds(tally.sums()[[sample, class]]),
        };
        let (mut lower, mut upper) = (Array2::zeros((n, k)), Array2::zeros((n, k)));
        for sample in 0..n {
            for class in 0..k {
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
        (lower, upper)
    }

    /// The interval of every sample.
    pub fn intervals(&self, ballots: &Ballots) -> Vec<Interval> {
        let counts = ballots.counts(self.choosing());
        if self.bound == Bound::Betting {
            let alpha = self.share(ballots.n_classes(), ballots.n_samples());
            return self.bet(ballots, &counts.winners(), alpha);
        }
        self.counted(&counts)
    }

    /// The interval of every sample from counts alone, for every bound that does not read the members' order.
    fn counted(&self, counts: &Counts) -> Vec<Interval> {
        let alpha = self.share(counts.n_classes(), counts.n_samples());
        let tally = counts.tally();
        let mut table = Table::new(self.bound, tally.n_members() as u64, alpha);
        let winners = counts.winners();
        winners.iter().enumerate().map(|(i, winner)| self.interval(&mut table, tally, i, *winner)).collect()
    }

    /// The interval of every sample from whatever is known of the votes.
    ///
    /// # Errors
    /// `Parameter` when the votes were counted for another choice of the class, or the bound reads their order.
    pub fn intervals_of(&self, answers: Answers<'_>) -> Result<Vec<Interval>> {
        match answers {
            Answers::Ordered(ballots) => Ok(self.intervals(ballots)),
            Answers::Counted(_) if self.bound == Bound::Betting => Err(Error::parameter(
                "bound",
                "a bound on counts; betting reads the members' order",
                "counts",
            )),
            Answers::Counted(counts) if counts.choosing() != self.choosing() => {
                let expected = format_args!("votes of {} choosing members counted apart", self.choosing());
                Err(Error::parameter("votes", expected, counts.choosing()))
            }
            Answers::Counted(counts) => Ok(self.counted(counts)),
        }
    }

    fn interval(&self, table: &mut Table, tally: &Tally, sample: usize, prediction: usize) -> Interval {
        let row = tally.sums().row(sample);
        let p_lower = table.bounds(row[prediction]).0;
        let p_upper = match self.runner_up {
            RunnerUp::Complement => 1.0,
            RunnerUp::Bound => {
                let others = row.iter().enumerate().filter(|(class, _)| *class != prediction);
                table.bounds(others.map(|(_, sum)| *sum).fold(0.0, f64::max)).1
            }
        };
        Interval::new(prediction, p_lower, p_upper)
    }

    /// The betting bound reads each member's answer in order, so nothing can be looked up by count.
    fn bet(&self, ballots: &Ballots, winners: &[usize], alpha: f64) -> Vec<Interval> {
        let from = self.choosing();
        winners
            .par_iter()
            .enumerate()
            .map(|(sample, prediction)| {
                let sequence = |class| ballots.sequence(from, sample, class);
                let p_lower = bounds::betting_lower(&sequence(*prediction), alpha);
                let others = (0..ballots.n_classes()).filter(|class| class != prediction);
                let p_upper = match self.runner_up {
                    RunnerUp::Complement => 1.0,
                    RunnerUp::Bound => {
                        others.map(|class| bounds::betting_upper(&sequence(class), alpha)).fold(0.0, f64::max)
                    }
                };
                Interval::new(*prediction, p_lower, p_upper)
            })
            .collect()
    }

    /// The interval of a sample on which `n_members` members agree.
    pub fn unanimous(&self, n_members: usize, n_classes: usize, n_samples: usize) -> Interval {
        let alpha = self.share(n_classes, n_samples);
        let n = n_members.saturating_sub(self.choosing());
        let (p_lower, p_upper) = match self.bound {
            Bound::Betting => {
                (bounds::betting_lower(&vec![1.0; n], alpha), bounds::betting_upper(&vec![0.0; n], alpha))
            }
            bound => {
                let mut table = Table::new(bound, n as u64, alpha);
                (table.bounds(n as f64).0, table.bounds(0.0).1)
            }
        };
        Interval::new(0, p_lower, if self.runner_up == RunnerUp::Bound { p_upper } else { 1.0 })
    }
}

fn check_selection(name: &str, split: Option<usize>, n_members: usize) -> Result<Selection> {
    match (name, split) {
        ("union", None) => Ok(Selection::Union),
        ("union", Some(split)) => Err(Error::parameter("split", "None with selection='union'", split)),
        ("split", split) => {
            let members = split.unwrap_or((n_members / 10).max(1));
            if (1..n_members).contains(&members) {
                return Ok(Selection::Split { members });
            }
            Err(Error::parameter(
                "split",
                format_args!(
                    "an integer from 1 to {}, fewer than the {n_members} members, so that some are left to bound",
                    n_members.saturating_sub(1)
                ),
                members,
            ))
        }
        (other, _) => Err(Error::unknown("selection", &["union", "split"], other)),
    }
}

/// The smallest number of members with which even unanimous votes certify anything, searched up to 2^40.
pub fn members_needed(confidence: &Confidence, n_classes: usize, n_samples: usize) -> usize {
    let enough = |n: usize| !confidence.unanimous(n, n_classes, n_samples).abstained();
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

/// Bounds by sum of votes or scores: computed once per distinct value.
struct Table {
    bound: Bound,
    n: u64,
    alpha: f64,
    known: HashMap<u64, (f64, f64)>,
    /// Of whole sums, which votes have, by sum.
    counts: Vec<Option<(f64, f64)>>,
}

/// Whole sums up to this are looked up by place.
const COUNTS: u64 = 1 << 16;

impl Table {
    fn new(bound: Bound, n: u64, alpha: f64) -> Self {
        let places = if n <= COUNTS { n as usize + 1 } else { 0 };
        Self { bound, n, alpha, known: HashMap::new(), counts: vec![None; places] }
    }

    fn bounds(&mut self, sum: f64) -> (f64, f64) {
        let count = sum as usize;
        let whole = count as f64 == sum;
        match self.counts.get(count) {
            Some(Some(known)) if whole => *known,
            Some(None) if whole => {
                let found = self.any(sum);
                self.counts[count] = Some(found);
                found
            }
            _ => self.any(sum),
        }
    }

    fn any(&mut self, sum: f64) -> (f64, f64) {
        let (bound, n, alpha) = (self.bound, self.n, self.alpha);
        *self.known.entry(sum.to_bits()).or_insert_with(|| {
            let mean = if n == 0 { 0.0 } else { (sum / n as f64).min(1.0) };
            match bound {
                Bound::ClopperPearson => (
                    bounds::clopper_pearson_lower(sum as u64, n, alpha),
                    bounds::clopper_pearson_upper(sum as u64, n, alpha),
                ),
                Bound::Hoeffding => {
                    (bounds::hoeffding_lower(mean, n, alpha), bounds::hoeffding_upper(mean, n, alpha))
                }
                // A betting bound on counts alone would lose its order; it never comes here.
                Bound::Kl | Bound::Betting => {
                    (bounds::kl_lower(mean, n, alpha), bounds::kl_upper(mean, n, alpha))
                }
            }
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::normal::normal_quantile_lower;

    fn settings(bound: &str, selection: &str, runner_up: &str, split: Option<usize>, n: usize) -> Confidence {
        Confidence::check(0.001, bound, selection, runner_up, false, split, n, 2, false).unwrap()
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
            Confidence::check(0.001, "auto", "union", runner_up, false, None, 1000, 10, false)
                .unwrap()
                .intervals(&ballots)[0]
        };
        assert!(interval("complement").abstained());
        assert!(!interval("bound").abstained() && interval("auto") == interval("bound"));
    }

    #[test]
    fn betting_reads_the_order_and_stays_below_clopper_pearson() {
        let votes = Array2::<u16>::from_shape_fn((500, 3), |(m, i)| u16::from(m % 50 == 0 && i > 0));
        let ballots = Ballots::from_votes(votes, 2).unwrap();
        let bets = settings("betting", "union", "auto", None, 500).intervals(&ballots);
        let exact = settings("auto", "union", "auto", None, 500).intervals(&ballots);
        for (bet, exact) in bets.iter().zip(&exact) {
            assert!(bet.p_lower < exact.p_lower && bet.p_lower > exact.p_lower - 0.05, "{bet:?} {exact:?}");
        }
    }

    #[test]
    fn refusals_name_the_parameter() {
        let check = |bound: &str, selection: &str, runner_up: &str, split| {
            Confidence::check(0.001, bound, selection, runner_up, false, split, 100, 2, false)
                .unwrap_err()
                .to_string()
        };
        assert!(check("bernstein", "union", "auto", None).contains("'clopper_pearson'"));
        assert!(check("auto", "first", "auto", None).contains("'union', 'split'"));
        assert!(check("auto", "union", "third", None).contains("'runner_up'"));
        assert!(check("auto", "split", "auto", Some(100)).contains("'split'"));
        assert!(check("auto", "union", "auto", Some(10)).contains("'split'"));
        assert!(Confidence::check(1.0, "auto", "union", "auto", false, None, 9, 2, false).is_err());
        assert!(Confidence::check(0.1, "clopper_pearson", "union", "auto", false, None, 9, 2, true).is_err());
    }
}
