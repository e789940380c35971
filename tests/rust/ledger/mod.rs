//! The ledger: one file for each kind of promise.

mod bad_input;
mod processes;
mod reference;
mod sequences;

use std::path::{Path, PathBuf};

use certssb::{Entry, Ledger, LedgerRecord as Record, Watch};
use tempfile::TempDir;

/// A folder that is removed after the test, and a path in it.
///
/// In memory where the system has such a folder: a killed process leaves there what it would leave on a disk, and no test
/// waits for a disk. (That updates reach the disk before they are reported is SQLite's work: see `store`.)
fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let path = folder.path().join("regions.sqlite");
    (folder, path)
}

/// Everything in the ledger, in order.
fn all_records(path: &Path) -> Vec<Record> {
    Ledger::open_read_only(path).unwrap().records(0, usize::MAX).unwrap()
}

/// One update of a test.
#[derive(Clone, Debug)]
struct Ask {
    x: Vec<f32>,
    prediction: u32,
    radius: f64,
}

fn one_by_one(ledger: &mut Ledger, asks: &[Ask]) -> Vec<Entry> {
    asks.iter().map(|ask| ledger.update(&ask.x, ask.prediction, ask.radius).unwrap()).collect()
}

fn together(ledger: &mut Ledger, asks: &[Ask]) -> Vec<Entry> {
    let (points, predictions, radii) = columns(asks);
    ledger.update_many(points.view(), &predictions, &radii, &mut Watch::new()).unwrap()
}

fn columns(asks: &[Ask]) -> (ndarray::Array2<f32>, Vec<u32>, Vec<f64>) {
    let dimension = asks.first().map_or(0, |ask| ask.x.len());
    let flat: Vec<f32> = asks.iter().flat_map(|ask| ask.x.clone()).collect();
    let points = ndarray::Array2::from_shape_vec((asks.len(), dimension), flat).unwrap();
    (points, asks.iter().map(|a| a.prediction).collect(), asks.iter().map(|a| a.radius).collect())
}
