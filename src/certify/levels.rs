//! Certificates of a cascade: how far every level's decision reaches, and what follows for the whole.

use rayon::prelude::*;

use super::cascade::{survives, Contest, LevelBounds, LevelMargins, NOWHERE};
use super::frontier::{largest_count, largest_norm, most};
use super::proof::{no_radius, Budget, Proof};
use super::record::Record;
use super::sentence;
use crate::change::{Counted, Kind, Threat};
use crate::error::Result;
use crate::interval::Interval;
use crate::law::{BothWays, Cascade};
use crate::process::install_each;
use crate::stop::Stop;

/// A cascade's certificates: bounds at every level, and the laws behind them.
pub(super) struct Levels<'a> {
    pub(super) record: &'a Record,
    pub(super) cascade: &'a Cascade,
    pub(super) bounds: &'a LevelBounds,
    pub(super) intervals: &'a [Interval],
}

/// A threat that is no weaker, whose worst is the worst for every bound of a level on its own: of a symmetric difference, r
/// samples on each side. (That r insertions are the worst of it holds for p_A - p_B only.)
fn each_side(threat: &Threat) -> Threat {
    match (threat.kind, threat.counted) {
        (Kind::Any, Counted::SymmetricDifference) => Threat { counted: Counted::Edits, ..*threat },
        _ => *threat,
    }
}

/// `sure` and `open` of a level.
type Ends<T> = (T, Option<T>);

/// A margin as a function of the likelihood ratio; how far it is above what is asked for.
type Margin<'a> = dyn Fn(&BothWays) -> f64 + 'a;

impl Proof for Levels<'_> {
    fn covers(&self, budget: &Budget) -> Result<()> {
        let facts = &self.record.facts;
        match budget {
            Budget::Total if self.cascade.has_radius(facts) => Ok(()),
            Budget::Total => Err(no_radius(&self.record.law)),
            Budget::Samples(threat) => {
                self.cascade.levels().iter().try_for_each(|law| law.check_threat(threat, facts))
            }
            Budget::Entries => self.record.law.flip_likelihood(0, facts).map(drop),
        }
    }

    fn check(&self) -> Result<()> {
        self.bounds.check(self.cascade, self.intervals.len(), self.record.facts.n_classes)
    }

    fn intervals(&self) -> &[Interval] {
        self.intervals
    }

    fn abstained(&self) -> Vec<bool> {
        self.received().iter().map(|radius| *radius <= 0.0).collect()
    }

    fn radius(&self) -> Option<Vec<f64>> {
        self.covers(&Budget::Total).ok()?;
        Some(self.received().into_iter().map(|radius| radius.max(0.0)).collect())
    }

    fn holds(&self, threat: &Threat) -> Result<Vec<bool>> {
        let threat = &each_side(threat);
        let (ratios, stop) = (self.ratios(threat)?, Stop::current());
        let verdict = |level: usize, margin: &Margin<'_>| {
            stop.check()?;
            Ok(margin(&ratios[level]) > 0.0)
        };
        let verdicts =
            self.each(|level, contest| self.both(level, contest, |margin| verdict(level, margin)))?;
        Ok(verdicts.into_iter().map(|verdict| verdict.unwrap_or(false)).collect())
    }

    fn trigger_norm(&self, threat: &Threat) -> Result<Vec<f64>> {
        let threat = &each_side(threat);
        let at = |trigger_norm| self.ratios(&threat.with_norm(trigger_norm));
        let (none, any, stop) = (at(0.0)?, at(f64::INFINITY)?, Stop::current());
        let end = |level: usize, margin: &Margin<'_>| {
            if margin(&none[level]) <= 0.0 {
                Ok(NOWHERE)
            } else if margin(&any[level]) > 0.0 {
                Ok(f64::INFINITY)
            } else {
                let law = &self.cascade.levels()[level];
                largest_norm(|trigger_norm| {
                    stop.check()?;
                    let ratio = law.against(threat.with_norm(trigger_norm), &self.record.facts)?;
                    Ok(margin(&ratio).clamp(f64::MIN, f64::MAX))
                })
            }
        };
        let ends = self.each(|level, contest| self.both(level, contest, |margin| end(level, margin)))?;
        Ok(ends.into_iter().map(|end| end.unwrap_or(NOWHERE).max(0.0)).collect())
    }

    fn n_poisoned(&self, threat: &Threat) -> Result<Vec<usize>> {
        let threat = &each_side(threat);
        let (none, stop) = (self.ratios(&threat.at(0))?, Stop::current());
        // -1: not even on the received training set.
        let end = |level: usize, margin: &Margin<'_>| {
            if margin(&none[level]) <= 0.0 {
                return Ok(-1);
            }
            let law = &self.cascade.levels()[level];
            let facts = &self.record.facts;
            let count = largest_count(1, most(threat, facts), |n_poisoned| {
                stop.check()?;
                Ok(margin(&law.against(threat.at(n_poisoned), facts)?) > 0.0)
            })?;
            Ok(count as i64)
        };
        let ends = self.each(|level, contest| self.both(level, contest, |margin| end(level, margin)))?;
        Ok(ends.into_iter().map(|end| end.unwrap_or(-1).max(0) as usize).collect())
    }

    fn guarantee(&self) -> String {
        sentence::noised(self.record, &self.certainty())
    }

    fn statement(&self, threat: &Threat) -> String {
        sentence::within(self.record, &self.certainty(), threat)
    }
}

