//! The one door for files, for Python's writers and readers.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::error::Error;
use crate::files::{failure, open, replace, replace_all, replaced, sweep, DraftFolder};

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyDraftFolder>()?;
    module.add_function(wrap_pyfunction!(replaced_folder, module)?)?;
    module.add_function(wrap_pyfunction!(read_file, module)?)?;
    module.add_function(wrap_pyfunction!(write_file, module)?)?;
    module.add_function(wrap_pyfunction!(write_files, module)?)?;
    module.add_function(wrap_pyfunction!(sweep_folder, module)?)
}

/// The content of a regular file of at most `limit` bytes.
#[pyfunction]
fn read_file<'py>(py: Python<'py>, path: PathBuf, limit: u64) -> PyResult<Bound<'py, PyBytes>> {
    let refuse = |error: io::Error| failure(&path, "read", &error);
    let mut file = py.detach(|| open(&path, limit)).map_err(refuse)?;
    let size = file.metadata().map_err(refuse)?.len();
    let size = usize::try_from(size).map_err(|error| refuse(io::Error::other(error)))?;
    // Straight into the object; what a growing file has beyond its size at first is left.
    PyBytes::new_with(py, size, |place| Ok(py.detach(|| file.read_exact(place)).map_err(refuse)?))
}

/// Puts a file at a path in one step, whatever was there.
#[pyfunction]
fn write_file(py: Python<'_>, path: PathBuf, content: PyBackedBytes) -> PyResult<()> {
    Ok(py.detach(|| replace(&path, &content)).map_err(|error| failure(&path, "written", &error))?)
}

/// Puts files into a folder: all are written before the first gets its name, in the order given.
#[pyfunction]
fn write_files(py: Python<'_>, folder: PathBuf, files: Vec<(OsString, PyBackedBytes)>) -> PyResult<()> {
    let files: Vec<(&OsStr, &[u8])> =
        files.iter().map(|(name, content)| (name.as_os_str(), content.as_ref())).collect();
    Ok(py.detach(|| replace_all(&folder, &files)).map_err(|error| failure(&folder, "written to", &error))?)
}

/// Removes drafts in a folder that no living process is writing.
#[pyfunction]
fn sweep_folder(py: Python<'_>, folder: PathBuf) {
    py.detach(|| sweep(&folder));
}

/// Where an earlier folder is while a new one takes its place, on systems that cannot exchange names.
#[pyfunction]
fn replaced_folder(path: PathBuf) -> PathBuf {
    replaced(&path)
}

/// A folder that is being filled beside its place.
#[pyclass(name = "DraftFolder", module = "certssb._core")]
struct PyDraftFolder {
    target: PathBuf,
    draft: Option<DraftFolder>,
}

#[pymethods]
impl PyDraftFolder {
    #[new]
    fn new(target: PathBuf) -> PyResult<Self> {
        sweep(target.parent().unwrap_or(&target));
        let draft = DraftFolder::beside(&target).map_err(|error| failure(&target, "written", &error))?;
        Ok(Self { target, draft: Some(draft) })
    }

    /// Where to write.
    #[getter]
    fn path(&self) -> PyResult<PathBuf> {
        let gone = || Error::checkpoint(format!("What was written for '{}' is gone.", self.target.display()));
        Ok(self.draft.as_ref().map(|draft| draft.path().to_owned()).ok_or_else(gone)?)
    }

    /// Takes the place of what is there.
    fn take_place(&mut self, py: Python<'_>) -> PyResult<()> {
        let Some(draft) = self.draft.take() else { return Ok(()) };
        let target = &self.target;
        Ok(py.detach(|| draft.take_place_of(target)).map_err(|error| failure(target, "replaced", &error))?)
    }

    /// Removes what was written, unless it took its place.
    fn discard(&mut self, py: Python<'_>) {
        let draft = self.draft.take();
        py.detach(|| drop(draft));
    }
}
