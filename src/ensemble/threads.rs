//! Worker threads, in which torch uses one thread each.

use std::any::Any;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, Scope};

use tch::TchError;

use crate::error::{Error, Result};
use crate::process::{no_thread, PerProcess};

/// Who computes in a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Computing {
    /// torch, which must not spread a worker's operations over all cores.
    Torch,
    /// The crate's own kernels, in the worker itself.
    Kernels,
}

/// Runs `work` on each of `jobs` in a thread of its own, and `main` in the calling thread meanwhile; `main` is told how
/// many threads there are. If the system allows fewer than there are jobs, the last jobs are dropped before `main` runs.
///
/// # Errors
/// A device error if not a single thread can be started.
pub(crate) fn with_workers<J: Send, R>(
    jobs: Vec<J>,
    computing: Computing,
    work: impl Fn(J) + Sync,
    main: impl FnOnce(usize) -> R,
) -> Result<R> {
    std::thread::scope(|scope| {
        let started = match computing {
            Computing::Kernels => start(scope, jobs, || (), &work),
            Computing::Torch => with_one_torch_thread(|| start(scope, jobs, own_number, &work))?,
        };
        started.map(main)
    })
}

/// A thread's first question initialises it from torch's global number.
fn own_number() {
    let _ = tch::get_num_threads();
}

/// Starts a thread for each job, as many as can be, and waits until each has got ready; says how many there are.
fn start<'scope, J: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    jobs: Vec<J>,
    get_ready: fn(),
    work: &'scope (impl Fn(J) + Sync),
) -> Result<usize> {
    // Nobody sends: a thread that is ready drops its sender, one that panics or cannot be started loses it.
    let (sender, ready) = mpsc::channel::<()>();
    let (mut started, mut failure) = (0, None);
    for job in jobs {
        let sender = sender.clone();
        let run = move || {
            get_ready();
            drop(sender);
            work(job);
        };
        match Builder::new().spawn_scoped(scope, run) {
            Ok(_) => started += 1,
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    drop(sender);
    let _ = ready.recv();
    match failure {
        Some(error) if started == 0 => Err(no_thread(error)),
        _ => Ok(started),
    }
}

/// Runs `start` while threads that initialise themselves get one thread of torch each.
///
/// torch keeps the number of threads per thread, and a global one for threads that start later. The global one is set in
/// the calling thread, once: setting it repairs what a fork left of torch's own pool, which two threads cannot do at the
/// same time. It is put back as soon as all workers have started, so that the user's setting is disturbed for
/// microseconds only.
fn with_one_torch_thread<R>(start: impl FnOnce() -> R) -> Result<R> {
    static STARTING: PerProcess<Mutex<()>> = PerProcess::new();
    let guard = STARTING.get(|| Ok(Mutex::new(())))?.lock().unwrap_or_else(PoisonError::into_inner);
    let before = tch::get_num_threads();
    tch::set_num_threads(1);
    let result = start();
    tch::set_num_threads(before);
    drop(guard);
    Ok(result)
}

/// Runs a test in a worker, for its single torch thread: many tiny operations crawl on several.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) fn on_one_thread(test: impl Fn() + Sync) {
    with_workers(vec![()], Computing::Torch, |()| test(), |_| ()).unwrap();
}

/// Runs one member's work; a panic below becomes a training error that names the member.
pub(super) fn guarded<R>(member: u64, work: impl FnOnce() -> Result<R>) -> Result<R> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(Error::training(Some(member), first_line(&panic_message(&panic)))))
}

fn panic_message(panic: &Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "unknown panic".to_owned())
}

/// A torch error as a training error of one member: its first line.
pub(super) fn training_error(member: u64, error: &TchError) -> Error {
    let text = match error {
        TchError::Torch(text) => text.clone(),
        other => other.to_string(),
    };
    Error::training(Some(member), first_line(&text))
}

fn first_line(text: &str) -> &str {
    text.trim().lines().next().unwrap_or("torch gave no reason")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicI32, Ordering};

    #[test]
    fn workers_have_one_torch_thread_and_the_callers_number_is_untouched() {
        let before = tch::get_num_threads();
        let seen = AtomicI32::new(0);
        let count = || {
            seen.fetch_add(tch::get_num_threads(), Ordering::SeqCst);
        };
        let threads = with_workers(vec![(); 2], Computing::Torch, |()| count(), |threads| threads);
        assert_eq!((seen.into_inner(), threads), (2, Ok(2)));
        assert_eq!(tch::get_num_threads(), before);
        let later = std::thread::spawn(tch::get_num_threads).join();
        assert_eq!(later.ok(), Some(before), "threads started later have the caller's number too");
    }

    #[test]
    fn a_panic_names_its_member_and_keeps_one_line() {
        let error = guarded::<()>(7, || panic!("broken\nbacktrace")).err();
        let error = error.unwrap_or_else(|| Error::device("no error"));
        assert_eq!(error.member(), Some(7));
        assert_eq!(error.to_string(), "Training of member 7 failed: broken");
        let error = training_error(3, &TchError::Torch("size mismatch\nException raised from".into()));
        assert_eq!(error.to_string(), "Training of member 3 failed: size mismatch");
    }
}
