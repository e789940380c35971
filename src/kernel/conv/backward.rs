//! The gradient of a block: back along the places that pooling chose and ReLU let through.

use pulp::{Simd, WithSimd};

use super::{PooledConv, Target, OFF};
use crate::kernel::buffer::Buffer;
use crate::kernel::{lanes_mut, load};
use crate::vectors::dispatch;

/// Samples whose gradients are added before the sums leave the registers.
const TILE: usize = 2;

/// What a backward pass keeps between batches.
#[derive(Clone, Debug, Default)]
pub(in crate::kernel) struct Scratch {
    weights: Buffer,
    sums: Buffer,
    chosen: Chosen,
}

/// The gradient of a block's values, and of its inputs where they are asked for.
pub(in crate::kernel) struct Backward<'a> {
    pub(in crate::kernel) block: PooledConv,
    pub(in crate::kernel) target: Target,
    pub(in crate::kernel) samples: usize,
    pub(in crate::kernel) values: &'a [f32],
    /// As in [`Forward`].
    pub(in crate::kernel) input: &'a [f32],
    pub(in crate::kernel) chosen: &'a [u32],
    /// The gradient of the results, (B, target.len).
    pub(in crate::kernel) pooled: &'a [f32],
    /// Written whole, if asked for.
    pub(in crate::kernel) gradient: Option<&'a mut [f32]>,
    /// (B, input_len) and slack; written whole.
    pub(in crate::kernel) inputs: Option<&'a mut [f32]>,
    pub(in crate::kernel) scratch: &'a mut Scratch,
}

