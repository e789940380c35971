//! Shards: many members in one file, so that a directory of thousands of members has a few files.
//!
//! A shard is a safetensors file: under each member's number all its values, in the order of the layout (of an object its
//! bytes), and in the metadata what a file of its own would say of each. It is written beside its place from files that are
//! there, whole, and gets its name in one step; nobody appends to it. Its name is a digest of what it says of its members, so that
//! two processes which pack the same members write the same file.

use std::collections::{btree_map, BTreeMap};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::{json, Map, Value};
use sha2::{Digest, Sha256};

use super::encoding::{unpack, Foreign, Header, HEADER};
use super::{hex, Layout, Member};
use crate::files;
use crate::process::PerProcess;

/// Bytes that the head of a shard may have.
const LARGEST_HEAD: u64 = 1 << 26;
/// How long a folder must have been left alone for a listing of it to be believed: clocks of file systems are coarse.
const QUIET: Duration = Duration::from_secs(2);

/// A member in a shard.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) shard: Arc<PathBuf>,
    header: Arc<Header>,
    start: u64,
    size: u64,
}

impl Entry {
    /// The member; `None` if it is damaged, or gone.
    ///
    /// # Errors
    /// If it is whole, and of another record.
    pub(super) fn read(&self, record: &str, layout: &Layout) -> Result<Option<Member>, Foreign> {
        let Ok(data) = self.bytes() else { return Ok(None) };
        unpack(&self.header, &data, record, layout)
    }

    /// Whether it says that it is of this record.
    pub(super) fn is_of(&self, record: &str) -> bool {
        self.header.manifest == record
    }

    fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut file = files::open(&self.shard, u64::MAX)?;
        file.seek(SeekFrom::Start(self.start))?;
        let mut data = Vec::new();
        // Its size was compared with that of the file when the shard was opened.
        data.try_reserve_exact(usize::try_from(self.size).map_err(io::Error::other)?)
            .map_err(io::Error::other)?;
        file.take(self.size).read_to_end(&mut data)?;
        Ok(data)
    }
}

/// The shards of a directory, as they were when somebody of this process looked last.
pub(super) struct Shards {
    known: PerProcess<Mutex<Known>>,
}

impl Default for Shards {
    fn default() -> Self {
        Self { known: PerProcess::new() }
    }
}

impl std::fmt::Debug for Shards {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shards").finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Known {
    shards: BTreeMap<PathBuf, BTreeMap<u64, Entry>>,
    /// When the folder was changed last, if that was long enough before it was listed.
    of: Option<SystemTime>,
}

impl Shards {
    /// Where a member lies, in each shard that has it.
    ///
    /// # Errors
    /// What the system says of the folder.
    pub(super) fn entries(&self, folder: &Path, layout: &Layout, number: u64) -> io::Result<Vec<Entry>> {
        let mut known = self.known()?;
        known.refresh(folder, layout)?;
        Ok(known.shards.values().filter_map(|members| members.get(&number)).cloned().collect())
    }

    /// All that is in shards.
    ///
    /// # Errors
    /// What the system says of the folder.
    pub(super) fn all(&self, folder: &Path, layout: &Layout) -> io::Result<Vec<(u64, Entry)>> {
        let mut known = self.known()?;
        known.refresh(folder, layout)?;
        let all = known.shards.values().flatten();
        Ok(all.map(|(number, entry)| (*number, entry.clone())).collect())
    }

    /// Forgets what was seen, so that the next question looks again.
    pub(super) fn forget(&self) {
        if let Ok(mut known) = self.known() {
            known.of = None;
        }
    }

