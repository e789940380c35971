//! The CIFAR residual network: pre-activation, three stages of five blocks (He et al. 2016).

use tch::Tensor;

use super::layers::{self, Conv};
use super::weights::Weights;
use super::{Architecture, Mode, TorchResult};
use crate::error::Result;
use crate::member::built_in::{blocks, describe, BuiltIn};
use crate::member::{FeatureShape, Layout};

/// conv 3x3 - 3 stages of 5 pre-activation blocks - batch norm - ReLU - mean over pixels - fc K.
#[derive(Debug)]
pub(super) struct ResNet(BuiltIn);

impl ResNet {
    /// # Errors
    /// [`ErrorKind::Shape`](crate::ErrorKind::Shape) for flat features.
    pub(super) fn new(shape: FeatureShape, n_classes: usize) -> Result<Self> {
        describe("resnet", shape, n_classes).map(Self)
    }
}

/// One pre-activation block; the order of the layers is the order of their declaration.
fn block(weights: &Weights, x: &Tensor, halve: bool, mode: Mode) -> TorchResult<Tensor> {
    let three = |stride| Conv { stride, padding: 1, bias: false };
    let stride = if halve { 2 } else { 1 };
    let active = layers::batch_norm(weights, x, mode)?.f_relu()?;
    let shortcut = if halve {
        layers::conv(weights, &active, Conv { stride, padding: 0, bias: false })?
    } else {
        x.shallow_clone()
    };
    let y = layers::conv(weights, &active, three(stride))?;
    let y = layers::batch_norm(weights, &y, mode)?.f_relu()?;
    layers::conv(weights, &y, three(1))?.f_add(&shortcut)
}

impl Architecture for ResNet {
    fn name(&self) -> &str {
        "resnet"
    }

    fn layout(&self) -> &Layout {
        &self.0.layout
    }

    fn forward(&self, weights: &Weights, inputs: &Tensor, mode: Mode) -> TorchResult<Tensor> {
        weights.rewind();
        let x = layers::planes(weights, inputs, mode)?;
        let mut x = layers::conv(weights, &x, Conv { stride: 1, padding: 1, bias: false })?;
        for (_, inputs, outputs) in blocks() {
            x = block(weights, &x, inputs != outputs, mode)?;
        }
        let x = layers::batch_norm(weights, &x, mode)?.f_relu()?;
        layers::dense(weights, &layers::vectors(weights, &layers::mean_pool(&x)?)?)
    }

    fn min_samples(&self) -> usize {
        self.0.min_samples
    }

    fn is_built_in(&self) -> bool {
        true
    }

    fn activations(&self) -> Option<usize> {
        Some(self.0.activations)
    }
}
