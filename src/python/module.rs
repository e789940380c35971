//! The user's own module as an architecture: forward passes in Python, everything else here.
//!
//! The interpreter is held for the module's forward pass only. Each stack gets a module of its own (see
//! [`Weights::companion`]), so that no member ever sees what another one left behind. Stacks of several members are
//! computed by one call that is mapped over their tensors, if the blueprint found that the module allows it; on a GPU
//! those that do not are trained side by side, each on a CUDA stream of its own.

use std::fmt;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyList, PyType};
use tch::{Device, TchError, Tensor};

use super::convert::{from_python, to_python};
use super::model::feature_shape;
use crate::error::Error;
use crate::member::{Behaviour, Init, Layout, ParameterKind, ParameterSpec};
use crate::seed::{Role, Seed};
use crate::torch::{by_name, Architecture, Mode, TorchResult, Weights};

use rand::Rng;

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyBuiltIn>()
}

/// Members that are trained side by side on one GPU where they cannot be stacked. The interpreter is held by one of
/// them at a time, for a third of a step or so: more would wait for it.
const LANES: usize = 4;

/// Modules of the user's, one for each stack of one member.
pub(super) struct UserModule {
    blueprint: Py<PyAny>,
    name: String,
    layout: Layout,
    min_samples: usize,
    behaviour: Behaviour,
    /// Whether a stack of members was tried and computes what they compute alone.
    stacks: bool,
}

impl fmt::Debug for UserModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserModule").field("name", &self.name).finish_non_exhaustive()
    }
}

impl UserModule {
    pub(super) fn new(blueprint: &Bound<'_, PyAny>) -> PyResult<Self> {
        let specs: Vec<(String, Vec<usize>, bool)> = blueprint.getattr("specs")?.extract()?;
        let spec = |(name, shape, trained)| {
            let kind = if trained { ParameterKind::Trained } else { ParameterKind::Running };
            // Never used: values before training come from the module itself.
            ParameterSpec { name, shape, kind, init: Init::Constant(0.0) }
        };
        Ok(Self {
            name: blueprint.getattr("name")?.extract()?,
            layout: Layout::new(specs.into_iter().map(spec).collect()),
            min_samples: blueprint.getattr("min_samples")?.extract()?,
            behaviour: Behaviour(blueprint.getattr("behaviour")?.extract()?),
            stacks: blueprint.getattr("stacks")?.extract()?,
            blueprint: blueprint.clone().unbind(),
        })
    }

    fn instance(&self, py: Python<'_>, weights: &Weights) -> PyResult<Instance> {
        let arguments = (weights.model_seeds().to_vec(), weights.stack());
        let module = self.blueprint.bind(py).call_method1("instance", arguments)?;
        let running: PyResult<Vec<_>> =
            weights.running().iter().map(|tensor| to_python(py, tensor)).collect();
        module.call_method1("bind_buffers", (running?,))?;
        Ok(Instance(Some(module.unbind())))
    }
}

/// A `certssb.modules.Instance`; gives its tensors back when it goes, rather than at the next deferred release.
struct Instance(Option<Py<PyAny>>);

impl Drop for Instance {
    fn drop(&mut self) {
        Python::attach(|py| {
            if let Some(module) = self.0.take() {
                // An instance that fails to let go is released as any object; there is nobody to tell.
                let _ = module.bind(py).call_method0("close");
            }
        });
    }
}

