//! The literature's small convolutional network, conv16 - conv32 - fc512, for images of any size.

use tch::Tensor;

use super::layers::{self, Conv};
use super::layout::Layout;
use super::weights::Weights;
use super::{Architecture, FeatureShape, Mode, TorchResult};
use crate::error::{Error, Result};
use crate::kernel::Network;

const CHANNELS: [usize; 2] = [16, 32];
const HIDDEN: usize = 512;

/// Two blocks of convolution, ReLU and 2x2 max pooling, then fc 512, ReLU, fc K (the MNIST network of
/// RAB and Cert-SSBD).
///
/// Kernels are 5x5 without padding where both blocks leave something (height and width at least 16);
/// smaller images, down to 4x4, get 3x3 kernels with padding 1.
#[derive(Debug)]
pub(super) struct Cnn {
    layout: Layout,
    padding: i64,
    activations: usize,
    network: Network,
}

impl Cnn {
    /// # Errors
    /// [`ErrorKind::Shape`](crate::ErrorKind::Shape) for flat features and for images below 4x4.
    pub(super) fn new(shape: FeatureShape, n_classes: usize) -> Result<Self> {
        let (channels, height, width) = shape.image("cnn")?;
        let smallest = height.min(width);
        if smallest < 4 || channels == 0 {
            return Err(Error::shape(
                "X",
                "images of at least 4 x 4 pixels for the model 'cnn' (smaller ones suit 'mlp' or 'linear')",
                format_args!("images of shape {shape}"),
            ));
        }
        let (kernel, padding) = if smallest >= 16 { (5, 0) } else { (3, 1) };
        let convolved = |n: usize| n + 2 * padding - kernel + 1;
        let block = |n: usize| convolved(n) / 2;
        let after = |n: usize| block(block(n));
        // Patches, and outputs on their way through pooling and ReLU, each with its gradient.
        let held = |inputs: usize, outputs: usize, pixels: usize| {
            2 * pixels * (inputs * kernel * kernel + 3 * outputs)
        };
        let pixels =
            [convolved(height) * convolved(width), convolved(block(height)) * convolved(block(width))];
        let activations = held(channels, CHANNELS[0], pixels[0]) + held(CHANNELS[0], CHANNELS[1], pixels[1]);
        let mut layout = Layout::default();
        layout.conv("conv1", channels, CHANNELS[0], kernel, true);
        layout.conv("conv2", CHANNELS[0], CHANNELS[1], kernel, true);
        layout.dense("fc1", CHANNELS[1] * after(height) * after(width), HIDDEN);
        layout.dense("fc2", HIDDEN, n_classes);
        let network = Network::convolutional(
            (channels, height, width),
            &CHANNELS,
            kernel,
            padding,
            &[HIDDEN, n_classes],
        );
        Ok(Self { layout, padding: padding as i64, activations: activations + 4 * HIDDEN, network })
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
        &self.layout
    }

    fn forward(&self, weights: &Weights, inputs: &Tensor, mode: Mode) -> TorchResult<Tensor> {
        weights.rewind();
        let x = self.blocks(weights, &layers::planes(weights, inputs, mode)?)?;
        let x = layers::dense(weights, &layers::vectors(weights, &x)?)?.f_relu()?;
        layers::dense(weights, &x)
    }

    fn network(&self) -> Option<&Network> {
        Some(&self.network)
    }

    fn activations(&self) -> Option<usize> {
        Some(self.activations)
    }
}
