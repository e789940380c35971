//! Checkpoint directories: a manifest that says what the members are, and the members.
//!
//! `manifest.json` holds the [`Record`]; `member-000017.safetensors` holds member 17's parameters under
//! their names, with the manifest's digest and a digest of the values in its metadata, until it is packed into a shard with
//! others (`store.rs`). Every file is
//! written beside its place, synced and renamed, so that any number of processes may share a directory:
//! they would write the same bytes, and claim the members they train (`claims.rs`) so that none is trained twice. The number of members is no part of the identity; how it came about is kept in
//! files such as `history-seen-000100.json`, one per fact, so that whatever processes do at the same time, no fact is lost.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind as IoKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::claims::{is_claim, Claims};
use super::encoding::header_text;
use super::learners::{self, TrainedOn};
use super::store::Store;
use super::{hex, Behaviour, History, Layout, Member, Record, SCHEMA};
use crate::error::{Error, Result};
use crate::files;
use crate::law::Law;

const MANIFEST: &str = "manifest.json";
/// Before and after the name of a fact.
const HISTORY: (&str, &str) = ("history-", ".json");
/// Bytes that a manifest may have.
const LARGEST_MANIFEST: u64 = 1 << 20;

/// What stands in `manifest.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    /// The identity; two directories with equal records hold the same members.
    record: Record,
    /// What the model does; compared with a tolerance, and no part of the digest.
    #[serde(default, skip_serializing_if = "Behaviour::is_empty")]
    behaviour: Behaviour,
    /// Which version of this crate began the directory; for the reader only.
    created_by: String,
}

/// An open checkpoint directory.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    folder: PathBuf,
    store: Arc<Store>,
    claims: Claims,
}

impl Checkpoint {
    /// Opens a directory for members of `record`; makes it if it is not there.
    ///
    /// # Errors
    /// [`ErrorKind::Checkpoint`](crate::ErrorKind::Checkpoint) if the path is no directory or not
    /// writable, if the directory holds other things, or members of other settings or data (the
    /// differences are named).
    pub(crate) fn open(folder: &Path, record: &Record, layout: &Layout) -> Result<Self> {
        match fs::metadata(folder) {
            Ok(meta) if !meta.is_dir() => return Err(refuse(folder, "it is not a directory")),
            Ok(_) => {}
            Err(error) if error.kind() == IoKind::NotFound => {
                fs::create_dir_all(folder).map_err(|error| refuse(folder, error))?;
            }
            Err(error) => return Err(refuse(folder, error)),
        }
        files::sweep(folder);
        let path = folder.join(MANIFEST);
        if !path.exists() {
            check_empty(folder)?;
            begin(folder, record)?;
        }
        let there = read_manifest(folder)?;
        check_same(folder, &there, record)?;
        let checkpoint = Self::view(folder, record, layout)?;
        checkpoint.check_writable()?;
        Ok(checkpoint)
    }

    /// A directory whose record is known, for reading only.
    ///
    /// # Errors
    /// None in practice.
    pub(crate) fn view(folder: &Path, record: &Record, layout: &Layout) -> Result<Self> {
        let moves = matches!(record.law, Law::Partition(_));
        let store = Arc::new(Store::new(folder, record_digest(record)?, layout, moves));
        Ok(Self { folder: folder.to_owned(), store, claims: Claims::of(folder) })
    }

    /// The directory that was opened before; `None` if it is gone, or is another ensemble's by now.
    ///
    /// # Errors
    /// A checkpoint error if it is there and cannot be read.
    pub(crate) fn again(folder: &Path, record: &Record, layout: &Layout) -> Result<Option<Self>> {
        if matches!(fs::metadata(folder.join(MANIFEST)), Err(error) if error.kind() == IoKind::NotFound) {
            return Ok(None);
        }
        let same = check_same(folder, &read_manifest(folder)?, record).is_ok();
        same.then(|| Self::view(folder, record, layout)).transpose()
    }

