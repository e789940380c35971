//! Devices as torch knows them.

use tch::{Cuda, Kind, Tensor};

use crate::error::{Error, Result};
use crate::member::{Device, Precision};

/// Number of GPUs of this machine.
pub(crate) fn n_gpus() -> usize {
    usize::try_from(Cuda::device_count()).unwrap_or(0)
}

/// The device as torch calls it.
pub(super) fn on(device: Device) -> tch::Device {
    match device {
        Device::Cpu => tch::Device::Cpu,
        Device::Cuda(number) => tch::Device::Cuda(number),
    }
}

/// Refuses a GPU whose matrix products are rounded to TF32 when the record says single precision.
///
/// torch has one switch for the whole process. 1 + 2^-12 is a float and no TF32 number: one product tells.
///
/// # Errors
/// A device error that names the switch, or torch's.
pub(super) fn check_precision(device: Device, precision: Precision) -> Result<()> {
    if device == Device::Cpu || precision == Precision::Tf32 {
        return Ok(());
    }
    let product = || {
        let factor = Tensor::f_full([64, 64], 1.0 + 1.0 / 4096.0, (Kind::Float, on(device)))?;
        factor.f_matmul(&Tensor::f_eye(64, (Kind::Float, on(device)))?)?.f_double_value(&[0, 0])
    };
    match product() {
        Ok(value) if value > 1.0 => Ok(()),
        Ok(_) => Err(Error::device(
            "The members' record says single precision, but torch rounds matrix products to TF32 in this process. \
             Call torch.set_float32_matmul_precision('highest'), or train with precision='tf32'.",
        )),
        Err(error) => Err(Error::device(error.to_string())),
    }
}
