//! Mean cross-entropy of a batch and its gradient.

/// Turns logits (B, K) into the gradient of the batch's mean cross-entropy with respect to them, (softmax - one
/// hot) / B; returns that mean.
pub(super) fn cross_entropy(logits: &mut [f32], n_classes: usize, labels: &[usize]) -> f32 {
    let share = 1.0 / labels.len() as f32;
    let mut loss = 0.0_f64;
    for (row, &label) in logits.chunks_exact_mut(n_classes).zip(labels) {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let own = row.get(label).map_or(f32::NAN, |logit| logit - largest);
        row.iter_mut().for_each(|value| *value = (*value - largest).exp());
        let sum: f32 = row.iter().sum();
        loss += f64::from(sum.ln() - own);
        row.iter_mut().for_each(|value| *value *= share / sum);
        if let Some(value) = row.get_mut(label) {
            *value -= share;
        }
    }
    (loss / labels.len() as f64) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn against_differences_and_far_from_overflow() {
        let logits = [0.3_f64, -1.2, 2.0, 90.0, 100.0, -300.0];
        let labels = [1, 2];
        let loss = |logits: &[f64]| {
            let row = |(row, label): (&[f64], &usize)| {
                let top = row.iter().copied().fold(f64::MIN, f64::max);
                top + row.iter().map(|v| (v - top).exp()).sum::<f64>().ln() - row[*label]
            };
            logits.chunks(3).zip(&labels).map(row).sum::<f64>() / 2.0
        };
        let mut gradient = logits.map(|v| v as f32);
        let mean = cross_entropy(&mut gradient, 3, &labels);
        assert!((f64::from(mean) - loss(&logits)).abs() < 1e-5 * loss(&logits));
        for (i, gradient) in gradient.into_iter().enumerate() {
            let (mut above, mut below) = (logits, logits);
            above[i] += 1e-4;
            below[i] -= 1e-4;
            let expected = (loss(&above) - loss(&below)) / 2e-4;
            assert!((f64::from(gradient) - expected).abs() < 1e-6, "{i}: {gradient} for {expected}");
        }
    }

    #[test]
    fn what_is_not_finite_shows_in_the_loss() {
        for bad in [f32::NAN, f32::INFINITY] {
            assert!(!cross_entropy(&mut [bad, 0.0], 2, &[1]).is_finite());
        }
    }
}
