//! Properties of bounds, laws and threats: for cases drawn at random, and for those that an earlier version got wrong.
//!
//! Whatever breaks one is written to `tests/proptest-regressions` by proptest, and tried first from then on. These files are
//! committed; how a case got there stands in CONTRIBUTING.md.

use certssb::bounds::{
    betting_lower, betting_upper, clopper_pearson_lower, clopper_pearson_upper, hoeffding_lower,
    hoeffding_upper, kl_lower, kl_upper,
};
use certssb::{
    Change, Counted, DataFacts, Edits, Gaussian, Kind, LabelNoise, Law, LikelihoodRatio, Product, Subsample,
    Threat, Uniform,
};
use proptest::prelude::*;

type Held = Result<(), TestCaseError>;

/// Room for the rounding of both sides.
const ROUNDING: f64 = 1e-9;

/// log P(X >= k) for X binomial (n, p), 0 < p < 1.
fn log_tail(k: u64, n: u64, p: f64) -> f64 {
    let log_factorial = |j: u64| libm::lgamma(j as f64 + 1.0);
    let log_choose = |j| log_factorial(n) - log_factorial(j) - log_factorial(n - j);
    let terms: Vec<f64> =
        (k..=n).map(|j| log_choose(j) + j as f64 * p.ln() + (n - j) as f64 * (-p).ln_1p()).collect();
    let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    largest + terms.iter().map(|term| (term - largest).exp()).sum::<f64>().ln()
}

fn kl(mean: f64, q: f64) -> f64 {
    let part = |x: f64, y: f64| if x == 0.0 { 0.0 } else { x * (x / y).ln() };
    part(mean, q) + part(1.0 - mean, 1.0 - q)
}

/// Bounds refute what they leave out at their level, and no bound that proves less is better.
fn bounds_hold(k: u64, n: u64, alpha: f64) -> Held {
    let mean = k as f64 / n as f64;
    let (lower, upper) = (clopper_pearson_lower(k, n, alpha), clopper_pearson_upper(k, n, alpha));
    let (weaker, weakest) = (kl_lower(mean, n, alpha), hoeffding_lower(mean, n, alpha));
    prop_assert!(0.0 <= weakest && weakest <= weaker + ROUNDING && weaker <= lower + ROUNDING);
    prop_assert!(lower <= mean && mean <= upper, "{lower} {mean} {upper}");
    let (higher, highest) = (kl_upper(mean, n, alpha), hoeffding_upper(mean, n, alpha));
    prop_assert!(upper <= higher + ROUNDING && higher <= highest + ROUNDING && highest <= 1.0);
    let room = ROUNDING * alpha.ln().abs().max(1.0);
    if lower > 0.0 {
        let tail = log_tail(k, n, lower);
        prop_assert!(tail <= alpha.ln() + room, "too high: {lower} is refuted at {tail}");
    }
    if lower > 1e-15 {
        let (above, level) = (lower + 1e-6 * (1.0 - lower), alpha.ln());
        prop_assert!(log_tail(k, n, above) > level, "too low: {lower}");
    }
    if weaker > 0.0 {
        prop_assert!(n as f64 * kl(mean, weaker) >= -alpha.ln() - room);
    }
    prop_assert!((clopper_pearson_lower(n - k, n, alpha) + upper - 1.0).abs() <= ROUNDING);
    if k < n {
        prop_assert!(clopper_pearson_lower(k + 1, n, alpha) >= lower);
    }
    prop_assert!(clopper_pearson_lower(k, n, (0.5 * alpha).max(1e-200)) <= lower);
    Ok(())
}

/// What was proved at one look is proved at all later ones.
fn betting_remembers(scores: &[f64], look: usize, alpha: f64) -> Held {
    let (lower, upper) = (betting_lower(scores, alpha), betting_upper(scores, alpha));
    prop_assert!((0.0..=1.0).contains(&lower) && (0.0..=1.0).contains(&upper));
    let first = &scores[..look.min(scores.len())];
    prop_assert!(betting_lower(first, alpha) <= lower + ROUNDING, "{lower}");
    prop_assert!(betting_upper(first, alpha) >= upper - ROUNDING, "{upper}");
    Ok(())
}

fn grid() -> impl Iterator<Item = f64> {
    (0..=20).map(|i| f64::from(i) / 20.0).chain([1e-12, 1e-4, 0.9999, 1.0 - 1e-12])
}

/// Whether the first never lets a class keep more than the second does.
fn no_better(worse: &LikelihoodRatio, than: &LikelihoodRatio) -> Held {
    for p in grid() {
        let (low, high) = (worse.worst_lower(p), than.worst_lower(p));
        prop_assert!(low <= high + ROUNDING, "{low} against {high} at {p}");
    }
    Ok(())
}

