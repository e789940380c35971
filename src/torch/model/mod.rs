//! Architectures of the members: what parameters they have and how they map inputs to logits.
//!
//! An [`Architecture`] is a pure function of a *stack* of members' parameters. It owns no weights and
//! no generator: initial weights come from the streams of [`Role::Weights`](crate::Role::Weights), so
//! that a member can be trained again anywhere, bit for bit.

mod cnn;
mod dense;
mod discriminant;
mod layers;
mod resnet;
mod ridge;
mod weights;

use std::fmt;
use std::sync::Arc;

use tch::{TchError, Tensor};

use crate::error::{Error, Result};
use crate::member::built_in::{describe, KNOWN};
use crate::member::{FeatureShape, Layout};
use crate::seed::Seed;

pub(crate) use weights::{to_vec as weights_to_vec, upload, FlatWeights};
pub use weights::{How, Weights};

/// Result of an operation of torch; it becomes a training error where the member is known.
pub type TorchResult<T> = std::result::Result<T, TchError>;

/// Whether a forward pass serves training or voting; decides what batch norm does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Statistics of the batch, and running statistics are updated.
    Train,
    /// Running statistics of the training set.
    Eval,
}

/// A member that was computed in closed form.
#[derive(Clone, Debug, PartialEq)]
pub struct Solution {
    /// All its values, in the layout's order.
    pub values: Vec<f32>,
    /// Its mean loss on the noised set.
    pub loss: f32,
}

/// A member's architecture: a pure function of parameters and inputs.
///
/// # Shapes
/// With a stack of S > 1 members, inputs are (S, B, ...) and logits (S, B, n_classes); the parameters in
/// [`Weights`] have a leading dimension S. For S = 1 that dimension is left out everywhere, so that the
/// plain fast operations apply.
pub trait Architecture: Send + Sync + fmt::Debug {
    /// The name in the record of a run; two architectures that behave differently have different names.
    fn name(&self) -> &str;

    /// Names, shapes and initial values of all parameters.
    fn layout(&self) -> &Layout;

    /// A member's values before training, from its streams of [`Role::Weights`](crate::Role::Weights).
    ///
    /// # Errors
    /// Whatever building the model reports.
    fn initial(&self, seed: Seed, member: u64) -> TorchResult<Vec<f32>> {
        Ok(self.layout().initial(seed, member))
    }

    /// Logits of a batch.
    ///
    /// # Errors
    /// Whatever torch reports.
    fn forward(&self, weights: &Weights, inputs: &Tensor, mode: Mode) -> TorchResult<Tensor>;

    /// The member in closed form, from its noised set: features (n, ...) and class numbers (n), and a penalty.
    /// `None` for an architecture that is trained by gradient.
    ///
    /// # Errors
    /// Whatever torch reports.
    fn solve(&self, _features: &Tensor, _labels: &Tensor, _penalty: f64) -> TorchResult<Option<Solution>> {
        Ok(None)
    }

    /// Whether members look at their noised set once, in closed form.
    fn looks_once(&self) -> bool {
        false
    }

    /// Whether the name is that of a built-in network.
    fn is_built_in(&self) -> bool {
        false
    }

    /// The smallest training set a member can be trained on (batch norm needs two samples).
    fn min_samples(&self) -> usize {
        1
    }

    /// Floats that one step of training holds for each sample of a batch, roughly and from above; `None` where
    /// nobody knows. The size of stacks on a GPU is chosen with it.
    fn activations(&self) -> Option<usize> {
        None
    }

    /// The largest stack the architecture can be evaluated in.
    fn max_stack(&self) -> usize {
        usize::MAX
    }

    /// Whether stacks work whatever happens in training. If not, members of a stack that failed are trained again,
    /// one by one.
    fn stacks_are_sure(&self) -> bool {
        true
    }

    /// Whether its layers convolve as [`Weights::how`] says, so that there is something to choose.
    fn chooses_convolution(&self) -> bool {
        self.layout().specs().iter().any(|spec| spec.shape.len() == 4)
    }
}

