//! Names: given once, and made durable.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Gives a file the name `path` unless something has it already; says whether it did. The file may keep its own name too.
///
/// Of several that do this at once, one does, and nothing that it made is replaced.
///
/// # Errors
/// What the system says.
pub(crate) fn name_if_free(file: &Path, path: &Path) -> io::Result<bool> {
    match fs::hard_link(file, path) {
        Ok(()) => Ok(true),
        Err(_) if fs::symlink_metadata(path).is_ok() => Ok(false),
        // A file system without links.
        Err(_) => rename_if_free(file, path),
    }
}

/// The same by renaming: in one step where the system can. Elsewhere, what takes the name between the look and the step is
/// replaced.
pub(super) fn rename_if_free(file: &Path, path: &Path) -> io::Result<bool> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{renameat_with, RenameFlags, CWD};
        match renameat_with(CWD, file, CWD, path, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(true),
            Err(rustix::io::Errno::EXIST) => return Ok(false),
            Err(_) => {}
        }
    }
    if fs::symlink_metadata(path).is_ok() {
        return Ok(false);
    }
    fs::rename(file, path).map(|()| true)
}

/// Makes new names durable. Where a folder cannot be synced, its system does so by itself.
pub(crate) fn sync_folder(folder: &Path) {
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
}

pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
