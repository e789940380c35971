//! The ledger of Cert-SSBD (its storage-update step): certified regions, no two of which contradict each other.
//!
//! A region is an open L2 ball around an input, within which every input has the same class. Before a new region is
//! stored, [`resolve`](self::resolve) trims it, or lets it adopt the class of a stored one, so that regions of different
//! classes are disjoint: an answer given once is never contradicted. The result depends on the order of arrival, and
//! the order is part of the record.
//!
//! | file | for |
//! |---|---|
//! | `resolve` | the decision, pure |
//! | `distance` | distances that are exact before their last rounding |
//! | `sketch`, `code`, `index`, `search` | finding the one region that decides, without looking at all |
//! | `settle` | many updates in their order |
//! | `store` | the SQLite file |
//! | `verify` | checking a whole file |

mod code;
mod distance;
mod index;
mod region;
mod resolve;
mod search;
mod settle;
mod sketch;
mod store;
mod verify;
mod watch;

use std::path::Path;

use ndarray::{Array2, ArrayView2, Axis};

use crate::error::{Error, Result};
use code::Code;
use index::{Index, CODE_BYTES};
use search::Search;
use store::{Head, Store};

pub use region::{Asked, Claim, Entry, Outcome, Record, Report};
pub use watch::Watch;

/// Longest centre: SQLite stores at most 10^9 bytes in a row.
const LONGEST: usize = 200_000_000;
/// Pause between transactions of one long update, in which other processes get their turn.
const TURN: std::time::Duration = std::time::Duration::from_millis(2);

/// Certified regions in a file, which several processes of one machine may use at once.
///
/// Memory: 288 bytes for each region, above dimension 64 also a byte a feature and 32 more but at most 1 GiB of these
/// altogether (a million regions of 784 features take 1.1 GiB), 16 MiB of SQLite's cache, and what one batch of
/// at most 512 updates takes (100 MiB at most up to dimension 8192). Opening reads the whole file once. When the 256th,
/// the 4,096th and the 65,536th region is stored, the update takes longer, as better sketches are learned.
///
/// # Example
/// ```
/// use certssb::{Ledger, Outcome};
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("regions.sqlite");
/// let mut ledger = Ledger::open(&path)?;
/// let first = ledger.update(&[0.0, 0.0], 1, 0.5)?;
/// assert_eq!(first.outcome, Outcome::Kept);
///
/// let second = ledger.update(&[0.0, 0.75], 0, 0.5)?;
/// assert_eq!((second.prediction, second.radius, second.outcome), (0, 0.25, Outcome::Trimmed));
///
/// let third = ledger.update(&[0.25, 0.0], 0, 0.5)?;
/// assert_eq!((third.prediction, third.radius, third.outcome), (1, 0.25, Outcome::Adopted));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Ledger {
    store: Store,
    memory: Memory,
}

/// What of the file is in memory.
#[derive(Debug, Default)]
struct Memory {
    /// The state of the file up to which it was read.
    head: Head,
    /// The regions; `None` before the first entry.
    index: Option<Index>,
}

