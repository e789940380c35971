//! The CIFAR residual network: pre-activation, three stages of five blocks (He et al. 2016).

use tch::Tensor;

use super::layers::{self, Conv};
use super::layout::Layout;
use super::weights::Weights;
use super::{Architecture, FeatureShape, Mode, TorchResult};
use crate::error::{Error, Result};

const STAGES: [usize; 3] = [16, 32, 64];
const BLOCKS: usize = 5;

/// conv 3x3 - 3 stages of 5 pre-activation blocks with 16, 32, 64 channels - batch norm - ReLU - mean over
/// pixels - fc K. Stages two and three halve the image and project the shortcut by a 1x1 convolution.
/// Any image size works.
#[derive(Debug)]
pub(super) struct ResNet {
    layout: Layout,
    activations: usize,
}

impl ResNet {
    /// # Errors
    /// [`ErrorKind::Shape`](crate::ErrorKind::Shape) for flat features.
    pub(super) fn new(shape: FeatureShape, n_classes: usize) -> Result<Self> {
        let (channels, height, width) = shape.image("resnet")?;
        if channels * height * width == 0 {
            return Err(Error::shape("X", "images of at least one pixel", format_args!("shape {shape}")));
        }
        let mut layout = Layout::default();
        layout.conv("conv", channels, STAGES[0], 3, false);
        let mut pixels = height * width;
        // Of a convolution the patches, the norm and ReLU before it and its result, each with its gradient.
        let held = |inputs: usize, outputs: usize, pixels: usize| 2 * pixels * (11 * inputs + outputs);
        let mut activations = held(channels, STAGES[0], pixels);
        for (name, inputs, outputs) in blocks() {
            pixels = if inputs == outputs { pixels } else { pixels.div_ceil(4) };
            activations += held(inputs, outputs, pixels) + held(outputs, outputs, pixels);
            layout.batch_norm(&format!("{name}.norm1"), inputs);
            if inputs != outputs {
                layout.conv(&format!("{name}.shortcut"), inputs, outputs, 1, false);
            }
            layout.conv(&format!("{name}.conv1"), inputs, outputs, 3, false);
            layout.batch_norm(&format!("{name}.norm2"), outputs);
            layout.conv(&format!("{name}.conv2"), outputs, outputs, 3, false);
        }
        layout.batch_norm("norm", STAGES[2]);
        layout.dense("fc", STAGES[2], n_classes);
        Ok(Self { layout, activations })
    }
}

/// Name, input channels and output channels of every block, in order.
fn blocks() -> impl Iterator<Item = (String, usize, usize)> {
    let stages = STAGES.iter().enumerate();
    stages.flat_map(|(stage, &outputs)| {
        (0..BLOCKS).map(move |block| {
            let inputs = if block == 0 && stage > 0 { STAGES[stage - 1] } else { outputs };
            (format!("stage{}.block{}", stage + 1, block + 1), inputs, outputs)
        })
    })
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
        &self.layout
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
        2
    }

    fn activations(&self) -> Option<usize> {
        Some(self.activations)
    }
}
