//! Members that are computed in Python: a torch module of the user's, a scikit-learn estimator, anything that fulfils
//! `certssb.learners.protocol.Learner`. Only arrays, numbers and, where a member is no numbers, objects of the learner's
//! cross the border; the interpreter is held for the learner's calls.

use std::any::Any;
use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use numpy::{
    PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArray3,
    PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};
use rand::Rng;

use crate::backend::changed::Addresses;
use crate::backend::{
    go_on, log_mean_scores, order, Backend, Batch, Batching, Changes, Fit, Flag, NoisySet, Panel, Search,
    Session,
};
use crate::error::{Error, ErrorKind, Result};
use crate::member::{
    Behaviour, Device, FeatureShape, Gpus, Init, Layout, Member, Object, Packed, ParameterKind,
    ParameterSpec, Settings, Values,
};
use crate::noise::unit_normals;
use crate::quantity::Quantity;
use crate::seed::{Role, Seed};

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Job>()
}

/// Test inputs of one call, unless the learner wants more at a time.
const ROWS: usize = 4096;

/// Noisy copies of test inputs in one call.
const COPIES: usize = 4096;

/// A learner of the caller's, and what it says of itself.
pub(super) struct Learner {
    object: Py<PyAny>,
    name: String,
    layout: Layout,
    behaviour: Behaviour,
    /// Whether a member is an object of the learner's rather than numbers.
    objects: bool,
    min_samples: usize,
    batch: usize,
    stacks: bool,
    stacks_are_sure: bool,
    may_keep_state: bool,
    lanes: usize,
    searches: bool,
    /// What it asks its job to change.
    changes: Changes,
    n_gpus: usize,
}

impl fmt::Debug for Learner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Learner").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Names, shapes and whether they are trained of a member's parameters.
type Specs = Option<Vec<(String, Vec<usize>, bool)>>;

impl Learner {
    pub(super) fn new(learner: &Bound<'_, PyAny>) -> PyResult<Self> {
        let specs: Specs = learner.getattr("specs")?.extract()?;
        let objects = specs.is_none();
        let spec = |(name, shape, trained)| {
            let kind = if trained { ParameterKind::Trained } else { ParameterKind::Running };
            // Never used: values before training come from the learner itself.
            ParameterSpec { name, shape, kind, init: Init::Constant(0.0) }
        };
        let devices: Vec<String> = learner.call_method0("devices")?.extract()?;
        Ok(Self {
            name: learner.getattr("name")?.extract()?,
            layout: Layout::new(specs.unwrap_or_default().into_iter().map(spec).collect()),
            behaviour: Behaviour(learner.getattr("behaviour")?.extract()?),
            objects,
            min_samples: learner.getattr("min_samples")?.extract()?,
            batch: learner.getattr("batch")?.extract::<usize>()?.max(1),
            stacks: learner.getattr("stacks")?.extract()?,
            stacks_are_sure: learner.getattr("stacks_are_sure")?.extract()?,
            may_keep_state: learner.getattr("may_keep_state")?.extract()?,
            lanes: learner.getattr("lanes")?.extract()?,
            searches: learner.getattr("searches")?.extract()?,
            changes: changes(learner)?,
            n_gpus: devices.len().saturating_sub(1),
            object: learner.clone().unbind(),
        })
    }
}

/// What a learner asks its job to change: nothing of one that does not say.
fn changes(learner: &Bound<'_, PyAny>) -> PyResult<Changes> {
    let said: Option<String> = learner.getattr_opt("augments")?.map_or(Ok(None), |own| own.extract())?;
    match said.as_deref() {
        None => Ok(Changes::Never),
        Some("every epoch") => Ok(Changes::EveryEpoch),
        Some("once") => Ok(Changes::Once),
        Some(other) => Err(Error::parameter("augments", "'every epoch', 'once' or None", other).into()),
    }
}

thread_local! {
    /// Why this thread could not be prepared.
    static NOT_READY: RefCell<Option<String>> = const { RefCell::new(None) };
}

