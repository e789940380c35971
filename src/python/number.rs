//! Numbers and words as Python has them: what no 64 bits hold becomes the end of the range, which every check refuses; what
//! is no number at all is refused here, by the parameter's name ([`given`]).

use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyString};

use super::law::PyLaw;
use crate::error::Error;

/// Longest description of what came in an error, in characters.
const SHOWN: usize = 300;

/// An integer.
fn whole(value: &Bound<'_, PyAny>) -> PyResult<i64> {
    no_flag(value)?;
    or_end(value, value.extract(), (i64::MIN, i64::MAX))
}

/// A real number; an integer beyond every float is infinite.
fn real(value: &Bound<'_, PyAny>) -> PyResult<f64> {
    no_flag(value)?;
    or_end(value, value.extract(), (f64::NEG_INFINITY, f64::INFINITY))
}

fn some_whole(value: &Bound<'_, PyAny>) -> PyResult<Option<i64>> {
    if value.is_none() {
        Ok(None)
    } else {
        whole(value).map(Some)
    }
}

fn some_real(value: &Bound<'_, PyAny>) -> PyResult<Option<f64>> {
    if value.is_none() {
        Ok(None)
    } else {
        real(value).map(Some)
    }
}

fn some_reals(value: &Bound<'_, PyAny>) -> PyResult<Option<Vec<f64>>> {
    let Some(values) = value.extract::<Option<Vec<Bound<'_, PyAny>>>>()? else { return Ok(None) };
    values.iter().map(real).collect::<PyResult<_>>().map(Some)
}

fn some_wholes(value: &Bound<'_, PyAny>) -> PyResult<Option<Vec<i64>>> {
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

/// True is no 1.
fn no_flag(value: &Bound<'_, PyAny>) -> PyResult<()> {
    if value.is_instance_of::<PyBool>() {
        return Err(PyTypeError::new_err("must be a number, not bool"));
    }
    Ok(())
}

fn flag(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    value.extract()
}

fn word<'a>(value: &'a Bound<'_, PyAny>) -> PyResult<&'a str> {
    value.cast::<PyString>()?.to_str()
}

fn law(value: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyLaw>>> {
    value.extract().map_err(PyErr::from)
}

fn laws(value: &Bound<'_, PyAny>) -> PyResult<Vec<Py<PyLaw>>> {
    value.extract()
}

/// What `convert` makes of a parameter's value; where that is of another kind, a parameter error that says so.
fn named<'a, 'py, T>(
    name: &str,
    expected: &str,
    value: &'a Bound<'py, PyAny>,
    convert: impl FnOnce(&'a Bound<'py, PyAny>) -> PyResult<T>,
) -> PyResult<T> {
    convert(value).map_err(|error| {
        let py = value.py();
        if error.is_instance_of::<PyTypeError>(py) || error.is_instance_of::<PyValueError>(py) {
            Error::parameter(name, expected, shown(value)).into()
        } else {
            error
        }
    })
}

/// A value in an error.
fn shown(value: &Bound<'_, PyAny>) -> String {
    match value.repr() {
        Ok(text) => text.to_string_lossy().chars().take(SHOWN).collect(),
        Err(_) => value.get_type().to_string(),
    }
}

/// A function for each parameter that bindings take, which converts it and knows its name.
pub(super) mod given {
    use super::*;

    macro_rules! given {
        ($($convert:ident -> $kind:ty, $expected:literal: $($name:ident),+;)+) => {$($(
            #[allow(clippy::needless_lifetimes, reason = "words have one")]
            pub(crate) fn $name<'a>(value: &'a Bound<'_, PyAny>) -> PyResult<$kind> {
                named(stringify!($name), $expected, value, $convert)
            }
        )+)+};
    }

    given! {
        real -> f64, "a number": sigma, half_width, keep, q, alpha;
        some_real -> Option<f64>, "a number or None": start, sigma_min, sigma_max, learning_rate, rate;
        some_reals -> Option<Vec<f64>>, "a sequence of numbers or None": thresholds;
        whole -> i64, "an integer": n, n_classes, n_parts, overlap, alphabet, scales, angles, order;
        some_whole -> Option<i64>, "an integer or None": n_features, steps, samples, size;
        some_wholes -> Option<Vec<i64>>, "a sequence of integers or None": shifts;
        flag -> bool, "a bool": labels, test_input, root, normalize;
        word -> &'a str, "a string": guarantee, assign;
        law -> Option<Py<PyLaw>>, "a noise law such as Gaussian(0.5), or None": inner;
        laws -> Vec<Py<PyLaw>>, "a sequence of noise laws": levels;
    }
}