impl Levels<'_> {
    fn certainty(&self) -> String {
        let levels = format!(" at each of {} levels", self.cascade.levels().len());
        sentence::certainty(self.record, self.intervals.len(), &levels)
    }

    /// R on the received training set, in the units of the margins; positive exactly where something is certified.
    pub(super) fn received(&self) -> Vec<f64> {
        let units = self.cascade.units();
        let ends = |level: usize, contest: &Contest| {
            let (own, others) = contest.margins(units[level], |p| p, |p| p);
            Ok(LevelMargins { own, others, threshold: self.cascade.threshold(level) }.ends())
        };
        self.each(ends).unwrap_or_default().into_iter().map(|end| end.unwrap_or(NOWHERE)).collect()
    }

    /// What `find` says of both margins of a level: how far A's stays above what the level asks for, and how far
    /// every other class's stays below it; the last level has only the first.
    fn both<T>(
        &self,
        level: usize,
        contest: &Contest,
        find: impl Fn(&Margin<'_>) -> Result<T>,
    ) -> Result<Ends<T>> {
        let threshold = self.cascade.threshold(level);
        let unit = self.cascade.units()[level];
        let worst =
            |ratio: &BothWays| contest.margins(unit, |p| ratio.worst_lower(p), |p| ratio.worst_upper(p));
        let sure = find(&|ratio| (worst(ratio).0 - threshold.unwrap_or(0.0)).next_down())?;
        let open = threshold.map(|tau| find(&|ratio| (tau - worst(ratio).1).next_down())).transpose()?;
        Ok((sure, open))
    }

    fn ratios(&self, threat: &Threat) -> Result<Vec<BothWays>> {
        self.cascade.levels().iter().map(|law| law.against(threat, &self.record.facts)).collect()
    }

    /// Every sample's R from the ends of its levels, which are found once for contests that are alike.
    fn each<T: PartialOrd + Copy + Send + Sync>(
        &self,
        ends: impl Fn(usize, &Contest) -> Result<Ends<T>> + Send + Sync,
    ) -> Result<Vec<Option<T>>> {
        let levels: Result<Vec<Vec<Ends<T>>>> = (0..self.cascade.levels().len())
            .map(|level| {
                let (contests, which) = self.bounds.contests(level, self.intervals);
                let known = install_each(contests.par_iter(), || (), |(), contest| ends(level, contest))?;
                Ok(which.into_iter().map(|at| known[at]).collect())
            })
            .collect();
        let levels = levels?;
        let own = |sample: usize| levels.iter().map(|ends| ends[sample]).collect::<Vec<_>>();
        Ok((0..self.intervals.len()).map(|sample| survives(&own(sample))).collect())
    }
}
