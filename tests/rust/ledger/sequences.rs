//! Random dense sequences against the plain reference: one by one, in batches, re-opened, from two handles.

use std::collections::HashMap;

use certssb::{Entry, Ledger, Outcome, Watch};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::reference::{Reference, GRID};
use super::{all_records, columns, one_by_one, place, together, Ask};

/// Sequences of a run: thousands where the code is optimised; `LEDGER_SEQUENCES` sets another number.
fn n_sequences() -> u64 {
    let usual = if cfg!(debug_assertions) { 100 } else { 2000 };
    std::env::var("LEDGER_SEQUENCES").map_or(usual, |n| n.parse().unwrap())
}

/// Updates so close together that all outcomes occur. Coordinates and some radii lie on a coarse grid, so that
/// regions touch exactly; other radii are any numbers.
fn dense(rng: &mut impl Rng) -> Vec<Ask> {
    let dimension = rng.random_range(1..=3);
    let classes = rng.random_range(2..=4);
    let n = rng.random_range(2..=60);
    let coarse = [4, 16, 1 << GRID][rng.random_range(0..3)];
    let ask = |rng: &mut dyn Rng| {
        let x = (0..dimension).map(|_| rng.random_range(-coarse..=coarse) as f32 / coarse as f32).collect();
        let radius = match rng.random_range(0..6) {
            0 => 0.0,
            1 | 2 => f64::from(rng.random_range(1..=4)) / 8.0,
            _ => rng.random_range(0.0..0.8),
        };
        Ask { x, prediction: rng.random_range(0..classes), radius }
    };
    (0..n).map(|_| ask(rng)).collect()
}

fn by_reference(asks: &[Ask]) -> Vec<Entry> {
    let mut reference = Reference::default();
    let entries = asks.iter().map(|ask| reference.update(ask)).collect();
    reference.assert_disjoint();
    entries
}

/// Parts of random lengths, some of length one.
fn parts<'a>(asks: &'a [Ask], rng: &mut impl Rng) -> Vec<&'a [Ask]> {
    let (mut rest, mut parts) = (asks, Vec::new());
    while !rest.is_empty() {
        let (part, after) = rest.split_at(rng.random_range(1..=rest.len()));
        parts.push(part);
        rest = after;
    }
    parts
}

/// What a fresh ledger answers; then its file has to be without fault.
fn with_ledger(update: impl FnOnce(&std::path::Path) -> Vec<Entry>) -> Vec<Entry> {
    let (_folder, path) = place();
    let entries = update(&path);
    let report = Ledger::open_read_only(&path).unwrap().verify(&mut Watch::new()).unwrap();
    assert_eq!(report.updates, entries.len() as u64);
    let recorded: Vec<Entry> = all_records(&path).iter().map(|record| record.entry).collect();
    assert_eq!(recorded, entries);
    entries
}

#[test]
fn every_way_of_updating_agrees_with_the_plain_reference() {
    let mut seen: HashMap<Outcome, usize> = HashMap::new();
    for seed in 0..n_sequences() {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let asks = dense(&mut rng);
        let expected = by_reference(&asks);
        expected.iter().for_each(|entry| *seen.entry(entry.outcome).or_default() += 1);

        let found = with_ledger(|path| one_by_one(&mut Ledger::open(path).unwrap(), &asks));
        assert_eq!(found, expected, "one by one, seed {seed}");
        let found = with_ledger(|path| together(&mut Ledger::open(path).unwrap(), &asks));
        assert_eq!(found, expected, "together, seed {seed}");
        let split = parts(&asks, &mut rng);
        let reopened =
            |part: &&[Ask], path: &std::path::Path| together(&mut Ledger::open(path).unwrap(), part);
        let found = with_ledger(|path| split.iter().flat_map(|part| reopened(part, path)).collect());
        assert_eq!(found, expected, "re-opened, seed {seed}");
        let found = with_ledger(|path| {
            let mut handles = [Ledger::open(path).unwrap(), Ledger::open(path).unwrap()];
            split.iter().enumerate().flat_map(|(i, part)| together(&mut handles[i % 2], part)).collect()
        });
        assert_eq!(found, expected, "two handles, seed {seed}");
    }
    for outcome in Outcome::ALL {
        assert!(seen.get(&outcome).is_some_and(|n| *n > 50), "{outcome} occurs too seldom: {seen:?}");
    }
}

