//! Names, shapes and initial values of an architecture's parameters.

use rand::RngExt;

use crate::seed::{Role, Seed};

/// What happens to a parameter during training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterKind {
    /// Follows the gradient.
    Trained,
    /// A running statistic, updated by the forward pass.
    Running,
}

/// How a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Uniform on (-bound, bound); `bound = 1 / sqrt(fan_in)` is PyTorch's default for dense layers and
    /// convolutions (He et al. 2015 with a = sqrt 5).
    Uniform(f32),
    /// The same value everywhere.
    Constant(f32),
}

/// One parameter of one member.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterSpec {
    /// Stable name, such as `conv1.weight`.
    pub name: String,
    /// Shape for one member.
    pub shape: Vec<usize>,
    /// Trained or running.
    pub kind: ParameterKind,
    /// Initial value.
    pub init: Init,
}

impl ParameterSpec {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the parameter has no values at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// All parameters of an architecture.
///
/// A member's values are kept in one vector: first the trained parameters, then the running statistics,
/// each group in the order of declaration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layout {
    specs: Vec<ParameterSpec>,
}

impl Layout {
    /// A layout of the given parameters.
    pub fn new(specs: Vec<ParameterSpec>) -> Self {
        Self { specs }
    }

    /// All parameters, in the order of declaration.
    pub fn specs(&self) -> &[ParameterSpec] {
        &self.specs
    }

    /// The parameters of one kind, in the order of declaration.
    pub fn of_kind(&self, kind: ParameterKind) -> impl Iterator<Item = &ParameterSpec> {
        self.specs.iter().filter(move |spec| spec.kind == kind)
    }

    /// Number of values of one kind.
    pub fn n_values_of(&self, kind: ParameterKind) -> usize {
        self.of_kind(kind).map(ParameterSpec::len).sum()
    }

    /// Number of values of one member.
    pub fn n_values(&self) -> usize {
        self.specs.iter().map(ParameterSpec::len).sum()
    }

    /// The parameters with the range of their values in a member's vector.
    pub fn ranges(&self) -> impl Iterator<Item = (&ParameterSpec, std::ops::Range<usize>)> {
        let groups = self.of_kind(ParameterKind::Trained).chain(self.of_kind(ParameterKind::Running));
        groups.scan(0, |start, spec| {
            let range = *start..*start + spec.len();
            *start = range.end;
            Some((spec, range))
        })
    }

    /// A member's initial values, from its streams of [`Role::Weights`]: one per parameter.
    pub fn initial(&self, seed: Seed, member: u64) -> Vec<f32> {
        let streams = seed.member(Role::Weights, member);
        let mut values = vec![0.0; self.n_values()];
        for (number, (spec, range)) in self.ranges().enumerate() {
            match spec.init {
                Init::Constant(value) => values[range].fill(value),
                Init::Uniform(bound) => {
                    let mut rng = streams.sample(number as u64);
                    values[range].fill_with(|| (2.0 * rng.random::<f32>() - 1.0) * bound);
                }
            }
        }
        values
    }

    fn push(&mut self, name: String, shape: &[usize], kind: ParameterKind, init: Init) {
        self.specs.push(ParameterSpec { name, shape: shape.to_vec(), kind, init });
    }

    /// Declares a dense layer: weight (outputs, inputs) and bias (outputs).
    pub(crate) fn dense(&mut self, name: &str, inputs: usize, outputs: usize) {
        let init = Init::Uniform(1.0 / (inputs as f32).sqrt());
        self.push(format!("{name}.weight"), &[outputs, inputs], ParameterKind::Trained, init);
        self.push(format!("{name}.bias"), &[outputs], ParameterKind::Trained, init);
    }

    /// Declares a square convolution: weight (outputs, inputs, kernel, kernel) and perhaps bias (outputs).
    pub(crate) fn conv(&mut self, name: &str, inputs: usize, outputs: usize, kernel: usize, bias: bool) {
        let init = Init::Uniform(1.0 / ((inputs * kernel * kernel) as f32).sqrt());
        let shape = [outputs, inputs, kernel, kernel];
        self.push(format!("{name}.weight"), &shape, ParameterKind::Trained, init);
        if bias {
            self.push(format!("{name}.bias"), &[outputs], ParameterKind::Trained, init);
        }
    }

    /// Declares batch norm: weight, bias, running mean and running variance, each (channels).
    pub(crate) fn batch_norm(&mut self, name: &str, channels: usize) {
        use ParameterKind::{Running, Trained};
        self.push(format!("{name}.weight"), &[channels], Trained, Init::Constant(1.0));
        self.push(format!("{name}.bias"), &[channels], Trained, Init::Constant(0.0));
        self.push(format!("{name}.running_mean"), &[channels], Running, Init::Constant(0.0));
        self.push(format!("{name}.running_var"), &[channels], Running, Init::Constant(1.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        let mut layout = Layout::default();
        layout.conv("conv", 2, 3, 5, false);
        layout.batch_norm("norm", 3);
        layout.dense("fc", 3, 4);
        layout
    }

    #[test]
    fn trained_values_come_first_and_ranges_tile_the_vector() {
        let layout = layout();
        let names: Vec<_> = layout.ranges().map(|(spec, _)| spec.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "conv.weight",
                "norm.weight",
                "norm.bias",
                "fc.weight",
                "fc.bias",
                "norm.running_mean",
                "norm.running_var",
            ]
        );
        let mut end = 0;
        for (spec, range) in layout.ranges() {
            assert_eq!((range.start, range.len()), (end, spec.len()));
            end = range.end;
        }
        assert_eq!(end, layout.n_values());
        assert_eq!(layout.n_values_of(ParameterKind::Running), 6);
    }

    #[test]
    fn initial_values_repeat_differ_between_members_and_fill_their_range() {
        let layout = layout();
        let a = layout.initial(Seed::new(1), 0);
        assert_eq!(a, layout.initial(Seed::new(1), 0));
        assert_ne!(a, layout.initial(Seed::new(1), 1));
        assert_ne!(a, layout.initial(Seed::new(2), 0));
        let conv = &a[..150];
        let bound = 1.0 / 50.0_f32.sqrt();
        let largest = conv.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        assert!(largest <= bound && largest > 0.9 * bound, "{largest} of {bound}");
        let mean: f32 = conv.iter().sum::<f32>() / 150.0;
        assert!(mean.abs() < 4.0 * bound / (3.0 * 150.0_f32).sqrt(), "{mean}");
        assert_eq!(a[a.len() - 6..], [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
    }
}
