//! Elections and assignment at the sizes people have: `cargo bench --bench partition`.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::time::Instant;

use certssb::{plurality, run_off, Assign, Assignment, HashKey, Spread};
use ndarray::{Array2, Array3};

fn time<T>(what: &str, mut work: impl FnMut() -> T) {
    let mut seconds: Vec<f64> = (0..3)
        .map(|_| {
            let start = Instant::now();
            std::hint::black_box(work());
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    println!("{what:64} {:.3} s (median of 3; least {:.3})", seconds[1], seconds[0]);
}

fn mixed(x: usize) -> u64 {
    let x = (x as u64).wrapping_add(0x9E37_79B9_7F4A_7C15).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (x ^ (x >> 31)).wrapping_mul(0x94D0_49BB_1331_11EB) >> 11
}

fn main() {
    let (m, n, k) = (1_000, 10_000, 10);
    let noise = |m: usize, i: usize, c: usize| mixed((m * n + i) * k + c) as f32 / (1_u64 << 53) as f32;
    let scores = Array3::from_shape_fn((m, n, k), |(m, i, c)| noise(m, i, c) + 0.5 * f32::from(c == i % k));
    let votes = Array2::from_shape_fn((m, n), |(m, i)| {
        (0..k).fold(0, |best, c| if scores[[m, i, c]] > scores[[m, i, best]] { c } else { best }) as u16
    });
    for degree in [1, 16] {
        let spread = Spread::new(m, (0..degree).map(|j| j * 37).collect()).unwrap();
        let size = format!("{n} samples, {m} learners, {k} classes, degree {degree}");
        time(&format!("plurality: {size}"), || plurality(votes.view(), k, &spread).unwrap());
        time(&format!("run-off: {size}"), || run_off(scores.view(), &spread).unwrap());
    }
    let (samples, size) = (200_000, 784);
    let features: Vec<f32> = (0..samples * size).map(|i| mixed(i) as f32).collect();
    let labels: Vec<u32> = (0..samples as u32).map(|i| i % 10).collect();
    let spread = Spread::disjoint(3_000).unwrap();
    time(&format!("assignment: {samples} samples of {size} features (627 MB), 3000 parts"), || {
        Assignment::new(&features, size, &labels, &spread, Assign::Content, HashKey::from_seed(0)).unwrap()
    });
    let mut copy = vec![0.0_f32; features.len()];
    time("  copying the same 627 MB", || copy.copy_from_slice(&features));
}
