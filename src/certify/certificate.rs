//! Certificates: the record of what was drawn, one interval per test sample, and what follows.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::budget::Change;
use super::confidence::{members_needed, Bound, Confidence, Interval, Selection};
use super::frontier::Distinct;
use crate::error::{Error, Result};
use crate::law::{DataFacts, Law, NoiseLaw};
use crate::metrics::certified_accuracy;
use crate::quantity::{Quantity, Radius};
use crate::votes::Ballots;

/// Where the intervals come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "evidence", rename_all = "snake_case")]
pub enum Evidence {
    /// Members' votes, bounded at the settings' alpha.
    Members {
        /// Number of members N, read from the votes.
        n_members: usize,
        /// The settings of the bounds.
        confidence: Confidence,
    },
    /// Probabilities known exactly; nothing was sampled.
    Exact,
}

/// The record behind a table of certificates: everything that the guarantee depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The law from which the members' noised sets were drawn.
    pub law: Law,
    /// Sizes of the training set.
    pub facts: DataFacts,
    /// Where the intervals come from.
    pub evidence: Evidence,
    /// What was done to each sample before the noise, if anything, as it stands in the guarantee.
    pub before_noise: Option<String>,
}

/// Certificates of a set of test samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Certificates {
    record: Record,
    intervals: Vec<Interval>,
}

impl Certificates {
    /// Certifies `ballots` of members trained on noised sets drawn from `law`.
    ///
    /// # Errors
    /// `Parameter` when the law does not fit the data, or when even unanimous votes of so many members could
    /// certify nothing (names the number needed).
    ///
    /// # Example
    /// ```
    /// use certssb::{Ballots, Certificates, Confidence, DataFacts, Gaussian, Law};
    /// use ndarray::Array2;
    ///
    /// let votes = Ballots::from_votes(Array2::ones((1000, 1)), 2)?;
    /// let law = Law::Gaussian(Gaussian::new(0.5)?);
    /// let facts = DataFacts { n_train: 12_665, n_features: Some(784), n_classes: 2 };
    /// let confidence = Confidence::check(0.001, "auto", "union", "auto", false, None, 1000, 2, false)?;
    /// let certificates = Certificates::from_ballots(law, facts, confidence, None, &votes)?;
    /// assert!(certificates.radius().is_some_and(|r| r[0] > 1.21 && r[0] < 1.22));
    /// # Ok::<(), certssb::Error>(())
    /// ```
    pub fn from_ballots(
        law: Law,
        facts: DataFacts,
        confidence: Confidence,
        before_noise: Option<String>,
        ballots: &Ballots,
    ) -> Result<Self> {
        law.check(&facts)?;
        check_enough(&confidence, ballots.n_members(), facts.n_classes, ballots.n_samples())?;
        let evidence = Evidence::Members { n_members: ballots.n_members(), confidence };
        let intervals = confidence.intervals(ballots);
        Ok(Self { record: Record { law, facts, evidence, before_noise }, intervals })
    }

    /// Certificates from probabilities that are known exactly, already rounded outward.
    ///
    /// # Errors
    /// `Parameter` when the law does not fit the data.
    pub fn exact(law: Law, facts: DataFacts, intervals: Vec<Interval>) -> Result<Self> {
        law.check(&facts)?;
        Ok(Self { record: Record { law, facts, evidence: Evidence::Exact, before_noise: None }, intervals })
    }

    /// Puts a table together again that was taken apart for a file.
    ///
    /// # Errors
    /// `Parameter` when a value is not one that a table can have.
    pub fn from_parts(record: Record, intervals: Vec<Interval>) -> Result<Self> {
        record.law.check(&record.facts)?;
        for (i, interval) in intervals.iter().enumerate() {
            let probabilities = 0.0..=1.0;
            if !probabilities.contains(&interval.p_lower)
                || !probabilities.contains(&interval.p_upper)
                || !probabilities.contains(&interval.rest)
                || interval.prediction >= record.facts.n_classes
            {
                return Err(Error::parameter(
                    "intervals",
                    "probabilities and class numbers of a table of certificates",
                    format_args!("{interval:?} for sample {i}"),
                ));
            }
        }
        Ok(Self { record, intervals })
    }

    /// The record behind the table.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// One interval per test sample.
    pub fn intervals(&self) -> &[Interval] {
        &self.intervals
    }

    /// Whether the guarantee is a proof against an attacker on the training set.
    pub fn sound(&self) -> bool {
        true
    }

    /// Radius of every sample, L2 over the whole training set, labels unchanged: the prediction holds for every
    /// change of total norm *below* it. 0 where abstained; `None` for a law without such a radius.
    pub fn radius(&self) -> Option<Vec<f64>> {
        let Record { law, facts, .. } = &self.record;
        self.intervals
            .iter()
            .map(|interval| match law.total_radius(interval, facts) {
                Some(radius) if !interval.abstained() => Some(radius.max(0.0)),
                other => other.map(|_| 0.0),
            })
            .collect()
    }

    /// Whether each prediction survives `change`.
    ///
    /// # Errors
    /// `Parameter` when the law says nothing about such changes.
    pub fn holds(&self, change: &Change) -> Result<Vec<bool>> {
        Distinct::of(&self.intervals).holds(&self.record.law, &self.record.facts, change)
    }

