//! Stopping long work from outside, however deep it is: a flag that belongs to the thread that works.
//!
//! Whoever may want to stop it runs the work under [`until`], with a flag that another thread sets, or under [`asking`],
//! with a question that the working thread asks some twenty times a second, whether it works or waits for others. The work
//! takes [`Stop::current`] once, on the thread that called it, takes it along to the threads that it shares the work with,
//! and looks at it at least every tenth of a second. Nothing has to be passed through functions that do not wait.
//!
//! Work that stops returns an error ([`Stop::check`]). Searches for a bound, which return numbers, stop at the loosest one
//! instead, and whoever called them returns the error.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// Time between two questions.
pub(crate) const BETWEEN: Duration = Duration::from_millis(50);

thread_local! {
    static CURRENT: RefCell<Stop> = const { RefCell::new(Stop(None)) };
    static EAR: RefCell<Option<Rc<Ear>>> = const { RefCell::new(None) };
}

/// What a thread asks while it works.
struct Ear {
    flag: Arc<AtomicBool>,
    asked: Cell<Instant>,
    /// While the question is being asked, which may itself come back here.
    asks: Cell<bool>,
    question: Box<dyn Fn() -> bool>,
}

impl Ear {
    /// Asks if the last time is a while ago.
    fn listen(&self) {
        let asks = self.asks.get() || self.flag.load(Ordering::Relaxed);
        if !asks && self.asked.get().elapsed() >= BETWEEN {
            self.asks.set(true);
            if (self.question)() {
                self.flag.store(true, Ordering::Relaxed);
            }
            self.asked.set(Instant::now());
            self.asks.set(false);
        }
    }
}

/// Runs `work`, which ends with [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) soon after `flag` is set from another
/// thread.
///
/// # Example
/// ```
/// use std::sync::atomic::AtomicBool;
/// use std::sync::Arc;
/// use certssb::{until, Ballots, Confidence, ErrorKind};
///
/// let votes = Ballots::from_votes(ndarray::Array2::ones((1000, 5)), 2)?;
/// let confidence = Confidence::at(0.001).bound("betting").for_votes(1000, 2)?;
/// let stopped = until(&Arc::new(AtomicBool::new(true)), || confidence.intervals(&votes));
/// assert!(stopped.is_err_and(|error| *error.kind() == ErrorKind::Cancelled));
/// assert!(confidence.intervals(&votes).is_ok());
/// # Ok::<(), certssb::Error>(())
/// ```
pub fn until<R>(flag: &Arc<AtomicBool>, work: impl FnOnce() -> R) -> R {
    Stop(Some(Arc::clone(flag))).carried(work)
}

/// Runs `work`, which ends with [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) soon after `question` says true. It is
/// asked some twenty times a second on the calling thread, and not again once it has said so.
///
/// # Example
/// ```
/// use std::time::{Duration, Instant};
/// use certssb::{asking, CertifiedKnn, ErrorKind};
///
/// let (rows, classes) = (ndarray::Array2::from_shape_fn((2000, 20), |(i, j)| (i * j % 17) as f32), vec![0; 2000]);
/// let knn = CertifiedKnn::new(0.5)?.fit(rows.view(), &classes, 2)?;
/// let start = Instant::now();
/// let too_long = move || start.elapsed() > Duration::from_millis(100);
/// let found = asking(too_long, || loop {
///     if let Err(error) = knn.certify(rows.view()) {
///         break error;
///     }
/// });
/// assert_eq!(*found.kind(), ErrorKind::Cancelled);
/// # Ok::<(), certssb::Error>(())
/// ```
pub fn asking<R>(question: impl Fn() -> bool + 'static, work: impl FnOnce() -> R) -> R {
    asking_for(Arc::new(AtomicBool::new(false)), question, work)
}

/// The same for work that looks at `flag` itself, and that [`listen`]s where it does.
pub(crate) fn asking_for<R>(
    flag: Arc<AtomicBool>,
    question: impl Fn() -> bool + 'static,
    work: impl FnOnce() -> R,
) -> R {
    let _restore = Restore::asking(flag, Box::new(question));
    work()
}

/// Puts back what was there before, also after a panic.
struct Restore(Stop, Option<Rc<Ear>>);

// Not a part of every call: there are a hundred.
impl Restore {
    #[inline(never)]
    fn after(stop: Stop, ear: Option<Rc<Ear>>) -> Self {
        Self(CURRENT.with(|current| current.replace(stop)), EAR.with(|current| current.replace(ear)))
    }

    #[inline(never)]
    fn asking(flag: Arc<AtomicBool>, question: Box<dyn Fn() -> bool>) -> Self {
        let (asked, asks) = (Cell::new(Instant::now()), Cell::new(false));
        let ear = Ear { flag: Arc::clone(&flag), asked, asks, question };
        Self::after(Stop(Some(flag)), Some(Rc::new(ear)))
    }
}

