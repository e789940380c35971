//! Laws' parameters by name, as scikit-learn's searches read and set them: `law__size`, `law__inner__sigma`.
//!
//! A law is set by building another one with its own constructor, which checks every value; what it was stays if one is
//! refused. Parameters of a part of a law reach a copy of the part.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};

use super::repr::guarantee_name;
use super::{wrap, PyLaw};
use crate::error::{Error, Result};
use crate::law::{Cascade, Law, Product, SampleSpecific, SigmaSearch};
use crate::quantity::{NoiseScale, Quantity};

/// What a law's constructor takes, by name; None where the value is the one that the others imply.
pub(super) fn parameters<'py>(py: Python<'py>, law: &Law) -> PyResult<Bound<'py, PyDict>> {
    let all = PyDict::new(py);
    match law {
        Law::Gaussian(law) => all.set_item("sigma", law.sigma())?,
        Law::Uniform(law) => all.set_item("half_width", law.half_width())?,
        Law::LabelNoise(law) => all.set_item("q", law.q())?,
        Law::Discrete(law) => {
            all.set_item("keep", law.keep())?;
            all.set_item("alphabet", law.alphabet())?;
            all.set_item("labels", law.labels())?;
            all.set_item("test_input", law.test_input())?;
        }
        Law::Subsample(law) => {
            all.set_item("inner", law.inner().map(|inner| wrap(py, inner.clone())).transpose()?)?;
            all.set_item("size", law.size())?;
            all.set_item("rate", law.rate())?;
        }
        Law::Product(law) => {
            for part in law.parts() {
                all.set_item(part_name(part), wrap(py, part.clone())?)?;
            }
        }
        Law::SampleSpecific(law) => specific(&all, law)?,
        Law::Cascade(law) => cascade(&all, law)?,
        Law::Partition(law) => {
            all.set_item("n_parts", law.n_parts())?;
            all.set_item("overlap", law.spread().degree())?;
            all.set_item("assign", law.assign().name())?;
            all.set_item("shifts", law.own_shifts().map(<[usize]>::to_vec))?;
        }
    }
    Ok(all)
}

/// `parameters`, and those of the laws among them as `name__theirs`.
pub(super) fn deep_parameters<'py>(py: Python<'py>, law: &Law) -> PyResult<Bound<'py, PyDict>> {
    let all = parameters(py, law)?;
    for (name, value) in parameters(py, law)? {
        if let Ok(part) = value.cast::<PyLaw>() {
            for (below, value) in deep_parameters(py, &part.get().law())? {
                all.set_item(format!("{name}__{below}"), value)?;
            }
        }
    }
    Ok(all)
}

/// The law with some of its parameters changed.
///
/// # Errors
/// [`ErrorKind::Parameter`](crate::ErrorKind::Parameter) for a name that the law does not have; what its constructor
/// says of a value.
pub(super) fn changed(this: &Bound<'_, PyLaw>, values: &Bound<'_, PyDict>) -> PyResult<Law> {
    let py = this.py();
    let law = this.get().law();
    let all = parameters(py, &law)?;
    let below = PyDict::new(py);
    for (name, value) in values {
        let name = name.cast_into::<PyString>()?;
        let name = name.to_str()?;
        let (own, rest) = name.split_once("__").map_or((name, None), |(own, rest)| (own, Some(rest)));
        if !all.contains(own)? {
            return Err(unknown(this, &all, name)?.into());
        }
        let Some(rest) = rest else {
            all.set_item(own, value)?;
            continue;
        };
        match below.get_item(own)? {
            Some(theirs) => theirs.set_item(rest, value)?,
            None => {
                let theirs = PyDict::new(py);
                theirs.set_item(rest, value)?;
                below.set_item(own, theirs)?;
            }
        }
    }
    for (name, theirs) in below {
        let (part, theirs) = (all.get_item(&name)?, theirs.cast_into::<PyDict>()?);
        let Some(Ok(part)) = part.map(|part| part.cast_into::<PyLaw>()) else {
            let expected = format!("a law, for {name}__{} to be set", names(&theirs)?);
            return Err(Error::parameter(&name.to_string(), expected, "something else").into());
        };
        let part = changed(&part, &theirs)?;
        all.set_item(name, wrap(py, part)?)?;
    }
    if matches!(law, Law::Product(_)) {
        return product(&all);
    }
    Ok(this.get_type().call((), Some(&all))?.cast_into::<PyLaw>()?.get().law())
}

