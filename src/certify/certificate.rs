//! Certificates: the record of what was drawn, one interval per test sample, and what follows.

use ndarray::{Array2, ArrayView2, ArrayView3};

use super::cascade::LevelBounds;
use super::claims;
use super::confidence::Confidence;
use super::detail::{Detail, Settled};
use super::enough::check_enough;
use super::proof::{self, Budget, Proof};
use super::record::{Evidence, Record};
use crate::change::{Change, Kind, Threat};
use crate::error::{Error, Result};
use crate::interval::Interval;
use crate::law::{Cascade, DataFacts, Law, NoiseLaw, Partition};
use crate::metrics::certified_accuracy;
use crate::partition::{favourites, plurality, run_off, Election};
use crate::quantity::{Quantity, Radius};
use crate::stop::Stop;
use crate::votes::{Answers, Ballots};

/// The answers of a partition's learners, in the order of their numbers.
#[derive(Clone, Copy, Debug)]
pub enum Choices<'a> {
    /// Class numbers, shape (learners, samples).
    Votes(ArrayView2<'a, u16>),
    /// Scores of any finite size, shape (learners, samples, classes); only their order counts.
    Scores(ArrayView3<'a, f32>),
}

/// Certificates of a set of test samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Certificates {
    record: Record,
    intervals: Vec<Interval>,
    detail: Detail,
}

