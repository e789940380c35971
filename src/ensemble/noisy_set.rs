//! A stack of members' noised training sets: the only door between the received data and a member.
//!
//! Which samples a member sees, what is added to their features and what happens to their labels is
//! decided here, once, by the law; training only ever sees the result. At most one stack's noised sets
//! exist per worker: S n d floats, and one block of [`BLOCK`] values beside them while they are drawn. (A GPU
//! has a worker that draws ahead beside the one that trains.)
//!
//! Noise is drawn by the CPU whatever the device, so that one seed gives one set of noised sets.

use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

use super::data::{check_label, read, TrainingSet};
use super::threads::training_error;
use crate::error::{Error, Result};
use crate::kernel::Buffer;
use crate::law::{Gaussian, Law, NoiseLaw};
use crate::model::{upload, TorchResult};
use crate::process::install;
use crate::seed::Seed;

/// Values drawn before they are handed to torch (4 MiB).
const BLOCK: usize = 1 << 20;

/// The noised sets of S members, one after another.
#[derive(Debug)]
pub(crate) struct NoisySet {
    /// (S n, features of a sample).
    pub(crate) features: Tensor,
    /// (S n), class numbers as i64.
    pub(crate) labels: Tensor,
    /// Samples of one member.
    pub(crate) n: usize,
}

/// Which noised sets: everything they depend on.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) data: &'a dyn TrainingSet,
    pub(crate) law: &'a Law,
    pub(crate) seed: Seed,
    /// Each training sample's own sigma in place of the law's, for the published form of sample-specific noise.
    pub(crate) sigmas: Option<&'a [f32]>,
}

/// Which cores draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cores {
    /// The calling thread.
    Own,
    /// All of them.
    All,
}

impl Source<'_> {
    /// The noise of (`member`, `index`), in place.
    fn noise(&self, member: u64, index: usize, row: &mut [f32]) -> Result<()> {
        match self.sigmas.and_then(|sigmas| sigmas.get(index)) {
            None => self.law.noise_features(self.seed, member, index, row),
            Some(sigma) => {
                Gaussian::new(f64::from(*sigma))?.noise_features(self.seed, member, index, row);
            }
        }
        Ok(())
    }

    /// The noised features of (`member`, `index`).
    fn draw(&self, &(member, index): &(u64, usize), row: &mut [f32]) -> Result<()> {
        read(self.data, index, row)?;
        self.noise(member, index, row)
    }

    /// The samples that `member` sees.
    fn samples(&self, member: u64) -> Vec<usize> {
        let n_train = self.data.n_samples();
        self.law.subset(self.seed, member, n_train).unwrap_or_else(|| (0..n_train).collect())
    }
}

/// One member's noised set in plain memory.
#[derive(Debug)]
pub(crate) struct PlainSet {
    /// (n, stride); the features of a sample, and numbers that only fill up a cache line.
    features: Buffer,
    /// Features of a sample.
    size: usize,
    labels: Vec<usize>,
    /// Samples.
    pub(crate) n: usize,
}

impl PlainSet {
    /// Draws the noised set of a member.
    ///
    /// # Errors
    /// As [`NoisySet::draw`].
    pub(crate) fn draw(source: Source<'_>, member: u64, stop: &AtomicBool) -> Result<Self> {
        let samples: Vec<_> = source.samples(member).into_iter().map(|index| (member, index)).collect();
        let size = source.data.shape().n_features();
        let mut features = Buffer::default();
        features.resize(samples.len() * Buffer::stride(size), 0.0);
        for (sample, row) in samples.iter().zip(features.chunks_exact_mut(Buffer::stride(size))) {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::cancelled("Training was cancelled."));
            }
            source.draw(sample, &mut row[..size])?;
        }
        let labels = draw_labels(source, &samples)?.into_iter().map(|label| label as usize).collect();
        Ok(Self { features, size, labels, n: samples.len() })
    }

    /// Features and class number of the sample at `place`.
    pub(crate) fn sample(&self, place: usize) -> Option<(&[f32], usize)> {
        let row = self.features.get(place * Buffer::stride(self.size)..)?.get(..self.size)?;
        Some((row, *self.labels.get(place)?))
    }

    /// The features of all samples.
    pub(crate) fn rows_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        let size = self.size;
        self.features.chunks_exact_mut(Buffer::stride(size)).map(move |row| &mut row[..size])
    }
}

