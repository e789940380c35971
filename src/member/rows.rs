//! Rows of samples in the type in which they came, read as single precision, and refused where they are no longer what was
//! checked.
//!
//! A photo in bytes takes a quarter of the memory that it takes as floats, and a file that is mapped takes none, so that
//! samples stay as they are and one is converted when it is read. The memory belongs to the caller: another thread may write
//! to it, another process to the file behind it. So a sum of each row is kept from the check, and whatever is read later is
//! compared with it: what was checked is what is used, or the fit ends.

use std::borrow::Cow;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use half::f16;
use ndarray::{Array4, ArrayView4, Axis, CowArray, Ix4};
use rayon::prelude::*;

use super::FeatureShape;
use crate::error::{Error, Result};
use crate::process::install_each;
use crate::stop::Stop;

/// Values that are looked at between two questions whether to stop (16 MiB of floats).
const BLOCK: usize = 1 << 22;

/// Bytes of a mapped file after which its pages are given back. Other threads read on until the one that does it gets to it.
const RESIDENT: usize = 1 << 25;

/// What a row far from the one before may bring into memory: as large as pages get where a system reads ahead.
const LARGE_PAGE: usize = 1 << 21;

/// Bytes between rows that are read in turn, by all threads together.
const NEAR: usize = 4 * BLOCK;

/// The values of all samples, (samples, channels, height, width) with any strides; a table has one row and one column.
#[derive(Clone, Debug)]
pub enum Typed<'a> {
    /// Bytes, and what they are divided by.
    U8(CowArray<'a, u8, Ix4>, f32),
    /// Half precision, as its bits.
    F16(CowArray<'a, u16, Ix4>),
    /// Single precision.
    F32(CowArray<'a, f32, Ix4>),
}

impl Typed<'_> {
    fn n_rows(&self) -> usize {
        match self {
            Self::U8(values, _) => values.len_of(Axis(0)),
            Self::F16(values) => values.len_of(Axis(0)),
            Self::F32(values) => values.len_of(Axis(0)),
        }
    }

    /// Values of one row, and bytes that these take.
    fn row_size(&self) -> (usize, usize) {
        let of = |sizes: &[usize], bytes: usize| {
            let n = sizes.iter().skip(1).product::<usize>();
            (n, n * bytes)
        };
        match self {
            Self::U8(values, _) => of(values.shape(), 1),
            Self::F16(values) => of(values.shape(), 2),
            Self::F32(values) => of(values.shape(), 4),
        }
    }

    /// One row, which is there, as single precision: bytes divided as floats, halves exactly, a zero without its sign.
    fn copy(&self, row: usize, out: &mut [f32]) {
        match self {
            Self::U8(values, divisor) => convert(values.view(), row, out, |value| f32::from(value) / divisor),
            Self::F16(values) => {
                convert(values.view(), row, out, |bits| unsigned(f16::from_bits(bits).to_f32()))
            }
            Self::F32(values) => convert(values.view(), row, out, unsigned),
        }
    }

    /// Whether a float of this row, which is there, is not what is read of it.
    fn has_signed_zeros(&self, row: usize) -> bool {
        let Self::F32(values) = self else { return false };
        let row = values.index_axis(Axis(0), row);
        match row.as_slice() {
            // Without an early end, which compiles to vectors.
            Some(row) => row.iter().fold(false, |found, value| found | is_signed_zero(*value)),
            None => row.iter().any(|value| is_signed_zero(*value)),
        }
    }
}

/// The value, where it is a zero the positive one: -0 equals 0, is no distance away from it, and no law counts or hides the
/// difference, so that nothing that is trained, hashed or digested may see it.
pub(crate) fn unsigned(value: f32) -> f32 {
    // IEEE 754: -0 + 0 is +0, and nothing else changes.
    value + 0.0
}

/// Whether [`unsigned`] changes a value.
pub(crate) fn is_signed_zero(value: f32) -> bool {
    value.to_bits() == (-0.0_f32).to_bits()
}

fn convert<T: Copy>(values: ArrayView4<'_, T>, row: usize, out: &mut [f32], to: impl Fn(T) -> f32) {
    let row = values.index_axis(Axis(0), row);
    match row.as_slice() {
        Some(row) => out.iter_mut().zip(row).for_each(|(out, value)| *out = to(*value)),
        None => out.iter_mut().zip(row.iter()).for_each(|(out, value)| *out = to(*value)),
    }
}

/// What a look at all rows found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// The lowest value of all; NaN if one is NaN.
    pub lowest: f32,
    /// Rows whose values all lie in [-1, 2], as those of images in [0, 1] do.
    pub n_unit: usize,
    /// Values that are infinite or NaN.
    pub n_not_finite: usize,
    /// Row and place of the first of them.
    pub first: Option<(usize, usize)>,
    /// Whether a zero among floats has a sign, which is not read.
    pub signed_zeros: bool,
}

