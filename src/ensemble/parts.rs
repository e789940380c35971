//! Learners of a partition: who sees which samples, and which of them an earlier ensemble has trained already.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;

use super::Ensemble;
use crate::error::{Error, Result};
use crate::law::{Law, Partition};
use crate::member::checkpoint::Checkpoint;
use crate::member::{check_label, read, Member, Record, Settings, TrainedOn, TrainingSet};
use crate::partition::{Assignment, HashKey};
use crate::process::install_each;
use crate::vectors;

/// In place of a digest, where it is not known how a learner was computed: no learner has it.
const UNKNOWN: [u8; 32] = [0; 32];

/// A digest of each sample's features.
fn digests_of_rows(data: &dyn TrainingSet) -> Result<Vec<[u8; 32]>> {
    let new = || vec![0.0_f32; data.shape().n_features()];
    let digest = |row: &mut Vec<f32>, index| {
        read(data, index, row)?;
        Ok(*blake3::hash(bytemuck::cast_slice(row)).as_bytes())
    };
    install_each((0..data.n_samples()).into_par_iter(), new, digest)
}

fn place(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// What an ensemble under a partition knows of its learners' samples.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// Digests of what learners are trained on and how they are computed, by number; empty before a training.
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
    /// same way, and says how many these are: none unless both have the same partition, key and settings.
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
            let at = place(member.number);
            let same = earlier.parts.trained_on.get(at).is_some_and(|before| digests.get(at) == Some(before));
            same && member.values.digest_of_forgotten().is_none()
        };
        let kept: Vec<Member> = earlier.members().filter(unchanged).cloned().collect();
        let n_kept = kept.len();
        for member in kept {
            self.know(member.number, &digests);
            self.insert(member)?;
        }
        Ok(n_kept)
    }

    /// Takes over what an earlier ensemble of the same record knows of its members.
    pub fn adopt_parts(&mut self, earlier: &Ensemble) {
        for member in earlier.members() {
            self.know(member.number, &earlier.parts.trained_on);
        }
    }

    fn know(&mut self, number: u64, digests: &[[u8; 32]]) {
        let n = self.partition().map_or(0, |partition| partition.spread().n_learners());
        let own = &mut self.parts.trained_on;
        own.resize(n, UNKNOWN);
        if let Some(entry) = own.get_mut(place(number)) {
            *entry = digests.get(place(number)).copied().unwrap_or(UNKNOWN);
        }
    }

    /// Makes a checkpoint of learners of the same partition on other data, computed with the same settings, one of `data`: those
    /// whose samples are the same and that would be computed in the same way stay; how many. Zero for a checkpoint of anything
    /// else, and for one that is not there yet.
    ///
    /// # Errors
    /// A parameter error if the data are not those of the record; a checkpoint error if the directory cannot be read or
    /// written, or while another process trains its members.
    pub fn follow(&mut self, checkpoint: &Path, data: &dyn TrainingSet) -> Result<usize> {
        if self.partition().is_none() {
            return Ok(0);
        }
        self.check_same_data(data)?;
        let digests = self.digests_of_parts(data)?.into_iter().map(Some).collect();
        let empty = self.computed(Assignment::digest_of_none());
        Checkpoint::follow(checkpoint, &self.record, self.backend.layout(), (&digests, empty))
    }

    /// Says what learners are going to be trained on, here and in the checkpoint, before the first is.
    pub(super) fn note_parts(&mut self, data: &dyn TrainingSet, files: Option<&Checkpoint>) -> Result<()> {
        let digests = self.digests_of_parts(data)?;
        let before = std::mem::take(&mut self.parts.trained_on);
        let here: BTreeSet<u64> = self.members.keys().copied().collect();
        let own = |(number, digest): (u64, [u8; 32])| match here.contains(&number) {
            true => before.get(place(number)).copied().filter(|before| *before != UNKNOWN),
            false => Some(digest),
        };
        let mut trained_on: TrainedOn = (0..).zip(digests).map(own).collect();
        if let Some(files) = files.filter(|_| !trained_on.is_empty()) {
            files.sweep();
            let said = files.note(&trained_on, &here)?;
            for (number, (own, said)) in (0..).zip(trained_on.iter_mut().zip(said)) {
                if !here.contains(&number) {
                    *own = said;
                }
            }
        }
        self.parts.trained_on = trained_on.into_iter().map(|digest| digest.unwrap_or(UNKNOWN)).collect();
        Ok(())
    }

    /// Takes back what was said of learners of which the checkpoint says otherwise by now, and forgets who sees which samples.
    pub(super) fn settle_parts(&mut self, files: Option<&Checkpoint>) {
        let said = files.and_then(Checkpoint::trained_on).unwrap_or_default();
        for (own, said) in self.parts.trained_on.iter_mut().zip(said) {
            if said != Some(*own) {
                *own = UNKNOWN;
            }
        }
        self.parts.assigned = None;
    }

    /// A digest for each learner of its samples and of how it is computed.
    fn digests_of_parts(&mut self, data: &dyn TrainingSet) -> Result<Vec<[u8; 32]>> {
        let Some(assigned) = self.assignment(data)? else { return Ok(Vec::new()) };
        let Some(partition) = self.partition() else { return Ok(Vec::new()) };
        let spread = partition.spread();
        let mapped = if data.received().is_some() { Some(digests_of_rows(data)?) } else { None };
        let digest = |learner| {
            let own = assigned.digest(learner, spread);
            let Some(rows) = &mapped else { return self.computed(own) };
            // Buckets follow from the samples as they came; a learner also from what the map makes of them.
            let mut hasher = blake3::Hasher::new_derive_key("certssb 2026 samples of a learner behind a map");
            hasher.update(&own);
            let samples = assigned.samples(learner, spread);
            samples.iter().filter_map(|sample| rows.get(*sample)).for_each(|row| {
                hasher.update(row);
            });
            self.computed(if samples.is_empty() { own } else { *hasher.finalize().as_bytes() })
        };
        Ok((0..spread.n_learners()).map(digest).collect())
    }

    /// A digest of samples and of how a learner is computed from them here. Sums are rounded otherwise by another device, by stacks,
    /// by other instructions, by other code and by other releases of libraries; which learners are kept follows from the data, so
    /// that a mixture would be a function of earlier data too.
    fn computed(&self, samples: [u8; 32]) -> [u8; 32] {
        let Settings { device, stack, convolution, .. } = &self.settings;
        let way = format!("{:?}", (device, stack, convolution, vectors::name(), env!("CARGO_PKG_VERSION")));
        let libraries = self.backend.libraries();
        let way = if libraries.is_empty() { way } else { format!("{way} {libraries:?}") };
        *blake3::Hasher::new().update(&samples).update(way.as_bytes()).finalize().as_bytes()
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
