//! Votes counted from wherever they lie: integers of any width, in any order in memory, read once and not copied.

use std::fmt::Display;
use std::ops::BitOr;

use ndarray::{s, Array2, ArrayView1, ArrayView2, ArrayViewMut2, Axis};

use super::{check_n_classes, check_sizes, Ballots, Tally};
use crate::error::{Error, Result};
use crate::stop::{Pace, Stop};

/// An integer that may be the number of a class.
pub trait ClassNumber: Copy + Default + Display + BitOr<Output = Self> {
    /// The lowest eight bits.
    fn byte(self) -> u8;
    /// The class as a place; far beyond every class for a negative number.
    fn place(self) -> usize;
}

macro_rules! class_numbers {
    ($($integer:ty)*) => {$(
        impl ClassNumber for $integer {
            fn byte(self) -> u8 {
                self as u8
            }

            fn place(self) -> usize {
                // Negative numbers wrap to places that no array has.
                usize::try_from(self).unwrap_or(usize::MAX)
            }
        }
    )*};
}

class_numbers!(u8 u16 u32 u64 i8 i16 i32 i64);

/// Class numbers of shape (n_members, n_samples) in somebody else's memory.
#[derive(Clone, Copy, Debug)]
pub struct Poll<'a, T> {
    votes: ArrayView2<'a, T>,
    n_classes: usize,
}

impl<'a, T: ClassNumber> Poll<'a, T> {
    /// Votes to be counted; the numbers themselves are looked at when they are.
    ///
    /// # Errors
    /// `Parameter` for a number of classes that nobody can vote on, `Shape` when there is nothing to count.
    pub fn new(votes: ArrayView2<'a, T>, n_classes: usize) -> Result<Self> {
        check_n_classes(n_classes)?;
        check_sizes("votes", (votes.nrows(), votes.ncols(), n_classes), 0)?;
        Ok(Self { votes, n_classes })
    }

    /// Number of members N.
    pub fn n_members(&self) -> usize {
        self.votes.nrows()
    }

    /// Counts all votes, those of the first `choosing` members apart. Each is read once, so that what was checked
    /// is what was counted.
    ///
    /// # Errors
    /// `Parameter` when a class number is not in 0..n_classes, or when no members are left to bound.
    ///
    /// # Example
    /// ```
    /// use certssb::Poll;
    /// use ndarray::array;
    ///
    /// let votes = array![[0_i64, 2], [1, 2], [1, 0]];
    /// let counts = Poll::new(votes.view(), 3)?.count(0)?;
    /// assert_eq!(counts.tally().sums(), &array![[1.0, 2.0, 0.0], [1.0, 0.0, 2.0]]);
    /// assert!(Poll::new(votes.view(), 2)?.count(0).is_err());
    /// # Ok::<(), certssb::Error>(())
    /// ```
    pub fn count(&self, choosing: usize) -> Result<Counts> {
        let members = self.n_members();
        if choosing >= members {
            return Err(Error::parameter(
                "split",
                format_args!("fewer than the {members} members"),
                choosing,
            ));
        }
        let choice = if choosing == 0 { None } else { Some(self.tally(0, choosing)?) };
        Ok(Counts { choice, tally: self.tally(choosing, members)? })
    }

    /// A copy in the order of the members, for bounds that read it.
    ///
    /// # Errors
    /// As [`count`](Self::count).
    pub fn ballots(&self) -> Result<Ballots> {
        check_sizes("votes", (self.votes.nrows(), self.votes.ncols(), self.n_classes), 2)?;
        // Numbers beyond two bytes become one that no class has, as there are at most 65535.
        let classes = self.votes.mapv(|vote| u16::try_from(vote.place()).unwrap_or(u16::MAX));
        if classes.iter().any(|class| usize::from(*class) >= self.n_classes) {
            return Err(self.unknown());
        }
        Ballots::from_votes(classes, self.n_classes)
    }

    fn tally(&self, from: usize, to: usize) -> Result<Tally> {
        let (sums, known) = count(self.votes.slice(s![from..to, ..]), self.n_classes);
        Stop::current().check()?;
        if known {
            Ok(Tally { n_members: to - from, sums })
        } else {
            Err(self.unknown())
        }
    }