impl NoisySet {
    /// Draws the noised sets of the given members, in the memory of the CPU.
    ///
    /// # Errors
    /// A parameter error for a value that is not finite or a label out of range (names the sample), a
    /// training error from torch, or cancellation.
    pub(crate) fn draw(source: Source<'_>, members: &[u64], cores: Cores, stop: &AtomicBool) -> Result<Self> {
        let subset = |&member| (member, source.samples(member));
        let subsets: Vec<(u64, Vec<usize>)> = members.iter().map(subset).collect();
        let n = subsets.first().map_or(0, |(_, drawn)| drawn.len());
        let samples: Vec<(u64, usize)> = subsets
            .into_iter()
            .flat_map(|(member, drawn)| drawn.into_iter().map(move |index| (member, index)))
            .collect();
        let first = members.first().copied().unwrap_or(0);
        let features = draw_features(source, &samples, cores, stop)?;
        let labels = Tensor::f_from_slice(&draw_labels(source, &samples)?);
        Ok(Self { features, labels: labels.map_err(|error| training_error(first, &error))?, n })
    }

    /// The same sets in the memory of `device`.
    pub(crate) fn on(self, device: Device) -> TorchResult<Self> {
        if device == Device::Cpu {
            return Ok(self);
        }
        let (features, labels) = (upload(&self.features, device)?, upload(&self.labels, device)?);
        Ok(Self { features, labels, n: self.n })
    }
}

fn draw_labels(source: Source<'_>, samples: &[(u64, usize)]) -> Result<Vec<i64>> {
    let k = source.data.n_classes();
    let noised = |&(member, index): &(u64, usize)| {
        let label = source.data.label(index)?;
        check_label(index, label, k)?;
        Ok(i64::from(source.law.noise_label(source.seed, member, index, label, k)))
    };
    samples.iter().map(noised).collect()
}

fn draw_features(
    source: Source<'_>,
    samples: &[(u64, usize)],
    cores: Cores,
    stop: &AtomicBool,
) -> Result<Tensor> {
    let shape = source.data.shape();
    let size = shape.n_features();
    let rows = (BLOCK / size).clamp(1, samples.len().max(1));
    let mut values = vec![0.0_f32; rows * size];
    let mut target = None;
    for (number, block) in samples.chunks(rows).enumerate() {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::cancelled("Training was cancelled."));
        }
        let draw = |(sample, row): (&(u64, usize), &mut [f32])| source.draw(sample, row);
        match cores {
            Cores::Own => block.iter().zip(values.chunks_exact_mut(size)).try_for_each(draw)?,
            Cores::All => {
                install(|| block.par_iter().zip(values.par_chunks_exact_mut(size)).try_for_each(draw))??
            }
        }
        let at = (number * rows, samples.len());
        target = Some(
            place(target, &values[..block.len() * size], at, &shape.dims())
                .map_err(|error| training_error(block.first().map_or(0, |sample| sample.0), &error))?,
        );
    }
    target.ok_or_else(|| Error::shape("X", "at least one sample", "none"))
}

