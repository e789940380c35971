//! The regions in memory, as sketches: which of them may conflict with a new one?
//!
//! Memory: at most [`BYTES_PER_REGION`] bytes for each region, and at most [`CODE_BYTES`] bytes of codes, those of the
//! first regions. Centres are read from the file where neither sketch nor code can decide; a seal of each, with a key
//! that no file knows, tells one that was edited meanwhile.

use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasher, Hasher, RandomState};

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::code::{Code, Codes};
use super::distance_sketch::{is_own_sketch, Basis, Sketch, WIDTH};
use super::region::Asked;
use crate::error::{Error, Result};
use crate::process::install;

/// Bytes of memory for one region besides its code: sketch, radius, number, class and seal.
#[cfg_attr(not(test), allow(dead_code))]
pub(crate) const BYTES_PER_REGION: usize = 4 * WIDTH + 40;
/// Bytes of codes kept in memory: 1 GiB.
pub(crate) const CODE_BYTES: usize = 1 << 30;
/// Regions in a block; compared at once.
const LANES: usize = 16;
/// Numbers of a sketch that are compared before asking whether the rest matters.
const GROUP: usize = 8;
/// Candidates kept by one scan.
const SHORTLIST: usize = 64;
/// Blocks that stay in the processor's cache while several queries pass over them.
const TILE: usize = 256;
/// A scan over more blocks than this is shared among threads.
const BLOCKS_ALONE: usize = 2048;
/// Most pairs of queries and regions that are scanned without a pause: about half a second of one core.
const PAIRS: usize = 1 << 27;
/// Numbers of regions at which the axes of the sketches are learned (anew).
const LEARN_AT: [usize; 3] = [256, 4096, 65_536];

/// Where centres come from.
pub(crate) trait Centres {
    /// The centre of entry `number`.
    fn centre(&self, number: u64) -> Result<Vec<f32>>;

    /// The error for an entry whose centre is another one than it was.
    fn changed(&self, number: u64) -> Error;

    /// A place where long work may be stopped.
    fn pause(&self) -> Result<()>;
}

/// A stored region without its centre.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored {
    pub(crate) number: u64,
    pub(crate) radius: f64,
    pub(crate) prediction: u32,
    /// The centre's, as it was when it was read or stored.
    seal: u64,
}

/// A question to the index: which regions, of another class than this, are near this sketch?
#[derive(Clone, Debug)]
pub(crate) struct Query<'a> {
    /// The centre asked about.
    pub(crate) x: &'a [f32],
    pub(crate) sketch: Sketch,
    pub(crate) code: Code,
    /// The class that cannot conflict; `None` asks for regions of every class.
    pub(crate) except: Option<u32>,
}

/// A region and a lower bound of its gap (distance minus radius) to the query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) bound: f64,
    pub(crate) region: u32,
}

impl Eq for Candidate {}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.bound.total_cmp(&other.bound).then(self.region.cmp(&other.region))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The regions with the smallest bounds, among them the one with the smallest gap, unless that exceeds a limit.
#[derive(Clone, Debug)]
pub(crate) struct Shortlist {
    nearest: BinaryHeap<Candidate>,
    limit: f64,
    /// Only candidates beyond this one are wanted.
    after: Option<Candidate>,
    /// Only regions from this one on are wanted.
    first: u32,
}

impl Shortlist {
    fn new(limit: f64, after: Option<Candidate>, first: u32) -> Self {
        Self { nearest: BinaryHeap::new(), limit, after, first }
    }

    /// Whether candidates may have been left out.
    pub(crate) fn is_full(&self) -> bool {
        self.nearest.len() >= SHORTLIST
    }

    /// The candidates, nearest first.
    pub(crate) fn into_sorted(self) -> Vec<Candidate> {
        self.nearest.into_sorted_vec()
    }

    /// Candidates with larger bounds than this are not wanted.
    fn reach(&self) -> f64 {
        match self.nearest.peek() {
            Some(last) if self.is_full() => last.bound.min(self.limit),
            _ => self.limit,
        }
    }

    fn offer(&mut self, candidate: Candidate) {
        let seen = self.after.is_some_and(|after| candidate <= after);
        if seen || candidate.bound > self.limit || candidate.region < self.first {
            return;
        }
        self.nearest.push(candidate);
        if self.nearest.len() > SHORTLIST {
            self.nearest.pop();
        }
    }

    fn merge(mut self, other: Self) -> Self {
        other.nearest.into_iter().for_each(|candidate| self.offer(candidate));
        self
    }
}

