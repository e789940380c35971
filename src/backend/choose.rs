//! Which backend computes a built-in network: the crate's own kernels, libtorch where this build has it, or whoever has
//! offered to do what the kernels cannot.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::{Backend, Kernels};
use crate::error::{Error, Result};
use crate::member::built_in::describe;
use crate::member::{Device, FeatureShape, Gpus, Settings};

/// Whoever computes built-in networks in stacks, on GPUs, and those that the kernels do not know.
pub(crate) trait Networks: Send + Sync + fmt::Debug {
    /// The GPUs that it can use.
    fn gpus(&self) -> Gpus;

    /// The network called `name`.
    ///
    /// # Errors
    /// As [`describe`]; an error that says in one sentence why it cannot be computed here.
    fn network(&self, name: &str, shape: FeatureShape, n_classes: usize) -> Result<Arc<dyn Backend>>;
}

static OTHERS: OnceLock<Box<dyn Networks>> = OnceLock::new();

/// Offers to compute what the kernels cannot; the first offer of a process counts.
#[cfg(feature = "python")]
pub(crate) fn extend(others: Box<dyn Networks>) {
    let _ = OTHERS.set(others);
}

/// libtorch, linked with this build.
#[cfg(feature = "torch")]
#[derive(Debug)]
struct Linked;

#[cfg(feature = "torch")]
impl Networks for Linked {
    fn gpus(&self) -> Gpus {
        crate::torch::n_gpus().into()
    }

    fn network(&self, name: &str, shape: FeatureShape, n_classes: usize) -> Result<Arc<dyn Backend>> {
        Ok(Arc::new(crate::torch::Torch::new(crate::torch::by_name(name, shape, n_classes)?)))
    }
}

fn others() -> Option<&'static dyn Networks> {
    #[cfg(feature = "torch")]
    return Some(OTHERS.get_or_init(|| Box::new(Linked)).as_ref());
    #[cfg(not(feature = "torch"))]
    OTHERS.get().map(Box::as_ref)
}

/// The GPUs that built-in networks can use.
pub(crate) fn gpus() -> Gpus {
    others().map_or_else(Gpus::default, Networks::gpus)
}

/// The built-in network called `name`: by the crate's own kernels where single members are wanted on the CPU and the kernels
/// know it, else by whoever does what they cannot.
///
/// # Errors
/// As [`describe`]; a device error where nobody could do it.
pub(crate) fn built_in(
    name: &str,
    shape: FeatureShape,
    n_classes: usize,
    settings: &Settings,
) -> Result<Arc<dyn Backend>> {
    let description = describe(name, shape, n_classes)?;
    let alone = settings.device == Device::Cpu && settings.stack.unwrap_or(1) == 1;
    if let Some(kernels) = Kernels::new(description).filter(|_| alone) {
        return Ok(Arc::new(kernels));
    }
    let Some(others) = others() else {
        return Err(Error::device(format!("{} needs libtorch.", wish(name, settings))));
    };
    let network = others.network(name, shape, n_classes);
    network.map_err(|error| match error.is_bad_input() {
        true => error,
        false => Error::device(format!("{} needs the torch extension. {error}", wish(name, settings))),
    })
}

/// What only torch can do, as the subject of a sentence.
fn wish(name: &str, settings: &Settings) -> String {
    match (settings.device, settings.stack.unwrap_or(1)) {
        (Device::Cpu, 1) => format!("The model '{name}'"),
        (Device::Cpu, stack) => format!("The model '{name}' in stacks of {stack}"),
        (device, _) => format!("The model '{name}' on {device}"),
    }
}
