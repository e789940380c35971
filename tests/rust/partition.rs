//! Partitions: elections against reference values and against every change that an attacker could make.

use certssb::{plurality, run_off, Assign, Assignment, HashKey, Spread, Verdict};
use ndarray::{Array2, Array3, Axis};
use proptest::prelude::*;
use serde_json::Value;

fn numbers(row: &Value) -> Vec<usize> {
    row.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect()
}

/// The shifts behind a table of which learners each bucket feeds.
fn spread_of(table: &Value) -> Spread {
    let fed: Vec<Vec<usize>> = table.as_array().unwrap().iter().map(numbers).collect();
    let spread = Spread::new(fed.len(), fed[0].clone()).unwrap();
    for (bucket, fed) in fed.iter().enumerate() {
        let (mut ours, mut theirs): (Vec<usize>, _) = (spread.fed_by(bucket).collect(), fed.clone());
        ours.sort_unstable();
        theirs.sort_unstable();
        assert_eq!(ours, theirs, "bucket {bucket}");
    }
    spread
}

fn favourites(scores: &Array3<f32>) -> Array2<u16> {
    scores.map_axis(Axis(2), |row| {
        (0..row.len()).fold(0, |best, class| if row[class] > row[best] { class } else { best }) as u16
    })
}

pub fn elections_agree(rows: &[Value]) {
    for row in rows {
        let spread = spread_of(&row["spread"]);
        let table: Vec<Vec<Vec<f32>>> = serde_json::from_value(row["scores"].clone()).unwrap();
        let (m, n, k) = (table.len(), table[0].len(), table[0][0].len());
        let scores = Array3::from_shape_fn((m, n, k), |(m, i, c)| table[m][i][c]);
        for (name, ours) in [
            ("plurality", plurality(favourites(&scores).view(), k, &spread).unwrap()),
            ("run_off", run_off(scores.view(), &spread).unwrap()),
        ] {
            let expected = numbers(&row[name]["prediction"]).into_iter().zip(numbers(&row[name]["buckets"]));
            let expected: Vec<Verdict> =
                expected.map(|(prediction, buckets)| Verdict { prediction, buckets }).collect();
            assert_eq!(ours, expected, "{name} of {row}");
        }
    }
}

/// Every way in which `k` classes can be ranked.
fn rankings(k: usize) -> Vec<Vec<f32>> {
    if k == 0 {
        return vec![vec![]];
    }
    let shorter = rankings(k - 1);
    let insert = |ranking: &Vec<f32>, place: usize| {
        let mut longer: Vec<f32> =
            ranking.iter().map(|s| if *s >= place as f32 { s + 1.0 } else { *s }).collect();
        longer.push(place as f32);
        longer
    };
    shorter.iter().flat_map(|ranking| (0..k).map(move |place| insert(ranking, place))).collect()
}

/// Whether some change of `r` buckets makes the election end otherwise: every choice of buckets, and every ranking of every
/// learner that they feed.
fn can_fall(
    scores: &Array3<f32>,
    spread: &Spread,
    r: usize,
    winner: usize,
    elect: impl Fn(&Array3<f32>) -> usize,
) -> bool {
    let (n, _, k) = scores.dim();
    let all = rankings(k);
    (0..1_usize << n).filter(|set| set.count_ones() as usize == r).any(|set| {
        let mut touched: Vec<usize> =
            (0..n).filter(|bucket| set >> bucket & 1 == 1).flat_map(|bucket| spread.fed_by(bucket)).collect();
        touched.sort_unstable();
        touched.dedup();
        (0..all.len().pow(touched.len() as u32)).any(|mut code| {
            let mut changed = scores.clone();
            for learner in &touched {
                let ranking = &all[code % all.len()];
                code /= all.len();
                (0..k).for_each(|class| changed[[*learner, 0, class]] = ranking[class]);
            }
            elect(&changed) != winner
        })
    })
}

fn by_plurality(scores: &Array3<f32>, spread: &Spread) -> Verdict {
    plurality(favourites(scores).view(), scores.dim().2, spread).unwrap()[0]
}

