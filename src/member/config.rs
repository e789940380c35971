//! How members are trained: raw settings, and checked ones.

use serde::{Deserialize, Serialize};

use super::built_in::closed_form;
use super::device::{self, Device, Gpus};
use super::Record;
use crate::augment::Augment;
use crate::error::{Error, Result};

/// How a stack convolves; one member alone has its own fast path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Convolution {
    /// One convolution with as many groups as members.
    #[default]
    Grouped,
    /// Patches are copied out and multiplied, one batched product for all members.
    Unfolded,
}

/// Arithmetic of training and voting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// IEEE single precision throughout; TF32 is off.
    #[default]
    F32,
    /// Single precision whose products may round their factors to TF32 (10 bits of mantissa) on a GPU that has
    /// it. Convolutions do so by themselves; for matrix products torch has one switch for the whole process,
    /// which is the caller's to set (`torch.set_float32_matmul_precision("high")`).
    Tf32,
}

impl Precision {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
        }
    }

    /// The precision called `name`.
    ///
    /// # Errors
    /// A parameter error that lists the known names.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "f32" => Ok(Self::F32),
            "tf32" => Ok(Self::Tf32),
            other => Err(Error::unknown("precision", &["f32", "tf32"], other)),
        }
    }
}

/// Settings of a training run, as the user gave them.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | model | cnn | built-in architecture | linear, mlp, cnn, resnet, discriminant, ridge |
/// | epochs | 20 | passes over a member's noised set | >= 1 |
/// | batch_size | 128 | samples of one step | >= 1 |
/// | learning_rate | 1e-3 | Adam's step size | > 0 |
/// | seed | 0 | root of all random streams | |
/// | device | auto | every CUDA device, else the CPU | auto, cpu, cuda (the first), cuda:N |
/// | n_jobs | all cores | members trained at the same time on the CPU, one thread each | >= 1 |
/// | stack | 1 on the CPU, by memory on CUDA | members trained as one batched computation | >= 1 |
/// | memory | none | bytes of each GPU that a stack may take; without it stacks have 32 members | |
/// | convolution | grouped on the CPU, the faster on CUDA | how stacks convolve | |
/// | ahead | on CUDA | whether noised sets are drawn while earlier ones are trained on | |
/// | precision | f32 | arithmetic | f32, tf32 |
/// | augment | none | what changes a member's noised samples in every epoch | |
/// | copies | 8 | changed copies beside a noised set that is looked at once | 1 to 1000 |
/// | penalty | 1 for discriminant, 0.3 for ridge | regularisation of members in closed form, relative to the data | > 0 |
/// | before_noise | none | the fixed map that samples have passed, as it stands in guarantees | |
///
/// `device`, `n_jobs`, `stack`, `memory`, `convolution` and `ahead` are how the work is done and no part of the
/// record. The number of jobs and drawing ahead never change a result; device, stack and convolution change it by
/// rounding. A stack that finds no memory is halved and tried again, whatever its size was.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainConfig {
    /// Name of a built-in architecture.
    pub model: String,
    /// Passes over a member's noised set.
    pub epochs: usize,
    /// Samples of one step.
    pub batch_size: usize,
    /// Adam's step size.
    pub learning_rate: f64,
    /// Root seed.
    pub seed: u64,
    /// "auto", "cpu", "cuda" or "cuda:N".
    pub device: String,
    /// Members trained at the same time on the CPU; all cores if absent.
    pub n_jobs: Option<usize>,
    /// Members trained as one batched computation; chosen by device if absent.
    pub stack: Option<usize>,
    /// Bytes of each GPU's memory that a stack may take.
    pub memory: Option<u64>,
    /// How stacks convolve; on CUDA both ways are timed on the first stack if absent.
    pub convolution: Option<Convolution>,
    /// Whether noised sets are drawn on all cores while earlier ones are trained on; on CUDA if absent.
    pub ahead: Option<bool>,
    /// Arithmetic.
    pub precision: Precision,
    /// Changes a member's own noised samples while it is trained; part of the record.
    pub augment: Option<Augment>,
    /// For members that look at their noised set once, in closed form: how many changed copies of it follow it. Part of
    /// the record there; no other members take it.
    pub copies: Option<usize>,
    /// Regularisation of members in closed form, relative to the mean variance of features within classes (`discriminant`) or
    /// to the mean squared distance of samples from their mean (`ridge`). Part of the record there; no other members take it.
    pub penalty: Option<f64>,
    /// The fixed map that the samples have passed before they came here, in words that follow "Each sample
    /// first passes"; part of the record and of every guarantee.
    pub before_noise: Option<String>,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            model: "cnn".to_owned(),
            epochs: 20,
            batch_size: 128,
            learning_rate: 1e-3,
            seed: 0,
            device: "auto".to_owned(),
            n_jobs: None,
            stack: None,
            memory: None,
            convolution: None,
            ahead: None,
            precision: Precision::F32,
            augment: None,
            copies: None,
            penalty: None,
            before_noise: None,
        }
    }
}

