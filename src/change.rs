//! How far two training sets may be apart: what changed in place, what is in one of them only, and how that is counted.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A budget per sample: at most `n_poisoned` training samples changed in place, each by a trigger of L2 norm
/// at most `trigger_norm`, and with any labels if `labels` is set. Insertions and deletions are [`Edits`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Largest number of changed samples, r.
    pub n_poisoned: usize,
    /// Largest L2 norm of the change of one sample, t, in the units of the features; infinity for any change.
    pub trigger_norm: f64,
    /// Whether the labels of the changed samples may change as well.
    pub labels: bool,
}

/// What lies between the received training set and another one: at most so many of its samples changed in place, at most
/// so many that only the other one has, and at most so many that only the received one has.
///
/// The direction matters: a law can be surer of what removing a sample does than of what adding one does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Edits {
    /// Samples changed in place.
    pub modified: Change,
    /// Samples that only the other training set has.
    pub inserted: usize,
    /// Samples that only the received training set has.
    pub deleted: usize,
}

impl From<Change> for Edits {
    fn from(modified: Change) -> Self {
        Self { modified, inserted: 0, deleted: 0 }
    }
}

impl From<&Change> for Edits {
    fn from(modified: &Change) -> Self {
        Self::from(*modified)
    }
}

impl From<&Edits> for Edits {
    fn from(edits: &Edits) -> Self {
        *edits
    }
}

impl From<Threat> for Edits {
    fn from(threat: Threat) -> Self {
        threat.edits()
    }
}

impl From<&Threat> for Edits {
    fn from(threat: &Threat) -> Self {
        threat.edits()
    }
}

impl Edits {
    /// Whether the two sets have the same samples but for changes in place.
    pub fn in_place(&self) -> bool {
        self.inserted == 0 && self.deleted == 0
    }
}

/// Which edits a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Changes in place.
    Modified,
    /// Samples that only the other training set has.
    Inserted,
    /// Samples that only the received training set has.
    Deleted,
    /// All of them, in any mix.
    Any,
    /// A number of each.
    Mixed {
        /// Changed in place.
        modified: usize,
        /// In the other training set only.
        inserted: usize,
        /// In the received training set only.
        deleted: usize,
    },
}

/// What a modification counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// One, as an insertion and a deletion do.
    #[default]
    Edits,
    /// Two: one sample removed, and one added.
    SymmetricDifference,
}

/// What an attacker may have done, as it is asked: a number, which edits it counts, and how.
///
/// # Example
/// Fifty edits of any mix are no worse than fifty unlimited modifications, where a law can certify either at all.
/// ```
/// use certssb::{Change, Counted, Kind, Threat};
/// let change = Change { n_poisoned: 50, trigger_norm: f64::INFINITY, labels: true };
/// let threat = Threat { change, kind: Kind::Any, counted: Counted::Edits };
/// assert_eq!((threat.edits().inserted, threat.edits().deleted), (50, 50));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Threat {
    /// The number, and how far and with which labels a modification goes.
    pub change: Change,
    /// Which edits the number counts.
    pub kind: Kind,
    /// What a modification counts.
    pub counted: Counted,
}

impl From<Change> for Threat {
    fn from(change: Change) -> Self {
        Self { change, kind: Kind::Modified, counted: Counted::Edits }
    }
}

impl From<&Change> for Threat {
    fn from(change: &Change) -> Self {
        Self::from(*change)
    }
}

impl From<&Threat> for Threat {
    fn from(threat: &Threat) -> Self {
        *threat
    }
}

impl Threat {
    /// The same threat for another number.
    pub fn at(&self, n_poisoned: usize) -> Self {
        Self { change: Change { n_poisoned, ..self.change }, ..*self }
    }

    /// The same threat for another norm.
    pub fn with_norm(&self, trigger_norm: f64) -> Self {
        Self { change: Change { trigger_norm, ..self.change }, ..*self }
    }

    /// The worst edits within the threat, for laws under which members see some of the samples.
    ///
    /// With a samples that only the received set has and b that only the other one has, a certificate needs
    ///
    /// ```text
    /// p_A - p_B > (1 - P(none of the a drawn)) + (1 - Q(none of the b drawn)) / q
    /// ```
    ///
    /// (`threats.md`, section 9), which grows with a and with b wherever it is below 1. A modification without limit is
    /// a = b = 1, so r edits of any mix have a <= r and b <= r: they are within r deletions and r insertions, which is what
    /// r modifications are. Of a symmetric difference of r, a + b <= r, the worst is b = r: adding is worse than removing,
    /// because the number of ways to draw grows with the size of a set, ever faster.
    pub fn edits(&self) -> Edits {
        let r = self.change.n_poisoned;
        let none = Change { n_poisoned: 0, ..self.change };
        let (changed, inserted, deleted) = match (self.kind, self.counted) {
            (Kind::Modified, Counted::Edits) => (r, 0, 0),
            (Kind::Modified, Counted::SymmetricDifference) => (r / 2, 0, 0),
            (Kind::Inserted, _) | (Kind::Any, Counted::SymmetricDifference) => (0, r, 0),
            (Kind::Deleted, _) => (0, 0, r),
            (Kind::Any, Counted::Edits) => (0, r, r),
            (Kind::Mixed { modified, inserted, deleted }, _) => (modified, inserted, deleted),
        };
        Edits { modified: Change { n_poisoned: changed, ..none }, inserted, deleted }
    }

