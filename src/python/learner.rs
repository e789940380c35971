//! Members that are computed in Python: a torch module of the user's, a scikit-learn estimator, anything that fulfils
//! `certssb.learners.protocol.Learner`. Only arrays, numbers and, where a member is no numbers, objects of the learner's
//! cross the border; the interpreter is held for the learner's calls.

mod job;
mod object;
mod panel;
mod session;

use std::cell::RefCell;
use std::fmt;
use std::sync::{Arc, Mutex};

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use job::Job;
use object::{form, unreadable, Own};
pub(super) use object::{of_object, value_of};
use session::Thread;

use crate::backend::{Backend, Batching, Changes, Session};
use crate::error::{Error, ErrorKind, Result};
use crate::member::{
    Behaviour, Device, FeatureShape, Gpus, Init, Layout, Member, Packed, ParameterKind, ParameterSpec,
    Settings, Values,
};

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Job>()
}

/// Test inputs of one call, unless the learner wants more at a time.
const ROWS: usize = 4096;

/// A learner of the caller's, and what it says of itself.
pub(super) struct Learner {
    object: Py<PyAny>,
    name: String,
    layout: Layout,
    behaviour: Behaviour,
    /// The libraries that it computes with, and their versions.
    libraries: String,
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
            libraries: learner
                .getattr_opt("libraries")?
                .map_or_else(|| Ok(String::new()), |own| own.extract())?,
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

    fn libraries(&self) -> &str {
        &self.libraries
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
    let rule =
        ["augment", "features"].iter().any(|name| text.starts_with(&format!("The '{name}' parameter")));
    rule.then(|| Error::new(ErrorKind::Parameter, text))
}
