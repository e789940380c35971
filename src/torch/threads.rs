//! Worker threads in which torch uses one thread each.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::Result;
use crate::process::PerProcess;

/// Held by whoever changes the number that threads start with.
static STARTING: PerProcess<Mutex<()>> = PerProcess::new();

fn nobody_else_starts() -> Result<MutexGuard<'static, ()>> {
    Ok(STARTING.get(|| Ok(Mutex::new(())))?.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A thread's first question initialises it from torch's global number.
pub(super) fn own_number() {
    let _ = tch::get_num_threads();
}

/// Runs `start` while threads that initialise themselves get one thread of torch each.
///
/// torch keeps the number of threads per thread, and a global one for threads that start later. The global one is set in
/// the calling thread, once: setting it repairs what a fork left of torch's own pool, which two threads cannot do at the
/// same time. It is put back as soon as all workers have started, so that the user's setting is disturbed for
/// microseconds only.
pub(super) fn with_one_torch_thread(start: &mut dyn FnMut()) -> Result<()> {
    let guard = nobody_else_starts()?;
    let before = tch::get_num_threads();
    tch::set_num_threads(1);
    start();
    tch::set_num_threads(before);
    drop(guard);
    Ok(())
}

/// Runs a test in a worker, for its single torch thread: many tiny operations crawl on several.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) fn on_one_thread(test: impl Fn() + Sync) {
    std::thread::scope(|scope| {
        let mut test = Some(&test);
        let (sender, ready) = std::sync::mpsc::channel::<()>();
        let mut begin = || {
            let (test, sender) = (test.take().unwrap(), sender.clone());
            scope.spawn(move || {
                own_number();
                sender.send(()).unwrap();
                test();
            });
            ready.recv().unwrap();
        };
        with_one_torch_thread(&mut begin).unwrap();
    });
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicI32, Ordering};

    #[test]
    fn workers_have_one_torch_thread_and_the_callers_number_is_untouched() {
        // Other tests start workers, and threads that start meanwhile have one.
        let now = || {
            let _alone = nobody_else_starts().unwrap();
            tch::get_num_threads()
        };
        let before = now();
        let seen = AtomicI32::new(0);
        on_one_thread(|| {
            seen.fetch_add(tch::get_num_threads(), Ordering::SeqCst);
        });
        assert_eq!(seen.into_inner(), 1);
        assert_eq!(now(), before);
        let _alone = nobody_else_starts().unwrap();
        let later = std::thread::spawn(tch::get_num_threads).join();
        assert_eq!(later.ok(), Some(before), "threads started later have the caller's number too");
    }
}
