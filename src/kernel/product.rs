//! Matrix products of a training step: C = A B with rows of C and B one after another, A with any strides.
//!
//! Small as these products are, rearranging their factors is a good part of their time. So each factor is rearranged
//! once: B in panels as wide as the vectors of a tile of C that fit in registers, A in blocks of its rows.

use pulp::{Simd, WithSimd};

use super::buffer::Buffer;
use super::{lanes_mut, load};
use crate::vectors::dispatch;

/// Rows of C in registers.
const ROWS: usize = 6;

/// Inner indices of a panel: with 64 columns it fills two thirds of an innermost cache of 48 KB.
const DEPTH: usize = 128;

/// Columns that are turned into rows together.
const SIDE: usize = 8;

/// Numbers of a factor: element (row, column) is `values[row * rows + column * columns]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrix<'a> {
    pub(super) values: &'a [f32],
    pub(super) rows: usize,
    pub(super) columns: usize,
}

impl<'a> Matrix<'a> {
    /// Rows of `width` numbers one after another.
    pub(super) fn new(values: &'a [f32], width: usize) -> Self {
        Self { values, rows: width, columns: 1 }
    }

    pub(super) fn transposed(self) -> Self {
        Self { values: self.values, rows: self.columns, columns: self.rows }
    }
}

/// Room for rearranged factors, which serves product after product.
#[derive(Clone, Debug, Default)]
pub(super) struct Packed {
    left: Buffer,
    right: Buffer,
}

/// C (M, N) = A (M, inner) B (inner, N), or C + A B where `add` is set.
pub(super) fn multiply(
    a: Matrix<'_>,
    b: Matrix<'_>,
    inner: usize,
    (width, add): (usize, bool),
    c: &mut [f32],
    packed: &mut Packed,
) {
    dispatch(Product { a, b, inner, width, add, c, packed });
}

struct Product<'a> {
    a: Matrix<'a>,
    b: Matrix<'a>,
    inner: usize,
    width: usize,
    add: bool,
    c: &'a mut [f32],
    packed: &'a mut Packed,
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if S::REGISTER_COUNT >= 32 {
            self.panels::<S, 4>(simd);
        } else {
            self.panels::<S, 2>(simd);
        }
    }
}

impl Product<'_> {
    /// Panel after panel of N vectors' width.
    #[inline(always)]
    fn panels<S: Simd, const N: usize>(mut self, simd: S) {
        let panel = N * S::F32_LANES;
        if !self.add {
            self.c.fill(0.0);
        }
        let height = self.c.len() / self.width;
        for start in (0..self.inner).step_by(DEPTH) {
            let depth = DEPTH.min(self.inner - start);
            self.pack_left(start, depth, height);
            for first in (0..self.width).step_by(panel) {
                self.pack_right(start, depth, first, panel);
                for row in (0..height).step_by(ROWS) {
                    let left = &self.packed.left[row * depth..(row + ROWS) * depth];
                    let right = &self.packed.right[..depth * panel];
                    let sums = tile::<S, N>(simd, left, right);
                    let rows = (height - row).min(ROWS);
                    let c = &mut self.c[row * self.width..(row + rows) * self.width];
                    if first + panel <= self.width {
                        store::<S, N>(simd, &sums, c, self.width, first);
                    } else {
                        store_part::<S, N>(&sums, c, self.width, first);
                    }
                }
            }
        }
    }

    /// A's columns from `start` on, in blocks of rows, filled up with zeros: (blocks, depth, ROWS).
    #[inline(always)]
    fn pack_left(&mut self, start: usize, depth: usize, height: usize) {
        let Matrix { values, rows, columns } = self.a;
        let left = &mut self.packed.left;
        left.resize(height.next_multiple_of(ROWS) * depth, 0.0);
        for (block, left) in left.chunks_exact_mut(ROWS * depth).enumerate() {
            let first = block * ROWS;
            for row in 0..ROWS {
                let places = left.iter_mut().skip(row).step_by(ROWS);
                if first + row < height {
                    let own = values[(first + row) * rows + start * columns..].iter().step_by(columns);
                    places.zip(own).for_each(|(place, value)| *place = *value);
                } else {
                    places.for_each(|place| *place = 0.0);
                }
            }
        }
    }

    /// B's rows from `start` on, columns from `first` on, filled up with zeros: (depth, panel).
    #[inline(always)]
    fn pack_right(&mut self, start: usize, depth: usize, first: usize, panel: usize) {
        let Matrix { values, rows, columns } = self.b;
        let right = &mut self.packed.right;
        right.resize(DEPTH * panel, 0.0);
        let width = (self.width - first).min(panel);
        let lines = right.chunks_exact_mut(panel).take(depth);
        if columns == 1 {
            for (number, line) in lines.enumerate() {
                let own = &values[(start + number) * rows + first..][..width];
                line[..width].copy_from_slice(own);
                line[width..].fill(0.0);
            }
            return;
        }
        lines.for_each(|line| line[width..].fill(0.0));
        let own = |column: usize| &values[start * rows + (first + column) * columns..];
        let whole = if rows == 1 { width / SIDE * SIDE } else { 0 };
        for column in (0..whole).step_by(SIDE) {
            // So many at a time that what is read of each waits in the cache for what is written to each line.
            let own: [&[f32]; SIDE] = std::array::from_fn(|side| &own(column + side)[..depth]);
            for (number, line) in right.chunks_exact_mut(panel).take(depth).enumerate() {
                let line = &mut line[column..column + SIDE];
                for side in 0..SIDE {
                    line[side] = own[side][number];
                }
            }
        }
        for column in whole..width {
            let places = right.iter_mut().skip(column).step_by(panel).take(depth);
            places.zip(own(column).iter().step_by(rows)).for_each(|(place, value)| *place = *value);
        }
    }
}

