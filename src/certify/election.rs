//! Certificates of a partition: learners elect a class, and so many of their buckets may change before another wins.
//!
//! Nothing is left to chance, so that there is no alpha. Changes are counted in buckets; how many of them a changed sample
//! touches depends on what puts samples into buckets ([`Partition::touched`]).

use super::proof::{no_radius, Budget, Proof};
use super::record::{Evidence, Record};
use super::sentence;
use crate::change::Change;
use crate::error::{Error, Result};
use crate::interval::Interval;
use crate::law::{NoiseLaw, Partition};
use crate::quantity::{Quantity, Radius};

/// Classes that learners have elected, and how many buckets may change.
pub(super) struct Elected<'a> {
    pub(super) record: &'a Record,
    pub(super) partition: &'a Partition,
    /// The classes; of probabilities, which there are none of, they say nothing.
    pub(super) intervals: &'a [Interval],
    pub(super) buckets: &'a [usize],
}

/// More samples than anybody has, where any number of them may change.
const ANY: usize = i64::MAX as usize;

impl Elected<'_> {
    /// The largest count that `buckets` allow for, if each touches so many; at most all samples, where they were counted.
    fn count(&self, buckets: usize, touched: usize) -> usize {
        let all = if self.record.facts.n_train > 0 { self.record.facts.n_train } else { ANY };
        buckets.checked_div(touched).map_or(all, |count| count.min(all))
    }
}

impl Proof for Elected<'_> {
    fn covers(&self, budget: &Budget) -> Result<()> {
        let Record { law, facts, .. } = self.record;
        match budget {
            Budget::Total => Err(no_radius(law)),
            Budget::Samples(change) => {
                if facts.n_train > 0 && change.n_poisoned > facts.n_train {
                    let all = facts.n_train;
                    let expected = format_args!("an integer from 0 to the number of training samples, {all}");
                    return Err(Error::parameter("n_poisoned", expected, change.n_poisoned));
                }
                Radius::check("trigger_norm", change.trigger_norm).map(drop)
            }
            Budget::Entries => law.flip_likelihood(0, facts).map(drop),
        }
    }

    fn check(&self) -> Result<()> {
        let (n_samples, n_learners) = (self.intervals.len(), self.partition.spread().n_learners());
        let (Evidence::Election { n_members, .. }, true) =
            (&self.record.evidence, self.buckets.len() == n_samples)
        else {
            let expected = format_args!("an election's, one for each of {n_samples} samples");
            return Err(Error::shape("buckets", expected, format_args!("{}", self.buckets.len())));
        };
        let most = self.buckets.iter().copied().max().unwrap_or(0);
        if *n_members != n_learners || most > n_learners {
            let expected = format_args!("numbers of {n_learners} buckets and as many learners");
            return Err(Error::parameter(
                "buckets",
                expected,
                format_args!("{most} buckets and {n_members} learners"),
            ));
        }
        Ok(())
    }

    fn intervals(&self) -> &[Interval] {
        self.intervals
    }

    /// Never: whoever changes nothing changes no learner.
    fn abstained(&self) -> Vec<bool> {
        vec![false; self.intervals.len()]
    }

    fn radius(&self) -> Option<Vec<f64>> {
        None
    }

    fn holds(&self, change: &Change) -> Result<Vec<bool>> {
        let touched = change.n_poisoned.saturating_mul(self.partition.touched(change));
        Ok(self.buckets.iter().map(|buckets| touched <= *buckets).collect())
    }

    fn trigger_norm(&self, n_poisoned: usize, labels: bool) -> Result<Vec<f64>> {
        let any = Change { n_poisoned, trigger_norm: f64::INFINITY, labels };
        let norm = |holds| if holds { f64::INFINITY } else { 0.0 };
        Ok(self.holds(&any)?.into_iter().map(norm).collect())
    }

    fn n_poisoned(&self, trigger_norm: f64, labels: bool) -> Result<Vec<usize>> {
        let touched = self.partition.touched(&Change { n_poisoned: 1, trigger_norm, labels });
        Ok(self.buckets.iter().map(|buckets| self.count(*buckets, touched)).collect())
    }

    fn guarantee(&self) -> String {
        let (n, own) = (self.partition.spread().n_learners(), self.partition.spread().degree());
        let elected = match &self.record.evidence {
            Evidence::Election { election, .. } => election.name(),
            _ => "an election",
        };
        let buckets = if own == 1 { "bucket".to_owned() } else { format!("{own} buckets") };
        let classes = match self.record.classes_as_received {
            true => "; a change of the list of classes, which is taken as received, is not covered",
            false => "",
        };
        format!(
            "For each test sample, with certainty, the class that {n} learners elect by {elected} stays the same for every \
             training set in which at most n_buckets of the {n} buckets, a number of its own for each test sample, hold \
             other samples than received, where {}, provided that samples are put into buckets by {} and that each learner \
             is a deterministic function of the set of samples in its own {buckets} and of nothing else that was \
             received{classes}.{}",
            self.partition.covered(),
            self.partition.assign().by(),
            sentence::notes(self.record)
        )
    }
}
