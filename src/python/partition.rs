//! Partitions as Python objects, and certificates of learners that were trained elsewhere.

use numpy::{PyArray1, PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArray3, PyReadonlyArrayDyn};
use pyo3::prelude::*;

use super::certificates::{count, PyCertificates};
use super::certifying::facts;
use super::law::PyLaw;
use super::listen::listening;
use super::number::given;
use crate::certify::{Certificates, Choices};
use crate::error::{Error, Result};
use crate::law::{DataFacts, Law, NoiseLaw, Partition};
use crate::partition::{Assign, Assignment, Election, HashKey};
use crate::size::LARGEST;

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyPartition>()?;
    module.add_function(wrap_pyfunction!(certify_learners, module)?)
}

/// Learners that each see the samples of their own buckets: certificates without chance.
///
/// Nothing is drawn and no noise is added. A hash of each sample's content puts it into one of ``n_parts * overlap``
/// buckets, every bucket feeds `overlap` of as many learners, and a learner is a deterministic function of the set of
/// samples it is fed. Whoever inserts, deletes or modifies samples changes the learners that the touched buckets feed and
/// no others, so that the answers alone say how many buckets may change before another class is elected (Levine and
/// Feizi 2021; with `overlap` Wang et al. 2022; elected by run-off Rezaei et al. 2023). There is no alpha and no secret,
/// any change of features and labels is covered, and so are insertions and deletions.
///
/// Parameters
/// ----------
/// n_parts : int
///     A learner sees about one sample in `n_parts`; at most the number of training samples.
/// overlap : int, default=1
///     How many learners each bucket feeds, and how many buckets feed each learner. There are ``n_parts * overlap``
///     learners.
/// assign : {"content", "features", "index"}, default="content"
///     What puts a sample into its bucket. A hash of features and label: an inserted or a deleted sample changes one
///     bucket, one that is modified in place two. A hash of the features alone: a changed label changes one bucket too. The
///     sample's number: a modification in place changes one bucket; insertions and deletions are not covered.
/// shifts : list of int, optional
///     Bucket h feeds the learners ``(h + s) % n_learners`` for every shift s: `overlap` different integers from 0 to
///     ``n_learners - 1``. By default 0 and others that follow from the numbers alone.
///
/// Raises
/// ------
/// ParameterError
///     If a value is out of range, or there are not `overlap` different shifts.
///
/// Examples
/// --------
/// >>> import numpy as np
/// >>> import certssb as cs
/// >>> law = cs.Partition(10)
/// >>> votes = np.array([[1, 1]] * 8 + [[1, 0]] * 2)  # 10 learners, two test samples
/// >>> certs = cs.certify_votes(votes, law, n_classes=2)
/// >>> certs.prediction, certs.n_buckets, certs.alpha
/// (array([1, 1]), array([4, 2]), None)
#[pyclass(name = "Partition", module = "certssb", extends = PyLaw, frozen)]
pub(super) struct PyPartition;

