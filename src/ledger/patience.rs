//! How long a ledger waits for other processes, and who is asked meanwhile whether to go on.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// Time between two questions.
const BETWEEN: Duration = Duration::from_millis(20);
/// Longest wait for a lock unless another one is set.
const LONGEST: Duration = Duration::from_secs(60);

type Question = dyn Fn() -> bool + Send + Sync;

/// How long a ledger waits for a lock that another process holds, and a question that is asked while it waits or works:
/// whether to stop.
///
/// # Example
/// ```
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use std::sync::Arc;
/// use std::time::Duration;
/// use certssb::{Ledger, Patience};
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("regions.sqlite");
/// let stop = Arc::new(AtomicBool::new(false));
/// let asked = stop.clone();
/// let patience = Patience::new().at_most(Duration::from_secs(5)).until(move || asked.load(Ordering::Relaxed));
/// let ledger = Ledger::open_with(path, false, patience)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Patience {
    longest: Duration,
    stop: Option<Arc<Question>>,
    /// When the question was asked last, in nanoseconds since the process first asked.
    asked: Arc<AtomicU64>,
}

impl Default for Patience {
    fn default() -> Self {
        Self::new()
    }
}

impl Patience {
    /// Waits up to 60 s and asks nobody.
    pub fn new() -> Self {
        Self { longest: LONGEST, stop: None, asked: Arc::new(AtomicU64::new(0)) }
    }

    /// Waits no longer than this for a lock.
    pub fn at_most(self, longest: Duration) -> Self {
        Self { longest, ..self }
    }

    /// Stops with [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) soon after `stop` says true. It is asked every 20 ms
    /// or so on the thread that uses the ledger, and has to go on saying true until that call has ended.
    pub fn until(self, stop: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { stop: Some(Arc::new(stop)), ..self }
    }

    /// The longest wait.
    pub(crate) fn longest(&self) -> Duration {
        self.longest
    }

    /// Asks now.
    pub(crate) fn is_over(&self) -> bool {
        self.stop.as_ref().is_some_and(|stop| stop())
    }

    /// Asks if the last time is a while ago.
    pub(crate) fn is_over_by_now(&self) -> bool {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        let Some(stop) = &self.stop else { return false };
        let now = START.elapsed().as_nanos() as u64 + BETWEEN.as_nanos() as u64;
        if now.saturating_sub(self.asked.load(Ordering::Relaxed)) < BETWEEN.as_nanos() as u64 {
            return false;
        }
        self.asked.store(now, Ordering::Relaxed);
        let over = stop();
        if over {
            // The next question is to be answered as well, not skipped.
            self.asked.store(0, Ordering::Relaxed);
        }
        over
    }

    /// A place where long work may be stopped.
    pub(crate) fn pause(&self) -> Result<()> {
        if self.is_over_by_now() {
            Err(stopped())
        } else {
            Ok(())
        }
    }

    /// Waits a little for a lock that is taken since `start`; whether to try again.
    pub(crate) fn waits_on(&self, start: Instant) -> bool {
        std::thread::sleep(Duration::from_millis(1));
        start.elapsed() < self.longest && !self.is_over_by_now()
    }
}

/// The error of work that was stopped on request.
pub(crate) fn stopped() -> Error {
    Error::cancelled("Stopped on request; nothing of this call's last step was stored.")
}

impl fmt::Debug for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patience").field("longest", &self.longest).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicUsize};

    #[test]
    fn asks_from_time_to_time_and_goes_on_asking_once_it_was_told_to_stop() {
        let (count, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, stopping) = (count.clone(), stop.clone());
        let patience = Patience::new().until(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            stopping.load(Ordering::Relaxed)
        });
        (0..1000).for_each(|_| patience.pause().unwrap());
        assert!((1..50).contains(&count.load(Ordering::Relaxed)));
        stop.store(true, Ordering::Relaxed);
        std::thread::sleep(BETWEEN);
        assert!((0..3).all(|_| patience.pause().is_err()));
    }

    #[test]
    fn waits_no_longer_than_it_may() {
        let patience = Patience::new().at_most(Duration::from_millis(30));
        let start = Instant::now();
        while patience.waits_on(start) {}
        assert!(start.elapsed() >= Duration::from_millis(30));
    }
}
