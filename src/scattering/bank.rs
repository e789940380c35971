//! The filters of one resolution, and the proof that they lengthen nothing.
//!
//! A layer takes a real image z to z * phi and the |z * psi_f|, each at every s_f-th pixel and times s_f, where s_f is the
//! scale of the filter. The modulus lengthens nothing, so a layer is 1-Lipschitz if its linear part T is. In the orthonormal
//! Fourier basis, T sums the values of z psi_f over the frequencies that are equal modulo the coarser grid, so that T*T has the
//! entries psi_f(w) psi_f(v) for such w and v; for real z it may be averaged with its mirror image under w -> -w. No
//! eigenvalue is above the largest row sum of absolute values (Gershgorin 1931):
//!
//! ```text
//! |T z|^2 <= |z|^2 max_w R(w),   R(w) = sum_f (r_f(w) + r_f(-w)) / 2,   r_f(w) = |psi_f(w)| sum_{v = w} |psi_f(v)|
//! ```
//!
//! Without the aliases v != w this is the sum of Littlewood and Paley. phi and the psi are multiplied by the largest constants
//! a and c with R <= 1 everywhere.

use std::f64::consts::{PI, TAU};

/// Width of the envelope at scale 0, in pixels, and the wavelets' central frequency (those of the literature's software).
const WIDTH: f64 = 0.8;
const CENTRE: f64 = 0.75 * PI;

/// What is left of a constant after the rounding of filters to single precision.
const ROUNDED: f64 = 1.0 - 1e-6;

/// Filters on a grid of rows x columns, whose coarsest scale is `scales`.
pub(super) struct Bank {
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// The wavelets by scale, then angle: real values at each frequency, column by column.
    pub(super) wavelets: Vec<Vec<Vec<f32>>>,
    /// Weights of pixels in the averages, for every 2^scales-th row and column: (averages, pixels).
    pub(super) over_rows: Vec<Vec<f32>>,
    pub(super) over_columns: Vec<Vec<f32>>,
    /// What the wavelets of all scales may be multiplied with, and what those above scale 0 may if that one is left out.
    pub(super) gain: f64,
    pub(super) gain_above: f64,
}

impl Bank {
    pub(super) fn new(rows: usize, columns: usize, scales: u32, angles: usize) -> Self {
        let (low_rows, low_columns) = (gaussian(rows, scales), gaussian(columns, scales));
        let low: Vec<f64> = low_columns.iter().flat_map(|x| low_rows.iter().map(move |y| x * y)).collect();
        let low_sums = row_sums(&low, rows, columns, 1 << scales);
        let share = ROUNDED / low_sums.iter().copied().fold(0.0, f64::max);
        let mut wavelets = Vec::new();
        let mut sums = vec![vec![0.0; rows * columns]; 2];
        for scale in 0..scales {
            let own: Vec<Vec<f64>> =
                (0..angles).map(|angle| morlet(rows, columns, scale, angle, angles)).collect();
            for wavelet in &own {
                for (place, value) in row_sums(wavelet, rows, columns, 1 << scale).iter().enumerate() {
                    sums[0][place] += value;
                    sums[1][place] += if scale > 0 { *value } else { 0.0 };
                }
            }
            let rounded = |wavelet: &Vec<f64>| wavelet.iter().map(|value| *value as f32).collect();
            wavelets.push(own.iter().map(rounded).collect());
        }
        let gain = |sums: &[f64]| {
            let left = low_sums.iter().zip(sums).filter(|(_, sum)| **sum > 1e-30);
            let most = left.map(|(low, sum)| (1.0 - share * low) / sum).fold(f64::INFINITY, f64::min);
            // Without wavelets any number would do.
            if most.is_finite() {
                most.max(0.0).sqrt() * ROUNDED
            } else {
                0.0
            }
        };
        Self {
            rows,
            columns,
            wavelets,
            over_rows: averages(&low_rows, scales, share),
            over_columns: averages(&low_columns, scales, share),
            gain: gain(&sums[0]),
            gain_above: gain(&sums[1]),
        }
    }
}

