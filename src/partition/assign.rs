//! Which bucket a training sample belongs to, and the order in which a learner sees its samples.
//!
//! Both are functions of contents alone. Content is hashed with BLAKE3 under a key, at the speed of memory; whoever inserts
//! a sample may choose its bucket, which the certificate allows for, since it speaks of buckets chosen in the worst way.

use blake3::hazmat::ChainingValue;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::lanes::{self, LANES};
use super::spread::Spread;
use crate::error::{Error, Result};
use crate::process;

/// What decides the bucket of a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assign {
    /// Features and label: an insertion, a deletion or a change of one sample touches one bucket, one, or two.
    #[default]
    Content,
    /// Features alone: a changed label touches one bucket.
    Features,
    /// The sample's number: a change in place touches one bucket; insertions and deletions are not covered.
    Index,
}

impl Assign {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::Features => "features",
            Self::Index => "index",
        }
    }

    /// What puts a sample into its bucket, in words.
    pub(crate) fn by(self) -> &'static str {
        match self {
            Self::Content => "a hash of their features and label",
            Self::Features => "a hash of their features",
            Self::Index => "their number in the training set",
        }
    }

    /// The assignment of that name.
    ///
    /// # Errors
    /// `Parameter` for an unknown name; lists the known.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "content" => Ok(Self::Content),
            "features" => Ok(Self::Features),
            "index" => Ok(Self::Index),
            other => Err(Error::unknown("assign", &["content", "features", "index"], other)),
        }
    }
}

/// The key of the hash: another key, another partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HashKey([u8; 32]);

impl HashKey {
    /// The key that belongs to a seed.
    pub fn from_seed(seed: u64) -> Self {
        Self(blake3::derive_key("certssb 2026 partition of a training set", &seed.to_le_bytes()))
    }
}

/// Digest of a sample's features and label.
type Content = [u8; 32];

/// Samples that one thread hashes at a time.
#[cfg(feature = "training")]
const ROWS: usize = 256;

/// Every training sample's bucket and place in a learner's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    buckets: Vec<u32>,
    /// Samples of bucket b, in order, are `members[starts[b]..starts[b + 1]]`.
    starts: Vec<usize>,
    members: Vec<usize>,
    /// Digest of each sample's features and label.
    contents: Vec<Content>,
}

impl Assignment {
    /// Assigns samples whose features lie one after another, `n_features` each.
    ///
    /// # Errors
    /// `Shape` unless there are `n_features` values and one label for every sample.
    ///
    /// # Example
    /// ```
    /// use certssb::{Assign, Assignment, HashKey, Spread};
    ///
    /// let (features, labels) = (vec![0.5_f32; 12], vec![1_u32, 1, 1, 0]);
    /// let spread = Spread::disjoint(3)?;
    /// let parts = Assignment::new(&features, 3, &labels, &spread, Assign::Content, HashKey::from_seed(0))?;
    /// assert_eq!(parts.bucket(0), parts.bucket(2)); // equal samples lie together
    /// # Ok::<(), certssb::Error>(())
    /// ```
    pub fn new(
        features: &[f32],
        n_features: usize,
        labels: &[u32],
        spread: &Spread,
        assign: Assign,
        key: HashKey,
    ) -> Result<Self> {
        let n = labels.len();
        if n_features == 0 || n.checked_mul(n_features) != Some(features.len()) {
            let expected = format_args!("{n_features} features for each of {n} labels");
            return Err(Error::shape("X", expected, format_args!("{} values", features.len())));
        }
        let hash = Hash { n_buckets: spread.n_learners(), assign, key };
        let size = side_by_side(n_features);
        let blocks: Vec<Vec<(u32, Content)>> = process::install(|| {
            let blocks = features.par_chunks(size * n_features).zip(labels.par_chunks(size)).enumerate();
            blocks.map(|(block, (rows, labels))| hash.of_rows(block * size, rows, labels)).collect()
        })?;
        Self::of(blocks.concat(), spread)
    }