/// What rows were when they were looked at.
#[derive(Clone, Debug)]
pub struct Sums {
    key: u64,
    of_rows: Arc<[u64]>,
}

impl Sums {
    fn of(key: u64, row: &[f32]) -> u64 {
        let mut hasher = foldhash::quality::FixedState::with_seed(key).build_hasher();
        hasher.write(bytemuck::cast_slice(row));
        hasher.finish()
    }
}

/// Gives back the pages of a mapped file, when many were read.
#[derive(Clone)]
pub struct Pages {
    give_back: Arc<dyn Fn() + Send + Sync>,
    read: Arc<AtomicUsize>,
    last: Arc<AtomicUsize>,
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pages")
    }
}

impl Pages {
    /// Pages that `give_back` gives back; it may be called from any thread.
    pub fn new(give_back: impl Fn() + Send + Sync + 'static) -> Self {
        Self { give_back: Arc::new(give_back), read: Arc::default(), last: Arc::default() }
    }

    fn touched(&self, row: usize, bytes: usize) {
        let far = self.last.swap(row, Ordering::Relaxed).abs_diff(row).saturating_mul(bytes) > NEAR;
        let bytes = if far { bytes.max(LARGE_PAGE) } else { bytes };
        // Never set back: what other threads count meanwhile would be lost.
        let before = self.read.fetch_add(bytes, Ordering::Relaxed);
        if before.wrapping_add(bytes) / RESIDENT != before / RESIDENT {
            (self.give_back)();
        }
    }
}

/// Digests of training sets with these samples, by what else they hold.
pub(crate) type Digests = Arc<Mutex<Vec<([u8; 32], String)>>>;

/// Rows as they came, or some of them.
#[derive(Clone, Debug)]
pub struct Rows<'a> {
    values: Typed<'a>,
    /// Which ones, in order; all if nothing is said.
    chosen: Option<Arc<[usize]>>,
    sums: Option<Sums>,
    pages: Option<Pages>,
    digests: Digests,
}

impl<'a> Rows<'a> {
    /// All rows of an array that nobody has looked at.
    pub fn new(values: Typed<'a>) -> Self {
        Self { values, chosen: None, sums: None, pages: None, digests: Arc::default() }
    }

    /// Rows of single precision, one after the other.
    ///
    /// # Errors
    /// A shape error if the length is no multiple of a sample's, which has at least one feature.
    pub fn of_floats(features: Cow<'a, [f32]>, shape: FeatureShape) -> Result<Self> {
        let size = shape.n_features();
        let (whole, n) = (size > 0 && features.len().is_multiple_of(size), features.len() / size.max(1));
        let got = format!("{} values for samples of shape {shape}", features.len());
        let wrong = || Error::shape("X", "a whole number of samples with at least one feature", &got);
        if !whole {
            return Err(wrong());
        }
        let sizes = (n, size, 1, 1);
        let values = match features {
            Cow::Borrowed(values) => ArrayView4::from_shape(sizes, values).map(CowArray::from),
            Cow::Owned(values) => Array4::from_shape_vec(sizes, values).map(CowArray::from),
        };
        Ok(Self::new(Typed::F32(values.map_err(|_| wrong())?)))
    }

    /// The same rows, whose pages are given back when many were read.
    #[must_use]
    pub fn with_pages(self, pages: Option<Pages>) -> Self {
        Self { pages, ..self }
    }

    /// The same rows with what they were when they were looked at, and digests that are known.
    #[must_use]
    #[cfg(any(test, feature = "python"))]
    pub(crate) fn with_known(self, sums: Option<Sums>, digests: Digests) -> Self {
        Self { sums, digests, ..self }
    }

