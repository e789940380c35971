//! Short sketches of vectors whose distance never exceeds the vectors' distance: the exact pre-filter.
//!
//! With Q of orthonormal rows let r(a) = sqrt(|a|^2 - |Qa|^2), the length of what Q leaves out of a. Then
//!
//! ```text
//! |(Qa, r(a)) - (Qb, r(b))|  <=  |a - b|
//! ```
//!
//! since Q(a - b) and the difference of the remainders are orthogonal and ||u| - |v|| <= |u - v|. The rows are
//! estimates of the principal axes of the stored centres (subspace iteration, Halko, Martinsson and Tropp 2011):
//! how good they are changes how much work is saved, never a result. Each sketch carries a bound of its own
//! rounding errors, which is subtracted wherever sketches are compared.

use ndarray::{Array1, Array2, ArrayView2, Axis};

use super::distance::relative_error;

/// Numbers in a sketch.
pub(crate) const WIDTH: usize = 64;
/// Most vectors that the axes are estimated from.
const MOST_SAMPLES: usize = 1024;
/// Most numbers that the axes are estimated from: 32 MiB of `f64`.
const MOST_NUMBERS: usize = 1 << 22;
/// Rounds of subspace iteration.
const ROUNDS: usize = 4;
/// Larger coordinates could overflow when squared and added in `f32`; such vectors are never filtered out.
const LARGEST: f64 = 1e18;

/// A short stand-in for a vector.
#[derive(Clone, Debug)]
pub(crate) struct Sketch {
    /// The remainder's length first, then the coordinates along the axes, most telling first.
    pub(crate) values: [f32; WIDTH],
    /// Bound of |values - true sketch|.
    pub(crate) slack: f64,
}

impl Sketch {
    /// Says nothing about the vector.
    const UNKNOWN: Self = Self { values: [0.0; WIDTH], slack: f64::INFINITY };
}

/// The axes that sketches are made with.
#[derive(Clone, Debug)]
pub(crate) struct Basis {
    /// Rows orthonormal up to `error`, shape (axes, dimension); no rows where the vectors are their own sketches.
    axes: Array2<f64>,
    /// Bound of |computed Qa - true Qa| / |a|.
    error: f64,
}

impl Basis {
    /// No axes: short vectors are their own sketches, of longer ones only the length is used.
    pub(crate) fn trivial(dimension: usize) -> Self {
        Self { axes: Array2::zeros((0, dimension)), error: 0.0 }
    }

    /// How many vectors [`Basis::learn`] can use.
    pub(crate) fn n_samples(dimension: usize) -> usize {
        (MOST_NUMBERS / dimension.max(1)).clamp(WIDTH / 2, MOST_SAMPLES)
    }

    /// Axes along which the sample (n, dimension) varies most.
    pub(crate) fn learn(sample: ArrayView2<f32>) -> Self {
        let dimension = sample.ncols();
        if is_own_sketch(dimension) {
            return Self::trivial(dimension);
        }
        let centred = centred(sample);
        let axes = leading_axes(&centred, (WIDTH - 1).min(sample.nrows()));
        let error = projection_error(&axes);
        if error < 1e-3 {
            Self { axes, error }
        } else {
            Self::trivial(dimension)
        }
    }

    /// How many of a sketch's numbers are used.
    pub(crate) fn columns(&self) -> usize {
        if is_own_sketch(self.axes.ncols()) {
            self.axes.ncols()
        } else {
            self.axes.nrows() + 1
        }
    }

    /// Sketches of points (n, dimension).
    pub(crate) fn sketch(&self, points: ArrayView2<f32>) -> Vec<Sketch> {
        if is_own_sketch(self.axes.ncols()) {
            return points.rows().into_iter().map(|row| own_sketch(row.iter().copied())).collect();
        }
        let wide = points.mapv(f64::from);
        let along = wide.dot(&self.axes.t());
        let rows = wide.rows().into_iter().zip(along.rows());
        rows.map(|(point, along)| self.assemble(point.dot(&point), along.iter().copied())).collect()
    }

