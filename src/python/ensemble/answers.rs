//! What members answer, and certificates of it.

use numpy::{PyArray1, PyArray2, PyArray3, PyReadonlyArrayDyn};
use pyo3::prelude::*;

use super::{watched, PyEnsemble};
use crate::certify::{decided, Certificates, Choices};
use crate::error::{Error, Result};
use crate::law::{Law, NoiseLaw};
use crate::member::Record;
use crate::partition::Election;
use crate::python::certificates::{PyCertificates, PyConfidence};
use crate::python::certifying::{certify_levels, Known};
use crate::python::law::PyLaw;
use crate::python::listen::{holding, listening};
use crate::python::rows::floats;
use crate::python::threat::{threat as asked, Asked};
use crate::votes::{Ballots, Poll};

/// Members that drew each sample, differences and their standard errors.
type Influences<'py> = (Bound<'py, PyArray1<u32>>, Bound<'py, PyArray2<f64>>, Bound<'py, PyArray2<f64>>);

#[pymethods]
impl PyEnsemble {
    /// For each column of values, one row per member: how many members drew each training sample, by how much the mean over
    /// them differs from that over the others, and the standard error of this difference.
    fn influence<'py>(
        &self,
        py: Python<'py>,
        values: numpy::PyReadonlyArray2<'py, f32>,
    ) -> PyResult<Influences<'py>> {
        let values = values.as_array().to_owned();
        let found = watched(py, None, |control| self.inner.influence(values.view(), control))?;
        Ok((
            PyArray1::from_vec(py, found.n_drew),
            PyArray2::from_owned_array(py, found.difference),
            PyArray2::from_owned_array(py, found.error),
        ))
    }

    /// Refuses test inputs that members cannot be asked about, before there are members.
    fn check_inputs(&self, features: PyReadonlyArrayDyn<'_, f32>) -> PyResult<()> {
        Ok(self.inner.check_inputs(&floats(&features)?)?)
    }

    /// Class numbers of shape (n_members, n_samples).
    #[pyo3(signature = (features, report=None))]
    fn votes<'py>(
        &self,
        py: Python<'py>,
        features: PyReadonlyArrayDyn<'py, f32>,
        report: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyArray2<u16>>> {
        let inputs = floats(&features)?;
        let votes = watched(py, report, |control| self.inner.votes(&inputs, control))?;
        Ok(PyArray2::from_owned_array(py, votes))
    }

    /// Softmax scores of shape (n_members, n_samples, n_classes).
    #[pyo3(signature = (features, report=None))]
    fn scores<'py>(
        &self,
        py: Python<'py>,
        features: PyReadonlyArrayDyn<'py, f32>,
        report: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyArray3<f32>>> {
        let inputs = floats(&features)?;
        let scores = watched(py, report, |control| self.inner.scores(&inputs, control))?;
        Ok(PyArray3::from_owned_array(py, scores))
    }

    /// Logits of shape (n_members, n_samples, n_classes), by whose order learners of a partition hold a run-off.
    #[pyo3(signature = (features, report=None))]
    fn logits<'py>(
        &self,
        py: Python<'py>,
        features: PyReadonlyArrayDyn<'py, f32>,
        report: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyArray3<f32>>> {
        let inputs = floats(&features)?;
        let logits = watched(py, report, |control| self.inner.logits(&inputs, control))?;
        Ok(PyArray3::from_owned_array(py, logits))
    }

    /// Winners and vote counts of votes: shapes (n_samples,) and (n_samples, n_classes).
    #[allow(clippy::type_complexity)]
    fn count<'py>(
        &self,
        py: Python<'py>,
        votes: numpy::PyReadonlyArray2<'py, u16>,
    ) -> PyResult<(Bound<'py, PyArray1<i64>>, Bound<'py, PyArray2<f64>>)> {
        let poll = Poll::new(votes.as_array(), self.inner.record().n_classes)?;
        let counts = holding(py, || poll.count(0))?;
        let tally = counts.tally();
        let winners = tally.winners().into_iter().map(|class| class as i64).collect();
        Ok((PyArray1::from_vec(py, winners), PyArray2::from_owned_array(py, tally.sums().clone())))
    }

    /// The noise magnitude of each input under sample-specific noise: (n_members, n_samples), or (1, n_samples) for
    /// the published form.
    #[pyo3(signature = (features, report=None))]
    fn magnitudes<'py>(
        &self,
        py: Python<'py>,
        features: PyReadonlyArrayDyn<'py, f32>,
        report: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let inputs = floats(&features)?;
        let sigmas = watched(py, report, |control| self.inner.magnitudes(&inputs, control))?;
        Ok(PyArray2::from_owned_array(py, sigmas))
    }

    /// Certificates from votes of these members on `features`; law and sizes are read from the record of what was
    /// drawn, magnitudes of the published form are found for these very inputs.
    fn certify(
        &self,
        py: Python<'_>,
        features: PyReadonlyArrayDyn<'_, f32>,
        votes: numpy::PyReadonlyArray2<'_, u16>,
        confidence: &Bound<'_, PyConfidence>,
    ) -> PyResult<PyCertificates> {
        confidence.get().asked.check_history(self.grown())?;
        let inputs = floats(&features)?;
        self.inner.check_inputs(&inputs)?;
        let record = self.inner.record();
        let (law, facts, before_noise) = (record.law.clone(), record.facts(), record.before_noise.clone());
        let n_trusted = record.n_trusted();
        if law.sound() {
            let known = Known { law, facts, before_noise };
            return Ok(known.certify(&votes, confidence.get())?.with_trusted(n_trusted));
        }
        let ballots = self.ballots(&votes)?;
        let confidence = confidence.get().asked.for_votes(ballots.n_members(), record.n_classes)?;
        let sigmas = watched(py, None, |control| self.inner.magnitudes(&inputs, control))?;
        let sigmas = sigmas.iter().map(|sigma| f64::from(*sigma)).collect();
        let certificates = listening(py, || {
            Certificates::published(law, facts, confidence, before_noise, &ballots, sigmas)
        })?;
        Ok(PyCertificates::new(certificates.with_trusted(n_trusted)))
    }

    /// Certificates of a partition's learners: by plurality of their votes on `features`, or by a run-off, for which they
    /// are asked what they say of every class unless `logits` are given.
    #[pyo3(signature = (features, votes, election, report=None, logits=None))]
    fn elect(
        &self,
        py: Python<'_>,
        features: PyReadonlyArrayDyn<'_, f32>,
        votes: numpy::PyReadonlyArray2<'_, u16>,
        election: &str,
        report: Option<Py<PyAny>>,
        logits: Option<numpy::PyReadonlyArray3<'_, f32>>,
    ) -> PyResult<PyCertificates> {
        let record = self.inner.record();
        let Law::Partition(partition) = record.law.clone() else {
            return Err(Error::parameter("law", "a Partition", record.law.describe()).into());
        };
        let inputs = floats(&features)?;
        self.inner.check_inputs(&inputs)?;
        let election = Election::parse(election)?;
        let (facts, before_noise) = (record.facts(), record.before_noise.clone());
        let elect = |choices: Choices<'_>| {
            listening(py, || Certificates::from_learners(partition, facts, election, before_noise, choices))
        };
        let elected = match election {
            Election::Plurality => {
                let votes = votes.as_array().to_owned();
                elect(Choices::Votes(votes.view()))?
            }
            Election::RunOff => {
                let logits = match logits {
                    Some(known) => known.as_array().to_owned(),
                    None => watched(py, report, |control| self.inner.logits(&inputs, control))?,
                };
                elect(Choices::Scores(logits.view()))?
            }
        };
        let n_trusted = self.inner.record().n_trusted();
        Ok(PyCertificates::new(elected.with_idle(self.inner.n_idle()).with_trusted(n_trusted)))
    }

    /// Which samples are decided for a budget: certified, or beyond hope.
    fn decided<'py>(
        &self,
        py: Python<'py>,
        votes: numpy::PyReadonlyArray2<'py, u16>,
        confidence: &Bound<'py, PyConfidence>,
        threat: Asked,
    ) -> PyResult<Bound<'py, PyArray1<bool>>> {
        let ballots = self.ballots(&votes)?;
        let (law, facts) = (&self.inner.record().law, self.inner.record().facts());
        let confidence = confidence.get().asked.for_votes(ballots.n_members(), facts.n_classes)?;
        let threat = asked(threat)?;
        let decided = listening(py, || decided(law, &facts, threat, &confidence, &ballots))?;
        Ok(PyArray1::from_vec(py, decided))
    }
}

