//! Votes of members that were forgotten, as a directory keeps them: whole files, whose names are digests of what they hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::encoding::{header_of, Header, HEADER};
use super::{hex, Member};
use crate::error::Result;
use crate::files;

/// Bytes that such a file may have.
const LARGEST: u64 = 1 << 36;
/// Under what name it holds the votes.
const VOTES: &str = "votes";

/// What members said of inputs with one digest. A vote is a byte where there are at most 256 classes, and two elsewhere.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Said {
    /// A digest of what was asked.
    pub(crate) inputs: String,
    /// How many inputs these are.
    pub(crate) n: usize,
    /// Bytes of one vote.
    pub(crate) width: usize,
    pub(crate) rows: BTreeMap<u64, Box<[u8]>>,
}

impl Said {
    pub(crate) fn of(inputs: String, n: usize, n_classes: usize) -> Self {
        Self { inputs, n, width: if n_classes <= 256 { 1 } else { 2 }, rows: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, number: u64, votes: &[u16]) {
        let bytes = votes.iter().flat_map(|vote| vote.to_le_bytes().into_iter().take(self.width));
        self.rows.insert(number, bytes.collect());
    }

    /// The votes of one member.
    pub(crate) fn row(&self, number: u64) -> Option<impl Iterator<Item = u16> + '_> {
        Some(votes_in(self.rows.get(&number)?, self.width))
    }
}

/// What stands in the metadata.
#[derive(Serialize, Deserialize)]
struct Head {
    manifest: String,
    inputs: String,
    votes: String,
    members: Vec<Header>,
}

fn is_ours(name: &str) -> bool {
    name.starts_with("votes-") && name.ends_with(".safetensors")
}

fn listed(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_ours));
    let mut paths: Vec<PathBuf> = ours.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// What some members said, as a file's bytes, and the digest that its name bears; nothing where none of them said anything.
///
/// # Errors
/// A checkpoint error if there is no such file.
pub(crate) fn encode(record: &str, said: &Said, members: &[&Member]) -> Result<Option<(Vec<u8>, String)>> {
    let refuse = |error: &dyn std::fmt::Display| super::checkpoint::refuse(Path::new(VOTES), error);
    let rows: Vec<(&Member, &[u8])> =
        members.iter().filter_map(|member| Some((*member, &**said.rows.get(&member.number)?))).collect();
    if rows.is_empty() {
        return Ok(None);
    }
    let bytes: Vec<u8> = rows.iter().flat_map(|(_, row)| row.iter().copied()).collect();
    let headers: Result<Vec<Header>> = rows.iter().map(|(member, _)| header_of(record, member)).collect();
    let votes = hex(&Sha256::digest(&bytes));
    let head = Head { manifest: record.to_owned(), inputs: said.inputs.clone(), votes, members: headers? };
    let text = serde_json::to_string(&head).map_err(|error| refuse(&error))?;
    let digest = hex(&Sha256::digest(&text));
    let dtype = if said.width == 1 { Dtype::U8 } else { Dtype::U16 };
    let view = TensorView::new(dtype, vec![rows.len(), said.n], &bytes).map_err(|error| refuse(&error))?;
    let metadata = std::collections::HashMap::from([(HEADER.to_owned(), text)]);
    let bytes = safetensors::serialize([(VOTES, view)], Some(metadata)).map_err(|error| refuse(&error))?;
    Ok(Some((bytes, digest)))
}

/// Writes what some members said, and forgets files that say the same of some of them.
///
/// # Errors
/// A checkpoint error if it cannot be written.
pub(crate) fn write(folder: &Path, record: &str, said: &Said, members: &[&Member], done: bool) -> Result<()> {
    let Some((bytes, digest)) = encode(record, said, members)? else { return Ok(()) };
    let mut numbers =
        members.iter().map(|member| member.number).filter(|number| said.rows.contains_key(number));
    let first = numbers.next().unwrap_or_default();
    let name = format!(
        "votes-{}-{:06}-{:06}-{}.safetensors",
        said.inputs.get(..16).unwrap_or_default(),
        first,
        numbers.next_back().unwrap_or(first),
        &digest[..16]
    );
    let path = folder.join(name);
    files::replace(&path, &bytes).map_err(|error| super::checkpoint::refuse(&path, error))?;
    if done {
        let own: BTreeSet<u64> = members.iter().map(|member| member.number).collect();
        for other in listed(folder).into_iter().filter(|other| *other != path) {
            let Some((head, _)) = read(&other) else { continue };
            let theirs: BTreeSet<u64> = head.members.iter().map(|member| member.member).collect();
            // Of files that say the same, the first by name is nobody's to remove.
            let less = theirs.is_subset(&own) && (theirs.len() < own.len() || path < other);
            if head.inputs == said.inputs && head.manifest == record && less {
                let _ = fs::remove_file(other);
            }
        }
    }
    Ok(())
}

