//! What a member says about test inputs, by the crate's own kernels. Each input is calculated by itself, so that the
//! answer on one does not depend on which others it came with.

use std::sync::atomic::AtomicBool;

use super::search::Ascent;
use crate::error::Result;
use crate::kernel::{Network, Workspace};
use crate::law::SampleSpecific;
use crate::seed::Seed;

/// A member whose opinion is asked for.
#[derive(Clone, Copy)]
pub(in crate::ensemble) struct Voter<'a> {
    pub(in crate::ensemble) network: &'a Network,
    pub(in crate::ensemble) values: &'a [f32],
    pub(in crate::ensemble) number: u64,
    pub(in crate::ensemble) seed: Seed,
    /// The law, if members add noise of their own choice to test inputs.
    pub(in crate::ensemble) specific: Option<&'a SampleSpecific>,
}

impl Voter<'_> {
    /// Logits (n, K), or logarithms of scores where the member adds noise of its own choice.
    ///
    /// # Errors
    /// Cancellation.
    pub(in crate::ensemble) fn logits(
        &self,
        inputs: &[&[f32]],
        work: &mut Workspace,
        stop: &AtomicBool,
    ) -> Result<Vec<f32>> {
        if let Some(ascent) = self.ascent() {
            let sigmas = ascent.magnitudes(inputs, None, work, stop)?;
            return ascent.log_scores(inputs, &sigmas, work, stop);
        }
        Ok(self.network.logits(self.values, inputs, work).to_vec())
    }

    /// The magnitude (n) of the member's noise on each input; nothing where it adds none.
    ///
    /// # Errors
    /// Cancellation.
    pub(in crate::ensemble) fn magnitudes(
        &self,
        inputs: &[&[f32]],
        work: &mut Workspace,
        stop: &AtomicBool,
    ) -> Result<Vec<f32>> {
        self.ascent().map_or(Ok(Vec::new()), |ascent| ascent.magnitudes(inputs, None, work, stop))
    }

    fn ascent(&self) -> Option<Ascent<'_>> {
        let search = self.specific?.search();
        let Self { network, values, seed, number, .. } = *self;
        Some(Ascent { network, values, search, seed, member: number })
    }
}
