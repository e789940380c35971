//! Certificates against a law with a closed form: a linear rule on the noised training set.
//!
//! The rule says 1 if w . x~ > 0 over all noised features. Its true probability is Phi(margin / sigma), margin
//! the signed distance of the training set from the rule's boundary, and the worst change of a given norm moves
//! the set straight towards the boundary.

use certssb::{
    normal_quantile_lower, Ballots, Cascade, Certificates, Change, Confidence, DataFacts, Gaussian, Interval,
    Law, NoiseLaw, Seed,
};
use ndarray::Array2;

const SAMPLES: usize = 4;
const FEATURES: usize = 2;

fn gaussian(sigma: f64) -> Law {
    Law::Gaussian(Gaussian::new(sigma).unwrap())
}

fn facts() -> DataFacts {
    DataFacts { n_train: SAMPLES, n_features: Some(FEATURES), n_classes: 2 }
}

/// Votes of members on a training set whose every feature is `value`, by the rule "the sum is positive".
fn simulate(law: &Law, seed: Seed, members: usize, value: f32) -> Ballots {
    let votes = Array2::from_shape_fn((members, 1), |(m, _)| {
        let mut sum = 0.0;
        for i in 0..SAMPLES {
            let mut row = [value; FEATURES];
            law.noise_features(seed, m as u64, i, &mut row);
            sum += row.iter().sum::<f32>();
        }
        u16::from(sum > 0.0)
    });
    Ballots::from_votes(votes, 2).unwrap()
}

#[test]
fn the_share_of_wrong_certificates_is_at_most_alpha() {
    let (alpha, members, ensembles) = (0.05, 60, 10_000);
    let sigma = 0.7;
    let law = gaussian(sigma);
    let confidence = Confidence::at(alpha).for_votes(members, 2).unwrap();
    for value in [0.02_f32, 0.3] {
        // Distance of the training set from the boundary of the rule.
        let distance = f64::from(value) * ((SAMPLES * FEATURES) as f64).sqrt();
        let (mut wrong, mut certified) = (0, 0);
        for ensemble in 0..ensembles {
            let votes = simulate(&law, Seed::new(ensemble), members, value);
            let table = Certificates::from_ballots(law.clone(), facts(), confidence, None, &votes).unwrap();
            let radius = table.radius().unwrap()[0];
            certified += usize::from(radius > 0.0);
            wrong += usize::from(radius > 0.0 && (table.intervals()[0].prediction != 1 || radius > distance));
        }
        let share = wrong as f64 / ensembles as f64;
        assert!(share <= alpha, "{share} wrong at {value}");
        // The test must be able to fail: something is certified, and the bound is not vacuous.
        assert!(
            certified > 0 && (value < 0.1 || share > 0.001),
            "{certified} certified, {share} wrong at {value}"
        );
    }
}

#[test]
fn the_share_of_wrong_cascades_is_at_most_alpha() {
    // Level g's rule has its boundary at the signed distance d_g from the training set, which is its margin.
    let (alpha, members, ensembles) = (0.1, 80, 10_000);
    let (sigmas, distances, tau) = ([1.0, 0.5], [-0.05, 0.3], 0.6_f64);
    let levels = sigmas.map(gaussian).to_vec();
    let cascade = Cascade::new(levels.clone(), Some(vec![tau])).unwrap();
    let confidence = Confidence::at(alpha).for_votes(members, 2).unwrap();
    // The first level passes on, the second decides for class 1.
    let truth = (distances[0] - tau).max((tau + distances[0]).min(distances[1]));
    let (mut wrong, mut certified) = (0, 0);
    for ensemble in 0..ensembles {
        let votes: Vec<Ballots> = levels
            .iter()
            .zip(distances)
            .map(|(law, distance)| {
                let value = distance / ((SAMPLES * FEATURES) as f64).sqrt();
                simulate(law, Seed::new(ensemble), members, value as f32)
            })
            .collect();
        let table = Certificates::from_levels(cascade.clone(), facts(), confidence, None, &votes).unwrap();
        let radius = table.radius().unwrap()[0];
        certified += usize::from(radius > 0.0);
        wrong += usize::from(radius > 0.0 && (table.predictions()[0] != 1 || radius > truth));
    }
    let share = wrong as f64 / ensembles as f64;
    assert!(share <= alpha, "{share} wrong");
    // The test must be able to fail: much is certified, and a bound twice as bold is wrong more often.
    assert!(certified > ensembles as usize / 2 && share > 0.005, "{certified} certified, {share} wrong");
}

