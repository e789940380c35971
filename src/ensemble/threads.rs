//! Worker threads of a backend.

use std::any::Any;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::mpsc;
use std::thread::{Builder, Scope};

use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::process::no_thread;

/// Runs `work` on each of `jobs` in a thread of its own, which gets `ready` for it first, and `main` in the calling thread meanwhile; `main` is told how
/// many threads there are. If the system allows fewer than there are jobs, the last jobs are dropped before `main` runs.
///
/// # Errors
/// A device error if not a single thread can be started.
pub(crate) fn with_workers<J: Send, R>(
    jobs: Vec<J>,
    ready: impl Fn(&J) + Sync,
    backend: &dyn Backend,
    work: impl Fn(J) + Sync,
    main: impl FnOnce(usize) -> R,
) -> Result<R> {
    std::thread::scope(|scope| {
        let (mut jobs, mut started) = (Some(jobs), Ok(0));
        backend.start(&mut || {
            if let Some(jobs) = jobs.take() {
                started = start(scope, jobs, &ready, &work);
            }
        })?;
        started.map(main)
    })
}

/// Starts a thread for each job, as many as can be, and waits until each has got ready; says how many there are.
fn start<'scope, J: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    jobs: Vec<J>,
    get_ready: &'scope (impl Fn(&J) + Sync),
    work: &'scope (impl Fn(J) + Sync),
) -> Result<usize> {
    // Nobody sends: a thread that is ready drops its sender, one that panics or cannot be started loses it.
    let (sender, ready) = mpsc::channel::<()>();
    let (mut started, mut failure) = (0, None);
    for job in jobs {
        let sender = sender.clone();
        let run = move || {
            get_ready(&job);
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

/// Runs one member's work; a panic below becomes a training error that names the member.
pub(super) fn guarded<R>(member: u64, work: impl FnOnce() -> Result<R>) -> Result<R> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(Error::training(Some(member), first_line(&panic_message(&panic)))))
}

fn panic_message(panic: &Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "unknown panic".to_owned())
}

fn first_line(text: &str) -> &str {
    text.trim().lines().next().unwrap_or("no reason was given")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_names_its_member_and_keeps_one_line() {
        let error = guarded::<()>(7, || panic!("broken\nbacktrace")).err();
        let error = error.unwrap_or_else(|| Error::device("no error"));
        assert_eq!(error.member(), Some(7));
        assert_eq!(error.to_string(), "Training of member 7 failed: broken");
    }
}
