//! The file of a ledger: one SQLite database, every entry chained to the one before by a digest.
//!
//! An entry's digest covers the previous digest and everything the entry says (SHA-256), so an entry that was changed,
//! dropped or moved is noticed; the row `ledger` holds the counts and the last digest, so missing entries at the end
//! are too. The write-ahead log with `synchronous = FULL` makes a committed transaction survive a crash of the
//! process and of the machine. Writers take the lock at the start of their transaction (`BEGIN IMMEDIATE`).

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Row, Transaction, TransactionBehavior};
use sha2::{Digest as _, Sha256};

use super::index::Centres;
use super::region::{Asked, Entry, Outcome, Record};
use crate::error::{Error, Result};

/// "cssb" in the header of the file: this SQLite database is a ledger.
const APPLICATION_ID: i32 = 0x6373_7362;
/// Version of the schema below.
const SCHEMA_VERSION: i32 = 1;
/// Bytes that SQLite begins every database with.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Bytes in a page.
const PAGE: i32 = 4096;
/// Length of a database's header.
const HEADER: usize = 100;
/// Milliseconds to wait for another process that is writing.
const PATIENCE: i32 = 60_000;
/// SQLite's own cache in KiB.
const PAGE_CACHE: i32 = 16 * 1024;
/// SQLite's code for a file that ends before its last page.
const SHORT_READ: i32 = 522;

/// The tables, as SQLite stores their definitions; a ledger has exactly these.
const TABLES: [(&str, &str); 2] = [
    (
        "entry",
        "CREATE TABLE entry (\
         number INTEGER PRIMARY KEY, centre BLOB NOT NULL, \
         asked_prediction INTEGER NOT NULL, asked_radius REAL NOT NULL, \
         prediction INTEGER NOT NULL, radius REAL NOT NULL, outcome TEXT NOT NULL, cause INTEGER, \
         digest BLOB NOT NULL) STRICT",
    ),
    (
        "ledger",
        "CREATE TABLE ledger (\
         id INTEGER PRIMARY KEY CHECK (id = 0), entries INTEGER NOT NULL, regions INTEGER NOT NULL, \
         dimension INTEGER NOT NULL, digest BLOB NOT NULL) STRICT",
    ),
];

const SELECT: &str =
    "SELECT number, centre, asked_prediction, asked_radius, prediction, radius, outcome, cause, \
                      digest FROM entry WHERE number >= ?1 ORDER BY number";

/// SHA-256.
pub(crate) type Digest = [u8; 32];

/// The state of a ledger after its last entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// Number of entries.
    pub(crate) entries: u64,
    /// Number of entries that are regions.
    pub(crate) regions: u64,
    /// Length of every centre; 0 before the first entry.
    pub(crate) dimension: usize,
    /// Digest of the last entry; zeros before the first.
    pub(crate) digest: Digest,
}

impl Head {
    /// The state after one more entry.
    pub(crate) fn after(&self, record: &Record) -> Self {
        Self {
            entries: self.entries + 1,
            regions: self.regions + u64::from(record.entry.radius > 0.0),
            dimension: record.centre.len(),
            digest: digest(&self.digest, record),
        }
    }
}

/// An open file.
#[derive(Debug)]
pub(crate) struct Store {
    connection: Connection,
    path: PathBuf,
    writable: bool,
    /// A connection must not be used in a forked child.
    process: u32,
}

