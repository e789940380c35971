//! From votes to certificates: bounds on vote shares, budgets, and what holds within them.

pub mod bounds;
mod cascade;
mod certificate;
mod claims;
mod confidence;
mod detail;
mod election;
mod enough;
mod frontier;
mod levels;
mod one_law;
mod plan;
mod proof;
mod published;
mod record;
mod sentence;
mod settings;

pub use cascade::{cascade_radius, decide, Decision, LevelBounds, LevelMargins};
pub use certificate::{Certificates, Choices};
pub use confidence::{members_needed, Confidence};
pub use detail::{Detail, Settled};
#[cfg(feature = "python")]
pub(crate) use enough::check_enough;
pub use plan::{decided, Plan};
pub use record::{Evidence, Record};
pub use settings::{Bound, ConfidenceBuilder, RunnerUp, Selection};
