//! The published form of sample-specific noise: a scout finds the magnitudes before any member is trained.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::Arc;

use super::threads::{guarded, with_workers};
use super::train::{self, Job};
use super::vote::{collect, flags};
use super::{Control, Ensemble};
use crate::backend::{Backend, Flag, Search, Session, Source};
use crate::error::{Error, Result};
use crate::law::{Guarantee, Law, NoiseLaw, SampleSpecific};
use crate::member::checkpoint::Checkpoint;
use crate::member::{read, Inputs, Member, TrainingSet};
use crate::quantity::Quantity;
use crate::seed::SCOUT;

/// Inputs that one worker searches at a time.
const BLOCK: usize = 64;

impl Ensemble {
    /// Trains the scout of the published form and finds the magnitude of every training sample with it. Other
    /// laws need neither.
    ///
    /// # Errors
    /// As [`Ensemble::train`].
    pub(super) fn scout(
        &mut self,
        data: &dyn TrainingSet,
        checkpoint: Option<&Checkpoint>,
        control: &Control<'_>,
    ) -> Result<()> {
        let Some(law) = self.published() else { return Ok(()) };
        if self.scout.is_none() {
            let base = Law::Gaussian(law.base());
            let source = Source { data, law: &base, seed: self.record.seed, parts: None, sigmas: None };
            let job = Job { source, backend: self.backend.as_ref(), settings: &self.settings, twice: None };
            let mut found = None;
            train::run(job, &[SCOUT], checkpoint, control, |finished| {
                found = Some(finished);
                Ok(())
            })?;
            self.new.extend(found.iter().filter(|(_, resumed)| !resumed).map(|(scout, _)| scout.number));
            self.scout = found.map(|(scout, _)| scout);
        }
        if self.sigmas.is_none() {
            let label = |index| data.label(index).map(|label| label as usize);
            self.sigmas = self.search_all(data, Some(&label), control)?.map(Arc::from);
        }
        Ok(())
    }

    /// The magnitude of each input that the scout of the published form finds; `None` for other laws.
    ///
    /// # Errors
    /// As [`Ensemble::votes`].
    pub(super) fn published_magnitudes(
        &self,
        inputs: &dyn Inputs,
        control: &Control<'_>,
    ) -> Result<Option<Vec<f32>>> {
        let known = self.asked_sigmas.as_ref().filter(|known| known.len() == inputs.n_samples());
        match self.published() {
            Some(_) if known.is_some() => Ok(known.cloned()),
            Some(_) => self.search_all(inputs, None, control),
            None => Ok(None),
        }
    }

    pub(super) fn published(&self) -> Option<SampleSpecific> {
        self.record.law.sample_specific().filter(|law| law.guarantee() == Guarantee::Published).copied()
    }

    /// One search per input, by the scout, on all workers.
    fn search_all(
        &self,
        inputs: &dyn Inputs,
        label: Option<&(dyn Fn(usize) -> Result<usize> + Sync)>,
        control: &Control<'_>,
    ) -> Result<Option<Vec<f32>>> {
        let (Some(law), Some(scout)) = (self.published(), &self.scout) else { return Ok(None) };
        let n = inputs.n_samples();
        if scout.is_failed() {
            // Nothing to search with: every input has the magnitude from which searches start.
            return Ok(Some(vec![law.search().start.get() as f32; n]));
        }
        let blocks: Vec<usize> = (0..n).step_by(BLOCK).collect();
        let workers = self.settings.workers().min(blocks.len());
        let (next, stops) = (AtomicUsize::new(0), flags(blocks.len()));
        let (sender, results) = mpsc::channel();
        let backend = self.backend.as_ref();
        let work = |sender: Sender<_>| {
            let session = guarded(SCOUT, || backend.session(&self.settings, inputs.shape(), false));
            let mut session = match session {
                Ok(session) => session,
                Err(error) => {
                    // A receiver that has gone has had an error before.
                    let _ = sender.send((0, Err(error)));
                    return;
                }
            };
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some((&start, stop)) = blocks.get(number).zip(stops.get(number)) else { return };
                let search = Search { search: law.search(), seed: self.record.seed };
                let rows = Rows { inputs, label, start };
                let found = guarded(SCOUT, || rows.search(session.as_mut(), scout, backend, search, stop));
                if sender.send((number, found)).is_err() || stop.load(Ordering::Relaxed) {
                    return;
                }
            }
        };
        let mut all = vec![0.0; n];
        let ready = |_: &Sender<_>| backend.ready(self.settings.device);
        with_workers(vec![sender; workers], ready, backend, work, |_| {
            collect(&results, &stops, control, |number, sigmas: Vec<f32>| {
                all[number * BLOCK..][..sigmas.len()].copy_from_slice(&sigmas);
            })
        })??;
        Ok(Some(all))
    }
}

/// Inputs from `start` on, with their labels if these count.
struct Rows<'a> {
    inputs: &'a dyn Inputs,
    label: Option<&'a (dyn Fn(usize) -> Result<usize> + Sync)>,
    start: usize,
}

impl Rows<'_> {
    /// The magnitudes of up to [`BLOCK`] inputs, filled up where the backend wants that, so that none depends on the others.
    fn search(
        &self,
        session: &mut dyn Session,
        scout: &Member,
        backend: &dyn Backend,
        search: Search<'_>,
        stop: &Flag,
    ) -> Result<Vec<f32>> {
        let size = self.inputs.shape().n_features();
        let length = BLOCK.min(self.inputs.n_samples() - self.start);
        let whole = length.next_multiple_of(backend.batch().multiple);
        let (mut values, mut labels) = (vec![0.0_f32; whole * size], vec![0; whole]);
        for (offset, (row, own)) in values.chunks_exact_mut(size).zip(&mut labels).take(length).enumerate() {
            read(self.inputs, self.start + offset, row)?;
            if let Some(label) = self.label {
                *own = label(self.start + offset)?;
            }
        }
        let rows: Vec<&[f32]> = values.chunks_exact(size).collect();
        let labels = self.label.map(|_| &labels[..]);
        let found = session.panel(&[scout])?.magnitudes(0, &rows, labels, search, stop);
        let mut sigmas = found.map_err(Error::searching)?;
        sigmas.truncate(length);
        Ok(sigmas)
    }
}
