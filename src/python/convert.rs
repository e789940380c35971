//! Tensors across the border: the same tensor on both sides, with its gradient's history and without a copy.
//!
//! The only unsafe code of the crate. It uses that an `at::Tensor` is one counted pointer to its implementation,
//! which Python shows as `Tensor._cdata` and takes in `torch._C._wrap_tensor_impl`. Both are fixed by the exact
//! release of torch that this crate is built for, and tested.
#![allow(unsafe_code)]

use std::ffi::c_void;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use tch::Tensor;

/// The tensor as Python sees it.
pub(super) fn to_python<'py>(py: Python<'py>, tensor: &Tensor) -> PyResult<Bound<'py, PyAny>> {
    static WRAP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let wrap = WRAP.get_or_try_init(py, || {
        Ok::<_, PyErr>(py.import("torch._C")?.getattr("_wrap_tensor_impl")?.unbind())
    })?;
    // SAFETY: `as_ptr` points to an at::Tensor, which consists of the pointer that is read here.
    let implementation = unsafe { *tensor.as_ptr().cast::<*mut c_void>() };
    // SAFETY: the capsule owns nothing; torch takes a count of its own while `tensor` is alive.
    let capsule = unsafe {
        let capsule = pyo3::ffi::PyCapsule_New(implementation, std::ptr::null(), None);
        Bound::from_owned_ptr_or_err(py, capsule)?
    };
    wrap.bind(py).call1((capsule,))
}

/// The tensor behind a Python object.
///
/// # Errors
/// `TypeError` if the object is no tensor.
pub(super) fn from_python(object: &Bound<'_, PyAny>) -> PyResult<Tensor> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = object.py();
    let class =
        CLASS.get_or_try_init(py, || Ok::<_, PyErr>(py.import("torch")?.getattr("Tensor")?.unbind()))?;
    if !object.is_instance(class.bind(py))? {
        return Err(PyTypeError::new_err(format!("expected a tensor, got {}", object.get_type().name()?)));
    }
    let mut implementation = object.getattr("_cdata")?.extract::<usize>()? as *mut c_void;
    // SAFETY: a place that holds the pointer to an implementation is an at::Tensor; it is copied (which counts)
    // while `object` keeps the implementation alive, and never destroyed as one.
    Ok(unsafe { Tensor::clone_from_ptr((&raw mut implementation).cast()) })
}
