//! Sizes of what is about to be reserved: products that are checked for overflow in every build.

use crate::error::{Error, Result};

/// No array of this crate has more values. Sizes that come from a file are also compared with the file's own.
pub(crate) const LARGEST: usize = 1 << 40;

/// The product of `factors`, at most [`LARGEST`].
///
/// # Errors
/// `Shape`, naming `name` and all factors.
pub(crate) fn product(name: &str, factors: &[usize]) -> Result<usize> {
    let whole = factors.iter().try_fold(1_usize, |size, factor| size.checked_mul(*factor));
    // A zero hides what overflows beside it.
    let each = factors.iter().all(|factor| *factor <= LARGEST);
    whole.filter(|size| each && *size <= LARGEST).ok_or_else(|| {
        let sizes: Vec<String> = factors.iter().map(ToString::to_string).collect();
        Error::shape(name, format_args!("at most {LARGEST} values"), sizes.join(" x "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_exact_or_refused() {
        assert_eq!(product("X", &[3, 4, 5]), Ok(60));
        assert_eq!(product("X", &[]), Ok(1));
        assert_eq!(product("X", &[LARGEST]), Ok(LARGEST));
        for factors in [&[LARGEST, 2][..], &[usize::MAX, 2], &[1 << 30, 1 << 30], &[0, usize::MAX]] {
            let message = product("X", factors).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(message.starts_with("'X' must have at most"), "{factors:?}: {message}");
        }
    }
}
