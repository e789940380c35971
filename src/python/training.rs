//! How members are trained, as Python says it: settings by their names, each read once.

use std::sync::Arc;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::augment::augment;
use super::model::backend;
use crate::backend::Backend;
use crate::error::Error;
use crate::member::{Precision, TrainConfig};

/// What an ensemble is made with beside its data and its law.
pub(super) struct Training {
    pub(super) config: TrainConfig,
    /// Who computes the members of the caller's own learner.
    pub(super) own: Option<Arc<dyn Backend>>,
    /// The name of a built-in network, or that learner.
    pub(super) model: Py<PyAny>,
}

impl Training {
    /// The settings of keywords.
    ///
    /// # Errors
    /// A `TypeError` for a name that is missing, or that no setting has; what a value's own check says.
    pub(super) fn named(keywords: Option<&Bound<'_, PyDict>>, py: Python<'_>) -> PyResult<Self> {
        let named = Named(keywords.map_or_else(|| Ok(PyDict::new(py)), |keywords| keywords.copy())?);
        let model: Bound<'_, PyAny> = named.required("model")?;
        let own = backend(&model)?;
        let precision: Option<String> = named.optional("precision")?;
        let changed: Option<Bound<'_, PyAny>> = named.optional("augment")?;
        let feature_map: Option<Py<PyAny>> = named.optional("feature_map")?;
        let config = TrainConfig {
            model: match &own {
                Some(own) => own.name().to_owned(),
                None => model.extract()?,
            },
            epochs: named.required("epochs")?,
            batch_size: named.required("batch_size")?,
            learning_rate: named.required("learning_rate")?,
            seed: named.required("seed")?,
            device: named.required("device")?,
            n_jobs: named.optional("n_jobs")?,
            stack: named.optional("stack")?,
            memory: named.optional("memory")?,
            precision: precision.map_or(Ok(Precision::default()), |name| Precision::parse(&name))?,
            augment: changed.as_ref().map(|given| augment(given, feature_map)).transpose()?,
            copies: named.optional("copies")?,
            penalty: named.optional("penalty")?,
            before_noise: named.optional("before_noise")?,
            ..TrainConfig::default()
        };
        named.end()?;
        Ok(Self { config, own, model: model.unbind() })
    }
}

/// Keywords that nobody has read yet.
struct Named<'py>(Bound<'py, PyDict>);

impl<'py> Named<'py> {
    fn optional<T>(&self, name: &str) -> PyResult<Option<T>>
    where
        T: for<'a> FromPyObject<'a, 'py>,
    {
        let Some(value) = self.0.get_item(name)? else { return Ok(None) };
        self.0.del_item(name)?;
        if value.is_none() {
            return Ok(None);
        }
        let found = value.extract().map_err(|_| match value.get_type().name() {
            Ok(got) => Error::parameter(name, "of the type that an ensemble takes", got).into(),
            Err(error) => error,
        });
        found.map(Some)
    }

    fn required<T>(&self, name: &str) -> PyResult<T>
    where
        T: for<'a> FromPyObject<'a, 'py>,
    {
        self.optional(name)?
            .ok_or_else(|| PyTypeError::new_err(format!("An ensemble needs the setting '{name}'.")))
    }

    /// Refuses what is left.
    fn end(self) -> PyResult<()> {
        match self.0.keys().iter().next() {
            None => Ok(()),
            Some(name) => Err(PyTypeError::new_err(format!("An ensemble has no setting '{name}'."))),
        }
    }
}
