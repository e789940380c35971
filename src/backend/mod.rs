//! Whoever computes members. The ensemble knows which members are missing, draws their noised sets, keeps what is finished
//! and counts votes; a [`Backend`] trains members on the sets it is handed, answers for them, and searches noise magnitudes.
//!
//! | backend | computes |
//! |---|---|
//! | [`Kernels`] | single members of `linear`, `mlp`, `cnn`, `discriminant` and `ridge` on the CPU, by the crate's own kernels |
//! | `torch::Torch` | all built-in networks, alone or in stacks, on the CPU or a GPU, through libtorch (feature `torch`) |
//! | `python::extension::Networks` | the same, computed by the torch extension (feature `python`) |
//! | `python::Learner` | whatever a learner in Python computes (feature `python`) |

pub(crate) mod changed;
mod choose;
pub(crate) mod kernels;
mod noisy_set;

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::law::SigmaSearch;
use crate::member::{Behaviour, Device, FeatureShape, Gpus, Layout, Member, Settings};
use crate::seed::{Role, Seed};
use crate::stop::listen;

use rand::seq::SliceRandom;

pub(crate) use choose::{built_in, gpus};
#[cfg(feature = "python")]
pub(crate) use choose::{extend, Networks};
#[cfg(feature = "python")]
pub(crate) use kernels::log_mean_scores;
pub use kernels::Kernels;
pub use noisy_set::NoisySet;
pub(crate) use noisy_set::{Cores, Source};

static NOTHING: Behaviour = Behaviour(Vec::new());

/// Slopes of a search for noise magnitudes are cut to what R has where nothing is uncertain, Phi^-1(0.98): near the clamp
/// they can be anything.
pub(crate) const STEEPEST: f64 = 2.053_748_910_631_823;

/// Set from any thread, it stops the work within a batch.
pub type Flag = Arc<AtomicBool>;

/// Whoever computes members of one model.
pub trait Backend: Send + Sync + fmt::Debug {
    /// The name in the record of a run; two models that behave differently have different names.
    fn name(&self) -> &str;

    /// Names, shapes and kinds of a member's values.
    fn layout(&self) -> &Layout;

    /// What the model does that its name does not describe; nothing for the built-in ones.
    fn behaviour(&self) -> &Behaviour {
        &NOTHING
    }

    /// Whether the name is that of a built-in network, which other backends may compute as well.
    fn is_built_in(&self) -> bool {
        false
    }

    /// The libraries of others that compute its members, with their versions: another release may round sums otherwise. Empty
    /// where this crate computes alone.
    fn libraries(&self) -> &str {
        ""
    }

    /// The GPUs that it can use.
    fn gpus(&self) -> Gpus {
        Gpus::default()
    }

    /// The smallest training set a member can be trained on.
    fn min_samples(&self) -> usize {
        1
    }

    /// Numbers from one row of a noised set to the next, for rows of `size` features.
    fn stride(&self, size: usize) -> usize {
        size
    }

    /// Test inputs that it wants at a time.
    fn batch(&self) -> Batching {
        Batching { rows: 64, multiple: 1 }
    }

    /// Whether a member is numbers, as [`Backend::layout`] says, rather than an object of the backend's.
    fn has_values(&self) -> bool {
        true
    }

    /// Whether members can be written into files: numbers always can.
    ///
    /// # Errors
    /// A checkpoint error that says what objects would need.
    fn can_write(&self) -> Result<()> {
        Ok(())
    }

    /// A member as a file held it, as the one that it was.
    ///
    /// # Errors
    /// A checkpoint error for an object that cannot be read.
    fn read(&self, member: Member) -> Result<Member> {
        Ok(member)
    }

    /// Whether members have gradients in their inputs, by which noise magnitudes are searched.
    fn searches(&self) -> bool {
        true
    }

    /// The largest number of members that it computes together.
    fn max_stack(&self) -> usize {
        1
    }

    /// Floats that one step of training holds for each sample of a batch, roughly and from above; `None` where
    /// nobody knows. The size of stacks on a GPU is chosen with it.
    fn activations(&self) -> Option<usize> {
        None
    }

    /// Whether stacks work whatever happens in training. If not, members of a stack that failed are trained again,
    /// one by one.
    fn stacks_are_sure(&self) -> bool {
        true
    }

    /// Where its members meet changed copies of their samples, if a run has an augmentation.
    fn changes(&self) -> Changes {
        Changes::Never
    }

    /// Whether it may keep state that is no value of a member: then the first member of a run is trained twice.
    fn may_keep_state(&self) -> bool {
        false
    }

    /// Members that one GPU trains side by side, each from a thread of its own, when there are no stacks.
    fn lanes(&self) -> usize {
        1
    }

    /// Starts worker threads by calling `begin`, which returns when all of them are ready.
    ///
    /// # Errors
    /// Where the threads cannot be prepared.
    fn start(&self, begin: &mut dyn FnMut()) -> Result<()> {
        begin();
        Ok(())
    }

    /// The first call in each worker thread, for the device that it works for.
    fn ready(&self, _device: Device) {}

