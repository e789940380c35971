//! What one thread computes with through torch.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use tch::{Device, Tensor};

use super::calibrate::calibrated;
use super::device::{check_precision, on};
use super::model::{upload, weights_to_vec, Architecture, FlatWeights, Mode, TorchResult};
use super::search::{Ascent, Reference};
use super::train::{fit, how, NoisySets};
use crate::backend::{go_on, Batch, Fit, Flag, NoisySet, Panel, Search, Session};
use crate::error::{Error, Result};
use crate::member::{FeatureShape, Member, Settings};
use crate::seed::Seed;

/// A training error of one member from what torch said: its first line.
pub(super) fn training_error(member: u64, error: &tch::TchError) -> Error {
    let text = match error {
        tch::TchError::Torch(text) => text.clone(),
        other => other.to_string(),
    };
    Error::training(Some(member), text.trim().lines().next().unwrap_or("torch gave no reason"))
}

/// One thread, its device and what it has tried there.
pub(crate) struct Thread {
    architecture: Arc<dyn Architecture>,
    settings: Settings,
    shape: FeatureShape,
    device: Device,
    /// Whether ways of convolving have been tried.
    tried: bool,
    shared: Shared,
}

/// Batches of test inputs that all members see, by number: one panel after another is asked about them.
type Shared = Arc<Mutex<Vec<Tensor>>>;

impl Thread {
    /// # Errors
    /// A device error if the device cannot be used.
    pub(crate) fn new(
        architecture: Arc<dyn Architecture>,
        settings: Settings,
        shape: FeatureShape,
    ) -> Result<Self> {
        check_precision(settings.device, settings.precision)?;
        let device = on(settings.device);
        Ok(Self { architecture, settings, shape, device, tried: false, shared: Shared::default() })
    }

    /// Trains `members` on their noised sets of `n` samples: features (S n, ...) and labels (S n).
    ///
    /// # Errors
    /// As [`Session::fit`].
    #[cfg(feature = "extension")]
    pub(crate) fn train(
        &mut self,
        job: Job<'_>,
        features: &[f32],
        labels: &[i64],
        n: usize,
        stop: &Flag,
    ) -> Result<Vec<Member>> {
        let first = job.members.first().copied().unwrap_or(0);
        let sets = NoisySets::of(features, labels, n, self.shape, self.device);
        self.train_on(job, &sets.map_err(|error| training_error(first, &error))?, stop)
    }

    fn train_on(&mut self, job: Job<'_>, sets: &NoisySets, stop: &Flag) -> Result<Vec<Member>> {
        if self.device != Device::Cpu && !self.tried {
            self.settings = calibrated(self.architecture.as_ref(), job.under(&self.settings), sets);
            self.tried = true;
        }
        fit(self.architecture.as_ref(), job.under(&self.settings), sets, stop)
    }

    /// Members with these numbers and values, to be asked.
    ///
    /// # Errors
    /// A training error naming the first.
    pub(crate) fn voters(&self, numbers: Vec<u64>, values: &[&[f32]]) -> Result<Voters> {
        let first = numbers.first().copied().unwrap_or(0);
        let weights = FlatWeights::new(self.architecture.layout(), values, self.device);
        let weights = weights.map_err(|error| training_error(first, &error))?.computing(how(&self.settings));
        let (architecture, shared) = (Arc::clone(&self.architecture), Arc::clone(&self.shared));
        Ok(Voters { architecture, dims: self.shape.dims(), device: self.device, numbers, weights, shared })
    }
}

/// Which members are trained; how, the thread knows.
#[derive(Clone, Copy)]
pub(crate) struct Job<'a> {
    pub(crate) members: &'a [u64],
    pub(crate) seed: Seed,
    pub(crate) n_classes: usize,
}

impl<'a> Job<'a> {
    fn under(self, settings: &'a Settings) -> Fit<'a> {
        Fit { members: self.members, seed: self.seed, n_classes: self.n_classes, settings }
    }
}

impl Session for Thread {
    fn fit(&mut self, job: Fit<'_>, set: Cow<'_, NoisySet>, stop: &Flag) -> Result<Vec<Member>> {
        let (first, n) = (job.members.first().copied().unwrap_or(0), set.n());
        let sets = NoisySets::of(set.features(), set.labels(), n, self.shape, self.device);
        // Where it was drawn for this, the memory of the CPU is free again before training.
        drop(set);
        let sets = sets.map_err(|error| training_error(first, &error))?;
        let Fit { members, seed, n_classes, settings } = job;
        // One that goes before a map knows these members' samples.
        self.settings.augment.clone_from(&settings.augment);
        self.train_on(Job { members, seed, n_classes }, &sets, stop)
    }

    fn panel<'s>(&'s mut self, members: &'s [&'s Member]) -> Result<Box<dyn Panel + 's>> {
        let values: Vec<&[f32]> = members.iter().map(|member| &member.values[..]).collect();
        let numbers = members.iter().map(|member| member.number).collect();
        Ok(Box::new(self.voters(numbers, &values)?))
    }
}

/// Members in front of test inputs.
pub(crate) struct Voters {
    architecture: Arc<dyn Architecture>,
    /// Dimensions of a sample.
    dims: Vec<i64>,
    device: Device,
    numbers: Vec<u64>,
    weights: FlatWeights,
    shared: Shared,
}

impl Voters {
    /// Rows (n, ...), or (S, n, ...), on the device.
    fn tensor(&self, values: &[f32], lead: &[i64]) -> TorchResult<Tensor> {
        let shape = [lead, &self.dims].concat();
        Tensor::f_from_slice(values)?.f_view(&shape[..])?.f_to_device(self.device)
    }

    /// One batch for the stack, (S, B, ...).
    fn inputs(&self, batch: Batch<'_>) -> TorchResult<Tensor> {
        let (stack, rows) = (self.numbers.len() as i64, batch.rows as i64);
        if !batch.shared {
            let lead = if stack == 1 { vec![rows] } else { vec![stack, rows] };
            return self.tensor(batch.values, &lead);
        }
        let one = {
            let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            if shared.len() == batch.number {
                shared.push(self.tensor(batch.values, &[rows])?);
            }
            shared.get(batch.number).map(Tensor::shallow_clone)
        };
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
        let member = self.numbers.get(place).copied().unwrap_or(0);
        let torch = |error| training_error(member, &error);
        let views = self.weights.views().and_then(|views| views.member(place)).map_err(torch)?;
        let inputs = self.tensor(&rows.concat(), &[rows.len() as i64]).map_err(torch)?;
        let Search { search, seed } = search;
        let ascent =
            Ascent { architecture: self.architecture.as_ref(), weights: &views, search, seed, member };
        ask(&ascent, &inputs).and_then(|answer| weights_to_vec(&answer).map_err(torch))
    }
}

impl Panel for Voters {
    /// The one forward pass in front of test inputs: evaluation mode, no gradients.
    fn logits(&mut self, batch: Batch<'_>, stop: &Flag) -> Result<Vec<f32>> {
        go_on(stop)?;
        let first = self.numbers.first().copied().unwrap_or(0);
        let pass = |voters: &Self| {
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
