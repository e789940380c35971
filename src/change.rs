//! How far two training sets may be apart.

use serde::{Deserialize, Serialize};

/// A budget per sample: at most `n_poisoned` training samples changed in place, each by a trigger of L2 norm
/// at most `trigger_norm`, and with any labels if `labels` is set. Insertions and deletions are not covered.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Largest number of changed samples, r.
    pub n_poisoned: usize,
    /// Largest L2 norm of the change of one sample, t, in the units of the features; infinity for any change.
    pub trigger_norm: f64,
    /// Whether the labels of the changed samples may change as well.
    pub labels: bool,
}
