//! Noise laws as Python objects: comparable, picklable, composed with `&`; only `set_params` changes one.

use std::sync::{PoisonError, RwLock};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::certificates::{count, facts};
use super::law_params::{changed, deep_parameters, parameters};
use super::listen::listening;
use super::number::given;
use super::partition::PyPartition;
use super::threat::{threat as asked, Asked};
use crate::certify::{Confidence, Plan};
use crate::error::Error;
use crate::law::{
    Cascade, Discrete, Gaussian, Guarantee, LabelNoise, Law, NoiseLaw, Partition, Product, SampleSpecific,
    SigmaSearch, Subsample, Uniform,
};
use crate::partition::Assign;
use crate::quantity::{NoiseScale, Quantity};
use crate::size::LARGEST;

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyLaw>()?;
    module.add_class::<PyGaussian>()?;
    module.add_class::<PyUniform>()?;
    module.add_class::<PyDiscrete>()?;
    module.add_class::<PyLabelNoise>()?;
    module.add_class::<PySubsample>()?;
    module.add_class::<PyProduct>()?;
    module.add_class::<PySampleSpecific>()?;
    module.add_class::<PyCascade>()?;
    module.add_class::<PyPlan>()?;
    module.add_function(wrap_pyfunction!(law_from_json, module)?)
}

/// A noise law: how a member's training set is drawn from the received one.
#[pyclass(name = "Law", module = "certssb", subclass, frozen)]
pub(super) struct PyLaw {
    law: RwLock<Law>,
}

impl PyLaw {
    pub(super) fn of(law: Law) -> Self {
        Self { law: RwLock::new(law) }
    }

    /// The law as it is now.
    pub(super) fn law(&self) -> Law {
        self.law.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[pymethods]
impl PyLaw {
    fn __and__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let Ok(other) = other.cast::<Self>() else {
            return Ok(py.NotImplemented());
        };
        wrap(py, Law::Product(Product::new(slf.get().law(), other.get().law())?))
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| other.get().law() == self.law())
    }

    fn __hash__(&self) -> PyResult<u64> {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        self.to_json()?.hash(&mut hasher);
        Ok(hasher.finish())
    }

    fn __repr__(&self) -> String {
        repr(&self.law())
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let py = slf.py();
        let rebuild = py.import("certssb._core")?.getattr("law_from_json")?;
        Ok((rebuild, PyTuple::new(py, [slf.get().to_json()?])?))
    }

