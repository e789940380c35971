//! Tables of certificates: votes or scores in, arrays out.

use numpy::{
    Element, PyArray1, PyArray2, PyArray3, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2,
    PyReadonlyArray3,
};
use pyo3::prelude::*;

use super::law::{wrap, PyLaw};
use super::listen::{holding, listening};
use super::threat::{threat as asked, Asked};
use crate::certify::{
    decide, Certificates, Confidence, ConfidenceBuilder, Detail, Evidence, LevelBounds, Record, Settled,
};
use crate::error::{Error, Result};
use crate::interval::Interval;
use crate::law::{Cascade, DataFacts, Law};
use crate::size::LARGEST;
use crate::votes::{check_sizes, Answers, Ballots, ClassNumber, Poll, Tally};

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyCertificates>()?;
    module.add_class::<PyConfidence>()?;
    module.add_function(wrap_pyfunction!(decide_cascade, module)?)?;
    module.add_function(wrap_pyfunction!(certify_cascade, module)?)?;
    module.add_function(wrap_pyfunction!(certify_votes, module)?)?;
    module.add_function(wrap_pyfunction!(certify_scores, module)?)
}

/// Settings of a certification as the user typed them; checked when members and classes are known.
#[pyclass(name = "Confidence", module = "certssb._core", frozen)]
#[derive(Clone)]
pub(super) struct PyConfidence {
    pub(super) asked: ConfidenceBuilder,
}

#[pymethods]
impl PyConfidence {
    #[new]
    #[pyo3(signature = (alpha=0.001, bound="auto".to_owned(), selection="union".to_owned(), runner_up="auto".to_owned(), family_wise=false, split=None))]
    fn new(
        alpha: f64,
        bound: String,
        selection: String,
        runner_up: String,
        family_wise: bool,
        split: Option<i64>,
    ) -> Self {
        let split = split.map(|split| usize::try_from(split).unwrap_or(0));
        let asked = Confidence::at(alpha).bound(bound).selection(selection).runner_up(runner_up);
        Self { asked: asked.family_wise(family_wise).split(split) }
    }

    /// Refuses settings under which even unanimous members, at each of a number of levels, certify nothing.
    #[pyo3(signature = (n_members, n_classes, n_samples, n_levels=1))]
    fn check_enough(
        &self,
        py: Python<'_>,
        n_members: usize,
        n_classes: usize,
        n_samples: usize,
        n_levels: usize,
    ) -> PyResult<()> {
        let confidence = self.asked.for_votes(n_members, n_classes)?;
        let check = || crate::certify::check_enough(&confidence, n_levels, n_members, n_classes, n_samples);
        listening(py, check)
    }
}

/// Certificates of a set of test samples; the Python class `CertificateTable` dresses it.
#[pyclass(name = "Certificates", module = "certssb._core", frozen)]
pub(super) struct PyCertificates {
    inner: Certificates,
}

impl PyCertificates {
    pub(super) fn new(inner: Certificates) -> Self {
        Self { inner }
    }

    fn column<'py, T: numpy::Element>(
        &self,
        py: Python<'py>,
        get: impl Fn(&Interval) -> T,
    ) -> Bound<'py, PyArray1<T>> {
        PyArray1::from_vec(py, self.inner.intervals().iter().map(get).collect())
    }
}

pub(super) fn count(name: &str, value: i64) -> Result<usize> {
    usize::try_from(value).map_err(|_| Error::parameter(name, "an integer of at least 0", value))
}

#[pymethods]
impl PyCertificates {
    fn __len__(&self) -> usize {
        self.inner.intervals().len()
    }

