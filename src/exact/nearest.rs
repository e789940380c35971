//! Probability that the nearest noised training point has a given class, for one test point.
//!
//! With independent noised distances `R_i` (hazard rates `h_i`, survival functions `S_i`),
//!
//! ```text
//! p_c = integral of (sum over i in class c of h_i(r)) S(r) dr,     S(r) = product over all j of S_j(r).
//! ```
//!
//! Every factor is positive: a class's small probability keeps its relative accuracy. The trapezoidal rule is
//! refined until two grids agree; their difference is the quadrature's share of the error bound.
//!
//! **Skipped points.** `P(R_j <= r)` and `h_j(r)` fall as the noiseless distance grows (the noncentral chi-square
//! family has monotone likelihood ratio). In a block of nodes that ends at the distance `b`, points at a noiseless distance of at
//! least `w` are left out when `m F(b; w) <= e^-39`, `m` being their number, `F` replaced by Chernoff's bound, and that
//! bound also being e^-39 below the one at the second class's nearest point. Leaving them out of the
//! product makes `S` too large by a factor of at most `1/(1 - m F(b; w))`; leaving the `m_c` of class c out of the sum
//! loses at most `S(a) m_c F(b; w)`, `a` being the block's beginning. Both go into the error bound, as do the two ends of the
//! range: below the first node class c holds at most `sum over i in c of F_i <= n_c F(r; nearest of c)`, beyond the last node `b`
//! at most `S(b)`. Where some points have no noise, see `nearest/fixed.rs`.

mod fixed;

pub(crate) use fixed::Fixed;

use super::distance::ROUNDOFF;
use super::noncentral::NoncentralChi;
use super::table::{bin_edge, bin_of, block_of, distance_at, polynomials, Grid, MomentSum, Moments, Table};
use crate::error::Result;
use crate::stop::Stop;

/// Relative error of a tabulated hazard rate or log survival, and of sums of them, where distances are short.
const EVALUATION: f64 = 1e-13;
/// The same for each unit of distance: a distance of y units is only known to half a unit in its last place.
const EVALUATION_BY_DISTANCE: f64 = 6.0 * ROUNDOFF;
/// Probabilities below e^-690 (1e-300) are not resolved.
const LN_FLOOR: f64 = -690.0;
/// What may be left out, relative to the second largest class: e^-39 is 1e-17.
const LN_NEGLIGIBLE: f64 = -39.0;
/// Grids are refined until two agree to this, relative to the second largest class.
const AGREEMENT: f64 = 1e-12;
const MAX_LEVEL: u32 = 6;
/// Bins told apart beyond the nearest point; those further away only count as "at least that far".
const MAX_BINS: usize = 240;

/// A probability for each class with a bound on the absolute error of each.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Estimate {
    pub(crate) probability: Vec<f64>,
    pub(crate) error: Vec<f64>,
    /// `sum of s_j^2` over the points that entered, for the effect of rounded distances.
    pub(crate) squared_total: f64,
}

/// The training points as one test point sees them: distances, bin by bin.
struct Neighbours<'a> {
    table: &'a Table,
    n_classes: usize,
    labels: &'a [u32],
    distances: &'a [f64],
    first: i64,
    sorted: Vec<u32>,
    starts: Vec<usize>,
    /// `beyond[bin * n_classes + c]`: points of class c in this bin or further away.
    beyond: Vec<u32>,
    nearest: Vec<f64>,
    second_nearest: f64,
    bins: Vec<Bin>,
    stop: &'a Stop,
}

/// The Chebyshev moments of one bin: of all points, and class by class.
struct Bin {
    count: f64,
    all: Moments,
    classes: Vec<(usize, f64, Moments)>,
}

/// Sums over the nodes, one for each class.
#[derive(Clone)]
struct Sums {
    value: Vec<f64>,
    error: Vec<f64>,
}

impl Sums {
    fn zero(n_classes: usize) -> Self {
        Self { value: vec![0.0; n_classes], error: vec![0.0; n_classes] }
    }