impl Ledger {
    /// Opens the ledger at `path`, for reading and writing; makes one where there is no file.
    ///
    /// # Errors
    /// [`ErrorKind::LedgerCorrupt`](crate::ErrorKind::LedgerCorrupt) for a file that is not a ledger or is damaged, [`ErrorKind::LedgerVersion`](crate::ErrorKind::LedgerVersion) for one
    /// of another schema version, [`ErrorKind::Ledger`](crate::ErrorKind::Ledger) where the file cannot be read or written.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::read_in(Store::open(path.as_ref())?)
    }

    /// Opens the ledger at `path` for reading; [`Ledger::update`] will fail.
    ///
    /// # Errors
    /// As [`Ledger::open`]; [`ErrorKind::Ledger`](crate::ErrorKind::Ledger) where there is no file.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self> {
        Self::read_in(Store::open_read_only(path.as_ref())?)
    }

    fn read_in(store: Store) -> Result<Self> {
        let mut ledger = Self { store, memory: Memory::default() };
        ledger.refresh()?;
        Ok(ledger)
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        self.store.path()
    }

    /// Number of regions in the file, those that other processes stored included.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn len(&self) -> Result<u64> {
        self.store.head().map(|head| head.regions)
    }

    /// Whether the file has no region.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn is_empty(&self) -> Result<bool> {
        self.len().map(|n| n == 0)
    }

    /// Number of updates in the file, abstentions included.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn n_updates(&self) -> Result<u64> {
        self.store.head().map(|head| head.entries)
    }

    /// Length of every centre; `None` before the first update, which fixes it.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn dimension(&self) -> Result<Option<usize>> {
        self.store.head().map(|head| (head.entries > 0).then_some(head.dimension))
    }

    /// Settles and stores one region: every input closer to `x` than `radius` has class `prediction`.
    ///
    /// It is durable when this returns. A `radius` of 0 asks for nothing: the entry abstains, unless `x` lies inside a
    /// region of another class, which it adopts. `radius` is L2, in the units of x.
    ///
    /// # Errors
    /// [`ErrorKind::Parameter`](crate::ErrorKind::Parameter) for NaN or infinity in `x` and for a radius that is negative, NaN or infinite;
    /// [`ErrorKind::Shape`](crate::ErrorKind::Shape) where `x` has another length than the stored centres; else as [`Ledger::open`].
    /// Nothing is stored then.
    pub fn update(&mut self, x: &[f32], prediction: u32, radius: f64) -> Result<Entry> {
        check_radius("radius", radius)?;
        check_length("x", x.len())?;
        check_finite("x", x.iter())?;
        let asked = [Asked { prediction, radius: radius + 0.0 }];
        let points =
            ArrayView2::from_shape((1, x.len()), x).map_err(|e| Error::shape("x", "one dimension", e))?;
        let mut entries = self.transact("x", points, &asked, &Watch::new())?;
        entries.pop().ok_or_else(|| Error::ledger("The update left no entry. Report this as a bug."))
    }

    /// [`Ledger::update`] for each row of `points` (n, dimension) in order, with the same result, but faster.
    ///
    /// All arguments are checked before anything is stored. Updates become durable in groups; when the work is stopped
    /// or fails, what was settled until then stays, and the message says how many updates that are.
    ///
    /// # Errors
    /// As [`Ledger::update`]; [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) when stopped.
    ///
    /// # Example
    /// ```
    /// use certssb::{Ledger, Watch};
    /// # let folder = tempfile::tempdir()?;
    /// let mut ledger = Ledger::open(folder.path().join("regions.sqlite"))?;
    /// let points = ndarray::array![[0.0, 0.0], [1.0, 0.0]];
    /// let entries = ledger.update_many(points.view(), &[0, 1], &[0.75, 0.75], &mut Watch::new())?;
    /// assert_eq!(entries[1].radius, 0.25);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn update_many(
        &mut self,
        points: ArrayView2<f32>,
        predictions: &[u32],
        radii: &[f64],
        watch: &mut Watch,
    ) -> Result<Vec<Entry>> {
        let asked = check_many(points, predictions, radii)?;
        let points = points.as_standard_layout();
        let (mut entries, total) = (Vec::with_capacity(asked.len()), asked.len());
        while entries.len() < total && !watch.is_stopped() {
            let start = entries.len();
            let end = total.min(start + settle::together(points.ncols()));
            let rows = points.slice(ndarray::s![start..end, ..]);
            if start > 0 {
                std::thread::sleep(TURN);
            }
            let settled = self.transact("points", rows, &asked[start..end], watch);
            entries.extend(settled.map_err(|e| after_part(e, start, total))?);
            watch.report(entries.len() as u64, total as u64);
        }
        if entries.len() < total {
            return Err(Error::cancelled(format!(
                "Stopped after {} of {total} updates; these are stored.",
                entries.len()
            )));
        }
        Ok(entries)
    }

    /// What the ledger claims at `x`: the region that contains it, if there is one.
    ///
    /// # Errors
    /// As [`Ledger::update`].
    ///
    /// # Example
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// let mut ledger = certssb::Ledger::open(folder.path().join("regions.sqlite"))?;
    /// ledger.update(&[0.0, 0.0], 1, 0.5)?;
    /// let claim = ledger.query(&[0.25, 0.0])?.map(|claim| (claim.prediction, claim.radius));
    /// assert_eq!(claim, Some((1, 0.25)));
    /// assert_eq!(ledger.query(&[0.5, 0.0])?, None, "regions are open");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn query(&mut self, x: &[f32]) -> Result<Option<Claim>> {
        check_length("x", x.len())?;
        check_finite("x", x.iter())?;
        self.refresh()?;
        let Some(index) = &self.memory.index else {
            return Ok(None);
        };
        check_dimension("x", x.len(), index.dimension())?;
        let point =
            ArrayView2::from_shape((1, x.len()), x).map_err(|e| Error::shape("x", "one dimension", e))?;
        let Some(sketch) = index.sketch(point).pop() else {
            return Ok(None);
        };
        let query = index.query(x, sketch, None);
        let nearest = Search::new(index, &self.store, &query, 0.0).from(0)?.nearest();
        Ok(nearest.filter(|n| n.gap() < 0.0 && n.depth() > 0.0).map(|n| Claim {
            number: n.number,
            prediction: n.prediction,
            radius: n.depth(),
        }))
    }

    /// At most `limit` records in the order of arrival, from entry `number` on.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn records(&self, number: u64, limit: usize) -> Result<Vec<Record>> {
        self.store.records(number, limit)
    }

    /// Checks the whole file: SQLite's structure, the digest of every entry and their order, that every update when
    /// repeated gives what is stored, and that regions of different classes are disjoint.
    ///
    /// # Errors
    /// [`ErrorKind::LedgerCorrupt`](crate::ErrorKind::LedgerCorrupt) naming the first fault; [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) when stopped.
    pub fn verify(&self, watch: &mut Watch) -> Result<Report> {
        verify::verify(&self.store, watch)
    }

    /// Reads what other processes have stored since.
    fn refresh(&mut self) -> Result<()> {
        let transaction = self.store.read()?;
        let read = self.memory.catch_up(&self.store);
        drop(transaction);
        self.memory.forget_after(read)
    }

    /// One transaction: all of these updates, or those before the watch stopped it; on failure none.
    fn transact(
        &mut self,
        name: &str,
        points: ArrayView2<f32>,
        asked: &[Asked],
        watch: &Watch,
    ) -> Result<Vec<Entry>> {
        let transaction = self.store.write()?;
        let settled = self.memory.settle(&self.store, name, points, asked, watch);
        let stored = settled.and_then(|entries| self.store.commit(transaction).map(|()| entries));
        self.memory.forget_after(stored)
    }
}

