//! Certificates: the record of what was drawn, one interval per test sample, and what follows.

use std::collections::HashMap;

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::cascade::{LevelBounds, Levels};
use super::confidence::{members_needed_at, Bound, Confidence, Selection};
use super::frontier::Distinct;
use crate::change::Change;
use crate::error::{Error, Result};
use crate::interval::Interval;
use crate::law::{Cascade, DataFacts, Gaussian, Law, NoiseLaw};
use crate::metrics::certified_accuracy;
use crate::quantity::{written, Quantity, Radius, SMALLEST_LEVEL};
use crate::votes::{Answers, Ballots};

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
    /// Whether the list of classes was learned from the received labels instead of being known before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub classes_as_received: bool,
    /// Members whose training diverged: they vote for the lowest class.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub n_failed: usize,
    /// In a table of selected rows: how many samples the whole one had, among which alpha was divided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<usize>,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// A region around a test input as a ledger settled it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settled {
    /// The class.
    pub prediction: usize,
    /// The radius, L2 around the test input.
    pub radius: f64,
    /// What the ledger did: kept, trimmed, adopted or abstained.
    pub outcome: String,
}

/// What some laws know of each sample beyond its interval.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Detail {
    /// Nothing.
    #[default]
    None,
    /// Bounds at every level of a cascade.
    Levels(LevelBounds),
    /// The noise magnitude of each test sample, for the published form of sample-specific noise.
    Magnitudes {
        /// One per sample, in the units of the features.
        sigmas: Vec<f64>,
        /// What a ledger made of each, if one was asked.
        settled: Option<Vec<Settled>>,
    },
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
    /// let confidence = Confidence::check(0.001, "auto", "union", "auto", false, None, 1000, 2, false)?;
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
        let (ballots, detail) = (ballots.into(), Detail::Magnitudes { sigmas, settled: None });
        detail.check(&law, &facts, ballots.n_samples())?;
        Self::from_members(law, facts, confidence, before_noise, ballots, detail)
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
        Ok(Self { record: Record::new(law, facts, evidence, before_noise), intervals, detail })
    }

    /// Certificates of a cascade from the members of each of its levels.
    ///
    /// # Errors
    /// `Parameter` when a level does not fit the data, when even unanimous votes of so many members could certify
    /// nothing, or for `selection="split"`; `Shape` unless every level answered on the same samples.
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
    /// let confidence = Confidence::check(0.001, "auto", "union", "auto", false, None, 1000, 2, false)?;
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
        Ok(Self { record, intervals, detail: Detail::Levels(bounds) })
    }

    /// Certificates from probabilities that are known exactly, already rounded outward.
    ///
    /// # Errors
    /// `Parameter` when the law does not fit the data.
    pub fn exact(law: Law, facts: DataFacts, intervals: Vec<Interval>) -> Result<Self> {
        law.check(&facts)?;
        let record = Record::new(law, facts, Evidence::Exact, None);
        Ok(Self { record, intervals, detail: Detail::None })
    }

    /// Puts a table together again that was taken apart for a file.
    ///
    /// # Errors
    /// `Parameter` when a value is not one that a table can have.
    pub fn from_parts(record: Record, intervals: Vec<Interval>, detail: Detail) -> Result<Self> {
        record.check()?;
        detail.check(&record.law, &record.facts, intervals.len())?;
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
        Ok(Self { record, intervals, detail })
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
        match &self.detail {
            Detail::Magnitudes { settled: Some(settled), .. } => {
                settled.iter().map(|s| s.prediction).collect()
            }
            _ => self.intervals.iter().map(|interval| interval.prediction).collect(),
        }
    }

    /// Whether no class could be certified for a sample, not even against no change at all.
    pub fn abstained(&self) -> Vec<bool> {
        match (&self.detail, self.levels()) {
            (Detail::Magnitudes { settled: Some(settled), .. }, _) => {
                settled.iter().map(|settled| settled.radius <= 0.0).collect()
            }
            (_, Some(levels)) => levels.received().iter().map(|radius| *radius <= 0.0).collect(),
            _ => self.intervals.iter().map(Interval::abstained).collect(),
        }
    }

    /// The same certificates of members of which so many could not be trained, which the guarantee says.
    pub fn with_failed(mut self, n_failed: usize) -> Self {
        self.record.n_failed = n_failed;
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
        self.detail.check(&self.record.law, &self.record.facts, self.intervals.len())?;
        Ok(self)
    }

    fn levels(&self) -> Option<Levels<'_>> {
        match (&self.record.law, &self.detail) {
            (Law::Cascade(cascade), Detail::Levels(bounds)) => {
                Some(Levels { cascade, facts: &self.record.facts, bounds, intervals: &self.intervals })
            }
            _ => None,
        }
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
    pub fn radius(&self) -> Option<Vec<f64>> {
        let Record { law, facts, .. } = &self.record;
        if let Some(levels) = self.levels() {
            return levels.radius().map(|radii| radii.into_iter().map(|radius| radius.max(0.0)).collect());
        }
        if let Detail::Magnitudes { sigmas, settled } = &self.detail {
            if let Some(settled) = settled {
                return Some(settled.iter().map(|settled| settled.radius).collect());
            }
            return self
                .intervals
                .iter()
                .zip(sigmas)
                .map(|(i, sigma)| own_radius(*sigma, i, facts))
                .collect();
        }
        if self.intervals.is_empty() {
            // Whether the law has radii does not depend on the interval.
            law.total_radius(&Interval::new(0, 0.75, 0.25), facts)?;
        }
        let radius = |interval: &Interval| match law.total_radius(interval, facts) {
            Some(radius) if !interval.abstained() => Some(radius.max(0.0)),
            other => other.map(|_| 0.0),
        };
        // Votes are counts: many samples share an interval, and a radius takes two quantiles.
        let mut known: HashMap<[u64; 3], Option<f64>> = HashMap::new();
        let key = |i: &Interval| [i.p_lower.to_bits(), i.p_upper.to_bits(), i.rest.to_bits()];
        self.intervals.iter().map(|own| *known.entry(key(own)).or_insert_with(|| radius(own))).collect()
    }

    /// Whether each prediction survives `change`.
    ///
    /// # Errors
    /// `Parameter` when the law says nothing about such changes.
    pub fn holds(&self, change: &Change) -> Result<Vec<bool>> {
        if let Some(levels) = self.levels() {
            return levels.holds(change);
        }
        Distinct::of(&self.intervals).holds(&self.record.law, &self.record.facts, change)
    }

    /// The largest trigger norm each prediction survives on `n_poisoned` samples: infinity for any trigger, 0
    /// where nothing is certified.
    ///
    /// # Errors
    /// `Parameter` when the law says nothing about such changes.
    pub fn trigger_norm(&self, n_poisoned: usize, labels: bool) -> Result<Vec<f64>> {
        if let Some(levels) = self.levels() {
            return levels.norms(n_poisoned, labels);
        }
        Distinct::of(&self.intervals).norms(&self.record.law, &self.record.facts, n_poisoned, labels)
    }

    /// The largest number of poisoned samples each prediction survives at `trigger_norm`.
    ///
    /// # Errors
    /// `Parameter` when the law says nothing about such changes.
    pub fn n_poisoned(&self, trigger_norm: f64, labels: bool) -> Result<Vec<usize>> {
        if let Some(levels) = self.levels() {
            return levels.counts(trigger_norm, labels);
        }
        Distinct::of(&self.intervals).counts(&self.record.law, &self.record.facts, trigger_norm, labels)
    }

    /// [`trigger_norm`](Self::trigger_norm) for many counts: shape (n_samples, counts).
    ///
    /// # Errors
    /// `Parameter` when the law says nothing about such changes.
    pub fn frontier(&self, n_poisoned: &[usize], labels: bool) -> Result<Array2<f64>> {
        let mut frontier = Array2::zeros((self.intervals.len(), n_poisoned.len()));
        for (mut column, count) in frontier.columns_mut().into_iter().zip(n_poisoned) {
            let norms = self.trigger_norm(*count, labels)?;
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

/// sigma/2 (Phi^-1(p_A) - Phi^-1(p_B)) at a sample's own sigma, 0 where abstained.
fn own_radius(sigma: f64, interval: &Interval, facts: &DataFacts) -> Option<f64> {
    let radius = Gaussian::new(sigma).ok()?.total_radius(interval, facts)?;
    Some(if interval.abstained() { 0.0 } else { radius.max(0.0) })
}

impl Detail {
    fn rows(&self, rows: &[usize]) -> Self {
        match self {
            Self::None => Self::None,
            Self::Magnitudes { sigmas, settled } => Self::Magnitudes {
                sigmas: rows.iter().map(|row| sigmas[*row]).collect(),
                settled: settled
                    .as_ref()
                    .map(|settled| rows.iter().map(|row| settled[*row].clone()).collect()),
            },
            Self::Levels(bounds) => Self::Levels(bounds.rows(rows)),
        }
    }

    fn check(&self, law: &Law, facts: &DataFacts, n_samples: usize) -> Result<()> {
        match (law, self) {
            (Law::Cascade(cascade), Self::Levels(bounds)) => {
                bounds.check(cascade, n_samples, facts.n_classes)
            }
            (law, Self::Magnitudes { sigmas, settled }) if !law.sound() => {
                let sizes = sigmas.len() == n_samples && settled.iter().all(|s| s.len() == n_samples);
                let sigmas = sigmas.iter().all(|sigma| *sigma > 0.0 && sigma.is_finite());
                let right = |s: &Settled| s.radius >= 0.0 && s.prediction < facts.n_classes;
                if sizes && sigmas && settled.iter().flatten().all(right) {
                    return Ok(());
                }
                Err(Error::shape(
                    "sigmas",
                    format_args!("one magnitude for each of {n_samples} samples"),
                    "others",
                ))
            }
            (Law::Cascade(_), _) => {
                Err(Error::parameter("levels", "the bounds of a cascade's levels", "none"))
            }
            (law, Self::None) if law.sound() => Ok(()),
            _ => Err(Error::parameter("detail", "what the law's certificates consist of", law.describe())),
        }
    }
}

/// Refuses a level of a single bound for which bounds are not proved, because alpha was shared among too many.
pub(crate) fn check_level(confidence: &Confidence, share: f64) -> Result<()> {
    if share >= SMALLEST_LEVEL {
        return Ok(());
    }
    let expected = format_args!(
        "large enough that each of the bounds that hold together has a share of at least {}, the smallest level that \
         bounds are proved for",
        written(SMALLEST_LEVEL)
    );
    let (alpha, share) = (written(confidence.alpha.get()), written(share));
    Err(Error::parameter("alpha", expected, format_args!("{alpha}, which leaves {share} for each,")))
}

/// Refuses a number of members with which even unanimous votes, at each of so many levels, certify nothing.
pub(crate) fn check_enough(
    confidence: &Confidence,
    n_levels: usize,
    n_members: usize,
    n_classes: usize,
    n_samples: usize,
) -> Result<()> {
    let share = confidence.share_at_levels(n_levels, n_classes, n_samples);
    check_level(confidence, share)?;
    if confidence.enough(share, n_members) {
        return Ok(());
    }
    let needed = members_needed_at(confidence, share);
    Err(Error::parameter(
        "n_members",
        format_args!(
            "at least {needed}: with alpha={} and {n_classes} classes, fewer members certify nothing even if all \
             of them agree",
            written(confidence.alpha.get())
        ),
        n_members,
    ))
}

impl Record {
    /// Refuses what no certification writes; for a record that comes from a file.
    fn check(&self) -> Result<()> {
        let DataFacts { n_train, n_features, n_classes } = self.facts;
        let sizes = [n_train, n_features.unwrap_or(1)];
        crate::size::product("record", &sizes)?;
        if sizes.contains(&0) || !(2..=usize::from(u16::MAX)).contains(&n_classes) {
            let got = format_args!("{n_train} samples of {n_features:?} features in {n_classes} classes");
            return Err(Error::parameter("record", "sizes of a training set", got));
        }
        if let Evidence::Members { n_members, confidence } = &self.evidence {
            if confidence.choosing() >= *n_members || *n_members > crate::size::LARGEST {
                let got = format_args!("{n_members} members, {} of which choose", confidence.choosing());
                return Err(Error::parameter("record", "members of which some are left to bound", got));
            }
        }
        self.law.check_own()?;
        self.law.check(&self.facts)
    }

    /// The record of a whole table whose classes were known before.
    fn new(law: Law, facts: DataFacts, evidence: Evidence, before_noise: Option<String>) -> Self {
        Self { law, facts, evidence, before_noise, classes_as_received: false, n_failed: 0, family: None }
    }

    fn guarantee(&self, n_samples: usize) -> String {
        let certainty = match &self.evidence {
            Evidence::Exact => "For each test sample, with certainty,".to_owned(),
            Evidence::Members { n_members, confidence } => {
                let family = self.family.unwrap_or(n_samples);
                let scope = if confidence.family_wise && family == n_samples {
                    format!("For all {family} test samples together")
                } else if confidence.family_wise {
                    format!(
                        "For all {family} test samples together, of which this table has {n_samples} rows"
                    )
                } else {
                    "For each test sample on its own".to_owned()
                };
                let choice = match confidence.selection {
                    Selection::Union => String::new(),
                    Selection::Split { members } => format!(", the first {members} of which chose the class"),
                };
                let any_time = match (confidence.bound, confidence.selection) {
                    (Bound::Betting, Selection::Union) => {
                        ", however often members were added after a look at the result"
                    }
                    (Bound::Betting, Selection::Split { .. }) => {
                        ", however often members were added after a look at the result (provided that the number of \
                         choosing members was fixed before the first look)"
                    }
                    _ => "",
                };
                let members = match &self.law {
                    Law::Cascade(cascade) => {
                        format!("{n_members} members at each of {} levels", cascade.levels().len())
                    }
                    _ => format!("{n_members} members"),
                };
                format!(
                    "{scope}, with probability at least 1 - {} over the noise of {members}{choice}{any_time}, \
                     which nobody who changed the data knew,",
                    written(confidence.alpha.get())
                )
            }
        };
        let before = match &self.before_noise {
            Some(what) => format!(" Each sample first passes {what}."),
            None => String::new(),
        };
        let failed = match self.n_failed {
            0 => String::new(),
            1 => " The training of 1 member diverged; it votes for the lowest class.".to_owned(),
            n => format!(" The training of {n} members diverged; they vote for the lowest class."),
        };
        let classes = match self.classes_as_received {
            true => ", nor is a change of the list of classes, which is taken as received",
            false => "",
        };
        if !self.law.sound() {
            return format!(
                "NOT A PROOF. The published form of Cert-SSBD states, with probability at least 1 - alpha for each test \
                 sample, a radius of sigma/2 (Phi^-1(p_A) - Phi^-1(p_B)) with the sample's own sigma, under {}. No change of \
                 the training set is certified: the sigmas were tuned on the received samples, so moving a trigger also \
                 moves the noise, and a test sample's sigma says nothing about training samples.{before}{failed}",
                self.law.describe()
            );
        }
        format!(
            "{certainty} the prediction stays the same for every training set that differs from the received one \
             only by {}, under {}; inserting or deleting samples is not covered{classes}.{before}{failed}",
            self.law.covered(),
            self.law.describe(),
        )
    }
}
