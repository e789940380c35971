//! The storage-update step once more, as plainly as possible: all stored regions, one after the other.
//!
//! Coordinates are multiples of 2^-GRID, so that a squared distance is an integer, and the two `f64` neighbours of a
//! distance follow from an integer square root.

use certssb::{Entry, Outcome};

use super::Ask;

/// Coordinates are multiples of 2^-10.
pub const GRID: i32 = 10;

/// Regions in the order in which they were stored.
#[derive(Default)]
pub struct Reference {
    stored: Vec<(Vec<f32>, Entry)>,
    n_entries: u64,
}

/// The distance, rounded downwards and upwards to a number of 53 bits.
pub fn distance(a: &[f32], b: &[f32]) -> (f64, f64) {
    let unit = 2.0_f64.powi(GRID);
    let steps = |v: f32| (f64::from(v) * unit) as i128;
    let square: u128 = a.iter().zip(b).map(|(&x, &y)| (steps(x) - steps(y)).unsigned_abs().pow(2)).sum();
    // Shifted up to 125 bits or more, so that its root has at least 63, of which 53 are kept.
    let more = square.leading_zeros() / 2 - 1;
    let square = square << (2 * more);
    let root = square.isqrt();
    let spare = (128 - root.leading_zeros()).saturating_sub(53);
    let low = root >> spare;
    let high = if (low << spare).pow(2) == square { low } else { low + 1 };
    let scale = 2.0_f64.powi(spare as i32 - more as i32 - GRID);
    (low as f64 * scale, high as f64 * scale)
}

/// a - b rounded downwards: the largest number that, added to b, does not exceed a.
fn minus(a: f64, b: f64) -> f64 {
    let near = a - b;
    // Integers of 2^-110: all numbers here are below 2^4 and have at most 53 bits.
    let whole = |v: f64| {
        (v * 2.0_f64.powi(60)) as i128 * (1 << 50)
            + ((v * 2.0_f64.powi(60)).fract() * 2.0_f64.powi(50)) as i128
    };
    if whole(near) > whole(a) - whole(b) {
        near.next_down()
    } else {
        near
    }
}

impl Reference {
    pub fn update(&mut self, ask: &Ask) -> Entry {
        let entry = self.settle(ask);
        self.n_entries += 1;
        if entry.outcome != Outcome::Abstained {
            self.stored.push((ask.x.clone(), entry));
        }
        entry
    }

    fn settle(&self, ask: &Ask) -> Entry {
        let number = self.n_entries;
        let mut entry = Entry {
            number,
            prediction: ask.prediction,
            radius: ask.radius,
            outcome: Outcome::Kept,
            cause: None,
        };
        let mut nearest = ask.radius;
        for (centre, other) in self.stored.iter().filter(|(_, other)| other.prediction != ask.prediction) {
            let (low, high) = distance(&ask.x, centre);
            let gap = minus(low, other.radius);
            if gap >= nearest {
                continue;
            }
            nearest = gap;
            entry.cause = Some(other.number);
            let inside = minus(other.radius, high);
            (entry.prediction, entry.radius, entry.outcome) = match gap {
                _ if gap > 0.0 => (ask.prediction, gap, Outcome::Trimmed),
                _ if gap < 0.0 && inside > 0.0 => (other.prediction, inside, Outcome::Adopted),
                _ => (ask.prediction, 0.0, Outcome::Abstained),
            };
        }
        if entry.radius == 0.0 {
            entry.outcome = Outcome::Abstained;
        }
        entry
    }

    /// Fails where two regions of different classes overlap.
    pub fn assert_disjoint(&self) {
        for (at, (x, a)) in self.stored.iter().enumerate() {
            for (y, b) in self.stored[..at].iter().filter(|(_, b)| b.prediction != a.prediction) {
                let (_, high) = distance(x, y);
                assert!(minus(high, b.radius) >= a.radius, "entries {} and {} overlap", b.number, a.number);
            }
        }
    }
}
