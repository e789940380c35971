//! One piece of work after another, each once, for a count of its instructions: `make instructions`.
//!
//! `instructions NAME` does one of them; `instructions nothing` is what starting and ending costs. `instructions` alone
//! tells the names.
#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;

use certssb::kernel::{discriminant, Adam, Network, Workspace};
use certssb::{Certificates, Confidence, DataFacts, Gaussian, Law, NoiseLaw, Poll, Seed, Subsample, Uniform};
use ndarray::Array2;

type Work = (&'static str, fn());

const ALL: [Work; 10] = [
    ("nothing", || {}),
    ("normals", || noise(&Law::Gaussian(Gaussian::new(0.5).unwrap()))),
    ("uniforms", || noise(&Law::Uniform(Uniform::new(0.5).unwrap()))),
    ("subsets", subsets),
    ("votes counted", || drop(counted(200, 2000))),
    ("radii", || drop(black_box(table(Law::Gaussian(Gaussian::new(0.5).unwrap())).radius()))),
    ("norms of subsamples", norms),
    ("step of a cnn", || step(&Network::convolutional((1, 16, 16), &[16, 32], 5, 0, &[32, 10]), 256)),
    ("step of an mlp", || step(&Network::dense(&[784, 128, 10]), 784)),
    ("discriminant", || drop(black_box(discriminant(&rows(200, 196), &classes(200), 10, 1.0, || true)))),
];

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    match ALL.iter().find(|(name, _)| Some(*name) == wanted.first().map(String::as_str)) {
        Some((_, work)) => work(),
        None => ALL.iter().for_each(|(name, _)| println!("{name}")),
    }
}

/// A generator that no release of anybody changes.
fn random(state: &mut u64) -> u32 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 40) as u32
}

fn noise(law: &Law) {
    let mut row = vec![0.0_f32; 784];
    (0..500).for_each(|sample| law.noise_features(Seed::new(1), 0, sample, &mut row));
    black_box(&row);
}

fn subsets() {
    let law = Law::Subsample(Subsample::new(None, 500).unwrap());
    (0..50).for_each(|member| drop(black_box(law.subset(Seed::new(1), member, 10_000))));
}

fn counted(members: usize, samples: usize) -> certssb::Counts {
    let mut state = 1;
    let sure: Vec<u32> = (0..samples).map(|_| (1 << 22) + random(&mut state) / 4 * 3).collect();
    let votes = Array2::from_shape_fn((members, samples), |(_, i)| {
        let drawn = random(&mut state);
        if drawn < sure[i] {
            i as u16 % 10
        } else {
            (drawn % 10) as u16
        }
    });
    Poll::new(votes.view(), 10).unwrap().count(0).unwrap()
}

fn table(law: Law) -> Certificates {
    let facts = DataFacts { n_train: 60_000, n_features: Some(784), n_classes: 10 };
    let confidence = Confidence::at(0.001).for_votes(1000, 10).unwrap();
    Certificates::from_ballots(law, facts, confidence, None, &counted(1000, 200)).unwrap()
}

fn norms() {
    let law = Law::Subsample(Subsample::new(Some(Law::Gaussian(Gaussian::new(0.5).unwrap())), 300).unwrap());
    black_box(table(law).trigger_norm(100, false).unwrap());
}

fn rows(n: usize, width: usize) -> Vec<&'static [f32]> {
    let values: Vec<f32> = (0..n * width).map(|i| (i as f32 * 0.37).sin()).collect();
    values.leak().chunks(width).collect()
}

fn classes(n: usize) -> Vec<usize> {
    (0..n).map(|i| i % 10).collect()
}

fn step(network: &Network, width: usize) {
    let mut values: Vec<f32> = (0..network.n_values()).map(|i| (i as f32 * 0.7).sin() * 0.05).collect();
    let (mut adam, mut work) = (Adam::new(values.len(), 1e-3), Workspace::default());
    for _ in 0..3 {
        let (_, gradient) = network.gradient(&values, &rows(16, width), &classes(16), &mut work);
        adam.step(&mut values, gradient);
    }
    black_box(&values);
}