impl Certificates {
    /// Certifies `ballots`, in order or counted, of members trained on noised sets drawn from `law`.
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
    /// let confidence = Confidence::at(0.001).for_votes(1000, 2)?;
    /// let certificates = Certificates::from_ballots(law, facts, confidence, None, &votes)?;
    /// assert!(certificates.radius().is_some_and(|r| r[0] > 1.21 && r[0] < 1.22));
    /// # Ok::<(), certssb::Error>(())
    /// ```
    pub fn from_ballots<'a>(
        law: Law,
        facts: DataFacts,
        confidence: Confidence,
        before_noise: Option<String>,
        ballots: impl Into<Answers<'a>>,
    ) -> Result<Self> {
        if !law.sound() {
            let expected =
                "a law with a proof; the published form needs each test sample's magnitude, so it is \
                            certified by the classifier that found them";
            return Err(Error::parameter("law", expected, law.describe()));
        }
        Self::from_members(law, facts, confidence, before_noise, ballots.into(), Detail::None)
    }

    /// Certificates of the published form of sample-specific noise, with each test sample's own magnitude.
    ///
    /// # Errors
    /// As [`from_ballots`](Self::from_ballots); `Shape` unless there is one finite magnitude above 0 per sample.
    pub fn published<'a>(
        law: Law,
        facts: DataFacts,
        confidence: Confidence,
        before_noise: Option<String>,
        ballots: impl Into<Answers<'a>>,
        sigmas: Vec<f64>,
    ) -> Result<Self> {
        if law.sound() {
            let expected = "the published form of SampleSpecific";
            return Err(Error::parameter("law", expected, law.describe()));
        }
        let detail = Detail::Magnitudes { sigmas, settled: None };
        Self::from_members(law, facts, confidence, before_noise, ballots.into(), detail)
    }

    fn from_members(
        law: Law,
        facts: DataFacts,
        confidence: Confidence,
        before_noise: Option<String>,
        ballots: Answers<'_>,
        detail: Detail,
    ) -> Result<Self> {
        law.check(&facts)?;
        if let Law::Cascade(_) = law {
            let expected = "a law of one level; a cascade has votes of every level";
            return Err(Error::parameter("law", expected, law.describe()));
        }
        check_enough(&confidence, 1, ballots.n_members(), facts.n_classes, ballots.n_samples())?;
        let evidence = Evidence::Members { n_members: ballots.n_members(), confidence };
        let intervals = confidence.intervals_of(ballots)?;
        Self::new(Record::new(law, facts, evidence, before_noise), intervals, detail)
    }

    /// Certificates of a cascade from the members of each of its levels.
    ///
    /// # Errors
    /// `Parameter` when a level does not fit the data, when even unanimous votes of so many members could certify
    /// nothing, or for `selection="split"`; `Shape` unless as many members of every level answered on the same samples.
    ///
    /// # Example
    /// ```
    /// use certssb::{Ballots, Cascade, Certificates, Confidence, DataFacts, Gaussian, Law};
    /// use ndarray::Array2;
    ///
    /// let level = |sigma| Gaussian::new(sigma).map(Law::Gaussian);
    /// let cascade = Cascade::new(vec![level(1.0)?, level(0.5)?], Some(vec![0.3]))?;
    /// let sure = Ballots::from_votes(Array2::ones((1000, 1)), 2)?;
    /// let facts = DataFacts { n_train: 12_665, n_features: Some(784), n_classes: 2 };
    /// let confidence = Confidence::at(0.001).for_votes(1000, 2)?;
    /// let votes = [sure.clone(), sure];
    /// let certificates = Certificates::from_levels(cascade, facts, confidence, None, &votes)?;
    /// // 2.397 for the first level, four bounds sharing alpha, less its threshold.
    /// assert!(certificates.radius().is_some_and(|r| r[0] > 2.09 && r[0] < 2.10));
    /// # Ok::<(), certssb::Error>(())
    /// ```
    pub fn from_levels(
        cascade: Cascade,
        facts: DataFacts,
        confidence: Confidence,
        before_noise: Option<String>,
        ballots: &[Ballots],
    ) -> Result<Self> {
        cascade.check(&facts)?;
        let (bounds, intervals) = LevelBounds::of(&cascade, &confidence, ballots)?;
        let n_members = ballots.iter().map(Ballots::n_members).min().unwrap_or(0);
        check_enough(&confidence, ballots.len(), n_members, facts.n_classes, intervals.len())?;
        let evidence = Evidence::Members { n_members, confidence };
        let record = Record::new(Law::Cascade(cascade), facts, evidence, before_noise);
        Self::new(record, intervals, Detail::Levels(bounds))
    }

    /// Certificates of a partition, without chance, from the answers of its learners.
    ///
    /// # Errors
    /// `Parameter` when the partition has more parts than there are samples, for answers out of range, or for a run-off
    /// among votes, which say nothing of the second round; `Shape` unless there are answers of every learner.
    ///
    /// # Example
    /// ```
    /// use certssb::{Assign, Certificates, Choices, DataFacts, Election, Partition};
    /// use ndarray::Array2;
    ///
    /// let partition = Partition::new(10, 1, Assign::Content, None)?;
    /// let facts = DataFacts { n_train: 1000, n_features: None, n_classes: 2 };
    /// let votes = Array2::ones((10, 1));
    /// let choices = Choices::Votes(votes.view());
    /// let certificates = Certificates::from_learners(partition, facts, Election::Plurality, None, choices)?;
    /// // The fifth change makes it 5 to 5, which class 0 wins; a sample modified in place touches two buckets.
    /// assert_eq!(certificates.n_poisoned(f64::INFINITY, true)?, [2]);
    /// # Ok::<(), certssb::Error>(())
    /// ```
    pub fn from_learners(
        partition: Partition,
        facts: DataFacts,
        election: Election,
        before_noise: Option<String>,
        choices: Choices<'_>,
    ) -> Result<Self> {
        partition.check(&facts)?;
        let verdicts = match (election, choices) {
            (Election::Plurality, Choices::Votes(votes)) => {
                plurality(votes, facts.n_classes, partition.spread())?
            }
            (Election::Plurality, Choices::Scores(scores)) => {
                plurality(favourites(scores)?.view(), facts.n_classes, partition.spread())?
            }
            (Election::RunOff, Choices::Scores(scores)) => run_off(scores, partition.spread())?,
            (Election::RunOff, Choices::Votes(_)) => {
                let expected = "'plurality' for votes; a run-off needs the learners' scores";
                return Err(Error::parameter("election", expected, "'run-off'"));
            }
        };
        let evidence = Evidence::Election { n_members: partition.spread().n_learners(), election };
        let record = Record::new(Law::Partition(partition), facts, evidence, before_noise);
        // Nothing is known of probabilities: there are none.
        let intervals = verdicts.iter().map(|verdict| Interval::new(verdict.prediction, 0.0, 1.0)).collect();
        let buckets = verdicts.iter().map(|verdict| verdict.buckets).collect();
        Self::new(record, intervals, Detail::Buckets(buckets))
    }

    /// How many buckets of the partition may change, for every sample; `None` for other laws.
    pub fn n_buckets(&self) -> Option<&[usize]> {
        match &self.detail {
            Detail::Buckets(buckets) => Some(buckets),
            _ => None,
        }
    }

    /// Certificates from probabilities that are known exactly, already rounded outward.
    ///
    /// # Errors
    /// `Parameter` when the law does not fit the data.
    pub fn exact(law: Law, facts: DataFacts, intervals: Vec<Interval>) -> Result<Self> {
        law.check(&facts)?;
        let record = Record::new(law, facts, Evidence::Exact, None);
        Self::new(record, intervals, Detail::None)
    }

    /// Puts a table together again that was taken apart for a file.
    ///
    /// # Errors
    /// `Parameter` when a value is not one that a table can have, or more is claimed than so many members, or learners, can
    /// show.
    pub fn from_parts(record: Record, intervals: Vec<Interval>, detail: Detail) -> Result<Self> {
        record.check()?;
        proof::check(&record, &intervals, &detail)?;
        for (i, interval) in intervals.iter().enumerate() {
            let probabilities = 0.0..=1.0;
            if !probabilities.contains(&interval.p_lower)
                || !probabilities.contains(&interval.p_upper)
                || !probabilities.contains(&interval.rest)
                // The mass of the others is 1 - p_A, up to the digits that p_A lacks; budgets and radii read it.
                || interval.rest < (1.0 - interval.p_lower) - 4.0 * f64::EPSILON
                || interval.prediction >= record.facts.n_classes
            {
                return Err(Error::parameter(
                    "intervals",
                    "probabilities and class numbers of a table of certificates",
                    format_args!("{interval:?} for sample {i}"),
                ));
            }
        }
        claims::check(&record, &intervals, &detail)?;
        Ok(Self { record, intervals, detail })
    }

    fn new(record: Record, intervals: Vec<Interval>, detail: Detail) -> Result<Self> {
        proof::check(&record, &intervals, &detail)?;
        Ok(Self { record, intervals, detail })
    }

    fn proof(&self) -> Box<dyn Proof + '_> {
        proof::of(&self.record, &self.intervals, &self.detail)
    }

    /// The table of some of these samples, in the order of `rows`. Bounds stay what they are: whatever alpha they
    /// share, they share with every sample of the whole table, and the guarantee goes on to say so.
    ///
    /// # Errors
    /// `Parameter` for a row that is not there.
    ///
    /// # Example
    /// ```
    /// use certssb::{Certificates, DataFacts, Gaussian, Interval, Law};
    /// let facts = DataFacts { n_train: 100, n_features: None, n_classes: 2 };
    /// let intervals = [0.9, 0.8, 0.7].map(|p| Interval::new(1, p, 1.0 - p)).to_vec();
    /// let table = Certificates::exact(Law::Gaussian(Gaussian::new(1.0)?), facts, intervals)?;
    /// assert_eq!(table.rows(&[2, 0])?.intervals()[1], table.intervals()[0]);
    /// assert!(table.rows(&[3]).is_err());
    /// # Ok::<(), certssb::Error>(())
    /// ```
    pub fn rows(&self, rows: &[usize]) -> Result<Self> {
        let n_samples = self.intervals.len();
        if let Some(row) = rows.iter().find(|row| **row >= n_samples) {
            let expected = format_args!("row numbers below {n_samples}");
            return Err(Error::parameter("rows", expected, row));
        }
        let family = self.record.family.unwrap_or(n_samples);
        let record = Record { family: Some(family), ..self.record.clone() };
        let intervals = rows.iter().map(|row| self.intervals[*row]).collect();
        Ok(Self { record, intervals, detail: self.detail.rows(rows) })
    }

    /// The record behind the table.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// One interval per test sample.
    pub fn intervals(&self) -> &[Interval] {
        &self.intervals
    }

    /// What is known of each sample beyond its interval.
    pub fn detail(&self) -> &Detail {
        &self.detail
    }

    /// The class of every sample: the ensemble's, or the one of the region it was found to lie in.
    pub fn predictions(&self) -> Vec<usize> {
        self.proof().predictions()
    }

    /// Whether no class could be certified for a sample, not even against no change at all.
    pub fn abstained(&self) -> Vec<bool> {
        self.proof().abstained()
    }

    /// The same certificates of members of which so many could not be trained, which the guarantee says.
    pub fn with_failed(mut self, n_failed: usize) -> Self {
        self.record.n_failed = n_failed;
        self
    }

    /// The same certificates of a partition's learners of which so many had too few samples, which the guarantee says.
    pub fn with_idle(mut self, n_idle: usize) -> Self {
        self.record.n_idle = n_idle;
        self
    }

    /// The same certificates of members for so many of which no samples were drawn, or too few, which the guarantee says.
    pub fn with_empty(mut self, n_empty: usize) -> Self {
        self.record.n_empty = n_empty;
        self
    }

    /// The same certificates of members that saw so many trusted samples beside what was drawn from the training set, which
    /// the guarantee says.
    pub fn with_trusted(mut self, n_trusted: usize) -> Self {
        self.record.n_trusted = n_trusted;
        self
    }

    /// The same certificates for members whose list of classes was learned from the received labels: one label of a
    /// new class, or one class that vanishes, changes every member, and the guarantee says so.
    pub fn with_classes_as_received(mut self) -> Self {
        self.record.classes_as_received = true;
        self
    }

    /// Takes over what a ledger made of the regions around these test inputs.
    ///
    /// # Errors
    /// `Parameter` for a law whose radii do not speak of test inputs; `Shape` unless there is one per sample.
    pub fn with_ledger(mut self, entries: Vec<Settled>) -> Result<Self> {
        let Detail::Magnitudes { settled, .. } = &mut self.detail else {
            let expected = "None: a ledger keeps regions around test inputs, and the radius of this law is a \
                            distance between training sets; only the published form of SampleSpecific has such regions";
            return Err(Error::parameter("ledger", expected, "a ledger"));
        };
        *settled = Some(entries);
        proof::check(&self.record, &self.intervals, &self.detail)?;
        Ok(self)
    }

    /// Whether the guarantee is a proof against an attacker on the training set.
    pub fn sound(&self) -> bool {
        self.record.law.sound()
    }

    /// Radius of every sample, L2 over the whole training set, labels unchanged: the prediction holds for every
    /// change of total norm *below* it. 0 where abstained; `None` for a law without such a radius.
    ///
    /// The published form of sample-specific noise states sigma/2 (Phi^-1(p_A) - Phi^-1(p_B)) with each sample's own
    /// sigma instead, trimmed by a ledger if one was asked.
    ///
    /// Once the work is to stop ([`until`](crate::until)), whatever is not known yet is 0.
    pub fn radius(&self) -> Option<Vec<f64>> {
        self.proof().radius()
    }

    /// Whether each prediction survives a change in place, or any other threat.
    ///
    /// # Errors
    /// `Parameter` when the law says nothing about such changes.
    pub fn holds(&self, threat: impl Into<Threat>) -> Result<Vec<bool>> {
        let threat = threat.into();
        let proof = self.proof();
        covered(proof.as_ref(), &threat)?;
        proof.holds(&threat)
    }

    /// The largest trigger norm each prediction survives on `n_poisoned` samples: infinity for any trigger, 0
    /// where nothing is certified.
    ///
    /// # Errors
    /// `Parameter` when the law says nothing about such changes.
    pub fn trigger_norm(&self, n_poisoned: usize, labels: bool) -> Result<Vec<f64>> {
        self.norm_within(&Change { n_poisoned, trigger_norm: f64::INFINITY, labels }.into())
    }

    /// The largest trigger norm each prediction survives within `threat`, whose own norm is not read.
    ///
    /// # Errors
    /// `Parameter` when the law says nothing about such threats.
    pub fn norm_within(&self, threat: &Threat) -> Result<Vec<f64>> {
        let proof = self.proof();
        covered(proof.as_ref(), &threat.with_norm(f64::INFINITY))?;
        proof.trigger_norm(threat)
    }

    /// The largest number of poisoned samples each prediction survives at `trigger_norm`.
    ///
    /// # Errors
    /// `Parameter` when the law says nothing about such changes.
    pub fn n_poisoned(&self, trigger_norm: f64, labels: bool) -> Result<Vec<usize>> {
        self.number_within(&Change { n_poisoned: 0, trigger_norm, labels }.into())
    }

    /// The largest number each prediction survives of the edits that `threat` counts; its own number is not read.
    ///
    /// # Errors
    /// `Parameter` when the law says nothing about such threats, or for a threat of a number of each kind.
    pub fn number_within(&self, threat: &Threat) -> Result<Vec<usize>> {
        if let Kind::Mixed { .. } = threat.kind {
            let expected = "one kind of edit, or 'any', where a number is asked for";
            return Err(Error::parameter("edits", expected, "numbers of each kind"));
        }
        let proof = self.proof();
        // One sample at least must be asked about, so that an uncovered change is an error, not a zero; two where a
        // modification counts two.
        covered(proof.as_ref(), &threat.at(self.record.facts.n_train.min(2)))?;
        proof.n_poisoned(threat)
    }

    /// What exactly is guaranteed for the predictions that survive `threat`, in one sentence.
    ///
    /// # Errors
    /// `Parameter` when the law says nothing about such threats.
    pub fn statement(&self, threat: &Threat) -> Result<String> {
        let proof = self.proof();
        covered(proof.as_ref(), threat)?;
        Ok(proof.statement(threat))
    }

    /// [`norm_within`](Self::norm_within) for many numbers: shape (n_samples, numbers).
    ///
    /// # Errors
    /// `Parameter` when the law says nothing about such threats.
    pub fn frontier_within(&self, n_poisoned: &[usize], threat: &Threat) -> Result<Array2<f64>> {
        let mut frontier = Array2::zeros((self.intervals.len(), n_poisoned.len()));
        for (mut column, count) in frontier.columns_mut().into_iter().zip(n_poisoned) {
            let norms = self.norm_within(&threat.at(*count))?;
            column.assign(&ndarray::ArrayView1::from(&norms));
        }
        Ok(frontier)
    }

    /// [`trigger_norm`](Self::trigger_norm) for many counts: shape (n_samples, counts).
    ///
    /// # Errors
    /// `Parameter` when the law says nothing about such changes.
    pub fn frontier(&self, n_poisoned: &[usize], labels: bool) -> Result<Array2<f64>> {
        let change = Change { n_poisoned: 0, trigger_norm: f64::INFINITY, labels };
        self.frontier_within(n_poisoned, &change.into())
    }

    /// Certified accuracy at total L2 norms: a right prediction counts if its radius is greater.
    ///
    /// # Errors
    /// `Parameter` for a law without a radius, or a radius that is negative or NaN.
    pub fn accuracy_at_radii(&self, correct: &[bool], radii: &[f64]) -> Result<Vec<f64>> {
        let proof = self.proof();
        proof.covers(&Budget::Total)?;
        let own = proof.radius().unwrap_or_default();
        let stop = Stop::current();
        radii
            .iter()
            .map(|radius| {
                stop.check()?;
                let radius = Radius::check("radii", *radius)?.get();
                let certified: Vec<bool> = own.iter().map(|own| *own > radius).collect();
                Ok(certified_accuracy(correct, &certified).unwrap_or(0.0))
            })
            .collect()
    }

    /// Certified accuracy within a threat, one per trigger norm.
    ///
    /// # Errors
    /// `Parameter` when the law says nothing about such threats.
    pub fn accuracy_within(&self, correct: &[bool], threat: &Threat, norms: &[f64]) -> Result<Vec<f64>> {
        norms
            .iter()
            .map(|norm| {
                let certified = self.holds(threat.with_norm(*norm))?;
                Ok(certified_accuracy(correct, &certified).unwrap_or(0.0))
            })
            .collect()
    }

    /// The largest number of changed entries each prediction survives, for a law that counts entries.
    ///
    /// # Errors
    /// `Parameter` for a law that does not count entries.
    pub fn n_flips(&self) -> Result<Vec<usize>> {
        let proof = self.proof();
        proof.covers(&Budget::Entries)?;
        proof.n_flips()
    }

    /// What exactly is guaranteed, in one sentence for a person who will rely on it.
    pub fn guarantee(&self) -> String {
        self.proof().guarantee()
    }
}

/// Whether a proof says anything of a threat.
fn covered(proof: &dyn Proof, threat: &Threat) -> Result<()> {
    threat.check()?;
    proof.covers(&Budget::Samples(*threat))
}
