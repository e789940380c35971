//! From votes to certificates: bounds on vote shares, budgets, and what holds within them.

pub mod bounds;
mod budget;
mod certificate;
mod confidence;
mod frontier;
mod plan;

pub use budget::Change;
#[cfg(feature = "python")]
pub(crate) use certificate::check_enough;
pub use certificate::{Certificates, Evidence, Record};
pub use confidence::{members_needed, Bound, Confidence, Interval, RunnerUp, Selection};
pub use plan::{decided, Plan};
