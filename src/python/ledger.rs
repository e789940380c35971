//! The ledger for Python: arrays in, entries out; several threads may share one object, and a fork may come.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use numpy::{PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;

use super::gate::Gate;
use super::listen::{interrupted, told};
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::{Entry, Ledger, Outcome, Patience, Record, Updates, Walk, Watch};

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyWalk>()?;
    module.add_class::<PyLedger>()
}

/// Class, radius, outcome, number and cause of one entry.
type Row = (u32, f64, &'static str, u64, Option<u64>);

/// Certified regions in a file; the Python class `Ledger` dresses it.
#[pyclass(name = "Ledger", module = "certssb._core", frozen)]
struct PyLedger {
    path: PathBuf,
    read_only: bool,
    gate: Gate<Room>,
}

/// What one caller uses at a time.
#[derive(Debug, Default)]
struct Room {
    ledger: Option<Ledger>,
    closed: bool,
}

fn row(entry: &Entry) -> Row {
    (entry.prediction, entry.radius, entry.outcome.name(), entry.number, entry.cause)
}

fn class(value: i64) -> Result<u32> {
    u32::try_from(value).map_err(|_| Error::parameter("prediction", "an integer from 0 to 4294967295", value))
}

impl Room {
    fn opened(&mut self) -> Result<&mut Ledger> {
        self.ledger.as_mut().ok_or_else(|| {
            Error::new(ErrorKind::Ledger, "The ledger is closed. Open it again with Ledger(path).")
        })
    }
}

impl PyLedger {
    fn refusal(&self, why: &str) -> Error {
        Error::ledger(format!(
            "The ledger '{}' {why}. Use it after that call, or open the file a second time.",
            self.path.display()
        ))
    }

    /// One turn.
    fn with_room<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Room) -> Result<T> + Send,
    ) -> PyResult<T> {
        let (outcome, raised) = self.gate.with(py, |why| self.refusal(why), work)?;
        told(py, outcome, raised)
    }

    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Ledger) -> Result<T> + Send,
    ) -> PyResult<T> {
        self.with_room(py, |room| work(room.opened()?))
    }

    /// Tells a progress function, between two turns; and hears signals.
    fn report(&self, py: Python<'_>, report: Option<&Py<PyAny>>, done: u64, total: u64) -> PyResult<()> {
        if let Some(report) = report {
            self.gate.outside(|| report.call1(py, (done, total)))?;
        }
        py.check_signals()
    }
}

#[pymethods]
impl PyLedger {
    /// A ledger that is still closed.
    #[new]
    #[pyo3(signature = (path, read_only=false))]
    fn new(path: PathBuf, read_only: bool) -> Self {
        Self { path, read_only, gate: Gate::new(Room::default()) }
    }

    /// Opens the file.
    fn open(&self, py: Python<'_>) -> PyResult<()> {
        self.with_room(py, |room| {
            if room.ledger.is_none() && !room.closed {
                room.ledger = Some(Ledger::open_with(&self.path, self.read_only, Patience::new())?);
            }
            Ok(())
        })
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.with_room(py, |room| {
            *room = Room { ledger: None, closed: true };
            Ok(())
        })
    }

    /// Before a fork: nobody is inside, and no connection is open.
    fn before_fork(&self, py: Python<'_>) {
        self.gate.shut(py, |room| {
            // What cannot be suspended is refused in the child.
            let _ = room.ledger.as_mut().map(Ledger::suspend);
        });
    }

    /// After a fork, in both processes.
    fn after_fork(&self) {
        self.gate.open();
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
        let classes: Result<Vec<u32>> = predictions.as_array().iter().map(|class_| class(*class_)).collect();
        let radii = radii.as_array().to_vec();
        let updates = Updates::check("X", points.as_array(), &classes?, &radii)?;
        let (mut rows, total) = (Vec::with_capacity(updates.len()), updates.len());
        while rows.len() < total {
            let start = rows.len();
            let group = updates.group(points.as_array(), start)?;
            let settle = |room: &mut Room| room.opened()?.settle(&group, &Watch::new());
            let (settled, raised) = self.gate.with(py, |why| self.refusal(why), settle)?;
            let (failure, settled) = settled.map_or_else(|e| (Some(e), Vec::new()), |done| (None, done));
            rows.extend(settled.iter().map(row));
            let told = match (raised, failure) {
                (Some(raised), _) => Err(raised),
                (None, Some(failure)) => return Err(updates.after_part(failure, start).into()),
                (None, None) => self.report(py, report.as_ref(), rows.len() as u64, total as u64),
            };
            told.map_err(|error| interrupted(py, error, || updates.stopped_after(rows.len())))?;
        }
        Ok(rows)
    }

