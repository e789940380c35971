//! A network along rays x + s e: its logits, and how they change with s.
//!
//! The first layer is linear: its products are those of x plus s times those of e. Those of the origins x are
//! calculated once for all s and e, those of the directions e once for all x and s. Slopes need no gradient of the
//! inputs: that of the first layer's results, multiplied with the products of e, is enough.

use pulp::{Simd, WithSimd};

use super::conv::{PooledConv, Target, OFF};
use super::dense::Gathered;
use super::network::{relu, Network, Wanted, Workspace};
use super::{keep_nan, lanes_mut, load};
use crate::vectors::dispatch;

/// Points x_i + s_i e_c, for n origins and as many directions C as there are; in this order, C points of x_0 first.
#[derive(Clone, Copy, Debug)]
pub struct Rays<'a> {
    /// [`Network::first_products`] of the origins x, n of them.
    pub origins: &'a [f32],
    /// [`Network::first_products`] of the directions e.
    pub directions: &'a [f32],
    /// s of every origin, (n).
    pub scales: &'a [f32],
}

impl Rays<'_> {
    fn points(self, size: usize) -> usize {
        self.scales.len() * (self.directions.len() / size)
    }

    /// The products of each point's origin and direction, and its scale.
    fn each(&self, size: usize) -> impl Iterator<Item = (&[f32], &[f32], f32)> {
        self.origins.chunks_exact(size).zip(self.scales).flat_map(move |(origin, &scale)| {
            self.directions.chunks_exact(size).map(move |direction| (origin, direction, scale))
        })
    }
}

impl Network {
    /// Numbers that [`Network::first_products`] gives for a sample.
    pub fn first_len(&self) -> usize {
        match self.blocks.first() {
            // Every place of every window of the pooling.
            Some(block) => 4 * block.output_len(),
            None => self.dense.first().map_or(0, |layer| layer.outputs),
        }
    }

    /// The first layer's products with samples, without the bias, one sample after another.
    pub fn first_products(&self, values: &[f32], x: &[&[f32]], products: &mut Vec<f32>) {
        products.resize(x.len() * self.first_len(), 0.0);
        if let Some(&block) = self.blocks.first() {
            dispatch(Products { block, values, x, products });
        } else if let Some(layer) = self.dense.first() {
            let mut own = values[..layer.n_values()].to_vec();
            own[layer.inputs * layer.outputs..].fill(0.0);
            layer.forward(&own, x, &mut Gathered::default(), products);
        }
    }

    /// Logits (n * C, K) at the points.
    pub fn logits_along<'w>(&self, values: &[f32], rays: Rays<'_>, work: &'w mut Workspace) -> &'w [f32] {
        let points = rays.points(self.first_len());
        self.claim(work);
        self.resize(points, work);
        if let Some(&block) = self.blocks.first() {
            let target = self.target(0);
            let (_, later) = work.inputs.split_at_mut(1);
            let pooled = later.first_mut().unwrap_or(&mut work.pooled);
            let chosen = &mut work.chosen[0];
            dispatch(Pool { block, target, values, rays, pooled, chosen });
            self.forward_blocks(values, points, 1, work);
            self.forward_dense(values, &[], 0, work);
        } else if let (Some(layer), Some(y)) = (self.dense.first(), work.outputs.first_mut()) {
            let bias = &values[layer.inputs * layer.outputs..];
            let all = y.chunks_exact_mut(layer.outputs).zip(rays.each(layer.outputs));
            for (y, (origin, direction, scale)) in all {
                for (y, ((x, e), bias)) in y.iter_mut().zip(origin.iter().zip(direction).zip(bias)) {
                    *y = x + scale * e + bias;
                }
            }
            if self.dense.len() > 1 {
                relu(y);
            }
            self.forward_dense(values, &[], 1, work);
        }
        work.logits()
    }