/// The built-in architecture called `name`, with sizes taken from the data.
///
/// # Errors
/// [`ErrorKind::Parameter`](crate::ErrorKind::Parameter) for an unknown name (lists the known ones) and
/// [`ErrorKind::Shape`](crate::ErrorKind::Shape) for inputs the architecture cannot take.
pub fn by_name(name: &str, shape: FeatureShape, n_classes: usize) -> Result<Arc<dyn Architecture>> {
    Ok(match name {
        "linear" | "mlp" => Arc::new(dense::Perceptron(describe(name, shape, n_classes)?)),
        "discriminant" => Arc::new(discriminant::Discriminant::new(shape, n_classes)),
        "ridge" => Arc::new(ridge::Ridge::new(shape, n_classes)),
        "cnn" => Arc::new(cnn::Cnn::new(shape, n_classes)?),
        "resnet" => Arc::new(resnet::ResNet::new(shape, n_classes)?),
        other => return Err(Error::unknown("model", &KNOWN, other)),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::member::{Convolution, ParameterKind};
    use crate::torch::on_one_thread;
    use tch::{Device, Kind};

    const SHAPE: FeatureShape = FeatureShape::Image { channels: 2, height: 9, width: 8 };
    const STACK: i64 = 3;

    fn weights(architecture: &dyn Architecture, members: &[u64]) -> FlatWeights {
        let values: Vec<_> =
            members.iter().map(|&m| architecture.layout().initial(Seed::new(3), m)).collect();
        let values: Vec<&[f32]> = values.iter().map(Vec::as_slice).collect();
        FlatWeights::new(architecture.layout(), &values, Device::Cpu).unwrap()
    }

    fn inputs() -> Tensor {
        let wave = Tensor::arange(STACK * 6 * 144, (Kind::Float, Device::Cpu)) * 0.37;
        wave.sin().view([STACK, 6, 2, 9, 8])
    }

    /// Logits, gradient of the sum of their squares, and running statistics after the pass.
    fn pass(weights: &FlatWeights, architecture: &dyn Architecture, x: &Tensor, mode: Mode) -> [Vec<f32>; 3] {
        let _ = weights.flat().set_requires_grad(true);
        let logits = architecture.forward(&weights.views().unwrap(), x, mode).unwrap();
        let objective = logits.square().sum(Kind::Float);
        let gradient = Tensor::run_backward(&[objective], &[weights.flat()], false, false);
        let members = weights.to_members().unwrap();
        let n_trained = architecture.layout().n_values_of(ParameterKind::Trained);
        let running = members.iter().flat_map(|values| values[n_trained..].to_vec()).collect();
        [weights_to_vec(&logits.detach()).unwrap(), weights_to_vec(&gradient[0]).unwrap(), running]
    }

    fn close(name: &str, a: &[f32], b: &[f32], tolerance: f32) {
        assert_eq!(a.len(), b.len(), "{name}");
        let scale = a.iter().fold(1.0_f32, |m, v| m.max(v.abs()));
        let largest = a.iter().zip(b).fold(0.0_f32, |m, (a, b)| m.max((a - b).abs()));
        assert!(largest <= tolerance * scale, "{name}: {largest} of {scale}");
    }

    #[test]
    fn a_stack_computes_what_its_members_compute_alone() {
        on_one_thread(compare_stack);
    }

    fn compare_stack() {
        for (name, convolution) in KNOWN.into_iter().flat_map(|name| {
            [Convolution::Grouped, Convolution::Unfolded].map(|convolution| (name, convolution))
        }) {
            let architecture = by_name(name, SHAPE, 4).unwrap();
            for mode in [Mode::Train, Mode::Eval] {
                let x = inputs();
                let how = How { convolution, tf32: false };
                let stack = weights(architecture.as_ref(), &[0, 1, 2]).computing(how);
                let stacked = pass(&stack, architecture.as_ref(), &x, mode);
                let mut single: [Vec<f32>; 3] = Default::default();
                for member in 0..STACK {
                    let own = weights(architecture.as_ref(), &[member as u64]);
                    let own = pass(&own, architecture.as_ref(), &x.select(0, member), mode);
                    single.iter_mut().zip(own).for_each(|(all, own)| all.extend(own));
                }
                close(&format!("{name} {convolution:?} {mode:?} logits"), &single[0], &stacked[0], 1e-5);
                // A product adds in another order than a convolution, so a ReLU near 0 may switch, and batch norm
                // over few pixels enlarges what is left.
                let tolerance =
                    if convolution == Convolution::Unfolded && name == "resnet" { 3e-3 } else { 1e-4 };
                close(
                    &format!("{name} {convolution:?} {mode:?} gradient"),
                    &single[1],
                    &stacked[1],
                    tolerance,
                );
                close(&format!("{name} {convolution:?} {mode:?} running"), &single[2], &stacked[2], 1e-5);
                assert!(single[1].iter().any(|g| g.abs() > 1e-3), "{name}: there is a gradient");
            }
        }
    }

    /// Loss, gradient and logits of the crate's own kernels beside torch's.
    #[test]
    fn the_kernels_compute_what_torch_computes() {
        on_one_thread(compare_kernels);
    }

    fn compare_kernels() {
        for (name, channels, height, width) in [
            ("linear", 1, 5, 9),
            ("discriminant", 1, 5, 9),
            ("ridge", 1, 5, 9),
            ("mlp", 2, 9, 8),
            ("cnn", 2, 9, 8),
            ("cnn", 1, 28, 28),
            ("cnn", 3, 17, 20),
        ] {
            let shape = FeatureShape::Image { channels, height, width };
            let architecture = by_name(name, shape, 4).unwrap();
            let network = describe(name, shape, 4).unwrap().network.unwrap();
            assert_eq!(network.n_values(), architecture.layout().n_values(), "{name}");
            let d = shape.n_features();
            let x: Vec<f32> = (0..6 * d).map(|i| (i as f32 * 0.37).sin()).collect();
            let labels = [0_usize, 1, 2, 3, 1, 1];
            let own = weights(architecture.as_ref(), &[7]);
            let values = own.to_members().unwrap().remove(0);
            let rows: Vec<&[f32]> = x.chunks(d).collect();
            let mut work = crate::kernel::Workspace::default();
            let kernel_logits = network.logits(&values, &rows, &mut work).to_vec();
            let (loss, gradient) = network.gradient(&values, &rows, &labels, &mut work);

            let _ = own.flat().set_requires_grad(true);
            let inputs = Tensor::from_slice(&x).view([6, channels as i64, height as i64, width as i64]);
            let logits = architecture.forward(&own.views().unwrap(), &inputs, Mode::Train).unwrap();
            let targets = Tensor::from_slice(&labels.map(|label| label as i64));
            let objective = logits.cross_entropy_for_logits(&targets);
            let expected = Tensor::run_backward(&[&objective], &[own.flat()], false, false);
            close(name, &weights_to_vec(&logits.detach()).unwrap(), &kernel_logits, 1e-5);
            close(name, &[objective.double_value(&[]) as f32], &[loss], 1e-6);
            close(name, &weights_to_vec(&expected[0]).unwrap(), gradient, 1e-5);
            assert!(gradient.iter().any(|g| g.abs() > 1e-3), "{name}: there is a gradient");
        }
    }

    #[test]
    fn only_training_moves_running_statistics() {
        let resnet = by_name("resnet", SHAPE, 4).unwrap();
        let after = |mode| {
            let own = weights(resnet.as_ref(), &[0]);
            let before = own.to_members().unwrap();
            let _ = resnet.forward(&own.views().unwrap(), &inputs().select(0, 0), mode).unwrap();
            own.to_members().unwrap() == before
        };
        on_one_thread(|| assert!(after(Mode::Eval)));
        on_one_thread(|| assert!(!after(Mode::Train)));
    }

    #[test]
    fn the_cnn_is_the_literatures() {
        let shape = FeatureShape::Image { channels: 1, height: 28, width: 28 };
        let cnn = by_name("cnn", shape, 2).unwrap();
        let own = weights(cnn.as_ref(), &[5]).views().unwrap();
        let x = (Tensor::arange(4 * 784, (Kind::Float, Device::Cpu)) * 0.1).cos().view([4, 1, 28, 28]);
        let [w1, b1, w2, b2, w3, b3, w4, b4] = own.trained() else { unreachable!("eight parameters") };
        let block = |x: Tensor, w: &Tensor, b: &Tensor| {
            x.conv2d(w, Some(b), [1, 1], [0, 0], [1, 1], 1).relu().max_pool2d(
                [2, 2],
                [2, 2],
                [0, 0],
                [1, 1],
                false,
            )
        };
        let h = block(block(x.shallow_clone(), w1, b1), w2, b2).flatten(1, -1);
        let expected = h.linear(w3, Some(b3)).relu().linear(w4, Some(b4));
        let logits = cnn.forward(&own, &x, Mode::Train).unwrap();
        close("cnn", &weights_to_vec(&expected).unwrap(), &weights_to_vec(&logits).unwrap(), 1e-6);
    }
}
