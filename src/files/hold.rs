//! Holding a name: a file that is there, and locked, for as long as a process works on what it stands for.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::draft::Draft;

/// Bytes that the content of a held file may have.
const LARGEST: u64 = 1 << 12;

/// A name that is held; free again when dropped, but by no forked child.
#[derive(Debug)]
pub(crate) struct Held {
    process: u32,
    file: File,
    path: PathBuf,
}

/// Which file has a name, and when it was last touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    file: (u64, u64),
    touched: Option<SystemTime>,
}

/// Gives a locked file that says `content` the name `path`; `None` if something has that name.
///
/// # Errors
/// What the system says.
pub(crate) fn hold(path: &Path, content: &str) -> io::Result<Option<Held>> {
    Draft::unsynced(super::name::folder_of(path), content.as_bytes())?
        .keep_as(path)
        .map(|file| file.map(|file| Held::of(file, path)))
}

/// Takes a name over whose holder is known to be gone: one on this machine, which writes `content` as well, is gone if its
/// lock is. `None` if nobody can know, or if somebody was faster: of several, one gets the lock.
pub(crate) fn take_over(path: &Path, content: &str) -> Option<Held> {
    let mut file = super::read::open(path, LARGEST).ok()?;
    let mut said = String::new();
    let here = !content.is_empty() && file.read_to_string(&mut said).is_ok() && said == content;
    if !here || file.try_lock().is_err() {
        return None;
    }
    let held = Held::of(file, path);
    // Somebody else's file cannot be touched, and so not be held: dropped, its name is free. One that was freed since it was
    // opened is left alone.
    let touched = held.file.set_modified(SystemTime::now()).is_ok();
    (touched && held.is_in_place()).then_some(held)
}

/// What there is under a name; `None` if nothing is.
pub(crate) fn trace(path: &Path) -> Option<Trace> {
    let facts = super::read::open(path, LARGEST).ok()?.metadata().ok()?;
    Some(Trace { file: identity(&facts), touched: facts.modified().ok() })
}

/// Frees a name from the file that was seen under it, and from no other: not from that of a holder who is there after all, nor
/// from the next one's, which may have the number of one that is gone.
///
/// # Errors
/// What the system says.
pub(crate) fn clear(path: &Path, seen: &Trace) -> io::Result<()> {
    remove_if(path, |file| trace(file).is_none_or(|there| there == *seen))
}

/// Removes a file if it `is_it`, and none that gets its name meanwhile.
///
/// # Errors
/// What the system says.
pub(crate) fn remove_if(path: &Path, is_it: impl Fn(&Path) -> bool) -> io::Result<()> {
    if !is_it(path) {
        return Ok(());
    }
    // Out of the way first: of several that remove the same name, one moves the file, and nobody replaces it any more.
    let Some(aside) = Draft::aside(path)? else { return Ok(()) };
    if !is_it(&aside) {
        // It took the name since the first look. A name that is taken by now stays taken.
        let _ = super::name::name_if_free(&aside, path);
    }
    match fs::remove_file(&aside) {
        // Swept meanwhile, or back in its place.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

impl Held {
    fn of(file: File, path: &Path) -> Self {
        Self { process: std::process::id(), file, path: path.to_owned() }
    }

    /// Says that its holder is there. What cannot be said is found out by those who watch, at the price of their work.
    pub(crate) fn touch(&self) {
        let _ = self.file.set_modified(SystemTime::now());
    }

    fn is_in_place(&self) -> bool {
        let own = self.file.metadata().ok().map(|facts| identity(&facts));
        let there = fs::symlink_metadata(&self.path).ok().map(|facts| identity(&facts));
        own.is_some() && own == there
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.process == std::process::id() && self.is_in_place() {
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
