//! The parts of a guarantee's sentence that kinds of proof share.

use super::record::{Evidence, Record};
use super::settings::{Bound, Selection};
use crate::law::NoiseLaw;
use crate::quantity::{written, Quantity};

/// How sure the statement is, for whom, and over which chance; `each` says more of the members, as in " at each of 3
/// levels".
pub(super) fn certainty(record: &Record, n_samples: usize, each: &str) -> String {
    let (n_members, confidence) = match &record.evidence {
        Evidence::Exact | Evidence::Election { .. } => {
            return "For each test sample, with certainty,".to_owned()
        }
        Evidence::Members { n_members, confidence } => (n_members, confidence),
    };
    let family = record.family.unwrap_or(n_samples);
    let scope = if confidence.family_wise && family == n_samples {
        format!("For all {family} test samples together")
    } else if confidence.family_wise {
        format!("For all {family} test samples together, of which this table has {n_samples} rows")
    } else {
        "For each test sample on its own".to_owned()
    };
    let choice = match confidence.selection {
        Selection::Union => String::new(),
        Selection::Split { members } => format!(", the first {members} of which chose the class"),
    };
    let any_time = match (confidence.bound, confidence.selection) {
        (Bound::Betting, Selection::Union) => ", however often members were added after a look at the result",
        (Bound::Betting, Selection::Split { .. }) => {
            ", however often members were added after a look at the result (provided that the number of \
             choosing members was fixed before the first look)"
        }
        _ => "",
    };
    format!(
        "{scope}, with probability at least 1 - {} over the noise of {n_members} members{each}{choice}{any_time}, \
         which nobody who changed the data knew,",
        written(confidence.alpha.get())
    )
}

/// The sentence of a law that hides changes in noise.
pub(super) fn noised(record: &Record, certainty: &str) -> String {
    let classes = match record.classes_as_received {
        true => ", nor is a change of the list of classes, which is taken as received",
        false => "",
    };
    format!(
        "{certainty} the prediction stays the same for every training set that differs from the received one \
         only by {}, under {}; inserting or deleting samples is not covered{classes}.{}",
        record.law.covered(),
        record.law.describe(),
        notes(record)
    )
}

/// What was done before the noise, and which members could not be trained; empty if neither.
pub(super) fn notes(record: &Record) -> String {
    let before = match &record.before_noise {
        Some(what) => format!(" Each sample first passes {what}."),
        None => String::new(),
    };
    let failed = match record.n_failed {
        0 => String::new(),
        1 => " The training of 1 member diverged; it votes for the lowest class.".to_owned(),
        n => format!(" The training of {n} members diverged; they vote for the lowest class."),
    };
    let idle = match record.n_idle {
        0 => String::new(),
        1 => " 1 learner had too few samples to be trained; it votes for a class that its number fixes."
            .to_owned(),
        n => format!(
            " {n} learners had too few samples to be trained; each votes for a class that its number fixes."
        ),
    };
    before + &failed + &idle
}
