//! Noise laws as Python objects: immutable, comparable, picklable, composed with `&`.

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::certificates::{count, facts};
use crate::certify::{Change, Confidence, Plan};
use crate::error::Error;
use crate::law::{Discrete, Gaussian, LabelNoise, Law, Product, Subsample, Uniform};

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyLaw>()?;
    module.add_class::<PyGaussian>()?;
    module.add_class::<PyUniform>()?;
    module.add_class::<PyDiscrete>()?;
    module.add_class::<PyLabelNoise>()?;
    module.add_class::<PySubsample>()?;
    module.add_class::<PyProduct>()?;
    module.add_class::<PyPlan>()?;
    module.add_function(wrap_pyfunction!(law_from_json, module)?)
}

/// A noise law: how a member's training set is drawn from the received one.
#[pyclass(name = "Law", module = "certssb", subclass, frozen)]
pub(super) struct PyLaw {
    pub(super) law: Law,
}

#[pymethods]
impl PyLaw {
    fn __and__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let Ok(other) = other.cast::<Self>() else {
            return Ok(py.NotImplemented());
        };
        wrap(py, Law::Product(Product::new(slf.get().law.clone(), other.get().law.clone())?))
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| other.get().law == self.law)
    }

    fn __hash__(&self) -> PyResult<u64> {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        self.to_json()?.hash(&mut hasher);
        Ok(hasher.finish())
    }

    fn __repr__(&self) -> String {
        repr(&self.law)
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
    /// n_train : int
    ///     Number of training samples.
    /// n_poisoned : int
    ///     Number of changed samples to certify against.
    /// trigger_norm : float
    ///     L2 norm of the change of each; ``inf`` for any change.
    /// labels : bool, default=False
    ///     Whether labels may change as well.
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
    #[allow(clippy::too_many_arguments)]
    #[pyo3(signature = (n_train, n_poisoned, trigger_norm, labels=false, alpha=0.001, n_classes=2, n_features=None))]
    fn plan(
        &self,
        py: Python<'_>,
        n_train: i64,
        n_poisoned: i64,
        trigger_norm: f64,
        labels: bool,
        alpha: f64,
        n_classes: i64,
        n_features: Option<usize>,
    ) -> PyResult<PyPlan> {
        let facts = facts(n_train, n_classes, n_features)?;
        let change = Change { n_poisoned: count("n_poisoned", n_poisoned)?, trigger_norm, labels };
        let confidence =
            Confidence::check(alpha, "auto", "union", "auto", false, None, 1000, facts.n_classes, false)?;
        let plan = py.detach(|| Plan::of(&self.law, &facts, &change, &confidence))?;
        Ok(PyPlan { plan })
    }

    /// The law as JSON, as it stands in records and checkpoints.
    fn to_json(&self) -> PyResult<String> {
        Ok(to_json(&self.law)?)
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
        Law::Subsample(law) => match law.inner() {
            Some(inner) => format!("Subsample({}, size={})", repr(inner), law.size()),
            None => format!("Subsample(size={})", law.size()),
        },
        Law::Product(law) => law.parts().iter().map(repr).collect::<Vec<_>>().join(" & "),
    }
}

/// The Python object of a law, of its own class.
pub(super) fn wrap(py: Python<'_>, law: Law) -> PyResult<Py<PyAny>> {
    let base = PyClassInitializer::from(PyLaw { law: law.clone() });
    Ok(match law {
        Law::Gaussian(_) => Py::new(py, base.add_subclass(PyGaussian))?.into_any(),
        Law::Uniform(_) => Py::new(py, base.add_subclass(PyUniform))?.into_any(),
        Law::Discrete(_) => Py::new(py, base.add_subclass(PyDiscrete))?.into_any(),
        Law::LabelNoise(_) => Py::new(py, base.add_subclass(PyLabelNoise))?.into_any(),
        Law::Subsample(_) => Py::new(py, base.add_subclass(PySubsample))?.into_any(),
        Law::Product(_) => Py::new(py, base.add_subclass(PyProduct))?.into_any(),
    })
}

/// Gaussian(sigma)
/// --
///
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
    fn new(sigma: f64) -> PyResult<PyClassInitializer<Self>> {
        Ok(PyClassInitializer::from(PyLaw { law: Law::Gaussian(Gaussian::new(sigma)?) }).add_subclass(Self))
    }

    /// Standard deviation of the noise, in the units of the features.
    #[getter]
    fn sigma(slf: PyRef<'_, Self>) -> f64 {
        match &slf.as_super().law {
            Law::Gaussian(law) => law.sigma(),
            _ => f64::NAN,
        }
    }
}

/// Uniform(half_width)
/// --
///
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
    fn new(half_width: f64) -> PyResult<PyClassInitializer<Self>> {
        Ok(PyClassInitializer::from(PyLaw { law: Law::Uniform(Uniform::new(half_width)?) })
            .add_subclass(Self))
    }
}

/// Discrete(keep, alphabet=2, labels=True, test_input=False)
/// --
///
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
    fn new(keep: f64, alphabet: usize, labels: bool, test_input: bool) -> PyResult<PyClassInitializer<Self>> {
        Ok(PyClassInitializer::from(PyLaw {
            law: Law::Discrete(Discrete::new(keep, alphabet, labels, test_input)?),
        })
        .add_subclass(Self))
    }
}

/// LabelNoise(q)
/// --
///
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
    fn new(q: f64) -> PyResult<PyClassInitializer<Self>> {
        Ok(PyClassInitializer::from(PyLaw { law: Law::LabelNoise(LabelNoise::new(q)?) }).add_subclass(Self))
    }
}

/// Subsample(inner=None, size)
/// --
///
/// Each member sees `size` training samples drawn without replacement, then `inner` noise on them.
///
/// Without an inner law this is bagging: members that see no changed sample carry the certificate, and
/// triggers of any size and any labels are inside it.
///
/// Parameters
/// ----------
/// inner : Law or None
///     Noise on the drawn samples.
/// size : int
///     Number of samples a member sees, from 1 to the number of training samples.
///
/// Raises
/// ------
/// ParameterError
///     If size is out of range or inner subsamples itself.
///
/// Examples
/// --------
/// >>> import certssb as cs
/// >>> cs.Subsample(cs.Gaussian(1.0), size=100)
/// Subsample(Gaussian(sigma=1.0), size=100)
/// >>> cs.Subsample(size=30)
/// Subsample(size=30)
#[pyclass(name = "Subsample", module = "certssb", extends = PyLaw, frozen)]
struct PySubsample;

#[pymethods]
impl PySubsample {
    #[new]
    #[pyo3(signature = (inner=None, *, size))]
    fn new(inner: Option<PyRef<'_, PyLaw>>, size: i64) -> PyResult<PyClassInitializer<Self>> {
        let size = usize::try_from(size).unwrap_or(0);
        let inner = inner.map(|law| law.law.clone());
        Ok(PyClassInitializer::from(PyLaw { law: Law::Subsample(Subsample::new(inner, size)?) })
            .add_subclass(Self))
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
