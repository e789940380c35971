//! Which way of convolving is faster for a stack on this device: both are tried, on the first stack.

use std::time::{Duration, Instant};

use super::config::Settings;
use super::noisy_set::NoisySet;
use super::train_member::{Job, Training};
use crate::model::{Convolution, TorchResult};

/// Steps before the clock starts, and steps of the measurement.
const WARM: usize = 2;
const STEPS: usize = 4;

/// The settings with the faster convolution. They are as they were if the user chose one, if there is nothing to
/// choose between, or if neither way has memory enough (which training will then say).
pub(super) fn calibrated(job: Job<'_>, members: &[u64], set: &NoisySet) -> Settings {
    let settings = job.settings.clone();
    if settings.convolution.is_some() || members.len() < 2 || !job.architecture.chooses_convolution() {
        return settings;
    }
    let ways = [Convolution::Unfolded, Convolution::Grouped];
    let timed = ways.into_iter().filter_map(|way| time(job, members, set, way).ok().map(|time| (time, way)));
    let fastest = timed.min_by_key(|(time, _)| *time).map(|(_, way)| way);
    Settings { convolution: fastest, ..settings }
}

/// Time of some steps on the first batch, waited for.
fn time(job: Job<'_>, members: &[u64], set: &NoisySet, way: Convolution) -> TorchResult<Duration> {
    let settings = Settings { convolution: Some(way), ..job.settings.clone() };
    let mut training = Training::new(Job { settings: &settings, ..job }, members, set)?;
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
    use crate::ensemble::data::{ArrayInputs, ArrayTrainingSet};
    use crate::ensemble::noisy_set::{Cores, Source};
    use crate::ensemble::{on_one_thread, TrainConfig};
    use crate::law::{Gaussian, Law};
    use crate::model::{by_name, FeatureShape};
    use crate::seed::Seed;

    fn chosen(model: &str, members: &[u64], config: TrainConfig) -> Option<Convolution> {
        let shape = FeatureShape::Image { channels: 1, height: 8, width: 8 };
        let data = ArrayInputs::new(vec![0.5_f32; 64 * 6], shape).unwrap();
        let data = ArrayTrainingSet::new(data, vec![0, 1, 0, 1, 0, 1], 2).unwrap();
        let law = Law::Gaussian(Gaussian::new(1.0).unwrap());
        let source = Source { data: &data, law: &law, seed: Seed::new(1), sigmas: None };
        let architecture = by_name(model, shape, 2).unwrap();
        let settings = TrainConfig { device: "cpu".to_owned(), batch_size: 4, ..config }.check().unwrap();
        let set = NoisySet::draw(source, members, Cores::Own, &AtomicBool::new(false)).unwrap();
        let job = Job { source, architecture: architecture.as_ref(), settings: &settings, twice: None };
        calibrated(job, members, &set).convolution
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