/// Writes one block of rows, from row `start` of `total`, into the target, which the first block makes.
fn place(
    target: Option<Tensor>,
    values: &[f32],
    (start, total): (usize, usize),
    dims: &[i64],
) -> TorchResult<Tensor> {
    let shape = |rows: i64| std::iter::once(rows).chain(dims.iter().copied()).collect::<Vec<_>>();
    let block = Tensor::f_from_slice(values)?.f_view(&shape(-1)[..])?;
    let rows = block.size().first().copied().unwrap_or(0);
    if rows == total as i64 {
        return Ok(block);
    }
    let target = match target {
        Some(target) => target,
        None => Tensor::f_empty(&shape(total as i64)[..], (Kind::Float, Device::Cpu))?,
    };
    target.f_narrow(0, start as i64, rows)?.f_copy_(&block)?;
    Ok(target)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::ensemble::data::{ArrayInputs, ArrayTrainingSet};
    use crate::law::{LabelNoise, Product, Subsample};
    use crate::model::weights_to_vec as to_vec;
    use crate::model::FeatureShape;

    static STOP: AtomicBool = AtomicBool::new(false);

    fn data(n: usize, d: usize) -> ArrayTrainingSet<'static> {
        let features: Vec<f32> = (0..n * d).map(|v| v as f32).collect();
        let labels: Vec<u32> = (0..n as u32).map(|i| i % 3).collect();
        let inputs = ArrayInputs::new(features, FeatureShape::Flat(d)).unwrap();
        ArrayTrainingSet::new(inputs, labels, 3).unwrap()
    }

    fn draw(law: &Law, data: &dyn TrainingSet, members: &[u64]) -> (Vec<f32>, Vec<i64>, usize) {
        let source = Source { data, law, seed: Seed::new(5), sigmas: None };
        let set = NoisySet::draw(source, members, Cores::Own, &STOP).unwrap();
        let same = NoisySet::draw(source, members, Cores::All, &STOP).unwrap();
        assert_eq!(to_vec(&set.features).unwrap(), to_vec(&same.features).unwrap(), "whoever draws");
        let labels = Vec::<i64>::try_from(&set.labels).unwrap();
        (to_vec(&set.features).unwrap(), labels, set.n)
    }

    fn gaussian(sigma: f64) -> Law {
        Law::Gaussian(Gaussian::new(sigma).unwrap())
    }

    #[test]
    fn one_draw_per_member_and_sample_whatever_the_stack() {
        let (law, data) = (gaussian(0.5), data(20, 7));
        let one = draw(&law, &data, &[3]);
        let two = draw(&law, &data, &[9, 3]);
        assert_eq!(one.0, draw(&law, &data, &[3]).0, "the noise of a member repeats");
        assert_eq!(one.0, two.0[140..], "and does not depend on the stack");
        assert_ne!(two.0[..140], two.0[140..], "members differ");
        let noise: Vec<f32> = one.0.iter().enumerate().map(|(v, x)| x - v as f32).collect();
        assert_ne!(noise[..7], noise[7..14], "samples differ");
        let variance: f32 = noise.iter().map(|e| e * e).sum::<f32>() / 140.0;
        assert!((0.15..0.36).contains(&variance), "{variance} around sigma^2 = 0.25");
    }

    #[test]
    fn blocks_do_not_show() {
        // 2^20 / 300000 = 3 rows a block, so 8 samples are drawn in three blocks.
        let data = data(8, 300_000);
        let (values, labels, n) = draw(&gaussian(1.0), &data, &[0]);
        assert_eq!((values.len(), labels.len(), n), (2_400_000, 8, 8));
        for sample in [0_usize, 2, 3, 7] {
            let mut row: Vec<f32> = (0..300_000).map(|v| (sample * 300_000 + v) as f32).collect();
            gaussian(1.0).noise_features(Seed::new(5), 0, sample, &mut row);
            assert_eq!(values[sample * 300_000..(sample + 1) * 300_000], row, "sample {sample}");
        }
    }

    #[test]
    fn a_subsample_sees_its_samples_only_and_noises_them_under_their_own_number() {
        let data = data(50, 2);
        let law = Law::Subsample(Subsample::new(Some(gaussian(0.1)), 5).unwrap());
        let (values, labels, n) = draw(&law, &data, &[4]);
        let subset = law.subset(Seed::new(5), 4, 50).unwrap();
        assert_eq!((n, labels.len()), (5, 5));
        let whole = draw(&gaussian(0.1), &data, &[4]);
        for (place, &index) in subset.iter().enumerate() {
            assert_eq!(values[2 * place..2 * place + 2], whole.0[2 * index..2 * index + 2]);
            assert_eq!(labels[place], (index % 3) as i64);
        }
    }

    #[test]
    fn labels_are_noised_at_the_rate_of_the_law() {
        let data = data(3000, 1);
        let law = Product::new(gaussian(1.0), Law::LabelNoise(LabelNoise::new(0.3).unwrap())).unwrap();
        let (_, labels, _) = draw(&Law::Product(law), &data, &[1]);
        let changed = labels.iter().enumerate().filter(|&(i, &label)| label != (i % 3) as i64).count();
        // 900 expected, standard deviation 25.
        assert!((775..1025).contains(&changed), "{changed} of 3000");
        assert!(labels.iter().all(|label| (0..3).contains(label)));
    }

    #[test]
    fn a_set_flag_stops_the_drawing() {
        let (law, data) = (gaussian(1.0), data(4, 2));
        let source = Source { data: &data, law: &law, seed: Seed::new(5), sigmas: None };
        let result = NoisySet::draw(source, &[0], Cores::Own, &AtomicBool::new(true));
        assert_eq!(result.err().map(|e| e.kind().clone()), Some(crate::ErrorKind::Cancelled));
    }
}
