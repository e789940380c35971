//! Partitions: certificates without chance (DPA, Levine and Feizi 2021; Finite Aggregation, Wang et al. 2022; Run-Off
//! Election, Rezaei et al. 2023).
//!
//! A keyed hash of a sample's content puts it into one of B *buckets*; a learner trains on the buckets that feed it and on
//! nothing else, deterministically. Who inserts, deletes or modifies training samples changes the learners that the touched
//! buckets feed and no others, so that the votes alone say how many buckets may change before the prediction does.
//!
//! | file | what |
//! |---|---|
//! | `assign` | which bucket a sample belongs to, and the order in which a learner sees its samples |
//! | `lanes` | hashes of many samples at a time |
//! | `spread` | which learners a bucket feeds, and how few buckets move votes by how much |
//! | `election` | plurality and run-off: the winner, and the buckets that may change |

mod assign;
mod election;
mod lanes;
mod spread;

pub use assign::{Assign, Assignment, HashKey};
pub use election::{favourites, plurality, run_off, Election, Verdict};
pub use spread::Spread;