/// The sums of ROWS rows and N vectors over the whole depth.
#[inline(always)]
fn tile<S: Simd, const N: usize>(simd: S, left: &[f32], right: &[f32]) -> [[S::f32s; N]; ROWS] {
    let mut sums = [[simd.splat_f32s(0.0); N]; ROWS];
    let left = left.as_chunks::<ROWS>().0;
    let right = S::as_simd_f32s(right).0.as_chunks::<N>().0;
    for (left, right) in left.iter().zip(right) {
        for row in 0..ROWS {
            let factor = simd.splat_f32s(left[row]);
            for n in 0..N {
                sums[row][n] = simd.mul_add_e_f32s(factor, right[n], sums[row][n]);
            }
        }
    }
    sums
}

#[inline(always)]
fn store<S: Simd, const N: usize>(
    simd: S,
    sums: &[[S::f32s; N]; ROWS],
    c: &mut [f32],
    width: usize,
    first: usize,
) {
    for (sums, c) in sums.iter().zip(c.chunks_exact_mut(width)) {
        let c = &mut c[first..first + N * S::F32_LANES];
        for n in 0..N {
            let at = n * S::F32_LANES;
            *lanes_mut::<S>(c, at) = simd.add_f32s(load::<S>(c, at), sums[n]);
        }
    }
}

/// At the right end, where not all columns exist.
#[inline(always)]
fn store_part<S: Simd, const N: usize>(
    sums: &[[S::f32s; N]; ROWS],
    c: &mut [f32],
    width: usize,
    first: usize,
) {
    for (sums, c) in sums.iter().zip(c.chunks_exact_mut(width)) {
        let sums: &[f32] = pulp::bytemuck::cast_slice(sums);
        c[first..].iter_mut().zip(sums).for_each(|(value, sum)| *value += sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::with_each;

    #[test]
    fn against_the_definition() {
        with_each(|_| products());
    }

    fn products() {
        let mut packed = Packed::default();
        let wave = |n: usize, by: f32| -> Vec<f32> { (0..n).map(|i| (i as f32 * by).sin()).collect() };
        for (height, inner, width) in
            [(1, 1, 1), (6, 128, 64), (5, 129, 65), (13, 300, 40), (7, 3, 130), (128, 20, 17), (2, 257, 16)]
        {
            let (a, b) = (wave(height * inner, 0.7), wave(inner * width, 0.3));
            let mut expected = vec![0.0_f64; height * width];
            for i in 0..height {
                for k in 0..inner {
                    for j in 0..width {
                        expected[i * width + j] += f64::from(a[i * inner + k]) * f64::from(b[k * width + j]);
                    }
                }
            }
            let turn = |values: &[f32], width: usize| -> Vec<f32> {
                (0..width).flat_map(|j| values.iter().skip(j).step_by(width).copied()).collect()
            };
            let (a_turned, b_turned) = (turn(&a, inner), turn(&b, width));
            let lefts = [Matrix::new(&a, inner), Matrix::new(&a_turned, height).transposed()];
            let rights = [Matrix::new(&b, width), Matrix::new(&b_turned, inner).transposed()];
            for left in lefts {
                for right in rights {
                    for (add, start) in [(false, f32::NAN), (true, 2.0)] {
                        let mut c = vec![start; height * width];
                        multiply(left, right, inner, (width, add), &mut c, &mut packed);
                        for (value, expected) in c.iter().zip(&expected) {
                            let expected = expected + if add { 2.0 } else { 0.0 };
                            let error = (f64::from(*value) - expected).abs();
                            assert!(error < 1e-4, "{value} for {expected}: {height} {inner} {width}");
                        }
                    }
                }
            }
        }
    }
}
