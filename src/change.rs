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
/// The direction matters: a law can be surer of what removing a sample does than of what adding one does. A [`Threat`] has
/// none ([`Threat::ways`]).
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

impl Edits {
    /// Whether the two sets have the same samples but for changes in place.
    pub fn in_place(&self) -> bool {
        self.inserted == 0 && self.deleted == 0
    }

    /// The way back: what the other set has alone is removed from it, what the received one has alone is put in.
    fn back(&self) -> Self {
        Self { inserted: self.deleted, deleted: self.inserted, ..*self }
    }

    /// Where more of the received samples would be touched than there are: all of them removed, and a new one for each that
    /// was modified. Whatever can be done to the samples that there are is within that.
    fn among(self, n_train: usize) -> Self {
        let modified = self.modified.n_poisoned;
        if modified > n_train || modified.saturating_add(self.deleted) <= n_train {
            return self;
        }
        let inserted = self.inserted.saturating_add(modified);
        Self { modified: Change { n_poisoned: 0, ..self.modified }, inserted, deleted: n_train }
    }
}

/// Which edits a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Changes in place.
    Modified,
    /// Samples that attackers put in.
    Inserted,
    /// Samples that attackers took out.
    Deleted,
    /// All of them, in any mix.
    Any,
    /// A number of each.
    Mixed {
        /// Changed in place.
        modified: usize,
        /// Put in by attackers.
        inserted: usize,
        /// Taken out by attackers.
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
/// **Whenever they did it.** One training set was received; what is claimed is that the prediction is the same for another
/// one. The attacker may have made the received set of the other, which is then the clean one, or will make the other of the
/// received one, which is then clean. A threat is both: [`ways`](Self::ways) has the edits from the received set to the
/// other in either case, and a prediction is certified against it where it is certified against all of them.
///
/// # Example
/// Fifty edits of any mix are no worse than fifty unlimited modifications, where a law can certify either at all. Fifty
/// insertions are fifty more samples in the other set, or fifty fewer.
/// ```
/// use certssb::{Change, Counted, Kind, Threat};
/// let change = Change { n_poisoned: 50, trigger_norm: f64::INFINITY, labels: true };
/// let threat = |kind| Threat { change, kind, counted: Counted::Edits };
/// let ways = |kind| threat(kind).ways(1000).iter().map(|way| (way.inserted, way.deleted)).collect::<Vec<_>>();
/// assert_eq!(ways(Kind::Any), [(50, 50)]);
/// assert_eq!(ways(Kind::Inserted), [(50, 0), (0, 50)]);
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

    /// The worst edits from the received training set, of `n_train` samples, to another one: if the attacker made the other
    /// one of it, and if they made it of the other one, which exchanges inserted and deleted samples. One entry where that
    /// is no difference.
    ///
    /// Every D' that D becomes within the threat is reached by edits within the first entry, and every D' that became D by
    /// edits within the last. So what holds for all entries holds for both sets of each such pair, whichever was received.
    /// This is the one place that knows the two ways; [`Law::against`](crate::Law::against) asks a law about both.
    pub fn ways(&self, n_train: usize) -> Vec<Edits> {
        let onward = self.onward();
        let back = onward.back();
        match self.kind {
            // Both hold every mix, and with it the way back.
            Kind::Modified | Kind::Any => vec![onward],
            _ if back == onward => vec![onward.among(n_train)],
            _ => vec![onward.among(n_train), back.among(n_train)],
        }
    }

    /// Whether nothing is counted but changes in place.
    pub fn in_place(&self) -> bool {
        self.onward().in_place()
    }

    /// How many of the received samples have to be there for the threat to make sense: those that it counts as changed.
    pub(crate) fn changed(&self) -> usize {
        match (self.kind, self.counted) {
            (Kind::Any, Counted::Edits) => self.change.n_poisoned,
            (Kind::Any, Counted::SymmetricDifference) => 0,
            _ => self.onward().modified.n_poisoned,
        }
    }

    /// The worst edits within the threat when the received set is the one that they start from, for laws under which members
    /// see some of the samples.
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
    pub(crate) fn onward(&self) -> Edits {
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

/// The threat after "when", as in "every training set that the received one becomes, or that became the received one, when at
/// most 3 samples of any kind are added".
impl fmt::Display for Threat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (r, edits) = (self.change.n_poisoned, self.onward());
        let how = Modified(&self.change);
        match self.kind {
            Kind::Modified => {
                write!(
                    f,
                    "at most {} of its samples {} changed in place, {how}",
                    Number(edits.modified.n_poisoned),
                    are(edits.modified.n_poisoned)
                )?;
            }
            Kind::Inserted => write!(f, "at most {} of any kind {} added", new(r), are(r))?,
            Kind::Deleted => write!(f, "at most {} of its samples {} removed", Number(r), are(r))?,
            Kind::Any if r == 1 => {
                f.write_str("at most 1 sample is changed, removed or added, in any way, label included")?
            }
            Kind::Any => {
                let what =
                    "samples are changed, removed or added, in any mix and in any way, labels included";
                write!(f, "at most {} {what}", Number(r))?;
            }
            Kind::Mixed { modified, inserted, deleted } => {
                // A kind of which there is none goes without saying.
                let first = modified > 0 || inserted + deleted == 0;
                if first {
                    let n = Number(modified);
                    write!(f, "at most {n} of its samples {} changed in place, {how}", are(modified))?;
                }
                if deleted > 0 {
                    let (before, of) = match (first, inserted) {
                        (true, 0) => (", and ", ""),
                        (true, _) => (", ", ""),
                        (false, _) => ("", "of its samples "),
                    };
                    write!(f, "{before}at most {} {of}{} removed", Number(deleted), are(deleted))?;
                }
                if inserted > 0 {
                    let before = match (first, deleted) {
                        (false, 0) => "",
                        (true, 0) => ", and ",
                        _ => " and ",
                    };
                    write!(f, "{before}at most {} of any kind {} added", new(inserted), are(inserted))?;
                }
            }
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
            (threat(Kind::Inserted, Edits, 40), "at most 40 new samples of any kind are added"),
            (threat(Kind::Deleted, Edits, 7), "at most 7 of its samples are removed"),
            (
                threat(Kind::Any, Edits, 50),
                "at most 50 samples are changed, removed or added, in any mix and in any way, labels included (a \
                 changed sample counts once)",
            ),
            (
                threat(Kind::Any, SymmetricDifference, 1),
                "at most 1 sample is changed, removed or added, in any way, label included (a changed sample counts \
                 twice, as one removed and one added)",
            ),
            (
                threat(mixed, Edits, 12_004),
                "at most 3 of its samples are changed in place, each in any way, label included, at most 12,000 are \
                 removed and at most 1 new sample of any kind is added",
            ),
            (
                threat(Kind::Mixed { modified: 0, inserted: 2, deleted: 1 }, Edits, 3),
                "at most 1 of its samples is removed and at most 2 new samples of any kind are added",
            ),
            (
                threat(Kind::Mixed { modified: 2, inserted: 0, deleted: 1 }, Edits, 3),
                "at most 2 of its samples are changed in place, each in any way, label included, and at most 1 is \
                 removed",
            ),
            (
                threat(Kind::Mixed { modified: 2, inserted: 1, deleted: 0 }, Edits, 3),
                "at most 2 of its samples are changed in place, each in any way, label included, and at most 1 new \
                 sample of any kind is added",
            ),
            (
                threat(Kind::Mixed { modified: 0, inserted: 1, deleted: 0 }, Edits, 1),
                "at most 1 new sample of any kind is added",
            ),
        ] {
            assert_eq!(threat.to_string(), words);
            assert!(threat.check().is_ok());
        }
        assert!(threat(mixed, Edits, 3).check().is_err());
        assert!(threat(mixed, SymmetricDifference, 12_007).check().is_ok());
    }

    #[test]
    fn whoever_was_first_both_ways_are_there() {
        let ways = |kind, counted, r| -> Vec<_> {
            let ways = threat(kind, counted, r).ways(100);
            ways.iter().map(|way| (way.modified.n_poisoned, way.inserted, way.deleted)).collect()
        };
        let mixed = |modified, inserted, deleted| {
            ways(Kind::Mixed { modified, inserted, deleted }, Counted::Edits, modified + inserted + deleted)
        };
        for counted in [Counted::Edits, Counted::SymmetricDifference] {
            assert_eq!(ways(Kind::Inserted, counted, 7), [(0, 7, 0), (0, 0, 7)]);
            assert_eq!(ways(Kind::Deleted, counted, 7), [(0, 0, 7), (0, 7, 0)]);
            // Of 100 received samples an attacker has put in 100 at most, and may have taken out any number.
            assert_eq!(ways(Kind::Deleted, counted, 107), [(0, 0, 100), (0, 107, 0)]);
        }
        assert_eq!(ways(Kind::Modified, Counted::Edits, 7), [(7, 0, 0)]);
        assert_eq!(ways(Kind::Any, Counted::Edits, 7), [(0, 7, 7)]);
        assert_eq!(mixed(3, 40, 7), [(3, 40, 7), (3, 7, 40)]);
        assert_eq!(mixed(3, 5, 5), [(3, 5, 5)]);
        assert_eq!(mixed(30, 80, 7), [(30, 80, 7), (0, 37, 100)]);
    }
}
