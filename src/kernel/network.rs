//! Convolution blocks followed by dense layers: loss and gradient of a batch.

use super::buffer::Buffer;
use super::conv::{Backward, Forward, PooledConv, Scratch, Target, SLACK};
use super::dense::{Dense, Gathered};
use super::softmax::cross_entropy;

/// A network of pooled convolutions and dense layers with ReLU between them, as a function of its values.
///
/// Values lie layer after layer, each layer's weight before its bias, weights as PyTorch has them: (outputs,
/// channels, kernel, kernel) and (outputs, inputs).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    pub(super) blocks: Vec<PooledConv>,
    pub(super) dense: Vec<Dense>,
}

/// Buffers that serve batch after batch.
#[derive(Clone, Debug, Default)]
pub struct Workspace {
    /// Whose buffers these are: borders of zeros lie elsewhere for another network.
    network: Option<Network>,
    /// Each block's padded inputs; their gradients.
    pub(super) inputs: Vec<Buffer>,
    pub(super) input_gradients: Vec<Buffer>,
    pub(super) chosen: Vec<Vec<u32>>,
    /// The last block's results by place, and by channel as the first dense layer takes them.
    pub(super) pooled: Buffer,
    pub(super) features: Vec<f32>,
    /// Each dense layer's results, and what it keeps of its inputs.
    pub(super) outputs: Vec<Vec<f32>>,
    pub(super) gathered: Vec<Gathered>,
    /// The gradient on its way back, and what it is next.
    pub(super) delta: Vec<f32>,
    pub(super) next: Vec<f32>,
    pub(super) gradient: Vec<f32>,
    pub(super) packed: Buffer,
    pub(super) scratch: Scratch,
}

impl Network {
    /// Dense layers of the given widths, the inputs' first.
    pub fn dense(widths: &[usize]) -> Self {
        Self { blocks: Vec::new(), dense: layers(widths) }
    }

    /// Blocks of a `kernel` x `kernel` convolution (3 or 5) with `padding`, ReLU and 2x2 max pooling, one for each of
    /// `channels` (multiples of 16), then dense layers of widths `hidden`.
    pub fn convolutional(
        (channels, height, width): (usize, usize, usize),
        blocks: &[usize],
        kernel: usize,
        padding: usize,
        hidden: &[usize],
    ) -> Self {
        let mut size = (channels, height, width);
        let mut block = |&outputs: &usize| {
            let (channels, height, width) = size;
            let block = PooledConv { channels, height, width, outputs, kernel, padding };
            let (height, width) = block.pooled();
            size = (outputs, height, width);
            block
        };
        let blocks: Vec<_> = blocks.iter().map(&mut block).collect();
        let mut widths = vec![size.0 * size.1 * size.2];
        widths.extend(hidden);
        Self { blocks, dense: layers(&widths) }
    }

    /// Number of values.
    pub fn n_values(&self) -> usize {
        let blocks = self.blocks.iter().map(|block| block.n_values());
        blocks.chain(self.dense.iter().map(|layer| layer.n_values())).sum()
    }

    /// Number of classes.
    pub fn n_classes(&self) -> usize {
        self.dense.last().map_or(0, |layer| layer.outputs)
    }

