//! The file of a ledger: one SQLite database, every entry chained to the one before by a digest.
//!
//! An entry's digest covers the previous digest and everything the entry says (SHA-256), so an entry that was changed,
//! dropped or moved is noticed; the row `ledger` holds the counts and the last digest, so missing entries at the end
//! are too. The write-ahead log with `synchronous = FULL` makes a committed transaction survive a crash of the
//! process and of the machine. Writers take the lock at the start of their transaction (`BEGIN IMMEDIATE`).

use std::path::{Path, PathBuf};
use std::time::Instant;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Row, Transaction, TransactionBehavior};
use sha2::{Digest as _, Sha256};

use super::door::{missing, Hold, Stamp};
use super::failure::{check_name, damaged, failure, forked, gone, log_is_needed, wrong_version};
use super::index::Centres;
use super::make::create;
use super::patience::{pause, Patience};
use super::region::{Asked, Entry, Outcome, Record};
use crate::error::{Error, Result};
use crate::stop::Stop;

/// Version of the schema below.
pub(super) const SCHEMA_VERSION: i32 = 1;
/// SQLite's own cache in KiB.
const PAGE_CACHE: i32 = 16 * 1024;
/// Pages of a ledger without entries.
const PAGES_WHEN_EMPTY: i64 = 3;
/// Steps of SQLite between two questions whether to go on.
const STEPS: i32 = 10_000;

/// The tables, as SQLite stores their definitions; a ledger has exactly these.
pub(super) const TABLES: [(&str, &str); 2] = [
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
    /// `None` only while it is dropped.
    connection: Option<Connection>,
    path: PathBuf,
    writable: bool,
    /// What the file was like when it was opened as one that nobody writes.
    frozen: Option<Stamp>,
    /// A connection must not be used in a forked child.
    process: u32,
    patience: Patience,
    /// Dropped after the connection.
    hold: Option<Hold>,
}

impl Store {
    /// Opens the ledger at `path`; where there is no file, makes one if it is for writing.
    pub(crate) fn open(path: &Path, read_only: bool, patience: Patience) -> Result<Self> {
        check_name(path)?;
        if !path.exists() && !read_only {
            create(path)?;
        }
        Self::open_again(path, read_only, patience)
    }

