//! Multinomial logistic regression (`linear`) and the multilayer perceptron (`mlp`).

use tch::Tensor;

use super::layers;
use super::weights::Weights;
use super::{Architecture, Mode, TorchResult};
use crate::member::built_in::BuiltIn;
use crate::member::Layout;

/// Dense layers with ReLU between them, on the flattened input.
#[derive(Debug)]
pub(super) struct Perceptron(pub(super) BuiltIn);

impl Architecture for Perceptron {
    fn name(&self) -> &str {
        self.0.name
    }

    fn layout(&self) -> &Layout {
        &self.0.layout
    }

    fn forward(&self, weights: &Weights, inputs: &Tensor, _mode: Mode) -> TorchResult<Tensor> {
        weights.rewind();
        let first = if weights.stack() == 1 { 1 } else { 2 };
        let mut x = layers::dense(weights, &inputs.f_flatten(first, -1)?)?;
        for _ in 1..self.0.layout.specs().len() / 2 {
            x = layers::dense(weights, &x.f_relu()?)?;
        }
        Ok(x)
    }

    fn is_built_in(&self) -> bool {
        true
    }

    fn activations(&self) -> Option<usize> {
        Some(self.0.activations)
    }
}
