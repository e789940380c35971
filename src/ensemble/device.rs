//! Devices by name.

use tch::{Cuda, Device};

use crate::error::{Error, Result};

/// Names of the devices of this machine: "cpu", then "cuda:0" and on.
pub fn devices() -> Vec<String> {
    let cuda = 0..Cuda::device_count().max(0);
    std::iter::once("cpu".to_owned()).chain(cuda.map(|n| format!("cuda:{n}"))).collect()
}

/// The device called `name`: "auto" (the first CUDA device, else the CPU), "cpu", "cuda", "cuda:N".
///
/// # Errors
/// [`ErrorKind::Device`](crate::ErrorKind::Device) naming the devices that are there.
pub(super) fn parse(name: &str) -> Result<Device> {
    let known = devices();
    let full = match name {
        "auto" if known.len() > 1 => "cuda:0",
        "auto" => "cpu",
        "cuda" => "cuda:0",
        other => other,
    };
    match known.iter().position(|device| device == full) {
        Some(0) => Ok(Device::Cpu),
        Some(n) => Ok(Device::Cuda(n - 1)),
        None => Err(Error::device(format!(
            "The 'device' parameter must be 'auto' or one of the devices of this machine: {}. Got '{name}' \
             instead.",
            known.iter().map(|device| format!("'{device}'")).collect::<Vec<_>>().join(", ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn names() {
        assert_eq!(parse("cpu"), Ok(Device::Cpu));
        assert!(parse("auto").is_ok());
        for absent in ["cuda:99", "gpu", "", "cuda:-1"] {
            let error = parse(absent).err();
            assert_eq!(error.as_ref().map(|e| e.kind().clone()), Some(ErrorKind::Device));
            let message = error.map(|e| e.to_string()).unwrap_or_default();
            assert!(message.contains("'cpu'") && message.ends_with(&format!("Got '{absent}' instead.")));
        }
    }
}
