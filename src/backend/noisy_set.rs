//! Members' noised training sets: the only door between the received data and a member.
//!
//! Which samples a member sees, what is added to their features and what happens to their labels is
//! decided here, once, by the law; training only ever sees the result: first the trusted samples, as they are and in their
//! order, then what was drawn from the others. Nothing of the trusted samples depends on the others, so that to a law's
//! likelihood ratio they are a constant, and what a member makes of both is post-processing of what was drawn. At most one
//! stack's noised sets exist per worker: S n d floats. (A GPU has a worker that draws ahead beside the one that trains.)
//!
//! Noise is drawn by the CPU whatever the device, so that one seed gives one set of noised sets.

use std::sync::atomic::{AtomicBool, Ordering};

use rand::seq::SliceRandom;
use rayon::prelude::*;

use super::changed::frame;
use crate::augment::Originals;
use crate::error::{Error, Result};
use crate::kernel::Buffer;
use crate::law::{Gaussian, Law, NoiseLaw};
use crate::member::{check_label, read, TrainingSet};
use crate::partition::Assignment;
use crate::process::install_each;
use crate::seed::{Role, Seed};

/// Values between two looks at the flag, where all cores draw (4 MiB).
const BLOCK: usize = 1 << 20;

/// The noised sets of S members, one after another.
#[derive(Clone, Debug)]
pub struct NoisySet {
    /// (S n, stride); the features of a sample, and numbers that only fill up a cache line.
    features: Buffer,
    /// Features of a sample.
    size: usize,
    stride: usize,
    /// (S n), class numbers.
    labels: Vec<i64>,
    /// Samples of one member.
    n: usize,
    /// The first of them, which are trusted and as they came.
    n_trusted: usize,
}

/// A sample of a member's set, and where it comes from.
#[derive(Clone, Copy, Debug)]
enum Sample {
    /// By its number among the trusted ones.
    Trusted(usize),
    /// Drawn for a member, by its number among the others.
    Drawn(u64, usize),
}

/// Which noised sets: everything they depend on.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) data: &'a dyn TrainingSet,
    pub(crate) law: &'a Law,
    pub(crate) seed: Seed,
    /// Who sees which samples under a partition, which draws none.
    pub(crate) parts: Option<&'a Assignment>,
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

    /// The features of a sample as the member sees them.
    fn draw(&self, sample: &Sample, row: &mut [f32]) -> Result<()> {
        match *sample {
            Sample::Trusted(index) => read(self.trusted()?, index, row),
            Sample::Drawn(member, index) => {
                read(self.data, index, row)?;
                self.noise(member, index, row)
            }
        }
    }

    /// The label of a sample as the member sees it.
    fn label(&self, sample: &Sample) -> Result<i64> {
        let k = self.data.n_classes();
        let checked = |data: &dyn TrainingSet, index| {
            let label = data.label(index)?;
            check_label(index, label, k).map(|()| label)
        };
        Ok(i64::from(match *sample {
            Sample::Trusted(index) => checked(self.trusted()?, index)?,
            Sample::Drawn(member, index) => {
                self.law.noise_label(self.seed, member, index, checked(self.data, index)?, k)
            }
        }))
    }

    fn trusted(&self) -> Result<&dyn TrainingSet> {
        self.data.trusted().ok_or_else(|| Error::shape("trusted", "trusted samples", "none"))
    }

    /// The samples that are drawn for `member`, in the order in which it sees them: that of the training set or of its buckets or,
    /// where each sample is drawn on its own, one that says nothing of where in the training set a sample was.
    pub(crate) fn samples(&self, member: u64) -> Vec<usize> {
        if let (Some(parts), Law::Partition(law)) = (self.parts, self.law) {
            return usize::try_from(member)
                .map_or_else(|_| Vec::new(), |learner| parts.samples(learner, law.spread()));
        }
        let n_train = self.data.n_samples();
        let Some(mut drawn) = self.law.subset(self.seed, member, n_train) else {
            return (0..n_train).collect();
        };
        if self.law.sizes_vary() {
            drawn.shuffle(&mut self.seed.stream(Role::Order, member, 0));
        }
        drawn
    }

    /// What the members' samples were before the map that they passed, if they passed one.
    ///
    /// # Errors
    /// Whatever reading a sample may meet.
    pub(crate) fn originals(&self, members: &[u64]) -> Result<Originals> {
        let received = self.data.received();
        let shape = received.map_or(self.data.shape(), |received| received.shape());
        let mut originals = Originals::new(frame(shape));
        let (mut row, mut before) =
            (vec![0.0; self.data.shape().n_features()], vec![0.0; shape.n_features()]);
        for &member in members {
            let mut add = |data: &dyn TrainingSet, indices: Vec<usize>| {
                let Some(received) = data.received() else { return Ok(()) };
                indices.into_iter().try_for_each(|index| {
                    read(data, index, &mut row)?;
                    read(received, index, &mut before)?;
                    originals.add(member, &row, &before);
                    Ok(())
                })
            };
            if let Some(trusted) = self.data.trusted() {
                add(trusted, (0..trusted.n_samples()).collect())?;
            }
            if received.is_some() {
                add(self.data, self.samples(member))?;
            }
        }
        Ok(originals)
    }

    /// Whether so few samples were drawn for `member` that none can be trained on them and the trusted ones: fewer than
    /// `least`, of which there is at least one.
    pub(crate) fn is_too_small(&self, member: u64, least: usize) -> bool {
        self.law.too_few(self.seed, member, self.data.n_samples(), self.data.n_trusted(), least)
    }
}

