//! The members still to be trained, handed out in stacks whose size follows the memory; those that other processes are
//! training come last, again and again, until they are there.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::train::Job;
use crate::error::{Error, ErrorKind};
use crate::law::{Law, NoiseLaw};
use crate::member::{Device, Settings, STACK};

/// Largest stack that is chosen by itself: more members no longer fill a GPU better.
const MOST: usize = 256;

/// Values of the noised sets of a stack that is chosen by itself (2 GiB): they also lie in the CPU's memory, once
/// in training and once drawn ahead.
const VALUES: usize = 1 << 29;

/// Floats for each trained parameter: itself, its gradient, two moments, and the optimiser's intermediate results.
const PER_PARAMETER: usize = 8;

/// Members in the order of their numbers, and how many are trained together at present.
#[derive(Debug)]
pub(super) struct Stacks {
    queue: Mutex<Queue>,
    size: AtomicUsize,
    /// What a stack of an architecture whose stacks are not sure stumbled over.
    failure: Mutex<Option<String>>,
}

/// How long a worker without work sleeps before it looks again for what others are training.
const MOMENT: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
struct Queue {
    todo: VecDeque<u64>,
    /// Members that other processes have claimed.
    elsewhere: Vec<u64>,
}

impl Stacks {
    pub(super) fn new(todo: &[u64], size: usize) -> Self {
        let queue = Queue { todo: todo.iter().copied().collect(), elsewhere: Vec::new() };
        Self { queue: Mutex::new(queue), size: AtomicUsize::new(size.max(1)), failure: Mutex::new(None) }
    }

    /// The next stack; `None` when there is none at present, or `stop` is set. While all that is left is trained
    /// elsewhere, this waits a moment.
    pub(super) fn take(&self, stop: &AtomicBool) -> Option<Vec<u64>> {
        loop {
            let mut queue = self.queue();
            let size = self.size.load(Ordering::Relaxed).min(queue.todo.len());
            if size > 0 {
                return Some(queue.todo.drain(..size).collect());
            }
            if queue.elsewhere.is_empty() || stop.load(Ordering::Relaxed) {
                return None;
            }
            drop(queue);
            std::thread::sleep(MOMENT);
            let mut queue = self.queue();
            let elsewhere = std::mem::take(&mut queue.elsewhere);
            queue.todo.extend(elsewhere);
        }
    }

