//! Drafts: what is being written, beside its place, under a name that nobody can guess or meet.
//!
//! A writer holds a lock on its draft. Locks end with their process, however it ends, so that a draft without one is
//! stale: [`sweep`] removes it, and leaves those of living processes alone, on this machine or beside a shared disk.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::name::name_if_free;
#[cfg(any(test, feature = "python"))]
use super::name::{folder_of, sync_folder};

const PREFIX: &str = ".certssb-";
const SUFFIX: &str = ".draft";
/// Hexadecimal digits of a name.
const DIGITS: usize = 32;
/// Names to try; one is enough unless somebody removes drafts all the time.
const TRIES: usize = 100;

/// Whether a file of this name is a draft of ours.
pub(crate) fn is_draft(name: &str) -> bool {
    let digits = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX));
    digits.is_some_and(|digits| {
        digits.len() == DIGITS && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Keyed by the system's random numbers. Forked children may begin with the same keys: creation is exclusive.
pub(super) fn name() -> String {
    let half = || {
        let mut hash = RandomState::new().build_hasher();
        hash.write_u32(std::process::id());
        hash.finish()
    };
    format!("{PREFIX}{:016x}{:016x}{SUFFIX}", half(), half())
}

/// A file that is being written; removed when dropped, unless it was given its name, or a forked child inherited it.
#[derive(Debug)]
pub(super) struct Draft {
    process: u32,
    file: File,
    path: PathBuf,
}

impl Draft {
    /// An empty file in `folder` that was not there before, with the mode of other files.
    fn new(folder: &Path) -> io::Result<Self> {
        for _ in 0..TRIES {
            if let Some(draft) = Self::tried(folder)? {
                return Ok(draft);
            }
        }
        Err(io::Error::other("drafts beside it are removed all the time"))
    }

    /// One try of it: `None` if the name was taken, or if somebody who sweeps had the lock first.
    fn tried(folder: &Path) -> io::Result<Option<Self>> {
        let path = folder.join(name());
        // Creation is exclusive: a link of that name is not followed.
        let file = match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(None),
            Err(error) => return Err(error),
        };
        let draft = Self { process: std::process::id(), file, path };
        Ok(draft.is_ours().then_some(draft))
    }

    /// A synced draft of `bytes` in `folder`.
    pub(super) fn of(folder: &Path, bytes: &[u8]) -> io::Result<Self> {
        let draft = Self::unsynced(folder, bytes)?;
        draft.file.sync_all()?;
        Ok(draft)
    }

    /// A synced draft of what `fill` writes.
    pub(super) fn filled(folder: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<Self> {
        let mut draft = Self::new(folder)?;
        fill(&mut draft.file)?;
        draft.file.sync_all()?;
        Ok(draft)
    }

    /// The same of what need not outlive the system.
    pub(super) fn unsynced(folder: &Path, bytes: &[u8]) -> io::Result<Self> {
        let mut draft = Self::new(folder)?;
        draft.file.write_all(bytes)?;
        Ok(draft)
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Locks it; false if somebody who sweeps was faster.
    fn is_ours(&self) -> bool {
        // A file system without locks has drafts that nobody sweeps.
        let free = !matches!(self.file.try_lock(), Err(TryLockError::WouldBlock));
        free && fs::symlink_metadata(&self.path).is_ok()
    }

    /// Gives it the name `path`, whatever was there: a file, or a link, which is replaced and not followed.
    pub(super) fn rename(self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)
    }

    /// Gives it the name `path`, unless something has it already.
    pub(super) fn link(self, path: &Path) -> io::Result<bool> {
        name_if_free(&self.path, path)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.process == std::process::id() {
            // There is nothing left under this name after a renaming; what cannot be removed is swept later.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A folder that is being filled; removed with all that is in it when dropped, but by no forked child.
#[cfg(any(test, feature = "python"))]
#[derive(Debug)]
pub(crate) struct DraftFolder {
    process: u32,
    path: PathBuf,
    /// Inside, for as long as the folder is a draft.
    lock: Option<Draft>,
}

#[cfg(any(test, feature = "python"))]
impl DraftFolder {
    /// An empty folder beside `path`, on the same file system.
    pub(crate) fn beside(path: &Path) -> io::Result<Self> {
        let parent = folder_of(path);
        for _ in 0..TRIES {
            let path = parent.join(name());
            match fs::create_dir(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            }
            // A folder has one lock in its life: whoever sweeps and holds that one may remove all that is inside.
            match Draft::tried(&path) {
                Ok(Some(lock)) => return Ok(Self { process: std::process::id(), path, lock: Some(lock) }),
                // Swept before it was locked; what is left of it is swept later.
                Ok(None) => {
                    let _ = fs::remove_dir(&path);
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    let _ = fs::remove_dir(&path);
                    return Err(error);
                }
            }
        }
        Err(io::Error::other("drafts beside it are removed all the time"))
    }

    /// Where to write.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the place of the folder `path`, which may be there or not. What was there is removed afterwards.
    ///
    /// Where the system exchanges two names in one step, `path` is never missing. Elsewhere it is for a moment, in which
    /// the earlier folder has the name that [`replaced`] finds.
    pub(crate) fn take_place_of(mut self, path: &Path) -> io::Result<()> {
        sync_folder(&self.path);
        let is_there = || fs::symlink_metadata(path).is_ok();
        for last in (0..TRIES).rev() {
            let was_there = is_there();
            match if was_there { exchange(&self.path, path) } else { fs::rename(&self.path, path) } {
                Ok(()) => break,
                // Another one was put there, or taken away, since the look.
                Err(_) if last > 0 && is_there() != was_there => {}
                Err(error) => return Err(error),
            }
        }
        sync_folder(folder_of(path));
        // The lock lies in the new folder now, under the same name.
        if let Some(name) = self.lock.as_ref().and_then(|lock| lock.path.file_name()) {
            let _ = fs::remove_file(path.join(name));
        }
        self.lock = None;
        Ok(())
    }
}

#[cfg(any(test, feature = "python"))]
impl Drop for DraftFolder {
    fn drop(&mut self) {
        if self.process == std::process::id() {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(any(test, feature = "python"))]
/// Two folders swap their names.
fn exchange(new: &Path, path: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{renameat_with, RenameFlags, CWD};
        if renameat_with(CWD, new, CWD, path, RenameFlags::EXCHANGE).is_ok() {
            return Ok(());
        }
    }
    let aside = replaced(path);
    fs::rename(path, &aside)?;
    if let Err(error) = fs::rename(new, path) {
        fs::rename(&aside, path)?;
        return Err(error);
    }
    // As after an exchange: what was there goes where the new one came from.
    fs::rename(&aside, new)
}

#[cfg(any(test, feature = "python"))]
/// Where the earlier folder is while a new one takes its place, on systems that cannot exchange names.
pub(crate) fn replaced(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    folder_of(path).join(format!(".{name}.certssb-replaced"))
}

/// Removes drafts in `folder` that no living process is writing. What cannot be looked at or removed stays.
///
/// Whoever removes a draft holds its lock until it is gone: a writer that finds the lock free has a draft that nobody else
/// removes.
pub(crate) fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_draft)) {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_file() => {
                if let Some(_lock) = lock_of_stale(&path) {
                    let _ = fs::remove_file(&path);
                }
            }
            Ok(kind) if kind.is_dir() => sweep_folder(&path),
            _ => {}
        }
    }
}

/// Removes a draft that is a folder, if nobody is writing it.
fn sweep_folder(path: &Path) {
    // Fails if anything is inside. The first that ever is inside is its lock, which the look that follows finds.
    if fs::remove_dir(path).is_ok() {
        return;
    }
    let locks: Option<Vec<File>> = locks(path).iter().map(|lock| lock_of_stale(lock)).collect();
    if let Some(_locks) = locks {
        let _ = fs::remove_dir_all(path);
    }
}

fn locks(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_str().is_some_and(is_draft))
        .map(|entry| entry.path())
        .collect()
}

/// The lock of a draft that nobody else holds.
fn lock_of_stale(path: &Path) -> Option<File> {
    let file = super::read::open(path, u64::MAX).ok()?;
    file.try_lock().is_ok().then_some(file)
}