    /// Some of these rows, in this order: numbers of rows that are there.
    #[must_use]
    #[cfg(any(test, feature = "python"))]
    pub(crate) fn with_chosen(self, chosen: Option<Arc<[usize]>>) -> Self {
        Self { chosen, ..self }
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.chosen.as_ref().map_or_else(|| self.values.n_rows(), |chosen| chosen.len())
    }

    /// Values of one row.
    pub fn n_features(&self) -> usize {
        self.values.row_size().0
    }

    /// Where row `index` lies in the array, if it does.
    fn place(&self, index: usize) -> Option<usize> {
        let place = self.chosen.as_ref().map_or(Some(index), |chosen| chosen.get(index).copied());
        place.filter(|place| *place < self.values.n_rows())
    }

    /// Writes row `index` into `out`, zeros without a sign.
    ///
    /// # Errors
    /// A shape error if there is no such row or `out` is of another size; a parameter error if the row is not what it was when
    /// it was looked at.
    pub fn read(&self, index: usize, out: &mut [f32]) -> Result<()> {
        let (size, bytes) = self.values.row_size();
        let Some(row) = self.place(index).filter(|_| out.len() == size) else {
            return Err(Error::shape("X", format_args!("a sample {index} of {size} features"), "none"));
        };
        self.values.copy(row, out);
        if let Some(pages) = &self.pages {
            pages.touched(row, bytes);
        }
        match &self.sums {
            Some(sums) if sums.of_rows.get(row) != Some(&Sums::of(sums.key, out)) => {
                let expected = "samples that are not written to while they are in use";
                let got = format_args!("values of sample {index} that differ from those that were checked");
                Err(Error::parameter("X", expected, got))
            }
            _ => Ok(()),
        }
    }

    /// Rows by their numbers, one after the other.
    ///
    /// # Errors
    /// As [`read`](Self::read), and cancellation.
    #[cfg(feature = "python")]
    pub(crate) fn floats(
        &self,
        n: usize,
        size: usize,
        number: impl Fn(usize) -> usize + Send + Sync,
    ) -> Result<Vec<f32>> {
        let stop = Stop::current();
        let mut values = vec![0.0; n * size];
        let step = (BLOCK / size.max(1)).max(1);
        for (block, rows) in values.chunks_mut((step * size).max(1)).enumerate() {
            stop.check()?;
            let rows = rows.par_chunks_exact_mut(size.max(1)).enumerate();
            install_each(rows, || (), |(), (offset, row)| self.read(number(block * step + offset), row))?;
        }
        Ok(values)
    }

    /// Looks at every row once: what they are from here on.
    ///
    /// # Errors
    /// Cancellation.
    pub fn look(&self) -> Result<(Look, Sums)> {
        let stop = Stop::current();
        let key = std::collections::hash_map::RandomState::new().build_hasher().finish();
        let (size, n) = (self.n_features(), self.n_rows());
        let step = (BLOCK / size.max(1)).max(1);
        let mut sums = Vec::with_capacity(n);
        let mut found =
            Look { lowest: f32::INFINITY, n_unit: 0, n_not_finite: 0, first: None, signed_zeros: false };
        for start in (0..n).step_by(step) {
            stop.check()?;
            let rows = start..n.min(start + step);
            let one = |row: &mut Vec<f32>, index| {
                self.read(index, row)?;
                let signed = self.place(index).is_some_and(|place| self.values.has_signed_zeros(place));
                Ok((Seen::of(row), Sums::of(key, row), signed))
            };
            let new = || vec![0.0; size];
            let seen: Vec<(Seen, u64, bool)> = install_each(rows.into_par_iter(), new, one)?;
            for (offset, (seen, sum, signed)) in seen.into_iter().enumerate() {
                found.add(start + offset, &seen);
                found.signed_zeros |= signed;
                sums.push(sum);
            }
        }
        Ok((found, Sums { key, of_rows: sums.into() }))
    }

    /// A digest of a training set with these samples, known from before or computed: `beside` says what else it holds. Nothing
    /// is remembered of rows that nobody has looked at, which may have changed since.
    pub(super) fn digest(
        &self,
        beside: [u8; 32],
        compute: impl FnOnce() -> Result<String>,
    ) -> Result<String> {
        let known = || self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        if self.sums.is_none() {
            return compute();
        }
        if let Some((_, digest)) = known().iter().find(|(key, _)| *key == beside) {
            return Ok(digest.clone());
        }
        let digest = compute()?;
        known().push((beside, digest.clone()));
        Ok(digest)
    }
}

