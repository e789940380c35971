//! The literature's small convolutional network, conv16 - conv32 - fc512, for images of any size.

use tch::Tensor;

use super::layers::{self, Conv};
use super::weights::Weights;
use super::{Architecture, Mode, TorchResult};
use crate::error::Result;
use crate::member::built_in::{cnn_kernel, describe, BuiltIn};
use crate::member::{FeatureShape, Layout};

/// Two blocks of convolution, ReLU and 2x2 max pooling, then fc 512, ReLU, fc K (the MNIST network of
/// RAB and Cert-SSBD).
#[derive(Debug)]
pub(super) struct Cnn {
    description: BuiltIn,
    padding: i64,
}

impl Cnn {
    /// # Errors
    /// [`ErrorKind::Shape`](crate::ErrorKind::Shape) for flat features and for images below 4x4.
    pub(super) fn new(shape: FeatureShape, n_classes: usize) -> Result<Self> {
        let description = describe("cnn", shape, n_classes)?;
        let (_, height, width) = shape.image("cnn")?;
        Ok(Self { description, padding: cnn_kernel(height, width).1 as i64 })
    }

    fn blocks(&self, weights: &Weights, x: &Tensor) -> TorchResult<Tensor> {
        let geometry = Conv { stride: 1, padding: self.padding, bias: true };
        let x = layers::pool_relu(&layers::conv(weights, x, geometry)?)?;
        layers::pool_relu(&layers::conv(weights, &x, geometry)?)
    }
}

impl Architecture for Cnn {
    fn name(&self) -> &str {
        "cnn"
    }

    fn layout(&self) -> &Layout {
        &self.description.layout
    }

    fn forward(&self, weights: &Weights, inputs: &Tensor, mode: Mode) -> TorchResult<Tensor> {
        weights.rewind();
        let x = self.blocks(weights, &layers::planes(weights, inputs, mode)?)?;
        let x = layers::dense(weights, &layers::vectors(weights, &x)?)?.f_relu()?;
        layers::dense(weights, &x)
    }

    fn is_built_in(&self) -> bool {
        true
    }

    fn activations(&self) -> Option<usize> {
        Some(self.description.activations)
    }
}
