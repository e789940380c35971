//! The built-in networks as data: names, shapes and initial values of their parameters, and the same function in the
//! crate's own kernels where these know it.

use super::{FeatureShape, Layout};
use crate::backend::Changes;
use crate::error::{Error, Result};
use crate::kernel::Network;

/// Names of the built-in networks.
pub const KNOWN: [&str; 6] = ["linear", "mlp", "cnn", "resnet", "discriminant", "ridge"];

/// Widths of the hidden layers of `mlp`.
const HIDDEN: [usize; 2] = [256, 128];

/// Channels of the convolutions of `cnn`, and the width of its hidden layer.
const CHANNELS: [usize; 2] = [16, 32];
const DENSE: usize = 512;

/// Channels of the stages of `resnet`, and blocks of each.
pub(crate) const STAGES: [usize; 3] = [16, 32, 64];
const BLOCKS: usize = 5;

/// A member in closed form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClosedForm {
    Discriminant,
    Ridge,
}

impl ClosedForm {
    /// Its penalty, if none was given.
    pub(crate) fn penalty(self) -> f64 {
        match self {
            Self::Discriminant => 1.0,
            // For some hundred samples with far more features, all of about the same norm.
            Self::Ridge => 0.3,
        }
    }
}

/// The closed form of the built-in network called `name`.
pub(crate) fn closed_form(name: &str) -> Option<ClosedForm> {
    match name {
        "discriminant" => Some(ClosedForm::Discriminant),
        "ridge" => Some(ClosedForm::Ridge),
        _ => None,
    }
}

/// A built-in network.
#[derive(Debug)]
pub(crate) struct BuiltIn {
    pub(crate) name: &'static str,
    pub(crate) layout: Layout,
    /// The same function in the crate's own kernels. Values lie in the layout's order.
    pub(crate) network: Option<Network>,
    /// The smallest training set of a member (batch norm needs two samples).
    #[cfg_attr(not(feature = "torch"), allow(dead_code))]
    pub(crate) min_samples: usize,
    /// Floats that one step of training holds for each sample of a batch, roughly and from above.
    #[cfg_attr(not(feature = "torch"), allow(dead_code))]
    pub(crate) activations: usize,
    /// How members are solved, where they are not trained by gradient.
    pub(crate) closed: Option<ClosedForm>,
}

impl BuiltIn {
    /// Where its members meet changed copies of their samples.
    pub(crate) fn changes(&self) -> Changes {
        match self.closed {
            Some(_) => Changes::Once,
            None => Changes::EveryEpoch,
        }
    }
}

/// The built-in network called `name`, with sizes taken from the data.
///
/// # Errors
/// [`ErrorKind::Parameter`](crate::ErrorKind::Parameter) for an unknown name (lists the known ones) and
/// [`ErrorKind::Shape`](crate::ErrorKind::Shape) for inputs the network cannot take.
pub(crate) fn describe(name: &str, shape: FeatureShape, n_classes: usize) -> Result<BuiltIn> {
    match name {
        "linear" => Ok(perceptron("linear", shape, &[], n_classes)),
        "mlp" => Ok(perceptron("mlp", shape, &HIDDEN, n_classes)),
        "discriminant" => Ok(perceptron("discriminant", shape, &[], n_classes)),
        "ridge" => Ok(perceptron("ridge", shape, &[], n_classes)),
        "cnn" => cnn(shape, n_classes),
        "resnet" => resnet(shape, n_classes),
        other => Err(Error::unknown("model", &KNOWN, other)),
    }
}

/// Dense layers with ReLU between them, on the flattened input.
fn perceptron(name: &'static str, shape: FeatureShape, hidden: &[usize], n_classes: usize) -> BuiltIn {
    let mut layout = Layout::default();
    let mut inputs = shape.n_features();
    // A layer's inputs, products, active outputs and their gradients.
    let activations = 4 * (inputs + hidden.iter().sum::<usize>() + n_classes);
    for (number, &outputs) in hidden.iter().chain([&n_classes]).enumerate() {
        layout.dense(&format!("fc{}", number + 1), inputs, outputs);
        inputs = outputs;
    }
    let widths: Vec<usize> = [&[shape.n_features()], hidden, &[n_classes]].concat();
    let network = Some(Network::dense(&widths));
    BuiltIn { name, layout, network, min_samples: 1, activations, closed: closed_form(name) }
}

