//! Training: alone, in parts, beside a checkpoint, and what was decided meanwhile.

use std::path::PathBuf;

use numpy::{PyReadonlyArray1, PyReadonlyArrayDyn};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::{json, own_module, parse_history, training_set, watched, PyEnsemble, Received, Trusted};
use crate::ensemble::Ensemble;
use crate::python::law::PyLaw;
use crate::python::listen::listening;
use crate::python::rows::{floats, Samples};
use crate::python::training::Training;

#[pymethods]
impl PyEnsemble {
    #[new]
    #[pyo3(signature = (features, labels, n_classes, law, *, trusted=None, received=None, **settings))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        features: Samples<'_>,
        labels: PyReadonlyArray1<'_, i64>,
        n_classes: usize,
        law: PyRef<'_, PyLaw>,
        trusted: Trusted<'_>,
        received: Received<'_>,
        settings: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let data = training_set(&features, &labels, n_classes, &trusted, &received)?;
        let Training { config, own, model } = Training::named(settings, py)?;
        let law = law.law();
        let inner = listening(py, || match own {
            Some(own) => Ensemble::with_backend(&data, law, &config, own),
            None => Ensemble::new(&data, law, &config),
        })?;
        Ok(Self { inner, model: own_module(model.bind(py)) })
    }

    /// Trains what is missing of the members 0 .. n_members; finished ones are kept whatever happens. `received` are the
    /// samples, and trusted ones, as they were before the map, where an augmentation goes before it.
    #[pyo3(signature = (features, labels, n_members, checkpoint=None, report=None, trusted=None, received=None))]
    #[allow(clippy::too_many_arguments)]
    fn train(
        &mut self,
        py: Python<'_>,
        features: Samples<'_>,
        labels: PyReadonlyArray1<'_, i64>,
        n_members: u64,
        checkpoint: Option<PathBuf>,
        report: Option<Py<PyAny>>,
        trusted: Trusted<'_>,
        received: Received<'_>,
    ) -> PyResult<()> {
        let data = training_set(&features, &labels, self.inner.record().n_classes, &trusted, &received)?;
        let inner = &mut self.inner;
        watched(py, report, |control| inner.train(&data, n_members, checkpoint.as_deref(), control))
    }

    /// Trains these members alone, for a comparison with those that somebody else trained.
    #[pyo3(signature = (features, labels, numbers, report=None, trusted=None, received=None))]
    #[allow(clippy::too_many_arguments)]
    fn train_these(
        &mut self,
        py: Python<'_>,
        features: Samples<'_>,
        labels: PyReadonlyArray1<'_, i64>,
        numbers: Vec<u64>,
        report: Option<Py<PyAny>>,
        trusted: Trusted<'_>,
        received: Received<'_>,
    ) -> PyResult<()> {
        let data = training_set(&features, &labels, self.inner.record().n_classes, &trusted, &received)?;
        let inner = &mut self.inner;
        watched(py, report, |control| inner.train_these(&data, &numbers, control))
    }

    /// Begins a checkpoint directory, or finds it begun for the same members.
    fn begin(&self, py: Python<'_>, checkpoint: PathBuf) -> PyResult<()> {
        listening(py, || self.inner.begin(&checkpoint))
    }

    /// Says that so many members are going to be asked for; whether that makes this a grown ensemble.
    #[pyo3(signature = (n_members, checkpoint=None))]
    fn plan(&self, py: Python<'_>, n_members: u64, checkpoint: Option<PathBuf>) -> PyResult<bool> {
        listening(py, || self.inner.plan(n_members, checkpoint.as_deref()))
    }

    /// Says that answers of all members are about to be seen.
    #[pyo3(signature = (checkpoint=None))]
    fn see(&self, py: Python<'_>, checkpoint: Option<PathBuf>) -> PyResult<()> {
        listening(py, || self.inner.see(checkpoint.as_deref()))
    }

    /// Says that answers decide on the number of members.
    #[pyo3(signature = (checkpoint=None))]
    fn grow(&self, py: Python<'_>, checkpoint: Option<PathBuf>) -> PyResult<()> {
        listening(py, || self.inner.grow(checkpoint.as_deref()))
    }

    /// Whether a number of members was chosen after a look at answers.
    #[getter]
    pub(super) fn grown(&self) -> bool {
        self.inner.history().grown()
    }

    /// How the number of members came about, as JSON.
    pub(super) fn history(&self) -> PyResult<String> {
        json(&self.inner.history())
    }

    /// Takes over a history of the same members.
    fn recall(&self, history: &str) -> PyResult<()> {
        self.inner.recall(&parse_history(history)?);
        Ok(())
    }

    /// Takes over the members of another ensemble if both have the same record; says whether it did.
    fn adopt(&mut self, other: PyRef<'_, PyEnsemble>) -> PyResult<bool> {
        let same = self.inner.record() == other.inner.record();
        if same {
            self.inner.recall(&other.inner.history());
            self.inner.adopt_parts(&other.inner);
            for member in other.inner.trained() {
                self.inner.insert(member.clone())?;
            }
            if other.inner.forgets() {
                self.inner.recall_said(other.inner.said());
            }
        }
        Ok(same)
    }

    /// Gives an ensemble that has no members another root seed.
    fn reseed(&mut self, seed: u64) -> PyResult<()> {
        Ok(self.inner.reseed(seed)?)
    }

    /// Takes back the members that were trained here, since they turned out not to be independent.
    #[pyo3(signature = (checkpoint=None))]
    fn discard_new(&mut self, checkpoint: Option<PathBuf>) -> PyResult<()> {
        Ok(self.inner.discard_new(checkpoint.as_deref())?)
    }

    fn truncate(&mut self, n_members: u64) {
        self.inner.truncate(n_members);
    }

    #[pyo3(signature = (device, n_jobs=None, stack=None))]
    fn reconfigure(&mut self, device: &str, n_jobs: Option<usize>, stack: Option<usize>) -> PyResult<()> {
        Ok(self.inner.reconfigure(device, n_jobs, stack)?)
    }

    /// Takes over those learners of an earlier ensemble whose samples are the same in these data; how many.
    #[pyo3(signature = (earlier, features, labels, trusted=None, received=None))]
    #[allow(clippy::too_many_arguments)]
    fn keep_unchanged(
        &mut self,
        py: Python<'_>,
        earlier: PyRef<'_, PyEnsemble>,
        features: Samples<'_>,
        labels: PyReadonlyArray1<'_, i64>,
        trusted: Trusted<'_>,
        received: Received<'_>,
    ) -> PyResult<usize> {
        let data = training_set(&features, &labels, self.inner.record().n_classes, &trusted, &received)?;
        let (inner, earlier) = (&mut self.inner, &earlier.inner);
        listening(py, || inner.keep_unchanged(earlier, &data))
    }

    /// Makes a checkpoint of learners on other data one of these data; how many learners stay.
    #[pyo3(signature = (checkpoint, features, labels, trusted=None, received=None))]
    #[allow(clippy::too_many_arguments)]
    fn follow(
        &mut self,
        py: Python<'_>,
        checkpoint: PathBuf,
        features: Samples<'_>,
        labels: PyReadonlyArray1<'_, i64>,
        trusted: Trusted<'_>,
        received: Received<'_>,
    ) -> PyResult<usize> {
        let data = training_set(&features, &labels, self.inner.record().n_classes, &trusted, &received)?;
        let inner = &mut self.inner;
        listening(py, || inner.follow(&checkpoint, &data))
    }

    /// Says to how many members a training in parts comes, and which checkpoint gets their votes; None ends that.
    #[pyo3(signature = (n_members=None, checkpoint=None))]
    fn come_to(
        &mut self,
        py: Python<'_>,
        n_members: Option<u64>,
        checkpoint: Option<PathBuf>,
    ) -> PyResult<()> {
        let inner = &mut self.inner;
        listening(py, || inner.come_to(n_members, checkpoint.as_deref()))
    }

    /// Members that the next call of `train` trains of so many; none while others are training all that are missing, None if nobody is.
    #[pyo3(signature = (n_members, report=None))]
    fn next_part(
        &mut self,
        py: Python<'_>,
        n_members: u64,
        report: Option<Py<PyAny>>,
    ) -> PyResult<Option<Vec<u64>>> {
        let inner = &mut self.inner;
        watched(py, report, |control| inner.next_part(n_members, control))
    }

    /// Takes over votes on these inputs that a checkpoint has.
    #[pyo3(signature = (features, n_members, checkpoint=None))]
    fn recall_votes(
        &mut self,
        py: Python<'_>,
        features: PyReadonlyArrayDyn<'_, f32>,
        n_members: u64,
        checkpoint: Option<PathBuf>,
    ) -> PyResult<()> {
        let inputs = floats(&features)?;
        let inner = &mut self.inner;
        listening(py, || inner.recall_votes(&inputs, n_members, checkpoint.as_deref()))
    }

    /// Members that are in memory vote on the inputs, and are forgotten.
    #[pyo3(signature = (features, checkpoint=None, done=false))]
    fn forget(
        &mut self,
        py: Python<'_>,
        features: PyReadonlyArrayDyn<'_, f32>,
        checkpoint: Option<PathBuf>,
        done: bool,
    ) -> PyResult<()> {
        let inputs = floats(&features)?;
        let inner = &mut self.inner;
        watched(py, None, |control| inner.forget(&inputs, checkpoint.as_deref(), done, control))
    }

    /// Writes votes of members that were forgotten.
    fn keep_votes(&self, py: Python<'_>, numbers: Vec<u64>, checkpoint: PathBuf) -> PyResult<()> {
        listening(py, || self.inner.keep_votes(&numbers, &checkpoint))
    }

    /// Whether members were forgotten when they had voted.
    #[getter]
    fn forgets(&self) -> bool {
        self.inner.forgets()
    }

    /// Whether members whose values a checkpoint has are read from there when they are asked.
    fn keep_on_disk(&mut self, on_disk: bool) {
        self.inner.keep_on_disk(on_disk);
    }
}
