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

/// Refuses what this machine's memory cannot hold, before anything is reserved; where its size is not known, nothing.
/// `each` is the number of bytes for each product of `factors`.
///
/// # Errors
/// `Shape`, naming `name` and all factors.
pub(crate) fn fits(name: &str, factors: &[usize], each: usize) -> Result<()> {
    let values = product(name, factors)?;
    let Some(memory) = physical() else { return Ok(()) };
    if (values as u64).saturating_mul(each as u64) <= memory {
        return Ok(());
    }
    let expected = format_args!(
        "at most {} values, which fit into this machine's {:.1} GB of memory",
        memory / each as u64,
        memory as f64 / 1e9
    );
    let sizes: Vec<String> = factors.iter().map(ToString::to_string).collect();
    Err(Error::shape(name, expected, sizes.join(" x ")))
}

/// Bytes of this machine's memory, where the kernel says so.
pub(crate) fn physical() -> Option<u64> {
    let facts = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = facts.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn what_no_memory_holds_is_refused() {
        assert_eq!(fits("X", &[1000, 1000], 8), Ok(()));
        let message =
            fits("X", &[1 << 20, 1 << 20], 1 << 20).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(
            message.contains("fit into this machine's") && message.contains("1048576 x 1048576"),
            "{message}"
        );
    }

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