    /// The sketch from |a|^2 and the coordinates of a along the axes.
    fn assemble(&self, square: f64, along: impl Iterator<Item = f64> + Clone) -> Sketch {
        let norm = square.sqrt() * (1.0 + 1e-9);
        let off = self.error * norm;
        let length = along.clone().map(|v| v * v).sum::<f64>().sqrt();
        let (rest, rest_off) = remainder(square, length, off, relative_error(self.axes.ncols()));
        let mut values = [0.0; WIDTH];
        values[0] = rest as f32;
        for (value, v) in values[1..].iter_mut().zip(along.clone()) {
            *value = v as f32;
        }
        let rounding = f64::from(f32::EPSILON) * (length + rest) + 1e-30;
        let slack = (off + rest_off + rounding) * (1.0 + 1e-9);
        if norm > LARGEST {
            return Sketch::UNKNOWN;
        }
        Sketch { values, slack }
    }
}

/// Vectors no longer than a sketch are used as they are.
pub(crate) fn is_own_sketch(dimension: usize) -> bool {
    dimension <= WIDTH
}

fn own_sketch(point: impl Iterator<Item = f32>) -> Sketch {
    let mut values = [0.0; WIDTH];
    for (value, v) in values.iter_mut().zip(point) {
        if f64::from(v.abs()) > LARGEST {
            return Sketch::UNKNOWN;
        }
        *value = v;
    }
    Sketch { values, slack: 0.0 }
}

/// sqrt(|a|^2 - |Qa|^2) with a bound of its error: `length` is |Qa| up to `off`, `square` is |a|^2 up to `relative`.
fn remainder(square: f64, length: f64, off: f64, relative: f64) -> (f64, f64) {
    let most = length * (1.0 + 1e-12) + off;
    let least = (length * (1.0 - 1e-12) - off).max(0.0);
    let low = (square * (1.0 - relative) - most * most).max(0.0).sqrt();
    let high = (square * (1.0 + relative) - least * least).max(0.0).sqrt();
    let slack = (high - low) / 2.0 + 1e-12 * high;
    (f64::midpoint(low, high), slack)
}

/// The sample minus its mean, in `f64`.
fn centred(sample: ArrayView2<f32>) -> Array2<f64> {
    let wide = sample.mapv(f64::from);
    let mean = wide.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(sample.ncols()));
    wide - mean
}

/// Subspace iteration: rows that span the directions of largest variance, largest first.
fn leading_axes(sample: &Array2<f64>, n_axes: usize) -> Array2<f64> {
    let scramble = |(row, column): (usize, usize)| {
        let mixed = (row as u64 * 0x9E37_79B9 + column as u64 + 1).wrapping_mul(0xD129_0B27_5F2C_4D95);
        (mixed >> 40) as f64 / f64::from(1 << 24) - 0.5
    };
    let mut axes = Array2::from_shape_fn((n_axes, sample.ncols()), scramble);
    for _ in 0..ROUNDS {
        axes = orthonormal(sample.dot(&axes.t()).t().dot(sample));
    }
    sorted_by_spread(sample, axes)
}

/// Gram-Schmidt, twice for accuracy; rows that depend on earlier ones are left out.
fn orthonormal(rows: Array2<f64>) -> Array2<f64> {
    let (mut done, mut kept) = (rows, 0);
    for at in 0..done.nrows() {
        let mut row = done.row(at).to_owned();
        let size = row.dot(&row).sqrt();
        for _ in 0..2 {
            for earlier in done.rows().into_iter().take(kept) {
                let along = earlier.dot(&row);
                row.scaled_add(-along, &earlier);
            }
        }
        let left = row.dot(&row).sqrt();
        if left > 1e-7 * size && left.is_normal() {
            done.row_mut(kept).assign(&(row / left));
            kept += 1;
        }
    }
    done.slice_move(ndarray::s![..kept, ..])
}

/// The same rows, those along which the sample varies most first.
fn sorted_by_spread(sample: &Array2<f64>, axes: Array2<f64>) -> Array2<f64> {
    let along = sample.dot(&axes.t());
    let spread: Vec<f64> = along.columns().into_iter().map(|c| c.dot(&c)).collect();
    let mut order: Vec<usize> = (0..axes.nrows()).collect();
    order.sort_by(|&a, &b| spread[b].total_cmp(&spread[a]));
    axes.select(Axis(0), &order)
}

