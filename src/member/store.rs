//! The members that a checkpoint directory holds, each in a file of its own or in a shard with others.
//!
//! What was just trained is a file of its own: whole at once, whoever else writes into the directory, and on every file system.
//! When there are many such files they are packed into shards (`shards.rs`), and removed when the shard has its name. So a member
//! is always in at least one place, and several processes may pack at the same time.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind as IoKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, TryLockError};

use super::checkpoint::refuse;
use super::claims::Claims;
use super::encoding::{decode, encode, header_of, Foreign, Header};
use super::shards::{self, Entry, Shards};
use super::values::Source;
use super::{Layout, Member, Values};
use crate::error::Result;
use crate::files;
use crate::seed::SCOUT;

/// Bytes that a member's file may have beside its values.
const LARGEST_HEADER: u64 = 1 << 24;
/// Bytes that a member may have that is an object.
const LARGEST_OBJECT: u64 = 1 << 30;
/// Members of one shard, and how many files of their own are packed while a training goes on.
const PACKED_AT: usize = 256;
/// Bytes of one shard, unless one member has more: what is copied, or damaged, at once.
const LARGEST_SHARD: u64 = 1 << 30;

/// The members of one record in one directory.
#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    digest: String,
    /// Whether the directory may still hold members of a record that it was before; they count as absent.
    moves: bool,
    layout: Layout,
    shards: Shards,
    /// Files that were written here since the last packing; locked while somebody packs.
    written: Mutex<usize>,
}

impl Store {
    pub(super) fn new(folder: &Path, digest: String, layout: &Layout, moves: bool) -> Self {
        let (shards, written) = (Shards::default(), Mutex::new(0));
        Self { folder: folder.to_owned(), digest, moves, layout: layout.clone(), shards, written }
    }

    pub(super) fn digest(&self) -> &str {
        &self.digest
    }

    /// Whether there is something of this member; says nothing about what that is.
    pub(super) fn has(&self, member: u64) -> bool {
        let path = self.path(member);
        let others = || self.moves && peek(&path).is_some_and(|header| header.manifest != self.digest);
        let own = |entry: &Entry| !self.moves || entry.is_of(&self.digest);
        path.exists() && !others() || self.entries(member).is_ok_and(|entries| entries.iter().any(own))
    }

    /// The member, if it is there and whole.
    ///
    /// # Errors
    /// A checkpoint error if its file cannot be read, or belongs to another record or member.
    pub(super) fn load(&self, member: u64) -> Result<Option<Member>> {
        loop {
            // A file before shards: it is the newer one where both are there.
            if let Some(found) = self.load_file(member)? {
                return Ok(Some(found));
            }
            let mut is_gone = false;
            for entry in self.entries(member).map_err(|error| refuse(&self.folder, error))? {
                match entry.read(&self.digest, &self.layout) {
                    Ok(Some(found)) => return Ok(Some(found)),
                    Ok(None) => is_gone |= files::is_missing(&entry.shard),
                    Err(Foreign) if self.moves => {}
                    Err(Foreign) => return Err(refuse(&entry.shard, FOREIGN)),
                }
            }
            if !is_gone {
                return Ok(None);
            }
            // Rewritten since the folder was listed: what it held is elsewhere.
            self.shards.forget();
        }
    }