impl Store {
    /// Opens the ledger at `path` for reading and writing; makes one where there is no file.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        if !path.exists() {
            create(path)?;
        }
        check_header(path)?;
        let connection = connect(path, true).map_err(|e| failure(path, &e))?;
        Self::checked(connection, path, true)
    }

    /// Opens the ledger at `path` for reading; the file is not touched.
    pub(crate) fn open_read_only(path: &Path) -> Result<Self> {
        if !path.exists() {
            let message = format!("There is no ledger '{}' to read. Check the path.", path.display());
            return Err(Error::ledger(message));
        }
        check_header(path)?;
        let connection = connect(path, false).map_err(|e| failure(path, &e))?;
        Self::checked(connection, path, false)
    }

    fn checked(connection: Connection, path: &Path, writable: bool) -> Result<Self> {
        let store = Self { connection, path: path.to_owned(), writable, process: std::process::id() };
        store.check_schema()?;
        store.head()?;
        Ok(store)
    }

    /// Where the file is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Version first: another version may have other tables.
    fn check_schema(&self) -> Result<()> {
        let version: i32 = self.sql(|c| c.pragma_query_value(None, "user_version", |row| row.get(0)))?;
        if version != SCHEMA_VERSION {
            return Err(wrong_version(&self.path, version));
        }
        let found: Vec<(String, String)> = self.sql(|c| {
            let mut statement = c.prepare("SELECT name, sql FROM sqlite_schema ORDER BY name")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect()
        })?;
        let same = found.iter().map(|(n, s)| (n.as_str(), s.as_str())).eq(TABLES);
        if same {
            Ok(())
        } else {
            Err(self.damaged("its tables are not those of a ledger"))
        }
    }

    /// Runs SQL; a failure names the file and says what to do.
    fn sql<T>(&self, run: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        run(&self.connection).map_err(|e| failure(&self.path, &e))
    }

    /// The state after the last entry.
    pub(crate) fn head(&self) -> Result<Head> {
        let read = "SELECT entries, regions, dimension, digest FROM ledger WHERE id = 0";
        self.sql(|c| {
            c.prepare_cached(read)?.query_row([], |row| {
                Ok(Head {
                    entries: row.get(0)?,
                    regions: row.get(1)?,
                    dimension: row.get(2)?,
                    digest: row.get(3)?,
                })
            })
        })
    }

    /// A consistent view for reading, until it is dropped.
    pub(crate) fn read(&self) -> Result<Transaction<'_>> {
        self.begin(TransactionBehavior::Deferred)
    }

    /// The right to write, until it is committed; dropped without that, nothing was written.
    pub(crate) fn write(&self) -> Result<Transaction<'_>> {
        if !self.writable {
            let message = format!(
                "The ledger '{}' was opened for reading only. Open it with Ledger(path) to update it.",
                self.path.display()
            );
            return Err(Error::ledger(message));
        }
        self.begin(TransactionBehavior::Immediate)
    }

    fn begin(&self, behavior: TransactionBehavior) -> Result<Transaction<'_>> {
        if std::process::id() != self.process {
            let message = format!(
                "The ledger '{}' was opened by another process before a fork. Open it again in this process.",
                self.path.display()
            );
            return Err(Error::ledger(message));
        }
        Transaction::new_unchecked(&self.connection, behavior).map_err(|e| failure(&self.path, &e))
    }

    /// Makes a transaction durable.
    pub(crate) fn commit(&self, transaction: Transaction<'_>) -> Result<()> {
        transaction.commit().map_err(|e| failure(&self.path, &e))
    }

    /// Writes one entry, whose digest is `digest`.
    pub(crate) fn append(&self, record: &Record, digest: &Digest) -> Result<()> {
        let insert = "INSERT INTO entry VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let Record { centre, asked, entry } = record;
        self.sql(|c| {
            c.prepare_cached(insert)?.execute(rusqlite::params![
                entry.number,
                to_bytes(centre),
                asked.prediction,
                asked.radius,
                entry.prediction,
                entry.radius,
                entry.outcome.name(),
                entry.cause,
                digest,
            ])
        })?;
        Ok(())
    }

    /// Writes the state after the last entry.
    pub(crate) fn set_head(&self, head: &Head) -> Result<()> {
        let update = "UPDATE ledger SET entries = ?1, regions = ?2, dimension = ?3, digest = ?4 WHERE id = 0";
        let Head { entries, regions, dimension, digest } = head;
        self.sql(|c| {
            c.prepare_cached(update)?.execute(rusqlite::params![entries, regions, dimension, digest])
        })?;
        Ok(())
    }

    /// Reads the entries after `head` up to the file's own head, checking each; `use_record` gets them in order.
    ///
    /// Returns the new head. Call it inside a transaction.
    pub(crate) fn replay(
        &self,
        head: Head,
        mut use_record: impl FnMut(Record) -> Result<()>,
    ) -> Result<Head> {
        let end = self.head()?;
        let mut now = head;
        let mut statement = self.connection.prepare(SELECT).map_err(|e| failure(&self.path, &e))?;
        let mut rows = statement.query([now.entries]).map_err(|e| failure(&self.path, &e))?;
        while let Some(row) = rows.next().map_err(|e| failure(&self.path, &e))? {
            let (record, written) = self.record(row, now.entries)?;
            let next = now.after(&record);
            let fits = next.digest == written && record.centre.len() == end.dimension;
            self.check_record(&record, now.entries, fits)?;
            now = next;
            use_record(record)?;
        }
        if now == end {
            Ok(now)
        } else {
            let message = format!("its head speaks of {} entries, {} were found", end.entries, now.entries);
            Err(self.damaged(message))
        }
    }

    fn record(&self, row: &Row, number: u64) -> Result<(Record, Digest)> {
        let unreadable = |e| match failure(&self.path, &e) {
            error if *error.kind() == crate::ErrorKind::Ledger => error,
            _ => self.damaged(format!("entry {number} cannot be read ({e})")),
        };
        read_record(row).map_err(unreadable)
    }

    /// Whether the entry is number `number`, as it was written: it `fits` digest and dimension.
    fn check_record(&self, record: &Record, number: u64, fits: bool) -> Result<()> {
        let Record { centre, asked, entry } = record;
        let radii = [asked.radius, entry.radius].iter().all(|r| *r >= 0.0 && r.is_finite());
        if entry.number != number {
            Err(self.damaged(format!("entry {number} is missing")))
        } else if !fits || !radii || centre.iter().any(|v| !v.is_finite()) {
            Err(self.damaged(format!("entry {number} or its place in the order was changed")))
        } else {
            Ok(())
        }
    }

    /// At most `limit` entries from `number` on.
    pub(crate) fn records(&self, number: u64, limit: usize) -> Result<Vec<Record>> {
        self.sql(|c| {
            let mut statement = c.prepare_cached(SELECT)?;
            let rows = statement.query_map([number], read_record)?;
            rows.take(limit).map(|row| row.map(|(record, _)| record)).collect()
        })
    }

    /// SQLite's own check of the file.
    pub(crate) fn check_integrity(&self) -> Result<()> {
        let found: String = self.sql(|c| c.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)))?;
        if found == "ok" {
            Ok(())
        } else {
            Err(self.damaged(found.replace('\n', " ")))
        }
    }

    /// The error for a damaged file.
    pub(crate) fn damaged(&self, what: impl std::fmt::Display) -> Error {
        damaged(&self.path, what)
    }

    #[cfg(test)]
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    #[cfg(test)]
    pub(crate) fn pretend_fork(&mut self) {
        self.process += 1;
    }
}