    #[getter]
    fn prediction<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        PyArray1::from_vec(py, self.inner.predictions().into_iter().map(|class| class as i64).collect())
    }

    /// The ensemble's own class, whatever a ledger made of it.
    #[getter]
    fn own_prediction<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        self.column(py, |interval| interval.prediction as i64)
    }

    #[getter]
    fn abstained<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<bool>> {
        PyArray1::from_vec(py, self.inner.abstained())
    }

    /// A cascade's bounds of every class at every level, and the level that decided.
    #[getter]
    #[allow(clippy::type_complexity)]
    fn levels<'py>(
        &self,
        py: Python<'py>,
    ) -> Option<(Bound<'py, PyArray3<f64>>, Bound<'py, PyArray3<f64>>, Bound<'py, PyArray1<i64>>)> {
        let Detail::Levels(bounds) = self.inner.detail() else { return None };
        let level = bounds.level.iter().map(|level| *level as i64).collect();
        Some((
            PyArray3::from_array(py, &bounds.lower),
            PyArray3::from_array(py, &bounds.upper),
            PyArray1::from_vec(py, level),
        ))
    }

    /// Each test sample's noise magnitude, for the published form of sample-specific noise.
    #[getter]
    fn sigmas<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyArray1<f64>>> {
        match self.inner.detail() {
            Detail::Magnitudes { sigmas, .. } => Some(PyArray1::from_slice(py, sigmas)),
            _ => None,
        }
    }

    /// What a ledger made of each sample's region.
    #[getter]
    fn outcomes(&self) -> Option<Vec<String>> {
        match self.inner.detail() {
            Detail::Magnitudes { settled: Some(settled), .. } => {
                Some(settled.iter().map(|settled| settled.outcome.clone()).collect())
            }
            _ => None,
        }
    }

    /// The table of members of which so many could not be trained, which its guarantee says.
    fn with_failed(&self, n_failed: usize) -> Self {
        Self { inner: self.inner.clone().with_failed(n_failed) }
    }

    /// The table of learners of which so many had too few samples, which its guarantee says.
    fn with_idle(&self, n_idle: usize) -> Self {
        Self { inner: self.inner.clone().with_idle(n_idle) }
    }

    /// The table of members for so many of which no samples were drawn, or too few, which its guarantee says.
    fn with_empty(&self, n_empty: usize) -> Self {
        Self { inner: self.inner.clone().with_empty(n_empty) }
    }

    /// The table of members that saw so many trusted samples as they are, which its guarantee says.
    pub(super) fn with_trusted(&self, n_trusted: usize) -> Self {
        Self { inner: self.inner.clone().with_trusted(n_trusted) }
    }

    /// The table of members whose list of classes was learned from the received labels, which its guarantee says.
    fn with_classes_as_received(&self) -> Self {
        Self { inner: self.inner.clone().with_classes_as_received() }
    }

    #[getter]
    fn classes_as_received(&self) -> bool {
        self.inner.record().classes_as_received
    }

    /// The table with what a ledger made of the regions around the test inputs.
    fn with_ledger(
        &self,
        prediction: PyReadonlyArray1<'_, i64>,
        radius: PyReadonlyArray1<'_, f64>,
        outcome: Vec<String>,
    ) -> PyResult<Self> {
        let settled = settled(&prediction, &radius, outcome);
        Ok(Self { inner: self.inner.clone().with_ledger(settled)? })
    }

    #[getter]
    fn p_lower<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.column(py, |interval| interval.p_lower)
    }

    #[getter]
    fn p_upper<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.column(py, |interval| interval.p_upper)
    }

    /// Upper bound for the probability of all other classes together.
    #[getter]
    fn p_rest<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.column(py, |interval| interval.rest)
    }

    #[getter]
    fn radius<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyArray1<f64>>>> {
        let radius = listening(py, || Ok(self.inner.radius()))?;
        Ok(radius.map(|radius| PyArray1::from_vec(py, radius)))
    }

    #[getter]
    fn guarantee(&self) -> String {
        self.inner.guarantee()
    }

    #[getter]
    fn sound(&self) -> bool {
        self.inner.sound()
    }

    #[getter]
    fn law(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        wrap(py, self.inner.record().law.clone())
    }

    #[getter]
    fn n_train(&self) -> Option<usize> {
        Some(self.inner.record().facts.n_train).filter(|n_train| *n_train > 0)
    }

    /// Trusted samples beside these.
    #[getter]
    fn n_trusted(&self) -> usize {
        self.inner.record().n_trusted
    }

    /// How many buckets of a partition may change, for each sample.
    #[getter]
    fn n_buckets<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyArray1<i64>>> {
        let buckets = self.inner.n_buckets()?;
        Some(PyArray1::from_vec(py, buckets.iter().map(|buckets| *buckets as i64).collect()))
    }

    /// How a partition's learners elected the classes.
    #[getter]
    fn election(&self) -> Option<&'static str> {
        match self.inner.record().evidence {
            Evidence::Election { election, .. } => Some(election.name()),
            _ => None,
        }
    }

    #[getter]
    fn n_classes(&self) -> usize {
        self.inner.record().facts.n_classes
    }

    #[getter]
    fn n_members(&self) -> Option<usize> {
        self.inner.record().evidence.n_members()
    }

    #[getter]
    fn alpha(&self) -> Option<f64> {
        self.inner.record().evidence.alpha()
    }

    fn holds<'py>(&self, py: Python<'py>, threat: Asked) -> PyResult<Bound<'py, PyArray1<bool>>> {
        let threat = asked(threat)?;
        let verdicts = listening(py, || self.inner.holds(threat))?;
        Ok(PyArray1::from_vec(py, verdicts))
    }

    fn trigger_norm<'py>(&self, py: Python<'py>, threat: Asked) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let threat = asked(threat)?;
        let norms = listening(py, || self.inner.norm_within(&threat))?;
        Ok(PyArray1::from_vec(py, norms))
    }

    fn n_poisoned<'py>(&self, py: Python<'py>, threat: Asked) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let threat = asked(threat)?;
        let counts = listening(py, || self.inner.number_within(&threat))?;
        Ok(PyArray1::from_vec(py, counts.into_iter().map(|r| r as i64).collect()))
    }

    /// What is guaranteed for the predictions that survive a threat, in one sentence.
    fn statement(&self, threat: Asked) -> PyResult<String> {
        Ok(self.inner.statement(&asked(threat)?)?)
    }

    fn n_flips<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let flips = listening(py, || self.inner.n_flips())?;
        Ok(PyArray1::from_vec(py, flips.into_iter().map(|f| f as i64).collect()))
    }

    fn frontier<'py>(
        &self,
        py: Python<'py>,
        n_poisoned: PyReadonlyArray1<'py, i64>,
        threat: Asked,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let threat = asked(threat)?;
        let counts: Result<Vec<usize>> =
            n_poisoned.as_array().iter().map(|r| count("n_poisoned", *r)).collect();
        let counts = counts?;
        let frontier = listening(py, || self.inner.frontier_within(&counts, &threat))?;
        Ok(PyArray2::from_owned_array(py, frontier))
    }

    fn accuracy_at_radii<'py>(
        &self,
        py: Python<'py>,
        correct: PyReadonlyArray1<'py, bool>,
        radii: PyReadonlyArray1<'py, f64>,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let (correct, radii) = (correct.as_array().to_vec(), radii.as_array().to_vec());
        let shares = listening(py, || self.inner.accuracy_at_radii(&correct, &radii))?;
        Ok(PyArray1::from_vec(py, shares))
    }

    fn accuracy_within<'py>(
        &self,
        py: Python<'py>,
        correct: PyReadonlyArray1<'py, bool>,
        threat: Asked,
        norms: PyReadonlyArray1<'py, f64>,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let (correct, norms) = (correct.as_array().to_vec(), norms.as_array().to_vec());
        let threat = asked(threat)?;
        let shares = listening(py, || self.inner.accuracy_within(&correct, &threat, &norms))?;
        Ok(PyArray1::from_vec(py, shares))
    }

    /// The table of some of these samples, in this order.
    fn rows(&self, rows: PyReadonlyArray1<'_, i64>) -> PyResult<Self> {
        let rows: Vec<usize> = rows.as_array().iter().map(|row| class(*row)).collect();
        Ok(Self { inner: self.inner.rows(&rows)? })
    }

    /// Everything that the guarantee depends on, as JSON.
    fn record(&self) -> PyResult<String> {
        Ok(serde_json::to_string(self.inner.record())
            .map_err(|e| Error::parameter("record", "a record that can be written", e))?)
    }

    /// A table from its parts, as a file holds them: a dictionary by name.
    #[staticmethod]
    fn from_parts(parts: Parts<'_>) -> PyResult<Self> {
        let record: Record = serde_json::from_str(&parts.record)
            .map_err(|e| Error::parameter("record", "the record of a table", e))?;
        Ok(Self { inner: Certificates::from_parts(record, parts.intervals()?, parts.detail()?)? })
    }
}

