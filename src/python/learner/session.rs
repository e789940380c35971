//! One thread of the core that trains a learner's members.

use std::borrow::Cow;
use std::sync::Arc;

use numpy::{PyArray1, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use rand::Rng;

use super::job::Job;
use super::object::{of_object, value_of};
use super::panel::Voters;
use super::{called, Learner};
use crate::backend::{Fit, Flag, NoisySet, Panel, Session};
use crate::error::{Error, Result};
use crate::member::{FeatureShape, Member, Settings};
use crate::python::fork::at_work;
use crate::seed::{Role, Seed};

/// One thread of the core.
pub(super) struct Thread<'a> {
    pub(super) learner: &'a Learner,
    pub(super) settings: Settings,
    /// Dimensions of a sample.
    pub(super) shape: Vec<usize>,
    pub(super) sample: FeatureShape,
}

impl Thread<'_> {
    pub(super) fn job(&self, numbers: &[u64], stop: &Flag) -> Job {
        Job {
            numbers: numbers.to_vec(),
            device: self.settings.device.to_string(),
            n_classes: 0,
            epochs: self.settings.epochs,
            batch_size: self.settings.batch_size,
            learning_rate: self.settings.learning_rate,
            precision: self.settings.precision.name(),
            init_seeds: Vec::new(),
            model_seeds: Vec::new(),
            search: None,
            seed: Seed::new(0),
            n: 0,
            shape: self.sample,
            settings: self.settings.clone(),
            stop: Arc::clone(stop),
        }
    }
}

/// An array of shape (lead..., features...).
pub(super) fn array<'py, T: numpy::Element>(
    py: Python<'py>,
    values: &[T],
    lead: &[usize],
    shape: &[usize],
) -> PyResult<Bound<'py, PyAny>> {
    let whole = PyTuple::new(py, [lead, shape].concat())?;
    PyArray1::from_slice(py, values).call_method1("reshape", (whole,))
}

impl Session for Thread<'_> {
    fn fit(&mut self, job: Fit<'_>, set: Cow<'_, NoisySet>, stop: &Flag) -> Result<Vec<Member>> {
        let (numbers, n) = (job.members, set.n());
        let first = numbers.first().copied().unwrap_or(0);
        let word = |role| numbers.iter().map(|&m| job.seed.stream(role, m, 0).next_u64()).collect();
        let told = Job {
            n_classes: job.n_classes,
            init_seeds: word(Role::Weights),
            model_seeds: word(Role::Model),
            seed: job.seed,
            n,
            // One that goes before a map knows these members' samples.
            settings: job.settings.clone(),
            ..self.job(numbers, stop)
        };
        let train = |py: Python<'_>| -> PyResult<Option<Vec<Member>>> {
            let _at_work = at_work(py);
            let x = array(py, set.features(), &[numbers.len(), n], &self.shape)?;
            let y = array(py, set.labels(), &[numbers.len(), n], &[])?;
            drop(set);
            let answer = self.learner.object.bind(py).call_method1("train", (told, x, y))?;
            if answer.is_none() {
                return Ok(None);
            }
            let (values, losses): (Bound<'_, PyAny>, PyReadonlyArray1<'_, f32>) = answer.extract()?;
            let losses = losses.to_vec()?;
            if losses.len() != numbers.len() {
                return Err(
                    Error::shape("losses", format_args!("{} losses", numbers.len()), losses.len()).into()
                );
            }
            self.members(numbers, &values, &losses).map(Some)
        };
        called(first, Python::attach(train))
    }

    fn panel<'s>(&'s mut self, members: &'s [&'s Member]) -> Result<Box<dyn Panel + 's>> {
        let first = members.first().map_or(0, |member| member.number);
        let values = |py: Python<'_>| -> PyResult<Option<Vec<Py<PyAny>>>> {
            let value = |member: &&Member| value_of(py, member).map(Bound::unbind);
            members.iter().map(value).collect::<PyResult<_>>().map(Some)
        };
        let values = called(first, Python::attach(values))?;
        Ok(Box::new(Voters { thread: self, members, values }))
    }
}

impl Thread<'_> {
    fn members(&self, numbers: &[u64], values: &Bound<'_, PyAny>, losses: &[f32]) -> PyResult<Vec<Member>> {
        let (mut members, n_values) = (Vec::with_capacity(numbers.len()), self.learner.layout.n_values());
        if self.learner.objects {
            let objects: Vec<Py<PyAny>> = values.extract()?;
            for ((&number, &loss), object) in numbers.iter().zip(losses).zip(objects) {
                members.push(match loss.is_finite() {
                    true => Member {
                        number,
                        loss,
                        values: of_object(object, self.learner.object.clone_ref(values.py())),
                    },
                    false => Member::failed(number, 0),
                });
            }
        } else {
            let table: PyReadonlyArray2<'_, f32> = values.extract()?;
            let expected = [numbers.len(), n_values];
            if table.shape() != expected {
                let got = format_args!("shape {:?}", table.shape());
                return Err(Error::shape("values", format_args!("shape {expected:?}"), got).into());
            }
            for ((&number, &loss), row) in numbers.iter().zip(losses).zip(table.as_array().rows()) {
                members.push(Member::finished(number, row.to_vec(), loss));
            }
        }
        if members.len() != numbers.len() {
            let expected = format_args!("{} members", numbers.len());
            return Err(Error::shape("values", expected, members.len()).into());
        }
        Ok(members)
    }
}
