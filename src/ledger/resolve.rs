//! The storage-update step of Cert-SSBD: what becomes of a new region beside the stored ones.
//!
//! For a new (x, A, R), d_j the distance to stored centre j with class and radius R_j:
//!
//! 1. conflicts: stored regions of another class with d_j < R + R_j. None: **kept**.
//! 2. x lies inside one (the smallest d_j - R_j is negative): **adopted**, the class of that region with
//!    the radius R_j - d_j. The new region lies inside the old one, so no new conflict arises.
//! 3. otherwise **trimmed** to the smallest d_j - R_j; where that is 0, **abstained**.
//!
//! Nothing is claimed (**abstained**) either where R = 0 was asked for and nothing is adopted, or where x lies inside a
//! region by less than the last bit of its radius.
//!
//! Every comparison is exact: d_j comes as the two `f64` neighbours of the true distance, and
//! [`subtract_down`] compares like the true difference. Only the resulting radius is rounded, downwards.
//! So regions of different classes, as open balls, are disjoint; not merely up to rounding.

use super::distance::{subtract_down, Distance};
use super::region::{Asked, Entry, Outcome};

/// A stored region as a new centre sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Neighbour {
    pub(crate) number: u64,
    pub(crate) prediction: u32,
    pub(crate) radius: f64,
    pub(crate) distance: Distance,
}

impl Neighbour {
    /// Largest radius around the new centre that does not overlap: d_j - R_j, rounded downwards. Negative inside.
    pub(crate) fn gap(&self) -> f64 {
        subtract_down(self.distance.below, self.radius)
    }

    /// Largest radius around the new centre that stays inside: R_j - d_j, rounded downwards.
    pub(crate) fn depth(&self) -> f64 {
        subtract_down(self.radius, self.distance.above)
    }

    /// Nearest first; of equals the first that came.
    pub(crate) fn order(&self, other: &Self) -> std::cmp::Ordering {
        self.gap().total_cmp(&other.gap()).then(self.number.cmp(&other.number))
    }
}

/// What becomes of a new region.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Resolution {
    pub(crate) prediction: u32,
    pub(crate) radius: f64,
    pub(crate) outcome: Outcome,
    pub(crate) cause: Option<u64>,
}

impl Resolution {
    /// The entry that records it.
    pub(crate) fn entry(self, number: u64) -> Entry {
        let Self { prediction, radius, outcome, cause } = self;
        Entry { number, prediction, radius, outcome, cause }
    }
}

/// Settles a new region beside stored ones.
///
/// Of the stored regions only the nearest one of another class decides, so `stored` may leave out any others.
pub(crate) fn resolve(asked: Asked, stored: impl IntoIterator<Item = Neighbour>) -> Resolution {
    let conflict = |n: &Neighbour| n.prediction != asked.prediction && n.gap() < asked.radius;
    match stored.into_iter().filter(conflict).min_by(Neighbour::order) {
        None if asked.radius > 0.0 => settled(asked.prediction, asked.radius, Outcome::Kept, None),
        None => abstain(asked, None),
        Some(nearest) if nearest.gap() < 0.0 => adopt(asked, &nearest),
        Some(nearest) => trim(asked, &nearest),
    }
}

fn adopt(asked: Asked, nearest: &Neighbour) -> Resolution {
    if nearest.depth() > 0.0 {
        settled(nearest.prediction, nearest.depth(), Outcome::Adopted, Some(nearest.number))
    } else {
        abstain(asked, Some(nearest.number))
    }
}

fn trim(asked: Asked, nearest: &Neighbour) -> Resolution {
    if nearest.gap() > 0.0 {
        settled(asked.prediction, nearest.gap(), Outcome::Trimmed, Some(nearest.number))
    } else {
        abstain(asked, Some(nearest.number))
    }
}

fn abstain(asked: Asked, cause: Option<u64>) -> Resolution {
    settled(asked.prediction, 0.0, Outcome::Abstained, cause)
}

fn settled(prediction: u32, radius: f64, outcome: Outcome, cause: Option<u64>) -> Resolution {
    Resolution { prediction, radius, outcome, cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stored regions on a line, seen from `x`.
    fn seen(x: f32, stored: &[(f32, u32, f64)]) -> Vec<Neighbour> {
        let neighbour = |(j, &(centre, prediction, radius)): (usize, &(f32, u32, f64))| {
            let distance = Distance::between(&[x], &[centre]);
            Neighbour { number: j as u64, prediction, radius, distance }
        };
        stored.iter().enumerate().map(neighbour).collect()
    }

    fn settle(x: f32, prediction: u32, radius: f64, stored: &[(f32, u32, f64)]) -> Resolution {
        resolve(Asked { prediction, radius }, seen(x, stored))
    }

    #[test]
    fn kept_without_conflict() {
        let expected = settled(1, 0.5, Outcome::Kept, None);
        assert_eq!(settle(0.0, 1, 0.5, &[]), expected);
        assert_eq!(settle(0.0, 1, 0.5, &[(0.1, 1, 3.0)]), expected, "the same class never conflicts");
        assert_eq!(settle(0.0, 1, 0.5, &[(1.0, 0, 0.5)]), expected, "touching is no overlap");
    }

    #[test]
    fn trimmed_to_the_nearest_conflict() {
        let stored = [(4.0, 0, 1.0), (3.0, 2, 1.5), (-2.0, 0, 0.25), (0.5, 1, 9.0)];
        assert_eq!(settle(0.0, 1, 5.0, &stored), settled(1, 1.5, Outcome::Trimmed, Some(1)));
    }

    #[test]
    fn adopted_from_the_region_that_contains_the_centre_deepest() {
        let stored = [(1.0, 0, 1.5), (0.5, 0, 2.0), (9.0, 2, 0.5)];
        assert_eq!(settle(0.0, 1, 0.25, &stored), settled(0, 1.5, Outcome::Adopted, Some(1)));
        assert_eq!(settle(0.0, 1, 0.0, &stored), settled(0, 1.5, Outcome::Adopted, Some(1)));
    }

    #[test]
    fn of_equally_near_regions_the_first_is_the_cause() {
        let stored = [(2.0, 0, 1.0), (-2.0, 2, 1.0)];
        assert_eq!(settle(0.0, 1, 5.0, &stored), settled(1, 1.0, Outcome::Trimmed, Some(0)));
    }

    #[test]
    fn abstains_on_the_border_and_where_nothing_was_asked() {
        assert_eq!(settle(0.0, 1, 0.5, &[(1.0, 0, 1.0)]), settled(1, 0.0, Outcome::Abstained, Some(0)));
        assert_eq!(settle(0.0, 1, 0.0, &[(9.0, 0, 1.0)]), settled(1, 0.0, Outcome::Abstained, None));
    }

    #[test]
    fn inside_by_less_than_one_bit_claims_nothing() {
        let distance = Distance::between(&[1.0, 0.0], &[0.0, 1.0]);
        let neighbour = Neighbour { number: 7, prediction: 0, radius: distance.above, distance };
        let found = resolve(Asked { prediction: 1, radius: 1.0 }, [neighbour]);
        assert_eq!(found, settled(1, 0.0, Outcome::Abstained, Some(7)));
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let distance = Distance::between(&[f32::MAX], &[-f32::MAX]);
        let neighbour = Neighbour { number: 0, prediction: 0, radius: f64::MAX, distance };
        let found = resolve(Asked { prediction: 1, radius: f64::MAX }, [neighbour]);
        assert_eq!(found.outcome, Outcome::Adopted);
        assert!(found.radius < f64::MAX && found.radius > 1e308);
    }
}