/// Sketches of sixteen regions, number by number.
#[derive(Clone, Debug)]
struct Block {
    /// `lines[k][lane]`: number k of the sketch of region `lane`.
    lines: Box<[[f32; LANES]]>,
    /// Radius plus slack, rounded upwards.
    reach: [f32; LANES],
}

impl Block {
    fn new(columns: usize) -> Self {
        Self { lines: vec![[0.0; LANES]; columns].into(), reach: [0.0; LANES] }
    }

    /// Squared sketch distances to the query, or `None` if no region of the block can have a gap up to `limit`.
    ///
    /// In `f32` a sum of at most 64 squares is off by a factor of at most 1 ± 67 * 2^-24 < 1 ± 5e-6, and by less than
    /// 64 * 2^-149 where squares underflow.
    fn near(&self, query: &[f32; WIDTH], limit: f32) -> Option<[f32; LANES]> {
        let wanted = self.reach.map(|reach| (reach + limit).max(0.0).powi(2) * 1.0001);
        let mut squares = [0.0_f32; LANES];
        for (lines, values) in self.lines.chunks(GROUP).zip(query.chunks(GROUP)) {
            for (line, value) in lines.iter().zip(values) {
                for lane in 0..LANES {
                    let difference = line[lane] - value;
                    squares[lane] += difference * difference;
                }
            }
            if !(0..LANES).fold(false, |any, lane| any | (squares[lane] <= wanted[lane])) {
                return None;
            }
        }
        Some(squares)
    }
}

/// The regions of one class.
#[derive(Clone, Debug)]
struct Shelf {
    prediction: u32,
    /// Places in the order of arrival among all regions; ascending.
    regions: Vec<u32>,
    blocks: Vec<Block>,
}

impl Shelf {
    fn push(&mut self, region: u32, sketch: &Sketch, columns: usize, radius: f64) {
        let lane = self.regions.len() % LANES;
        if lane == 0 {
            self.blocks.push(Block::new(columns));
        }
        if let Some(block) = self.blocks.last_mut() {
            for (line, value) in block.lines.iter_mut().zip(sketch.values) {
                line[lane] = value;
            }
            block.reach[lane] = round_up(radius + sketch.slack);
        }
        self.regions.push(region);
    }

    /// The first block that holds a region from `first` on.
    fn first_block(&self, first: u32) -> usize {
        self.regions.partition_point(|&region| region < first) / LANES
    }
}

/// The smallest `f32` known to be above.
fn round_up(value: f64) -> f32 {
    (value as f32).next_up()
}

/// All regions of a ledger, in memory.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    dimension: usize,
    basis: Basis,
    /// How many of [`LEARN_AT`] have passed.
    lessons: usize,
    shelves: Vec<Shelf>,
    shelf_of: HashMap<u32, usize>,
    stored: Vec<Stored>,
    codes: Codes,
    key: RandomState,
}

impl Index {
    /// No regions yet; `code_bytes` bounds the codes kept in memory.
    pub(crate) fn new(dimension: usize, code_bytes: usize) -> Self {
        let code_bytes = if is_own_sketch(dimension) { 0 } else { code_bytes };
        Self {
            dimension,
            basis: Basis::trivial(dimension),
            lessons: 0,
            shelves: Vec::new(),
            shelf_of: HashMap::new(),
            stored: Vec::new(),
            codes: Codes::new(dimension, code_bytes),
            key: RandomState::new(),
        }
    }

    /// Number of regions.
    pub(crate) fn len(&self) -> usize {
        self.stored.len()
    }

    /// Length of every centre.
    pub(crate) fn dimension(&self) -> usize {
        self.dimension
    }

    /// The region at this place in the order of arrival.
    pub(crate) fn stored(&self, region: u32) -> Stored {
        self.stored[region as usize]
    }

    /// Sketches of points (n, dimension).
    pub(crate) fn sketch(&self, points: ArrayView2<f32>) -> Vec<Sketch> {
        self.basis.sketch(points)
    }

