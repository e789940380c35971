//! Changed copies of noised samples: where each batch's random numbers are, and what a closed form is computed from.

use crate::augment::{Frame, Place};
use crate::error::Result;
use crate::member::{FeatureShape, Settings};
use crate::seed::Seed;

/// One member's noised set, as far as addresses go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub(crate) seed: Seed,
    pub(crate) member: u64,
    pub(crate) shape: FeatureShape,
    /// Samples of the set.
    pub(crate) n: usize,
}

impl Addresses {
    /// The batch that begins at place `start` of a pass.
    pub(crate) fn batch(self, pass: usize, start: usize) -> Place {
        let first = (pass as u64).wrapping_mul(self.n as u64).wrapping_add(start as u64);
        Place { seed: self.seed, member: self.member, first, frame: frame(self.shape) }
    }

    /// The rows of a noised set, followed by as many changed copies of it as members that look at it once take.
    pub(crate) fn with_copies(self, settings: &Settings, rows: &mut Vec<f32>) -> Result<usize> {
        let Some(augment) = &settings.augment else { return Ok(0) };
        let (length, size) = (rows.len(), frame(self.shape).len());
        for pass in 0..settings.copies {
            let copied = rows.len();
            rows.extend_from_within(..length);
            let copy = &mut rows[copied..];
            for (part, rows) in copy.chunks_mut(settings.batch_size.saturating_mul(size)).enumerate() {
                augment.change(self.batch(pass, part * settings.batch_size), rows)?;
            }
        }
        Ok(settings.copies)
    }
}

/// A sample's shape, as augmentations see it; a table's is (1, 1, features).
pub(crate) fn frame(shape: FeatureShape) -> Frame {
    match shape {
        FeatureShape::Flat(width) => Frame { channels: 1, height: 1, width },
        FeatureShape::Image { channels, height, width } => Frame { channels, height, width },
    }
}
