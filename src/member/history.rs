//! How the number of members came about: what was planned, what was seen, and whether that decided on more.
//!
//! A bound for a fixed number of members is wrong for a number that was chosen after a look at the answers. So an
//! ensemble remembers at which numbers its answers were seen. Asking for another number after that, or adding members
//! until the answer is liked, makes it a *grown* one for ever; resuming what was interrupted does not. Facts are only
//! ever added, so that histories of several processes are put together by taking all of them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// What is known of the number of members; no part of their identity.
///
/// # Example
/// ```
/// # #[cfg(feature = "training")] {
/// use certssb::History;
/// let mut history = History::default();
/// assert!(!history.plan(1000) && !history.plan(1200), "nothing was seen: any number may be planned");
/// history.see(1200);
/// assert!(!history.plan(1200), "what was seen may be asked for again");
/// assert!(history.plan(1500) && history.grown());
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    planned: BTreeSet<u64>,
    seen: BTreeSet<u64>,
    grown: bool,
}

impl History {
    /// Numbers of members that were asked for.
    pub fn planned(&self) -> impl Iterator<Item = u64> + '_ {
        self.planned.iter().copied()
    }

    /// Numbers of members whose answers were seen.
    pub fn seen(&self) -> impl Iterator<Item = u64> + '_ {
        self.seen.iter().copied()
    }

    /// Whether a number of members was chosen after a look, so that only an any-time bound is valid.
    pub fn grown(&self) -> bool {
        self.grown
    }

    /// So many members are asked for, known in advance; whether that makes the ensemble a grown one.
    pub fn plan(&mut self, n_members: u64) -> bool {
        self.planned.insert(n_members);
        let grows = !self.grown && self.seen.iter().any(|seen| *seen != n_members);
        self.grown |= grows;
        grows
    }

    /// Answers of so many members are about to be seen. Where those of another number were, such as by another process while this
    /// one was still training, whoever sees both can choose.
    pub fn see(&mut self, n_members: u64) {
        self.seen.insert(n_members);
        self.grown |= self.seen.len() > 1;
    }

    /// Answers decide on the number of members.
    pub fn grow(&mut self) {
        self.grown = true;
    }

    /// Takes over all that another history of the same members knows.
    pub fn merge(&mut self, other: &Self) {
        self.planned.extend(&other.planned);
        self.seen.extend(&other.seen);
        self.grown |= other.grown || self.seen.len() > 1;
    }

    /// One name per fact.
    pub(crate) fn facts(&self) -> BTreeSet<String> {
        let planned = self.planned.iter().map(|n| format!("planned-{n:06}"));
        let seen = self.seen.iter().map(|n| format!("seen-{n:06}"));
        planned.chain(seen).chain(self.grown.then(|| "grown".to_owned())).collect()
    }

    /// Adds the fact of that name; false if there is none such.
    pub(crate) fn add(&mut self, fact: &str) -> bool {
        let (kind, number) = fact.split_once('-').unwrap_or((fact, ""));
        let mut known = Self::default();
        match (kind, number.parse()) {
            ("planned", Ok(n)) => drop(known.planned.insert(n)),
            ("seen", Ok(n)) => known.see(n),
            ("grown", Err(_)) => known.grow(),
            _ => return false,
        }
        // Names have one form, so that no fact has two.
        let same = known.facts().contains(fact);
        self.merge(&known);
        same
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks for numbers (p), looks (s) and grows (g), in order.
    fn history(steps: &[(char, u64)]) -> History {
        let mut history = History::default();
        for (step, n) in steps {
            match step {
                'p' => drop(history.plan(*n)),
                's' => history.see(*n),
                _ => history.grow(),
            }
        }
        history
    }

    #[test]
    fn a_number_chosen_after_a_look_grows_and_any_other_does_not() {
        assert!(!history(&[('p', 9), ('p', 9), ('s', 9), ('p', 9), ('s', 9)]).grown());
        assert!(!history(&[('p', 9), ('p', 5), ('p', 12), ('s', 12)]).grown(), "interrupted, planned anew");
        assert!(history(&[('p', 9), ('s', 9), ('p', 12)]).grown());
        assert!(history(&[('p', 9), ('s', 9), ('p', 5)]).grown(), "fewer is a choice as well");
        assert!(history(&[('p', 9), ('s', 9), ('p', 12), ('p', 9)]).grown(), "for ever");
        assert!(history(&[('g', 0), ('p', 9)]).grown());
        assert!(
            history(&[('p', 9), ('p', 12), ('s', 9), ('s', 12)]).grown(),
            "the one that is liked can be taken"
        );
    }

    #[test]
    fn histories_are_put_together_in_any_order_and_named_fact_by_fact() {
        let (a, b) = (history(&[('p', 9), ('s', 9)]), history(&[('p', 1_000_000), ('g', 0)]));
        let (mut ab, mut ba, mut named) = (a.clone(), b.clone(), History::default());
        ab.merge(&b);
        ba.merge(&a);
        assert!(ab == ba && ab.grown());
        let (mut early, late) = (history(&[('p', 12), ('s', 12)]), history(&[('p', 12), ('p', 9), ('s', 9)]));
        early.merge(&late);
        assert!(early.grown() && !late.grown(), "two numbers were seen");
        assert!(ab.facts().iter().all(|fact| named.add(fact)));
        assert_eq!(named, ab);
        assert_eq!(a.facts().into_iter().collect::<Vec<_>>(), ["planned-000009", "seen-000009"]);
        for other in
            ["", "seen", "seen-", "seen-9", "seen-00009x", "grown-1", "planned--00001", "seen-+00009"]
        {
            assert!(!History::default().add(other), "{other}");
        }
    }
}
