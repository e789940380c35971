//! A fit whose members are trained by other processes, for the Python code that spreads them.

use std::path::PathBuf;

use numpy::{PyReadonlyArray1, PyReadonlyArrayDyn};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use super::ensemble::{training_set, watched, PyEnsemble, Received, Trusted};
use super::listen::calling;
use super::rows::{floats, Samples};
use crate::ensemble::{Control, Elsewhere, Execution};
use crate::error::{Error, Result};
use crate::member::SCHEMA;
use crate::stop::Stop;
use crate::vectors;

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyElsewhere>()?;
    module.add_function(wrap_pyfunction!(build_facts, module)?)
}

/// What must be the same, or decides how sums are rounded: version, schema of records, vectors of the processor.
#[pyfunction]
fn build_facts() -> (&'static str, u32, String) {
    (env!("CARGO_PKG_VERSION"), SCHEMA, vectors::name())
}

/// A fit under way.
#[pyclass(name = "Elsewhere", module = "certssb._core")]
pub(super) struct PyElsewhere {
    ensemble: Py<PyEnsemble>,
    /// Nothing once it was ended.
    fit: Option<Elsewhere>,
}

fn ended() -> Error {
    Error::training(None, "this fit was ended already")
}

/// How members were trained, as [`PyEnsemble::execution`] tells it.
type Said = (usize, usize, usize, Option<String>);

