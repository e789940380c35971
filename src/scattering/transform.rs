//! The transform of one plane, by Fourier transforms: which products are summed and what follows them.

use std::sync::Arc;

use pulp::{Simd, WithSimd};
use rustfft::num_complex::Complex32;
use rustfft::{Fft, FftPlanner};

use super::Bank;
use crate::vectors::dispatch;

/// Which frequencies: those of the input, or those of a modulus.
const INPUT: usize = 0;
const MODULUS: usize = 1;

/// Averages of a row that are summed together: the floats of a vector.
const LANES: usize = 8;

/// Filters and Fourier transforms for images of one size.
pub(super) struct Plan {
    height: usize,
    width: usize,
    angles: usize,
    order: usize,
    /// By resolution: the grid of level r has every 2^r-th pixel.
    levels: Vec<Level>,
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plan")
            .field("height", &self.height)
            .field("width", &self.width)
            .finish_non_exhaustive()
    }
}

struct Level {
    bank: Bank,
    /// Along a row, and along a column; there and back.
    rows: Both,
    columns: Both,
    /// Weights of pixels of a row in its averages: by pixel, then average, filled up with zeros to whole vectors.
    averages: Vec<[f32; LANES]>,
}

struct Both {
    there: Arc<dyn Fft<f32>>,
    back: Arc<dyn Fft<f32>>,
}

impl Both {
    fn new(planner: &mut FftPlanner<f32>, length: usize) -> Self {
        Self { there: planner.plan_fft_forward(length), back: planner.plan_fft_inverse(length) }
    }
}

impl Level {
    fn new(bank: Bank, planner: &mut FftPlanner<f32>) -> Self {
        let outputs = bank.over_columns.len();
        let vectors = outputs.div_ceil(LANES);
        let mut averages = vec![[0.0; LANES]; bank.columns * vectors];
        for (to, weights) in bank.over_columns.iter().enumerate() {
            for (from, weight) in weights.iter().enumerate() {
                averages[(to / LANES) * bank.columns + from][to % LANES] = *weight;
            }
        }
        let (rows, columns) = (Both::new(planner, bank.columns), Both::new(planner, bank.rows));
        Self { bank, rows, columns, averages }
    }

    fn pixels(&self) -> usize {
        self.bank.rows * self.bank.columns
    }
}

/// What one thread needs.
pub(super) struct Workspace {
    /// One of each level.
    images: Vec<Vec<f32>>,
    frequencies: [Vec<Complex32>; 2],
    products: Vec<Complex32>,
    turned: Vec<Complex32>,
    scratch: Vec<Complex32>,
    averages: Vec<[f32; LANES]>,
}

impl Workspace {
    pub(super) fn new(plan: &Plan) -> Self {
        let largest = plan.levels.first().map_or(0, Level::pixels);
        let ways = plan.levels.iter().flat_map(|level| [&level.rows, &level.columns]);
        let scratch = ways.flat_map(|both| [both.there.as_ref(), both.back.as_ref()]);
        let scratch = scratch.map(|fft| fft.get_inplace_scratch_len()).max().unwrap_or(0);
        Self {
            images: plan.levels.iter().map(|level| vec![0.0; level.pixels()]).collect(),
            frequencies: [INPUT, MODULUS].map(|_| vec![Complex32::ZERO; largest]),
            products: vec![Complex32::ZERO; largest],
            turned: vec![Complex32::ZERO; largest],
            scratch: vec![Complex32::ZERO; scratch],
            averages: vec![[0.0; LANES]; plan.levels.first().map_or(0, |level| level.bank.rows)],
        }
    }
}

impl Plan {
    /// Images are filled up with zeros, on all sides alike, to whole windows of 2^scales pixels.
    pub(super) fn new(scales: u32, angles: usize, order: usize, height: usize, width: usize) -> Self {
        let mut planner = FftPlanner::new();
        let filled = |side: usize| side.next_multiple_of(1 << scales);
        let level = |level: u32| {
            let bank = Bank::new(filled(height) >> level, filled(width) >> level, scales - level, angles);
            Level::new(bank, &mut planner)
        };
        Self { height, width, angles, order, levels: (0..scales).map(level).collect() }
    }

