//! Shape of one sample.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

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
    /// The shape with these dimensions: features (d) or images (c, h, w).
    ///
    /// # Errors
    /// A shape error for any other number of dimensions.
    #[cfg(any(feature = "python", feature = "extension"))]
    pub(crate) fn of(sizes: &[usize]) -> Result<Self> {
        match *sizes {
            [d] => Ok(Self::Flat(d)),
            [channels, height, width] => Ok(Self::Image { channels, height, width }),
            _ => Err(Error::shape("X", "2 or 4 dimensions", sizes.len() + 1)),
        }
    }

    /// Number of values of one sample.
    pub fn n_features(self) -> usize {
        match self {
            Self::Flat(n) => n,
            Self::Image { channels, height, width } => channels * height * width,
        }
    }

    /// The dimensions.
    pub(crate) fn sizes(self) -> Vec<usize> {
        match self {
            Self::Flat(n) => vec![n],
            Self::Image { channels, height, width } => vec![channels, height, width],
        }
    }

    /// The dimensions, as torch wants them.
    #[cfg(feature = "torch")]
    pub(crate) fn dims(self) -> Vec<i64> {
        match self {
            Self::Flat(n) => vec![n as i64],
            Self::Image { channels, height, width } => vec![channels as i64, height as i64, width as i64],
        }
    }

    /// The dimensions of an image, or an error that names the model which wants one.
    pub(crate) fn image(self, model: &str) -> Result<(usize, usize, usize)> {
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