    fn second_largest(&self) -> f64 {
        let (mut first, mut second) = (0.0_f64, 0.0_f64);
        for &value in &self.value {
            second = second.max(value.min(first));
            first = first.max(value);
        }
        second
    }

    /// Mean of two grids: the trapezoidal rule with half the spacing. The coarse grid's error of evaluation stays.
    fn refine(&self, halfway: &Sums) -> Self {
        let mean = self.value.iter().zip(&halfway.value).map(|(a, b)| 0.5 * (a + b));
        Self { value: mean.collect(), error: self.error.clone() }
    }

    fn differences(&self, other: &Sums) -> Vec<f64> {
        self.value.iter().zip(&other.value).map(|(a, b)| (a - b).abs()).collect()
    }
}

/// Class probabilities of the nearest training point, all of them noised but for one at most.
///
/// Training point i lies at the noiseless distance `distances[i]` (in units of sigma) and has class `labels[i] <
/// n_classes`; there is at least one point.
///
/// # Errors
/// `Cancelled` where the work is to stop.
pub(crate) fn class_probabilities(
    table: &Table,
    distances: &[f64],
    labels: &[u32],
    n_classes: usize,
    fixed: Option<Fixed>,
    stop: &Stop,
) -> Result<Estimate> {
    let mut neighbours = Neighbours::new(table, distances, labels, n_classes, stop);
    if let Some(fixed) = fixed {
        return neighbours.integrate_up_to(fixed);
    }
    match neighbours.only_class() {
        Some(class) => {
            let mut probability = vec![0.0; n_classes];
            probability[class] = 1.0;
            Ok(Estimate { probability, error: vec![0.0; n_classes], squared_total: 0.0 })
        }
        None => neighbours.integrate(),
    }
}

impl<'a> Neighbours<'a> {
    fn new(
        table: &'a Table,
        distances: &'a [f64],
        labels: &'a [u32],
        n_classes: usize,
        stop: &'a Stop,
    ) -> Self {
        let mut nearest = vec![f64::INFINITY; n_classes];
        for (&distance, &label) in distances.iter().zip(labels) {
            let least = &mut nearest[label as usize];
            *least = least.min(distance);
        }
        let mut ascending = nearest.clone();
        ascending.sort_by(f64::total_cmp);
        let mut neighbours = Self {
            table,
            n_classes,
            labels,
            distances,
            first: bin_of(ascending[0]),
            sorted: Vec::new(),
            starts: Vec::new(),
            beyond: Vec::new(),
            nearest,
            second_nearest: ascending[1],
            bins: Vec::new(),
            stop,
        };
        neighbours.sort_into_bins();
        neighbours
    }

    fn law(&self) -> &NoncentralChi {
        self.table.law()
    }

    fn only_class(&self) -> Option<usize> {
        match self.second_nearest.is_finite() {
            true => None,
            false => self.nearest.iter().position(|v| v.is_finite()),
        }
    }

    /// A counting sort; the last "bin" holds everything beyond [`MAX_BINS`].
    fn sort_into_bins(&mut self) {
        let place = |s: f64| (bin_of(s) - self.first).min(MAX_BINS as i64) as usize;
        let mut counts = vec![0_u32; (MAX_BINS + 1) * self.n_classes];
        let mut starts = vec![0; MAX_BINS + 2];
        for (&distance, &label) in self.distances.iter().zip(self.labels) {
            counts[place(distance) * self.n_classes + label as usize] += 1;
            starts[place(distance) + 1] += 1;
        }
        for bin in 0..=MAX_BINS {
            starts[bin + 1] += starts[bin];
        }
        for at in (0..MAX_BINS * self.n_classes).rev() {
            counts[at] += counts[at + self.n_classes];
        }
        let mut next = starts.clone();
        self.sorted = vec![0; self.distances.len()];
        for (i, &distance) in self.distances.iter().enumerate() {
            let slot = &mut next[place(distance)];
            self.sorted[*slot] = i as u32;
            *slot += 1;
        }
        self.starts = starts;
        self.beyond = counts;
    }