impl Backend for Learner {
    fn name(&self) -> &str {
        &self.name
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn behaviour(&self) -> &Behaviour {
        &self.behaviour
    }

    fn gpus(&self) -> Gpus {
        self.n_gpus.into()
    }

    fn has_values(&self) -> bool {
        !self.objects
    }

    fn can_write(&self) -> Result<()> {
        if !self.objects {
            return Ok(());
        }
        let form = Python::attach(|py| form(self.object.bind(py))).map_err(|error| unreadable(&error))?;
        form.map(drop).ok_or_else(|| {
            Error::checkpoint(
                "Members of this model are objects, which are written into files only in a form that the caller chose.",
            )
        })
    }

    fn read(&self, member: Member) -> Result<Member> {
        let Some(object) = member.values.object() else { return Ok(member) };
        if object.as_ref().as_any().downcast_ref::<Packed>().is_none() {
            return Ok(member);
        }
        let bytes = object.bytes()?;
        let read = |py: Python<'_>| -> PyResult<Own> {
            let learner = self.object.bind(py);
            let packed = Some((form(learner)?.unwrap_or_default(), Arc::clone(&bytes)));
            let object = learner.call_method1("unpack", (PyBytes::new(py, &bytes),))?.unbind();
            Ok(Own { object, learner: self.object.clone_ref(py), packed: Mutex::new(packed) })
        };
        let own = Python::attach(read).map_err(|error| unreadable(&error))?;
        Ok(Member { values: Values::of_object(Arc::new(own)), ..member })
    }

    fn searches(&self) -> bool {
        self.searches
    }

    fn changes(&self) -> Changes {
        self.changes
    }

    fn min_samples(&self) -> usize {
        self.min_samples
    }

    fn batch(&self) -> Batching {
        Batching { rows: ROWS.next_multiple_of(self.batch), multiple: self.batch }
    }

    fn max_stack(&self) -> usize {
        if self.stacks {
            usize::MAX
        } else {
            1
        }
    }

    fn stacks_are_sure(&self) -> bool {
        self.stacks_are_sure
    }

    fn may_keep_state(&self) -> bool {
        self.may_keep_state
    }

    fn lanes(&self) -> usize {
        self.lanes
    }

    /// The interpreter is free while threads start: each of them needs it to get ready.
    fn start(&self, begin: &mut dyn FnMut()) -> Result<()> {
        let enter = |py: Python<'_>| -> PyResult<Py<PyAny>> {
            let held = self.object.bind(py).call_method0("starting")?;
            held.call_method0("__enter__")?;
            Ok(held.unbind())
        };
        let held = Python::attach(enter).map_err(|error| Error::device(said(&error)))?;
        begin();
        let leave = |py: Python<'_>| {
            held.bind(py).call_method1("__exit__", (py.None(), py.None(), py.None())).map(drop)
        };
        Python::attach(leave).map_err(|error| Error::device(said(&error)))
    }

    fn ready(&self, device: Device) {
        let enter =
            |py: Python<'_>| self.object.bind(py).call_method1("enter", (device.to_string(),)).map(drop);
        let failure = Python::attach(enter).err().map(|error| said(&error));
        NOT_READY.with_borrow_mut(|why| *why = failure);
    }

    fn session<'a>(
        &'a self,
        settings: &Settings,
        shape: FeatureShape,
        _lane: bool,
    ) -> Result<Box<dyn Session + 'a>> {
        if let Some(why) = NOT_READY.take() {
            return Err(Error::device(why));
        }
        Ok(Box::new(Thread {
            learner: self,
            settings: settings.clone(),
            shape: shape.sizes(),
            sample: shape,
        }))
    }
}

/// An exception of the learner's: its type and the first line of its text.
fn said(error: &PyErr) -> String {
    Python::attach(|py| {
        let value = error.value(py).to_string();
        let name = error.get_type(py).name().map_or_else(|_| "exception".to_owned(), |name| name.to_string());
        format!("{name}: {}", value.lines().next().unwrap_or_default())
    })
}

