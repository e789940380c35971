//! The ensemble for Python: arrays in, votes and certificates out, the interpreter free meanwhile. Training, what members
//! answer, how they move between processes and folders, and what is known of them have a file each.

mod answers;
mod facts;
mod moving;
mod training;

use numpy::PyReadonlyArray1;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::elsewhere;
use super::listen::{calling, Raised};
use super::rows::Samples;
use crate::ensemble::{devices, Control, Ensemble, Progress};
use crate::error::{Error, Result};
use crate::member::{ArrayTrainingSet, History};
use crate::stop::Stop;

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyEnsemble>()?;
    elsewhere::register(module)?;
    module.add_function(wrap_pyfunction!(answers::certify_ensembles, module)?)?;
    module.add_function(wrap_pyfunction!(device_names, module)?)
}

/// Names of the devices that are there.
#[pyfunction]
#[pyo3(name = "devices")]
fn device_names() -> Vec<String> {
    devices()
}

/// Members trained on noised training sets; the Python class `CertifiedClassifier` dresses it.
#[pyclass(name = "Ensemble", module = "certssb._core")]
pub(super) struct PyEnsemble {
    pub(super) inner: Ensemble,
    /// The blueprint of a user's module.
    model: Option<Py<PyAny>>,
}

/// Features and labels of samples that nobody could have changed.
pub(super) type Trusted<'py> = Option<(Samples<'py>, PyReadonlyArray1<'py, i64>)>;

/// Samples as they were before a map, and trusted ones, if there are any.
pub(super) type Received<'py> = Option<(Samples<'py>, Option<Samples<'py>>)>;

pub(super) fn training_set<'a>(
    features: &'a Samples<'_>,
    labels: &PyReadonlyArray1<'_, i64>,
    n_classes: usize,
    trusted: &'a Trusted<'_>,
    received: &'a Received<'_>,
) -> PyResult<ArrayTrainingSet<'a>> {
    let own =
        |features: &'a Samples<'_>, labels: &PyReadonlyArray1<'_, i64>, received: Option<&'a Samples<'_>>| {
            let labels = labels.as_array().to_vec().into_iter();
            let labels: Vec<u32> = labels.map(|y| u32::try_from(y).unwrap_or(u32::MAX)).collect();
            let set = ArrayTrainingSet::new(features.inputs()?, labels, n_classes)?;
            PyResult::Ok(match received {
                Some(received) => set.with_received(received.inputs()?)?,
                None => set,
            })
        };
    let set = own(features, labels, received.as_ref().map(|(received, _)| received))?;
    let of_trusted = received.as_ref().and_then(|(_, trusted)| trusted.as_ref());
    match trusted {
        None => Ok(set),
        Some((features, labels)) => Ok(set.with_trusted(own(features, labels, of_trusted)?)),
    }
}

/// Runs long work without the interpreter; reports progress to `report(done, total)`.
pub(super) fn watched<T: Send>(
    py: Python<'_>,
    report: Option<Py<PyAny>>,
    work: impl FnOnce(&Control<'_>) -> Result<T> + Send,
) -> PyResult<T> {
    calling(py, |raised| {
        let control = controlled(report.as_ref(), raised);
        work(&control)
    })
}

fn controlled<'a>(report: Option<&'a Py<PyAny>>, raised: &'a Raised) -> Control<'a> {
    let stop = Stop::current();
    let tell = move |progress: &Progress| {
        if let Some(report) = report {
            raised.by(|py| report.call1(py, (progress.done, progress.total)).map(drop));
        }
    };
    Control::new().on_progress(tell).on_poll(move || raised.is_some() || stop.is_set())
}

/// The blueprint of a user's module; nothing for the name of a built-in.
fn own_module(model: &Bound<'_, PyAny>) -> Option<Py<PyAny>> {
    (!model.is_instance_of::<PyString>()).then(|| model.clone().unbind())
}

pub(super) fn json(facts: &impl serde::Serialize) -> PyResult<String> {
    let text = serde_json::to_string(facts);
    Ok(text.map_err(|e| Error::parameter("record", "a record that can be written", e))?)
}

fn parse_history(text: &str) -> Result<History> {
    serde_json::from_str(text).map_err(|e| Error::parameter("history", "the history of an ensemble", e))
}