    /// Logits (B, K) of a batch of samples, each flat or (channels, height, width).
    pub fn logits<'w>(&self, values: &[f32], x: &[&[f32]], work: &'w mut Workspace) -> &'w [f32] {
        self.forward(values, x, work);
        work.logits()
    }

    /// Mean cross-entropy of a batch, and its gradient with respect to the values.
    pub fn gradient<'w>(
        &self,
        values: &[f32],
        x: &[&[f32]],
        labels: &[usize],
        work: &'w mut Workspace,
    ) -> (f32, &'w [f32]) {
        self.forward(values, x, work);
        work.gradient.resize(self.n_values(), 0.0);
        let mut delta = std::mem::take(&mut work.delta);
        delta.clear();
        delta.extend_from_slice(work.logits());
        let loss = cross_entropy(&mut delta, self.n_classes(), labels);
        self.backward_dense(values, Wanted::Values(x), work, &mut delta);
        self.backward_blocks(values, x.len(), Wanted::Values(x), work, &delta);
        work.delta = delta;
        (loss, &work.gradient)
    }

    /// Empties buffers that another network has used.
    pub(super) fn claim(&self, work: &mut Workspace) {
        if work.network.as_ref() != Some(self) {
            *work = Workspace { network: Some(self.clone()), ..Workspace::default() };
        }
    }

    fn forward(&self, values: &[f32], x: &[&[f32]], work: &mut Workspace) {
        self.claim(work);
        self.resize(x.len(), work);
        if let (Some(block), Some(input)) = (self.blocks.first(), work.inputs.first_mut()) {
            let padded = input.chunks_exact_mut(block.input_len());
            x.iter().zip(padded).for_each(|(image, padded)| block.place(image, padded));
        }
        self.forward_blocks(values, x.len(), 0, work);
        self.forward_dense(values, x, 0, work);
    }

    /// Room for a batch.
    pub(super) fn resize(&self, samples: usize, work: &mut Workspace) {
        work.inputs.resize(self.blocks.len(), Buffer::default());
        work.chosen.resize(self.blocks.len(), Vec::new());
        for ((block, input), chosen) in self.blocks.iter().zip(&mut work.inputs).zip(&mut work.chosen) {
            // The border stays zero from batch to batch.
            input.resize(samples * block.input_len() + SLACK, 0.0);
            chosen.resize(samples * block.output_len(), 0);
        }
        if let Some(block) = self.blocks.last() {
            work.pooled.resize(samples * block.output_len(), 0.0);
            work.features.resize(samples * block.output_len(), 0.0);
        }
        work.outputs.resize(self.dense.len(), Vec::new());
        work.gathered.resize(self.dense.len(), Gathered::default());
        for (layer, outputs) in self.dense.iter().zip(&mut work.outputs) {
            outputs.resize(samples * layer.outputs, 0.0);
        }
    }

    /// The dense layers from number `first` on.
    pub(super) fn forward_dense(&self, values: &[f32], x: &[&[f32]], first: usize, work: &mut Workspace) {
        let mut start: usize = self.blocks.iter().map(|block| block.n_values()).sum();
        for (number, layer) in self.dense.iter().enumerate() {
            let own = &values[start..start + layer.n_values()];
            start += layer.n_values();
            if number < first {
                continue;
            }
            let (before, outputs) = work.outputs.split_at_mut(number);
            let Some(y) = outputs.first_mut() else { return };
            let rows = self.rows(number, x, &work.features, before);
            layer.forward(own, &rows, &mut work.gathered[number], y);
            if number + 1 < self.dense.len() {
                relu(y);
            }
        }
    }

    /// The inputs of a dense layer.
    fn rows<'a>(
        &self,
        number: usize,
        x: &[&'a [f32]],
        features: &'a [f32],
        outputs: &'a [Vec<f32>],
    ) -> Vec<&'a [f32]> {
        let width = self.dense[number].inputs;
        match number.checked_sub(1).and_then(|before| outputs.get(before)) {
            Some(before) => before.chunks_exact(width).collect(),
            None if self.blocks.is_empty() => x.to_vec(),
            None => features.chunks_exact(width).collect(),
        }
    }

    /// The blocks from number `first` on, and their results as the dense layers take them.
    pub(super) fn forward_blocks(&self, values: &[f32], samples: usize, first: usize, work: &mut Workspace) {
        let mut start = 0;
        for (number, &block) in self.blocks.iter().enumerate() {
            let own = &values[start..start + block.n_values()];
            start += block.n_values();
            if number < first {
                continue;
            }
            let (input, later) = work.inputs.split_at_mut(number + 1);
            Forward {
                block,
                target: self.target(number),
                samples,
                values: own,
                input: &input[number],
                pooled: later.first_mut().unwrap_or(&mut work.pooled),
                chosen: &mut work.chosen[number],
                packed: &mut work.packed,
            }
            .run();
        }
        if let Some(block) = self.blocks.last() {
            transpose(&work.pooled, block.outputs, block.output_len(), &mut work.features);
        }
    }

    pub(super) fn target(&self, number: usize) -> Target {
        match self.blocks.get(number + 1) {
            Some(next) => next.as_target(),
            None => self.blocks[number].last_target(),
        }
    }

    /// From the logits' gradient in `delta` to that of the first dense layer's inputs, if blocks are before it, else
    /// to that of its results, before their ReLU.
    pub(super) fn backward_dense(
        &self,
        values: &[f32],
        wanted: Wanted<'_>,
        work: &mut Workspace,
        delta: &mut Vec<f32>,
    ) {
        let mut end = values.len();
        let mut next = std::mem::take(&mut work.next);
        for (number, layer) in self.dense.iter().enumerate().rev() {
            let start = end - layer.n_values();
            if let Wanted::Values(x) = wanted {
                let rows = self.rows(number, x, &work.features, &work.outputs[..number]);
                layer.backward(&rows, &mut work.gathered[number], delta, &mut work.gradient[start..end]);
            }
            if number > 0 || !self.blocks.is_empty() {
                next.resize(delta.len() / layer.outputs * layer.inputs, 0.0);
                layer.backward_inputs(&values[start..end], delta, &mut work.gathered[number], &mut next);
                if number > 0 {
                    let active = &work.outputs[number - 1];
                    next.iter_mut().zip(active).for_each(|(g, y)| *g = if *y > 0.0 { *g } else { 0.0 });
                }
                std::mem::swap(delta, &mut next);
            }
            end = start;
        }
        work.next = next;
    }

    /// From the gradient of the features to that of the first block's values, or of its results.
    pub(super) fn backward_blocks(
        &self,
        values: &[f32],
        samples: usize,
        wanted: Wanted<'_>,
        work: &mut Workspace,
        features: &[f32],
    ) {
        let Some(last) = self.blocks.last() else { return };
        let places = last.output_len() / last.outputs;
        transpose(features, places, last.output_len(), &mut work.pooled);
        work.input_gradients.resize(self.blocks.len(), Buffer::default());
        let mut end = self.blocks.iter().map(|block| block.n_values()).sum::<usize>();
        for (number, &block) in self.blocks.iter().enumerate().rev() {
            let start = end - block.n_values();
            let (inputs, later) = work.input_gradients.split_at_mut(number + 1);
            let inputs = &mut inputs[number];
            if number > 0 {
                inputs.resize(samples * block.input_len() + SLACK, 0.0);
            }
            let gradient = match wanted {
                Wanted::Values(_) => Some(&mut work.gradient[start..end]),
                Wanted::Slopes if number == 0 => return,
                Wanted::Slopes => None,
            };
            Backward {
                block,
                target: self.target(number),
                samples,
                values: &values[start..end],
                input: &work.inputs[number],
                chosen: &work.chosen[number],
                pooled: later.first().unwrap_or(&work.pooled),
                gradient,
                inputs: (number > 0).then_some(&mut **inputs),
                scratch: &mut work.scratch,
            }
            .run();
            end = start;
        }
    }
}

