//! The exact 1-nearest-neighbour certificate for Python.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use numpy::{PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;

use super::certificates::PyCertificates;
use super::listen::{listening, telling};
use crate::certify::Certificates;
use crate::error::Error;
use crate::exact::{CertifiedKnn, FittedKnn, KnnCertificate};
use crate::interval::Interval;
use crate::law::{DataFacts, Gaussian, Law};

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyKnn>()
}

/// A fitted 1-nearest-neighbour classifier; the Python class `CertifiedKNN` dresses it.
#[pyclass(name = "Knn", module = "certssb._core", frozen)]
struct PyKnn {
    fitted: FittedKnn,
    facts: DataFacts,
    n_trusted: usize,
}

#[pymethods]
impl PyKnn {
    #[new]
    #[pyo3(signature = (features, labels, n_classes, sigma, trusted=None))]
    fn new(
        py: Python<'_>,
        features: PyReadonlyArray2<'_, f32>,
        labels: PyReadonlyArray1<'_, i64>,
        n_classes: usize,
        sigma: f64,
        trusted: Option<(PyReadonlyArray2<'_, f32>, PyReadonlyArray1<'_, i64>)>,
    ) -> PyResult<Self> {
        let numbers = |labels: &PyReadonlyArray1<'_, i64>| -> Vec<u32> {
            labels.as_array().iter().map(|y| u32::try_from(*y).unwrap_or(u32::MAX)).collect()
        };
        let labels = numbers(&labels);
        let apart = trusted.as_ref().map(|(points, labels)| (points.as_array(), numbers(labels)));
        let (n_train, d) = features.as_array().dim();
        let (knn, features) = (CertifiedKnn::new(sigma)?, features.as_array());
        let n_trusted = apart.as_ref().map_or(0, |(points, _)| points.nrows());
        let fitted = listening(py, || {
            let fitted = knn.fit(features, &labels, n_classes)?;
            match apart {
                Some((points, labels)) => fitted.with_trusted(points, &labels),
                None => Ok(fitted),
            }
        })?;
        Ok(Self { fitted, facts: DataFacts { n_train, n_features: Some(d), n_classes }, n_trusted })
    }

    /// Probability of each class, shape (n_samples, n_classes), each to 1e-10.
    fn probabilities<'py>(
        &self,
        py: Python<'py>,
        features: PyReadonlyArray2<'py, f32>,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let features = features.as_array().to_owned();
        let probabilities = listening(py, || self.fitted.probabilities(features.view()))?;
        Ok(PyArray2::from_owned_array(py, probabilities))
    }

    /// The class of each sample.
    fn predict<'py>(
        &self,
        py: Python<'py>,
        features: PyReadonlyArray2<'py, f32>,
    ) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let certificates = self.bounds(py, &features, None)?;
        Ok(PyArray1::from_vec(py, certificates.iter().map(|c| i64::from(c.class)).collect()))
    }

    /// The certificates of test samples whose last class had at least such probabilities, and each other class at most these: no
    /// neighbour is looked for.
    #[staticmethod]
    fn supposed(
        sigma: f64,
        n_train: usize,
        n_classes: usize,
        p_lower: PyReadonlyArray1<'_, f64>,
        p_upper: PyReadonlyArray1<'_, f64>,
    ) -> PyResult<PyCertificates> {
        let (p_lower, p_upper) = (p_lower.as_array(), p_upper.as_array());
        if p_lower.len() != p_upper.len() || !p_lower.iter().chain(p_upper).all(|p| (0.0..=1.0).contains(p)) {
            let expected = "a probability for each of 'p_lower'";
            return Err(Error::parameter("p_upper", expected, format_args!("{p_upper:?}")).into());
        }
        let law = Law::Gaussian(Gaussian::new(sigma)?);
        let facts = DataFacts { n_train, n_features: None, n_classes };
        let last = n_classes.saturating_sub(1);
        let bounds = p_lower.iter().zip(p_upper);
        let intervals = bounds.map(|(lower, upper)| Interval::new(last, *lower, *upper)).collect();
        Ok(PyCertificates::new(Certificates::exact(law, facts, intervals)?))
    }

    /// Certificates of each sample; reports to `report(done, total)`.
    #[pyo3(signature = (features, report=None))]
    fn certify(
        &self,
        py: Python<'_>,
        features: PyReadonlyArray2<'_, f32>,
        report: Option<Py<PyAny>>,
    ) -> PyResult<PyCertificates> {
        let intervals = self.bounds(py, &features, report)?.iter().map(interval).collect();
        let law = Law::Gaussian(Gaussian::new(self.fitted.sigma())?);
        let exact = Certificates::exact(law, self.facts, intervals)?;
        Ok(PyCertificates::new(exact.with_trusted(self.n_trusted)))
    }
}

fn interval(certificate: &KnnCertificate) -> Interval {
    Interval {
        prediction: certificate.class as usize,
        p_lower: certificate.p_lower,
        p_upper: certificate.p_upper,
        rest: certificate.one_minus_p_lower,
    }
}

impl PyKnn {
    fn bounds(
        &self,
        py: Python<'_>,
        features: &PyReadonlyArray2<'_, f32>,
        report: Option<Py<PyAny>>,
    ) -> PyResult<Vec<KnnCertificate>> {
        let test = features.as_array().to_owned();
        let total = test.nrows();
        let Some(report) = report else {
            return listening(py, || self.fitted.certify(test.view()));
        };
        let done = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&done);
        report.call1(py, (0, total))?;
        let said = Cell::new(0);
        let own = report.clone_ref(py);
        let tell = move |py: Python<'_>| {
            let now = counted.load(Ordering::Relaxed);
            if said.replace(now) != now {
                own.call1(py, (now, total))?;
            }
            Ok(())
        };
        let count = |finished: usize| {
            done.fetch_max(finished, Ordering::Relaxed);
        };
        let found = telling(py, tell, || self.fitted.certify_with(test.view(), &count))?;
        report.call1(py, (total, total))?;
        Ok(found)
    }
}