    fn unknown(&self) -> Error {
        let bad = self.votes.indexed_iter().find(|(_, vote)| vote.place() >= self.n_classes);
        let expected = format_args!("class numbers from 0 to {}", self.n_classes - 1).to_string();
        match bad {
            Some(((m, i), vote)) => {
                Error::parameter("votes", expected, format_args!("{vote} from member {m} for sample {i}"))
            }
            None => Error::parameter("votes", expected, "votes that changed while they were counted"),
        }
    }
}

/// Votes counted for a certification; the members that choose the class apart from those that bound it, if others do.
#[derive(Clone, Debug, PartialEq)]
pub struct Counts {
    choice: Option<Tally>,
    tally: Tally,
}

impl Counts {
    /// Number of members N, choosing ones included.
    pub fn n_members(&self) -> usize {
        self.choosing() + self.tally.n_members()
    }

    /// How many members chose and did not bound.
    pub fn choosing(&self) -> usize {
        self.choice.as_ref().map_or(0, Tally::n_members)
    }

    /// Number of test samples.
    pub fn n_samples(&self) -> usize {
        self.tally.sums().nrows()
    }

    /// Number of classes K.
    pub fn n_classes(&self) -> usize {
        self.tally.sums().ncols()
    }

    /// The votes of the members that bound.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The class of every sample.
    pub fn winners(&self) -> Vec<usize> {
        self.choice.as_ref().unwrap_or(&self.tally).winners()
    }
}

impl Ballots {
    /// The ballots counted, those of the first `choosing` members apart.
    pub(crate) fn counts(&self, choosing: usize) -> Counts {
        let choice = (choosing > 0).then(|| self.tally(0, choosing));
        Counts { choice, tally: self.tally(choosing, self.n_members()) }
    }
}

/// Up to so many classes each is compared with every vote; beyond, every vote finds its counter.
const COMPARED: usize = 16;

/// Members whose votes are compared in one pass over the counters, and read side by side.
const TOGETHER: usize = 8;

/// Members whose votes fit a counter of one byte.
const MOST: usize = u8::MAX as usize / TOGETHER * TOGETHER;

/// Samples whose counters of one byte stay in the cache (K times as many bytes) while all members are read; what is
/// read of a member is many pages long.
const BLOCK: usize = 16_384;

/// Samples whose votes, as bytes, and counters stay in the innermost cache.
const PART: usize = 512;

/// Counts of shape (samples, classes), and whether all votes were for known classes; others are not counted. Where the work
/// is to stop not all are counted either, and that says no.
pub(super) fn count<T: ClassNumber>(votes: ArrayView2<'_, T>, n_classes: usize) -> (Array2<f64>, bool) {
    let mut counts = Array2::zeros((votes.ncols(), n_classes));
    let (by_sample, mut pace) = (lies_by_sample(votes), Pace::new());
    let known = match (n_classes <= COMPARED, by_sample) {
        (true, false) => blocks(votes, &mut counts, BLOCK, |votes, part| compare(votes, part, &mut pace)),
        (true, true) => compare_samples(votes, &mut counts, &mut pace),
        // Counters of eight bytes, of all classes.
        (false, false) => blocks(votes, &mut counts, (BLOCK * 8 / n_classes).max(64), |votes, mut part| {
            votes.rows().into_iter().all(|member| {
                let known = part.rows_mut().into_iter().zip(member).fold(true, |known, (mut row, vote)| {
                    let counter = row.get_mut(vote.place());
                    known & counter.map(|counter| *counter += 1.0).is_some()
                });
                known && !pace.is_over_after(member.len())
            })
        }),
        (false, true) => counts.rows_mut().into_iter().zip(votes.columns()).all(|(mut row, sample)| {
            let known = sample.iter().fold(true, |known, vote| {
                let counter = row.get_mut(vote.place());
                known & counter.map(|counter| *counter += 1.0).is_some()
            });
            known && !pace.is_over_after(sample.len())
        }),
    };
    (counts, known)
}

/// Whether the votes on a sample lie closer together than those of a member.
fn lies_by_sample<T>(votes: ArrayView2<'_, T>) -> bool {
    let [member, sample] = [votes.strides()[0], votes.strides()[1]].map(isize::unsigned_abs);
    votes.nrows() > 1 && votes.ncols() > 1 && member < sample
}

