//! What one thread computes with through torch.

use std::borrow::Cow;

use tch::{Device, Tensor};

use super::calibrate::calibrated;
use super::device::{check_precision, on};
use super::model::{upload, weights_to_vec, Architecture, FlatWeights, Mode, TorchResult};
use super::search::{Ascent, Reference};
use super::train::{fit, how, NoisySets};
use crate::backend::{go_on, Batch, Fit, Flag, NoisySet, Panel, Search, Session};
use crate::error::{Error, Result};
use crate::member::{FeatureShape, Member, Settings};

/// A training error of one member from what torch said: its first line.
pub(super) fn training_error(member: u64, error: &tch::TchError) -> Error {
    let text = match error {
        tch::TchError::Torch(text) => text.clone(),
        other => other.to_string(),
    };
    Error::training(Some(member), text.trim().lines().next().unwrap_or("torch gave no reason"))
}

/// One thread, its device and what it has tried there.
pub(super) struct Thread<'a> {
    architecture: &'a dyn Architecture,
    settings: Settings,
    shape: FeatureShape,
    /// Dimensions of a sample.
    dims: Vec<i64>,
    device: Device,
    /// Whether ways of convolving have been tried.
    tried: bool,
    /// Shared batches of test inputs, by number.
    shared: Vec<Tensor>,
}

impl<'a> Thread<'a> {
    pub(super) fn new(
        architecture: &'a dyn Architecture,
        settings: &Settings,
        shape: FeatureShape,
    ) -> Result<Self> {
        check_precision(settings.device, settings.precision)?;
        let device = on(settings.device);
        let settings = settings.clone();
        Ok(Self {
            architecture,
            settings,
            shape,
            dims: shape.dims(),
            device,
            tried: false,
            shared: Vec::new(),
        })
    }
}

impl Session for Thread<'_> {
    fn fit(&mut self, job: Fit<'_>, set: Cow<'_, NoisySet>, stop: &Flag) -> Result<Vec<Member>> {
        let first = job.members.first().copied().unwrap_or(0);
        let sets =
            NoisySets::of(&set, self.shape, self.device).map_err(|error| training_error(first, &error))?;
        drop(set);
        if self.device != Device::Cpu && !self.tried {
            self.settings = calibrated(self.architecture, Fit { settings: &self.settings, ..job }, &sets);
            self.tried = true;
        }
        fit(self.architecture, Fit { settings: &self.settings, ..job }, &sets, stop)
    }

    fn panel<'s>(&'s mut self, members: &'s [&'s Member]) -> Result<Box<dyn Panel + 's>> {
        let first = members.first().map_or(0, |member| member.number);
        let values: Vec<&[f32]> = members.iter().map(|member| &member.values[..]).collect();
        let weights = FlatWeights::new(self.architecture.layout(), &values, self.device);
        let weights = weights.map_err(|error| training_error(first, &error))?.computing(how(&self.settings));
        let Self { architecture, device, ref dims, ref mut shared, .. } = *self;
        Ok(Box::new(Voters { architecture, dims, device, members, weights, shared }))
    }
}

/// Members in front of test inputs.
struct Voters<'a> {
    architecture: &'a dyn Architecture,
    dims: &'a [i64],
    device: Device,
    members: &'a [&'a Member],
    weights: FlatWeights,
    shared: &'a mut Vec<Tensor>,
}

impl Voters<'_> {
    /// Rows (n, ...), or (S, n, ...), on the device.
    fn tensor(&self, values: &[f32], lead: &[i64]) -> TorchResult<Tensor> {
        let shape = [lead, self.dims].concat();
        Tensor::f_from_slice(values)?.f_view(&shape[..])?.f_to_device(self.device)
    }

    /// One batch for the stack, (S, B, ...).
    fn inputs(&mut self, batch: Batch<'_>) -> TorchResult<Tensor> {
        let (stack, rows) = (self.members.len() as i64, batch.rows as i64);
        if !batch.shared {
            let lead = if stack == 1 { vec![rows] } else { vec![stack, rows] };
            return self.tensor(batch.values, &lead);
        }
        if self.shared.len() == batch.number {
            let one = self.tensor(batch.values, &[rows])?;
            self.shared.push(one);
        }
        let one = self.shared.get(batch.number).map(Tensor::shallow_clone);
        let one = one.map_or_else(|| self.tensor(batch.values, &[rows]), Ok)?;
        if stack == 1 {
            return Ok(one);
        }
        let shape: Vec<i64> = std::iter::once(stack).chain(one.size()).collect();
        one.f_unsqueeze(0)?.f_expand(&shape[..], false)
    }

    /// Evaluates `ask` with the member at `place` as one that searches, and its rows.
    fn searching(
        &self,
        place: usize,
        rows: &[&[f32]],
        search: Search<'_>,
        ask: impl FnOnce(&Ascent<'_>, &Tensor) -> Result<Tensor>,
    ) -> Result<Vec<f32>> {
        let member = self.members.get(place).map_or(0, |member| member.number);
        let torch = |error| training_error(member, &error);
        let views = self.weights.views().and_then(|views| views.member(place)).map_err(torch)?;
        let inputs = self.tensor(&rows.concat(), &[rows.len() as i64]).map_err(torch)?;
        let Search { search, seed } = search;
        let ascent = Ascent { architecture: self.architecture, weights: &views, search, seed, member };
        ask(&ascent, &inputs).and_then(|answer| weights_to_vec(&answer).map_err(torch))
    }
}

impl Panel for Voters<'_> {
    /// The one forward pass in front of test inputs: evaluation mode, no gradients.
    fn logits(&mut self, batch: Batch<'_>, stop: &Flag) -> Result<Vec<f32>> {
        go_on(stop)?;
        let first = self.members.first().map_or(0, |member| member.number);
        let pass = |voters: &mut Self| {
            let inputs = voters.inputs(batch)?;
            let _no_grad = tch::no_grad_guard();
            let weights = voters.weights.views()?;
            weights_to_vec(&voters.architecture.forward(&weights, &inputs, Mode::Eval)?)
        };
        pass(self).map_err(|error| training_error(first, &error))
    }

    fn magnitudes(
        &mut self,
        place: usize,
        rows: &[&[f32]],
        labels: Option<&[usize]>,
        search: Search<'_>,
        stop: &Flag,
    ) -> Result<Vec<f32>> {
        self.searching(place, rows, search, |ascent, inputs| {
            let classes = labels.map(|labels| labels.iter().map(|label| *label as i64).collect::<Vec<_>>());
            let classes = classes.map(|classes| upload(&Tensor::f_from_slice(&classes)?, self.device));
            let classes = classes.transpose().map_err(|error| training_error(ascent.member, &error))?;
            let reference = classes.as_ref().map_or(Reference::OwnClass, Reference::Labels);
            ascent.magnitudes(inputs, reference, stop)
        })
    }

    fn log_scores(
        &mut self,
        place: usize,
        rows: &[&[f32]],
        sigmas: &[f32],
        search: Search<'_>,
        stop: &Flag,
    ) -> Result<Vec<f32>> {
        go_on(stop)?;
        self.searching(place, rows, search, |ascent, inputs| {
            let scores = Tensor::f_from_slice(sigmas)
                .and_then(|sigmas| sigmas.f_to_device(self.device))
                .and_then(|sigmas| ascent.log_scores(inputs, &sigmas));
            scores.map_err(|error| training_error(ascent.member, &error))
        })
    }
}
