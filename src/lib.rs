//! Certified robustness of classifiers against backdoors in their training data.
//!
//! Somebody may have changed a training set. An ensemble whose members are trained on independently noised copies
//! of it votes, and the votes certify: with probability at least 1 - alpha over the noise, every training set within
//! a stated budget of the received one gives the same prediction.
//!
//! Three rings: statistics (always), members and training (feature `training`; through libtorch as well with `torch`),
//! Python bindings (feature `python`; for libtorch alone, as a module of its own, feature `extension`).
//!
//! # Quick start
//! Votes of 1000 members, each trained on 100 of 12,665 samples with noise of standard deviation 1, all agree. How
//! large a trigger on 253 of the training samples does the prediction survive?
//! ```
//! use certssb::{Ballots, Certificates, Change, Confidence, DataFacts, Gaussian, Law, Subsample};
//! use ndarray::Array2;
//!
//! let law = Law::Subsample(Subsample::new(Some(Law::Gaussian(Gaussian::new(1.0)?)), 100)?);
//! let facts = DataFacts { n_train: 12_665, n_features: Some(784), n_classes: 2 };
//! let votes = Ballots::from_votes(Array2::ones((1000, 1)), 2)?;
//! let confidence = Confidence::at(0.001).for_votes(1000, 2)?;
//! let certificates = Certificates::from_ballots(law, facts, confidence, None, &votes)?;
//!
//! assert!(certificates.trigger_norm(253, false)?[0] > 1.75);
//! assert!(certificates.holds(&Change { n_poisoned: 253, trigger_norm: 1.0, labels: false })?[0]);
//! println!("{}", certificates.guarantee());
//! # Ok::<(), certssb::Error>(())
//! ```

mod augment;
#[cfg(feature = "training")]
mod backend;
mod binomial;
mod certify;
mod change;
#[cfg(feature = "training")]
mod ensemble;
mod error;
mod exact;
#[cfg(any(feature = "python", feature = "extension"))]
mod exception;
#[cfg(feature = "extension")]
mod extension;
mod files;
mod interval;
pub mod kernel;
mod law;
mod ledger;
#[cfg(feature = "training")]
mod member;
pub mod metrics;
mod noise;
mod normal;
mod partition;
mod process;
#[cfg(feature = "python")]
mod python;
mod quantity;
mod scattering;
mod seed;
mod size;
mod stop;
#[cfg(feature = "torch")]
mod torch;
mod vectors;
mod votes;

pub use augment::{Augment, Augmentation, Augmenter, FeatureMap, Frame, Pixel, Place, Recorded};
#[cfg(feature = "training")]
pub use backend::{Backend, Batch, Batching, Fit, NoisySet, Panel, Search, Session};
pub use certify::{bounds, cascade_radius, decide, decided, members_needed};
pub use certify::{
    Bound, Certificates, Choices, Confidence, ConfidenceBuilder, Decision, Detail, Evidence, LevelBounds,
    LevelMargins, Plan, Record, RunnerUp, Selection, Settled,
};
pub use change::{Change, Counted, Edits, Kind, Threat};
#[cfg(feature = "training")]
pub use ensemble::{devices, Control, Elsewhere, Ensemble, Execution, Influence, Progress};
pub use error::{Error, ErrorKind, Result};
pub use exact::{CertifiedKnn, FittedKnn, KnnCertificate};
pub use interval::Interval;
pub use law::{BothWays, Component, DataFacts, LikelihoodRatio, NoiseLaw};
pub use law::{
    Cascade, Discrete, Gaussian, Guarantee, LabelNoise, Law, Partition, Product, SampleSpecific, SigmaSearch,
    Subsample, Uniform,
};
pub use ledger::{Asked, Claim, Entry, Ledger, Outcome, Patience, Record as LedgerRecord, Report, Watch};
#[cfg(feature = "training")]
pub use member::{
    built_in::KNOWN as KNOWN_MODELS, ArrayInputs, ArrayTrainingSet, Behaviour, Convolution, Device,
    FeatureShape, Gpus, History, Init, Inputs, Layout, Look, Member, Pages, ParameterKind, ParameterSpec,
    Precision, Record as EnsembleRecord, Rows, Settings, Sums, TrainConfig, TrainingSet, Typed, Values,
};
pub use normal::{normal_quantile_lower, normal_quantile_upper};
pub use partition::{favourites, plurality, run_off, Assign, Assignment, Election, HashKey, Spread, Verdict};
pub use quantity::{Alpha, NoiseScale, Probability, Quantity, Radius};
pub use scattering::Scattering;
pub use seed::{MemberStreams, Role, Seed};
pub use stop::{asking, until};
#[cfg(feature = "torch")]
pub use torch::{by_name, Architecture, How, Mode, Solution, Torch, TorchResult, Weights};
pub use votes::{Answers, Ballots, ClassNumber, Counts, Poll, Tally};
