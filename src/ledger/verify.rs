//! Checks a whole file: every digest, every update repeated, no two regions of different classes overlapping.

use super::distance::subtract_down;
use super::index::{Index, CODE_BYTES};
use super::region::{Asked, Outcome, Record, Report};
use super::search::Search;
use super::settle::{settle, together};
use super::stack;
use super::store::{Head, Store};
use crate::error::Result;

/// A verification of the file as it was when this began, group by group; what is stored meanwhile is left for the next
/// time. Between two steps nothing of the file is held.
pub(crate) struct Verification {
    now: Head,
    end: Head,
    index: Index,
    report: Report,
}

impl Verification {
    /// Checks SQLite's structure, and begins with the first entry.
    pub(crate) fn start(store: &Store) -> Result<Self> {
        let _view = store.read()?;
        store.check_integrity()?;
        let end = store.head()?;
        let index = Index::new(end.dimension, CODE_BYTES);
        Ok(Self { now: Head::default(), end, index, report: Report::default() })
    }

    /// Entries checked, and entries to check.
    pub(crate) fn progress(&self) -> (u64, u64) {
        (self.now.entries, self.end.entries)
    }

    pub(crate) fn is_done(&self) -> bool {
        self.now.entries >= self.end.entries
    }

    pub(crate) fn report(&self) -> Report {
        self.report
    }

    /// Checks the next group of entries.
    pub(crate) fn step(&mut self, store: &Store) -> Result<()> {
        let _view = store.read()?;
        let batch = store.read_on(&mut self.now, &self.end, together(self.end.dimension))?;
        store.check_end(&self.now, &self.end)?;
        self.repeat(store, &batch)
    }

    /// Settles the batch again and compares.
    fn repeat(&mut self, store: &Store, batch: &[Record]) -> Result<()> {
        let Some(first) = batch.first() else { return Ok(()) };
        let points = stack(self.index.dimension(), batch);
        let asked: Vec<Asked> = batch.iter().map(|record| record.asked).collect();
        let mut written = batch.iter();
        settle(&mut self.index, store, first.entry.number, points.view(), &asked, |again| {
            self.report.add(&again.entry);
            compare(store, written.next(), again)
        })?;
        let mut adopted = batch.iter().filter(|record| record.entry.outcome == Outcome::Adopted);
        adopted.try_for_each(|record| self.check_adopted(store, record))
    }

    /// For a kept or trimmed region the repetition has compared its radius with all earlier regions of another class;
    /// an adopted region has changed its class since, so it is compared again.
    ///
    /// A radius is rounded downwards, which leaves at most the last bit of a distance undecided.
    fn check_adopted(&self, store: &Store, record: &Record) -> Result<()> {
        let points = stack(self.index.dimension(), std::slice::from_ref(record));
        let Some(sketch) = self.index.sketch(points.view()).pop() else { return Ok(()) };
        let query = self.index.query(&record.centre, sketch, Some(record.entry.prediction));
        let search = Search::new(&self.index, store, &query, record.entry.radius);
        let overlap = search
            .from(0)?
            .nearest()
            .filter(|other| subtract_down(other.distance.above, other.radius) < record.entry.radius);
        overlap.map_or(Ok(()), |other| {
            let (number, other) = (record.entry.number, other.number);
            Err(store.damaged(format!("the regions of entries {number} and {other} overlap")))
        })
    }
}

fn compare(store: &Store, written: Option<&Record>, again: &Record) -> Result<bool> {
    if written == Some(again) {
        return Ok(true);
    }
    let (entry, number) = (&again.entry, again.entry.number);
    Err(store.damaged(format!(
        "entry {number} should be {} with class {} and radius {}, and is not",
        entry.outcome, entry.prediction, entry.radius
    )))
}
