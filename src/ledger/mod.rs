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
//! | `updates`, `settle` | many updates in their order, from numbers that nobody else can change |
//! | `memory` | what of the file is in memory |
//! | `door`, `log` | what is opened as a ledger at all: files may come from strangers, or be damaged |
//! | `store`, `make`, `failure` | the SQLite file, how it comes about, and what goes wrong with it |
//! | `patience` | waiting, and being stopped meanwhile |
//! | `verify`, `walk` | checking a whole file, and reading it in order |

mod code;
mod distance;
mod distance_sketch;
mod door;
mod failure;
mod index;
mod log;
mod make;
mod memory;
mod patience;
mod region;
mod resolve;
mod search;
mod settle;
mod store;
mod updates;
mod verify;
mod walk;
mod watch;

use std::path::{Path, PathBuf};

use ndarray::{Array2, ArrayView2, Axis};

use crate::error::{Error, Result};
use memory::Memory;
use search::Search;
use store::Store;
use updates::{check_dimension, check_point, Group};

pub use patience::Patience;
pub use region::{Asked, Claim, Entry, Outcome, Record, Report};
pub(crate) use updates::Updates;
pub(crate) use verify::Verification;
pub(crate) use walk::Walk;
pub use watch::Watch;

/// Certified regions in a file, which several processes of one machine may use at once.
///
/// Memory: 296 bytes for each region, above dimension 64 also a byte a feature and 32 more but at most 1 GiB of these
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
    file: LedgerFile,
    memory: Memory,
}

/// The file, open or to be opened again.
#[derive(Debug)]
struct LedgerFile {
    path: PathBuf,
    /// Where the file was found, whatever becomes of the working directory and of links.
    real: PathBuf,
    read_only: bool,
    patience: Patience,
    store: Option<Store>,
}

impl LedgerFile {
    fn open(path: &Path, read_only: bool, patience: Patience) -> Result<Self> {
        let store = Store::open(path, read_only, patience)?;
        let real = store.real_path().to_owned();
        Ok(Self { path: path.to_owned(), real, read_only, patience, store: Some(store) })
    }

    fn store(&mut self) -> Result<&Store> {
        let kept = self.store.take().filter(|store| store.is_inherited() || !store.is_stale());
        let store = match kept {
            Some(store) => store,
            None => Store::open_again(&self.real, self.read_only, self.patience)?,
        };
        Ok(self.store.insert(store))
    }
}

