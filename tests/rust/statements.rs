//! How many statements a certification needs: no fewer than are made, in the worst cases, exactly and by simulation.
//!
//! An interval is wrong if its p_lower is above the class's true probability or its p_upper below that of another
//! class. The share of wrong intervals is at most alpha, whatever the true probabilities are.

use certssb::{bounds, Ballots, Confidence, Interval, Role, Seed};
use ndarray::Array2;
use rand::{Rng, RngExt};

fn settings(
    alpha: f64,
    bound: &str,
    selection: &str,
    runner_up: &str,
    split: Option<usize>,
    n: usize,
    k: usize,
) -> Confidence {
    Confidence::at(alpha)
        .bound(bound)
        .selection(selection)
        .runner_up(runner_up)
        .split(split)
        .for_votes(n, k)
        .unwrap()
}

fn wrong(interval: &Interval, g: &[f64]) -> bool {
    let others = g.iter().enumerate().filter(|(class, _)| *class != interval.prediction);
    interval.p_lower > g[interval.prediction]
        || interval.p_upper < others.map(|(_, p)| *p).fold(0.0, f64::max)
}

/// Every way to give `n` votes to `k` classes.
fn compositions(n: usize, k: usize) -> Vec<Vec<usize>> {
    if k == 1 {
        return vec![vec![n]];
    }
    let rest = |first: usize| {
        compositions(n - first, k - 1).into_iter().map(move |rest| [vec![first], rest].concat())
    };
    (0..=n).flat_map(rest).collect()
}

fn ballots(counts: &[usize]) -> Ballots {
    let votes: Vec<u16> =
        counts.iter().enumerate().flat_map(|(class, count)| vec![class as u16; *count]).collect();
    let shape = (votes.len(), 1);
    Ballots::from_votes(Array2::from_shape_vec(shape, votes).unwrap(), counts.len()).unwrap()
}

fn multinomial(counts: &[usize], g: &[f64]) -> f64 {
    let log_factorial = |n: usize| (1..=n).map(|i| (i as f64).ln()).sum::<f64>();
    let term = |(count, p): (&usize, &f64)| {
        let power = if *count == 0 { 0.0 } else { *count as f64 * p.ln() };
        power - log_factorial(*count)
    };
    (log_factorial(counts.iter().sum()) + counts.iter().zip(g).map(term).sum::<f64>()).exp()
}

/// True probabilities: on a grid, and near the corners and edges where bounds are least sure.
fn probabilities(k: usize, alpha: f64) -> Vec<Vec<f64>> {
    let steps = if k == 3 { 20 } else { 10 };
    let grid = compositions(steps, k).into_iter();
    let mut all: Vec<Vec<f64>> = grid.map(|c| c.iter().map(|i| *i as f64 / steps as f64).collect()).collect();
    for small in [1e-4, alpha / 50.0, alpha / 10.0, alpha / 6.0, alpha / 3.0, 0.2] {
        // Ties go to the first class: a rare one wins them.
        let rest = (1.0 - small) / 2.0;
        let mut g = vec![0.0; k];
        (g[0], g[1], g[2]) = (small, rest, rest);
        all.push(g.clone());
        g.reverse();
        all.push(g);
        all.push([vec![0.5 - small / 2.0], vec![(0.5 + small / 2.0) / (k as f64 - 1.0); k - 1]].concat());
    }
    all.push(vec![1.0 / k as f64; k]);
    all
}

#[test]
fn no_true_probabilities_make_more_than_alpha_wrong() {
    let mut largest = std::collections::HashMap::new();
    for (k, sizes) in [(3, 1..=12), (4, 1..=8)] {
        for n in sizes {
            let outcomes = compositions(n, k);
            let votes: Vec<Ballots> = outcomes.iter().map(|counts| ballots(counts)).collect();
            for alpha in [0.02, 0.1, 0.3, 0.51, 0.9] {
                for bound in ["clopper_pearson", "kl", "hoeffding"] {
                    for runner_up in ["complement", "bound"] {
                        let confidence = settings(alpha, bound, "union", runner_up, None, n, k);
                        let intervals: Vec<Interval> =
                            votes.iter().map(|v| confidence.intervals(v).unwrap()[0]).collect();
                        for g in probabilities(k, alpha) {
                            let all =
                                outcomes.iter().zip(&intervals).filter(|(_, interval)| wrong(interval, &g));
                            let share: f64 = all.map(|(counts, _)| multinomial(counts, &g)).sum();
                            let case =
                                || format!("{bound} {runner_up} N={n} K={k} alpha={alpha} {g:?}: {share}");
                            assert!(share <= alpha * (1.0 + 1e-9), "{}", case());
                            let most = largest.entry((bound, runner_up)).or_insert(0.0_f64);
                            *most = most.max(share / alpha);
                        }
                    }
                }
            }
        }
    }
    // The levels are used up: one statement fewer and these shares are above alpha.
    assert!(largest[&("clopper_pearson", "complement")] > 0.9, "{largest:?}");
    assert!(largest[&("clopper_pearson", "bound")] > 0.6, "{largest:?}");
}