    /// Writes the features of one plane, path after path.
    pub(super) fn scatter(&self, plane: &[f32], features: &mut [f32], work: &mut Workspace) {
        let bank = &self.levels[0].bank;
        let (above, left) = ((bank.rows - self.height) / 2, (bank.columns - self.width) / 2);
        let image = &mut work.images[0];
        image.fill(0.0);
        for (row, target) in
            plane.chunks_exact(self.width).zip(image.chunks_exact_mut(bank.columns).skip(above))
        {
            target[left..left + self.width].copy_from_slice(row);
        }
        let size = bank.over_rows.len() * bank.over_columns.len();
        let (low, rest) = features.split_at_mut(size);
        let (first, second) = rest.split_at_mut(self.levels.len() * self.angles * size);
        let mut second = second.chunks_exact_mut(size);
        self.average(0, low, work);
        self.there(0, INPUT, work);
        for ((scale, angle), features) in self.paths(0).zip(first.chunks_exact_mut(size)) {
            self.wavelet(INPUT, (0, scale, angle), bank.gain, work);
            self.average(scale, features, work);
            if self.order == 1 || scale + 1 == self.levels.len() {
                continue;
            }
            self.there(scale, MODULUS, work);
            let gain = self.levels[scale].bank.gain_above;
            for ((coarser, angle), features) in self.paths(scale + 1).zip(&mut second) {
                self.wavelet(MODULUS, (scale, coarser, angle), gain, work);
                self.average(coarser, features, work);
            }
        }
    }

    fn paths(&self, from: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
        (from..self.levels.len()).flat_map(|scale| (0..self.angles).map(move |angle| (scale, angle)))
    }

    /// The frequencies of a level's image.
    fn there(&self, level: usize, slot: usize, work: &mut Workspace) {
        let Workspace { images, frequencies, turned, scratch, .. } = work;
        let Level { bank, rows, columns, .. } = &self.levels[level];
        let pixels = bank.rows * bank.columns;
        let (turned, frequencies) = (&mut turned[..pixels], &mut frequencies[slot][..pixels]);
        turned.iter_mut().zip(&images[level]).for_each(|(to, from)| *to = Complex32::new(*from, 0.0));
        rows.there.process_with_scratch(turned, scratch);
        turn(turned, frequencies, bank.columns);
        columns.there.process_with_scratch(frequencies, scratch);
    }

    /// The modulus of an image of `level` filtered by the wavelet of `scale` and an angle, as the image of level `scale`.
    fn wavelet(
        &self,
        slot: usize,
        (level, scale, angle): (usize, usize, usize),
        gain: f64,
        work: &mut Workspace,
    ) {
        let Workspace { images, frequencies, products, turned, scratch, .. } = work;
        let (from, to) = (&self.levels[level].bank, &self.levels[scale]);
        let (rows, columns, step) = (to.bank.rows, to.bank.columns, 1 << (scale - level));
        let (products, turned) = (&mut products[..rows * columns], &mut turned[..rows * columns]);
        let wavelet = &from.wavelets[scale - level][angle];
        dispatch(Multiply { frequencies: &frequencies[slot], wavelet, step, rows, products });
        to.columns.back.process_with_scratch(products, scratch);
        turn(products, turned, rows);
        to.rows.back.process_with_scratch(turned, scratch);
        let gain = (gain * step as f64 / (from.rows * from.columns) as f64) as f32;
        dispatch(Modulus { from: turned, gain, to: &mut images[scale] });
    }