    /// Assigns samples that `read` writes, one at a time, into a place for `n_features` values, and gives the label of.
    ///
    /// # Errors
    /// The first of `read`'s.
    #[cfg(feature = "training")]
    pub(crate) fn reading(
        (n, n_features): (usize, usize),
        spread: &Spread,
        assign: Assign,
        key: HashKey,
        read: impl Fn(usize, &mut [f32]) -> Result<u32> + Sync,
    ) -> Result<Self> {
        let hash = Hash { n_buckets: spread.n_learners(), assign, key };
        let starts: Vec<usize> = (0..n).step_by(ROWS).collect();
        let block = |start: usize| -> Result<Vec<(u32, Content)>> {
            let (end, size) = (n.min(start + ROWS), side_by_side(n_features));
            let (mut rows, mut labels) = (vec![0.0; size * n_features], Vec::with_capacity(size));
            let mut hashed = Vec::with_capacity(end - start);
            for first in (start..end).step_by(size) {
                labels.clear();
                let own = &mut rows[..n_features * size.min(end - first)];
                for (index, row) in (first..).zip(own.chunks_exact_mut(n_features)) {
                    labels.push(read(index, row)?);
                }
                hashed.extend(hash.of_rows(first, own, &labels));
            }
            Ok(hashed)
        };
        let blocks: Vec<Vec<(u32, Content)>> =
            process::install_each(starts.into_par_iter(), || (), |(), start| block(start))?;
        Self::of(blocks.concat(), spread)
    }

    fn of(hashed: Vec<(u32, Content)>, spread: &Spread) -> Result<Self> {
        let (n, n_buckets) = (hashed.len(), spread.n_learners());
        let (buckets, contents): (Vec<u32>, Vec<Content>) = hashed.into_iter().unzip();
        let mut members: Vec<usize> = (0..n).collect();
        // Samples of equal content are equal, so that their order among themselves is no information.
        process::install(|| members.par_sort_unstable_by_key(|i| (buckets[*i], contents[*i], *i)))?;
        let mut starts = vec![0; n_buckets + 1];
        for bucket in &buckets {
            starts[*bucket as usize + 1] += 1;
        }
        for bucket in 0..n_buckets {
            starts[bucket + 1] += starts[bucket];
        }
        Ok(Self { buckets, starts, members, contents })
    }

    /// The bucket of a sample.
    pub fn bucket(&self, sample: usize) -> Option<usize> {
        self.buckets.get(sample).map(|bucket| *bucket as usize)
    }

    /// The samples that a learner trains on, in an order that is a function of their contents.
    pub fn samples(&self, learner: usize, spread: &Spread) -> Vec<usize> {
        let of = |bucket: usize| match (self.starts.get(bucket), self.starts.get(bucket + 1)) {
            (Some(from), Some(to)) => &self.members[*from..*to],
            _ => &[],
        };
        let mut samples: Vec<usize> =
            spread.feeding(learner).flat_map(|bucket| of(bucket).iter().copied()).collect();
        samples.sort_unstable_by_key(|i| (self.contents[*i], *i));
        samples
    }

    /// A digest of all that a learner trains on: the contents of its samples, in order. Two that are equal say that the
    /// learner need not be trained again.
    #[cfg(feature = "training")]
    pub(crate) fn digest(&self, learner: usize, spread: &Spread) -> Content {
        digest_of(self.samples(learner, spread).into_iter().map(|sample| &self.contents[sample]))
    }

    /// That of a learner without samples.
    #[cfg(feature = "training")]
    pub(crate) fn digest_of_none() -> Content {
        digest_of(std::iter::empty())
    }
}

#[cfg(feature = "training")]
fn digest_of<'a>(contents: impl Iterator<Item = &'a Content>) -> Content {
    let mut hasher = blake3::Hasher::new_derive_key("certssb 2026 samples of a learner");
    contents.for_each(|content| {
        hasher.update(content);
    });
    *hasher.finalize().as_bytes()
}

/// How many rows are hashed together: one where it fills vectors alone.
fn side_by_side(n_features: usize) -> usize {
    if n_features.saturating_mul(size_of::<f32>()) < LANES * blake3::CHUNK_LEN {
        LANES
    } else {
        1
    }
}

/// What turns a sample into its bucket and its content.
#[derive(Clone, Copy)]
struct Hash {
    n_buckets: usize,
    assign: Assign,
    key: HashKey,
}

impl Hash {
    /// Of rows that lie one after another, of which the first has the number `first`.
    fn of_rows(&self, first: usize, rows: &[f32], labels: &[u32]) -> Vec<(u32, Content)> {
        let n_features = (rows.len() / labels.len().max(1)).max(1);
        // Equal numbers are equal content: -0 is hashed as the 0 that it equals.
        let signed = rows.iter().fold(false, |found, value| found | (value.to_bits() == 1 << 31));
        let without: Vec<f32> =
            if signed { rows.iter().map(|value| value + 0.0).collect() } else { Vec::new() };
        let rows = if signed { &without } else { rows };
        let rows: Vec<&[u8]> = rows.chunks_exact(n_features).map(bytes).collect();
        let whole = lanes::whole_chunks(&self.key.0, &rows);
        let each = rows.into_iter().zip(whole).zip(labels);
        (first..)
            .zip(each)
            .map(|(index, ((row, whole), label))| self.of(index, row, &whole, *label))
            .collect()
    }

