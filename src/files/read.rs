//! Reading: regular files of bounded size, looked at before anything is reserved or read.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

/// Opens a regular file of at most `limit` bytes.
///
/// # Errors
/// What the system says; a sentence for a pipe, a device, a folder, or a file that is too large.
pub(crate) fn open(path: &Path, limit: u64) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // A pipe without a writer would block here, and a terminal would become ours.
        let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
        options.custom_flags(i32::try_from(flags.bits()).unwrap_or(0));
    }
    let file = options.open(path)?;
    let facts = file.metadata()?;
    if !facts.is_file() {
        let what = if facts.is_dir() { "a folder" } else { "a pipe, a device or a socket" };
        return Err(io::Error::other(format!("it is {what}, not a regular file")));
    }
    if facts.len() > limit {
        return Err(too_large(facts.len(), limit));
    }
    Ok(file)
}

/// Whether nothing has a name: neither a file, nor a link that leads nowhere. What cannot be looked at is there, so that nobody
/// looks for it again and again.
pub(crate) fn is_missing(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn too_large(size: u64, limit: u64) -> io::Error {
    io::Error::other(format!("it has {size} bytes, more than the {limit} that such a file may have"))
}

/// The content of a regular file of at most `limit` bytes.
///
/// # Errors
/// As [`open`]; a sentence for a file that grows meanwhile.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = open(path, limit)?;
    let size = file.metadata()?.len();
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(usize::try_from(size).map_err(io::Error::other)?).map_err(io::Error::other)?;
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(too_large(bytes.len() as u64, limit));
    }
    Ok(bytes)
}
