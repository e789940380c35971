//! Watching long work from outside: how far it is, and a flag that stops it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

/// Told of progress, asked whether to stop. Work that stops keeps what it has finished.
///
/// # Example
/// ```
/// use std::sync::atomic::AtomicBool;
/// use certssb::Watch;
/// let stop = AtomicBool::new(false);
/// let mut percent = 0;
/// let watch = Watch::new().stop(&stop).progress(|done, total| percent = 100 * done / total.max(1));
/// # drop(watch);
/// ```
#[derive(Default)]
pub struct Watch<'a> {
    stop: Option<&'a AtomicBool>,
    progress: Option<Box<dyn FnMut(u64, u64) + 'a>>,
}

impl<'a> Watch<'a> {
    /// Watches nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The work ends with [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) soon after the flag is set.
    pub fn stop(self, flag: &'a AtomicBool) -> Self {
        Self { stop: Some(flag), ..self }
    }

    /// Calls `report(done, total)` from time to time, and at the end.
    pub fn progress(self, report: impl FnMut(u64, u64) + 'a) -> Self {
        Self { progress: Some(Box::new(report)), ..self }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.is_some_and(|flag| flag.load(Ordering::Relaxed))
    }

    pub(crate) fn report(&mut self, done: u64, total: u64) {
        if let Some(report) = &mut self.progress {
            report(done, total);
        }
    }
}

impl fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("stop", &self.stop).finish_non_exhaustive()
    }
}
