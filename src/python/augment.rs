//! Augmentations for Python: built-in ones applied to copies of images, and callables of the user's for training.

use std::fmt;
use std::sync::Arc;

use numpy::{
    Element, PyArray2, PyArray4, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArray4,
};
use numpy::{PyUntypedArrayMethods, ToPyArray};
use pyo3::prelude::*;
use rand::Rng;

use super::listen::listening;
use crate::augment::{Augment, Augmentation, Augmenter, FeatureMap, Frame, Pixel, Place, Recorded};
use crate::error::{Error, ErrorKind, Result};
use crate::seed::{Role, Seed};

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyAugmenter>()
}

/// A checked augmentation; the classes of `certssb.augment` dress it.
#[pyclass(name = "Augmenter", module = "certssb._core", frozen)]
struct PyAugmenter(Augmentation);

#[pymethods]
impl PyAugmenter {
    #[new]
    fn new(description: &str) -> PyResult<Self> {
        Ok(Self(Augmentation::from_json(description)?))
    }

    fn apply_f32<'py>(
        &self,
        batch: PyReadonlyArray4<'py, f32>,
        seed: u64,
        first: u64,
    ) -> PyResult<Bound<'py, PyArray4<f32>>> {
        self.changed(batch, seed, first)
    }

    fn apply_f64<'py>(
        &self,
        batch: PyReadonlyArray4<'py, f64>,
        seed: u64,
        first: u64,
    ) -> PyResult<Bound<'py, PyArray4<f64>>> {
        self.changed(batch, seed, first)
    }
}

impl PyAugmenter {
    fn changed<'py, T: Element + Pixel>(
        &self,
        batch: PyReadonlyArray4<'py, T>,
        seed: u64,
        first: u64,
    ) -> PyResult<Bound<'py, PyArray4<T>>> {
        let py = batch.py();
        let &[_, channels, height, width] = batch.shape() else {
            return Err(Error::shape("batch", "4 dimensions", batch.ndim()).into());
        };
        let frame = Frame { channels, height, width };
        let mut copy = batch.as_array().as_standard_layout().into_owned();
        listening(py, || match copy.as_slice_mut() {
            Some(rows) => self.0.apply(Seed::new(seed), 0, first, frame, rows),
            None => Err(Error::shape("batch", "rows in order", "others")),
        })?;
        Ok(PyArray4::from_owned_array(py, copy))
    }
}

/// What `augment` stands for: the description of a built-in, or a `certssb.augment._applied.Applied`; before the map that a
/// `certssb.features._maps.OfRows` computes, if one is given.
pub(super) fn augment(given: &Bound<'_, PyAny>, feature_map: Option<Py<PyAny>>) -> PyResult<Augment> {
    let augment = if let Ok(description) = given.extract::<String>() {
        Augmentation::from_json(&description)?.into()
    } else {
        let recorded = Recorded::Own(given.getattr("description")?.extract()?);
        Augment::new(Arc::new(Own { applied: given.clone().unbind(), recorded }))
    };
    Ok(match feature_map {
        Some(of_rows) => augment.before(Arc::new(OwnMap(of_rows))),
        None => augment,
    })
}

/// The map that changed samples pass: flat rows in, flat rows of features out.
struct OwnMap(Py<PyAny>);

impl fmt::Debug for OwnMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnMap").finish_non_exhaustive()
    }
}

impl FeatureMap for OwnMap {
    fn features(&self, member: u64, samples: &[f32]) -> Result<Vec<f32>> {
        Python::attach(|py| -> PyResult<Vec<f32>> {
            let features = self.0.bind(py).call1((samples.to_pyarray(py),))?;
            Ok(features.extract::<PyReadonlyArray1<'_, f32>>()?.to_vec()?)
        })
        .map_err(|error| failure("features", &error, member))
    }
}

/// A callable of the user's, which holds the interpreter once for each batch.
struct Own {
    applied: Py<PyAny>,
    recorded: Recorded,
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Own").field("recorded", &self.recorded).finish_non_exhaustive()
    }
}

impl Augmenter for Own {
    fn recorded(&self) -> &Recorded {
        &self.recorded
    }

    fn change(&self, batch: Place, rows: &mut [f32]) -> Result<()> {
        let word = batch.seed.stream(Role::Augment, batch.member, batch.first).next_u64();
        let size = batch.frame.len();
        Python::attach(|py| {
            let given = rows.to_pyarray(py).reshape([rows.len() / size.max(1), size])?;
            let changed: Bound<'_, PyArray2<f32>> =
                self.applied.bind(py).call1((given, word))?.cast_into().map_err(PyErr::from)?;
            let changed: PyReadonlyArray2<'_, f32> = changed.try_readonly().map_err(PyErr::from)?;
            let changed = changed.as_slice().map_err(PyErr::from)?;
            if changed.len() != rows.len() {
                return Err(Error::shape("augment", "the shape of its batch", changed.len()).into());
            }
            rows.copy_from_slice(changed);
            Ok(())
        })
        .map_err(|error: PyErr| failure("augment", &error, batch.member))
    }

    fn may_keep_state(&self) -> bool {
        true
    }
}

/// An exception of the user's code as an error of the member that it happened to; what breaks a rule names the parameter.
fn failure(parameter: &str, error: &PyErr, member: u64) -> Error {
    Python::attach(|py| {
        let value = error.value(py).to_string();
        let known = py.import("certssb.exceptions").and_then(|all| all.getattr("ParameterError"));
        if known.and_then(|known| error.value(py).is_instance(&known)).unwrap_or(false) {
            return Error::new(ErrorKind::Parameter, value);
        }
        let name = error.get_type(py).name().map_or_else(|_| "exception".to_owned(), |name| name.to_string());
        let first = value.lines().next().unwrap_or_default();
        Error::training(Some(member), format_args!("'{parameter}' raised {name}: {first}"))
    })
}
