//! What a process has of its own: a forked child inherits memory, but none of the threads that serve it.
//!
//! The one pool of threads that all parallel work of the crate runs in is such a thing, and so is every lock that a
//! thread of the parent may have held at the moment of the fork: in the child nobody would ever release it.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc::{channel, RecvTimeoutError};
use std::sync::{Mutex, OnceLock, PoisonError, TryLockError, TryLockResult};
use std::time::Duration;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, Result};
use crate::stop::{listen, listens, Stop, BETWEEN};

/// Generations of processes, each forked from the one before, that may have values of their own.
const GENERATIONS: usize = 64;

/// How long a thread sleeps while another one makes the value that both need, or while threads end.
const MOMENT: Duration = Duration::from_millis(1);

/// A value of which each process has its own, made when it is first asked for.
///
/// Each slot is claimed by one process, and no process ever waits for the slot of another: what an ancestor was doing at
/// the moment of a fork cannot hold up the child.
pub(crate) struct PerProcess<T> {
    slots: [Slot<T>; GENERATIONS],
}

struct Slot<T> {
    /// Number of the process; 0 is nobody.
    owner: AtomicU32,
    value: OnceLock<T>,
}

impl<T> PerProcess<T> {
    pub(crate) const fn new() -> Self {
        Self { slots: [const { Slot { owner: AtomicU32::new(0), value: OnceLock::new() } }; GENERATIONS] }
    }

    /// This process's value; `make` must not panic.
    ///
    /// # Errors
    /// Those of `make`, which is then tried again by whoever asks next; a device error for more generations of processes
    /// than there are slots.
    pub(crate) fn get(&self, make: impl FnOnce() -> Result<T>) -> Result<&T> {
        self.get_as(std::process::id(), make)
    }

    fn get_as(&self, process: u32, make: impl FnOnce() -> Result<T>) -> Result<&T> {
        for slot in &self.slots {
            loop {
                match slot.owner.compare_exchange(0, process, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => {
                        let made = make().inspect_err(|_| slot.owner.store(0, Ordering::Release))?;
                        return Ok(slot.value.get_or_init(|| made));
                    }
                    Err(owner) if owner == process => match slot.value.get() {
                        Some(value) => return Ok(value),
                        None => std::thread::sleep(MOMENT),
                    },
                    Err(_) => break,
                }
            }
        }
        Err(Error::device(format!("More than {GENERATIONS} processes were forked from one another.")))
    }
}

/// What a lock gives within a moment; `None` where a thread holds it for longer. For caches, whose threads hold their lock
/// for no longer than an entry takes: a lock held for longer may be one that a fork left held for ever, and who asks a
/// cache can do without it.
pub(crate) fn within_a_moment<G>(attempt: impl Fn() -> TryLockResult<G>) -> Option<G> {
    for _ in 0..1000 {
        match attempt() {
            Ok(guard) => return Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
        }
    }
    None
}

/// Runs `work` in this process's pool of threads, where everything that rayon does stays; in the caller's own pool, if the
/// calling thread belongs to one.
///
/// The pool has as many threads as there are processors (or as `RAYON_NUM_THREADS` says), and fewer where the system
/// allows no more. `work` is stopped with the caller ([`Stop::current`]), which goes on to ask whether to stop while it
/// waits; what `work` shares with other threads takes the `Stop` along.
///
/// # Errors
/// A device error if not a single thread can be started.
pub(crate) fn install<R: Send>(work: impl FnOnce() -> R + Send) -> Result<R> {
    let (mut work, mut result) = (Some(work), None);
    in_pool(&mut || result = work.take().map(|work| work()))?;
    // A panic of the work has gone through the pool.
    result.ok_or_else(|| Error::device("A thread ended without its result."))
}

/// What `one` makes of each of `inputs`, in their order; the threads of [`install`] share them, and each part that one of
/// them takes has a `new` state.
///
/// # Errors
/// That of the first input, in their order, of which `one` makes an error, whichever thread is faster: the same data are told
/// the same fault every time. What comes after it is not begun any more. Those of [`install`].
pub(crate) fn install_each<I: Send, S, R: Send>(
    inputs: impl IndexedParallelIterator<Item = I>,
    new: impl Fn() -> S + Send + Sync,
    one: impl Fn(&mut S, I) -> Result<R> + Send + Sync,
) -> Result<Vec<R>> {
    let (first, failure) = (AtomicUsize::new(usize::MAX), Mutex::new(None));
    let each = |state: &mut S, (place, input)| {
        if place > first.load(Ordering::Relaxed) {
            return None;
        }
        let fail = |error| {
            let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
            if place <= first.fetch_min(place, Ordering::Relaxed) {
                *failure = Some(error);
            }
        };
        one(state, input).map_err(fail).ok()
    };
    let made: Vec<Option<R>> = install(|| inputs.enumerate().map_init(new, each).collect())?;
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(made.into_iter().flatten().collect()),
    }
}

/// The one place where threads meet, compiled once for all kinds of work.
fn in_pool(work: &mut (dyn FnMut() + Send)) -> Result<()> {
    static POOL: PerProcess<ThreadPool> = PerProcess::new();
    if rayon::current_thread_index().is_some() {
        work();
        return Ok(());
    }
    let (pool, stop) = (POOL.get(pool)?, Stop::current());
    if listens() {
        beside(pool, &mut || stop.carried(&mut *work));
    } else {
        pool.install(|| stop.carried(work));
    }
    Ok(())
}

