//! What `model` stands for: the name of a built-in network, or a learner of the caller's.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyString;

use super::learner::Learner;
use crate::backend::Backend;
use crate::error::Error;

/// Who computes the members of a learner; `None` for the name of a built-in network.
pub(super) fn backend(model: &Bound<'_, PyAny>) -> PyResult<Option<Arc<dyn Backend>>> {
    if model.is_instance_of::<PyString>() {
        return Ok(None);
    }
    if model.hasattr("train")? {
        return Ok(Some(Arc::new(Learner::new(model)?)));
    }
    let expected = "the name of a built-in network or a learner";
    Err(Error::parameter("model", expected, model.get_type().name()?).into())
}
