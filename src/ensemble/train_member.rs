//! Training of one stack of members on their noised sets.

use std::sync::atomic::{AtomicBool, Ordering};

use rand::seq::SliceRandom;
use rand::Rng;
use tch::{Device, Reduction, TchError, Tensor};

use super::adam::Adam;
use super::config::Settings;
use super::noisy_set::{NoisySet, Source};
use super::optimise::{add_extra_noise, Ascent, Reference};
use super::threads::training_error;
use super::Member;
use crate::error::{Error, Result};
use crate::law::{Guarantee, NoiseLaw, SigmaSearch};
use crate::model::{upload, weights_to_vec, Architecture, FlatWeights, Mode, TorchResult, Weights};
use crate::seed::{Role, Seed};

/// Everything the members of a run have in common.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) source: Source<'a>,
    pub(super) architecture: &'a dyn Architecture,
    pub(super) settings: &'a Settings,
    /// The member that is trained twice, and kept when both trainings have been compared.
    pub(super) twice: Option<u64>,
}

/// Trains the members with the given numbers as one stack, on their noised sets, which lie on the device.
///
/// One noise draw per member and sample serves all epochs; the samples are shuffled anew every epoch from
/// the stream (shuffle, member, epoch) into batches. Nothing but the noised set is ever looked at.
///
/// # Errors
/// A training error naming the member for anything torch reports; cancellation. Members whose loss or values
/// become infinite or NaN are no error: they are failed ones, each by what its own set holds.
pub(super) fn train_stack(
    job: Job<'_>,
    members: &[u64],
    set: &NoisySet,
    stop: &AtomicBool,
) -> Result<Vec<Member>> {
    let specific = job.source.law.sample_specific().filter(|law| law.guarantee() == Guarantee::Sound);
    let Some(law) = specific else { return fit(job, members, set, stop) };
    // From here on everything looks at the noised set alone.
    let scouts = fit(job, members, set, stop)?;
    if scouts.iter().all(Member::is_failed) {
        return Ok(scouts);
    }
    let set = with_own_noise(job, law.search(), &scouts, set, stop)?;
    let trained = fit(job, members, &set, stop)?;
    let pairs = scouts.into_iter().zip(trained);
    Ok(pairs.map(|(scout, member)| if scout.is_failed() { scout } else { member }).collect())
}

/// The noised sets with noise of each sample's own magnitude on top, as large as each member's scout bears.
fn with_own_noise(
    job: Job<'_>,
    search: &SigmaSearch,
    scouts: &[Member],
    set: &NoisySet,
    stop: &AtomicBool,
) -> Result<NoisySet> {
    let (seed, n) = (job.source.seed, set.n as i64);
    let mut parts = Vec::with_capacity(scouts.len());
    for (place, scout) in scouts.iter().enumerate() {
        let torch = |error| training_error(scout.number, &error);
        let own = |all: &Tensor| all.f_narrow(0, place as i64 * n, n);
        if scout.is_failed() {
            parts.push(own(&set.features).map_err(torch)?);
            continue;
        }
        let values = [&scout.values[..]];
        let weights = FlatWeights::new(job.architecture.layout(), &values, job.settings.device);
        let weights = weights.and_then(|weights| weights.views()).map_err(torch)?;
        let (inputs, labels) = (own(&set.features).map_err(torch)?, own(&set.labels).map_err(torch)?);
        let ascent =
            Ascent { architecture: job.architecture, weights: &weights, search, seed, member: scout.number };
        let sigma = ascent.magnitudes(&inputs, Reference::Labels(&labels), stop)?;
        parts.push(add_extra_noise(&inputs, &sigma, seed, scout.number).map_err(torch)?);
    }
    let first = scouts.first().map_or(0, |scout| scout.number);
    let features = Tensor::f_cat(&parts, 0).map_err(|error| training_error(first, &error))?;
    Ok(NoisySet { features, labels: set.labels.shallow_clone(), n: set.n })
}

