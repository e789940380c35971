//! Devices by name.

use tch::{Cuda, Device, Kind, Tensor};

use super::Precision;
use crate::error::{Error, Result};

/// Names of the devices of this machine: "cpu", then "cuda:0" and on.
pub fn devices() -> Vec<String> {
    let cuda = 0..Cuda::device_count().max(0);
    std::iter::once("cpu".to_owned()).chain(cuda.map(|n| format!("cuda:{n}"))).collect()
}

/// The devices called `name`: "auto" (all CUDA devices, or else the CPU), "cpu", "cuda" (the first), "cuda:N".
///
/// # Errors
/// [`ErrorKind::Device`](crate::ErrorKind::Device) naming the devices that are there.
pub(super) fn parse(name: &str) -> Result<Vec<Device>> {
    choose(name, &devices())
}

fn choose(name: &str, known: &[String]) -> Result<Vec<Device>> {
    let full = match name {
        "auto" if known.len() > 1 => return Ok((0..known.len() - 1).map(Device::Cuda).collect()),
        "auto" => "cpu",
        "cuda" => "cuda:0",
        other => other,
    };
    match known.iter().position(|device| device == full) {
        Some(0) => Ok(vec![Device::Cpu]),
        Some(n) => Ok(vec![Device::Cuda(n - 1)]),
        None => Err(Error::device(format!(
            "The 'device' parameter must be 'auto' or one of the devices of this machine: {}. Got '{name}' \
             instead.",
            known.iter().map(|device| format!("'{device}'")).collect::<Vec<_>>().join(", ")
        ))),
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
        let factor = Tensor::f_full([64, 64], 1.0 + 1.0 / 4096.0, (Kind::Float, device))?;
        factor.f_matmul(&Tensor::f_eye(64, (Kind::Float, device))?)?.f_double_value(&[0, 0])
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn several_gpus() {
        let known = ["cpu", "cuda:0", "cuda:1"].map(str::to_owned);
        let cuda = |n| Device::Cuda(n);
        assert_eq!(choose("auto", &known), Ok(vec![cuda(0), cuda(1)]));
        assert_eq!(choose("cuda", &known), Ok(vec![cuda(0)]));
        assert_eq!(choose("cuda:1", &known), Ok(vec![cuda(1)]));
        assert_eq!(choose("auto", &known[..1]), Ok(vec![Device::Cpu]));
        assert!(choose("cuda", &known[..1]).is_err());
    }

    #[test]
    fn names() {
        assert_eq!(parse("cpu"), Ok(vec![Device::Cpu]));
        assert!(parse("auto").is_ok());
        for absent in ["cuda:99", "gpu", "", "cuda:-1"] {
            let error = parse(absent).err();
            assert_eq!(error.as_ref().map(|e| e.kind().clone()), Some(ErrorKind::Device));
            let message = error.map(|e| e.to_string()).unwrap_or_default();
            assert!(message.contains("'cpu'") && message.ends_with(&format!("Got '{absent}' instead.")));
        }
    }
}
