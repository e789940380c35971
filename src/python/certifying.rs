//! From votes and scores that somebody counted, in arrays, to certificates.

use numpy::{Element, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray2, PyReadonlyArray3};
use pyo3::prelude::*;

use super::certificates::{PyCertificates, PyConfidence};
use super::law::PyLaw;
use super::listen::{holding, listening};
use crate::certify::{decide, Certificates};
use crate::error::{Error, Result};
use crate::law::{Cascade, DataFacts, Law};
use crate::size::LARGEST;
use crate::votes::{check_sizes, Answers, Ballots, ClassNumber, Poll, Tally};

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(decide_cascade, module)?)?;
    module.add_function(wrap_pyfunction!(certify_cascade, module)?)?;
    module.add_function(wrap_pyfunction!(certify_votes, module)?)?;
    module.add_function(wrap_pyfunction!(certify_scores, module)?)
}

fn cascade_of(law: &PyLaw) -> Result<Cascade> {
    match law.law() {
        Law::Cascade(cascade) => Ok(cascade),
        other => {
            use crate::law::NoiseLaw;
            Err(Error::parameter("law", "a Cascade", other.describe()))
        }
    }
}

fn level_ballots(
    py: Python<'_>,
    votes: &[PyReadonlyArray2<'_, u16>],
    n_classes: usize,
) -> PyResult<Vec<Ballots>> {
    let ballots = |votes: &PyReadonlyArray2<'_, u16>| {
        let votes = votes.as_array();
        check_sizes("votes", (votes.nrows(), votes.ncols(), n_classes), 2)?;
        Ballots::from_votes(votes.to_owned(), n_classes)
    };
    holding(py, || votes.iter().map(ballots).collect())
}

/// What a cascade decides on votes of every level: classes, deciding levels, and the votes counted there.
#[pyfunction]
#[allow(clippy::type_complexity)]
fn decide_cascade<'py>(
    py: Python<'py>,
    votes: Vec<PyReadonlyArray2<'py, u16>>,
    law: PyRef<'py, PyLaw>,
    n_classes: usize,
) -> PyResult<(Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i64>>, Bound<'py, PyArray2<f64>>)> {
    let ballots = level_ballots(py, &votes, n_classes)?;
    let tally = |own: &Ballots| Ok(own.tally(0, own.n_members()));
    let tallies: Vec<Tally> = listening(py, || ballots.iter().map(tally).collect())?;
    let decisions = decide(&cascade_of(&law)?, &tallies);
    let mut counts = ndarray::Array2::zeros((decisions.len(), n_classes));
    for (sample, decision) in decisions.iter().enumerate() {
        counts.row_mut(sample).assign(&tallies[decision.level].sums().row(sample));
    }
    let column = |of: fn(&crate::certify::Decision) -> usize| {
        PyArray1::from_vec(py, decisions.iter().map(|decision| of(decision) as i64).collect())
    };
    Ok((column(|d| d.prediction), column(|d| d.level), PyArray2::from_owned_array(py, counts)))
}