/// Runs `work` in the pool; this thread asks meanwhile whether to stop.
fn beside(pool: &ThreadPool, work: &mut (dyn FnMut() + Send)) {
    let (working, done) = channel::<()>();
    pool.in_place_scope(move |scope| {
        // Nobody sends: the sender goes when the work is done, or has panicked.
        scope.spawn(move |_| {
            let _working = working;
            work();
        });
        while done.recv_timeout(BETWEEN) == Err(RecvTimeoutError::Timeout) {
            listen();
        }
    });
}

fn pool() -> Result<ThreadPool> {
    let (mut threads, mut last_tries) = (0, 20);
    loop {
        match ThreadPoolBuilder::new().num_threads(threads).build() {
            Ok(pool) => return Ok(pool),
            Err(error) if last_tries == 0 => return Err(no_thread(error)),
            Err(_) if threads == 1 => last_tries -= 1,
            Err(_) if threads == 0 => threads = std::thread::available_parallelism().map_or(1, |n| n.get()),
            Err(_) => threads = threads.div_ceil(2),
        }
        // Those that were started have to be gone before others can take their places.
        std::thread::sleep(MOMENT);
    }
}

/// The error of work for which no thread can be had.
pub(crate) fn no_thread(reason: impl std::fmt::Display) -> Error {
    Error::device(format!(
        "No thread could be started ({reason}). Allow this user or container more processes (ulimit -u)."
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_process_makes_its_own_value_once() {
        let (values, made) = (PerProcess::<u32>::new(), AtomicUsize::new(0));
        for process in [7, 7, 8, 9, 8, 7] {
            let make = || {
                made.fetch_add(1, Ordering::Relaxed);
                Ok(10 * process)
            };
            assert_eq!(values.get_as(process, make), Ok(&(10 * process)));
        }
        assert_eq!(made.into_inner(), 3);
    }

    #[test]
    fn threads_of_a_process_share_what_one_of_them_makes() {
        let (values, made) = (PerProcess::<usize>::new(), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let slow = || {
                        std::thread::sleep(20 * MOMENT);
                        Ok(made.fetch_add(1, Ordering::Relaxed))
                    };
                    assert_eq!(values.get_as(5, slow), Ok(&0));
                });
            }
        });
    }

    #[test]
    fn what_an_ancestor_was_making_holds_up_nobody() {
        let values = PerProcess::<u32>::new();
        values.slots[0].owner.store(4, Ordering::Relaxed);
        assert_eq!(values.get_as(5, || Ok(1)), Ok(&1));
    }

    #[test]
    fn a_cache_whose_lock_nobody_releases_is_done_without() {
        let cache = std::sync::RwLock::new(1);
        assert_eq!(within_a_moment(|| cache.try_write()).map(|held| *held), Some(1));
        let held = cache.write().unwrap();
        assert!(within_a_moment(|| cache.try_read()).is_none());
        drop(held);
        assert!(within_a_moment(|| cache.try_read()).is_some());
    }

    #[test]
    fn a_value_that_could_not_be_made_is_tried_again() {
        let values = PerProcess::<u32>::new();
        assert!(values.get_as(5, || Err(no_thread("limit"))).is_err());
        assert_eq!(values.get_as(5, || Ok(3)), Ok(&3));
        for process in 6..5 + GENERATIONS as u32 {
            assert!(values.get_as(process, || Ok(process)).is_ok());
        }
        assert!(values.get_as(1, || Ok(1)).is_err(), "and generations are counted");
    }

    #[test]
    fn work_stays_in_the_callers_pool_or_goes_to_that_of_the_process() {
        let own = ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        assert_eq!(own.install(|| install(rayon::current_num_threads)), Ok(3));
        assert!(install(rayon::current_thread_index).unwrap().is_some());
    }

    #[test]
    fn of_many_faults_the_first_is_told() {
        let all = install_each((0..50_usize).into_par_iter(), || 3, |by, place| Ok(place * *by));
        assert_eq!(all.unwrap(), (0..150).step_by(3).collect::<Vec<_>>());
        for first in [0, 7, 63] {
            // Those after the first are faster.
            let one = |(): &mut (), place: usize| {
                if place == first {
                    std::thread::sleep(2 * MOMENT);
                }
                if place >= first {
                    Err(Error::device(place.to_string()))
                } else {
                    Ok(())
                }
            };
            let own = ThreadPoolBuilder::new().num_threads(4).build().unwrap();
            for _ in 0..20 {
                let told = own.install(|| install_each((0..64).into_par_iter(), || (), one));
                assert_eq!(told.unwrap_err().to_string(), Error::device(first.to_string()).to_string());
            }
        }
    }

    #[test]
    fn whoever_waits_for_the_pool_asks_and_the_work_hears_of_it() {
        use crate::stop::asking;
        let start = std::time::Instant::now();
        let stopped = asking(
            move || start.elapsed() > 2 * BETWEEN,
            || {
                install(|| {
                    let stop = Stop::current();
                    rayon::join(|| while !stop.is_set() {}, || while !stop.is_set() {});
                    stop.check()
                })
            },
        );
        assert!(stopped.unwrap().is_err());
        let panicked = std::panic::catch_unwind(|| {
            asking(|| false, || install(|| std::panic::resume_unwind(Box::new("as it is"))))
        });
        assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"as it is"));
    }

    /// The global pool of rayon, which a parallel iterator uses by itself, has no threads after a fork.
    #[test]
    fn nothing_uses_rayons_own_pool() {
        fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    files(&path, found);
                } else if path.extension().is_some_and(|end| end == "rs") {
                    found.push(path);
                }
            }
        }
        let mut found = Vec::new();
        files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        let mut parallel = 0;
        for path in found {
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
            if code.contains("rayon::prelude") {
                parallel += 1;
                assert!(code.contains("install(") || code.contains("install_each("), "{}", path.display());
            }
        }
        assert!(parallel >= 5, "the sources are there");
    }
}
