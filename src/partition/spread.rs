//! Which learners a bucket feeds, and the fewest buckets that can move votes by a given amount.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Bucket h feeds the learners (h + s) mod n, for every shift s: disjoint parts with the one shift 0, overlapping ones of
/// degree d with d different shifts (Finite Aggregation). There are as many buckets as learners.
///
/// # Example
/// ```
/// use certssb::Spread;
///
/// let spread = Spread::new(25 * 2, vec![0, 7])?;
/// assert_eq!(spread.fed_by(48).collect::<Vec<_>>(), [48, 5]);
/// assert_eq!(spread.feeding(5).collect::<Vec<_>>(), [5, 48]);
/// assert!(Spread::new(50, vec![0, 50]).is_err());
/// # Ok::<(), certssb::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked", into = "Unchecked")]
pub struct Spread {
    n_learners: usize,
    shifts: Vec<usize>,
}

#[derive(Serialize, Deserialize)]
struct Unchecked {
    n_learners: usize,
    shifts: Vec<usize>,
}

impl TryFrom<Unchecked> for Spread {
    type Error = Error;

    fn try_from(raw: Unchecked) -> Result<Self> {
        Self::new(raw.n_learners, raw.shifts)
    }
}

impl From<Spread> for Unchecked {
    fn from(spread: Spread) -> Self {
        Self { n_learners: spread.n_learners, shifts: spread.shifts }
    }
}

/// Learners that one partition may have: their numbers and the sums of their votes stay far within 32 bits.
const MOST_LEARNERS: usize = 1 << 20;

/// Learners that one bucket may feed: sums of their weights, at most 3 each, stay within 16 bits.
const MOST_SHIFTS: usize = 1 << 12;

impl Spread {
    /// A spread over `n_learners` learners.
    ///
    /// # Errors
    /// `Parameter` unless there are 1 to 2^20 learners, and 1 to 2^12 shifts that differ and are below their number.
    pub fn new(n_learners: usize, shifts: Vec<usize>) -> Result<Self> {
        if !(1..=MOST_LEARNERS).contains(&n_learners) {
            let expected = format_args!("an integer from 1 to {MOST_LEARNERS}");
            return Err(Error::parameter("n_parts", expected, n_learners));
        }
        let mut sorted = shifts.clone();
        sorted.sort_unstable();
        sorted.dedup();
        let fits = sorted.last().is_some_and(|largest| *largest < n_learners);
        if !fits || sorted.len() != shifts.len() || shifts.len() > MOST_SHIFTS {
            let expected = format_args!(
                "1 to {MOST_SHIFTS} different integers from 0 to {}",
                n_learners.saturating_sub(1)
            );
            let shown = &shifts[..shifts.len().min(8)];
            return Err(Error::parameter(
                "shifts",
                expected,
                format_args!("{shown:?} ({} shifts)", shifts.len()),
            ));
        }
        Ok(Self { n_learners, shifts })
    }

    /// Disjoint parts: learner m sees bucket m alone.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn disjoint(n_learners: usize) -> Result<Self> {
        Self::new(n_learners, vec![0])
    }

    /// Overlapping parts with shifts that are mixed from the two numbers alone: 0 and `degree` - 1 others, spread evenly
    /// enough that two buckets seldom feed the same learners.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn mixed(n_learners: usize, degree: usize) -> Result<Self> {
        if degree > n_learners.min(MOST_SHIFTS) || !(1..=MOST_LEARNERS).contains(&n_learners) {
            return Self::new(n_learners, (0..degree.min(MOST_SHIFTS + 1)).collect());
        }
        let mut shifts = vec![0];
        let mut taken = vec![false; n_learners];
        taken[0] = true;
        let mut words = blake3::Hasher::new_derive_key("certssb 2026 shifts of a partition")
            .update(&(n_learners as u64).to_le_bytes())
            .update(&(degree as u64).to_le_bytes())
            .finalize_xof();
        while shifts.len() < degree {
            let mut word = [0; 8];
            words.fill(&mut word);
            // The first shift that is free from here on: an end is sure, however many are taken.
            let start = (u64::from_le_bytes(word) % n_learners as u64) as usize;
            let free = (0..n_learners).map(|step| (start + step) % n_learners).find(|shift| !taken[*shift]);
            let Some(shift) = free else { break };
            taken[shift] = true;
            shifts.push(shift);
        }
        Self::new(n_learners, shifts)
    }

    /// Number of learners, and of buckets.
    pub fn n_learners(&self) -> usize {
        self.n_learners
    }

    /// Learners that one bucket feeds, and buckets that feed one learner.
    pub fn degree(&self) -> usize {
        self.shifts.len()
    }

    /// The shifts.
    pub fn shifts(&self) -> &[usize] {
        &self.shifts
    }

    /// The learners that `bucket` feeds.
    pub fn fed_by(&self, bucket: usize) -> impl Iterator<Item = usize> + '_ {
        self.shifts.iter().map(move |shift| (bucket + shift) % self.n_learners)
    }

    /// The buckets that feed `learner`.
    pub fn feeding(&self, learner: usize) -> impl Iterator<Item = usize> + '_ {
        let n = self.n_learners;
        self.shifts.iter().map(move |shift| (learner + n - shift) % n)
    }
}

