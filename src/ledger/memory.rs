//! What of a ledger's file is in memory: its regions, and up to where it was read.

use super::code::Code;
use super::index::{Index, CODE_BYTES};
use super::region::{Entry, Record};
use super::settle::{self, shelve};
use super::stack;
use super::store::{Head, Store};
use super::updates::{check_dimension, Group};
use super::watch::Watch;
use crate::error::{Error, Result};

/// The regions of a file, and the state of the file up to which it was read.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) head: Head,
    /// The regions; `None` before the first entry.
    pub(crate) index: Option<Index>,
}

impl Memory {
    /// After a failure in the middle, memory and file differ: everything is read again when next needed.
    pub(crate) fn forget_after<T>(&mut self, result: Result<T>) -> Result<T> {
        let in_memory = self.index.as_ref().map_or(0, |index| index.len() as u64);
        if result.is_err() && in_memory != self.head.regions {
            *self = Self::default();
        }
        result
    }

    /// Reads the entries that the file has and memory has not.
    pub(crate) fn catch_up(&mut self, store: &Store) -> Result<()> {
        let end = store.head()?;
        if end == self.head {
            return Ok(());
        }
        if end.entries <= self.head.entries {
            return Err(store.damaged("entries that were read before have been taken back"));
        }
        let index = self.index.get_or_insert_with(|| Index::new(end.dimension, CODE_BYTES));
        let mut now = self.head;
        while now.entries < end.entries {
            let records = store.read_on(&mut now, &end, settle::together(end.dimension))?;
            shelve_all(index, store, &records)?;
        }
        store.check_end(&now, &end)?;
        self.head = now;
        Ok(())
    }

    /// Settles a group and writes its entries, inside a transaction.
    pub(crate) fn settle(&mut self, store: &Store, group: &Group, watch: &Watch) -> Result<Vec<Entry>> {
        self.catch_up(store)?;
        let (points, asked) = (group.points(), group.asked());
        if self.head.entries > 0 {
            check_dimension(group.name(), points.ncols(), self.head.dimension)?;
        }
        if self.head.regions + asked.len() as u64 > u64::from(u32::MAX) {
            return Err(Error::ledger("The ledger is full: it holds 2^32 regions. Start another one."));
        }
        let index = match &mut self.index {
            Some(index) if index.dimension() == points.ncols() => index,
            // Nothing was stored after an index for another dimension was made.
            other => other.insert(Index::new(points.ncols(), CODE_BYTES)),
        };
        let (mut head, mut entries) = (self.head, Vec::with_capacity(asked.len()));
        settle::settle(index, store, head.entries, points, asked, |record| {
            head = head.after(record);
            store.append(record, &head.digest)?;
            entries.push(record.entry);
            Ok(!watch.is_stopped() && !store.is_asked_to_stop())
        })?;
        store.set_head(&head)?;
        self.head = head;
        Ok(entries)
    }
}

/// Adds the regions of stored records to the index.
fn shelve_all(index: &mut Index, store: &Store, records: &[Record]) -> Result<()> {
    let points = stack(index.dimension(), records);
    let sketches = index.sketch(points.view());
    for (record, sketch) in records.iter().zip(&sketches) {
        shelve(index, record, sketch, &Code::of(&record.centre));
    }
    index.learn_if_due(store)
}