    fn in_or_beyond(&self, bin: usize) -> &[u32] {
        &self.beyond[bin * self.n_classes..(bin + 1) * self.n_classes]
    }

    /// Number of bins that are not skipped in a block ending at the distance `end`.
    fn bins_to_visit(&self, end: f64) -> usize {
        // Beside a point without noise, noised ones may all be of one class.
        let second = if self.second_nearest.is_finite() {
            self.second_nearest
        } else {
            self.nearest.iter().copied().fold(f64::INFINITY, f64::min)
        };
        let second = self.law().ln_cdf_bound(end, second);
        let negligible = |&bin: &usize| {
            let skipped = (self.distances.len() - self.starts[bin]) as f64;
            let edge = bin_edge(self.first + bin as i64);
            skipped == 0.0
                || skipped.ln() + self.law().ln_cdf_bound(end, edge) <= LN_NEGLIGIBLE + second.min(0.0)
        };
        (1..MAX_BINS).find(negligible).unwrap_or(MAX_BINS)
    }

    /// Computes the moments of the first `count` bins, where that has not been done.
    fn make_bins(&mut self, count: usize) -> Result<()> {
        while self.bins.len() < count {
            self.stop.check()?;
            let place = self.bins.len();
            let bin = self.first + place as i64;
            let mut classes: Vec<(usize, f64, MomentSum)> = Vec::new();
            let mut slots = vec![usize::MAX; self.n_classes];
            for &i in &self.sorted[self.starts[place]..self.starts[place + 1]] {
                let class = self.labels[i as usize] as usize;
                if slots[class] == usize::MAX {
                    slots[class] = classes.len();
                    classes.push((class, 0.0, MomentSum::default()));
                }
                let (_, count, moments) = &mut classes[slots[class]];
                *count += 1.0;
                moments.add(&polynomials(bin, self.distances[i as usize]));
            }
            self.bins.push(Bin::new(classes));
        }
        Ok(())
    }

