//! `certssb.bounds`: confidence bounds on arrays or numbers.

use ndarray::ArrayView1;
use numpy::{PyArray1, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;
use rayon::prelude::*;

use super::listen::{holding, listening};
use super::number::given;
use crate::certify::bounds;
use crate::error::{Error, Result};
use crate::process::install_each;
use crate::quantity::{Alpha, Probability, Quantity};
use crate::size::LARGEST;
use crate::stop::Stop;

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(clopper_pearson, module)?)?;
    module.add_function(wrap_pyfunction!(mean_bound, module)?)?;
    module.add_function(wrap_pyfunction!(betting, module)?)
}

fn check_n(n: i64) -> Result<u64> {
    u64::try_from(n)
        .ok()
        .filter(|n| (1..=LARGEST as u64).contains(n))
        .ok_or_else(|| Error::parameter("n", format_args!("an integer from 1 to {LARGEST}"), n))
}

/// One bound for each of many numbers.
fn each<T>(numbers: ArrayView1<'_, T>, bound: impl Fn(&T) -> Result<f64>) -> Result<Vec<f64>> {
    let stop = Stop::current();
    let one = |number| stop.check().and_then(|()| bound(number));
    numbers.iter().map(one).collect()
}

/// Clopper-Pearson bounds of counts `k` out of `n`.
#[pyfunction]
fn clopper_pearson<'py>(
    py: Python<'py>,
    k: PyReadonlyArray1<'py, i64>,
    #[pyo3(from_py_with = given::n)] n: i64,
    #[pyo3(from_py_with = given::alpha)] alpha: f64,
    upper: bool,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let n = check_n(n)?;
    let alpha = Alpha::check("alpha", alpha)?.get();
    let bound = if upper { bounds::clopper_pearson_upper } else { bounds::clopper_pearson_lower };
    let value = |k: &i64| match u64::try_from(*k) {
        Ok(count) if count <= n => Ok(bound(count, n, alpha)),
        _ => Err(Error::parameter("k", format_args!("an integer from 0 to n = {n}"), k)),
    };
    let values = holding(py, || each(k.as_array(), value))?;
    Ok(PyArray1::from_vec(py, values))
}

/// Kullback-Leibler (`kind` "kl") or Hoeffding (`kind` "hoeffding") bounds of means over `n` members.
#[pyfunction]
fn mean_bound<'py>(
    py: Python<'py>,
    mean: PyReadonlyArray1<'py, f64>,
    #[pyo3(from_py_with = given::n)] n: i64,
    #[pyo3(from_py_with = given::alpha)] alpha: f64,
    kind: &str,
    upper: bool,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let n = check_n(n)?;
    let alpha = Alpha::check("alpha", alpha)?.get();
    let bound = match (kind, upper) {
        ("kl", false) => bounds::kl_lower,
        ("kl", true) => bounds::kl_upper,
        (_, false) => bounds::hoeffding_lower,
        (_, true) => bounds::hoeffding_upper,
    };
    let value = |mean: &f64| Ok(bound(Probability::check("mean", *mean)?.get(), n, alpha));
    let values = holding(py, || each(mean.as_array(), value))?;
    Ok(PyArray1::from_vec(py, values))
}

/// Betting bounds of scores of shape (n_members, n_samples).
#[pyfunction]
fn betting<'py>(
    py: Python<'py>,
    scores: PyReadonlyArray2<'py, f64>,
    #[pyo3(from_py_with = given::alpha)] alpha: f64,
    upper: bool,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let alpha = Alpha::check("alpha", alpha)?.get();
    let scores = scores.as_array().to_owned();
    let bound = if upper { bounds::betting_upper } else { bounds::betting_lower };
    let values = listening(py, || {
        let stop = Stop::current();
        let one = |(): &mut (), i| {
            let column = scores.column(i).to_vec();
            column.iter().try_for_each(|score| Probability::check("scores", *score).map(drop))?;
            stop.check()?;
            let bound = stop.carried(|| bound(&column, alpha));
            stop.check().map(|()| bound)
        };
        install_each((0..scores.ncols()).into_par_iter(), || (), one)
    })?;
    Ok(PyArray1::from_vec(py, values))
}