    /// What one thread computes with, for samples of the given shape; `lane` if several share a device.
    ///
    /// # Errors
    /// A device error if the device cannot be used.
    fn session<'a>(
        &'a self,
        settings: &Settings,
        shape: FeatureShape,
        lane: bool,
    ) -> Result<Box<dyn Session + 'a>>;
}

/// Where members meet changed copies of their noised samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changes {
    /// In every batch of every epoch.
    EveryEpoch,
    /// Beside the noised set, which they look at once.
    Once,
    /// Nowhere.
    Never,
}

/// Test inputs of one pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    /// How many at most.
    pub rows: usize,
    /// Their number is a multiple of this: what is missing is filled up with zeros.
    pub multiple: usize,
}

/// What one thread computes with: buffers, a stream, settings that were tried.
pub trait Session {
    /// Trains the members with the given numbers on their noised sets as they are.
    ///
    /// One noise draw per member and sample serves all epochs; the samples are shuffled anew every epoch (`order`) into
    /// batches (`batches`). Nothing but the noised set is ever looked at.
    ///
    /// # Errors
    /// A training error naming the member for anything that fails; cancellation. Members whose loss or values become
    /// infinite or NaN are no error: they are failed ones, each by what its own set holds.
    fn fit(&mut self, job: Fit<'_>, set: Cow<'_, NoisySet>, stop: &Flag) -> Result<Vec<Member>>;

    /// Members that are going to be asked.
    ///
    /// # Errors
    /// A training error naming the first member.
    fn panel<'s>(&'s mut self, members: &'s [&'s Member]) -> Result<Box<dyn Panel + 's>>;
}

/// Training of members on their noised sets.
#[derive(Clone, Copy)]
pub struct Fit<'a> {
    /// Numbers of the members, which address their random streams.
    pub members: &'a [u64],
    /// Root of the streams.
    pub seed: Seed,
    /// Number of classes.
    pub n_classes: usize,
    /// How they are trained.
    pub settings: &'a Settings,
}

/// Test inputs in front of a panel: (n, features), or (members, n, features) where each member has its own.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    /// All values, row by row.
    pub values: &'a [f32],
    /// Rows of one member, those included that only fill up.
    pub rows: usize,
    /// Whether all members see the same.
    pub shared: bool,
    /// Which batch of the session's it is; shared ones come again in front of other panels.
    pub number: usize,
}

/// A search for noise magnitudes by one member: see [`SigmaSearch`].
#[derive(Clone, Copy)]
pub struct Search<'a> {
    /// Its settings.
    pub search: &'a SigmaSearch,
    /// Root of the streams.
    pub seed: Seed,
}

/// Members in front of test inputs: in evaluation mode, without gradients.
pub trait Panel {
    /// Logits (members, n, classes). What is said of an input does not depend on which others it came with.
    ///
    /// # Errors
    /// A training error naming a member; cancellation.
    fn logits(&mut self, batch: Batch<'_>, stop: &Flag) -> Result<Vec<f32>>;

    /// The noise magnitude (n) of each row that the member at `place` finds: its noise must not hide the label, or without
    /// labels the class that the member gives it without noise.
    ///
    /// # Errors
    /// As [`Panel::logits`]; a parameter error where there are no gradients to search with.
    fn magnitudes(
        &mut self,
        place: usize,
        rows: &[&[f32]],
        labels: Option<&[usize]>,
        search: Search<'_>,
        stop: &Flag,
    ) -> Result<Vec<f32>>;

    /// Logarithms of the mean scores (n, classes) of the member at `place` for each row at its magnitude, on as many
    /// noisy copies as a step of the search has.
    ///
    /// # Errors
    /// As [`Panel::logits`].
    fn log_scores(
        &mut self,
        place: usize,
        rows: &[&[f32]],
        sigmas: &[f32],
        search: Search<'_>,
        stop: &Flag,
    ) -> Result<Vec<f32>>;
}

/// The order in which a member sees its samples in an epoch.
pub fn order(seed: Seed, member: u64, epoch: u64, n: usize) -> Vec<usize> {
    let mut own: Vec<usize> = (0..n).collect();
    own.shuffle(&mut seed.stream(Role::Shuffle, member, epoch));
    own
}

/// Starts and lengths of an epoch's batches. A last batch of a single sample joins the one before it:
/// batch norm has no statistics of one sample.
pub fn batches(n: usize, size: usize) -> Vec<(usize, usize)> {
    let mut batches: Vec<_> = (0..n).step_by(size).map(|start| (start, size.min(n - start))).collect();
    if size > 1 && n % size == 1 && batches.len() > 1 {
        batches.pop();
        if let Some(last) = batches.last_mut() {
            last.1 += 1;
        }
    }
    batches
}

/// Whether to go on; a thread that has a question asks it.
///
/// # Errors
/// Cancellation.
pub(crate) fn go_on(stop: &AtomicBool) -> Result<()> {
    listen();
    match stop.load(Ordering::Relaxed) {
        true => Err(Error::cancelled("The work was cancelled.")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
