//! Laws that draw every sample with noise on its entries: Gaussian, Uniform, Discrete, LabelNoise.

use pyo3::prelude::*;

use super::PyLaw;
use crate::error::Error;
use crate::law::{Discrete, Gaussian, LabelNoise, Law, Uniform};
use crate::python::number::given;

/// Normal noise on every feature of every training sample (RAB, Weber et al., S&P 2023).
///
/// Certifies a total L2 radius over the features of the whole training set, labels as received:
/// ``sigma / 2 * (Phi^-1(p_lower) - Phi^-1(p_upper))``.
///
/// Parameters
/// ----------
/// sigma : float
///     Standard deviation, greater than 0, in the units of the features.
///
/// Raises
/// ------
/// ParameterError
///     If sigma is not finite and greater than 0.
///
/// Examples
/// --------
/// >>> import certssb as cs
/// >>> cs.Gaussian(sigma=0.5)
/// Gaussian(sigma=0.5)
#[pyclass(name = "Gaussian", module = "certssb", extends = PyLaw, frozen)]
pub(super) struct PyGaussian;

#[pymethods]
impl PyGaussian {
    #[new]
    #[pyo3(signature = (sigma))]
    fn new(#[pyo3(from_py_with = given::sigma)] sigma: f64) -> PyResult<PyClassInitializer<Self>> {
        Ok(PyClassInitializer::from(PyLaw::of(Law::Gaussian(Gaussian::new(sigma)?))).add_subclass(Self))
    }

    /// Standard deviation of the noise, in the units of the features.
    #[getter]
    fn sigma(slf: PyRef<'_, Self>) -> Option<f64> {
        match slf.as_super().law() {
            Law::Gaussian(law) => Some(law.sigma()),
            _ => None,
        }
    }
}

/// Uniform noise on [-half_width, half_width] on every feature of every training sample (RAB).
///
/// Parameters
/// ----------
/// half_width : float
///     Half the width of the noise, greater than 0, in the units of the features.
///
/// Raises
/// ------
/// ParameterError
///     If half_width is not finite and greater than 0.
///
/// Examples
/// --------
/// >>> import certssb as cs
/// >>> cs.Uniform(half_width=0.5)
/// Uniform(half_width=0.5)
#[pyclass(name = "Uniform", module = "certssb", extends = PyLaw, frozen)]
pub(super) struct PyUniform;

#[pymethods]
impl PyUniform {
    #[new]
    #[pyo3(signature = (half_width))]
    fn new(#[pyo3(from_py_with = given::half_width)] half_width: f64) -> PyResult<PyClassInitializer<Self>> {
        Ok(PyClassInitializer::from(PyLaw::of(Law::Uniform(Uniform::new(half_width)?))).add_subclass(Self))
    }

    /// Half the width of the noise, in the units of the features.
    #[getter]
    fn half_width(slf: PyRef<'_, Self>) -> Option<f64> {
        match slf.as_super().law() {
            Law::Uniform(law) => Some(law.half_width()),
            _ => None,
        }
    }
}

/// Discrete noise: every entry keeps its value with probability `keep`, otherwise it takes another value, uniformly
/// (Wang, Cao, Jia, Gong 2020). Certifies a number of changed entries, ``certs.n_flips()``.
///
/// Parameters
/// ----------
/// keep : float
///     Probability that an entry keeps its value, in (1/alphabet, 1].
/// alphabet : int
///     Number of values that a feature can take; features are the codes 0 .. alphabet - 1.
/// labels : bool
///     Whether training labels are entries too, so that the guarantee covers flipped labels.
/// test_input : bool
///     Whether the entries of the test input are noised and counted too.
///
/// Raises
/// ------
/// ParameterError
///     If keep or alphabet is out of range.
///
/// Examples
/// --------
/// >>> import certssb as cs
/// >>> cs.Discrete(keep=0.8)
/// Discrete(keep=0.8, alphabet=2, labels=True, test_input=False)
#[pyclass(name = "Discrete", module = "certssb", extends = PyLaw, frozen)]
pub(super) struct PyDiscrete;

#[pymethods]
impl PyDiscrete {
    #[new]
    #[pyo3(signature = (keep, alphabet=2, labels=true, test_input=false))]
    fn new(
        #[pyo3(from_py_with = given::keep)] keep: f64,
        #[pyo3(from_py_with = given::alphabet)] alphabet: i64,
        #[pyo3(from_py_with = given::labels)] labels: bool,
        #[pyo3(from_py_with = given::test_input)] test_input: bool,
    ) -> PyResult<PyClassInitializer<Self>> {
        let alphabet = usize::try_from(alphabet)
            .map_err(|_| Error::parameter("alphabet", "an integer from 2 to 16777216", alphabet))?;
        Ok(PyClassInitializer::from(PyLaw::of(Law::Discrete(Discrete::new(
            keep, alphabet, labels, test_input,
        )?)))
        .add_subclass(Self))
    }

    /// Chance that an entry keeps its value.
    #[getter]
    fn keep(slf: PyRef<'_, Self>) -> Option<f64> {
        match slf.as_super().law() {
            Law::Discrete(law) => Some(law.keep()),
            _ => None,
        }
    }

    /// Number of values of a feature.
    #[getter]
    fn alphabet(slf: PyRef<'_, Self>) -> Option<usize> {
        match slf.as_super().law() {
            Law::Discrete(law) => Some(law.alphabet()),
            _ => None,
        }
    }

    /// Whether labels are entries too.
    #[getter]
    fn labels(slf: PyRef<'_, Self>) -> Option<bool> {
        match slf.as_super().law() {
            Law::Discrete(law) => Some(law.labels()),
            _ => None,
        }
    }

    /// Whether the test input is noised too.
    #[getter]
    fn test_input(slf: PyRef<'_, Self>) -> Option<bool> {
        match slf.as_super().law() {
            Law::Discrete(law) => Some(law.test_input()),
            _ => None,
        }
    }
}

/// Random labels: each is kept with probability 1 - q, otherwise replaced by another class, uniformly (Rosenfeld et
/// al. 2020). It makes the guarantee cover flipped labels; combine it with other laws by ``&``.
///
/// Parameters
/// ----------
/// q : float
///     Probability that a label is replaced, in [0, (K-1)/K) for K classes.
///
/// Raises
/// ------
/// ParameterError
///     If q is out of range.
///
/// Examples
/// --------
/// >>> import certssb as cs
/// >>> cs.Subsample(cs.Gaussian(1.0) & cs.LabelNoise(0.2), size=50)
/// Subsample(Gaussian(sigma=1.0) & LabelNoise(q=0.2), size=50)
#[pyclass(name = "LabelNoise", module = "certssb", extends = PyLaw, frozen)]
pub(super) struct PyLabelNoise;

#[pymethods]
impl PyLabelNoise {
    #[new]
    #[pyo3(signature = (q))]
    fn new(#[pyo3(from_py_with = given::q)] q: f64) -> PyResult<PyClassInitializer<Self>> {
        Ok(PyClassInitializer::from(PyLaw::of(Law::LabelNoise(LabelNoise::new(q)?))).add_subclass(Self))
    }

    /// Chance that a label is replaced.
    #[getter]
    fn q(slf: PyRef<'_, Self>) -> Option<f64> {
        match slf.as_super().law() {
            Law::LabelNoise(law) => Some(law.q()),
            _ => None,
        }
    }
}
