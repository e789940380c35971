//! Training sets and inputs: where samples come from, and what must hold of them.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::rows::Rows;
use super::FeatureShape;
use crate::error::{Error, Result};
use crate::law::{Law, NoiseLaw};

/// Samples without labels, read one at a time.
pub trait Inputs: Sync {
    /// Number of samples.
    fn n_samples(&self) -> usize;

    /// Shape of every sample.
    fn shape(&self) -> FeatureShape;

    /// Writes the features of sample `index` into `out`, which has `shape().n_features()` places. A zero has no sign: to
    /// certificates -0 and 0 are one value, and members must not see more.
    ///
    /// # Errors
    /// Whatever reading a sample may meet; the error names the index.
    fn features(&self, index: usize, out: &mut [f32]) -> Result<()>;
}

/// A labelled training set as it was received, possibly poisoned.
pub trait TrainingSet: Inputs {
    /// Number of classes K.
    fn n_classes(&self) -> usize;

    /// The label of sample `index`, in 0..K.
    ///
    /// # Errors
    /// Whatever reading a sample may meet; the error names the index.
    fn label(&self, index: usize) -> Result<u32>;

    /// Samples that nobody could have changed, if there are any: every member sees all of them as they are, beside what the
    /// law draws from the others. Those others are the samples of this set, which alone the law and its certificates count.
    fn trusted(&self) -> Option<&dyn TrainingSet> {
        None
    }

    /// Number of trusted samples.
    fn n_trusted(&self) -> usize {
        self.trusted().map_or(0, |trusted| trusted.n_samples())
    }

    /// The samples as they were received, where they have passed a map since and are changed by an augmentation before it:
    /// as many, in the same order.
    fn received(&self) -> Option<&dyn Inputs> {
        None
    }

    /// SHA-256 over sizes, features and labels, in hexadecimal: tells whether two runs saw the same data.
    /// Trusted samples have a digest of their own.
    ///
    /// # Errors
    /// As [`Inputs::features`] and [`TrainingSet::label`].
    fn digest(&self) -> Result<String> {
        digest_of(self)
    }
}

fn digest_of<T: TrainingSet + ?Sized>(set: &T) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(b"certssb data 1");
    for size in [set.n_samples(), set.n_classes()] {
        hash.update((size as u64).to_le_bytes());
    }
    hash.update(set.shape().to_string());
    let mut features = vec![0.0_f32; set.shape().n_features()];
    let mut bytes = vec![0_u8; 4 * features.len()];
    for index in 0..set.n_samples() {
        set.features(index, &mut features)?;
        for (place, value) in bytes.chunks_exact_mut(4).zip(&features) {
            place.copy_from_slice(&value.to_le_bytes());
        }
        hash.update(&bytes);
        hash.update(set.label(index)?.to_le_bytes());
    }
    if let Some(received) = set.received() {
        hash.update(format!("received {}", received.shape()));
        features.resize(received.shape().n_features(), 0.0);
        for index in 0..set.n_samples() {
            received.features(index, &mut features)?;
            hash.update(bytemuck::cast_slice::<f32, u8>(&features));
        }
    }
    Ok(hex(&hash.finalize()))
}

/// The trusted samples that every member saw, in a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trusted {
    /// How many there are.
    pub n: usize,
    /// SHA-256 of them, in their order.
    pub digest: String,
}