    /// Of one row, of whose whole chunks the chaining values are known.
    fn of(&self, index: usize, row: &[u8], whole: &[ChainingValue], label: u32) -> (u32, Content) {
        let rest = &row[whole.len() * blake3::CHUNK_LEN..];
        let hashed = |rest: &[u8]| match (whole.len() * blake3::CHUNK_LEN + rest.len(), whole) {
            (1025.., _) => lanes::digest(&self.key.0, whole, rest),
            (_, []) => blake3::keyed_hash(&self.key.0, rest),
            _ => blake3::keyed_hash(&self.key.0, row),
        };
        let of_features = matches!(self.assign, Assign::Features).then(|| hashed(rest));
        let content = hashed(&[rest, &label.to_le_bytes()].concat());
        let deciding = match self.assign {
            Assign::Content => content,
            Assign::Features => of_features.unwrap_or(content),
            Assign::Index => blake3::keyed_hash(&self.key.0, &(index as u64).to_le_bytes()),
        };
        // The bucket follows from the first bytes; the order of a bucket's samples should not.
        let mut order = *content.as_bytes();
        order.rotate_left(16);
        (bucket_of(&deciding, self.n_buckets), order)
    }
}

/// A number below `n` from the first eight bytes of a hash; uneven by less than n / 2^64.
fn bucket_of(hash: &blake3::Hash, n: usize) -> u32 {
    let mut word = [0; 8];
    word.copy_from_slice(&hash.as_bytes()[..8]);
    ((u128::from(u64::from_le_bytes(word)) * n as u128) >> 64) as u32
}

/// The values' bytes as they lie in memory; on a machine of the other byte order the partition is another.
fn bytes(values: &[f32]) -> &[u8] {
    bytemuck::cast_slice(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_numbers_lie_in_one_bucket() -> Result<()> {
        let (key, spread) = (HashKey::from_seed(5), Spread::disjoint(97)?);
        for assign in [Assign::Content, Assign::Features, Assign::Index] {
            let parts = |zero: f32| {
                let features: Vec<f32> = (0..80).map(|i| if i % 3 == 0 { zero } else { i as f32 }).collect();
                Assignment::new(&features, 4, &[1; 20], &spread, assign, key)
            };
            assert_eq!(parts(0.0)?, parts(-0.0)?, "{assign:?}");
            assert_ne!(parts(0.0)?, parts(f32::from_bits(1))?, "{assign:?}");
        }
        Ok(())
    }

    #[test]
    fn assignments_are_those_of_rows_that_are_hashed_alone() -> Result<()> {
        let (key, spread) = (HashKey::from_seed(5), Spread::disjoint(97)?);
        for n_features in [1, 255, 256, 257, 512, 768, 784, 1023, 3072, 4096, 5000] {
            let n = 37;
            let features: Vec<f32> = (0..n * n_features).map(|i| ((i * 31) % 1009) as f32).collect();
            let labels: Vec<u32> = (0..n as u32).map(|i| i % 3).collect();
            for assign in [Assign::Content, Assign::Features, Assign::Index] {
                let parts = Assignment::new(&features, n_features, &labels, &spread, assign, key)?;
                for (index, row) in features.chunks_exact(n_features).enumerate() {
                    let mut hasher = blake3::Hasher::new_keyed(&key.0);
                    let of_features = hasher.update(bytes(row)).finalize();
                    let content = hasher.update(&labels[index].to_le_bytes()).finalize();
                    let of_index = blake3::keyed_hash(&key.0, &(index as u64).to_le_bytes());
                    let deciding = match assign {
                        Assign::Content => &content,
                        Assign::Features => &of_features,
                        Assign::Index => &of_index,
                    };
                    assert_eq!(parts.buckets[index], bucket_of(deciding, 97), "{n_features} {assign:?}");
                    let mut order = *content.as_bytes();
                    order.rotate_left(16);
                    assert_eq!(parts.contents[index], order);
                }
            }
        }
        Ok(())
    }
}