    fn average(&self, level: usize, features: &mut [f32], work: &mut Workspace) {
        let Level { bank, averages, .. } = &self.levels[level];
        let (image, own) = (&work.images[level][..], &mut work.averages[..bank.rows]);
        dispatch(Average { image, bank, averages, own, features });
    }
}

/// Rows become columns; `width` is the length of a row.
fn turn(from: &[Complex32], to: &mut [Complex32], width: usize) {
    let height = from.len() / width;
    for (column, to) in to.chunks_exact_mut(height).enumerate() {
        for (to, from) in to.iter_mut().zip(from[column..].iter().step_by(width)) {
            *to = *from;
        }
    }
}

/// Products with a wavelet, summed over the frequencies that are the same on a grid that is `step` times coarser and has so
/// many rows. Without a step this is the product.
struct Multiply<'a> {
    frequencies: &'a [Complex32],
    wavelet: &'a [f32],
    step: usize,
    rows: usize,
    products: &'a mut [Complex32],
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Self { frequencies, wavelet, step, rows, products } = self;
        let fine = rows * step;
        let apart = products.len() / rows * fine;
        for (column, products) in products.chunks_exact_mut(rows).enumerate() {
            for part in 0..step * step {
                let start = column * fine + part / step * apart + part % step * rows;
                let pairs = frequencies[start..start + rows].iter().zip(&wavelet[start..start + rows]);
                let pairs = products.iter_mut().zip(pairs);
                if part == 0 {
                    pairs.for_each(|(to, (z, w))| *to = Complex32::new(z.re * w, z.im * w));
                } else {
                    pairs.for_each(|(to, (z, w))| *to = Complex32::new(to.re + z.re * w, to.im + z.im * w));
                }
            }
        }
    }
}

struct Modulus<'a> {
    from: &'a [Complex32],
    gain: f32,
    to: &'a mut [f32],
}

impl WithSimd for Modulus<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Self { from, gain, to } = self;
        to.iter_mut().zip(from).for_each(|(to, z)| *to = gain * (z.re * z.re + z.im * z.im).sqrt());
    }
}

/// Averages over windows, first along rows, then along columns.
struct Average<'a> {
    image: &'a [f32],
    bank: &'a Bank,
    averages: &'a [[f32; LANES]],
    own: &'a mut [[f32; LANES]],
    features: &'a mut [f32],
}

impl WithSimd for Average<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Self { image, bank, averages, own, features } = self;
        let outputs = bank.over_columns.len();
        for (block, averages) in averages.chunks_exact(bank.columns).enumerate() {
            for (rows, own) in image.chunks(4 * bank.columns).zip(own.chunks_mut(4)) {
                match own {
                    [a, b, c, d] => {
                        let [r, s, t, u] =
                            [0, 1, 2, 3].map(|row| &rows[row * bank.columns..][..averages.len()]);
                        [*a, *b, *c, *d] = weighted([r, s, t, u], averages);
                    }
                    few => {
                        for (own, row) in few.iter_mut().zip(rows.chunks_exact(bank.columns)) {
                            [*own] = weighted([row], averages);
                        }
                    }
                }
            }
            let from = block * LANES;
            let length = LANES.min(outputs - from);
            for (weights, features) in bank.over_rows.iter().zip(features.chunks_exact_mut(outputs)) {
                let [sums] = weighted([weights], own);
                features[from..from + length].copy_from_slice(&sums[..length]);
            }
        }
    }
}

/// Sums of vectors, with several rows of weights.
#[inline(always)]
fn weighted<const ROWS: usize>(weights: [&[f32]; ROWS], vectors: &[[f32; LANES]]) -> [[f32; LANES]; ROWS] {
    let mut sums = [[0.0; LANES]; ROWS];
    for (place, vector) in vectors.iter().enumerate() {
        for (sums, weights) in sums.iter_mut().zip(weights) {
            let weight = weights[place];
            for (sum, value) in sums.iter_mut().zip(vector) {
                *sum += weight * value;
            }
        }
    }
    sums
}