impl Drop for Restore {
    #[inline(never)]
    fn drop(&mut self) {
        CURRENT.with(|current| std::mem::swap(&mut *current.borrow_mut(), &mut self.0));
        EAR.with(|ear| std::mem::swap(&mut *ear.borrow_mut(), &mut self.1));
    }
}

/// Whether the work of a thread is to stop.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Option<Arc<AtomicBool>>);

impl Stop {
    /// That of the calling thread.
    pub(crate) fn current() -> Self {
        CURRENT.with(|current| current.borrow().clone())
    }

    /// Makes this the one of the calling thread, which helps another one, while it does `work`.
    pub(crate) fn carried<R>(&self, work: impl FnOnce() -> R) -> R {
        let _restore = Restore::after(self.clone(), None);
        work()
    }

    /// Whether to stop; on the thread that asks, asked if the last time is a while ago.
    pub(crate) fn is_set(&self) -> bool {
        let Some(flag) = &self.0 else { return false };
        listen();
        flag.load(Ordering::Relaxed)
    }

    /// # Errors
    /// `Cancelled` where the work is to stop.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_set() {
            return Err(Error::cancelled("Stopped on request."));
        }
        Ok(())
    }
}

/// Whether the calling thread has a question to ask while it waits for others.
pub(crate) fn listens() -> bool {
    EAR.with(|ear| ear.borrow().is_some())
}

/// Asks the question of the calling thread, if there is one and if the last time is a while ago.
pub(crate) fn listen() {
    // Released before the question, which may run anything.
    let ear = EAR.with(|ear| ear.borrow().clone());
    if let Some(ear) = ear {
        ear.listen();
    }
}

/// A loop that looks from time to time, where its steps are so short that every look would cost.
pub(crate) struct Pace {
    stop: Stop,
    done: usize,
}

impl Pace {
    /// Units of work between two looks: each takes a nanosecond or a few.
    const UNITS: usize = 1 << 20;

    pub(crate) fn new() -> Self {
        Self { stop: Stop::current(), done: 0 }
    }

    /// Tells that so many units are done; whether to stop.
    pub(crate) fn is_over_after(&mut self, units: usize) -> bool {
        self.done = self.done.saturating_add(units);
        if self.done < Self::UNITS {
            return false;
        }
        self.done = 0;
        self.stop.is_set()
    }

    /// The same as an error.
    ///
    /// # Errors
    /// `Cancelled` where the work is to stop.
    pub(crate) fn step(&mut self, units: usize) -> Result<()> {
        if self.is_over_after(units) {
            return self.stop.check();
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_is_the_threads_own_and_ends_with_the_work() {
        let (outer, inner) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(true)));
        until(&outer, || {
            let before = Stop::current();
            until(&inner, || assert!(Stop::current().check().is_err()));
            let panicked = std::panic::catch_unwind(|| until(&inner, || assert!(!Stop::current().is_set())));
            assert!(panicked.is_err() && !Stop::current().is_set());
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    assert!(Stop::current().0.is_none());
                    before.carried(|| assert!(Stop::current().0.is_some() && before.check().is_ok()));
                });
            });
            outer.store(true, Ordering::Relaxed);
            assert!(before.is_set());
        });
        assert!(Stop::current().check().is_ok());
    }

    #[test]
    fn the_question_is_asked_from_time_to_time_on_the_calling_thread_and_not_after_a_yes() {
        let asked = Rc::new(Cell::new(0));
        let counted = Rc::clone(&asked);
        // Before anybody measures from when to ask.
        let start = Instant::now();
        asking(
            move || {
                counted.set(counted.get() + 1);
                counted.get() == 3
            },
            || {
                let stop = Stop::current();
                while !stop.is_set() {}
                assert!((3 * BETWEEN..40 * BETWEEN).contains(&start.elapsed()), "{:?}", start.elapsed());
                std::thread::sleep(2 * BETWEEN);
                assert!(stop.check().is_err());
                std::thread::scope(|scope| scope.spawn(|| assert!(stop.is_set() && !listens())).join())
                    .unwrap();
            },
        );
        assert_eq!(asked.get(), 3);
    }

    #[test]
    fn a_question_that_asks_in_turn_ends_and_one_inside_is_its_own() {
        let outer = Rc::new(Cell::new(0));
        let counted = Rc::clone(&outer);
        let question = move || {
            counted.set(counted.get() + 1);
            std::thread::sleep(BETWEEN);
            listen();
            asking(
                || true,
                || {
                    std::thread::sleep(BETWEEN);
                    assert!(Stop::current().is_set());
                },
            );
            false
        };
        asking(question, || {
            std::thread::sleep(BETWEEN);
            assert!(!Stop::current().is_set());
        });
        assert_eq!(outer.get(), 1);
    }

    #[test]
    fn short_steps_look_seldom() {
        let flag = Arc::new(AtomicBool::new(true));
        until(&flag, || {
            let mut pace = Pace::new();
            let steps = (0..).take_while(|_| pace.step(Pace::UNITS / 8).is_ok()).count();
            assert_eq!(steps, 7);
        });
        let mut alone = Pace::new();
        assert!(!alone.is_over_after(usize::MAX));
    }
}