/// Calls `take` with each file of votes that is not among `known`, which gets its name.
///
/// Votes of a file that was there when the folder was listed, and is gone when it is read, stand in another one by then: the
/// folder is listed again until it has nothing new.
fn each_new(folder: &Path, known: &mut BTreeSet<PathBuf>, mut take: impl FnMut(&[u8])) {
    loop {
        let new: Vec<PathBuf> = listed(folder).into_iter().filter(|path| !known.contains(path)).collect();
        if new.is_empty() {
            return;
        }
        for path in new {
            match files::read(&path, LARGEST) {
                Ok(bytes) => take(&bytes),
                // A link that leads nowhere stays, and is looked at once.
                Err(_) if files::is_missing(&path) => continue,
                Err(_) => {}
            }
            known.insert(path);
        }
    }
}

fn read(path: &Path) -> Option<(Head, Vec<u8>)> {
    parse(&files::read(path, LARGEST).ok()?)
}

fn parse(bytes: &[u8]) -> Option<(Head, Vec<u8>)> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).ok()?;
    let head: Head = serde_json::from_str(metadata.metadata().as_ref()?.get(HEADER)?).ok()?;
    let file = SafeTensors::deserialize(bytes).ok()?;
    let data = file.tensor(VOTES).ok()?.data().to_vec();
    (hex(&Sha256::digest(&data)) == head.votes).then_some((head, data))
}

/// Members and their votes from bytes that [`encode`] made, of the same record and of the inputs of `said`; `None` if they are
/// damaged, or others.
pub(crate) fn decode(
    bytes: &[u8],
    record: &str,
    said: &Said,
    (n_values, n_classes): (usize, usize),
) -> Option<Vec<(Member, Box<[u8]>)>> {
    let (head, data) = parse(bytes)?;
    let size = said.n.checked_mul(said.width)?;
    let whole = data.len() == size.checked_mul(head.members.len())? && size > 0;
    if !whole || head.manifest != record || head.inputs != said.inputs {
        return None;
    }
    let classes = votes_in(&data, said.width).all(|vote| usize::from(vote) < n_classes);
    let rows = data.chunks_exact(size);
    classes.then(|| {
        head.members.iter().zip(rows).map(|(member, row)| (member.forgotten(n_values), row.into())).collect()
    })
}

fn votes_in(bytes: &[u8], width: usize) -> impl Iterator<Item = u16> + '_ {
    bytes
        .chunks_exact(width)
        .map(|bytes| bytes.iter().rev().fold(0, |vote, byte| (vote << 8) | u16::from(*byte)))
}

/// What a directory knows of members of a record, and these members: of inputs with the given digest, or of any. What is
/// damaged is not there.
pub(crate) fn read_all(
    folder: &Path,
    record: &str,
    inputs: Option<&str>,
    (n_values, n_classes): (usize, usize),
) -> (Said, Vec<Member>) {
    let (mut said, mut members) = (Said::default(), Vec::new());
    each_new(folder, &mut BTreeSet::new(), |bytes| {
        let Some((head, data)) = parse(bytes) else { return };
        let wanted =
            inputs.map_or(said.inputs.is_empty() || said.inputs == head.inputs, |own| own == head.inputs);
        if head.manifest != record || !wanted || head.members.is_empty() {
            return;
        }
        if said.inputs.is_empty() {
            said = Said::of(head.inputs.clone(), 0, n_classes);
            said.n = data.len() / head.members.len() / said.width;
        }
        let size = said.n * said.width;
        if data.len() != size * head.members.len() || size == 0 {
            return;
        }
        for (header, row) in head.members.iter().zip(data.chunks_exact(size)) {
            said.rows.insert(header.member, row.into());
            members.push(header.forgotten(n_values));
        }
    });
    let beyond = |said: &Said, number: u64| {
        said.row(number).is_some_and(|mut row| row.any(|vote| usize::from(vote) >= n_classes))
    };
    members.retain(|member| member.number < crate::seed::SCOUT && !beyond(&said, member.number));
    (said, members)
}

/// What members of a record said of the inputs of `said`, by files that are not among `known`, which get their names.
pub(crate) fn read_new(
    folder: &Path,
    record: &str,
    said: &Said,
    sizes: (usize, usize),
    known: &mut BTreeSet<PathBuf>,
) -> Vec<(Member, Box<[u8]>)> {
    let mut found = Vec::new();
    each_new(folder, known, |bytes| found.extend(decode(bytes, record, said, sizes).into_iter().flatten()));
    found.retain(|(member, _)| member.number < crate::seed::SCOUT);
    found
}