#[pymethods]
impl PyElsewhere {
    #[new]
    #[pyo3(signature = (ensemble, features, labels, n_members, checkpoint=None, report=None, trusted=None, received=None))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        ensemble: Py<PyEnsemble>,
        features: Samples<'_>,
        labels: PyReadonlyArray1<'_, i64>,
        n_members: u64,
        checkpoint: Option<PathBuf>,
        report: Option<Py<PyAny>>,
        trusted: Trusted<'_>,
        received: Received<'_>,
    ) -> PyResult<Self> {
        let mut own = ensemble.try_borrow_mut(py)?;
        let n_classes = own.inner.record().n_classes;
        let data = training_set(&features, &labels, n_classes, &trusted, &received)?;
        let inner = &mut own.inner;
        let fit = watched(py, report, |control| {
            inner.begin_elsewhere(&data, n_members, checkpoint.as_deref(), control)
        })?;
        drop(own);
        Ok(Self { ensemble, fit: Some(fit) })
    }

    /// How many members are still to be handed out.
    #[getter]
    fn left(&self) -> usize {
        self.fit.as_ref().map_or(0, Elsewhere::left)
    }

    /// Up to `most` members that are to be trained now; none while others are training all that is left.
    #[pyo3(signature = (most, report=None))]
    fn hand_out(&mut self, py: Python<'_>, most: usize, report: Option<Py<PyAny>>) -> PyResult<Vec<u64>> {
        let fit = self.fit.as_mut().ok_or_else(ended)?;
        let inner = &mut self.ensemble.try_borrow_mut(py)?.inner;
        watched(py, report, |control| inner.hand_out(fit, most, control))
    }

    /// Tells processes that share the checkpoint that somebody works on the members that were handed out.
    fn keep_claims(&self) {
        self.fit.iter().for_each(Elsewhere::keep_claims);
    }

    /// Takes members that were trained elsewhere.
    #[pyo3(signature = (members, report=None))]
    fn take(
        &mut self,
        py: Python<'_>,
        members: Vec<(u64, PyBackedBytes)>,
        report: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let fit = self.fit.as_mut().ok_or_else(ended)?;
        let inner = &mut self.ensemble.try_borrow_mut(py)?.inner;
        watched(py, report, |control| {
            let mut outcome = Ok(());
            // All that came is kept, whatever is said of one.
            for (number, bytes) in &members {
                outcome = outcome.and(inner.take(fit, *number, bytes, control));
            }
            outcome
        })
    }

    /// The member that is trained twice, and comes back whole.
    #[getter]
    fn twice(&self) -> Option<u64> {
        self.fit.as_ref().and_then(Elsewhere::twice)
    }

    /// Takes members that were trained elsewhere, voted there and were forgotten.
    #[pyo3(signature = (numbers, votes, report=None))]
    fn take_votes(
        &mut self,
        py: Python<'_>,
        numbers: Vec<u64>,
        votes: PyBackedBytes,
        report: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let fit = self.fit.as_mut().ok_or_else(ended)?;
        let inner = &mut self.ensemble.try_borrow_mut(py)?.inner;
        watched(py, report, |control| inner.take_votes(fit, &numbers, &votes, control))
    }

    /// Ends the fit; `execution` is said of one whose members are all there.
    #[pyo3(signature = (features, labels, finished, execution=None, trusted=None, received=None))]
    #[allow(clippy::too_many_arguments)]
    fn end(
        &mut self,
        py: Python<'_>,
        features: Samples<'_>,
        labels: PyReadonlyArray1<'_, i64>,
        finished: bool,
        execution: Option<Said>,
        trusted: Trusted<'_>,
        received: Received<'_>,
    ) -> PyResult<()> {
        let fit = self.fit.take().ok_or_else(ended)?;
        let inner = &mut self.ensemble.try_borrow_mut(py)?.inner;
        let data = training_set(&features, &labels, inner.record().n_classes, &trusted, &received)?;
        let execution = execution.map(|(stack, smallest, side_by_side, failure)| Execution {
            stack,
            smallest,
            side_by_side,
            failure,
        });
        watched(py, None, |_| inner.end_elsewhere(fit, &data, finished.then_some(execution)))
    }

    /// Raises what is said of this fit if it is cancelled.
    fn cancelled(&self, py: Python<'_>) -> PyResult<()> {
        let ensemble = self.ensemble.try_borrow(py)?;
        Err(self.fit.as_ref().map_or_else(ended, |fit| ensemble.inner.cancelled_elsewhere(fit)).into())
    }

    /// Members of the given numbers as bytes, trained here for a fit elsewhere. `stopped` is called some twenty times a second,
    /// and stops the work by raising.
    #[staticmethod]
    #[pyo3(signature = (ensemble, features, labels, numbers, stopped=None, trusted=None, received=None))]
    #[allow(clippy::too_many_arguments)]
    fn train_for<'py>(
        py: Python<'py>,
        ensemble: &Bound<'py, PyEnsemble>,
        features: Samples<'py>,
        labels: PyReadonlyArray1<'py, i64>,
        numbers: Vec<u64>,
        stopped: Option<Py<PyAny>>,
        trusted: Trusted<'py>,
        received: Received<'py>,
    ) -> PyResult<Vec<(u64, Bound<'py, PyBytes>)>> {
        let inner = &mut ensemble.try_borrow_mut()?.inner;
        let data = training_set(&features, &labels, inner.record().n_classes, &trusted, &received)?;
        let packed = until(py, stopped, |control| inner.train_for(&data, &numbers, control))?;
        Ok(packed.into_iter().map(|(number, bytes)| (number, PyBytes::new(py, &bytes))).collect())
    }

    /// As `train_for`, but that the members vote on `inputs` and are forgotten: what is left of them.
    #[staticmethod]
    #[pyo3(signature = (ensemble, features, labels, numbers, inputs, stopped=None, trusted=None, received=None))]
    #[allow(clippy::too_many_arguments)]
    fn vote_for<'py>(
        py: Python<'py>,
        ensemble: &Bound<'py, PyEnsemble>,
        features: Samples<'py>,
        labels: PyReadonlyArray1<'py, i64>,
        numbers: Vec<u64>,
        inputs: PyReadonlyArrayDyn<'py, f32>,
        stopped: Option<Py<PyAny>>,
        trusted: Trusted<'py>,
        received: Received<'py>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let inner = &mut ensemble.try_borrow_mut()?.inner;
        let data = training_set(&features, &labels, inner.record().n_classes, &trusted, &received)?;
        let inputs = floats(&inputs)?;
        let votes = until(py, stopped, |control| inner.vote_for(&data, &numbers, &inputs, control))?;
        Ok(PyBytes::new(py, &votes))
    }
}

/// Work that ends as soon as `stopped` raises, which is called some twenty times a second.
fn until<T: Send>(
    py: Python<'_>,
    stopped: Option<Py<PyAny>>,
    work: impl FnOnce(&Control<'_>) -> Result<T> + Send,
) -> PyResult<T> {
    calling(py, |raised| {
        let stop = Stop::current();
        let stops = || {
            if let Some(stopped) = &stopped {
                raised.by(|py| stopped.call0(py).map(drop));
            }
            raised.is_some() || stop.is_set()
        };
        let control = Control::new().on_poll(stops);
        work(&control)
    })
}
