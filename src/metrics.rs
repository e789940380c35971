//! Shares that tables report. A share of nothing is `None`, never NaN.

/// The share of samples for which `hit` is true.
fn share(hits: impl ExactSizeIterator<Item = bool>) -> Option<f64> {
    let n = hits.len();
    (n > 0).then(|| hits.filter(|hit| *hit).count() as f64 / n as f64)
}

/// Certified accuracy: share of samples that are classified correctly and certified.
///
/// # Example
/// ```
/// use certssb::metrics::certified_accuracy;
/// assert_eq!(certified_accuracy(&[true, true, false], &[true, false, true]), Some(1.0 / 3.0));
/// assert_eq!(certified_accuracy(&[], &[]), None);
/// ```
pub fn certified_accuracy(correct: &[bool], certified: &[bool]) -> Option<f64> {
    share(correct.iter().zip(certified).map(|(correct, certified)| *correct && *certified))
}

/// Certified ratio: share of samples that are certified, rightly classified or not.
pub fn certified_ratio(certified: &[bool]) -> Option<f64> {
    share(certified.iter().copied())
}

/// Conditional accuracy: share of the certified samples that are classified correctly.
pub fn conditional_accuracy(correct: &[bool], certified: &[bool]) -> Option<f64> {
    let kept: Vec<bool> =
        correct.iter().zip(certified).filter(|(_, c)| **c).map(|(correct, _)| *correct).collect();
    share(kept.into_iter())
}

/// Empirical robust accuracy: share of triggered samples that are still given their true class.
pub fn empirical_robust_accuracy(predictions: &[usize], labels: &[usize]) -> Option<f64> {
    share(predictions.iter().zip(labels).map(|(p, y)| p == y))
}

/// Attack success rate: share of the triggered samples of other classes that are given the target class.
pub fn attack_success_rate(predictions: &[usize], labels: &[usize], target: usize) -> Option<f64> {
    let attacked: Vec<bool> =
        predictions.iter().zip(labels).filter(|(_, y)| **y != target).map(|(p, _)| *p == target).collect();
    share(attacked.into_iter())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_empty_denominators() {
        let (correct, certified) = ([true, true, false, false], [true, false, true, false]);
        assert_eq!(certified_accuracy(&correct, &certified), Some(0.25));
        assert_eq!(certified_ratio(&certified), Some(0.5));
        assert_eq!(conditional_accuracy(&correct, &certified), Some(0.5));
        assert_eq!(conditional_accuracy(&correct, &[false; 4]), None);
        assert_eq!(empirical_robust_accuracy(&[1, 0], &[1, 1]), Some(0.5));
        assert_eq!(attack_success_rate(&[0, 0, 1], &[0, 1, 1], 0), Some(0.5));
        assert_eq!(attack_success_rate(&[0], &[0], 0), None);
    }
}