/// The outcome of a call about members, the first of which is `member`; `None` of a learner that was stopped.
fn called<T>(member: u64, outcome: PyResult<Option<T>>) -> Result<T> {
    match outcome {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err(Error::cancelled("The work was cancelled.")),
        Err(error) => {
            Err(augment_failure(&error).unwrap_or_else(|| Error::training(Some(member), said(&error))))
        }
    }
}

/// A broken rule of the caller's augmentation names the parameter, whoever computes the member.
fn augment_failure(error: &PyErr) -> Option<Error> {
    let text = Python::attach(|py| error.value(py).to_string());
    text.starts_with("The 'augment' parameter").then(|| Error::new(ErrorKind::Parameter, text))
}

/// What a learner is told about a call.
#[pyclass(module = "certssb._core", frozen)]
pub(super) struct Job {
    #[pyo3(get)]
    numbers: Vec<u64>,
    #[pyo3(get)]
    device: String,
    #[pyo3(get)]
    n_classes: usize,
    #[pyo3(get)]
    epochs: usize,
    #[pyo3(get)]
    batch_size: usize,
    #[pyo3(get)]
    learning_rate: f64,
    #[pyo3(get)]
    precision: &'static str,
    #[pyo3(get)]
    init_seeds: Vec<u64>,
    #[pyo3(get)]
    model_seeds: Vec<u64>,
    /// Of a search for noise magnitudes: start, sigma_min, sigma_max, steps, learning_rate, samples.
    #[pyo3(get)]
    search: Option<Py<PyDict>>,
    seed: Seed,
    n: usize,
    shape: FeatureShape,
    settings: Settings,
    stop: Flag,
}

#[pymethods]
impl Job {
    /// Rows of each member's noised set in the order of an epoch, shape (S, n).
    fn order<'py>(&self, py: Python<'py>, epoch: u64) -> PyResult<Bound<'py, PyArray2<i64>>> {
        let rows = |member: &u64| order(self.seed, *member, epoch, self.n).into_iter().map(|row| row as i64);
        let all: Vec<i64> = self.numbers.iter().flat_map(rows).collect();
        PyArray1::from_vec(py, all).reshape([self.numbers.len(), self.n])
    }

    /// Whether samples are to be changed.
    #[getter]
    fn augments(&self) -> bool {
        self.settings.augment.is_some()
    }

    /// Rows (S B, features) of the batch that begins at `start` of an epoch, changed, each member's from its own streams.
    fn change<'py>(
        &self,
        py: Python<'py>,
        rows: PyReadonlyArray2<'py, f32>,
        epoch: usize,
        start: usize,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let mut rows = rows.as_array().as_standard_layout().into_owned();
        let changed = py.detach(|| -> Result<()> {
            let Some(augment) = &self.settings.augment else { return Ok(()) };
            let (length, own) = (rows.len(), self.numbers.len().max(1));
            let values = rows.as_slice_mut().unwrap_or_default();
            for (&member, part) in self.numbers.iter().zip(values.chunks_mut((length / own).max(1))) {
                augment.change(self.addresses(member).batch(epoch, start), part)?;
            }
            Ok(())
        });
        changed?;
        Ok(PyArray2::from_owned_array(py, rows))
    }

    /// The rows (n, features) of the noised set of the member at `place`, followed by the changed copies that a learner
    /// gets that looks once: (n (1 + copies), features).
    fn with_copies<'py>(
        &self,
        py: Python<'py>,
        rows: PyReadonlyArray2<'py, f32>,
        place: usize,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let Some(&member) = self.numbers.get(place) else {
            let expected = format_args!("less than {}, the members of the call", self.numbers.len());
            return Err(Error::parameter("place", expected, place).into());
        };
        let [n, width] = rows.shape() else {
            return Err(Error::shape("rows", "2 dimensions", "others").into());
        };
        let (n, width) = (*n, *width);
        let mut rows: Vec<f32> = rows.as_array().iter().copied().collect();
        let copies = py.detach(|| self.addresses(member).with_copies(&self.settings, &mut rows))?;
        PyArray1::from_vec(py, rows).reshape([n * (copies + 1), width])
    }

    /// Whether to give up.
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Job {
    fn addresses(&self, member: u64) -> Addresses {
        Addresses { seed: self.seed, member, shape: self.shape, n: self.n }
    }
}