    /// Takes note that members are trained elsewhere: somebody has to look for them later.
    pub(super) fn leave(&self, members: &[u64]) {
        self.queue().elsewhere.extend_from_slice(members);
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes back a stack for which memory did not suffice: its members come next, half as many at a time.
    /// False for a single member, which cannot be trained here at all.
    pub(super) fn halve(&self, stack: &[u64]) -> bool {
        self.shrink(stack, stack.len() / 2)
    }

    /// Takes back a stack that failed for `reason`: from now on members are trained one by one. False for a single
    /// member, whose failure is its own.
    pub(super) fn part(&self, stack: &[u64], reason: &Error) -> bool {
        let parted = self.shrink(stack, 1);
        if parted {
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            failure.get_or_insert_with(|| reason.to_string());
        }
        parted
    }

    fn shrink(&self, stack: &[u64], size: usize) -> bool {
        if stack.len() < 2 {
            return false;
        }
        self.size.fetch_min(size, Ordering::Relaxed);
        let mut queue = self.queue();
        stack.iter().rev().for_each(|&member| queue.todo.push_front(member));
        true
    }

    /// How many are trained together at present, and why stacks were given up, if they were.
    pub(super) fn state(&self) -> (usize, Option<String>) {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        (self.size.load(Ordering::Relaxed), failure.clone())
    }
}

/// Whether an error says that memory did not suffice, on a GPU or the CPU.
pub(super) fn is_out_of_memory(error: &Error) -> bool {
    const SAYINGS: [&str; 3] = ["out of memory", "can't allocate memory", "STATUS_ALLOC_FAILED"];
    let text = error.to_string();
    matches!(error.kind(), ErrorKind::Training { .. }) && SAYINGS.iter().any(|saying| text.contains(saying))
}

/// Members of a stack, at most as many as share the workers evenly.
pub(super) fn stack_size(job: Job<'_>, n_members: usize, n_workers: usize) -> usize {
    if job.source.law.sizes_vary() || matches!(job.source.law, Law::Partition(_)) {
        // A stack's sets have one size.
        return 1;
    }
    let share = n_members.div_ceil(n_workers.max(1));
    let wanted = job.settings.stack.unwrap_or_else(|| by_memory(job));
    wanted.min(job.backend.max_stack()).min(share).max(1)
}

/// As many members as fit into the memory that a stack may take.
fn by_memory(job: Job<'_>) -> usize {
    let Settings { device, memory, batch_size, .. } = *job.settings;
    if device == Device::Cpu {
        return 1;
    }
    let set = set_values(job);
    let most = (VALUES / set.max(1)).clamp(1, MOST);
    match (memory, job.backend.activations()) {
        (Some(memory), Some(activations)) => {
            let parameters = PER_PARAMETER * job.backend.layout().n_values();
            let bytes = 4 * (parameters + set + batch_size * activations) as u64;
            most.min(usize::try_from(memory / bytes.max(1)).unwrap_or(most)).max(1)
        }
        _ => most.min(STACK),
    }
}

/// Values of one member's noised set.
fn set_values(job: Job<'_>) -> usize {
    let n_train = job.source.data.n_samples();
    let drawn = job.source.law.subset(job.source.seed, 0, n_train);
    let n = drawn.map_or(n_train, |drawn| drawn.len()) + job.source.data.n_trusted();
    n * job.source.data.shape().n_features()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_halved_stack_comes_next_and_nobody_is_lost() {
        let (stacks, going) = (Stacks::new(&[0, 1, 2, 3, 4, 5, 6], 4), AtomicBool::new(false));
        let first = stacks.take(&going).unwrap_or_default();
        assert_eq!(first, [0, 1, 2, 3]);
        let ahead = stacks.take(&going).unwrap_or_default();
        assert!(stacks.halve(&first) && stacks.halve(&ahead));
        let mut seen = Vec::new();
        while let Some(stack) = stacks.take(&going) {
            assert!(stack.len() <= 1, "half of the smaller one, 3 / 2: {stack:?}");
            assert!(!stacks.halve(&stack), "a single member is not halved");
            assert!(!stacks.part(&stack, &Error::training(Some(1), "x")), "nor parted");
            seen.extend(stack);
        }
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn what_is_trained_elsewhere_is_looked_for_again_until_it_is_there_or_all_is_to_stop() {
        let (stacks, stop) = (Stacks::new(&[0, 1, 2], 2), AtomicBool::new(false));
        assert_eq!(stacks.take(&stop), Some(vec![0, 1]));
        stacks.leave(&[1]);
        assert_eq!(stacks.take(&stop), Some(vec![2]), "what is free comes first");
        assert_eq!(stacks.take(&stop), Some(vec![1]));
        stacks.leave(&[1]);
        stop.store(true, Ordering::Relaxed);
        assert_eq!(stacks.take(&stop), None);
        stop.store(false, Ordering::Relaxed);
        assert_eq!((stacks.take(&stop), stacks.take(&stop)), (Some(vec![1]), None));
    }

    #[test]
    fn what_torch_says_when_memory_is_short() {
        let training = |text: &str| Error::training(Some(3), text);
        assert!(is_out_of_memory(&training("CUDA out of memory. Tried to allocate 2.00 GiB.")));
        assert!(is_out_of_memory(&training(
            "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"
        )));
        assert!(!is_out_of_memory(&training("its loss became NaN in epoch 1")));
        assert!(!is_out_of_memory(&Error::checkpoint("out of memory")));
    }
}
