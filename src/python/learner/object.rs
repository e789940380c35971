//! Members that are objects of a learner's: fitted estimators, written into files as bytes in the form that the caller chose.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

use numpy::PyArray1;
use pyo3::prelude::*;

use super::said;
use crate::error::{Error, Result};
use crate::member::{Member, Object, Values};

/// A member that is an object of a learner's.
pub(super) struct Own {
    pub(super) object: Py<PyAny>,
    pub(super) learner: Py<PyAny>,
    /// What a file holds of it, and in which form: some forms give other bytes every time.
    pub(super) packed: Mutex<Option<(String, Arc<[u8]>)>>,
}

impl Own {
    fn packed(&self, py: Python<'_>) -> PyResult<Arc<[u8]>> {
        let learner = self.learner.bind(py);
        let form = form(learner)?.unwrap_or_default();
        let known = self.packed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, bytes)) = known.filter(|(of, _)| *of == form) {
            return Ok(bytes);
        }
        let bytes: Vec<u8> = learner.call_method1("pack", (self.object.bind(py),))?.extract()?;
        let bytes: Arc<[u8]> = bytes.into();
        *self.packed.lock().unwrap_or_else(PoisonError::into_inner) = Some((form, Arc::clone(&bytes)));
        Ok(bytes)
    }
}

impl Object for Own {
    fn bytes(&self) -> Result<Arc<[u8]>> {
        Python::attach(|py| self.packed(py)).map_err(|error| unreadable(&error))
    }

    fn is_same(&self, other: &dyn Object) -> Result<bool> {
        let Some(other) = other.as_any().downcast_ref::<Self>() else { return Ok(false) };
        Python::attach(|py| {
            let same =
                self.learner.bind(py).call_method1("same", (self.object.bind(py), other.object.bind(py)));
            same?.extract()
        })
        .map_err(|error: PyErr| Error::training(None, said(&error)))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// In which form a learner writes its objects; `None` if it writes none.
pub(super) fn form(learner: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    learner.getattr_opt("form")?.map_or(Ok(None), |form| form.extract())
}

/// What a learner says of objects in files, in its own words.
pub(super) fn unreadable(error: &PyErr) -> Error {
    Error::checkpoint(Python::attach(|py| error.value(py).to_string()))
}

/// A member that is an object of a learner's.
pub(in crate::python) fn of_object(object: Py<PyAny>, learner: Py<PyAny>) -> Values {
    Values::of_object(Arc::new(Own { object, learner, packed: Mutex::new(None) }))
}

/// A member's values as a learner knows them: an array, or its object.
pub(in crate::python) fn value_of<'py>(py: Python<'py>, member: &Member) -> PyResult<Bound<'py, PyAny>> {
    let object = member.values.object().and_then(|object| object.as_ref().as_any().downcast_ref::<Own>());
    Ok(match object {
        Some(own) => own.object.bind(py).clone(),
        None => PyArray1::from_slice(py, &member.values).into_any(),
    })
}
