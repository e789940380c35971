//! Tables of certificates: what they hold, as arrays, and what is asked of them.

use numpy::{PyArray1, PyArray2, PyArray3, PyReadonlyArray1, PyReadonlyArray3};
use pyo3::prelude::*;

use super::law::wrap;
use super::listen::listening;
use super::threat::{threat as asked, Asked};
use crate::certify::{
    Certificates, Confidence, ConfidenceBuilder, Detail, Evidence, LevelBounds, Record, Settled,
};
use crate::error::{Error, Result};
use crate::interval::Interval;

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyCertificates>()?;
    module.add_class::<PyConfidence>()
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
                return Err(Error::parameter(
                    "outcome",
                    "given together with its classes and radii",
                    "only some of them",
                ))
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