/// One thread of the core.
struct Thread<'a> {
    learner: &'a Learner,
    settings: Settings,
    /// Dimensions of a sample.
    shape: Vec<usize>,
    sample: FeatureShape,
}

impl Thread<'_> {
    fn job(&self, numbers: &[u64], stop: &Flag) -> Job {
        Job {
            numbers: numbers.to_vec(),
            device: self.settings.device.to_string(),
            n_classes: 0,
            epochs: self.settings.epochs,
            batch_size: self.settings.batch_size,
            learning_rate: self.settings.learning_rate,
            precision: self.settings.precision.name(),
            init_seeds: Vec::new(),
            model_seeds: Vec::new(),
            search: None,
            seed: Seed::new(0),
            n: 0,
            shape: self.sample,
            settings: self.settings.clone(),
            stop: Arc::clone(stop),
        }
    }
}

/// An array of shape (lead..., features...).
fn array<'py, T: numpy::Element>(
    py: Python<'py>,
    values: &[T],
    lead: &[usize],
    shape: &[usize],
) -> PyResult<Bound<'py, PyAny>> {
    let whole = PyTuple::new(py, [lead, shape].concat())?;
    PyArray1::from_slice(py, values).call_method1("reshape", (whole,))
}

impl Session for Thread<'_> {
    fn fit(&mut self, job: Fit<'_>, set: Cow<'_, NoisySet>, stop: &Flag) -> Result<Vec<Member>> {
        let (numbers, n) = (job.members, set.n());
        let first = numbers.first().copied().unwrap_or(0);
        let word = |role| numbers.iter().map(|&m| job.seed.stream(role, m, 0).next_u64()).collect();
        let told = Job {
            n_classes: job.n_classes,
            init_seeds: word(Role::Weights),
            model_seeds: word(Role::Model),
            seed: job.seed,
            n,
            ..self.job(numbers, stop)
        };
        let train = |py: Python<'_>| -> PyResult<Option<Vec<Member>>> {
            let x = array(py, set.features(), &[numbers.len(), n], &self.shape)?;
            let y = array(py, set.labels(), &[numbers.len(), n], &[])?;
            drop(set);
            let answer = self.learner.object.bind(py).call_method1("train", (told, x, y))?;
            if answer.is_none() {
                return Ok(None);
            }
            let (values, losses): (Bound<'_, PyAny>, PyReadonlyArray1<'_, f32>) = answer.extract()?;
            let losses = losses.to_vec()?;
            if losses.len() != numbers.len() {
                return Err(
                    Error::shape("losses", format_args!("{} losses", numbers.len()), losses.len()).into()
                );
            }
            self.members(numbers, &values, &losses).map(Some)
        };
        called(first, Python::attach(train))
    }

    fn panel<'s>(&'s mut self, members: &'s [&'s Member]) -> Result<Box<dyn Panel + 's>> {
        let first = members.first().map_or(0, |member| member.number);
        let values = |py: Python<'_>| -> PyResult<Option<Vec<Py<PyAny>>>> {
            let value = |member: &&Member| value_of(py, member).map(Bound::unbind);
            members.iter().map(value).collect::<PyResult<_>>().map(Some)
        };
        let values = called(first, Python::attach(values))?;
        Ok(Box::new(Voters { thread: self, members, values }))
    }
}