impl TrainConfig {
    /// The settings in a record; how the work is done is left at its defaults.
    pub(crate) fn of(record: &Record) -> Self {
        Self {
            model: record.model.clone(),
            epochs: record.epochs,
            batch_size: record.batch_size,
            learning_rate: record.learning_rate,
            seed: record.seed.root(),
            precision: record.precision,
            augment: record.augment.clone().map(Augment::of_record),
            copies: record.copies,
            penalty: record.penalty,
            before_noise: record.before_noise.clone(),
            ..Self::default()
        }
    }

    /// Checks every setting that can be checked without data; asks for GPUs unless the CPU is named.
    ///
    /// # Errors
    /// [`ErrorKind::Parameter`](crate::ErrorKind::Parameter) or, for the device,
    /// [`ErrorKind::Device`](crate::ErrorKind::Device).
    pub(crate) fn check(&self, gpus: impl FnOnce() -> Gpus) -> Result<Settings> {
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            let expected = "a finite float greater than 0";
            return Err(Error::parameter("learning_rate", expected, self.learning_rate));
        }
        let cores = || std::thread::available_parallelism().map_or(1, |n| n.get());
        let devices = device::parse(&self.device, gpus)?;
        let device = devices.first().copied().unwrap_or(Device::Cpu);
        let stack = self.stack.or(Some(1).filter(|_| device == Device::Cpu));
        Ok(Settings {
            epochs: at_least_one("epochs", self.epochs)?,
            batch_size: at_least_one("batch_size", self.batch_size)?,
            learning_rate: self.learning_rate,
            precision: self.precision,
            augment: self.augment.clone(),
            copies: self.checked_copies()?,
            penalty: self.checked_penalty()?,
            device,
            devices,
            memory: self.memory,
            convolution: self.convolution,
            ahead: self.ahead.unwrap_or(device != Device::Cpu),
            n_jobs: at_least_one("n_jobs", self.n_jobs.unwrap_or_else(cores))?.min(MOST_THREADS),
            stack: stack.map(|stack| at_least_one("stack", stack)).transpose()?,
        })
    }

    /// The penalty of members in closed form, 0 for others.
    fn checked_penalty(&self) -> Result<f64> {
        let penalty = match (closed_form(&self.model), self.penalty) {
            (Some(form), given) => given.unwrap_or(form.penalty()),
            (None, None) => return Ok(0.0),
            (None, Some(penalty)) => {
                let expected = "left out for other members than those of 'discriminant' and 'ridge'";
                let got = format_args!("{penalty} and the model '{}'", self.model);
                return Err(Error::parameter("penalty", expected, got));
            }
        };
        if !(penalty > 0.0 && penalty.is_finite()) {
            return Err(Error::parameter("penalty", "a finite float greater than 0", penalty));
        }
        Ok(penalty)
    }

    /// How many changed copies follow a noised set that is looked at once; none without an augmentation.
    fn checked_copies(&self) -> Result<usize> {
        match (&self.augment, self.copies) {
            (Some(_), copies) => match copies.unwrap_or(COPIES) {
                copies if (1..=MOST_COPIES).contains(&copies) => Ok(copies),
                other => {
                    let expected = format_args!("an integer from 1 to {MOST_COPIES}");
                    Err(Error::parameter("copies", expected, other))
                }
            },
            (None, None) => Ok(0),
            (None, Some(copies)) => Err(Error::parameter("copies", "left out without 'augment'", copies)),
        }
    }
}