    /// Checks numbers that have to agree.
    ///
    /// # Errors
    /// `Parameter` when the number is not the one that the numbers of each kind make.
    pub fn check(&self) -> Result<()> {
        let Kind::Mixed { modified, inserted, deleted } = self.kind else { return Ok(()) };
        let each = if self.counted == Counted::Edits { 1 } else { 2 };
        let total = modified.checked_mul(each).and_then(|m| m.checked_add(inserted)?.checked_add(deleted));
        if total == Some(self.change.n_poisoned) {
            return Ok(());
        }
        let expected = "left out, or the number that the numbers of each kind of edit make";
        Err(Error::parameter("n_poisoned", expected, self.change.n_poisoned))
    }
}

/// The threat after "when", as in "every training set that the received one becomes when at most 3 new samples join it".
impl fmt::Display for Threat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (r, edits) = (self.change.n_poisoned, self.edits());
        let how = Modified(&self.change);
        match self.kind {
            Kind::Modified => {
                write!(f, "at most {} of its samples {} changed in place, {how}", Number(edits.modified.n_poisoned), are(edits.modified.n_poisoned))?;
            }
            Kind::Inserted => write!(f, "at most {} of any kind {} it", new(r), joins(r))?,
            Kind::Deleted => write!(f, "at most {} of its samples {} removed", Number(r), are(r))?,
            Kind::Any => {
                let what = "samples are changed, removed or added, in any mix and in any way, labels included";
                write!(f, "at most {} {what}", Number(r))?;
            }
            Kind::Mixed { modified, inserted, deleted } => write!(
                f,
                "at most {} of its samples {} changed in place, {how}, at most {} {} removed and at most {} of any kind \
                 {} it",
                Number(modified),
                are(modified),
                Number(deleted),
                are(deleted),
                new(inserted),
                joins(inserted)
            )?,
        }
        match (self.kind, self.counted) {
            (Kind::Any, Counted::Edits) => f.write_str(" (a changed sample counts once)"),
            (Kind::Any, _) => f.write_str(" (a changed sample counts twice, as one removed and one added)"),
            (Kind::Modified, Counted::SymmetricDifference) => {
                write!(f, " (a symmetric difference of {}, of which each changed sample takes 2)", Number(r))
            }
            _ => Ok(()),
        }
    }
}

/// How far modifications go.
struct Modified<'a>(&'a Change);

impl fmt::Display for Modified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change { trigger_norm, labels, .. } = self.0;
        match (*trigger_norm == f64::INFINITY, labels) {
            (true, true) => return f.write_str("each in any way, label included"),
            (true, false) => f.write_str("each in any of its features")?,
            (false, _) => write!(f, "each by an L2 norm of at most {trigger_norm}")?,
        }
        f.write_str(if *labels { " and with any label" } else { " and with its label as received" })
    }
}

/// A number with commas between thousands.
pub(crate) struct Number(pub(crate) usize);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

fn are(n: usize) -> &'static str {
    if n == 1 {
        "is"
    } else {
        "are"
    }
}

fn joins(n: usize) -> &'static str {
    if n == 1 {
        "joins"
    } else {
        "join"
    }
}

fn new(n: usize) -> String {
    format!("{} new sample{}", Number(n), if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threat(kind: Kind, counted: Counted, n_poisoned: usize) -> Threat {
        Threat { change: Change { n_poisoned, trigger_norm: f64::INFINITY, labels: true }, kind, counted }
    }

    #[test]
    fn threats_are_read_aloud() {
        use Counted::{Edits, SymmetricDifference};
        let mixed = Kind::Mixed { modified: 3, inserted: 1, deleted: 12_000 };
        for (threat, words) in [
            (
                threat(Kind::Modified, Edits, 1),
                "at most 1 of its samples is changed in place, each in any way, label included",
            ),
            (
                threat(Kind::Modified, SymmetricDifference, 5),
                "at most 2 of its samples are changed in place, each in any way, label included (a symmetric \
                 difference of 5, of which each changed sample takes 2)",
            ),
            (threat(Kind::Inserted, Edits, 40), "at most 40 new samples of any kind join it"),
            (threat(Kind::Deleted, Edits, 7), "at most 7 of its samples are removed"),
            (
                threat(Kind::Any, Edits, 50),
                "at most 50 samples are changed, removed or added, in any mix and in any way, labels included (a \
                 changed sample counts once)",
            ),
            (
                threat(mixed, Edits, 12_004),
                "at most 3 of its samples are changed in place, each in any way, label included, at most 12,000 are \
                 removed and at most 1 new sample of any kind joins it",
            ),
        ] {
            assert_eq!(threat.to_string(), words);
            assert!(threat.check().is_ok());
        }
        assert!(threat(mixed, Edits, 3).check().is_err());
        assert!(threat(mixed, SymmetricDifference, 12_007).check().is_ok());
    }
}