/// What a file holds of a table; which of the columns that may be missing are there depends on its law.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Parts<'py> {
    record: String,
    prediction: PyReadonlyArray1<'py, i64>,
    p_lower: PyReadonlyArray1<'py, f64>,
    p_upper: PyReadonlyArray1<'py, f64>,
    p_rest: PyReadonlyArray1<'py, f64>,
    #[pyo3(default)]
    level_lower: Option<PyReadonlyArray3<'py, f64>>,
    #[pyo3(default)]
    level_upper: Option<PyReadonlyArray3<'py, f64>>,
    #[pyo3(default)]
    level: Option<PyReadonlyArray1<'py, i64>>,
    #[pyo3(default)]
    buckets: Option<PyReadonlyArray1<'py, i64>>,
    #[pyo3(default)]
    sigmas: Option<PyReadonlyArray1<'py, f64>>,
    #[pyo3(default)]
    settled_prediction: Option<PyReadonlyArray1<'py, i64>>,
    #[pyo3(default)]
    settled_radius: Option<PyReadonlyArray1<'py, f64>>,
    #[pyo3(default)]
    outcome: Option<Vec<String>>,
}

impl Parts<'_> {
    fn intervals(&self) -> Result<Vec<Interval>> {
        let (prediction, p_rest) = (self.prediction.as_array(), self.p_rest.as_array());
        let (p_lower, p_upper) = (self.p_lower.as_array(), self.p_upper.as_array());
        if [p_lower.len(), p_upper.len(), p_rest.len()].iter().any(|n| *n != prediction.len()) {
            return Err(Error::shape("p_lower", "one value per prediction", p_lower.len()));
        }
        let columns = prediction.iter().zip(p_lower).zip(p_upper).zip(p_rest);
        let interval = |(((prediction, p_lower), p_upper), rest): (((&i64, &f64), &f64), &f64)| Interval {
            prediction: class(*prediction),
            p_lower: *p_lower,
            p_upper: *p_upper,
            rest: *rest,
        };
        Ok(columns.map(interval).collect())
    }

    fn detail(&self) -> Result<Detail> {
        if let Some(level) = &self.level {
            let (Some(lower), Some(upper)) = (&self.level_lower, &self.level_upper) else {
                return Err(Error::parameter("level_lower", "given with 'level'", "None"));
            };
            let level = level.as_array().iter().map(|level| class(*level)).collect();
            let (lower, upper) = (lower.as_array().to_owned(), upper.as_array().to_owned());
            return Ok(Detail::Levels(LevelBounds { lower, upper, level }));
        }
        if let Some(buckets) = &self.buckets {
            return Ok(Detail::Buckets(buckets.as_array().iter().map(|number| class(*number)).collect()));
        }
        let Some(sigmas) = &self.sigmas else { return Ok(Detail::None) };
        let settled = match (&self.settled_prediction, &self.settled_radius, &self.outcome) {
            (Some(prediction), Some(radius), Some(outcome)) => {
                Some(settled(prediction, radius, outcome.clone()))
            }
            (None, None, None) => None,
            _ => {
                return Err(Error::parameter("outcome", "given with its classes and radii", "a part of them"))
            }
        };
        Ok(Detail::Magnitudes { sigmas: sigmas.as_array().to_vec(), settled })
    }
}