/// Trains the stack on its sets as they are.
fn fit(job: Job<'_>, members: &[u64], set: &NoisySet, stop: &AtomicBool) -> Result<Vec<Member>> {
    let first = members.first().copied().unwrap_or(0);
    let torch = |error| training_error(first, &error);
    if let Some(solved) = solve_stack(job, members, set)? {
        return Ok(solved);
    }
    let mut training = Training::new(job, members, set).map_err(torch)?;
    let mut history = Vec::with_capacity(job.settings.epochs);
    let mut failed = vec![false; members.len()];
    for epoch in 0..job.settings.epochs {
        if let Err(error) = training.epoch(epoch as u64, stop) {
            if training.has_diverged {
                return Ok(members
                    .iter()
                    .map(|&m| Member::failed(m, job.architecture.layout().n_values()))
                    .collect());
            }
            return Err(torch(error));
        }
        if stop.load(Ordering::Relaxed) {
            return Err(Error::cancelled("Training was cancelled."));
        }
        history.push(training.losses().map_err(torch)?);
        // Looking at a loss waits for the device: a GPU is asked once, at the end.
        if job.settings.device == Device::Cpu || epoch + 1 == job.settings.epochs {
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
fn solve_stack(job: Job<'_>, members: &[u64], set: &NoisySet) -> Result<Option<Vec<Member>>> {
    let n = set.n as i64;
    let mut solved = Vec::with_capacity(members.len());
    for (place, &number) in members.iter().enumerate() {
        let own = |all: &Tensor| all.f_narrow(0, place as i64 * n, n);
        let solution = own(&set.features)
            .and_then(|features| job.architecture.solve(&features, &own(&set.labels)?))
            .map_err(|error| training_error(number, &error))?;
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

/// A member with its values, unless its training diverged. A last step may overflow although the loss before it was
/// finite.
fn finish(number: u64, values: Vec<f32>, loss: f32, failed: bool) -> Member {
    if failed || !loss.is_finite() || !all_finite(&values) {
        return Member::failed(number, values.len());
    }
    Member { number, values: values.into(), loss }
}

pub(super) fn all_finite(values: &[f32]) -> bool {
    values.iter().all(|value| value.is_finite())
}

pub(super) struct Training<'a> {
    architecture: &'a dyn Architecture,
    set: &'a NoisySet,
    members: &'a [u64],
    seed: Seed,
    batch_size: usize,
    weights: FlatWeights,
    adam: Adam,
    /// Sum of the losses of the current epoch's samples, per member.
    loss: Tensor,
    /// Whether a step of a single member ended in an error because of numbers beyond single precision.
    pub(super) has_diverged: bool,
}

impl<'a> Training<'a> {
    pub(super) fn new(job: Job<'a>, members: &'a [u64], set: &'a NoisySet) -> TorchResult<Self> {
        let (layout, seed) = (job.architecture.layout(), job.source.seed);
        let initial: TorchResult<Vec<_>> =
            members.iter().map(|&m| job.architecture.initial(seed, m)).collect();
        let initial = initial?;
        let initial: Vec<&[f32]> = initial.iter().map(Vec::as_slice).collect();
        let inside = members.iter().map(|&m| seed.stream(Role::Model, m, 0).next_u64());
        let weights = FlatWeights::new(layout, &initial, job.settings.device)?
            .with_model_seeds(inside)
            .computing(job.settings.how());
        let adam = Adam::new(weights.flat(), job.settings.learning_rate)?;
        let _ = weights.flat().f_set_requires_grad(true)?;
        let loss = Tensor::f_zeros([members.len() as i64], (tch::Kind::Float, job.settings.device))?;
        let (architecture, batch_size) = (job.architecture, job.settings.batch_size);
        Ok(Self { architecture, set, members, seed, batch_size, weights, adam, loss, has_diverged: false })
    }

    /// One pass over the noised set; returns early when told to stop.
    fn epoch(&mut self, epoch: u64, stop: &AtomicBool) -> TorchResult<()> {
        let _ = self.loss.f_zero_()?;
        let batches = batches(self.set.n, self.batch_size);
        if batches.len() == 1 {
            // The order within a batch does not matter: nothing to shuffle, nothing to copy.
            return self.step(&self.set.features, &self.set.labels, self.set.n);
        }
        let order = self.order(epoch)?;
        for (start, length) in batches {
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let index = order.f_narrow(1, start as i64, length as i64)?.f_reshape([-1])?;
            let inputs = self.set.features.f_index_select(0, &index)?;
            self.step(&inputs, &self.set.labels.f_index_select(0, &index)?, length)?;
        }
        Ok(())
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
    ///
    /// A module of the user's may raise at what the built-in ones end with as a loss that is NaN. That is no error of the
    /// module's where what it was given, or its weights, are beyond what single precision calculates with.
    fn step(&mut self, inputs: &Tensor, labels: &Tensor, length: usize) -> TorchResult<()> {
        let done = self.try_step(inputs, labels, length);
        if let (Err(error), [_]) = (&done, self.members) {
            let [weights, loss] = [self.weights.flat(), &self.loss];
            self.has_diverged =
                !is_of_the_process(error) && (overflows(inputs)? || overflows(weights)? || overflows(loss)?);
        }
        done
    }

    fn try_step(&mut self, inputs: &Tensor, labels: &Tensor, length: usize) -> TorchResult<()> {
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

/// Whether the sum of the squares is infinite or NaN: the numbers are, or so large that no layer can work with them.
fn overflows(values: &Tensor) -> TorchResult<bool> {
    let sum = values.f_detach()?.f_square()?.f_sum(None)?;
    sum.f_double_value(&[]).map(|sum| !sum.is_finite())
}

/// Whether memory or the user ended a step: nothing that numbers have to do with.
fn is_of_the_process(error: &TchError) -> bool {
    let text = error.to_string();
    ["memory", "Memory", "KeyboardInterrupt", "SystemExit"].iter().any(|word| text.contains(word))
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

/// The order in which a member sees its samples in an epoch.
pub(super) fn order(seed: Seed, member: u64, epoch: u64, n: usize) -> Vec<usize> {
    let mut own: Vec<usize> = (0..n).collect();
    own.shuffle(&mut seed.stream(Role::Shuffle, member, epoch));
    own
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

/// Starts and lengths of an epoch's batches. A last batch of a single sample joins the one before it:
/// batch norm has no statistics of one sample.
pub(super) fn batches(n: usize, size: usize) -> Vec<(usize, usize)> {
    let mut batches: Vec<_> = (0..n).step_by(size).map(|start| (start, size.min(n - start))).collect();
    if size > 1 && n % size == 1 && batches.len() > 1 {
        batches.pop();
        if let Some(last) = batches.last_mut() {
            last.1 += 1;
        }
    }
    batches
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

    #[test]
    fn a_member_whose_last_step_overflows_has_failed_and_keeps_nothing_of_it() {
        let finished = finish(4, vec![1.0, f32::INFINITY], 0.5, false);
        assert!(finished.is_failed() && finished == Member::failed(4, 2));
        assert!(finish(4, vec![1.0, 2.0], 0.5, true).is_failed());
        assert!(!finish(4, vec![1.0, 2.0], 0.5, false).is_failed());
    }

    #[test]
    fn batches_tile_the_set_and_none_has_one_sample() {
        for n in 1..40 {
            for size in 1..12 {
                let batches = batches(n, size);
                let mut end = 0;
                for &(start, length) in &batches {
                    assert_eq!(start, end);
                    assert!(length <= size + 1 && (length > 1 || n == 1 || size == 1), "{n} {size}");
                    end += length;
                }
                assert_eq!(end, n);
            }
        }
    }
}