    fn load_file(&self, member: u64) -> Result<Option<Member>> {
        let path = self.path(member);
        let bytes = match files::read(&path, self.largest()) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == IoKind::NotFound => return Ok(None),
            Err(error) => return Err(refuse(&path, error)),
        };
        match decode(&bytes, &self.digest, &self.layout) {
            Ok(Some(found)) if found.number != member => Err(refuse(&path, FOREIGN)),
            Ok(found) => Ok(found),
            Err(Foreign) if self.moves => Ok(None),
            Err(Foreign) => Err(refuse(&path, FOREIGN)),
        }
    }

    fn largest(&self) -> u64 {
        let objects = self.layout.specs().is_empty();
        LARGEST_HEADER + if objects { LARGEST_OBJECT } else { 4 * self.layout.n_values() as u64 }
    }

    fn entries(&self, member: u64) -> io::Result<Vec<Entry>> {
        self.shards.entries(&self.folder, &self.layout, member)
    }

    /// Writes a member's file; packs what has come together by then.
    ///
    /// # Errors
    /// A checkpoint error if it cannot be written.
    pub(super) fn save(&self, member: &Member) -> Result<()> {
        let path = self.path(member.number);
        let bytes = encode(&self.digest, &self.layout, member)?;
        files::replace(&path, &bytes).map_err(|error| refuse(&path, error))?;
        // Whoever packs counts anew afterwards.
        if let Ok(mut written) = self.written.try_lock() {
            *written += 1;
            if *written >= PACKED_AT {
                *written = 0;
                self.pack(PACKED_AT);
            }
        }
        Ok(())
    }

    /// Packs members that have files of their own, if there are so many of them.
    pub(super) fn tidy(&self, at_least: usize) {
        match self.written.try_lock() {
            Ok(_packing) => self.pack(at_least),
            Err(TryLockError::Poisoned(_) | TryLockError::WouldBlock) => {}
        }
    }

    /// Nothing is lost where a shard cannot be written, for want of space or of the right to: the files stay.
    fn pack(&self, at_least: usize) {
        let Ok(numbers) = file_numbers(&self.folder) else { return };
        // The scout is no member, and asked for alone.
        let numbers: Vec<u64> = numbers.into_iter().filter(|number| *number != SCOUT).collect();
        if numbers.len() < at_least.max(2) {
            return;
        }
        let mut found = Vec::new();
        for number in numbers {
            // One that is damaged, or of another record, is left to whoever asks for it; one that is gone, to whoever packed it.
            let Ok(Some(member)) = self.load_file(number) else { continue };
            let (Ok(header), Ok(data)) = (header_of(&self.digest, &member), member.values.bytes()) else {
                continue;
            };
            found.push((header, data.len() as u64));
        }
        let mut rest = &found[..];
        while rest.len() > 1 {
            let (mut size, mut n) = (0, 0);
            for (_, own) in rest.iter().take(PACKED_AT) {
                size += own;
                if n > 0 && size > LARGEST_SHARD {
                    break;
                }
                n += 1;
            }
            let (shard, others) = rest.split_at(n);
            rest = others;
            if n > 1 && self.pack_these(shard).is_err() {
                return;
            }
        }
    }

    fn pack_these(&self, members: &[(Header, u64)]) -> io::Result<()> {
        shards::write(&self.folder, &self.layout, members, |file, number| {
            let member = self.load_file(number).map_err(io::Error::other)?;
            self.put(file, member, members)
        })?;
        for (header, _) in members {
            // A file that was replaced since says something else than the shard.
            let is_packed = |file: &Path| peek(file).is_none_or(|there| there == *header);
            let _ = files::remove_if(&self.path(header.member), is_packed);
        }
        Ok(())
    }

    /// The values of a member, as long as they are those that the shard says.
    fn put(&self, file: &mut fs::File, member: Option<Member>, said: &[(Header, u64)]) -> io::Result<()> {
        let other = || io::Error::other("a member has changed in the meantime");
        let member = member.ok_or_else(other)?;
        let header = header_of(&self.digest, &member).map_err(io::Error::other)?;
        if !said.iter().any(|(known, _)| *known == header) {
            return Err(other());
        }
        file.write_all(&member.values.bytes().map_err(io::Error::other)?)
    }

    /// Removes members, wherever they are.
    ///
    /// # Errors
    /// A checkpoint error if something cannot be removed.
    pub(super) fn remove(&self, members: &BTreeSet<u64>) -> Result<()> {
        for member in members {
            let path = self.path(*member);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != IoKind::NotFound => return Err(refuse(&path, error)),
                _ => {}
            }
        }
        self.shards.forget();
        let all = self.shards.all(&self.folder, &self.layout).map_err(|error| refuse(&self.folder, error))?;
        let touched: BTreeSet<PathBuf> = all
            .iter()
            .filter(|(number, _)| members.contains(number))
            .map(|(_, entry)| entry.shard.as_ref().clone())
            .collect();
        for shard in touched {
            let own = all.iter().filter(|(_, entry)| *entry.shard == shard);
            self.rewrite(&shard, own.filter(|(number, _)| !members.contains(number)))
                .map_err(|error| refuse(&shard, error))?;
        }
        Ok(())
    }

    /// Removes members of other records, as far as they can be removed.
    pub(super) fn sweep(&self, claims: &Claims) {
        for number in file_numbers(&self.folder).unwrap_or_default() {
            let path = self.path(number);
            let is_others = || peek(&path).is_some_and(|header| header.manifest != self.digest);
            // Whoever trains the member has claimed it, and may be replacing the file right now.
            if is_others() && claims.take(number).unwrap_or(false) {
                if is_others() {
                    let _ = fs::remove_file(&path);
                }
                claims.give_up(number);
            }
        }
        shards::sweep(&self.folder, &self.digest);
        self.shards.forget();
    }

    /// A shard without some of its members: the new one first.
    fn rewrite<'a>(&self, shard: &Path, kept: impl Iterator<Item = &'a (u64, Entry)>) -> io::Result<()> {
        let mut members = Vec::new();
        let mut entries = Vec::new();
        for (number, entry) in kept {
            let Ok(Some(member)) = entry.read(&self.digest, &self.layout) else { continue };
            let header = header_of(&self.digest, &member).map_err(io::Error::other)?;
            members.push((header, member.values.bytes().map_err(io::Error::other)?.len() as u64));
            entries.push((*number, entry.clone()));
        }
        if !members.is_empty() {
            shards::write(&self.folder, &self.layout, &members, |file, number| {
                let entry = entries.iter().find(|(known, _)| *known == number);
                let read = |(_, entry): &(u64, Entry)| entry.read(&self.digest, &self.layout).ok().flatten();
                self.put(file, entry.and_then(read), &members)
            })?;
        }
        match fs::remove_file(shard) {
            Err(error) if error.kind() != IoKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Numbers of the members of which there is something.
    ///
    /// # Errors
    /// A checkpoint error if the directory cannot be listed.
    pub(super) fn numbers(&self) -> Result<Vec<u64>> {
        let listed = file_numbers(&self.folder)
            .and_then(|files| Ok((files, self.shards.all(&self.folder, &self.layout)?)));
        let (mut numbers, packed) = listed.map_err(|error| refuse(&self.folder, error))?;
        numbers.extend(packed.into_iter().map(|(number, _)| number));
        numbers.sort_unstable();
        numbers.dedup();
        Ok(numbers)
    }

    /// What some member says of the record that it belongs to, and its number; `None` if none can be read.
    pub(super) fn said(folder: &Path) -> Option<(u64, String)> {
        let files = file_numbers(folder).ok()?;
        let peeked = files.into_iter().find_map(|number| peek(&folder.join(file_name(number))));
        let said = peeked.or_else(|| shards::peek(folder))?;
        Some((said.member, said.manifest))
    }

    /// A member that says where its values are, instead of having them.
    pub(super) fn placed(self: &Arc<Self>, member: &Member) -> Member {
        let source: Arc<dyn Source> = Arc::clone(self) as Arc<dyn Source>;
        let values = Values::kept(source, member.number, member.values.len());
        Member { values, ..*member }
    }

    fn path(&self, member: u64) -> PathBuf {
        self.folder.join(file_name(member))
    }
}

impl Source for Store {
    fn fetch(&self, number: u64) -> Result<Values> {
        if let Some(member) = self.load(number)? {
            return Ok(member.values);
        }
        // Packed by somebody else, on a disk that was slow to say so.
        self.shards.forget();
        let found = self.load(number)?.map(|member| member.values);
        let gone = || {
            refuse(
                &self.folder,
                format_args!("its member {number} is gone or damaged since it was trained; fit again"),
            )
        };
        found.ok_or_else(gone)
    }
}

const FOREIGN: &str = "it belongs to another checkpoint or member";

/// The header of a member's file alone, if it can be read.
fn peek(path: &Path) -> Option<Header> {
    serde_json::from_str(shards::head(path)?.own()?).ok()
}

fn file_name(member: u64) -> String {
    format!("member-{member:06}.safetensors")
}

/// Numbers of the members that have files of their own.
fn file_numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        let number = name.strip_prefix("member-").and_then(|rest| rest.strip_suffix(".safetensors"));
        let number = number.and_then(|number| number.parse::<u64>().ok());
        numbers.extend(number.filter(|number| file_name(*number) == name));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn store(folder: &Path, record: &str) -> Store {
        let mut layout = Layout::default();
        layout.dense("fc", 2, 2);
        Store::new(folder, record.to_owned(), &layout, true)
    }

    fn member(number: u64) -> Member {
        Member { number, values: vec![number as f32; 6].into(), loss: 0.5 }
    }

    #[test]
    fn what_somebody_is_training_anew_is_not_swept() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (store(folder.path(), "old"), store(folder.path(), "new"));
        let (own, theirs) = (Claims::of(folder.path()), Claims::of(folder.path()));
        old.save(&member(3)).unwrap();
        old.save(&member(4)).unwrap();
        assert!(theirs.take(3).unwrap());
        new.sweep(&own);
        assert_eq!(new.numbers().unwrap(), [3], "nobody else trains the other one");
        new.save(&member(3)).unwrap();
        theirs.give_up(3);
        new.sweep(&own);
        assert_eq!(new.load(3).unwrap(), Some(member(3)));
        assert!(theirs.take(3).unwrap() && theirs.take(4).unwrap(), "no claim is left");
    }

    #[test]
    fn what_was_replaced_while_it_was_packed_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (store(folder.path(), "old"), store(folder.path(), "new"));
        for round in 0..20 {
            (0..4).for_each(|number| old.save(&member(number)).unwrap());
            let start = std::sync::Barrier::new(2);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    start.wait();
                    old.tidy(2);
                });
                start.wait();
                new.save(&member(0)).unwrap();
            });
            assert_eq!(new.load(0).unwrap(), Some(member(0)), "round {round}");
        }
    }

    #[test]
    fn who_reads_while_a_shard_is_rewritten_finds_its_members() {
        let folder = tempfile::tempdir().unwrap();
        let (writer, reader) = (store(folder.path(), "record"), store(folder.path(), "record"));
        (0..40).for_each(|number| writer.save(&member(number)).unwrap());
        writer.tidy(2);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (1..40).for_each(|number| writer.remove(&[number].into()).unwrap());
                done.store(true, Ordering::SeqCst);
            });
            while !done.load(Ordering::SeqCst) {
                assert_eq!(reader.load(0).unwrap(), Some(member(0)));
            }
        });
        assert_eq!(reader.numbers().unwrap(), [0]);
    }
}
