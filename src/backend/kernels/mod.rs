//! Single members on the CPU by the crate's own kernels, without torch: the same steps in the same order as torch's, equal to
//! it up to rounding. Each test input is calculated by itself, so that the answer on one does not depend on which others it
//! came with.

mod search;

use std::borrow::Cow;

#[cfg(feature = "python")]
pub(crate) use search::log_mean_scores;
use search::Ascent;

use super::changed::Addresses;
use super::{batches, go_on, order, Backend, Batch, Changes, Fit, Flag, NoisySet, Panel, Search, Session};
use crate::error::{Error, Result};
use crate::kernel::{discriminant, ridge, Adam, Buffer, Network, Workspace};
use crate::member::built_in::{BuiltIn, ClosedForm};
use crate::member::{FeatureShape, Gpus, Layout, Member, Settings};

/// Members of a built-in network that the kernels know.
#[derive(Debug)]
pub struct Kernels {
    name: &'static str,
    layout: Layout,
    network: Network,
    /// How members are solved, where they are not trained.
    closed: Option<ClosedForm>,
    changes: Changes,
}

impl Kernels {
    /// `None` for a network that the kernels do not know.
    pub(super) fn new(description: BuiltIn) -> Option<Self> {
        let changes = description.changes();
        let BuiltIn { name, layout, network, closed, .. } = description;
        Some(Self { name, layout, network: network?, closed, changes })
    }
}

impl Backend for Kernels {
    fn name(&self) -> &str {
        self.name
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn is_built_in(&self) -> bool {
        true
    }

    /// Those that whoever computes the same network elsewhere can use.
    fn gpus(&self) -> Gpus {
        super::gpus()
    }

    fn changes(&self) -> Changes {
        self.changes
    }

    fn stride(&self, size: usize) -> usize {
        Buffer::stride(size)
    }

    fn session<'a>(
        &'a self,
        _settings: &Settings,
        shape: FeatureShape,
        _lane: bool,
    ) -> Result<Box<dyn Session + 'a>> {
        Ok(Box::new(Thread { model: self, shape, work: Workspace::default() }))
    }
}

/// One thread and its buffers.
struct Thread<'a> {
    model: &'a Kernels,
    shape: FeatureShape,
    work: Workspace,
}

impl Session for Thread<'_> {
    fn fit(&mut self, job: Fit<'_>, set: Cow<'_, NoisySet>, stop: &Flag) -> Result<Vec<Member>> {
        let fit = |(place, &number)| match self.model.closed {
            Some(form) => self.solve(form, job, number, place, &set, stop),
            None => self.train(job, number, place, &set, stop),
        };
        job.members.iter().enumerate().map(fit).collect()
    }

    fn panel<'s>(&'s mut self, members: &'s [&'s Member]) -> Result<Box<dyn Panel + 's>> {
        Ok(Box::new(Voters { network: &self.model.network, members, work: &mut self.work }))
    }
}

