//! The nearest training point where some have no noise.
//!
//! Trusted training points stay where they are. Let `d` be the distance of the nearest of them, of
//! class t. It is the nearest of all unless a noised point comes nearer, so
//!
//! ```text
//! p_c = integral from 0 to d of (sum over i in class c of h_i(r)) S(r) dr  +  [c = t] S(d),
//! ```
//!
//! and the certificate speaks of the noised points alone: `d` is a constant that no change of theirs moves. Where all noised
//! points together are nearer with a probability of at most 1e-20, by Chernoff's bound, the bound is what is said.

use super::{settled, Estimate, Neighbours, Rates, Sums, LN_FLOOR, LN_NEGLIGIBLE, LOWEST_BLOCK, MAX_LEVEL};
use crate::error::Result;
use crate::exact::panels::Cut;
use crate::exact::table::{distance_at, t_at, Grid};

/// Below this a probability that any noised point is nearer than a fixed one is only bounded.
const HARDLY: f64 = 1e-20;

/// The nearest of the points that have no noise: its distance in units of sigma, and its class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Fixed {
    pub(crate) distance: f64,
    pub(crate) class: usize,
}

/// Where integration ends: in the variable t, and the point that lies there.
struct End {
    t: f64,
    fixed: Fixed,
}

impl End {
    fn block(&self) -> i64 {
        (self.t.floor() as i64).max(LOWEST_BLOCK)
    }
}

impl Neighbours<'_> {
    /// As [`Self::integrate`], up to the distance of a point without noise, which holds what is left.
    pub(super) fn integrate_up_to(&mut self, fixed: Fixed) -> Result<Estimate> {
        let nearer = self.nearer_than(fixed.distance);
        if nearer.iter().sum::<f64>() <= HARDLY {
            return Ok(self.hardly(fixed, nearer));
        }
        let end = End { t: t_at(fixed.distance), fixed };
        let last = end.block();
        let mut sums = Sums::zero(self.n_classes);
        let start = self.first_block().min(last);
        let (mut top, mut first) = (start, start);
        let mut ln_left = self.add_panels(0, top, &end, &mut sums)?;
        while top < last && ln_left > (sums.second_largest().ln() + LN_NEGLIGIBLE).max(LN_FLOOR) {
            top += 1;
            ln_left = self.add_panels(0, top, &end, &mut sums)?;
        }
        while !self.negligible_below(first, &sums) {
            first -= 1;
            self.add_panels(0, first, &end, &mut sums)?;
        }
        let beyond = if top < last { ln_left.exp() } else { 0.0 };
        let ends: Vec<f64> = self.below(first).iter().map(|below| below + beyond).collect();
        let mut differences = vec![1.0; self.n_classes];
        for level in 1..=MAX_LEVEL {
            let mut finer = Sums::zero(self.n_classes);
            for block in first..=top {
                self.add_panels(level, block, &end, &mut finer)?;
            }
            let before = std::mem::replace(&mut differences, finer.differences(&sums));
            sums = finer;
            if settled(&differences, &before, &sums) {
                break;
            }
        }
        Ok(self.estimate(sums, &differences, &ends))
    }

    /// Adds a block of panels to the sums, and what the point without noise holds where it lies in the block; returns the
    /// logarithm of `S` at its last node.
    fn add_panels(&mut self, level: u32, block: i64, end: &End, sums: &mut Sums) -> Result<f64> {
        let visited = self.bins_to_visit(distance_at(block as f64 + 1.0));
        self.make_bins(visited)?;
        let grid = Grid::Panels(level);
        let mut nodes = grid.nodes(block);
        let rates = self.rates(grid, block, visited, nodes.distances.len())?;
        let mut part = Sums::zero(self.n_classes);
        let evaluation = self.evaluation_error(visited);
        if block == end.block() {
            let cut = Cut::new(level, block, end.t);
            nodes.weights.iter_mut().zip(&cut.share).for_each(|(weight, share)| *weight *= share);
            let (ln_survival, error) = rates.ln_survival_at(&cut.value, evaluation);
            let survival = ln_survival.min(0.0).exp();
            part.value[end.fixed.class] += survival;
            part.error[end.fixed.class] += survival * error;
        }
        rates.integrate(&nodes.weights, evaluation, &mut part);
        self.add_skipped(visited, distance_at(block as f64 + 1.0), 0.0, &mut part);
        for (sum, part) in [(&mut sums.value, part.value), (&mut sums.error, part.error)] {
            sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
        Ok(rates.ln_survival.last().copied().unwrap_or(0.0))
    }

    /// For each class, a bound on the probability that one of its noised points is nearer than a distance.
    fn nearer_than(&self, distance: f64) -> Vec<f64> {
        let bound = |(&nearest, &count): (&f64, &u32)| match nearest.is_finite() {
            true if distance > 0.0 => f64::from(count) * self.law().ln_cdf_bound(distance, nearest).exp(),
            _ => 0.0,
        };
        self.nearest.iter().zip(self.in_or_beyond(0)).map(bound).collect()
    }

    /// What is said where hardly ever a noised point is nearer than the one without noise.
    fn hardly(&self, fixed: Fixed, nearer: Vec<f64>) -> Estimate {
        let mut probability = vec![0.0; self.n_classes];
        probability[fixed.class] = 1.0;
        let mut error = nearer;
        error[fixed.class] = error.iter().sum();
        Estimate { probability, error, squared_total: self.distances.iter().map(|s| s * s).sum() }
    }
}

impl Rates {
    /// The logarithm of survival where values at the nodes count as `shares` say, with the error of evaluating it.
    fn ln_survival_at(&self, shares: &[f64], evaluation: f64) -> (f64, f64) {
        let (mut sum, mut error) = (0.0, 0.0);
        for ((share, value), own) in shares.iter().zip(&self.ln_survival).zip(&self.ln_survival_error) {
            sum += share * value;
            error += share.abs() * (evaluation * (2.0 + value.abs()) + own);
        }
        (sum, error)
    }
}
