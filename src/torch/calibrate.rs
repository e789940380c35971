//! Which way of convolving is faster for a stack on this device: both are tried, on the first stack.

use std::time::{Duration, Instant};

use super::model::{Architecture, TorchResult};
use super::train::{NoisySets, Training};
use crate::backend::Fit;
use crate::member::{Convolution, Settings};

/// Steps before the clock starts, and steps of the measurement.
const WARM: usize = 2;
const STEPS: usize = 4;

/// The settings with the faster convolution. They are as they were if the user chose one, if there is nothing to
/// choose between, or if neither way has memory enough (which training will then say).
pub(super) fn calibrated(architecture: &dyn Architecture, job: Fit<'_>, set: &NoisySets) -> Settings {
    let settings = job.settings.clone();
    if settings.convolution.is_some() || job.members.len() < 2 || !architecture.chooses_convolution() {
        return settings;
    }
    let ways = [Convolution::Unfolded, Convolution::Grouped];
    let timed =
        ways.into_iter().filter_map(|way| time(architecture, job, set, way).ok().map(|time| (time, way)));
    let fastest = timed.min_by_key(|(time, _)| *time).map(|(_, way)| way);
    Settings { convolution: fastest, ..settings }
}

/// Time of some steps on the first batch, waited for.
fn time(
    architecture: &dyn Architecture,
    job: Fit<'_>,
    set: &NoisySets,
    way: Convolution,
) -> TorchResult<Duration> {
    let settings = Settings { convolution: Some(way), ..job.settings.clone() };
    let mut training = Training::new(architecture, Fit { settings: &settings, ..job }, set)?;
    training.first_steps(WARM)?;
    let begun = Instant::now();
    training.first_steps(STEPS)?;
    Ok(begun.elapsed())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::backend::{Cores, NoisySet, Source};
    use crate::law::{Gaussian, Law};
    use crate::member::{ArrayInputs, ArrayTrainingSet, FeatureShape, Gpus, TrainConfig};
    use crate::seed::Seed;
    use crate::torch::{by_name, on_one_thread};

    fn chosen(model: &str, members: &[u64], config: TrainConfig) -> Option<Convolution> {
        let shape = FeatureShape::Image { channels: 1, height: 8, width: 8 };
        let data = ArrayInputs::new(vec![0.5_f32; 64 * 6], shape).unwrap();
        let data = ArrayTrainingSet::new(data, vec![0, 1, 0, 1, 0, 1], 2).unwrap();
        let law = Law::Gaussian(Gaussian::new(1.0).unwrap());
        let source = Source { data: &data, law: &law, seed: Seed::new(1), parts: None, sigmas: None };
        let architecture = by_name(model, shape, 2).unwrap();
        let settings =
            TrainConfig { device: "cpu".to_owned(), batch_size: 4, ..config }.check(Gpus::default).unwrap();
        let set = NoisySet::draw(source, members, 64, Cores::Own, &AtomicBool::new(false)).unwrap();
        let set = NoisySets::of(set.features(), set.labels(), set.n(), shape, tch::Device::Cpu).unwrap();
        let job = Fit { members, seed: Seed::new(1), n_classes: 2, settings: &settings };
        calibrated(architecture.as_ref(), job, &set).convolution
    }

    #[test]
    fn only_a_stack_with_convolutions_and_no_wish_has_a_choice() {
        let test = || {
            let wish = TrainConfig { convolution: Some(Convolution::Grouped), ..TrainConfig::default() };
            assert!(chosen("cnn", &[0, 1, 2], TrainConfig::default()).is_some());
            assert_eq!(chosen("cnn", &[0, 1, 2], wish), Some(Convolution::Grouped));
            assert_eq!(chosen("cnn", &[0], TrainConfig::default()), None);
            assert_eq!(chosen("linear", &[0, 1], TrainConfig::default()), None);
        };
        on_one_thread(test);
    }
}
