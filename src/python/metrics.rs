//! `certssb.metrics`: shares that tables report; a share of nothing is None.

use numpy::PyReadonlyArray1;
use pyo3::prelude::*;

use crate::error::{Error, Result};
use crate::metrics;

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(certified_share, module)?)?;
    module.add_function(wrap_pyfunction!(conditional_accuracy, module)?)?;
    module.add_function(wrap_pyfunction!(attack_success_rate, module)?)
}

fn same_length(name: &str, left: usize, right: usize) -> Result<()> {
    if left == right {
        return Ok(());
    }
    Err(Error::shape(name, format_args!("one value per sample, {left}"), right))
}

/// Certified accuracy if `correct` is given, else certified ratio.
#[pyfunction]
#[pyo3(signature = (certified, correct=None))]
fn certified_share(
    certified: PyReadonlyArray1<'_, bool>,
    correct: Option<PyReadonlyArray1<'_, bool>>,
) -> PyResult<Option<f64>> {
    let certified = certified.as_array().to_vec();
    let Some(correct) = correct else {
        return Ok(metrics::certified_ratio(&certified));
    };
    same_length("correct", certified.len(), correct.as_array().len())?;
    Ok(metrics::certified_accuracy(&correct.as_array().to_vec(), &certified))
}

/// Share of the certified samples that are classified correctly.
#[pyfunction]
fn conditional_accuracy(
    certified: PyReadonlyArray1<'_, bool>,
    correct: PyReadonlyArray1<'_, bool>,
) -> PyResult<Option<f64>> {
    let (certified, correct) = (certified.as_array().to_vec(), correct.as_array().to_vec());
    same_length("correct", certified.len(), correct.len())?;
    Ok(metrics::conditional_accuracy(&correct, &certified))
}

/// Share of the triggered samples of other classes that are given the target class.
#[pyfunction]
fn attack_success_rate(
    is_target: PyReadonlyArray1<'_, bool>,
    predicted_target: PyReadonlyArray1<'_, bool>,
) -> PyResult<Option<f64>> {
    let (truth, predicted) = (is_target.as_array(), predicted_target.as_array());
    same_length("predicted", truth.len(), predicted.len())?;
    let codes = |flags: ndarray::ArrayView1<'_, bool>| {
        flags.iter().map(|flag| usize::from(*flag)).collect::<Vec<_>>()
    };
    Ok(metrics::attack_success_rate(&codes(predicted), &codes(truth), 1))
}
