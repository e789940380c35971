//! The parts of a guarantee's sentence that kinds of proof share.

use super::record::{Evidence, Record};
use super::settings::{Bound, Selection};
use crate::change::{Number, Threat};
use crate::law::{Law, NoiseLaw};
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
    let (covered, law, notes) = (record.law.covered(), record.law.describe(), notes(record));
    let differs =
        "the prediction stays the same for every training set that differs from the received one only by";
    let classes = record.classes_as_received;
    if record.law.covers_edits() {
        let order = order(record);
        let classes = if classes { CLASSES } else { "" };
        return format!(
            "{certainty} {differs} {covered} (or, if edits=\"any\" is asked for, by at most n_poisoned \
             samples inserted, deleted or changed in any mix and in any way{order}), under \
             {law}{classes}.{notes}"
        );
    }
    let classes =
        if classes { ", nor is a change of the list of classes, which is taken as received" } else { "" };
    format!(
        "{certainty} {differs} {covered}, under {law}; inserting or deleting samples is not \
         covered{classes}.{notes}"
    )
}

/// What is said of a list of classes that was learned.
const CLASSES: &str = "; a change of the list of classes, which is taken as received, is not covered";

/// Draws of a fixed size are shown in the order of the training set, Poisson draws in an order of their own.
fn order(record: &Record) -> &'static str {
    match &record.law {
        Law::Subsample(law) if law.rate().is_some() => "",
        _ => ", while the others stay in their order",
    }
}

/// The sentence about one threat, of the samples whose predictions survive it.
pub(super) fn within(record: &Record, certainty: &str, threat: &Threat) -> String {
    let order = if threat.in_place() { "" } else { order(record) };
    format!(
        "{certainty} the prediction of a sample that is certified against this threat is the same for \
         every training set that the received one becomes, or that became the received one, when \
         {threat}{order}, under {}{}.{}",
        record.law.describe(),
        if record.classes_as_received { CLASSES } else { "" },
        notes(record)
    )
}

/// What was done before the noise, what is trusted, and which members could not be trained; empty if nothing of it.
pub(super) fn notes(record: &Record) -> String {
    let before = match &record.before_noise {
        Some(what) => format!(" Each sample first passes through {what}."),
        None => String::new(),
    };
    let failed = match record.n_failed {
        0 => String::new(),
        1 => " The training of 1 member failed; it votes for the lowest class.".to_owned(),
        n => format!(" The training of {n} members failed; they vote for the lowest class."),
    };
    let idle = match record.n_idle {
        0 => String::new(),
        1 => " 1 learner had too few samples to be trained; it votes for a class that depends only on its \
              number."
            .to_owned(),
        n => format!(
            " {n} learners had too few samples to be trained; each votes for a class that depends only on \
             its number."
        ),
    };
    let empty = match record.n_empty {
        0 => String::new(),
        1 => " No samples, or too few to train on, were drawn for 1 member; it votes for the lowest class."
            .to_owned(),
        n => {
            format!(
                " No samples, or too few to train on, were drawn for {n} members; they vote for the \
                     lowest class."
            )
        }
    };
    before + &trusted(record) + &failed + &idle + &empty
}

/// Which samples the statement is about, where others are assumed to be as they were.
fn trusted(record: &Record) -> String {
    let n = record.n_trusted;
    if n == 0 {
        return String::new();
    }
    let use_of_them = match &record.evidence {
        Evidence::Members { .. } => "every member was trained on all of them as they are",
        Evidence::Election { .. } => "every learner was trained on all of them",
        Evidence::Exact => "no noise was added to them",
    };
    let (further, they) = match n {
        1 => ("1 further sample was taken as trusted".to_owned(), "it is"),
        _ => (format!("{} further samples were taken as trusted", Number(n)), "they are"),
    };
    let use_of_them = match n {
        1 => use_of_them
            .replace("all of them as they are", "it as it is")
            .replace("all of them", "it")
            .replace("them", "it"),
        _ => use_of_them.to_owned(),
    };
    let others = match record.facts.n_train {
        // Who certifies a partition from its learners' votes need not know.
        0 => "the others".to_owned(),
        n => format!("one of {} samples", Number(n)),
    };
    format!(
        " The training set that may differ is {others}; {further}: {they} assumed unchanged, and \
         {use_of_them}."
    )
}
