//! Members on their way to and from pickles, folders and other processes.

use std::path::PathBuf;

use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyList, PyTuple};

use super::{json, own_module, parse_history, PyEnsemble};
use crate::ensemble::Ensemble;
use crate::error::{Error, Result};
use crate::member::{hex, Behaviour, Member, Record};
use crate::python::learner::{of_object, value_of};
use crate::python::listen::listening;
use crate::python::model::backend;

/// What members that were forgotten said: of which inputs, how many, and each member's votes as bytes.
type Said = (String, usize, Vec<(u64, Vec<u8>)>);

#[pymethods]
impl PyEnsemble {
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
}

/// A digest of what a learner was trained on, as it was before it was written.
fn unhex(digest: &str) -> Result<[u8; 32]> {
    let wrong = || Error::parameter("trained_on", "digests of 64 hexadecimal digits", digest);
    crate::member::unhex(digest).ok_or_else(wrong)
}
