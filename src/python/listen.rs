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

/// What a call raises because of something outside its work: a signal's handler, or a function that it reports to.
#[derive(Default)]
pub(super) struct Raised(RefCell<Option<PyErr>>);

impl Raised {
    /// Runs Python code; the first exception is kept.
    pub(super) fn by(&self, code: impl FnOnce(Python<'_>) -> PyResult<()>) {
        // Nothing is borrowed meanwhile: the code may run anything.
        if let Err(error) = Python::attach(code) {
            self.0.borrow_mut().get_or_insert(error);
        }
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
    py.detach(|| run(|_| Ok(()), |_| work()))
}

/// The same with the interpreter held, for work on memory that Python code may write to.
pub(super) fn holding<T>(py: Python<'_>, work: impl FnOnce() -> Result<T>) -> PyResult<T> {
    let (outcome, raised) = run(|_| Ok(()), |_| work());
    told(py, outcome, raised)
}

/// [`listening`] with `tell` called as often as signals are looked at.
pub(super) fn telling<T: Send>(
    py: Python<'_>,
    tell: impl Fn(Python<'_>) -> PyResult<()> + Send + 'static,
    work: impl FnOnce() -> Result<T> + Send,
) -> PyResult<T> {
    let (outcome, raised) = py.detach(|| run(tell, |_| work()));
    told(py, outcome, raised)
}

/// [`listening`] for work that runs Python code by itself from time to time, through the [`Raised`] that it is given.
pub(super) fn calling<T: Send>(
    py: Python<'_>,
    work: impl FnOnce(&Raised) -> Result<T> + Send,
) -> PyResult<T> {
    let (outcome, raised) = py.detach(|| run(|_| Ok(()), work));
    told(py, outcome, raised)
}

fn run<T>(
    tell: impl Fn(Python<'_>) -> PyResult<()> + 'static,
    work: impl FnOnce(&Raised) -> Result<T>,
) -> (Result<T>, Option<PyErr>) {
    let raised = Rc::new(Raised::default());
    let ear = Rc::clone(&raised);
    let question = move || {
        ear.by(|py| py.check_signals().and_then(|()| tell(py)));
        ear.is_some()
    };
    let outcome = asking(question, || work(&raised));
    (outcome, raised.0.take())
}

/// Ctrl-C is told as a cancellation, which may say what was kept; whatever else was raised as it is.
pub(super) fn told<T>(py: Python<'_>, outcome: Result<T>, raised: Option<PyErr>) -> PyResult<T> {
    match (outcome, raised) {
        (outcome, None) => Ok(outcome?),
        (Err(error), Some(raised)) if *error.kind() == ErrorKind::Cancelled => {
            Err(interrupted(py, raised, || error))
        }
        (Err(_), Some(raised)) => Err(raised),
        (Ok(_), Some(raised)) => Err(interrupted(py, raised, || {
            Error::cancelled("Stopped on request, when the work of this call was done.")
        })),
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
