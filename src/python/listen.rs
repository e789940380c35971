//! Ctrl-C, heard wherever long work is: the one way in which bindings run it.
//!
//! The work runs on the calling thread, with the interpreter free. Some twenty times a second, at the places where it looks
//! whether to stop ([`crate::stop`]) and while it waits for other threads, the calling thread takes the interpreter and runs
//! the handlers of signals that came meanwhile; what they raise stops the work.

use std::cell::RefCell;
use std::rc::Rc;

use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;

use crate::error::{Error, ErrorKind, Result};
use crate::stop::asking;

/// What is called as often as signals are looked at.
type Tell = dyn Fn(Python<'_>) -> PyResult<()>;

/// What a call raises because of something outside its work: a signal's handler, or a function that it reports to.
#[derive(Default)]
pub(super) struct Raised(RefCell<Option<PyErr>>);

impl Raised {
    /// Runs Python code; the first exception is kept.
    pub(super) fn by(&self, code: impl FnOnce(Python<'_>) -> PyResult<()>) {
        // Nothing is borrowed meanwhile: the code may run anything.
        if let Err(error) = Python::attach(code) {
            self.keep(error);
        }
    }

    fn keep(&self, error: PyErr) {
        self.0.borrow_mut().get_or_insert(error);
    }

    /// What a thread asks while it works: hears signals, calls `tell`, and says whether there was an exception.
    fn question(self: Rc<Self>, tell: Box<Tell>) -> Box<dyn Fn() -> bool> {
        Box::new(move || {
            self.by(|py| py.check_signals().and_then(|()| tell(py)));
            self.is_some()
        })
    }

    /// Whether there was an exception, which is to stop the work.
    pub(super) fn is_some(&self) -> bool {
        self.0.borrow().is_some()
    }
}

/// Runs `work` without the interpreter and hears signals.
pub(super) fn listening<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T> + Send) -> PyResult<T> {
    let (outcome, raised) = heard(py, work);
    told(py, outcome, raised)
}

/// The same; tells what became of the work and what was raised apart, for callers that keep a part of it.
pub(super) fn heard<T: Send>(
    py: Python<'_>,
    work: impl FnOnce() -> Result<T> + Send,
) -> (Result<T>, Option<PyErr>) {
    py.detach(|| run(nothing(), |_| work()))
}

/// The same with the interpreter held, for work on memory that Python code may write to.
pub(super) fn holding<T>(py: Python<'_>, work: impl FnOnce() -> Result<T>) -> PyResult<T> {
    let (outcome, raised) = run(nothing(), |_| work());
    told(py, outcome, raised)
}

/// [`listening`] with `tell` called as often as signals are looked at.
pub(super) fn telling<T: Send>(
    py: Python<'_>,
    tell: impl Fn(Python<'_>) -> PyResult<()> + Send + 'static,
    work: impl FnOnce() -> Result<T> + Send,
) -> PyResult<T> {
    let (outcome, raised) = py.detach(|| run(Box::new(tell), |_| work()));
    told(py, outcome, raised)
}

/// [`listening`] for work that runs Python code by itself from time to time, through the [`Raised`] that it is given.
pub(super) fn calling<T: Send>(
    py: Python<'_>,
    work: impl FnOnce(&Raised) -> Result<T> + Send,
) -> PyResult<T> {
    let (outcome, raised) = py.detach(|| run(nothing(), work));
    told(py, outcome, raised)
}

// There are a hundred kinds of work: what does not depend on them is compiled once.
fn run<T>(tell: Box<Tell>, work: impl FnOnce(&Raised) -> Result<T>) -> (Result<T>, Option<PyErr>) {
    let raised = Rc::new(Raised::default());
    let outcome = asking(Rc::clone(&raised).question(tell), || work(&raised));
    (outcome, raised.0.take())
}

fn nothing() -> Box<Tell> {
    Box::new(|_| Ok(()))
}

/// Ctrl-C is told as a cancellation, which may say what was kept; whatever else was raised as it is.
pub(super) fn told<T>(py: Python<'_>, outcome: Result<T>, raised: Option<PyErr>) -> PyResult<T> {
    match raised {
        None => Ok(outcome?),
        Some(raised) => Err(instead(py, outcome.err(), raised)),
    }
}

/// What a call raises that was to stop with `raised` and ended with this error, or with none.
fn instead(py: Python<'_>, error: Option<Error>, raised: PyErr) -> PyErr {
    match error {
        Some(error) if *error.kind() == ErrorKind::Cancelled => interrupted(py, raised, || error),
        Some(_) => raised,
        None => interrupted(py, raised, || {
            Error::cancelled("Stopped on request, when the work of this call was done.")
        }),
    }
}

/// Ctrl-C as the cancellation of work of which a part is kept.
pub(super) fn interrupted(py: Python<'_>, raised: PyErr, kept: impl FnOnce() -> Error) -> PyErr {
    if raised.is_instance_of::<PyKeyboardInterrupt>(py) {
        kept().into()
    } else {
        raised
    }
}
