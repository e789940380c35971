//! A member as data: what decides it ([`Record`]), what it is made of ([`Layout`]), and its values. Whoever computes
//! members reads and writes these and nothing else.

mod behaviour;
pub(crate) mod built_in;
pub(crate) mod checkpoint;
mod claims;
mod config;
mod data;
mod device;
pub(crate) mod encoding;
mod history;
mod layout;
mod learners;
mod record;
mod rows;
mod shape;
mod shards;
mod store;
mod values;
pub(crate) mod votes;

use std::fmt;

pub use behaviour::Behaviour;
pub use config::Settings;
pub(crate) use config::STACK;
pub use config::{Convolution, Precision, TrainConfig};
pub(crate) use data::{check_classes, check_features, check_label, check_sizes, hex, read, unhex};
pub use data::{ArrayInputs, ArrayTrainingSet, Inputs, TrainingSet, Trusted};
pub use device::{Device, Gpus};
pub use history::History;
pub use layout::{Init, Layout, ParameterKind, ParameterSpec};
pub(crate) use learners::TrainedOn;
pub use record::Record;
pub(crate) use record::SCHEMA;
#[cfg(feature = "python")]
pub(crate) use rows::Digests;
pub use rows::{Look, Pages, Rows, Sums, Typed};
pub use shape::FeatureShape;
#[cfg(feature = "python")]
pub use values::Object;
pub use values::Values;
pub(crate) use values::{check_members, forgotten, keep_freed_memory, Packed};

/// One trained member: all its parameters, in the order of its layout.
///
/// A member whose training diverged is one too: it votes for the lowest class, whatever it is asked. Whether that
/// happened is decided by its noised set alone, so that its vote is a function of that as every other member's.
#[derive(Clone)]
pub struct Member {
    /// Its number, which addresses its random streams.
    pub number: u64,
    /// Its parameters and running statistics.
    pub values: Values,
    /// Mean training loss of the last epoch; NaN marks one whose training diverged, infinity one that had too few samples.
    pub loss: f32,
}

impl Member {
    /// A member whose loss or parameters became infinite or NaN.
    pub fn failed(number: u64, n_values: usize) -> Self {
        Self { number, values: vec![0.0; n_values].into(), loss: f32::NAN }
    }

    /// A learner of a partition with too few samples to be trained: it votes for a class that is fixed by its number.
    pub fn idle(number: u64, n_values: usize) -> Self {
        Self { loss: f32::INFINITY, ..Self::failed(number, n_values) }
    }

    /// Whether it had too few samples.
    pub fn is_idle(&self) -> bool {
        self.loss == f32::INFINITY
    }

    /// The class that it votes for whatever it is asked, if it has learned nothing: the lowest where training diverged.
    pub(crate) fn fixed_class(&self, n_classes: usize) -> usize {
        let own = usize::try_from(self.number).unwrap_or(0) % n_classes.max(1);
        if self.is_idle() {
            own
        } else {
            0
        }
    }

    /// Whether it has learned nothing: its training diverged, or it had too few samples.
    pub fn is_failed(&self) -> bool {
        !self.loss.is_finite()
    }

    /// A member with its values, unless its training diverged. A last step may overflow although the loss before it was
    /// finite.
    pub(crate) fn finished(number: u64, values: Vec<f32>, loss: f32) -> Self {
        if !loss.is_finite() || !all_finite(&values) {
            return Self::failed(number, values.len());
        }
        Self { number, values: values.into(), loss }
    }
}

/// Whether no value is infinite or NaN.
pub(crate) fn all_finite(values: &[f32]) -> bool {
    values.iter().all(|value| value.is_finite())
}

/// Bit for bit as far as the loss goes: of those that failed, too, two are the same.
impl PartialEq for Member {
    fn eq(&self, other: &Self) -> bool {
        let same = self.number == other.number && self.loss.to_bits() == other.loss.to_bits();
        same && self.values == other.values
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, values, loss } = self;
        write!(f, "Member {{ number: {number}, loss: {loss}, {} values }}", values.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_whose_last_step_overflows_has_failed_and_keeps_nothing_of_it() {
        let finished = Member::finished(4, vec![1.0, f32::INFINITY], 0.5);
        assert!(finished.is_failed() && finished == Member::failed(4, 2));
        assert!(Member::finished(4, vec![1.0, 2.0], f32::NAN).is_failed());
        assert!(!Member::finished(4, vec![1.0, 2.0], 0.5).is_failed());
        assert!(Member::idle(4, 2).is_failed() && Member::idle(4, 2).is_idle());
        assert!(!Member::failed(4, 2).is_idle());
        assert_eq!([Member::idle(4, 2), Member::failed(4, 2)].map(|member| member.fixed_class(3)), [1, 0]);
    }
}