impl PyEnsemble {
    fn ballots(&self, votes: &numpy::PyReadonlyArray2<'_, u16>) -> Result<Ballots> {
        Ballots::from_votes(votes.as_array().to_owned(), self.inner.record().n_classes)
    }
}

/// Certificates of a cascade from its levels' ensembles and their votes; every level's law is read from its record.
#[pyfunction]
pub(super) fn certify_ensembles(
    py: Python<'_>,
    ensembles: Vec<PyRef<'_, PyEnsemble>>,
    votes: Vec<numpy::PyReadonlyArray2<'_, u16>>,
    law: PyRef<'_, PyLaw>,
    confidence: &Bound<'_, PyConfidence>,
) -> PyResult<PyCertificates> {
    let (Law::Cascade(cascade), Some(first)) = (law.law(), ensembles.first()) else {
        return Err(Error::parameter("law", "a Cascade with an ensemble for every level", "another").into());
    };
    confidence.get().asked.check_history(ensembles.iter().any(|ensemble| ensemble.grown()))?;
    let first = first.inner.record();
    let same = |(ensemble, law): (&PyRef<'_, PyEnsemble>, &Law)| {
        let expected = Record { law: law.clone(), ..first.clone() };
        *ensemble.inner.record() == expected
    };
    if ensembles.len() != cascade.levels().len() || !ensembles.iter().zip(cascade.levels()).all(same) {
        let expected = "the cascade these ensembles were trained for, level by level";
        return Err(Error::parameter("law", expected, "another").into());
    }
    let before_noise = first.before_noise.clone();
    let certified = certify_levels(py, &votes, &cascade, first.facts(), confidence.get(), before_noise)?;
    Ok(certified.with_trusted(first.n_trusted()))
}
