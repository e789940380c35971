//! Noise laws as Python objects: comparable, picklable, composed with `&`; only `set_params` changes one.

mod composed;
mod noise;
mod params;
mod plan;
mod repr;
mod sample_specific;

use std::sync::{PoisonError, RwLock};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use self::composed::{PyCascade, PyProduct, PySubsample};
use self::noise::{PyDiscrete, PyGaussian, PyLabelNoise, PyUniform};
use self::params::{changed, deep_parameters, parameters};
use self::plan::PyPlan;
use self::repr::repr;
use self::sample_specific::PySampleSpecific;
use super::certificates::count;
use super::certifying::facts;
use super::listen::listening;
use super::number::given;
use super::partition::PyPartition;
use super::threat::{threat as asked, Asked};
use crate::certify::{Confidence, Plan};
use crate::error::Error;
use crate::law::{Law, Product};

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
    ///     What the attacker may have done, unless keywords describe it. (A number in this position is `n_train`.)
    /// n_poisoned, share, trigger_norm, labels, edits, counted
    ///     The parts of a threat, as for :class:`~certssb.Threat`.
    /// n_train : int
    ///     Number of training samples.
    /// alpha : float, default=0.001
    ///     Largest probability that a certificate is wrong.
    /// n_classes : int, default=2
    ///     Number of classes.
    /// n_features : int, optional
    ///     Number of features of a sample; needed by Uniform.
    ///
    /// Returns
    /// -------
    /// Plan
    ///     With `n_members` (how many are enough if all agree, None if no number is enough), `votes` (how many of
    ///     1000 have to agree, None if not even all would be enough), `possible`, and `suggested_size`; prints as a
    ///     sentence.
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

    /// The law's parameters by name, for scikit-learn's searches.
    ///
    /// Parameters
    /// ----------
    /// deep : bool, default=True
    ///     Whether to add the parameters of inner laws, as ``inner__sigma``. The parts of a composition are named
    ///     after their class, in lower case: ``gaussian__sigma``, ``labelnoise__q``.
    ///
    /// Returns
    /// -------
    /// dict
    ///     The constructor's arguments; None if a value follows from the others, such as thresholds of a cascade that
    ///     were not given.
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

    /// Change some parameters of this law, as scikit-learn's searches do. Nothing else changes a law.
    ///
    /// Anything already trained or certified under it keeps the law as it was. When its parameters change, so does
    /// its hash as a dictionary key.
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
    ///     If it has no such parameter, or a value is out of range; the law is then unchanged.
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
