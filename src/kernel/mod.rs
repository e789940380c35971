//! Training steps of small networks on one core, without a framework.
//!
//! A member is small: at batch 128 a framework spends most of a step on operations that are not products (pooling
//! and its gradient, ReLU, changes of layout) and on gradients that are zero. 2x2 max pooling hands the gradient to
//! one of four places, ReLU to half of what is left, so of a convolution's gradient seven eighths are products with
//! zero. The kernels here keep a sample in the cache from its first layer to its last convolution, pool while the
//! sums are in registers, and go back only along the places that pooling chose.
//!
//! Vector instructions are chosen when the program runs (`pulp`); the order of additions depends on the width of
//! vectors, so results agree to rounding between processors and bit for bit between runs on one.

// A loop's number runs over several arrays of registers at once.
#![allow(clippy::needless_range_loop)]

mod adam;
mod buffer;
mod conv;
mod dense;
mod discriminant;
mod network;
mod product;
mod rays;
mod ridge;
mod softmax;
mod symmetric;

pub use adam::Adam;
pub use buffer::Buffer;
pub use discriminant::discriminant;
pub use network::{Network, Workspace};
pub use rays::Rays;
pub use ridge::ridge;

use pulp::Simd;

/// The lanes that start at `at`.
#[inline(always)]
fn load<S: Simd>(values: &[f32], at: usize) -> S::f32s {
    S::as_simd_f32s(&values[at..at + S::F32_LANES]).0[0]
}

/// `value`, or NaN where `sum` is: what is not a number must reach the loss and the logits, whose check names the member.
#[inline(always)]
fn keep_nan<S: Simd>(simd: S, sum: S::f32s, value: S::f32s) -> S::f32s {
    simd.select_f32s(simd.equal_f32s(sum, sum), value, sum)
}

/// The lanes that start at `at`, to be written.
#[inline(always)]
fn lanes_mut<S: Simd>(values: &mut [f32], at: usize) -> &mut S::f32s {
    &mut S::as_mut_simd_f32s(&mut values[at..at + S::F32_LANES]).0[0]
}
