//! One error type for the whole crate: what went wrong, where, what was expected and what came.

use std::fmt;

use crate::seed::SCOUT;

/// Result of every fallible operation in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// The kinds of failure a caller may want to tell apart.
///
/// Each kind becomes one Python exception (see `src/python/error.rs`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A parameter or a value in the data is outside its range or unknown.
    Parameter,
    /// An array has the wrong rank, length or dimension.
    Shape,
    /// Training one member of the ensemble failed.
    Training {
        /// The member's number, if one member is to blame.
        member: Option<u64>,
    },
    /// A ledger could not be opened, read or written.
    Ledger,
    /// A ledger file is damaged, or is not a ledger.
    LedgerCorrupt,
    /// A ledger was written by another schema version.
    LedgerVersion,
    /// A checkpoint directory is foreign, damaged or not writable.
    Checkpoint,
    /// A file could not be read or written.
    File {
        /// The system's number for the failure, if it has one.
        code: Option<i32>,
        /// Whether there is nothing at the path.
        missing: bool,
    },
    /// The compute device does not exist or cannot do the work.
    Device,
    /// The user interrupted the work; finished members are kept.
    Cancelled,
}

/// An error: its [`ErrorKind`] and one sentence for the person who has to act on it.
///
/// # Example
/// ```
/// use certssb::{Error, ErrorKind};
/// let error = Error::parameter("alpha", "a float in the range (0, 1)", 1.5);
/// assert_eq!(*error.kind(), ErrorKind::Parameter);
/// assert_eq!(error.to_string(), "The 'alpha' parameter must be a float in the range (0, 1). Got 1.5 instead.");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

impl Error {
    /// An error of the given kind with a message of its own.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// A parameter outside its range: names it, says what was expected and what came.
    pub fn parameter(name: &str, expected: impl fmt::Display, got: impl fmt::Display) -> Self {
        Self::new(
            ErrorKind::Parameter,
            format!("The '{name}' parameter must be {expected}. Got {got} instead."),
        )
    }

    /// A name that is none of the known ones; lists those.
    pub fn unknown(name: &str, known: &[&str], got: &str) -> Self {
        let list: Vec<String> = known.iter().map(|k| format!("'{k}'")).collect();
        Self::parameter(name, format_args!("one of {}", list.join(", ")), format_args!("'{got}'"))
    }

    /// An array of the wrong shape: names it, says what was expected and what came.
    pub fn shape(name: &str, expected: impl fmt::Display, got: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Shape, format!("'{name}' must have {expected}. Got {got} instead."))
    }

    /// Training of a member failed.
    pub fn training(member: Option<u64>, message: impl fmt::Display) -> Self {
        let message = match member {
            Some(SCOUT) => format!("{OF_THE_SCOUT}{message}"),
            Some(m) => format!("{}{message}", of_member(m)),
            None => format!("Training failed: {message}"),
        };
        // The scout is no member that anybody could ask for by its number.
        Self::new(ErrorKind::Training { member: member.filter(|m| *m != SCOUT) }, message)
    }

    /// The same of a member that is trained and was asked.
    #[cfg(feature = "training")]
    pub(crate) fn asked(self) -> Self {
        let ErrorKind::Training { member: Some(member) } = self.kind else { return self };
        match self.message.strip_prefix(&of_member(member)) {
            Some(reason) => Self { message: format!("Member {member} gave no answer: {reason}"), ..self },
            None => self,
        }
    }

    /// The same of a member, or the scout, that is trained and was searching for noise magnitudes.
    #[cfg(feature = "training")]
    pub(crate) fn searching(self) -> Self {
        let ErrorKind::Training { member } = self.kind else { return self };
        let (who, training) = match member {
            Some(member) => (format!("by member {member}"), of_member(member)),
            None => ("by the scout".to_owned(), OF_THE_SCOUT.to_owned()),
        };
        match self.message.strip_prefix(&training) {
            Some(why) => {
                Self { message: format!("The search for noise magnitudes {who} failed: {why}"), ..self }
            }
            None => self,
        }
    }

    /// A ledger that cannot be opened, read or written.
    pub fn ledger(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Ledger, message)
    }

    /// A ledger file that is damaged, or is not a ledger.
    pub fn ledger_corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::LedgerCorrupt, message)
    }

    /// A ledger of another schema version.
    pub fn ledger_version(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::LedgerVersion, message)
    }

    /// A checkpoint directory that cannot be used.
    pub fn checkpoint(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Checkpoint, message)
    }

    /// A device that is not there.
    pub fn device(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Device, message)
    }

    /// The user interrupted.
    pub fn cancelled(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Cancelled, message)
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// Whether the caller passed a bad value (as opposed to a failure while working).
    pub fn is_bad_input(&self) -> bool {
        matches!(self.kind, ErrorKind::Parameter | ErrorKind::Shape)
    }

    /// The member that failed, for a training error that has one.
    pub fn member(&self) -> Option<u64> {
        match self.kind {
            ErrorKind::Training { member } => member,
            _ => None,
        }
    }
}

/// How an error of the scout's training begins.
const OF_THE_SCOUT: &str = "Training of the scout, which finds noise magnitudes, failed: ";

/// How an error of a member's training begins.
fn of_member(member: u64) -> String {
    format!("Training of member {member} failed: ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(feature = "training")]
    fn a_member_that_is_asked_is_trained() {
        let error = Error::training(Some(7), "no such picture").asked();
        assert_eq!(
            (error.to_string().as_str(), error.member()),
            ("Member 7 gave no answer: no such picture", Some(7))
        );
        assert_eq!(Error::device("no GPU").asked(), Error::device("no GPU"));
    }

    #[cfg(feature = "training")]
    #[test]
    fn a_search_for_noise_is_no_training() {
        let told = |member| Error::training(Some(member), "no gradient").searching().to_string();
        assert_eq!(told(7), "The search for noise magnitudes by member 7 failed: no gradient");
        assert_eq!(told(SCOUT), "The search for noise magnitudes by the scout failed: no gradient");
        assert_eq!(Error::device("no GPU").searching(), Error::device("no GPU"));
    }

    #[test]
    fn the_scout_is_named_and_is_no_member() {
        let error = Error::training(Some(SCOUT), "no gradient");
        assert_eq!(
            error.to_string(),
            "Training of the scout, which finds noise magnitudes, failed: no gradient"
        );
        assert_eq!((error.member(), Error::training(Some(7), "").member()), (None, Some(7)));
    }
}
