//! The wavelet scattering transform of images: fixed features that need no training and lengthen no change.
//!
//! Cascades of wavelet filters and moduli, averaged over windows of 2^J pixels (Mallat 2012; Bruna and Mallat 2013). With
//! phi_J a Gaussian and psi_{j,t} Morlet wavelets of scales j < J and angles t < L,
//!
//! ```text
//! S0 = x * phi_J      S1 = |x * psi_{j,t}| * phi_J      S2 = ||x * psi_{j,t}| * psi_{k,u}| * phi_J,   k > j
//! ```
//!
//! each taken at every 2^J-th pixel. `bank.rs` makes the filters and proves that no layer lengthens a change; `transform.rs`
//! computes with them.

mod bank;
mod transform;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use rayon::prelude::*;

use crate::augment::Frame;
use crate::error::{Error, Result};
use crate::process::{self, within_a_moment};
use crate::size;
use crate::stop::Stop;
use bank::Bank;
use transform::{Plan, Workspace};

/// Most scales, and most angles, that may be asked for.
const MOST: usize = 64;

/// A scattering transform.
///
/// | name | purpose | range |
/// |---|---|---|
/// | scales | J: features are averaged over windows of 2^J pixels, and lie that far apart | 1 to 10 |
/// | angles | L: wavelets of each scale | 1 to 64 |
/// | order | moduli one after another | 1 or 2 |
/// | root | replaces each value v by sign(v) sqrt(abs(v)) | |
/// | normalize | divides the features of each image by their norm | |
///
/// Without `root` and `normalize` it is 1-Lipschitz in the L2 norm, up to the rounding of single precision; with either it
/// is not.
///
/// # Example
/// ```
/// use certssb::{Frame, Scattering};
/// let scattering = Scattering::new(2, 8, 2, false, false)?;
/// let frame = Frame { channels: 1, height: 28, width: 28 };
/// let out = scattering.frame(frame)?;
/// assert_eq!((out.channels, out.height, out.width), (1 + 2 * 8 + 64, 7, 7));
///
/// let (black, white) = (vec![0.0_f32; 784], vec![1.0_f32; 784]);
/// let [black, white] = [scattering.apply(frame, &black)?, scattering.apply(frame, &white)?];
/// let apart: f32 = black.iter().zip(&white).map(|(a, b)| (a - b).powi(2)).sum();
/// assert!(apart.sqrt() < 28.001);
/// # Ok::<(), certssb::Error>(())
/// ```
#[derive(Debug)]
pub struct Scattering {
    scales: u32,
    angles: usize,
    order: usize,
    root: bool,
    normalize: bool,
    /// Filters by height and width: they take longer to make than an image to transform.
    plans: Mutex<HashMap<(usize, usize), Arc<Plan>>>,
}

impl Scattering {
    /// # Errors
    /// A parameter error outside the ranges of the table.
    pub fn new(scales: usize, angles: usize, order: usize, root: bool, normalize: bool) -> Result<Self> {
        if !(1..=10).contains(&scales) {
            return Err(Error::parameter("J", "an integer from 1 to 10", scales));
        }
        if !(1..=MOST).contains(&angles) {
            return Err(Error::parameter("angles", format_args!("an integer from 1 to {MOST}"), angles));
        }
        if !(1..=2).contains(&order) {
            return Err(Error::parameter("order", "1 or 2", order));
        }
        Ok(Self { scales: scales as u32, angles, order, root, normalize, plans: Mutex::default() })
    }

    /// Features of each channel: 1 + J L, and L^2 J (J - 1) / 2 more of the second order.
    fn paths(&self) -> usize {
        let (scales, angles) = (self.scales as usize, self.angles);
        let second = if self.order == 2 { angles * angles * scales * (scales - 1) / 2 } else { 0 };
        1 + scales * angles + second
    }

    /// Shape of the features of images of a shape: the paths of the first channel, then those of the next.
    ///
    /// # Errors
    /// A shape error for images that are smaller than the window of 2^J pixels, and for those whose filters no memory holds.
    pub fn frame(&self, images: Frame) -> Result<Frame> {
        let window = 1_usize << self.scales;
        if images.height.min(images.width) < window || images.channels == 0 {
            return Err(Error::shape(
                "X",
                format_args!("images of at least {window} x {window}, the window of J={}", self.scales),
                format_args!("{} channels of {} x {}", images.channels, images.height, images.width),
            ));
        }
        // Filters are made for a size of images, before one is looked at, and there may be none: memory has to hold them.
        let (rows, columns) = (images.height, images.width);
        size::fits("X", &[rows, columns, (self.scales as usize + 1) * self.angles + 8], size_of::<f64>())?;
        for side in [rows, columns] {
            size::fits("X", &[side, side.div_ceil(window)], size_of::<f32>())?;
        }
        let channels = size::product("X", &[images.channels, self.paths()])?;
        let along = |side: usize| side.div_ceil(window);
        Ok(Frame { channels, height: along(images.height), width: along(images.width) })
    }

    /// The features of images that lie one after another. Each is computed by itself: its features do not depend on which
    /// others it came with.
    ///
    /// # Errors
    /// A shape error for images that are too small, for values that are no whole images and for features that no memory
    /// holds; a device error if no thread can be started; `Cancelled` where the work is to stop.
    pub fn apply(&self, images: Frame, values: &[f32]) -> Result<Vec<f32>> {
        let out = self.frame(images)?;
        let (from, to) = (images.len(), out.len());
        if !values.len().is_multiple_of(from) {
            return Err(Error::shape("X", format_args!("a multiple of {from} values"), values.len()));
        }
        size::fits("features", &[values.len() / from, to], size_of::<f32>())?;
        let mut features = vec![0.0; values.len() / from * to];
        let plan = self.plan(images.height, images.width);
        let stop = Stop::current();
        let one = |work: &mut Workspace, (image, features): (&[f32], &mut [f32])| {
            stop.check()?;
            let planes = image.chunks_exact(from / images.channels);
            for (plane, features) in planes.zip(features.chunks_exact_mut(to / images.channels)) {
                plan.scatter(plane, features, work);
            }
            self.finish(features);
            Ok(())
        };
        let images = values.par_chunks_exact(from).zip(features.par_chunks_exact_mut(to));
        process::install_each(images, || Workspace::new(&plan), one)?;
        Ok(features)
    }

    fn finish(&self, features: &mut [f32]) {
        if self.root {
            features.iter_mut().for_each(|value| *value = value.abs().sqrt().copysign(*value));
        }
        if self.normalize {
            let norm = features.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
            if norm > 0.0 {
                let factor = 1.0 / norm;
                features.iter_mut().for_each(|value| *value = (f64::from(*value) * factor) as f32);
            }
        }
    }

    fn plan(&self, height: usize, width: usize) -> Arc<Plan> {
        let size = (height, width);
        let known = within_a_moment(|| self.plans.try_lock()).and_then(|plans| plans.get(&size).cloned());
        if let Some(plan) = known {
            return plan;
        }
        let plan = Arc::new(Plan::new(self.scales, self.angles, self.order, height, width));
        if let Some(mut plans) = within_a_moment(|| self.plans.try_lock()) {
            plans.insert(size, Arc::clone(&plan));
        }
        plan
    }
}

#[cfg(test)]
mod tests;