    /// How a function of the logits changes with the scale of each origin (n), all its points together, given the
    /// gradient of the logits (n * C, K). After [`Network::logits_along`] of the same rays.
    pub fn slopes(
        &self,
        values: &[f32],
        rays: Rays<'_>,
        logits: &[f32],
        slopes: &mut [f32],
        work: &mut Workspace,
    ) {
        let size = self.first_len();
        let points = rays.points(size);
        let mut delta = std::mem::take(&mut work.delta);
        delta.clear();
        delta.extend_from_slice(logits);
        self.backward_dense(values, Wanted::Slopes, work, &mut delta);
        slopes.fill(0.0);
        let copies = (points / rays.scales.len().max(1)).max(1);
        if let Some(&block) = self.blocks.first() {
            self.backward_blocks(values, points, Wanted::Slopes, work, &delta);
            let pooled = work.input_gradients.get(1).unwrap_or(&work.pooled);
            let (target, chosen) = (self.target(0), &work.chosen[0]);
            dispatch(Multiply { block, target, rays, pooled, chosen, slopes });
        } else {
            let all = delta.chunks_exact(size).zip(rays.each(size));
            for (point, (delta, (_, direction, _))) in all.enumerate() {
                slopes[point / copies] += delta.iter().zip(direction).map(|(d, e)| d * e).sum::<f32>();
            }
        }
        work.delta = delta;
    }
}

/// Outputs whose sums are kept in registers; every block has a multiple of them.
const GROUP: usize = 16;

/// A block's convolution at every place of every window: (windows, 4, outputs) of each sample.
struct Products<'a> {
    block: PooledConv,
    values: &'a [f32],
    x: &'a [&'a [f32]],
    products: &'a mut [f32],
}

impl WithSimd for Products<'_> {
    type Output = ();

    /// Plain loops: few samples come here, and each serves many points.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Self { block, values, x, products } = self;
        let (height, width) = block.pooled();
        let (taps, run, stride) = (block.taps(), block.run(), block.stride());
        let mut packed = vec![[0.0_f32; GROUP]; block.outputs / GROUP * taps];
        for (output, own) in values.chunks_exact(taps).take(block.outputs).enumerate() {
            for tap in 0..taps {
                packed[output / GROUP * taps + tap][output % GROUP] = own[block.tap(tap / run, tap % run)];
            }
        }
        let mut padded = vec![0.0; block.input_len()];
        let samples = products.chunks_exact_mut(4 * block.output_len());
        for (image, products) in x.iter().zip(samples) {
            block.place(image, &mut padded);
            let places = products.chunks_exact_mut(block.outputs).enumerate();
            for (place, sums) in places {
                let (window, down, right) = (place / 4, place / 2 % 2, place % 2);
                let (y, x) = (2 * (window / width) + down, 2 * (window % width) + right);
                debug_assert!(window < height * width);
                let patch = &padded[y * stride + x * block.channels..];
                for (sums, weights) in sums.chunks_exact_mut(GROUP).zip(packed.chunks_exact(taps)) {
                    let mut own = [0.0; GROUP];
                    for (row, weights) in weights.chunks_exact(run).enumerate() {
                        for (x, weights) in patch[row * stride..].iter().zip(weights) {
                            for (own, weight) in own.iter_mut().zip(weights) {
                                *own += x * weight;
                            }
                        }
                    }
                    sums.copy_from_slice(&own);
                }
            }
        }
    }
}

/// The first block's results at the points, and which place of its window each came from.
struct Pool<'a> {
    block: PooledConv,
    target: Target,
    values: &'a [f32],
    rays: Rays<'a>,
    pooled: &'a mut [f32],
    /// 0 to 3, or [`OFF`].
    chosen: &'a mut [u32],
}

