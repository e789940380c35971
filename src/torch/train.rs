//! Training of one stack of members on their noised sets.

use std::sync::atomic::AtomicBool;

use rayon::prelude::*;
use tch::{Device, Reduction, TchError, Tensor};

use super::adam::Adam;
use super::device::on;
use super::model::{upload, weights_to_vec, Architecture, FlatWeights, How, Mode, TorchResult, Weights};
use super::session::training_error;
use crate::augment::Augment;
use crate::backend::changed::Addresses;
use crate::backend::{batches, go_on, order, Fit};
use crate::error::Result;
use crate::member::{FeatureShape, Member, Precision, Settings};
use crate::process;
use crate::seed::Seed;

/// How layers compute.
pub(super) fn how(settings: &Settings) -> How {
    How { convolution: settings.convolution.unwrap_or_default(), tf32: settings.precision == Precision::Tf32 }
}

/// The noised sets of a stack as tensors.
pub(super) struct NoisySets {
    /// (S n, ...).
    features: Tensor,
    /// (S n).
    labels: Tensor,
    /// Samples of one member.
    n: usize,
    shape: FeatureShape,
}

impl NoisySets {
    /// Features (S n, ...) and labels (S n) of sets of `n` samples, in the memory of `device`.
    pub(super) fn of(
        features: &[f32],
        labels: &[i64],
        n: usize,
        shape: FeatureShape,
        device: Device,
    ) -> TorchResult<Self> {
        let dims = [&[-1], &shape.dims()[..]].concat();
        let features = upload(&Tensor::f_from_slice(features)?.f_view(&dims[..])?, device)?;
        Ok(Self { features, labels: upload(&Tensor::f_from_slice(labels)?, device)?, n, shape })
    }
}

/// Trains the stack on its sets as they are, which lie on the device.
///
/// # Errors
/// A training error naming the member for anything torch reports; cancellation. Members whose loss or values
/// become infinite or NaN are no error: they are failed ones, each by what its own set holds.
pub(super) fn fit(
    architecture: &dyn Architecture,
    job: Fit<'_>,
    set: &NoisySets,
    stop: &AtomicBool,
) -> Result<Vec<Member>> {
    let (members, device) = (job.members, on(job.settings.device));
    let first = members.first().copied().unwrap_or(0);
    let torch = |error| training_error(first, &error);
    if let Some(solved) = solve_stack(architecture, job, set)? {
        return Ok(solved);
    }
    let mut training = Training::new(architecture, job, set).map_err(torch)?;
    let mut history = Vec::with_capacity(job.settings.epochs);
    let mut failed = vec![false; members.len()];
    for epoch in 0..job.settings.epochs {
        training.epoch(epoch, stop)?;
        go_on(stop)?;
        history.push(training.losses().map_err(torch)?);
        // Looking at a loss waits for the device: a GPU is asked once, at the end.
        if device == Device::Cpu || epoch + 1 == job.settings.epochs {
            look(&mut history, &mut failed).map_err(torch)?;
            if failed.iter().all(|failed| *failed) {
                break;
            }
        }
    }
    let losses = history.last().map_or(Ok(Vec::new()), weights_to_vec).map_err(torch)?;
    let values = training.weights.to_members().map_err(torch)?;
    let finished = members.iter().zip(values).zip(losses).zip(failed);
    Ok(finished.map(|(((&number, values), loss), failed)| finish(number, values, loss, failed)).collect())
}

/// The members of an architecture with a closed form; `None` for any other.
fn solve_stack(
    architecture: &dyn Architecture,
    job: Fit<'_>,
    set: &NoisySets,
) -> Result<Option<Vec<Member>>> {
    let (members, n) = (job.members, set.n as i64);
    let mut solved = Vec::with_capacity(members.len());
    for (place, &number) in members.iter().enumerate() {
        let torch = |error| training_error(number, &error);
        let own = |all: &Tensor| all.f_narrow(0, place as i64 * n, n);
        let (mut features, mut labels) =
            (own(&set.features).map_err(torch)?, own(&set.labels).map_err(torch)?);
        if job.settings.augment.is_some() && architecture.looks_once() {
            let addresses = Addresses { seed: job.seed, member: number, shape: set.shape, n: set.n };
            let mut rows = weights_to_vec(&features).map_err(torch)?;
            let copies = addresses.with_copies(job.settings, &mut rows)?;
            let dims = [&[-1], &set.shape.dims()[..]].concat();
            let all = Tensor::f_from_slice(&rows).and_then(|rows| rows.f_view(&dims[..]));
            features = all.and_then(|all| upload(&all, features.device())).map_err(torch)?;
            labels = labels.f_repeat([copies as i64 + 1]).map_err(torch)?;
        }
        let solution = architecture.solve(&features, &labels, job.settings.penalty).map_err(torch)?;
        let Some(solution) = solution else { return Ok(None) };
        solved.push(finish(number, solution.values, solution.loss, false));
    }
    Ok(Some(solved))
}

