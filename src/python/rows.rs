//! Samples in the type in which they came, as Python holds them; the one door for those that members are trained on.

use std::sync::Arc;

use numpy::{
    PyArrayDyn, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray4, PyReadonlyArrayDyn, PyUntypedArray,
    PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};
use pyo3::Borrowed;

use super::listen::listening;
use crate::error::{Error, Result};
use crate::member::{ArrayInputs, Digests, FeatureShape, Look, Pages, Rows, Sums, Typed};

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyRows>()
}

/// Rows of an array that were looked at: bytes, bits of halves, or floats.
#[pyclass(name = "Rows", module = "certssb._core", frozen)]
pub(super) struct PyRows {
    /// Of shape (n, channels, height, width), or (n, features, 1, 1).
    values: Py<PyAny>,
    shape: FeatureShape,
    divisor: f32,
    chosen: Option<Arc<[usize]>>,
    look: Look,
    sums: Sums,
    pages: Option<Pages>,
    digests: Digests,
}

/// An array that is lent to Rust.
pub(super) enum Lent<'py> {
    U8(PyReadonlyArray4<'py, u8>),
    U16(PyReadonlyArray4<'py, u16>),
    F32(PyReadonlyArray4<'py, f32>),
}

impl<'py> Lent<'py> {
    fn of(values: &Bound<'py, PyAny>) -> PyResult<Self> {
        if let Ok(values) = values.extract() {
            return Ok(Self::U8(values));
        }
        if let Ok(values) = values.extract() {
            return Ok(Self::U16(values));
        }
        Ok(Self::F32(values.extract()?))
    }

    fn rows(&self, divisor: f32) -> Rows<'_> {
        Rows::new(match self {
            Self::U8(values) => Typed::U8(values.as_array().into(), divisor),
            Self::U16(values) => Typed::F16(values.as_array().into()),
            Self::F32(values) => Typed::F32(values.as_array().into()),
        })
    }
}

/// Samples as a binding takes them: rows that were looked at, or floats in order.
pub(super) enum Samples<'py> {
    Rows(Bound<'py, PyRows>, Lent<'py>),
    Floats(PyReadonlyArrayDyn<'py, f32>),
}

impl<'py> FromPyObject<'_, 'py> for Samples<'py> {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let given: Bound<'py, PyAny> = given.to_owned();
        match given.cast_into::<PyRows>() {
            Ok(rows) => {
                let lent = Lent::of(rows.get().values.bind(rows.py()))?;
                Ok(Self::Rows(rows, lent))
            }
            Err(other) => Ok(Self::Floats(other.into_inner().extract()?)),
        }
    }
}

impl Samples<'_> {
    /// The samples as the core reads them, borrowed.
    pub(super) fn inputs(&self) -> PyResult<ArrayInputs<'_>> {
        match self {
            Self::Rows(rows, lent) => {
                let known = rows.get();
                Ok(ArrayInputs::of(known.of(lent), known.shape)?)
            }
            Self::Floats(features) => floats(features),
        }
    }
}

/// Features of shape (n, d) or (n, c, h, w) as the core reads them, borrowed.
pub(super) fn floats<'a>(features: &'a PyReadonlyArrayDyn<'_, f32>) -> PyResult<ArrayInputs<'a>> {
    let shape = FeatureShape::of(features.shape().get(1..).unwrap_or_default())?;
    Ok(ArrayInputs::new(features.as_slice()?, shape)?)
}

impl PyRows {
    fn of<'a>(&self, lent: &'a Lent<'_>) -> Rows<'a> {
        let rows = lent.rows(self.divisor).with_pages(self.pages.clone());
        rows.with_known(Some(self.sums.clone()), Arc::clone(&self.digests)).with_chosen(self.chosen.clone())
    }

    fn n(&self, py: Python<'_>) -> PyResult<usize> {
        match &self.chosen {
            Some(chosen) => Ok(chosen.len()),
            None => self.values.bind(py).len(),
        }
    }

    /// Rows by their numbers, as floats.
    fn floats<'py>(
        &self,
        py: Python<'py>,
        n: usize,
        number: impl Fn(usize) -> usize + Send + Sync,
    ) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
        let lent = Lent::of(self.values.bind(py))?;
        let (rows, size) = (self.of(&lent), self.shape.n_features());
        let sizes = [&[n], &self.shape.sizes()[..]].concat();
        let values = listening(py, || rows.floats(n, size, number))?;
        numpy::PyArray1::from_vec(py, values).reshape(sizes)
    }
}

