//! Elections among learners: the winner, and how many buckets may change before another class can win.
//!
//! A statement about *buckets*: r of them may change in any way, with everything that the learners they feed have learned.
//! Formulas: Levine and Feizi 2021 (disjoint parts), Wang et al. 2022 (overlapping parts), Rezaei et al. 2023 (run-off).

use ndarray::{Array2, ArrayView2, ArrayView3};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::spread::{Fewest, Spread};
use crate::error::{Error, Result};
use crate::process::install_each;

/// How learners elect a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Election {
    /// Most votes win ([`plurality`]).
    #[default]
    Plurality,
    /// Two rounds ([`run_off`]); needs scores.
    RunOff,
}

impl Election {
    /// The election of that name.
    ///
    /// # Errors
    /// `Parameter` for an unknown name; lists the known.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "plurality" => Ok(Self::Plurality),
            "run-off" => Ok(Self::RunOff),
            other => Err(Error::unknown("election", &["plurality", "run-off"], other)),
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plurality => "plurality",
            Self::RunOff => "run-off",
        }
    }
}

/// The class that each learner scores highest, the lowest of several: shape (learners, samples).
///
/// # Errors
/// `Parameter` for scores that are not finite; `Shape` for no classes, or more than have numbers.
pub fn favourites(scores: ArrayView3<'_, f32>) -> Result<Array2<u16>> {
    let (n_learners, n_samples, n_classes) = scores.dim();
    if !(2..=usize::from(u16::MAX)).contains(&n_classes) {
        return Err(Error::parameter("n_classes", "an integer from 2 to 65535", n_classes));
    }
    let mut votes = Array2::zeros((n_learners, n_samples));
    for ((learner, sample), vote) in votes.indexed_iter_mut() {
        let own = scores.slice(ndarray::s![learner, sample, ..]);
        if let Some(bad) = own.iter().find(|value| !value.is_finite()) {
            let got = format_args!("{bad} from learner {learner} for sample {sample}");
            return Err(Error::parameter("scores", "finite floats", got));
        }
        *vote =
            (1..n_classes).fold(0, |best, class| if own[class] > own[best] { class } else { best }) as u16;
    }
    Ok(votes)
}

/// What an election says of one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The class that wins.
    pub prediction: usize,
    /// How many buckets may change, in any way, without another class winning.
    pub buckets: usize,
}

/// Samples whose answers are gathered together: a few hundred kilobytes.
const BLOCK: usize = 16;

/// One vote a learner; most votes win, ties go to the lowest class.
///
/// Winner y, N_c the votes for c. A rival c wins once the gap N_y - N_c + \[c > y\] is closed, and a learner that changes
/// closes at most 1 + \[it voted y\] - \[it voted c\] of it. Certified is the largest number of buckets that, chosen in the
/// worst way, close no rival's gap.
///
/// # Errors
/// `Shape` unless there is a row of votes for every learner, and samples; `Parameter` for class numbers out of range.
///
/// # Example
/// ```
/// use certssb::{plurality, Spread};
/// use ndarray::Array2;
///
/// let votes = Array2::from_shape_fn((10, 1), |(learner, _)| u16::from(learner < 8));
/// let verdict = plurality(votes.view(), 2, &Spread::disjoint(10)?)?[0];
/// assert_eq!((verdict.prediction, verdict.buckets), (1, 2)); // 8 to 2: the third change makes it 5 to 5
/// # Ok::<(), certssb::Error>(())
/// ```
pub fn plurality(votes: ArrayView2<'_, u16>, n_classes: usize, spread: &Spread) -> Result<Vec<Verdict>> {
    check_sizes("votes", votes.nrows(), votes.ncols(), n_classes, spread)?;
    let blocks: Vec<usize> = (0..votes.ncols()).step_by(BLOCK).collect();
    let block = |(): &mut (), start: usize| -> Result<Vec<Verdict>> {
        let end = (start + BLOCK).min(votes.ncols());
        let mut first = FirstRound::new(spread, n_classes);
        (start..end)
            .map(|sample| {
                first.hold(sample, votes.column(sample).iter().map(|vote| usize::from(*vote)))?;
                Ok(first.plurality())
            })
            .collect()
    };
    let verdicts = install_each(blocks.into_par_iter(), || (), block)?;
    Ok(verdicts.concat())
}

