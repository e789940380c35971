//! What the members said: one class per member and sample, or scores; counted with their N.

use ndarray::{s, Array2, Array3, ArrayView1, ArrayView3, Axis};

use crate::error::{Error, Result};
use crate::size;
use crate::stop::Pace;

mod count;

pub use count::{Answers, ClassNumber, Counts, Poll};

/// Votes or scores of independent members, in the order of the members.
#[derive(Clone, Debug, PartialEq)]
pub enum Ballots {
    /// Class numbers of shape (n_members, n_samples).
    Votes {
        /// The class each member gives each sample.
        classes: Array2<u16>,
        /// Number of classes K.
        n_classes: usize,
    },
    /// Scores in \[0, 1\] of shape (n_members, n_samples, n_classes), summing to 1 over the classes.
    Scores(Array3<f32>),
}

/// How far a row of scores may be from summing to 1: single precision softmax over many classes.
const SUM_TOLERANCE: f64 = 1e-4;

impl Ballots {
    /// Checked votes.
    ///
    /// # Errors
    /// `Parameter` when a class number is not in 0..n_classes, `Shape` when there is nothing to count.
    pub fn from_votes(classes: Array2<u16>, n_classes: usize) -> Result<Self> {
        check_n_classes(n_classes)?;
        check_sizes("votes", (classes.nrows(), classes.ncols(), n_classes), 0)?;
        let largest = classes.rows().into_iter().map(largest).max().unwrap_or(0);
        let bad = if usize::from(largest) < n_classes {
            None
        } else {
            classes.indexed_iter().find(|(_, v)| usize::from(**v) >= n_classes)
        };
        if let Some(((m, i), vote)) = bad {
            return Err(Error::parameter(
                "votes",
                format_args!("class numbers from 0 to {}", n_classes - 1),
                format_args!("{vote} from member {m} for sample {i}"),
            ));
        }
        Ok(Self::Votes { classes, n_classes })
    }

    /// Checked scores.
    ///
    /// # Errors
    /// `Parameter` when a score is outside \[0, 1\], not finite, or the classes do not sum to 1; `Shape` when
    /// there is nothing to average.
    pub fn from_scores(mut scores: Array3<f32>) -> Result<Self> {
        let (members, samples, classes) = scores.dim();
        check_n_classes(classes)?;
        check_sizes("scores", (members, samples, classes), 0)?;
        let mut pace = Pace::new();
        for ((m, i), row) in
            scores.lanes(Axis(2)).into_iter().enumerate().map(|(at, row)| ((at / samples, at % samples), row))
        {
            pace.step(classes)?;
            if let Some(bad) = row.iter().find(|v| !(0.0..=1.0).contains(*v)) {
                return Err(Error::parameter(
                    "scores",
                    "floats in the range [0, 1]",
                    format_args!("{bad} from member {m} for sample {i}"),
                ));
            }
            let sum: f64 = row.iter().map(|v| f64::from(*v)).sum();
            if (sum - 1.0).abs() > SUM_TOLERANCE {
                return Err(Error::parameter(
                    "scores",
                    "scores that sum to 1 over the classes",
                    format_args!("a sum of {sum} from member {m} for sample {i}"),
                ));
            }
        }
        scores.lanes_mut(Axis(2)).into_iter().for_each(at_most_one);
        Ok(Self::Scores(scores))
    }

    /// Number of members N.
    pub fn n_members(&self) -> usize {
        self.dim().0
    }

    /// Number of test samples.
    pub fn n_samples(&self) -> usize {
        self.dim().1
    }

    /// Number of classes K.
    pub fn n_classes(&self) -> usize {
        self.dim().2
    }

    fn dim(&self) -> (usize, usize, usize) {
        match self {
            Self::Votes { classes, n_classes } => (classes.nrows(), classes.ncols(), *n_classes),
            Self::Scores(scores) => scores.dim(),
        }
    }

    /// Sums over the members `from..to`: vote counts, or summed scores, of shape (n_samples, n_classes).
    pub fn tally(&self, from: usize, to: usize) -> Tally {
        let sums = match self {
            Self::Votes { classes, n_classes } => count::count(classes.slice(s![from..to, ..]), *n_classes).0,
            Self::Scores(scores) => add_up(scores.slice(s![from..to, .., ..])),
        };
        Tally { n_members: to - from, sums }
    }

    /// What each member from `from` on gave to `class` on one sample: 0 or 1 for votes.
    pub fn sequence(&self, from: usize, sample: usize, class: usize) -> Vec<f64> {
        match self {
            Self::Votes { classes, .. } => classes
                .slice(s![from.., sample])
                .iter()
                .map(|vote| if usize::from(*vote) == class { 1.0 } else { 0.0 })
                .collect(),
            Self::Scores(scores) => {
                scores.slice(s![from.., sample, class]).iter().map(|v| f64::from(*v)).collect()
            }
        }
    }
}

/// The largest class number of one member; many at a time where its votes lie side by side.
fn largest(votes: ArrayView1<u16>) -> u16 {
    match votes.as_slice() {
        Some(votes) => votes.iter().fold(0, |most, vote| most.max(*vote)),
        None => votes.iter().fold(0, |most, vote| most.max(*vote)),
    }
}

/// Scales scores that sum to more than 1, by rounding of whoever made them, down to a sum of at most 1: other
/// classes are bounded by 1 - p_A.
fn at_most_one(mut row: ndarray::ArrayViewMut1<f32>) {
    let sum: f64 = row.iter().map(|v| f64::from(*v)).sum();
    if sum > 1.0 {
        // Half a unit in the last place for each class covers the rounding back to single precision.
        let scale = (1.0 - 1e-7) / sum;
        row.mapv_inplace(|v| (f64::from(v) * scale) as f32);
    }
}

