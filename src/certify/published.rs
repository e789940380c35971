//! The published form of sample-specific noise: radii as its authors state them, and no proof.

use super::detail::Settled;
use super::proof::{Budget, Proof};
use super::record::Record;
use super::sentence;
use crate::error::{Error, Result};
use crate::interval::Interval;
use crate::law::{DataFacts, Gaussian, NoiseLaw};

/// Votes under noise of each test sample's own magnitude, and what a ledger made of the regions around them.
pub(super) struct Published<'a> {
    pub(super) record: &'a Record,
    pub(super) intervals: &'a [Interval],
    pub(super) sigmas: &'a [f64],
    pub(super) settled: Option<&'a [Settled]>,
}

impl Proof for Published<'_> {
    fn covers(&self, budget: &Budget) -> Result<()> {
        let Record { law, facts, .. } = self.record;
        match budget {
            Budget::Total => Ok(()),
            // Always refused: a radius is all that it states.
            Budget::Samples(threat) => law.check_threat(threat, facts),
            Budget::Entries => law.flip_likelihood(0, facts).map(drop),
        }
    }

    fn check(&self) -> Result<()> {
        let (n_samples, facts) = (self.intervals.len(), &self.record.facts);
        let sizes = self.sigmas.len() == n_samples && self.settled.iter().all(|s| s.len() == n_samples);
        let sigmas = self.sigmas.iter().all(|sigma| *sigma > 0.0 && sigma.is_finite());
        let right = |s: &Settled| s.radius >= 0.0 && s.prediction < facts.n_classes;
        if sizes && sigmas && self.settled.iter().copied().flatten().all(right) {
            return Ok(());
        }
        let expected = format_args!("one magnitude for each of {n_samples} samples");
        Err(Error::shape("sigmas", expected, "others"))
    }

    fn intervals(&self) -> &[Interval] {
        self.intervals
    }

    /// The class of the region that a sample was found to lie in.
    fn predictions(&self) -> Vec<usize> {
        match self.settled {
            Some(settled) => settled.iter().map(|settled| settled.prediction).collect(),
            None => self.intervals.iter().map(|interval| interval.prediction).collect(),
        }
    }

    fn abstained(&self) -> Vec<bool> {
        match self.settled {
            Some(settled) => settled.iter().map(|settled| settled.radius <= 0.0).collect(),
            None => self.intervals.iter().map(Interval::abstained).collect(),
        }
    }

    fn radius(&self) -> Option<Vec<f64>> {
        if let Some(settled) = self.settled {
            return Some(settled.iter().map(|settled| settled.radius).collect());
        }
        let own = self.intervals.iter().zip(self.sigmas);
        own.map(|(interval, sigma)| own_radius(*sigma, interval, &self.record.facts)).collect()
    }

    fn guarantee(&self) -> String {
        format!(
            "NOT A PROOF. The published form of Cert-SSBD states, with probability at least 1 - alpha for each test \
             sample, a radius of sigma/2 (Phi^-1(p_A) - Phi^-1(p_B)) with the sample's own sigma, under {}. No change of \
             the training set is certified: the sigmas were tuned on the received samples, so moving a trigger also \
             moves the noise, and a test sample's sigma says nothing about training samples.{}",
            self.record.law.describe(),
            sentence::notes(self.record)
        )
    }
}

/// sigma/2 (Phi^-1(p_A) - Phi^-1(p_B)) at a sample's own sigma, 0 where abstained.
pub(super) fn own_radius(sigma: f64, interval: &Interval, facts: &DataFacts) -> Option<f64> {
    let radius = Gaussian::new(sigma).ok()?.total_radius(interval, facts)?;
    Some(if interval.abstained() { 0.0 } else { radius.max(0.0) })
}
