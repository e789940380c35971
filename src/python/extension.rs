//! Built-in networks that the torch extension computes: the module `certssb_torch`, which has libtorch. The other side is
//! `src/extension.rs`.

use std::borrow::Cow;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use numpy::{PyArray1, PyArrayMethods, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::PyList;

use super::fork::{at_work, rest};
use crate::augment::{Augment, Frame, Place, Recorded};
use crate::backend::{
    extend, go_on, Backend, Batch, Batching, Changes, Fit, Flag, Networks, NoisySet, Panel, Search, Session,
};
use crate::error::{Error, Result};
use crate::exception;
use crate::member::built_in::{describe, BuiltIn};
use crate::member::{Device, FeatureShape, Gpus, Layout, Member, Settings};
use crate::seed::Seed;

/// Offers to compute what the kernels cannot.
pub(super) fn register() {
    extend(Box::new(Extension));
}

/// The extension, looked for each time it is needed: it may be installed meanwhile.
#[derive(Debug)]
struct Extension;

/// The module; an exception that says in one sentence why there is none.
fn module(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    py.import("certssb.learners._extension")?.call_method0("found")
}

/// The first line of what an exception says.
fn sentence(error: &PyErr) -> String {
    let text = Python::attach(|py| error.value(py).to_string());
    text.lines().next().unwrap_or_default().to_owned()
}

impl Networks for Extension {
    fn gpus(&self) -> Gpus {
        let number = Python::attach(|py| module(py)?.call_method0("n_gpus")?.extract::<usize>());
        match number {
            Ok(number) => number.into(),
            Err(error) => Gpus { number: 0, absence: Some(sentence(&error)) },
        }
    }

    fn network(&self, name: &str, shape: FeatureShape, n_classes: usize) -> Result<Arc<dyn Backend>> {
        let description = describe(name, shape, n_classes)?;
        let network = |py: Python<'_>| -> PyResult<_> {
            let module = module(py)?;
            let batch: usize = module.getattr("BATCH")?.extract()?;
            let network = module.getattr("Network")?.call1((name, shape.sizes(), n_classes))?;
            let torch: String = py.import("torch")?.getattr("__version__")?.str()?.extract()?;
            Ok((module.unbind(), network.unbind(), batch.max(1), format!("torch {torch}")))
        };
        let found = Python::attach(network);
        let (module, network, batch, libraries) = found.map_err(|error| Error::device(sentence(&error)))?;
        Ok(Arc::new(Network { module, network, batch, libraries, description }))
    }
}

/// A built-in network of the extension's.
#[derive(Debug)]
struct Network {
    module: Py<PyAny>,
    network: Py<PyAny>,
    batch: usize,
    /// PyTorch's release, which rounds sums its own way.
    libraries: String,
    description: BuiltIn,
}

impl Backend for Network {
    fn name(&self) -> &str {
        self.description.name
    }

    fn layout(&self) -> &Layout {
        &self.description.layout
    }

    fn is_built_in(&self) -> bool {
        true
    }

    fn libraries(&self) -> &str {
        &self.libraries
    }

    fn gpus(&self) -> Gpus {
        Extension.gpus()
    }

    fn min_samples(&self) -> usize {
        self.description.min_samples
    }

    fn batch(&self) -> Batching {
        Batching { rows: self.batch, multiple: self.batch }
    }

    fn max_stack(&self) -> usize {
        usize::MAX
    }

    fn activations(&self) -> Option<usize> {
        Some(self.description.activations)
    }

    fn changes(&self) -> Changes {
        self.description.changes()
    }