impl WithSimd for Pool<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { block, target, values, rays, pooled, chosen } = self;
        let (outputs, lanes, size) = (block.outputs, S::F32_LANES, 4 * block.output_len());
        let (height, width) = block.pooled();
        let bias = &values[block.n_values() - outputs..];
        let (zero, off) = (simd.splat_f32s(0.0), simd.splat_u32s(OFF));
        let points = pooled.chunks_exact_mut(target.len).zip(chosen.chunks_exact_mut(block.output_len()));
        for ((origin, direction, scale), (pooled, chosen)) in rays.each(size).zip(points) {
            let scale = simd.splat_f32s(scale);
            for y in 0..height {
                for x in 0..width {
                    let window = y * width + x;
                    let to = target.start + y * target.stride + x * outputs;
                    for first in (0..outputs).step_by(lanes) {
                        let from = 4 * window * outputs + first;
                        let mut best =
                            simd.mul_add_e_f32s(scale, load::<S>(direction, from), load::<S>(origin, from));
                        let mut place = simd.splat_u32s(0);
                        for other in 1..4 {
                            let from = from + other * outputs;
                            let sum = simd.mul_add_e_f32s(
                                scale,
                                load::<S>(direction, from),
                                load::<S>(origin, from),
                            );
                            let larger = simd.greater_than_f32s(sum, best);
                            best = keep_nan(simd, sum, simd.select_f32s(larger, sum, best));
                            place = simd.select_u32s(larger, simd.splat_u32s(other as u32), place);
                        }
                        best = simd.add_f32s(best, load::<S>(bias, first));
                        let none = simd.less_than_or_equal_f32s(best, zero);
                        *lanes_mut::<S>(pooled, to + first) = simd.select_f32s(none, zero, best);
                        let at = window * outputs + first;
                        S::as_mut_simd_u32s(&mut chosen[at..at + lanes]).0[0] =
                            simd.select_u32s(none, off, place);
                    }
                }
            }
        }
    }
}

