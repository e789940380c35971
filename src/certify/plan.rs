//! Advice before training: what a budget demands of the votes.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::bounds::{kl_lower, kl_upper};
use super::confidence::Confidence;
use super::enough::check_level;
use super::settings::RunnerUp;
use crate::change::{Change, Counted, Kind, Threat};
use crate::error::Result;
use crate::interval::Interval;
use crate::law::{BothWays, DataFacts, Law, NoiseLaw, Subsample};
use crate::stop::Stop;
use crate::votes::{unanimous_but, Ballots};

/// Number of members for which the needed agreement is stated.
const MEMBERS: usize = 1000;
/// A subsample size is suggested if this share of the members has to agree at most.
const EASY: f64 = 0.95;

/// What a budget demands of an ensemble under a law.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The threat in question.
    pub threat: Threat,
    /// The law in a few words.
    pub law: String,
    /// The smallest number of members that certify the budget if all of them agree; `None` if no number does.
    pub n_members: Option<f64>,
    /// How many of 1000 members have to agree; `None` if even all of them would not be enough.
    pub votes: Option<usize>,
    /// The largest subsample for which it is enough that 95 % of 1000 members agree, and how many have to there;
    /// `None` if there is none, or the law's own size is as good.
    pub suggestion: Option<(usize, usize)>,
}

impl Plan {
    /// The plan of `law` for a change in place, or any other threat, with the given settings of the bounds.
    ///
    /// # Errors
    /// `Parameter` when the law does not fit the data, or says nothing about such changes.
    ///
    /// # Example
    /// ```
    /// use certssb::{Change, Confidence, DataFacts, Gaussian, Law, Plan, Subsample};
    /// let law = Law::Subsample(Subsample::new(Some(Law::Gaussian(Gaussian::new(1.0)?)), 100)?);
    /// let facts = DataFacts { n_train: 12_665, n_features: Some(784), n_classes: 2 };
    /// let change = Change { n_poisoned: 253, trigger_norm: 1.0, labels: false };
    /// let confidence = Confidence::at(0.001).for_votes(1000, 2)?;
    /// let plan = Plan::of(&law, &facts, &change, &confidence)?;
    /// assert_eq!(plan.n_members, Some(81.0));
    /// assert!(plan.votes.is_some_and(|k| k < 950));
    /// # Ok::<(), certssb::Error>(())
    /// ```
    pub fn of(
        law: &Law,
        facts: &DataFacts,
        threat: impl Into<Threat>,
        confidence: &Confidence,
    ) -> Result<Self> {
        let threat = threat.into();
        threat.check()?;
        law.check(facts)?;
        check_level(confidence, confidence.share(facts.n_classes, 1))?;
        let ratio = law.against(threat, facts)?;
        let own_votes = votes_needed(&ratio, facts, confidence)?;
        Ok(Self {
            threat,
            law: law.describe(),
            n_members: unanimous_members(&ratio, facts, confidence)?,
            votes: own_votes,
            suggestion: suggest(law, facts, &threat, confidence, own_votes)?,
        })
    }

    /// Whether some number of members can certify the budget.
    pub fn possible(&self) -> bool {
        self.n_members.is_some()
    }

    /// The largest number of members that anybody trains; more are told as impossible in practice.
    const PRACTICAL: f64 = 1e7;
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change { n_poisoned, trigger_norm, labels } = self.threat.change;
        let labels = if labels { " and any labels" } else { ", labels unchanged" };
        match (self.threat.kind, self.threat.counted) {
            (Kind::Modified, Counted::Edits) => {
                let s = if n_poisoned == 1 { "" } else { "s" };
                write!(f, "{n_poisoned} poisoned sample{s}, trigger norm {trigger_norm}{labels}")?;
            }
            _ => write!(f, "If, before the training set was received or afterwards, {}", self.threat)?,
        }
        write!(f, ", under {}: ", self.law)?;
        match (self.n_members, self.votes) {
            (None, _) => write!(f, "impossible for this law with any number of members")?,
            (Some(n), _) if n > Self::PRACTICAL => {
                write!(f, "out of reach, {n:.1e} members would have to agree")?;
            }
            (Some(n), None) => write!(f, "{n} members are needed if all of them agree; 1000 are too few")?,
            (Some(n), Some(votes)) => {
                write!(
                    f,
                    "{n} members are enough if all of them agree; of 1000 members {votes} have to agree"
                )?;
            }
        }
        match self.suggestion {
            Some((size, votes)) => write!(
                f,
                ". Suggestion: subsamples of {size}, the largest for which 95 % agreement is enough ({votes} of 1000)."
            ),
            None => write!(f, "."),
        }
    }
}

