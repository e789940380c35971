//! What the learners of a partition in a directory were trained on, and how: a digest of each, by number, in a file of its own.
//!
//! Digests are known before a training, and written before its first member. So they are there whatever becomes of it, and who
//! has changed data can tell which learners would come out as they are.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{hex, unhex};
use crate::files;

/// Before and after the beginning of the record's digest in a name.
const NAME: (&str, &str) = ("learners-", ".json");
/// Bytes that such a file may have: 70 for each of the most learners that there may be, and more.
const LARGEST: u64 = 1 << 27;

/// Digests by number; `None` where it is not known how the learner in the directory was computed.
pub(crate) type TrainedOn = Vec<Option<[u8; 32]>>;

#[derive(Serialize, Deserialize)]
struct File {
    record: String,
    trained_on: Vec<Option<String>>,
}

fn place(folder: &Path, record: &str) -> PathBuf {
    folder.join(format!("{}{}{}", NAME.0, record.get(..16).unwrap_or_default(), NAME.1))
}

/// What a directory says of the learners of the record with this digest; `None` if nothing, or nothing that can be read.
pub(super) fn read(folder: &Path, record: &str) -> Option<TrainedOn> {
    let file: File = serde_json::from_slice(&files::read(&place(folder, record), LARGEST).ok()?).ok()?;
    let digests = file.trained_on.iter().map(|digest| digest.as_ref().and_then(|digest| unhex(digest)));
    (file.record == record).then(|| digests.collect())
}

/// Writes it unless something is there; says whether it did.
///
/// # Errors
/// What the system says.
pub(super) fn create(folder: &Path, record: &str, digests: &TrainedOn) -> io::Result<bool> {
    files::create(&place(folder, record), &text(record, digests)?)
}

/// Writes it, whatever was there.
///
/// # Errors
/// What the system says.
pub(super) fn replace(folder: &Path, record: &str, digests: &TrainedOn) -> io::Result<()> {
    files::replace(&place(folder, record), &text(record, digests)?)
}

fn text(record: &str, digests: &TrainedOn) -> io::Result<Vec<u8>> {
    let trained_on = digests.iter().map(|digest| digest.as_ref().map(|digest| hex(digest))).collect();
    Ok(serde_json::to_vec(&File { record: record.to_owned(), trained_on })?)
}

/// Removes what is said of learners of other records.
pub(super) fn sweep(folder: &Path, record: &str) {
    let own = place(folder, record);
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(|name| name.starts_with(NAME.0) && name.ends_with(NAME.1));
        if ours && entry.path() != own {
            let _ = fs::remove_file(entry.path());
        }
    }
}
