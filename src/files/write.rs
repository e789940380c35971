//! Writing: a synced draft gets its name in one step.

#[cfg(any(test, feature = "python"))]
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::Path;

use super::draft::Draft;
use super::name::{folder_of, sync_folder};

/// Puts `bytes` at `path`, whatever was there.
///
/// # Errors
/// What the system says; then `path` is as it was.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = folder_of(path);
    Draft::of(folder, bytes)?.rename(path)?;
    sync_folder(folder);
    Ok(())
}

/// Puts what `fill` writes at `path`, whatever was there.
///
/// # Errors
/// What the system says, or `fill`; then `path` is as it was.
pub(crate) fn replace_by(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let folder = folder_of(path);
    Draft::filled(folder, fill)?.rename(path)?;
    sync_folder(folder);
    Ok(())
}

/// Puts `bytes` at `path` unless something is there; says whether it did.
///
/// # Errors
/// What the system says.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    let folder = folder_of(path);
    let made = Draft::of(folder, bytes)?.link(path)?;
    sync_folder(folder);
    Ok(made)
}

/// Puts several files into a folder: all are written before the first gets its name, in the order given.
///
/// # Errors
/// What the system says. If there is no room for one of them, all are as they were.
#[cfg(any(test, feature = "python"))]
pub(crate) fn replace_all(folder: &Path, files: &[(&OsStr, &[u8])]) -> io::Result<()> {
    let drafts: io::Result<Vec<Draft>> = files.iter().map(|(_, bytes)| Draft::of(folder, bytes)).collect();
    for (draft, (name, _)) in drafts?.into_iter().zip(files) {
        draft.rename(&folder.join(name))?;
    }
    sync_folder(folder);
    Ok(())
}

/// Whether files can be made in a folder.
///
/// # Errors
/// What the system says if not.
pub(crate) fn try_write(folder: &Path) -> io::Result<()> {
    Draft::of(folder, b"").map(drop)
}
