//! Survival function and hazard rate of the noised distance as Chebyshev series in the noiseless distance.
//!
//! A certificate needs sums over the training points, at every node of an integral, of functions that are smooth in
//! a point's noiseless distance. Cut the axis of noiseless distances into bins; in a bin, `g(s) = sum over k of c_k T_k(x(s))` up to
//! an error that the last coefficients show, hence
//!
//! ```text
//! sum over the bin's points j of g(s_j) = sum over k of c_k M_k,     M_k = sum over j of T_k(x(s_j)).
//! ```
//!
//! The moments `M_k` belong to the test point and are the same for every node; the coefficients `c_k` belong to the
//! law and are the same for every test point. Thousands of special functions per node become a few hundred
//! multiplications, and the special functions are evaluated once per [`Tile`].

use std::collections::HashMap;
use std::f64::consts::PI;
use std::sync::{Arc, RwLock};

use super::noncentral::{NoncentralChi, Survival};
use super::panels;
use crate::process::within_a_moment;

/// Width of a bin of noiseless distances. Within it a density changes by a factor of at most some e^5 where it matters.
pub(crate) const BIN: f64 = 0.5;
/// Number of Chebyshev coefficients in a bin: errors near 1e-15 of the largest value in the bin.
pub(crate) const TERMS: usize = 16;
/// Nodes of the coarsest grid in one unit of the integration variable.
const NODES: usize = 24;
/// Tiles kept for other test points, at most (some 100 MB); beyond it they are computed and dropped.
const KEPT_TILES: usize = 16_384;

/// Chebyshev moments of a set of points in one bin.
pub(crate) type Moments = [f64; TERMS];

/// Number of the bin that holds a noiseless distance.
pub(crate) fn bin_of(s: f64) -> i64 {
    (s / BIN).floor() as i64
}

/// The smallest noiseless distance in a bin.
pub(crate) fn bin_edge(bin: i64) -> f64 {
    bin as f64 * BIN
}

/// Chebyshev polynomials at one point of a bin: `T_2k = 2 T_k^2 - 1`, `T_2k+1 = 2 T_k T_k+1 - x`.
pub(crate) fn polynomials(bin: i64, s: f64) -> Moments {
    let x = 2.0 * ((s - bin_edge(bin)) / BIN) - 1.0;
    let mut t = [1.0; TERMS];
    t[1] = x;
    for k in 1..TERMS / 2 {
        t[2 * k] = 2.0 * t[k] * t[k] - 1.0;
        t[2 * k + 1] = 2.0 * t[k] * t[k + 1] - x;
    }
    t
}

/// A sum of moments that rounds as if it were one addition (Kahan's compensated summation): without it a hundred thousand
/// equal points would cost four digits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MomentSum {
    pub(crate) total: Moments,
    lost: Moments,
}

impl MomentSum {
    pub(crate) fn add(&mut self, moments: &Moments) {
        for ((total, lost), moment) in self.total.iter_mut().zip(&mut self.lost).zip(moments) {
            let part = moment - *lost;
            let sum = *total + part;
            *lost = (sum - *total) - part;
            *total = sum;
        }
    }
}

/// One block of quadrature nodes in the integration variable `t`, where the distance is `r = ln(1 + e^t)`.
///
/// The map sends the whole line to the positive distances: integrands decay at both ends (as `e^(d t)` on the left),
/// so that the trapezoidal rule converges exponentially fast (Trefethen and Weideman, SIAM Review 56, 2014). For
/// large `t` it is the identity up to `e^-t`. Level 0 has nodes at multiples of h = 1/24, level l the points
/// halfway between those of all coarser levels.
#[derive(Debug)]
pub(crate) struct Nodes {
    /// Ascending noised distances.
    pub(crate) distances: Vec<f64>,
    /// `dr/dt` times the spacing of the level's own points.
    pub(crate) weights: Vec<f64>,
}

impl Nodes {
    pub(crate) fn new(level: u32, block: i64) -> Self {
        let (count, shift) = match level {
            0 => (NODES, 0.0),
            _ => (NODES << (level - 1), 0.5),
        };
        let t = |i| block as f64 + (i as f64 + shift) / count as f64;
        Self {
            distances: (0..count).map(|i| distance_at(t(i))).collect(),
            weights: (0..count).map(|i| 1.0 / (count as f64 * (1.0 + (-t(i)).exp()))).collect(),
        }
    }
}

/// `ln(1 + e^t)`.
pub(crate) fn distance_at(t: f64) -> f64 {
    t.max(0.0) + (-t.abs()).exp().ln_1p()
}

/// The integration variable at a distance.
pub(crate) fn t_at(distance: f64) -> f64 {
    distance + (-(-distance).exp_m1()).ln()
}