impl Trusted {
    /// Those of a training set, if it has any.
    ///
    /// # Errors
    /// As [`TrainingSet::digest`].
    pub(crate) fn of(data: &dyn TrainingSet) -> Result<Option<Self>> {
        let trusted = data.trusted().filter(|trusted| trusted.n_samples() > 0);
        trusted.map(|trusted| Ok(Self { n: trusted.n_samples(), digest: trusted.digest()? })).transpose()
    }
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The digest that is written so; `None` if it is none.
pub(crate) fn unhex(digest: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if digest.len() != 64 || !digest.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digest.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// Reads one sample and refuses values that are not finite.
pub(crate) fn read(inputs: &dyn Inputs, index: usize, out: &mut [f32]) -> Result<()> {
    inputs.features(index, out)?;
    check_finite(index, out)
}

fn check_finite(index: usize, features: &[f32]) -> Result<()> {
    // Adding zeros: finite values give 0, others NaN; the sum vectorises.
    if features.iter().map(|value| value * 0.0).sum::<f32>() == 0.0 {
        return Ok(());
    }
    let bad = features.iter().find(|value| !value.is_finite()).copied().unwrap_or(f32::NAN);
    Err(Error::parameter("X", "an array of finite values", format_args!("{bad} in sample {index}")))
}

/// Asks the law about every sample: of the training set and of the trusted ones before anything is trained, and of test
/// inputs before any member is asked about them.
pub(crate) fn check_features(inputs: &dyn Inputs, law: &Law) -> Result<()> {
    if !law.restricts_features() {
        return Ok(());
    }
    let mut row = vec![0.0; inputs.shape().n_features()];
    (0..inputs.n_samples()).try_for_each(|index| {
        inputs.features(index, &mut row)?;
        law.check_features(&row)
    })
}

/// Refuses sizes no ensemble can be trained on.
pub(crate) fn check_sizes(data: &dyn TrainingSet) -> Result<()> {
    if data.n_samples() == 0 {
        return Err(Error::shape("X", "at least one sample", "none"));
    }
    if data.shape().n_features() == 0 {
        return Err(Error::shape("X", "at least one feature", format_args!("shape {}", data.shape())));
    }
    let all = data.n_samples().saturating_add(data.n_trusted());
    crate::size::product("X", &[&data.shape().sizes()[..], &[all]].concat())?;
    if let Some(trusted) = data.trusted() {
        if trusted.shape() != data.shape() || trusted.n_classes() != data.n_classes() {
            let expected = format_args!("samples of shape {}, as 'X' has", data.shape());
            return Err(Error::shape("trusted", expected, format_args!("shape {}", trusted.shape())));
        }
    }
    check_classes(data.n_classes())
}

/// Refuses a number of classes that votes cannot hold.
pub(crate) fn check_classes(k: usize) -> Result<()> {
    if (2..=usize::from(u16::MAX)).contains(&k) {
        return Ok(());
    }
    Err(Error::parameter("y", "labels of 2 to 65535 classes", format_args!("{k} classes")))
}

/// Inputs in one array, in the type in which they came.
#[derive(Clone, Debug)]
pub struct ArrayInputs<'a> {
    rows: Rows<'a>,
    shape: FeatureShape,
}

impl<'a> ArrayInputs<'a> {
    /// Inputs of the given sample shape, one after the other, borrowed or owned.
    ///
    /// # Errors
    /// A shape error if the length is no multiple of a sample's, a parameter error for values that are not
    /// finite (names the sample).
    pub fn new(features: impl Into<Cow<'a, [f32]>>, shape: FeatureShape) -> Result<Self> {
        let features = features.into();
        let size = shape.n_features().max(1);
        features.chunks_exact(size).enumerate().try_for_each(|(index, row)| check_finite(index, row))?;
        Ok(Self { rows: Rows::of_floats(features, shape)?, shape })
    }

    /// Inputs that were looked at, and have been found to be finite.
    ///
    /// # Errors
    /// A shape error unless rows are of this shape's size.
    pub fn of(rows: Rows<'a>, shape: FeatureShape) -> Result<Self> {
        if shape.n_features() == 0 || rows.n_features() != shape.n_features() {
            let got = format_args!("rows of {} values", rows.n_features());
            return Err(Error::shape("X", format_args!("samples of shape {shape}"), got));
        }
        Ok(Self { rows, shape })
    }
}

impl Inputs for ArrayInputs<'_> {
    fn n_samples(&self) -> usize {
        self.rows.n_rows()
    }

    fn shape(&self) -> FeatureShape {
        self.shape
    }

    fn features(&self, index: usize, out: &mut [f32]) -> Result<()> {
        self.rows.read(index, out)
    }
}

/// A training set in two arrays, borrowed or owned.
#[derive(Clone, Debug)]
pub struct ArrayTrainingSet<'a> {
    inputs: ArrayInputs<'a>,
    labels: Cow<'a, [u32]>,
    n_classes: usize,
    trusted: Option<Box<ArrayTrainingSet<'a>>>,
    received: Option<ArrayInputs<'a>>,
}

impl<'a> ArrayTrainingSet<'a> {
    /// Inputs with their labels, each in 0..`n_classes`.
    ///
    /// # Errors
    /// A shape error if there are not as many labels as samples, a parameter error for a label out of range
    /// (names the sample).
    pub fn new(inputs: ArrayInputs<'a>, labels: impl Into<Cow<'a, [u32]>>, n_classes: usize) -> Result<Self> {
        let labels = labels.into();
        if labels.len() != inputs.n_samples() {
            let expected = format_args!("as many labels as 'X' has samples, {}", inputs.n_samples());
            return Err(Error::shape("y", expected, labels.len()));
        }
        labels.iter().enumerate().try_for_each(|(index, &label)| check_label(index, label, n_classes))?;
        Ok(Self { inputs, labels, n_classes, trusted: None, received: None })
    }

    /// The same set with trusted samples beside it; without samples, `trusted` changes nothing.
    #[must_use]
    pub fn with_trusted(self, trusted: Self) -> Self {
        Self { trusted: Some(Box::new(trusted)).filter(|trusted| trusted.n_samples() > 0), ..self }
    }

