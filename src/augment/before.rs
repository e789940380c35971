//! Changes of samples before a fixed map: a member's own samples, as they were received, are changed and then mapped.
//!
//! Learners hand over rows of features, in whichever order they look at them. A row is known by its bytes: what it was before
//! the map is looked up among the member's own samples, so that no learner has to know of a map.

use std::fmt;

#[cfg(feature = "training")]
pub(crate) use own_samples::{Originals, OwnSamples};

use crate::error::Result;

/// A fixed map of samples to features, each by itself.
pub trait FeatureMap: Send + Sync + fmt::Debug {
    /// Features of samples that lie one after another, in the same order.
    ///
    /// # Errors
    /// Whatever the map reports; `member` is whose samples they are.
    fn features(&self, member: u64, samples: &[f32]) -> Result<Vec<f32>>;
}

#[cfg(feature = "training")]
mod own_samples {
    use std::collections::HashMap;
    use std::sync::Arc;

    use super::super::augmenter::{Augmenter, Place, Recorded};
    use super::super::Frame;
    use super::FeatureMap;
    use crate::error::{Error, Result};

    /// A row of features, by its bytes.
    type Row = [u8; 32];

    fn row(features: &[f32]) -> Row {
        *blake3::hash(bytemuck::cast_slice(features)).as_bytes()
    }

    /// What members' samples were before the map.
    #[derive(Clone, Debug)]
    pub(crate) struct Originals {
        frame: Frame,
        samples: Vec<f32>,
        /// Where in `samples` a member's sample with these features begins.
        known: HashMap<(u64, Row), usize>,
    }

    impl Originals {
        /// None yet, of samples of the given shape.
        pub(crate) fn new(frame: Frame) -> Self {
            Self { frame, samples: Vec::new(), known: HashMap::new() }
        }

        /// Adds a sample of `member`. Of several with the same features the first is the one that is known.
        pub(crate) fn add(&mut self, member: u64, features: &[f32], received: &[f32]) {
            let start = self.samples.len();
            self.samples.extend_from_slice(received);
            self.known.entry((member, row(features))).or_insert(start);
        }

        fn of(&self, member: u64, features: &[f32]) -> Result<&[f32]> {
            let found = self.known.get(&(member, row(features)));
            let sample = found.and_then(|&start| self.samples.get(start..start + self.frame.len()));
            sample.ok_or_else(|| {
                let what = "its learner asked for changed copies of a sample that is not its own";
                Error::training(Some(member), what)
            })
        }
    }

    /// An augmenter of samples as they were before a map, of which rows of features are changed.
    #[derive(Debug)]
    pub(crate) struct OwnSamples {
        pub(crate) augmenter: Arc<dyn Augmenter>,
        pub(crate) map: Arc<dyn FeatureMap>,
        pub(crate) originals: Originals,
    }

    impl Augmenter for OwnSamples {
        fn recorded(&self) -> &Recorded {
            self.augmenter.recorded()
        }

        fn change(&self, batch: Place, rows: &mut [f32]) -> Result<()> {
            let mut samples = Vec::new();
            for features in rows.chunks_exact(batch.frame.len().max(1)) {
                samples.extend_from_slice(self.originals.of(batch.member, features)?);
            }
            self.augmenter.change(Place { frame: self.originals.frame, ..batch }, &mut samples)?;
            let features = self.map.features(batch.member, &samples)?;
            if features.len() != rows.len() {
                let expected = "a map that gives every sample features of one shape";
                return Err(Error::parameter(
                    "features",
                    expected,
                    format_args!("{} values", features.len()),
                ));
            }
            rows.copy_from_slice(&features);
            Ok(())
        }

        fn may_keep_state(&self) -> bool {
            true
        }
    }
}
