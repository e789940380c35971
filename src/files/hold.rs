//! Holding a name: a file that is there, and locked, for as long as a process works on what it stands for.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::draft::Draft;

/// Bytes that the content of a held file may have.
const LARGEST: u64 = 1 << 12;

/// A name that is held; free again when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    file: File,
    path: PathBuf,
}

/// Which file has a name, and when it was last touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    file: (u64, u64),
    touched: Option<SystemTime>,
    /// Whether its holder is known to be gone.
    abandoned: bool,
}

/// Gives a locked file that says `content` the name `path`; `None` if something has that name.
///
/// # Errors
/// What the system says.
pub(crate) fn hold(path: &Path, content: &str) -> io::Result<Option<Held>> {
    Draft::unsynced(super::name::folder_of(path), content.as_bytes())?
        .keep_as(path)
        .map(|file| file.map(|file| Held { file, path: path.to_owned() }))
}

/// What there is under a name; `None` if nothing is. A holder on this machine, which writes `content` as well, is gone if
/// its lock is.
pub(crate) fn trace(path: &Path, content: &str) -> Option<Trace> {
    let mut file = super::read::open(path, LARGEST).ok()?;
    let facts = file.metadata().ok()?;
    let mut said = String::new();
    let here = !content.is_empty() && file.read_to_string(&mut said).is_ok() && said == content;
    let abandoned = here && file.try_lock().is_ok();
    Some(Trace { file: identity(&facts), touched: facts.modified().ok(), abandoned })
}

/// Frees a name from the file that was seen under it, and from no other.
///
/// # Errors
/// What the system says.
pub(crate) fn clear(path: &Path, seen: &Trace) -> io::Result<()> {
    // Out of the way first: of several that clear the same name, one moves the file.
    let Some(aside) = Draft::aside(path)? else { return Ok(()) };
    if fs::symlink_metadata(&aside).is_ok_and(|moved| identity(&moved) != seen.file) {
        // Somebody was faster, and what was moved is the next holder's. A name that is taken by now stays taken.
        let _ = fs::hard_link(&aside, path);
    }
    match fs::remove_file(&aside) {
        // Swept meanwhile.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

impl Trace {
    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned
    }
}

impl Held {
    /// Says that its holder is there. What cannot be said is found out by those who watch, at the price of their work.
    pub(crate) fn touch(&self) {
        let _ = self.file.set_modified(SystemTime::now());
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let own = self.file.metadata().ok().map(|facts| identity(&facts));
        let there = fs::symlink_metadata(&self.path).ok().map(|facts| identity(&facts));
        if own.is_some() && own == there {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// What tells files of a system apart.
#[cfg(unix)]
fn identity(facts: &Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (facts.dev(), facts.ino())
}

/// What tells files of a system apart, nearly.
#[cfg(not(unix))]
fn identity(facts: &Metadata) -> (u64, u64) {
    let since =
        |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
    (facts.len(), facts.created().map_or(0, since))
}

impl Draft {
    /// Gives it the name `path` and keeps its lock; `None` if something has the name.
    fn keep_as(self, path: &Path) -> io::Result<Option<File>> {
        let file = self.file().try_clone()?;
        Ok(self.link(path)?.then_some(file))
    }

    /// Moves what has the name `path` to a draft's name, which is returned; `None` if nothing has it.
    fn aside(path: &Path) -> io::Result<Option<PathBuf>> {
        let aside = super::name::folder_of(path).join(super::draft::name());
        match fs::rename(path, &aside) {
            Ok(()) => Ok(Some(aside)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