/// Removes files that speak of members of other records.
pub(crate) fn sweep(folder: &Path, record: &str) {
    for path in listed(folder) {
        if read(&path).is_some_and(|(head, _)| head.manifest != record) {
            let _ = fs::remove_file(path);
        }
    }
}

/// Removes files that say something of one of these members.
///
/// # Errors
/// A checkpoint error if one cannot be removed.
pub(crate) fn remove(folder: &Path, numbers: &BTreeSet<u64>) -> Result<()> {
    for path in listed(folder) {
        let Some((head, _)) = read(&path) else { continue };
        if head.members.iter().any(|header| numbers.contains(&header.member)) {
            match fs::remove_file(&path) {
                // By another process since it was read.
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(super::checkpoint::refuse(&path, error));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::member::Values;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::Barrier;

    const N: u64 = 24;

    /// What so many members said of two inputs.
    fn said() -> (Said, Vec<Member>) {
        let mut said = Said::of("asked".to_owned(), 2, 2);
        (0..N).for_each(|number| said.add(number, &[1, 0]));
        let member = |number| Member { number, values: Values::forgotten(String::new(), 1), loss: 0.5 };
        (said, (0..N).map(member).collect())
    }

    fn write_each(folder: &Path, said: &Said, members: &[Member]) {
        members.iter().for_each(|member| write(folder, "record", said, &[member], false).unwrap());
    }

    /// Looked for again and again if it were taken for a file that another process has just replaced.
    #[cfg(unix)]
    #[test]
    fn a_link_that_leads_nowhere_ends_no_search() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(folder.path().join("nowhere"), folder.path().join("votes-0.safetensors"))
            .unwrap();
        let mut known = BTreeSet::new();
        let found = read_new(folder.path(), "", &Said::default(), (1, 2), &mut known);
        assert!(found.is_empty());
        assert_eq!(known.len(), 1);
        assert!(read_all(folder.path(), "", None, (1, 2)).1.is_empty());
    }

    /// Of a file that was there when a folder was listed, the votes may stand in another one when it is read.
    #[test]
    fn who_reads_while_files_are_put_together_finds_all_votes() {
        let (said, members) = said();
        let all: Vec<&Member> = members.iter().collect();
        for round in 0..30 {
            let folder = tempfile::tempdir().unwrap();
            write_each(folder.path(), &said, &members);
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    write(folder.path(), "record", &said, &all, true).unwrap();
                    done.store(true, Ordering::SeqCst);
                });
                let mut last = false;
                while !last {
                    last = done.load(Ordering::SeqCst);
                    let (found, of) = read_all(folder.path(), "record", Some("asked"), (1, 2));
                    assert_eq!(found.rows.len() as u64, N, "round {round}");
                    assert!(of.len() as u64 >= N);
                }
            });
            assert_eq!(listed(folder.path()).len(), 1);
        }
    }

    /// Each may find what the other has just removed.
    #[test]
    fn two_who_take_votes_back_do_not_trip_over_one_another() {
        let (said, members) = said();
        for _ in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            write_each(folder.path(), &said, &members);
            let start = Barrier::new(2);
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        start.wait();
                        remove(folder.path(), &(0..N).collect()).unwrap();
                    });
                }
            });
            assert!(listed(folder.path()).is_empty());
        }
    }

    /// Members that were trained twice, and came out a little otherwise, have two files that say the same.
    #[test]
    fn of_files_that_say_the_same_one_stays() {
        let (said, members) = said();
        let all: Vec<&Member> = members.iter().collect();
        let others: Vec<Member> =
            members.iter().map(|member| Member { loss: 0.25, ..member.clone() }).collect();
        let others: Vec<&Member> = others.iter().collect();
        for _ in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            let start = Barrier::new(2);
            std::thread::scope(|scope| {
                for own in [&all, &others] {
                    scope.spawn(|| {
                        start.wait();
                        write(folder.path(), "record", &said, own, true).unwrap();
                    });
                }
            });
            let (found, _) = read_all(folder.path(), "record", Some("asked"), (1, 2));
            assert_eq!(found.rows.len() as u64, N);
        }
    }

    #[test]
    fn files_that_say_more_stay() {
        let (said, members) = said();
        let folder = tempfile::tempdir().unwrap();
        let all: Vec<&Member> = members.iter().collect();
        write(folder.path(), "record", &said, &all, true).unwrap();
        write(folder.path(), "record", &said, &all[..3], true).unwrap();
        let (found, _) = read_all(folder.path(), "record", Some("asked"), (1, 2));
        assert_eq!(found.rows.len() as u64, N);
    }
}