#[test]
fn alpha_over_k_beside_alpha_over_two_would_not_do() {
    // What is reported where nothing is certified holds together with what is certified, or both have errors of their own.
    let (n, k, alpha, g) = (2, 3, 0.51, [0.088, 0.456, 0.456]);
    let confidence = settings(alpha, "auto", "union", "complement", None, n, k);
    let (mut plain, mut own) = (0.0, 0.0);
    for counts in compositions(n, k) {
        let interval = confidence.intervals(&ballots(&counts)).unwrap()[0];
        let votes = counts[interval.prediction] as u64;
        let certified = bounds::clopper_pearson_lower(votes, n as u64, alpha / 2.0);
        let low = if certified > 0.5 {
            certified
        } else {
            bounds::clopper_pearson_lower(votes, n as u64, alpha / k as f64)
        };
        let share = multinomial(&counts, &g);
        plain += if low > g[interval.prediction] { share } else { 0.0 };
        own += if interval.p_lower > g[interval.prediction] { share } else { 0.0 };
    }
    assert!(plain > 0.55 && own <= alpha, "{plain} {own}");
}

#[test]
fn what_is_reported_is_the_bound_at_the_stated_level() {
    let of = |votes: usize, runner_up: &str| {
        // The others share the rest.
        let (each, left) = ((1000 - votes) / 9, (1000 - votes) % 9);
        let counts: Vec<usize> =
            (0..10).map(|class| if class == 0 { votes } else { each + usize::from(class <= left) }).collect();
        settings(0.001, "auto", "union", runner_up, None, 1000, 10).intervals(&ballots(&counts)).unwrap()[0]
    };
    let bound = |votes, share| bounds::clopper_pearson_lower(votes, 1000, 0.001 * share);
    // Certified: half of alpha, whatever K is.
    assert_eq!(of(700, "complement").p_lower, bound(700, 0.5));
    // Not certified: alpha / K; below 1/K at the level alpha g, which is less.
    assert_eq!(of(520, "complement").p_lower, bound(520, 0.1));
    assert_eq!(of(300, "complement").p_lower, bound(300, 0.1));
    let low = of(112, "complement").p_lower;
    assert!(low < bound(112, 0.1) && low > 0.9 * bound(112, 0.1) && low < 0.1, "{low}");
    assert_eq!(of(300, "bound").p_lower, bound(300, 1.0 / 12.0));
}

/// Votes of `n` members for one sample each of many ensembles.
fn draw(rng: &mut impl Rng, n: usize, ensembles: usize, g: &[f64]) -> Ballots {
    let votes = Array2::from_shape_fn((n, ensembles), |_| {
        let mut left: f64 = rng.random();
        g.iter()
            .position(|p| {
                left -= p;
                left < 0.0
            })
            .unwrap_or(g.len() - 1) as u16
    });
    Ballots::from_votes(votes, g.len()).unwrap()
}

#[test]
fn worst_cases_by_simulation() {
    const ENSEMBLES: usize = 10_000;
    let alpha = 0.1;
    let halves = [vec![0.5, 0.5], vec![0.0; 8]].concat();
    let equal = vec![0.1; 10];
    let many = [vec![0.499], vec![0.501 / 50.0; 50]].concat();
    let two = [vec![0.12, 0.1], vec![0.02; 39]].concat();
    let mut rng = Seed::new(31).stream(Role::Noise, 0, 0);
    for (name, g) in [("halves", &halves), ("equal", &equal), ("many", &many), ("two", &two)] {
        // Counts of rare classes are coarse where there are few members.
        let n = if name == "two" { 1000 } else { 100 };
        let sampled = draw(&mut rng, n, ENSEMBLES, g);
        for (selection, split) in [("union", None), ("split", Some(30))] {
            for runner_up in ["complement", "bound"] {
                let share = |alpha: f64| {
                    let confidence = settings(alpha, "auto", selection, runner_up, split, n, g.len());
                    let intervals = confidence.intervals(&sampled).unwrap();
                    intervals.iter().filter(|interval| wrong(interval, g)).count() as f64 / ENSEMBLES as f64
                };
                let case = format!("{name} {selection} {runner_up}");
                assert!(share(alpha) <= alpha, "{case}: {}", share(alpha));
                // One statement too few, where true probabilities exist that show it.
                let detectable = matches!(
                    (name, selection, runner_up),
                    ("halves", "union", "complement") | ("two", "split", "bound")
                );
                if detectable {
                    assert!(share(2.0 * alpha) > 1.3 * alpha, "{case}: {}", share(2.0 * alpha));
                }
            }
        }
    }
}

