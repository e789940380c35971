//! Settles updates in their order of arrival; many at once give what one by one would give.

use ndarray::ArrayView2;

use super::code::Code;
use super::distance_sketch::Sketch;
use super::index::{Centres, Index};
use super::region::{Asked, Entry, Record};
use super::resolve::resolve;
use super::search::Search;
use crate::error::Result;

/// Most updates that are settled together.
const MOST_TOGETHER: usize = 512;
/// Most numbers that are sketched together: 32 MiB of `f64`.
const MOST_NUMBERS: usize = 1 << 22;

/// How many updates of this dimension are settled together.
pub(crate) fn together(dimension: usize) -> usize {
    (MOST_NUMBERS / dimension.max(1)).clamp(1, MOST_TOGETHER)
}

/// Settles updates around points (n, dimension); the first becomes entry `number`.
///
/// The regions stored before are scanned for all points in parallel; each update then sees those scans and, on its
/// own, the regions that came with the updates just before it. `take` gets each record in order, says whether to go
/// on, and fails where the record cannot be stored.
pub(crate) fn settle(
    index: &mut Index,
    file: &impl Centres,
    mut number: u64,
    points: ArrayView2<f32>,
    asked: &[Asked],
    mut take: impl FnMut(&Record) -> Result<bool>,
) -> Result<()> {
    let centres: Vec<Vec<f32>> = points.rows().into_iter().map(|row| row.to_vec()).collect();
    let sketches = index.sketch(points);
    let ask = |((x, sketch), asked): ((_, _), &Asked)| {
        (index.query(x, sketch, Some(asked.prediction)), asked.radius)
    };
    let queries: Vec<_> = centres.iter().map(Vec::as_slice).zip(sketches).zip(asked).map(ask).collect();
    let lists = index.scan_many(&queries, file)?;
    let before = index.len() as u32;
    for ((asked, (query, _)), list) in asked.iter().zip(&queries).zip(lists) {
        let search = Search::new(index, file, query, asked.radius);
        let nearest = search.through(list)?.from(before)?.nearest();
        let entry = resolve(*asked, nearest).entry(number);
        let record = Record { centre: query.x.to_vec(), asked: *asked, entry };
        let go_on = take(&record)?;
        shelve(index, &record, &query.sketch, &query.code);
        if !go_on {
            break;
        }
        number += 1;
    }
    index.learn_if_due(file)
}

/// Adds the record's region, if it has one, to the index.
pub(crate) fn shelve(index: &mut Index, record: &Record, sketch: &Sketch, code: &Code) {
    let Entry { number, prediction, radius, .. } = record.entry;
    if radius > 0.0 {
        index.push(number, Asked { prediction, radius }, &record.centre, sketch, code);
    }
}
