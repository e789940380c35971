//! What members say about test inputs. Inputs go to members in batches of one size, the last one filled up where the backend
//! wants that, so that the vote on an input does not depend on which others it came with; with one exception: under a law that
//! noises test inputs (`Discrete` does if told to), the noise is that of an input's place among those asked.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use ndarray::{Array2, Array3};

use super::own_noise::specific;
use super::threads::{guarded, with_workers};
use super::{Control, Ensemble};
use crate::backend::{go_on, Batch, Batching, Flag, Search, Session};
use crate::error::{Error, Result};
use crate::law::{Law, NoiseLaw};
use crate::member::{all_finite, check_features, keep_freed_memory, read, Device, Inputs, Member, STACK};
use crate::noise::unit_normals;
use crate::quantity::Quantity;
use crate::seed::Role;

/// Values of the inputs that are in memory at the same time (64 MiB).
const BLOCK: usize = 1 << 24;

impl Ensemble {
    /// The class each member votes for, shape (n_members, n_samples); ties go to the lowest class.
    ///
    /// Inputs are streamed; beyond the result, memory is bounded. Members are in the order of their numbers. Those whose
    /// training diverged vote for the lowest class, and so does any other on an input for which its logits are not
    /// finite.
    ///
    /// # Errors
    /// Shape and parameter errors for inputs the members cannot take, a training error naming a member
    /// that has finite logits for none of the inputs, cancellation.
    pub fn votes(&self, inputs: &dyn Inputs, control: &Control<'_>) -> Result<Array2<u16>> {
        if let Some(votes) = self.said_of(inputs)? {
            return Ok(votes);
        }
        let votes = evaluate(self, inputs, 1, (Question::Logits, argmax), control)?;
        Array2::from_shape_vec((self.n_members(), inputs.n_samples()), votes).map_err(bad_shape)
    }

    /// Each member's softmax scores, shape (n_members, n_samples, n_classes).
    ///
    /// # Errors
    /// As [`Ensemble::votes`].
    pub fn scores(&self, inputs: &dyn Inputs, control: &Control<'_>) -> Result<Array3<f32>> {
        let k = self.record().n_classes;
        let scores = evaluate(self, inputs, k, (Question::Logits, softmax), control)?;
        Array3::from_shape_vec((self.n_members(), inputs.n_samples(), k), scores).map_err(bad_shape)
    }

    /// Each member's logits, shape (n_members, n_samples, n_classes); infinite ones are the largest that there are.
    ///
    /// # Errors
    /// As [`Ensemble::votes`].
    pub fn logits(&self, inputs: &dyn Inputs, control: &Control<'_>) -> Result<Array3<f32>> {
        let k = self.record().n_classes;
        let logits = evaluate(self, inputs, k, (Question::Logits, finite), control)?;
        Array3::from_shape_vec((self.n_members(), inputs.n_samples(), k), logits).map_err(bad_shape)
    }

    /// The noise magnitude of each input under sample-specific noise: shape (n_members, n_samples) for the sound
    /// form, where it is each member's own; (1, n_samples) for the published form.
    ///
    /// # Errors
    /// As [`Ensemble::votes`]; a parameter error for any other law.
    pub fn magnitudes(&self, inputs: &dyn Inputs, control: &Control<'_>) -> Result<Array2<f32>> {
        if self.record().law.sample_specific().is_none() {
            let law = self.record().law.describe();
            return Err(Error::parameter("law", "a SampleSpecific law, alone or inside another", law));
        }
        self.check_inputs(inputs)?;
        // The scout alone says it, whether members are there or not.
        if let Some(sigmas) = self.published_magnitudes(inputs, control)? {
            return Array2::from_shape_vec((1, sigmas.len()), sigmas).map_err(bad_shape);
        }
        check_inputs(self, inputs)?;
        let sigmas = evaluate(self, inputs, 1, (Question::Magnitudes, copy), control)?;
        Array2::from_shape_vec((self.n_members(), inputs.n_samples()), sigmas).map_err(bad_shape)
    }
}