impl Thread<'_> {
    /// A member in closed form.
    fn solve(
        &self,
        form: ClosedForm,
        job: Fit<'_>,
        number: u64,
        place: usize,
        set: &NoisySet,
        stop: &Flag,
    ) -> Result<Member> {
        let (mut rows, mut labels): (Vec<_>, Vec<_>) = set.samples(place).unzip();
        let mut changed: Vec<f32>;
        if job.settings.augment.is_some() {
            let addresses = Addresses { seed: job.seed, member: number, shape: self.shape, n: set.n() };
            changed = rows.concat();
            let copies = addresses.with_copies(job.settings, &mut changed)?;
            rows = changed.chunks_exact(self.shape.n_features()).collect();
            labels = labels.repeat(copies + 1);
        }
        let (k, penalty, goes_on) =
            (self.model.network.n_classes(), job.settings.penalty, || go_on(stop).is_ok());
        let solved = match form {
            ClosedForm::Discriminant => discriminant(&rows, &labels, k, penalty, goes_on),
            ClosedForm::Ridge => ridge(&rows, &labels, k, penalty, goes_on),
        };
        let (values, loss) = solved.ok_or_else(|| Error::cancelled("Training was cancelled."))?;
        Ok(Member::finished(number, values, loss))
    }

    /// Trains a member on its set as it is.
    fn train(
        &mut self,
        job: Fit<'_>,
        number: u64,
        place: usize,
        set: &NoisySet,
        stop: &Flag,
    ) -> Result<Member> {
        let (network, settings, n) = (&self.model.network, job.settings, set.n());
        let mut values = self.model.layout.initial(job.seed, number);
        let mut adam = Adam::new(values.len(), settings.learning_rate);
        let batches = batches(n, settings.batch_size);
        let (mut rows, mut labels) = (Vec::new(), Vec::new());
        let addresses = Addresses { seed: job.seed, member: number, shape: self.shape, n };
        let mut changed = Buffer::default();
        let mut loss = 0.0;
        for epoch in 0..settings.epochs {
            let order = if batches.len() == 1 {
                // The order within a batch does not matter.
                (0..n).collect()
            } else {
                order(job.seed, number, epoch as u64, n)
            };
            let mut sum = 0.0_f64;
            for &(start, length) in &batches {
                go_on(stop)?;
                rows.clear();
                labels.clear();
                let batch = order.iter().skip(start).take(length);
                for (row, label) in batch.filter_map(|&row| set.sample(place * n + row)) {
                    rows.push(row);
                    labels.push(label);
                }
                let (mean, gradient) = match &settings.augment {
                    None => network.gradient(&values, &rows, &labels, &mut self.work),
                    Some(augment) => {
                        let size = self.shape.n_features();
                        changed.resize(rows.len() * size, 0.0);
                        changed
                            .chunks_exact_mut(size)
                            .zip(&rows)
                            .for_each(|(to, row)| to.copy_from_slice(row));
                        augment.change(addresses.batch(epoch, start), &mut changed)?;
                        let rows: Vec<&[f32]> = changed.chunks_exact(size).collect();
                        network.gradient(&values, &rows, &labels, &mut self.work)
                    }
                };
                sum += f64::from(mean) * length as f64;
                adam.step(&mut values, gradient);
            }
            loss = (sum / n as f64) as f32;
            if !loss.is_finite() {
                return Ok(Member::failed(number, values.len()));
            }
        }
        Ok(Member::finished(number, values, loss))
    }
}

/// Members in front of test inputs.
struct Voters<'a> {
    network: &'a Network,
    members: &'a [&'a Member],
    work: &'a mut Workspace,
}

impl Voters<'_> {
    /// The member at `place` as one that searches, and the buffers for that.
    fn ascent<'s>(&'s mut self, place: usize, search: Search<'s>) -> Result<(Ascent<'s>, &'s mut Workspace)> {
        let unknown = || Error::training(None, "there is no such member");
        let member = self.members.get(place).ok_or_else(unknown)?;
        let Search { search, seed } = search;
        let (network, values, member) = (self.network, &*member.values, member.number);
        Ok((Ascent { network, values, search, seed, member }, self.work))
    }
}

impl Panel for Voters<'_> {
    fn logits(&mut self, batch: Batch<'_>, stop: &Flag) -> Result<Vec<f32>> {
        let size =
            batch.values.len() / (batch.rows * if batch.shared { 1 } else { self.members.len() }).max(1);
        let mut all = Vec::with_capacity(self.members.len() * batch.rows * self.network.n_classes());
        for (place, member) in self.members.iter().enumerate() {
            go_on(stop)?;
            let from = if batch.shared { 0 } else { place * batch.rows * size };
            let own = batch.values.get(from..from + batch.rows * size).unwrap_or_default();
            let rows: Vec<&[f32]> = own.chunks_exact(size.max(1)).collect();
            all.extend_from_slice(self.network.logits(&member.values, &rows, self.work));
        }
        Ok(all)
    }

    fn magnitudes(
        &mut self,
        place: usize,
        rows: &[&[f32]],
        labels: Option<&[usize]>,
        search: Search<'_>,
        stop: &Flag,
    ) -> Result<Vec<f32>> {
        let (ascent, work) = self.ascent(place, search)?;
        ascent.magnitudes(rows, labels, work, stop)
    }

    fn log_scores(
        &mut self,
        place: usize,
        rows: &[&[f32]],
        sigmas: &[f32],
        search: Search<'_>,
        stop: &Flag,
    ) -> Result<Vec<f32>> {
        let (ascent, work) = self.ascent(place, search)?;
        ascent.log_scores(rows, sigmas, work, stop)
    }
}
