//! The engine against frequencies: what each law draws, and what it says of itself, are one thing.
//!
//! Members' noised sets are drawn with the library's own streams, under the received training set D (P) and under
//! the worst one within a budget (Q). This file computes each draw's log dQ/dP from the densities of the laws.
//! Neyman-Pearson events must meet the engine's bound, and no other event may pass it.

use certssb::{
    Change, DataFacts, Discrete, Gaussian, LabelNoise, Law, NoiseLaw, Product, Role, Seed, Subsample, Uniform,
};
use rand::RngExt;

const SAMPLES: usize = 8;
const FEATURES: usize = 3;
const CLASSES: usize = 3;
const POISONED: usize = 2;
const DRAWS: u64 = 20_000;
/// Standard errors of a frequency that are forgiven.
const ERRORS: f64 = 5.0;

/// What is known of one law's densities.
#[derive(Clone, Copy)]
enum Features {
    /// Normal, with this sigma.
    Normal(f64),
    /// Uniform, with this half width.
    Flat(f64),
    /// Kept with this probability, else one of the others of an alphabet.
    Codes(f64, f64),
    /// No noise: a changed sample is seen to be changed.
    Bare,
}

struct Case {
    drawn: Law,
    features: Features,
    /// Probability that a label is kept, where labels are noised.
    keep: Option<f64>,
    /// Norm of each sample's change.
    norm: f64,
    labels: bool,
}

/// One noised set: its log-likelihood ratio, and a random linear statistic of everything in it.
struct Draw {
    ratio: f64,
    statistic: f64,
}

fn clean(features: Features) -> [f32; FEATURES] {
    match features {
        Features::Codes(..) => [1.0; FEATURES],
        _ => [0.25; FEATURES],
    }
}

/// The received features moved by `norm`: evenly under uniform noise, entry by entry under codes.
fn moved(features: Features, norm: f64) -> [f32; FEATURES] {
    let mut row = clean(features);
    match features {
        Features::Flat(_) => row.iter_mut().for_each(|v| *v += (norm / (FEATURES as f64).sqrt()) as f32),
        Features::Codes(..) => row.iter_mut().take((norm * norm).round() as usize).for_each(|v| *v += 1.0),
        _ => row[0] += norm as f32,
    }
    row
}

fn categorical(keep: f64, alphabet: f64, value: f64, before: f64, after: f64) -> f64 {
    let step = (keep * (alphabet - 1.0) / (1.0 - keep)).ln();
    (f64::from(u8::from(value == after)) - f64::from(u8::from(value == before))) * step
}

impl Case {
    fn change(&self) -> Change {
        Change { n_poisoned: POISONED, trigger_norm: self.norm, labels: self.labels }
    }

    /// log dQ/dP of one noised row of a poisoned sample.
    fn feature_ratio(&self, row: &[f32], poisoned: bool) -> f64 {
        let (before, after) = (clean(self.features), moved(self.features, self.norm));
        let entry = |value: f32, x: f32, y: f32| {
            let (value, x, y) = (f64::from(value), f64::from(x), f64::from(y));
            match self.features {
                Features::Normal(sigma) => {
                    ((value - x).powi(2) - (value - y).powi(2)) / (2.0 * sigma * sigma)
                }
                Features::Codes(keep, alphabet) => categorical(keep, alphabet, value, x, y),
                Features::Flat(h) if (value - x).abs() > h => f64::INFINITY,
                Features::Flat(h) if (value - y).abs() > h => f64::NEG_INFINITY,
                Features::Flat(_) => 0.0,
                Features::Bare if x == y => 0.0,
                Features::Bare => {
                    if poisoned {
                        f64::INFINITY
                    } else {
                        f64::NEG_INFINITY
                    }
                }
            }
        };
        row.iter().zip(before.iter().zip(after)).map(|(v, (x, y))| entry(*v, *x, y)).sum()
    }

