//! The ensemble for Python: arrays in, votes and certificates out, the interpreter free meanwhile.

use std::path::PathBuf;

use numpy::{PyArray1, PyArray2, PyArray3, PyReadonlyArray1, PyReadonlyArrayDyn};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use super::certificates::{PyCertificates, PyConfidence};
use super::certifying::{certify_levels, Known};
use super::elsewhere;
use super::law::{wrap, PyLaw};
use super::learner::{of_object, value_of};
use super::listen::{calling, holding, listening};
use super::model::backend;
use super::rows::{floats, Samples};
use super::threat::{threat as asked, Asked};
use super::training::Training;
use crate::certify::{decided, Certificates, Choices};
use crate::ensemble::{devices, Control, Ensemble, Progress};
use crate::error::{Error, Result};
use crate::law::{Law, NoiseLaw};
use crate::member::{hex, ArrayTrainingSet, Behaviour, History, Member, Record};
use crate::partition::Election;
use crate::stop::Stop;
use crate::votes::{Ballots, Poll};

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyEnsemble>()?;
    elsewhere::register(module)?;
    module.add_function(wrap_pyfunction!(certify_ensembles, module)?)?;
    module.add_function(wrap_pyfunction!(device_names, module)?)
}

/// Names of the devices that are there.
#[pyfunction]
#[pyo3(name = "devices")]
fn device_names() -> Vec<String> {
    devices()
}

/// Members trained on noised training sets; the Python class `CertifiedClassifier` dresses it.
#[pyclass(name = "Ensemble", module = "certssb._core")]
pub(super) struct PyEnsemble {
    pub(super) inner: Ensemble,
    /// The blueprint of a user's module.
    model: Option<Py<PyAny>>,
}

/// Features and labels of samples that nobody could have changed.
pub(super) type Trusted<'py> = Option<(Samples<'py>, PyReadonlyArray1<'py, i64>)>;

/// Samples as they were before a map, and trusted ones, if there are any.
pub(super) type Received<'py> = Option<(Samples<'py>, Option<Samples<'py>>)>;

pub(super) fn training_set<'a>(
    features: &'a Samples<'_>,
    labels: &PyReadonlyArray1<'_, i64>,
    n_classes: usize,
    trusted: &'a Trusted<'_>,
    received: &'a Received<'_>,
) -> PyResult<ArrayTrainingSet<'a>> {
    let own =
        |features: &'a Samples<'_>, labels: &PyReadonlyArray1<'_, i64>, received: Option<&'a Samples<'_>>| {
            let labels = labels.as_array().to_vec().into_iter();
            let labels: Vec<u32> = labels.map(|y| u32::try_from(y).unwrap_or(u32::MAX)).collect();
            let set = ArrayTrainingSet::new(features.inputs()?, labels, n_classes)?;
            PyResult::Ok(match received {
                Some(received) => set.with_received(received.inputs()?)?,
                None => set,
            })
        };
    let set = own(features, labels, received.as_ref().map(|(received, _)| received))?;
    let of_trusted = received.as_ref().and_then(|(_, trusted)| trusted.as_ref());
    match trusted {
        None => Ok(set),
        Some((features, labels)) => Ok(set.with_trusted(own(features, labels, of_trusted)?)),
    }
}

/// What members that were forgotten said: of which inputs, how many, and each member's votes as bytes.
type Said = (String, usize, Vec<(u64, Vec<u8>)>);

/// Members that drew each sample, differences and their standard errors.
type Influences<'py> = (Bound<'py, PyArray1<u32>>, Bound<'py, PyArray2<f64>>, Bound<'py, PyArray2<f64>>);