    /// The interpreter is free while threads start: each of them needs it to get ready.
    fn start(&self, begin: &mut dyn FnMut()) -> Result<()> {
        let refused = |error: PyErr| Error::device(sentence(&error));
        let enter = |py: Python<'_>| -> PyResult<Py<PyAny>> {
            let held = self.module.bind(py).call_method0("starting")?;
            held.call_method0("__enter__")?;
            Ok(held.unbind())
        };
        let held = Python::attach(enter).map_err(refused)?;
        begin();
        let leave = |py: Python<'_>| {
            held.bind(py).call_method1("__exit__", (py.None(), py.None(), py.None())).map(drop)
        };
        Python::attach(leave).map_err(refused)
    }

    fn ready(&self, _device: Device) {
        // What this could raise, the session raises.
        let _ = Python::attach(|py| self.module.bind(py).call_method0("enter").map(drop));
    }

    fn session<'a>(
        &'a self,
        settings: &Settings,
        shape: FeatureShape,
        _lane: bool,
    ) -> Result<Box<dyn Session + 'a>> {
        let text = json("settings", settings)?;
        let augment = match settings.augment.as_ref().map(Augment::recorded) {
            None => None,
            Some(Recorded::BuiltIn(_)) if settings.augment.as_ref().is_some_and(Augment::is_before_map) => {
                Some(String::new())
            }
            Some(Recorded::BuiltIn(own)) => Some(json("augment", own)?),
            Some(Recorded::Own(_)) => Some(String::new()),
        };
        let session = Python::attach(|py| self.network.call_method1(py, "session", (text, augment)))
            .map_err(|error| exception::read(&error).unwrap_or_else(|| Error::device(sentence(&error))))?;
        Ok(Box::new(Thread { session, shape }))
    }
}

fn json(name: &str, facts: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(facts).map_err(|error| Error::parameter(name, "one that can be written", error))
}

/// What came of a call about members, the first of which is `member`.
fn called<T>(member: u64, outcome: PyResult<T>) -> Result<T> {
    outcome.map_err(|error| {
        exception::read(&error).unwrap_or_else(|| Error::training(Some(member), sentence(&error)))
    })
}

/// What the extension may ask about a call.
#[pyclass(module = "certssb._core", frozen)]
struct Call {
    stop: Flag,
    seed: Seed,
    shape: FeatureShape,
    augment: Option<Augment>,
}

#[pymethods]
impl Call {
    /// Whether to give up.
    fn stopped(&self, py: Python<'_>) -> bool {
        rest(py);
        self.stop.load(Ordering::Relaxed)
    }

    /// Samples of a member, changed by the augmentation; `first` is the number of samples that it has seen before.
    fn change<'py>(
        &self,
        py: Python<'py>,
        member: u64,
        first: u64,
        rows: PyReadonlyArray1<'py, f32>,
    ) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let mut rows = rows.to_vec()?;
        let (channels, height, width) = match self.shape {
            FeatureShape::Flat(width) => (1, 1, width),
            FeatureShape::Image { channels, height, width } => (channels, height, width),
        };
        let place = Place { seed: self.seed, member, first, frame: Frame { channels, height, width } };
        py.detach(|| self.augment.as_ref().map_or(Ok(()), |augment| augment.change(place, &mut rows)))?;
        Ok(PyArray1::from_vec(py, rows))
    }
}

/// One thread of the core.
struct Thread {
    session: Py<PyAny>,
    shape: FeatureShape,
}

impl Thread {
    fn call(&self, seed: Seed, augment: Option<&Augment>, stop: &Flag) -> Call {
        Call { stop: Arc::clone(stop), seed, shape: self.shape, augment: augment.cloned() }
    }
}

impl Session for Thread {
    fn fit(&mut self, job: Fit<'_>, set: Cow<'_, NoisySet>, stop: &Flag) -> Result<Vec<Member>> {
        let (numbers, n) = (job.members, set.n());
        let train = |py: Python<'_>| -> PyResult<Vec<Member>> {
            let _at_work = at_work(py);
            let features = PyArray1::from_slice(py, set.features());
            let labels = PyArray1::from_slice(py, set.labels());
            drop(set);
            let call = self.call(job.seed, job.settings.augment.as_ref(), stop);
            let given = (call, numbers.to_vec(), job.seed.root(), features, labels, n);
            let trained = self.session.bind(py).call_method1("train", given)?;
            let (values, losses): (Vec<PyReadonlyArray1<'_, f32>>, PyReadonlyArray1<'_, f32>) =
                trained.extract()?;
            let losses = losses.to_vec()?;
            if values.len() != numbers.len() || losses.len() != numbers.len() {
                let expected = format_args!("{} members", numbers.len());
                return Err(Error::shape("values", expected, values.len()).into());
            }
            let finish = |((number, values), loss): ((&u64, PyReadonlyArray1<'_, f32>), f32)| {
                Ok(Member::finished(*number, values.to_vec()?, loss))
            };
            numbers.iter().zip(values).zip(losses).map(finish).collect()
        };
        called(numbers.first().copied().unwrap_or(0), Python::attach(train))
    }

