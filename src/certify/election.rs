//! Certificates of a partition: learners elect a class, and so many of their buckets may change before another wins.
//!
//! Nothing is left to chance, so that there is no alpha. Changes are counted in buckets; how many of them a changed sample
//! touches depends on what puts samples into buckets ([`Partition::touched`]).

use super::frontier::most;
use super::proof::{no_radius, Budget, Proof};
use super::record::{Evidence, Record};
use super::sentence;
use crate::change::{Counted, Kind, Threat};
use crate::error::{Error, Result};
use crate::interval::Interval;
use crate::law::{DataFacts, NoiseLaw, Partition};
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
    /// The largest number that `buckets` allow for.
    fn count(&self, buckets: usize, threat: &Threat) -> usize {
        let all = if self.record.facts.n_train > 0 { self.record.facts.n_train } else { ANY };
        let all = most(threat, &DataFacts { n_train: all, ..self.record.facts }).min(ANY);
        match (threat.kind, threat.counted) {
            (Kind::Modified, Counted::SymmetricDifference) => {
                let two = self.touched(&threat.at(2));
                buckets
                    .checked_div(two)
                    .map_or(all, |pairs| pairs.saturating_mul(2).saturating_add(1).min(all))
            }
            _ => buckets.checked_div(self.touched(&threat.at(1))).map_or(all, |count| count.min(all)),
        }
    }

    /// How many buckets a threat may touch: one for each sample that is inserted or deleted, and for one that is modified as
    /// many as [`Partition::touched`] says. Any edit is at worst a modification, which a symmetric difference counts twice. The
    /// same number lies between two sets whichever of them was received, so that both ways are one question.
    fn touched(&self, threat: &Threat) -> usize {
        let edits = threat.onward();
        match (threat.kind, threat.counted) {
            (Kind::Any, Counted::Edits) => threat.change.n_poisoned.saturating_mul(2),
            _ => {
                let modified =
                    edits.modified.n_poisoned.saturating_mul(self.partition.touched(&edits.modified));
                modified.saturating_add(edits.inserted).saturating_add(edits.deleted)
            }
        }
    }

    /// What is said of everything: who elects, and what that rests on.
    fn sentence(&self, what: &str) -> String {
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
        let trusted = if self.record.n_trusted == 0 { "" } else { " but the trusted samples" };
        format!(
            "For each test sample, with certainty, the class that {n} learners elect by {elected} {what}, provided that \
             samples are put into buckets by {} and that each learner is a deterministic function of the set of samples in \
             its own {buckets} and of nothing else that was received{trusted}{classes}.{}",
            self.partition.assign().by(),
            sentence::notes(self.record)
        )
    }
}

impl Proof for Elected<'_> {
    fn covers(&self, budget: &Budget) -> Result<()> {
        let Record { law, facts, .. } = self.record;
        match budget {
            Budget::Total => Err(no_radius(law)),
            Budget::Samples(threat) => {
                if !threat.in_place() && !law.covers_edits() {
                    let expected = format_args!("'modified' for {}", law.describe());
                    return Err(Error::parameter("edits", expected, "insertions or deletions"));
                }
                let gone = threat.changed();
                if facts.n_train > 0 && gone > facts.n_train {
                    let all = facts.n_train;
                    let expected = format_args!("an integer from 0 to the number of training samples, {all}");
                    return Err(Error::parameter("n_poisoned", expected, gone));
                }
                Radius::check("trigger_norm", threat.change.trigger_norm).map(drop)
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

    fn holds(&self, threat: &Threat) -> Result<Vec<bool>> {
        let touched = self.touched(threat);
        Ok(self.buckets.iter().map(|buckets| touched <= *buckets).collect())
    }

    fn trigger_norm(&self, threat: &Threat) -> Result<Vec<f64>> {
        let norm = |holds| if holds { f64::INFINITY } else { 0.0 };
        Ok(self.holds(&threat.with_norm(f64::INFINITY))?.into_iter().map(norm).collect())
    }

    fn n_poisoned(&self, threat: &Threat) -> Result<Vec<usize>> {
        Ok(self.buckets.iter().map(|buckets| self.count(*buckets, threat)).collect())
    }

    fn guarantee(&self) -> String {
        let (n, covered) = (self.partition.spread().n_learners(), self.partition.covered());
        self.sentence(&format!(
            "stays the same for every training set in which at most n_buckets of the {n} buckets, a number \
             given for each test sample, hold samples other than those received, where {covered}"
        ))
    }

    fn statement(&self, threat: &Threat) -> String {
        self.sentence(&format!(
            "stays the same, if it is certified against this threat, for every training set that the \
             received one becomes, or that became the received one, when {threat}"
        ))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::certify::{Certificates, Detail, Record};
    use crate::change::Change;
    use crate::law::Law;
    use crate::partition::{Assign, Election};

    fn table(assign: Assign, n_train: usize, buckets: usize) -> Certificates {
        let law = Law::Partition(Partition::new(50, 1, assign, None).unwrap());
        let evidence = Evidence::Election { n_members: 50, election: Election::Plurality };
        let facts = DataFacts { n_train, n_features: None, n_classes: 2 };
        let record = Record::new(law, facts, evidence, None);
        Certificates::from_parts(record, vec![Interval::new(1, 1.0, 0.0)], Detail::Buckets(vec![buckets]))
            .unwrap()
    }

    #[test]
    fn numbers_are_the_last_that_the_buckets_allow_for() {
        let kinds = [Kind::Modified, Kind::Any, Kind::Inserted, Kind::Deleted];
        for (assign, n_train) in [(Assign::Content, 0), (Assign::Features, 60), (Assign::Index, 60)] {
            for (trigger_norm, labels) in [(f64::INFINITY, true), (0.0, true), (1.0, false)] {
                for counted in [Counted::Edits, Counted::SymmetricDifference] {
                    for kind in kinds {
                        let change = Change { n_poisoned: 0, trigger_norm, labels };
                        let threat = Threat { change, kind, counted };
                        for buckets in [0, 7, 10] {
                            let table = table(assign, n_train, buckets);
                            let Ok(numbers) = table.number_within(&threat) else {
                                assert!(assign == Assign::Index && kind != Kind::Modified);
                                continue;
                            };
                            assert!(table.holds(threat.at(numbers[0])).unwrap()[0], "{threat:?}");
                            assert!(!table.holds(threat.at(numbers[0] + 1)).unwrap()[0], "{threat:?}");
                        }
                    }
                }
            }
        }
        let mixed = Kind::Mixed { modified: 2, inserted: 1, deleted: 2 };
        let change = Change { n_poisoned: 5, trigger_norm: f64::INFINITY, labels: true };
        let threat = Threat { change, kind: mixed, counted: Counted::Edits };
        let holds = |buckets| table(Assign::Content, 0, buckets).holds(threat).unwrap()[0];
        assert!(holds(7) && !holds(6));
        assert!(table(Assign::Content, 0, 7).statement(&threat).unwrap().contains(&threat.to_string()));
    }
}
