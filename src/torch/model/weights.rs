//! The parameters of a stack of members, as tensors.

use std::any::Any;
use std::cell::Cell;
use std::sync::{Arc, OnceLock};

use tch::{Device, Kind, TchError, Tensor};

use super::TorchResult;
use crate::member::{Convolution, Layout, ParameterKind};

/// How layers compute what they compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct How {
    /// How a stack convolves.
    pub convolution: Convolution,
    /// Whether convolutions may round their factors to TF32.
    pub tf32: bool,
}

/// The parameters of a stack of S members, in the order of their declaration.
///
/// Each has a leading dimension S, left out for S = 1. A forward pass takes them one after another with
/// [`Weights::next_trained`] and [`Weights::next_running`].
#[derive(Debug)]
pub struct Weights {
    stack: i64,
    trained: Vec<Tensor>,
    running: Vec<Tensor>,
    how: How,
    next: [Cell<usize>; 2],
    companion: Companion,
}

/// What an architecture keeps for one stack beside its values; see [`Weights::companion`].
type Companion = Arc<OnceLock<Box<dyn Any + Send + Sync>>>;

impl Weights {
    /// The parameters of one member in tensors of the caller's: trained ones, then running statistics, each group
    /// in the order of declaration.
    pub fn of_member(trained: Vec<Tensor>, running: Vec<Tensor>) -> Self {
        let (next, companion) = (Default::default(), Companion::default());
        Self { stack: 1, trained, running, how: How::default(), next, companion }
    }

    /// Number of members S.
    pub fn stack(&self) -> i64 {
        self.stack
    }

    /// How layers compute.
    pub fn how(&self) -> How {
        self.how
    }

    /// All trained parameters, in the order of declaration.
    pub fn trained(&self) -> &[Tensor] {
        &self.trained
    }

    /// All running statistics, in the order of declaration.
    pub fn running(&self) -> &[Tensor] {
        &self.running
    }

    /// The parameters of the member at `place`, without a leading dimension.
    ///
    /// # Errors
    /// Whatever torch reports.
    pub(crate) fn member(&self, place: usize) -> TorchResult<Self> {
        let of = |tensors: &[Tensor]| -> TorchResult<Vec<Tensor>> {
            tensors
                .iter()
                .map(|t| if self.stack == 1 { Ok(t.shallow_clone()) } else { t.f_select(0, place as i64) })
                .collect()
        };
        let companion = if self.stack == 1 { self.companion.clone() } else { Companion::default() };
        Ok(Self { how: self.how, companion, ..Self::of_member(of(&self.trained)?, of(&self.running)?) })
    }

    /// The same values in double precision.
    #[cfg(test)]
    pub(crate) fn double(&self) -> Self {
        let of = |tensors: &[Tensor]| tensors.iter().map(|t| t.to_kind(Kind::Double)).collect();
        Self { how: self.how, ..Self::of_member(of(&self.trained), of(&self.running)) }
    }

    /// What the architecture keeps for this stack beside its values, such as a module with a state of its own:
    /// made at the first forward pass, dropped with the stack, and never seen by another stack.
    ///
    /// # Errors
    /// Those of `make`; or if an earlier pass made something of another type.
    pub fn companion<T: Send + Sync + 'static>(
        &self,
        make: impl FnOnce() -> TorchResult<T>,
    ) -> TorchResult<&T> {
        if self.companion.get().is_none() {
            // A stack is driven by one thread: nobody else sets it meanwhile.
            let _ = self.companion.set(Box::new(make()?));
        }
        let companion = self.companion.get().and_then(|kept| kept.downcast_ref());
        companion.ok_or_else(|| TchError::Shape("a stack belongs to one architecture".to_owned()))
    }

    /// Starts a forward pass: the next parameter taken is the first.
    pub fn rewind(&self) {
        self.next[0].set(0);
        self.next[1].set(0);
    }

    /// The next trained parameter of a forward pass.
    ///
    /// # Errors
    /// If the architecture declared fewer.
    pub fn next_trained(&self) -> TorchResult<&Tensor> {
        take(&self.trained, &self.next[0])
    }

    /// The next running statistic of a forward pass.
    ///
    /// # Errors
    /// If the architecture declared fewer.
    pub fn next_running(&self) -> TorchResult<&Tensor> {
        take(&self.running, &self.next[1])
    }
}

fn take<'a>(list: &'a [Tensor], next: &Cell<usize>) -> TorchResult<&'a Tensor> {
    let number = next.replace(next.get() + 1);
    list.get(number).ok_or_else(|| TchError::Shape(format!("parameter number {number} was not declared")))
}

