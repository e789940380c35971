//! Single members on the CPU by the crate's own kernels, without torch.
//!
//! The architectures that have a [`Network`] are trained here, or solved, and vote here unless a stack is asked for; the
//! same steps in the same order as [`train_stack`](super::train_member::train_stack), equal to it up to rounding.

mod search;
mod vote;

use std::sync::atomic::{AtomicBool, Ordering};

use tch::Device;

pub(super) use search::Ascent;
pub(super) use vote::Voter;

use super::config::Settings;
use super::noisy_set::PlainSet;
use super::threads::training_error;
use super::train_member::{all_finite, batches, order, Job};
use super::Member;
use crate::error::{Error, Result};
use crate::kernel::{discriminant, Adam, Network, Workspace};
use crate::law::{Guarantee, NoiseLaw, SigmaSearch};
use crate::model::Architecture;
use crate::noise::add_normals_to_noised;
use crate::seed::Role;

/// The network by which members are trained and vote here, if they can be and no stack of several was asked for.
pub(super) fn network<'a>(architecture: &'a dyn Architecture, settings: &Settings) -> Option<&'a Network> {
    let alone = settings.device == Device::Cpu && settings.stack.unwrap_or(1) == 1;
    architecture.network().filter(|_| alone)
}

/// Trains a member on its noised set; twice where it adds noise of its own choice to that.
///
/// # Errors
/// A training error naming the member if its first values cannot be drawn; cancellation.
pub(super) fn train(
    job: Job<'_>,
    network: &Network,
    number: u64,
    mut set: PlainSet,
    work: &mut Workspace,
    stop: &AtomicBool,
) -> Result<Member> {
    let specific = job.source.law.sample_specific().filter(|law| law.guarantee() == Guarantee::Sound);
    if let Some(law) = specific {
        // From here on everything looks at the noised set alone.
        let scout = fit(job, network, number, &set, work, stop)?;
        if scout.is_failed() {
            return Ok(scout);
        }
        add_own_noise(job, network, law.search(), &scout, &mut set, work, stop)?;
    }
    fit(job, network, number, &set, work, stop)
}

/// Adds noise of each sample's own magnitude, as large as the member's scout bears.
fn add_own_noise(
    job: Job<'_>,
    network: &Network,
    search: &SigmaSearch,
    scout: &Member,
    set: &mut PlainSet,
    work: &mut Workspace,
    stop: &AtomicBool,
) -> Result<()> {
    let (seed, member) = (job.source.seed, scout.number);
    let (rows, labels): (Vec<_>, Vec<_>) = (0..set.n).filter_map(|place| set.sample(place)).unzip();
    let ascent = Ascent { network, values: &scout.values, search, seed, member };
    let sigmas = ascent.magnitudes(&rows, Some(&labels), work, stop)?;
    let streams = seed.member(Role::ExtraNoise, member);
    for ((place, row), sigma) in (0..).zip(set.rows_mut()).zip(sigmas) {
        add_normals_to_noised(&streams, place, sigma, row);
    }
    Ok(())
}

/// Trains a member on its set as it is.
fn fit(
    job: Job<'_>,
    network: &Network,
    number: u64,
    set: &PlainSet,
    work: &mut Workspace,
    stop: &AtomicBool,
) -> Result<Member> {
    if job.architecture.is_discriminant() {
        return solve(network, number, set, stop);
    }
    let initial = job.architecture.initial(job.source.seed, number);
    let mut values = initial.map_err(|error| training_error(number, &error))?;
    let mut adam = Adam::new(values.len(), job.settings.learning_rate);
    let batches = batches(set.n, job.settings.batch_size);
    let (mut rows, mut labels) = (Vec::new(), Vec::new());
    let mut loss = 0.0;
    for epoch in 0..job.settings.epochs {
        let order = if batches.len() == 1 {
            // The order within a batch does not matter.
            (0..set.n).collect()
        } else {
            order(job.source.seed, number, epoch as u64, set.n)
        };
        let mut sum = 0.0_f64;
        for &(start, length) in &batches {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::cancelled("Training was cancelled."));
            }
            rows.clear();
            labels.clear();
            for (row, label) in order.iter().skip(start).take(length).filter_map(|&place| set.sample(place)) {
                rows.push(row);
                labels.push(label);
            }
            let (mean, gradient) = network.gradient(&values, &rows, &labels, work);
            sum += f64::from(mean) * length as f64;
            adam.step(&mut values, gradient);
        }
        loss = (sum / set.n as f64) as f32;
        if !loss.is_finite() {
            return Ok(Member::failed(number, values.len()));
        }
    }
    // A last step may overflow although the loss before it was finite.
    if !all_finite(&values) {
        return Ok(Member::failed(number, values.len()));
    }
    Ok(Member { number, values: values.into(), loss })
}