#[pymethods]
impl PyPartition {
    #[new]
    #[pyo3(signature = (n_parts, overlap=1, assign="content", shifts=None))]
    fn new(
        #[pyo3(from_py_with = given::n_parts)] n_parts: i64,
        #[pyo3(from_py_with = given::overlap)] overlap: i64,
        #[pyo3(from_py_with = given::assign)] assign: &str,
        #[pyo3(from_py_with = given::shifts)] shifts: Option<Vec<i64>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        let positive = |name: &str, value: i64| {
            let possible = usize::try_from(value).ok().filter(|n| (1..=LARGEST).contains(n));
            possible.ok_or_else(|| Error::parameter(name, "an integer of at least 1", value))
        };
        let (n_parts, overlap) = (positive("n_parts", n_parts)?, positive("overlap", overlap)?);
        let shifts: Option<Result<Vec<usize>>> =
            shifts.map(|shifts| shifts.into_iter().map(|shift| count("shifts", shift)).collect());
        let law = Partition::new(n_parts, overlap, Assign::parse(assign)?, shifts.transpose()?)?;
        Ok(PyClassInitializer::from(PyLaw::of(Law::Partition(law))).add_subclass(Self))
    }

    /// The bucket of each sample.
    ///
    /// Parameters
    /// ----------
    /// X : array-like of shape (n_samples, n_features) or (n_samples, channels, height, width)
    ///     Training samples; what is hashed is their features as float32. For an estimator with a map of features: what the map
    ///     makes of them, or the samples as they came where an augmentation goes before the map.
    /// y : array-like of int, shape (n_samples,)
    ///     Their classes as numbers from 0.
    /// seed : int, default=0
    ///     Key of the hash: another seed, another partition. It is no secret.
    ///
    /// Returns
    /// -------
    /// ndarray of int64, shape (n_samples,)
    ///     Numbers from 0 to ``n_learners - 1``.
    ///
    /// Raises
    /// ------
    /// ParameterError, ShapeError
    ///     For samples or classes that cannot be worked with.
    ///
    /// Examples
    /// --------
    /// >>> import numpy as np
    /// >>> import certssb as cs
    /// >>> X, y = np.array([[0.0], [1.0], [0.0], [2.0]]), [1, 0, 1, 1]
    /// >>> buckets = cs.Partition(1000).buckets(X, y)
    /// >>> bool(buckets[0] == buckets[2])  # equal samples lie together, wherever they stand
    /// True
    #[pyo3(signature = (X, y, seed=0))]
    #[allow(non_snake_case)]
    fn buckets<'py>(
        slf: PyRef<'_, Self>,
        py: Python<'py>,
        X: &Bound<'py, PyAny>,
        y: &Bound<'py, PyAny>,
        seed: u64,
    ) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let (assigned, n) = assigned(&slf, py, (X, y), seed)?;
        let buckets = (0..n).map(|sample| assigned.bucket(sample).map_or(-1, |bucket| bucket as i64));
        Ok(PyArray1::from_vec(py, buckets.collect()))
    }

    /// Which samples each learner sees, for learners that are trained elsewhere.
    ///
    /// Parameters
    /// ----------
    /// X, y, seed
    ///     As for :meth:`buckets`.
    ///
    /// Returns
    /// -------
    /// list of ndarray of int64
    ///     For each learner the places of its samples, in an order that is a function of their contents: it says nothing of
    ///     the order in `X`. Empty where no sample lies in a learner's buckets.
    ///
    /// Raises
    /// ------
    /// ParameterError, ShapeError
    ///     As for :meth:`buckets`.
    ///
    /// Examples
    /// --------
    /// >>> import numpy as np
    /// >>> import certssb as cs
    /// >>> X, y = np.arange(100.0)[:, None], np.zeros(100, int)
    /// >>> parts = cs.Partition(5, overlap=2).parts(X, y)
    /// >>> len(parts), sum(len(part) for part in parts)
    /// (10, 200)
    #[pyo3(signature = (X, y, seed=0))]
    #[allow(non_snake_case)]
    fn parts<'py>(
        slf: PyRef<'_, Self>,
        py: Python<'py>,
        X: &Bound<'py, PyAny>,
        y: &Bound<'py, PyAny>,
        seed: u64,
    ) -> PyResult<Vec<Bound<'py, PyArray1<i64>>>> {
        let (assigned, _) = assigned(&slf, py, (X, y), seed)?;
        let Some(law) = own(&slf) else { return Ok(Vec::new()) };
        let parts = (0..law.spread().n_learners()).map(|learner| {
            let samples = assigned.samples(learner, law.spread()).into_iter().map(|i| i as i64);
            PyArray1::from_vec(py, samples.collect())
        });
        Ok(parts.collect())
    }

    /// How many learners' worth of data there is without overlap.
    #[getter]
    fn n_parts(slf: PyRef<'_, Self>) -> Option<usize> {
        own(&slf).map(|law| law.n_parts())
    }

    /// How many learners each bucket feeds.
    #[getter]
    fn overlap(slf: PyRef<'_, Self>) -> Option<usize> {
        own(&slf).map(|law| law.spread().degree())
    }

    /// What puts a sample into its bucket, one of "content", "features" and "index".
    #[getter]
    fn assign(slf: PyRef<'_, Self>) -> Option<&'static str> {
        own(&slf).map(|law| law.assign().name())
    }

    /// Bucket h feeds the learners ``(h + s) % n_learners`` for every shift s.
    #[getter]
    fn shifts(slf: PyRef<'_, Self>) -> Vec<usize> {
        own(&slf).map_or_else(Vec::new, |law| law.spread().shifts().to_vec())
    }

    /// Number of learners, and of buckets.
    #[getter]
    fn n_learners(slf: PyRef<'_, Self>) -> Option<usize> {
        own(&slf).map(|law| law.spread().n_learners())
    }
}