impl Ensemble {
    /// The one door for test inputs: the shape of the training samples, and values that the law can noise. Every
    /// question to members goes through it.
    ///
    /// # Errors
    /// A shape error for samples of another shape, a parameter error naming a value that the law does not know.
    pub fn check_inputs(&self, inputs: &dyn Inputs) -> Result<()> {
        let (expected, got) = (self.record().shape, inputs.shape());
        if expected != got {
            let expected = format_args!("samples of shape {expected}, as in training");
            return Err(Error::shape("X", expected, format_args!("shape {got}")));
        }
        check_features(inputs, &self.record().law)
    }
}

impl Ensemble {
    /// How many members are asked together.
    fn asked_together(&self) -> usize {
        match &self.record().law {
            // Who stands in a stack would depend on which others have learned something, and the last bits of an answer on that.
            Law::Partition(_) => 1,
            _ => self.settings.stack.unwrap_or(STACK).min(self.backend.max_stack()).max(1),
        }
    }

    /// Numbers of the members in the groups in which they are asked: members of a group, asked without the others, say the same
    /// to the last bit. Those that learned nothing stand with the ones before them.
    pub fn groups(&self) -> Vec<Vec<u64>> {
        let (size, mut groups, mut alive) = (self.asked_together(), vec![Vec::new()], 0);
        for member in self.members.values() {
            if alive == size {
                groups.push(Vec::new());
                alive = 0;
            }
            alive += usize::from(!member.is_failed());
            groups.last_mut().into_iter().for_each(|group: &mut Vec<u64>| group.push(member.number));
        }
        groups.retain(|group| !group.is_empty());
        groups
    }
}

fn bad_shape(error: ndarray::ShapeError) -> Error {
    Error::shape("votes", "one entry per member and sample", error)
}

/// The lowest class with the largest logit.
fn argmax(logits: &[f32], out: &mut [u16]) {
    let mut best = 0;
    for (class, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = class;
        }
    }
    out[0] = best as u16;
}

/// exp(l_c) / sum exp(l), in double precision.
fn softmax(logits: &[f32], out: &mut [f32]) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers = || logits.iter().map(|logit| f64::from(logit - largest).exp());
    let sum: f64 = powers().sum();
    for (score, power) in out.iter_mut().zip(powers()) {
        *score = (power / sum) as f32;
    }
}

fn finite(logits: &[f32], out: &mut [f32]) {
    for (own, logit) in out.iter_mut().zip(logits) {
        *own = logit.clamp(f32::MIN, f32::MAX);
    }
}

fn copy(values: &[f32], out: &mut [f32]) {
    out.copy_from_slice(values);
}

type Convert<T> = fn(&[f32], &mut [T]);

/// What members are asked about a batch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Question {
    /// One value per class; the largest is the vote.
    Logits,
    /// The noise magnitude that sample-specific noise gives each input.
    Magnitudes,
}

/// Runs all inputs through all members; the result has the layout (n_members, n_samples, `width`).
fn evaluate<T: Copy + Default + Send>(
    ensemble: &Ensemble,
    inputs: &dyn Inputs,
    width: usize,
    (question, convert): (Question, Convert<T>),
    control: &Control<'_>,
) -> Result<Vec<T>> {
    check_inputs(ensemble, inputs)?;
    let sigmas = match question {
        Question::Logits => ensemble.published_magnitudes(inputs, control)?,
        Question::Magnitudes => None,
    };
    keep_freed_memory();
    let (n, size) = (inputs.n_samples(), inputs.shape().n_features());
    let mut result = vec![T::default(); ensemble.n_members() * n * width];
    let Batching { rows: batch, multiple } = ensemble.backend.batch();
    let rows = (BLOCK / size / batch).max(1) * batch;
    for start in (0..n).step_by(rows) {
        let length = rows.min(n - start);
        let mut values = vec![0.0_f32; length.next_multiple_of(multiple) * size];
        for (offset, row) in values.chunks_exact_mut(size).take(length).enumerate() {
            read(inputs, start + offset, row)?;
        }
        let block = Block { values: &values, start, length, sigmas: sigmas.as_deref() };
        let job = Asked { ensemble, block, width, question, convert };
        run(job, control, |place, part| {
            let at = (place * n + start) * width;
            result[at..at + part.len()].copy_from_slice(&part);
        })?;
    }
    Ok(result)
}

