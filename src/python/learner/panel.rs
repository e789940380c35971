//! A learner's members in front of test inputs: votes, scores, searches for noise magnitudes.

use numpy::{PyArray1, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray3, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::called;
use super::job::Job;
use super::session::{array, Thread};
use crate::backend::{go_on, log_mean_scores, Batch, Flag, Panel, Search};
use crate::error::{Error, Result};
use crate::member::Member;
use crate::noise::unit_normals;
use crate::python::fork::at_work;
use crate::quantity::Quantity;
use crate::seed::Role;

/// Noisy copies of test inputs in one call.
const COPIES: usize = 4096;

/// Members in front of test inputs.
pub(super) struct Voters<'a> {
    pub(super) thread: &'a Thread<'a>,
    pub(super) members: &'a [&'a Member],
    pub(super) values: Vec<Py<PyAny>>,
}

impl Voters<'_> {
    fn ask(
        &self,
        places: std::ops::Range<usize>,
        values: &[f32],
        lead: &[usize],
        stop: &Flag,
    ) -> Result<Vec<f32>> {
        let numbers: Vec<u64> =
            self.members.get(places.clone()).unwrap_or_default().iter().map(|m| m.number).collect();
        let rows = lead.last().copied().unwrap_or(0);
        let answer = |py: Python<'_>| -> PyResult<Option<Vec<f32>>> {
            let _at_work = at_work(py);
            let members = PyList::new(py, self.values.get(places).unwrap_or_default())?;
            let x = array(py, values, lead, &self.thread.shape)?;
            let job = self.thread.job(&numbers, stop);
            let answer = self.thread.learner.object.bind(py).call_method1("ask", (job, members, x))?;
            if answer.is_none() {
                return Ok(None);
            }
            let logits: PyReadonlyArray3<'_, f32> = answer.extract()?;
            if logits.shape().get(..2) != Some(&[numbers.len(), rows][..]) {
                let expected = format_args!("shape ({}, {rows}, n_classes)", numbers.len());
                return Err(Error::shape("logits", expected, format_args!("{:?}", logits.shape())).into());
            }
            Ok(Some(logits.as_array().iter().copied().collect()))
        };
        called(numbers.first().copied().unwrap_or(0), Python::attach(answer))
    }

    fn number(&self, place: usize) -> u64 {
        self.members.get(place).map_or(0, |member| member.number)
    }
}

impl Panel for Voters<'_> {
    fn logits(&mut self, batch: Batch<'_>, stop: &Flag) -> Result<Vec<f32>> {
        go_on(stop)?;
        let lead = if batch.shared { vec![batch.rows] } else { vec![self.members.len(), batch.rows] };
        self.ask(0..self.members.len(), batch.values, &lead, stop)
    }

    fn magnitudes(
        &mut self,
        place: usize,
        rows: &[&[f32]],
        labels: Option<&[usize]>,
        search: Search<'_>,
        stop: &Flag,
    ) -> Result<Vec<f32>> {
        let (number, size) = (self.number(place), rows.first().map_or(0, |row| row.len()));
        let spec = search.search;
        let mut noise = vec![0.0; spec.steps * spec.samples * size];
        unit_normals(&search.seed.member(Role::Optimise, number), 0, &mut noise);
        let found = |py: Python<'_>| -> PyResult<Option<Vec<f32>>> {
            let _at_work = at_work(py);
            let told = PyDict::new(py);
            let scales =
                [("start", spec.start), ("sigma_min", spec.sigma_min), ("sigma_max", spec.sigma_max)];
            for (name, scale) in scales {
                told.set_item(name, scale.get())?;
            }
            told.set_item("learning_rate", spec.learning_rate.get())?;
            told.set_item("steps", spec.steps)?;
            told.set_item("samples", spec.samples)?;
            let job = Job { search: Some(told.unbind()), ..self.thread.job(&[number], stop) };
            let x = array(py, &rows.concat(), &[rows.len()], &self.thread.shape)?;
            let classes: Option<Vec<i64>> = labels.map(|own| own.iter().map(|label| *label as i64).collect());
            let classes = classes.map(|classes| PyArray1::from_vec(py, classes));
            let noise = array(py, &noise, &[spec.steps, spec.samples], &self.thread.shape)?;
            let value = self.values.get(place).map(|value| value.bind(py));
            let learner = self.thread.learner.object.bind(py);
            let answer = learner.call_method1("search", (job, value, x, classes, noise))?;
            if answer.is_none() {
                return Ok(None);
            }
            let sigmas = answer.extract::<PyReadonlyArray1<'_, f32>>()?.to_vec()?;
            if sigmas.len() != rows.len() {
                return Err(
                    Error::shape("magnitudes", format_args!("{} of them", rows.len()), sigmas.len()).into()
                );
            }
            Ok(Some(sigmas))
        };
        called(number, Python::attach(found))
    }

    fn log_scores(
        &mut self,
        place: usize,
        rows: &[&[f32]],
        sigmas: &[f32],
        search: Search<'_>,
        stop: &Flag,
    ) -> Result<Vec<f32>> {
        let (copies, size) = (search.search.samples, rows.first().map_or(0, |row| row.len()));
        let mut noise = vec![0.0; copies * size];
        unit_normals(&search.seed.member(Role::TestNoise, self.number(place)), 0, &mut noise);
        let together = (COPIES / copies.max(1)).max(1);
        let mut scores = Vec::new();
        for (rows, sigmas) in rows.chunks(together).zip(sigmas.chunks(together)) {
            go_on(stop)?;
            let mut noisy = Vec::with_capacity(rows.len() * copies * size);
            for (row, sigma) in rows.iter().zip(sigmas) {
                for e in noise.chunks_exact(size.max(1)) {
                    noisy.extend(row.iter().zip(e).map(|(value, e)| value + sigma * e));
                }
            }
            let known = rows.len() * copies;
            let whole = known.next_multiple_of(self.thread.learner.batch);
            noisy.resize(whole * size, 0.0);
            let mut logits = self.ask(place..place + 1, &noisy, &[whole], stop)?;
            let k = logits.len() / whole.max(1);
            logits.truncate(known * k);
            scores.extend(log_mean_scores(&mut logits, copies, k));
        }
        Ok(scores)
    }
}
