//! Certificates of one law: an interval per sample, and the law's likelihood ratio decides.

use std::collections::HashMap;

use super::frontier::Distinct;
use super::proof::{no_radius, Budget, Proof};
use super::record::Record;
use super::sentence;
use crate::change::Threat;
use crate::error::Result;
use crate::interval::Interval;
use crate::law::NoiseLaw;
use crate::stop::Stop;

/// Members' votes bounded under one law, or probabilities under it that are known exactly.
pub(super) struct OneLaw<'a> {
    pub(super) record: &'a Record,
    pub(super) intervals: &'a [Interval],
}

impl Proof for OneLaw<'_> {
    fn covers(&self, budget: &Budget) -> Result<()> {
        let Record { law, facts, .. } = self.record;
        match budget {
            // Whether the law has radii does not depend on the interval.
            Budget::Total => match law.total_radius(&Interval::new(0, 0.75, 0.25), facts) {
                Some(_) => Ok(()),
                None => Err(no_radius(law)),
            },
            Budget::Samples(threat) => law.check_threat(threat, facts),
            Budget::Entries => law.flip_likelihood(0, facts).map(drop),
        }
    }

    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn intervals(&self) -> &[Interval] {
        self.intervals
    }

    fn radius(&self) -> Option<Vec<f64>> {
        self.covers(&Budget::Total).ok()?;
        let Record { law, facts, .. } = self.record;
        let stop = Stop::current();
        // The smallest radius where the work is to stop.
        let total =
            |interval: &Interval| if stop.is_set() { Some(0.0) } else { law.total_radius(interval, facts) };
        let radius = |interval: &Interval| match total(interval) {
            Some(radius) if !interval.abstained() => Some(radius.max(0.0)),
            other => other.map(|_| 0.0),
        };
        // Votes are counts: many samples share an interval, and a radius takes two quantiles.
        let mut known: HashMap<[u64; 3], Option<f64>> = HashMap::new();
        let key = |i: &Interval| [i.p_lower.to_bits(), i.p_upper.to_bits(), i.rest.to_bits()];
        self.intervals.iter().map(|own| *known.entry(key(own)).or_insert_with(|| radius(own))).collect()
    }

    fn holds(&self, threat: &Threat) -> Result<Vec<bool>> {
        Distinct::of(self.intervals).holds(&self.record.law, &self.record.facts, threat)
    }

    fn trigger_norm(&self, threat: &Threat) -> Result<Vec<f64>> {
        Distinct::of(self.intervals).norms(&self.record.law, &self.record.facts, threat)
    }

    fn n_poisoned(&self, threat: &Threat) -> Result<Vec<usize>> {
        Distinct::of(self.intervals).counts(&self.record.law, &self.record.facts, threat)
    }

    fn n_flips(&self) -> Result<Vec<usize>> {
        Distinct::of(self.intervals).flips(&self.record.law, &self.record.facts)
    }

    fn guarantee(&self) -> String {
        let certainty = sentence::certainty(self.record, self.intervals.len(), "");
        sentence::noised(self.record, &certainty)
    }

    fn statement(&self, threat: &Threat) -> String {
        let certainty = sentence::certainty(self.record, self.intervals.len(), "");
        sentence::within(self.record, &certainty, threat)
    }
}