    /// Adds one block of nodes to the sums; returns the logarithm of `S` at its last node.
    fn add_block(&mut self, level: u32, block: i64, sums: &mut Sums) -> Result<f64> {
        let end = distance_at(block as f64 + 1.0);
        let visited = self.bins_to_visit(end);
        self.make_bins(visited)?;
        let grid = Grid::Line(level);
        let nodes = grid.nodes(block);
        let rates = self.rates(grid, block, visited, nodes.distances.len())?;
        let mut part = Sums::zero(self.n_classes);
        rates.integrate(&nodes.weights, self.evaluation_error(visited), &mut part);
        if level == 0 {
            self.add_skipped(visited, end, rates.ln_survival[0], &mut part);
        }
        for (sum, part) in [(&mut sums.value, part.value), (&mut sums.error, part.error)] {
            sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
        Ok(rates.ln_survival.last().copied().unwrap_or(0.0))
    }

    fn evaluation_error(&self, visited: usize) -> f64 {
        let farthest = self.law().middle(bin_edge(self.first + visited as i64));
        EVALUATION + EVALUATION_BY_DISTANCE * farthest
    }

    fn rates(&self, grid: Grid, block: i64, visited: usize, n_nodes: usize) -> Result<Rates> {
        let mut rates = Rates::zero(n_nodes, self.n_classes);
        for (place, bin) in self.bins[..visited].iter().enumerate() {
            if bin.count > 0.0 {
                self.stop.check()?;
                rates.add(bin, &self.table.tile(grid, block, self.first + place as i64));
            }
        }
        Ok(rates)
    }

    /// The error bound for the points that were skipped in a block (see the module's page).
    fn add_skipped(&self, visited: usize, end: f64, ln_survival: f64, part: &mut Sums) {
        let skipped = self.in_or_beyond(visited);
        let total: f64 = skipped.iter().map(|&m| f64::from(m)).sum();
        let bound = self.law().ln_cdf_bound(end, bin_edge(self.first + visited as i64)).exp();
        for ((error, value), &m) in part.error.iter_mut().zip(&part.value).zip(skipped) {
            *error += ln_survival.exp() * f64::from(m) * bound + value.abs() * (2.0 * total * bound).min(1.0);
        }
    }

    fn integrate(&mut self) -> Result<Estimate> {
        let mut sums = Sums::zero(self.n_classes);
        let (blocks, ends) = self.coarsest(&mut sums)?;
        let mut differences = vec![1.0; self.n_classes];
        for level in 1..=MAX_LEVEL {
            let mut halfway = Sums::zero(self.n_classes);
            for block in blocks.clone() {
                self.add_block(level, block, &mut halfway)?;
            }
            let finer = sums.refine(&halfway);
            let before = std::mem::replace(&mut differences, finer.differences(&sums));
            sums.value = finer.value;
            if settled(&differences, &before, &sums) {
                break;
            }
        }
        Ok(self.estimate(sums, &differences, &ends))
    }

    /// Level 0: walks up from the smallest distance that matters until nothing is left, then down where a class needs it.
    fn coarsest(&mut self, sums: &mut Sums) -> Result<(std::ops::RangeInclusive<i64>, Vec<f64>)> {
        let start = self.first_block();
        let mut last = start;
        let mut ln_left = self.add_block(0, last, sums)?;
        while ln_left > (sums.second_largest().ln() + LN_NEGLIGIBLE).max(LN_FLOOR) {
            last += 1;
            ln_left = self.add_block(0, last, sums)?;
        }
        let mut first = start;
        while !self.negligible_below(first, sums) {
            first -= 1;
            self.add_block(0, first, sums)?;
        }
        let below = self.below(first);
        Ok((first..=last, below.iter().map(|below| below + ln_left.exp()).collect()))
    }

    /// The first block that may hold the nearest distance with a probability that matters.
    fn first_block(&self) -> i64 {
        let least = self.nearest.iter().copied().fold(f64::INFINITY, f64::min);
        let mut block = block_of(self.law().middle(least));
        let ln_count = (self.distances.len() as f64).ln();
        while block > LOWEST_BLOCK
            && ln_count + self.law().ln_cdf_bound(distance_at(block as f64), least) > LN_NEGLIGIBLE
        {
            block -= 1;
        }
        block
    }

    /// For each class, a bound on the probability that its nearest point is nearer than the beginning of a block.
    fn below(&self, block: i64) -> Vec<f64> {
        let r = distance_at(block as f64);
        let bound = |(&nearest, &count): (&f64, &u32)| match nearest.is_finite() {
            true => f64::from(count) * self.law().ln_cdf_bound(r, nearest).exp(),
            false => 0.0,
        };
        self.nearest.iter().zip(self.in_or_beyond(0)).map(bound).collect()
    }

    fn negligible_below(&self, block: i64, sums: &Sums) -> bool {
        let scale = sums.second_largest();
        let small = |(below, p): (&f64, &f64)| *below <= LN_NEGLIGIBLE.exp() * p.max(scale) + LN_FLOOR.exp();
        block <= LOWEST_BLOCK || self.below(block).iter().zip(&sums.value).all(small)
    }

    fn estimate(&self, sums: Sums, differences: &[f64], ends: &[f64]) -> Estimate {
        let imbalance = (sums.value.iter().sum::<f64>() - 1.0).abs();
        let error = |c: usize| sums.error[c] + differences[c] + 2.0 * ends[c] + imbalance * sums.value[c];
        let visited = self.sorted[..self.starts[self.bins.len()]].iter();
        Estimate {
            error: (0..self.n_classes).map(error).collect(),
            squared_total: visited.map(|&i| self.distances[i as usize].powi(2)).sum(),
            probability: sums.value,
        }
    }
}

/// Whether two grids agree, or a finer grid no longer helps: what is left is rounding.
fn settled(differences: &[f64], before: &[f64], sums: &Sums) -> bool {
    let scale = sums.second_largest();
    let agree = |(e, p): (&f64, &f64)| *e <= AGREEMENT * p.max(scale);
    let largest = |e: &[f64]| e.iter().copied().fold(0.0, f64::max);
    let rounding = largest(differences) < 1e-6 && largest(differences) > 0.25 * largest(before);
    rounding || differences.iter().zip(&sums.value).all(agree)
}

/// Distances below e^-300 are never reached by a noised point.
const LOWEST_BLOCK: i64 = -300;

impl Bin {
    fn new(classes: Vec<(usize, f64, MomentSum)>) -> Self {
        let mut all = MomentSum::default();
        classes.iter().for_each(|(_, _, moments)| all.add(&moments.total));
        Self {
            count: classes.iter().map(|(_, count, _)| count).sum(),
            all: all.total,
            classes: classes
                .into_iter()
                .map(|(class, count, moments)| (class, count, moments.total))
                .collect(),
        }
    }
}

/// Log survival of the nearest distance and hazard of every class, at the nodes of one block.
struct Rates {
    n_classes: usize,
    ln_survival: Vec<f64>,
    ln_survival_error: Vec<f64>,
    hazard: Vec<f64>,
    hazard_error: Vec<f64>,
}

impl Rates {
    fn zero(n_nodes: usize, n_classes: usize) -> Self {
        Self {
            n_classes,
            ln_survival: vec![0.0; n_nodes],
            ln_survival_error: vec![0.0; n_nodes],
            hazard: vec![0.0; n_nodes * n_classes],
            hazard_error: vec![0.0; n_nodes * n_classes],
        }
    }