    fn label_ratio(&self, label: u32, poisoned: bool) -> f64 {
        match (self.labels, self.keep) {
            (false, _) => 0.0,
            (true, Some(keep)) => categorical(keep, CLASSES as f64, f64::from(label), 0.0, 1.0),
            (true, None) => {
                if poisoned {
                    f64::INFINITY
                } else {
                    f64::NEG_INFINITY
                }
            }
        }
    }

    fn draw(&self, seed: Seed, member: u64, poisoned: bool, weights: &[f64]) -> Draw {
        let subset = self.drawn.subset(seed, member, SAMPLES).unwrap_or_else(|| (0..SAMPLES).collect());
        let mut draw = Draw { ratio: 0.0, statistic: 0.0 };
        for i in subset {
            let changed = poisoned && i < POISONED;
            let mut row = if changed { moved(self.features, self.norm) } else { clean(self.features) };
            self.drawn.noise_features(seed, member, i, &mut row);
            let label = u32::from(changed && self.labels);
            let label = self.drawn.noise_label(seed, member, i, label, CLASSES);
            if i < POISONED {
                draw.ratio += self.feature_ratio(&row, poisoned) + self.label_ratio(label, poisoned);
            }
            let own = &weights[i * (FEATURES + CLASSES)..];
            draw.statistic += row.iter().zip(own).map(|(v, w)| f64::from(*v) * w).sum::<f64>();
            draw.statistic += own[FEATURES + label as usize];
        }
        draw
    }
}

fn frequency(draws: &[Draw], event: impl Fn(&Draw) -> bool) -> (f64, f64) {
    let count = draws.iter().filter(|draw| event(draw)).count() as f64;
    let share = count / draws.len() as f64;
    // One draw more and less, so that no frequency is taken for certain.
    let spread = (share * (1.0 - share)).max(1.0 / draws.len() as f64);
    (share, ERRORS * (spread / draws.len() as f64).sqrt())
}

/// Draws as `case` does and compares with what `claimed` says of itself.
fn check(case: &Case, claimed: &Law) -> Result<(), String> {
    let facts = DataFacts { n_train: SAMPLES, n_features: Some(FEATURES), n_classes: CLASSES };
    let engine = claimed.likelihood(case.change(), &facts).unwrap();
    let mut rng = Seed::new(5).stream(Role::Shuffle, 0, 0);
    for round in 0..2 {
        let weights: Vec<f64> =
            (0..SAMPLES * (FEATURES + CLASSES)).map(|_| rng.random_range(-1.0..1.0)).collect();
        let draws = |seed, poisoned| -> Vec<Draw> {
            (0..DRAWS).map(|m| case.draw(Seed::new(seed), m, poisoned, &weights)).collect()
        };
        let (p, q) = (draws(round, false), draws(round + 1000, true));
        for threshold in [-4.1, -2.3, -1.1, -0.45, -0.07, 0.07, 0.45, 1.1, 2.3] {
            let event = |draw: &Draw| draw.ratio < threshold;
            let ((p, p_error), (q, q_error)) = (frequency(&p, event), frequency(&q, event));
            let low = engine.worst_lower((p - p_error).max(0.0)) - q_error;
            let high = engine.worst_lower((p + p_error).min(1.0)) + q_error;
            if !(low..=high).contains(&q) {
                return Err(format!("L < {threshold}: P {p}, Q {q}, engine {low} to {high}"));
            }
        }
        for cut in [-2.0, -1.0, -0.3, 0.0, 0.3, 1.0, 2.0] {
            let event = |draw: &Draw| draw.statistic < cut;
            let ((p, p_error), (q, q_error)) = (frequency(&p, event), frequency(&q, event));
            let low = engine.worst_lower((p - p_error).max(0.0)) - q_error;
            let high = engine.worst_upper((p + p_error).min(1.0)) + q_error;
            if !(low..=high).contains(&q) {
                return Err(format!("statistic < {cut}: P {p}, Q {q}, engine {low} to {high}"));
            }
        }
    }
    Ok(())
}