/// Counts so many samples at a time.
fn blocks<T>(
    votes: ArrayView2<'_, T>,
    counts: &mut Array2<f64>,
    size: usize,
    mut work: impl FnMut(ArrayView2<'_, T>, ArrayViewMut2<'_, f64>) -> bool,
) -> bool {
    let parts = counts.axis_chunks_iter_mut(Axis(0), size);
    parts.zip(votes.axis_chunks_iter(Axis(1), size)).all(|(part, votes)| work(votes, part))
}

/// Adds the votes (members, samples) to `counts` (samples, classes), class by class in bytes, which add up many at
/// a time; before a byte overflows, bytes are added to wider counters, and those to the counts at the end.
fn compare<T: ClassNumber>(
    votes: ArrayView2<'_, T>,
    mut counts: ArrayViewMut2<'_, f64>,
    pace: &mut Pace,
) -> bool {
    let (samples, n_classes) = counts.dim();
    let mut bytes = [[0; PART]; TOGETHER];
    // Part by part, and in each class by class.
    let places = samples.div_ceil(PART) * n_classes;
    let (mut seen, mut sums) = (vec![[0; PART]; places], vec![[0; PART]; places]);
    let mut read = Read::<T>::default();
    for many in votes.axis_chunks_iter(Axis(0), MOST << 16) {
        sums.fill([0_u32; PART]);
        for members in many.axis_chunks_iter(Axis(0), MOST) {
            if pace.is_over_after(members.len()) {
                return false;
            }
            seen.fill([0; PART]);
            for group in members.axis_chunks_iter(Axis(0), TOGETHER) {
                // No class, where there are fewer members or samples.
                bytes.fill([u8::MAX; PART]);
                let parts = group.axis_chunks_iter(Axis(1), PART);
                for (seen, part) in seen.chunks_exact_mut(n_classes).zip(parts) {
                    for (row, bytes) in part.rows().into_iter().zip(&mut bytes) {
                        let (bytes, rest) = bytes.split_at_mut(row.len());
                        rest.fill(u8::MAX);
                        read.narrow(row, bytes);
                    }
                    seen.iter_mut()
                        .enumerate()
                        .for_each(|(class, seen)| add_equal(&bytes, class as u8, seen));
                }
            }
            let all = sums.as_flattened_mut().iter_mut().zip(seen.as_flattened());
            all.for_each(|(sum, seen)| *sum += u32::from(*seen));
        }
        let parts = counts.axis_chunks_iter_mut(Axis(0), PART);
        for (mut counts, sums) in parts.zip(sums.chunks_exact(n_classes)) {
            for (mut column, sums) in counts.columns_mut().into_iter().zip(sums) {
                column.iter_mut().zip(sums).for_each(|(count, sum)| *count += f64::from(*sum));
            }
        }
    }
    read.below(n_classes)
}

/// What was seen of the numbers that were narrowed to bytes.
struct Read<T> {
    /// All bits of all numbers.
    bits: T,
    /// The largest byte.
    most: u8,
}

impl<T: ClassNumber> Default for Read<T> {
    fn default() -> Self {
        Self { bits: T::default(), most: 0 }
    }
}

impl<T: ClassNumber> Read<T> {
    /// Numbers as bytes; many at a time where they lie side by side.
    fn narrow(&mut self, votes: ArrayView1<'_, T>, bytes: &mut [u8]) {
        let mut bits = self.bits;
        let one = |(byte, vote): (&mut u8, &T)| {
            *byte = vote.byte();
            bits = bits | *vote;
        };
        match votes.as_slice() {
            Some(votes) => bytes.iter_mut().zip(votes).for_each(one),
            None => bytes.iter_mut().zip(votes).for_each(one),
        }
        self.bits = bits;
        self.most = bytes.iter().fold(self.most, |most, byte| most.max(*byte));
    }

    /// Whether all numbers were from 0 to below so many, at most 256. Negative numbers have high bits.
    fn below(&self, n_classes: usize) -> bool {
        self.bits.place() <= usize::from(u8::MAX) && usize::from(self.most) < n_classes
    }
}

/// Adds to each sample's counter how many of [`TOGETHER`] members vote for `class`.
fn add_equal(bytes: &[[u8; PART]; TOGETHER], class: u8, seen: &mut [u8; PART]) {
    let [a, b, c, d, e, f, g, h] = bytes;
    for (i, seen) in seen.iter_mut().enumerate() {
        // 255 for the class, which is -1: what a comparison of many bytes at a time gives.
        let one = |vote: u8| u8::from(vote == class).wrapping_neg();
        let four = |a: u8, b: u8, c: u8, d: u8| {
            one(a).wrapping_add(one(b)).wrapping_add(one(c)).wrapping_add(one(d))
        };
        let eight = four(a[i], b[i], c[i], d[i]).wrapping_add(four(e[i], f[i], g[i], h[i]));
        *seen = seen.wrapping_sub(eight);
    }
}

