//! Multinomial logistic regression (`linear`) and the multilayer perceptron (`mlp`).

use tch::Tensor;

use super::layers;
use super::layout::Layout;
use super::weights::Weights;
use super::{Architecture, FeatureShape, Mode, TorchResult};
use crate::kernel::Network;

/// Widths of the hidden layers of `mlp`.
const HIDDEN: [usize; 2] = [256, 128];

/// Dense layers with ReLU between them, on the flattened input.
#[derive(Debug)]
pub(super) struct Perceptron {
    name: &'static str,
    layout: Layout,
    n_layers: usize,
    activations: usize,
    network: Network,
}

impl Perceptron {
    /// No hidden layer: multinomial logistic regression.
    pub(super) fn linear(shape: FeatureShape, n_classes: usize) -> Self {
        Self::new("linear", shape, &[], n_classes)
    }

    /// Hidden layers of 256 and 128.
    pub(super) fn mlp(shape: FeatureShape, n_classes: usize) -> Self {
        Self::new("mlp", shape, &HIDDEN, n_classes)
    }

    fn new(name: &'static str, shape: FeatureShape, hidden: &[usize], n_classes: usize) -> Self {
        let mut layout = Layout::default();
        let mut inputs = shape.n_features();
        // A layer's inputs, products, active outputs and their gradients.
        let activations = 4 * (inputs + hidden.iter().sum::<usize>() + n_classes);
        for (number, &outputs) in hidden.iter().chain([&n_classes]).enumerate() {
            layout.dense(&format!("fc{}", number + 1), inputs, outputs);
            inputs = outputs;
        }
        let widths: Vec<usize> = [&[shape.n_features()], hidden, &[n_classes]].concat();
        let network = Network::dense(&widths);
        Self { name, layout, n_layers: hidden.len() + 1, activations, network }
    }
}

impl Architecture for Perceptron {
    fn name(&self) -> &str {
        self.name
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn forward(&self, weights: &Weights, inputs: &Tensor, _mode: Mode) -> TorchResult<Tensor> {
        weights.rewind();
        let first = if weights.stack() == 1 { 1 } else { 2 };
        let mut x = layers::dense(weights, &inputs.f_flatten(first, -1)?)?;
        for _ in 1..self.n_layers {
            x = layers::dense(weights, &x.f_relu()?)?;
        }
        Ok(x)
    }

    fn network(&self) -> Option<&Network> {
        Some(&self.network)
    }

    fn activations(&self) -> Option<usize> {
        Some(self.activations)
    }
}