    /// Makes a directory of a partition's learners on other data one of `record`, with those learners of which `digests`, by
    /// number, say that they would come out as they are; how many these are. Zero if the directory is something else, or if none
    /// but learners without samples, whose digest is `empty`, would stay: it is left as it is then, and refused when it is opened.
    ///
    /// A kill on the way loses learners, and brings none where it does not belong: each says of which record it is, and
    /// what is of another one counts as absent.
    ///
    /// # Errors
    /// A checkpoint error if the directory cannot be read or written, or while somebody trains its members.
    pub(crate) fn follow(
        folder: &Path,
        record: &Record,
        layout: &Layout,
        (digests, empty): (&TrainedOn, [u8; 32]),
    ) -> Result<usize> {
        let Some(before) = begun_for_other_data(folder, record)? else { return Ok(0) };
        let (old, new) = (Self::view(folder, &before, layout)?, Self::view(folder, record, layout)?);
        let known = learners::read(folder, old.store.digest()).unwrap_or_default();
        let mut kept = BTreeSet::new();
        for (number, (before, now)) in (0..).zip(known.iter().zip(digests)) {
            if now.is_some() && before == now && (old.has(number) || new.has(number)) {
                kept.insert(number);
            }
        }
        let none = |number: &u64| digests.get(*number as usize) == Some(&Some(empty));
        if kept.iter().all(none) {
            return Ok(0);
        }
        check_idle(folder)?;
        new.note(digests, &BTreeSet::new())?;
        let mut n_kept = 0;
        for number in kept {
            if new.load(number)?.is_some() {
                n_kept += 1;
            } else if let Some(member) = old.load(number)? {
                new.save(&member)?;
                n_kept += 1;
            }
        }
        let text = manifest_of(folder, record)?;
        files::replace(&folder.join(MANIFEST), text.as_bytes()).map_err(|error| refuse(folder, error))?;
        Ok(n_kept)
    }

    /// Says what a partition's learners are going to be trained on and how, before they are, except for those that are `here`
    /// already, of which `digests` says what they were trained on. What the directory says of them from now on: nothing of
    /// those that it may have in another way than that.
    ///
    /// # Errors
    /// A checkpoint error if it cannot be written.
    pub(crate) fn note(&self, digests: &TrainedOn, here: &BTreeSet<u64>) -> Result<TrainedOn> {
        let (folder, record) = (&self.folder, self.store.digest());
        let refuse = |error: io::Error| refuse(folder, error);
        let mut first = digests.clone();
        // Where nothing is said of members that are there, nothing can be known.
        for (number, digest) in (0..).zip(&mut first) {
            *digest = digest.filter(|_| !self.has(number));
        }
        if learners::read(folder, record).is_none()
            && learners::create(folder, record, &first).map_err(refuse)?
        {
            return Ok(first);
        }
        let there = learners::read(folder, record).unwrap_or_default();
        let mut both = digests.clone();
        for (number, own) in (0..).zip(&mut both) {
            let said = there.get(number as usize).copied().flatten();
            if said != *own {
                let theirs = !here.contains(&number) && self.load(number)?.is_some();
                *own = said.filter(|_| theirs);
            }
        }
        if both != there {
            learners::replace(folder, record, &both).map_err(refuse)?;
        }
        Ok(both)
    }

    /// What the directory says of a partition's learners.
    pub(crate) fn trained_on(&self) -> Option<TrainedOn> {
        learners::read(&self.folder, self.store.digest())
    }

    /// Removes what is left of the record that the directory was before.
    pub(crate) fn sweep(&self) {
        self.store.sweep(&self.claims);
        super::votes::sweep(&self.folder, self.store.digest());
        learners::sweep(&self.folder, self.store.digest());
    }

    /// How the number of members came about, as far as the directory knows.
    ///
    /// # Errors
    /// A checkpoint error if it cannot be read, or holds what is no such fact.
    pub(crate) fn history(&self) -> Result<History> {
        let mut history = History::default();
        for fact in facts(&self.folder)? {
            if !history.add(&fact) {
                let (before, after) = HISTORY;
                return Err(refuse(&self.folder, format_args!("it holds '{before}{fact}{after}'")));
            }
        }
        Ok(history)
    }

    /// Writes what the directory does not know yet; durable when it returns.
    ///
    /// # Errors
    /// A checkpoint error if it cannot be written.
    pub(crate) fn remember(&self, history: &History) -> Result<()> {
        let known = facts(&self.folder)?;
        for fact in history.facts().difference(&known) {
            let path = self.folder.join(format!("{}{fact}{}", HISTORY.0, HISTORY.1));
            // What counts is that the file is there.
            files::create(&path, b"{}\n").map_err(|error| refuse(&path, error))?;
        }
        Ok(())
    }

    /// Where it lies.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether there is something of this member; says nothing about what that is.
    pub(crate) fn has(&self, member: u64) -> bool {
        self.store.has(member)
    }

    /// The member, if it is there and whole. What is truncated or damaged counts as absent: the member is trained again.
    ///
    /// # Errors
    /// A checkpoint error if its file cannot be read, or belongs to another manifest or member.
    pub(crate) fn load(&self, member: u64) -> Result<Option<Member>> {
        self.store.load(member)
    }

    /// A member that is here, as one whose values are read from the directory when they are asked for.
    pub(crate) fn placed(&self, member: &Member) -> Member {
        self.store.placed(member)
    }

    /// Packs members that have files of their own into shards, if there are at least so many.
    pub(crate) fn tidy(&self, at_least: usize) {
        self.store.tidy(at_least);
    }