/// Changed copies beside a noised set, if their number was not given.
pub(super) const COPIES: usize = 8;
const MOST_COPIES: usize = 1000;

/// More threads than that are none of any machine.
const MOST_THREADS: usize = 1 << 16;

fn at_least_one(name: &str, value: usize) -> Result<usize> {
    if value == 0 {
        return Err(Error::parameter(name, "an integer of at least 1", value));
    }
    Ok(value)
}

/// Checked settings.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// Passes over a member's noised set.
    pub epochs: usize,
    /// Samples of one step.
    pub batch_size: usize,
    /// Adam's step size.
    pub learning_rate: f64,
    /// Arithmetic.
    pub precision: Precision,
    /// Changes members' noised samples while they are trained; no part of the JSON.
    #[serde(skip)]
    pub augment: Option<Augment>,
    /// Changed copies beside a noised set that is looked at once.
    pub copies: usize,
    /// Regularisation of members in closed form, relative to the data.
    pub penalty: f64,
    /// The device that a worker uses; the first one for voting.
    pub device: Device,
    /// All devices to train on.
    pub devices: Vec<Device>,
    /// Members trained at the same time on the CPU.
    pub n_jobs: usize,
    /// Members of a stack; `None` leaves it to the memory.
    pub stack: Option<usize>,
    /// Bytes of each GPU's memory that a stack may take.
    pub memory: Option<u64>,
    /// How stacks convolve.
    pub convolution: Option<Convolution>,
    /// Whether noised sets are drawn while earlier ones are trained on.
    pub ahead: bool,
}

/// Members of a stack where nothing is known about memory.
pub(crate) const STACK: usize = 32;

impl Settings {
    /// Threads that vote at the same time: one drives a GPU, the CPU has `n_jobs`.
    pub(crate) fn workers(&self) -> usize {
        if self.device == Device::Cpu {
            self.n_jobs
        } else {
            1
        }
    }

    /// The settings of every worker that trains: one for each GPU, `n_jobs` but at most `most` for the CPU.
    pub(crate) fn trainers(&self, most: usize) -> Vec<Self> {
        if self.device == Device::Cpu {
            return vec![self.clone(); self.n_jobs.min(most)];
        }
        self.devices.iter().map(|&device| Self { device, ..self.clone() }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(config: TrainConfig) -> String {
        config.check(Gpus::default).err().map(|e| e.to_string()).unwrap_or_default()
    }

    #[test]
    fn every_setting_out_of_range_is_named() {
        let base = TrainConfig { device: "cpu".into(), ..TrainConfig::default() };
        assert_eq!(message(base.clone()), "");
        let cases = [
            (TrainConfig { epochs: 0, ..base.clone() }, "'epochs'"),
            (TrainConfig { batch_size: 0, ..base.clone() }, "'batch_size'"),
            (TrainConfig { n_jobs: Some(0), ..base.clone() }, "'n_jobs'"),
            (TrainConfig { stack: Some(0), ..base.clone() }, "'stack'"),
            (TrainConfig { learning_rate: 0.0, ..base.clone() }, "'learning_rate'"),
            (TrainConfig { learning_rate: f64::NAN, ..base.clone() }, "'learning_rate'"),
            (TrainConfig { penalty: Some(0.3), ..base.clone() }, "'penalty'"),
            (TrainConfig { penalty: Some(0.0), model: "ridge".into(), ..base.clone() }, "'penalty'"),
            (TrainConfig { penalty: Some(f64::NAN), model: "ridge".into(), ..base.clone() }, "'penalty'"),
            (TrainConfig { device: "gpu".into(), ..base }, "'device'"),
        ];
        for (config, name) in cases {
            assert!(message(config.clone()).contains(name), "{config:?}");
        }
    }
}