    /// Opens a ledger that is there.
    pub(crate) fn open_again(path: &Path, read_only: bool, patience: Patience) -> Result<Self> {
        if path.symlink_metadata().is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound) {
            return Err(missing(path));
        }
        let (hold, first) = Hold::enter(path)?;
        let before = if first && hold.has_only_a_log_ahead() { head_without_log(&hold) } else { None };
        hold.was_looked_at();
        let (connection, frozen) = connect(path, &hold, !read_only, patience)?;
        let store = Self {
            connection: Some(connection),
            path: path.to_owned(),
            writable: !read_only,
            frozen,
            process: std::process::id(),
            patience,
            hold: Some(hold),
        };
        store.check_schema()?;
        store.check_grown_from(before)?;
        Ok(store)
    }

    /// Whether the ledger's owner wants the call to end.
    pub(crate) fn is_asked_to_stop(&self) -> bool {
        Stop::current().is_set()
    }

    /// A ledger only grows: what the file says without its log is an earlier state of what it says with it. Else the log
    /// is another ledger's, or an older one.
    fn check_grown_from(&self, before: Option<(u64, Digest)>) -> Result<()> {
        let _view = self.read()?;
        let head = self.head()?;
        match before {
            Some((entries, _)) if entries > head.entries => {}
            Some((entries, digest)) if entries > 0 && self.digest_of(entries - 1)? != digest => {}
            _ => return Ok(()),
        }
        Err(self.damaged("its log does not continue where the file ends"))
    }

    /// Where the file really is, whatever becomes of the working directory.
    pub(crate) fn real_path(&self) -> &Path {
        self.hold.as_ref().map_or(&self.path, Hold::real)
    }

    /// Whether the file was opened as one that nobody writes, and has been written.
    pub(crate) fn is_stale(&self) -> bool {
        self.frozen.is_some() && self.hold.as_ref().and_then(Hold::stamp) != self.frozen
    }

    /// Whether another process opened it, of which this one is a fork.
    pub(crate) fn is_inherited(&self) -> bool {
        std::process::id() != self.process
    }

    /// Version first: another version may have other tables.
    fn check_schema(&self) -> Result<()> {
        let version: i32 = self.sql(|c| c.pragma_query_value(None, "user_version", |row| row.get(0)))?;
        if version != SCHEMA_VERSION {
            return Err(wrong_version(&self.path, version, SCHEMA_VERSION));
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

    /// The connection, in the process that opened it.
    fn connection(&self) -> Result<&Connection> {
        self.connection.as_ref().filter(|_| !self.is_inherited()).ok_or_else(|| forked(&self.path))
    }

    fn failure(&self, error: &rusqlite::Error) -> Error {
        failure(&self.path, error, self.patience)
    }

    /// Runs SQL; a failure names the file and says what to do.
    fn sql<T>(&self, run: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        run(self.connection()?).map_err(|e| self.failure(&e))
    }

    /// The state after the last entry, as the head tells it; the numbers of the entries agree.
    pub(crate) fn head(&self) -> Result<Head> {
        let read = "SELECT entries, regions, dimension, digest, (SELECT max(number) FROM entry), \
                    CASE WHEN entries = 0 THEN (SELECT page_count FROM pragma_page_count) END \
                    FROM ledger WHERE id = 0";
        let (head, last, pages): (Head, Option<i64>, Option<i64>) = self.sql(|c| {
            c.prepare_cached(read)?.query_row([], |row| {
                let head = Head {
                    entries: row.get(0)?,
                    regions: row.get(1)?,
                    dimension: row.get(2)?,
                    digest: row.get(3)?,
                };
                Ok((head, row.get(4)?, row.get(5)?))
            })
        })?;
        let found =
            last.map_or(0, |last| u64::try_from(last).map_or(u64::MAX, |last| last.saturating_add(1)));
        if found != head.entries {
            let message = format!("its head mentions {} entries, {found} were found", head.entries);
            return Err(self.damaged(message));
        }
        if head.entries == 0 && (head != Head::default() || pages != Some(PAGES_WHEN_EMPTY)) {
            return Err(self.damaged("its head mentions no entries, but the file holds something"));
        }
        Ok(head)
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
        let connection = self.connection()?;
        self.check_in_place()?;
        Transaction::new_unchecked(connection, behavior).map_err(|e| self.failure(&e))
    }

    /// Makes a transaction durable.
    pub(crate) fn commit(&self, transaction: Transaction<'_>) -> Result<()> {
        transaction.commit().map_err(|e| self.failure(&e))?;
        // What was written into a file that has gone meanwhile is not kept.
        self.check_in_place()
    }

    fn check_in_place(&self) -> Result<()> {
        match &self.hold {
            Some(hold) if !hold.is_in_place() => Err(gone(&self.path)),
            _ => Ok(()),
        }
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

    /// Reads at most `limit` entries after `now` up to `end`, checks each against the chain, and moves `now` on.
    ///
    /// Call it inside a transaction in which `end` was read.
    pub(crate) fn read_on(&self, now: &mut Head, end: &Head, limit: usize) -> Result<Vec<Record>> {
        let connection = self.connection()?;
        let mut statement = connection.prepare_cached(SELECT).map_err(|e| self.failure(&e))?;
        let mut rows = statement.query([now.entries]).map_err(|e| self.failure(&e))?;
        let mut records = Vec::new();
        while records.len() < limit && now.entries < end.entries {
            pause()?;
            let Some(row) = rows.next().map_err(|e| self.failure(&e))? else { break };
            let (record, written) = self.record(row, now.entries)?;
            let next = now.after(&record);
            let fits = next.digest == written && record.centre.len() == end.dimension;
            self.check_record(&record, now.entries, fits)?;
            *now = next;
            records.push(record);
        }
        if records.is_empty() && now.entries < end.entries {
            let message = format!("its head mentions {} entries, {} were found", end.entries, now.entries);
            return Err(self.damaged(message));
        }
        Ok(records)
    }

    /// Whether entries that were read one after another led to `end`.
    pub(crate) fn check_end(&self, now: &Head, end: &Head) -> Result<()> {
        if now.entries < end.entries || now == end {
            Ok(())
        } else {
            Err(self.damaged("its head does not follow from its entries"))
        }
    }

    /// The digest of an entry, as it is written.
    pub(crate) fn digest_of(&self, number: u64) -> Result<Digest> {
        let read = "SELECT digest FROM entry WHERE number = ?1";
        self.sql(|c| c.prepare_cached(read)?.query_row([number], |row| row.get(0)))
    }

    fn record(&self, row: &Row, number: u64) -> Result<(Record, Digest)> {
        let unreadable = |e| match self.failure(&e) {
            error if *error.kind() != crate::ErrorKind::LedgerCorrupt => error,
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
    pub(crate) fn pragma(&self, setting: &str) -> i64 {
        self.sql(|c| c.query_row(&format!("PRAGMA {setting}"), [], |row| row.get(0))).unwrap_or(-1)
    }

    #[cfg(test)]
    pub(crate) fn pretend_fork(&mut self) {
        self.process += 1;
    }
}

impl Drop for Store {
    /// In a forked child nothing is closed: that would meddle with locks and log of the process that opened it.
    fn drop(&mut self) {
        if self.is_inherited() {
            std::mem::forget(self.connection.take());
            std::mem::forget(self.hold.take());
        }
        // The connection goes first: it has locks that closing the other descriptor would drop.
        drop(self.connection.take());
    }
}

impl Centres for Store {
    fn centre(&self, number: u64) -> Result<Vec<f32>> {
        let read = "SELECT centre FROM entry WHERE number = ?1";
        let centre = |row: &Row| from_bytes(row.get_ref(0)?.as_blob()?);
        self.sql(|c| c.prepare_cached(read)?.query_row([number], centre))
    }

    fn changed(&self, number: u64) -> Error {
        self.damaged(format!("the centre of entry {number} was changed since it was read"))
    }

    fn pause(&self) -> Result<()> {
        pause()
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

fn connect(
    path: &Path,
    hold: &Hold,
    writable: bool,
    patience: Patience,
) -> Result<(Connection, Option<Stamp>)> {
    let access = if writable { OpenFlags::SQLITE_OPEN_READ_WRITE } else { OpenFlags::SQLITE_OPEN_READ_ONLY };
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(hold.real(), flags)
        .and_then(|mut connection| prepare(&mut connection, writable, patience).map(|()| connection));
    match opened {
        Err(e) if !writable && is_refused(&e) && hold.has_log() => Err(log_is_needed(path, e)),
        Err(e) if !writable && is_refused(&e) => {
            let stamp = hold.stamp();
            let connection = connect_immutable(hold.real(), flags, patience);
            Ok((connection.map_err(|e| failure(path, &e, patience))?, stamp))
        }
        other => Ok((other.map_err(|e| failure(path, &e, patience))?, None)),
    }
}

/// A file nobody can write beside (a read-only folder or medium) can be read without a log.
fn connect_immutable(real: &Path, flags: OpenFlags, patience: Patience) -> rusqlite::Result<Connection> {
    let escape = |byte: &u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => char::from(*byte).to_string(),
        other => format!("%{other:02X}"),
    };
    let escaped: String = real.as_os_str().as_encoded_bytes().iter().map(escape).collect();
    let uri = format!("file:{escaped}?immutable=1");
    let mut connection = Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)?;
    prepare(&mut connection, false, patience)?;
    Ok(connection)
}

/// Number of entries and last digest of the file alone; `None` where it cannot be read without its log, as after a crash
/// while the log was being copied back.
///
/// Closing this connection drops the locks of others: only for a process that has none.
fn head_without_log(hold: &Hold) -> Option<(u64, Digest)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = connect_immutable(hold.real(), flags, Patience::new()).ok()?;
    let read = "SELECT entries, digest FROM ledger WHERE id = 0";
    connection.query_row(read, [], |row| Ok((row.get(0)?, row.get(1)?))).ok()
}

/// Whether SQLite could not make its log beside the file.
///
/// It says that the folder is read-only where it may not be written, else that the log cannot be opened.
fn is_refused(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode as Code;
    matches!(error.sqlite_error_code(), Some(Code::CannotOpen | Code::ReadOnly | Code::PermissionDenied))
}

/// Settings of this connection, and a first look at the file.
fn prepare(connection: &mut Connection, writable: bool, patience: Patience) -> rusqlite::Result<()> {
    let mut since = Instant::now();
    connection.busy_handler(Some(move |tries| {
        if tries == 0 {
            since = Instant::now();
        }
        patience.waits_on(since)
    }))?;
    connection.progress_handler(STEPS, Some(|| Stop::current().is_set()))?;
    // A file may come from a stranger: nothing in it is run.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    connection.execute_batch(&format!(
        "PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON; \
         PRAGMA cache_size = -{PAGE_CACHE}; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;"
    ))?;
    if writable {
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0))?;
    }
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0)).map(drop)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn open(path: &Path) -> Store {
        Store::open(path, false, Patience::new()).unwrap()
    }

    #[test]
    fn without_a_log_a_file_is_read_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("50% of? #1 é.sqlite");
        drop(open(&path));
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = connect_immutable(&path, flags, Patience::new()).unwrap();
        let n: i64 = connection.query_row("SELECT entries FROM ledger", [], |row| row.get(0)).unwrap();
        assert_eq!(n, 0);
        let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(files.len(), 1, "no draft, log or shared memory is left behind: {files:?}");
    }

    /// Who looks at a file, or closes what it has looked at, must not meet locks of its own process.
    #[test]
    fn a_thread_waits_while_another_one_looks_at_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("regions.sqlite");
        drop(open(&path));
        let (hold, first) = Hold::enter(&path).unwrap();
        assert!(first);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| drop(open(&path)));
            std::thread::sleep(std::time::Duration::from_millis(100));
            assert!(!waits.is_finished());
            hold.was_looked_at();
            waits.join().unwrap();
            // Whoever finds a fault has looked as well.
            drop(hold);
            let (hold, first) = Hold::enter(&path).unwrap();
            let waits = scope.spawn(|| open(&path));
            drop(hold);
            assert!(first && waits.join().unwrap().head().unwrap().entries == 0);
        });
    }

    #[test]
    fn a_commit_waits_for_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("regions.sqlite");
        for _ in ["made", "opened again"] {
            let store = open(&path);
            let mode: String =
                store.sql(|c| c.pragma_query_value(None, "journal_mode", |row| row.get(0))).unwrap();
            assert_eq!(mode, "wal");
            assert_eq!(store.pragma("synchronous"), 2, "FULL");
        }
    }
}