impl Centres for Store {
    fn centre(&self, number: u64) -> Result<Vec<f32>> {
        let read = "SELECT centre FROM entry WHERE number = ?1";
        let centre = |row: &Row| from_bytes(row.get_ref(0)?.as_blob()?);
        self.sql(|c| c.prepare_cached(read)?.query_row([number], centre))
    }
}

/// What the digest of an entry covers.
fn digest(previous: &Digest, record: &Record) -> Digest {
    let Record { centre, asked, entry } = record;
    let mut hash = Sha256::new();
    hash.update(previous);
    hash.update(entry.number.to_le_bytes());
    hash.update(asked.prediction.to_le_bytes());
    hash.update(asked.radius.to_le_bytes());
    hash.update(entry.prediction.to_le_bytes());
    hash.update(entry.radius.to_le_bytes());
    hash.update([Outcome::ALL.iter().position(|o| *o == entry.outcome).unwrap_or(usize::MAX) as u8]);
    hash.update(entry.cause.map_or(u64::MAX, |cause| cause).to_le_bytes());
    hash.update((centre.len() as u64).to_le_bytes());
    hash.update(to_bytes(centre));
    hash.finalize().into()
}

fn read_record(row: &Row) -> rusqlite::Result<(Record, Digest)> {
    let centre = from_bytes(row.get_ref(1)?.as_blob()?)?;
    let asked = Asked { prediction: row.get(2)?, radius: row.get(3)? };
    let name: String = row.get(6)?;
    let outcome = Outcome::from_name(&name).ok_or_else(|| unreadable(6))?;
    let entry = Entry {
        number: row.get(0)?,
        prediction: row.get(4)?,
        radius: row.get(5)?,
        outcome,
        cause: row.get(7)?,
    };
    Ok((Record { centre, asked, entry }, row.get(8)?))
}