/// A change takes from every class and gives to every class, and one that holds another takes no less.
fn changes_weaken(law: &Law, facts: &DataFacts, change: Change) -> Held {
    let ratio = law.likelihood(change, facts);
    prop_assume!(ratio.is_ok());
    let ratio = ratio.unwrap();
    let mut before = 0.0;
    let mut places: Vec<f64> = grid().collect();
    places.sort_unstable_by(f64::total_cmp);
    for p in places {
        let low = ratio.worst_lower(p);
        prop_assert!(before - ROUNDING <= low && low <= p, "{low} after {before} at {p}");
        prop_assert!((0.0..=1.0).contains(&low));
        let high = ratio.worst_upper(1.0 - p);
        prop_assert!((low + high - 1.0).abs() <= ROUNDING, "{low} and {high} of the rest at {p}");
        before = low;
    }
    let Change { n_poisoned, trigger_norm, labels } = change;
    let larger = [
        Change { n_poisoned: n_poisoned + 1, ..change },
        Change { trigger_norm: 1.5 * trigger_norm + 0.01, ..change },
        Change { labels: true, ..change },
    ];
    for more in larger {
        if let Ok(more) = law.likelihood(more, facts) {
            no_better(&more, &ratio)?;
        }
    }
    if n_poisoned == 0 || (trigger_norm == 0.0 && !labels) {
        // Nothing that the law counts has changed.
        prop_assert!(grid().all(|p| ratio.worst_lower(p) >= p - ROUNDING));
    }
    Ok(())
}

/// Modified, inserted and deleted samples of every edit that is within the threat.
fn within(threat: &Threat) -> Vec<(usize, usize, usize)> {
    let r = threat.change.n_poisoned;
    let each = if threat.counted == Counted::Edits { 1 } else { 2 };
    let all = (0..=r).flat_map(|m| (0..=r).flat_map(move |i| (0..=r).map(move |d| (m, i, d))));
    all.filter(|(m, i, d)| match threat.kind {
        Kind::Any => each * m + i + d <= r,
        Kind::Modified => each * m <= r && i + d == 0,
        Kind::Inserted => m + d == 0,
        Kind::Deleted => m + i == 0,
        Kind::Mixed { modified, inserted, deleted } => *m <= modified && *i <= inserted && *d <= deleted,
    })
    .collect()
}

/// Nothing within a threat, done before or after the set was received, is worse than what is certified against.
fn threats_hold_what_is_within(law: &Law, facts: &DataFacts, threat: &Threat) -> Held {
    let whole = law.against(*threat, facts);
    prop_assume!(threat.check().is_ok() && whole.is_ok());
    let whole = whole.unwrap();
    for (m, i, d) in within(threat) {
        for (inserted, deleted) in [(i, d), (d, i)] {
            let modified = Change { n_poisoned: m, ..threat.change };
            let Ok(one) = law.likelihood(Edits { modified, inserted, deleted }, facts) else { continue };
            for gap in (1..50).map(|g| f64::from(g) * 0.02 - 0.007) {
                let (p, other) = (0.5 + 0.5 * gap, 0.5 - 0.5 * gap);
                prop_assert!(
                    !whole.holds(p, other)
                        || one.holds(p - ROUNDING, other + ROUNDING)
                        || one.holds(p, other),
                    "{m} modified, {inserted} inserted and {deleted} deleted overturn {p}"
                );
            }
        }
    }
    Ok(())
}

fn levels() -> impl Strategy<Value = f64> {
    prop_oneof![1e-3..0.5, (-199.0..-3.0_f64).prop_map(|power| 10.0_f64.powf(power))]
}

fn noise() -> impl Strategy<Value = Law> {
    let gaussian = (0.05..5.0_f64).prop_map(|sigma| Law::Gaussian(Gaussian::new(sigma).unwrap()));
    let uniform = (0.05..5.0_f64).prop_map(|width| Law::Uniform(Uniform::new(width).unwrap()));
    let labels = (0.01..0.6_f64).prop_map(|q| Law::LabelNoise(LabelNoise::new(q).unwrap()));
    let both = (gaussian.clone(), labels.clone())
        .prop_map(|(left, right)| Law::Product(Product::new(left, right).unwrap()));
    prop_oneof![gaussian, uniform, labels, both]
}

