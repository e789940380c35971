//! Speed of the parts without torch: noise of a member's set, and 1,000,000 samples by 10 classes from votes to radii.
//!
//! One core: `RAYON_NUM_THREADS=1 cargo bench --no-default-features --bench statistics`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Instant;

use certssb::{Certificates, Confidence, DataFacts, Gaussian, Law, NoiseLaw, Poll, Role, Seed, Uniform};
use ndarray::Array2;
use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

/// Values of one round: the features of MNIST's zeros and ones.
const NORMALS: usize = 12_665 * 784;
const ROUNDS: usize = 7;
const SAMPLES: usize = 1_000_000;
const CLASSES: usize = 10;

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let answer = work();
    println!("  {what:28} {:8.3} s", start.elapsed().as_secs_f64());
    answer
}

/// Million values a second in rows of `size`.
fn rate(size: usize, mut draw: impl FnMut(usize, &mut [f32])) -> f64 {
    let rows = NORMALS / size;
    let mut row = vec![0.0_f32; size];
    let start = Instant::now();
    (0..rows).for_each(|sample| draw(sample, &mut row));
    std::hint::black_box(&row);
    (rows * size) as f64 / start.elapsed().as_secs_f64() / 1e6
}

/// Normals and uniforms a second in rows of three lengths (a small table, MNIST, CIFAR), in turn with those of rand_distr
/// and rand from the same streams, and floats copied a second.
fn noise() {
    let seed = Seed::new(1);
    let normal = Law::Gaussian(Gaussian::new(0.5).unwrap());
    let uniform = Law::Uniform(Uniform::new(0.5).unwrap());
    println!("noise, one core, million values a second, medians of {ROUNDS} rounds in turn");
    println!("  row   normals  rand_distr   uniforms  rand   streams opened");
    for size in [57, 784, 3072] {
        let mut rounds = [(); 5].map(|()| Vec::new());
        for _ in 0..ROUNDS {
            rounds[0].push(rate(size, |i, row| normal.noise_features(seed, 0, i, row)));
            rounds[1].push(rate(size, |i, row| {
                let mut rng = seed.stream(Role::Noise, 0, i as u64);
                row.iter_mut().for_each(|value| *value += 0.5 * rng.sample::<f32, _>(StandardNormal));
            }));
            rounds[2].push(rate(size, |i, row| uniform.noise_features(seed, 0, i, row)));
            rounds[3].push(rate(size, |i, row| {
                let mut rng = seed.stream(Role::Noise, 0, i as u64);
                row.iter_mut().for_each(|value| *value += 0.5 * (2.0 * rng.random::<f32>() - 1.0));
            }));
            rounds[4].push(rate(size, |i, _| {
                std::hint::black_box(seed.stream(Role::Noise, 0, i as u64).next_u64());
            }));
        }
        let [ours, distr, uniforms, rand, opened] = rounds.map(|mut round| {
            round.sort_by(f64::total_cmp);
            round[ROUNDS / 2]
        });
        println!("  {size:4} {ours:9.0} {distr:11.0} {uniforms:10.0} {rand:5.0} {opened:9.0}");
    }
    let from = vec![1.0_f32; NORMALS];
    let mut to = vec![0.0_f32; NORMALS];
    to.copy_from_slice(&from);
    let start = Instant::now();
    to.copy_from_slice(std::hint::black_box(&from));
    println!("  floats copied: {:.0}", NORMALS as f64 / start.elapsed().as_secs_f64() / 1e6);
    std::hint::black_box(&to);
}

/// Votes of samples whose difficulties spread from certain to a coin.
fn votes(members: usize) -> Array2<u16> {
    let mut state = 1_u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as u32
    };
    let sure: Vec<u32> = (0..SAMPLES).map(|_| (1 << 22) + random() / 4 * 3).collect();
    Array2::from_shape_fn((members, SAMPLES), |(_, i)| {
        let r = random();
        if r < sure[i] {
            (i % CLASSES) as u16
        } else {
            (r % CLASSES as u32) as u16
        }
    })
}

fn certify(members: usize) {
    println!("{members} members, {SAMPLES} samples, {CLASSES} classes");
    let votes = votes(members);
    let floor = Instant::now();
    std::hint::black_box(votes.iter().fold(0, |all, vote| all | vote));
    println!("  floor: votes read once       {:8.3} s", floor.elapsed().as_secs_f64());
    let whole = Instant::now();
    let poll = Poll::new(votes.view(), CLASSES).unwrap();
    let counts = timed("votes checked and counted", || poll.count(0).unwrap());
    let confidence = Confidence::at(0.001).for_votes(members, CLASSES).unwrap();
    let law = Law::Gaussian(Gaussian::new(0.5).unwrap());
    let facts = DataFacts { n_train: 60_000, n_features: Some(784), n_classes: CLASSES };
    let table =
        timed("bounded", || Certificates::from_ballots(law, facts, confidence, None, &counts).unwrap());
    let radii = timed("radii", || table.radius().unwrap());
    println!("  all                          {:8.3} s", whole.elapsed().as_secs_f64());
    println!("  {} certified", radii.iter().filter(|radius| **radius > 0.0).count());
    let norms = timed("norms for 100 samples", || table.trigger_norm(100, false).unwrap());
    println!("  {} positive", norms.iter().filter(|norm| **norm > 0.0).count());
}

fn main() {
    noise();
    certify(100);
    certify(1000);
}
