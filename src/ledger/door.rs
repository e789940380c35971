//! The way to a ledger's file: only a regular file with a ledger's header is handed to SQLite, with nothing strange beside.
//!
//! POSIX drops all locks that a process has on a file as soon as it closes *any* descriptor of that file, SQLite's locks
//! included: other processes would then take the file for one that nobody uses (sqlite.org/howtocorrupt.html, 2.2). So the
//! descriptor through which a file is looked at stays open until this process has no ledger on that file.

use std::fs::{File, Metadata};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::failure::{damaged, foreign, inherited, unreadable};
use super::log;
use super::patience::pause;
use crate::error::{Error, Result};

/// "cssb" in the header of the file: this SQLite database is a ledger.
pub(super) const APPLICATION_ID: i32 = 0x6373_7362;
/// Bytes that SQLite begins every database with.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Bytes in a page.
pub(super) const PAGE: u32 = 4096;
/// Length of a database's header.
const HEADER: usize = 100;
/// How often a file is looked at whose header is not as it was written, or does not fit its size: others may be at work on it.
const TRIES: usize = 5;
/// Time between two looks whether another thread has looked at the file.
const MOMENT: Duration = Duration::from_millis(1);

/// A file, whatever it is called.
type Identity = (u64, u64);

/// A file on which this process has ledgers.
struct Held {
    identity: Identity,
    /// The process that opened it: a forked child inherits this list.
    process: u32,
    users: usize,
    /// Whether the first user has looked at what lies beside it.
    looked_at: bool,
    file: File,
}

static HELD: Mutex<Vec<Held>> = Mutex::new(Vec::new());

/// A descriptor of a ledger's file that stays open, and where the file really is.
#[derive(Debug)]
pub(super) struct Hold {
    identity: Identity,
    real: PathBuf,
}

/// What changes whenever a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
    has_log: bool,
}

impl Hold {
    /// Looks at the file at `path` before SQLite may touch it.
    ///
    /// Tells too whether this process had no ledger on the file before. Then no other thread gets in until it
    /// [was looked at](Self::was_looked_at): closing what was read of the log's index drops the locks that SQLite has on it.
    pub(super) fn enter(path: &Path) -> Result<(Self, bool)> {
        let real = std::fs::canonicalize(path).map_err(|e| unreadable(path, e))?;
        let known = std::fs::metadata(&real).map_err(|e| unreadable(path, e))?;
        check_regular(path, &known)?;
        check_beside(path, &real)?;
        let (hold, first) = Self::take(path, &real)?;
        let pages = hold.check(path)?;
        if first {
            let [log, index] = ["-wal", "-shm"].map(|suffix| beside(&hold.real, suffix));
            if let Some(fault) = log::fault(&log, &index, pages)? {
                return Err(damaged(path, fault));
            }
        }
        Ok((hold, first))
    }

    /// What lies beside the file was looked at and closed: others may come.
    pub(super) fn was_looked_at(&self) {
        let mut list = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        let own = list.iter_mut().find(|held| held.identity == self.identity);
        own.into_iter().for_each(|held| held.looked_at = true);
    }

    /// Counts one more user of the file; whether it is the first one. Waits while that one looks at it.
    fn take(path: &Path, real: &Path) -> Result<(Self, bool)> {
        loop {
            if let Some(taken) = Self::try_take(path, real)? {
                return Ok(taken);
            }
            pause()?;
            std::thread::sleep(MOMENT);
        }
    }

    fn try_take(path: &Path, real: &Path) -> Result<Option<(Self, bool)>> {
        let mut list = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        let known = std::fs::metadata(real).map_err(|e| unreadable(path, e))?;
        let process = std::process::id();
        if let Some(held) = list.iter_mut().find(|held| Some(held.identity) == identity(&known)) {
            if held.process != process {
                return Err(inherited(path));
            }
            if !held.looked_at {
                return Ok(None);
            }
            held.users += 1;
            return Ok(Some((Self { identity: held.identity, real: real.to_owned() }, false)));
        }
        let file = File::open(real).map_err(|e| unreadable(path, e))?;
        let opened = file.metadata().map_err(|e| unreadable(path, e))?;
        check_regular(path, &opened)?;
        if identity(&opened) != identity(&known) {
            return Err(unreadable(path, "it was replaced while it was opened"));
        }
        let identity = identity(&opened).unwrap_or_else(unique);
        list.push(Held { identity, process, users: 1, looked_at: false, file });
        Ok(Some((Self { identity, real: real.to_owned() }, true)))
    }