    /// The same set, with its samples as they were before a map.
    ///
    /// # Errors
    /// A shape error if they are not as many.
    pub fn with_received(self, received: ArrayInputs<'a>) -> Result<Self> {
        if received.n_samples() != self.n_samples() {
            let expected = format_args!("as many received samples as mapped ones, {}", self.n_samples());
            return Err(Error::shape("X", expected, received.n_samples()));
        }
        Ok(Self { received: Some(received), ..self })
    }
}

/// Refuses a label that is no class.
pub(crate) fn check_label(index: usize, label: u32, n_classes: usize) -> Result<()> {
    if (label as usize) < n_classes {
        return Ok(());
    }
    let expected = format_args!("an array of class numbers from 0 to {}", n_classes.saturating_sub(1));
    Err(Error::parameter("y", expected, format_args!("{label} for sample {index}")))
}

impl Inputs for ArrayTrainingSet<'_> {
    fn n_samples(&self) -> usize {
        self.inputs.n_samples()
    }

    fn shape(&self) -> FeatureShape {
        self.inputs.shape()
    }

    fn features(&self, index: usize, out: &mut [f32]) -> Result<()> {
        self.inputs.features(index, out)
    }
}

impl TrainingSet for ArrayTrainingSet<'_> {
    fn n_classes(&self) -> usize {
        self.n_classes
    }

    fn digest(&self) -> Result<String> {
        if self.received.is_some() {
            return digest_of(self);
        }
        // Asked for before training and again when it begins: of samples that are compared with what they were then.
        let mut beside = blake3::Hasher::new();
        beside.update(format!("{} {}", self.shape(), self.n_classes).as_bytes());
        beside.update(bytemuck::cast_slice(&self.labels));
        self.inputs.rows.digest(*beside.finalize().as_bytes(), || digest_of(self))
    }

    fn label(&self, index: usize) -> Result<u32> {
        let missing = || Error::shape("y", format_args!("a label {index}"), "none");
        self.labels.get(index).copied().ok_or_else(missing)
    }

    fn trusted(&self) -> Option<&dyn TrainingSet> {
        self.trusted.as_deref().map(|trusted| -> &dyn TrainingSet { trusted })
    }

    fn received(&self) -> Option<&dyn Inputs> {
        self.received.as_ref().map(|received| -> &dyn Inputs { received })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(features: Vec<f32>, labels: Vec<u32>) -> Result<ArrayTrainingSet<'static>> {
        ArrayTrainingSet::new(ArrayInputs::new(features, FeatureShape::Flat(2))?, labels, 3)
    }

    fn message<T>(result: Result<T>) -> String {
        result.err().map(|e| e.to_string()).unwrap_or_default()
    }

    #[test]
    fn bad_data_are_refused_with_the_sample_named() {
        let nan = message(set(vec![0.0, 1.0, 2.0, f32::NAN], vec![0, 1]));
        assert_eq!(nan, "The 'X' parameter must be an array of finite values. Got NaN in sample 1 instead.");
        let infinite = message(set(vec![f32::INFINITY, 1.0, f32::NEG_INFINITY, 0.0], vec![0, 1]));
        assert!(infinite.contains("inf in sample 0"), "{infinite}");
        assert!(message(set(vec![0.0; 4], vec![0, 3])).contains("3 for sample 1"));
        assert!(message(set(vec![0.0; 4], vec![0])).contains("as many labels as 'X' has samples, 2"));
        assert!(message(set(vec![0.0; 3], vec![0])).contains("whole number of samples"));
    }

    #[test]
    fn large_but_finite_values_are_data() {
        assert!(set(vec![f32::MAX, f32::MAX, -f32::MAX, f32::MIN_POSITIVE], vec![0, 1]).is_ok());
    }

    #[test]
    fn the_digest_sees_features_labels_and_sizes() -> Result<()> {
        let digest = |f: Vec<f32>, l: Vec<u32>| set(f, l)?.digest();
        let base = digest(vec![0.0, 1.0, 2.0, 3.0], vec![0, 1])?;
        assert_eq!(base, digest(vec![0.0, 1.0, 2.0, 3.0], vec![0, 1])?);
        assert_eq!(base, digest(vec![-0.0, 1.0, 2.0, 3.0], vec![0, 1])?, "equal numbers are equal data");
        assert_ne!(base, digest(vec![f32::from_bits(1), 1.0, 2.0, 3.0], vec![0, 1])?);
        assert_ne!(base, digest(vec![0.0, 1.0, 2.0, 3.0], vec![0, 2])?);
        assert_ne!(base, digest(vec![2.0, 3.0, 0.0, 1.0], vec![1, 0])?);
        let wide = ArrayInputs::new(vec![0.0, 1.0, 2.0, 3.0], FeatureShape::Flat(4))?;
        assert_ne!(base, ArrayTrainingSet::new(wide, vec![0], 3)?.digest()?);
        assert_eq!(base.len(), 64);
        Ok(())
    }
}
