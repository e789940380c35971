//! Partitions as Python objects, and certificates of learners that were trained elsewhere.

use numpy::{PyReadonlyArray2, PyReadonlyArray3};
use pyo3::prelude::*;

use super::certificates::{count, facts, PyCertificates};
use super::law::PyLaw;
use super::listen::listening;
use super::number::given;
use crate::certify::{Certificates, Choices};
use crate::error::{Error, Result};
use crate::law::{DataFacts, Law, NoiseLaw, Partition};
use crate::partition::{Assign, Election};
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

    /// What puts a sample into its bucket: "content", "features" or "index".
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
        listening(py, || Certificates::from_learners(partition, facts, election, choices))
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