impl Memory {
    /// After a failure memory and file may differ: everything is read again when next needed.
    fn forget_after<T>(&mut self, result: Result<T>) -> Result<T> {
        if result.as_ref().is_err_and(|error| !error.is_bad_input()) {
            *self = Self::default();
        }
        result
    }

    /// Reads the entries that the file has and memory has not.
    fn catch_up(&mut self, store: &Store) -> Result<()> {
        let head = store.head()?;
        if head == self.head {
            return Ok(());
        }
        if head.entries <= self.head.entries {
            return Err(store.damaged("entries that were read before have been taken back"));
        }
        let index = self.index.get_or_insert_with(|| Index::new(head.dimension, CODE_BYTES));
        let mut batch = Vec::new();
        self.head = store.replay(self.head, |record| {
            batch.push(record);
            if batch.len() < settle::together(head.dimension) {
                return Ok(());
            }
            shelve_all(index, store, &std::mem::take(&mut batch))
        })?;
        shelve_all(index, store, &batch)
    }

    fn settle(
        &mut self,
        store: &Store,
        name: &str,
        points: ArrayView2<f32>,
        asked: &[Asked],
        watch: &Watch,
    ) -> Result<Vec<Entry>> {
        self.catch_up(store)?;
        if self.head.entries > 0 {
            check_dimension(name, points.ncols(), self.head.dimension)?;
        }
        if self.head.regions + asked.len() as u64 > u64::from(u32::MAX) {
            return Err(Error::ledger("The ledger is full: it holds 2^32 regions. Start another one."));
        }
        let index = self.index.get_or_insert_with(|| Index::new(points.ncols(), CODE_BYTES));
        let (mut head, mut entries) = (self.head, Vec::with_capacity(asked.len()));
        settle::settle(index, store, head.entries, points, asked, |record| {
            head = head.after(record);
            store.append(record, &head.digest)?;
            entries.push(record.entry);
            Ok(!watch.is_stopped())
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
        settle::shelve(index, &record.entry, sketch, &Code::of(&record.centre));
    }
    index.learn_if_due(store)
}

/// The records' centres, shape (n, dimension).
fn stack(dimension: usize, records: &[Record]) -> Array2<f32> {
    let mut points = Array2::zeros((records.len(), dimension));
    for (mut row, record) in points.axis_iter_mut(Axis(0)).zip(records) {
        row.iter_mut().zip(&record.centre).for_each(|(to, from)| *to = *from);
    }
    points
}

fn check_many(points: ArrayView2<f32>, predictions: &[u32], radii: &[f64]) -> Result<Vec<Asked>> {
    let n = points.nrows();
    for (name, length) in [("predictions", predictions.len()), ("radii", radii.len())] {
        if length != n {
            return Err(Error::shape(name, format_args!("one entry for each of the {n} points"), length));
        }
    }
    if n > 0 {
        check_length("points", points.ncols())?;
    }
    for (row, point) in points.rows().into_iter().enumerate() {
        check_finite(&format!("points[{row}]"), point.iter())?;
    }
    for (at, radius) in radii.iter().enumerate() {
        check_radius(&format!("radii[{at}]"), *radius)?;
    }
    let asked = predictions.iter().zip(radii);
    Ok(asked.map(|(&prediction, &radius)| Asked { prediction, radius: radius + 0.0 }).collect())
}

fn check_radius(name: &str, radius: f64) -> Result<()> {
    if radius >= 0.0 && radius.is_finite() {
        Ok(())
    } else {
        Err(Error::parameter(name, "a finite float greater than or equal to 0", radius))
    }
}

fn check_finite<'a>(name: &str, mut values: impl Iterator<Item = &'a f32>) -> Result<()> {
    match values.position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(at) => Err(Error::parameter(
            name,
            "free of NaN and infinity",
            format_args!("one of them at position {at}"),
        )),
    }
}

