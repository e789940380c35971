//! Architectures of the members: what parameters they have and how they map inputs to logits.
//!
//! An [`Architecture`] is a pure function of a *stack* of members' parameters. It owns no weights and
//! no generator: initial weights come from the streams of [`Role::Weights`](crate::Role::Weights), so
//! that a member can be trained again anywhere, bit for bit.

pub(crate) mod checkpoint;
mod cnn;
mod dense;
mod discriminant;
mod layers;
mod layout;
mod resnet;
mod weights;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tch::{TchError, Tensor};

use crate::error::{Error, Result};

pub use layout::{Init, Layout, ParameterKind, ParameterSpec};
pub use weights::Weights;
pub(crate) use weights::{to_vec as weights_to_vec, FlatWeights};

/// Result of an operation of torch; it becomes a training error where the member is known.
pub type TorchResult<T> = std::result::Result<T, TchError>;

/// Names of the built-in architectures.
pub const KNOWN: [&str; 5] = ["linear", "discriminant", "mlp", "cnn", "resnet"];

/// Shape of one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeatureShape {
    /// A vector of features.
    Flat(usize),
    /// An image, laid out (channels, height, width).
    Image {
        /// Number of channels.
        channels: usize,
        /// Number of rows.
        height: usize,
        /// Number of columns.
        width: usize,
    },
}

impl FeatureShape {
    /// Number of values of one sample.
    pub fn n_features(self) -> usize {
        match self {
            Self::Flat(n) => n,
            Self::Image { channels, height, width } => channels * height * width,
        }
    }

    /// The dimensions, as torch wants them.
    pub(crate) fn dims(self) -> Vec<i64> {
        match self {
            Self::Flat(n) => vec![n as i64],
            Self::Image { channels, height, width } => vec![channels as i64, height as i64, width as i64],
        }
    }

    /// The dimensions of an image, or an error that names the model which wants one.
    fn image(self, model: &str) -> Result<(usize, usize, usize)> {
        match self {
            Self::Image { channels, height, width } => Ok((channels, height, width)),
            Self::Flat(_) => Err(Error::shape(
                "X",
                format_args!("the shape (n_samples, channels, height, width) for the model '{model}'"),
                format_args!("samples of shape {self}"),
            )),
        }
    }
}

impl fmt::Display for FeatureShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flat(n) => write!(f, "({n},)"),
            Self::Image { channels, height, width } => write!(f, "({channels}, {height}, {width})"),
        }
    }
}

/// Whether a forward pass serves training or voting; decides what batch norm does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Statistics of the batch, and running statistics are updated.
    Train,
    /// Running statistics of the training set.
    Eval,
}

/// A member that was computed in closed form.
#[derive(Clone, Debug, PartialEq)]
pub struct Solution {
    /// All its values, in the layout's order.
    pub values: Vec<f32>,
    /// Its mean loss on the noised set.
    pub loss: f32,
}

/// A member's architecture: a pure function of parameters and inputs.
///
/// # Shapes
/// With a stack of S > 1 members, inputs are (S, B, ...) and logits (S, B, n_classes); the parameters in
/// [`Weights`] have a leading dimension S. For S = 1 that dimension is left out everywhere, so that the
/// plain fast operations apply.
pub trait Architecture: Send + Sync + fmt::Debug {
    /// The name in the record of a run; two architectures that behave differently have different names.
    fn name(&self) -> &str;

    /// Names, shapes and initial values of all parameters.
    fn layout(&self) -> &Layout;

    /// Logits of a batch.
    ///
    /// # Errors
    /// Whatever torch reports.
    fn forward(&self, weights: &Weights, inputs: &Tensor, mode: Mode) -> TorchResult<Tensor>;

    /// The member in closed form, from its noised set: features (n, ...) and class numbers (n). `None` for an
    /// architecture that is trained by gradient.
    ///
    /// # Errors
    /// Whatever torch reports.
    fn solve(&self, _features: &Tensor, _labels: &Tensor) -> TorchResult<Option<Solution>> {
        Ok(None)
    }

    /// The smallest training set a member can be trained on (batch norm needs two samples).
    fn min_samples(&self) -> usize {
        1
    }

    /// The largest stack the architecture can be evaluated in.
    fn max_stack(&self) -> usize {
        usize::MAX
    }
}

/// The built-in architecture called `name`, with sizes taken from the data.
///
/// # Errors
/// [`ErrorKind::Parameter`](crate::ErrorKind::Parameter) for an unknown name (lists the known ones) and
/// [`ErrorKind::Shape`](crate::ErrorKind::Shape) for inputs the architecture cannot take.
pub fn by_name(name: &str, shape: FeatureShape, n_classes: usize) -> Result<Arc<dyn Architecture>> {
    Ok(match name {
        "linear" => Arc::new(dense::Perceptron::linear(shape, n_classes)),
        "discriminant" => Arc::new(discriminant::Discriminant::new(shape, n_classes)),
        "mlp" => Arc::new(dense::Perceptron::mlp(shape, n_classes)),
        "cnn" => Arc::new(cnn::Cnn::new(shape, n_classes)?),
        "resnet" => Arc::new(resnet::ResNet::new(shape, n_classes)?),
        other => return Err(Error::unknown("model", &KNOWN, other)),
    })
}
