//! Ranges as types: each quantity has a name, a range in words and one `check`.
//!
//! A raw number becomes a quantity through [`Quantity::check`] once, at the door; inside the
//! crate the type says that it was checked.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A number with a range. `check` is the only way in.
pub trait Quantity: Sized {
    /// The range in words, as it stands in error messages.
    const RANGE: &'static str;
    /// Wraps without checking; `check` is the door.
    #[doc(hidden)]
    fn wrap(value: f64) -> Self;
    /// Whether the value lies in the range.
    fn contains(value: f64) -> bool;
    /// The number itself.
    fn get(self) -> f64;

    /// Checks a raw number for the parameter called `name`.
    ///
    /// # Errors
    /// [`ErrorKind::Parameter`](crate::ErrorKind::Parameter) naming the parameter, the range and the value.
    fn check(name: &str, value: f64) -> Result<Self> {
        if Self::contains(value) {
            Ok(Self::wrap(value))
        } else {
            let expected = Self::narrower(value).unwrap_or(Self::RANGE);
            Err(Error::parameter(name, expected, written(value)))
        }
    }

    /// What is said in place of the range where a value lies in it and is refused all the same.
    #[doc(hidden)]
    fn narrower(_value: f64) -> Option<&'static str> {
        None
    }
}

/// A number as it stands in messages: without hundreds of zeros.
pub(crate) fn written(value: f64) -> String {
    let short = value == 0.0 || (1e-5..1e16).contains(&value.abs()) || !value.is_finite();
    if short {
        value.to_string()
    } else {
        format!("{value:e}")
    }
}

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $range:literal, $contains:expr $(, $narrower:expr)?) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(try_from = "f64", into = "f64")]
        pub struct $name(f64);

        impl Quantity for $name {
            const RANGE: &'static str = $range;
            fn wrap(value: f64) -> Self { Self(value) }
            fn contains(value: f64) -> bool { let f: fn(f64) -> bool = $contains; f(value) }
            fn get(self) -> f64 { self.0 }
            $(fn narrower(value: f64) -> Option<&'static str> {
                let f: fn(f64) -> Option<&'static str> = $narrower;
                f(value)
            })?
        }

        impl TryFrom<f64> for $name {
            type Error = Error;
            fn try_from(value: f64) -> Result<Self> { Self::check(stringify!($name), value) }
        }

        impl From<$name> for f64 {
            fn from(value: $name) -> f64 { value.0 }
        }
    };
}

/// The smallest level of a confidence bound. Below it the arithmetic of the bounds would leave the range of doubles: they
/// divide a level by up to 10^18 (levels shared among classes) and form its inverse (capital, logarithms).
pub const SMALLEST_LEVEL: f64 = 1e-200;

quantity!(
    /// A probability, ends included.
    Probability, "a float in the range [0, 1]", |v| (0.0..=1.0).contains(&v)
);
quantity!(
    /// The chance that a statement is wrong, one-sided; at least `SMALLEST_LEVEL`.
    Alpha,
    "a float in the range (0, 1)",
    |v| (SMALLEST_LEVEL..1.0).contains(&v),
    |v| (v > 0.0 && v < 1.0).then_some("at least 1e-200, the smallest level for which bounds are proved")
);
quantity!(
    /// Standard deviation (or half width) of feature noise, in the units of the features.
    NoiseScale, "a finite float greater than 0, also in single precision", |v| v > 0.0 && (v as f32).is_normal()
);

impl NoiseScale {
    /// The scale that noise is drawn with: data are single precision.
    pub fn drawn(self) -> f32 {
        self.get() as f32
    }

    /// The scale that certificates count with: as recorded or as drawn, whichever is less.
    pub fn certified(self) -> f64 {
        self.get().min(f64::from(self.drawn()))
    }
}

quantity!(
    /// An L2 norm in the units of the features; may be infinite ("any change").
    Radius, "a float greater than or equal to 0", |v| v >= 0.0
);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_every_range() {
        assert!(Probability::check("p", 0.0).is_ok() && Probability::check("p", 1.0).is_ok());
        assert!(Probability::check("p", -1e-300).is_err() && Probability::check("p", f64::NAN).is_err());
        assert!(Alpha::check("alpha", 0.0).is_err() && Alpha::check("alpha", 1.0).is_err());
        assert!(Alpha::check("alpha", SMALLEST_LEVEL).is_ok());
        for tiny in [SMALLEST_LEVEL.next_down(), f64::MIN_POSITIVE, 5e-324] {
            let said = Alpha::check("alpha", tiny).unwrap_err().to_string();
            assert!(said.contains("at least 1e-200") && said.contains(&format!("Got {tiny:e}")), "{said}");
        }
        assert!(NoiseScale::check("sigma", f64::INFINITY).is_err());
        assert!(NoiseScale::check("sigma", 0.0).is_err() && NoiseScale::check("sigma", -1.0).is_err());
        assert!(NoiseScale::check("sigma", 1e-50).is_err() && NoiseScale::check("sigma", 1e39).is_err());
        assert!(Radius::check("t", f64::INFINITY).is_ok() && Radius::check("t", f64::NAN).is_err());
    }

    #[test]
    fn the_message_names_parameter_range_and_value() {
        let error = NoiseScale::check("sigma", -0.5).map_err(|e| e.to_string());
        assert_eq!(
            error,
            Err("The 'sigma' parameter must be a finite float greater than 0, also in single precision. \
                 Got -0.5 instead."
                .into())
        );
    }

    #[test]
    fn a_quantity_read_from_a_file_is_checked_too() {
        assert!(serde_json::from_str::<Alpha>("0.001").is_ok());
        assert!(serde_json::from_str::<Alpha>("2").is_err());
    }
}
