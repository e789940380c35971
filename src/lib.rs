//! Certified robustness of classifiers against backdoors in their training data.

#[cfg(feature = "torch")]
mod ensemble;
mod error;
mod law;
#[cfg(feature = "torch")]
mod model;
mod quantity;
mod seed;

#[cfg(feature = "torch")]
pub use ensemble::{
    devices, ArrayInputs, ArrayTrainingSet, Control, Ensemble, Inputs, Member, Precision, Progress, Record,
    TrainConfig, TrainingSet,
};
pub use error::{Error, ErrorKind, Result};
pub use law::{DataFacts, Gaussian, LabelNoise, Law, NoiseLaw, Product, Subsample};
#[cfg(feature = "torch")]
pub use model::{
    by_name, Architecture, FeatureShape, Init, Layout, Mode, ParameterKind, ParameterSpec, TorchResult,
    Weights, KNOWN as KNOWN_MODELS,
};
pub use quantity::{Alpha, NoiseScale, Probability, Quantity, Radius};
pub use seed::{MemberStreams, Role, Seed};