impl NoisySet {
    /// Draws the noised sets of the given members, with `stride` numbers from one row to the next.
    ///
    /// # Errors
    /// A parameter error for a value that is not finite or a label out of range (names the sample), or cancellation.
    pub(crate) fn draw(
        source: Source<'_>,
        members: &[u64],
        stride: usize,
        cores: Cores,
        stop: &AtomicBool,
    ) -> Result<Self> {
        let subsets: Vec<Vec<usize>> = members.iter().map(|&member| source.samples(member)).collect();
        let n_trusted = source.data.n_trusted();
        let n_drawn = subsets.first().map_or(0, Vec::len);
        let n = n_trusted + n_drawn;
        if n == 0 || subsets.iter().any(|subset| subset.len() != n_drawn) {
            return Err(Error::shape("X", "at least one sample", "none"));
        }
        let one = |(&member, drawn): (&u64, Vec<usize>)| {
            let drawn = drawn.into_iter().map(move |index| Sample::Drawn(member, index));
            (0..n_trusted).map(Sample::Trusted).chain(drawn)
        };
        let samples: Vec<Sample> = members.iter().zip(subsets).flat_map(one).collect();
        let size = source.data.shape().n_features();
        let stride = stride.max(size);
        let mut features = Buffer::default();
        features.resize(samples.len() * stride, 0.0);
        let go_on = || match stop.load(Ordering::Relaxed) {
            true => Err(Error::cancelled("Training was cancelled.")),
            false => Ok(()),
        };
        let draw = |(sample, row): (&Sample, &mut [f32])| source.draw(sample, &mut row[..size]);
        match cores {
            Cores::Own => {
                for pair in samples.iter().zip(features.chunks_exact_mut(stride)) {
                    go_on()?;
                    draw(pair)?;
                }
            }
            Cores::All => {
                let rows = (BLOCK / stride).max(1);
                for (block, values) in samples.chunks(rows).zip(features.chunks_mut(rows * stride)) {
                    go_on()?;
                    let pairs = block.par_iter().zip(values.par_chunks_exact_mut(stride));
                    install_each(pairs, || (), |(), pair| draw(pair))?;
                }
            }
        }
        let labels = samples.iter().map(|sample| source.label(sample)).collect::<Result<_>>()?;
        Ok(Self { features, size, stride, labels, n, n_trusted })
    }

