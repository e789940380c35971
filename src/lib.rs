//! Certified robustness of classifiers against backdoors in their training data.

mod error;
mod law;
mod ledger;
mod quantity;
mod seed;

pub use error::{Error, ErrorKind, Result};
pub use law::{DataFacts, Gaussian, LabelNoise, Law, NoiseLaw, Product, Subsample};
pub use ledger::{Asked, Claim, Entry, Ledger, Outcome, Record, Report, Watch};
pub use quantity::{Alpha, NoiseScale, Probability, Quantity, Radius};
pub use seed::{MemberStreams, Role, Seed};