impl Architecture for UserModule {
    fn name(&self) -> &str {
        &self.name
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn initial(&self, seed: Seed, member: u64) -> TorchResult<Vec<f32>> {
        let word = seed.stream(Role::Weights, member, 0).next_u64();
        let values = Python::attach(|py| {
            let values = self.blueprint.bind(py).call_method1("initial", (word,))?;
            values
                .extract::<numpy::PyReadonlyArray1<'_, f32>>()?
                .as_slice()
                .map(<[f32]>::to_vec)
                .map_err(PyErr::from)
        });
        values.map_err(|error| torch_error(&error))
    }

    fn forward(&self, weights: &Weights, inputs: &Tensor, mode: Mode) -> TorchResult<Tensor> {
        Python::attach(|py| {
            let make = || self.instance(py, weights).map_err(|error| torch_error(&error));
            let module = weights.companion(make)?;
            let Some(module) = &module.0 else {
                return Err(TchError::Torch("the module has been closed".to_owned()));
            };
            let pass = || {
                let trained: PyResult<Vec<_>> =
                    weights.trained().iter().map(|tensor| to_python(py, tensor)).collect();
                let arguments = (PyList::new(py, trained?)?, to_python(py, inputs)?, mode == Mode::Train);
                from_python(&module.bind(py).call_method1("forward", arguments)?)
            };
            pass().map_err(|error| torch_error(&error))
        })
    }

    fn min_samples(&self) -> usize {
        self.min_samples
    }

    fn max_stack(&self) -> usize {
        if self.stacks {
            usize::MAX
        } else {
            1
        }
    }

    fn stacks_are_sure(&self) -> bool {
        false
    }

    fn chooses_convolution(&self) -> bool {
        false
    }

    fn behaviour(&self) -> &Behaviour {
        &self.behaviour
    }

    fn may_keep_state(&self) -> bool {
        true
    }

    fn lanes(&self) -> usize {
        if self.stacks {
            1
        } else {
            LANES
        }
    }

    fn enter_lane(&self, device: Device) -> TorchResult<()> {
        let Device::Cuda(number) = device else { return Ok(()) };
        let enter = |py: Python<'_>| {
            py.import("certssb.learners.torch._gpu")?.call_method1("own_stream", (number,)).map(drop)
        };
        Python::attach(enter).map_err(|error| torch_error(&error))
    }
}

/// An exception of the user's code as an error of torch: its type and the first line of its text.
fn torch_error(error: &PyErr) -> TchError {
    Python::attach(|py| {
        let value = error.value(py).to_string();
        let name = error.get_type(py).name().map_or_else(|_| "exception".to_owned(), |name| name.to_string());
        TchError::Torch(format!("{name}: {}", value.lines().next().unwrap_or_default()))
    })
}

/// Name, shape of a sample and number of classes.
type Arguments = (String, Vec<usize>, usize);

/// A built-in architecture as a function of tensors, for modules that show a member in Python.
#[pyclass(name = "BuiltIn", module = "certssb._core", frozen)]
struct PyBuiltIn {
    inner: Arc<dyn Architecture>,
    arguments: Arguments,
}

#[pymethods]
impl PyBuiltIn {
    #[new]
    fn new(name: &str, shape: Vec<usize>, n_classes: usize) -> PyResult<Self> {
        let inner = by_name(name, feature_shape(&shape)?, n_classes)?;
        Ok(Self { inner, arguments: (name.to_owned(), shape, n_classes) })
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyType>, Arguments)> {
        Ok((slf.py().get_type::<Self>(), slf.get().arguments.clone()))
    }

    /// Names, shapes and whether they are trained of all parameters.
    #[getter]
    fn specs(&self) -> Vec<(String, Vec<usize>, bool)> {
        let spec = |spec: &ParameterSpec| {
            (spec.name.clone(), spec.shape.clone(), spec.kind == ParameterKind::Trained)
        };
        self.inner.layout().specs().iter().map(spec).collect()
    }

    /// Logits (batch, n_classes) of inputs (batch, ...); gradients flow to parameters and inputs.
    fn forward<'py>(
        &self,
        py: Python<'py>,
        trained: Vec<Bound<'py, PyAny>>,
        running: Vec<Bound<'py, PyAny>>,
        inputs: &Bound<'py, PyAny>,
        train: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let all = |list: Vec<Bound<'py, PyAny>>| list.iter().map(from_python).collect::<PyResult<Vec<_>>>();
        let weights = Weights::of_member(all(trained)?, all(running)?);
        let inputs = from_python(inputs)?;
        let mode = if train { Mode::Train } else { Mode::Eval };
        let logits = self.inner.forward(&weights, &inputs, mode);
        to_python(py, &logits.map_err(|error| Error::parameter("x", "a batch the model can take", error))?)
    }
}
