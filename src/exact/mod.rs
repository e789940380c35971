//! Exact laws: certificates that need no members, because the noised classifier's probabilities are integrals.
//!
//! * `noncentral`: density and tails of the distance to a noised training point.
//! * `table`: those functions as Chebyshev series in the distance before the noise.
//! * `panels`: nodes for integrals that end at the nearest point without noise.
//! * `nearest`: which class holds the nearest noised training point, one integral per class.
//! * `knn`: the classifier, its probabilities and its certificates.

mod distance;
mod knn;
mod nearest;
mod noncentral;
mod panels;
mod table;

pub use knn::{CertifiedKnn, FittedKnn, KnnCertificate};