    fn add(&mut self, bin: &Bin, tile: &super::table::Tile) {
        for (node, sum) in tile.ln_survival.sums(&bin.all).enumerate() {
            self.ln_survival[node] += sum;
            self.ln_survival_error[node] += bin.count * tile.ln_survival.errors()[node];
        }
        for (class, count, moments) in &bin.classes {
            for (node, sum) in tile.hazard.sums(moments).enumerate() {
                let at = node * self.n_classes + class;
                self.hazard[at] += sum;
                self.hazard_error[at] += count * tile.hazard.errors()[node];
            }
        }
    }

    /// Trapezoidal sums of hazard times survival, with the error of evaluating them.
    fn integrate(&self, weights: &[f64], evaluation: f64, sums: &mut Sums) {
        for (node, weight) in weights.iter().enumerate() {
            let survival = weight * self.ln_survival[node].exp();
            let relative = evaluation * (2.0 + self.ln_survival[node].abs()) + self.ln_survival_error[node];
            for class in 0..self.n_classes {
                let at = node * self.n_classes + class;
                let value = survival * self.hazard[at].max(0.0);
                sums.value[class] += value;
                sums.error[class] += (value * relative + survival * self.hazard_error[at]).abs();
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn solve(dimension: usize, squared: &[f64], labels: &[u32]) -> Estimate {
        let table = Table::new(dimension);
        let distances: Vec<f64> = squared.iter().map(|s| s.sqrt()).collect();
        let n_classes = labels.iter().max().map_or(1, |c| *c as usize + 1).max(2);
        class_probabilities(&table, &distances, labels, n_classes, None, &Stop::current()).unwrap()
    }

    /// Within the claimed error, which is small: absolutely, and relatively down to where radii pass 15 sigma.
    fn assert_exact(estimate: &Estimate, exact: &[f64]) {
        for ((p, error), exact) in estimate.probability.iter().zip(&estimate.error).zip(exact) {
            assert!((p - exact).abs() <= *error, "{p} {exact} {error}");
            assert!(*error <= 1e-11, "{p} {exact} {error}");
            if *exact > 1e-50 {
                assert!(*error <= 1e-6 * exact, "{p} {exact} {error}");
            }
        }
    }

    /// Dimension, noncentralities, labels, probabilities: integrated with mpmath at 34 digits, panel by panel, from closed
    /// forms (d = 1, 3) or Poisson mixtures.
    #[test]
    fn probabilities_agree_with_34_digit_integrals() {
        type Row = (usize, &'static [f64], &'static [u32], &'static [f64]);
        let rows: &[Row] = &[
            (
                1,
                &[0.04, 1.0, 9.0, 0.49],
                &[0, 1, 1, 2],
                &[0.4209211246101258, 0.25495431158455556, 0.3241245638053186],
            ),
            (1, &[0.25, 100.0], &[0, 1], &[0.9999999999907009, 9.299075427076045e-12]),
            (
                3,
                &[0.25, 4.0, 36.0, 42.25, 1.44],
                &[0, 0, 1, 1, 2],
                &[0.6655284853414725, 7.901739606677268e-06, 0.33446361291892085],
            ),
            (3, &[0.01, 196.0, 225.0], &[0, 1, 1], &[1.0, 1.1594059325892046e-21]),
            (57, &[3.0, 10.0, 40.0, 400.0], &[0, 0, 1, 1], &[0.9888187656317394, 0.011181234368260613]),
            (784, &[40.0, 60.0, 300.0, 900.0], &[0, 1, 0, 1], &[0.6316804022367047, 0.36831959776329526]),
            (784, &[100.0, 1500.0, 1600.0], &[0, 1, 1], &[1.0, 7.255492482985663e-53]),
        ];
        for (dimension, squared, labels, exact) in rows {
            assert_exact(&solve(*dimension, squared, labels), exact);
        }
    }

    /// With m points of class 1 at the test point itself and d = 2, `S(r) = exp(-m r^2/2)`, and the probability that a
    /// point with noncentrality lambda is nearer is the moment generating function at -m/2:
    /// `exp(-lambda m/(2 (m + 1)))/(m + 1)`.
    #[test]
    fn in_the_plane_the_moment_generating_function_is_the_answer() {
        for m in [1_u32, 3, 40, 5000] {
            for lambda in [0.0, 0.5, 30.0, 250.0, 1100.0] {
                let mut squared = vec![0.0; m as usize];
                squared.push(lambda);
                let mut labels = vec![1; m as usize];
                labels.push(0);
                let m = f64::from(m);
                let exact = (-lambda * m / (2.0 * (m + 1.0))).exp() / (m + 1.0);
                assert_exact(&solve(2, &squared, &labels), &[exact, 1.0 - exact]);
            }
        }
    }

    #[test]
    fn points_at_the_same_distance_share_the_probability() {
        for (dimension, squared, n) in
            [(1, 0.0, 7), (1, 9.0, 3000), (784, 50.0, 100_000), (3072, 1e6, 60_000)]
        {
            let labels: Vec<u32> = (0..n).map(|i| u32::from(i == 5) + 2 * u32::from(i == 6)).collect();
            let share = 1.0 / f64::from(n);
            let estimate = solve(dimension, &vec![squared; n as usize], &labels);
            assert_exact(&estimate, &[1.0 - 2.0 * share, share, share]);
        }
    }

    /// Far away the noised distance is normal: `p -> Phi((s_2 - s_1)/sqrt(2))`, the curvature adding (d-1)/(2 s).
    #[test]
    fn far_points_in_one_dimension_are_a_normal_difference() {
        let estimate = solve(1, &[1e8_f64 * 1e8, (1e8_f64 + 2.0) * (1e8 + 2.0)], &[0, 1]);
        let exact = 0.921_350_396_474_857_4; // Phi(sqrt 2)
        assert!((estimate.probability[0] - exact).abs() < 1e-7, "{estimate:?}");
        assert!(estimate.error[0] > 1e-9, "at 1e8 sigma nothing is known to 1e-10: {estimate:?}");
        let nearer = solve(1, &[1e8, 10_002.0 * 10_002.0], &[0, 1]);
        assert!(
            (nearer.probability[0] - exact).abs() <= nearer.error[0] && nearer.error[0] < 1e-9,
            "{nearer:?}"
        );
    }

    fn random_points(seed: u64, n: usize, farthest: f64, n_classes: u32) -> (Vec<f64>, Vec<u32>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let squared = (0..n).map(|_| (farthest * rng.random::<f64>()).powi(2)).collect();
        (squared, (0..n).map(|_| rng.random_range(0..n_classes)).collect())
    }

    /// No bins, no interpolation, no skipping, a grid twice as fine.
    fn directly(dimension: usize, squared: &[f64], labels: &[u32], blocks: std::ops::Range<i64>) -> Vec<f64> {
        let law = NoncentralChi::new(dimension);
        let mut total = vec![0.0; 3];
        for (block, (level, share)) in blocks.flat_map(|b| [(0, 0.25), (1, 0.25), (2, 0.5)].map(|l| (b, l))) {
            let nodes = Grid::Line(level).nodes(block);
            let profiles: Vec<_> = squared.iter().map(|s| law.profile(&nodes.distances, s.sqrt())).collect();
            for (node, weight) in nodes.weights.iter().enumerate() {
                let survival = profiles.iter().map(|p| p[node].ln_survival).sum::<f64>().exp();
                for (profile, &label) in profiles.iter().zip(labels) {
                    total[label as usize] += share * weight * survival * profile[node].hazard;
                }
            }
        }
        total
    }

    #[test]
    fn bins_series_and_skipping_change_nothing() {
        for (dimension, n, farthest, blocks) in
            [(1, 6, 10.0, -36..8), (4, 20, 40.0, -10..8), (57, 10, 30.0, 2..15), (784, 6, 45.0, 21..36)]
        {
            let (squared, labels) = random_points(dimension as u64, n, farthest, 3);
            let exact = directly(dimension, &squared, &labels, blocks);
            let estimate = solve(dimension, &squared, &labels);
            for c in 0..3 {
                let difference = (estimate.probability[c] - exact[c]).abs();
                assert!(
                    difference <= estimate.error[c] && difference < 1e-12,
                    "{dimension} {estimate:?} {exact:?}"
                );
            }
        }
    }

    #[test]
    fn far_points_are_skipped_and_accounted_for() {
        let table = Table::new(10);
        let distances = [0.3, 0.6, 30.0, 90.0, 500.0];
        let stop = Stop::current();
        let neighbours = Neighbours::new(&table, &distances, &[0, 1, 0, 1, 1], 2, &stop);
        let end = table.law().middle(0.0) + 3.0;
        let visited = neighbours.bins_to_visit(end);
        assert!(visited >= 2 && neighbours.starts[visited] == 2, "{visited}");
        assert_eq!(neighbours.in_or_beyond(visited), &[1, 2]);
        assert_eq!(neighbours.in_or_beyond(0), &[2, 3]);
        let mut part = Sums { value: vec![0.5, 0.5], error: vec![0.0, 0.0] };
        neighbours.add_skipped(1, end, 0.0, &mut part);
        let bound = table.law().ln_cdf_bound(end, 0.5 * (1.0 + bin_of(0.3) as f64)).exp();
        assert_eq!(neighbours.in_or_beyond(1), &[1, 3], "0.6 lies in the second bin");
        assert!(part.error[1] >= 3.0 * bound && part.error[0] >= bound);
    }

    #[test]
    fn a_class_without_points_has_no_probability() {
        assert_eq!(solve(3, &[1.0, 2.0], &[1, 1]).probability, [0.0, 1.0]);
        let estimate = solve(3, &[1.0, 1.0], &[0, 2]);
        assert_eq!(estimate.probability[1], 0.0);
        assert!((estimate.probability[0] - 0.5).abs() < 1e-12);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]
        #[test]
        fn probabilities_sum_to_one_and_the_errors_are_small(
            seed in 0_u64..1000, dimension in prop::sample::select(vec![1, 2, 3, 8, 57, 784, 3072]), n in 2_usize..60,
            farthest in prop::sample::select(vec![0.1, 2.0, 25.0, 300.0]),
        ) {
            let (squared, labels) = random_points(seed, n, farthest, 4);
            let estimate = solve(dimension, &squared, &labels);
            let sum: f64 = estimate.probability.iter().sum();
            prop_assert!((sum - 1.0).abs() < 1e-11, "{sum}");
            prop_assert!(estimate.error.iter().all(|e| *e < 1e-10), "{estimate:?}");
        }
    }
}