fn by_run_off(scores: &Array3<f32>, spread: &Spread) -> Verdict {
    run_off(scores.view(), spread).unwrap()[0]
}

/// Few different scores, so that ties abound; at most five learners, so that every change can be tried.
fn small() -> impl Strategy<Value = (Array3<f32>, Spread)> {
    (2_usize..=5, 2_usize..=3).prop_flat_map(|(n, k)| {
        let scores = prop::collection::vec(0_u8..4, n * k);
        let shifts = prop::sample::subsequence((0..n).collect::<Vec<_>>(), 1..=2);
        (scores, shifts).prop_map(move |(scores, shifts)| {
            let scores = scores.into_iter().map(f32::from).collect();
            (Array3::from_shape_vec((n, 1, k), scores).unwrap(), Spread::new(n, shifts).unwrap())
        })
    })
}

/// No change of as many buckets as are certified ends the election otherwise.
fn stands(scores: &Array3<f32>, spread: &Spread) -> Result<(), TestCaseError> {
    let verdict = by_plurality(scores, spread);
    let elect = |s: &Array3<f32>| by_plurality(s, spread).prediction;
    prop_assert!(!can_fall(scores, spread, verdict.buckets, verdict.prediction, elect));
    if spread.degree() == 1 && verdict.buckets < spread.n_learners() {
        // Disjoint parts: the bound is attained.
        prop_assert!(can_fall(scores, spread, verdict.buckets + 1, verdict.prediction, elect));
    }
    let verdict = by_run_off(scores, spread);
    let elect = |s: &Array3<f32>| by_run_off(s, spread).prediction;
    prop_assert!(!can_fall(scores, spread, verdict.buckets, verdict.prediction, elect));
    Ok(())
}

// What breaks one of these is kept in `tests/proptest-regressions`.
proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn no_change_within_the_certificate_ends_a_small_election_otherwise((scores, spread) in small()) {
        stands(&scores, &spread)?;
    }

    #[test]
    fn the_order_of_the_samples_changes_nothing_that_a_learner_sees(
        labels in prop::collection::vec(0_u32..3, 1..40), rotation in 0_usize..40, features_only in any::<bool>()
    ) {
        let assign = if features_only { Assign::Features } else { Assign::Content };
        let rows: Vec<[f32; 2]> = (0..labels.len()).map(|i| [(i % 7) as f32, (i % 3) as f32]).collect();
        let n = labels.len();
        let turned: Vec<usize> = (0..n).map(|i| (i + rotation) % n).collect();
        let seen = |order: &[usize]| {
            let spread = Spread::new(5, vec![0, 2]).unwrap();
            let features: Vec<f32> = order.iter().flat_map(|i| rows[*i]).collect();
            let own: Vec<u32> = order.iter().map(|i| labels[*i]).collect();
            let parts = Assignment::new(&features, 2, &own, &spread, assign, HashKey::from_seed(3)).unwrap();
            (0..5)
                .map(|learner| {
                    let samples = parts.samples(learner, &spread);
                    samples.iter().map(|at| (rows[order[*at]].map(f32::to_bits), own[*at])).collect::<Vec<_>>()
                })
                .collect::<Vec<_>>()
        };
        let straight: Vec<usize> = (0..n).collect();
        prop_assert_eq!(seen(&straight), seen(&turned));
    }
}

#[test]
fn ties_stand_as_long_as_is_said() {
    for (n, shifts) in [(2, vec![0]), (4, vec![0]), (4, vec![0, 1]), (5, vec![0, 2])] {
        let spread = Spread::new(n, shifts).unwrap();
        for k in 2..=3 {
            // All scores equal, and as many favourites of each class as there can be.
            stands(&Array3::zeros((n, 1, k)), &spread).unwrap();
            let turns =
                Array3::from_shape_fn((n, 1, k), |(learner, _, class)| f32::from(learner % k == class));
            stands(&turns, &spread).unwrap();
        }
    }
}

