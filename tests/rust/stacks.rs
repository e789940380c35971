//! Stacks of members: whatever is trained together, drawn ahead or tried again, the members are the same.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use certssb::{
    by_name, Architecture, Control, Convolution, Ensemble, Law, Layout, Mode, Precision, Torch, TorchResult,
    TrainConfig, Weights,
};
use tch::{TchError, Tensor};

use crate::support::{config, gaussian, image, inputs, subsample, training_set, Folder};

/// A cnn for which memory suffices up to `room` members at a time.
#[derive(Debug)]
struct Cramped {
    cnn: Arc<dyn Architecture>,
    room: i64,
    refused: AtomicUsize,
}

impl Cramped {
    fn new(room: i64) -> Arc<Self> {
        let cnn = by_name("cnn", image(8), 2).unwrap();
        Arc::new(Self { cnn, room, refused: AtomicUsize::new(0) })
    }
}

impl Architecture for Cramped {
    fn name(&self) -> &str {
        self.cnn.name()
    }
    fn layout(&self) -> &Layout {
        self.cnn.layout()
    }
    fn forward(&self, weights: &Weights, inputs: &Tensor, mode: Mode) -> TorchResult<Tensor> {
        if weights.stack() > self.room && mode == Mode::Train {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(TchError::Torch("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore".to_owned()));
        }
        self.cnn.forward(weights, inputs, mode)
    }
}

fn train(
    architecture: Option<Arc<dyn Architecture>>,
    law: Law,
    config: &TrainConfig,
    n_members: u64,
    checkpoint: Option<&Path>,
) -> certssb::Result<Ensemble> {
    let data = training_set(40, 8);
    let mut ensemble = match architecture {
        Some(architecture) => Ensemble::with_backend(&data, law, config, Arc::new(Torch::new(architecture)))?,
        None => Ensemble::new(&data, law, config)?,
    };
    ensemble.train(&data, n_members, checkpoint, &Control::new())?;
    Ok(ensemble)
}

fn values(ensemble: &Ensemble) -> Vec<Vec<f32>> {
    ensemble.members().map(|member| member.values.to_vec()).collect()
}

/// Largest difference of two ensembles' scores.
fn apart(a: &Ensemble, b: &Ensemble) -> f32 {
    let scores = |ensemble: &Ensemble| ensemble.scores(&inputs(20, 8), &Control::new()).unwrap();
    (&scores(a) - &scores(b)).iter().fold(0.0_f32, |most, d| most.max(d.abs()))
}

fn stacked(model: &str, stack: usize) -> TrainConfig {
    TrainConfig { stack: Some(stack), n_jobs: Some(1), epochs: 1, ..config(model) }
}

#[test]
fn members_whose_sets_were_drawn_ahead_are_the_same_bits() {
    for (model, stack) in [("linear", 4), ("cnn", 3), ("cnn", 1), ("discriminant", 2), ("ridge", 2)] {
        let here = train(None, gaussian(0.5), &stacked(model, stack), 7, None).unwrap();
        let config = TrainConfig { ahead: Some(true), ..stacked(model, stack) };
        let ahead = train(None, gaussian(0.5), &config, 7, None).unwrap();
        assert_eq!(here.n_members(), 7);
        assert!(values(&here) == values(&ahead), "{model} in stacks of {stack}");
    }
}

#[test]
fn both_convolutions_train_the_members_that_are_trained_one_by_one() {
    let single = |model| train(None, subsample(0.5, 20), &stacked(model, 1), 3, None).unwrap();
    for (model, tolerance) in [("cnn", 1e-3), ("resnet", 2e-2)] {
        let single = single(model);
        for convolution in [Convolution::Grouped, Convolution::Unfolded] {
            let config = TrainConfig { convolution: Some(convolution), ..stacked(model, 3) };
            let together = train(None, subsample(0.5, 20), &config, 3, None).unwrap();
            let apart = apart(&single, &together);
            assert!(apart < tolerance, "{model} {convolution:?}: {apart}");
            assert!(apart > 0.0, "{model} {convolution:?}: a stack rounds in its own way");
        }
    }
}

#[test]
fn a_stack_without_memory_is_halved_until_it_fits() {
    let single = train(None, gaussian(0.5), &stacked("cnn", 1), 11, None).unwrap();
    for ahead in [false, true] {
        let cramped = Cramped::new(2);
        let folder = Folder::new();
        let config = TrainConfig { ahead: Some(ahead), ..stacked("cnn", 8) };
        let own: Arc<dyn Architecture> = cramped.clone();
        let shrunk = train(Some(own), gaussian(0.5), &config, 11, Some(&folder.join("members"))).unwrap();
        assert_eq!(shrunk.members().map(|m| m.number).collect::<Vec<_>>(), (0..11).collect::<Vec<_>>());
        let apart = apart(&single, &shrunk);
        assert!(apart < 1e-3, "{apart}");
        let refused = cramped.refused.load(Ordering::Relaxed);
        assert!((2..=5).contains(&refused), "8 and 4 were tried, and what had been drawn ahead: {refused}");
    }
}

#[test]
fn a_member_without_memory_of_its_own_is_an_error_that_says_so() {
    let own: Arc<dyn Architecture> = Cramped::new(0);
    let error = train(Some(own), gaussian(0.5), &stacked("cnn", 4), 6, None).unwrap_err();
    let text = error.to_string();
    assert!(error.member().is_some() && text.contains("out of memory") && !text.contains("more"), "{text}");
}