    /// What a budget demands of the votes of members trained under this law, before any of them is trained.
    ///
    /// Parameters
    /// ----------
    /// threat : Threat
    ///     What the attacker may have done, if it is not told by keyword. (A number in its place is `n_train`.)
    /// n_poisoned, share, trigger_norm, labels, edits, counted
    ///     The parts of the threat that they build: see :class:`~certssb.Threat`.
    /// n_train : int
    ///     Number of training samples.
    /// alpha : float, default=0.001
    ///     Chance that a certificate is wrong.
    /// n_classes : int, default=2
    ///     Number of classes.
    /// n_features : int, optional
    ///     Number of features of a sample; needed by Uniform.
    ///
    /// Returns
    /// -------
    /// Plan
    ///     With `n_members` (how many are enough if all agree, None if no number is), `votes` (how many of 1000
    ///     have to agree, None if all would not be enough), `possible`, `suggested_size`; prints as a sentence.
    ///
    /// Raises
    /// ------
    /// ParameterError
    ///     If a value is out of range, or the law says nothing about such changes.
    ///
    /// Examples
    /// --------
    /// >>> import certssb as cs
    /// >>> law = cs.Subsample(cs.Gaussian(1.0), size=100)
    /// >>> plan = law.plan(n_train=12665, n_poisoned=253, trigger_norm=1.0)
    /// >>> plan.possible, plan.n_members
    /// (True, 81)
    /// >>> cs.Subsample(rate=0.01).plan(cs.Threat(n_poisoned=20, edits="any"), n_train=5000).n_members
    /// 20
    #[allow(clippy::too_many_arguments)]
    #[pyo3(signature = (threat=None, n_poisoned=None, trigger_norm=None, labels=None, alpha=0.001, n_classes=2, n_features=None, *, n_train=None, share=None, edits=None, counted=None))]
    fn plan<'py>(
        &self,
        py: Python<'py>,
        threat: Option<Bound<'py, PyAny>>,
        n_poisoned: Option<Bound<'py, PyAny>>,
        trigger_norm: Option<Bound<'py, PyAny>>,
        labels: Option<Bound<'py, PyAny>>,
        #[pyo3(from_py_with = given::alpha)] alpha: f64,
        #[pyo3(from_py_with = given::n_classes)] n_classes: i64,
        #[pyo3(from_py_with = given::n_features)] n_features: Option<i64>,
        n_train: Option<Bound<'py, PyAny>>,
        share: Option<Bound<'py, PyAny>>,
        edits: Option<Bound<'py, PyAny>>,
        counted: Option<Bound<'py, PyAny>>,
    ) -> PyResult<PyPlan> {
        let parts = (threat, n_train, n_poisoned, share, trigger_norm, labels, edits, counted);
        let planned = py.import("certssb.threats")?.getattr("planned")?.call1(parts)?;
        let (n_train, threat): (i64, Asked) = planned.extract()?;
        let threat = asked(threat)?;
        let n_features = n_features.map(|n| count("n_features", n)).transpose()?;
        let facts = facts(n_train, n_classes, n_features)?;
        let confidence = Confidence::at(alpha).for_votes(1000, facts.n_classes)?;
        let law = self.law();
        let plan = listening(py, || Plan::of(&law, &facts, threat, &confidence))?;
        Ok(PyPlan { plan })
    }

    /// The law's parameters by name, as scikit-learn's searches ask for them.
    ///
    /// Parameters
    /// ----------
    /// deep : bool, default=True
    ///     Whether to add the parameters of the laws inside, as ``inner__sigma``. The parts of a composition are
    ///     called by their class, in small letters: ``gaussian__sigma``, ``labelnoise__q``.
    ///
    /// Returns
    /// -------
    /// dict
    ///     What the constructor takes; None where a value follows from the others, such as the thresholds of a
    ///     cascade that were not given.
    ///
    /// Examples
    /// --------
    /// >>> import certssb as cs
    /// >>> cs.Subsample(cs.Gaussian(0.5), size=60).get_params()
    /// {'inner': Gaussian(sigma=0.5), 'size': 60, 'rate': None, 'inner__sigma': 0.5}
    #[pyo3(signature = (deep=true))]
    fn get_params<'py>(&self, py: Python<'py>, deep: bool) -> PyResult<Bound<'py, PyDict>> {
        if deep {
            deep_parameters(py, &self.law())
        } else {
            parameters(py, &self.law())
        }
    }

    /// Change some parameters of this law, as scikit-learn's searches do: nothing else changes a law.
    ///
    /// What was trained or certified under it keeps the law as it was. A law whose parameters change is another key
    /// of a dictionary.
    ///
    /// Parameters
    /// ----------
    /// **params : Any
    ///     By the names of :meth:`get_params`.
    ///
    /// Returns
    /// -------
    /// Law
    ///     This law.
    ///
    /// Raises
    /// ------
    /// ParameterError
    ///     If it has no such parameter, or a value is out of range; the law is as it was then.
    ///
    /// Examples
    /// --------
    /// >>> import certssb as cs
    /// >>> cs.Subsample(cs.Gaussian(0.5), size=60).set_params(size=30, inner__sigma=0.25)
    /// Subsample(Gaussian(sigma=0.25), size=30)
    #[pyo3(signature = (**params))]
    fn set_params<'py>(
        slf: &Bound<'py, Self>,
        params: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, Self>> {
        if let Some(params) = params {
            let law = changed(slf, params)?;
            *slf.get().law.write().unwrap_or_else(PoisonError::into_inner) = law;
        }
        Ok(slf.clone())
    }

    /// What `sklearn.base.clone` makes: a law of its own.
    fn __sklearn_clone__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        wrap(py, self.law())
    }

    /// The law as JSON, as it stands in records and checkpoints.
    fn to_json(&self) -> PyResult<String> {
        Ok(to_json(&self.law())?)
    }
}

