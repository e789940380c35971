"""What the parts of the certified ensemble share: its parameters, and the members that fit left."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from certssb._checks import check_path, frozen
from certssb.data import as_features
from certssb.data._rows import Rows, blocks, rows_of
from certssb.estimators._cascade_levels import Members, Received, Trusted
from certssb.estimators._learners import one_by_one
from certssb.estimators._seen_shape import check_shape
from certssb.estimators._spreading import said
from certssb.features import FeatureMap
from certssb.features._maps import mapped
from certssb.laws import Cascade, Law
from certssb.learners import _devices
from certssb.watch.progress import Report

__all__ = ["Features", "Received", "Trusted", "WithMembers", "n_levels", "rows_through", "through"]

Features: TypeAlias = npt.NDArray[np.float32]


class WithMembers:
    """The state of a certified ensemble, and how its members are asked.

    Attributes
    ----------
    model, law, ...
        The constructor's parameters, as they were given.
    classes_, n_members_, ...
        What fit left, for everybody to see.
    _ensemble : Ensemble or Levels
        The members.
    _unfinished : Ensemble, Levels or None
        Members of a fit that did not come to its end.
    _map, _precision, _kept_in
        How members are asked, and where it is remembered that they were, as of that fit.
    _votes : dict of ndarray
        The last answer, by the digest of what was asked.
    """

    model: Any
    law: Law | None
    n_members: int | Literal["auto"] | None
    epochs: int
    batch_size: int
    learning_rate: float
    device: Any
    seed: int | None
    n_jobs: int | None
    executor: Any
    checkpoint: str | os.PathLike[str] | None
    progress: bool | Report
    alpha: float
    features: FeatureMap | None
    precision: Literal["f32", "tf32"]
    stack: int | None
    optimizer: Callable[[list[Any]], Any] | None
    loss: Callable[[Any, Any], Any] | None
    members: Literal["memory", "disk", "votes"]
    form: Literal["skops", "joblib"] | None
    augment: Callable[..., Any] | None
    copies: int | None
    penalty: float | None

    classes_: npt.NDArray[Any]
    n_features_in_: int
    feature_names_in_: npt.NDArray[Any]
    n_members_: int
    n_failed_: int
    n_idle_: int
    n_kept_: int
    n_trusted_: int
    seed_: int
    decided_: float
    execution_: str

    _ensemble: Members
    _unfinished: Members | None
    _map: FeatureMap | None
    _precision: str
    _kept_in: str | None
    _votes: dict[str, npt.NDArray[np.uint16]]
    _shape: tuple[int, ...]
    _seed_given: bool
    _classes_given: bool

    def _checkpoint(self) -> str | None:
        return None if self.checkpoint is None else str(check_path("checkpoint", self.checkpoint))

    def _look(self) -> Members:
        """The members, whose answers are about to be seen; remembered before they are, in the checkpoint as well."""
        ensemble = self._fitted()
        ensemble.see(self._kept_in)
        return ensemble

    def _fitted(self) -> Members:
        check_is_fitted(self, "n_members_")
        return self._ensemble

    def _test_features(self, X: Any, feature_map: FeatureMap | None) -> Features:
        # A copy of its own, which the core checks again: what is digested, voted on, certified and put into a ledger is
        # then one and the same, whatever other threads or callbacks write into the caller's array meanwhile.
        features = as_features(X).copy()
        check_shape(self, X, features, reset=False)
        return through(feature_map, features)

    def _asked(self, X: Any) -> Features:
        """Samples to ask members about, read once and mapped as the training samples were."""
        self._fitted()
        return self._test_features(X, self._map)

    def _predicted(self, features: Features, report: Report | None = None) -> npt.NDArray[Any]:
        winners, _ = self._fitted().count(self._votes_on(features, report))
        labels: npt.NDArray[Any] = self.classes_[winners]
        return labels

    def _votes_on(self, features: Features, report: Report | None = None) -> npt.NDArray[np.uint16]:
        ensemble = self._look()
        key = _digest(features)
        votes = self._votes.get(key)
        if votes is None:
            with _devices.computing(self._precision):
                votes = frozen(said(self, ensemble, features, "votes", report))
            # The last answer only; in place, since asking must not change the estimator's attributes.
            self._votes.clear()
            self._votes[key] = votes
        return votes


def _digest(features: Features) -> str:
    digest = hashlib.sha256(repr(features.shape).encode())
    digest.update(features.data)
    return digest.hexdigest()


def through(feature_map: FeatureMap | None, features: Features) -> Features:
    return features if feature_map is None else mapped(feature_map, features)


def rows_through(feature_map: FeatureMap | None, rows: Rows, *, alone: bool) -> Rows:
    """Training samples that passed a map; one at a time if so, of which there are never more than a block as floats."""
    if feature_map is None:
        return rows
    if not alone:
        return rows_of(mapped(feature_map, rows.whole()))
    out: Features | None = None
    done = 0
    for block in blocks(rows):
        new = one_by_one(feature_map, block)
        out = np.empty((len(rows), *new.shape[1:]), np.float32) if out is None else out
        out[done : done + len(new)] = new
        done += len(new)
    assert out is not None
    return rows_of(out)


def noises_test_inputs(law: Any) -> bool:
    """Whether a law adds noise to test samples, each by its place among those that are asked about together."""
    parts = [law, *law.get_params(deep=True).values()]
    return any(getattr(part, "test_input", False) is True for part in parts)


def n_levels(law: Any) -> int:
    return len(law.levels) if isinstance(law, Cascade) else 1
