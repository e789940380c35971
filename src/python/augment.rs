//! Augmentations for Python: a description, applied to copies of images.

use numpy::{Element, PyArray4, PyReadonlyArray4, PyUntypedArrayMethods};
use pyo3::prelude::*;

use super::listen::listening;
use crate::augment::{Augmentation, Frame, Pixel};
use crate::error::Error;
use crate::seed::Seed;

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
