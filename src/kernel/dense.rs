//! Dense layers y = x W^T + b: few outputs by passes over the rows, many by matrix products.

use pulp::{Simd, WithSimd};

use super::product::{multiply, Matrix, Packed};
use super::{lanes_mut, load};
use crate::vectors::dispatch;

/// Layers with at most as many outputs are thin: a matrix product would spend its time on rearranging x.
const THIN: usize = 16;

/// A layer: its sizes, and what it does with its values, the weight (outputs, inputs) and then the bias (outputs).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dense {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
}

/// Rows of a batch, wherever they lie.
pub(super) type Rows<'a> = [&'a [f32]];

impl Dense {
    pub(super) fn n_values(self) -> usize {
        (self.inputs + 1) * self.outputs
    }

    pub(super) fn is_thin(self) -> bool {
        self.outputs <= THIN
    }

    /// y (B, outputs) of the rows x; `work` gathers rows of wide layers.
    pub(super) fn forward(self, values: &[f32], x: &Rows<'_>, work: &mut Gathered, y: &mut [f32]) {
        let (weight, bias) = values.split_at(self.inputs * self.outputs);
        if self.is_thin() {
            dispatch(ThinForward { layer: self, weight, bias, x, y });
            return;
        }
        work.rows.clear();
        x.iter().for_each(|row| work.rows.extend_from_slice(row));
        y.chunks_exact_mut(self.outputs).for_each(|row| row.copy_from_slice(bias));
        let x = Matrix::new(&work.rows, self.inputs);
        let weight = Matrix::new(weight, self.inputs).transposed();
        multiply(x, weight, self.inputs, (self.outputs, true), y, &mut work.packed);
    }

    /// Adds nothing, writes everything: the gradient of the values, given that of y (B, outputs). `work` is what
    /// `forward` left there.
    pub(super) fn backward(self, x: &Rows<'_>, work: &mut Gathered, dy: &[f32], gradient: &mut [f32]) {
        let (weight, bias) = gradient.split_at_mut(self.inputs * self.outputs);
        bias.fill(0.0);
        for row in dy.chunks_exact(self.outputs) {
            bias.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
        if self.is_thin() {
            weight.fill(0.0);
            dispatch(ThinBackward { layer: self, x, dy, weight });
            return;
        }
        let (dy, rows) = (Matrix::new(dy, self.outputs), Matrix::new(&work.rows, self.inputs));
        multiply(dy.transposed(), rows, x.len(), (self.inputs, false), weight, &mut work.packed);
    }

    /// The gradient of the inputs, (B, inputs).
    pub(super) fn backward_inputs(self, values: &[f32], dy: &[f32], work: &mut Gathered, dx: &mut [f32]) {
        let (weight, _) = values.split_at(self.inputs * self.outputs);
        if self.is_thin() {
            dispatch(ThinInputs { layer: self, weight, dy, dx });
            return;
        }
        let (dy, weight) = (Matrix::new(dy, self.outputs), Matrix::new(weight, self.inputs));
        multiply(dy, weight, self.outputs, (self.inputs, false), dx, &mut work.packed);
    }
}

/// What a wide layer keeps from its forward pass for its backward pass.
#[derive(Clone, Debug, Default)]
pub(super) struct Gathered {
    rows: Vec<f32>,
    packed: Packed,
}

struct ThinForward<'a> {
    layer: Dense,
    weight: &'a [f32],
    bias: &'a [f32],
    x: &'a Rows<'a>,
    y: &'a mut [f32],
}

impl WithSimd for ThinForward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Dense { inputs, outputs } = self.layer;
        for (row, y) in self.x.iter().zip(self.y.chunks_exact_mut(outputs)) {
            let mut class = 0;
            while class + 2 <= outputs {
                let pair = &self.weight[class * inputs..(class + 2) * inputs];
                let [a, b] = products::<S, 2>(simd, row, pair);
                y[class] = a + self.bias[class];
                y[class + 1] = b + self.bias[class + 1];
                class += 2;
            }
            if class < outputs {
                let [a] = products::<S, 1>(simd, row, &self.weight[class * inputs..]);
                y[class] = a + self.bias[class];
            }
        }
    }
}

/// Products of a row with C rows of weights.
#[inline(always)]
fn products<S: Simd, const C: usize>(simd: S, row: &[f32], weights: &[f32]) -> [f32; C] {
    let n = row.len();
    let own: [&[f32]; C] = std::array::from_fn(|c| &weights[c * n..(c + 1) * n]);
    let (lanes, mut at) = (S::F32_LANES, 0);
    let mut sums = [[simd.splat_f32s(0.0); 4]; C];
    while at + 4 * lanes <= n {
        for part in 0..4 {
            let x = load::<S>(row, at + part * lanes);
            for c in 0..C {
                let w = load::<S>(own[c], at + part * lanes);
                sums[c][part] = simd.mul_add_e_f32s(x, w, sums[c][part]);
            }
        }
        at += 4 * lanes;
    }
    while at + lanes <= n {
        let x = load::<S>(row, at);
        for c in 0..C {
            sums[c][0] = simd.mul_add_e_f32s(x, load::<S>(own[c], at), sums[c][0]);
        }
        at += lanes;
    }
    let mut all = [0.0; C];
    for c in 0..C {
        let [p, q, r, s] = sums[c];
        let sum = simd.add_f32s(simd.add_f32s(p, q), simd.add_f32s(r, s));
        all[c] = simd.reduce_sum_f32s(sum);
        for i in at..n {
            all[c] += row[i] * own[c][i];
        }
    }
    all
}

