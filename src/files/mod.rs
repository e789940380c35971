//! The one door for files: whole or not at all when written, regular and of bounded size when read.
//!
//! What is written goes into a draft beside its place (`draft.rs`), is synced and then gets its name in one step
//! (`write.rs`, `name.rs`), so that whoever reads sees the old file, the new one, or none. What is read is a regular file of a size
//! that the caller allows (`read.rs`): a pipe does not block, a device does not fill the memory. A name can be held for as long
//! as a process works on what it stands for (`hold.rs`).

#[cfg(feature = "training")]
mod draft;
#[cfg(feature = "training")]
mod hold;
mod name;
#[cfg(feature = "training")]
mod read;
#[cfg(feature = "training")]
mod write;

#[cfg(feature = "training")]
pub(crate) use draft::{is_draft, sweep};
#[cfg(any(all(test, feature = "training"), feature = "python"))]
pub(crate) use draft::{replaced, DraftFolder};
#[cfg(feature = "training")]
pub(crate) use hold::{clear, hold, remove_if, take_over, trace, Held, Trace};
pub(crate) use name::{folder_of, name_if_free, sync_folder};
#[cfg(feature = "training")]
pub(crate) use read::{is_missing, open, read};
#[cfg(feature = "python")]
pub(crate) use write::replace_all;
#[cfg(feature = "training")]
pub(crate) use write::{create, replace, replace_by, try_write};

/// The error of a file that belongs to nothing with errors of its own: names the path and what the system said.
#[cfg(feature = "python")]
pub(crate) fn failure(path: &std::path::Path, verb: &str, error: &std::io::Error) -> crate::Error {
    let missing = error.kind() == std::io::ErrorKind::NotFound;
    let kind = crate::ErrorKind::File { code: error.raw_os_error(), missing };
    crate::Error::new(kind, format!("'{}' cannot be {verb}: {error}.", path.display()))
}

#[cfg(all(test, feature = "training"))]
mod tests;
