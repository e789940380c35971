//! What a learner is told about a call, and what it may ask the core for meanwhile.

use std::sync::atomic::Ordering;

use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::backend::changed::Addresses;
use crate::backend::{order, Flag};
use crate::error::{Error, Result};
use crate::member::{FeatureShape, Settings};
use crate::python::fork::rest;
use crate::seed::Seed;

/// What a learner is told about a call.
#[pyclass(module = "certssb._core", frozen)]
pub(super) struct Job {
    #[pyo3(get)]
    pub(super) numbers: Vec<u64>,
    #[pyo3(get)]
    pub(super) device: String,
    #[pyo3(get)]
    pub(super) n_classes: usize,
    #[pyo3(get)]
    pub(super) epochs: usize,
    #[pyo3(get)]
    pub(super) batch_size: usize,
    #[pyo3(get)]
    pub(super) learning_rate: f64,
    #[pyo3(get)]
    pub(super) precision: &'static str,
    #[pyo3(get)]
    pub(super) init_seeds: Vec<u64>,
    #[pyo3(get)]
    pub(super) model_seeds: Vec<u64>,
    /// Of a search for noise magnitudes: start, sigma_min, sigma_max, steps, learning_rate, samples.
    #[pyo3(get)]
    pub(super) search: Option<Py<PyDict>>,
    pub(super) seed: Seed,
    pub(super) n: usize,
    pub(super) shape: FeatureShape,
    pub(super) settings: Settings,
    pub(super) stop: Flag,
}

#[pymethods]
impl Job {
    /// Rows of each member's noised set in the order of an epoch, shape (S, n).
    fn order<'py>(&self, py: Python<'py>, epoch: u64) -> PyResult<Bound<'py, PyArray2<i64>>> {
        let rows = |member: &u64| order(self.seed, *member, epoch, self.n).into_iter().map(|row| row as i64);
        let all: Vec<i64> = self.numbers.iter().flat_map(rows).collect();
        PyArray1::from_vec(py, all).reshape([self.numbers.len(), self.n])
    }

    /// Whether samples are to be changed.
    #[getter]
    fn augments(&self) -> bool {
        self.settings.augment.is_some()
    }

    /// Rows (S B, features) of the batch that begins at `start` of an epoch, changed, each member's from its own streams.
    fn change<'py>(
        &self,
        py: Python<'py>,
        rows: PyReadonlyArray2<'py, f32>,
        epoch: usize,
        start: usize,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let mut rows = rows.as_array().as_standard_layout().into_owned();
        let changed = py.detach(|| -> Result<()> {
            let Some(augment) = &self.settings.augment else { return Ok(()) };
            let (length, own) = (rows.len(), self.numbers.len().max(1));
            let values = rows.as_slice_mut().unwrap_or_default();
            for (&member, part) in self.numbers.iter().zip(values.chunks_mut((length / own).max(1))) {
                augment.change(self.addresses(member).batch(epoch, start), part)?;
            }
            Ok(())
        });
        changed?;
        Ok(PyArray2::from_owned_array(py, rows))
    }

    /// The rows (n, features) of the noised set of the member at `place`, followed by the changed copies that a learner
    /// gets that looks once: (n (1 + copies), features).
    fn with_copies<'py>(
        &self,
        py: Python<'py>,
        rows: PyReadonlyArray2<'py, f32>,
        place: usize,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let Some(&member) = self.numbers.get(place) else {
            let expected = format_args!("less than {}, the members of the call", self.numbers.len());
            return Err(Error::parameter("place", expected, place).into());
        };
        let [n, width] = rows.shape() else {
            return Err(Error::shape("rows", "2 dimensions", "others").into());
        };
        let (n, width) = (*n, *width);
        let mut rows: Vec<f32> = rows.as_array().iter().copied().collect();
        let copies = py.detach(|| self.addresses(member).with_copies(&self.settings, &mut rows))?;
        PyArray1::from_vec(py, rows).reshape([n * (copies + 1), width])
    }

    /// Whether to give up.
    fn stopped(&self, py: Python<'_>) -> bool {
        rest(py);
        self.stop.load(Ordering::Relaxed)
    }
}

impl Job {
    fn addresses(&self, member: u64) -> Addresses {
        Addresses { seed: self.seed, member, shape: self.shape, n: self.n }
    }
}
