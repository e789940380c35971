//! What a model does, as numbers: the part of its identity that has no name.
//!
//! The user's module is known by its structure and by what it computes for made-up samples, wherever its source lies. The
//! numbers are rounded otherwise on another processor, so two of them are the same if they are close: they stand beside the
//! record, and no digest covers them.

use serde::{Deserialize, Serialize};

/// Of the larger norm, for numbers of a group to be the same. Processors round to about 1e-6 of it; 1e-4 is what
/// a constant changes that is changed by a hundredth of a per cent.
const TOLERANCE: f64 = 1e-4;

/// Groups of numbers, each of which is compared as a whole; none for a model that its name describes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Behaviour(pub Vec<Vec<f32>>);

impl Behaviour {
    /// Whether there are no numbers.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq for Behaviour {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(|(a, b)| close(a, b))
    }
}

/// |a - b| <= tolerance max(|a|, |b|) in the Euclidean norm; NaN is like nothing.
fn close(a: &[f32], b: &[f32]) -> bool {
    let norm = |values: &[f32]| values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    let apart: f64 = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>();
    a.len() == b.len() && apart.sqrt() <= TOLERANCE * norm(a).max(norm(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_no_difference_and_a_per_mille_is_one() {
        let of = |factor: f32| Behaviour(vec![vec![0.0, 0.0], vec![factor, 2.0 * factor, 1e-9]]);
        assert_eq!(of(1.0), of(1.0 + 3e-6));
        assert_ne!(of(1.0), of(1.001));
        assert_ne!(of(1.0), of(f32::NAN));
        assert_ne!(of(1.0), Behaviour::default());
        assert!(Behaviour::default().is_empty());
    }
}
