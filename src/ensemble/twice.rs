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
use crate::member::{Device, Member, Settings};

/// The number of the member that is trained twice, put at the end of `todo` once more; `None` where there is none. On a
/// GPU, and in stacks, sums are not the same twice.
pub(super) fn again(todo: &mut Vec<u64>, backend: &dyn Backend, settings: &Settings) -> Option<u64> {
    let comparable = settings.device == Device::Cpu && backend.max_stack() == 1;
    let remembers = settings.augment.as_ref().is_some_and(Augment::may_keep_state);
    let first = todo.first().copied().filter(|_| comparable && (remembers || backend.may_keep_state()))?;
    todo.push(first);
    Some(first)
}

/// What is known of it: its first training, until the second is there.
#[derive(Debug, Default)]
pub(super) struct Twice {
    held: VecDeque<Member>,
}

impl Twice {
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
        Err(Error::training(
            Some(member.number),
            "trained again after the others it is another one. Members share state that is no parameter and no buffer \
             (an object, a class attribute, a cache, a file, a memory of 'augment'?), or draw from what is not theirs; of those trained now none \
             is kept",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(values: &[f32]) -> Member {
        Member { number: 3, values: values.to_vec().into(), loss: 0.5 }
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
