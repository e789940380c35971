//! Learners of a partition: who sees which samples, and which of them an earlier ensemble has trained already.

use std::sync::Arc;

use super::Ensemble;
use crate::error::{Error, Result};
use crate::law::{Law, Partition};
use crate::member::{check_label, read, Member, Record, TrainingSet};
use crate::partition::{Assignment, HashKey};

/// What an ensemble under a partition knows of its learners' samples.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// Digests of what learners were trained on and how they were computed, by number; empty until they all are.
    pub(super) trained_on: Vec<[u8; 32]>,
    /// Who sees which samples of the data that were looked at last, by their digest.
    assigned: Option<(String, Arc<Assignment>)>,
}

impl Ensemble {
    /// The partition, if the law is one.
    pub fn partition(&self) -> Option<&Partition> {
        match &self.record.law {
            Law::Partition(partition) => Some(partition),
            _ => None,
        }
    }

    /// Who sees which samples under a partition; `None` for a law of noise.
    pub(super) fn assignment(&mut self, data: &dyn TrainingSet) -> Result<Option<Arc<Assignment>>> {
        let Some(partition) = self.partition() else { return Ok(None) };
        if let Some((digest, assigned)) = &self.parts.assigned {
            if *digest == self.record.data_digest {
                return Ok(Some(Arc::clone(assigned)));
            }
        }
        let k = data.n_classes();
        // What a sample is: all that its learner is computed from.
        let received = data.received();
        let sample = |index: usize, row: &mut [f32]| {
            match received {
                Some(received) => read(received, index, row)?,
                None => read(data, index, row)?,
            }
            let label = data.label(index)?;
            check_label(index, label, k).map(|()| label)
        };
        let shape = received.map_or(data.shape(), |received| received.shape());
        let sizes = (data.n_samples(), shape.n_features());
        let key = HashKey::from_seed(self.record.seed.root());
        let assigned =
            Arc::new(Assignment::reading(sizes, partition.spread(), partition.assign(), key, sample)?);
        self.parts.assigned = Some((self.record.data_digest.clone(), Arc::clone(&assigned)));
        Ok(Some(assigned))
    }

    /// Every learner of a partition is trained, and no other number of them.
    pub(super) fn check_learners(&self, n_members: u64) -> Result<()> {
        match self.partition().map(|partition| partition.spread().n_learners()) {
            Some(all) if all as u64 != n_members => {
                let expected = format_args!("{all}, the number of the partition's learners, or left out");
                Err(Error::parameter("n_members", expected, n_members))
            }
            _ => Ok(()),
        }
    }

    /// Takes over those members of an earlier ensemble whose samples are the same in `data` and that would be computed in the
    /// same way, and says how many these are: none unless both have the same partition, key and settings, and the earlier one
    /// is whole.
    ///
    /// # Errors
    /// A parameter error if the data are not those of the record.
    pub fn keep_unchanged(&mut self, earlier: &Ensemble, data: &dyn TrainingSet) -> Result<usize> {
        let Record { n_train, data_digest, .. } = self.record.clone();
        let same = Record { n_train, data_digest, ..earlier.record.clone() } == self.record;
        if !same || self.partition().is_none() {
            return Ok(0);
        }
        self.check_same_data(data)?;
        let digests = self.digests_of_parts(data)?;
        let unchanged = |member: &&Member| {
            let at = usize::try_from(member.number).unwrap_or(usize::MAX);
            let same = earlier.parts.trained_on.get(at).is_some_and(|before| digests.get(at) == Some(before));
            same && member.values.digest_of_forgotten().is_none()
        };
        let kept: Vec<Member> = earlier.members().filter(unchanged).cloned().collect();
        let n_kept = kept.len();
        kept.into_iter().try_for_each(|member| self.insert(member))?;
        Ok(n_kept)
    }

    /// Remembers what learners were trained on, now that they all are.
    pub(super) fn remember_parts(&mut self, data: &dyn TrainingSet) -> Result<()> {
        self.parts.trained_on = self.digests_of_parts(data)?;
        self.parts.assigned = None;
        Ok(())
    }

    /// A digest for each learner of its samples and of how it is computed. Sums are rounded otherwise by another device, and by
    /// stacks; which learners are kept follows from the data, so that a mixture would be a function of earlier data too.
    fn digests_of_parts(&mut self, data: &dyn TrainingSet) -> Result<Vec<[u8; 32]>> {
        let Some(assigned) = self.assignment(data)? else { return Ok(Vec::new()) };
        let Some(partition) = self.partition() else { return Ok(Vec::new()) };
        let spread = partition.spread();
        let way = format!("{:?}", (self.settings.device, self.settings.stack, self.settings.convolution));
        let digest = |learner| {
            let samples = assigned.digest(learner, spread);
            *blake3::Hasher::new().update(&samples).update(way.as_bytes()).finalize().as_bytes()
        };
        Ok((0..spread.n_learners()).map(digest).collect())
    }

    /// Digests of what learners were trained on and how, by number; empty for a law of noise, and before training.
    pub fn trained_on(&self) -> &[[u8; 32]] {
        &self.parts.trained_on
    }

    /// Takes over what is known of the same members from elsewhere, such as a pickle.
    pub fn recall_parts(&mut self, trained_on: Vec<[u8; 32]>) {
        self.parts.trained_on = trained_on;
    }
}
