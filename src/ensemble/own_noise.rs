//! Training under the sound form of sample-specific noise: what a member adds to its noised set by its own choice.

use std::borrow::Cow;

use crate::backend::{Fit, Flag, NoisySet, Search, Session};
use crate::error::Result;
use crate::law::{Guarantee, Law, NoiseLaw, SampleSpecific};
use crate::member::Member;
use crate::noise::add_normals_to_noised;
use crate::seed::Role;

/// The law, if members add noise of their own choice to what they are shown.
pub(super) fn specific(law: &Law) -> Option<&SampleSpecific> {
    law.sample_specific().filter(|law| law.guarantee() == Guarantee::Sound)
}

/// Trains members on their noised sets; twice where they add noise of their own choice to these, as large as the first
/// training bears.
///
/// # Errors
/// As [`Session::fit`].
pub(super) fn fit(
    session: &mut dyn Session,
    job: Fit<'_>,
    law: &Law,
    mut set: NoisySet,
    stop: &Flag,
) -> Result<Vec<Member>> {
    let Some(law) = specific(law) else { return session.fit(job, Cow::Owned(set), stop) };
    // From here on everything looks at the noised set alone.
    let scouts = session.fit(job, Cow::Borrowed(&set), stop)?;
    if scouts.iter().all(Member::is_failed) {
        return Ok(scouts);
    }
    let search = Search { search: law.search(), seed: job.seed };
    for (place, scout) in scouts.iter().enumerate().filter(|(_, scout)| !scout.is_failed()) {
        let (rows, labels): (Vec<_>, Vec<_>) = set.samples(place).unzip();
        let sigmas = session.panel(&[scout])?.magnitudes(0, &rows, Some(&labels), search, stop)?;
        let streams = job.seed.member(Role::ExtraNoise, scout.number);
        for ((number, row), sigma) in (0..).zip(set.rows_mut(place)).zip(sigmas) {
            add_normals_to_noised(&streams, number, sigma, row);
        }
    }
    let trained = session.fit(job, Cow::Owned(set), stop)?;
    let pairs = scouts.into_iter().zip(trained);
    Ok(pairs.map(|(scout, member)| if scout.is_failed() { scout } else { member }).collect())
}