    fn known(&self) -> io::Result<MutexGuard<'_, Known>> {
        let known = self.known.get(|| Ok(Mutex::default())).map_err(io::Error::other)?;
        Ok(known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Known {
    fn refresh(&mut self, folder: &Path, layout: &Layout) -> io::Result<()> {
        let changed = fs::metadata(folder)?.modified().ok();
        if changed.is_some() && changed == self.of {
            return Ok(());
        }
        // What was in a shard that is gone again is in another one, which may not have been there when the folder was listed.
        while !self.look(listed(folder)?, layout) {}
        let quiet = |changed: &SystemTime| changed.elapsed().is_ok_and(|since| since > QUIET);
        self.of = changed.filter(quiet);
        Ok(())
    }

    /// Looks into shards that are new; whether all that were listed are there.
    fn look(&mut self, there: Vec<PathBuf>, layout: &Layout) -> bool {
        self.shards.retain(|path, _| there.contains(path));
        for path in there {
            if let btree_map::Entry::Vacant(unknown) = self.shards.entry(path) {
                let found = contents(unknown.key(), layout);
                if found.is_none() && files::is_missing(unknown.key()) {
                    return false;
                }
                // One that cannot be read has no members, like a file that is damaged.
                unknown.insert(found.unwrap_or_default());
            }
        }
        true
    }
}

/// Whether a file of this name is a shard: the first and the last of its members, and a digest.
pub(super) fn is_shard(name: &str) -> bool {
    let parts = name.strip_prefix("members-").and_then(|rest| rest.strip_suffix(".safetensors"));
    let Some(parts) = parts else { return false };
    let parts: Vec<&str> = parts.split('-').collect();
    let digits = |part: &str| part.len() >= 6 && part.bytes().all(|b| b.is_ascii_digit());
    let hexadecimal =
        |part: &str| part.len() == 16 && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    matches!(parts[..], [first, last, digest] if digits(first) && digits(last) && hexadecimal(digest))
}

fn listed(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut there = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        there.extend(name.to_str().filter(|name| is_shard(name)).map(|name| folder.join(name)));
    }
    Ok(there)
}

/// What a shard of a folder says of one of its members, if one can be read.
pub(super) fn peek(folder: &Path) -> Option<Header> {
    listed(folder).ok()?.into_iter().find_map(|path| headers(&head(&path)?)?.into_iter().next())
}

/// Removes shards that have no member of this record.
pub(super) fn sweep(folder: &Path, record: &str) {
    for path in listed(folder).unwrap_or_default() {
        let said = head(&path).and_then(|head| headers(&head)).unwrap_or_default();
        if !said.is_empty() && said.iter().all(|header| header.manifest != record) {
            let _ = fs::remove_file(path);
        }
    }
}

/// What stands at the beginning of a safetensors file. (Its library reads whole files only.)
pub(super) struct Head {
    said: Map<String, Value>,
    /// Where values begin, and how many bytes of them there are.
    start: u64,
    size: u64,
}

impl Head {
    /// What the file says of its member, or of its members.
    pub(super) fn own(&self) -> Option<&str> {
        self.said.get("__metadata__")?.get(HEADER)?.as_str()
    }
}

pub(super) fn head(path: &Path) -> Option<Head> {
    let mut file = files::open(path, u64::MAX).ok()?;
    let length = file.metadata().ok()?.len();
    let mut size = [0; 8];
    file.read_exact(&mut size).ok()?;
    let start = u64::from_le_bytes(size).checked_add(8)?;
    if start > LARGEST_HEAD || start > length {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(start - 8).read_to_end(&mut bytes).ok()?;
    Some(Head { said: serde_json::from_slice(&bytes).ok()?, start, size: length.checked_sub(start)? })
}

fn headers(head: &Head) -> Option<Vec<Header>> {
    serde_json::from_str(head.own()?).ok()
}

/// Where the values of one member are, as the format says it.
#[derive(Deserialize)]
struct Info {
    dtype: String,
    data_offsets: (u64, u64),
}

/// What a shard says that it holds, as far as that can be: entries that reach beyond its end are none.
fn contents(path: &Path, layout: &Layout) -> Option<BTreeMap<u64, Entry>> {
    let head = head(path)?;
    let headers = headers(&head)?;
    let Head { mut said, start, size } = head;
    let shard = Arc::new(path.to_owned());
    let mut entries = BTreeMap::new();
    for header in headers {
        let info = said.remove(&name_of(header.member)).map(serde_json::from_value);
        let Some(Ok(Info { dtype, data_offsets: (from, to) })) = info else { continue };
        let right = match dtype.as_str() {
            "F32" => !layout.specs().is_empty() && to.checked_sub(from) == Some(4 * layout.n_values() as u64),
            "U8" => layout.specs().is_empty() && from <= to,
            _ => false,
        };
        if right && to <= size {
            let (number, header) = (header.member, Arc::new(header));
            let entry = Entry { shard: Arc::clone(&shard), header, start: start + from, size: to - from };
            entries.insert(number, entry);
        }
    }
    Some(entries)
}

fn name_of(number: u64) -> String {
    format!("{number:06}")
}

/// Writes a shard of these members, given by what their files say and how many bytes their values have; `write` puts the values of
/// one after the other. The path.
///
/// # Errors
/// What the system says, or `write`; then nothing is there that was not before.
pub(super) fn write(
    folder: &Path,
    layout: &Layout,
    members: &[(Header, u64)],
    mut values: impl FnMut(&mut File, u64) -> io::Result<()>,
) -> io::Result<PathBuf> {
    let objects = layout.specs().is_empty();
    let headers: Vec<&Header> = members.iter().map(|(header, _)| header).collect();
    let said = serde_json::to_string(&headers)?;
    let mut head = Map::new();
    head.insert("__metadata__".to_owned(), json!({ HEADER: said }));
    let mut at = 0;
    for (header, size) in members {
        let (dtype, count) = if objects { ("U8", *size) } else { ("F32", size / 4) };
        let info = json!({ "dtype": dtype, "shape": [count], "data_offsets": [at, at + size] });
        head.insert(name_of(header.member), info);
        at += size;
    }
    let mut head = Value::Object(head).to_string();
    // As the format has it: values begin at a multiple of eight bytes.
    let padding = head.len().next_multiple_of(8) - head.len();
    head.extend(std::iter::repeat_n(' ', padding));
    let numbers = || members.iter().map(|(header, _)| header.member);
    let (first, last) = (numbers().min().unwrap_or(0), numbers().max().unwrap_or(0));
    let mut name = format!("members-{first:06}-{last:06}-");
    let _ = write!(name, "{}.safetensors", &hex(&Sha256::digest(&said))[..16]);
    let path = folder.join(name);
    files::replace_by(&path, |file| {
        file.write_all(&(head.len() as u64).to_le_bytes())?;
        file.write_all(head.as_bytes())?;
        members.iter().try_for_each(|(header, _)| values(file, header.member))
    })?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_told_from_other_files() {
        assert!(is_shard("members-000000-000255-0123456789abcdef.safetensors"));
        for name in [
            "member-000000.safetensors",
            "members-000000-000255.safetensors",
            "members-00000x-000255-0123456789abcdef.safetensors",
            "members-000000-000255-0123456789ABCDEF.safetensors",
            "members-000000-000255-0123456789abcdef.bin",
        ] {
            assert!(!is_shard(name), "{name}");
        }
    }
}