/// The smallest N with which unanimous votes certify. Far from 1, N is a search on the bound itself; beyond what
/// anybody trains it is log(1/alpha) / -log(1 - q), q being the largest mass that other classes may have.
fn unanimous_members(ratio: &BothWays, facts: &DataFacts, confidence: &Confidence) -> Result<Option<f64>> {
    let Some(q) = largest_rest(ratio)? else { return Ok(None) };
    let alpha = confidence.share(facts.n_classes, 1);
    let estimate = (1.0 / alpha).ln() / -(-q).ln_1p();
    if estimate > 1e6 {
        return Ok(Some(estimate.ceil()));
    }
    let stop = Stop::current();
    let enough = |n: usize| {
        let Interval { p_lower, p_upper, .. } = confidence.unanimous(n, facts.n_classes, 1);
        stop.check()?;
        Ok(ratio.holds(p_lower, p_upper))
    };
    let mut high = (confidence.choosing() + 1).max(estimate as usize);
    while !enough(high)? {
        high *= 2;
    }
    let mut low = confidence.choosing();
    while high - low > 1 {
        let middle = (low + high) / 2;
        if enough(middle)? {
            high = middle;
        } else {
            low = middle;
        }
    }
    Ok(Some(high as f64))
}

/// The largest 1 - p_A that still certifies against p_B = 1 - p_A, from below; `None` if p_A = 1 does not.
fn largest_rest(ratio: &BothWays) -> Result<Option<f64>> {
    // In logarithms: a full-set Gaussian may ask for 1e-57.
    let stop = Stop::current();
    let holds = |log: f64| stop.check().map(|()| 2.0 * ratio.worst_upper(log.exp()) < 1.0);
    let (mut low, mut high) = (-690.0, 0.5_f64.ln());
    if !holds(low)? {
        return Ok(None);
    }
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if holds(middle)? {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(Some(low.exp()))
}

/// How many of [`MEMBERS`] have to agree, all others voting for one other class.
fn votes_needed(ratio: &BothWays, facts: &DataFacts, confidence: &Confidence) -> Result<Option<usize>> {
    let holds = |against: usize| {
        let ballots = unanimous_but(MEMBERS, against, facts.n_classes)?;
        // Choosing members agree; those that bound do not all.
        let intervals = confidence.intervals(&ballots)?;
        Ok(intervals.first().is_some_and(|own| ratio.holds(own.p_lower, own.p_upper)))
    };
    if !holds(0)? {
        return Ok(None);
    }
    let (mut low, mut high) = (0, MEMBERS / 2);
    while high - low > 1 {
        let middle = (low + high) / 2;
        if holds(middle)? {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(Some(MEMBERS - low))
}

/// The largest subsample size that demands at most [`EASY`] agreement. The demand grows with the size.
fn suggest(
    law: &Law,
    facts: &DataFacts,
    threat: &Threat,
    confidence: &Confidence,
    own_votes: Option<usize>,
) -> Result<Option<(usize, usize)>> {
    let inner = match law {
        Law::Subsample(law) => law.inner().cloned(),
        Law::Discrete(discrete) if discrete.test_input() => return Ok(None),
        law => Some(law.clone()),
    };
    let demand = |size: usize| -> Result<Option<usize>> {
        let ratio = Law::Subsample(Subsample::new(inner.clone(), size)?).against(threat, facts)?;
        let votes = votes_needed(&ratio, facts, confidence)?;
        Ok(votes.filter(|votes| *votes as f64 <= EASY * MEMBERS as f64))
    };
    let whole = facts.n_train;
    if matches!((law, own_votes), (law, Some(votes)) if !matches!(law, Law::Subsample(_)) && votes as f64 <= EASY * MEMBERS as f64)
        || demand(1)?.is_none()
    {
        return Ok(None);
    }
    let (mut low, mut high) = (1, whole + 1);
    while high - low > 1 {
        let middle = (low + high) / 2;
        if demand(middle)?.is_some() {
            low = middle;
        } else {
            high = middle;
        }
    }
    let same = matches!(law, Law::Subsample(own) if own.size() == Some(low));
    Ok(demand(low)?.filter(|_| !same).map(|votes| (low, votes)))
}

/// Which samples are decided for a threat: certified, or beyond hope because even the upper end of what the votes
/// allow does not hold. Only ever used to stop adding members; with an any-time bound every stopping rule is sound.
///
/// # Errors
/// `Parameter` when the law does not fit the data, or says nothing about such changes.
pub fn decided(
    law: &Law,
    facts: &DataFacts,
    threat: impl Into<Threat>,
    confidence: &Confidence,
    ballots: &Ballots,
) -> Result<Vec<bool>> {
    let threat = threat.into();
    threat.check()?;
    let ratio = law.against(threat, facts)?;
    let tally = ballots.tally(confidence.choosing(), ballots.n_members());
    let alpha = confidence.share(facts.n_classes, ballots.n_samples());
    check_level(confidence, alpha)?;
    let stop = Stop::current();
    let certain = |(sample, interval): (usize, &Interval)| {
        stop.check()?;
        let row = tally.sums().row(sample);
        let others = row.iter().enumerate().filter(|(class, _)| *class != interval.prediction);
        let runner_up = others.map(|(_, sum)| *sum).fold(0.0, f64::max);
        let mean = |sum: f64| sum / tally.n_members() as f64;
        Ok(ratio.holds(interval.p_lower, interval.p_upper)
            || hopeless(
                &ratio,
                mean(row[interval.prediction]),
                mean(runner_up),
                tally.n_members() as u64,
                alpha,
                confidence,
            ))
    };
    confidence.intervals(ballots)?.iter().enumerate().map(certain).collect()
}

fn hopeless(
    ratio: &BothWays,
    share: f64,
    runner_up: f64,
    n_members: u64,
    alpha: f64,
    confidence: &Confidence,
) -> bool {
    let p = kl_upper(share, n_members, alpha).min(1.0 - 1e-12);
    let other = match confidence.runner_up {
        RunnerUp::Complement => 1.0 - p,
        RunnerUp::Bound => kl_lower(runner_up, n_members, alpha).min(1.0 - p),
    };
    !ratio.holds(p, other)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::law::{Gaussian, LabelNoise, Product};

    fn facts() -> DataFacts {
        DataFacts { n_train: 12_665, n_features: Some(784), n_classes: 2 }
    }

    fn settings() -> Confidence {
        Confidence::at(0.001).for_votes(1000, 2).unwrap()
    }

    fn plan(law: &Law, n_poisoned: usize, trigger_norm: f64, labels: bool) -> Plan {
        Plan::of(law, &facts(), Change { n_poisoned, trigger_norm, labels }, &settings()).unwrap()
    }

    fn gaussian(sigma: f64) -> Law {
        Law::Gaussian(Gaussian::new(sigma).unwrap())
    }

    #[test]
    fn the_number_of_members_is_the_smallest_that_certifies() {
        let law = Law::Subsample(Subsample::new(Some(gaussian(1.0)), 100).unwrap());
        let advice = plan(&law, 253, 1.0, false);
        let n = advice.n_members.unwrap() as usize;
        let holds = |n: usize| {
            let interval = settings().unanimous(n, 2, 1);
            let ratio = law.against(advice.threat, &facts()).unwrap();
            ratio.holds(interval.p_lower, interval.p_upper)
        };
        assert!(holds(n) && !holds(n - 1), "{n}");
    }

    #[test]
    fn full_set_noise_asks_for_more_members_than_there_are_atoms() {
        let advice = plan(&gaussian(1.0), 253, 1.0, false);
        assert!(advice.n_members.unwrap() > 1e50 && advice.votes.is_none());
        let (size, votes) = advice.suggestion.unwrap();
        assert!((100..400).contains(&size) && votes <= 950, "{size} {votes}");
    }

    #[test]
    fn what_no_number_of_members_can_do_is_said() {
        // Half of the samples changed in any way: most members of size 30 see one of them.
        let law = Law::Subsample(Subsample::new(None, 30).unwrap());
        let advice = plan(&law, 6000, f64::INFINITY, true);
        assert!(!advice.possible() && advice.votes.is_none() && advice.suggestion.is_none());
        let small = plan(&law, 253, f64::INFINITY, true);
        assert!(!small.possible() || small.votes.is_none_or(|votes| votes > 900));
        let noisy = Law::Product(
            Product::new(gaussian(1.0), Law::LabelNoise(LabelNoise::new(0.2).unwrap())).unwrap(),
        );
        let labelled = Law::Subsample(Subsample::new(Some(noisy), 50).unwrap());
        assert!(plan(&labelled, 253, 1.0, true).votes.unwrap() < 1000);
    }

    #[test]
    fn hopeless_samples_are_told_from_undecided_ones() {
        let law = Law::Subsample(Subsample::new(Some(gaussian(1.0)), 100).unwrap());
        let change = Change { n_poisoned: 253, trigger_norm: 1.0, labels: false };
        let ratio = law.against(change, &facts()).unwrap();
        let hopeless = |share: f64| hopeless(&ratio, share, 1.0 - share, 500, 0.001, &settings());
        assert!(hopeless(0.55) && !hopeless(0.99));
    }
}
