//! Each member sees a few training samples only, drawn without replacement, then an inner law.

use serde::{Deserialize, Serialize};

use super::{DataFacts, Law, LikelihoodRatio, NoiseLaw, SampleSpecific};
use crate::change::Change;
use crate::error::{Error, Result};
use crate::seed::{Role, Seed};
use crate::stop::Stop;

/// `size` of the training samples without replacement, then `inner` on them (bagging, if there is none).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subsample {
    inner: Option<Box<Law>>,
    size: usize,
}

impl Subsample {
    /// A subsample of `size` samples, with an optional inner law.
    ///
    /// # Errors
    /// [`ErrorKind::Parameter`](crate::ErrorKind::Parameter) when size is 0 or the inner law subsamples
    /// itself. That size <= n is checked when n is known.
    pub fn new(inner: Option<Law>, size: usize) -> Result<Self> {
        if size == 0 {
            return Err(Error::parameter("size", "an integer from 1 to the number of training samples", 0));
        }
        match &inner {
            Some(Law::Subsample(_)) => {
                return Err(Error::parameter("inner", "a law that does not subsample itself", "a Subsample"))
            }
            Some(Law::Discrete(law)) if law.test_input() => {
                return Err(Error::parameter(
                    "inner",
                    "a law that leaves the test input alone",
                    "a Discrete that noises it",
                ))
            }
            Some(Law::Cascade(_)) => {
                let expected = "a law of one level; a cascade may have subsamples as levels";
                return Err(Error::parameter("inner", expected, "a Cascade"));
            }
            Some(Law::Partition(_)) => {
                return Err(Error::parameter("inner", "noise on the drawn samples", "a Partition"));
            }
            Some(law) if !law.sound() => {
                let expected = "a law with a proof; the published form of SampleSpecific stands alone";
                return Err(Error::parameter("inner", expected, law.describe()));
            }
            _ => {}
        }
        Ok(Self { inner: inner.map(Box::new), size })
    }

    /// The law inside.
    pub fn inner(&self) -> Option<&Law> {
        self.inner.as_deref()
    }

    /// How many samples a member sees.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The mixture over the number of changed samples drawn, b ~ Hypergeometric(n, r, k). Which samples were
    /// drawn is revealed to the attacker: that can only help him, so the bound is valid (data processing).
    ///
    /// # Errors
    /// `Cancelled` where the work is to stop.
    pub(super) fn likelihood(&self, change: &Change, facts: &DataFacts) -> Result<LikelihoodRatio> {
        let hit = |hits| match self.inner() {
            Some(law) => law.hit_ratio(hits, change, facts),
            None if hits == 0 || (change.trigger_norm == 0.0 && !change.labels) => {
                LikelihoodRatio::identity()
            }
            None => LikelihoodRatio::disjoint(),
        };
        let weights = hypergeometric(facts.n_train, change.n_poisoned, self.size.min(facts.n_train));
        let stop = Stop::current();
        let going_on = weights.into_iter().take_while(|_| !stop.is_set());
        let mixture = LikelihoodRatio::mixture(going_on.map(|(hits, weight)| (weight, hit(hits))));
        stop.check().map(|()| mixture)
    }
}

/// Probabilities of b marked ones among `draws` of `n`, `marked` of them marked; tails below 1e-20 are left out.
fn hypergeometric(n: usize, marked: usize, draws: usize) -> Vec<(usize, f64)> {
    let lowest = (marked + draws).saturating_sub(n);
    let highest = marked.min(draws);
    let mode = ((marked as f64 + 1.0) * (draws as f64 + 1.0) / (n as f64 + 2.0)) as usize;
    let mode = mode.clamp(lowest, highest);
    // P(b + 1) / P(b)
    let ratio = |b: usize| {
        (marked - b) as f64 * (draws - b) as f64 / ((b + 1) as f64 * (n + b + 1 - marked - draws) as f64)
    };
    let mut weights = vec![(mode, 1.0)];
    let mut weight = 1.0;
    for b in mode..highest {
        weight *= ratio(b);
        if weight < 1e-20 {
            break;
        }
        weights.push((b + 1, weight));
    }
    weight = 1.0;
    for b in (lowest..mode).rev() {
        weight /= ratio(b);
        if weight < 1e-20 {
            break;
        }
        weights.push((b, weight));
    }
    weights.sort_unstable_by_key(|(b, _)| *b);
    let total: f64 = weights.iter().map(|(_, w)| w).sum();
    weights.iter().map(|(b, w)| (*b, w / total)).collect()
}

impl NoiseLaw for Subsample {
    fn sample_specific(&self) -> Option<&SampleSpecific> {
        self.inner().and_then(NoiseLaw::sample_specific)
    }

    fn check(&self, facts: &DataFacts) -> Result<()> {
        if self.size > facts.n_train {
            return Err(Error::parameter(
                "size",
                format_args!("an integer from 1 to the number of training samples, {}", facts.n_train),
                self.size,
            ));
        }
        self.inner().map_or(Ok(()), |law| law.check(facts))
    }

    fn restricts_features(&self) -> bool {
        self.inner().is_some_and(NoiseLaw::restricts_features)
    }

    fn check_features(&self, features: &[f32]) -> Result<()> {
        self.inner().map_or(Ok(()), |law| law.check_features(features))
    }

    fn subset(&self, seed: Seed, member: u64, n_train: usize) -> Option<Vec<usize>> {
        let mut rng = seed.stream(Role::Subsample, member, 0);
        let mut drawn = rand::seq::index::sample(&mut rng, n_train, self.size).into_vec();
        drawn.sort_unstable();
        Some(drawn)
    }

    fn noise_features(&self, seed: Seed, member: u64, sample: usize, features: &mut [f32]) {
        if let Some(law) = self.inner() {
            law.noise_features(seed, member, sample, features);
        }
    }

    fn noise_label(&self, seed: Seed, member: u64, sample: usize, label: u32, n_classes: usize) -> u32 {
        self.inner().map_or(label, |law| law.noise_label(seed, member, sample, label, n_classes))
    }

    fn noises_test_inputs(&self) -> bool {
        self.inner().is_some_and(NoiseLaw::noises_test_inputs)
    }

    fn noise_test_input(&self, seed: Seed, member: u64, sample: usize, features: &mut [f32]) {
        if let Some(law) = self.inner() {
            law.noise_test_input(seed, member, sample, features);
        }
    }

    fn feature_ratio(&self, hits: usize, norm: f64, facts: &DataFacts) -> Option<LikelihoodRatio> {
        self.inner()?.feature_ratio(hits, norm, facts)
    }

    fn label_ratio(&self, hits: usize, facts: &DataFacts) -> Option<LikelihoodRatio> {
        self.inner()?.label_ratio(hits, facts)
    }

    fn norm_unit(&self) -> Option<f64> {
        self.inner()?.norm_unit()
    }

    fn covered(&self) -> String {
        "changes to at most n_poisoned of its samples, each by an L2 norm of at most trigger_norm and, where \
         labels=True is asked, with any labels"
            .to_owned()
    }

    fn describe(&self) -> String {
        let draw = format!("a random subsample of {} training samples for each member", self.size);
        match self.inner() {
            Some(law) => format!("{draw}, then {}", law.describe()),
            None => draw,
        }
    }
}