impl Backward<'_> {
    pub(in crate::kernel) fn run(self) {
        dispatch(self);
    }

    /// As many vectors of a run at a time as there are registers for.
    #[inline(always)]
    fn fitting<S: Simd, const K: usize>(self, simd: S) {
        let columns = self.block.run().div_ceil(S::F32_LANES);
        if columns.is_multiple_of(K) && (S::REGISTER_COUNT >= 32 || K == 3) {
            self.all::<S, K, K, 1>(simd);
        } else if columns.is_multiple_of(2) {
            self.all::<S, K, 2, 1>(simd);
        } else {
            // A sum that is added to at every place waits for itself.
            self.all::<S, K, 1, 2>(simd);
        }
    }

    #[inline(always)]
    fn all<S: Simd, const K: usize, const C: usize, const T: usize>(mut self, simd: S) {
        let PooledConv { outputs, .. } = self.block;
        let width = self.block.run().next_multiple_of(S::F32_LANES);
        let Scratch { mut weights, mut sums, mut chosen } = std::mem::take(self.scratch);
        sums.clear();
        sums.resize(outputs * K * width, 0.0);
        self.pack(width, &mut weights);
        if let Some(inputs) = &mut self.inputs {
            inputs.fill(0.0);
        }
        let n_weights = self.block.n_weights();
        if let Some(gradient) = &mut self.gradient {
            gradient[n_weights..].fill(0.0);
        }
        let (len, stride) = (self.block.input_len(), self.block.stride());
        for start in (0..self.samples).step_by(TILE) {
            let end = (start + TILE).min(self.samples);
            chosen.collect(&self, start, end);
            // One after the other, so that what one of them goes through stays in the innermost cache.
            if let Some(gradient) = &mut self.gradient {
                let input = &self.input[start * len..];
                let own = sums.chunks_exact_mut(K * width).zip(&mut gradient[n_weights..]);
                for ((sums, bias), on) in own.zip(chosen.each()) {
                    *bias += on.iter().map(|place| place.1).sum::<f32>();
                    add_patches::<S, K, C, T>(simd, input, stride, on, sums);
                }
            }
            if let Some(inputs) = &mut self.inputs {
                let inputs = &mut inputs[start * len..];
                for (weights, on) in weights.chunks_exact(K * width).zip(chosen.each()) {
                    add_weights::<S, K, C>(simd, inputs, stride, on, weights);
                }
            }
        }
        if let Some(gradient) = self.gradient {
            unpack(self.block, width, &sums, &mut gradient[..n_weights]);
        }
        *self.scratch = Scratch { weights, sums, chosen };
    }

    /// The gradient of a first block with one channel: a patch is so short that finding the places costs more than
    /// products with zero. All K x K sums of a vector of outputs stay in registers.
    #[inline(always)]
    fn plane<S: Simd, const K: usize>(mut self, simd: S) {
        let (block, lanes) = (self.block, S::F32_LANES);
        let (height, width) = block.pooled();
        let stride = block.stride();
        let Some(gradient) = self.gradient.take() else { return };
        let (weight_gradient, bias_gradient) = gradient.split_at_mut(block.n_weights());
        self.bias(bias_gradient);
        let totals = &mut self.scratch.sums;
        totals.clear();
        totals.resize(weight_gradient.len(), 0.0);
        for sample in 0..self.samples {
            let image = &self.input[sample * block.input_len()..(sample + 1) * block.input_len()];
            let chosen = &self.chosen[sample * block.output_len()..(sample + 1) * block.output_len()];
            let pooled = &self.pooled[sample * self.target.len + self.target.start..];
            for (first, totals) in (0..).step_by(lanes).zip(totals.chunks_exact_mut(K * K * lanes)) {
                let mut sums = [[simd.splat_f32s(0.0); K]; K];
                for y in 0..height {
                    for x in 0..width {
                        let at = (y * width + x) * block.outputs + first;
                        let chosen = S::as_simd_u32s(&chosen[at..at + lanes]).0[0];
                        let gradient = load::<S>(pooled, y * self.target.stride + x * block.outputs + first);
                        let corner = 2 * (y * stride + x);
                        // Loops in place of closures, here and elsewhere: what is not inlined into this function may not
                        // use its instructions.
                        let mut own = [simd.splat_f32s(0.0); 4];
                        for (step, own) in [0, 1, stride, stride + 1].into_iter().zip(&mut own) {
                            let here = simd.equal_u32s(chosen, simd.splat_u32s((corner + step) as u32));
                            *own = simd.select_f32s(here, gradient, *own);
                        }
                        add_window::<S, K>(simd, &image[corner..], stride, own, &mut sums);
                    }
                }
                for down in 0..K {
                    for right in 0..K {
                        let total = lanes_mut::<S>(totals, (down * K + right) * lanes);
                        *total = simd.add_f32s(*total, sums[down][right]);
                    }
                }
            }
        }
        let vectors = totals.chunks_exact(K * K * lanes).zip(weight_gradient.chunks_exact_mut(K * K * lanes));
        for (totals, gradient) in vectors {
            for (lane, own) in gradient.chunks_exact_mut(K * K).enumerate() {
                let totals = totals.iter().skip(lane).step_by(lanes);
                own.iter_mut().zip(totals).for_each(|(own, total)| *own = *total);
            }
        }
    }

    /// Sums of the gradients of results whose ReLU is on.
    #[inline(always)]
    fn bias(&self, gradient: &mut [f32]) {
        let row = self.block.pooled().1 * self.block.outputs;
        gradient.fill(0.0);
        for sample in 0..self.samples {
            let chosen = &self.chosen[sample * self.block.output_len()..][..self.block.output_len()];
            let pooled = &self.pooled[sample * self.target.len + self.target.start..];
            for (chosen, pooled) in chosen.chunks_exact(row).zip(pooled.chunks(self.target.stride)) {
                let both = chosen.chunks_exact(gradient.len()).zip(pooled.chunks_exact(gradient.len()));
                for (chosen, pooled) in both {
                    for ((sum, value), chosen) in gradient.iter_mut().zip(pooled).zip(chosen) {
                        *sum += if *chosen == OFF { 0.0 } else { *value };
                    }
                }
            }
        }
    }

    /// Weights as (outputs, kernel, width), runs filled up with zeros.
    fn pack(&self, width: usize, weights: &mut Buffer) {
        let (block, taps) = (self.block, self.block.taps());
        weights.clear();
        for own in self.values.chunks_exact(taps).take(block.outputs) {
            for run in 0..block.kernel {
                (0..block.run()).for_each(|place| weights.push(own[block.tap(run, place)]));
                weights.resize(weights.len().next_multiple_of(width), 0.0);
            }
        }
    }
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let plane = self.block.channels == 1 && self.inputs.is_none();
        match (plane, self.block.kernel) {
            (true, 5) => self.plane::<S, 5>(simd),
            (true, _) => self.plane::<S, 3>(simd),
            (false, 5) => self.fitting::<S, 5>(simd),
            (false, _) => self.fitting::<S, 3>(simd),
        }
    }
}

