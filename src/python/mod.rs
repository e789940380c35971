//! The Python module `certssb._core`: registrations only. Converts and delegates; nothing is computed here.

mod augment;
mod bounds;
mod certificates;
mod certifying;
mod elsewhere;
mod ensemble;
mod extension;
mod features;
mod files;
mod fork;
mod gate;
mod knn;
mod law;
mod learner;
mod ledger;
mod listen;
mod metrics;
mod model;
mod number;
mod partition;
mod rows;
mod threat;
mod training;

use pyo3::prelude::*;

#[pymodule]
#[pyo3(name = "_core")]
fn core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    augment::register(module)?;
    law::register(module)?;
    partition::register(module)?;
    ledger::register(module)?;
    knn::register(module)?;
    metrics::register(module)?;
    certificates::register(module)?;
    certifying::register(module)?;
    learner::register(module)?;
    ensemble::register(module)?;
    rows::register(module)?;
    extension::register();
    bounds::register(module)?;
    features::register(module)?;
    fork::register(module)?;
    files::register(module)
}
