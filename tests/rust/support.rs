//! Small data and settings that several tests share.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use certssb::{
    ArrayInputs, ArrayTrainingSet, FeatureShape, Gaussian, Inputs, Law, Result, Subsample, TrainConfig,
    TrainingSet,
};

/// Images of two bars: class 0 has its left half bright, class 1 its upper half; nothing is random.
pub fn bars(n: usize, size: usize) -> (Vec<f32>, Vec<u32>) {
    let mut features = Vec::new();
    let labels: Vec<u32> = (0..n as u32).map(|i| i % 2).collect();
    for i in 0..n {
        for row in 0..size {
            for column in 0..size {
                let bright = if i % 2 == 0 { column < size / 2 } else { row < size / 2 };
                let shade = ((i * 7 + row * 3 + column) % 11) as f32 / 100.0;
                features.push(if bright { 0.9 } else { 0.1 } + shade);
            }
        }
    }
    (features, labels)
}

pub fn image(size: usize) -> FeatureShape {
    FeatureShape::Image { channels: 1, height: size, width: size }
}

pub fn inputs(n: usize, size: usize) -> ArrayInputs<'static> {
    ArrayInputs::new(bars(n, size).0, image(size)).unwrap()
}

pub fn training_set(n: usize, size: usize) -> ArrayTrainingSet<'static> {
    ArrayTrainingSet::new(inputs(n, size), bars(n, size).1, 2).unwrap()
}

pub fn gaussian(sigma: f64) -> Law {
    Law::Gaussian(Gaussian::new(sigma).unwrap())
}

pub fn subsample(sigma: f64, size: usize) -> Law {
    Law::Subsample(Subsample::new(Some(gaussian(sigma)), size).unwrap())
}

pub fn config(model: &str) -> TrainConfig {
    TrainConfig {
        model: model.to_owned(),
        epochs: 2,
        batch_size: 16,
        learning_rate: 3e-3,
        seed: 11,
        device: "cpu".to_owned(),
        n_jobs: Some(2),
        ..TrainConfig::default()
    }
}

/// A training set that tells how many samples were read before each: once per member and sample, in training.
pub struct Watched<F> {
    data: ArrayTrainingSet<'static>,
    read: AtomicUsize,
    before: F,
}

impl<F: Fn(usize) + Send + Sync> Watched<F> {
    pub fn new(data: ArrayTrainingSet<'static>, before: F) -> Self {
        Self { data, read: AtomicUsize::new(0), before }
    }
}

impl<F: Fn(usize) + Send + Sync> Inputs for Watched<F> {
    fn n_samples(&self) -> usize {
        self.data.n_samples()
    }
    fn shape(&self) -> FeatureShape {
        self.data.shape()
    }
    fn features(&self, index: usize, out: &mut [f32]) -> Result<()> {
        (self.before)(self.read.fetch_add(1, Ordering::Relaxed));
        self.data.features(index, out)
    }
}

impl<F: Fn(usize) + Send + Sync> TrainingSet for Watched<F> {
    fn n_classes(&self) -> usize {
        self.data.n_classes()
    }
    fn label(&self, index: usize) -> Result<u32> {
        self.data.label(index)
    }
    fn digest(&self) -> Result<String> {
        self.data.digest()
    }
}

/// A fresh folder that is removed when dropped.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}
