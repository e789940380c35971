//! torch beside the crate's own kernels: the same members, magnitudes and scores up to rounding.
#![allow(clippy::unwrap_used)]

use crate::backend::{built_in, Flag, Search};
use crate::ensemble::{Control, Ensemble};
use crate::law::{Gaussian, Guarantee, LabelNoise, Law, Product, SampleSpecific, SigmaSearch, Subsample};
use crate::member::{ArrayInputs, ArrayTrainingSet, FeatureShape, Gpus, Member, TrainConfig};
use crate::quantity::{NoiseScale, Quantity};
use crate::seed::Seed;

fn train(model: &str, law: &Law, batch_size: usize, stack: Option<usize>) -> Ensemble {
    let shape = FeatureShape::Image { channels: 1, height: 16, width: 17 };
    let (n, d) = (40, shape.n_features());
    let features: Vec<f32> = (0..n * d).map(|i| ((i % d) as f32 * 0.2 + (i / d % 3) as f32).sin()).collect();
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
        let (own, torch) = (train("discriminant", law, 13, None), train("discriminant", law, 13, Some(2)));
        for (a, b) in own.members().zip(torch.members()) {
            assert!((a.loss - b.loss).abs() <= 1e-5 * b.loss, "{} for {}", a.loss, b.loss);
            let scale = b.values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
            let apart = a.values.iter().zip(b.values.iter()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(scale > 0.0 && apart <= 1e-6 * scale, "{apart} of {scale}");
        }
    }
}

/// Scout, search, noise of its own choice, and training on that: rounding of the first goes into all the others.
#[test]
fn members_with_noise_of_their_own_are_those_of_torch() {
    let search =
        SigmaSearch { steps: 4, samples: 3, ..SigmaSearch::around(NoiseScale::wrap(0.3), Guarantee::Sound) };
    let base = Gaussian::new(0.3).unwrap();
    let law = Law::SampleSpecific(SampleSpecific::new(base, Guarantee::Sound, search).unwrap());
    for model in ["linear", "mlp", "cnn"] {
        compare(model, &law, 13, 2e-4);
    }
}

/// Magnitudes of rows, with and without labels, and the scores at those of torch.
#[test]
fn magnitudes_and_scores_are_the_kernels() {
    let stop = Flag::default();
    let shape = FeatureShape::Image { channels: 1, height: 10, width: 10 };
    for model in ["linear", "mlp", "cnn"] {
        for (steps, samples, n) in [(6, 4, 70), (3, 7, 5)] {
            let search = SigmaSearch {
                start: NoiseScale::wrap(0.5),
                sigma_min: NoiseScale::wrap(0.05),
                sigma_max: NoiseScale::wrap(2.0),
                steps,
                learning_rate: NoiseScale::wrap(0.3),
                samples,
            };
            let search = Search { search: &search, seed: Seed::new(2) };
            let x: Vec<f32> = (0..n * 100).map(|i| (i as f32 * 0.37).sin()).collect();
            let rows: Vec<&[f32]> = x.chunks(100).collect();
            let labels: Vec<usize> = (0..n).map(|i| i % 3).collect();
            let config = |stack| TrainConfig { device: "cpu".to_owned(), stack, ..TrainConfig::default() };
            let backend = |stack| {
                let settings = config(stack).check(Gpus::default).unwrap();
                (built_in(model, shape, 3, &settings).unwrap(), settings)
            };
            let ((own, settings), (torch, _)) = (backend(None), backend(Some(2)));
            let kernels = [&own, &torch].map(|backend| format!("{backend:?}").starts_with("Kernels"));
            assert_eq!(kernels, [true, false], "{model}: each is what it says");
            // Initial weights say next to nothing; larger ones give gaps of ordinary size.
            let values: Vec<f32> = own.layout().initial(Seed::new(1), 0).iter().map(|v| 1.5 * v).collect();
            let member = Member { number: 5, values: values.into(), loss: 0.0 };
            let members = [&member];
            let mut sessions =
                [&own, &torch].map(|backend| backend.session(&settings, shape, false).unwrap());
            let [own, torch] = &mut sessions;
            let (mut own, mut torch) = (own.panel(&members).unwrap(), torch.panel(&members).unwrap());
            for labels in [Some(&labels[..]), None] {
                let wanted = torch.magnitudes(0, &rows, labels, search, &stop).unwrap();
                let found = own.magnitudes(0, &rows, labels, search, &stop).unwrap();
                assert!(wanted.iter().any(|s| (s - 0.5).abs() > 0.02), "{model}: {wanted:?}");
                for (found, wanted) in found.iter().zip(&wanted) {
                    assert!((found / wanted - 1.0).abs() < 1e-3, "{model}: {found} for {wanted}");
                }
                let scores = own.log_scores(0, &rows, &wanted, search, &stop).unwrap();
                let wanted = torch.log_scores(0, &rows, &wanted, search, &stop).unwrap();
                assert_eq!(scores.len(), wanted.len());
                for (score, wanted) in scores.iter().zip(&wanted) {
                    assert!((score - wanted).abs() < 1e-4 * (1.0 + wanted.abs()), "{score} for {wanted}");
                }
            }
        }
    }
}