/// Phi, by bisection on the library's quantile.
fn phi(x: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..80 {
        let middle = 0.5 * (low + high);
        if normal_quantile_lower(middle) < x {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

#[test]
fn inside_the_radius_the_exact_prediction_never_flips_and_just_outside_it_does() {
    for sigma in [0.12, 0.5, 2.0] {
        for margin in [0.01, 0.4, 1.0, 3.0] {
            let p = phi(margin / sigma).next_down();
            if p >= 1.0 - 1e-12 {
                continue;
            }
            let interval = Interval::new(1, p, 1.0);
            let table = Certificates::exact(gaussian(sigma), facts(), vec![interval]).unwrap();
            let radius = table.radius().unwrap()[0];
            // Moving the set by d towards the boundary leaves margin - d of it.
            let flips = |d: f64| margin - d <= 0.0;
            assert!(!flips(radius), "{sigma} {margin}: {radius}");
            assert!(flips(1.001 * radius), "{sigma} {margin}: {radius}");
            // The same through the engine and a per-sample budget: all samples move by t, sqrt(n) t in total.
            let change = |t: f64| Change { n_poisoned: SAMPLES, trigger_norm: t, labels: false };
            let t = table.trigger_norm(SAMPLES, false).unwrap()[0];
            let root = (SAMPLES as f64).sqrt();
            assert!(!flips(root * t) && flips(1.001 * root * t), "{sigma} {margin}: {t}");
            assert!(table.holds(change(t)).unwrap()[0] && !table.holds(change(1.001 * t)).unwrap()[0]);
            assert!((root * t - radius).abs() < 1e-6 * radius, "closed form {radius}, engine {}", root * t);
        }
    }
}

#[test]
fn budgets_read_the_same_number_as_radii_beyond_the_digits_of_p() {
    // From 8.3 sigma on p_A is 1 in a double; what is left for the others is not 0.
    for z in [2.0, 7.9, 8.5, 12.0, 20.0, 36.0] {
        let rest = phi_below(-z);
        let p_lower = (1.0 - rest).next_down();
        for p_upper in [rest, 0.3 * rest] {
            let interval = Interval { prediction: 1, p_lower, p_upper, rest };
            let table = Certificates::exact(gaussian(0.1), facts(), vec![interval]).unwrap();
            let radius = table.radius().unwrap()[0];
            assert!((radius - 0.1 * z).abs() < 0.1, "{z}: {radius}");
            for count in [1, 4] {
                let total = (count as f64).sqrt() * table.trigger_norm(count, false).unwrap()[0];
                assert!(total <= radius && total > radius * (1.0 - 1e-6), "{z}, {count}: {total} {radius}");
            }
            let holds =
                |norm| table.holds(Change { n_poisoned: 1, trigger_norm: norm, labels: false }).unwrap()[0];
            assert!(holds(0.999_999 * radius) && !holds(1.000_001 * radius), "{z}: {radius}");
            assert_eq!(table.n_poisoned(radius / 1.9, false).unwrap()[0], 3);
        }
    }
}

/// Phi(x) for negative x, rounded up.
fn phi_below(x: f64) -> f64 {
    let (mut low, mut high) = (f64::MIN_POSITIVE.ln(), 0.5_f64.ln());
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if normal_quantile_lower(middle.exp()) < x {
            low = middle;
        } else {
            high = middle;
        }
    }
    high.exp()
}
