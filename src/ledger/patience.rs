//! How long a ledger waits for other processes. Whether it is to stop meanwhile is asked of [`crate::stop`].

use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::stop::Stop;

/// Longest wait for a lock unless another one is set.
const LONGEST: Duration = Duration::from_secs(60);

/// How long a ledger waits for a lock that another process holds. Under [`until`](crate::until) or
/// [`asking`](crate::asking) it stops waiting, and working, when told to.
///
/// # Example
/// ```
/// use std::time::{Duration, Instant};
/// use certssb::{asking, Ledger, Patience};
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("regions.sqlite");
/// let patience = Patience::new().at_most(Duration::from_secs(5));
/// let start = Instant::now();
/// let too_long = move || start.elapsed() > Duration::from_secs(1);
/// match asking(too_long, || Ledger::open_with(path, false, patience)) {
///     Ok(mut ledger) => println!("{} regions", ledger.len()?),
///     Err(error) => assert_eq!(*error.kind(), certssb::ErrorKind::Cancelled), // it took more than a second
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    longest: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self::new()
    }
}

impl Patience {
    /// Waits up to 60 s.
    pub fn new() -> Self {
        Self { longest: LONGEST }
    }

    /// Waits no longer than this for a lock.
    pub fn at_most(self, longest: Duration) -> Self {
        Self { longest }
    }

    /// The longest wait.
    pub(crate) fn longest(self) -> Duration {
        self.longest
    }

    /// Waits a little for a lock that is taken since `start`; whether to try again.
    pub(crate) fn waits_on(self, start: Instant) -> bool {
        std::thread::sleep(Duration::from_millis(1));
        start.elapsed() < self.longest && !Stop::current().is_set()
    }
}

/// A place where long work may be stopped.
pub(crate) fn pause() -> Result<()> {
    if Stop::current().is_set() {
        Err(stopped())
    } else {
        Ok(())
    }
}

/// The error of work that was stopped on request.
pub(crate) fn stopped() -> Error {
    Error::cancelled("Stopped on request; nothing of this call's last step was stored.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stop::asking;

    #[test]
    fn waits_no_longer_than_it_may_or_is_told() {
        let waited = |patience: Patience| {
            let start = Instant::now();
            while patience.waits_on(start) {}
            start.elapsed()
        };
        let short = Duration::from_millis(30);
        assert!(waited(Patience::new().at_most(short)) >= short);
        let told = asking(|| true, || (waited(Patience::new()), pause().is_err()));
        assert!(told.0 < LONGEST / 2 && told.1 && pause().is_ok());
    }
}
