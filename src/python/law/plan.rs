//! What a budget demands of votes, as a Python object.

use pyo3::prelude::*;

use crate::certify::Plan;

/// What a budget demands of the votes; returned by `Law.plan`.
#[pyclass(name = "Plan", module = "certssb", frozen)]
pub(super) struct PyPlan {
    pub(super) plan: Plan,
}

#[pymethods]
impl PyPlan {
    /// How many members are enough if all of them agree; None if no number is enough.
    #[getter]
    fn n_members<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        // As a Python integer, of whatever size.
        self.plan.n_members.map(|n| n.into_pyobject(py)?.call_method0("__int__")).transpose()
    }

    /// How many of 1000 members have to agree; None if all of them would not be enough.
    #[getter]
    fn votes(&self) -> Option<usize> {
        self.plan.votes
    }

    /// Whether any number of members can certify the budget.
    #[getter]
    fn possible(&self) -> bool {
        self.plan.possible()
    }

    /// The largest subsample for which agreement of 95 % of 1000 members is enough; None if there is none.
    #[getter]
    fn suggested_size(&self) -> Option<usize> {
        self.plan.suggestion.map(|(size, _)| size)
    }

    fn __repr__(&self) -> String {
        self.plan.to_string()
    }

    fn _repr_html_(&self) -> String {
        format!("<p><em>{}</em></p>", self.plan)
    }
}
