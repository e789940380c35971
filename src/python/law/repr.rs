//! How laws print: as the call that makes them.

use crate::law::{Guarantee, Law, Partition, SampleSpecific, SigmaSearch};
use crate::partition::Assign;
use crate::quantity::{NoiseScale, Quantity};

pub(super) fn repr(law: &Law) -> String {
    let flag = |value: bool| if value { "True" } else { "False" };
    match law {
        Law::Gaussian(law) => format!("Gaussian(sigma={:?})", law.sigma()),
        Law::Uniform(law) => format!("Uniform(half_width={:?})", law.half_width()),
        Law::LabelNoise(law) => format!("LabelNoise(q={:?})", law.q()),
        Law::Discrete(law) => format!(
            "Discrete(keep={:?}, alphabet={}, labels={}, test_input={})",
            law.keep(),
            law.alphabet(),
            flag(law.labels()),
            flag(law.test_input())
        ),
        Law::Subsample(law) => {
            let inner = law.inner().map_or_else(String::new, |inner| format!("{}, ", repr(inner)));
            match (law.size(), law.rate()) {
                (Some(size), _) => format!("Subsample({inner}size={size})"),
                (_, rate) => format!("Subsample({inner}rate={:?})", rate.unwrap_or_default()),
            }
        }
        Law::Product(law) => law.parts().iter().map(repr).collect::<Vec<_>>().join(" & "),
        Law::SampleSpecific(law) => repr_specific(law),
        Law::Cascade(law) => {
            let levels: Vec<String> = law.levels().iter().map(repr).collect();
            let thresholds: Vec<f64> = (0..levels.len()).filter_map(|g| law.threshold(g)).collect();
            format!("Cascade([{}], thresholds={thresholds:?})", levels.join(", "))
        }
        Law::Partition(law) => repr_partition(law),
    }
}

pub(super) fn guarantee_name(guarantee: Guarantee) -> &'static str {
    match guarantee {
        Guarantee::Sound => "sound",
        Guarantee::Published => "published",
    }
}

/// Settings of the search that are the defaults are left out.
fn repr_specific(law: &SampleSpecific) -> String {
    let (own, sigma) = (law.search(), law.base().sigma());
    let usual = SigmaSearch::around(NoiseScale::wrap(sigma), law.guarantee());
    let mut text = format!("SampleSpecific(sigma={sigma:?}, guarantee='{}'", guarantee_name(law.guarantee()));
    for (name, own, usual) in [
        ("start", own.start.get(), usual.start.get()),
        ("sigma_min", own.sigma_min.get(), usual.sigma_min.get()),
        ("sigma_max", own.sigma_max.get(), usual.sigma_max.get()),
        ("learning_rate", own.learning_rate.get(), usual.learning_rate.get()),
    ] {
        if own != usual {
            text.push_str(&format!(", {name}={own:?}"));
        }
    }
    for (name, own, usual) in [("steps", own.steps, usual.steps), ("samples", own.samples, usual.samples)] {
        if own != usual {
            text.push_str(&format!(", {name}={own}"));
        }
    }
    text + ")"
}

/// What the defaults say is left out.
fn repr_partition(law: &Partition) -> String {
    let mut text = format!("Partition({}", law.n_parts());
    if law.spread().degree() != 1 {
        text.push_str(&format!(", overlap={}", law.spread().degree()));
    }
    if law.assign() != Assign::default() {
        text.push_str(&format!(", assign='{}'", law.assign().name()));
    }
    if let Some(shifts) = law.own_shifts() {
        text.push_str(&format!(", shifts={shifts:?}"));
    }
    text + ")"
}