/// A member in closed form.
fn solve(network: &Network, number: u64, set: &PlainSet, stop: &AtomicBool) -> Result<Member> {
    let (rows, labels): (Vec<_>, Vec<_>) = (0..set.n).filter_map(|place| set.sample(place)).unzip();
    let goes_on = || !stop.load(Ordering::Relaxed);
    let (values, loss) = discriminant(&rows, &labels, network.n_classes(), goes_on)
        .ok_or_else(|| Error::cancelled("Training was cancelled."))?;
    if !loss.is_finite() || !all_finite(&values) {
        return Ok(Member::failed(number, values.len()));
    }
    Ok(Member { number, values: values.into(), loss })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::ensemble::{ArrayInputs, ArrayTrainingSet, Control, Ensemble, TrainConfig};
    use crate::law::{Gaussian, Guarantee, LabelNoise, Law, Product, SampleSpecific, SigmaSearch, Subsample};
    use crate::model::FeatureShape;
    use crate::quantity::{NoiseScale, Quantity};

    fn train(model: &str, law: &Law, batch_size: usize, stack: Option<usize>) -> Ensemble {
        let shape = FeatureShape::Image { channels: 1, height: 16, width: 17 };
        let (n, d) = (40, shape.n_features());
        let features: Vec<f32> =
            (0..n * d).map(|i| ((i % d) as f32 * 0.2 + (i / d % 3) as f32).sin()).collect();
        let labels: Vec<u32> = (0..n as u32).map(|i| i % 3).collect();
        let data = ArrayTrainingSet::new(ArrayInputs::new(features, shape).unwrap(), labels, 3).unwrap();
        let config = TrainConfig {
            model: model.to_owned(),
            epochs: 3,
            batch_size,
            seed: 11,
            device: "cpu".to_owned(),
            n_jobs: Some(1),
            stack,
            ..TrainConfig::default()
        };
        let mut ensemble = Ensemble::new(&data, law.clone(), &config).unwrap();
        ensemble.train(&data, 2, None, &Control::default()).unwrap();
        ensemble
    }

    /// Where a gradient is next to nothing, Adam takes a whole step along its sign, and rounding decides; so the
    /// values are compared in the mean.
    fn compare(model: &str, law: &Law, batch_size: usize, tolerance: f64) {
        let own = train(model, law, batch_size, None);
        let torch = train(model, law, batch_size, Some(2));
        for (a, b) in own.members().zip(torch.members()) {
            assert!((a.loss - b.loss).abs() < 1e-3 * b.loss, "{model}: {} for {}", a.loss, b.loss);
            let difference = a.values.iter().zip(b.values.iter()).map(|(a, b)| f64::from((a - b).abs()));
            let mean = difference.sum::<f64>() / a.values.len() as f64;
            assert!(mean < tolerance, "{model} under {law:?}: {mean}");
            assert!(a.values != b.values, "{model}: one of them was not trained as it says");
        }
    }

    #[test]
    fn members_are_those_of_torch_after_the_same_steps() {
        let gaussian = Law::Gaussian(Gaussian::new(0.3).unwrap());
        let subset = Law::Subsample(Subsample::new(Some(gaussian.clone()), 17).unwrap());
        let labels = Law::LabelNoise(LabelNoise::new(0.3).unwrap());
        let both = Law::Product(Product::new(gaussian.clone(), labels).unwrap());
        for model in ["linear", "mlp", "cnn"] {
            for (law, batch_size) in [(&gaussian, 13), (&subset, 128), (&both, 39)] {
                compare(model, law, batch_size, 2e-5);
            }
        }
    }

    /// With more samples than features and with fewer.
    #[test]
    fn members_in_closed_form_are_those_of_torch() {
        let gaussian = Law::Gaussian(Gaussian::new(0.3).unwrap());
        let subset = Law::Subsample(Subsample::new(Some(gaussian.clone()), 17).unwrap());
        for law in [&gaussian, &subset] {
            let (own, torch) =
                (train("discriminant", law, 13, None), train("discriminant", law, 13, Some(2)));
            for (a, b) in own.members().zip(torch.members()) {
                assert!((a.loss - b.loss).abs() <= 1e-5 * b.loss, "{} for {}", a.loss, b.loss);
                let scale = b.values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
                let apart =
                    a.values.iter().zip(b.values.iter()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(scale > 0.0 && apart <= 1e-6 * scale, "{apart} of {scale}");
            }
        }
    }

    /// Scout, search, noise of its own choice, and training on that: rounding of the first goes into all the others.
    #[test]
    fn members_with_noise_of_their_own_are_those_of_torch() {
        let search = SigmaSearch {
            steps: 4,
            samples: 3,
            ..SigmaSearch::around(NoiseScale::wrap(0.3), Guarantee::Sound)
        };
        let base = Gaussian::new(0.3).unwrap();
        let law = Law::SampleSpecific(SampleSpecific::new(base, Guarantee::Sound, search).unwrap());
        for model in ["linear", "mlp", "cnn"] {
            compare(model, &law, 13, 2e-4);
        }
    }
}
