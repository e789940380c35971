//! Which backend computes a built-in network.

use std::sync::Arc;

use super::{Backend, Kernels};
#[cfg(not(feature = "torch"))]
use crate::error::Error;
use crate::error::Result;
use crate::member::built_in::describe;
use crate::member::{Device, FeatureShape, Settings};

/// Number of GPUs that built-in networks can use.
pub(crate) fn n_gpus() -> usize {
    #[cfg(feature = "torch")]
    return crate::torch::n_gpus();
    #[cfg(not(feature = "torch"))]
    0
}

/// The built-in network called `name`: by the crate's own kernels where single members are wanted on the CPU and the kernels
/// know it, else by torch, if this build has it.
///
/// # Errors
/// As [`describe`]; a device error where only torch could do it.
pub(crate) fn built_in(
    name: &str,
    shape: FeatureShape,
    n_classes: usize,
    settings: &Settings,
) -> Result<Arc<dyn Backend>> {
    let description = describe(name, shape, n_classes)?;
    let alone = settings.device == Device::Cpu && settings.stack.unwrap_or(1) == 1;
    match Kernels::new(description, n_gpus()).filter(|_| alone) {
        Some(kernels) => Ok(Arc::new(kernels)),
        None => by_torch(name, shape, n_classes, settings),
    }
}

#[cfg(feature = "torch")]
fn by_torch(
    name: &str,
    shape: FeatureShape,
    n_classes: usize,
    _settings: &Settings,
) -> Result<Arc<dyn Backend>> {
    Ok(Arc::new(crate::torch::Torch::new(crate::torch::by_name(name, shape, n_classes)?)))
}

#[cfg(not(feature = "torch"))]
fn by_torch(
    name: &str,
    _shape: FeatureShape,
    _n_classes: usize,
    settings: &Settings,
) -> Result<Arc<dyn Backend>> {
    Err(match (settings.device, settings.stack.unwrap_or(1)) {
        (Device::Cpu, 1) => {
            Error::device(format!("The model '{name}' needs the torch extension of certssb."))
        }
        (device, stack) => Error::device(format!(
            "The model '{name}' on {device}, {stack} members at a time, needs the torch extension of certssb."
        )),
    })
}
