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

use crate::error::{Error, Result};

/// Nobody is inside.
const FREE: u64 = 0;
/// The process is being forked.
const FORKING: u64 = u64::MAX;
/// Looks at a taken gate before sleeping between them.
const LOOKS: u32 = 64;
/// Longest sleep between two looks.
const SLEEP: Duration = Duration::from_millis(5);
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
            process: AtomicU32::new(std::process::id()),
            room: Mutex::new(room),
        }
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Runs `work` without the interpreter, one caller at a time; `refuse` makes the error for a caller who is inside
    /// already, or whose parent process was.
    pub(super) fn with<R: Send>(
        &self,
        py: Python<'_>,
        refuse: impl Fn(&str) -> Error,
        work: impl FnOnce(&mut T) -> Result<R> + Send,
    ) -> PyResult<R> {
        let turn = self.enter(py, refuse)?;
        let result = py.detach(|| work(&mut self.room.lock().unwrap_or_else(PoisonError::into_inner)));
        drop(turn);
        Ok(result?)
    }

    fn enter(&self, py: Python<'_>, refuse: impl Fn(&str) -> Error) -> PyResult<Turn<'_>> {
        let me = ME.with(|me| *me);
        if WITHIN.with(|gates| gates.borrow().contains(&self.address())) {
            return Err(refuse("is in use by the very call whose progress function this is").into());
        }
        let mut looks = 0;
        loop {
            if self.process.load(Ordering::Acquire) != std::process::id() {
                return Err(refuse("was in use by another thread of the process when it was forked").into());
            }
            match self.inside.compare_exchange(FREE, me, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Ok(Turn(&self.inside)),
                Err(other) if other == me => {
                    return Err(refuse("is in use by the very call that a signal has interrupted").into());
                }
                Err(_) => {}
            }
            looks += 1;
            py.detach(|| rest(looks));
            py.check_signals()?;
        }
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
        while let Err(other) =
            self.inside.compare_exchange(FREE, FORKING, Ordering::Acquire, Ordering::Relaxed)
        {
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
            self.process.store(std::process::id(), Ordering::Release);
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