    /// The file that SQLite is to open.
    pub(super) fn real(&self) -> &Path {
        &self.real
    }

    /// Whether the file is still where it was opened: a file that was removed goes on taking updates, which nobody ever reads.
    pub(super) fn is_in_place(&self) -> bool {
        std::fs::metadata(&self.real)
            .is_ok_and(|known| identity(&known).is_none_or(|found| found == self.identity))
    }

    /// Whether something lies in a log beside the file.
    pub(super) fn has_log(&self) -> bool {
        self.has_beside("-wal") || self.has_beside("-journal")
    }

    /// Whether all that the file lacks lies in a write-ahead log.
    pub(super) fn has_only_a_log_ahead(&self) -> bool {
        self.has_beside("-wal") && !self.has_beside("-journal")
    }

    fn has_beside(&self, suffix: &str) -> bool {
        std::fs::metadata(beside(&self.real, suffix)).is_ok_and(|known| known.len() > 0)
    }

    pub(super) fn stamp(&self) -> Option<Stamp> {
        let list = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        let held = list.iter().find(|held| held.identity == self.identity)?;
        let known = held.file.metadata().ok()?;
        Some(Stamp { length: known.len(), modified: known.modified().ok(), has_log: self.has_log() })
    }

    /// The file's first bytes, and its length.
    fn header(&self) -> std::io::Result<(Vec<u8>, u64)> {
        let list = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        let mut header = Vec::with_capacity(HEADER);
        let Some(held) = list.iter().find(|held| held.identity == self.identity) else {
            return Ok((header, 0));
        };
        let mut file = &held.file;
        file.seek(SeekFrom::Start(0))?;
        file.take(HEADER as u64).read_to_end(&mut header)?;
        Ok((header, held.file.metadata()?.len()))
    }

    /// Checks header and size, and returns the number of pages.
    fn check(&self, path: &Path) -> Result<u32> {
        check(path, || {
            let logged = self.has_log();
            let (header, length) = self.header()?;
            Ok((header, (!logged && !self.has_log()).then_some(length)))
        })
    }
}

/// Checks what `look` finds: a header, and the file's length where nothing of it lies in a log. Returns the number of pages.
///
/// Looks again at what another process may just be writing.
fn check(path: &Path, mut look: impl FnMut() -> std::io::Result<(Vec<u8>, Option<u64>)>) -> Result<u32> {
    let mut attempt = 1;
    loop {
        let (header, length) = look().map_err(|e| unreadable(path, e))?;
        check_header(path, &header)?;
        let pages = number(&header, 28);
        let fault = if !is_own_header(&header) {
            "its header is not as it was written"
        } else if length.is_some_and(|length| length != u64::from(pages) * u64::from(PAGE)) {
            "it is not as long as its header says"
        } else {
            return Ok(pages);
        };
        if attempt == TRIES {
            return Err(damaged(path, fault));
        }
        attempt += 1;
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut list = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = list.iter().position(|held| held.identity == self.identity) {
            list[at].users -= 1;
            if list[at].users == 0 {
                list.swap_remove(at);
            }
        }
    }
}

#[cfg(unix)]
fn identity(known: &Metadata) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    Some((known.dev(), known.ino()))
}

/// Other systems lock handles, not processes: each ledger holds its own.
#[cfg(not(unix))]
fn identity(_: &Metadata) -> Option<Identity> {
    None
}

