//! Agreement with reference values from an independent implementation, `tests/oracle`.

use certssb::{
    bounds, cascade_radius, Change, DataFacts, Edits, Gaussian, LabelNoise, Law, LevelMargins,
    LikelihoodRatio, Product, Subsample,
};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle")
}

/// The rows of a file.
fn rows(file: &str) -> Vec<Value> {
    let rows: Vec<Value> = serde_json::from_slice(&std::fs::read(folder().join(file)).unwrap()).unwrap();
    assert!(!rows.is_empty());
    rows
}

#[test]
fn every_file_is_read_and_agrees() {
    let entries = std::fs::read_dir(folder()).unwrap();
    let mut files: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    files.sort_unstable();
    for file in &files {
        match file.as_str() {
            "README.md" => {}
            "bounds.json" => bounds_agree(&rows(file)),
            "cascade.json" => cascades_agree(&rows(file)),
            "edits.json" => edits_agree(&rows(file)),
            "flips.json" => flips_agree(&rows(file)),
            "partition.json" => crate::partition::elections_agree(&rows(file)),
            "subsample_frontier.json" => subsample_frontier_agrees(&rows(file)),
            other => panic!("no test reads tests/oracle/{other}"),
        }
    }
    // A file that is gone is no file that agrees.
    assert_eq!(files.len(), 7, "{files:?}");
}

fn number(row: &Value, key: &str) -> f64 {
    row[key].as_f64().unwrap_or_else(|| panic!("{key} in {row}"))
}

/// Within 1e-9, and never above by more than 1e-12.
fn assert_lower(got: f64, expected: f64, row: &Value) {
    assert!(got <= expected + 1e-12 && got >= expected - 1e-9, "{got} for {expected} in {row}");
}

fn bounds_agree(rows: &[Value]) {
    for row in rows {
        let (n, k, alpha) = (number(row, "n") as u64, number(row, "k") as u64, number(row, "alpha"));
        let mean = k as f64 / n as f64;
        assert_lower(bounds::clopper_pearson_lower(k, n, alpha), number(row, "clopper_pearson_lower"), row);
        let upper = bounds::clopper_pearson_upper(k, n, alpha);
        assert_lower(-upper, -number(row, "clopper_pearson_upper"), row);
        assert_lower(bounds::hoeffding_lower(mean, n, alpha), number(row, "hoeffding_lower"), row);
        assert_lower(bounds::kl_lower(mean, n, alpha), number(row, "kl_lower"), row);
    }
}

/// The largest certified trigger norm, found with the library's own certificates.
fn trigger_norm(law: Law, facts: DataFacts, p_lower: f64, n_poisoned: usize, labels: bool) -> f64 {
    let interval = certssb::Interval::new(0, p_lower, 1.0);
    let certificates = certssb::Certificates::exact(law, facts, vec![interval]).unwrap();
    let norm = certificates.trigger_norm(n_poisoned, labels).unwrap()[0];
    // The answer is itself certified, and a little more is not.
    let holds = |trigger_norm| certificates.holds(Change { n_poisoned, trigger_norm, labels }).unwrap()[0];
    if norm > 0.0 && norm.is_finite() {
        assert!(holds(norm) && !holds(norm * 1.00001));
    }
    norm
}

fn subsample_frontier_agrees(rows: &[Value]) {
    for row in rows {
        let facts = DataFacts {
            n_train: number(row, "n_train") as usize,
            n_features: None,
            n_classes: number(row, "n_classes") as usize,
        };
        let q = number(row, "label_flip");
        let noise = Law::Gaussian(Gaussian::new(number(row, "sigma")).unwrap());
        let inner = if q > 0.0 {
            Law::Product(Product::new(noise, Law::LabelNoise(LabelNoise::new(q).unwrap())).unwrap())
        } else {
            noise
        };
        let law = Law::Subsample(Subsample::new(Some(inner), number(row, "subsample") as usize).unwrap());
        let got =
            trigger_norm(law, facts, number(row, "p_lower"), number(row, "n_poisoned") as usize, q > 0.0);
        match row["trigger_norm"].as_f64() {
            None => assert!(got.is_infinite(), "{got} in {row}"),
            Some(expected) => {
                assert!(got <= expected + 1e-9 && got >= expected - 1e-6, "{got} for {expected} in {row}");
            }
        }
    }
}

fn flips_agree(rows: &[Value]) {
    for row in rows {
        let (p, keep) = (number(row, "p_lower"), number(row, "keep"));
        let alphabet = number(row, "alphabet") as usize;
        let holds =
            |flips: usize| LikelihoodRatio::categorical(flips, keep, alphabet).holds(p, (1.0 - p).next_up());
        let mut flips = 0;
        while holds(flips + 1) {
            flips += 1;
        }
        // Certified means strictly above 1/2. One row (p 0.9, keep 0.7) is a tie in decimals and above 1/2 by
        // 1e-16 in binary; rounding outward may not claim it.
        let expected = number(row, "flips");
        let tie =
            (LikelihoodRatio::categorical(flips + 1, keep, alphabet).worst_lower(p) - 0.5).abs() < 1e-12;
        assert!(flips as f64 == expected || (tie && flips as f64 + 1.0 == expected), "{flips} in {row}");
    }
}

fn cascades_agree(rows: &[Value]) {
    for row in rows {
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
        let (got, expected) = (cascade_radius(&levels), number(row, "radius"));
        assert!((got - expected).abs() <= 1e-12, "{got} for {expected} in {row}");
    }
}

/// Edits of every mix under both draws: certified exactly beyond the need.
fn edits_agree(rows: &[Value]) {
    let mut reachable = 0;
    for row in rows {
        let count = |key: &str| number(row, key) as usize;
        let n_train = if row["n"].is_null() { 10_000 } else { count("n") };
        let facts = DataFacts { n_train, n_features: None, n_classes: 2 };
        let law = match row["law"].as_str().unwrap() {
            "fixed" => Subsample::new(None, count("size")).unwrap(),
            _ => Subsample::poisson(None, number(row, "rate")).unwrap(),
        };
        let change = Change { n_poisoned: count("modified"), trigger_norm: f64::INFINITY, labels: true };
        let edits = Edits { modified: change, inserted: count("inserted"), deleted: count("deleted") };
        let ratio = Law::Subsample(law).likelihood(edits, &facts).unwrap();
        let need = number(row, "need");
        let holds = |gap: f64| gap < 1.0 && ratio.holds(0.5 + 0.5 * gap, 0.5 - 0.5 * gap);
        assert!(!holds(need - 1e-9), "{row}");
        assert_eq!(holds(need + 1e-9), need < 1.0 - 1e-9, "{row}");
        reachable += usize::from(need < 1.0 - 1e-9);
        // Three classes: what is certified is the gap, wherever it lies.
        let apart = |low: f64| ratio.holds(low + need + 1e-9, low);
        let unhit = 1.0 - 0.5 * need;
        if need < 0.9 && unhit > 0.55 {
            assert!(apart(0.02) && !ratio.holds(0.02 + need - 1e-9, 0.02), "{row}");
        }
    }
    assert!(rows.len() == 160 && reachable > 100, "{reachable}");
}