/// Bound of |computed Pa - Qa| / |a|, Q the nearest matrix to P whose rows are orthonormal.
///
/// ```text
/// P = H Q with H = (P P^T)^(1/2), so |Pa - Qa| <= |H - I| |a| <= |P P^T - I| |a|, the Frobenius norm bounding
/// the operator norm. Each of the k coordinates is computed with an error of at most relative_error(n) |p_i| |a|,
/// and so is each entry of P P^T.
/// ```
fn projection_error(axes: &Array2<f64>) -> f64 {
    let (n_axes, dimension) = axes.dim();
    let excess = axes.dot(&axes.t()) - Array2::<f64>::eye(n_axes);
    let measured = excess.iter().map(|v| v * v).sum::<f64>().sqrt();
    let rounding = relative_error(dimension) * (n_axes as f64 + 1.0) * (1.0 + measured);
    2.0 * (measured + rounding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::distance::approximate;

    /// Pseudo-random points with a few strong directions, or none.
    fn points(n: usize, dimension: usize, structured: bool, seed: u64) -> Array2<f32> {
        use rand::{RngExt, SeedableRng};
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let strong: Array2<f32> = Array2::from_shape_fn((10, dimension), |_| rng.random_range(-1.0..1.0));
        let weights = Array2::from_shape_fn((n, 10), |_| rng.random_range(-1.0..1.0));
        let noise = Array2::from_shape_fn((n, dimension), |_| rng.random_range(-0.1..0.1));
        if structured {
            weights.dot(&strong) + noise
        } else {
            noise
        }
    }

    fn sketch_distance(a: &Sketch, b: &Sketch) -> f64 {
        let square = |(x, y): (&f32, &f32)| (f64::from(*x) - f64::from(*y)).powi(2);
        a.values.iter().zip(&b.values).map(square).sum::<f64>().sqrt()
    }

    /// Smallest and mean ratio of sketch distance (lower bound included) to distance.
    fn ratios(points: &Array2<f32>, basis: &Basis) -> (f64, f64) {
        let sketches = basis.sketch(points.view());
        let (mut sum, mut count) = (0.0, 0.0);
        for (a, s) in points.rows().into_iter().zip(&sketches) {
            for (b, t) in points.rows().into_iter().zip(&sketches) {
                let (a, b) = (a.to_vec(), b.to_vec());
                let bound = sketch_distance(s, t) * (1.0 - 1e-12) - s.slack - t.slack;
                let true_distance = approximate(&a, &b);
                assert!(bound <= true_distance * (1.0 + relative_error(a.len())), "{bound} {true_distance}");
                if true_distance > 0.0 {
                    sum += bound / true_distance;
                    count += 1.0;
                }
            }
        }
        (sum / count, sketches.iter().map(|s| s.slack).fold(0.0, f64::max))
    }

    #[test]
    fn sketches_never_exceed_the_distance_and_follow_structure() {
        for (dimension, structured, expected) in
            [(200, true, 0.9), (200, false, 0.5), (1000, true, 0.8), (3, true, 0.999), (64, false, 0.999)]
        {
            let all = points(120, dimension, structured, dimension as u64);
            let basis = Basis::learn(all.slice(ndarray::s![..80, ..]));
            let (mean, slack) = ratios(&all, &basis);
            assert!(mean > expected, "dimension {dimension}, structured {structured}: {mean}");
            assert!(slack < 1e-3, "{slack}");
        }
    }

    #[test]
    fn without_axes_lengths_alone_bound_the_distance() {
        let all = points(50, 100, true, 3);
        let (mean, _) = ratios(&all, &Basis::trivial(100));
        assert!(mean > 0.05 && mean < 0.5);
    }

    #[test]
    fn degenerate_samples_are_no_harm() {
        let mut all = points(40, 100, true, 4);
        let same = Array2::from_shape_fn((40, 100), |(_, j)| j as f32);
        assert_eq!(Basis::learn(same.view()).columns(), 1, "no variance, no axes");
        ratios(&all, &Basis::learn(same.view()));
        let two = all.slice(ndarray::s![..2, ..]).to_owned();
        ratios(&all, &Basis::learn(two.view()));
        all.mapv_inplace(|v| v * 1e-38);
        ratios(&all, &Basis::learn(all.view()));
    }

    #[test]
    fn huge_vectors_are_never_filtered_out() {
        let all = points(5, 100, true, 5) * 1e30;
        for sketch in Basis::learn(all.view()).sketch(all.view()) {
            assert_eq!(sketch.slack, f64::INFINITY);
        }
        let short = points(5, 4, true, 6) * 1e30;
        assert!(Basis::learn(short.view()).sketch(short.view()).iter().all(|s| s.slack == f64::INFINITY));
    }
}