impl Look {
    fn add(&mut self, row: usize, seen: &Seen) {
        if seen.low < self.lowest || seen.low.is_nan() {
            self.lowest = seen.low;
        }
        self.n_unit += usize::from(seen.low >= -1.0 && seen.high <= 2.0 && seen.n_not_finite == 0);
        self.n_not_finite += seen.n_not_finite;
        self.first = self.first.or(seen.first.map(|place| (row, place)));
    }
}

/// What there is to say of one row.
struct Seen {
    low: f32,
    high: f32,
    n_not_finite: usize,
    first: Option<usize>,
}

impl Seen {
    fn of(row: &[f32]) -> Self {
        // Lanes of their own, which compile to vectors.
        const LANES: usize = 16;
        let (mut low, mut high) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
        let mut zeros = [0.0_f32; LANES];
        let mut take = |lane: usize, value: f32| {
            low[lane] = if value < low[lane] { value } else { low[lane] };
            high[lane] = if value > high[lane] { value } else { high[lane] };
            // Finite values give 0, others NaN.
            zeros[lane] += value * 0.0;
        };
        let mut chunks = row.chunks_exact(LANES);
        for chunk in &mut chunks {
            chunk.iter().enumerate().for_each(|(lane, value)| take(lane, *value));
        }
        chunks.remainder().iter().enumerate().for_each(|(lane, value)| take(lane, *value));
        let lowest = low.into_iter().fold(f32::INFINITY, f32::min);
        let highest = high.into_iter().fold(f32::NEG_INFINITY, f32::max);
        if zeros.into_iter().sum::<f32>() == 0.0 {
            return Self { low: lowest, high: highest, n_not_finite: 0, first: None };
        }
        let low = if row.iter().any(|value| value.is_nan()) { f32::NAN } else { lowest };
        let n_not_finite = row.iter().filter(|value| !value.is_finite()).count();
        Self { low, high: highest, n_not_finite, first: row.iter().position(|value| !value.is_finite()) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn halves(values: &[f32]) -> Array4<u16> {
        let bits = values.iter().map(|value| f16::from_f32(*value).to_bits()).collect();
        Array4::from_shape_vec((1, values.len(), 1, 1), bits).unwrap()
    }

    #[test]
    fn rows_of_every_type_are_the_floats_that_they_stand_for() {
        let mut out = vec![0.0; 256];
        let bytes = Array4::from_shape_vec((1, 256, 1, 1), (0..=255).collect()).unwrap();
        Rows::new(Typed::U8(bytes.into(), 255.0)).read(0, &mut out).unwrap();
        assert!(out.iter().zip(0..=255_u8).all(|(value, byte)| *value == f32::from(byte) / 255.0));
        // Numbers that halves have exactly, the smallest and the largest among them.
        let exact = [0.0, -0.0, 1.0, -1.5, 65504.0, 2.0_f32.powi(-24), 0.333_251_95, f32::INFINITY];
        let rows = Rows::new(Typed::F16(halves(&exact).into()));
        rows.read(0, &mut out[..8]).unwrap();
        let unsigned = exact.map(|value| if value == 0.0 { 0.0_f32 } else { value });
        assert_eq!(out[..8].iter().map(|v| v.to_bits()).collect::<Vec<_>>(), unsigned.map(f32::to_bits));
        let (look, _) = rows.look().unwrap();
        assert_eq!((look.n_not_finite, look.first, look.n_unit), (1, Some((0, 7)), 0));
    }

    #[test]
    fn a_zero_is_read_without_its_sign_and_a_look_tells_of_it() {
        let smallest = f32::from_bits(1);
        for (values, signed) in [([1.0, -0.0, -smallest, 0.0], true), ([1.0, 0.0, -smallest, -1.0], false)] {
            let rows = Rows::of_floats(values.to_vec().into(), FeatureShape::Flat(4)).unwrap();
            let mut out = [f32::NAN; 4];
            rows.read(0, &mut out).unwrap();
            assert_eq!(out, values);
            assert!(
                out.iter().all(|value| !is_signed_zero(*value)) && out[2].to_bits() == values[2].to_bits()
            );
            assert_eq!(rows.look().unwrap().0.signed_zeros, signed);
            // Rows that do not lie one after the other.
            let across = Array4::from_shape_vec((4, 1, 1, 1), values.to_vec()).unwrap();
            let across = across.view().permuted_axes([1, 0, 2, 3]);
            assert_eq!(Rows::new(Typed::F32(across.into())).look().unwrap().0.signed_zeros, signed);
        }
    }

    #[test]
    fn channels_that_come_last_are_read_first() {
        let values = Array4::from_shape_fn((2, 2, 3, 3), |(n, y, x, c)| (n * 100 + c * 10 + y * 3 + x) as u8);
        let rows = Rows::new(Typed::U8(values.view().permuted_axes([0, 3, 1, 2]).into(), 1.0));
        let mut out = vec![0.0; 18];
        rows.read(1, &mut out).unwrap();
        let expected: Vec<f32> =
            (0..3).flat_map(|c| (0..6).map(move |place| (100 + c * 10 + place) as f32)).collect();
        assert_eq!(out, expected);
        assert!(rows.read(2, &mut out).is_err() && rows.read(1, &mut out[..17]).is_err());
    }

    #[test]
    fn a_look_finds_the_ends_and_what_is_not_finite() {
        let row = |values: &[f32]| Seen::of(values);
        let long: Vec<f32> = (0..1000).map(|v| v as f32 / 500.0 - 1.0).collect();
        let seen = row(&long);
        assert_eq!((seen.low, seen.high, seen.n_not_finite), (-1.0, 0.998, 0));
        let mut bad = long.clone();
        (bad[998], bad[17]) = (f32::NAN, f32::NEG_INFINITY);
        let seen = row(&bad);
        assert!(seen.low.is_nan() && (seen.n_not_finite, seen.first) == (2, Some(17)));
        let large = row(&[f32::MAX, -f32::MAX, f32::MAX]);
        assert_eq!((large.low, large.high, large.n_not_finite), (-f32::MAX, f32::MAX, 0));
    }

    #[test]
    fn a_row_that_changed_since_the_look_is_refused_by_its_number() {
        let mut values: Vec<f32> = (0..40).map(|v| v as f32).collect();
        let rows = |values: &Vec<f32>| Rows::of_floats(values.clone().into(), FeatureShape::Flat(4)).unwrap();
        let (_, sums) = rows(&values).look().unwrap();
        values[39] += 1.0;
        let changed = rows(&values).with_known(Some(sums), Digests::default());
        let mut out = [0.0; 4];
        assert!((0..9).all(|index| changed.read(index, &mut out).is_ok()));
        let message = changed.read(9, &mut out).unwrap_err().to_string();
        assert!(message.contains("values of sample 9 that differ from those that were checked"), "{message}");
        let some = changed.with_chosen(Some(vec![9, 2].into()));
        assert!(some.n_rows() == 2 && some.read(0, &mut out).is_err() && some.read(1, &mut out).is_ok());
        assert_eq!(out[0], 8.0);
    }

    #[test]
    fn no_page_that_some_thread_read_is_forgotten() {
        const TIMES: usize = 2_000_000;
        let given = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&given);
        let pages = Pages::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..TIMES).for_each(|_| pages.touched(0, RESIDENT / 4)));
            }
        });
        assert_eq!(given.load(Ordering::Relaxed), 8 * TIMES / 4);
    }

    #[test]
    fn pages_are_given_back_when_many_were_read() {
        let given = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&given);
        let pages = Pages::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        // 10 rows of 4 MiB, read in turn by several threads: 40 MiB.
        let rows = Rows::of_floats(vec![0.5; 10 << 20].into(), FeatureShape::Flat(1 << 20)).unwrap();
        rows.with_pages(Some(pages)).look().unwrap();
        assert!((1..=2).contains(&given.load(Ordering::Relaxed)));
        let given = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&given);
        let pages = Pages::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        // 16 rows that are far apart, each of which may have brought a large page.
        (1..=16).for_each(|place| pages.touched((place % 2) << 30, 4));
        assert_eq!(given.load(Ordering::Relaxed), 1);
    }
}