/// A cnn of which a device holds one member at a time, and whose stacks fail at some step if they are not sure.
#[derive(Debug)]
struct Odd {
    cnn: Arc<dyn Architecture>,
    present: Arc<AtomicUsize>,
    refused: AtomicUsize,
    one_at_a_time: bool,
    sure: bool,
    /// Whether the first member waits for a second one, so that two are there at the same time however threads are woken.
    meets: bool,
}

/// What a member in training takes of the device's memory.
struct Presence(Arc<AtomicUsize>);

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Odd {
    fn new(one_at_a_time: bool, sure: bool) -> Arc<Self> {
        let cnn = by_name("cnn", image(8), 2).unwrap();
        let (present, refused) = (Arc::default(), AtomicUsize::new(0));
        Arc::new(Self { cnn, present, refused, one_at_a_time, sure, meets: false })
    }

    fn meeting() -> Arc<Self> {
        let odd = Arc::into_inner(Self::new(true, true)).unwrap();
        Arc::new(Self { meets: true, ..odd })
    }

    fn meet(&self) {
        let started = Instant::now();
        let met = || self.present.load(Ordering::SeqCst) > 1 || self.refused.load(Ordering::SeqCst) > 0;
        while self.meets && !met() && started.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn refuse(&self, text: &str) -> TorchResult<Tensor> {
        self.refused.fetch_add(1, Ordering::SeqCst);
        Err(TchError::Torch(text.to_owned()))
    }
}

impl Architecture for Odd {
    fn name(&self) -> &str {
        self.cnn.name()
    }
    fn layout(&self) -> &Layout {
        self.cnn.layout()
    }
    fn stacks_are_sure(&self) -> bool {
        self.sure
    }
    fn forward(&self, weights: &Weights, inputs: &Tensor, mode: Mode) -> TorchResult<Tensor> {
        if self.one_at_a_time && mode == Mode::Train {
            weights.companion(|| {
                self.present.fetch_add(1, Ordering::SeqCst);
                Ok(Presence(Arc::clone(&self.present)))
            })?;
            self.meet();
            if self.present.load(Ordering::SeqCst) > 1 {
                return self.refuse("CUDA out of memory.");
            }
        } else if weights.stack() > 1 && mode == Mode::Train {
            return self.refuse("vmap does not know this");
        }
        self.cnn.forward(weights, inputs, mode)
    }
}

#[test]
fn members_that_do_not_fit_side_by_side_are_trained_in_turn() {
    let single = train(Some(Odd::new(true, true)), gaussian(0.5), &stacked("cnn", 1), 9, None).unwrap();
    for ahead in [false, true] {
        let odd = Odd::meeting();
        let own: Arc<dyn Architecture> = odd.clone();
        let config = TrainConfig { n_jobs: Some(3), ahead: Some(ahead), ..stacked("cnn", 1) };
        let turns = train(Some(own), gaussian(0.5), &config, 9, None).unwrap();
        assert!(values(&single) == values(&turns));
        let refused = odd.refused.load(Ordering::SeqCst);
        assert!((1..=3).contains(&refused), "once each, then in turn: {refused}");
        assert_eq!(turns.execution().map(|how| (how.stack, how.side_by_side)), Some((1, 3)));
    }
}

#[test]
fn stacks_that_are_not_sure_and_fail_are_trained_one_by_one() {
    let single = train(Some(Odd::new(false, true)), gaussian(0.5), &stacked("cnn", 1), 7, None).unwrap();
    for ahead in [false, true] {
        let config = TrainConfig { ahead: Some(ahead), ..stacked("cnn", 3) };
        let parted = train(Some(Odd::new(false, false)), gaussian(0.5), &config, 7, None).unwrap();
        assert!(values(&single) == values(&parted));
        let how = parted.execution().unwrap();
        assert_eq!((how.stack, how.smallest), (3, 1));
        assert!(how.failure.as_ref().unwrap().contains("vmap does not know this"), "{how:?}");
    }
    let error = train(Some(Odd::new(false, true)), gaussian(0.5), &stacked("cnn", 3), 7, None).unwrap_err();
    assert!(error.to_string().contains("vmap does not know this"));
}

#[test]
fn how_members_were_trained_is_told_and_kept() {
    let data = training_set(40, 8);
    let mut ensemble = Ensemble::new(&data, gaussian(0.5), &stacked("linear", 4)).unwrap();
    assert_eq!(ensemble.execution(), None);
    for _ in 0..2 {
        // The second time nothing is left to train.
        ensemble.train(&data, 6, None, &Control::new()).unwrap();
        let how = ensemble.execution().unwrap();
        assert_eq!((how.stack, how.smallest, how.side_by_side, &how.failure), (4, 4, 1, &None));
    }
}

#[test]
fn precision_is_part_of_the_record_and_how_the_work_is_done_is_not() {
    let record = |config: TrainConfig| {
        Ensemble::new(&training_set(40, 8), gaussian(0.5), &config).unwrap().record().clone()
    };
    let plain = record(config("cnn"));
    let other = TrainConfig {
        stack: Some(5),
        memory: Some(1 << 30),
        convolution: Some(Convolution::Unfolded),
        ahead: Some(true),
        ..config("cnn")
    };
    assert_eq!(plain, record(other));
    assert_ne!(plain, record(TrainConfig { precision: Precision::Tf32, ..config("cnn") }));
}
