//! Laws made of others: Subsample, Product (by `&`) and Cascade.

use pyo3::prelude::*;

use super::{wrap, PyLaw};
use crate::error::Error;
use crate::law::{Cascade, Law, Subsample};
use crate::python::number::given;
use crate::size::LARGEST;

/// Each member sees only some of the training samples, with `inner` noise on them: `size` of them, drawn without
/// replacement, or each with probability `rate`, independently of the others (Poisson sampling).
///
/// Without an inner law this is bagging: the certificate rests on members that see no changed sample, and covers
/// triggers of any size and any labels. Both ways of drawing also cover samples that were inserted or deleted
/// (``edits="any"``), before the training set was received or afterwards.
///
/// Parameters
/// ----------
/// inner : Law or None
///     Noise on the drawn samples.
/// size : int, optional
///     Number of samples a member sees, from 1 to the number of training samples. Fix it without regard to that
///     number: a size that depends on it would reveal inserted samples to members.
/// rate : float, optional
///     Probability with which a member sees a sample, in [1e-9, 1); exactly one of `size` and `rate` must be given. A
///     member that sees no samples, or fewer than its model needs, votes for the lowest class.
///
/// Raises
/// ------
/// ParameterError
///     If size or rate is out of range, both or neither are given, or inner subsamples itself.
///
/// Examples
/// --------
/// >>> import certssb as cs
/// >>> cs.Subsample(cs.Gaussian(1.0), size=100)
/// Subsample(Gaussian(sigma=1.0), size=100)
/// >>> cs.Subsample(size=30)
/// Subsample(size=30)
/// >>> cs.Subsample(rate=0.01)
/// Subsample(rate=0.01)
#[pyclass(name = "Subsample", module = "certssb", extends = PyLaw, frozen)]
pub(super) struct PySubsample;

#[pymethods]
impl PySubsample {
    #[new]
    #[pyo3(signature = (inner=None, *, size=None, rate=None))]
    fn new(
        #[pyo3(from_py_with = given::inner)] inner: Option<Py<PyLaw>>,
        #[pyo3(from_py_with = given::size)] size: Option<i64>,
        #[pyo3(from_py_with = given::rate)] rate: Option<f64>,
    ) -> PyResult<PyClassInitializer<Self>> {
        let inner = inner.map(|law| law.get().law());
        let law = match (size, rate) {
            (Some(size), None) => {
                let expected = "an integer from 1 to the number of training samples";
                let possible = usize::try_from(size).ok().filter(|size| *size <= LARGEST);
                Subsample::new(inner, possible.ok_or_else(|| Error::parameter("size", expected, size))?)?
            }
            (None, Some(rate)) => Subsample::poisson(inner, rate)?,
            (size, _) => {
                let got = size.map_or("neither".to_owned(), |size| format!("size={size} and a rate"));
                return Err(Error::parameter("size", "given, or else 'rate', but not both", got).into());
            }
        };
        Ok(PyClassInitializer::from(PyLaw::of(Law::Subsample(law))).add_subclass(Self))
    }

    /// Number of samples a member sees; None if each is drawn independently.
    #[getter]
    fn size(slf: PyRef<'_, Self>) -> Option<usize> {
        match slf.as_super().law() {
            Law::Subsample(law) => law.size(),
            _ => None,
        }
    }

    /// Probability with which a member sees a sample; None if the number of samples is fixed.
    #[getter]
    fn rate(slf: PyRef<'_, Self>) -> Option<f64> {
        match slf.as_super().law() {
            Law::Subsample(law) => law.rate(),
            _ => None,
        }
    }

    /// The law inside; None for bagging.
    #[getter]
    fn inner(slf: PyRef<'_, Self>) -> PyResult<Option<Py<PyAny>>> {
        match slf.as_super().law() {
            Law::Subsample(law) => law.inner().map(|law| wrap(slf.py(), law.clone())).transpose(),
            _ => Ok(None),
        }
    }
}

/// Independent laws together, made with ``&``.
#[pyclass(name = "Product", module = "certssb", extends = PyLaw, frozen)]
pub(super) struct PyProduct;

/// Several noise levels, asked one after another; the certificate covers the choice. This is sample-specific noise
/// with a proof.
///
/// Every level has its own ensemble of `n_members` members, all from the same root seed. Level g decides for a class
/// whose margin ``sigma_g / 2 * (Phi^-1(g_c) - max Phi^-1(g_c'))`` is at least the level's threshold; otherwise the
/// next level is asked. The last level decides by majority. Samples far from the boundary keep nearly the radius of
/// large noise; samples near it are passed on to the small noise that can classify them. The bounds of all levels
/// hold together.
///
/// Parameters
/// ----------
/// levels : list of Law
///     Two or more laws, usually from large to small noise: Gaussian, SampleSpecific, or Subsample (which certifies
///     budgets but no radius).
/// thresholds : list of float, optional
///     One for every level but the last, greater than 0, in the units of the features (for laws without Gaussian
///     noise: in half-differences of normal quantiles). Fix them before looking at votes. By default 0.2 times each
///     level's sigma.
///
/// Raises
/// ------
/// ParameterError
///     If there are fewer than two levels, if a level is a Cascade or has no proof, or if the thresholds do not match
///     the levels.
///
/// Examples
/// --------
/// >>> import certssb as cs
/// >>> cs.Cascade([cs.Gaussian(1.0), cs.Gaussian(0.5), cs.Gaussian(0.25)], thresholds=[0.3, 0.15])
/// Cascade([Gaussian(sigma=1.0), Gaussian(sigma=0.5), Gaussian(sigma=0.25)], thresholds=[0.3, 0.15])
#[pyclass(name = "Cascade", module = "certssb", extends = PyLaw, frozen)]
pub(super) struct PyCascade;

#[pymethods]
impl PyCascade {
    #[new]
    #[pyo3(signature = (levels, thresholds=None))]
    fn new(
        #[pyo3(from_py_with = given::levels)] levels: Vec<Py<PyLaw>>,
        #[pyo3(from_py_with = given::thresholds)] thresholds: Option<Vec<f64>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        let levels = levels.iter().map(|level| level.get().law()).collect();
        let law = Law::Cascade(Cascade::new(levels, thresholds)?);
        Ok(PyClassInitializer::from(PyLaw::of(law)).add_subclass(Self))
    }

    /// The laws, in the order in which they are asked.
    #[getter]
    fn levels(slf: PyRef<'_, Self>, py: Python<'_>) -> PyResult<Vec<Py<PyAny>>> {
        match slf.as_super().law() {
            Law::Cascade(cascade) => cascade.levels().iter().map(|law| wrap(py, law.clone())).collect(),
            _ => Ok(Vec::new()),
        }
    }

    /// The margin from which each level but the last decides.
    #[getter]
    fn thresholds(slf: PyRef<'_, Self>) -> Vec<f64> {
        match slf.as_super().law() {
            Law::Cascade(cascade) => {
                (0..cascade.levels().len()).filter_map(|g| cascade.threshold(g)).collect()
            }
            _ => Vec::new(),
        }
    }
}