fn class(number: i64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn settled(
    prediction: &PyReadonlyArray1<'_, i64>,
    radius: &PyReadonlyArray1<'_, f64>,
    outcome: Vec<String>,
) -> Vec<Settled> {
    let columns = prediction.as_array().to_vec().into_iter().zip(radius.as_array().to_vec()).zip(outcome);
    columns
        .map(|((prediction, radius), outcome)| Settled { prediction: class(prediction), radius, outcome })
        .collect()
}

fn cascade_of(law: &PyLaw) -> Result<Cascade> {
    match law.law() {
        Law::Cascade(cascade) => Ok(cascade),
        other => {
            use crate::law::NoiseLaw;
            Err(Error::parameter("law", "a Cascade", other.describe()))
        }
    }
}

fn level_ballots(
    py: Python<'_>,
    votes: &[PyReadonlyArray2<'_, u16>],
    n_classes: usize,
) -> PyResult<Vec<Ballots>> {
    let ballots = |votes: &PyReadonlyArray2<'_, u16>| {
        let votes = votes.as_array();
        check_sizes("votes", (votes.nrows(), votes.ncols(), n_classes), 2)?;
        Ballots::from_votes(votes.to_owned(), n_classes)
    };
    holding(py, || votes.iter().map(ballots).collect())
}

/// What a cascade decides on votes of every level: classes, deciding levels, and the votes counted there.
#[pyfunction]
#[allow(clippy::type_complexity)]
fn decide_cascade<'py>(
    py: Python<'py>,
    votes: Vec<PyReadonlyArray2<'py, u16>>,
    law: PyRef<'py, PyLaw>,
    n_classes: usize,
) -> PyResult<(Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i64>>, Bound<'py, PyArray2<f64>>)> {
    let ballots = level_ballots(py, &votes, n_classes)?;
    let tally = |own: &Ballots| Ok(own.tally(0, own.n_members()));
    let tallies: Vec<Tally> = listening(py, || ballots.iter().map(tally).collect())?;
    let decisions = decide(&cascade_of(&law)?, &tallies);
    let mut counts = ndarray::Array2::zeros((decisions.len(), n_classes));
    for (sample, decision) in decisions.iter().enumerate() {
        counts.row_mut(sample).assign(&tallies[decision.level].sums().row(sample));
    }
    let column = |of: fn(&crate::certify::Decision) -> usize| {
        PyArray1::from_vec(py, decisions.iter().map(|decision| of(decision) as i64).collect())
    };
    Ok((column(|d| d.prediction), column(|d| d.level), PyArray2::from_owned_array(py, counts)))
}