fn gaussian(sigma: f64) -> Law {
    Law::Gaussian(Gaussian::new(sigma).unwrap())
}

fn label_noise() -> Law {
    Law::LabelNoise(LabelNoise::new(0.3).unwrap())
}

fn both(sigma: f64) -> Law {
    Law::Product(Product::new(gaussian(sigma), label_noise()).unwrap())
}

fn discrete(labels: bool) -> Law {
    Law::Discrete(Discrete::new(0.7, 4, labels, false).unwrap())
}

/// The law and its subsample.
fn each(law: Law, features: Features, keep: Option<f64>, norm: f64, labels: bool) -> [Case; 2] {
    let inside = Law::Subsample(Subsample::new(Some(law.clone()), 3).unwrap());
    [law, inside].map(|drawn| Case { drawn, features, keep, norm, labels })
}

fn assert_each(cases: impl IntoIterator<Item = Case>) {
    for case in cases {
        if let Err(message) = check(&case, &case.drawn) {
            panic!("{}, labels {}: {message}", case.drawn.describe(), case.labels);
        }
    }
}

#[test]
fn noise_on_features() {
    assert_each(each(gaussian(0.8), Features::Normal(0.8), None, 0.9, false));
    assert_each(each(Law::Uniform(Uniform::new(1.0).unwrap()), Features::Flat(1.0), None, 0.5, false));
    assert_each(each(discrete(false), Features::Codes(0.7, 4.0), None, 2.0_f64.sqrt(), false));
}

#[test]
fn noise_on_labels() {
    assert_each(each(label_noise(), Features::Bare, Some(0.7), 0.0, true));
    assert_each(each(both(0.8), Features::Normal(0.8), Some(0.7), 0.9, true));
    assert_each(each(both(0.8), Features::Normal(0.8), Some(0.7), 0.9, false));
    assert_each(each(discrete(true), Features::Codes(0.7, 4.0), Some(0.7), 2.0_f64.sqrt(), true));
}

#[test]
fn samples_left_out() {
    let bagging = || Law::Subsample(Subsample::new(None, 3).unwrap());
    let case = |norm, labels| Case { drawn: bagging(), features: Features::Bare, keep: None, norm, labels };
    assert_each([case(1.0, false), case(0.0, true), case(1.0, true)]);
    // Labels that nothing noises are hidden only by leaving their samples out.
    let [_, inside] = each(gaussian(0.8), Features::Normal(0.8), None, 0.9, true);
    assert_each([inside]);
}

#[test]
fn a_wrong_claim_is_noticed() {
    for [alone, inside] in [
        each(gaussian(0.8), Features::Normal(0.8), None, 0.9, false),
        each(both(0.8), Features::Normal(0.8), Some(0.7), 0.9, true),
    ] {
        let law = |sigma| if alone.labels { both(sigma) } else { gaussian(sigma) };
        for sigma in [0.7, 0.95] {
            assert!(check(&alone, &law(sigma)).is_err(), "{sigma}");
        }
        // Most subsamples miss the poisoned samples, so errors show less.
        for sigma in [0.55, 1.2] {
            let claimed = Law::Subsample(Subsample::new(Some(law(sigma)), 3).unwrap());
            assert!(check(&inside, &claimed).is_err(), "inside {sigma}");
        }
    }
    let [alone, _] = each(label_noise(), Features::Bare, Some(0.7), 0.0, true);
    for q in [0.25, 0.35] {
        assert!(check(&alone, &Law::LabelNoise(LabelNoise::new(q).unwrap())).is_err(), "{q}");
    }
    for size in [2, 4] {
        let [_, inside] = each(gaussian(0.8), Features::Normal(0.8), None, 0.9, false);
        let law = Law::Subsample(Subsample::new(Some(gaussian(0.8)), size).unwrap());
        assert!(check(&inside, &law).is_err(), "{size}");
    }
}