#[test]
fn betting_holds_at_all_looks_together_for_all_classes() {
    // Every sequence of votes of three classes, exactly: wrong at any length counts.
    let (k, n) = (3_usize, 7_u32);
    for alpha in [0.3, 0.6, 0.95] {
        for runner_up in ["complement", "bound"] {
            let confidence = settings(alpha, "betting", "union", runner_up, None, n as usize, k);
            let mut all = vec![(vec![], vec![])];
            for _ in 0..n {
                let longer = |(votes, intervals): (Vec<u16>, Vec<Interval>)| {
                    (0..k as u16).map(move |vote| {
                        let votes = [votes.clone(), vec![vote]].concat();
                        let array = Array2::from_shape_vec((votes.len(), 1), votes.clone()).unwrap();
                        let own = confidence.intervals(&Ballots::from_votes(array, k).unwrap()).unwrap()[0];
                        (votes, [intervals.clone(), vec![own]].concat())
                    })
                };
                all = all.into_iter().flat_map(longer).collect();
            }
            let mut most = 0.0_f64;
            for g in probabilities(k, alpha) {
                let share: f64 = all
                    .iter()
                    .filter(|(_, intervals)| intervals.iter().any(|interval| wrong(interval, &g)))
                    .map(|(votes, _)| votes.iter().map(|vote| g[usize::from(*vote)]).product::<f64>())
                    .sum();
                assert!(share <= alpha, "{runner_up} alpha={alpha} {g:?}: {share}");
                most = most.max(share / alpha);
            }
            assert!(most > 0.2, "{runner_up} alpha={alpha}: {most}");
        }
    }
}

/// Whether a prediction was certified, though no class has more than half, at any of many looks.
fn any_false(split: impl Fn(usize) -> usize, ensembles: usize, alpha: f64) -> f64 {
    let mut rng = Seed::new(32).stream(Role::Noise, 0, 0);
    let mut found = vec![false; ensembles];
    let Ballots::Votes { classes, .. } = draw(&mut rng, 1200, ensembles, &[0.5, 0.5]) else { unreachable!() };
    for look in 1..=60 {
        let n = 20 * look;
        let seen = Ballots::from_votes(classes.slice(ndarray::s![..n, ..]).to_owned(), 2).unwrap();
        let confidence = settings(alpha, "betting", "split", "auto", Some(split(n)), n, 2);
        for (found, interval) in found.iter_mut().zip(confidence.intervals(&seen).unwrap()) {
            *found |= !interval.abstained();
        }
    }
    found.iter().filter(|found| **found).count() as f64 / ensembles as f64
}

#[test]
fn betting_with_a_split_needs_one_that_stays() {
    let alpha = 0.05;
    let fixed = any_false(|_| 15, 600, alpha);
    assert!(fixed <= alpha, "{fixed}");
    // A tenth of the members begins a new sequence at every look: what the default would be.
    let moving = any_false(|n| n / 10, 100, alpha);
    assert!(moving > 3.0 * alpha, "{moving}");
    let refused = Confidence::at(alpha).bound("betting").selection("split").for_votes(1000, 2);
    let message = refused.unwrap_err().to_string();
    assert!(
        message.contains("'split'") && message.contains("split=100") && message.contains("Got None"),
        "{message}"
    );
    assert!(Confidence::at(alpha).selection("split").for_votes(1000, 2).is_ok());
}

#[test]
fn radii_of_unanimous_votes() {
    // N = 1000, alpha = 0.001, K = 10; with a split 900 bound.
    let rho = |selection: &str, runner_up: &str, n_classes: usize| {
        let interval = settings(0.001, "auto", selection, runner_up, None, 1000, n_classes)
            .unanimous(1000, n_classes, 1);
        let quantile = |p: f64| certssb::normal_quantile_lower(p);
        0.5 * (quantile(interval.p_lower) - quantile(interval.p_upper))
    };
    for (selection, runner_up, n_classes, expected) in [
        ("union", "bound", 10, 2.352),
        ("split", "bound", 10, 2.391),
        ("union", "complement", 10, 2.429),
        ("union", "complement", 2, 2.429),
        ("split", "complement", 10, 2.425),
        // Two classes: complement and bound are one.
        ("union", "bound", 2, 2.429),
    ] {
        let got = rho(selection, runner_up, n_classes);
        assert!((got - expected).abs() < 5e-4, "{selection} {runner_up} {n_classes}: {got}");
    }
}