fn to_json(law: &Law) -> crate::error::Result<String> {
    serde_json::to_string(law).map_err(|e| Error::parameter("law", "a law that can be recorded", e))
}

/// The law of a record.
#[pyfunction]
fn law_from_json(py: Python<'_>, text: &str) -> PyResult<Py<PyAny>> {
    let law = serde_json::from_str(text).map_err(|e| Error::parameter("law", "the record of a law", e))?;
    wrap(py, law)
}

fn repr(law: &Law) -> String {
    let flag = |value: bool| if value { "True" } else { "False" };
    match law {
        Law::Gaussian(law) => format!("Gaussian(sigma={:?})", law.sigma()),
        Law::Uniform(law) => format!("Uniform(half_width={:?})", law.half_width()),
        Law::LabelNoise(law) => format!("LabelNoise(q={:?})", law.q()),
        Law::Discrete(law) => format!(
            "Discrete(keep={:?}, alphabet={}, labels={}, test_input={})",
            law.keep(),
            law.alphabet(),
            flag(law.labels()),
            flag(law.test_input())
        ),
        Law::Subsample(law) => {
            let inner = law.inner().map_or_else(String::new, |inner| format!("{}, ", repr(inner)));
            match (law.size(), law.rate()) {
                (Some(size), _) => format!("Subsample({inner}size={size})"),
                (_, rate) => format!("Subsample({inner}rate={:?})", rate.unwrap_or_default()),
            }
        }
        Law::Product(law) => law.parts().iter().map(repr).collect::<Vec<_>>().join(" & "),
        Law::SampleSpecific(law) => repr_specific(law),
        Law::Cascade(law) => {
            let levels: Vec<String> = law.levels().iter().map(repr).collect();
            let thresholds: Vec<f64> = (0..levels.len()).filter_map(|g| law.threshold(g)).collect();
            format!("Cascade([{}], thresholds={thresholds:?})", levels.join(", "))
        }
        Law::Partition(law) => repr_partition(law),
    }
}

pub(super) fn guarantee_name(guarantee: Guarantee) -> &'static str {
    match guarantee {
        Guarantee::Sound => "sound",
        Guarantee::Published => "published",
    }
}

/// Settings of the search that are the defaults are left out.
fn repr_specific(law: &SampleSpecific) -> String {
    let (own, sigma) = (law.search(), law.base().sigma());
    let usual = SigmaSearch::around(NoiseScale::wrap(sigma), law.guarantee());
    let mut text = format!("SampleSpecific(sigma={sigma:?}, guarantee='{}'", guarantee_name(law.guarantee()));
    for (name, own, usual) in [
        ("start", own.start.get(), usual.start.get()),
        ("sigma_min", own.sigma_min.get(), usual.sigma_min.get()),
        ("sigma_max", own.sigma_max.get(), usual.sigma_max.get()),
        ("learning_rate", own.learning_rate.get(), usual.learning_rate.get()),
    ] {
        if own != usual {
            text.push_str(&format!(", {name}={own:?}"));
        }
    }
    for (name, own, usual) in [("steps", own.steps, usual.steps), ("samples", own.samples, usual.samples)] {
        if own != usual {
            text.push_str(&format!(", {name}={own}"));
        }
    }
    text + ")"
}