fn subsamples() -> impl Strategy<Value = Law> {
    let size = (prop::option::of(noise()), 1_usize..6)
        .prop_map(|(inner, size)| Law::Subsample(Subsample::new(inner, size).unwrap()));
    let rate = (prop::option::of(noise()), 0.01..0.6_f64)
        .prop_map(|(inner, rate)| Law::Subsample(Subsample::poisson(inner, rate).unwrap()));
    prop_oneof![size, rate]
}

fn changes(most: usize) -> impl Strategy<Value = Change> {
    let norm = prop_oneof![Just(0.0), 0.0..4.0, Just(f64::INFINITY)];
    (0..=most, norm, any::<bool>()).prop_map(|(n_poisoned, trigger_norm, labels)| Change {
        n_poisoned,
        trigger_norm,
        labels,
    })
}

fn threats() -> impl Strategy<Value = Threat> {
    let mixed = (0_usize..3, 0_usize..3, 0_usize..3).prop_map(|(modified, inserted, deleted)| Kind::Mixed {
        modified,
        inserted,
        deleted,
    });
    let kind =
        prop_oneof![Just(Kind::Any), Just(Kind::Modified), Just(Kind::Inserted), Just(Kind::Deleted), mixed];
    let counted = prop_oneof![Just(Counted::Edits), Just(Counted::SymmetricDifference)];
    (changes(4), kind, counted).prop_map(|(change, kind, counted)| match kind {
        Kind::Mixed { modified, inserted, deleted } => {
            let each = if counted == Counted::Edits { 1 } else { 2 };
            let n_poisoned = each * modified + inserted + deleted;
            Threat { change: Change { n_poisoned, ..change }, kind, counted }
        }
        Kind::Modified => Threat { change, kind, counted },
        // These count samples of any kind.
        _ => Threat { change: Change { trigger_norm: f64::INFINITY, labels: true, ..change }, kind, counted },
    })
}

fn facts(n_train: usize) -> DataFacts {
    DataFacts { n_train, n_features: Some(7), n_classes: 3 }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn bounds_refute_what_they_leave_out(n in 1_u64..600, share in 0.0..=1.0_f64, alpha in levels()) {
        bounds_hold((share * n as f64).round() as u64, n, alpha)?;
    }

    #[test]
    fn what_betting_proved_at_one_look_stays_proved(
        scores in prop::collection::vec(prop_oneof![Just(0.0), Just(1.0), 0.0..=1.0_f64], 1..120),
        look in 0_usize..120, alpha in levels()
    ) {
        betting_remembers(&scores, look, alpha)?;
    }

    #[test]
    fn larger_changes_take_no_less(law in prop_oneof![noise(), subsamples()], n in 5_usize..40, change in changes(4)) {
        changes_weaken(&law, &facts(n), change)?;
    }

    #[test]
    fn a_threat_is_as_bad_as_all_that_is_within_it(law in subsamples(), n in 6_usize..16, threat in threats()) {
        threats_hold_what_is_within(&law, &facts(n), &threat)?;
    }
}

#[test]
fn levels_that_left_the_range_of_doubles() {
    for (k, n) in [(1, 1), (1, 1000), (999, 1000), (1000, 1000), (500, 1000), (0, 7)] {
        bounds_hold(k, n, 1e-200).unwrap();
    }
}

#[test]
fn looks_that_began_a_new_sequence() {
    let sure_then_wrong = [vec![1.0; 60], vec![0.0; 60]].concat();
    for look in [1, 30, 60, 61, 119, 120] {
        betting_remembers(&sure_then_wrong, look, 0.05).unwrap();
    }
}

#[test]
fn threats_that_held_one_way_only() {
    let any = |n_poisoned| Change { n_poisoned, trigger_norm: f64::INFINITY, labels: true };
    let laws = [Subsample::poisson(None, 0.2).unwrap(), Subsample::new(None, 3).unwrap()].map(Law::Subsample);
    for (law, kind) in laws.iter().flat_map(|law| [Kind::Deleted, Kind::Inserted].map(|kind| (law, kind))) {
        let threat = Threat { change: any(3), kind, counted: Counted::Edits };
        threats_hold_what_is_within(law, &facts(12), &threat).unwrap();
    }
}

#[test]
fn more_edits_than_there_are_samples() {
    let change = Change { n_poisoned: 9, trigger_norm: f64::INFINITY, labels: true };
    let kind = Kind::Mixed { modified: 4, inserted: 0, deleted: 5 };
    let law = Law::Subsample(Subsample::poisson(None, 0.05).unwrap());
    for n_train in [5, 6, 8, 9] {
        let threat = Threat { change, kind, counted: Counted::Edits };
        threats_hold_what_is_within(&law, &facts(n_train), &threat).unwrap();
    }
}
