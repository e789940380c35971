//! Checks a whole file: every digest, every update repeated, no two regions of different classes overlapping.

use super::distance::subtract_down;
use super::index::{Index, CODE_BYTES};
use super::region::{Asked, Outcome, Record, Report};
use super::search::Search;
use super::settle::{settle, together};
use super::stack;
use super::store::{Head, Store};
use super::watch::Watch;
use crate::error::{Error, Result};

/// Verifies the file as it is now; what other processes store meanwhile is left for the next time.
pub(crate) fn verify(store: &Store, watch: &mut Watch) -> Result<Report> {
    let _view = store.read()?;
    store.check_integrity()?;
    let head = store.head()?;
    let mut repetition = Repetition::new(store, head.dimension);
    store.replay(Head::default(), |record| repetition.add(record, head.entries, watch))?;
    repetition.flush()?;
    watch.report(head.entries, head.entries);
    Ok(repetition.report)
}

/// The updates of a file, settled again from the first.
struct Repetition<'a> {
    store: &'a Store,
    index: Index,
    batch: Vec<Record>,
    report: Report,
}

impl<'a> Repetition<'a> {
    fn new(store: &'a Store, dimension: usize) -> Self {
        let index = Index::new(dimension, CODE_BYTES);
        Self { store, index, batch: Vec::new(), report: Report::default() }
    }

    fn add(&mut self, record: Record, total: u64, watch: &mut Watch) -> Result<()> {
        self.batch.push(record);
        if self.batch.len() < together(self.index.dimension()) {
            return Ok(());
        }
        self.flush()?;
        watch.report(self.report.updates, total);
        if watch.is_stopped() {
            return Err(Error::cancelled(format!("Stopped after checking {} entries.", self.report.updates)));
        }
        Ok(())
    }

    /// Settles the batch again and compares.
    fn flush(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        let Some(first) = batch.first() else { return Ok(()) };
        let points = stack(self.index.dimension(), &batch);
        let asked: Vec<Asked> = batch.iter().map(|record| record.asked).collect();
        let mut written = batch.iter();
        settle(&mut self.index, self.store, first.entry.number, points.view(), &asked, |again| {
            self.report.add(&again.entry);
            compare(self.store, written.next(), again)
        })?;
        batch.iter().filter(|r| r.entry.outcome == Outcome::Adopted).try_for_each(|r| self.check_adopted(r))
    }

    /// For a kept or trimmed region the repetition has compared its radius with all earlier regions of another class;
    /// an adopted region has changed its class since, so it is compared again.
    ///
    /// A radius is rounded downwards, which leaves at most the last bit of a distance undecided.
    fn check_adopted(&self, record: &Record) -> Result<()> {
        let points = stack(self.index.dimension(), std::slice::from_ref(record));
        let Some(sketch) = self.index.sketch(points.view()).pop() else { return Ok(()) };
        let query = self.index.query(&record.centre, sketch, Some(record.entry.prediction));
        let search = Search::new(&self.index, self.store, &query, record.entry.radius);
        let overlap = search
            .from(0)?
            .nearest()
            .filter(|other| subtract_down(other.distance.above, other.radius) < record.entry.radius);
        overlap.map_or(Ok(()), |other| {
            let (number, other) = (record.entry.number, other.number);
            Err(self.store.damaged(format!("the regions of entries {number} and {other} overlap")))
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
