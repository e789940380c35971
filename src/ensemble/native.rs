//! Training of one member on the CPU by the crate's own kernels, without torch.
//!
//! The architectures that have a [`Network`] are trained here unless a stack is asked for; the same steps in the same
//! order as [`train_stack`](super::train_member::train_stack), equal to it up to rounding.

use std::sync::atomic::{AtomicBool, Ordering};

use tch::Device;

use super::noisy_set::PlainSet;
use super::threads::training_error;
use super::train_member::{batches, check_losses, check_values, order, Job};
use super::Member;
use crate::error::{Error, Result};
use crate::kernel::{Adam, Network, Workspace};
use crate::law::{Guarantee, NoiseLaw};

/// The network that trains a job's members here, if they can be and no stack of several was asked for.
pub(super) fn network<'a>(job: Job<'a>) -> Option<&'a Network> {
    let own_noise = job.source.law.sample_specific().is_some_and(|law| law.guarantee() == Guarantee::Sound);
    let alone = job.settings.device == Device::Cpu && job.settings.stack.unwrap_or(1) == 1;
    job.architecture.network().filter(|_| alone && !own_noise)
}

/// Trains a member on its noised set.
///
/// # Errors
/// A training error naming the member if its loss or its values are not finite; cancellation.
pub(super) fn train(
    job: Job<'_>,
    network: &Network,
    number: u64,
    set: &PlainSet,
    work: &mut Workspace,
    stop: &AtomicBool,
) -> Result<Member> {
    let initial = job.architecture.initial(job.source.seed, number);
    let mut values = initial.map_err(|error| training_error(number, &error))?;
    let mut adam = Adam::new(values.len(), job.settings.learning_rate);
    let batches = batches(set.n, job.settings.batch_size);
    let (mut rows, mut labels) = (Vec::new(), Vec::new());
    let mut loss = 0.0;
    for epoch in 0..job.settings.epochs {
        let order = if batches.len() == 1 {
            // The order within a batch does not matter.
            (0..set.n).collect()
        } else {
            order(job.source.seed, number, epoch as u64, set.n)
        };
        let mut sum = 0.0_f64;
        for &(start, length) in &batches {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::cancelled("Training was cancelled."));
            }
            rows.clear();
            labels.clear();
            for (row, label) in order.iter().skip(start).take(length).filter_map(|&place| set.sample(place)) {
                rows.push(row);
                labels.push(label);
            }
            let (mean, gradient) = network.gradient(&values, &rows, &labels, work);
            sum += f64::from(mean) * length as f64;
            adam.step(&mut values, gradient);
        }
        loss = (sum / set.n as f64) as f32;
        check_losses(&[number], &[loss], epoch)?;
        // A ReLU that compares with NaN is off, so that the loss may not show it.
        check_values(&[number], std::slice::from_ref(&values))?;
    }
    Ok(Member { number, values: values.into(), loss })
}
