//! Feature maps that are computed in the core, and which laws measure what maps may lengthen.

use numpy::{PyArray1, PyArray4, PyArrayMethods, PyReadonlyArray4, PyUntypedArrayMethods};
use pyo3::prelude::*;

use super::law::PyLaw;
use super::listen::listening;
use super::number::given;
use crate::augment::Frame;
use crate::error::Error;
use crate::scattering::Scattering;

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyScattering>()?;
    module.add_function(wrap_pyfunction!(measures_features, module)?)
}

/// A checked scattering transform; `certssb.features.Scattering` dresses it.
#[pyclass(name = "Scattering", module = "certssb._core", frozen)]
struct PyScattering(Scattering);

#[pymethods]
impl PyScattering {
    #[new]
    fn new(
        #[pyo3(from_py_with = given::scales)] scales: i64,
        #[pyo3(from_py_with = given::angles)] angles: i64,
        #[pyo3(from_py_with = given::order)] order: i64,
        #[pyo3(from_py_with = given::root)] root: bool,
        #[pyo3(from_py_with = given::normalize)] normalize: bool,
    ) -> PyResult<Self> {
        let [scales, angles, order] = [scales, angles, order].map(|n| usize::try_from(n).unwrap_or(0));
        Ok(Self(Scattering::new(scales, angles, order, root, normalize)?))
    }

    /// Features (n, channels, height, width) of images.
    fn apply<'py>(&self, images: PyReadonlyArray4<'py, f32>) -> PyResult<Bound<'py, PyArray4<f32>>> {
        let py = images.py();
        let &[n, channels, height, width] = images.shape() else {
            return Err(Error::shape("X", "4 dimensions", images.ndim()).into());
        };
        let frame = Frame { channels, height, width };
        let out = self.0.frame(frame)?;
        // Other threads may write to the caller's array meanwhile.
        let own = images.as_array().as_standard_layout().into_owned();
        let features = listening(py, || match own.as_slice() {
            Some(values) => self.0.apply(frame, values),
            None => Err(Error::shape("X", "rows in order", "others")),
        })?;
        PyArray1::from_vec(py, features).reshape([n, out.channels, out.height, out.width])
    }
}

/// Whether certificates of a law measure how far features moved.
#[pyfunction]
fn measures_features(law: &PyLaw) -> bool {
    law.law().measures_features()
}