/// Looks at the losses (S) of the epochs that have not been looked at; keeps the last.
fn look(history: &mut Vec<Tensor>, failed: &mut [bool]) -> TorchResult<()> {
    let table = weights_to_vec(&Tensor::f_stack(history, 0)?)?;
    for losses in table.chunks_exact(failed.len().max(1)) {
        failed.iter_mut().zip(losses).for_each(|(failed, loss)| *failed |= !loss.is_finite());
    }
    history.drain(..history.len().saturating_sub(1));
    Ok(())
}

fn finish(number: u64, values: Vec<f32>, loss: f32, failed: bool) -> Member {
    Member::finished(number, values, if failed { f32::NAN } else { loss })
}

pub(super) struct Training<'a> {
    architecture: &'a dyn Architecture,
    set: &'a NoisySets,
    members: &'a [u64],
    seed: Seed,
    augment: Option<&'a Augment>,
    shape: FeatureShape,
    batch_size: usize,
    weights: FlatWeights,
    adam: Adam,
    /// Sum of the losses of the current epoch's samples, per member.
    loss: Tensor,
}

impl<'a> Training<'a> {
    pub(super) fn new(
        architecture: &'a dyn Architecture,
        job: Fit<'a>,
        set: &'a NoisySets,
    ) -> TorchResult<Self> {
        let (layout, seed, members) = (architecture.layout(), job.seed, job.members);
        let device = on(job.settings.device);
        let initial: TorchResult<Vec<_>> = members.iter().map(|&m| architecture.initial(seed, m)).collect();
        let initial = initial?;
        let initial: Vec<&[f32]> = initial.iter().map(Vec::as_slice).collect();
        let weights = FlatWeights::new(layout, &initial, device)?.computing(how(job.settings));
        let adam = Adam::new(weights.flat(), job.settings.learning_rate)?;
        let _ = weights.flat().f_set_requires_grad(true)?;
        let loss = Tensor::f_zeros([members.len() as i64], (tch::Kind::Float, device))?;
        let batch_size = job.settings.batch_size;
        let (augment, shape) = (job.settings.augment.as_ref(), set.shape);
        Ok(Self { architecture, set, members, seed, augment, shape, batch_size, weights, adam, loss })
    }

    /// One pass over the noised set.
    ///
    /// # Errors
    /// A training error; cancellation.
    fn epoch(&mut self, epoch: usize, stop: &AtomicBool) -> Result<()> {
        let first = self.members.first().copied().unwrap_or(0);
        let torch = |error| training_error(first, &error);
        let _ = self.loss.f_zero_().map_err(torch)?;
        let batches = batches(self.set.n, self.batch_size);
        if batches.len() == 1 {
            // The order within a batch does not matter: nothing to shuffle, nothing to copy.
            let inputs = self.changed(&self.set.features, epoch, 0, self.set.n)?;
            return self.step(&inputs, &self.set.labels, self.set.n).map_err(torch);
        }
        let order = self.order(epoch as u64).map_err(torch)?;
        for (start, length) in batches {
            go_on(stop)?;
            let index = order.f_narrow(1, start as i64, length as i64).and_then(|own| own.f_reshape([-1]));
            let index = index.map_err(torch)?;
            let inputs = self.set.features.f_index_select(0, &index).map_err(torch)?;
            let inputs = self.changed(&inputs, epoch, start, length)?;
            let labels = self.set.labels.f_index_select(0, &index).map_err(torch)?;
            self.step(&inputs, &labels, length).map_err(torch)?;
        }
        Ok(())
    }

    /// The samples of a batch (S B, ...) changed, each member's from its own streams, in the memory of the CPU.
    fn changed(&self, inputs: &Tensor, epoch: usize, start: usize, length: usize) -> Result<Tensor> {
        let Some(augment) = self.augment else { return Ok(inputs.shallow_clone()) };
        let first = self.members.first().copied().unwrap_or(0);
        let torch = |error| training_error(first, &error);
        let mut values = weights_to_vec(inputs).map_err(torch)?;
        let (seed, shape, n) = (self.seed, self.shape, self.set.n);
        let size = length * shape.n_features();
        let change = |(): &mut (), (&member, rows): (&u64, &mut [f32])| {
            let addresses = Addresses { seed, member, shape, n };
            augment.change(addresses.batch(epoch, start), rows)
        };
        let members = self.members;
        if inputs.device() == Device::Cpu {
            members.iter().zip(values.chunks_exact_mut(size)).try_for_each(|pair| change(&mut (), pair))?;
        } else {
            let pairs = members.par_iter().zip(values.par_chunks_exact_mut(size));
            process::install_each(pairs, || (), change)?;
        }
        let same = Tensor::f_from_slice(&values).and_then(|values| values.f_view(&inputs.size()[..]));
        same.and_then(|same| upload(&same, inputs.device())).map_err(torch)
    }

