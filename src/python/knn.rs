//! The exact 1-nearest-neighbour certificate for Python.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use numpy::{PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;

use super::certificates::PyCertificates;
use crate::certify::Certificates;
use crate::error::Result;
use crate::exact::{CertifiedKnn, FittedKnn, KnnCertificate};
use crate::interval::Interval;
use crate::law::{DataFacts, Gaussian, Law};
use crate::process::no_thread;

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyKnn>()
}

/// A fitted 1-nearest-neighbour classifier; the Python class `CertifiedKNN` dresses it.
#[pyclass(name = "Knn", module = "certssb._core", frozen)]
struct PyKnn {
    fitted: FittedKnn,
    facts: DataFacts,
}

#[pymethods]
impl PyKnn {
    #[new]
    fn new(
        features: PyReadonlyArray2<'_, f32>,
        labels: PyReadonlyArray1<'_, i64>,
        n_classes: usize,
        sigma: f64,
    ) -> PyResult<Self> {
        let labels: Vec<u32> =
            labels.as_array().iter().map(|y| u32::try_from(*y).unwrap_or(u32::MAX)).collect();
        let (n_train, d) = features.as_array().dim();
        let fitted = CertifiedKnn::new(sigma)?.fit(features.as_array(), &labels, n_classes)?;
        Ok(Self { fitted, facts: DataFacts { n_train, n_features: Some(d), n_classes } })
    }

    /// Probability of each class, shape (n_samples, n_classes), each to 1e-10.
    fn probabilities<'py>(
        &self,
        py: Python<'py>,
        features: PyReadonlyArray2<'py, f32>,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let features = features.as_array().to_owned();
        let probabilities = py.detach(|| self.fitted.probabilities(features.view()))?;
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

    /// Certificates of each sample; reports to `report(done, total)` and listens for Ctrl-C.
    #[pyo3(signature = (features, report=None))]
    fn certify(
        &self,
        py: Python<'_>,
        features: PyReadonlyArray2<'_, f32>,
        report: Option<Py<PyAny>>,
    ) -> PyResult<PyCertificates> {
        let intervals = self.bounds(py, &features, report)?.iter().map(interval).collect();
        let law = Law::Gaussian(Gaussian::new(self.fitted.sigma())?);
        Ok(PyCertificates::new(Certificates::exact(law, self.facts, intervals)?))
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
    /// Works on other threads, so that this one can listen for Ctrl-C and report.
    fn bounds(
        &self,
        py: Python<'_>,
        features: &PyReadonlyArray2<'_, f32>,
        report: Option<Py<PyAny>>,
    ) -> PyResult<Vec<KnnCertificate>> {
        let test = features.as_array().to_owned();
        let total = test.nrows();
        let (cancel, done) = (AtomicBool::new(false), AtomicUsize::new(0));
        let count = |finished: usize| {
            done.fetch_max(finished, Ordering::Relaxed);
        };
        py.detach(|| {
            std::thread::scope(|scope| {
                let work = || self.fitted.certify_with(test.view(), &cancel, &count);
                let worker = std::thread::Builder::new().spawn_scoped(scope, work).map_err(no_thread)?;
                let failure: RefCell<Option<PyErr>> = RefCell::new(None);
                let mut told = usize::MAX;
                while !worker.is_finished() {
                    let now = done.load(Ordering::Relaxed);
                    let outcome = Python::attach(|py| {
                        py.check_signals()?;
                        match &report {
                            Some(report) if now != told => report.call1(py, (now, total)).map(|_| ()),
                            _ => Ok(()),
                        }
                    });
                    told = now;
                    if let Err(error) = outcome {
                        failure.borrow_mut().get_or_insert(error);
                        cancel.store(true, Ordering::Relaxed);
                    }
                    std::thread::sleep(Duration::from_millis(if now == 0 { 2 } else { 20 }));
                }
                finish(worker.join(), failure.into_inner())
            })
        })
    }
}

fn finish(
    outcome: std::thread::Result<Result<Vec<KnnCertificate>>>,
    failure: Option<PyErr>,
) -> PyResult<Vec<KnnCertificate>> {
    let interrupted = Python::attach(|py| {
        failure.as_ref().map(|e| e.is_instance_of::<pyo3::exceptions::PyKeyboardInterrupt>(py))
    });
    match (outcome, failure, interrupted) {
        (_, Some(failure), Some(false)) => Err(failure),
        (Ok(result), _, _) => Ok(result?),
        (Err(_), _, _) => Err(crate::error::Error::training(None, "a worker thread stopped").into()),
    }
}
