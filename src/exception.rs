//! Errors as Python exceptions, and back: two modules of this crate tell each other errors in Python's way.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::{Error, ErrorKind};

const PARAMETER: &str = "ParameterError";
const SHAPE: &str = "ShapeError";
const TRAINING: &str = "TrainingError";
const DEVICE: &str = "DeviceError";
const CANCELLED: &str = "CancelledError";

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        Python::attach(|py| raise(py, &error).unwrap_or_else(|failure| failure))
    }
}

fn raise(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    let kwargs = PyDict::new(py);
    let name = match error.kind() {
        ErrorKind::Parameter => PARAMETER,
        ErrorKind::Shape => SHAPE,
        ErrorKind::Training { member } => {
            kwargs.set_item("member", *member)?;
            TRAINING
        }
        ErrorKind::Ledger => "LedgerError",
        ErrorKind::LedgerCorrupt => "LedgerCorruptError",
        ErrorKind::LedgerVersion => "LedgerVersionError",
        ErrorKind::Checkpoint => "CheckpointError",
        ErrorKind::File { code, missing } => {
            kwargs.set_item("code", *code)?;
            if *missing {
                "MissingFileError"
            } else {
                "FileError"
            }
        }
        ErrorKind::Device => DEVICE,
        ErrorKind::Cancelled => CANCELLED,
    };
    let exception = py.import("certssb.exceptions")?.getattr(name)?;
    Ok(PyErr::from_value(exception.call((error.to_string(),), Some(&kwargs))?))
}

/// The error that an exception was made of; `None` for one that computing members does not raise.
pub(crate) fn read(exception: &PyErr) -> Option<Error> {
    Python::attach(|py| {
        let kind = match exception.get_type(py).name().ok()?.to_str().ok()? {
            PARAMETER => ErrorKind::Parameter,
            SHAPE => ErrorKind::Shape,
            TRAINING => {
                let member = exception.value(py).getattr("member").ok()?.extract().ok()?;
                ErrorKind::Training { member }
            }
            DEVICE => ErrorKind::Device,
            CANCELLED => ErrorKind::Cancelled,
            _ => return None,
        };
        Some(Error::new(kind, exception.value(py).to_string()))
    })
}
