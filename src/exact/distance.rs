//! Squared Euclidean distances in double precision, with a bound on their rounding error.

use crate::vectors::dispatch;
use ndarray::ArrayView2;
use pulp::{Simd, WithSimd};

/// Unit roundoff of double precision.
pub(crate) const ROUNDOFF: f64 = f64::EPSILON / 2.0;

const LANES: usize = 8;
const RUN: usize = 128;

/// Points whose distances are summed side by side: one sum alone would wait for itself.
const SIDE: usize = 4;

/// Appends the squared distance `||a - b||^2` of every row b to each point a, in one pass over the rows: (points, rows).
///
/// Summed in 8 lanes over runs of 128 coordinates, whatever the width of the processor's vectors, so that results are
/// the same bit for bit. Always the difference first: `||a||^2 + ||b||^2 - 2 a.b` would lose the digits of near points.
pub(crate) fn squared_distances(points: &[Vec<f64>], rows: ArrayView2<'_, f32>, distances: &mut [Vec<f64>]) {
    dispatch(All { points, rows, distances });
}

struct All<'a> {
    points: &'a [Vec<f64>],
    rows: ArrayView2<'a, f32>,
    distances: &'a mut [Vec<f64>],
}

impl WithSimd for All<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match S::F64_LANES {
            8 => self.vectors::<S, 1>(simd),
            4 => self.vectors::<S, 2>(simd),
            2 => self.vectors::<S, 4>(simd),
            _ => self.vectors::<S, 8>(simd),
        }
    }
}

impl All<'_> {
    /// With the 8 lanes in V vectors.
    #[inline(always)]
    fn vectors<S: Simd, const V: usize>(self, simd: S) {
        let Self { points, rows, distances } = self;
        let mut wide = vec![0.0; rows.ncols()];
        for row in rows.outer_iter() {
            match row.as_slice() {
                Some(row) => wide.iter_mut().zip(row).for_each(|(wide, x)| *wide = f64::from(*x)),
                None => wide.iter_mut().zip(row).for_each(|(wide, x)| *wide = f64::from(*x)),
            }
            let (fours, rest) = points.as_chunks::<SIDE>();
            let (distances_of_fours, distances_of_rest) = distances.split_at_mut(fours.len() * SIDE);
            for (four, distances) in fours.iter().zip(distances_of_fours.chunks_exact_mut(SIDE)) {
                let found = side_by_side::<S, SIDE, V>(simd, four.each_ref().map(Vec::as_slice), &wide);
                distances.iter_mut().zip(found).for_each(|(distances, found)| distances.push(found));
            }
            for (point, distances) in rest.iter().zip(distances_of_rest) {
                let [found] = side_by_side::<S, 1, V>(simd, [point], &wide);
                distances.push(found);
            }
        }
    }
}

/// The distances of some points to one row.
#[inline(always)]
fn side_by_side<S: Simd, const P: usize, const V: usize>(
    simd: S,
    points: [&[f64]; P],
    row: &[f64],
) -> [f64; P] {
    let mut totals = [0.0; P];
    for start in (0..row.len()).step_by(RUN) {
        let end = (start + RUN).min(row.len());
        let whole = start + (end - start) / LANES * LANES;
        let mut sums = [[simd.splat_f64s(0.0); V]; P];
        let own = S::as_simd_f64s(&row[start..whole]).0.as_chunks::<V>().0;
        let others =
            points.map(|point| &S::as_simd_f64s(&point[start..whole]).0.as_chunks::<V>().0[..own.len()]);
        for (i, own) in own.iter().enumerate() {
            for p in 0..P {
                for v in 0..V {
                    let difference = simd.sub_f64s(others[p][i][v], own[v]);
                    // Two roundings, as everywhere: not every processor has the product and sum in one.
                    let square = simd.mul_f64s(difference, difference);
                    sums[p][v] = simd.add_f64s(sums[p][v], square);
                }
            }
        }
        for p in 0..P {
            let lanes: &[f64] = pulp::bytemuck::cast_slice(&sums[p]);
            let pairs = |first: usize| lanes[first] + lanes[first + 4];
            let rest = points[p][whole..end].iter().zip(&row[whole..end]);
            let rest = rest.map(|(x, y)| (x - y) * (x - y)).sum::<f64>();
            totals[p] += ((pairs(0) + pairs(1)) + (pairs(2) + pairs(3))) + rest;
        }
    }
    totals
}

/// Bound on the relative rounding error of [`squared_distances`] divided by `sigma^2`, in `d` coordinates.
///
/// 3 roundings for a squared difference, 16 additions in a lane, 3 between lanes, 7 for the remainder, one for each
/// run, 3 for the division by `sigma^2`; all terms are positive, so relative errors add up at most.
pub(crate) fn relative_error(dimension: usize) -> f64 {
    (34.0 + dimension as f64 / RUN as f64) * ROUNDOFF
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::vectors::with_each;

    fn distances(points: &[Vec<f64>], rows: &Array2<f32>) -> Vec<Vec<f64>> {
        let mut distances = vec![Vec::new(); points.len()];
        squared_distances(points, rows.view(), &mut distances);
        distances
    }

    /// Every number of points, so that those side by side and those alone are both met.
    #[test]
    fn every_length_gives_the_sum_of_squares() {
        with_each(|_| sums_of_squares());
    }

    fn sums_of_squares() {
        for d in [1, 7, 8, 9, 127, 128, 129, 300] {
            for n in 1..=SIDE + 2 {
                let point = |k: usize| (0..d).map(|i| (k * i) as f64).collect();
                let points: Vec<Vec<f64>> = (0..n).map(point).collect();
                let rows = Array2::from_shape_fn((3, d), |(row, i)| -((row * i) as f32));
                let squares = (0..d as u64).map(|i| i * i).sum::<u64>() as f64;
                for (k, distances) in distances(&points, &rows).iter().enumerate() {
                    let exact: Vec<f64> =
                        (0..3).map(|row| ((k + row) * (k + row)) as f64 * squares).collect();
                    assert_eq!(*distances, exact, "{d}");
                }
            }
        }
    }

    #[test]
    fn all_sets_of_instructions_give_the_same_bits() {
        let points: Vec<Vec<f64>> =
            (0..7).map(|k| (0..300).map(|i| f64::from(k * 300 + i).sin()).collect()).collect();
        let rows = Array2::from_shape_fn((5, 300), |(row, i)| ((row * 300 + i) as f32).cos());
        let mut all = Vec::new();
        with_each(|_| all.push(distances(&points, &rows)));
        assert!(all.len() > 1 && all.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn near_points_far_from_the_origin_keep_their_digits() {
        let row = Array2::from_elem((1, 57), 15_841.0_f32);
        let point: Vec<f64> = row.iter().map(|x| f64::from(*x) + 1.0 / 1024.0).collect();
        assert_eq!(distances(&[point], &row), [[57.0 / 1024.0 / 1024.0]]);
    }
}