/// sums (K, K) += the products of a window's four gradients with the patches at its four places.
#[inline(always)]
fn add_window<S: Simd, const K: usize>(
    simd: S,
    image: &[f32],
    stride: usize,
    own: [S::f32s; 4],
    sums: &mut [[S::f32s; K]; K],
) {
    add_row(simd, image, stride, own, sums, 0);
    add_row(simd, image, stride, own, sums, 1);
    add_row(simd, image, stride, own, sums, 2);
    if K == 5 {
        add_row(simd, image, stride, own, sums, 3);
        add_row(simd, image, stride, own, sums, 4);
    }
}

/// One row of [`add_window`]. As a loop over rows the sums would not stay in registers.
#[inline(always)]
fn add_row<S: Simd, const K: usize>(
    simd: S,
    image: &[f32],
    stride: usize,
    own: [S::f32s; 4],
    sums: &mut [[S::f32s; K]; K],
    down: usize,
) {
    let upper = &image[down * stride..][..K + 1];
    let lower = &image[(down + 1) * stride..][..K + 1];
    for right in 0..K {
        let mut sum = sums[down][right];
        sum = simd.mul_add_e_f32s(simd.splat_f32s(upper[right]), own[0], sum);
        sum = simd.mul_add_e_f32s(simd.splat_f32s(upper[right + 1]), own[1], sum);
        sum = simd.mul_add_e_f32s(simd.splat_f32s(lower[right]), own[2], sum);
        sums[down][right] = simd.mul_add_e_f32s(simd.splat_f32s(lower[right + 1]), own[3], sum);
    }
}

/// For each output of a block the patches that its results of some samples came from, each with the result's gradient.
#[derive(Clone, Debug, Default)]
struct Chosen {
    /// Output after output, each with room for all its results and one more.
    places: Vec<(u32, f32)>,
    /// How many each output has.
    counts: Vec<usize>,
}

impl Chosen {
    #[inline(always)]
    fn collect(&mut self, from: &Backward<'_>, start: usize, end: usize) {
        let (block, target) = (from.block, from.target);
        let (height, width) = block.pooled();
        let (row, room) = (width * block.outputs, TILE * height * width + 1);
        self.counts.clear();
        self.counts.resize(block.outputs, 0);
        self.places.resize(block.outputs * room, (0, 0.0));
        for sample in start..end {
            let base = ((sample - start) * block.input_len()) as u32;
            for y in 0..height {
                let chosen = &from.chosen[sample * block.output_len() + y * row..][..row];
                let pooled = &from.pooled[sample * target.len + target.start + y * target.stride..][..row];
                let windows = chosen.chunks_exact(block.outputs).zip(pooled.chunks_exact(block.outputs));
                for (chosen, pooled) in windows {
                    let outputs = self.places.chunks_exact_mut(room).zip(&mut self.counts);
                    for ((places, count), (chosen, pooled)) in outputs.zip(chosen.iter().zip(pooled)) {
                        // No branch: whether a ReLU is on cannot be predicted.
                        places[*count] = (base.wrapping_add(*chosen), *pooled);
                        *count += usize::from(*chosen != OFF);
                    }
                }
            }
        }
    }

