//! Makes an empty ledger, all of it or nothing.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::door::{APPLICATION_ID, PAGE};
use super::failure::{failure, unreadable, unwritable};
use super::patience::Patience;
use super::store::{SCHEMA_VERSION, TABLES};
use crate::error::{Error, Result};
use crate::files::{folder_of, name_if_free, sync_folder};

/// Makes an empty ledger beside `path` and moves it there, so that no other process ever sees half of one.
pub(super) fn create(path: &Path) -> Result<()> {
    let folder = folder_of(path);
    if !folder.is_dir() {
        let message = format!(
            "The ledger '{}' cannot be created: there is no folder '{}'. Create the folder or check the path.",
            path.display(),
            folder.display()
        );
        return Err(Error::ledger(message));
    }
    // Another process may have made the ledger since it was looked for: only a link can be there and lead nowhere.
    let is_link = path.symlink_metadata().is_ok_and(|there| there.is_symlink());
    if is_link && !path.exists() {
        return Err(unreadable(path, "it is a link to a file that is not there"));
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    // A name that nobody can foresee, and a file that nobody else has made: nothing is written through a link.
    name.push(format!(".{:016x}.new", RandomState::new().hash_one(std::process::id())));
    let draft = folder.join(name);
    File::options().write(true).create_new(true).open(&draft).map_err(|e| unwritable(path, e))?;
    let made = write_empty(&draft)
        .map_err(|e| failure(path, &e, Patience::new()))
        .and_then(|()| publish(&draft, path));
    let _ = std::fs::remove_file(&draft);
    made
}

fn write_empty(draft: &Path) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(draft, flags | OpenFlags::SQLITE_OPEN_NOFOLLOW)?;
    connection.pragma_update(None, "page_size", PAGE)?;
    let tables = TABLES.map(|(_, sql)| sql).join("; ");
    connection.execute_batch(&format!(
        "PRAGMA synchronous = FULL; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; \
         BEGIN; {tables}; INSERT INTO ledger VALUES (0, 0, 0, 0, zeroblob(32)); COMMIT; \
         PRAGMA journal_mode = WAL;"
    ))?;
    connection.close().map_err(|(_, e)| e)
}

/// Gives the draft its name, unless another process was first.
fn publish(draft: &Path, path: &Path) -> Result<()> {
    name_if_free(draft, path).map_err(|e| unwritable(path, e))?;
    sync_folder(folder_of(path));
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

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
        // Made by the first after the second had looked for it, and before the second began.
        create(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), first);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "no draft is left behind");
    }
}
