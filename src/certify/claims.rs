//! What members, or learners, can prove at most: a table from a file that says more is none.
//!
//! A digest shows that a file is as somebody wrote it, not that anybody voted so. Whatever votes there were, no bound is above
//! the one of members that all agree, and no election stands firmer than one without a dissenter.

use std::collections::HashSet;

use super::bounds::clopper_pearson_lower;
use super::cascade::{Decision, LevelBounds};
use super::confidence::Confidence;
use super::detail::{Detail, Settled};
use super::published::own_radius;
use super::record::{Evidence, Record};
use super::settings::{Bound, RunnerUp};
use crate::error::{Error, Result};
use crate::interval::Interval;
use crate::law::Law;
use crate::partition::Spread;

/// Libraries round logarithms differently, and a table may be read on another machine than it was written on.
const ROUNDING: f64 = 1e-9;

/// Checks the parts of a table, which belong together, against what its evidence could show.
///
/// # Errors
/// `Parameter` naming what is claimed beyond that.
pub(super) fn check(record: &Record, intervals: &[Interval], detail: &Detail) -> Result<()> {
    match (&record.evidence, &record.law, detail) {
        (Evidence::Election { .. }, Law::Partition(partition), Detail::Buckets(buckets)) => {
            elected(partition.spread(), intervals, buckets)
        }
        (Evidence::Members { n_members, confidence }, _, detail) => {
            let family = record.family.unwrap_or(intervals.len());
            check_family(family, intervals)?;
            let most = Most { confidence, n_members: *n_members, n_classes: record.facts.n_classes, family };
            match detail {
                Detail::Levels(bounds) => most.check_levels(bounds, intervals),
                Detail::Magnitudes { sigmas, settled: Some(settled) } => {
                    most.check(intervals)?;
                    check_settled(record, intervals, sigmas, settled)
                }
                Detail::None | Detail::Buckets(_) | Detail::Magnitudes { settled: None, .. } => {
                    most.check(intervals)
                }
            }
        }
        _ => Ok(()),
    }
}

/// A class of a table, and the most buckets that may change: each of n learners votes for it, and 2 `degree` votes of the gap
/// of n, or n + 1 where ties are the class's own, are closed by one bucket. Dissenters lower the gap by more than they spare.
fn elected(spread: &Spread, intervals: &[Interval], buckets: &[usize]) -> Result<()> {
    for (sample, (interval, buckets)) in intervals.iter().zip(buckets).enumerate() {
        let most = most_buckets(spread, interval.prediction);
        if *buckets > most {
            let n = spread.n_learners();
            let expected =
                format_args!("at most {most} where {n} learners elect class {}", interval.prediction);
            return Err(Error::parameter("buckets", expected, format_args!("{buckets} for sample {sample}")));
        }
    }
    Ok(())
}

/// The most buckets that may change without another class than `class` winning.
fn most_buckets(spread: &Spread, class: usize) -> usize {
    let gap = spread.n_learners() + usize::from(class == 0);
    gap.div_ceil(2 * spread.degree()) - 1
}

/// Rows may be chosen more than once; a table of chosen rows has no more different ones than the whole one.
fn check_family(family: usize, intervals: &[Interval]) -> Result<()> {
    let key = |i: &Interval| (i.prediction, [i.p_lower, i.p_upper, i.rest].map(f64::to_bits));
    if intervals.len() <= family || intervals.iter().map(key).collect::<HashSet<_>>().len() <= family {
        return Ok(());
    }
    let expected = format_args!("rows of a table of {family} samples");
    Err(Error::parameter("intervals", expected, format_args!("{} different ones", intervals.len())))
}

