//! Certified robustness of classifiers against backdoors in their training data.

mod error;
mod exact;
mod law;
mod quantity;
mod seed;

pub use error::{Error, ErrorKind, Result};
pub use exact::{CertifiedKnn, FittedKnn, KnnCertificate};
pub use law::{DataFacts, Gaussian, LabelNoise, Law, NoiseLaw, Product, Subsample};
pub use quantity::{Alpha, NoiseScale, Probability, Quantity, Radius};
pub use seed::{MemberStreams, Role, Seed};
