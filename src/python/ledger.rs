//! The ledger for Python: arrays in, entries out; several threads may share one object.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use numpy::{PyArray1, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;

use crate::error::{Error, ErrorKind, Result};
use crate::ledger::{Entry, Ledger, Outcome, Watch};

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyLedger>()
}

/// Class, radius, outcome, number and cause of one entry.
type Row = (u32, f64, &'static str, u64, Option<u64>);

/// Certified regions in a file; the Python class `Ledger` dresses it.
#[pyclass(name = "Ledger", module = "certssb._core", frozen)]
struct PyLedger {
    open: Mutex<Option<Ledger>>,
}

fn row(entry: &Entry) -> Row {
    (entry.prediction, entry.radius, entry.outcome.name(), entry.number, entry.cause)
}

fn class(value: i64) -> Result<u32> {
    u32::try_from(value).map_err(|_| Error::parameter("prediction", "an integer from 0 to 4294967295", value))
}

/// The open ledger behind a lock.
fn opened(slot: &mut Option<Ledger>) -> Result<&mut Ledger> {
    slot.as_mut().ok_or_else(|| {
        Error::new(ErrorKind::Ledger, "The ledger is closed. Open it again with Ledger(path).")
    })
}

impl PyLedger {
    fn lock(&self) -> MutexGuard<'_, Option<Ledger>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` without the interpreter, one caller at a time.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Ledger) -> Result<T> + Send,
    ) -> PyResult<T> {
        Ok(py.detach(|| work(opened(&mut self.lock())?))?)
    }

    /// The same, listening for Ctrl-C and reporting between groups of updates.
    fn watched<T: Send>(
        &self,
        py: Python<'_>,
        report: Option<Py<PyAny>>,
        work: impl FnOnce(&mut Ledger, &mut Watch<'_>) -> Result<T> + Send,
    ) -> PyResult<T> {
        py.detach(|| {
            let stop = AtomicBool::new(false);
            let mut failure: Option<PyErr> = None;
            let outcome = {
                let mut watch = Watch::new().stop(&stop).progress(|done, total| {
                    let told = Python::attach(|py| {
                        py.check_signals()?;
                        report.as_ref().map_or(Ok(()), |report| report.call1(py, (done, total)).map(|_| ()))
                    });
                    if let Err(error) = told {
                        stop.store(true, Ordering::Relaxed);
                        failure.get_or_insert(error);
                    }
                });
                opened(&mut self.lock()).and_then(|ledger| work(ledger, &mut watch))
            };
            match failure {
                Some(error) if !Python::attach(|py| error.is_instance_of::<PyKeyboardInterrupt>(py)) => {
                    Err(error)
                }
                _ => Ok(outcome?),
            }
        })
    }
}

#[pymethods]
impl PyLedger {
    #[new]
    #[pyo3(signature = (path, read_only=false))]
    fn new(py: Python<'_>, path: PathBuf, read_only: bool) -> PyResult<Self> {
        let ledger =
            py.detach(|| if read_only { Ledger::open_read_only(&path) } else { Ledger::open(&path) })?;
        Ok(Self { open: Mutex::new(Some(ledger)) })
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| drop(self.lock().take()));
    }

    fn update(
        &self,
        py: Python<'_>,
        x: PyReadonlyArray1<'_, f32>,
        prediction: i64,
        radius: f64,
    ) -> PyResult<Row> {
        let (x, prediction) = (x.as_array().to_vec(), class(prediction)?);
        Ok(row(&self.with(py, |ledger| ledger.update(&x, prediction, radius))?))
    }

    #[pyo3(signature = (points, predictions, radii, report=None))]
    fn update_many(
        &self,
        py: Python<'_>,
        points: PyReadonlyArray2<'_, f32>,
        predictions: PyReadonlyArray1<'_, i64>,
        radii: PyReadonlyArray1<'_, f64>,
        report: Option<Py<PyAny>>,
    ) -> PyResult<Vec<Row>> {
        let points = points.as_array();
        let predictions: Result<Vec<u32>> =
            predictions.as_array().iter().map(|class_| class(*class_)).collect();
        let (predictions, radii) = (predictions?, radii.as_array().to_vec());
        let entries = self
            .watched(py, report, |ledger, watch| ledger.update_many(points, &predictions, &radii, watch))?;
        Ok(entries.iter().map(row).collect())
    }

    /// Number, class and distance to the edge of the region that contains `x`.
    fn query(&self, py: Python<'_>, x: PyReadonlyArray1<'_, f32>) -> PyResult<Option<(u64, u32, f64)>> {
        let x = x.as_array().to_vec();
        let claim = self.with(py, |ledger| ledger.query(&x))?;
        Ok(claim.map(|claim| (claim.number, claim.prediction, claim.radius)))
    }

    /// Entries from `number` on, at most `limit`: entry, class and radius asked for, centre.
    #[allow(clippy::type_complexity)]
    fn records<'py>(
        &self,
        py: Python<'py>,
        number: u64,
        limit: usize,
    ) -> PyResult<Vec<(Row, u32, f64, Bound<'py, PyArray1<f32>>)>> {
        let records = self.with(py, |ledger| ledger.records(number, limit))?;
        let dress = |record: crate::ledger::Record| {
            let centre = PyArray1::from_vec(py, record.centre);
            (row(&record.entry), record.asked.prediction, record.asked.radius, centre)
        };
        Ok(records.into_iter().map(dress).collect())
    }

    /// Number of updates, of regions, and of each outcome, after checking the whole file.
    #[allow(clippy::type_complexity)]
    #[pyo3(signature = (report=None))]
    fn verify(
        &self,
        py: Python<'_>,
        report: Option<Py<PyAny>>,
    ) -> PyResult<(u64, u64, Vec<(&'static str, u64)>)> {
        let found = self.watched(py, report, |ledger, watch| ledger.verify(watch))?;
        let outcomes = Outcome::ALL.iter().map(|outcome| (outcome.name(), found.count(*outcome))).collect();
        Ok((found.updates, found.regions, outcomes))
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.with(py, |ledger| ledger.len())? as usize)
    }

    #[getter]
    fn n_updates(&self, py: Python<'_>) -> PyResult<u64> {
        self.with(py, |ledger| ledger.n_updates())
    }

    #[getter]
    fn dimension(&self, py: Python<'_>) -> PyResult<Option<usize>> {
        self.with(py, |ledger| ledger.dimension())
    }
}
