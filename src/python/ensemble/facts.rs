//! What is known of an ensemble and its members.

use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::{json, PyEnsemble};
use crate::python::law::wrap;
use crate::python::learner::value_of;
use crate::python::listen::listening;

#[pymethods]
impl PyEnsemble {
    /// A digest of everything that is known of each trained member, by number.
    fn digests(&self, py: Python<'_>) -> PyResult<Vec<(u64, String)>> {
        listening(py, || self.inner.digests())
    }

    /// A digest of the record.
    fn record_digest(&self) -> PyResult<String> {
        Ok(self.inner.record().digest()?)
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
    pub(super) fn record(&self) -> PyResult<String> {
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

    /// The blueprint of the user's module, if the members are such.
    #[getter]
    pub(super) fn model(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.model.as_ref().map(|model| model.clone_ref(py))
    }
}