/// A ledger keeps or trims the radius that the votes had, or takes over another region's.
fn check_settled(record: &Record, intervals: &[Interval], sigmas: &[f64], settled: &[Settled]) -> Result<()> {
    let own = intervals.iter().zip(sigmas).zip(settled).enumerate();
    for (sample, ((interval, sigma), settled)) in own {
        let most = match settled.outcome.as_str() {
            "kept" | "trimmed" => own_radius(*sigma, interval, &record.facts).unwrap_or(0.0),
            "adopted" => f64::MAX,
            "abstained" => 0.0,
            other => {
                let known = ["kept", "trimmed", "adopted", "abstained"];
                return Err(Error::unknown("outcome", &known, other));
            }
        };
        if settled.radius > most * (1.0 + ROUNDING) {
            let got = format_args!("{} for sample {sample}", settled.radius);
            return Err(Error::parameter("settled_radius", format_args!("at most {most}"), got));
        }
    }
    Ok(())
}

/// What so many members can show at most.
struct Most<'a> {
    confidence: &'a Confidence,
    n_members: usize,
    n_classes: usize,
    family: usize,
}

impl Most<'_> {
    /// The largest mass that unanimous members leave to all other classes: `alpha` is one bound's.
    fn rest(&self, alpha: f64) -> f64 {
        let n = self.n_members.saturating_sub(self.confidence.choosing());
        let p_lower = match self.confidence.bound {
            Bound::Hoeffding => 1.0 - ((1.0 / alpha).ln() / (2.0 * n as f64)).sqrt(),
            // No bet wins more than all of it at each vote, and divergences of a unanimous vote are logarithms.
            _ => clopper_pearson_lower(n as u64, n as u64, alpha),
        };
        // Beyond 10^6 members the rounding of 1 - p is the larger one.
        (1.0 - p_lower) * (1.0 - ROUNDING) - 16.0 * f64::EPSILON
    }

    fn check(&self, intervals: &[Interval]) -> Result<()> {
        let least = self.rest(self.confidence.share(self.n_classes, self.family));
        let alone = self.confidence.runner_up == RunnerUp::Complement;
        for (sample, interval) in intervals.iter().enumerate() {
            let other = if alone { interval.rest } else { least };
            if interval.rest < least || interval.p_upper < other {
                return Err(self.beyond(interval, sample));
            }
        }
        Ok(())
    }

    /// Every level's bounds share alpha; no two classes have more than everything, and the table's intervals are those of
    /// the levels that decided.
    fn check_levels(&self, bounds: &LevelBounds, intervals: &[Interval]) -> Result<()> {
        let levels = bounds.lower.dim().0;
        let share = self.confidence.part_of(levels).class_share(self.n_classes, self.family);
        let least = self.rest(share);
        let alone = self.confidence.runner_up == RunnerUp::Complement;
        for (sample, interval) in intervals.iter().enumerate() {
            let beyond = || self.beyond(interval, sample);
            let decision = Decision { prediction: interval.prediction, level: bounds.level[sample] };
            if *interval != bounds.interval(sample, decision) {
                return Err(beyond());
            }
            for level in 0..levels {
                let row = |of: &ndarray::Array3<f64>| of.slice(ndarray::s![level, sample, ..]).to_vec();
                let (lower, upper) = (row(&bounds.lower), row(&bounds.upper));
                let sum: f64 = lower.iter().sum();
                for (low, high) in lower.iter().zip(&upper) {
                    let others = if alone { 1.0 - (sum - low) } else { least };
                    let right =
                        1.0 - low >= least && *high >= others - ROUNDING && *high >= least.min(others);
                    if !right || high < low || sum > 1.0 + ROUNDING {
                        return Err(beyond());
                    }
                }
            }
        }
        Ok(())
    }

    fn beyond(&self, interval: &Interval, sample: usize) -> Error {
        let expected = format_args!("what {} members can show", self.n_members);
        Error::parameter("intervals", expected, format_args!("{interval:?} for sample {sample}"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ndarray::{Array2, Array3};
    use rand::RngExt;

    use super::*;
    use crate::certify::{Certificates, Choices};
    use crate::law::{Cascade, DataFacts, Gaussian, Partition};
    use crate::partition::{Assign, Election};
    use crate::seed::{Role, Seed};
    use crate::votes::Ballots;

    const FACTS: DataFacts = DataFacts { n_train: 1000, n_features: Some(4), n_classes: 3 };

    fn gaussian(sigma: f64) -> Law {
        Law::Gaussian(Gaussian::new(sigma).unwrap())
    }

    /// The same table from a file, after `forge` had it.
    fn again(
        table: &Certificates,
        forge: impl Fn(&mut Record, &mut Vec<Interval>, &mut Detail),
    ) -> Result<()> {
        let (mut record, mut intervals, mut detail) =
            (table.record().clone(), table.intervals().to_vec(), table.detail().clone());
        forge(&mut record, &mut intervals, &mut detail);
        Certificates::from_parts(record, intervals, detail).map(drop)
    }

    /// Five samples, from one on which all agree to one on which nobody does.
    fn ballots(n_members: usize) -> Ballots {
        let vote = |(member, sample)| if member % 8 < 2 * sample { (member % 3) as u16 } else { 1 };
        Ballots::from_votes(Array2::from_shape_fn((n_members, 5), vote), 3).unwrap()
    }

    #[test]
    fn tables_of_all_settings_are_what_their_members_can_show() {
        for n_members in [40, 400, 4000] {
            for bound in ["clopper_pearson", "kl", "hoeffding", "betting"] {
                for runner_up in ["complement", "bound"] {
                    for (selection, split) in [("union", None), ("split", Some(10))] {
                        for family_wise in [false, true] {
                            let asked = crate::Confidence::at(0.01).bound(bound).runner_up(runner_up);
                            let asked = asked.selection(selection).split(split).family_wise(family_wise);
                            let confidence = asked.for_votes(n_members, 3).unwrap();
                            let votes = ballots(n_members);
                            let table =
                                Certificates::from_ballots(gaussian(1.0), FACTS, confidence, None, &votes);
                            let table = table.unwrap();
                            again(&table, |_, _, _| {}).unwrap();
                            again(&table.rows(&[0, 0, 3, 3, 0, 0]).unwrap(), |_, _, _| {}).unwrap();
                            let fewer = |record: &mut Record, _: &mut Vec<Interval>, _: &mut Detail| {
                                record.evidence = Evidence::Members { n_members: n_members / 2, confidence };
                            };
                            assert!(
                                again(&table, fewer).is_err(),
                                "{n_members} {bound} {runner_up} {selection}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn more_than_the_votes_is_no_table() {
        let confidence = crate::Confidence::at(0.01).for_votes(400, 3).unwrap();
        let table =
            Certificates::from_ballots(gaussian(1.0), FACTS, confidence, None, &ballots(400)).unwrap();
        let forged = |forge: fn(&mut Record, &mut Vec<Interval>)| {
            again(&table, |record, intervals, _| forge(record, intervals)).err().map(|e| e.to_string())
        };
        let beyond =
            |told: Option<String>| told.is_some_and(|told| told.contains("what 400 members can show"));
        assert!(beyond(forged(|_, intervals| intervals[3] = Interval::new(1, 1.0, 0.0))));
        assert!(beyond(forged(|_, intervals| intervals[3] = Interval::new(1, 0.99, 0.01))));
        assert!(beyond(forged(|_, intervals| intervals[3].p_upper = 0.001)));
        let named = |told: Option<String>, name: &str| told.is_some_and(|told| told.contains(name));
        assert!(named(forged(|record, _| record.n_failed = 401), "'record'"));
        assert!(named(forged(|record, _| record.n_idle = 1), "'record'"));
        assert!(named(forged(|record, _| record.family = Some(2)), "'intervals'"));
        let of_none = |record: &mut Record, _: &mut Vec<Interval>| {
            if let Evidence::Members { confidence, .. } = &mut record.evidence {
                confidence.selection = crate::Selection::Split { members: 0 };
            }
        };
        assert!(named(forged(of_none), "'record'"));
        let alone = crate::Confidence::at(0.01).runner_up("complement").for_votes(400, 3).unwrap();
        let table = Certificates::from_ballots(gaussian(1.0), FACTS, alone, None, &ballots(400)).unwrap();
        assert!(beyond(again(&table, |_, own, _| own[3].p_upper *= 0.9).err().map(|e| e.to_string())));
    }

    #[test]
    fn levels_share_alpha_and_no_two_classes_have_everything() {
        let cascade = Cascade::new(vec![gaussian(1.0), gaussian(0.5)], None).unwrap();
        for runner_up in ["complement", "bound"] {
            let confidence = crate::Confidence::at(0.01).runner_up(runner_up).for_votes(400, 3).unwrap();
            let votes = [ballots(400), ballots(400)];
            let table = Certificates::from_levels(cascade.clone(), FACTS, confidence, None, &votes).unwrap();
            again(&table, |_, _, _| {}).unwrap();
            again(&table.rows(&[4, 0]).unwrap(), |_, _, _| {}).unwrap();
            type Forged = fn(&mut Array3<f64>, &mut Array3<f64>);
            let forge = |forge: Forged| {
                again(&table, |_, intervals, detail| {
                    let Detail::Levels(bounds) = detail else { return };
                    forge(&mut bounds.lower, &mut bounds.upper);
                    for (sample, interval) in intervals.iter_mut().enumerate() {
                        let (prediction, level) = (interval.prediction, bounds.level[sample]);
                        *interval = bounds.interval(sample, Decision { prediction, level });
                    }
                })
            };
            forge(|_, _| {}).unwrap();
            assert!(forge(|lower, _| lower[[1, 3, 1]] = 1.0).is_err());
            assert!(forge(|_, upper| upper[[1, 3, 0]] = 0.0).is_err());
            assert!(forge(|lower, _| (lower[[0, 4, 0]], lower[[0, 4, 1]]) = (0.6, 0.6)).is_err());
            let other = again(&table, |_, intervals, _| intervals[4] = intervals[0]);
            assert!(other.is_err(), "an interval that its level does not have");
        }
        let fewer = [ballots(400), ballots(300)];
        let confidence = crate::Confidence::at(0.01).for_votes(400, 3).unwrap();
        assert!(Certificates::from_levels(cascade, FACTS, confidence, None, &fewer).is_err());
    }

    #[test]
    fn no_election_stands_firmer_than_one_without_a_dissenter() {
        let mut rng = Seed::new(5).stream(Role::Subsample, 0, 0);
        for (n_parts, degree) in [(1, 1), (2, 1), (3, 1), (10, 1), (11, 1), (5, 2), (5, 3), (3, 4), (4, 8)] {
            let law = Partition::new(n_parts, degree, Assign::Content, None).unwrap();
            let spread = law.spread().clone();
            let n = spread.n_learners();
            for election in [Election::Plurality, Election::RunOff] {
                let scores = Array3::from_shape_fn((n, 60, 3), |(_, sample, class)| {
                    // One sample per class without a dissenter, then others with ever more.
                    if sample % 3 == class && rng.random_bool(1.0 - (sample / 3) as f64 / 40.0) {
                        2.0
                    } else {
                        rng.random_range(0.0_f32..1.0)
                    }
                });
                let choices = Choices::Scores(scores.view());
                let facts = DataFacts { n_train: 0, n_features: None, n_classes: 3 };
                let table = Certificates::from_learners(law.clone(), facts, election, None, choices).unwrap();
                again(&table, |_, _, _| {}).unwrap();
                for (sample, class) in table.predictions().into_iter().enumerate() {
                    let own = table.n_buckets().unwrap()[sample];
                    assert!(own <= most_buckets(&spread, class));
                    assert!(sample > 2 || own == most_buckets(&spread, class), "{n_parts} x {degree}: {own}");
                }
                let more = again(&table, |_, _, detail| {
                    if let Detail::Buckets(buckets) = detail {
                        buckets[1] += 1;
                    }
                });
                assert!(more.unwrap_err().to_string().contains("'buckets'"), "{n_parts} x {degree}");
            }
        }
    }
}
