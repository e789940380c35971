//! Random changes of images: shifts, flips, affine maps, elastic displacements, one after another.
//!
//! What happens to a sample is a function of the stream of its place alone, so that batches and threads do not matter.
//! All channels of a sample are changed alike. Values between pixels are bilinear, and every neighbour outside the image is
//! the fill value; a place that falls on a pixel gives that pixel bit for bit.

mod augmenter;
mod before;
mod elastic;
mod warp;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::process;
use crate::seed::{MemberStreams, Role, Seed};
use crate::stop::Stop;
pub use augmenter::{Augment, Augmenter, Place, Recorded};
pub use before::FeatureMap;
#[cfg(feature = "training")]
pub(crate) use before::Originals;
use warp::Affine;
pub use warp::Pixel;

/// Steps of steps of steps: how deep a description may go.
const DEPTH: usize = 16;
/// Values below which other threads cost more than they save.
const SMALL: usize = 1 << 15;
/// Most pixels that a shift may be asked for, in each direction.
const FARTHEST: u32 = 1 << 16;
/// Largest smoothing width, in pixels.
const WIDEST: f64 = 64.0;

/// A random change of images; the JSON form is what records carry.
///
/// # Example
/// ```
/// use certssb::{Augmentation, Frame, Seed};
/// let shift = Augmentation::from_json(r#"{"kind": "shift", "pixels": [0, 1], "fill": 0.0}"#)?;
/// let frame = Frame { channels: 1, height: 1, width: 3 };
/// let mut images = vec![1.0f32, 2.0, 3.0, 1.0, 2.0, 3.0];
/// shift.apply(Seed::new(7), 0, 0, frame, &mut images)?;
/// assert!(images.chunks(3).all(|row| [[0.0, 1.0, 2.0], [1.0, 2.0, 3.0], [2.0, 3.0, 0.0]].contains(&[row[0], row[1], row[2]])));
/// # Ok::<(), certssb::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Augmentation {
    /// Moves by whole pixels, each number from -pixels to pixels equally likely: down, then right.
    Shift {
        /// Largest shift down and to the right.
        pixels: [u32; 2],
        /// What comes in from outside.
        fill: f64,
    },
    /// Mirrors with the given probabilities.
    Flip {
        /// Probability that left and right are exchanged.
        horizontal: f64,
        /// Probability that top and bottom are exchanged.
        vertical: f64,
    },
    /// x -> c + t + R(angle) S(shear) scale (x - c) about the image's centre c, all uniform in their intervals.
    Affine {
        /// Degrees, counterclockwise as the image is seen.
        angle: [f64; 2],
        /// Largest shift down and to the right, as shares of height and width.
        translate: [f64; 2],
        /// Factor of size.
        scale: [f64; 2],
        /// Degrees by which columns are slanted.
        shear: [f64; 2],
        /// What comes in from outside.
        fill: f64,
    },
    /// Displaces every pixel by a smooth Gaussian field of deviation alpha.
    Elastic {
        /// Standard deviation of each displacement, in pixels, down and to the right.
        alpha: f64,
        /// Standard deviation of the smoothing kernel, in pixels.
        sigma: f64,
        /// What comes in from outside.
        fill: f64,
    },
    /// One after another.
    Compose {
        /// In this order.
        steps: Vec<Augmentation>,
    },
}

/// Shape of one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Images that are changed alike.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Frame {
    fn plane(self) -> usize {
        self.height * self.width
    }

    pub(crate) fn len(self) -> usize {
        self.channels * self.plane()
    }
}

impl Augmentation {
    /// Reads a description and checks it.
    ///
    /// # Errors
    /// A parameter error for text that describes no augmentation, and for values outside their ranges.
    pub fn from_json(text: &str) -> Result<Self> {
        let read: Self = serde_json::from_str(text).map_err(|error| {
            Error::parameter(
                "augment",
                "the JSON description of an augmentation",
                format_args!("an error ({error})"),
            )
        })?;
        read.check(0)?;
        Ok(read)
    }

    fn check(&self, depth: usize) -> Result<()> {
        match self {
            Self::Shift { pixels, fill } => {
                if pixels.iter().any(|&p| p > FARTHEST) {
                    let got = format!("{pixels:?}");
                    return Err(Error::parameter("pixels", format_args!("at most {FARTHEST}"), got));
                }
                within("fill", *fill, f64::from(f32::MIN), f64::from(f32::MAX))
            }
            Self::Flip { horizontal, vertical } => {
                within("horizontal", *horizontal, 0.0, 1.0)?;
                within("vertical", *vertical, 0.0, 1.0)
            }
            Self::Affine { angle, translate, scale, shear, fill } => {
                interval("angle", *angle, -360.0, 360.0)?;
                within("translate", translate[0], 0.0, 1.0)?;
                within("translate", translate[1], 0.0, 1.0)?;
                interval("scale", *scale, 0.01, 100.0)?;
                interval("shear", *shear, -80.0, 80.0)?;
                within("fill", *fill, f64::from(f32::MIN), f64::from(f32::MAX))
            }
            Self::Elastic { alpha, sigma, fill } => {
                within("alpha", *alpha, 0.0, 1000.0)?;
                within("sigma", *sigma, 0.01, WIDEST)?;
                within("fill", *fill, f64::from(f32::MIN), f64::from(f32::MAX))
            }
            Self::Compose { .. } if depth >= DEPTH => {
                Err(Error::parameter("steps", format_args!("nested at most {DEPTH} deep"), "more"))
            }
            Self::Compose { steps } => steps.iter().try_for_each(|step| step.check(depth + 1)),
        }
    }

