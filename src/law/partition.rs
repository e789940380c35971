//! A partition of the training set among learners: nothing is drawn, and what holds is counted in buckets.
//!
//! How samples get into buckets and buckets to learners, and how few of them can turn an election, is in
//! [`crate::partition`]; here is what a record and a certificate need to know of it.

use serde::{Deserialize, Serialize};

use super::{DataFacts, NoiseLaw};
use crate::change::Change;
use crate::error::{Error, Result};
use crate::partition::{Assign, Spread};
use crate::seed::Seed;

/// Learners that each see the samples of their own buckets and nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Partition {
    n_parts: usize,
    assign: Assign,
    spread: Spread,
}

impl Partition {
    /// A partition into `n_parts` times `overlap` buckets for as many learners: each bucket feeds `overlap` learners, so
    /// that a learner sees about 1/`n_parts` of the samples. Bucket h feeds the learners h + s modulo their number for
    /// every shift s; shifts that are not given are 0 and others that are mixed from the numbers alone.
    ///
    /// # Errors
    /// [`ErrorKind::Parameter`](crate::ErrorKind::Parameter) for numbers out of range, or shifts that are not `overlap`
    /// different numbers of learners.
    ///
    /// # Example
    /// ```
    /// use certssb::{Assign, Partition};
    /// let overlapping = Partition::new(25, 2, Assign::Content, Some(vec![0, 1]))?;
    /// assert_eq!(overlapping.spread().n_learners(), 50);
    /// assert!(Partition::new(25, 2, Assign::Content, Some(vec![0])).is_err());
    /// # Ok::<(), certssb::Error>(())
    /// ```
    pub fn new(n_parts: usize, overlap: usize, assign: Assign, shifts: Option<Vec<usize>>) -> Result<Self> {
        if overlap == 0 {
            return Err(Error::parameter("overlap", "an integer of at least 1", overlap));
        }
        // Zero parts, or too many, are refused by the spread.
        let n_learners = n_parts.saturating_mul(overlap);
        let spread = match shifts {
            Some(shifts) if shifts.len() != overlap => {
                let expected = format_args!("one for each of the {overlap} learners that a bucket feeds");
                return Err(Error::parameter("shifts", expected, shifts.len()));
            }
            Some(shifts) => Spread::new(n_learners, shifts)?,
            None => Spread::mixed(n_learners, overlap)?,
        };
        Ok(Self { n_parts, assign, spread })
    }

    /// How many learners' worth of data there is without overlap.
    pub fn n_parts(&self) -> usize {
        self.n_parts
    }

    /// What decides the bucket of a sample.
    pub fn assign(&self) -> Assign {
        self.assign
    }

    /// Which learners a bucket feeds.
    pub fn spread(&self) -> &Spread {
        &self.spread
    }

    /// The shifts, unless they are those that follow from the numbers alone.
    #[cfg(feature = "python")]
    pub(crate) fn own_shifts(&self) -> Option<&[usize]> {
        let usual = Spread::mixed(self.spread.n_learners(), self.spread.degree());
        let usual = usual.is_ok_and(|usual| usual == self.spread);
        (!usual).then(|| self.spread.shifts())
    }

    /// How many buckets one sample that is changed in place may touch: it leaves one and enters another, unless it is the
    /// same for what decides its bucket.
    pub(crate) fn touched(&self, change: &Change) -> usize {
        match (self.assign, change.trigger_norm > 0.0, change.labels) {
            (_, false, false) => 0,
            (Assign::Index, _, _) | (Assign::Features, false, true) => 1,
            _ => 2,
        }
    }
}

impl NoiseLaw for Partition {
    fn check(&self, facts: &DataFacts) -> Result<()> {
        if facts.n_train > 0 && self.n_parts > facts.n_train {
            let expected = format_args!("at most the number of training samples, {}", facts.n_train);
            return Err(Error::parameter("n_parts", expected, self.n_parts));
        }
        Ok(())
    }

    // Nothing is drawn: learners are functions of their buckets, and an ensemble of noised sets refuses it as its law.

    fn subset(&self, _seed: Seed, _member: u64, _n_train: usize) -> Option<Vec<usize>> {
        None
    }

    fn noise_features(&self, _seed: Seed, _member: u64, _sample: usize, _features: &mut [f32]) {}

    fn noise_label(&self, _seed: Seed, _member: u64, _sample: usize, label: u32, _n_classes: usize) -> u32 {
        label
    }

