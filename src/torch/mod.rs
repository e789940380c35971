//! Members through libtorch: all built-in networks, alone or in stacks, on the CPU or a GPU; the same steps in the same order
//! as the crate's own kernels, equal to them up to rounding.

mod adam;
mod calibrate;
mod device;
mod model;
mod search;
mod session;
#[cfg(test)]
mod tests;
mod threads;
mod train;

use std::fmt;
use std::sync::Arc;

pub(crate) use device::n_gpus;
pub use model::{by_name, Architecture, How, Mode, Solution, TorchResult, Weights};
pub(crate) use session::Thread;
#[cfg(feature = "extension")]
pub(crate) use session::{Job, Voters};
#[cfg(test)]
pub(crate) use threads::on_one_thread;

use crate::backend::{Backend, Batching, Changes, Session};
use crate::error::Result;
use crate::member::{Device, FeatureShape, Gpus, Layout, Settings};

/// Members of one architecture.
pub struct Torch {
    architecture: Arc<dyn Architecture>,
}

impl Torch {
    /// Members of `architecture`.
    pub fn new(architecture: Arc<dyn Architecture>) -> Self {
        Self { architecture }
    }
}

impl fmt::Debug for Torch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.architecture.fmt(f)
    }
}

/// Inputs of one forward pass.
pub(crate) const BATCH: usize = 64;

impl Backend for Torch {
    fn name(&self) -> &str {
        self.architecture.name()
    }

    fn layout(&self) -> &Layout {
        self.architecture.layout()
    }

    fn is_built_in(&self) -> bool {
        self.architecture.is_built_in()
    }

    fn gpus(&self) -> Gpus {
        n_gpus().into()
    }

    fn min_samples(&self) -> usize {
        self.architecture.min_samples()
    }

    fn batch(&self) -> Batching {
        Batching { rows: BATCH, multiple: BATCH }
    }

    fn max_stack(&self) -> usize {
        self.architecture.max_stack()
    }

    fn changes(&self) -> Changes {
        match self.architecture.looks_once() {
            true => Changes::Once,
            false => Changes::EveryEpoch,
        }
    }

    fn activations(&self) -> Option<usize> {
        self.architecture.activations()
    }

    fn stacks_are_sure(&self) -> bool {
        self.architecture.stacks_are_sure()
    }

    fn start(&self, begin: &mut dyn FnMut()) -> Result<()> {
        threads::with_one_torch_thread(begin)
    }

    fn ready(&self, _device: Device) {
        threads::own_number();
    }

    fn session<'a>(
        &'a self,
        settings: &Settings,
        shape: FeatureShape,
        _lane: bool,
    ) -> Result<Box<dyn Session + 'a>> {
        Ok(Box::new(Thread::new(Arc::clone(&self.architecture), settings.clone(), shape)?))
    }
}
