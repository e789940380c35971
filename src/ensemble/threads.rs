//! Worker threads in which torch uses one thread each.

use std::any::Any;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Barrier, Mutex, PoisonError};

use tch::TchError;

use crate::error::{Error, Result};

/// Runs `work` in `n` threads in which torch's operations use one thread each, and `main` in the calling
/// thread meanwhile.
///
/// torch keeps the number of threads per thread, and a global one for threads that start later. Each
/// worker sets its own; the global one is put back as soon as all workers have started, so that the
/// user's setting is disturbed for microseconds only.
pub(crate) fn with_workers<R>(n: usize, work: impl Fn() + Sync, main: impl FnOnce() -> R) -> R {
    static STARTING: Mutex<()> = Mutex::new(());
    let started = Barrier::new(n + 1);
    std::thread::scope(|scope| {
        let guard = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        let before = tch::get_num_threads();
        for _ in 0..n {
            scope.spawn(|| {
                // A thread's first question initialises it from the global number; that comes before ours.
                let _ = tch::get_num_threads();
                tch::set_num_threads(1);
                started.wait();
                work();
            });
        }
        started.wait();
        tch::set_num_threads(before);
        drop(guard);
        main()
    })
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
        with_workers(2, count, || ());
        assert_eq!(seen.into_inner(), 2);
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