impl Ledger {
    /// Opens the ledger at `path`, for reading and writing; makes one where there is no file.
    ///
    /// # Errors
    /// [`ErrorKind::LedgerCorrupt`](crate::ErrorKind::LedgerCorrupt) for a file that is not a ledger or is damaged, [`ErrorKind::LedgerVersion`](crate::ErrorKind::LedgerVersion) for one
    /// of another schema version, [`ErrorKind::Ledger`](crate::ErrorKind::Ledger) where the file cannot be read or written.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, false, Patience::new())
    }

    /// Opens the ledger at `path` for reading; [`Ledger::update`] will fail.
    ///
    /// # Errors
    /// As [`Ledger::open`]; [`ErrorKind::Ledger`](crate::ErrorKind::Ledger) where there is no file.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, true, Patience::new())
    }

    /// Opens the ledger at `path`, for reading only or for writing too; whenever it waits for another process, `patience` says
    /// for how long.
    ///
    /// # Errors
    /// As [`Ledger::open`]; [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) when stopped.
    pub fn open_with(path: impl AsRef<Path>, read_only: bool, patience: Patience) -> Result<Self> {
        let file = LedgerFile::open(path.as_ref(), read_only, patience)?;
        let mut ledger = Self { file, memory: Memory::default() };
        ledger.refresh()?;
        Ok(ledger)
    }

    /// Closes the file until the next call opens it again; what is in memory stays.
    ///
    /// Do this before the process is forked: a connection must not cross a fork. A child that inherits one is refused by
    /// every call.
    ///
    /// # Errors
    /// In a forked child, for a ledger that was not suspended before.
    pub fn suspend(&mut self) -> Result<()> {
        if let Some(store) = self.file.store.take_if(|store| !store.is_inherited()) {
            drop(store);
        }
        match &self.file.store {
            Some(_) => Err(failure::forked(&self.file.path)),
            None => Ok(()),
        }
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// Number of regions in the file, those that other processes stored included.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn len(&mut self) -> Result<u64> {
        self.file.store()?.head().map(|head| head.regions)
    }

    /// Whether the file has no region.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn is_empty(&mut self) -> Result<bool> {
        self.len().map(|n| n == 0)
    }

    /// Number of updates in the file, abstentions included.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn n_updates(&mut self) -> Result<u64> {
        self.file.store()?.head().map(|head| head.entries)
    }

    /// Length of every centre; `None` before the first update, which fixes it.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn dimension(&mut self) -> Result<Option<usize>> {
        self.file.store()?.head().map(|head| (head.entries > 0).then_some(head.dimension))
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
        let group = Group::single(x, prediction, radius)?;
        let mut entries = self.settle(&group, &Watch::new())?;
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
        let updates = Updates::check("points", points, predictions, radii)?;
        let (mut entries, total) = (Vec::with_capacity(updates.len()), updates.len());
        while entries.len() < total && !watch.is_stopped() {
            let start = entries.len();
            let group = updates.group(points, start)?;
            entries.extend(self.settle(&group, watch).map_err(|e| updates.after_part(e, start))?);
            watch.report(entries.len() as u64, total as u64);
        }
        if entries.len() < total {
            return Err(updates.stopped_after(entries.len()));
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
        check_point("x", x)?;
        self.refresh()?;
        let store = self.file.store()?;
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
        let nearest = Search::new(index, store, &query, 0.0).from(0)?.nearest();
        Ok(nearest.filter(|n| n.gap() < 0.0 && n.depth() > 0.0).map(|n| Claim {
            number: n.number,
            prediction: n.prediction,
            radius: n.depth(),
        }))
    }

    /// At most `limit` records in the order of arrival, from entry `number` on; each is checked against its digest and its
    /// place in the chain.
    ///
    /// # Errors
    /// [`ErrorKind::LedgerCorrupt`](crate::ErrorKind::LedgerCorrupt) for records that were changed; where the file cannot be read.
    pub fn records(&mut self, number: u64, limit: usize) -> Result<Vec<Record>> {
        self.refresh()?;
        let mut walk = Walk::from(number, self.file.store()?)?;
        self.walk(&mut walk, limit)
    }

    /// The next records of a walk through the file, at most `limit`; none at its end.
    pub(crate) fn walk(&mut self, walk: &mut Walk, limit: usize) -> Result<Vec<Record>> {
        self.refresh()?;
        walk.step(self.file.store()?, &self.memory.head, limit)
    }

    /// Checks the whole file: SQLite's structure, the digest of every entry and their order, that every update when
    /// repeated gives what is stored, and that regions of different classes are disjoint.
    ///
    /// # Errors
    /// [`ErrorKind::LedgerCorrupt`](crate::ErrorKind::LedgerCorrupt) naming the first fault; [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) when stopped.
    pub fn verify(&mut self, watch: &mut Watch) -> Result<Report> {
        let mut verification = self.verification()?;
        while !verification.is_done() {
            if watch.is_stopped() {
                let done = verification.progress().0;
                return Err(Error::cancelled(format!("Stopped after checking {done} entries.")));
            }
            self.verify_on(&mut verification)?;
            let (done, total) = verification.progress();
            watch.report(done, total);
        }
        Ok(verification.report())
    }

    pub(crate) fn verification(&mut self) -> Result<Verification> {
        self.refresh()?;
        Verification::start(self.file.store()?)
    }

    pub(crate) fn verify_on(&mut self, verification: &mut Verification) -> Result<()> {
        verification.step(self.file.store()?)
    }

    /// Reads what other processes have stored since.
    fn refresh(&mut self) -> Result<()> {
        let store = self.file.store()?;
        let transaction = store.read()?;
        let read = self.memory.catch_up(store);
        drop(transaction);
        self.memory.forget_after(read)
    }

    /// One transaction: all of these updates, or those before the watch stopped it; on failure none.
    pub(crate) fn settle(&mut self, group: &Group, watch: &Watch) -> Result<Vec<Entry>> {
        let store = self.file.store()?;
        let transaction = store.write()?;
        let settled = self.memory.settle(store, group, watch);
        let settled = self.memory.forget_after(settled)?;
        let stored = store.commit(transaction);
        if stored.is_err() {
            self.memory = Memory::default();
        }
        stored.map(|()| settled)
    }
}