    fn noises_test_inputs(&self) -> bool {
        false
    }

    fn noise_test_input(&self, _seed: Seed, _member: u64, _sample: usize, _features: &mut [f32]) {}

    /// Buckets by index follow the places of samples, which insertions move.
    fn covers_edits(&self) -> bool {
        self.assign != Assign::Index
    }

    /// What changes how many buckets.
    fn covered(&self) -> String {
        match self.assign {
            Assign::Content => {
                "an inserted or deleted sample, even a copy of another, changes 1 bucket and a sample \
                 modified in place, label included, changes at most 2, so that every symmetric difference \
                 of at most n_buckets samples is covered"
            }
            Assign::Features => {
                "an inserted or deleted sample, even a copy of another, or a changed label alone changes 1 \
                 bucket and a sample whose features are modified in place, label included, changes at most \
                 2"
            }
            Assign::Index => {
                "a sample modified in place, label included, changes 1 bucket; inserting or deleting \
                 samples is not covered"
            }
        }
        .to_owned()
    }

    fn describe(&self) -> String {
        let (n, degree) = (self.spread.n_learners(), self.spread.degree());
        let by = self.assign.by();
        match degree {
            1 => format!("a partition of the samples by {by} into {n} buckets, one for each learner"),
            _ => {
                format!(
                    "a partition of the samples by {by} into {n} buckets, each of which feeds {degree} of {n} learners"
                )
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::law::{Cascade, Gaussian, Law, Product, Subsample};

    fn partition(assign: Assign) -> Partition {
        Partition::new(10, 1, assign, None).unwrap()
    }

    #[test]
    fn how_many_buckets_a_changed_sample_touches() {
        let change = |trigger_norm, labels| Change { n_poisoned: 1, trigger_norm, labels };
        let kinds = [change(0.0, false), change(0.0, true), change(0.1, false), change(f64::INFINITY, true)];
        for (assign, expected) in
            [(Assign::Content, [0, 2, 2, 2]), (Assign::Features, [0, 1, 2, 2]), (Assign::Index, [0, 1, 1, 1])]
        {
            assert_eq!(kinds.map(|kind| partition(assign).touched(&kind)), expected, "{assign:?}");
        }
    }

    #[test]
    fn shifts_that_are_not_given_differ_and_depend_on_the_numbers_alone() {
        for (parts, overlap) in [(1, 1), (1, 3), (50, 16), (7, 5), (1200, 2)] {
            let spread = Partition::new(parts, overlap, Assign::Content, None).unwrap().spread().clone();
            assert_eq!((spread.n_learners(), spread.degree()), (parts * overlap, overlap));
            assert_eq!(spread.shifts()[0], 0);
            let again = Partition::new(parts, overlap, Assign::Index, None).unwrap();
            assert_eq!(again.spread(), &spread);
        }
    }

    #[test]
    fn bad_partitions_are_named_and_no_part_of_another_law() {
        let name = |partition: Result<Partition>| {
            partition.err().and_then(|e| e.to_string().split('\'').nth(1).map(str::to_owned)).unwrap()
        };
        assert_eq!(name(Partition::new(0, 1, Assign::Content, None)), "n_parts");
        assert_eq!(name(Partition::new(usize::MAX, 2, Assign::Content, None)), "n_parts");
        assert_eq!(name(Partition::new(5, 0, Assign::Content, None)), "overlap");
        assert_eq!(name(Partition::new(5, 2, Assign::Content, Some(vec![0]))), "shifts");
        assert_eq!(name(Partition::new(5, 2, Assign::Content, Some(vec![0, 10]))), "shifts");
        let law = || Law::Partition(partition(Assign::Content));
        let noise = || Law::Gaussian(Gaussian::new(1.0).unwrap());
        assert!(Product::new(law(), noise()).is_err() && Product::new(noise(), law()).is_err());
        assert!(Subsample::new(Some(law()), 10).is_err());
        assert!(Cascade::new(vec![law(), noise()], None).is_err());
        let few = DataFacts { n_train: 9, n_features: None, n_classes: 2 };
        assert!(law().check(&few).is_err_and(|e| e.to_string().contains("'n_parts'")));
        assert!(law().likelihood(Change { n_poisoned: 1, trigger_norm: 0.0, labels: false }, &few).is_err());
    }
}
