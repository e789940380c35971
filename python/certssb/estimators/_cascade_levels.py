"""The ensembles of a cascade's levels, behaving as one."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from certssb import _core
from certssb._core import Cascade, Rows
from certssb.estimators._execution import Execution
from certssb.watch.progress import Report

__all__ = ["Levels", "Members", "Received", "Trusted", "place"]

Features: TypeAlias = npt.NDArray[np.float32]
Trusted: TypeAlias = tuple[Rows, npt.NDArray[np.int64]] | None

Received: TypeAlias = tuple[Rows, Rows | None] | None
"""Samples as they came, and trusted ones, where they are changed before a map."""
"""Features and class numbers of trusted samples, if there are any."""


class Levels:
    """One ensemble per level of a cascade, all from the same root seed, with the interface of a single one.

    Votes have the shape (n_levels, n_members, n_samples), scores (n_levels, n_members, n_samples, n_classes).
    """

    def __init__(self, law: Cascade, ensembles: Sequence[_core.Ensemble]) -> None:
        self.law = law
        self._ensembles = list(ensembles)

    @property
    def model(self) -> Any:
        """The blueprint of the user's module, if the members are such."""
        return self._ensembles[0].model

    @property
    def models(self) -> list[Any]:
        """The blueprints of all levels."""
        return [ensemble.model for ensemble in self._ensembles]

    @property
    def execution(self) -> Execution | None:
        """How the last level that was trained was trained."""
        known = [ensemble.execution for ensemble in self._ensembles]
        return next((execution for execution in reversed(known) if execution is not None), None)

    def values(self, member: int, level: int = 0) -> npt.NDArray[np.float32] | None:
        """All values of one member of a level."""
        return self._ensembles[level].values(member)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write every level's members into a folder of their own."""
        for g, ensemble in enumerate(self._ensembles):
            ensemble.save(place(folder, g))

    def begin(self, checkpoint: str) -> None:
        """Begin a checkpoint directory, or find it begun for the same members."""
        for ensemble, folder in self._places(checkpoint):
            ensemble.begin(str(folder))

    def plan(self, n_members: int, checkpoint: str | None = None) -> bool:
        """Say that so many members are going to be asked for; whether that makes this a grown ensemble."""
        grew = [ensemble.plan(n_members, folder) for ensemble, folder in self._places(checkpoint)]
        if self.grown:
            # The number is one for all levels: what decided on it at one of them decided on it everywhere.
            self.grow(checkpoint)
        return any(grew)

    def see(self, checkpoint: str | None = None) -> None:
        """Say that answers of all members are about to be seen."""
        for ensemble, folder in self._places(checkpoint):
            ensemble.see(folder)

    def grow(self, checkpoint: str | None = None) -> None:
        """Say that answers decide on the number of members."""
        for ensemble, folder in self._places(checkpoint):
            ensemble.grow(folder)

    @property
    def grown(self) -> bool:
        """Whether a number of members was chosen after a look at answers, at any level."""
        return any(ensemble.grown for ensemble in self._ensembles)

    @property
    def levels(self) -> Sequence[_core.Ensemble]:
        """The ensemble of each level."""
        return self._ensembles

    def _places(self, checkpoint: str | None) -> list[tuple[_core.Ensemble, str | None]]:
        """Each level's ensemble with its folder in a checkpoint."""
        return [
            (ensemble, None if checkpoint is None else place(checkpoint, g))
            for g, ensemble in enumerate(self._ensembles)
        ]

    def each(
        self, checkpoint: str | None = None, report: Report | None = None
    ) -> list[tuple[_core.Ensemble, str | None, Report | None]]:
        """Each level's ensemble, with its folder in a checkpoint and its part of a report."""
        places = zip(self._places(checkpoint), self._reports(report), strict=True)
        return [(ensemble, folder, told) for (ensemble, folder), told in places]

    @property
    def n_members(self) -> int:
        """Number of members that every level has."""
        return min(ensemble.n_members for ensemble in self._ensembles)

    @property
    def n_failed(self) -> int:
        """Number of members whose training diverged, of all levels together."""
        return sum(ensemble.n_failed for ensemble in self._ensembles)

    @property
    def n_empty(self) -> int:
        """Number of members for which no samples were drawn, or too few, of all levels together."""
        return sum(ensemble.n_empty for ensemble in self._ensembles)

    def is_failed(self, member: int, level: int) -> bool:
        return self._ensembles[level].is_failed(member)

    def adopt(self, other: Members) -> bool:
        """Take over the members of another cascade, level by level where records agree; whether all did."""
        if not isinstance(other, Levels) or len(other._ensembles) != len(self._ensembles):
            return False
        # Every level is asked, whatever the ones before it said.
        same = [own.adopt(theirs) for own, theirs in zip(self._ensembles, other._ensembles, strict=True)]
        return all(same)

    def reseed(self, seed: int) -> None:
        for ensemble in self._ensembles:
            ensemble.reseed(seed)

    def discard_new(self, checkpoint: str | None = None) -> None:
        for g, ensemble in enumerate(self._ensembles):
            ensemble.discard_new(None if checkpoint is None else place(checkpoint, g))

    @property
    def n_idle(self) -> int:
        """Learners with too few samples: a partition is no level."""
        return 0

    @property
    def forgets(self) -> bool:
        """Whether of members only their votes are left."""
        return any(ensemble.forgets for ensemble in self._ensembles)

    def keep_on_disk(self, on_disk: bool) -> None:
        for ensemble in self._ensembles:
            ensemble.keep_on_disk(on_disk)

    def truncate(self, n_members: int) -> None:
        for ensemble in self._ensembles:
            ensemble.truncate(n_members)

    def reconfigure(self, device: str, n_jobs: int | None = None) -> None:
        for ensemble in self._ensembles:
            ensemble.reconfigure(device, n_jobs)

    def train(
        self,
        features: Rows,
        labels: npt.NDArray[np.int64],
        n_members: int,
        checkpoint: str | None = None,
        report: Report | None = None,
        trusted: Trusted = None,
        received: Received = None,
    ) -> None:
        """Train what is missing at every level; a checkpoint has a directory per level."""
        for ensemble, folder, told in self.each(checkpoint, report):
            ensemble.train(features, labels, n_members, folder, told, trusted, received)

    def votes(self, features: Features, report: Report | None = None) -> npt.NDArray[np.uint16]:
        pairs = zip(self._ensembles, self._reports(report), strict=True)
        return np.stack([ensemble.votes(features, told) for ensemble, told in pairs])

    def scores(self, features: Features, report: Report | None = None) -> npt.NDArray[np.float32]:
        pairs = zip(self._ensembles, self._reports(report), strict=True)
        return np.stack([ensemble.scores(features, told) for ensemble, told in pairs])

    def count(self, votes: npt.NDArray[np.uint16]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Classes, and the votes counted at the level that decided each sample."""
        n_classes = json.loads(self.record())["n_classes"]
        winners, _, counts = _core.decide_cascade(list(votes), self.law, n_classes)
        return winners, counts

    def certify(
        self, features: Features, votes: npt.NDArray[np.uint16], confidence: _core.Confidence
    ) -> _core.Certificates:
        return _core.certify_ensembles(self._ensembles, list(votes), self.law, confidence)

    def record(self) -> str:
        """What the levels have in common, with the cascade as the law, as JSON."""
        record = json.loads(self._ensembles[0].record())
        return json.dumps(record | {"law": json.loads(self.law.to_json())})

    def _reports(self, report: Report | None) -> Sequence[Report | None]:
        """One report per level, each counting on from where the level before it ended."""
        n = len(self._ensembles)
        if report is None:
            return [None] * n

        def of(g: int) -> Report:
            return lambda done, total: report(g * total + done, n * total)

        return [of(g) for g in range(n)]


Members: TypeAlias = "_core.Ensemble | Levels"


def place(folder: str | os.PathLike[str], level: int) -> str:
    """Where a level's members are."""
    return os.path.join(folder, f"level-{level}")