fn check_inputs(ensemble: &Ensemble, inputs: &dyn Inputs) -> Result<()> {
    if ensemble.n_members() == 0 {
        return Err(Error::parameter("n_members", "an ensemble with trained members", "none"));
    }
    ensemble.check_inputs(inputs)
}

/// Consecutive test inputs, filled up with zeros to whole batches.
#[derive(Clone, Copy)]
struct Block<'a> {
    values: &'a [f32],
    start: usize,
    length: usize,
    /// The magnitude of every test input, for the published form of sample-specific noise.
    sigmas: Option<&'a [f32]>,
}

/// A question to all members about a block.
#[derive(Clone, Copy)]
struct Asked<'a, T> {
    ensemble: &'a Ensemble,
    block: Block<'a>,
    width: usize,
    question: Question,
    convert: Convert<T>,
}

impl<T: Copy + Default> Asked<'_, T> {
    /// What is said of an input of which a member cannot say anything: a class, or the magnitude from which searches
    /// start.
    fn stand_in(&self, class: usize, out: &mut [T]) {
        let record = self.ensemble.record();
        let said = match self.question {
            Question::Logits => {
                let mut logits = vec![f32::NEG_INFINITY; record.n_classes];
                logits.iter_mut().skip(class).take(1).for_each(|said| *said = 0.0);
                logits
            }
            Question::Magnitudes => {
                vec![record.law.sample_specific().map_or(0.0, |law| law.search().start.get() as f32)]
            }
        };
        (self.convert)(&said, out);
    }

    /// What a member says of inputs, one after the other; how many it can say something of.
    fn convert(&self, said: &[f32], width: usize, out: &mut [T]) -> usize {
        let pairs = said.chunks_exact(width.max(1)).zip(out.chunks_exact_mut(self.width));
        let mut finite = 0;
        for (said, out) in pairs {
            if all_finite(said) {
                (self.convert)(said, out);
                finite += 1;
            } else {
                self.stand_in(0, out);
            }
        }
        finite
    }
}

/// One block through all members on all workers; `keep` gets each member's place and part.
fn run<T: Copy + Default + Send>(
    asked: Asked<'_, T>,
    control: &Control<'_>,
    mut keep: impl FnMut(usize, Vec<T>),
) -> Result<()> {
    let Asked { ensemble, block, .. } = asked;
    let (failed, alive): (Vec<_>, Vec<_>) =
        ensemble.members.values().enumerate().partition(|(_, member)| member.is_failed());
    for (place, member) in failed {
        let class = member.fixed_class(ensemble.record.n_classes);
        let mut part = vec![T::default(); block.length * asked.width];
        part.chunks_exact_mut(asked.width).for_each(|out| asked.stand_in(class, out));
        keep(place, part);
    }
    let (places, members): (Vec<usize>, Vec<&Member>) = alive.into_iter().unzip();
    let (settings, backend) = (&ensemble.settings, ensemble.backend.as_ref());
    let size = ensemble.asked_together();
    let stacks: Vec<&[&Member]> = members.chunks(size).collect();
    // As in training: a GPU whose members cannot be stacked has several threads.
    let on_gpu = settings.device != Device::Cpu;
    let lanes = if on_gpu && size == 1 { backend.lanes().max(1) } else { 1 };
    let workers = (settings.workers() * lanes).min(stacks.len());
    let (next, stops) = (AtomicUsize::new(0), flags(stacks.len()));
    let (sender, results) = mpsc::channel();
    let work = |sender: Sender<_>| {
        let session = guarded(0, || backend.session(settings, ensemble.record.shape, lanes > 1));
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
            let Some((stack, stop)) = stacks.get(number).zip(stops.get(number)) else { return };
            let first = stack.first().map_or(0, |member| member.number);
            let result = guarded(first, || {
                // Values that are not in memory are there for as long as this stack is asked.
                let here: Vec<Member> =
                    stack.iter().map(|member| ensemble.fetch(member)).collect::<Result<_>>()?;
                let here: Vec<&Member> = here.iter().collect();
                Stack { ensemble, members: &here, block }.evaluate(session.as_mut(), asked, stop)
            });
            if sender.send((number, result)).is_err() || stop.load(Ordering::Relaxed) {
                return;
            }
        }
    };
    let keep = |number: usize, parts: Vec<Vec<T>>| {
        places.iter().skip(number * size).zip(parts).for_each(|(place, part)| keep(*place, part));
    };
    let ready = |_: &Sender<_>| backend.ready(settings.device);
    with_workers(vec![sender; workers], ready, backend, work, |_| collect(&results, &stops, control, keep))?
        .map_err(Error::asked)
}

