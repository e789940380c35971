//! Numbers as Python has them, of any size: what no 64 bits hold becomes the end of the range, which every check refuses.

use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;

/// An integer.
pub(super) fn whole(value: &Bound<'_, PyAny>) -> PyResult<i64> {
    or_end(value, value.extract(), (i64::MIN, i64::MAX))
}

/// A real number; an integer beyond every float is infinite.
pub(super) fn real(value: &Bound<'_, PyAny>) -> PyResult<f64> {
    or_end(value, value.extract(), (f64::NEG_INFINITY, f64::INFINITY))
}

pub(super) fn some_whole(value: &Bound<'_, PyAny>) -> PyResult<Option<i64>> {
    if value.is_none() {
        Ok(None)
    } else {
        whole(value).map(Some)
    }
}

pub(super) fn some_real(value: &Bound<'_, PyAny>) -> PyResult<Option<f64>> {
    if value.is_none() {
        Ok(None)
    } else {
        real(value).map(Some)
    }
}

pub(super) fn some_reals(value: &Bound<'_, PyAny>) -> PyResult<Option<Vec<f64>>> {
    let Some(values) = value.extract::<Option<Vec<Bound<'_, PyAny>>>>()? else { return Ok(None) };
    values.iter().map(real).collect::<PyResult<_>>().map(Some)
}

pub(super) fn some_wholes(value: &Bound<'_, PyAny>) -> PyResult<Option<Vec<i64>>> {
    let Some(values) = value.extract::<Option<Vec<Bound<'_, PyAny>>>>()? else { return Ok(None) };
    values.iter().map(whole).collect::<PyResult<_>>().map(Some)
}

fn or_end<T>(value: &Bound<'_, PyAny>, found: PyResult<T>, (low, high): (T, T)) -> PyResult<T> {
    match found {
        Err(error) if error.is_instance_of::<PyOverflowError>(value.py()) => {
            Ok(if value.lt(0)? { low } else { high })
        }
        other => other,
    }
}