/// In many dimensions, and past the number of regions at which sketches are learned, all ways still agree; distances
/// in plain `f64` tell apart all but nearly equal gaps.
#[test]
fn sketches_change_no_result() {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let clusters: Vec<Vec<f32>> =
        (0..12).map(|_| (0..100).map(|_| rng.random_range(0.0..1.0)).collect()).collect();
    let asks: Vec<Ask> = (0..1500)
        .map(|_| {
            let near = &clusters[rng.random_range(0..clusters.len())];
            let x = near.iter().map(|v| v + rng.random_range(-0.1_f32..0.1)).collect();
            Ask { x, prediction: rng.random_range(0..3), radius: rng.random_range(0.0..1.5) }
        })
        .collect();
    let single = with_ledger(|path| one_by_one(&mut Ledger::open(path).unwrap(), &asks[..700]));
    let batched = with_ledger(|path| together(&mut Ledger::open(path).unwrap(), &asks));
    assert_eq!(single, batched[..700]);
    let mut stored: Vec<(&Ask, Entry)> = Vec::new();
    for (ask, entry) in asks.iter().zip(&batched) {
        let gap = |(other, region): &(&Ask, Entry)| {
            let square = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
            let square: f64 = ask.x.iter().zip(&other.x).map(square).sum();
            (region.prediction != ask.prediction).then(|| square.sqrt() - region.radius)
        };
        let least = stored.iter().filter_map(gap).fold(ask.radius, f64::min);
        assert!((entry.radius - least.abs()).abs() < 1e-12, "{entry:?} {least}");
        assert_eq!(entry.outcome == Outcome::Adopted, least < 0.0);
        if entry.radius > 0.0 {
            stored.push((ask, *entry));
        }
    }
    let outcomes = [Outcome::Kept, Outcome::Trimmed, Outcome::Adopted];
    assert!(outcomes.iter().all(|o| batched.iter().filter(|e| e.outcome == *o).count() > 50));
}

#[test]
fn a_query_answers_with_the_region_that_contains_the_input() {
    let (_folder, path) = place();
    let mut ledger = Ledger::open(&path).unwrap();
    assert_eq!(ledger.query(&[0.0]).unwrap(), None, "an empty ledger claims nothing");
    for (x, prediction, radius) in [(0.0, 1, 1.0), (0.5, 1, 1.0), (4.0, 2, 0.5), (9.0, 0, 0.0)] {
        ledger.update(&[x], prediction, radius).unwrap();
    }
    let claim = |ledger: &mut Ledger, x: f32| {
        ledger.query(&[x]).unwrap().map(|claim| (claim.number, claim.prediction, claim.radius))
    };
    assert_eq!(claim(&mut ledger, 0.0), Some((0, 1, 1.0)));
    assert_eq!(claim(&mut ledger, 0.375), Some((1, 1, 0.875)));
    assert_eq!(claim(&mut ledger, 1.5), None, "regions are open");
    assert_eq!(claim(&mut ledger, 3.75), Some((2, 2, 0.25)));
    assert_eq!(claim(&mut ledger, 9.0), None, "abstentions claim nothing");
    let mut reader = Ledger::open_read_only(&path).unwrap();
    Ledger::open(&path).unwrap().update(&[20.0], 5, 1.0).unwrap();
    assert_eq!(claim(&mut reader, 20.0), Some((4, 5, 1.0)), "a reader sees what others store");
    assert_eq!((reader.len().unwrap(), reader.n_updates().unwrap()), (4, 5));
    assert_eq!(reader.dimension().unwrap(), Some(1));
}

#[test]
fn a_report_counts_what_is_there() {
    let (_folder, path) = place();
    let mut ledger = Ledger::open(&path).unwrap();
    assert!(ledger.is_empty().unwrap() && ledger.dimension().unwrap().is_none());
    assert_eq!(ledger.verify(&mut Watch::new()).unwrap().updates, 0);
    for (x, prediction, radius) in [(0.0, 0, 1.0), (1.5, 1, 1.0), (0.5, 1, 0.1), (1.0, 1, 0.0), (9.0, 1, 0.0)]
    {
        ledger.update(&[x], prediction, radius).unwrap();
    }
    let report = ledger.verify(&mut Watch::new()).unwrap();
    assert_eq!((report.updates, report.regions), (5, 3));
    let counts = Outcome::ALL.map(|outcome| report.count(outcome));
    assert_eq!(counts, [1, 1, 1, 2]);
    assert_eq!(ledger.len().unwrap(), 3);
}

#[test]
fn stopping_keeps_what_was_settled() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let (_folder, path) = place();
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let asks: Vec<Ask> =
        std::iter::repeat_with(|| dense(&mut rng)).flatten().filter(|a| a.x.len() == 2).take(3000).collect();
    let (points, predictions, radii) = columns(&asks);
    let stop = AtomicBool::new(false);
    let mut calls = Vec::new();
    let mut watch = Watch::new().stop(&stop).progress(|done, total| {
        calls.push((done, total));
        stop.store(calls.len() == 2, Ordering::Relaxed);
    });
    let mut ledger = Ledger::open(&path).unwrap();
    let error = ledger.update_many(points.view(), &predictions, &radii, &mut watch).unwrap_err();
    drop(watch);
    assert_eq!(*error.kind(), certssb::ErrorKind::Cancelled);
    assert_eq!(error.to_string(), "Stopped after 1024 of 3000 updates; these are stored.");
    assert_eq!(calls, [(512, 3000), (1024, 3000)]);
    let stored: Vec<Entry> = all_records(&path).iter().map(|record| record.entry).collect();
    assert_eq!(stored, by_reference(&asks[..1024]));
    let rest = together(&mut ledger, &asks[1024..]);
    assert_eq!(rest, by_reference(&asks)[1024..], "the same handle goes on");

    let stopped = AtomicBool::new(true);
    let error = ledger.verify(&mut Watch::new().stop(&stopped)).unwrap_err();
    assert_eq!(*error.kind(), certssb::ErrorKind::Cancelled);
}