/// The parts of a product are known by their class, in small letters, as steps of `make_pipeline` are.
fn part_name(law: &Law) -> &'static str {
    match law {
        Law::Gaussian(_) => "gaussian",
        Law::Uniform(_) => "uniform",
        Law::Discrete(_) => "discrete",
        Law::LabelNoise(_) => "labelnoise",
        Law::Subsample(_) => "subsample",
        Law::Product(_) => "product",
        Law::SampleSpecific(_) => "samplespecific",
        Law::Cascade(_) => "cascade",
        Law::Partition(_) => "partition",
    }
}

fn product(parts: &Bound<'_, PyDict>) -> PyResult<Law> {
    let mut whole: Option<Law> = None;
    for (name, part) in parts {
        let Ok(part) = part.cast::<PyLaw>() else {
            let got = part.repr()?.to_string();
            return Err(Error::parameter(&name.to_string(), "a law", got).into());
        };
        let part = part.get().law();
        whole = Some(match whole {
            None => part,
            Some(before) => Law::Product(Product::new(before, part)?),
        });
    }
    whole.ok_or_else(|| Error::parameter("&", "a product of laws", "none").into())
}

fn unknown(this: &Bound<'_, PyLaw>, all: &Bound<'_, PyDict>, name: &str) -> PyResult<Error> {
    let class = this.get_type().name()?;
    Ok(Error::parameter(
        name,
        format!("a parameter of {class}, which has {}", names(all)?),
        "a name that it does not have",
    ))
}

fn names(all: &Bound<'_, PyDict>) -> PyResult<String> {
    let names: Vec<String> = all.keys().iter().map(|name| name.to_string()).collect();
    Ok(names.join(", "))
}

fn specific(all: &Bound<'_, PyDict>, law: &SampleSpecific) -> PyResult<()> {
    let (own, sigma) = (law.search(), law.base().sigma());
    all.set_item("sigma", sigma)?;
    all.set_item("guarantee", guarantee_name(law.guarantee()))?;
    let usual = SigmaSearch::around(NoiseScale::wrap(sigma), law.guarantee());
    // The usual start is moved between given bounds.
    let start = usual.start.get().min(own.sigma_max.get()).max(own.sigma_min.get());
    for (name, own, usual) in [
        ("start", own.start.get(), start),
        ("sigma_min", own.sigma_min.get(), usual.sigma_min.get()),
        ("sigma_max", own.sigma_max.get(), usual.sigma_max.get()),
        ("learning_rate", own.learning_rate.get(), usual.learning_rate.get()),
    ] {
        all.set_item(name, (own != usual).then_some(own))?;
    }
    for (name, own, usual) in [("steps", own.steps, usual.steps), ("samples", own.samples, usual.samples)] {
        all.set_item(name, (own != usual).then_some(own))?;
    }
    Ok(())
}

fn cascade(all: &Bound<'_, PyDict>, law: &Cascade) -> PyResult<()> {
    let py = all.py();
    let levels: PyResult<Vec<_>> = law.levels().iter().map(|level| wrap(py, level.clone())).collect();
    all.set_item("levels", PyList::new(py, levels?)?)?;
    let usual: Result<Cascade> = Cascade::new(law.levels().to_vec(), None);
    let implied = usual.is_ok_and(|usual| usual == *law);
    let own: Vec<f64> = (0..law.levels().len()).filter_map(|level| law.threshold(level)).collect();
    all.set_item("thresholds", (!implied).then_some(own))
}
