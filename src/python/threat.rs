//! Threats as Python asks them, `Threat._asked()`: numbers and names in one tuple, checked there.

use super::certificates::count;
use crate::change::{Change, Counted, Kind, Threat};
use crate::error::{Error, Result};

/// Number, norm, labels, kind of edits, numbers of (modified, inserted, deleted) samples, how they are counted.
pub(super) type Asked = (i64, f64, bool, String, Option<(i64, i64, i64)>, String);

/// The threat.
///
/// # Errors
/// `Parameter` for a negative number or an unknown name.
pub(super) fn threat((n_poisoned, trigger_norm, labels, kind, numbers, counted): Asked) -> Result<Threat> {
    let kind = match (kind.as_str(), numbers) {
        (_, Some((modified, inserted, deleted))) => Kind::Mixed {
            modified: count("edits", modified)?,
            inserted: count("edits", inserted)?,
            deleted: count("edits", deleted)?,
        },
        ("modified", _) => Kind::Modified,
        ("inserted", _) => Kind::Inserted,
        ("deleted", _) => Kind::Deleted,
        ("any", _) => Kind::Any,
        (other, _) => {
            return Err(Error::unknown("edits", &["modified", "inserted", "deleted", "any"], other));
        }
    };
    let counted = match counted.as_str() {
        "edits" => Counted::Edits,
        "symmetric difference" => Counted::SymmetricDifference,
        other => return Err(Error::unknown("counted", &["edits", "symmetric difference"], other)),
    };
    let change = Change { n_poisoned: count("n_poisoned", n_poisoned)?, trigger_norm, labels };
    Ok(Threat { change, kind, counted })
}
