//! The member that is trained twice: of an architecture that may keep state outside of its parameters, the first member of
//! a run is trained again after all others, and kept only if it is the same, bit for bit.
//!
//! State that members share shows in it, wherever it lies and however late it is written: the first training saw none of
//! what the others left behind. It is not written to a checkpoint before, so that a run that was interrupted has the
//! comparison still before it.

use std::collections::VecDeque;

use crate::augment::Augment;
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::law::Law;
use crate::member::{Device, Member, Settings};

/// Of some members the first that may be trained here: not already there, and no other process's.
pub(super) type Free<'a> = dyn FnMut(&[u64]) -> Result<Option<u64>> + 'a;

/// The number of the member that is trained twice, put at the beginning of `todo` and at the end once more; `None` where there
/// is none. On a GPU, and in stacks, sums are not the same twice.
///
/// # Errors
/// Those of `free`.
pub(super) fn again(
    todo: &mut Vec<u64>,
    backend: &dyn Backend,
    settings: &Settings,
    free: &mut Free<'_>,
) -> Result<Option<u64>> {
    let comparable = settings.device == Device::Cpu && backend.max_stack() == 1;
    let remembers = settings.augment.as_ref().is_some_and(Augment::may_keep_state);
    if !comparable || !(remembers || backend.may_keep_state()) {
        return Ok(None);
    }
    let first = free(todo)?;
    first.into_iter().for_each(|first| put_around(first, todo));
    Ok(first)
}

/// The same for the learners of a partition, whose certificates rest on each being a deterministic function of its samples:
/// whatever computes them, the one with the most samples is trained twice.
///
/// # Errors
/// Those of `free`.
pub(super) fn learner_again(
    todo: &mut Vec<u64>,
    n_samples: impl Fn(u64) -> usize,
    free: &mut Free<'_>,
) -> Result<Option<u64>> {
    let mut by_size = todo.clone();
    by_size.sort_by_key(|number| (std::cmp::Reverse(n_samples(*number)), *number));
    // First of all, so that a learner that is none is found with the others still before it.
    let largest = free(&by_size)?;
    largest.into_iter().for_each(|largest| put_around(largest, todo));
    Ok(largest)
}

fn put_around(number: u64, todo: &mut Vec<u64>) {
    todo.retain(|other| *other != number);
    todo.insert(0, number);
    todo.push(number);
}

/// What is known of it: its first training, until the second is there.
#[derive(Debug, Default)]
pub(super) struct Twice {
    held: VecDeque<Member>,
    of_partition: bool,
}

impl Twice {
    pub(super) fn of(law: &Law) -> Self {
        Self { of_partition: matches!(law, Law::Partition(_)), ..Self::default() }
    }

    /// Takes a training of the member. Gives it back when both are there and the same.
    ///
    /// # Errors
    /// A training error that names the member if they are not.
    pub(super) fn compare(&mut self, member: Member) -> Result<Option<Member>> {
        let Some(first) = self.held.pop_front() else {
            self.held.push_back(member);
            return Ok(None);
        };
        if first.values.is_same(&member.values)? && first.loss.to_bits() == member.loss.to_bits() {
            return Ok(Some(member));
        }
        if self.of_partition {
            return Err(Error::training(
                Some(member.number),
                "trained again on the same samples, it differs. Learners of a Partition must be \
                 deterministic functions of their samples, or certificates without chance mean nothing: \
                 use a model that is deterministic (on the CPU), or a law with noise; none of the learners \
                 trained now is kept",
            ));
        }
        Err(Error::training(
            Some(member.number),
            "trained again after the others, it differs. Members share state that is neither a parameter \
             nor a buffer (an object, a class attribute, a cache, a file, a memory of 'augment'?), or draw \
             random numbers from a source that is not theirs; none of the members trained now is kept",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::law::Partition;
    use crate::partition::Assign;

    fn member(values: &[f32]) -> Member {
        Member { number: 3, values: values.to_vec().into(), loss: 0.5 }
    }

    #[test]
    fn a_learner_of_a_partition_is_refused_if_it_is_another_one_the_second_time() -> Result<()> {
        let mut todo = vec![2, 3, 5];
        let n_samples = |number: u64| [0, 0, 7, 9, 0, 9][number as usize];
        // The one with the most samples, first and last; the next one where another process has that.
        assert_eq!(learner_again(&mut todo, n_samples, &mut |all| Ok(all.first().copied()))?, Some(3));
        assert_eq!(todo, [3, 2, 5, 3]);
        let mut todo = vec![2, 3, 5];
        assert_eq!(learner_again(&mut todo, n_samples, &mut |all| Ok(all.get(1).copied()))?, Some(5));
        assert_eq!(todo, [5, 2, 3, 5]);
        assert_eq!(learner_again(&mut Vec::new(), |_| 1, &mut |all| Ok(all.first().copied()))?, None);
        let law = Law::Partition(Partition::new(6, 1, Assign::Content, None)?);
        let mut twice = Twice::of(&law);
        assert_eq!(twice.compare(member(&[1.0]))?, None);
        let error = twice.compare(member(&[1.5])).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("Learners of a Partition must be deterministic"), "{error}");
        Ok(())
    }

    #[test]
    fn only_the_same_bits_are_the_same_member() {
        let mut twice = Twice::default();
        assert_eq!(twice.compare(member(&[1.0, 0.0])), Ok(None));
        assert_eq!(twice.compare(member(&[1.0, 0.0])), Ok(Some(member(&[1.0, 0.0]))));
        assert_eq!(twice.compare(member(&[1.0, 0.0])), Ok(None));
        let error = twice.compare(member(&[1.0, -0.0])).err().map(|error| error.to_string());
        assert!(error.unwrap_or_default().starts_with("Training of member 3 failed: trained again"));
    }
}