/// R of one filter: the largest absolute values that it adds to each row of T*T.
pub(super) fn row_sums(filter: &[f64], rows: usize, columns: usize, step: usize) -> Vec<f64> {
    let (coarse_rows, coarse_columns) = (rows / step, columns / step);
    let class = |x: usize, y: usize| x % coarse_columns * coarse_rows + y % coarse_rows;
    let mut classes = vec![0.0; coarse_rows * coarse_columns];
    for (place, value) in filter.iter().enumerate() {
        classes[class(place / rows, place % rows)] += value.abs();
    }
    let one = |x: usize, y: usize| filter[x * rows + y].abs() * classes[class(x, y)];
    let both = |place: usize| {
        let (x, y) = (place / rows, place % rows);
        (one(x, y) + one((columns - x) % columns, (rows - y) % rows)) / 2.0
    };
    (0..filter.len()).map(both).collect()
}

/// exp(-w^2 s^2 / 2) with s = 0.8 2^scale at the frequencies of so many pixels, those of a sampled Gaussian; 1 at 0.
fn gaussian(pixels: usize, scale: u32) -> Vec<f64> {
    let width = WIDTH * f64::from(1_u32 << scale);
    let at = |frequency: f64| (-0.5 * (frequency * width).powi(2)).exp();
    let sum = |k: usize| -> f64 {
        (-8..=8).map(|turn| at(TAU * (k as f64 / pixels as f64 + f64::from(turn)))).sum()
    };
    (0..pixels).map(|k| sum(k) / sum(0)).collect()
}

/// The weights with which pixels enter the averages along one side, from the frequencies of the average. `share` is the
/// square of the constant a, and an average over every s-th pixel of both sides is times s.
fn averages(frequencies: &[f64], scales: u32, share: f64) -> Vec<Vec<f32>> {
    let (pixels, step) = (frequencies.len(), 1_usize << scales);
    let gain = share.powf(0.25) * (step as f64).sqrt() / pixels as f64;
    let weight = |lag: usize| -> f64 {
        let turn = |k: usize| TAU * ((k * lag) % pixels) as f64 / pixels as f64;
        frequencies.iter().enumerate().map(|(k, value)| value * turn(k).cos()).sum::<f64>() * gain
    };
    let weights: Vec<f64> = (0..pixels).map(weight).collect();
    let row =
        |to: usize| (0..pixels).map(|from| weights[(to * step + pixels - from) % pixels] as f32).collect();
    (0..pixels / step).map(row).collect()
}

/// A Morlet wavelet at each frequency, column by column, those of the sampled and repeated wavelet: a Gaussian around the
/// central frequency, less as much of one around 0 as makes the mean 0.
///
/// Its envelope has the width s = 0.8 2^scale along its direction and s L / 4 across (so that L angles cover the half
/// circle), its central frequency is 3 pi / 4 / 2^scale.
fn morlet(rows: usize, columns: usize, scale: u32, angle: usize, angles: usize) -> Vec<f64> {
    let dilation = f64::from(1_u32 << scale);
    let (width, across) = (WIDTH * dilation, 4.0 / angles as f64);
    let (sine, cosine) = (PI * angle as f64 / angles as f64).sin_cos();
    let centre = CENTRE / dilation;
    // Turns by 2 pi beyond which the envelope is below exp(-40).
    let turns = (9.0 * across.max(1.0) / width / TAU).ceil() as i32 + 1;
    let envelope = |x: f64, y: f64, centre: f64| {
        let mut sum = 0.0;
        for right in -turns..=turns {
            for down in -turns..=turns {
                let (x, y) = (x + TAU * f64::from(right), y + TAU * f64::from(down));
                let (along, beside) = (x * cosine + y * sine - centre, y * cosine - x * sine);
                let exponent = 0.5 * width * width * (along * along + (beside / across).powi(2));
                if exponent < 40.0 {
                    sum += (-exponent).exp();
                }
            }
        }
        sum
    };
    let share = envelope(0.0, 0.0, centre) / envelope(0.0, 0.0, 0.0);
    let at = |place: usize| {
        let (x, y) =
            (TAU * (place / rows) as f64 / columns as f64, TAU * (place % rows) as f64 / rows as f64);
        match place {
            0 => 0.0,
            _ => envelope(x, y, centre) - share * envelope(x, y, 0.0),
        }
    };
    (0..rows * columns).map(at).collect()
}
