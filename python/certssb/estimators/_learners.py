"""An ensemble under a partition: its learners, whose number the law says, and what a fit on other data keeps of them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from certssb import _core
from certssb._checks import parameter_error
from certssb.estimators._cascade_levels import Levels, Members, Received, Trusted
from certssb.features import FeatureMap
from certssb.features._maps import mapped
from certssb.laws import Cascade, Law, Partition, Subsample

__all__ = ["check_learners", "keep_unchanged", "leaves_samples_out", "one_by_one", "settings_of"]

Features = npt.NDArray[np.float32]


def check_learners(n_members: Any, law: Partition) -> int:
    """The number of members that a partition has; any other that was asked for is refused."""
    if n_members is None or (n_members != "auto" and n_members == law.n_learners):
        return law.n_learners
    expected = f"{law.n_learners}, the number of the partition's learners, or left out"
    raise parameter_error("n_members", expected, repr(n_members))


def keep_unchanged(
    ensemble: Members,
    earlier: Members,
    features: _core.Rows,
    codes: npt.NDArray[np.int64],
    trusted: Trusted,
    received: Received,
) -> int:
    """Take over the learners of an earlier fit whose samples, trusted ones included, are the same in these data; how many."""
    if isinstance(ensemble, Levels) or isinstance(earlier, Levels):
        return 0
    return ensemble.keep_unchanged(earlier, features, codes, trusted, received)


def settings_of(ensemble: Members) -> dict[str, Any]:
    """What a seed is gone on with for: everything in the record but the seed; of a partition's learners also not the data."""
    record = json.loads(ensemble.record())
    without = {"seed"}
    if isinstance(ensemble, _core.Ensemble) and isinstance(ensemble.law, Partition):
        # Its seed is no secret, and learners whose samples stay are kept.
        without |= {"n_train", "data_digest"}
    return {name: value for name, value in record.items() if name not in without}


def leaves_samples_out(law: Law) -> bool:
    """Whether certificates count samples that a member did not meet, and take all others to be the same to the last bit."""
    levels = law.levels if isinstance(law, Cascade) else [law]
    return any(isinstance(level, (Partition, Subsample)) for level in levels)


def one_by_one(feature_map: FeatureMap, features: Features) -> Features:
    """The map of each sample on its own: its last bits must not depend on samples beside it.

    Sums in libraries depend on how many rows there are, and on a row's place: one sample inserted in front changed the last
    bits of 131 of 513 others through a product of matrices.
    """
    return mapped(feature_map, features) if feature_map.rows_alone else feature_map._one_by_one(features)
