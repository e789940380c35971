//! One caller at a time, without a lock that a fork, a callback or Ctrl-C could be caught in.
//!
//! A mutex would stay locked for ever in a forked child, deadlock a caller that comes back through its own callback, and
//! be deaf to Ctrl-C. So the gate is a number, who is inside; whoever waits looks at it from time to time, with the
//! interpreter free and signals heard.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use super::listen::heard;
use crate::error::{Error, Result};

/// Nobody is inside.
const FREE: u64 = 0;
/// The process is being forked.
const FORKING: u64 = u64::MAX;
/// Looks at a taken gate before sleeping between them.
const LOOKS: u32 = 64;
/// Longest sleep between two looks.
const SLEEP: Duration = Duration::from_millis(5);
/// How long whoever was inside last leaves the gate to others who wait: longer than they sleep.
const COURTESY: Duration = Duration::from_millis(15);
/// Longest wait before a fork for a caller to come out.
const BEFORE_FORK: Duration = Duration::from_secs(5);

thread_local! {
    /// This thread's number, and the gates of the calls whose progress function it is running.
    static ME: u64 = {
        static NEXT: AtomicU64 = AtomicU64::new(FREE + 1);
        NEXT.fetch_add(1, Ordering::Relaxed)
    };
    static WITHIN: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// Something that one caller uses at a time.
#[derive(Debug)]
pub(super) struct Gate<T> {
    inside: AtomicU64,
    /// Who was inside last, and how many wait: else one thread in a loop would keep all others out.
    last: AtomicU64,
    waiting: AtomicU32,
    process: AtomicU32,
    /// Locked by whoever is inside, so never waited for.
    room: Mutex<T>,
}

/// The right to be inside.
struct Turn<'a>(&'a AtomicU64);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.store(FREE, Ordering::Release);
    }
}

/// One who waits.
struct Waits<'a>(&'a AtomicU32);

impl<'a> Waits<'a> {
    fn new(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        // A fork may have forgotten all who wait.
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1));
    }
}

/// A mark that this thread runs a callback of the gate's holder.
struct Within;

impl Drop for Within {
    fn drop(&mut self) {
        WITHIN.with(|gates| gates.borrow_mut().pop());
    }
}

impl<T: Send> Gate<T> {
    pub(super) fn new(room: T) -> Self {
        Self {
            inside: AtomicU64::new(FREE),
            last: AtomicU64::new(FREE),
            waiting: AtomicU32::new(0),
            process: AtomicU32::new(std::process::id()),
            room: Mutex::new(room),
        }
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Runs `work` without the interpreter, one caller at a time; `refuse` makes the error for a caller who is inside
    /// already, or whose parent process was. Tells too what a signal's handler has raised meanwhile.
    pub(super) fn with<R: Send>(
        &self,
        py: Python<'_>,
        refuse: impl Fn(&str) -> Error,
        work: impl FnOnce(&mut T) -> Result<R> + Send,
    ) -> PyResult<(Result<R>, Option<PyErr>)> {
        let turn = self.enter(py, refuse)?;
        let heard = heard(py, || work(&mut self.room.lock().unwrap_or_else(PoisonError::into_inner)));
        drop(turn);
        Ok(heard)
    }

    fn enter(&self, py: Python<'_>, refuse: impl Fn(&str) -> Error) -> PyResult<Turn<'_>> {
        let me = ME.with(|me| *me);
        if WITHIN.with(|gates| gates.borrow().contains(&self.address())) {
            return Err(refuse("is in use by the very call whose progress function this is").into());
        }
        let (mut looks, mut waits) = (0, None);
        let start = Instant::now();
        loop {
            if self.process.load(Ordering::Acquire) != std::process::id() {
                return Err(refuse("was in use by another thread of the process when it was forked").into());
            }
            let others = self.waiting.load(Ordering::Acquire) > u32::from(waits.is_some());
            let steps_back = others && self.last.load(Ordering::Acquire) == me && start.elapsed() < COURTESY;
            let entered = !steps_back && self.take(me);
            if entered {
                self.last.store(me, Ordering::Release);
                return Ok(Turn(&self.inside));
            } else if self.inside.load(Ordering::Acquire) == me {
                return Err(refuse("is in use by the very call that a signal has interrupted").into());
            }
            waits.get_or_insert_with(|| Waits::new(&self.waiting));
            looks += 1;
            py.detach(|| rest(looks));
            py.check_signals()?;
        }
    }

    fn take(&self, who: u64) -> bool {
        self.inside.compare_exchange(FREE, who, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Runs a callback between two turns. The callback must not come back; other threads may take their turn.
    pub(super) fn outside<R>(&self, callback: impl FnOnce() -> R) -> R {
        WITHIN.with(|gates| gates.borrow_mut().push(self.address()));
        let _within = Within;
        callback()
    }

    /// Before a fork: keeps everybody out and runs `close`. Nothing happens where a caller does not come out in time, or
    /// is the one that forks; the child is refused then.
    pub(super) fn shut(&self, py: Python<'_>, close: impl FnOnce(&mut T) + Send) {
        let start = Instant::now();
        let me = ME.with(|me| *me);
        let mut looks = 0;
        let _waits = Waits::new(&self.waiting);
        while !self.take(FORKING) {
            let other = self.inside.load(Ordering::Acquire);
            if other == me || other == FORKING || start.elapsed() > BEFORE_FORK {
                return;
            }
            looks += 1;
            py.detach(|| rest(looks));
        }
        py.detach(|| close(&mut self.room.lock().unwrap_or_else(PoisonError::into_inner)));
    }

    /// After a fork, in both processes: opens what was shut before.
    pub(super) fn open(&self) {
        if self.inside.load(Ordering::Acquire) == FORKING {
            if self.process.swap(std::process::id(), Ordering::AcqRel) != std::process::id() {
                self.waiting.store(0, Ordering::Release);
            }
            self.inside.store(FREE, Ordering::Release);
        }
    }
}

fn rest(looks: u32) {
    if looks < LOOKS {
        std::thread::yield_now();
    } else {
        std::thread::sleep(SLEEP.min(Duration::from_micros(u64::from(looks - LOOKS + 1) * 50)));
    }
}
