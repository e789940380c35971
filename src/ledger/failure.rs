//! What went wrong with a ledger's file, in a sentence that says what to do.

use std::path::Path;

use super::patience::{stopped, Patience};
use crate::error::{Error, Result};
use crate::stop::Stop;

/// SQLite's code for a file that ends before its last page.
const SHORT_READ: i32 = 522;

pub(super) fn foreign(path: &Path, why: &str) -> Error {
    Error::ledger_corrupt(format!(
        "The file '{}' is not a ledger: {why}. Give another path, or remove the file to start a new ledger there.",
        path.display()
    ))
}

pub(super) fn damaged(path: &Path, what: impl std::fmt::Display) -> Error {
    Error::ledger_corrupt(format!(
        "The ledger '{}' is damaged: {what}. Restore it from a backup; its answers can no longer be relied on.",
        path.display()
    ))
}

pub(super) fn wrong_version(path: &Path, version: i32, known: i32) -> Error {
    let advice = if version > known {
        "Update certssb to read it"
    } else {
        "No release of certssb wrote that version; restore the file from a backup"
    };
    Error::ledger_version(format!(
        "The ledger '{}' has schema version {version}, this certssb reads version {known}. {advice}.",
        path.display()
    ))
}

pub(super) fn unwritable(path: &Path, detail: impl std::fmt::Display) -> Error {
    Error::ledger(format!(
        "The ledger '{}' cannot be written ({detail}). Give write permission for the file and its folder, or open it \
         for reading only. Nothing was stored.",
        path.display()
    ))
}

pub(super) fn unreadable(path: &Path, detail: impl std::fmt::Display) -> Error {
    Error::ledger(format!(
        "The ledger '{}' cannot be read ({detail}). Check the path and its permissions.",
        path.display()
    ))
}

/// Reading was refused because the log beside the file needs a folder that may be written.
pub(super) fn log_is_needed(path: &Path, detail: impl std::fmt::Display) -> Error {
    Error::ledger(format!(
        "The ledger '{0}' has updates in its log '{0}-wal', which can be read only where the folder may be written \
         ({detail}). Copy both files into a folder of your own, or let a process that may write open the ledger once.",
        path.display()
    ))
}

/// The error for a file that was removed, or replaced by another one, while it was open.
pub(super) fn gone(path: &Path) -> Error {
    Error::ledger(format!(
        "The ledger '{}' is no longer there: its file was removed or replaced while it was open, and what is recorded in it \
         would be lost. Put the file back, or open the ledger again.",
        path.display()
    ))
}

/// A connection must not be used, nor even closed, by a forked child.
pub(super) fn forked(path: &Path) -> Error {
    Error::ledger(format!(
        "The ledger '{}' was opened by another process before a fork. Open it again in this process.",
        path.display()
    ))
}

/// SQLite would take the parent's locks for this process's own.
pub(super) fn inherited(path: &Path) -> Error {
    Error::ledger(format!(
        "The ledger '{}' was open when this process was forked from another one, whose locks it cannot tell from its \
         own. Close the ledger before the fork, or start the process afresh.",
        path.display()
    ))
}

/// The error for a failure of SQLite.
pub(super) fn failure(path: &Path, error: &rusqlite::Error, patience: Patience) -> Error {
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
        Code::DatabaseCorrupt | Code::NotADatabase | Code::ConstraintViolation => damaged(path, error),
        _ if inner.extended_code == SHORT_READ => damaged(path, error),
        Code::OperationInterrupted => stopped(),
        Code::DatabaseBusy | Code::DatabaseLocked if Stop::current().is_set() => stopped(),
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
            patience.longest().as_secs()
        )),
        _ => Error::ledger(format!(
            "The ledger '{shown}' could not be read or written ({error}). Check the disk and update again; nothing of \
             this update was stored."
        )),
    }
}

/// Refuses names that SQLite, or a reader of this line, would take for something else than a file.
pub(super) fn check_name(path: &Path) -> Result<()> {
    let text = path.to_string_lossy();
    let expected = |what: &str| {
        Err(Error::ledger(format!(
            "The 'path' parameter must be the path of a file, such as 'regions.sqlite'. Got {what} instead."
        )))
    };
    match text.as_ref() {
        "" => expected("an empty one"),
        ":memory:" => expected("':memory:', but a ledger that nobody can open again would keep no promise,"),
        name if name.as_bytes().contains(&0) => expected("one with a null character"),
        name if name.to_ascii_lowercase().starts_with("file:") => expected(&format!("the address '{name}'")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::stop::until;
    use std::sync::atomic::AtomicBool;
    use std::sync::Arc;

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
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            let error = failure(Path::new("a.sqlite"), &error, Patience::new());
            assert_eq!(*error.kind(), kind, "{error}");
            assert!(error.to_string().contains("'a.sqlite'") && error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn a_stopped_wait_is_a_cancellation() {
        let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
        let busy = rusqlite::Error::SqliteFailure(busy, None);
        let set = Arc::new(AtomicBool::new(true));
        let error = until(&set, || failure(Path::new("a.sqlite"), &busy, Patience::new()));
        assert_eq!(*error.kind(), ErrorKind::Cancelled);
    }
}