    /// Changes samples in place; `rows` are whole samples, the first of them at place `first` of member `member`.
    ///
    /// # Errors
    /// A shape error if `rows` are no whole samples; a device error if no thread can be started; `Cancelled` where the
    /// work is to stop, when some samples are changed and others are not.
    pub fn apply<T: Pixel>(
        &self,
        seed: Seed,
        member: u64,
        first: u64,
        frame: Frame,
        rows: &mut [T],
    ) -> Result<()> {
        let len = frame.len();
        if len == 0 || rows.is_empty() {
            return Ok(());
        }
        if !rows.len().is_multiple_of(len) {
            return Err(Error::shape("rows", format_args!("a multiple of {len} values"), rows.len()));
        }
        let streams = seed.member(Role::Augment, member);
        if rows.len() < SMALL {
            let mut scratch = Scratch::new(frame);
            for (place, row) in rows.chunks_exact_mut(len).enumerate() {
                self.one(&streams, first.wrapping_add(place as u64), frame, row, &mut scratch);
            }
            return Ok(());
        }
        let stop = Stop::current();
        let one = |scratch: &mut Scratch<T>, (place, row): (usize, &mut [T])| {
            stop.check()?;
            self.one(&streams, first.wrapping_add(place as u64), frame, row, scratch);
            Ok(())
        };
        let rows = rows.par_chunks_exact_mut(len).enumerate();
        process::install_each(rows, || Scratch::new(frame), one).map(|_| ())
    }

    fn one<T: Pixel>(
        &self,
        streams: &MemberStreams,
        sample: u64,
        frame: Frame,
        row: &mut [T],
        scratch: &mut Scratch<T>,
    ) {
        self.step(&mut streams.sample(sample), frame, row, scratch);
    }

    fn step<T: Pixel>(&self, rng: &mut ChaCha8Rng, frame: Frame, row: &mut [T], scratch: &mut Scratch<T>) {
        match self {
            Self::Shift { pixels, fill } => {
                let by = pixels.map(|most| whole(rng, most));
                if by != [0, 0] {
                    scratch.replace(frame, row, |old, new| warp::shift(frame, old, new, by, T::of(*fill)));
                }
            }
            Self::Flip { horizontal, vertical } => {
                let (across, over) = (unit(rng) < *horizontal, unit(rng) < *vertical);
                if across {
                    row.chunks_exact_mut(frame.width).for_each(<[T]>::reverse);
                }
                if over {
                    for plane in row.chunks_exact_mut(frame.plane()) {
                        warp::upside_down(plane, frame.width);
                    }
                }
            }
            Self::Affine { angle, translate, scale, shear, fill } => {
                let (angle, scale, shear) =
                    (between(rng, *angle), between(rng, *scale), between(rng, *shear));
                let down = between(rng, [-translate[0], translate[0]]) * frame.height as f64;
                let right = between(rng, [-translate[1], translate[1]]) * frame.width as f64;
                let map = Affine::new(angle, scale, shear, [down, right]);
                scratch.replace(frame, row, |old, new| {
                    warp::warp(frame, old, new, T::of(*fill), |r, c| map.source(frame, r, c));
                });
            }
            Self::Elastic { alpha, sigma, fill } => {
                let own = Seed::new(rng.next_u64()).member(Role::Displacement, 0);
                let field = &mut scratch.field;
                field.draw(&own, frame, *alpha, *sigma);
                let [down, right] = field.displacements();
                let width = frame.width;
                let images = &mut scratch.images;
                replace(images, frame, row, |old, new| {
                    warp::warp(frame, old, new, T::of(*fill), |r, c| {
                        let at = r * width + c;
                        [r as f64 + f64::from(down[at]), c as f64 + f64::from(right[at])]
                    });
                });
            }
            Self::Compose { steps } => {
                for step in steps {
                    step.step(rng, frame, row, scratch);
                }
            }
        }
    }
}

/// What one thread needs beside the sample.
struct Scratch<T> {
    images: Vec<T>,
    field: elastic::Field,
}

impl<T: Pixel> Scratch<T> {
    fn new(frame: Frame) -> Self {
        Self { images: Vec::with_capacity(frame.len()), field: elastic::Field::default() }
    }

    fn replace(&mut self, frame: Frame, row: &mut [T], change: impl Fn(&[T], &mut [T])) {
        replace(&mut self.images, frame, row, change);
    }
}

/// Runs `change` from a copy of each channel into the channel.
fn replace<T: Pixel>(images: &mut Vec<T>, frame: Frame, row: &mut [T], change: impl Fn(&[T], &mut [T])) {
    images.clear();
    images.extend_from_slice(row);
    for (old, new) in images.chunks_exact(frame.plane()).zip(row.chunks_exact_mut(frame.plane())) {
        change(old, new);
    }
}

/// Uniform on the multiples of 2^-53 in [0, 1).
fn unit(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

fn between(rng: &mut ChaCha8Rng, [low, high]: [f64; 2]) -> f64 {
    let u = unit(rng);
    if low == high {
        low
    } else {
        low + u * (high - low)
    }
}

/// From -most to most; no number's probability is off by more than 2^-64.
fn whole(rng: &mut ChaCha8Rng, most: u32) -> i64 {
    let count = 2 * u128::from(most) + 1;
    ((u128::from(rng.next_u64()) * count) >> 64) as i64 - i64::from(most)
}

fn within(name: &str, value: f64, low: f64, high: f64) -> Result<()> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(Error::parameter(name, format_args!("a float in the range [{low}, {high}]"), value))
}

fn interval(name: &str, [first, last]: [f64; 2], low: f64, high: f64) -> Result<()> {
    within(name, first, low, high)?;
    within(name, last, low, high)?;
    if first <= last {
        return Ok(());
    }
    Err(Error::parameter(name, "an interval (low, high) with low <= high", format_args!("({first}, {last})")))
}

#[cfg(test)]
mod tests;