/// One flag for each piece of work that workers share: it and whatever comes after it are stopped together.
pub(super) fn flags(n_pieces: usize) -> Vec<Flag> {
    (0..n_pieces).map(|_| Flag::default()).collect()
}

/// Receives pieces and their numbers on the calling thread until the last worker has gone.
///
/// # Errors
/// That of the first piece that has one, in the order of their numbers and whichever worker is faster: it stops those after it,
/// and those before it are waited for. Cancellation, which stops all.
pub(super) fn collect<T>(
    results: &Receiver<(usize, Result<T>)>,
    stops: &[Flag],
    control: &Control<'_>,
    mut keep: impl FnMut(usize, T),
) -> Result<()> {
    let stop_from =
        |first: usize| stops.iter().skip(first).for_each(|stop| stop.store(true, Ordering::Relaxed));
    let (mut failed, mut cancelled) = (None::<(usize, Error)>, false);
    loop {
        if !cancelled && control.stops() {
            cancelled = true;
            stop_from(0);
        }
        match results.recv_timeout(Duration::from_millis(50)) {
            Ok((number, Ok(piece))) => keep(number, piece),
            Ok((number, Err(error))) => {
                if failed.as_ref().is_none_or(|(first, _)| number < *first) {
                    stop_from(number + 1);
                    failed = Some((number, error));
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) if cancelled => {
                return Err(Error::cancelled("Voting was cancelled."));
            }
            Err(RecvTimeoutError::Disconnected) => return failed.map_or(Ok(()), |(_, error)| Err(error)),
        }
    }
}

/// A stack of members in front of a block of inputs.
struct Stack<'a> {
    ensemble: &'a Ensemble,
    members: &'a [&'a Member],
    block: Block<'a>,
}

impl Stack<'_> {
    /// What each member says about the whole block.
    fn evaluate<T: Copy + Default>(
        &self,
        session: &mut dyn Session,
        asked: Asked<'_, T>,
        stop: &Flag,
    ) -> Result<Vec<Vec<T>>> {
        let Asked { width, question, .. } = asked;
        let (record, batching) = (&self.ensemble.record, self.ensemble.backend.batch());
        let (k, size) = (record.n_classes, record.shape.n_features());
        let said_width = if question == Question::Logits { k } else { 1 };
        let specific = specific(&record.law).map(|law| Search { search: law.search(), seed: record.seed });
        let shared = !record.law.noises_test_inputs() && self.block.sigmas.is_none();
        let mut panel = session.panel(self.members)?;
        let mut parts = vec![vec![T::default(); self.block.length * width]; self.members.len()];
        let mut finite = vec![0; self.members.len()];
        let mut own = Vec::new();
        for number in 0..self.block.length.div_ceil(batching.rows) {
            go_on(stop)?;
            let from = number * batching.rows;
            let known = (self.block.length - from).min(batching.rows);
            let rows = known.next_multiple_of(batching.multiple);
            let plain = self.block.values.get(from * size..(from + rows) * size).unwrap_or_default();
            if !shared {
                own.clear();
                for member in self.members {
                    let begin = own.len();
                    own.extend_from_slice(plain);
                    self.noise(member.number, from, &mut own[begin..]);
                }
            }
            let values = if shared { plain } else { &own };
            let said = match specific {
                None => panel.logits(Batch { values, rows, shared, number }, stop)?,
                Some(search) => {
                    let mut said = Vec::with_capacity(self.members.len() * rows * said_width);
                    for place in 0..self.members.len() {
                        let begin = if shared { 0 } else { place * rows * size };
                        let own = values.get(begin..begin + rows * size).unwrap_or_default();
                        let own: Vec<&[f32]> = own.chunks_exact(size).collect();
                        let sigmas = panel.magnitudes(place, &own, None, search, stop)?;
                        said.extend(match question {
                            Question::Magnitudes => sigmas,
                            Question::Logits => panel.log_scores(place, &own, &sigmas, search, stop)?,
                        });
                    }
                    said
                }
            };
            let all = parts.iter_mut().zip(said.chunks_exact(rows * said_width)).zip(&mut finite);
            for ((part, said), finite) in all {
                let out = part.get_mut(from * width..(from + known) * width).unwrap_or_default();
                *finite += asked.convert(said, said_width, out);
            }
        }
        let numbers = self.members.iter().map(|member| member.number);
        numbers.zip(finite).try_for_each(|(member, finite)| check_finite(member, finite))?;
        Ok(parts)
    }

    /// Adds the member's noise to rows from `from` on: what the law adds to test inputs, or sigma_x e, e the member's one
    /// vector, so that what a member says of an input is a function of the two.
    fn noise(&self, member: u64, from: usize, values: &mut [f32]) {
        let record = &self.ensemble.record;
        let (size, from) = (record.shape.n_features(), self.block.start + from);
        let rows = values.chunks_exact_mut(size);
        let Some(sigmas) = self.block.sigmas else {
            for (offset, row) in rows.enumerate() {
                record.law.noise_test_input(record.seed, member, from + offset, row);
            }
            return;
        };
        let mut unit = vec![0.0; size];
        unit_normals(&record.seed.member(Role::TestNoise, member), 0, &mut unit);
        // Rows that only fill up a batch have no magnitude.
        for (row, sigma) in rows.zip(sigmas.iter().skip(from)) {
            row.iter_mut().zip(&unit).for_each(|(value, e)| *value += sigma * e);
        }
    }
}