fn unique() -> Identity {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    (u64::MAX, NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The path of a file that SQLite keeps beside the ledger.
fn beside(real: &Path, suffix: &str) -> PathBuf {
    let mut name = real.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Opening a pipe waits for ever, a device has no end.
fn check_regular(path: &Path, known: &Metadata) -> Result<()> {
    if known.is_file() {
        Ok(())
    } else {
        Err(unreadable(path, format_args!("it is {}, and a ledger is a regular file", kind(known))))
    }
}

/// SQLite opens what lies beside a database by its name: that must not be a pipe, nor a link into somebody's file.
fn check_beside(path: &Path, real: &Path) -> Result<()> {
    for suffix in ["-wal", "-shm", "-journal"] {
        let other = beside(real, suffix);
        let strange = std::fs::symlink_metadata(&other).ok().filter(|known| !known.is_file());
        if let Some(known) = strange {
            let why = format_args!("'{}' beside it is {}, not a regular file", other.display(), kind(&known));
            return Err(unreadable(path, why));
        }
    }
    Ok(())
}

fn kind(known: &Metadata) -> &'static str {
    let kind = known.file_type();
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return "a named pipe";
        } else if kind.is_socket() {
            return "a socket";
        } else if kind.is_char_device() || kind.is_block_device() {
            return "a device";
        }
    }
    if kind.is_dir() {
        "a folder"
    } else if kind.is_symlink() {
        "a link"
    } else {
        "something else"
    }
}

fn number(header: &[u8], at: usize) -> u32 {
    header[at..at + 4].iter().fold(0_u32, |n, byte| (n << 8) | u32::from(*byte))
}

fn check_header(path: &Path, header: &[u8]) -> Result<()> {
    if header.is_empty() {
        Err(foreign(path, "it is empty"))
    } else if !header.starts_with(MAGIC) {
        Err(foreign(path, "it is not an SQLite database"))
    } else if header.len() < HEADER {
        Err(damaged(path, "it ends within its header"))
    } else if header[68..72] != APPLICATION_ID.to_be_bytes() {
        Err(foreign(path, "it is an SQLite database of another application"))
    } else {
        Ok(())
    }
}

/// Whether the parts of SQLite's header that never change in a ledger are as they were made.
///
/// Page size 4096, journal (1 or 2) in two places, sizes fixed by the format; schema format 4, no automatic vacuum,
/// UTF-8, room reserved for future versions; the two change counters agree (sqlite.org/fileformat2.html, 1.3).
fn is_own_header(header: &[u8]) -> bool {
    header[16..18] == [0x10, 0]
        && header[18..20].iter().all(|journal| matches!(journal, 1 | 2))
        && header[20..24] == [0, 64, 32, 32]
        && [(44, 4), (52, 0), (56, 1), (64, 0)].into_iter().all(|(at, value)| number(header, at) == value)
        && header[72..92].iter().all(|byte| *byte == 0)
        && header[24..28] == header[92..96]
}

/// The error for a path at which there is nothing.
pub(super) fn missing(path: &Path) -> Error {
    Error::ledger(format!("There is no ledger '{}' to read. Check the path.", path.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_another_process_is_just_writing_is_looked_at_again() {
        let path = Path::new("regions.sqlite");
        let mut header = vec![0; HEADER];
        let parts: [(usize, &[u8]); 7] = [
            (0, MAGIC),
            (16, &[0x10, 0, 2, 2, 0, 64, 32, 32]),
            (28, &[0, 0, 0, 3]),
            (44, &[0, 0, 0, 4]),
            (56, &[0, 0, 0, 1]),
            (68, &APPLICATION_ID.to_be_bytes()),
            (92, &[0; 4]),
        ];
        parts.iter().for_each(|(at, bytes)| header[*at..at + bytes.len()].copy_from_slice(bytes));
        let length = Some(3 * u64::from(PAGE));
        assert_eq!(check(path, || Ok((header.clone(), length))).unwrap(), 3);
        // Half of a counter that has gone up, and a page that the header does not count yet.
        let mut torn = header.clone();
        torn[27] = 1;
        let looks =
            [(torn.clone(), length), (header.clone(), Some(4 * u64::from(PAGE))), (header.clone(), None)];
        let mut looks = looks.into_iter();
        assert_eq!(check(path, || looks.next().ok_or_else(|| std::io::ErrorKind::Other.into())).unwrap(), 3);
        let mut n = 0;
        let mut count = |header: &Vec<u8>, length| {
            n += 1;
            Ok((header.clone(), length))
        };
        let fault = check(path, || count(&torn, length)).unwrap_err().to_string();
        assert!(fault.contains("header is not as it was written"), "{fault}");
        let fault = check(path, || count(&header, Some(7))).unwrap_err().to_string();
        assert!(fault.contains("not as long as its header says"), "{fault}");
        assert_eq!(n, 2 * TRIES);
    }
}