/// What the defaults say is left out.
fn repr_partition(law: &Partition) -> String {
    let mut text = format!("Partition({}", law.n_parts());
    if law.spread().degree() != 1 {
        text.push_str(&format!(", overlap={}", law.spread().degree()));
    }
    if law.assign() != Assign::default() {
        text.push_str(&format!(", assign='{}'", law.assign().name()));
    }
    if let Some(shifts) = law.own_shifts() {
        text.push_str(&format!(", shifts={shifts:?}"));
    }
    text + ")"
}

/// The Python object of a law, of its own class.
pub(super) fn wrap(py: Python<'_>, law: Law) -> PyResult<Py<PyAny>> {
    let base = PyClassInitializer::from(PyLaw::of(law.clone()));
    Ok(match law {
        Law::Gaussian(_) => Py::new(py, base.add_subclass(PyGaussian))?.into_any(),
        Law::Uniform(_) => Py::new(py, base.add_subclass(PyUniform))?.into_any(),
        Law::Discrete(_) => Py::new(py, base.add_subclass(PyDiscrete))?.into_any(),
        Law::LabelNoise(_) => Py::new(py, base.add_subclass(PyLabelNoise))?.into_any(),
        Law::Subsample(_) => Py::new(py, base.add_subclass(PySubsample))?.into_any(),
        Law::Product(_) => Py::new(py, base.add_subclass(PyProduct))?.into_any(),
        Law::SampleSpecific(_) => Py::new(py, base.add_subclass(PySampleSpecific))?.into_any(),
        Law::Cascade(_) => Py::new(py, base.add_subclass(PyCascade))?.into_any(),
        Law::Partition(_) => Py::new(py, base.add_subclass(PyPartition))?.into_any(),
    })
}

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
struct PyGaussian;

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

/// Noise of each sample's own magnitude (Cert-SSBD, Qiao et al., arXiv 2504.21730).
///
/// Stochastic gradient ascent through a network finds how much noise each sample bears: it maximises
/// ``s / 2 * (Phi^-1(p_a(s)) - Phi^-1(p_b(s)))``, p the mean of several noisy soft outputs, a the sample's class.
///
/// With ``guarantee="sound"`` Gaussian noise of standard deviation `sigma` is drawn first, once; each member then
/// trains on its noised set, finds every sample's extra noise looking at that set only, and trains anew with it
/// on top. Certificates are those of ``Gaussian(sigma)``: what follows the base draw is free. At test time each member
/// votes by its mean score over noisy copies of the input at a magnitude it finds for it.
///
/// With ``guarantee="published"`` each sample's sigma is tuned on the received sample and the radius uses the test
/// sample's own sigma, as published. **That is no proof** (`CertificateTable.sound` is False): it is for comparison.
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
///     A step multiplies the magnitude by ``exp(rate * dR/ds)``; the rate has no unit and falls linearly to 0.
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
struct PySampleSpecific;

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

/// Noise levels asked one after another, the choice inside the certificate: sample-specific noise with a proof.
///
/// Every level has its own ensemble of `n_members` members, all from the same root seed. Level g decides for a class
/// whose margin ``sigma_g / 2 * (Phi^-1(g_c) - max Phi^-1(g_c'))`` is at least its threshold, else the next level is
/// asked; the last decides by majority. Samples far from the boundary keep nearly the radius of large noise, samples
/// near it fall through to the small noise that classifies them. All levels' bounds hold together.
///
/// Parameters
/// ----------
/// levels : list of Law
///     Two or more laws, usually from large to small noise: Gaussian, SampleSpecific, or Subsample (then only budgets
///     are certified, no radius).
/// thresholds : list of float, optional
///     One for every level but the last, greater than 0, in the units of the features (for laws without Gaussian
///     noise: in halves of a gap of normal quantiles). Fix them before looking at votes. By default 0.2 times each
///     level's sigma.
///
/// Raises
/// ------
/// ParameterError
///     If there are fewer than two levels, a level is a Cascade or without a proof, or thresholds do not fit.
///
/// Examples
/// --------
/// >>> import certssb as cs
/// >>> cs.Cascade([cs.Gaussian(1.0), cs.Gaussian(0.5), cs.Gaussian(0.25)], thresholds=[0.3, 0.15])
/// Cascade([Gaussian(sigma=1.0), Gaussian(sigma=0.5), Gaussian(sigma=0.25)], thresholds=[0.3, 0.15])
#[pyclass(name = "Cascade", module = "certssb", extends = PyLaw, frozen)]
struct PyCascade;

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

    /// From which margin on each level but the last decides.
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
struct PyUniform;

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