struct ThinBackward<'a> {
    layer: Dense,
    x: &'a Rows<'a>,
    dy: &'a [f32],
    weight: &'a mut [f32],
}

impl WithSimd for ThinBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Dense { inputs, outputs } = self.layer;
        let (fours, rest) = self.x.as_chunks::<4>();
        let (dy, dy_rest) = self.dy.split_at(4 * fours.len() * outputs);
        for (rows, dy) in fours.iter().zip(dy.chunks_exact(4 * outputs)) {
            for (class, weight) in self.weight.chunks_exact_mut(inputs).enumerate() {
                let factors = std::array::from_fn(|row| dy[row * outputs + class]);
                add_rows::<S, 4>(simd, *rows, factors, weight);
            }
        }
        for (row, dy) in rest.iter().zip(dy_rest.chunks_exact(outputs)) {
            for (weight, &factor) in self.weight.chunks_exact_mut(inputs).zip(dy) {
                add_rows::<S, 1>(simd, [row], [factor], weight);
            }
        }
    }
}

/// sum += factors . rows
#[inline(always)]
fn add_rows<S: Simd, const R: usize>(simd: S, rows: [&[f32]; R], factors: [f32; R], sum: &mut [f32]) {
    let n = sum.len();
    let rows: [&[f32]; R] = std::array::from_fn(|r| &rows[r][..n]);
    let lanes = S::F32_LANES;
    let mut splats = [simd.splat_f32s(0.0); R];
    for r in 0..R {
        splats[r] = simd.splat_f32s(factors[r]);
    }
    let mut at = 0;
    while at + lanes <= n {
        let target = lanes_mut::<S>(sum, at);
        let mut value = *target;
        for r in 0..R {
            value = simd.mul_add_e_f32s(splats[r], load::<S>(rows[r], at), value);
        }
        *target = value;
        at += lanes;
    }
    for i in at..n {
        for r in 0..R {
            sum[i] += factors[r] * rows[r][i];
        }
    }
}

struct ThinInputs<'a> {
    layer: Dense,
    weight: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
}

impl WithSimd for ThinInputs<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Dense { inputs, outputs } = self.layer;
        for (dx, dy) in self.dx.chunks_exact_mut(inputs).zip(self.dy.chunks_exact(outputs)) {
            dx.fill(0.0);
            for (weight, &factor) in self.weight.chunks_exact(inputs).zip(dy) {
                add_rows::<S, 1>(simd, [weight], [factor], dx);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::with_each;

    fn wave(n: usize, by: f32) -> Vec<f32> {
        (0..n).map(|i| (i as f32 * by).sin()).collect()
    }

    /// Forward and both gradients against the definition, for thin and wide layers of odd sizes.
    #[test]
    fn against_the_definition() {
        with_each(|_| layers());
    }

    fn layers() {
        for (batch, inputs, outputs) in
            [(1, 1, 1), (3, 5, 2), (6, 57, 3), (9, 130, 10), (5, 67, 16), (7, 33, 40)]
        {
            let layer = Dense { inputs, outputs };
            let (values, x) = (wave(layer.n_values(), 0.7), wave(batch * inputs, 0.3));
            let dy = wave(batch * outputs, 1.1);
            let rows: Vec<&[f32]> = x.chunks(inputs).collect();
            let (mut work, mut y) = (Gathered::default(), vec![f32::NAN; batch * outputs]);
            layer.forward(&values, &rows, &mut work, &mut y);
            let mut gradient = vec![f32::NAN; layer.n_values()];
            layer.backward(&rows, &mut work, &dy, &mut gradient);
            let mut dx = vec![f32::NAN; batch * inputs];
            layer.backward_inputs(&values, &dy, &mut work, &mut dx);

            let (w, b) = values.split_at(inputs * outputs);
            let close = |a: f32, b: f32| assert!((a - b).abs() < 1e-4, "{a} for {b} in {layer:?}");
            for s in 0..batch {
                for o in 0..outputs {
                    let sum: f32 = (0..inputs).map(|i| x[s * inputs + i] * w[o * inputs + i]).sum();
                    close(y[s * outputs + o], sum + b[o]);
                }
                for i in 0..inputs {
                    let sum = (0..outputs).map(|o| dy[s * outputs + o] * w[o * inputs + i]).sum();
                    close(dx[s * inputs + i], sum);
                }
            }
            for o in 0..outputs {
                close(gradient[inputs * outputs + o], (0..batch).map(|s| dy[s * outputs + o]).sum());
                for i in 0..inputs {
                    let sum = (0..batch).map(|s| dy[s * outputs + o] * x[s * inputs + i]).sum();
                    close(gradient[o * inputs + i], sum);
                }
            }
        }
    }
}