    /// Number, class and distance to the edge of the region that contains `x`.
    fn query(&self, py: Python<'_>, x: PyReadonlyArray1<'_, f32>) -> PyResult<Option<(u64, u32, f64)>> {
        let x = x.as_array().to_vec();
        let claim = self.with(py, |ledger| ledger.query(&x))?;
        Ok(claim.map(|claim| (claim.number, claim.prediction, claim.radius)))
    }

    /// Number of updates, of regions, and of each outcome, after checking the whole file.
    #[allow(clippy::type_complexity)]
    #[pyo3(signature = (report=None))]
    fn verify(
        &self,
        py: Python<'_>,
        report: Option<Py<PyAny>>,
    ) -> PyResult<(u64, u64, Vec<(&'static str, u64)>)> {
        let mut verification = self.with(py, Ledger::verification)?;
        while !verification.is_done() {
            self.with(py, |ledger| ledger.verify_on(&mut verification))?;
            let (done, total) = verification.progress();
            let stopped = || Error::cancelled(format!("Stopped after checking {done} entries."));
            let told = self.report(py, report.as_ref(), done, total);
            told.map_err(|error| interrupted(py, error, stopped))?;
        }
        let found = verification.report();
        let outcomes = Outcome::ALL.iter().map(|outcome| (outcome.name(), found.count(*outcome))).collect();
        Ok((found.updates, found.regions, outcomes))
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.with(py, Ledger::len)? as usize)
    }

    #[getter]
    fn n_updates(&self, py: Python<'_>) -> PyResult<u64> {
        self.with(py, Ledger::n_updates)
    }

    #[getter]
    fn dimension(&self, py: Python<'_>) -> PyResult<Option<usize>> {
        self.with(py, Ledger::dimension)
    }
}

/// Columns of some entries: number, class, radius, outcome, cause (-1 for none), class and radius asked for.
type Columns<'py> = (
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<f64>>,
    Vec<&'static str>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<f64>>,
);

/// A walk through a ledger in the order of arrival, every entry checked.
#[pyclass(name = "LedgerWalk", module = "certssb._core", frozen)]
struct PyWalk {
    ledger: Py<PyLedger>,
    walk: Mutex<Walk>,
}

impl PyWalk {
    fn step(&self, py: Python<'_>, limit: usize) -> PyResult<Vec<Record>> {
        self.ledger.get().with(py, |ledger| {
            let mut walk = self.walk.lock().unwrap_or_else(PoisonError::into_inner);
            ledger.walk(&mut walk, limit)
        })
    }
}

#[pymethods]
impl PyWalk {
    #[new]
    fn new(ledger: Py<PyLedger>) -> Self {
        Self { ledger, walk: Mutex::new(Walk::new()) }
    }

    /// The next entries without their centres, at most `limit`.
    fn columns<'py>(&self, py: Python<'py>, limit: usize) -> PyResult<Columns<'py>> {
        let records = self.step(py, limit)?;
        let entries = || records.iter().map(|record| &record.entry);
        let cause = |entry: &Entry| entry.cause.map_or(-1, |cause| cause as i64);
        Ok((
            PyArray1::from_iter(py, entries().map(|entry| entry.number as i64)),
            PyArray1::from_iter(py, entries().map(|entry| i64::from(entry.prediction))),
            PyArray1::from_iter(py, entries().map(|entry| entry.radius)),
            entries().map(|entry| entry.outcome.name()).collect(),
            PyArray1::from_iter(py, entries().map(cause)),
            PyArray1::from_iter(py, records.iter().map(|record| i64::from(record.asked.prediction))),
            PyArray1::from_iter(py, records.iter().map(|record| record.asked.radius)),
        ))
    }

    /// The centres of the next entries, shape (n, dimension), n at most `limit`.
    fn centres<'py>(&self, py: Python<'py>, limit: usize) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let records = self.step(py, limit)?;
        let dimension = records.first().map_or(0, |record| record.centre.len());
        let flat: Vec<f32> = records.iter().flat_map(|record| record.centre.iter().copied()).collect();
        let centres = ndarray::Array2::from_shape_vec((records.len(), dimension), flat);
        let centres = centres.map_err(|e| Error::shape("centres", "one length", e))?;
        Ok(PyArray2::from_owned_array(py, centres))
    }
}