fn unreadable(column: usize) -> rusqlite::Error {
    rusqlite::Error::InvalidColumnType(column, "entry".into(), rusqlite::types::Type::Blob)
}

fn to_bytes(centre: &[f32]) -> Vec<u8> {
    centre.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn from_bytes(bytes: &[u8]) -> rusqlite::Result<Vec<f32>> {
    let (values, rest) = bytes.as_chunks::<4>();
    if rest.is_empty() && !values.is_empty() {
        Ok(values.iter().map(|v| f32::from_le_bytes(*v)).collect())
    } else {
        Err(unreadable(1))
    }
}

/// Makes an empty ledger beside `path` and moves it there, so that no other process ever sees half of one.
fn create(path: &Path) -> Result<()> {
    let folder = folder_of(path);
    if !folder.is_dir() {
        let message = format!(
            "The ledger '{}' cannot be made: there is no folder '{}'. Make the folder or check the path.",
            path.display(),
            folder.display()
        );
        return Err(Error::ledger(message));
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}-{:?}.new", std::process::id(), std::thread::current().id()));
    let draft = folder.join(name);
    let made = write_empty(&draft).map_err(|e| failure(path, &e)).and_then(|()| publish(&draft, path));
    let _ = std::fs::remove_file(&draft);
    made
}

fn write_empty(draft: &Path) -> rusqlite::Result<()> {
    let connection = Connection::open(draft)?;
    connection.pragma_update(None, "page_size", PAGE)?;
    let tables = TABLES.map(|(_, sql)| sql).join("; ");
    connection.execute_batch(&format!(
        "PRAGMA synchronous = FULL; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; \
         BEGIN; {tables}; INSERT INTO ledger VALUES (0, 0, 0, 0, zeroblob(32)); COMMIT; \
         PRAGMA journal_mode = WAL;"
    ))?;
    connection.close().map_err(|(_, e)| e)
}

/// Gives the draft its name, unless another process was first. (Renaming is for file systems without links.)
fn publish(draft: &Path, path: &Path) -> Result<()> {
    let linked = match std::fs::hard_link(draft, path) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(_) if !path.exists() => std::fs::rename(draft, path),
        other => other,
    };
    linked.map_err(|e| unwritable(path, e))?;
    if let Ok(folder) = File::open(folder_of(path)) {
        // Where a folder cannot be synchronised, its system does so by itself.
        let _ = folder.sync_all();
    }
    Ok(())
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Looks at the file's first bytes, before SQLite may touch it.
fn check_header(path: &Path) -> Result<()> {
    let mut header = Vec::with_capacity(HEADER);
    let read = File::open(path).and_then(|file| file.take(HEADER as u64).read_to_end(&mut header));
    read.map_err(|e| {
        Error::ledger(format!(
            "The ledger '{}' cannot be read ({e}). Check the path and its permissions.",
            path.display()
        ))
    })?;
    if header.is_empty() {
        Err(foreign(path, "it is empty"))
    } else if !header.starts_with(MAGIC) {
        Err(foreign(path, "it is no SQLite database"))
    } else if header.len() < HEADER {
        Err(damaged(path, "it ends within its header"))
    } else if header[68..72] != APPLICATION_ID.to_be_bytes() {
        Err(foreign(path, "it is an SQLite database of another application"))
    } else if !is_own_header(&header) {
        Err(damaged(path, "its header is not as it was written"))
    } else {
        Ok(())
    }
}

/// Whether the parts of SQLite's header that never change in a ledger are as they were made.
///
/// Page size 4096, journal (1 or 2) in two places, sizes fixed by the format; schema format 4, no automatic vacuum,
/// UTF-8, room reserved for future versions (sqlite.org/fileformat2.html, 1.3).
fn is_own_header(header: &[u8]) -> bool {
    let number = |at: usize| header[at..at + 4].iter().fold(0_u32, |n, byte| (n << 8) | u32::from(*byte));
    header[16..18] == [0x10, 0]
        && header[18..20].iter().all(|journal| matches!(journal, 1 | 2))
        && header[20..24] == [0, 64, 32, 32]
        && [(44, 4), (52, 0), (56, 1), (64, 0)].into_iter().all(|(at, value)| number(at) == value)
        && header[72..92].iter().all(|byte| *byte == 0)
}

fn connect(path: &Path, writable: bool) -> rusqlite::Result<Connection> {
    let access = if writable { OpenFlags::SQLITE_OPEN_READ_WRITE } else { OpenFlags::SQLITE_OPEN_READ_ONLY };
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    let prepared = prepare(&mut connection, writable);
    match prepared {
        Err(e) if !writable && is_cannot_open(&e) && !has_log(path) => connect_immutable(path, flags),
        other => other.map(|()| connection),
    }
}

/// A file nobody can write beside (a read-only folder or medium) can be read without a log.
fn connect_immutable(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let escape = |byte: &u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => char::from(*byte).to_string(),
        other => format!("%{other:02X}"),
    };
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let escaped: String = whole.as_os_str().as_encoded_bytes().iter().map(escape).collect();
    let uri = format!("file:{escaped}?immutable=1");
    let mut connection = Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)?;
    prepare(&mut connection, false)?;
    Ok(connection)
}

