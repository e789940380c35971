//! Layers over a stack of members: plain operations for one member, batched and grouped ones for more.
//!
//! Vectors are (B, d) for one member and (S, B, d) for a stack. Images travel as planes: (B, C, H, W) for one
//! member. For a stack they are (B, S C, H, W) if convolutions are grouped, so that they keep members apart, and
//! (S C, B, H, W) if they are unfolded: then patches, product and result need one copy, that of the patches.

use tch::{Device, Kind, Tensor};

use super::weights::Weights;
use super::{Mode, TorchResult};
use crate::member::Convolution;

/// Geometry of a convolution.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conv {
    pub(super) stride: i64,
    pub(super) padding: i64,
    pub(super) bias: bool,
}

/// y = x W^T + b for each member.
pub(super) fn dense(weights: &Weights, x: &Tensor) -> TorchResult<Tensor> {
    let (weight, bias) = (weights.next_trained()?, weights.next_trained()?);
    if weights.stack() == 1 {
        return x.f_linear(weight, Some(bias));
    }
    bias.f_unsqueeze(1)?.f_baddbmm(x, &weight.f_transpose(1, 2)?, 1.0, 1.0)
}

/// Images of a batch as planes; see the module's first lines.
///
/// One member's images on the CPU enter oneDNN's blocked layout, which saves the reordering before and
/// after every convolution and has a fast pooling: a training step of `cnn` takes a third of the time it
/// takes in the default layout and half of the time with channels last, and gives the same bits. Gradients
/// in evaluation mode are not supported there and take the default layout.
pub(super) fn planes(weights: &Weights, x: &Tensor, mode: Mode) -> TorchResult<Tensor> {
    if weights.stack() > 1 {
        return match weights.how().convolution {
            Convolution::Grouped => x.f_transpose(0, 1)?.f_flatten(1, 2),
            Convolution::Unfolded => x.f_transpose(1, 2)?.f_flatten(0, 1),
        };
    }
    let recorded = x.requires_grad() || weights.trained().iter().any(Tensor::requires_grad);
    let supported = x.device() == Device::Cpu && x.f_kind()? == Kind::Float && tch::utils::has_mkldnn();
    if supported && (mode == Mode::Train || !recorded) {
        return x.f_to_mkldnn(None);
    }
    Ok(x.shallow_clone())
}

/// Planes as vectors: (B, C H W), or (S, B, C H W).
pub(super) fn vectors(weights: &Weights, x: &Tensor) -> TorchResult<Tensor> {
    let x = dense_layout(x)?;
    if weights.stack() == 1 {
        return x.f_flatten(1, -1);
    }
    match weights.how().convolution {
        Convolution::Grouped => {
            let batch = x.size().first().copied().unwrap_or(0);
            x.f_reshape([batch, weights.stack(), -1])?.f_transpose(0, 1)
        }
        Convolution::Unfolded => {
            let (channels, batch, height, width) = x.size4()?;
            let stack = weights.stack();
            x.f_view([stack, channels / stack, batch, height * width])?.f_transpose(1, 2)?.f_flatten(2, 3)
        }
    }
}

/// Planes in the default layout.
fn dense_layout(x: &Tensor) -> TorchResult<Tensor> {
    if x.is_mkldnn() {
        x.f_to_dense(None, false)
    } else {
        Ok(x.shallow_clone())
    }
}

/// Square convolution of planes; TF32 only where the record allows it.
pub(super) fn conv(weights: &Weights, x: &Tensor, geometry: Conv) -> TorchResult<Tensor> {
    if weights.stack() > 1 && weights.how().convolution == Convolution::Unfolded {
        let weight = weights.next_trained()?;
        let bias = if geometry.bias { Some(weights.next_trained()?) } else { None };
        return unfolded(weight, bias, x, geometry);
    }
    let merge = |t: &Tensor| {
        if weights.stack() == 1 {
            Ok(t.shallow_clone())
        } else {
            t.f_flatten(0, 1)
        }
    };
    let weight = merge(weights.next_trained()?)?;
    let bias = if geometry.bias { Some(merge(weights.next_trained()?)?) } else { None };
    let (stride, padding) = ([geometry.stride; 2], [geometry.padding; 2]);
    let groups = weights.stack();
    x.f_internal_convolution(
        &weight,
        bias,
        stride,
        padding,
        [1, 1],
        false,
        [0, 0],
        groups,
        false,
        true,
        true,
        weights.how().tf32,
    )
}

/// Convolution of planes (S C, B, H, W) as one batched product with the patches, (S, O, C k k) (S, C k k, B H' W'):
/// the product comes out as planes again.
fn unfolded(weight: &Tensor, bias: Option<&Tensor>, x: &Tensor, geometry: Conv) -> TorchResult<Tensor> {
    let Conv { stride, padding, .. } = geometry;
    let (stack, outputs, channels, kernel, _) = weight.size5()?;
    let (_, batch, height, width) = x.size4()?;
    let padded = if padding > 0 { x.f_constant_pad_nd([padding; 4])? } else { x.shallow_clone() };
    let x = padded.f_view([stack, channels, batch, height + 2 * padding, width + 2 * padding])?;
    let patches = x.f_unfold(3, kernel, stride)?.f_unfold(4, kernel, stride)?;
    let (height, width) = (patches.size()[3], patches.size()[4]);
    let columns =
        patches.f_permute([0, 1, 5, 6, 2, 3, 4])?.f_reshape([stack, channels * kernel * kernel, -1])?;
    let weight = weight.f_view([stack, outputs, -1])?;
    let y = match bias {
        Some(bias) => bias.f_unsqueeze(2)?.f_baddbmm(&weight, &columns, 1.0, 1.0)?,
        None => weight.f_bmm(&columns)?,
    };
    y.f_view([stack * outputs, batch, height, width])
}

/// relu(maxpool 2x2): equal to maxpool(relu) and a quarter of the work. Odd rows and columns at the end
/// are dropped.
pub(super) fn pool_relu(x: &Tensor) -> TorchResult<Tensor> {
    x.f_max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)?.f_relu()
}

/// Batch norm of planes: statistics of the batch in training (running ones follow with momentum 0.1),
/// running statistics in evaluation.
pub(super) fn batch_norm(weights: &Weights, x: &Tensor, mode: Mode) -> TorchResult<Tensor> {
    let flat = |t: &Tensor| t.f_view([-1]);
    let (weight, bias) = (weights.next_trained()?.f_reshape([-1])?, weights.next_trained()?.f_reshape([-1])?);
    let (mean, variance) = (flat(weights.next_running()?)?, flat(weights.next_running()?)?);
    let training = mode == Mode::Train;
    let norm = |x: &Tensor| {
        x.f_batch_norm(Some(&weight), Some(&bias), Some(&mean), Some(&variance), training, 0.1, 1e-5, true)
    };
    if weights.stack() > 1 && weights.how().convolution == Convolution::Unfolded {
        let channels = x.size().first().copied().unwrap_or(0);
        return norm(&x.f_view([1, channels, -1])?)?.f_view(&x.size()[..]);
    }
    norm(x)
}

/// Mean over height and width.
pub(super) fn mean_pool(x: &Tensor) -> TorchResult<Tensor> {
    dense_layout(x)?.f_mean_dim(&[2_i64, 3][..], true, None::<Kind>)
}
