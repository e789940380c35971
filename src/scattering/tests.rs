#![allow(clippy::unwrap_used)]

use std::f64::consts::{PI, TAU};
use std::sync::atomic::AtomicBool;

use super::bank::row_sums;
use super::*;
use crate::stop::until;
use crate::vectors::with_each;

fn frame(channels: usize, height: usize, width: usize) -> Frame {
    Frame { channels, height, width }
}

fn noise(n: usize, seed: usize) -> Vec<f32> {
    let word = |i: usize| ((i + seed * 7919 + 1) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (0..n)
        .map(|i| {
            ((word(i) ^ (word(i) >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40) as f32 / 16_777_216.0
        })
        .collect()
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum::<f64>().sqrt()
}

fn apart(a: &[f32], b: &[f32]) -> f64 {
    norm(a.iter().zip(b).map(|(a, b)| f64::from(*a) - f64::from(*b)))
}

/// Images as values by row and column, in double precision.
struct Plane {
    rows: usize,
    columns: usize,
    /// Real and imaginary part.
    values: Vec<[f64; 2]>,
}

impl Plane {
    fn of(rows: usize, columns: usize, value: impl Fn(usize, usize) -> [f64; 2]) -> Self {
        let values = (0..rows * columns).map(|i| value(i / columns, i % columns)).collect();
        Self { rows, columns, values }
    }

    /// Every `step`-th pixel of the circular convolution with a filter that is given at every lag.
    fn filtered(&self, filter: &Plane, step: usize) -> Plane {
        Plane::of(self.rows / step, self.columns / step, |row, column| {
            let mut sum = [0.0; 2];
            for y in 0..self.rows {
                for x in 0..self.columns {
                    let [lag, beside] = [
                        (row * step + self.rows - y) % self.rows,
                        (column * step + self.columns - x) % self.columns,
                    ];
                    let ([a, b], [c, d]) =
                        (self.values[y * self.columns + x], filter.values[lag * self.columns + beside]);
                    sum = [sum[0] + a * c - b * d, sum[1] + a * d + b * c];
                }
            }
            sum
        })
    }

    fn modulus(mut self, gain: f64) -> Self {
        self.values.iter_mut().for_each(|value| *value = [gain * value[0].hypot(value[1]), 0.0]);
        self
    }
}

/// The literature's Morlet wavelet, pixel by pixel: a Gaussian times a wave, repeated with the grid, less a Gaussian.
fn morlet(rows: usize, columns: usize, scale: u32, angle: f64, slant: f64) -> Plane {
    let (width, centre) = (0.8 * f64::from(1 << scale), 0.75 * PI / f64::from(1 << scale));
    let gabor = |centre: f64| {
        Plane::of(rows, columns, |y, x| {
            let mut sum = [0.0; 2];
            for down in -6..=6 {
                for right in -6..=6 {
                    let (y, x) = (
                        y as f64 + f64::from(down) * rows as f64,
                        x as f64 + f64::from(right) * columns as f64,
                    );
                    let along = x * angle.cos() + y * angle.sin();
                    let beside = y * angle.cos() - x * angle.sin();
                    let envelope =
                        (-(along * along + slant * slant * beside * beside) / (2.0 * width * width)).exp();
                    let envelope = envelope * slant / (TAU * width * width);
                    sum = [
                        sum[0] + envelope * (centre * along).cos(),
                        sum[1] + envelope * (centre * along).sin(),
                    ];
                }
            }
            sum
        })
    };
    let (mut wave, still) = (gabor(centre), gabor(0.0));
    let sum = |plane: &Plane, part: usize| plane.values.iter().map(|value| value[part]).sum::<f64>();
    let share = [sum(&wave, 0) / sum(&still, 0), sum(&wave, 1) / sum(&still, 0)];
    for (wave, still) in wave.values.iter_mut().zip(&still.values) {
        *wave = [wave[0] - share[0] * still[0], wave[1] - share[1] * still[0]];
    }
    wave
}

fn gaussian(rows: usize, columns: usize, scale: u32) -> Plane {
    let width = 0.8 * f64::from(1 << scale);
    let plane = Plane::of(rows, columns, |y, x| {
        let side = |place: usize, length: usize| -> f64 {
            (-12..=12)
                .map(|turn| place as f64 + f64::from(turn) * length as f64)
                .map(|t| (-t * t / (2.0 * width * width)).exp())
                .sum()
        };
        [side(y, rows) * side(x, columns), 0.0]
    });
    let sum: f64 = plane.values.iter().map(|value| value[0]).sum();
    Plane { values: plane.values.iter().map(|value| [value[0] / sum, 0.0]).collect(), ..plane }
}

/// S as its formula says, with sums over pixels; the filters' constants are the bank's.
fn by_the_formula(image: &[f32], rows: usize, columns: usize, scales: u32, angles: usize) -> Vec<f64> {
    let slant = 4.0 / angles as f64;
    let input = Plane::of(rows, columns, |y, x| [f64::from(image[y * columns + x]), 0.0]);
    let bank = |level: u32| Bank::new(rows >> level, columns >> level, scales - level, angles);
    let low = |plane: &Plane, level: u32| -> Vec<f64> {
        let step = 1 << (scales - level);
        let sums: f64 = bank(level).over_rows[0].iter().map(|weight| f64::from(*weight)).sum();
        let beside: f64 = bank(level).over_columns[0].iter().map(|weight| f64::from(*weight)).sum();
        let filtered = plane.filtered(&gaussian(plane.rows, plane.columns, scales - level), step);
        // The weights sum to the square root of the constant and of the step.
        filtered.values.iter().map(|value| value[0] * sums * beside).collect()
    };
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for scale in 0..scales {
        for angle in (0..angles).map(|angle| PI * angle as f64 / angles as f64) {
            let step = 1 << scale;
            let wave = input.filtered(&morlet(rows, columns, scale, angle, slant), step);
            let modulus = wave.modulus(bank(0).gain * f64::from(step as u32));
            first.extend(low(&modulus, scale));
            for coarser in scale + 1..scales {
                for angle in (0..angles).map(|angle| PI * angle as f64 / angles as f64) {
                    let step = 1 << (coarser - scale);
                    let wavelet = morlet(modulus.rows, modulus.columns, coarser - scale, angle, slant);
                    let again = modulus
                        .filtered(&wavelet, step)
                        .modulus(bank(scale).gain_above * f64::from(step as u32));
                    second.extend(low(&again, coarser));
                }
            }
        }
    }
    [low(&input, 0), first, second].concat()
}

#[test]
fn follows_the_formulas_with_every_set_of_instructions() {
    with_each(|name| {
        for (rows, columns, scales, angles) in [(8, 12, 2, 3), (16, 8, 3, 2), (4, 4, 1, 5), (6, 10, 1, 4)] {
            let image = noise(rows * columns, 3);
            let scattering = Scattering::new(scales as usize, angles, 2, false, false).unwrap();
            let features = scattering.apply(frame(1, rows, columns), &image).unwrap();
            let expected = by_the_formula(&image, rows, columns, scales, angles);
            assert_eq!(features.len(), expected.len());
            for (place, (value, expected)) in features.iter().zip(&expected).enumerate() {
                let off = (f64::from(*value) - expected).abs();
                assert!(
                    off < 3e-6,
                    "{name} {rows} x {columns}, J={scales}: {value} for {expected} at {place}"
                );
            }
        }
    });
}

/// With the filters as they are stored: R is nowhere above 1, and the constants are the largest.
#[test]
fn no_layer_of_the_bank_lengthens_anything() {
    for (rows, columns, scales, angles) in [
        (32, 32, 2, 8),
        (28, 28, 2, 8),
        (8, 12, 2, 3),
        (16, 8, 3, 1),
        (4, 4, 2, 8),
        (2, 2, 1, 64),
        (96, 40, 3, 6),
        (64, 64, 5, 4),
    ] {
        let bank = Bank::new(rows, columns, scales, angles);
        let step = 1 << scales;
        // The Gaussian's frequencies from its weights, which carry the constants and the root of the step.
        let side = |weights: &[Vec<f32>]| -> Vec<f64> {
            let n = weights[0].len();
            let at = |k: usize, lag: usize| TAU * ((k * lag) % n) as f64 / n as f64;
            let value = |k: usize| {
                (0..n).map(|from| f64::from(weights[0][(n - from) % n]) * at(k, from).cos()).sum::<f64>()
            };
            (0..n).map(|k| value(k) / f64::from(step as u32).sqrt()).collect()
        };
        let (over_rows, over_columns) = (side(&bank.over_rows), side(&bank.over_columns));
        let low: Vec<f64> = over_columns.iter().flat_map(|x| over_rows.iter().map(move |y| x * y)).collect();
        for (from, gain) in [(0, bank.gain), (1, bank.gain_above)] {
            let mut sums = row_sums(&low, rows, columns, step);
            for (scale, wavelets) in bank.wavelets.iter().enumerate().skip(from) {
                for wavelet in wavelets {
                    let wavelet: Vec<f64> = wavelet.iter().map(|value| f64::from(*value) * gain).collect();
                    let own = row_sums(&wavelet, rows, columns, 1 << scale);
                    sums.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
                }
            }
            let most = sums.iter().copied().fold(0.0, f64::max);
            assert!(most <= 1.0 && most > 1.0 - 1e-5, "{rows} x {columns}, J={scales}, L={angles}: {most}");
            let reached = sums.iter().filter(|sum| **sum > 1.0 - 1e-5).count();
            assert!(
                reached > 1 || from as u32 + 1 > scales - 1,
                "the wavelets' constant is the largest: {reached}"
            );
        }
    }
}

/// Pairs that chance would not find: those that a climb lengthens most, step by step.
#[test]
fn no_change_is_lengthened() {
    for (shape, scales, angles) in
        [(frame(1, 16, 16), 2, 8), (frame(2, 13, 18), 1, 4), (frame(1, 24, 24), 3, 6)]
    {
        let scattering = Scattering::new(scales, angles, 2, false, false).unwrap();
        let stretched = |x: &[f32], change: &[f32]| -> f64 {
            let moved: Vec<f32> = x.iter().zip(change).map(|(x, change)| x + change).collect();
            let [from, to] = [x, &moved].map(|values| scattering.apply(shape, values).unwrap());
            apart(&from, &to) / apart(x, &moved)
        };
        let size = shape.len();
        let mut most = 0.0_f64;
        for seed in 0..8 {
            let mut x: Vec<f32> = noise(size, seed).iter().map(|value| value * (seed % 3) as f32).collect();
            let mut change: Vec<f32> = match seed {
                0 => vec![1.0; size],
                1 => (0..size).map(|i| f32::from(i == size / 3)).collect(),
                2 => (0..size)
                    .map(|i| ((i % shape.width) as f32 * 0.75 * std::f32::consts::PI).cos())
                    .collect(),
                _ => noise(size, seed + 50).iter().map(|value| value - 0.5).collect(),
            };
            let mut best = stretched(&x, &change);
            for turn in 0..150 {
                let step = |values: &[f32], seed: usize| -> Vec<f32> {
                    values.iter().zip(noise(size, seed)).map(|(value, by)| value + 0.1 * (by - 0.5)).collect()
                };
                let (moved, other) = (step(&x, turn * 31 + seed), step(&change, turn * 17 + seed + 999));
                let found = stretched(&moved, &other);
                if found > best {
                    (best, x, change) = (found, moved, other);
                }
            }
            most = most.max(best);
        }
        assert!(most <= 1.0 + 1e-5, "{most}");
        assert!(most > 0.95, "a change of all pixels alike nearly keeps its length: {most}");
    }
}

#[test]
fn an_image_by_itself_is_what_it_is_among_others() {
    let (shape, images) = (frame(3, 17, 12), noise(3 * 17 * 12 * 5, 1));
    for (root, normalize) in [(false, false), (true, true)] {
        let scattering = Scattering::new(2, 3, 2, root, normalize).unwrap();
        let together = scattering.apply(shape, &images).unwrap();
        let alone: Vec<f32> =
            images.chunks(shape.len()).flat_map(|image| scattering.apply(shape, image).unwrap()).collect();
        assert_eq!(together, alone);
        assert_eq!(together.len(), scattering.frame(shape).unwrap().len() * 5);
    }
}

#[test]
fn root_and_norm_come_after() {
    let (shape, image) = (frame(1, 8, 8), noise(64, 9));
    let made =
        |root, normalize| Scattering::new(2, 4, 2, root, normalize).unwrap().apply(shape, &image).unwrap();
    let (plain, rooted, both) = (made(false, false), made(true, false), made(true, true));
    let length = norm(rooted.iter().map(|value| f64::from(*value)));
    for ((plain, rooted), both) in plain.iter().zip(&rooted).zip(&both) {
        assert!((rooted * rooted - plain.abs()).abs() < 1e-6 && rooted.signum() == plain.signum());
        assert!((f64::from(*both) - f64::from(*rooted) / length).abs() < 1e-7);
    }
    let nothing = Scattering::new(1, 2, 2, true, true).unwrap().apply(shape, &[0.0; 64]).unwrap();
    assert!(nothing.iter().all(|value| *value == 0.0));
}

#[test]
fn the_first_order_is_the_beginning_of_the_second() {
    let (shape, image) = (frame(1, 12, 12), noise(144, 2));
    let made = |order| Scattering::new(2, 4, order, false, false).unwrap().apply(shape, &image).unwrap();
    let (first, second) = (made(1), made(2));
    assert_eq!(first.len(), 9 * 9);
    assert_eq!(second.len(), 25 * 9);
    assert_eq!(first, second[..first.len()]);
}

#[test]
fn bad_values_are_refused_and_the_work_stops() {
    for (scales, angles, order) in [(0, 8, 2), (11, 8, 2), (2, 0, 2), (2, 65, 2), (2, 8, 0), (2, 8, 3)] {
        assert!(Scattering::new(scales, angles, order, false, false).is_err());
    }
    let scattering = Scattering::new(3, 2, 2, false, false).unwrap();
    let message = scattering.apply(frame(1, 8, 7), &[0.0; 56]).unwrap_err().to_string();
    assert!(message.contains("at least 8 x 8, the window of J=3"), "{message}");
    assert!(scattering.apply(frame(1, 8, 8), &[0.0; 63]).is_err());
    let stopped = until(&Arc::new(AtomicBool::new(true)), || scattering.apply(frame(1, 8, 8), &[0.0; 64]));
    assert_eq!(*stopped.unwrap_err().kind(), crate::ErrorKind::Cancelled);
}

#[test]
#[cfg(target_os = "linux")]
fn images_whose_filters_no_memory_holds_are_refused_even_without_images() {
    let scattering = Scattering::new(2, 8, 2, false, false).unwrap();
    for (height, width) in [(1 << 22, 1 << 22), (4, 1 << 29), (1 << 29, 4)] {
        let refused = scattering.apply(frame(1, height, width), &[]).unwrap_err();
        assert_eq!(*refused.kind(), crate::ErrorKind::Shape, "{refused}");
    }
}