/// The records' centres, shape (n, dimension).
fn stack(dimension: usize, records: &[Record]) -> Array2<f32> {
    let mut points = Array2::zeros((records.len(), dimension));
    for (mut row, record) in points.axis_iter_mut(Axis(0)).zip(records) {
        row.iter_mut().zip(&record.centre).for_each(|(to, from)| *to = *from);
    }
    points
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

    fn pages(ledger: &mut Ledger, setting: &str) -> i64 {
        ledger.file.store().unwrap().pragma(setting)
    }

    #[test]
    fn a_full_disk_takes_no_half_of_an_update() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path().join("regions.sqlite")).unwrap();
        let (points, predictions, radii) = line(1200);
        // 512 entries of about 500 bytes take about 70 pages: the first group fits, the second does not.
        assert_eq!(pages(&mut ledger, "max_page_count = 100"), 100);
        let full = ledger.update_many(points.view(), &predictions, &radii, &mut Watch::new()).unwrap_err();
        assert_eq!(*full.kind(), ErrorKind::Ledger);
        assert!(full.to_string().contains("the disk is full"), "{full}");
        assert!(full.to_string().ends_with("The first 512 of 1200 updates are stored."), "{full}");
        assert_eq!(ledger.n_updates().unwrap(), 512);
        assert_eq!(ledger.verify(&mut Watch::new()).unwrap().updates, 512);
        let single = ledger.update(&[-7.0; 100], 0, 1.0).unwrap();
        assert_eq!(single.number, 512, "one more page is free");

        pages(&mut ledger, "max_page_count = 1000000");
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
        let group = Updates::check("points", points.view(), &predictions, &radii).unwrap();
        let group = group.group(points.view(), 0).unwrap();
        let entries = ledger.settle(&group, &Watch::new().stop(&stop)).unwrap();
        assert_eq!((entries.len(), ledger.n_updates().unwrap()), (1, 1));
        assert_eq!(ledger.verify(&mut Watch::new()).unwrap().updates, 1);
    }

    #[test]
    fn a_connection_is_not_carried_over_a_fork() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path().join("regions.sqlite")).unwrap();
        if let Some(store) = &mut ledger.file.store {
            store.pretend_fork();
        }
        for error in [
            ledger.update(&[0.0], 0, 1.0).unwrap_err(),
            ledger.query(&[0.0]).unwrap_err(),
            ledger.len().unwrap_err(),
            ledger.records(0, 1).unwrap_err(),
            ledger.verify(&mut Watch::new()).unwrap_err(),
            ledger.suspend().unwrap_err(),
        ] {
            assert_eq!(*error.kind(), ErrorKind::Ledger);
            assert!(error.to_string().contains("before a fork. Open it again"), "{error}");
        }
    }

    /// Regions without codes in memory take longer to find, and change no result.
    #[test]
    fn few_codes_in_memory_are_enough() {
        let folder = tempfile::tempdir().unwrap();
        let mut all = Ledger::open(folder.path().join("a.sqlite")).unwrap();
        let mut few = Ledger::open(folder.path().join("b.sqlite")).unwrap();
        few.memory.index = Some(index::Index::new(100, 4000));
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