    /// A question about `x`, whose sketch this is.
    pub(crate) fn query<'a>(&self, x: &'a [f32], sketch: Sketch, except: Option<u32>) -> Query<'a> {
        Query { x, sketch, code: Code::of(x), except }
    }

    /// Adds a region around `centre` as the last one.
    pub(crate) fn push(&mut self, number: u64, claim: Asked, centre: &[f32], sketch: &Sketch, code: &Code) {
        self.codes.push(code);
        let region = self.stored.len() as u32;
        let seal = self.seal(centre);
        self.stored.push(Stored { number, radius: claim.radius, prediction: claim.prediction, seal });
        self.shelve(region, sketch);
    }

    fn seal(&self, centre: &[f32]) -> u64 {
        let mut hasher = self.key.build_hasher();
        centre.iter().for_each(|value| hasher.write_u32(value.to_bits()));
        hasher.finish()
    }

    /// The centre of a region, which is what it was.
    pub(crate) fn centre(&self, stored: &Stored, file: &impl Centres) -> Result<Vec<f32>> {
        let centre = file.centre(stored.number)?;
        if self.seal(&centre) == stored.seal {
            Ok(centre)
        } else {
            Err(file.changed(stored.number))
        }
    }

    fn shelve(&mut self, region: u32, sketch: &Sketch) {
        let Stored { radius, prediction, .. } = self.stored(region);
        let shelves = &mut self.shelves;
        let at = *self.shelf_of.entry(prediction).or_insert_with(|| {
            shelves.push(Shelf { prediction, regions: Vec::new(), blocks: Vec::new() });
            shelves.len() - 1
        });
        let columns = self.basis.columns();
        shelves[at].push(region, sketch, columns, radius);
    }

    /// Learns better axes where the number of regions has passed one of [`LEARN_AT`]; results do not change.
    pub(crate) fn learn_if_due(&mut self, file: &impl Centres) -> Result<()> {
        let passed = LEARN_AT.iter().filter(|&&n| self.len() >= n).count();
        if is_own_sketch(self.dimension) || passed <= self.lessons {
            return Ok(());
        }
        let n_samples = Basis::n_samples(self.dimension).min(self.len());
        let spread = |i: usize| (i * self.len() / n_samples) as u32;
        let sample = self.gather((0..n_samples).map(spread), file)?;
        let basis = Basis::learn(sample.view());
        self.sketch_anew(basis, file)?;
        self.lessons = passed;
        Ok(())
    }

    fn sketch_anew(&mut self, basis: Basis, file: &impl Centres) -> Result<()> {
        let all = self.len() as u32;
        let step = Basis::n_samples(self.dimension) as u32;
        let mut sketches = Vec::with_capacity(self.len());
        for start in (0..all).step_by(step as usize) {
            let points = self.gather(start..all.min(start + step), file)?;
            sketches.extend(basis.sketch(points.view()));
        }
        (self.basis, self.shelves, self.shelf_of) = (basis, Vec::new(), HashMap::new());
        (0..all).zip(&sketches).for_each(|(region, sketch)| self.shelve(region, sketch));
        Ok(())
    }

    /// Centres of some regions, shape (n, dimension).
    fn gather(&self, regions: impl Iterator<Item = u32>, file: &impl Centres) -> Result<Array2<f32>> {
        let mut points = Array2::zeros((0, self.dimension));
        for region in regions {
            file.pause()?;
            let centre = self.centre(&self.stored(region), file)?;
            // Every centre has the index's dimension, so pushing a row cannot fail.
            let _ = points.push_row(ndarray::aview1(&centre));
        }
        Ok(points)
    }

    /// Offers the regions of one block to the list, with bounds by their codes where their sketches are near.
    ///
    /// A code also tells how large the smallest gap is at most; regions beyond that need not be listed.
    fn scan_block(&self, shelf: &Shelf, at: usize, query: &Query, list: &mut Shortlist) {
        let slack = query.sketch.slack + 1e-20;
        let block = &shelf.blocks[at];
        let Some(squares) = block.near(&query.sketch.values, round_up(list.reach() + slack)) else {
            return;
        };
        let here = &shelf.regions[at * LANES..shelf.regions.len().min((at + 1) * LANES)];
        for (lane, &region) in here.iter().enumerate() {
            let distance = f64::from(squares[lane]).sqrt() * (1.0 - 1e-5);
            let reach = f64::from(block.reach[lane]);
            let bound = distance - slack - reach - 1e-12 * (distance + slack + reach);
            if bound <= list.reach() {
                let (low, high) = self.gap_by_code(region, &query.code);
                list.limit = list.limit.min(high);
                list.offer(Candidate { bound: bound.max(low), region });
            }
        }
    }

    /// Bounds of a region's gap to the vector of `code`.
    fn gap_by_code(&self, region: u32, code: &Code) -> (f64, f64) {
        let Some((low, high)) = self.codes.distance(region as usize, code) else {
            return (f64::NEG_INFINITY, f64::INFINITY);
        };
        let radius = self.stored(region).radius;
        let rounding = 1e-12 * (high + radius);
        (low - radius - rounding, high - radius + rounding)
    }

    /// The regions from `first` on that may have the smallest gap of all, if that is at most `limit`; those up to `after`
    /// left out.
    ///
    /// # Errors
    /// A device error if there is no thread to work on; also of [`Index::scan_many`].
    pub(crate) fn scan(
        &self,
        query: &Query,
        limit: f64,
        after: Option<Candidate>,
        first: u32,
    ) -> Result<Shortlist> {
        let empty = || Shortlist::new(limit, after, first);
        let tiles: Vec<_> = self.tiles(first).filter(|(shelf, _)| query.concerns(shelf)).collect();
        let scan_tile = |mut list: Shortlist, (shelf, blocks): &(&Shelf, std::ops::Range<usize>)| {
            blocks.clone().for_each(|at| self.scan_block(shelf, at, query, &mut list));
            list
        };
        if tiles.len() * TILE > BLOCKS_ALONE {
            install(|| tiles.par_iter().fold(empty, scan_tile).reduce(empty, Shortlist::merge))
        } else {
            Ok(tiles.iter().fold(empty(), scan_tile))
        }
    }

    /// [`Index::scan`] over all regions for many queries with their limits, in parallel.
    pub(crate) fn scan_many(
        &self,
        queries: &[(Query<'_>, f64)],
        file: &impl Centres,
    ) -> Result<Vec<Shortlist>> {
        let mut lists = Vec::with_capacity(queries.len());
        for some in queries.chunks((PAIRS / self.len().max(1)).max(1)) {
            file.pause()?;
            if some.len() < 2 {
                lists.extend(self.scan_share(some));
                continue;
            }
            install(|| {
                let share = some.len().div_ceil(rayon::current_num_threads().max(1)).max(1);
                lists.par_extend(some.par_chunks(share).flat_map_iter(|share| self.scan_share(share)));
            })?;
        }
        Ok(lists)
    }

    /// Blocks stay in the cache while all queries pass over them.
    fn scan_share(&self, queries: &[(Query<'_>, f64)]) -> Vec<Shortlist> {
        let mut lists: Vec<_> = queries.iter().map(|(_, limit)| Shortlist::new(*limit, None, 0)).collect();
        for (shelf, blocks) in self.tiles(0) {
            for ((query, _), list) in queries.iter().zip(&mut lists).filter(|((q, _), _)| q.concerns(shelf)) {
                blocks.clone().for_each(|at| self.scan_block(shelf, at, query, list));
            }
        }
        lists
    }

    /// Runs of blocks of one class that hold the regions from `first` on.
    fn tiles(&self, first: u32) -> impl Iterator<Item = (&Shelf, std::ops::Range<usize>)> {
        self.shelves.iter().flat_map(move |shelf| {
            let end = shelf.blocks.len();
            let starts = (shelf.first_block(first)..end).step_by(TILE);
            starts.map(move |start| (shelf, start..end.min(start + TILE)))
        })
    }
}

impl Query<'_> {
    fn concerns(&self, shelf: &Shelf) -> bool {
        self.except != Some(shelf.prediction)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ledger::distance::Distance;
    use crate::ledger::resolve::Neighbour;
    use rand::{Rng, RngExt, SeedableRng};

    struct Elsewhere(Vec<Vec<f32>>);

    impl Centres for Elsewhere {
        fn centre(&self, number: u64) -> Result<Vec<f32>> {
            Ok(self.0[number as usize].clone())
        }

        fn changed(&self, number: u64) -> Error {
            Error::ledger_corrupt(number.to_string())
        }

        fn pause(&self) -> Result<()> {
            Ok(())
        }
    }

    fn random_point(rng: &mut impl Rng, dimension: usize) -> Vec<f32> {
        (0..dimension).map(|_| rng.random_range(-1.0_f32..1.0)).collect()
    }

    /// Random regions, with at most `bytes` of codes.
    fn filled(dimension: usize, n: usize, bytes: usize) -> (Index, Vec<Vec<f32>>) {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(dimension as u64);
        let (mut index, mut file) = (Index::new(dimension, bytes), Elsewhere(Vec::new()));
        for number in 0..n {
            let centre = random_point(&mut rng, dimension);
            let claim = Asked { prediction: rng.random_range(0..3), radius: rng.random_range(0.0..0.3) };
            let sketch = sketch_of(&index, &centre);
            index.push(number as u64, claim, &centre, &sketch, &Code::of(&centre));
            file.0.push(centre);
            assert!(index.learn_if_due(&file).is_ok());
        }
        (index, file.0)
    }

    fn sketch_of(index: &Index, point: &[f32]) -> Sketch {
        index.sketch(ndarray::aview1(point).insert_axis(ndarray::Axis(0))).remove(0)
    }

    /// Gaps of all regions of another class than `except`, smallest first.
    fn gaps(index: &Index, centres: &[Vec<f32>], point: &[f32], except: Option<u32>) -> Vec<(f64, u32)> {
        let gap = |(region, centre): (usize, &Vec<f32>)| {
            let Stored { number, radius, prediction, .. } = index.stored(region as u32);
            let distance = Distance::between(point, centre);
            let neighbour = Neighbour { number, prediction, radius, distance };
            (Some(prediction) != except).then(|| (neighbour.gap(), region as u32))
        };
        let mut all: Vec<_> = centres.iter().enumerate().filter_map(gap).collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        all
    }

    #[test]
    fn every_region_within_the_limit_is_found_page_by_page() {
        for (dimension, n) in [(2, 500), (64, 300), (100, 600), (100, 4200)] {
            let (index, centres) = filled(dimension, n, 0);
            let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(99);
            for except in [None, Some(0), Some(7)] {
                let point = random_point(&mut rng, dimension);
                let query = index.query(&point, sketch_of(&index, &point), except);
                let expected = gaps(&index, &centres, &point, except);
                let limit = expected[n / 4].0;
                let (mut found, mut after) = (Vec::new(), None);
                loop {
                    let list = index.scan(&query, limit, after, 0).unwrap();
                    let full = list.is_full();
                    let page = list.into_sorted();
                    assert!(page.is_sorted());
                    after = page.last().copied().or(after);
                    found.extend(page);
                    if !full {
                        break;
                    }
                }
                let regions: std::collections::HashSet<u32> = found.iter().map(|c| c.region).collect();
                assert_eq!(regions.len(), found.len(), "no region comes twice");
                assert!(expected.iter().filter(|e| e.0 <= limit).all(|e| regions.contains(&e.1)));
                let bounds: HashMap<u32, f64> = found.iter().map(|c| (c.region, c.bound)).collect();
                assert!(expected.iter().all(|(gap, r)| bounds.get(r).is_none_or(|bound| bound <= gap)));
            }
        }
    }

    #[test]
    fn scanning_many_is_scanning_one_by_one() {
        let (index, centres) = filled(100, 5000, 100_000);
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        let points: Vec<_> = (0..40).map(|_| random_point(&mut rng, 100)).collect();
        let query =
            |(x, i): (_, u32)| (index.query(x, sketch_of(&index, x), Some(i % 4)), f64::from(i) / 10.0);
        let queries: Vec<_> = points.iter().map(Vec::as_slice).zip(0..).map(query).collect();
        let lists = index.scan_many(&queries, &Elsewhere(centres)).unwrap_or_default();
        assert_eq!(lists.len(), 40);
        for ((query, limit), list) in queries.iter().zip(lists) {
            assert_eq!(list.into_sorted(), index.scan(query, *limit, None, 0).unwrap().into_sorted());
        }
    }

    #[test]
    fn with_codes_the_nearest_is_listed_and_little_else() {
        let (index, centres) = filled(100, 1000, usize::MAX);
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(5);
        for _ in 0..10 {
            let point = random_point(&mut rng, 100);
            let query = index.query(&point, sketch_of(&index, &point), Some(0));
            let found = index.scan(&query, 1e9, None, 0).unwrap().into_sorted();
            let (_, nearest) = gaps(&index, &centres, &point, Some(0))[0];
            assert!(found.iter().any(|c| c.region == nearest) && found.len() < 40, "{}", found.len());
        }
    }

    #[test]
    fn a_scan_from_a_place_on_sees_only_later_regions() {
        let (index, _) = filled(2, 500, 0);
        let query = index.query(&[0.0, 0.0], sketch_of(&index, &[0.0, 0.0]), None);
        let found = index.scan(&query, 10.0, None, 450).unwrap().into_sorted();
        assert_eq!(found.len(), 50, "not crowded out by earlier ones");
        assert!(found.iter().all(|c| c.region >= 450));
    }

    #[test]
    fn a_region_takes_no_more_memory_than_documented() {
        let of_block = 4 * LANES * (WIDTH + 1) + size_of::<Block>();
        let of_region = of_block.div_ceil(LANES) + size_of::<u32>() + size_of::<Stored>();
        assert!(of_region <= BYTES_PER_REGION + 8, "{of_region}");
    }
}
