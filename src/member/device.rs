//! Devices by name.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Where members are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// GPUs that a model can be computed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gpus {
    /// How many, numbered from 0.
    pub number: usize,
    /// Why there are none, where something other than the machine is to blame: a sentence.
    pub absence: Option<String>,
}

/// So many of the machine's own.
impl From<usize> for Gpus {
    fn from(number: usize) -> Self {
        Self { number, absence: None }
    }
}

/// The devices called `name`, of the CPU and the GPUs: "auto" (all GPUs, or else the CPU), "cpu", "cuda" (the first),
/// "cuda:N". GPUs are not asked for where the CPU is named.
///
/// # Errors
/// [`ErrorKind::Device`](crate::ErrorKind::Device) naming the devices that are there.
pub(super) fn parse(name: &str, gpus: impl FnOnce() -> Gpus) -> Result<Vec<Device>> {
    if name == "cpu" {
        return Ok(vec![Device::Cpu]);
    }
    let Gpus { number, absence } = gpus();
    let gpus = (0..number).map(Device::Cuda);
    if name == "auto" && number > 0 {
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
             instead.{}",
            known.iter().map(|device| format!("'{device}'")).collect::<Vec<_>>().join(", "),
            absence.filter(|_| full.starts_with("cuda")).map(|why| format!(" {why}")).unwrap_or_default()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn parse(name: &str, n_gpus: usize) -> Result<Vec<Device>> {
        super::parse(name, || n_gpus.into())
    }

    #[test]
    fn what_stands_between_a_model_and_a_gpu_is_said_to_whoever_asks_for_one() {
        let absent = || Gpus { number: 0, absence: Some("It is not installed.".to_owned()) };
        let said = |name| super::parse(name, absent).map_err(|error| error.to_string());
        assert!(said("cuda").is_err_and(|text| text.ends_with("Got 'cuda' instead. It is not installed.")));
        assert!(said("gpu").is_err_and(|text| text.ends_with("Got 'gpu' instead.")));
        assert_eq!((said("auto"), said("cpu")), (Ok(vec![Device::Cpu]), Ok(vec![Device::Cpu])));
    }

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
