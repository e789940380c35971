//! Certified robustness of classifiers against backdoors in their training data.

mod certify;
mod error;
mod law;
pub mod metrics;
mod normal;
#[cfg(feature = "python")]
mod python;
mod quantity;
mod seed;
mod votes;

pub use certify::{bounds, members_needed};
pub use certify::{Bound, Certificates, Change, Confidence, Evidence, Interval, Record, RunnerUp, Selection};
pub use error::{Error, ErrorKind, Result};
pub use law::{Component, DataFacts, LikelihoodRatio, NoiseLaw};
pub use law::{Discrete, Gaussian, LabelNoise, Law, Product, Subsample, Uniform};
pub use normal::{normal_quantile_lower, normal_quantile_upper};
pub use quantity::{Alpha, NoiseScale, Probability, Quantity, Radius};
pub use seed::{MemberStreams, Role, Seed};
pub use votes::{Ballots, Tally};