    /// Samples of one member.
    pub fn n(&self) -> usize {
        self.n
    }

    /// How many of them, which come first, are trusted and must stay as they are.
    pub fn n_trusted(&self) -> usize {
        self.n_trusted
    }

    /// Number of members.
    pub fn n_members(&self) -> usize {
        self.labels.len() / self.n.max(1)
    }

    /// Features of all samples, (S n, features), where rows lie one after another.
    #[cfg(any(feature = "torch", feature = "python"))]
    pub(crate) fn features(&self) -> &[f32] {
        &self.features
    }

    /// Class numbers of all samples, (S n).
    #[cfg(any(feature = "torch", feature = "python"))]
    pub(crate) fn labels(&self) -> &[i64] {
        &self.labels
    }

    /// Features and class number of the sample at `place` of all.
    pub(crate) fn sample(&self, place: usize) -> Option<(&[f32], usize)> {
        let row = self.features.get(place * self.stride..)?.get(..self.size)?;
        Some((row, *self.labels.get(place)? as usize))
    }

    /// The samples of the member at `place`.
    pub(crate) fn samples(&self, place: usize) -> impl Iterator<Item = (&[f32], usize)> {
        (place * self.n..(place + 1) * self.n).filter_map(|place| self.sample(place))
    }

    /// The features of the member at `place`.
    pub(crate) fn rows_mut(&mut self, place: usize) -> impl Iterator<Item = &mut [f32]> {
        let size = self.size;
        let rows = self.features.chunks_exact_mut(self.stride);
        rows.skip(place * self.n).take(self.n).map(move |row| &mut row[..size])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::law::{LabelNoise, Product, Subsample};
    use crate::member::{ArrayInputs, ArrayTrainingSet, FeatureShape};

    static STOP: AtomicBool = AtomicBool::new(false);

    fn data(n: usize, d: usize) -> ArrayTrainingSet<'static> {
        let features: Vec<f32> = (0..n * d).map(|v| v as f32).collect();
        let labels: Vec<u32> = (0..n as u32).map(|i| i % 3).collect();
        let inputs = ArrayInputs::new(features, FeatureShape::Flat(d)).unwrap();
        ArrayTrainingSet::new(inputs, labels, 3).unwrap()
    }