#[pymethods]
impl PyRows {
    /// Looks at all rows of `values`, (n, channels, height, width) or (n, features, 1, 1): bytes, which are divided, the bits of
    /// halves, or floats. `give_back` is called when many were read, from any thread.
    #[new]
    #[pyo3(signature = (values, shape, divisor=1.0, give_back=None))]
    fn new(
        py: Python<'_>,
        values: Bound<'_, PyUntypedArray>,
        shape: Vec<usize>,
        divisor: f32,
        give_back: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let shape = FeatureShape::of(&shape)?;
        let values = values.into_any();
        let pages = give_back.map(|give_back| {
            Pages::new(move || {
                // What it costs not to give pages back is memory that the system can take by itself.
                Python::attach(|py| drop(give_back.call0(py)));
            })
        });
        let lent = Lent::of(&values)?;
        let rows = lent.rows(divisor).with_pages(pages.clone());
        ArrayInputs::of(rows.clone(), shape)?;
        let (look, sums) = listening(py, move || rows.look())?;
        drop(lent);
        let (chosen, digests) = (None, Digests::default());
        Ok(Self { values: values.unbind(), shape, divisor, chosen, look, sums, pages, digests })
    }

    /// Some of the rows, by their numbers, in that order.
    fn select(&self, py: Python<'_>, index: PyReadonlyArray1<'_, i64>) -> PyResult<Self> {
        let n = self.n(py)?;
        let number = |index: &i64| {
            let number = usize::try_from(*index).ok().filter(|number| *number < n);
            let number = number.ok_or_else(|| Error::shape("X", format_args!("a sample {index}"), "none"))?;
            Ok(self.chosen.as_ref().map_or(number, |chosen| chosen[number]))
        };
        let chosen: Result<Vec<usize>> = index.as_array().iter().map(number).collect();
        Ok(Self {
            values: self.values.clone_ref(py),
            chosen: Some(chosen?.into()),
            look: self.look,
            sums: self.sums.clone(),
            pages: self.pages.clone(),
            digests: Digests::default(),
            ..*self
        })
    }

    /// Rows from `start` to before `stop`, as floats of their own.
    fn read<'py>(&self, py: Python<'py>, start: usize, stop: usize) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
        let stop = stop.min(self.n(py)?);
        self.floats(py, stop.saturating_sub(start), |offset| start + offset)
    }

    /// Rows by their numbers, as floats of their own.
    fn take<'py>(
        &self,
        py: Python<'py>,
        index: PyReadonlyArray1<'_, i64>,
    ) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
        let index: Vec<usize> =
            index.as_array().iter().map(|number| usize::try_from(*number).unwrap_or(usize::MAX)).collect();
        self.floats(py, index.len(), |place| index.get(place).copied().unwrap_or(usize::MAX))
    }

    /// All rows as floats: the array itself where it is that, to the last bit.
    fn whole<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let n = self.n(py)?;
        if let (Lent::F32(values), None) = (Lent::of(self.values.bind(py))?, &self.chosen) {
            if values.is_c_contiguous() && !self.look.signed_zeros {
                let sizes = PyTuple::new(py, [&[n], &self.shape.sizes()[..]].concat())?;
                return self.values.bind(py).call_method1("reshape", (sizes,));
            }
        }
        Ok(self.read(py, 0, n)?.into_any())
    }

    /// The array behind them, in four dimensions.
    #[getter]
    fn values(&self, py: Python<'_>) -> Py<PyAny> {
        self.values.clone_ref(py)
    }

    /// Number of rows, and the shape of one.
    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, [&[self.n(py)?], &self.shape.sizes()[..]].concat())
    }

    /// Number of dimensions.
    #[getter]
    fn ndim(&self) -> usize {
        self.shape.sizes().len() + 1
    }

    /// The lowest value of the whole array.
    #[getter]
    fn lowest(&self) -> f32 {
        self.look.lowest
    }

    /// How many rows of the whole array lie in [-1, 2].
    #[getter]
    fn n_unit(&self) -> usize {
        self.look.n_unit
    }

    /// How many values of the whole array are not finite, and row and place of the first.
    #[getter]
    fn not_finite(&self) -> (usize, Option<(usize, usize)>) {
        (self.look.n_not_finite, self.look.first)
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        self.n(py)
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyType>, Bound<'py, PyTuple>)> {
        let (py, this) = (slf.py(), slf.get());
        let mut values = this.values.bind(py).clone();
        if let Some(chosen) = &this.chosen {
            values = values.call_method1("take", (numpy::PyArray1::from_slice(py, chosen), 0))?;
        }
        // In order, so that a pickle can have the values beside it.
        let values = py.import("numpy")?.call_method1("ascontiguousarray", (values,))?;
        let parts = (values, this.shape.sizes(), this.divisor).into_pyobject(py)?;
        Ok((slf.get_type(), parts))
    }
}