fn own(law: &PyRef<'_, PyPartition>) -> Option<Partition> {
    match law.as_super().law() {
        Law::Partition(law) => Some(law),
        _ => None,
    }
}

/// The assignment of samples as a user has them, and their number.
fn assigned<'py>(
    law: &PyRef<'_, PyPartition>,
    py: Python<'py>,
    (x, y): (&Bound<'py, PyAny>, &Bound<'py, PyAny>),
    seed: u64,
) -> PyResult<(Assignment, usize)> {
    let (features, labels): (PyReadonlyArrayDyn<'py, f32>, PyReadonlyArray1<'py, i64>) =
        py.import("certssb.data")?.getattr("as_numbered")?.call1((x, y))?.extract()?;
    let n = labels.as_array().len();
    let labels: Vec<u32> =
        labels.as_array().iter().map(|label| u32::try_from(*label).unwrap_or(u32::MAX)).collect();
    let Some(law) = own(law) else {
        return Err(Error::parameter("law", "a Partition", "another").into());
    };
    // A copy: the interpreter is free while it is hashed.
    let features = match features.as_slice() {
        Ok(rows) => rows.to_vec(),
        Err(_) => features.as_array().iter().copied().collect(),
    };
    let n_features = features.len() / n.max(1);
    let key = HashKey::from_seed(seed);
    let assign = || Assignment::new(&features, n_features.max(1), &labels, law.spread(), law.assign(), key);
    Ok((listening(py, assign)?, n))
}

/// Certificates of a partition's learners from their votes (learners, samples), or scores (learners, samples, classes).
#[pyfunction]
#[pyo3(signature = (answers, law, n_train, n_classes, election))]
fn certify_learners(
    py: Python<'_>,
    answers: &Bound<'_, PyAny>,
    law: PyRef<'_, PyLaw>,
    n_train: Option<i64>,
    n_classes: i64,
    election: &str,
) -> PyResult<PyCertificates> {
    let Law::Partition(partition) = law.law() else {
        let expected = "a Partition, whose learners elect a class";
        return Err(Error::parameter("law", expected, law.law().describe()).into());
    };
    let facts = match n_train {
        Some(n_train) => facts(n_train, n_classes, None)?,
        None => DataFacts { n_train: 0, ..facts(1, n_classes, None)? },
    };
    let election = Election::parse(election)?;
    let certify = |choices: Choices<'_>| {
        listening(py, || Certificates::from_learners(partition, facts, election, None, choices))
    };
    // Copies: the interpreter is free while they are counted.
    let inner = match answers.extract::<PyReadonlyArray2<'_, u16>>() {
        Ok(votes) => {
            let votes = votes.as_array().to_owned();
            certify(Choices::Votes(votes.view()))?
        }
        Err(_) => {
            let scores = answers.extract::<PyReadonlyArray3<'_, f32>>()?.as_array().to_owned();
            certify(Choices::Scores(scores.view()))?
        }
    };
    Ok(PyCertificates::new(inner))
}