/// Certificates of a cascade from votes of every level's members, drawn from the levels' laws.
pub(super) fn certify_levels(
    py: Python<'_>,
    votes: &[PyReadonlyArray2<'_, u16>],
    cascade: &Cascade,
    facts: DataFacts,
    confidence: &PyConfidence,
    before_noise: Option<String>,
) -> PyResult<PyCertificates> {
    let ballots = level_ballots(py, votes, facts.n_classes)?;
    let n_members = ballots.iter().map(Ballots::n_members).min().unwrap_or(0);
    let confidence = confidence.asked.for_votes(n_members, facts.n_classes)?;
    let cascade = cascade.clone();
    let inner =
        listening(py, || Certificates::from_levels(cascade, facts, confidence, before_noise, &ballots))?;
    Ok(PyCertificates::new(inner))
}

/// Certificates of a cascade whose levels were trained elsewhere.
#[pyfunction]
#[pyo3(signature = (votes, law, n_train, n_classes, n_features, confidence))]
fn certify_cascade(
    py: Python<'_>,
    votes: Vec<PyReadonlyArray2<'_, u16>>,
    law: PyRef<'_, PyLaw>,
    n_train: i64,
    n_classes: i64,
    n_features: Option<usize>,
    confidence: &Bound<'_, PyConfidence>,
) -> PyResult<PyCertificates> {
    let facts = facts(n_train, n_classes, n_features)?;
    certify_levels(py, &votes, &cascade_of(&law)?, facts, confidence.get(), None)
}

/// Certificates from class numbers of shape (n_members, n_samples), integers of any width.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
#[pyo3(signature = (votes, law, n_train, n_classes, n_features, confidence, before_noise=None))]
fn certify_votes(
    votes: &Bound<'_, PyAny>,
    law: PyRef<'_, PyLaw>,
    n_train: i64,
    n_classes: i64,
    n_features: Option<usize>,
    confidence: &Bound<'_, PyConfidence>,
    before_noise: Option<String>,
) -> PyResult<PyCertificates> {
    let facts = facts(n_train, n_classes, n_features)?;
    let known = Known { law: law.law(), facts, before_noise };
    macro_rules! first_of {
        ($($integer:ty)*) => {$(
            if let Ok(votes) = votes.cast::<PyArray2<$integer>>() {
                return known.certify(&votes.try_readonly()?, confidence.get());
            }
        )*};
    }
    first_of!(u16 i64 u8 i32 i8 i16 u32 u64);
    Err(Error::parameter("votes", "an array of integers", votes.get_type().name()?).into())
}

/// What a certification knows beside the votes.
pub(super) struct Known {
    pub(super) law: Law,
    pub(super) facts: DataFacts,
    pub(super) before_noise: Option<String>,
}

impl Known {
    /// Certificates from an array of any integers, in any order in memory, without a copy of it.
    ///
    /// The interpreter is held while votes are counted, so that no Python code writes to them meanwhile, and is free
    /// afterwards.
    pub(super) fn certify<T: Element + ClassNumber>(
        self,
        votes: &PyReadonlyArray2<'_, T>,
        confidence: &PyConfidence,
    ) -> PyResult<PyCertificates> {
        let Self { law, facts, before_noise } = self;
        let poll = Poll::new(votes.as_array(), facts.n_classes)?;
        let confidence = confidence.asked.for_votes(poll.n_members(), facts.n_classes)?;
        let (ballots, counts);
        let answers = if confidence.bound == crate::certify::Bound::Betting {
            ballots = holding(votes.py(), || poll.ballots())?;
            Answers::Ordered(&ballots)
        } else {
            counts = holding(votes.py(), || poll.count(confidence.choosing()))?;
            Answers::Counted(&counts)
        };
        let certify = || Certificates::from_ballots(law, facts, confidence, before_noise, answers);
        Ok(PyCertificates::new(listening(votes.py(), certify)?))
    }
}

/// Certificates from scores of shape (n_members, n_samples, n_classes).
#[pyfunction]
#[pyo3(signature = (scores, law, n_train, n_features, confidence, before_noise=None))]
fn certify_scores(
    py: Python<'_>,
    scores: PyReadonlyArray3<'_, f32>,
    law: PyRef<'_, PyLaw>,
    n_train: i64,
    n_features: Option<usize>,
    confidence: &Bound<'_, PyConfidence>,
    before_noise: Option<String>,
) -> PyResult<PyCertificates> {
    let facts = facts(n_train, scores.as_array().dim().2 as i64, n_features)?;
    let (members, samples, classes) = scores.as_array().dim();
    check_sizes("scores", (members, samples, classes), classes.saturating_mul(4))?;
    let ballots = holding(py, || Ballots::from_scores(scores.as_array().to_owned()))?;
    let confidence = confidence.get().asked.for_scores(ballots.n_members(), facts.n_classes)?;
    let law = law.law();
    let certify = || Certificates::from_ballots(law, facts, confidence, before_noise, &ballots);
    let inner = listening(py, certify)?;
    Ok(PyCertificates::new(inner))
}

pub(super) fn facts(n_train: i64, n_classes: i64, n_features: Option<usize>) -> Result<DataFacts> {
    let n_train = usize::try_from(n_train).ok().filter(|n| (1..=LARGEST).contains(n)).ok_or_else(|| {
        Error::parameter("n_train", format_args!("an integer of at least 1 and at most {LARGEST}"), n_train)
    })?;
    if n_features.is_some_and(|n| n > LARGEST) {
        let got = n_features.unwrap_or_default();
        return Err(Error::parameter("n_features", format_args!("an integer of at most {LARGEST}"), got));
    }
    let n_classes = usize::try_from(n_classes)
        .ok()
        .filter(|k| (2..=usize::from(u16::MAX)).contains(k))
        .ok_or_else(|| Error::parameter("n_classes", "an integer from 2 to 65535", n_classes))?;
    Ok(DataFacts { n_train, n_features, n_classes })
}