/// Votes on one sample that are turned into bytes at a time.
const RUN: usize = 4096;

/// As [`compare`] where all votes on a sample lie together.
fn compare_samples<T: ClassNumber>(
    votes: ArrayView2<'_, T>,
    counts: &mut Array2<f64>,
    pace: &mut Pace,
) -> bool {
    let mut bytes = vec![0_u8; votes.nrows().min(RUN)];
    let mut read = Read::<T>::default();
    for (mut row, sample) in counts.rows_mut().into_iter().zip(votes.columns()) {
        for votes in sample.axis_chunks_iter(Axis(0), bytes.len()) {
            if pace.is_over_after(votes.len()) {
                return false;
            }
            let bytes = &mut bytes[..votes.len()];
            read.narrow(votes, bytes);
            row.iter_mut()
                .enumerate()
                .for_each(|(class, count)| *count += f64::from(equal(bytes, class as u8)));
        }
    }
    read.below(counts.ncols())
}

/// How many votes are for `class`; so many at a time that a byte can hold their number.
fn equal(bytes: &[u8], class: u8) -> u32 {
    let few = |votes: &[u8]| votes.iter().fold(0_u8, |sum, vote| sum.wrapping_add(u8::from(*vote == class)));
    bytes.chunks(MOST).fold(0, |sum, votes| sum + u32::from(few(votes)))
}

/// What is known of the members' votes or scores: in their order, or counted.
#[derive(Clone, Copy, Debug)]
pub enum Answers<'a> {
    /// Every member's, in order.
    Ordered(&'a Ballots),
    /// Votes counted.
    Counted(&'a Counts),
}

impl<'a> From<&'a Ballots> for Answers<'a> {
    fn from(ballots: &'a Ballots) -> Self {
        Self::Ordered(ballots)
    }
}

impl<'a> From<&'a Counts> for Answers<'a> {
    fn from(counts: &'a Counts) -> Self {
        Self::Counted(counts)
    }
}