/// Two rounds: the two classes with most first choices, then every learner votes for the one of the two that it scores
/// higher. Ties go to the lowest class, in a learner's scores too.
///
/// Winner p over q. Another class can win only if (1) two others overtake p in the first round, or (2) some c reaches the
/// second against p, overtaking q unless it is q, and beats p there. Certified is one less than the fewest buckets for either.
///
/// # Errors
/// `Shape` unless there are scores of every learner, and samples; `Parameter` for scores that are not finite.
///
/// # Example
/// ```
/// use certssb::{run_off, Spread};
/// use ndarray::array;
///
/// // First choices 2 : 2 : 1, and the learner whose favourite is class 2 prefers class 1 to class 0.
/// let scores = array![[[3., 1., 0.]], [[3., 0., 1.]], [[0., 3., 1.]], [[1., 3., 0.]], [[0., 1., 3.]]];
/// assert_eq!(run_off(scores.view(), &Spread::disjoint(5)?)?[0].prediction, 1);
/// # Ok::<(), certssb::Error>(())
/// ```
pub fn run_off(scores: ArrayView3<'_, f32>, spread: &Spread) -> Result<Vec<Verdict>> {
    let (n_learners, n_samples, n_classes) = scores.dim();
    check_sizes("scores", n_learners, n_samples, n_classes, spread)?;
    let blocks: Vec<usize> = (0..n_samples).step_by(BLOCK).collect();
    let block = |(): &mut (), start: usize| -> Result<Vec<Verdict>> {
        let end = (start + BLOCK).min(n_samples);
        let gathered = Gathered::new(scores, start, end)?;
        let mut first = FirstRound::new(spread, n_classes);
        (0..end - start)
            .map(|sample| {
                let own = gathered.sample(sample);
                first.hold(start + sample, own.chunks_exact(n_classes).map(favourite))?;
                Ok(first.run_off(own))
            })
            .collect()
    };
    let verdicts = install_each(blocks.into_par_iter(), || (), block)?;
    Ok(verdicts.concat())
}

fn check_sizes(name: &str, learners: usize, samples: usize, n_classes: usize, spread: &Spread) -> Result<()> {
    if !(2..=usize::from(u16::MAX)).contains(&n_classes) {
        return Err(Error::parameter("n_classes", "an integer from 2 to 65535", n_classes));
    }
    if learners != spread.n_learners() || samples == 0 {
        let expected = format_args!("answers of {} learners on at least one sample", spread.n_learners());
        return Err(Error::shape(name, expected, format_args!("{learners} learners and {samples} samples")));
    }
    Ok(())
}

/// The highest score's class, the lowest of several.
fn favourite(scores: &[f32]) -> usize {
    scores.iter().enumerate().fold(0, |best, (class, score)| if *score > scores[best] { class } else { best })
}

/// Whether a learner ranks class `a` before class `b`.
fn prefers(scores: &[f32], a: usize, b: usize) -> bool {
    scores[a] > scores[b] || (scores[a] == scores[b] && a < b)
}

/// Scores of a few samples, all learners' of one sample together.
struct Gathered {
    values: Vec<f32>,
    /// Values of one sample.
    size: usize,
}

impl Gathered {
    fn new(scores: ArrayView3<'_, f32>, start: usize, end: usize) -> Result<Self> {
        let (n_learners, _, n_classes) = scores.dim();
        let size = n_learners * n_classes;
        let mut values = vec![0.0; size * (end - start)];
        for (learner, of_learner) in scores.outer_iter().enumerate() {
            for sample in start..end {
                let at = (sample - start) * size + learner * n_classes;
                let row = &mut values[at..at + n_classes];
                row.iter_mut().zip(of_learner.row(sample)).for_each(|(to, from)| *to = *from);
                if let Some(bad) = row.iter().find(|value| !value.is_finite()) {
                    let got = format_args!("{bad} from learner {learner} for sample {sample}");
                    return Err(Error::parameter("scores", "finite floats", got));
                }
            }
        }
        Ok(Self { values, size })
    }

    fn sample(&self, place: usize) -> &[f32] {
        &self.values[place * self.size..(place + 1) * self.size]
    }
}

/// The learners' favourites on one sample, counted.
struct FirstRound<'a> {
    n_classes: usize,
    votes: Vec<u16>,
    counts: Vec<usize>,
    fewest: Fewest<'a>,
}

impl<'a> FirstRound<'a> {
    fn new(spread: &'a Spread, n_classes: usize) -> Self {
        let votes = Vec::with_capacity(spread.n_learners());
        Self { n_classes, votes, counts: vec![0; n_classes], fewest: Fewest::new(spread) }
    }

    fn hold(&mut self, sample: usize, votes: impl Iterator<Item = usize>) -> Result<()> {
        self.counts.fill(0);
        self.votes.clear();
        for (learner, vote) in votes.enumerate() {
            let Some(count) = self.counts.get_mut(vote) else {
                let expected = format_args!("class numbers from 0 to {}", self.n_classes - 1).to_string();
                let got = format_args!("{vote} from learner {learner} for sample {sample}");
                return Err(Error::parameter("votes", expected, got));
            };
            *count += 1;
            self.votes.push(vote as u16);
        }
        Ok(())
    }

    /// The class with most votes, leaving out `but`; ties to the lowest.
    fn leader(&self, but: Option<usize>) -> usize {
        let classes = (0..self.n_classes).filter(|class| Some(*class) != but);
        classes
            .reduce(|best, class| if self.counts[class] > self.counts[best] { class } else { best })
            .unwrap_or(0)
    }

