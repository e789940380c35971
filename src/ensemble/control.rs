//! Watching and stopping long work.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

/// One more member is there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Which member.
    pub member: u64,
    /// How many of the run are done, this one included.
    pub done: u64,
    /// How many the run wants.
    pub total: u64,
    /// Mean training loss of the member's last epoch.
    pub loss: f32,
    /// Whether it came from the checkpoint rather than from training.
    pub resumed: bool,
}

type Report<'a> = Box<dyn Fn(&Progress) + 'a>;
type Poll<'a> = Box<dyn Fn() -> bool + 'a>;

/// How a caller watches and stops long work.
///
/// Both callbacks run on the thread that called, never on a worker: `report` once per finished member,
/// `poll` about twenty times a second. The flag may be set from any thread.
#[derive(Default)]
pub struct Control<'a> {
    cancel: Arc<AtomicBool>,
    report: Option<Report<'a>>,
    poll: Option<Poll<'a>>,
}

impl<'a> Control<'a> {
    /// Work that nobody watches.
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls `report` after every member.
    #[must_use]
    pub fn on_progress(mut self, report: impl Fn(&Progress) + 'a) -> Self {
        self.report = Some(Box::new(report));
        self
    }

    /// Asks `poll` about twenty times a second whether to stop.
    #[must_use]
    pub fn on_poll(mut self, poll: impl Fn() -> bool + 'a) -> Self {
        self.poll = Some(Box::new(poll));
        self
    }

    /// The flag that stops the work within a batch, from any thread.
    pub fn cancel_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.cancel)
    }

    pub(super) fn report(&self, progress: &Progress) {
        if let Some(report) = &self.report {
            report(progress);
        }
    }

    /// Whether to stop, by flag or by poll; a poll that said so is remembered.
    pub(super) fn stops(&self) -> bool {
        if self.poll.as_ref().is_some_and(|poll| poll()) {
            self.cancel.store(true, Ordering::Relaxed);
        }
        self.cancel.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Control<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("cancel", &self.cancel).finish_non_exhaustive()
    }
}
