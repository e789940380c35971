//! One match: error kind to Python exception.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::{Error, ErrorKind};

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        Python::attach(|py| raise(py, &error).unwrap_or_else(|failure| failure))
    }
}

fn raise(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    let kwargs = PyDict::new(py);
    let name = match error.kind() {
        ErrorKind::Parameter => "ParameterError",
        ErrorKind::Shape => "ShapeError",
        ErrorKind::Training { member } => {
            kwargs.set_item("member", *member)?;
            "TrainingError"
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
        ErrorKind::Device => "DeviceError",
        ErrorKind::Cancelled => "CancelledError",
    };
    let exception = py.import("certssb.exceptions")?.getattr(name)?;
    Ok(PyErr::from_value(exception.call((error.to_string(),), Some(&kwargs))?))
}