    fn panel<'s>(&'s mut self, members: &'s [&'s Member]) -> Result<Box<dyn Panel + 's>> {
        let numbers: Vec<u64> = members.iter().map(|member| member.number).collect();
        let first = numbers.first().copied().unwrap_or(0);
        let voters = |py: Python<'_>| -> PyResult<Py<PyAny>> {
            let values = members.iter().map(|member| PyArray1::from_slice(py, &member.values));
            let values = PyList::new(py, values)?;
            Ok(self.session.bind(py).call_method1("voters", (numbers, values))?.unbind())
        };
        let voters = called(first, Python::attach(voters))?;
        Ok(Box::new(Voters { thread: self, members, voters }))
    }
}

/// Members in front of test inputs.
struct Voters<'a> {
    thread: &'a Thread,
    members: &'a [&'a Member],
    voters: Py<PyAny>,
}

impl Voters<'_> {
    fn number(&self, place: usize) -> u64 {
        self.members.get(place).map_or(0, |member| member.number)
    }

    /// The answer of one of the extension's functions, as many numbers as are expected.
    fn ask<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        given: impl pyo3::call::PyCallArgs<'py>,
    ) -> PyResult<Vec<f32>> {
        let answer = self.voters.bind(py).call_method1(name, given)?;
        Ok(answer.extract::<PyReadonlyArray1<'_, f32>>()?.to_vec()?)
    }
}

impl Panel for Voters<'_> {
    fn logits(&mut self, batch: Batch<'_>, stop: &Flag) -> Result<Vec<f32>> {
        go_on(stop)?;
        let logits = |py: Python<'_>| {
            let _at_work = at_work(py);
            let values = PyArray1::from_slice(py, batch.values);
            let call = self.thread.call(Seed::new(0), None, stop);
            self.ask(py, "logits", (call, values, batch.rows, batch.shared, batch.number))
        };
        called(self.number(0), Python::attach(logits))
    }

    fn magnitudes(
        &mut self,
        place: usize,
        rows: &[&[f32]],
        labels: Option<&[usize]>,
        search: Search<'_>,
        stop: &Flag,
    ) -> Result<Vec<f32>> {
        let spec = json("search", search.search)?;
        let found = |py: Python<'_>| {
            let _at_work = at_work(py);
            let size = rows.first().map_or(0, |row| row.len());
            let table = PyArray1::from_vec(py, rows.concat()).reshape([rows.len(), size])?;
            let call = self.thread.call(search.seed, None, stop);
            let classes = labels.map(<[usize]>::to_vec);
            self.ask(py, "magnitudes", (call, place, table, classes, spec, search.seed.root()))
        };
        called(self.number(place), Python::attach(found))
    }

    fn log_scores(
        &mut self,
        place: usize,
        rows: &[&[f32]],
        sigmas: &[f32],
        search: Search<'_>,
        stop: &Flag,
    ) -> Result<Vec<f32>> {
        let spec = json("search", search.search)?;
        let scores = |py: Python<'_>| {
            let _at_work = at_work(py);
            let size = rows.first().map_or(0, |row| row.len());
            let table = PyArray1::from_vec(py, rows.concat()).reshape([rows.len(), size])?;
            let call = self.thread.call(search.seed, None, stop);
            let sigmas = PyArray1::from_slice(py, sigmas);
            self.ask(py, "log_scores", (call, place, table, sigmas, spec, search.seed.root()))
        };
        called(self.number(place), Python::attach(scores))
    }
}