fn check_length(name: &str, length: usize) -> Result<()> {
    if (1..=LONGEST).contains(&length) {
        Ok(())
    } else {
        Err(Error::shape(name, format_args!("1 to {LONGEST} features"), length))
    }
}

fn check_dimension(name: &str, got: usize, expected: usize) -> Result<()> {
    if got == expected {
        Ok(())
    } else {
        let expected = format_args!("{expected} features, like the centres in the ledger");
        Err(Error::shape(name, expected, got))
    }
}

/// A failure of a later transaction says what the earlier ones have stored.
fn after_part(error: Error, done: usize, total: usize) -> Error {
    if done == 0 {
        return error;
    }
    Error::new(error.kind().clone(), format!("{error} The first {done} of {total} updates are stored."))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    /// Points on a line of 100 dimensions, far enough apart for radius 1.
    fn line(n: usize) -> (Array2<f32>, Vec<u32>, Vec<f64>) {
        let points = Array2::from_shape_fn((n, 100), |(i, _)| i as f32);
        (points, (0..n as u32).map(|i| i % 2).collect(), vec![1.0; n])
    }

    fn pages(ledger: &Ledger, setting: &str) -> i64 {
        ledger.store.connection().query_row(&format!("PRAGMA {setting}"), [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_full_disk_takes_no_half_of_an_update() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path().join("regions.sqlite")).unwrap();
        let (points, predictions, radii) = line(1200);
        // 512 entries of about 500 bytes take about 70 pages: the first group fits, the second does not.
        assert_eq!(pages(&ledger, "max_page_count = 100"), 100);
        let full = ledger.update_many(points.view(), &predictions, &radii, &mut Watch::new()).unwrap_err();
        assert_eq!(*full.kind(), ErrorKind::Ledger);
        assert!(full.to_string().contains("the disk is full"), "{full}");
        assert!(full.to_string().ends_with("The first 512 of 1200 updates are stored."), "{full}");
        assert_eq!(ledger.n_updates().unwrap(), 512);
        assert_eq!(ledger.verify(&mut Watch::new()).unwrap().updates, 512);
        let single = ledger.update(&[-7.0; 100], 0, 1.0).unwrap();
        assert_eq!(single.number, 512, "one more page is free");

        pages(&ledger, "max_page_count = 1000000");
        let rest = points.slice(ndarray::s![512.., ..]);
        let rest = ledger.update_many(rest, &predictions[512..], &radii[512..], &mut Watch::new()).unwrap();
        assert_eq!(rest.last().map(|entry| entry.number), Some(1200));
        assert_eq!(ledger.verify(&mut Watch::new()).unwrap().regions, 1201);
    }

    #[test]
    fn stopped_within_a_group_the_settled_part_is_stored() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path().join("regions.sqlite")).unwrap();
        let (points, predictions, radii) = line(20);
        let stop = std::sync::atomic::AtomicBool::new(true);
        let asked = check_many(points.view(), &predictions, &radii).unwrap();
        let entries = ledger.transact("points", points.view(), &asked, &Watch::new().stop(&stop)).unwrap();
        assert_eq!((entries.len(), ledger.n_updates().unwrap()), (1, 1));
        assert_eq!(ledger.verify(&mut Watch::new()).unwrap().updates, 1);
    }

    #[test]
    fn a_connection_is_not_carried_over_a_fork() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path().join("regions.sqlite")).unwrap();
        ledger.store.pretend_fork();
        let error = ledger.update(&[0.0], 0, 1.0).unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Ledger);
        assert!(error.to_string().contains("before a fork. Open it again"), "{error}");
    }

    /// Regions without codes in memory take longer to find, and change no result.
    #[test]
    fn few_codes_in_memory_are_enough() {
        let folder = tempfile::tempdir().unwrap();
        let mut all = Ledger::open(folder.path().join("a.sqlite")).unwrap();
        let mut few = Ledger::open(folder.path().join("b.sqlite")).unwrap();
        few.memory.index = Some(Index::new(100, 4000));
        let (points, predictions, _) = line(900);
        let points = points.mapv(|v| (v * 0.37).sin());
        let radii: Vec<f64> = (0..900).map(|i| f64::from(i % 13) / 10.0).collect();
        let expected = all.update_many(points.view(), &predictions, &radii, &mut Watch::new()).unwrap();
        let found = few.update_many(points.view(), &predictions, &radii, &mut Watch::new()).unwrap();
        assert_eq!(found, expected);
        for outcome in [Outcome::Kept, Outcome::Trimmed, Outcome::Adopted] {
            assert!(expected.iter().any(|entry| entry.outcome == outcome), "{outcome}");
        }
    }

    #[test]
    fn a_ledger_may_move_to_another_thread() {
        fn is_send<T: Send>() {}
        is_send::<Ledger>();
    }
}