    /// Claims a member for this training, which lasts until it is saved, given up, or the checkpoint is closed; false if
    /// another training has it.
    ///
    /// # Errors
    /// A checkpoint error if the directory cannot be written.
    pub(crate) fn claim(&self, member: u64) -> Result<bool> {
        self.claims.take(member).map_err(|error| refuse(&self.folder, error))
    }

    /// Leaves a member that was claimed to others.
    pub(crate) fn give_up(&self, member: u64) {
        self.claims.give_up(member);
    }

    /// Tells those who wait for claimed members that somebody works on them; to be called all the time.
    pub(crate) fn keep_claims(&self) {
        self.claims.keep();
    }

    /// Writes a member, and gives up the claim.
    ///
    /// # Errors
    /// A checkpoint error if it cannot be written.
    pub(crate) fn save(&self, member: &Member) -> Result<()> {
        self.store.save(member)?;
        self.claims.give_up(member.number);
        Ok(())
    }

    /// Whether the directory has this very member, whole.
    pub(crate) fn holds(&self, member: &Member) -> bool {
        let same = |there: &Member| {
            let own = self.store.digest();
            let pair = (header_text(own, there), header_text(own, member));
            matches!(pair, (Ok(there), Ok(here)) if there == here)
        };
        matches!(self.load(member.number), Ok(Some(there)) if same(&there))
    }

    /// Removes members, as far as they are there.
    ///
    /// # Errors
    /// A checkpoint error if they cannot be removed.
    pub(crate) fn remove(&self, members: &BTreeSet<u64>) -> Result<()> {
        super::votes::remove(&self.folder, members)?;
        self.store.remove(members)
    }

    /// Numbers of the members that are there.
    ///
    /// # Errors
    /// A checkpoint error if the directory cannot be listed.
    pub(crate) fn numbers(&self) -> Result<Vec<u64>> {
        self.store.numbers()
    }

    /// Fails now rather than after the first member's training.
    fn check_writable(&self) -> Result<()> {
        files::try_write(&self.folder).map_err(|error| refuse(&self.folder, error))
    }
}

/// The record of a checkpoint directory.
///
/// # Errors
/// A checkpoint error if the directory has no manifest, one that cannot be read, or one of another version.
pub(crate) fn read_record(folder: &Path) -> Result<Record> {
    let value = read_manifest(folder)?;
    let schema = value.pointer("/record/schema").and_then(Value::as_u64);
    if schema.is_some_and(|schema| schema != u64::from(SCHEMA)) {
        let why = format_args!("it has version {} of the format, not {SCHEMA}", schema.unwrap_or_default());
        return Err(refuse(folder, why));
    }
    let manifest: Manifest = serde_json::from_value(value).map_err(|error| damaged(folder, error))?;
    let record = Record { behaviour: manifest.behaviour, ..manifest.record };
    record.check().map_err(|error| damaged(folder, error))?;
    check_members(folder, &record)?;
    Ok(record)
}

/// Compares the record with what a member says of it, before anything is built or reserved for it.
fn check_members(folder: &Path, record: &Record) -> Result<()> {
    let digest = record_digest(record)?;
    match Store::said(folder) {
        // One that was left behind by data that the directory was of before.
        Some(_) if learners::read(folder, &digest).is_some() => Ok(()),
        Some((member, said)) if said != digest => {
            Err(refuse(folder, format_args!("its {MANIFEST} is not that of its member {member}")))
        }
        _ => Ok(()),
    }
}

/// Names of the facts that a folder knows.
fn facts(folder: &Path) -> Result<BTreeSet<String>> {
    let mut facts = BTreeSet::new();
    for entry in fs::read_dir(folder).map_err(|error| refuse(folder, error))? {
        let name = entry.map_err(|error| refuse(folder, error))?.file_name().to_string_lossy().into_owned();
        facts.extend(fact_of(&name).map(str::to_owned));
    }
    Ok(facts)
}

/// What a file of this name says of how the number of members came about.
fn fact_of(name: &str) -> Option<&str> {
    name.strip_prefix(HISTORY.0)?.strip_suffix(HISTORY.1)
}

pub(super) fn refuse(path: &Path, why: impl std::fmt::Display) -> Error {
    Error::checkpoint(format!("The checkpoint '{}' cannot be used: {why}.", path.display()))
}

fn damaged(folder: &Path, why: impl std::fmt::Display) -> Error {
    refuse(folder, format_args!("its {MANIFEST} is damaged ({why})"))
}

fn check_empty(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(|error| refuse(folder, error))? {
        let name = entry.map_err(|error| refuse(folder, error))?.file_name();
        // Another process may be beginning the directory right now; its manifest is then checked as usual. What was seen is
        // remembered when members are removed to be trained again.
        let name = name.to_string_lossy();
        let known = files::is_draft(&name) || is_claim(&name) || name == MANIFEST || fact_of(&name).is_some();
        if !known && !folder.join(MANIFEST).exists() {
            let why = format!("it has no {MANIFEST} but holds other files, such as '{name}'");
            return Err(refuse(folder, why));
        }
    }
    Ok(())
}