fn has_log(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    Path::new(&log).exists()
}

fn is_cannot_open(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::CannotOpen)
}

/// Settings of this connection, and a first look at the file.
fn prepare(connection: &mut Connection, writable: bool) -> rusqlite::Result<()> {
    connection.busy_handler(Some(|tries| {
        std::thread::sleep(Duration::from_millis(1));
        tries < PATIENCE
    }))?;
    connection.execute_batch(&format!(
        "PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON; \
         PRAGMA cache_size = -{PAGE_CACHE}; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;"
    ))?;
    if writable {
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0))?;
    }
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0)).map(drop)
}

fn foreign(path: &Path, why: &str) -> Error {
    Error::ledger_corrupt(format!(
        "The file '{}' is not a ledger: {why}. Give another path, or remove the file to start a new ledger there.",
        path.display()
    ))
}

fn damaged(path: &Path, what: impl std::fmt::Display) -> Error {
    Error::ledger_corrupt(format!(
        "The ledger '{}' is damaged: {what}. Restore it from a backup; its answers can no longer be relied on.",
        path.display()
    ))
}

fn wrong_version(path: &Path, version: i32) -> Error {
    let advice = if version > SCHEMA_VERSION {
        "Update certssb to read it"
    } else {
        "No release of certssb wrote that version; restore the file from a backup"
    };
    Error::ledger_version(format!(
        "The ledger '{}' has schema version {version}, this certssb reads version {SCHEMA_VERSION}. {advice}.",
        path.display()
    ))
}

fn unwritable(path: &Path, detail: impl std::fmt::Display) -> Error {
    Error::ledger(format!(
        "The ledger '{}' cannot be written ({detail}). Give write permission for the file and its folder, or open it \
         for reading only. Nothing was stored.",
        path.display()
    ))
}