/// The storage behind [`Weights`]: trained parameters in one flat tensor, so that the optimiser makes one
/// pass over it whatever the architecture, and one tensor per running statistic.
#[derive(Debug)]
pub(crate) struct FlatWeights {
    stack: i64,
    /// (S, P), or (P) for S = 1.
    flat: Tensor,
    sizes: Vec<i64>,
    shapes: Vec<Vec<i64>>,
    running: Vec<Tensor>,
    how: How,
    companion: Companion,
}

impl FlatWeights {
    /// From members' vectors of values, laid out as [`Layout`] says.
    pub(crate) fn new(layout: &Layout, members: &[&[f32]], device: Device) -> TorchResult<Self> {
        let stack = members.len() as i64;
        let n_trained = layout.n_values_of(ParameterKind::Trained);
        let lead = |shape: &[usize]| {
            let shape = shape.iter().map(|&n| n as i64);
            if stack == 1 {
                shape.collect()
            } else {
                std::iter::once(stack).chain(shape).collect::<Vec<_>>()
            }
        };
        let trained = layout.of_kind(ParameterKind::Trained);
        let (sizes, shapes) = trained.map(|spec| (spec.len() as i64, lead(&spec.shape))).unzip();
        let mut running = Vec::new();
        for (spec, range) in layout.ranges().filter(|(spec, _)| spec.kind == ParameterKind::Running) {
            let values = gather(members, range);
            running.push(tensor(&values, &lead(&spec.shape), device)?);
        }
        let flat = tensor(&gather(members, 0..n_trained), &lead(&[n_trained]), device)?;
        let (how, companion) = (How::default(), Companion::default());
        Ok(Self { stack, flat, sizes, shapes, running, how, companion })
    }

    /// The same values, computed with as said.
    pub(crate) fn computing(self, how: How) -> Self {
        Self { how, ..self }
    }

    /// The flat tensor of trained parameters.
    pub(crate) fn flat(&self) -> &Tensor {
        &self.flat
    }

    /// Views for a forward pass; gradients flow through them to the flat tensor.
    pub(crate) fn views(&self) -> TorchResult<Weights> {
        let parts = self.flat.f_split_with_sizes(&self.sizes[..], -1)?;
        let trained: TorchResult<Vec<_>> =
            parts.iter().zip(&self.shapes).map(|(part, shape)| part.f_view(&shape[..])).collect();
        Ok(Weights {
            stack: self.stack,
            trained: trained?,
            running: self.running.iter().map(Tensor::shallow_clone).collect(),
            how: self.how,
            next: Default::default(),
            companion: Arc::clone(&self.companion),
        })
    }

    /// The members' vectors of values.
    pub(crate) fn to_members(&self) -> TorchResult<Vec<Vec<f32>>> {
        let mut columns = vec![rows(&self.flat, self.stack)?];
        for statistic in &self.running {
            columns.push(rows(statistic, self.stack)?);
        }
        let member = |m: usize| columns.iter().flat_map(|column| column[m].iter().copied()).collect();
        Ok((0..self.stack as usize).map(member).collect())
    }
}

fn gather(members: &[&[f32]], range: std::ops::Range<usize>) -> Vec<f32> {
    members.iter().flat_map(|values| values[range.clone()].iter().copied()).collect()
}

fn tensor(values: &[f32], shape: &[i64], device: Device) -> TorchResult<Tensor> {
    Tensor::f_from_slice(values)?.f_view(shape)?.f_to_device(device)
}

fn rows(tensor: &Tensor, stack: i64) -> TorchResult<Vec<Vec<f32>>> {
    let table = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_reshape([stack, -1])?;
    (0..stack).map(|m| to_vec(&table.f_select(0, m)?)).collect()
}

/// The values of a tensor of floats, row by row.
pub(crate) fn to_vec(tensor: &Tensor) -> TorchResult<Vec<f32>> {
    let tensor = tensor.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?.f_contiguous()?;
    let mut values = vec![0.0_f32; tensor.numel()];
    let length = values.len();
    tensor.f_copy_data(&mut values, length)?;
    Ok(values)
}

/// A tensor of the CPU on `device`, through page-locked memory, so that the calling thread does not wait for what
/// the device still has to do.
pub(crate) fn upload(tensor: &Tensor, device: Device) -> TorchResult<Tensor> {
    if device == Device::Cpu {
        return Ok(tensor.shallow_clone());
    }
    match tensor.f_pin_memory(device) {
        Ok(pinned) => pinned.f_to_device_(device, tensor.f_kind()?, true, false),
        // Page-locked memory is scarce on some systems; then the copy waits.
        Err(_) => tensor.f_to_device(device),
    }
}