/// The block that holds a noised distance.
pub(crate) fn block_of(distance: f64) -> i64 {
    t_at(distance).floor() as i64
}

/// A function on (nodes of a block) x (one bin): Chebyshev coefficients and error bound, node by node.
#[derive(Debug, Default)]
pub(crate) struct Series {
    coefficients: Vec<[f64; TERMS]>,
    errors: Vec<f64>,
}

impl Series {
    /// `values[k][i]` is the value at the bin's Chebyshev point `k` and node `i`.
    fn interpolate(values: &[Vec<f64>], cosines: &[[f64; TERMS]]) -> Self {
        let mut series = Self::default();
        for node in 0..values[0].len() {
            let mut coefficients = [0.0; TERMS];
            let mut largest = 0.0_f64;
            for (column, cosine) in values.iter().zip(cosines) {
                largest = largest.max(column[node].abs());
                for (coefficient, c) in coefficients.iter_mut().zip(cosine) {
                    *coefficient += column[node] * c;
                }
            }
            let last = coefficients[TERMS - 2].abs() + coefficients[TERMS - 1].abs();
            series.errors.push(4.0 * last + 4.0 * f64::EPSILON * largest);
            series.coefficients.push(coefficients);
        }
        series
    }

    /// Sums of the function over points with the given moments, one for each node.
    pub(crate) fn sums<'a>(&'a self, moments: &'a Moments) -> impl Iterator<Item = f64> + 'a {
        self.coefficients.iter().map(move |row| row.iter().zip(moments).map(|(c, m)| c * m).sum())
    }

    /// Bound on the interpolation error of one point, one for each node.
    pub(crate) fn errors(&self) -> &[f64] {
        &self.errors
    }
}

/// Log survival and hazard on one block and one bin.
#[derive(Debug)]
pub(crate) struct Tile {
    pub(crate) ln_survival: Series,
    pub(crate) hazard: Series,
}

type Address = (Grid, i64, i64);

/// Which nodes a block has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Grid {
    /// Those of the trapezoidal rule on the whole line, by their level.
    Line(u32),
    /// Those of 2^level panels, for integrals that end somewhere.
    Panels(u32),
}

impl Grid {
    pub(crate) fn nodes(self, block: i64) -> Nodes {
        match self {
            Self::Line(level) => Nodes::new(level, block),
            Self::Panels(level) => panels::nodes(level, block),
        }
    }
}

/// All tiles of one law, made when first asked for. A tile depends on its address alone, never on who asked.
#[derive(Debug)]
pub(crate) struct Table {
    law: NoncentralChi,
    points: [f64; TERMS],
    cosines: Vec<[f64; TERMS]>,
    tiles: RwLock<HashMap<Address, Arc<Tile>>>,
}

impl Table {
    pub(crate) fn new(dimension: usize) -> Self {
        let angle = |k: usize| PI * (k as f64 + 0.5) / TERMS as f64;
        let cosine = |k: usize, j: usize| {
            let scale = if j == 0 { 1.0 } else { 2.0 };
            scale / TERMS as f64 * (angle(k) * j as f64).cos()
        };
        Self {
            law: NoncentralChi::new(dimension),
            points: std::array::from_fn(|k| angle(k).cos()),
            cosines: (0..TERMS).map(|k| std::array::from_fn(|j| cosine(k, j))).collect(),
            tiles: RwLock::default(),
        }
    }

    pub(crate) fn law(&self) -> &NoncentralChi {
        &self.law
    }

    /// The tile of a block of nodes and a bin.
    pub(crate) fn tile(&self, grid: Grid, block: i64, bin: i64) -> Arc<Tile> {
        let address = (grid, block, bin);
        let known = within_a_moment(|| self.tiles.try_read()).and_then(|tiles| tiles.get(&address).cloned());
        if let Some(tile) = known {
            return tile;
        }
        let tile = Arc::new(self.make(grid, block, bin));
        if let Some(mut tiles) = within_a_moment(|| self.tiles.try_write()).filter(|t| t.len() < KEPT_TILES) {
            tiles.insert(address, Arc::clone(&tile));
        }
        tile
    }

    fn make(&self, grid: Grid, block: i64, bin: i64) -> Tile {
        let distances = grid.nodes(block).distances;
        let distance = |x: f64| bin_edge(bin) + 0.5 * BIN * (1.0 + x);
        let columns: Vec<_> =
            self.points.iter().map(|&x| self.law.profile(&distances, distance(x))).collect();
        let series = |value: fn(&Survival) -> f64| {
            let values: Vec<Vec<f64>> = columns.iter().map(|c| c.iter().map(value).collect()).collect();
            Series::interpolate(&values, &self.cosines)
        };
        Tile { ln_survival: series(|s| s.ln_survival), hazard: series(|s| s.hazard) }
    }
}