    fn each(&self) -> impl Iterator<Item = &[(u32, f32)]> {
        let room = self.places.len() / self.counts.len().max(1);
        self.places.chunks_exact(room.max(1)).zip(&self.counts).map(|(places, count)| &places[..*count])
    }
}

/// sums (K, width) += gradient * patch, over all places; C vectors of each run at a time, T places in turn.
#[inline(always)]
fn add_patches<S: Simd, const K: usize, const C: usize, const T: usize>(
    simd: S,
    input: &[f32],
    stride: usize,
    places: &[(u32, f32)],
    sums: &mut [f32],
) {
    let (width, lanes) = (sums.len() / K, S::F32_LANES);
    let (turns, rest) = places.as_chunks::<T>();
    for column in (0..width).step_by(C * lanes) {
        let input = &input[column..];
        let mut own = [[[simd.splat_f32s(0.0); C]; K]; T];
        for turn in turns {
            for t in 0..T {
                add_patch::<S, K, C>(simd, input, stride, turn[t], &mut own[t]);
            }
        }
        for &place in rest {
            add_patch::<S, K, C>(simd, input, stride, place, &mut own[0]);
        }
        for t in 0..T {
            for run in 0..K {
                for c in 0..C {
                    let sum = lanes_mut::<S>(sums, run * width + column + c * lanes);
                    *sum = simd.add_f32s(*sum, own[t][run][c]);
                }
            }
        }
    }
}

#[inline(always)]
fn add_patch<S: Simd, const K: usize, const C: usize>(
    simd: S,
    input: &[f32],
    stride: usize,
    (place, gradient): (u32, f32),
    sums: &mut [[S::f32s; C]; K],
) {
    let patch = &input[place as usize..][..(K - 1) * stride + C * S::F32_LANES];
    let gradient = simd.splat_f32s(gradient);
    for run in 0..K {
        let patch = &patch[run * stride..][..C * S::F32_LANES];
        for c in 0..C {
            let x = load::<S>(patch, c * S::F32_LANES);
            sums[run][c] = simd.mul_add_e_f32s(gradient, x, sums[run][c]);
        }
    }
}

/// patch += gradient * weights (K, width), at all places; C vectors of each run at a time.
#[inline(always)]
fn add_weights<S: Simd, const K: usize, const C: usize>(
    simd: S,
    inputs: &mut [f32],
    stride: usize,
    places: &[(u32, f32)],
    weights: &[f32],
) {
    let (width, lanes) = (weights.len() / K, S::F32_LANES);
    for column in (0..width).step_by(C * lanes) {
        let mut own = [[simd.splat_f32s(0.0); C]; K];
        for run in 0..K {
            for c in 0..C {
                own[run][c] = load::<S>(weights, run * width + column + c * lanes);
            }
        }
        for &(place, gradient) in places {
            let patch = &mut inputs[place as usize + column..][..(K - 1) * stride + C * lanes];
            let gradient = simd.splat_f32s(gradient);
            for run in 0..K {
                let patch = &mut patch[run * stride..][..C * lanes];
                for c in 0..C {
                    let value = lanes_mut::<S>(patch, c * lanes);
                    *value = simd.mul_add_e_f32s(gradient, own[run][c], *value);
                }
            }
        }
    }
}

/// Sums (outputs, kernel, width) in the order of the values.
fn unpack(block: PooledConv, width: usize, sums: &[f32], gradient: &mut [f32]) {
    let taps = block.taps();
    for (own, sums) in gradient.chunks_exact_mut(taps).zip(sums.chunks_exact(block.kernel * width)) {
        for (run, sums) in sums.chunks_exact(width).enumerate() {
            for (place, sum) in sums.iter().take(block.run()).enumerate() {
                own[block.tap(run, place)] = *sum;
            }
        }
    }
}