/// The record of a directory that was begun for learners of the same partition, computed alike, on other data.
///
/// # Errors
/// A checkpoint error if the directory cannot be read.
fn begun_for_other_data(folder: &Path, record: &Record) -> Result<Option<Record>> {
    if !matches!(record.law, Law::Partition(_)) || !folder.join(MANIFEST).exists() {
        return Ok(None);
    }
    // Of another version, or damaged: whoever opens it says so.
    let Ok(there) = read_record(folder) else { return Ok(None) };
    let (n_train, data_digest) = (record.n_train, record.data_digest.clone());
    let same = Record { n_train, data_digest, ..there.clone() } == *record;
    Ok(Some(there).filter(|there| same && there != record))
}

/// Refuses a directory while another training is at work in it.
fn check_idle(folder: &Path) -> Result<()> {
    let claims = Claims::of(folder);
    for entry in fs::read_dir(folder).map_err(|error| refuse(folder, error))? {
        let name = entry.map_err(|error| refuse(folder, error))?.file_name();
        let number = name
            .to_str()
            .filter(|name| is_claim(name))
            .and_then(|name| name.rsplit('-').next()?.parse().ok());
        if number.is_some_and(|number| !claims.take(number).unwrap_or(false)) {
            let name = name.to_string_lossy();
            let why = format_args!("another process is training its members on other data ('{name}')");
            return Err(refuse(folder, why));
        }
    }
    Ok(())
}

fn manifest_of(folder: &Path, record: &Record) -> Result<String> {
    let created_by = format!("certssb {}", env!("CARGO_PKG_VERSION"));
    let manifest = Manifest { record: record.clone(), behaviour: record.behaviour.clone(), created_by };
    serde_json::to_string_pretty(&manifest).map_err(|error| refuse(folder, error))
}

/// Writes the manifest unless another process was faster; its manifest is then compared as any other.
fn begin(folder: &Path, record: &Record) -> Result<()> {
    let text = manifest_of(folder, record)?;
    files::create(&folder.join(MANIFEST), text.as_bytes()).map(drop).map_err(|error| refuse(folder, error))
}

fn read_manifest(folder: &Path) -> Result<Value> {
    let text = files::read(&folder.join(MANIFEST), LARGEST_MANIFEST).map_err(|error| match error.kind() {
        IoKind::NotFound => refuse(folder, format_args!("it has no {MANIFEST}")),
        _ => damaged(folder, error),
    })?;
    serde_json::from_slice(&text).map_err(|error| damaged(folder, error))
}

/// Compares as JSON, so that a difference is named by its path and records of other versions are read too.
fn check_same(folder: &Path, there: &Value, record: &Record) -> Result<()> {
    let behaviour = there.get("behaviour").cloned().map(serde_json::from_value).transpose();
    let behaviour: Behaviour = behaviour.map_err(|error| damaged(folder, error))?.unwrap_or_default();
    let there = there.get("record").ok_or_else(|| damaged(folder, "it has no record"))?;
    let here = serde_json::to_value(record).map_err(|error| refuse(folder, error))?;
    let mut differences = Vec::new();
    compare("", there, &here, &mut differences);
    if differences.is_empty() && behaviour != record.behaviour {
        let model = &record.model;
        let why = format_args!(
            "it was made with a model '{model}' that is built alike but computes something else"
        );
        return Err(refuse(folder, why));
    }
    if differences.is_empty() {
        return Ok(());
    }
    let differences = differences.join("; ");
    let why =
        format_args!("it was made with other settings or data ({differences}); begin another directory");
    Err(refuse(folder, why))
}

fn compare(name: &str, there: &Value, here: &Value, differences: &mut Vec<String>) {
    let (Value::Object(a), Value::Object(b)) = (there, here) else {
        if there != here {
            differences.push(format!("{name}: {} there, {} here", show(there), show(here)));
        }
        return;
    };
    let mut keys: Vec<&String> = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))).collect();
    keys.sort();
    for key in keys {
        let full = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
        let side = |object: &serde_json::Map<String, Value>| object.get(key).cloned().unwrap_or(Value::Null);
        compare(&full, &side(a), &side(b), differences);
    }
}

fn show(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) if text.len() == 64 => format!("{}...", &text[..12]),
        Value::String(text) => format!("'{text}'"),
        other => other.to_string(),
    }
}

/// A digest of a record; the identity of its members.
pub(crate) fn record_digest(record: &Record) -> Result<String> {
    let value = serde_json::to_value(record).map_err(|error| Error::checkpoint(error.to_string()))?;
    Ok(hex(&Sha256::digest(value.to_string())))
}
