//! From votes to certificates: bounds on vote shares, budgets, and what holds within them.

pub mod bounds;
mod cascade;
mod certificate;
mod confidence;
mod frontier;
mod plan;

pub use cascade::{cascade_radius, decide, Decision, LevelBounds, LevelMargins};
#[cfg(feature = "python")]
pub(crate) use certificate::check_enough;
pub use certificate::{Certificates, Detail, Evidence, Record, Settled};
pub use confidence::{members_needed, Bound, Confidence, RunnerUp, Selection};
pub use plan::{decided, Plan};