/// Finds the fewest buckets whose learners' weights sum to a gap; keeps its memory between questions.
///
/// A learner's weight is the most that changing it closes of the gap, from 0 to 3. Buckets that share a learner count its
/// weight twice, so that the answer can only be too small: on the safe side.
#[derive(Debug)]
pub(super) struct Fewest<'a> {
    spread: &'a Spread,
    /// The weights of all learners, twice, so that every shift is a plain offset.
    doubled: Vec<u8>,
    powers: Vec<u16>,
    /// How many buckets have which power.
    counts: Vec<u32>,
}

/// The largest weight of one learner.
const HEAVIEST: usize = 3;

impl<'a> Fewest<'a> {
    pub(super) fn new(spread: &'a Spread) -> Self {
        let n = spread.n_learners;
        Self {
            spread,
            doubled: vec![0; 2 * n],
            powers: vec![0; n],
            counts: vec![0; HEAVIEST * spread.degree() + 1],
        }
    }

    /// The fewest buckets that close `gap`, where `weight` is each learner's weight and `tally` says how many learners have
    /// the weights 0, 1, 2 and 3. One more than there are buckets if all together do not.
    pub(super) fn buckets(
        &mut self,
        gap: i64,
        tally: [usize; HEAVIEST + 1],
        weight: impl Fn(usize) -> u8,
    ) -> usize {
        if gap <= 0 {
            return 0;
        }
        if let [shift] = self.spread.shifts[..] {
            // Every bucket feeds one learner, whichever the shift: the tally is all there is to know.
            debug_assert!(shift < self.spread.n_learners);
            let tally = tally.map(|count| count as u32);
            return greedy(gap, &tally, self.spread.n_learners);
        }
        let n = self.spread.n_learners;
        for (learner, place) in self.doubled[..n].iter_mut().enumerate() {
            *place = weight(learner).min(HEAVIEST as u8);
        }
        self.doubled.copy_within(..n, n);
        self.powers.fill(0);
        for shift in &self.spread.shifts {
            for (power, weight) in self.powers.iter_mut().zip(&self.doubled[*shift..]) {
                *power += u16::from(*weight);
            }
        }
        self.counts.fill(0);
        for power in &self.powers {
            self.counts[usize::from(*power)] += 1;
        }
        greedy(gap, &self.counts, n)
    }
}

/// The fewest of the buckets whose powers sum to `gap`, strongest first; `counts[p]` of them have power p.
fn greedy(mut gap: i64, counts: &[u32], n_buckets: usize) -> usize {
    let mut taken = 0;
    for (power, count) in counts.iter().enumerate().skip(1).rev() {
        let (power, count) = (power as i64, i64::from(*count));
        if power * count >= gap {
            return taken + ((gap + power - 1) / power) as usize;
        }
        gap -= power * count;
        taken += count as usize;
    }
    n_buckets + 1
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn strongest_buckets_first() {
        assert_eq!(greedy(1, &[5, 0, 0, 1], 6), 1);
        assert_eq!(greedy(4, &[5, 0, 0, 1], 6), 7, "all together do not close it");
        assert_eq!(greedy(7, &[0, 3, 2, 1], 6), 3);
        assert_eq!(greedy(8, &[0, 3, 2, 1], 6), 4);
    }

    #[test]
    fn a_spread_and_its_inverse() {
        let spread = Spread::new(11, vec![0, 3, 4]).unwrap();
        for bucket in 0..11 {
            assert!(spread.fed_by(bucket).all(|learner| spread.feeding(learner).any(|b| b == bucket)));
        }
    }

    #[test]
    fn powers_are_sums_over_the_learners_a_bucket_feeds() {
        let spread = Spread::new(7, vec![0, 2, 5]).unwrap();
        let weights = [3_u8, 0, 1, 2, 1, 0, 2];
        let tally = [0, 1, 2, 3].map(|w| weights.iter().filter(|weight| **weight == w).count());
        let mut powers: Vec<u32> =
            (0..7).map(|bucket| spread.fed_by(bucket).map(|m| u32::from(weights[m])).sum()).collect();
        powers.sort_unstable_by(|a, b| b.cmp(a));
        let mut fewest = Fewest::new(&spread);
        for gap in 1..=30 {
            let mut sum = 0;
            let expected = powers.iter().position(|power| {
                sum += power;
                sum >= gap
            });
            let got = fewest.buckets(i64::from(gap), tally, |m| weights[m]);
            assert_eq!(got, expected.map_or(8, |at| at + 1), "{gap}");
        }
    }

    #[test]
    fn bad_spreads_are_named() {
        for (n, shifts) in [(0, vec![0]), (5, vec![]), (5, vec![0, 0]), (5, vec![5]), (1 << 21, vec![0])] {
            assert!(Spread::new(n, shifts).unwrap_err().is_bad_input());
        }
        let text = r#"{"n_learners": 3, "shifts": [0, 3]}"#;
        assert!(serde_json::from_str::<Spread>(text).is_err());
    }
}
