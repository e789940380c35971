//! The Python module `certssb_torch._torch`: built-in networks through libtorch for the core, which has none.
//!
//! What crosses between the two is data: names, numbers, settings as JSON, arrays; and a call object of the core's, which
//! says whether to stop and applies an augmentation that is a callable of the user's. The core calls each session from the
//! thread that asked for it; the interpreter is free while torch computes.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use numpy::{PyArray1, PyReadonlyArray1, PyReadonlyArray2, ToPyArray};
use pyo3::prelude::*;

use crate::augment::{Augment, Augmentation, Augmenter, Place, Recorded};
use crate::backend::{Batch, Flag, Panel, Search};
use crate::error::{Error, Result};
use crate::exception;
use crate::law::SigmaSearch;
use crate::member::{FeatureShape, Member, Settings};
use crate::seed::Seed;
use crate::stop::asking_for;
use crate::torch::{by_name, n_gpus, Architecture, Job, Thread, Voters, BATCH};

#[pymodule]
#[pyo3(name = "_torch")]
fn extension(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("BATCH", BATCH)?;
    module.add_class::<PyNetwork>()?;
    module.add_class::<PySession>()?;
    module.add_class::<PyVoters>()?;
    module.add_function(wrap_pyfunction!(gpus, module)?)
}

/// Number of GPUs that libtorch sees.
#[pyfunction]
#[pyo3(name = "n_gpus")]
fn gpus() -> usize {
    n_gpus()
}

/// A built-in network.
#[pyclass(name = "Network", module = "certssb_torch._torch", frozen)]
struct PyNetwork {
    architecture: Arc<dyn Architecture>,
    shape: FeatureShape,
    n_classes: usize,
}

#[pymethods]
impl PyNetwork {
    #[new]
    fn new(name: &str, shape: Vec<usize>, n_classes: usize) -> PyResult<Self> {
        let shape = FeatureShape::of(&shape)?;
        Ok(Self { architecture: by_name(name, shape, n_classes)?, shape, n_classes })
    }

    /// What one thread computes with, under settings as JSON. `augment` is None, the description of a built-in
    /// augmentation, or empty for one that calls are to apply.
    #[pyo3(signature = (settings, augment=None))]
    fn session(&self, py: Python<'_>, settings: &str, augment: Option<&str>) -> PyResult<PySession> {
        let read = serde_json::from_str(settings);
        let mut settings: Settings =
            read.map_err(|error| Error::parameter("settings", "settings of this version", error))?;
        let theirs = match augment {
            None => false,
            Some("") => true,
            Some(description) => {
                settings.augment = Some(Augmentation::from_json(description)?.into());
                false
            }
        };
        let calls = Calls::default();
        if theirs {
            let recorded = Recorded::Own(String::new());
            settings.augment = Some(Augment::new(Arc::new(Theirs { calls: calls.clone(), recorded })));
        }
        let architecture = Arc::clone(&self.architecture);
        let thread = py.detach(|| Thread::new(architecture, settings, self.shape))?;
        Ok(PySession { thread: Mutex::new(thread), n_classes: self.n_classes, calls })
    }
}

/// The call that a session is in.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Option<Py<PyAny>>>>);

impl Calls {
    fn current(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let call = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        call.as_ref().map(|call| call.clone_ref(py))
    }

    /// Computes without the interpreter, as long as the call does not say stop.
    fn during<R: Send>(
        &self,
        call: &Bound<'_, PyAny>,
        work: impl FnOnce(&Flag) -> Result<R> + Send,
    ) -> PyResult<R> {
        let py = call.py();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(call.clone().unbind());
        let ask = call.clone().unbind();
        let outcome = py.detach(|| {
            let stopped = move || {
                let said = Python::attach(|py| ask.bind(py).call_method0("stopped")?.is_truthy());
                said.unwrap_or(true)
            };
            let flag = Flag::new(AtomicBool::new(false));
            asking_for(Arc::clone(&flag), stopped, || work(&flag))
        });
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(outcome?)
    }
}

/// An augmentation that only the core can apply.
struct Theirs {
    calls: Calls,
    recorded: Recorded,
}

impl fmt::Debug for Theirs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Theirs").finish_non_exhaustive()
    }
}

impl Augmenter for Theirs {
    fn recorded(&self) -> &Recorded {
        &self.recorded
    }

    fn change(&self, batch: Place, rows: &mut [f32]) -> Result<()> {
        let change = |py: Python<'_>| -> PyResult<()> {
            let Some(call) = self.calls.current(py) else { return Ok(()) };
            let given = (batch.member, batch.first, rows.to_pyarray(py));
            let changed = call.bind(py).call_method1("change", given)?;
            let changed: PyReadonlyArray1<'_, f32> = changed.extract()?;
            let changed = changed.as_slice()?;
            if changed.len() != rows.len() {
                return Err(Error::shape("augment", "the shape of its batch", changed.len()).into());
            }
            rows.copy_from_slice(changed);
            Ok(())
        };
        Python::attach(change).map_err(|error| {
            let read = exception::read(&error);
            read.unwrap_or_else(|| Error::training(Some(batch.member), error))
        })
    }

    fn may_keep_state(&self) -> bool {
        true
    }
}