/// Size of the kernels of `cnn` and their padding: 5x5 without padding where both blocks leave something (height and width
/// at least 16); smaller images, down to 4x4, get 3x3 kernels with padding 1.
pub(crate) fn cnn_kernel(height: usize, width: usize) -> (usize, usize) {
    if height.min(width) >= 16 {
        (5, 0)
    } else {
        (3, 1)
    }
}

/// Two blocks of convolution, ReLU and 2x2 max pooling, then fc 512, ReLU, fc K (the MNIST network of RAB and Cert-SSBD).
///
/// # Errors
/// [`ErrorKind::Shape`](crate::ErrorKind::Shape) for flat features and for images below 4x4.
fn cnn(shape: FeatureShape, n_classes: usize) -> Result<BuiltIn> {
    let (channels, height, width) = shape.image("cnn")?;
    if height.min(width) < 4 || channels == 0 {
        return Err(Error::shape(
            "X",
            "images of at least 4 x 4 pixels for the model 'cnn' (smaller ones suit 'mlp' or 'linear')",
            format_args!("images of shape {shape}"),
        ));
    }
    let (kernel, padding) = cnn_kernel(height, width);
    let convolved = |n: usize| n + 2 * padding - kernel + 1;
    let block = |n: usize| convolved(n) / 2;
    let after = |n: usize| block(block(n));
    // Patches, and outputs on their way through pooling and ReLU, each with its gradient.
    let held =
        |inputs: usize, outputs: usize, pixels: usize| 2 * pixels * (inputs * kernel * kernel + 3 * outputs);
    let pixels = [convolved(height) * convolved(width), convolved(block(height)) * convolved(block(width))];
    let activations = held(channels, CHANNELS[0], pixels[0]) + held(CHANNELS[0], CHANNELS[1], pixels[1]);
    let mut layout = Layout::default();
    layout.conv("conv1", channels, CHANNELS[0], kernel, true);
    layout.conv("conv2", CHANNELS[0], CHANNELS[1], kernel, true);
    layout.dense("fc1", CHANNELS[1] * after(height) * after(width), DENSE);
    layout.dense("fc2", DENSE, n_classes);
    let sizes = (channels, height, width);
    let network = Network::convolutional(sizes, &CHANNELS, kernel, padding, &[DENSE, n_classes]);
    let activations = activations + 4 * DENSE;
    Ok(BuiltIn { name: "cnn", layout, network: Some(network), min_samples: 1, activations, closed: None })
}

/// Name, input channels and output channels of every block of `resnet`, in order.
pub(crate) fn blocks() -> impl Iterator<Item = (String, usize, usize)> {
    let stages = STAGES.iter().enumerate();
    stages.flat_map(|(stage, &outputs)| {
        (0..BLOCKS).map(move |block| {
            let inputs = if block == 0 && stage > 0 { STAGES[stage - 1] } else { outputs };
            (format!("stage{}.block{}", stage + 1, block + 1), inputs, outputs)
        })
    })
}

/// The CIFAR residual network (He et al. 2016): conv 3x3 - 3 stages of 5 pre-activation blocks with 16, 32, 64 channels -
/// batch norm - ReLU - mean over pixels - fc K. Stages two and three halve the image and project the shortcut by a 1x1
/// convolution. Any image size works.
///
/// # Errors
/// [`ErrorKind::Shape`](crate::ErrorKind::Shape) for flat features.
fn resnet(shape: FeatureShape, n_classes: usize) -> Result<BuiltIn> {
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
    Ok(BuiltIn { name: "resnet", layout, network: None, min_samples: 2, activations, closed: None })
}
