//! Certified robustness of classifiers against backdoors in their training data.

mod certify;
#[cfg(feature = "torch")]
mod ensemble;
mod error;
mod exact;
mod law;
pub mod metrics;
#[cfg(feature = "torch")]
mod model;
mod normal;
#[cfg(feature = "python")]
mod python;
mod quantity;
mod seed;
mod votes;

pub use certify::{bounds, members_needed};
pub use certify::{Bound, Certificates, Change, Confidence, Evidence, Interval, Record, RunnerUp, Selection};
#[cfg(feature = "torch")]
pub use ensemble::{
    devices, ArrayInputs, ArrayTrainingSet, Control, Ensemble, Inputs, Member, Precision, Progress,
    Record as EnsembleRecord, TrainConfig, TrainingSet,
};
pub use error::{Error, ErrorKind, Result};
pub use exact::{CertifiedKnn, FittedKnn, KnnCertificate};
pub use law::{Component, DataFacts, LikelihoodRatio, NoiseLaw};
pub use law::{Discrete, Gaussian, LabelNoise, Law, Product, Subsample, Uniform};
#[cfg(feature = "torch")]
pub use model::{
    by_name, Architecture, FeatureShape, Init, Layout, Mode, ParameterKind, ParameterSpec, Solution,
    TorchResult, Weights, KNOWN as KNOWN_MODELS,
};
pub use normal::{normal_quantile_lower, normal_quantile_upper};
pub use quantity::{Alpha, NoiseScale, Probability, Quantity, Radius};
pub use seed::{MemberStreams, Role, Seed};
pub use votes::{Ballots, Tally};
