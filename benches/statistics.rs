//! Speed of the parts without torch: noise of a member's set, and 1,000,000 samples by 10 classes from votes to radii.
//!
//! One core: `RAYON_NUM_THREADS=1 cargo bench --no-default-features --bench statistics`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Instant;

use certssb::{Certificates, Confidence, DataFacts, Gaussian, Law, NoiseLaw, Poll, Role, Seed};
use ndarray::Array2;
use rand::Rng;

const SAMPLES: usize = 1_000_000;
const CLASSES: usize = 10;

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let answer = work();
    println!("  {what:28} {:8.3} s", start.elapsed().as_secs_f64());
    answer
}

/// Normals of MNIST's zeros and ones per second, as a member's set takes them, and floats copied per second.
fn noise() {
    let (law, seed) = (Law::Gaussian(Gaussian::new(0.5).unwrap()), Seed::new(1));
    let (n, size) = (12_665, 784);
    let mut row = vec![0.0_f32; size];
    let start = Instant::now();
    for sample in 0..n {
        law.noise_features(seed, 0, sample, &mut row);
    }
    let drawn = start.elapsed().as_secs_f64();
    let start = Instant::now();
    for sample in 0..n {
        std::hint::black_box(seed.stream(Role::Noise, 0, sample as u64).next_u64());
    }
    let opened = start.elapsed().as_secs_f64();
    let from = vec![1.0_f32; n * size];
    let mut to = vec![0.0_f32; n * size];
    to.copy_from_slice(&from);
    let start = Instant::now();
    to.copy_from_slice(std::hint::black_box(&from));
    let copied = start.elapsed().as_secs_f64();
    let millions = |seconds: f64| (n * size) as f64 / seconds / 1e6;
    println!("noise, one core: {:.0} million normals a second", millions(drawn));
    println!("  of which opening streams takes {:.1} %", 100.0 * opened / drawn);
    println!("  floats copied: {:.0} million a second", millions(copied));
    std::hint::black_box((&row, &to));
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
    let confidence =
        Confidence::check(0.001, "auto", "union", "auto", false, None, members, CLASSES, false).unwrap();
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