/// Discrete noise: every entry keeps its value with probability `keep`, else takes another one, uniformly
/// (Wang, Cao, Jia, Gong 2020). Certifies a number of changed entries, ``certs.n_flips()``.
///
/// Parameters
/// ----------
/// keep : float
///     Chance that an entry keeps its value, in (1/alphabet, 1].
/// alphabet : int
///     Number of values of a feature; features are the codes 0 .. alphabet - 1.
/// labels : bool
///     Whether training labels are entries too, so that flipped labels are inside the guarantee.
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
struct PyDiscrete;

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

/// Random labels: each is kept with probability 1 - q, else replaced by another class, uniformly
/// (Rosenfeld et al. 2020). Puts label flips inside the guarantee; compose it with ``&``.
///
/// Parameters
/// ----------
/// q : float
///     Chance that a label is replaced, in [0, (K-1)/K) for K classes.
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
struct PyLabelNoise;

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

/// Each member sees some of the training samples, then `inner` noise on them: `size` of them, drawn without
/// replacement, or each with probability `rate`, independently of the others (Poisson sampling).
///
/// Without an inner law this is bagging: members that see no changed sample carry the certificate, and
/// triggers of any size and any labels are inside it. Both ways of drawing also cover samples that were inserted or
/// deleted (``edits="any"``).
///
/// Parameters
/// ----------
/// inner : Law or None
///     Noise on the drawn samples.
/// size : int, optional
///     Number of samples a member sees, from 1 to the number of training samples. Fix it without regard to their
///     number: a size that follows it would tell members about inserted samples.
/// rate : float, optional
///     Probability with which a member sees a sample, in [1e-9, 1); exactly one of `size` and `rate` is given. A member
///     that sees none, or fewer than its model needs, votes for the lowest class.
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
struct PySubsample;

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

    /// Number of samples a member sees; None where each is drawn on its own.
    #[getter]
    fn size(slf: PyRef<'_, Self>) -> Option<usize> {
        match slf.as_super().law() {
            Law::Subsample(law) => law.size(),
            _ => None,
        }
    }

    /// Probability with which a member sees a sample; None where their number is fixed.
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
struct PyProduct;

/// What a budget demands of the votes; made by `Law.plan`.
#[pyclass(name = "Plan", module = "certssb", frozen)]
struct PyPlan {
    plan: Plan,
}

#[pymethods]
impl PyPlan {
    /// How many members are enough if all of them agree; None if no number is.
    #[getter]
    fn n_members<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        // As a Python integer, of whatever size.
        self.plan.n_members.map(|n| n.into_pyobject(py)?.call_method0("__int__")).transpose()
    }

    /// How many of 1000 members have to agree; None if all of them would not be enough.
    #[getter]
    fn votes(&self) -> Option<usize> {
        self.plan.votes
    }

    /// Whether any number of members can certify the budget.
    #[getter]
    fn possible(&self) -> bool {
        self.plan.possible()
    }

    /// The largest subsample for which 95 % of 1000 members agreeing is enough; None if there is none.
    #[getter]
    fn suggested_size(&self) -> Option<usize> {
        self.plan.suggestion.map(|(size, _)| size)
    }

    fn __repr__(&self) -> String {
        self.plan.to_string()
    }

    fn _repr_html_(&self) -> String {
        format!("<p><em>{}</em></p>", self.plan)
    }
}