/// Certificates of a cascade from votes of every level's members, drawn from the levels' laws.
pub(super) fn certify_levels(
    py: Python<'_>,
    votes: &[PyReadonlyArray2<'_, u16>],
    cascade: &Cascade,
    facts: DataFacts,
    confidence: &PyConfidence,
    before_noise: Option<String>,
) -> PyResult<PyCertificates> {
    let ballots = level_ballots(py, votes, facts.n_classes)?;
    let n_members = ballots.iter().map(Ballots::n_members).min().unwrap_or(0);
    let confidence = confidence.asked.for_votes(n_members, facts.n_classes)?;
    let cascade = cascade.clone();
    let inner =
        listening(py, || Certificates::from_levels(cascade, facts, confidence, before_noise, &ballots))?;
    Ok(PyCertificates::new(inner))
}

/// Certificates of a cascade whose levels were trained elsewhere.
#[pyfunction]
#[pyo3(signature = (votes, law, n_train, n_classes, n_features, confidence))]
fn certify_cascade(
    py: Python<'_>,
    votes: Vec<PyReadonlyArray2<'_, u16>>,
    law: PyRef<'_, PyLaw>,
    n_train: i64,
    n_classes: i64,
    n_features: Option<usize>,
    confidence: &Bound<'_, PyConfidence>,
) -> PyResult<PyCertificates> {
    let facts = facts(n_train, n_classes, n_features)?;
    certify_levels(py, &votes, &cascade_of(&law)?, facts, confidence.get(), None)
}

/// Certificates from class numbers of shape (n_members, n_samples), integers of any width.
#[pyfunction]
#[pyo3(signature = (votes, law, n_train, n_classes, n_features, confidence, before_noise=None))]
fn certify_votes(
    votes: &Bound<'_, PyAny>,
    law: PyRef<'_, PyLaw>,
    n_train: i64,
    n_classes: i64,
    n_features: Option<usize>,
    confidence: &Bound<'_, PyConfidence>,
    before_noise: Option<String>,
) -> PyResult<PyCertificates> {
    let facts = facts(n_train, n_classes, n_features)?;
    let known = Known { law: law.law(), facts, before_noise };
    macro_rules! first_of {
        ($($integer:ty)*) => {$(
            if let Ok(votes) = votes.cast::<PyArray2<$integer>>() {
                return known.certify(&votes.try_readonly()?, confidence.get());
            }
        )*};
    }
    first_of!(u16 i64 u8 i32 i8 i16 u32 u64);
    Err(Error::parameter("votes", "an array of integers", votes.get_type().name()?).into())
}

/// What a certification knows beside the votes.
pub(super) struct Known {
    pub(super) law: Law,
    pub(super) facts: DataFacts,
    pub(super) before_noise: Option<String>,
}

impl Known {
    /// Certificates from an array of any integers, in any order in memory, without a copy of it.
    ///
    /// The interpreter is held while votes are counted, so that no Python code writes to them meanwhile, and is free
    /// afterwards.
    pub(super) fn certify<T: Element + ClassNumber>(
        self,
        votes: &PyReadonlyArray2<'_, T>,
        confidence: &PyConfidence,
    ) -> PyResult<PyCertificates> {
        let Self { law, facts, before_noise } = self;
        let poll = Poll::new(votes.as_array(), facts.n_classes)?;
        let confidence = confidence.asked.for_votes(poll.n_members(), facts.n_classes)?;
        let (ballots, counts);
        let answers = if confidence.bound == crate::certify::Bound::Betting {
            ballots = holding(votes.py(), || poll.ballots())?;
            Answers::Ordered(&ballots)
        } else {
            counts = holding(votes.py(), || poll.count(confidence.choosing()))?;
            Answers::Counted(&counts)
        };
        let certify = || Certificates::from_ballots(law, facts, confidence, before_noise, answers);
        Ok(PyCertificates::new(listening(votes.py(), certify)?))
    }
}

/// Certificates from scores of shape (n_members, n_samples, n_classes).
#[pyfunction]
#[pyo3(signature = (scores, law, n_train, n_features, confidence, before_noise=None))]
fn certify_scores(
    py: Python<'_>,
    scores: PyReadonlyArray3<'_, f32>,
    law: PyRef<'_, PyLaw>,
    n_train: i64,
    n_features: Option<usize>,
    confidence: &Bound<'_, PyConfidence>,
    before_noise: Option<String>,
) -> PyResult<PyCertificates> {
    let facts = facts(n_train, scores.as_array().dim().2 as i64, n_features)?;
    let (members, samples, classes) = scores.as_array().dim();
    check_sizes("scores", (members, samples, classes), classes.saturating_mul(4))?;
    let ballots = holding(py, || Ballots::from_scores(scores.as_array().to_owned()))?;
    let confidence = confidence.get().asked.for_scores(ballots.n_members(), facts.n_classes)?;
    let law = law.law();
    let certify = || Certificates::from_ballots(law, facts, confidence, before_noise, &ballots);
    let inner = listening(py, certify)?;
    Ok(PyCertificates::new(inner))
}

pub(super) fn facts(n_train: i64, n_classes: i64, n_features: Option<usize>) -> Result<DataFacts> {
    let n_train = usize::try_from(n_train).ok().filter(|n| (1..=LARGEST).contains(n)).ok_or_else(|| {
        Error::parameter("n_train", format_args!("an integer of at least 1 and at most {LARGEST}"), n_train)
    })?;
    if n_features.is_some_and(|n| n > LARGEST) {
        let got = n_features.unwrap_or_default();
        return Err(Error::parameter("n_features", format_args!("an integer of at most {LARGEST}"), got));
    }
    let n_classes = usize::try_from(n_classes)
        .ok()
        .filter(|k| (2..=usize::from(u16::MAX)).contains(k))
        .ok_or_else(|| Error::parameter("n_classes", "an integer from 2 to 65535", n_classes))?;
    Ok(DataFacts { n_train, n_features, n_classes })
}