/// Runs long work without the interpreter; reports progress to `report(done, total)`.
pub(super) fn watched<T: Send>(
    py: Python<'_>,
    report: Option<Py<PyAny>>,
    work: impl FnOnce(&Control<'_>) -> Result<T> + Send,
) -> PyResult<T> {
    calling(py, |raised| {
        let stop = Stop::current();
        let tell = |progress: &Progress| {
            if let Some(report) = &report {
                raised.by(|py| report.call1(py, (progress.done, progress.total)).map(drop));
            }
        };
        let control = Control::new().on_progress(tell).on_poll(|| raised.is_some() || stop.is_set());
        work(&control)
    })
}

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
    fn grown(&self) -> bool {
        self.inner.history().grown()
    }

    /// How the number of members came about, as JSON.
    fn history(&self) -> PyResult<String> {
        json(&self.inner.history())
    }

    /// Takes over a history of the same members.
    fn recall(&self, history: &str) -> PyResult<()> {
        self.inner.recall(&parse_history(history)?);
        Ok(())
    }

    /// A digest of everything that is known of each trained member, by number.
    fn digests(&self, py: Python<'_>) -> PyResult<Vec<(u64, String)>> {
        listening(py, || self.inner.digests())
    }

    /// A digest of the record.
    fn record_digest(&self) -> PyResult<String> {
        Ok(self.inner.record().digest()?)
    }

    /// Takes over the members of another ensemble if both have the same record; says whether it did.
    fn adopt(&mut self, other: PyRef<'_, PyEnsemble>) -> PyResult<bool> {
        let same = self.inner.record() == other.inner.record();
        if same {
            self.inner.recall(&other.inner.history());
            self.inner.recall_parts(other.inner.trained_on().to_vec());
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

    /// How many members are in memory at the same time where they are forgotten when they have voted.
    fn part(&self) -> usize {
        self.inner.part()
    }

    /// Says to how many members a training in parts comes; None ends that.
    #[pyo3(signature = (n_members=None))]
    fn come_to(&mut self, n_members: Option<u64>) {
        self.inner.come_to(n_members);
    }

    /// The first of so many members that is not there.
    fn next_missing(&self, n_members: u64) -> Option<u64> {
        self.inner.next_missing(n_members)
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

    /// Whether members were forgotten when they had voted.
    #[getter]
    fn forgets(&self) -> bool {
        self.inner.forgets()
    }

    /// Whether members whose values a checkpoint has are read from there when they are asked.
    fn keep_on_disk(&mut self, on_disk: bool) {
        self.inner.keep_on_disk(on_disk);
    }

    /// Digests of what a partition's learners were trained on, by number, in hexadecimal.
    fn trained_on(&self) -> Vec<String> {
        self.inner.trained_on().iter().map(|digest| hex(digest)).collect()
    }

    /// Takes over such digests, for the same members.
    fn recall_parts(&mut self, digests: Vec<String>) -> PyResult<()> {
        let digests: Result<Vec<[u8; 32]>> = digests.iter().map(|digest| unhex(digest)).collect();
        self.inner.recall_parts(digests?);
        Ok(())
    }

    /// Samples that every member saw as they are.
    #[getter]
    fn n_trusted(&self) -> usize {
        self.inner.record().n_trusted()
    }

    /// Learners of a partition with too few samples, each of which votes for a fixed class.
    #[getter]
    fn n_idle(&self) -> usize {
        self.inner.n_idle()
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

    /// The law from which the members' training sets are drawn.
    #[getter]
    fn law(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        wrap(py, self.inner.record().law.clone())
    }

    #[getter]
    fn n_members(&self) -> usize {
        self.inner.n_members()
    }

    /// Members whose training diverged, which vote for the lowest class.
    #[getter]
    fn n_failed(&self) -> usize {
        self.inner.n_failed()
    }

    /// Members for which no samples were drawn, or too few to train on, which vote for the lowest class.
    #[getter]
    fn n_empty(&self) -> usize {
        self.inner.n_empty()
    }

    /// Whether that is true of this one.
    fn is_failed(&self, member: u64) -> bool {
        self.inner.members().any(|known| known.number == member && known.is_failed())
    }

    /// How members were trained last: together at first and at the end, threads, and why stacks were given up.
    #[getter]
    fn execution(&self) -> Option<(usize, usize, usize, Option<String>)> {
        let known = self.inner.execution()?;
        Some((known.stack, known.smallest, known.side_by_side, known.failure.clone()))
    }

    /// Everything that decides what members are, as JSON.
    fn record(&self) -> PyResult<String> {
        json(self.inner.record())
    }

    /// Names of a member's parameters.
    fn parameter_names(&self) -> Vec<String> {
        self.inner.layout().specs().iter().map(|spec| spec.name.clone()).collect()
    }

    /// All values of one member, trained ones first.
    fn values<'py>(&self, py: Python<'py>, member: u64) -> PyResult<Option<Bound<'py, PyArray1<f32>>>> {
        let Some(member) = self.inner.members().find(|known| known.number == member) else {
            return Ok(None);
        };
        Ok(Some(PyArray1::from_slice(py, &self.inner.fetch(member)?.values)))
    }

    /// One member as its learner made it: an object, or all its values.
    fn member<'py>(&self, py: Python<'py>, member: u64) -> PyResult<Option<Bound<'py, PyAny>>> {
        let member = self.inner.members().find(|known| known.number == member);
        member.map(|member| value_of(py, &self.inner.fetch(member)?)).transpose()
    }

    /// One parameter of one member.
    fn parameter<'py>(
        &self,
        py: Python<'py>,
        member: u64,
        name: &str,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some((shape, values)) = self.inner.parameter(member, name)? else {
            return Ok(None);
        };
        let flat = PyArray1::from_vec(py, values);
        Ok(Some(flat.call_method1("reshape", (PyTuple::new(py, shape)?,))?))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let py = slf.py();
        let this = slf.borrow();
        let members = PyList::empty(py);
        for member in this.inner.trained() {
            if let Some(digest) = member.values.digest_of_forgotten() {
                members.append((member.number, member.loss, digest))?;
                continue;
            }
            members.append((member.number, member.loss, value_of(py, &this.inner.fetch(member)?)?))?;
        }
        let rebuild = py.get_type::<Self>().getattr("from_parts")?;
        let model = this.model(py).into_pyobject(py)?;
        let history = this.history()?.into_pyobject(py)?.into_any();
        let behaviour = this.inner.record().behaviour.0.clone().into_pyobject(py)?;
        let record = this.record()?.into_pyobject(py)?.into_any();
        let trained_on = this.trained_on().into_pyobject(py)?;
        let (asked, n, rows) = this.inner.said();
        let rows: Vec<_> = rows.into_iter().map(|(number, row)| (number, PyBytes::new(py, &row))).collect();
        let said = (asked, n, rows).into_pyobject(py)?.into_any();
        let parts = [record, members.into_any(), model, history, behaviour, trained_on, said];
        Ok((rebuild, PyTuple::new(py, parts)?))
    }

    /// An ensemble from its record and members, as a pickle holds them.
    #[staticmethod]
    #[pyo3(signature = (record, members, model=None, history=None, behaviour=Vec::new(), trained_on=Vec::new(), said=None))]
    fn from_parts(
        record: &str,
        members: Vec<(u64, f32, Bound<'_, PyAny>)>,
        model: Option<&Bound<'_, PyAny>>,
        history: Option<&str>,
        behaviour: Vec<Vec<f32>>,
        trained_on: Vec<String>,
        said: Option<Said>,
    ) -> PyResult<Self> {
        let record: Record = serde_json::from_str(record)
            .map_err(|e| Error::parameter("record", "the record of an ensemble", e))?;
        let record = Record { behaviour: Behaviour(behaviour), ..record };
        let mut inner = match model {
            None => Ensemble::of_record(record)?,
            Some(model) => match backend(model)? {
                Some(own) => Ensemble::of_record_with(record, own)?,
                None => Ensemble::of_record(record)?,
            },
        };
        if let Some(history) = history {
            inner.recall(&parse_history(history)?);
        }
        if let Some(said) = said {
            inner.recall_said(said);
        }
        for (number, loss, values) in members {
            if let Ok(digest) = values.extract::<String>() {
                inner.insert_forgotten(number, loss, digest);
                continue;
            }
            let values = match (values.extract::<PyReadonlyArray1<'_, f32>>(), model) {
                (Ok(values), _) => values.as_slice()?.into(),
                (Err(_), Some(model)) => of_object(values.unbind(), model.clone().unbind()),
                (Err(error), None) => return Err(error),
            };
            inner.insert(Member { number, loss, values })?;
        }
        inner.recall_parts(trained_on.iter().map(|digest| unhex(digest)).collect::<Result<_>>()?);
        Ok(Self { inner, model: model.cloned().and_then(|model| own_module(&model)) })
    }

    /// Writes all members into a directory, as a checkpoint holds them.
    fn save(&self, py: Python<'_>, folder: PathBuf) -> PyResult<()> {
        listening(py, || self.inner.save(&folder))
    }

    /// The ensemble in a directory.
    #[staticmethod]
    #[pyo3(signature = (folder, device, n_jobs=None, model=None, on_disk=false))]
    fn open(
        py: Python<'_>,
        folder: PathBuf,
        device: &str,
        n_jobs: Option<usize>,
        model: Option<&Bound<'_, PyAny>>,
        on_disk: bool,
    ) -> PyResult<Self> {
        let Some(given) = model else {
            let inner = listening(py, || Ensemble::open_as(&folder, device, n_jobs, on_disk))?;
            return Ok(Self { inner, model: None });
        };
        let own = backend(given)?;
        let inner = listening(py, || match own {
            Some(own) => Ensemble::open_with(&folder, own, device, n_jobs, on_disk),
            None => Ensemble::open_as(&folder, device, n_jobs, on_disk),
        })?;
        Ok(Self { inner, model: own_module(given) })
    }

    /// The record of a directory, as JSON.
    #[staticmethod]
    fn record_of(folder: PathBuf) -> PyResult<String> {
        json(&Ensemble::read_record(&folder)?)
    }

    /// A digest of the record of a directory.
    #[staticmethod]
    fn record_digest_of(folder: PathBuf) -> PyResult<String> {
        Ok(Ensemble::read_record(&folder)?.digest()?)
    }

    /// What makes the same ensemble, and what it is made of, without members and without data.
    fn bare<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let (py, this) = (slf.py(), slf.borrow());
        let rebuild = py.get_type::<Self>().getattr("from_parts")?;
        let (record, model) = (this.record()?, this.model(py));
        let behaviour = this.inner.record().behaviour.0.clone();
        let parts = (record, PyList::empty(py), model, this.history()?, behaviour);
        Ok((rebuild, parts.into_pyobject(py)?))
    }

    /// Numbers of the members in the groups in which they are asked.
    fn groups(&self) -> Vec<Vec<u64>> {
        self.inner.groups()
    }

    /// Whether the law's certificates rest on no assumption; the published form of sample-specific noise asks one member first.
    #[getter]
    fn sound(&self) -> bool {
        self.inner.record().law.sound()
    }

    /// How many members are computed together, where that was asked for.
    #[getter]
    fn stack(&self) -> Option<usize> {
        self.inner.stack()
    }

    /// Members as bytes: all of them, or those with the given numbers.
    #[pyo3(signature = (numbers=None))]
    fn pack<'py>(
        &self,
        py: Python<'py>,
        numbers: Option<Vec<u64>>,
    ) -> PyResult<Vec<(u64, Bound<'py, PyBytes>)>> {
        let packed = listening(py, || self.inner.pack(numbers.as_deref()))?;
        Ok(packed.into_iter().map(|(number, bytes)| (number, PyBytes::new(py, &bytes))).collect())
    }

    /// Takes over members as they were packed.
    fn unpack(&mut self, py: Python<'_>, packed: Vec<(u64, PyBackedBytes)>) -> PyResult<()> {
        let inner = &mut self.inner;
        listening(py, || packed.iter().try_for_each(|(number, bytes)| inner.unpack(*number, bytes)))
    }

    /// The noise magnitudes of the training samples under the published form.
    fn sigmas<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyArray1<f32>>> {
        self.inner.sigmas().map(|sigmas| PyArray1::from_slice(py, sigmas))
    }

    /// Takes them over.
    fn recall_sigmas(&mut self, sigmas: Vec<f32>) {
        self.inner.recall_sigmas(sigmas);
    }

    /// Takes over the magnitudes of the inputs that are going to be asked about, under the published form.
    fn recall_magnitudes(&mut self, magnitudes: Vec<f32>) {
        self.inner.recall_magnitudes(magnitudes);
    }

    /// The blueprint of the user's module, if the members are such.
    #[getter]
    fn model(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.model.as_ref().map(|model| model.clone_ref(py))
    }
}