/// The error for a failure of SQLite.
fn failure(path: &Path, error: &rusqlite::Error) -> Error {
    use rusqlite::ErrorCode as Code;
    let shown = path.display();
    if matches!(error, rusqlite::Error::InvalidPath(_) | rusqlite::Error::NulError(_)) {
        return Error::ledger(format!(
            "'{shown}' is not a path that a ledger can have ({error}). Give another path."
        ));
    }
    let Some(inner) = error.sqlite_error() else {
        return damaged(path, error);
    };
    match inner.code {
        Code::DatabaseCorrupt | Code::NotADatabase => damaged(path, error),
        _ if inner.extended_code == SHORT_READ => damaged(path, error),
        Code::ReadOnly | Code::PermissionDenied | Code::CannotOpen | Code::AuthorizationForStatementDenied => {
            unwritable(path, error)
        }
        Code::DiskFull => Error::ledger(format!(
            "The ledger '{shown}' cannot grow: the disk is full ({error}). Free some space and update again; nothing of \
             this update was stored."
        )),
        Code::DatabaseBusy | Code::DatabaseLocked => Error::ledger(format!(
            "The ledger '{shown}' has been locked by another process for {} s ({error}). Let that process finish and \
             update again; nothing of this update was stored.",
            PATIENCE / 1000
        )),
        _ => Error::ledger(format!(
            "The ledger '{shown}' could not be read or written ({error}). Check the disk and update again; nothing of \
             this update was stored."
        )),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn without_a_log_a_file_is_read_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("50% of? #1 é.sqlite");
        drop(Store::open(&path).unwrap());
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = connect_immutable(&path, flags).unwrap();
        let store = Store::checked(connection, &path, false).unwrap();
        assert_eq!(store.head().unwrap(), Head::default());
        let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(files.len(), 1, "no draft, log or shared memory is left behind: {files:?}");
    }

    #[test]
    fn a_commit_waits_for_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("regions.sqlite");
        for _ in ["made", "opened again"] {
            let store = Store::open(&path).unwrap();
            let setting =
                |name| store.connection.pragma_query_value(None, name, |row| row.get::<_, String>(0));
            assert_eq!(setting("journal_mode").unwrap(), "wal");
            let full: i32 =
                store.connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
            assert_eq!(full, 2, "FULL");
        }
    }

    #[test]
    fn of_two_that_make_a_ledger_the_second_uses_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("regions.sqlite");
        create(&path).unwrap();
        let first = std::fs::read(&path).unwrap();
        let draft = folder.path().join("draft");
        std::fs::write(&draft, b"second").unwrap();
        publish(&draft, &path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), first);
    }

    #[test]
    fn every_failure_of_sqlite_has_a_kind_and_an_advice() {
        use rusqlite::ffi;
        for (code, kind, part) in [
            (ffi::SQLITE_CORRUPT, ErrorKind::LedgerCorrupt, "Restore it from a backup"),
            (ffi::SQLITE_NOTADB, ErrorKind::LedgerCorrupt, "Restore it from a backup"),
            (ffi::SQLITE_IOERR_SHORT_READ, ErrorKind::LedgerCorrupt, "Restore it from a backup"),
            (ffi::SQLITE_READONLY, ErrorKind::Ledger, "write permission"),
            (ffi::SQLITE_CANTOPEN, ErrorKind::Ledger, "write permission"),
            (ffi::SQLITE_FULL, ErrorKind::Ledger, "Free some space"),
            (ffi::SQLITE_BUSY, ErrorKind::Ledger, "locked by another process for 60 s"),
            (ffi::SQLITE_IOERR_WRITE, ErrorKind::Ledger, "Check the disk"),
        ] {
            let error =
                failure(Path::new("a.sqlite"), &rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
            assert_eq!(*error.kind(), kind, "{error}");
            assert!(error.to_string().contains("'a.sqlite'") && error.to_string().contains(part), "{error}");
        }
    }
}