impl Thread<'_> {
    fn members(&self, numbers: &[u64], values: &Bound<'_, PyAny>, losses: &[f32]) -> PyResult<Vec<Member>> {
        let (mut members, n_values) = (Vec::with_capacity(numbers.len()), self.learner.layout.n_values());
        if self.learner.objects {
            let objects: Vec<Py<PyAny>> = values.extract()?;
            for ((&number, &loss), object) in numbers.iter().zip(losses).zip(objects) {
                members.push(match loss.is_finite() {
                    true => Member {
                        number,
                        loss,
                        values: of_object(object, self.learner.object.clone_ref(values.py())),
                    },
                    false => Member::failed(number, 0),
                });
            }
        } else {
            let table: PyReadonlyArray2<'_, f32> = values.extract()?;
            let expected = [numbers.len(), n_values];
            if table.shape() != expected {
                let got = format_args!("shape {:?}", table.shape());
                return Err(Error::shape("values", format_args!("shape {expected:?}"), got).into());
            }
            for ((&number, &loss), row) in numbers.iter().zip(losses).zip(table.as_array().rows()) {
                members.push(Member::finished(number, row.to_vec(), loss));
            }
        }
        if members.len() != numbers.len() {
            let expected = format_args!("{} members", numbers.len());
            return Err(Error::shape("values", expected, members.len()).into());
        }
        Ok(members)
    }
}

/// A member that is an object of a learner's.
struct Own {
    object: Py<PyAny>,
    learner: Py<PyAny>,
    /// What a file holds of it, and in which form: some forms give other bytes every time.
    packed: Mutex<Option<(String, Arc<[u8]>)>>,
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
fn form(learner: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    learner.getattr_opt("form")?.map_or(Ok(None), |form| form.extract())
}

/// What a learner says of objects in files, in its own words.
fn unreadable(error: &PyErr) -> Error {
    Error::checkpoint(Python::attach(|py| error.value(py).to_string()))
}

/// A member that is an object of a learner's.
pub(super) fn of_object(object: Py<PyAny>, learner: Py<PyAny>) -> Values {
    Values::of_object(Arc::new(Own { object, learner, packed: Mutex::new(None) }))
}

/// A member's values as a learner knows them: an array, or its object.
pub(super) fn value_of<'py>(py: Python<'py>, member: &Member) -> PyResult<Bound<'py, PyAny>> {
    let object = member.values.object().and_then(|object| object.as_ref().as_any().downcast_ref::<Own>());
    Ok(match object {
        Some(own) => own.object.bind(py).clone(),
        None => PyArray1::from_slice(py, &member.values).into_any(),
    })
}

/// Members in front of test inputs.
struct Voters<'a> {
    thread: &'a Thread<'a>,
    members: &'a [&'a Member],
    values: Vec<Py<PyAny>>,
}

impl Voters<'_> {
    fn ask(
        &self,
        places: std::ops::Range<usize>,
        values: &[f32],
        lead: &[usize],
        stop: &Flag,
    ) -> Result<Vec<f32>> {
        let numbers: Vec<u64> =
            self.members.get(places.clone()).unwrap_or_default().iter().map(|m| m.number).collect();
        let rows = lead.last().copied().unwrap_or(0);
        let answer = |py: Python<'_>| -> PyResult<Option<Vec<f32>>> {
            let members = PyList::new(py, self.values.get(places).unwrap_or_default())?;
            let x = array(py, values, lead, &self.thread.shape)?;
            let job = self.thread.job(&numbers, stop);
            let answer = self.thread.learner.object.bind(py).call_method1("ask", (job, members, x))?;
            if answer.is_none() {
                return Ok(None);
            }
            let logits: PyReadonlyArray3<'_, f32> = answer.extract()?;
            if logits.shape().get(..2) != Some(&[numbers.len(), rows][..]) {
                let expected = format_args!("shape ({}, {rows}, n_classes)", numbers.len());
                return Err(Error::shape("logits", expected, format_args!("{:?}", logits.shape())).into());
            }
            Ok(Some(logits.as_array().iter().copied().collect()))
        };
        called(numbers.first().copied().unwrap_or(0), Python::attach(answer))
    }

    fn number(&self, place: usize) -> u64 {
        self.members.get(place).map_or(0, |member| member.number)
    }
}