/// One thread of the core.
#[pyclass(name = "Session", module = "certssb_torch._torch", frozen)]
struct PySession {
    /// Never waited for: one thread of the core's calls.
    thread: Mutex<Thread>,
    n_classes: usize,
    calls: Calls,
}

#[pymethods]
impl PySession {
    /// Values and losses (S) of members trained on noised sets of `n` samples: features (S n, d), labels (S n).
    #[allow(clippy::type_complexity)]
    fn train<'py>(
        &self,
        call: &Bound<'py, PyAny>,
        members: Vec<u64>,
        seed: u64,
        features: PyReadonlyArray1<'py, f32>,
        labels: PyReadonlyArray1<'py, i64>,
        n: usize,
    ) -> PyResult<(Vec<Bound<'py, PyArray1<f32>>>, Bound<'py, PyArray1<f32>>)> {
        let (features, labels) = (features.as_slice()?, labels.as_slice()?);
        let job = Job { members: &members, seed: Seed::new(seed), n_classes: self.n_classes };
        let trained: Vec<Member> = self.calls.during(call, |stop| {
            let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
            thread.train(job, features, labels, n, stop)
        })?;
        let py = call.py();
        let values = trained.iter().map(|member| PyArray1::from_slice(py, &member.values)).collect();
        let losses = trained.iter().map(|member| member.loss).collect();
        Ok((values, PyArray1::from_vec(py, losses)))
    }

    /// Members that are going to be asked.
    fn voters(
        &self,
        py: Python<'_>,
        members: Vec<u64>,
        values: Vec<PyReadonlyArray1<'_, f32>>,
    ) -> PyResult<PyVoters> {
        let values: Vec<&[f32]> =
            values.iter().map(|own| own.as_slice()).collect::<std::result::Result<_, _>>()?;
        let voters = py
            .detach(|| self.thread.lock().unwrap_or_else(PoisonError::into_inner).voters(members, &values))?;
        Ok(PyVoters { voters: Mutex::new(voters), calls: self.calls.clone() })
    }
}

/// Members in front of test inputs.
#[pyclass(name = "Voters", module = "certssb_torch._torch", frozen)]
struct PyVoters {
    voters: Mutex<Voters>,
    calls: Calls,
}

impl PyVoters {
    fn ask<R: Send>(
        &self,
        call: &Bound<'_, PyAny>,
        ask: impl FnOnce(&mut Voters, &Flag) -> Result<R> + Send,
    ) -> PyResult<R> {
        self.calls
            .during(call, |stop| ask(&mut self.voters.lock().unwrap_or_else(PoisonError::into_inner), stop))
    }
}

#[pymethods]
impl PyVoters {
    /// Logits, members by rows by classes, of a batch.
    fn logits<'py>(
        &self,
        call: &Bound<'py, PyAny>,
        values: PyReadonlyArray1<'py, f32>,
        rows: usize,
        shared: bool,
        number: usize,
    ) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let values = values.as_slice()?;
        let logits =
            self.ask(call, |voters, stop| voters.logits(Batch { values, rows, shared, number }, stop))?;
        Ok(PyArray1::from_vec(call.py(), logits))
    }

    /// Magnitudes (n) that the member at `place` finds at rows (n, d).
    #[pyo3(signature = (call, place, rows, classes, search, seed))]
    fn magnitudes<'py>(
        &self,
        call: &Bound<'py, PyAny>,
        place: usize,
        rows: PyReadonlyArray2<'py, f32>,
        classes: Option<Vec<usize>>,
        search: &str,
        seed: u64,
    ) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let (rows, spec) = (split(&rows)?, read(search)?);
        let search = Search { search: &spec, seed: Seed::new(seed) };
        let found =
            self.ask(call, |voters, stop| voters.magnitudes(place, &rows, classes.as_deref(), search, stop))?;
        Ok(PyArray1::from_vec(call.py(), found))
    }

    /// Logarithms of mean scores, n by classes, of the member at `place` at rows (n, d) with noise of magnitudes (n).
    fn log_scores<'py>(
        &self,
        call: &Bound<'py, PyAny>,
        place: usize,
        rows: PyReadonlyArray2<'py, f32>,
        sigmas: PyReadonlyArray1<'py, f32>,
        search: &str,
        seed: u64,
    ) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let (rows, spec, sigmas) = (split(&rows)?, read(search)?, sigmas.as_slice()?);
        let search = Search { search: &spec, seed: Seed::new(seed) };
        let scores = self.ask(call, |voters, stop| voters.log_scores(place, &rows, sigmas, search, stop))?;
        Ok(PyArray1::from_vec(call.py(), scores))
    }
}

fn split<'a>(rows: &'a PyReadonlyArray2<'_, f32>) -> PyResult<Vec<&'a [f32]>> {
    let size = rows.as_array().ncols().max(1);
    Ok(rows.as_slice()?.chunks_exact(size).collect())
}

fn read(search: &str) -> Result<SigmaSearch> {
    serde_json::from_str(search).map_err(|error| Error::parameter("search", "that of this version", error))
}
