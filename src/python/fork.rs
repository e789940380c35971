//! A fork waits until other threads that compute members rest.
//!
//! torch and the libraries beneath it have locks of their own, which a forked child would find held for ever by threads
//! that it does not have. So whoever computes members says so here, rests between two batches while somebody forks, and a
//! fork waits until all rest, for a while. Nothing is waited for that others compute with torch.

use std::cell::Cell;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pyo3::prelude::*;

/// Threads that fork, that compute members, and that do so but rest.
static FORKING: AtomicUsize = AtomicUsize::new(0);
static WORKING: AtomicUsize = AtomicUsize::new(0);
static RESTING: AtomicUsize = AtomicUsize::new(0);

/// What torch keeps of its parent's in a forked child until it is first used, when it is made anew: by one thread, as two that
/// do that at the same moment end the process.
static INHERITED: AtomicU8 = AtomicU8::new(RENEWED);
const RENEWED: u8 = 0;
const AS_IT_CAME: u8 = 1;
const IN_RENEWAL: u8 = 2;

thread_local! {
    /// Computations of members, one within the other, that the thread is in.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Time between two looks.
const MOMENT: Duration = Duration::from_micros(200);
/// Longest wait of a fork.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the interpreter is held before a fork: a thread that has left it for a short operation of torch's ends that and
/// waits for the interpreter.
const STILL: Duration = Duration::from_millis(5);

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    crate::normal::prepare();
    module.add_function(wrap_pyfunction!(before_fork, module)?)?;
    module.add_function(wrap_pyfunction!(after_fork, module)?)?;
    module.add_function(wrap_pyfunction!(resting, module)?)?;
    module.add_function(wrap_pyfunction!(working, module)?)
}

/// Says that the calling thread computes members, until it is dropped; waits first while somebody forks.
pub(super) fn at_work(py: Python<'_>) -> AtWork {
    if DEPTH.get() == 0 {
        loop {
            wait(py);
            WORKING.fetch_add(1, Ordering::SeqCst);
            if FORKING.load(Ordering::SeqCst) == 0 {
                break;
            }
            WORKING.fetch_sub(1, Ordering::SeqCst);
        }
        renew(py);
    }
    DEPTH.set(DEPTH.get() + 1);
    AtWork(())
}

/// In a forked child, before the first computation: one thread lets torch make anew what it inherited, the others wait.
fn renew(py: Python<'_>) {
    loop {
        match INHERITED.compare_exchange(AS_IT_CAME, IN_RENEWAL, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => {
                let generators = py.import("certssb._generators");
                let renewed = generators.and_then(|module| module.call_method0("renew_engine"));
                INHERITED.store(RENEWED, Ordering::SeqCst);
                // Work goes on: without it only threads that begin at the very same moment are in danger.
                if let Err(error) = renewed {
                    error.write_unraisable(py, None);
                }
                return;
            }
            Err(RENEWED) => return,
            Err(_) => py.detach(|| std::thread::sleep(MOMENT)),
        }
    }
}

/// A computation of members in the calling thread.
pub(super) struct AtWork(());

impl Drop for AtWork {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get().saturating_sub(1));
        if DEPTH.get() == 0 {
            WORKING.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// Rests while somebody forks; called where nothing of torch's is held.
pub(super) fn rest(py: Python<'_>) {
    // Looked at again after each rest: the next fork may have begun while this thread still counted as one that rests.
    while DEPTH.get() > 0 && FORKING.load(Ordering::SeqCst) > 0 {
        RESTING.fetch_add(1, Ordering::SeqCst);
        wait(py);
        RESTING.fetch_sub(1, Ordering::SeqCst);
    }
}

fn wait(py: Python<'_>) {
    if FORKING.load(Ordering::SeqCst) > 0 {
        py.detach(|| {
            while FORKING.load(Ordering::SeqCst) > 0 {
                std::thread::sleep(MOMENT);
            }
        });
    }
}

/// Before a fork: waits until the others rest; `still` where torch is there.
#[pyfunction]
fn before_fork(py: Python<'_>, still: bool) {
    FORKING.fetch_add(1, Ordering::SeqCst);
    let own = usize::from(DEPTH.get() > 0);
    let start = Instant::now();
    let at_work = || WORKING.load(Ordering::SeqCst) > RESTING.load(Ordering::SeqCst) + own;
    py.detach(|| {
        while at_work() && start.elapsed() < PATIENCE {
            std::thread::sleep(MOMENT);
        }
    });
    if still {
        std::thread::sleep(STILL);
    }
}

/// After a fork: the others go on; a child has none.
#[pyfunction]
fn after_fork(in_child: bool) {
    if in_child {
        INHERITED.store(AS_IT_CAME, Ordering::SeqCst);
        FORKING.store(0, Ordering::SeqCst);
        RESTING.store(0, Ordering::SeqCst);
        WORKING.store(usize::from(DEPTH.get() > 0), Ordering::SeqCst);
    } else {
        FORKING.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Calls what waits for another thread: whoever waits rests.
#[pyfunction]
fn resting<'py>(py: Python<'py>, waiting: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let computes = DEPTH.get() > 0;
    if computes {
        RESTING.fetch_add(1, Ordering::SeqCst);
    }
    let outcome = waiting.call0();
    if computes {
        RESTING.fetch_sub(1, Ordering::SeqCst);
        rest(py);
    }
    outcome
}

/// Calls what computes members, or tries them.
#[pyfunction]
fn working<'py>(py: Python<'py>, work: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let _at_work = at_work(py);
    work.call0()
}
