//! Devices by name.

use crate::error::{Error, Result};

/// Where members are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The processor.
    Cpu,
    /// A GPU by its number.
    Cuda(usize),
}

/// Its name, as [`TrainConfig`](super::TrainConfig) takes it.
impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

/// The devices called `name`, of the CPU and `n_gpus` GPUs: "auto" (all GPUs, or else the CPU), "cpu", "cuda" (the first),
/// "cuda:N".
///
/// # Errors
/// [`ErrorKind::Device`](crate::ErrorKind::Device) naming the devices that are there.
pub(super) fn parse(name: &str, n_gpus: usize) -> Result<Vec<Device>> {
    let gpus = (0..n_gpus).map(Device::Cuda);
    if name == "auto" && n_gpus > 0 {
        return Ok(gpus.collect());
    }
    let full = match name {
        "auto" => "cpu",
        "cuda" => "cuda:0",
        other => other,
    };
    let known: Vec<Device> = std::iter::once(Device::Cpu).chain(gpus).collect();
    match known.iter().find(|device| device.to_string() == full) {
        Some(device) => Ok(vec![*device]),
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
    fn several_gpus() {
        let cuda = |n| Device::Cuda(n);
        assert_eq!(parse("auto", 2), Ok(vec![cuda(0), cuda(1)]));
        assert_eq!(parse("cuda", 2), Ok(vec![cuda(0)]));
        assert_eq!(parse("cuda:1", 2), Ok(vec![cuda(1)]));
        assert_eq!(parse("auto", 0), Ok(vec![Device::Cpu]));
        assert!(parse("cuda", 0).is_err());
    }

    #[test]
    fn names() {
        assert_eq!(parse("cpu", 0), Ok(vec![Device::Cpu]));
        for absent in ["cuda:99", "gpu", "", "cuda:-1"] {
            let error = parse(absent, 1).err();
            assert_eq!(error.as_ref().map(|e| e.kind().clone()), Some(ErrorKind::Device));
            let message = error.map(|e| e.to_string()).unwrap_or_default();
            assert!(message.contains("'cpu'") && message.ends_with(&format!("Got '{absent}' instead.")));
        }
    }
}