    /// What has to be closed before `rival` stands before `class`; not above 0 if it does already.
    fn gap(&self, class: usize, rival: usize) -> i64 {
        self.counts[class] as i64 - self.counts[rival] as i64 + i64::from(rival > class)
    }

    /// The fewest buckets with which `rival` overtakes `class`.
    fn overtake(&mut self, class: usize, rival: usize) -> usize {
        let (gap, n) = (self.gap(class, rival), self.votes.len());
        let (own, theirs) = (self.counts[class], self.counts[rival]);
        let votes = &self.votes;
        self.fewest.buckets(gap, [theirs, n - own - theirs, own, 0], |learner| {
            let vote = usize::from(votes[learner]);
            1 + u8::from(vote == class) - u8::from(vote == rival)
        })
    }

    /// The fewest buckets with which both `a` and `b` overtake `class`: each must, and their gaps must close together.
    fn overtake_both(&mut self, class: usize, (a, b): (usize, usize)) -> usize {
        let (gap, n) = (self.gap(class, a) + self.gap(class, b), self.votes.len());
        let (own, theirs) = (self.counts[class], self.counts[a] + self.counts[b]);
        let votes = &self.votes;
        self.fewest.buckets(gap, [theirs, n - own - theirs, 0, own], |learner| {
            let vote = usize::from(votes[learner]);
            1 + 2 * u8::from(vote == class) - u8::from(vote == a || vote == b)
        })
    }

    /// Rivals of `class` that can matter: all with votes, and of those without the lowest, which wins ties.
    fn rivals(&self, class: usize) -> Vec<usize> {
        let mut without = false;
        let mut matters = |rival: &usize| {
            let voted = self.counts[*rival] > 0;
            let first = !voted && !without;
            without |= first;
            *rival != class && (voted || first)
        };
        (0..self.n_classes).filter(|rival| *rival != class).filter(|rival| matters(rival)).collect()
    }

    fn plurality(&mut self) -> Verdict {
        let prediction = self.leader(None);
        let mut least = self.fewest_possible();
        for rival in self.rivals(prediction) {
            least = least.min(self.overtake(prediction, rival));
        }
        Verdict { prediction, buckets: least - 1 }
    }

    /// One more than all buckets: what nobody can afford.
    fn fewest_possible(&self) -> usize {
        self.votes.len() + 1
    }

    fn run_off(&mut self, scores: &[f32]) -> Verdict {
        let first = self.leader(None);
        let second = self.leader(Some(first));
        let wins = beats(self.preferring(scores, first, second), self.votes.len(), first, second);
        let (p, q) = if wins { (first, second) } else { (second, first) };
        let reaching = self.in_the_second_round(scores, (p, q));
        let least = self.out_of_the_second_round(p, reaching);
        Verdict { prediction: p, buckets: least - 1 }
    }

    /// How many learners rank `a` before `b`.
    fn preferring(&self, scores: &[f32], a: usize, b: usize) -> usize {
        scores.chunks_exact(self.n_classes).filter(|own| prefers(own, a, b)).count()
    }

    /// (2): the fewest buckets with which some class stands against `p` in the second round and beats it.
    fn in_the_second_round(&mut self, scores: &[f32], (p, q): (usize, usize)) -> usize {
        let mut least = self.fewest_possible();
        // q first: it is there already, and often the cheapest, which spares the others.
        for rival in std::iter::once(q).chain((0..self.n_classes).filter(|c| *c != p && *c != q)) {
            let there = if rival == q { 0 } else { self.overtake(q, rival) };
            if there >= least {
                continue;
            }
            let preferring = self.preferring(scores, p, rival);
            let n = self.votes.len();
            let gap = 2 * preferring as i64 - n as i64 + i64::from(rival > p);
            let k = self.n_classes;
            let beaten = self.fewest.buckets(gap, [n - preferring, 0, preferring, 0], |learner| {
                2 * u8::from(prefers(&scores[learner * k..(learner + 1) * k], p, rival))
            });
            least = least.min(there.max(beaten));
        }
        least
    }

    /// (1): the fewest buckets with which two others overtake `p`, if fewer than `least`.
    fn out_of_the_second_round(&mut self, p: usize, mut least: usize) -> usize {
        let mut rivals: Vec<(usize, usize)> = Vec::with_capacity(self.n_classes);
        for rival in (0..self.n_classes).filter(|rival| *rival != p) {
            rivals.push((self.overtake(p, rival), rival));
        }
        rivals.sort_unstable();
        for (place, (_, a)) in rivals.iter().enumerate() {
            for (alone, b) in &rivals[place + 1..] {
                // The second of a pair needs the most alone, and those after it no less.
                if *alone >= least {
                    break;
                }
                least = least.min((*alone).max(self.overtake_both(p, (*a, *b))));
            }
        }
        least
    }
}

/// Whether `a` wins over `b` with `preferring` of `n` votes.
fn beats(preferring: usize, n: usize, a: usize, b: usize) -> bool {
    2 * preferring > n || (2 * preferring == n && a < b)
}
