//! Agreement with reference values from an independent implementation, where they are at hand.

use certssb::{
    bounds, cascade_radius, Change, DataFacts, Gaussian, LabelNoise, Law, LevelMargins, LikelihoodRatio,
    Product, Subsample,
};
use serde_json::Value;

/// The rows of an oracle file; `None`, with a message, where the folder is absent.
pub fn oracle(file: &str) -> Option<Vec<Value>> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/oracle").join(file);
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: no {}", path.display());
        return None;
    };
    let rows: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(!rows.is_empty());
    Some(rows)
}

fn number(row: &Value, key: &str) -> f64 {
    row[key].as_f64().unwrap_or_else(|| panic!("{key} in {row}"))
}

/// Within 1e-9, and never above by more than 1e-12.
fn assert_lower(got: f64, expected: f64, row: &Value) {
    assert!(got <= expected + 1e-12 && got >= expected - 1e-9, "{got} for {expected} in {row}");
}

#[test]
fn bounds_agree() {
    for row in oracle("bounds.json").unwrap_or_default() {
        let (n, k, alpha) = (number(&row, "n") as u64, number(&row, "k") as u64, number(&row, "alpha"));
        let mean = k as f64 / n as f64;
        assert_lower(bounds::clopper_pearson_lower(k, n, alpha), number(&row, "clopper_pearson_lower"), &row);
        let upper = bounds::clopper_pearson_upper(k, n, alpha);
        assert_lower(-upper, -number(&row, "clopper_pearson_upper"), &row);
        assert_lower(bounds::hoeffding_lower(mean, n, alpha), number(&row, "hoeffding_lower"), &row);
        assert_lower(bounds::kl_lower(mean, n, alpha), number(&row, "kl_lower"), &row);
    }
}

/// The largest certified trigger norm, found with the library's own certificates.
fn trigger_norm(law: Law, facts: DataFacts, p_lower: f64, n_poisoned: usize, labels: bool) -> f64 {
    let interval = certssb::Interval::new(0, p_lower, 1.0);
    let certificates = certssb::Certificates::exact(law, facts, vec![interval]).unwrap();
    let norm = certificates.trigger_norm(n_poisoned, labels).unwrap()[0];
    // The answer is itself certified, and a little more is not.
    let holds = |trigger_norm| certificates.holds(&Change { n_poisoned, trigger_norm, labels }).unwrap()[0];
    if norm > 0.0 && norm.is_finite() {
        assert!(holds(norm) && !holds(norm * 1.00001));
    }
    norm
}

#[test]
fn subsample_frontier_agrees() {
    for row in oracle("subsample_frontier.json").unwrap_or_default() {
        let facts = DataFacts {
            n_train: number(&row, "n_train") as usize,
            n_features: None,
            n_classes: number(&row, "n_classes") as usize,
        };
        let q = number(&row, "label_flip");
        let noise = Law::Gaussian(Gaussian::new(number(&row, "sigma")).unwrap());
        let inner = if q > 0.0 {
            Law::Product(Product::new(noise, Law::LabelNoise(LabelNoise::new(q).unwrap())).unwrap())
        } else {
            noise
        };
        let law = Law::Subsample(Subsample::new(Some(inner), number(&row, "subsample") as usize).unwrap());
        let got =
            trigger_norm(law, facts, number(&row, "p_lower"), number(&row, "n_poisoned") as usize, q > 0.0);
        match row["trigger_norm"].as_f64() {
            None => assert!(got.is_infinite(), "{got} in {row}"),
            Some(expected) => {
                assert!(got <= expected + 1e-9 && got >= expected - 1e-6, "{got} for {expected} in {row}");
            }
        }
    }
}

#[test]
fn flips_agree() {
    for row in oracle("flips.json").unwrap_or_default() {
        let (p, keep) = (number(&row, "p_lower"), number(&row, "keep"));
        let alphabet = number(&row, "alphabet") as usize;
        let holds =
            |flips: usize| LikelihoodRatio::categorical(flips, keep, alphabet).holds(p, (1.0 - p).next_up());
        let mut flips = 0;
        while holds(flips + 1) {
            flips += 1;
        }
        // Certified means strictly above 1/2. One row (p 0.9, keep 0.7) is a tie in decimals and above 1/2 by
        // 1e-16 in binary; rounding outward may not claim it.
        let expected = number(&row, "flips");
        let tie =
            (LikelihoodRatio::categorical(flips + 1, keep, alphabet).worst_lower(p) - 0.5).abs() < 1e-12;
        assert!(flips as f64 == expected || (tie && flips as f64 + 1.0 == expected), "{flips} in {row}");
    }
}

#[test]
fn cascades_agree() {
    for row in oracle("cascade.json").unwrap_or_default() {
        let levels = row["levels"].as_array().unwrap();
        let margins = |(g, level): (usize, &Value)| {
            let all: Vec<f64> =
                level["margins"].as_array().unwrap().iter().filter_map(Value::as_f64).collect();
            LevelMargins {
                own: all[0],
                others: all[1..].iter().copied().fold(f64::NEG_INFINITY, f64::max),
                threshold: (g + 1 < levels.len()).then(|| number(level, "threshold")),
            }
        };
        let levels: Vec<LevelMargins> = levels.iter().enumerate().map(margins).collect();
        let (got, expected) = (cascade_radius(&levels), number(&row, "radius"));
        assert!((got - expected).abs() <= 1e-12, "{got} for {expected} in {row}");
    }
}
