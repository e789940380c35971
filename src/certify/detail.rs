//! What some kinds of proof know of each sample beyond its interval.

use serde::{Deserialize, Serialize};

use super::cascade::LevelBounds;

/// A region around a test input as a ledger settled it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settled {
    /// The class.
    pub prediction: usize,
    /// The radius, L2 around the test input.
    pub radius: f64,
    /// What the ledger did: kept, trimmed, adopted or abstained.
    pub outcome: String,
}

/// What some laws know of each sample beyond its interval.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Detail {
    /// Nothing.
    #[default]
    None,
    /// Bounds at every level of a cascade.
    Levels(LevelBounds),
    /// How many buckets of a partition may change.
    Buckets(Vec<usize>),
    /// The noise magnitude of each test sample, for the published form of sample-specific noise.
    Magnitudes {
        /// One per sample, in the units of the features.
        sigmas: Vec<f64>,
        /// What a ledger made of each, if one was asked.
        settled: Option<Vec<Settled>>,
    },
}

impl Detail {
    /// What is known of some of the samples, in this order.
    pub(super) fn rows(&self, rows: &[usize]) -> Self {
        match self {
            Self::None => Self::None,
            Self::Magnitudes { sigmas, settled } => Self::Magnitudes {
                sigmas: rows.iter().map(|row| sigmas[*row]).collect(),
                settled: settled
                    .as_ref()
                    .map(|settled| rows.iter().map(|row| settled[*row].clone()).collect()),
            },
            Self::Levels(bounds) => Self::Levels(bounds.rows(rows)),
            Self::Buckets(buckets) => Self::Buckets(rows.iter().map(|row| buckets[*row]).collect()),
        }
    }
}