#[test]
fn every_ranking_once() {
    let all = rankings(3);
    let mut orders: Vec<String> = all.iter().map(|r| format!("{r:?}")).collect();
    orders.sort();
    orders.dedup();
    assert_eq!((all.len(), orders.len()), (6, 6));
}

#[test]
fn inserting_a_sample_touches_the_learners_of_one_bucket() {
    let spread = Spread::new(20, vec![0, 3, 9]).unwrap();
    let labels: Vec<u32> = (0..500).map(|i| i % 4).collect();
    let features: Vec<f32> = (0..1500_u16).map(|i| f32::from(i) * 0.37).collect();
    let assign = |n: usize| {
        Assignment::new(&features[..3 * n], 3, &labels[..n], &spread, Assign::Content, HashKey::from_seed(1))
            .unwrap()
    };
    let (before, after) = (assign(499), assign(500));
    let touched: Vec<usize> =
        (0..20).filter(|m| before.samples(*m, &spread) != after.samples(*m, &spread)).collect();
    let mut expected: Vec<usize> = spread.fed_by(after.bucket(499).unwrap()).collect();
    expected.sort_unstable();
    assert_eq!(touched, expected);
}

#[test]
fn buckets_are_even_and_keys_differ() {
    let spread = Spread::disjoint(50).unwrap();
    let labels = vec![0_u32; 20_000];
    let features: Vec<f32> = (0..20_000_u16).map(f32::from).collect();
    let parts = |key| {
        Assignment::new(&features, 1, &labels, &spread, Assign::Content, HashKey::from_seed(key)).unwrap()
    };
    let sizes: Vec<f64> = (0..50).map(|m| parts(0).samples(m, &spread).len() as f64).collect();
    let chi_square: f64 = sizes.iter().map(|size| (size - 400.0).powi(2) / 400.0).sum();
    assert!(chi_square < 100.0, "{chi_square} with 49 degrees of freedom");
    let (a, b) = (parts(0), parts(1));
    let same = (0..20_000).filter(|i| a.bucket(*i) == b.bucket(*i)).count();
    assert!((200..700).contains(&same), "{same} of 20000 by chance 400");
}

#[test]
fn bad_elections_are_named() {
    let spread = Spread::disjoint(3).unwrap();
    let votes = ndarray::array![[0_u16, 1], [2, 1], [0, 0]];
    let message = plurality(votes.view(), 2, &spread).unwrap_err().to_string();
    assert!(message.contains("2 from learner 1 for sample 0"), "{message}");
    assert!(plurality(votes.view(), 3, &Spread::disjoint(4).unwrap()).is_err());
    assert!(plurality(votes.view(), 1, &spread).is_err());
    let mut scores = Array3::<f32>::zeros((3, 2, 2));
    assert_eq!(run_off(scores.view(), &spread).unwrap()[0], Verdict { prediction: 0, buckets: 1 });
    scores[[2, 1, 0]] = f32::NAN;
    let message = run_off(scores.view(), &spread).unwrap_err().to_string();
    assert!(message.contains("NaN from learner 2 for sample 1"), "{message}");
    let short = Assignment::new(&[0.0; 5], 2, &[0, 1], &spread, Assign::Index, HashKey::from_seed(0));
    assert!(short.unwrap_err().is_bad_input());
}

/// Whichever thread finds its own first.
#[test]
fn of_many_bad_samples_the_first_is_named() {
    let spread = Spread::disjoint(3).unwrap();
    let votes = Array2::from_shape_fn((3, 4000), |(_, sample)| 2 * u16::from(sample >= 20));
    let scores =
        Array3::from_shape_fn((3, 4000, 2), |(_, sample, _)| if sample >= 20 { f32::NAN } else { 1.0 });
    for _ in 0..20 {
        for told in [plurality(votes.view(), 2, &spread), run_off(scores.view(), &spread)] {
            let message = told.unwrap_err().to_string();
            assert!(message.contains("from learner 0 for sample 20 "), "{message}");
        }
    }
}