    /// Some steps on the first samples, waited for; for measurements.
    pub(super) fn first_steps(&mut self, steps: usize) -> TorchResult<()> {
        let n = self.set.n as i64;
        let length = n.min(self.batch_size as i64);
        let first = |all: &Tensor| {
            let shape: Vec<i64> = [-1, n].into_iter().chain(all.size().split_off(1)).collect();
            all.f_view(&shape[..])?.f_narrow(1, 0, length)?.f_flatten(0, 1)
        };
        let (inputs, labels) = (first(&self.set.features)?, first(&self.set.labels)?);
        for _ in 0..steps {
            self.step(&inputs, &labels, length as usize)?;
        }
        self.loss.f_sum(None)?.f_double_value(&[]).map(drop)
    }

    /// Rows of the noised sets in this epoch's order, (S, n).
    fn order(&self, epoch: u64) -> TorchResult<Tensor> {
        let n = self.set.n as i64;
        let mut rows = Vec::with_capacity(self.members.len() * self.set.n);
        for (place, &member) in self.members.iter().enumerate() {
            let own = order(self.seed, member, epoch, self.set.n);
            rows.extend(own.into_iter().map(|row| place as i64 * n + row as i64));
        }
        upload(&Tensor::f_from_slice(&rows)?.f_view([-1, n])?, self.set.features.device())
    }

    /// One step of Adam on a batch, inputs (S B, ...) and labels (S B).
    fn step(&mut self, inputs: &Tensor, labels: &Tensor, length: usize) -> TorchResult<()> {
        let losses = losses(self.architecture, &self.weights.views()?, inputs, labels)?;
        let sum = losses.f_sum(None)?;
        self.adam.step(self.weights.flat(), &gradient(&sum, self.weights.flat())?)?;
        let _ = self.loss.f_add_(&losses.f_detach()?.f_mul_scalar(length as f64)?)?;
        Ok(())
    }

    /// Mean loss of the last epoch, per member.
    fn losses(&self) -> TorchResult<Tensor> {
        self.loss.f_div_scalar(self.set.n as f64)
    }
}

/// The gradient of a sum.
///
/// # Errors
/// Whatever torch reports, and a sum that has none: torch's own answer would be a tensor that is not there.
pub(super) fn gradient(sum: &Tensor, parameters: &Tensor) -> TorchResult<Tensor> {
    if !sum.requires_grad() {
        return Err(no_gradient());
    }
    let mut gradients = Tensor::f_run_backward(&[sum], &[parameters], false, false)?;
    gradients.pop().filter(Tensor::defined).ok_or_else(no_gradient)
}

/// Of a pass through which nothing can be learned.
pub(super) fn no_gradient() -> TchError {
    TchError::Torch(
        "its logits have no gradient (is the pass detached, under no_grad, or a constant?)".to_owned(),
    )
}

/// Mean cross-entropy of a batch, per member (S); inputs (S B, ...) and labels (S B).
fn losses(
    architecture: &dyn Architecture,
    weights: &Weights,
    inputs: &Tensor,
    labels: &Tensor,
) -> TorchResult<Tensor> {
    let stack = weights.stack();
    if stack == 1 {
        let logits = architecture.forward(weights, inputs, Mode::Train)?;
        let loss = logits.f_cross_entropy_loss(labels, None::<Tensor>, Reduction::Mean, -100, 0.0)?;
        return loss.f_view([1]);
    }
    let mut shape = inputs.size();
    shape.splice(..1, [stack, -1]);
    let logits = architecture.forward(weights, &inputs.f_view(&shape[..])?, Mode::Train)?;
    let flat = logits.f_flatten(0, 1)?;
    let loss = flat.f_cross_entropy_loss(labels, None::<Tensor>, Reduction::None, -100, 0.0)?;
    loss.f_view([stack, -1])?.f_mean_dim(1, false, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_of_an_earlier_epoch_counts_when_all_are_looked_at_together() {
        let rows = [[1.0_f32, 2.0, 1.0], [0.5, f32::NAN, 0.9], [0.4, 1.0, f32::INFINITY]];
        let mut history = rows.iter().map(|row| Tensor::from_slice(row)).collect::<Vec<_>>();
        let mut failed = vec![false; 3];
        assert!(look(&mut history, &mut failed).is_ok());
        assert_eq!(failed, [false, true, true]);
        assert_eq!(history.len(), 1, "the last losses stay");
    }
}
