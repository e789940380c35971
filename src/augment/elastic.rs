//! A smooth random field of displacements: white noise under a Gaussian kernel, scaled to a stated deviation.

use super::Frame;
use crate::noise;
use crate::seed::MemberStreams;

/// Deviations at which the kernel ends.
const REACH: f64 = 3.0;

/// Displacements down and to the right, and what is needed to draw them.
///
/// White noise lies on a grid that is wider than the image by the kernel's reach on every side, and the kernel's squares sum
/// to 1: every displacement is normal with deviation alpha, at the edge as in the middle.
#[derive(Debug, Default)]
pub(super) struct Field {
    kernel: Vec<f32>,
    white: Vec<f32>,
    lines: Vec<f32>,
    smooth: [Vec<f32>; 2],
}

impl Field {
    pub(super) fn displacements(&self) -> [&[f32]; 2] {
        [&self.smooth[0], &self.smooth[1]]
    }

    /// One field each from samples 0 and 1 of `streams`.
    pub(super) fn draw(&mut self, streams: &MemberStreams, frame: Frame, alpha: f64, sigma: f64) {
        fill_kernel(&mut self.kernel, sigma);
        let (height, width, margin) = (frame.height, frame.width, self.kernel.len() - 1);
        let wide = width + margin;
        for (number, smooth) in self.smooth.iter_mut().enumerate() {
            self.white.clear();
            self.white.resize((height + margin) * wide, 0.0);
            noise::add_normals(streams, number as u64, alpha as f32, &mut self.white);
            // Down first, over whole rows.
            self.lines.clear();
            self.lines.resize(height * wide, 0.0);
            for (r, line) in self.lines.chunks_exact_mut(wide).enumerate() {
                for (&weight, above) in self.kernel.iter().zip(self.white[r * wide..].chunks_exact(wide)) {
                    add(line, weight, above);
                }
            }
            smooth.clear();
            smooth.resize(height * width, 0.0);
            for (new, line) in smooth.chunks_exact_mut(width).zip(self.lines.chunks_exact(wide)) {
                for (k, &weight) in self.kernel.iter().enumerate() {
                    add(new, weight, &line[k..]);
                }
            }
        }
    }
}

#[inline(always)]
fn add(sum: &mut [f32], weight: f32, values: &[f32]) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += weight * value;
    }
}

/// exp(-d^2 / 2 sigma^2) at whole distances, with squares that sum to 1.
fn fill_kernel(kernel: &mut Vec<f32>, sigma: f64) {
    let reach = (REACH * sigma).ceil() as i64;
    let weight = |d: i64| libm::exp(-0.5 * (d as f64 / sigma) * (d as f64 / sigma));
    let norm = (-reach..=reach).map(|d| weight(d) * weight(d)).sum::<f64>().sqrt();
    kernel.clear();
    kernel.extend((-reach..=reach).map(|d| (weight(d) / norm) as f32));
}
