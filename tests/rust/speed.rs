//! A loose guard of the frontier's speed: 10,000 samples, 50 counts. See `benches/frontier.rs` for the times.

use std::time::{Duration, Instant};

use certssb::{Ballots, Certificates, Confidence, DataFacts, Gaussian, Law, Role, Seed, Subsample};
use ndarray::Array2;
use rand::RngExt;

/// Ten times what is promised of one core.
const MOST: Duration = Duration::from_secs(20);

#[test]
fn a_frontier_of_ten_thousand_samples() {
    let mut rng = Seed::new(1).stream(Role::Shuffle, 0, 0);
    let shares: Vec<f64> = (0..10_000).map(|_| 0.5 + 0.5 * rng.random::<f64>()).collect();
    let votes = Array2::from_shape_fn((1000, 10_000), |(_, i)| u16::from(rng.random::<f64>() < shares[i]));
    let ballots = Ballots::from_votes(votes, 2).unwrap();
    let confidence = Confidence::at(0.001).for_votes(1000, 2).unwrap();
    let law = Law::Subsample(Subsample::new(Some(Law::Gaussian(Gaussian::new(1.0).unwrap())), 100).unwrap());
    let facts = DataFacts { n_train: 12_665, n_features: Some(784), n_classes: 2 };
    let table = Certificates::from_ballots(law, facts, confidence, None, &ballots).unwrap();
    let start = Instant::now();
    let counts: Vec<usize> = (1..=50).map(|i| 10 * i).collect();
    let frontier = table.frontier(&counts, false).unwrap();
    assert!(start.elapsed() < MOST, "{:?}", start.elapsed());
    assert!(frontier.iter().any(|norm| *norm > 0.0 && norm.is_finite()));
}