impl Panel for Voters<'_> {
    fn logits(&mut self, batch: Batch<'_>, stop: &Flag) -> Result<Vec<f32>> {
        go_on(stop)?;
        let lead = if batch.shared { vec![batch.rows] } else { vec![self.members.len(), batch.rows] };
        self.ask(0..self.members.len(), batch.values, &lead, stop)
    }

    fn magnitudes(
        &mut self,
        place: usize,
        rows: &[&[f32]],
        labels: Option<&[usize]>,
        search: Search<'_>,
        stop: &Flag,
    ) -> Result<Vec<f32>> {
        let (number, size) = (self.number(place), rows.first().map_or(0, |row| row.len()));
        let spec = search.search;
        let mut noise = vec![0.0; spec.steps * spec.samples * size];
        unit_normals(&search.seed.member(Role::Optimise, number), 0, &mut noise);
        let found = |py: Python<'_>| -> PyResult<Option<Vec<f32>>> {
            let told = PyDict::new(py);
            let scales =
                [("start", spec.start), ("sigma_min", spec.sigma_min), ("sigma_max", spec.sigma_max)];
            for (name, scale) in scales {
                told.set_item(name, scale.get())?;
            }
            told.set_item("learning_rate", spec.learning_rate.get())?;
            told.set_item("steps", spec.steps)?;
            told.set_item("samples", spec.samples)?;
            let job = Job { search: Some(told.unbind()), ..self.thread.job(&[number], stop) };
            let x = array(py, &rows.concat(), &[rows.len()], &self.thread.shape)?;
            let classes: Option<Vec<i64>> = labels.map(|own| own.iter().map(|label| *label as i64).collect());
            let classes = classes.map(|classes| PyArray1::from_vec(py, classes));
            let noise = array(py, &noise, &[spec.steps, spec.samples], &self.thread.shape)?;
            let value = self.values.get(place).map(|value| value.bind(py));
            let learner = self.thread.learner.object.bind(py);
            let answer = learner.call_method1("search", (job, value, x, classes, noise))?;
            if answer.is_none() {
                return Ok(None);
            }
            let sigmas = answer.extract::<PyReadonlyArray1<'_, f32>>()?.to_vec()?;
            if sigmas.len() != rows.len() {
                return Err(
                    Error::shape("magnitudes", format_args!("{} of them", rows.len()), sigmas.len()).into()
                );
            }
            Ok(Some(sigmas))
        };
        called(number, Python::attach(found))
    }

    fn log_scores(
        &mut self,
        place: usize,
        rows: &[&[f32]],
        sigmas: &[f32],
        search: Search<'_>,
        stop: &Flag,
    ) -> Result<Vec<f32>> {
        let (copies, size) = (search.search.samples, rows.first().map_or(0, |row| row.len()));
        let mut noise = vec![0.0; copies * size];
        unit_normals(&search.seed.member(Role::TestNoise, self.number(place)), 0, &mut noise);
        let together = (COPIES / copies.max(1)).max(1);
        let mut scores = Vec::new();
        for (rows, sigmas) in rows.chunks(together).zip(sigmas.chunks(together)) {
            go_on(stop)?;
            let mut noisy = Vec::with_capacity(rows.len() * copies * size);
            for (row, sigma) in rows.iter().zip(sigmas) {
                for e in noise.chunks_exact(size.max(1)) {
                    noisy.extend(row.iter().zip(e).map(|(value, e)| value + sigma * e));
                }
            }
            let known = rows.len() * copies;
            let whole = known.next_multiple_of(self.thread.learner.batch);
            noisy.resize(whole * size, 0.0);
            let mut logits = self.ask(place..place + 1, &noisy, &[whole], stop)?;
            let k = logits.len() / whole.max(1);
            logits.truncate(known * k);
            scores.extend(log_mean_scores(&mut logits, copies, k));
        }
        Ok(scores)
    }
}
