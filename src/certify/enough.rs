//! Whether settings and a number of members can certify anything at all.

use super::confidence::{members_needed_at, Confidence};
use crate::error::{Error, Result};
use crate::quantity::{written, Quantity, SMALLEST_LEVEL};
use crate::stop::Stop;

/// Refuses a level of a single bound for which bounds are not proved, because alpha was shared among too many.
pub(crate) fn check_level(confidence: &Confidence, share: f64) -> Result<()> {
    if share >= SMALLEST_LEVEL {
        return Ok(());
    }
    let expected = format_args!(
        "large enough that each of the bounds that hold together has a share of at least {}, the smallest level \
         for which bounds are proved",
        written(SMALLEST_LEVEL)
    );
    let (alpha, share) = (written(confidence.alpha.get()), written(share));
    Err(Error::parameter("alpha", expected, format_args!("{alpha}, which leaves {share} for each,")))
}

/// Refuses a number of members with which even unanimous votes, at each of so many levels, certify nothing.
pub(crate) fn check_enough(
    confidence: &Confidence,
    n_levels: usize,
    n_members: usize,
    n_classes: usize,
    n_samples: usize,
) -> Result<()> {
    let share = confidence.share_at_levels(n_levels, n_classes, n_samples);
    check_level(confidence, share)?;
    if confidence.enough(share, n_members) {
        return Ok(());
    }
    let needed = members_needed_at(confidence, share);
    Stop::current().check()?;
    Err(Error::parameter(
        "n_members",
        format_args!(
            "at least {needed}: with alpha={} and {n_classes} classes, fewer members certify nothing even if all \
             of them agree",
            written(confidence.alpha.get())
        ),
        n_members,
    ))
}