/// The gradient of the first block's results times the products of each point's direction, summed over an origin's
/// points.
struct Multiply<'a> {
    block: PooledConv,
    target: Target,
    rays: Rays<'a>,
    pooled: &'a [f32],
    chosen: &'a [u32],
    slopes: &'a mut [f32],
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { block, target, rays, pooled, chosen, slopes } = self;
        let (outputs, lanes, size) = (block.outputs, S::F32_LANES, 4 * block.output_len());
        let (height, width) = block.pooled();
        let mut points = pooled.chunks_exact(target.len).zip(chosen.chunks_exact(block.output_len()));
        for slope in slopes {
            let mut sums = [simd.splat_f32s(0.0); 4];
            let own = points.by_ref().zip(rays.directions.chunks_exact(size));
            for ((pooled, chosen), direction) in own.take(rays.directions.len() / size) {
                for y in 0..height {
                    for x in 0..width {
                        let window = y * width + x;
                        let at = target.start + y * target.stride + x * outputs;
                        for first in (0..outputs).step_by(lanes) {
                            let gradient = load::<S>(pooled, at + first);
                            let from = window * outputs + first;
                            let place = S::as_simd_u32s(&chosen[from..from + lanes]).0[0];
                            let from = 4 * window * outputs + first;
                            for (other, sum) in sums.iter_mut().enumerate() {
                                let here = simd.equal_u32s(place, simd.splat_u32s(other as u32));
                                let own = simd.select_f32s(here, gradient, simd.splat_f32s(0.0));
                                let e = load::<S>(direction, from + other * outputs);
                                *sum = simd.mul_add_e_f32s(own, e, *sum);
                            }
                        }
                    }
                }
            }
            let [a, b, c, d] = sums;
            *slope = simd.reduce_sum_f32s(simd.add_f32s(simd.add_f32s(a, b), simd.add_f32s(c, d)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::with_each;

    fn wave(n: usize, by: f64, size: f64) -> Vec<f32> {
        (0..n).map(|i| ((i as f64 * by + 0.3).sin() * size) as f32).collect()
    }

    /// x + s e overflows where the points would: somebody has to see it.
    #[test]
    fn what_is_not_finite_shows_in_the_logits() {
        with_each(|set| {
            let mut work = Workspace::default();
            let network = Network::convolutional((1, 16, 16), &[16, 32], 5, 0, &[24, 3]);
            let values = wave(network.n_values(), 0.7, 5.0);
            let (huge, small) = ([f32::MAX; 256], wave(256, 0.37, 1.0));
            for (x, e) in [(&huge[..], &small[..]), (&small, &huge)] {
                let products = |row: &[f32]| {
                    let mut products = Vec::new();
                    network.first_products(&values, &[row], &mut products);
                    products
                };
                let (origins, directions) = (products(x), products(e));
                let rays = Rays { origins: &origins, directions: &directions, scales: &[1.0] };
                let logits = network.logits_along(&values, rays, &mut work);
                assert!(logits.iter().any(|logit| !logit.is_finite()), "{set}: {logits:?}");
            }
        });
    }

    /// Logits along rays are those of the points; slopes are those of differences.
    #[test]
    fn along_rays_as_at_the_points() {
        with_each(|_| along_rays());
    }

    fn along_rays() {
        let mut work = Workspace::default();
        let networks = [
            (Network::dense(&[48, 3]), 48),
            (Network::dense(&[40, 24, 3]), 40),
            (Network::dense(&[40, 33, 20, 2]), 40),
            (Network::convolutional((1, 16, 16), &[16, 32], 5, 0, &[24, 3]), 256),
            (Network::convolutional((3, 9, 12), &[16, 32], 3, 1, &[24, 3]), 324),
            (Network::convolutional((2, 7, 6), &[32], 3, 1, &[4]), 84),
        ];
        for (network, d) in &networks {
            let values = wave(network.n_values(), 0.7, 0.2);
            let (x, e) = (wave(3 * d, 0.37, 1.0), wave(5 * d, 1.3, 1.0));
            let rows = |all: &[f32], network: &Network| {
                let rows: Vec<&[f32]> = all.chunks(*d).collect();
                let mut products = Vec::new();
                network.first_products(&values, &rows, &mut products);
                products
            };
            let (origins, directions) = (rows(&x, network), rows(&e, network));
            let k = network.n_classes();
            let weights = wave(15 * k, 2.1, 1.0);
            let total = |scales: [f32; 3], work: &mut Workspace| {
                let rays = Rays { origins: &origins, directions: &directions, scales: &scales };
                let along = network.logits_along(&values, rays, work).to_vec();
                let mut slopes = [0.0; 3];
                network.slopes(&values, rays, &weights, &mut slopes, work);
                (along, slopes)
            };
            let scales = [0.2, 0.5, 1.1];
            let (along, slopes) = total(scales, &mut work);
            let mut points = Vec::new();
            for (x, s) in x.chunks(*d).zip(scales) {
                for e in e.chunks(*d) {
                    points.extend(x.iter().zip(e).map(|(x, e)| x + s * e));
                }
            }
            let points: Vec<&[f32]> = points.chunks(*d).collect();
            let expected = network.logits(&values, &points, &mut work);
            assert_eq!(along.len(), expected.len());
            for (a, b) in along.iter().zip(expected) {
                assert!((a - b).abs() < 1e-4, "{a} for {b} in {network:?}");
            }
            assert!(slopes.iter().any(|s| s.abs() > 1e-2), "{slopes:?}");
            for i in 0..3 {
                let step = 1e-3;
                let (mut above, mut below) = (scales, scales);
                above[i] += step;
                below[i] -= step;
                let mut sum = |scales| {
                    let (logits, _) = total(scales, &mut work);
                    logits.iter().zip(&weights).map(|(l, w)| f64::from(l * w)).sum::<f64>()
                };
                let difference = (sum(above) - sum(below)) / f64::from(above[i] - below[i]);
                let error = (f64::from(slopes[i]) - difference).abs();
                assert!(error < 0.02 * (1.0 + difference.abs()), "{slopes:?}, {difference} in {network:?}");
            }
        }
    }
}