    /// The largest trigger norm each prediction survives on `n_poisoned` samples: infinity for any trigger, 0
    /// where nothing is certified.
    ///
    /// # Errors
    /// `Parameter` when the law says nothing about such changes.
    pub fn trigger_norm(&self, n_poisoned: usize, labels: bool) -> Result<Vec<f64>> {
        Distinct::of(&self.intervals).norms(&self.record.law, &self.record.facts, n_poisoned, labels)
    }

    /// The largest number of poisoned samples each prediction survives at `trigger_norm`.
    ///
    /// # Errors
    /// `Parameter` when the law says nothing about such changes.
    pub fn n_poisoned(&self, trigger_norm: f64, labels: bool) -> Result<Vec<usize>> {
        Distinct::of(&self.intervals).counts(&self.record.law, &self.record.facts, trigger_norm, labels)
    }

    /// [`trigger_norm`](Self::trigger_norm) for many counts: shape (n_samples, counts).
    ///
    /// # Errors
    /// `Parameter` when the law says nothing about such changes.
    pub fn frontier(&self, n_poisoned: &[usize], labels: bool) -> Result<Array2<f64>> {
        let distinct = Distinct::of(&self.intervals);
        let mut frontier = Array2::zeros((self.intervals.len(), n_poisoned.len()));
        for (mut column, count) in frontier.columns_mut().into_iter().zip(n_poisoned) {
            let norms = distinct.norms(&self.record.law, &self.record.facts, *count, labels)?;
            column.assign(&ndarray::ArrayView1::from(&norms));
        }
        Ok(frontier)
    }

    /// Certified accuracy at total L2 norms: a right prediction counts if its radius is greater.
    ///
    /// # Errors
    /// `Parameter` for a law without a radius, or a radius that is negative or NaN.
    pub fn accuracy_at_radii(&self, correct: &[bool], radii: &[f64]) -> Result<Vec<f64>> {
        let Some(own) = self.radius() else {
            let law = self.record.law.describe();
            return Err(Error::parameter(
                "radii",
                "None, with n_poisoned and trigger_norm given, for this law",
                law,
            ));
        };
        radii
            .iter()
            .map(|radius| {
                let radius = Radius::check("radii", *radius)?.get();
                let certified: Vec<bool> = own.iter().map(|own| *own > radius).collect();
                Ok(certified_accuracy(correct, &certified).unwrap_or(0.0))
            })
            .collect()
    }

    /// Certified accuracy within budgets per sample, one per trigger norm.
    ///
    /// # Errors
    /// `Parameter` when the law says nothing about such changes.
    pub fn accuracy_within(
        &self,
        correct: &[bool],
        n_poisoned: usize,
        norms: &[f64],
        labels: bool,
    ) -> Result<Vec<f64>> {
        norms
            .iter()
            .map(|norm| {
                let certified = self.holds(&Change { n_poisoned, trigger_norm: *norm, labels })?;
                Ok(certified_accuracy(correct, &certified).unwrap_or(0.0))
            })
            .collect()
    }

    /// The largest number of changed entries each prediction survives, for a law that counts entries.
    ///
    /// # Errors
    /// `Parameter` for a law that does not count entries.
    pub fn n_flips(&self) -> Result<Vec<usize>> {
        Distinct::of(&self.intervals).flips(&self.record.law, &self.record.facts)
    }

    /// What exactly is guaranteed, in one sentence for a person who will rely on it.
    pub fn guarantee(&self) -> String {
        self.record.guarantee(self.intervals.len())
    }
}

/// Refuses a number of members with which even unanimous votes certify nothing.
pub(crate) fn check_enough(
    confidence: &Confidence,
    n_members: usize,
    n_classes: usize,
    n_samples: usize,
) -> Result<()> {
    if !confidence.unanimous(n_members, n_classes, n_samples).abstained() {
        return Ok(());
    }
    let needed = members_needed(confidence, n_classes, n_samples);
    Err(Error::parameter(
        "n_members",
        format_args!(
            "at least {needed}: with alpha={} and {n_classes} classes, fewer members certify nothing even if all \
             of them agree",
            confidence.alpha.get()
        ),
        n_members,
    ))
}

impl Record {
    fn guarantee(&self, n_samples: usize) -> String {
        let certainty = match &self.evidence {
            Evidence::Exact => "For each test sample, with certainty,".to_owned(),
            Evidence::Members { n_members, confidence } => {
                let scope = if confidence.family_wise {
                    format!("For all {n_samples} test samples together")
                } else {
                    "For each test sample on its own".to_owned()
                };
                let choice = match confidence.selection {
                    Selection::Union => String::new(),
                    Selection::Split { members } => format!(", {members} of which chose the class"),
                };
                let any_time = match confidence.bound {
                    Bound::Betting => ", however often members were added after a look at the result",
                    _ => "",
                };
                format!(
                    "{scope}, with probability at least 1 - {} over the noise of {n_members} members{choice}{any_time}, \
                     which nobody who changed the data knew,",
                    confidence.alpha.get()
                )
            }
        };
        let before = match &self.before_noise {
            Some(what) => format!(" Each sample first passes {what}."),
            None => String::new(),
        };
        format!(
            "{certainty} the prediction stays the same for every training set that differs from the received one \
             only by {}, under {}; inserting or deleting samples is not covered.{before}",
            self.law.covered(),
            self.law.describe(),
        )
    }
}