/// What a backward pass is for.
#[derive(Clone, Copy)]
pub(super) enum Wanted<'a> {
    /// The gradient of the values, given the batch.
    Values(&'a [&'a [f32]]),
    /// Slopes along rays, which the gradient of the first layer's results gives.
    Slopes,
}

impl Workspace {
    pub(super) fn logits(&self) -> &[f32] {
        self.outputs.last().map_or(&[], Vec::as_slice)
    }
}

/// NaN stays, so that the loss shows it.
pub(super) fn relu(values: &mut [f32]) {
    values.iter_mut().for_each(|value| *value = if *value < 0.0 { 0.0 } else { *value });
}

fn layers(widths: &[usize]) -> Vec<Dense> {
    let pairs = widths.windows(2);
    pairs.map(|pair| Dense { inputs: pair[0], outputs: pair[1] }).collect()
}

/// Turns each sample's (len / width, width) into (width, len / width).
fn transpose(from: &[f32], width: usize, len: usize, to: &mut [f32]) {
    let height = len / width;
    for (from, to) in from.chunks_exact(len).zip(to.chunks_exact_mut(len)) {
        for (y, row) in from.chunks_exact(width).enumerate() {
            let places = to.iter_mut().skip(y).step_by(height);
            places.zip(row).for_each(|(place, value)| *place = *value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::with_each;

    fn wave(n: usize, by: f64, size: f64) -> Vec<f32> {
        (0..n).map(|i| ((i as f64 * by + 0.3).sin() * size) as f32).collect()
    }

    /// The loss from the definition, in double precision.
    fn loss(network: &Network, values: &[f64], x: &[&[f32]], labels: &[usize]) -> f64 {
        let one = |(image, &label): (&&[f32], &usize)| {
            let mut rest = values;
            let mut x: Vec<f64> = image.iter().map(|v| f64::from(*v)).collect();
            for block in &network.blocks {
                let (own, after) = rest.split_at(block.n_values());
                x = plain_block(*block, own, &x);
                rest = after;
            }
            for (number, layer) in network.dense.iter().enumerate() {
                let (own, after) = rest.split_at(layer.n_values());
                let (w, b) = own.split_at(layer.inputs * layer.outputs);
                let product =
                    |(row, b): (&[f64], &f64)| row.iter().zip(&x).map(|(w, x)| w * x).sum::<f64>() + b;
                let last = number + 1 == network.dense.len();
                let y = w.chunks(layer.inputs).zip(b).map(product);
                x = y.map(|v| if last { v } else { v.max(0.0) }).collect();
                rest = after;
            }
            let top = x.iter().copied().fold(f64::MIN, f64::max);
            top + x.iter().map(|v| (v - top).exp()).sum::<f64>().ln() - x[label]
        };
        x.iter().zip(labels).map(one).sum::<f64>() / labels.len() as f64
    }

    fn plain_block(block: PooledConv, values: &[f64], x: &[f64]) -> Vec<f64> {
        let PooledConv { channels, height, width, outputs, kernel, padding } = block;
        let (w, b) = values.split_at(outputs * channels * kernel * kernel);
        let pixel = |c: usize, y: usize, x_: usize| {
            let inside = y >= padding && x_ >= padding && y - padding < height && x_ - padding < width;
            if inside {
                x[(c * height + y - padding) * width + x_ - padding]
            } else {
                0.0
            }
        };
        let sum = |o: usize, y: usize, x_: usize| {
            let mut sum = b[o];
            for c in 0..channels {
                for i in 0..kernel {
                    for j in 0..kernel {
                        sum += w[((o * channels + c) * kernel + i) * kernel + j] * pixel(c, y + i, x_ + j);
                    }
                }
            }
            sum
        };
        let (h, v) = block.pooled();
        let mut all = Vec::new();
        for o in 0..outputs {
            for y in 0..h {
                for x_ in 0..v {
                    let window = [(0, 0), (0, 1), (1, 0), (1, 1)];
                    let sums = window.map(|(i, j)| sum(o, 2 * y + i, 2 * x_ + j));
                    all.push(sums.into_iter().fold(0.0, f64::max));
                }
            }
        }
        all
    }

    fn check(network: &Network, n_features: usize, batch: usize, work: &mut Workspace) {
        let n = network.n_values();
        let (values, x) = (wave(n, 0.7, 0.2), wave(batch * n_features, 0.37, 1.0));
        let labels: Vec<usize> = (0..batch).map(|i| i * 7 % network.n_classes()).collect();
        let rows: Vec<&[f32]> = x.chunks(n_features).collect();
        let exact: Vec<f64> = values.iter().map(|v| f64::from(*v)).collect();
        let expected = loss(network, &exact, &rows, &labels);
        let (mean, gradient) = network.gradient(&values, &rows, &labels, work);
        assert!((f64::from(mean) - expected).abs() < 1e-5 * expected.max(1.0), "{mean} for {expected}");
        let scale = gradient.iter().fold(0.0_f32, |m, g| m.max(g.abs()));
        assert!(scale > 1e-3 && gradient.len() == n);
        // Every layer's ends and a sample of what is between them.
        let step = (n / 30).max(1);
        for i in (0..n).step_by(step).chain([n - 1]) {
            let (mut above, mut below) = (exact.clone(), exact.clone());
            above[i] += 1e-6;
            below[i] -= 1e-6;
            let difference =
                (loss(network, &above, &rows, &labels) - loss(network, &below, &rows, &labels)) / 2e-6;
            let error = (f64::from(gradient[i]) - difference).abs();
            assert!(error < 2e-4 * f64::from(scale), "{i} of {n}: {} for {difference}", gradient[i]);
        }
    }

    #[test]
    fn gradients_of_dense_networks_against_differences() {
        with_each(|_| {
            let mut work = Workspace::default();
            for widths in [&[7, 2][..], &[40, 3], &[33, 20, 5], &[20, 64, 32, 40]] {
                check(&Network::dense(widths), widths[0], 9, &mut work);
            }
        });
    }

    #[test]
    fn gradients_of_convolutional_networks_against_differences() {
        with_each(|_| convolutional_networks());
    }

    fn convolutional_networks() {
        // One workspace for all of them, and batches that shrink: nothing may be left over.
        let mut work = Workspace::default();
        for (shape, kernel, padding) in [
            ((1, 16, 16), 5, 0),
            ((3, 18, 21), 5, 0),
            ((1, 8, 8), 3, 1),
            ((2, 9, 12), 3, 1),
            ((1, 4, 5), 3, 1),
        ] {
            let network = Network::convolutional(shape, &[16, 32], kernel, padding, &[24, 3]);
            for batch in [6, 3, 1] {
                check(&network, shape.0 * shape.1 * shape.2, batch, &mut work);
            }
        }
    }

    #[test]
    fn what_is_not_finite_shows_in_the_loss_and_the_logits() {
        with_each(|set| {
            let mut work = Workspace::default();
            let network = Network::convolutional((1, 16, 16), &[16, 32], 5, 0, &[24, 3]);
            let values = wave(network.n_values(), 0.7, 0.2);
            let fine = wave(256, 0.37, 1.0);
            for place in [0, 17, 255] {
                // A pixel at each place of a window.
                let mut one = fine.clone();
                one[place] = f32::NAN;
                let logits = network.logits(&values, &[&fine, &one], &mut work);
                assert!(logits[..3].iter().all(|v| v.is_finite()), "{set} {place}");
                assert!(logits[3..].iter().all(|v| v.is_nan()), "{set} {place}: {logits:?}");
                let (loss, _) = network.gradient(&values, &[&one], &[1], &mut work);
                assert!(loss.is_nan(), "{set} {place}");
            }
            let large = wave(network.n_values(), 0.7, 5.0);
            let logits = network.logits(&large, &[&[f32::MAX; 256]], &mut work);
            assert!(logits.iter().any(|v| !v.is_finite()), "{set}: {logits:?}");
        });
    }

    #[test]
    fn a_network_learns_the_place_of_a_spot() {
        let (n, side) = (64, 16);
        let network = Network::convolutional((1, side, side), &[16, 32], 5, 0, &[32, 2]);
        let mut values = wave(network.n_values(), 0.61, 0.05);
        let mut x = wave(n * side * side, 0.9, 0.1);
        let labels: Vec<usize> = (0..n).map(|i| i % 2).collect();
        for (image, &label) in x.chunks_mut(side * side).zip(&labels) {
            image[5 * side + if label == 0 { 5 } else { 10 }] += 2.0;
        }
        let rows: Vec<&[f32]> = x.chunks(side * side).collect();
        let mut adam = super::super::Adam::new(values.len(), 3e-3);
        let mut work = Workspace::default();
        let mut losses = Vec::new();
        for _ in 0..60 {
            let (loss, gradient) = network.gradient(&values, &rows, &labels, &mut work);
            losses.push(loss);
            adam.step(&mut values, gradient);
        }
        assert!(losses[59] < 0.05 && losses[0] > 0.5, "{losses:?}");
        let logits = network.logits(&values, &rows, &mut work);
        let right = logits.chunks(2).zip(&labels).filter(|(l, label)| (l[1] > l[0]) == (**label == 1));
        assert_eq!(right.count(), n);
    }
}