    fn draw(law: &Law, data: &dyn TrainingSet, members: &[u64]) -> (Vec<f32>, Vec<i64>, usize) {
        let source = Source { data, law, seed: Seed::new(5), parts: None, sigmas: None };
        let size = data.shape().n_features();
        let set = NoisySet::draw(source, members, size, Cores::Own, &STOP).unwrap();
        let same = NoisySet::draw(source, members, size + 5, Cores::All, &STOP).unwrap();
        let rows = |set: &NoisySet| -> Vec<f32> {
            let all = (0..set.labels.len()).filter_map(|place| set.sample(place));
            all.flat_map(|(row, _)| row.to_vec()).collect()
        };
        assert_eq!(rows(&set), rows(&same), "whoever draws, and however rows lie");
        (rows(&set), set.labels, set.n)
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
        // 2^20 / 300000 = 3 rows a block, so all cores draw 8 samples in three blocks.
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
    fn samples_drawn_one_by_one_are_shown_in_an_order_that_says_nothing_of_their_place() {
        let data = data(400, 1);
        let law = Law::Subsample(Subsample::poisson(None, 0.1).unwrap());
        let (mut rising, mut pairs) = (0, 0);
        for member in 0..40 {
            let (values, labels, n) = draw(&law, &data, &[member]);
            let mut sorted: Vec<usize> = values.iter().map(|v| *v as usize).collect();
            rising += sorted.windows(2).filter(|pair| pair[0] < pair[1]).count();
            pairs += n - 1;
            assert!(values.iter().zip(&labels).all(|(v, label)| (*v as i64) % 3 == *label));
            sorted.sort_unstable();
            assert_eq!(Some(sorted), law.subset(Seed::new(5), member, 400));
        }
        // About 1560 pairs, half of them rising: standard deviation 20.
        assert!((0.43..0.57).contains(&(rising as f64 / pairs as f64)), "{rising} of {pairs}");
        let source = Source { data: &data, law: &law, seed: Seed::new(5), sigmas: None, parts: None };
        assert!(!source.is_too_small(0, 1) && source.is_too_small(0, 400));
        let rare = Law::Subsample(Subsample::poisson(None, 1e-6).unwrap());
        assert!(Source { law: &rare, ..source }.is_too_small(0, 1));
        assert!(NoisySet::draw(Source { law: &rare, ..source }, &[0], 1, Cores::Own, &STOP).is_err());
    }

    #[test]
    fn trusted_samples_come_first_as_they_are_and_draws_are_those_of_the_others() {
        let rows: Vec<f32> = [7.0, 0.0, -3.5].into_iter().flat_map(|v| [v, 2.0 * v]).collect();
        let trusted = || {
            let inputs = ArrayInputs::new(rows.clone(), FeatureShape::Flat(2)).unwrap();
            ArrayTrainingSet::new(inputs, vec![2, 0, 1], 3).unwrap()
        };
        let noised = || Product::new(gaussian(1.0), Law::LabelNoise(LabelNoise::new(0.6).unwrap())).unwrap();
        let laws = [
            Law::Product(noised()),
            Law::Subsample(Subsample::new(Some(Law::Product(noised())), 5).unwrap()),
            Law::Subsample(Subsample::poisson(Some(gaussian(1.0)), 0.3).unwrap()),
            Law::Subsample(Subsample::poisson(None, 1e-9).unwrap()),
        ];
        for law in &laws {
            let others = draw_or_nothing(law, &data(40, 2), 3);
            let (values, labels, n) = draw(law, &data(40, 2).with_trusted(trusted()), &[3]);
            assert_eq!(
                (n, &labels[..3], &values[..6]),
                (3 + others.1.len(), &[2, 0, 1][..], &rows[..]),
                "{law:?}"
            );
            assert_eq!((&values[6..], &labels[3..]), (&others.0[..], &others.1[..]), "{law:?}");
            // Of several members each has its own.
            if !law.sizes_vary() {
                let (both, _, n) = draw(law, &data(40, 2).with_trusted(trusted()), &[8, 3]);
                assert_eq!((&both[2 * n..], &both[..6]), (&values[..], &rows[..]));
            }
        }
        let set = data(40, 2).with_trusted(trusted());
        let source = Source { data: &set, law: &laws[3], seed: Seed::new(5), sigmas: None, parts: None };
        assert!(!source.is_too_small(0, 3) && source.is_too_small(0, 4));
        assert_eq!(NoisySet::draw(source, &[0], 2, Cores::Own, &STOP).unwrap().n_trusted(), 3);
        // No trusted samples are none.
        let empty = ArrayInputs::new(Vec::new(), FeatureShape::Flat(2)).unwrap();
        let none = data(40, 2).with_trusted(ArrayTrainingSet::new(empty, Vec::new(), 3).unwrap());
        assert!(none.trusted().is_none());
    }

    fn draw_or_nothing(law: &Law, data: &dyn TrainingSet, member: u64) -> (Vec<f32>, Vec<i64>) {
        match law.subset(Seed::new(5), member, data.n_samples()) {
            Some(drawn) if drawn.is_empty() => (Vec::new(), Vec::new()),
            _ => {
                let (values, labels, _) = draw(law, data, &[member]);
                (values, labels)
            }
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
        let source = Source { data: &data, law: &law, seed: Seed::new(5), parts: None, sigmas: None };
        let result = NoisySet::draw(source, &[0], 2, Cores::Own, &AtomicBool::new(true));
        assert_eq!(result.err().map(|e| e.kind().clone()), Some(crate::ErrorKind::Cancelled));
    }
}
