//! Convolution, ReLU and pooling in one pass: sums are pooled while they are in registers.

use pulp::{Simd, WithSimd};

use super::{PooledConv, Target, OFF};
use crate::kernel::buffer::Buffer;
use crate::kernel::{keep_nan, lanes_mut, load};
use crate::vectors::dispatch;

/// The block's results of a batch, and for each of them the place of its patch.
pub(in crate::kernel) struct Forward<'a> {
    pub(in crate::kernel) block: PooledConv,
    pub(in crate::kernel) target: Target,
    pub(in crate::kernel) samples: usize,
    pub(in crate::kernel) values: &'a [f32],
    /// (B, input_len) and slack.
    pub(in crate::kernel) input: &'a [f32],
    /// (B, target.len).
    pub(in crate::kernel) pooled: &'a mut [f32],
    /// (B, output_len).
    pub(in crate::kernel) chosen: &'a mut [u32],
    pub(in crate::kernel) packed: &'a mut Buffer,
}

impl Forward<'_> {
    pub(in crate::kernel) fn run(self) {
        dispatch(self);
    }

    /// As many sums as there are registers for. PLANE is the kernel's size if there is one channel, else 0.
    #[inline(always)]
    fn fitting<S: Simd, const PLANE: usize>(self, simd: S) {
        let two = self.block.outputs.is_multiple_of(2 * S::F32_LANES);
        match (two, S::REGISTER_COUNT >= 32) {
            (true, true) => self.blocks::<S, 2, 4, PLANE>(simd),
            (true, false) => self.blocks::<S, 2, 2, PLANE>(simd),
            (false, _) => self.blocks::<S, 1, 4, PLANE>(simd),
        }
    }

    /// With N vectors of outputs at two rows of P places in the registers.
    #[inline(always)]
    fn blocks<S: Simd, const N: usize, const P: usize, const PLANE: usize>(mut self, simd: S) {
        let PooledConv { outputs, .. } = self.block;
        let width = N * S::F32_LANES;
        self.pack(width);
        for first in (0..outputs).step_by(width) {
            let own = first * self.block.taps();
            let packed = std::mem::take(self.packed);
            let weights = S::as_simd_f32s(&packed[own..own + self.block.taps() * width]).0;
            let weights = weights.as_chunks::<N>().0;
            for sample in 0..self.samples {
                self.sample::<S, N, P, PLANE>(simd, sample, first, weights);
            }
            *self.packed = packed;
        }
    }

    /// Weights as (outputs / width, taps, width).
    fn pack(&mut self, width: usize) {
        let PooledConv { outputs, .. } = self.block;
        let taps = self.block.taps();
        self.packed.resize(outputs * taps, 0.0);
        for (output, own) in self.values.chunks_exact(taps).take(outputs).enumerate() {
            let (group, lane) = (output / width, output % width);
            let mut places = self.packed[group * width * taps..].iter_mut().skip(lane).step_by(width);
            for run in 0..self.block.kernel {
                for place in 0..self.block.run() {
                    if let Some(target) = places.next() {
                        *target = own[self.block.tap(run, place)];
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn sample<S: Simd, const N: usize, const P: usize, const PLANE: usize>(
        &mut self,
        simd: S,
        sample: usize,
        first: usize,
        weights: &[[S::f32s; N]],
    ) {
        let (height, width) = self.block.pooled();
        for y in 0..height {
            let mut x = 0;
            while x + P / 2 <= width {
                self.windows::<S, N, P, PLANE>(simd, sample, first, weights, (y, x));
                x += P / 2;
            }
            while x < width {
                self.windows::<S, N, 2, PLANE>(simd, sample, first, weights, (y, x));
                x += 1;
            }
        }
    }

    /// The windows at (y, x) and beside it: two rows of P convolved places, pooled.
    #[inline(always)]
    fn windows<S: Simd, const N: usize, const P: usize, const PLANE: usize>(
        &mut self,
        simd: S,
        sample: usize,
        first: usize,
        weights: &[[S::f32s; N]],
        (y, x): (usize, usize),
    ) {
        let (block, lanes) = (self.block, S::F32_LANES);
        let (stride, channels, len) = (block.stride(), block.channels, block.input_len());
        let corner = 2 * y * stride + 2 * x * channels;
        let image = &self.input[sample * len..(sample + 1) * len];
        let image = &image[corner..];
        let sums = if PLANE == 0 {
            convolve::<S, N, P>(simd, image, block, weights)
        } else {
            convolve_plane::<S, N, P, PLANE>(simd, image, stride, weights)
        };
        let bias = &self.values[block.n_weights() + first..];
        let (zero, off) = (simd.splat_f32s(0.0), simd.splat_u32s(OFF));
        for window in 0..P / 2 {
            let places = [(0, 0), (0, 1), (1, 0), (1, 1)];
            for n in 0..N {
                let (mut best, mut place) = (sums[0][2 * window][n], corner + 2 * window * channels);
                let mut chosen = simd.splat_u32s(place as u32);
                for &(down, right) in &places[1..] {
                    let sum = sums[down][2 * window + right][n];
                    place = corner + down * stride + (2 * window + right) * channels;
                    let larger = simd.greater_than_f32s(sum, best);
                    best = keep_nan(simd, sum, simd.select_f32s(larger, sum, best));
                    chosen = simd.select_u32s(larger, simd.splat_u32s(place as u32), chosen);
                }
                best = simd.add_f32s(best, load::<S>(bias, n * lanes));
                let none = simd.less_than_or_equal_f32s(best, zero);
                let output = first + n * lanes;
                let at = sample * self.target.len
                    + self.target.start
                    + y * self.target.stride
                    + (x + window) * block.outputs
                    + output;
                *lanes_mut::<S>(self.pooled, at) = simd.select_f32s(none, zero, best);
                let width = block.pooled().1;
                let at = sample * block.output_len() + (y * width + x + window) * block.outputs + output;
                S::as_mut_simd_u32s(&mut self.chosen[at..at + lanes]).0[0] =
                    simd.select_u32s(none, off, chosen);
            }
        }
    }
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match (self.block.channels, self.block.kernel) {
            (1, 5) => self.fitting::<S, 5>(simd),
            (1, 3) => self.fitting::<S, 3>(simd),
            _ => self.fitting::<S, 0>(simd),
        }
    }
}

/// Sums over the taps at 2 x P neighbouring places, for N vectors of outputs.
#[inline(always)]
fn convolve<S: Simd, const N: usize, const P: usize>(
    simd: S,
    image: &[f32],
    block: PooledConv,
    weights: &[[S::f32s; N]],
) -> [[[S::f32s; N]; P]; 2] {
    let (stride, channels, run) = (block.stride(), block.channels, block.run());
    let mut sums = [[[simd.splat_f32s(0.0); N]; P]; 2];
    for down in 0..block.kernel {
        let weights = &weights[down * run..(down + 1) * run];
        let upper: [&[f32]; P] = std::array::from_fn(|p| &image[down * stride + p * channels..][..run]);
        let lower: [&[f32]; P] = std::array::from_fn(|p| &image[(down + 1) * stride + p * channels..][..run]);
        for (j, weights) in weights.iter().enumerate() {
            for p in 0..P {
                let x = simd.splat_f32s(upper[p][j]);
                for n in 0..N {
                    sums[0][p][n] = simd.mul_add_e_f32s(x, weights[n], sums[0][p][n]);
                }
            }
            for p in 0..P {
                let x = simd.splat_f32s(lower[p][j]);
                for n in 0..N {
                    sums[1][p][n] = simd.mul_add_e_f32s(x, weights[n], sums[1][p][n]);
                }
            }
        }
    }
    sums
}

/// [`convolve`] of images with one channel, whose runs are too short to be worth a loop.
#[inline(always)]
fn convolve_plane<S: Simd, const N: usize, const P: usize, const K: usize>(
    simd: S,
    image: &[f32],
    stride: usize,
    weights: &[[S::f32s; N]],
) -> [[[S::f32s; N]; P]; 2] {
    let mut sums = [[[simd.splat_f32s(0.0); N]; P]; 2];
    let weights = &weights[..K * K];
    for down in 0..K {
        let upper = &image[down * stride..][..P + K - 1];
        let lower = &image[(down + 1) * stride..][..P + K - 1];
        for right in 0..K {
            let weights = weights[down * K + right];
            for p in 0..P {
                let (above, below) = (simd.splat_f32s(upper[p + right]), simd.splat_f32s(lower[p + right]));
                for n in 0..N {
                    sums[0][p][n] = simd.mul_add_e_f32s(above, weights[n], sums[0][p][n]);
                    sums[1][p][n] = simd.mul_add_e_f32s(below, weights[n], sums[1][p][n]);
                }
            }
        }
    }
    sums
}