fn check_n_classes(n_classes: usize) -> Result<()> {
    if (2..=usize::from(u16::MAX)).contains(&n_classes) {
        Ok(())
    } else {
        Err(Error::parameter("n_classes", "an integer from 2 to 65535", n_classes))
    }
}

/// Bytes that a certification keeps for each class of a sample (counts, bounds, a copy), and for a sample beside them.
const PER_CLASS: usize = 24;

/// What is counted, and what is kept of it, fits into memory. `copied` is the number of bytes that each vote is copied to.
///
/// # Errors
/// `Shape`, before anything is reserved: a view may repeat a single number any number of times.
pub(crate) fn check_sizes(
    name: &str,
    (members, samples, n_classes): (usize, usize, usize),
    copied: usize,
) -> Result<()> {
    if members == 0 || samples == 0 {
        return Err(Error::shape(
            name,
            "at least one member and one sample",
            format_args!("{members} members and {samples} samples"),
        ));
    }
    // What takes a year to count is no array of votes either.
    size::product(name, &[members, samples])?;
    size::fits(name, &[samples, n_classes + 4], PER_CLASS)?;
    size::fits(name, &[members, samples], copied)
}

fn add_up(scores: ArrayView3<f32>) -> Array2<f64> {
    let mut sums = Array2::<f64>::zeros((scores.dim().1, scores.dim().2));
    for member in scores.outer_iter() {
        sums.zip_mut_with(&member, |sum, score| *sum += f64::from(*score));
    }
    sums
}

/// Votes or scores summed over members: N and the sums travel together, so a bound cannot read another N.
#[derive(Clone, Debug, PartialEq)]
pub struct Tally {
    n_members: usize,
    sums: Array2<f64>,
}

impl Tally {
    /// A tally whose shares are known.
    #[cfg(test)]
    pub(crate) fn of_shares(sums: Array2<f64>) -> Self {
        Self { n_members: 1, sums }
    }

    /// Number of members summed.
    pub fn n_members(&self) -> usize {
        self.n_members
    }

    /// Sums of shape (n_samples, n_classes); whole numbers for votes.
    pub fn sums(&self) -> &Array2<f64> {
        &self.sums
    }

    /// The class with the largest sum for one sample; ties go to the lowest class.
    pub fn winner(&self, sample: usize) -> usize {
        let row = self.sums.row(sample);
        (1..row.len()).fold(0, |best, class| if row[class] > row[best] { class } else { best })
    }

    /// The winner of every sample.
    pub fn winners(&self) -> Vec<usize> {
        (0..self.sums.nrows()).map(|sample| self.winner(sample)).collect()
    }
}

/// One sample on which `against` of the members, the last ones, vote for class 1 and all others for class 0.
pub(crate) fn unanimous_but(members: usize, against: usize, n_classes: usize) -> Result<Ballots> {
    let classes = Array2::from_shape_fn((members, 1), |(m, _)| u16::from(m + against >= members));
    Ballots::from_votes(classes, n_classes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn counts_and_ties() {
        let votes = Ballots::from_votes(array![[0, 2, 1], [1, 2, 1], [1, 0, 0]], 3).unwrap();
        let tally = votes.tally(0, 3);
        assert_eq!(tally.sums(), &array![[1.0, 2.0, 0.0], [1.0, 0.0, 2.0], [1.0, 2.0, 0.0]]);
        assert_eq!(tally.winners(), [1, 2, 1]);
        assert_eq!(votes.tally(0, 2).winners(), [0, 2, 1], "a tie goes to the lowest class");
        assert_eq!(votes.sequence(1, 0, 1), [1.0, 1.0]);
    }

    #[test]
    fn however_many_members_samples_and_classes() {
        for (members, samples, n_classes) in [(1, 3, 2), (256, 1025, 16), (600, 2050, 3), (300, 1100, 40)] {
            let vote = |m: usize, i: usize| (m * m + 7 * i + m * i) % (n_classes + 1) % n_classes;
            let classes = Array2::from_shape_fn((members, samples), |(m, i)| vote(m, i) as u16);
            let ballots = Ballots::from_votes(classes, n_classes).unwrap();
            for (from, to) in [(0, members), (members / 3, members)] {
                let tally = ballots.tally(from, to);
                let expected = Array2::from_shape_fn((samples, n_classes), |(i, class)| {
                    (from..to).filter(|m| vote(*m, i) == class).count() as f64
                });
                assert!(tally.sums() == expected, "{members} {samples} {n_classes}");
            }
        }
    }

    #[test]
    fn scores_never_sum_to_more_than_one() {
        let scores = Ballots::from_scores(array![[[0.70003, 0.30003], [0.1, 0.9]]]).unwrap();
        let tally = scores.tally(0, 1);
        assert!(tally.sums().rows().into_iter().all(|row| row.sum() <= 1.0), "{:?}", tally.sums());
        assert!((tally.sums()[[0, 0]] - 0.7).abs() < 1e-4);
    }

    #[test]
    fn bad_ballots_are_named() {
        let error = Ballots::from_votes(array![[0, 3]], 3).unwrap_err().to_string();
        assert!(error.contains("from 0 to 2") && error.contains("3 from member 0 for sample 1"), "{error}");
        assert!(Ballots::from_votes(Array2::zeros((0, 3)), 2).is_err());
        assert!(Ballots::from_votes(array![[0]], 1).is_err());
        for bad in [array![[[0.5, 0.6]]], array![[[1.5, -0.5]]], array![[[f32::NAN, 0.5]]]] {
            assert!(Ballots::from_scores(bad).is_err());
        }
        assert!(Ballots::from_scores(array![[[0.25, 0.75]]]).is_ok());
    }
}
