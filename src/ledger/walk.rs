//! Reading a ledger in the order of arrival, every entry checked.

use super::region::Record;
use super::store::{Head, Store};
use crate::error::Result;

/// How far a reader has come. Between two steps nothing of the file is held.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    now: Head,
    /// Whether the walk began with the first entry, so that its counts are known.
    whole: bool,
}

impl Walk {
    /// A walk through all entries.
    pub(crate) fn new() -> Self {
        Self { now: Head::default(), whole: true }
    }

    /// A walk from entry `number` on, which trusts the digest of the entry before.
    pub(crate) fn from(number: u64, store: &Store) -> Result<Self> {
        if number == 0 {
            return Ok(Self::new());
        } else if number > store.head()?.entries {
            return Ok(Self { now: Head { entries: number, ..Head::default() }, whole: false });
        }
        let digest = store.digest_of(number - 1)?;
        Ok(Self { now: Head { entries: number, digest, ..Head::default() }, whole: false })
    }

    /// The next entries up to `end`, which memory knows to be the file's; at most `limit`, none at the end.
    pub(crate) fn step(&mut self, store: &Store, end: &Head, limit: usize) -> Result<Vec<Record>> {
        if self.now.entries >= end.entries {
            return Ok(Vec::new());
        }
        let _view = store.read()?;
        let records = store.read_on(&mut self.now, end, limit)?;
        if self.whole {
            store.check_end(&self.now, end)?;
        } else if self.now.entries == end.entries && self.now.digest != end.digest {
            return Err(store.damaged("its last entries do not lead to its head"));
        }
        Ok(records)
    }
}
