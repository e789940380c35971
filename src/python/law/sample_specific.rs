//! Noise of each sample's own magnitude.

use pyo3::prelude::*;

use super::repr::guarantee_name;
use super::PyLaw;
use crate::error::Error;
use crate::law::{Gaussian, Guarantee, Law, NoiseLaw, SampleSpecific, SigmaSearch};
use crate::python::number::given;
use crate::quantity::{NoiseScale, Quantity};

/// Sample-specific noise: a magnitude for each sample (Cert-SSBD, Qiao et al., arXiv 2504.21730).
///
/// Stochastic gradient ascent through a network finds how much noise each sample tolerates: it maximises
/// ``s / 2 * (Phi^-1(p_a(s)) - Phi^-1(p_b(s)))``, where p is the mean of several noisy soft outputs and a the
/// sample's class.
///
/// With ``guarantee="sound"``, Gaussian noise of standard deviation `sigma` is drawn first, once. Each member then
/// trains on its noised set, finds extra noise for every sample by looking at that set only, and trains again with
/// the extra noise added. Certificates are those of ``Gaussian(sigma)``, because everything after the base draw is
/// post-processing. At test time each member votes by its mean score over noisy copies of the input, with a magnitude
/// that it finds for that input.
///
/// With ``guarantee="published"``, each sample's sigma is tuned on the received sample, and the radius uses the test
/// sample's own sigma, as published. **That is not a proof** (`CertificateTable.sound` is False); it is there for
/// comparison.
///
/// Parameters
/// ----------
/// sigma : float
///     Standard deviation of the base noise, greater than 0, in the units of the features.
/// guarantee : {"sound", "published"}, default="sound"
///     Which form.
/// start : float, optional
///     Where the ascent begins; ``sigma / 4`` for the extra noise of the sound form, ``sigma`` for the published one.
/// sigma_min, sigma_max : float, optional
///     Bounds of the magnitude; ``sigma / 20`` and ``sigma`` (sound), ``sigma / 4`` and ``4 * sigma`` (published).
/// steps : int, default=8
///     Steps of the ascent, 1 to 10000.
/// learning_rate : float, default=0.3
///     A step multiplies the magnitude by ``exp(rate * dR/ds)``; the rate is dimensionless and falls linearly to 0.
/// samples : int, default=4
///     Noisy outputs averaged per step, and noisy copies of a test input in the sound form; 1 to 10000.
///
/// Raises
/// ------
/// ParameterError
///     If a value is out of range, or the bounds are in the wrong order.
///
/// Examples
/// --------
/// >>> import certssb as cs
/// >>> cs.SampleSpecific(sigma=0.5)
/// SampleSpecific(sigma=0.5, guarantee='sound')
/// >>> cs.SampleSpecific(sigma=0.5, guarantee="published", steps=20)
/// SampleSpecific(sigma=0.5, guarantee='published', steps=20)
#[pyclass(name = "SampleSpecific", module = "certssb", extends = PyLaw, frozen)]
pub(super) struct PySampleSpecific;

#[pymethods]
impl PySampleSpecific {
    #[new]
    #[allow(clippy::too_many_arguments)]
    #[pyo3(signature = (sigma, guarantee="sound", *, start=None, sigma_min=None, sigma_max=None, steps=None, learning_rate=None, samples=None))]
    fn new(
        #[pyo3(from_py_with = given::sigma)] sigma: f64,
        #[pyo3(from_py_with = given::guarantee)] guarantee: &str,
        #[pyo3(from_py_with = given::start)] start: Option<f64>,
        #[pyo3(from_py_with = given::sigma_min)] sigma_min: Option<f64>,
        #[pyo3(from_py_with = given::sigma_max)] sigma_max: Option<f64>,
        #[pyo3(from_py_with = given::steps)] steps: Option<i64>,
        #[pyo3(from_py_with = given::learning_rate)] learning_rate: Option<f64>,
        #[pyo3(from_py_with = given::samples)] samples: Option<i64>,
    ) -> PyResult<PyClassInitializer<Self>> {
        let base = Gaussian::new(sigma)?;
        let guarantee = match guarantee {
            "sound" => Guarantee::Sound,
            "published" => Guarantee::Published,
            other => return Err(Error::unknown("guarantee", &["sound", "published"], other).into()),
        };
        let usual = SigmaSearch::around(NoiseScale::check("sigma", sigma)?, guarantee);
        let scale = |name, value: Option<f64>, usual| value.map_or(Ok(usual), |v| NoiseScale::check(name, v));
        let number = |value: Option<i64>, usual| value.map_or(usual, |v| usize::try_from(v).unwrap_or(0));
        let (sigma_min, sigma_max) = (
            scale("sigma_min", sigma_min, usual.sigma_min)?,
            scale("sigma_max", sigma_max, usual.sigma_max)?,
        );
        let within =
            |value: NoiseScale| NoiseScale::wrap(value.get().min(sigma_max.get()).max(sigma_min.get()));
        let search = SigmaSearch {
            start: scale("start", start, within(usual.start))?,
            sigma_min,
            sigma_max,
            steps: number(steps, usual.steps),
            learning_rate: scale("learning_rate", learning_rate, usual.learning_rate)?,
            samples: number(samples, usual.samples),
        };
        let law = Law::SampleSpecific(SampleSpecific::new(base, guarantee, search)?);
        Ok(PyClassInitializer::from(PyLaw::of(law)).add_subclass(Self))
    }

    /// Standard deviation of the base noise, in the units of the features.
    #[getter]
    fn sigma(slf: PyRef<'_, Self>) -> Option<f64> {
        slf.as_super().law().sample_specific().map(|law| law.base().sigma())
    }

    /// "sound" or "published".
    #[getter]
    fn guarantee(slf: PyRef<'_, Self>) -> Option<&'static str> {
        slf.as_super().law().sample_specific().map(|law| guarantee_name(law.guarantee()))
    }

    /// Where the ascent begins.
    #[getter]
    fn start(slf: PyRef<'_, Self>) -> Option<f64> {
        slf.as_super().law().sample_specific().map(|law| law.search().start.get())
    }

    /// Smallest and largest magnitude.
    #[getter]
    fn bounds(slf: PyRef<'_, Self>) -> Option<(f64, f64)> {
        let law = slf.as_super().law();
        let law = law.sample_specific()?;
        Some((law.search().sigma_min.get(), law.search().sigma_max.get()))
    }
}
