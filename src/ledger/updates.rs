//! Updates of one call: what was asked for, checked, and the points copied group by group.
//!
//! The points are the caller's, and other threads may write to them meanwhile (a NumPy array is borrowed, and NumPy writes
//! without the interpreter's lock). So a group is copied, the copy is checked, and nothing else is read: a [`Group`] can
//! be made in no other way.

use ndarray::{s, Array2, ArrayView2};

use super::region::Asked;
use super::settle::together;
use crate::error::{Error, Result};

/// Longest centre: SQLite stores at most 10^9 bytes in a row.
const LONGEST: usize = 200_000_000;
/// Pause between transactions of one long update, in which other processes get their turn.
const TURN: std::time::Duration = std::time::Duration::from_millis(2);

/// Everything of a long update but the points.
#[derive(Debug)]
pub(crate) struct Updates {
    name: &'static str,
    dimension: usize,
    asked: Vec<Asked>,
}

/// Updates that are settled together.
#[derive(Debug)]
pub(crate) struct Group {
    name: &'static str,
    points: Array2<f32>,
    asked: Vec<Asked>,
}

impl Updates {
    /// Checks all arguments, so that in general nothing is stored of a call with a mistake in it.
    pub(crate) fn check(
        name: &'static str,
        points: ArrayView2<f32>,
        predictions: &[u32],
        radii: &[f64],
    ) -> Result<Self> {
        let n = points.nrows();
        for (name, length) in [("predictions", predictions.len()), ("radii", radii.len())] {
            if length != n {
                return Err(Error::shape(name, format_args!("one entry for each of the {n} points"), length));
            }
        }
        if n > 0 {
            check_length(name, points.ncols())?;
        }
        check_rows(name, points, 0)?;
        let asked: Result<Vec<Asked>> = predictions.iter().zip(radii).enumerate().map(checked).collect();
        Ok(Self { name, dimension: points.ncols(), asked: asked? })
    }

    pub(crate) fn len(&self) -> usize {
        self.asked.len()
    }

    /// The updates from `start` on that are settled together.
    pub(crate) fn group(&self, points: ArrayView2<f32>, start: usize) -> Result<Group> {
        let end = self.len().min(start.saturating_add(together(self.dimension)));
        if points.dim() != (self.len(), self.dimension) {
            let expected = format_args!("the shape it had, ({}, {})", self.len(), self.dimension);
            return Err(Error::shape(self.name, expected, format_args!("{:?}", points.dim())));
        }
        let points = points.slice(s![start..end, ..]).as_standard_layout().into_owned();
        check_rows(self.name, points.view(), start).map_err(|e| self.after_part(e, start))?;
        if start > 0 {
            std::thread::sleep(TURN);
        }
        Ok(Group { name: self.name, points, asked: self.asked[start..end].to_vec() })
    }

    /// A failure of a later transaction says what the earlier ones have stored.
    pub(crate) fn after_part(&self, error: Error, done: usize) -> Error {
        if done == 0 {
            return error;
        }
        let kind = error.kind().clone();
        Error::new(kind, format!("{error} The first {done} of {} updates are stored.", self.len()))
    }

    pub(crate) fn stopped_after(&self, done: usize) -> Error {
        Error::cancelled(format!("Stopped after {done} of {} updates; these are stored.", self.len()))
    }
}

impl Group {
    /// One update.
    pub(crate) fn single(x: &[f32], prediction: u32, radius: f64) -> Result<Self> {
        let asked = vec![Asked { prediction, radius: check_radius("radius", radius)? }];
        let points = Array2::from_shape_vec((1, x.len()), x.to_vec());
        let points = points.map_err(|e| Error::shape("x", "one dimension", e))?;
        check_point("x", points.as_slice().unwrap_or_default())?;
        Ok(Self { name: "x", points, asked })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn points(&self) -> ArrayView2<'_, f32> {
        self.points.view()
    }

    pub(crate) fn asked(&self) -> &[Asked] {
        &self.asked
    }
}

fn checked((at, (&prediction, &radius)): (usize, (&u32, &f64))) -> Result<Asked> {
    let radius = check_radius(&format!("radii[{at}]"), radius)?;
    Ok(Asked { prediction, radius })
}

/// The radius, -0 as 0.
fn check_radius(name: &str, radius: f64) -> Result<f64> {
    if radius >= 0.0 && radius.is_finite() {
        Ok(radius + 0.0)
    } else {
        Err(Error::parameter(name, "a finite float greater than or equal to 0", radius))
    }
}

fn check_rows(name: &str, points: ArrayView2<f32>, start: usize) -> Result<()> {
    let mut rows = points.rows().into_iter().enumerate();
    rows.try_for_each(|(row, point)| check_finite(&format!("{name}[{}]", start + row), point.iter()))
}

/// Whether a point can be one of a ledger.
pub(crate) fn check_point(name: &str, x: &[f32]) -> Result<()> {
    check_length(name, x.len())?;
    check_finite(name, x.iter())
}

fn check_finite<'a>(name: &str, mut values: impl Iterator<Item = &'a f32>) -> Result<()> {
    match values.position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(at) => Err(Error::parameter(
            name,
            "free of NaN and infinity",
            format_args!("one of them at position {at}"),
        )),
    }
}

fn check_length(name: &str, length: usize) -> Result<()> {
    if (1..=LONGEST).contains(&length) {
        Ok(())
    } else {
        Err(Error::shape(name, format_args!("1 to {LONGEST} features"), length))
    }
}

pub(crate) fn check_dimension(name: &str, got: usize, expected: usize) -> Result<()> {
    if got == expected {
        Ok(())
    } else {
        let expected = format_args!("{expected} features, like the centres in the ledger");
        Err(Error::shape(name, expected, got))
    }
}