/// A digest of what a learner was trained on, as it was before it was written.
fn unhex(digest: &str) -> Result<[u8; 32]> {
    let wrong = || Error::parameter("trained_on", "digests of 64 hexadecimal digits", digest);
    let mut bytes = [0; 32];
    if digest.len() != 64 || !digest.is_ascii() {
        return Err(wrong());
    }
    for (place, byte) in bytes.iter_mut().enumerate() {
        let digits = digest.get(2 * place..2 * place + 2).ok_or_else(wrong)?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
    }
    Ok(bytes)
}

/// The blueprint of a user's module; nothing for the name of a built-in.
fn own_module(model: &Bound<'_, PyAny>) -> Option<Py<PyAny>> {
    (!model.is_instance_of::<PyString>()).then(|| model.clone().unbind())
}

fn json(facts: &impl serde::Serialize) -> PyResult<String> {
    let text = serde_json::to_string(facts);
    Ok(text.map_err(|e| Error::parameter("record", "a record that can be written", e))?)
}

fn parse_history(text: &str) -> Result<History> {
    serde_json::from_str(text).map_err(|e| Error::parameter("history", "the history of an ensemble", e))
}

impl PyEnsemble {
    fn ballots(&self, votes: &numpy::PyReadonlyArray2<'_, u16>) -> Result<Ballots> {
        Ballots::from_votes(votes.as_array().to_owned(), self.inner.record().n_classes)
    }
}

/// Certificates of a cascade from its levels' ensembles and their votes; every level's law is read from its record.
#[pyfunction]
fn certify_ensembles(
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