impl Answers<'_> {
    /// Number of members N.
    pub fn n_members(&self) -> usize {
        match self {
            Self::Ordered(ballots) => ballots.n_members(),
            Self::Counted(counts) => counts.n_members(),
        }
    }

    /// Number of test samples.
    pub fn n_samples(&self) -> usize {
        match self {
            Self::Ordered(ballots) => ballots.n_samples(),
            Self::Counted(counts) => counts.n_samples(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use ndarray::{array, ShapeBuilder};

    fn vote(m: usize, i: usize, n_classes: usize) -> usize {
        (m * m + 7 * i + m * i) % (n_classes + 1) % n_classes
    }

    fn plainly(members: std::ops::Range<usize>, samples: usize, n_classes: usize) -> Array2<f64> {
        let mut counts = Array2::zeros((samples, n_classes));
        for m in members {
            (0..samples).for_each(|i| counts[[i, vote(m, i, n_classes)]] += 1.0);
        }
        counts
    }

    /// Counts every layout of the same votes.
    fn check<T: ClassNumber + std::fmt::Debug>(
        members: usize,
        samples: usize,
        n_classes: usize,
        of: fn(usize) -> T,
    ) {
        let number = |(m, i)| of(vote(m, i, n_classes));
        let rows = Array2::from_shape_fn((members, samples), number);
        let columns = Array2::from_shape_fn((members, samples).f(), number);
        let wide = Array2::from_shape_fn((2 * members, 3 * samples), |(m, i)| number((m / 2, i / 3)));
        let backwards =
            Array2::from_shape_fn((members, samples), |(m, i)| number((members - 1 - m, samples - 1 - i)));
        let tall = Array2::from_shape_fn((3 * samples, 2 * members), |(i, m)| number((m / 2, i / 3)));
        let layouts = [
            rows.view(),
            columns.view(),
            wide.slice(s![..;2, 1..;3]),
            backwards.slice(s![..;-1, ..;-1]),
            tall.slice(s![..;3, ..;2]).reversed_axes(),
        ];
        for (number, votes) in layouts.into_iter().enumerate() {
            let what = format!("layout {number}, {members} x {samples} x {n_classes}, {:?}", rows[[0, 0]]);
            let poll = Poll::new(votes, n_classes).unwrap();
            let counts = poll.count(0).unwrap();
            assert!(counts.tally().sums() == plainly(0..members, samples, n_classes), "{what}");
            assert_eq!(counts, poll.ballots().unwrap().counts(0), "{what}");
            if members > 1 {
                let split = poll.count(members / 2).unwrap();
                assert!(split.tally().sums() == plainly(members / 2..members, samples, n_classes), "{what}");
                let choice = split.choice.as_ref().unwrap().sums();
                assert!(choice == plainly(0..members / 2, samples, n_classes), "{what}");
                assert_eq!((split.n_members(), split.choosing()), (members, members / 2));
            }
        }
    }

    #[test]
    fn any_integers_in_any_layout_around_the_ends_of_blocks() {
        for (members, samples) in
            [(1, 1), (7, 3), (8, PART), (9, PART + 1), (MOST, 40), (MOST + 1, 31), (600, PART - 1)]
        {
            for n_classes in [2, 10, COMPARED, COMPARED + 1, 130] {
                check(members, samples, n_classes, |class| u8::try_from(class).unwrap());
                check(members, samples, n_classes, |class| u16::try_from(class).unwrap());
                check(members, samples, n_classes, |class| i64::try_from(class).unwrap());
            }
            check(members, samples, 3, |class| i8::try_from(class).unwrap());
            check(members, samples, 3, |class| i16::try_from(class).unwrap());
            check(members, samples, 3, |class| i32::try_from(class).unwrap());
            check(members, samples, 3, |class| u32::try_from(class).unwrap());
            check(members, samples, 3, |class| class as u64);
        }
        check(20, BLOCK + PART + 1, 3, |class| i64::try_from(class).unwrap());
        check(RUN + 1, 2, 3, |class| u16::try_from(class).unwrap());
        check(12, 70, 40_000, |class| u16::try_from(class).unwrap());
    }

    #[test]
    fn whatever_is_no_class_is_found_wherever_it_is() {
        for n_classes in [2, COMPARED, COMPARED + 1, 300] {
            for (m, i) in [(0, 0), (MOST, PART), (299, 699), (31, 600)] {
                let k = n_classes as i64;
                for bad in [-1, k, i64::MIN, i64::MAX, 256, 256 + 1, 1 << 32, 1 << 16, -256] {
                    if (0..k).contains(&bad) {
                        continue;
                    }
                    let mut votes = Array2::<i64>::zeros((300, 700));
                    votes[[m, i]] = bad;
                    for view in [votes.view(), votes.t()] {
                        let (m, i) = if view.nrows() == 300 { (m, i) } else { (i, m) };
                        let poll = Poll::new(view, n_classes).unwrap();
                        let said = format!("0 to {}. Got {bad} from member {m} for sample {i}", k - 1);
                        for error in [poll.count(0).unwrap_err(), poll.ballots().unwrap_err()] {
                            assert!(error.to_string().contains(&said), "{error} {said}");
                        }
                        assert!(poll.count(40).is_err());
                    }
                }
            }
        }
        let bytes = array![[0_u8, 255], [1, 0]];
        assert!(Poll::new(bytes.view(), 2).unwrap().count(0).is_err());
        assert!(Poll::new(bytes.view(), 256).unwrap().count(0).is_ok());
    }

    #[test]
    fn nothing_to_count_is_refused() {
        let none = Array2::<i64>::zeros((0, 3));
        assert!(Poll::new(none.view(), 2).is_err() && Poll::new(none.t(), 2).is_err());
        let one = array![[0_i64]];
        assert!(Poll::new(one.view(), 1).is_err() && Poll::new(one.view(), 1 << 16).is_err());
        assert!(Poll::new(one.view(), 2).unwrap().count(1).is_err());
    }

    #[test]
    fn one_vote_repeated_without_memory_of_its_own() {
        let one = array![[1_u8]];
        let votes = one.broadcast((70_000, 3)).unwrap();
        let counts = Poll::new(votes, 2).unwrap().count(0).unwrap();
        assert_eq!(counts.tally().sums().row(2).to_vec(), [0.0, 70_000.0]);
    }
}
