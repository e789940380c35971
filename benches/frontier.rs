//! Time of a whole frontier, 10,000 samples by 50 counts of poisoned samples, and of the other two questions.
//!
//! One core: `RAYON_NUM_THREADS=1 cargo bench --no-default-features --bench frontier`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Instant;

use certssb::{
    Ballots, Certificates, Change, Confidence, DataFacts, Gaussian, LabelNoise, Law, Product, Seed, Subsample,
};
use ndarray::Array2;
use rand::RngExt;

const SAMPLES: usize = 10_000;
const MEMBERS: usize = 1000;

/// Votes for `n_classes`: the samples' difficulties spread from certain to a coin.
fn votes(n_classes: usize) -> Ballots {
    let mut rng = Seed::new(1).stream(certssb::Role::Noise, 0, 0);
    let settings: Vec<(f64, f64, usize)> = (0..SAMPLES)
        .map(|_| {
            let easy: f64 = rng.random();
            let second: f64 = rng.random();
            (0.5 + 0.5 * easy.sqrt(), 0.3 + 0.7 * second, rng.random_range(1..n_classes))
        })
        .collect();
    let classes = Array2::from_shape_fn((MEMBERS, SAMPLES), |(_, i)| {
        let (first, share, rival) = settings[i];
        if rng.random::<f64>() < first {
            0
        } else if rng.random::<f64>() < share {
            rival as u16
        } else {
            rng.random_range(1..n_classes) as u16
        }
    });
    Ballots::from_votes(classes, n_classes).unwrap()
}

fn table(inner: Law, size: usize, n_train: usize, n_classes: usize) -> Certificates {
    let law = Law::Subsample(Subsample::new(Some(inner), size).unwrap());
    let facts = DataFacts { n_train, n_features: Some(784), n_classes };
    let confidence = Confidence::at(0.001).for_votes(MEMBERS, n_classes).unwrap();
    Certificates::from_ballots(law, facts, confidence, None, &votes(n_classes)).unwrap()
}

fn distinct(table: &Certificates) -> usize {
    let pairs = table.intervals().iter().map(|i| (i.p_lower.to_bits(), i.p_upper.to_bits()));
    pairs.collect::<std::collections::HashSet<_>>().len()
}

/// Processor seconds of this process so far, where the system says so: on a busy machine they count, not the clock.
fn processor() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // User time is field 14, in ticks of 1/100 s; the name in field 2 may hold spaces.
    stat.rsplit(')').next()?.split_whitespace().nth(11)?.parse::<f64>().ok().map(|ticks| ticks / 100.0)
}

fn timed<T>(what: &str, question: impl FnOnce() -> T) -> T {
    let (start, before) = (Instant::now(), processor());
    let answer = question();
    print!("  {what:12} {:8.3} s", start.elapsed().as_secs_f64());
    match before.zip(processor()) {
        Some((before, after)) => println!(", {:.2} s of processor", after - before),
        None => println!(),
    }
    answer
}

fn report(name: &str, table: &Certificates, most: usize, labels: bool) {
    println!("{name}: {} distinct pairs", distinct(table));
    let counts: Vec<usize> = (1..=50).map(|i| i * most / 50).collect();
    let frontier = timed("frontier", || table.frontier(&counts, labels).unwrap());
    let finite = frontier.iter().filter(|t| t.is_finite() && **t > 0.0).count();
    println!("  {finite} of {} norms are finite and positive", frontier.len());
    let n_poisoned = timed("n_poisoned", || table.n_poisoned(1.0, labels).unwrap());
    println!("  largest count {:?}", n_poisoned.iter().max());
    let change = Change { n_poisoned: most / 2, trigger_norm: 1.0, labels };
    let holds = timed("holds", || table.holds(change).unwrap());
    println!("  {} hold", holds.iter().filter(|yes| **yes).count());
}

fn main() {
    let noise = || Law::Gaussian(Gaussian::new(1.0).unwrap());
    let both = Law::Product(Product::new(noise(), Law::LabelNoise(LabelNoise::new(0.2).unwrap())).unwrap());
    report("two classes", &table(noise(), 100, 12_665, 2), 500, false);
    report("two classes, labels", &table(both, 50, 12_665, 2), 500, true);
    report("ten classes", &table(noise(), 400, 60_000, 10), 3000, false);
}
