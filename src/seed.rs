//! Randomness: one root seed, one ChaCha stream per (role, member, sample).
//!
//! Every random number of a run comes from a stream addressed by what it is for, never by when
//! it is drawn. Results therefore do not depend on threads, batch size or order.

use std::cell::Cell;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Number of the member of sample-specific noise's published form that finds magnitudes; no ensemble has so many members.
pub(crate) const SCOUT: u64 = 1 << 62;

/// What a stream is for. Two roles never share a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Role {
    /// Noise on the features of one training sample.
    Noise = 1,
    /// Noise on the label of one training sample.
    Label = 2,
    /// Which training samples a member sees.
    Subsample = 3,
    /// Initial weights (the sample number is the parameter's number).
    Weights = 4,
    /// Order of the batches (the sample number is the epoch).
    Shuffle = 5,
    /// Dropout and other randomness inside a model.
    Model = 6,
    /// Noise on a test input.
    TestNoise = 7,
    /// Noise of the sigma search.
    Optimise = 8,
    /// Fixed feature maps, drawn once before any data is seen.
    FeatureMap = 9,
    /// Noise of a sample's own magnitude, on top of the law's.
    ExtraNoise = 10,
    /// Random changes of a member's own noised images while it is trained.
    Augment = 11,
    /// The displacements of one elastic change (the root is a word of the change's own stream).
    Displacement = 12,
    /// The order in which a member's drawn samples are shown to it, where they are drawn one by one.
    Order = 13,
}

/// The root seed of a run.
///
/// # Example
/// ```
/// use certssb::{Role, Seed};
/// use rand::Rng;
/// let seed = Seed::new(7);
/// let a = seed.stream(Role::Noise, 3, 10).next_u64();
/// let b = seed.stream(Role::Noise, 3, 10).next_u64();
/// let c = seed.stream(Role::Noise, 3, 11).next_u64();
/// assert_eq!(a, b);
/// assert_ne!(a, c);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed(u64);

impl Seed {
    /// A root seed.
    pub fn new(root: u64) -> Self {
        Self(root)
    }

    /// The number the user gave.
    pub fn root(self) -> u64 {
        self.0
    }

    /// The streams of one role and member; take one per sample with [`MemberStreams::sample`].
    pub fn member(self, role: Role, member: u64) -> MemberStreams {
        // Rows are asked for one by one, and a hash takes as long as 50 values of one: the last key is kept.
        let address = (self.0, role, member);
        LAST.with(|last| match last.get() {
            Some((known, streams)) if known == address => streams,
            _ => {
                let streams = MemberStreams::of(address);
                last.set(Some((address, streams)));
                streams
            }
        })
    }

    /// The stream of one role, member and sample.
    pub fn stream(self, role: Role, member: u64, sample: u64) -> ChaCha8Rng {
        self.member(role, member).sample(sample)
    }
}

/// Root seed, role, member.
type Address = (u64, Role, u64);

thread_local! {
    static LAST: Cell<Option<(Address, MemberStreams)>> = const { Cell::new(None) };
}

/// All streams of one (role, member); one per sample.
#[derive(Clone, Copy, Debug)]
pub struct MemberStreams([u8; 32]);

impl MemberStreams {
    fn of((root, role, member): Address) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"certssb stream 1");
        hash.update(root.to_le_bytes());
        hash.update([role as u8]);
        hash.update(member.to_le_bytes());
        Self(hash.finalize().into())
    }

    /// The stream of one sample, from its beginning.
    pub fn sample(&self, sample: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::from_seed(self.0);
        rng.set_stream(sample);
        rng
    }

    /// ChaCha's key.
    pub(crate) fn key(&self) -> [u32; 8] {
        let mut words = [0; 8];
        for (word, bytes) in words.iter_mut().zip(self.0.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;
    use std::collections::HashSet;

    #[test]
    fn streams_of_different_addresses_differ_and_repeat() {
        let mut seen = HashSet::new();
        for root in [0, 1, u64::MAX] {
            for role in [Role::Noise, Role::Label, Role::Subsample, Role::Weights] {
                for member in 0..5 {
                    for sample in 0..20 {
                        let word = Seed::new(root).stream(role, member, sample).next_u64();
                        assert_eq!(word, Seed::new(root).stream(role, member, sample).next_u64());
                        assert!(seen.insert(word), "{root} {role:?} {member} {sample}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_stream_is_pinned_for_ever() {
        // Checkpoints of one version are resumed by the next: the streams must not move.
        let word = Seed::new(42).stream(Role::Noise, 1, 2).next_u64();
        assert_eq!(word, PINNED);
    }

    const PINNED: u64 = 15_144_656_804_744_762_519;
}