/// One input of which a member can say nothing is that input's affair; a block of nothing else is an error.
fn check_finite(member: u64, n_finite: usize) -> Result<()> {
    if n_finite > 0 {
        return Ok(());
    }
    Err(Error::training(Some(member), "its logits are infinite or NaN for all inputs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_faults_that_of_the_first_piece_is_told() {
        let told = |results: Vec<(usize, Result<()>)>, control: &Control<'_>| {
            let ((sender, receiver), stops) = (mpsc::channel(), flags(5));
            results.into_iter().for_each(|result| sender.send(result).unwrap_or_default());
            drop(sender);
            let mut kept = Vec::new();
            let outcome = collect(&receiver, &stops, control, |number, ()| kept.push(number));
            let stopped: Vec<bool> = stops.iter().map(|stop| stop.load(Ordering::Relaxed)).collect();
            (outcome.map_err(|error| error.to_string()), kept, stopped)
        };
        let fault = |number: usize| (number, Err(Error::device(number.to_string())));
        let stopped = |number| (number, Err(Error::cancelled("stopped")));
        assert_eq!(
            told(vec![(1, Ok(())), (0, Ok(()))], &Control::default()),
            (Ok(()), vec![1, 0], vec![false; 5])
        );
        let (outcome, kept, stops) =
            told(vec![fault(3), (0, Ok(())), stopped(4), fault(1), stopped(2)], &Control::default());
        assert_eq!(outcome.err(), Some(Error::device("1").to_string()));
        assert_eq!((kept, stops), (vec![0], vec![false, false, true, true, true]), "those before go on");
        let control = Control::new().on_poll(|| true);
        let (outcome, _, stops) = told(vec![fault(3)], &control);
        assert_eq!((outcome.err(), stops), (Some("Voting was cancelled.".to_owned()), vec![true; 5]));
    }

    #[test]
    fn ties_go_to_the_lowest_class() {
        let mut vote = [9_u16];
        for (logits, class) in [([1.0, 1.0, 0.0], 0), ([0.0, 2.0, 2.0], 1), ([-1.0, -3.0, -0.5], 2)] {
            argmax(&logits, &mut vote);
            assert_eq!(vote, [class]);
        }
    }

    #[test]
    fn softmax_of_large_logits() {
        let mut scores = [0.0_f32; 3];
        softmax(&[1000.0, 1000.0, -1000.0], &mut scores);
        assert_eq!(scores, [0.5, 0.5, 0.0]);
        softmax(&[0.0, 2.0_f32.ln(), 0.0], &mut scores);
        assert!((scores[1] - 0.5).abs() < 1e-7);
    }
}
