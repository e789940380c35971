"""How many votes a law needs for a threat: asked of certificates themselves, for so many members."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from certssb.certificates.table import CertificateTable
from certssb.certificates.votes import certify_votes
from certssb.laws import Law, Partition
from certssb.threats import Threat

__all__ = ["Asked"]

_certify: Callable[..., CertificateTable] = inspect.unwrap(certify_votes)
"""Without a line in the log for each of the many tables that a search makes."""


@dataclass(frozen=True)
class Asked:
    """A threat, and the sizes of what is to be certified against it."""

    threat: Threat
    n_train: int
    n_classes: int
    n_features: int | None
    alpha: float
    n_members: int

    def certificates(self, law: Law, votes: npt.NDArray[Any]) -> CertificateTable:
        """The certificates of such votes under `law`."""
        if isinstance(law, Partition):
            return _certify(votes, law, self.n_train, self.n_classes)
        return _certify(
            votes, law, self.n_train, self.n_classes, n_features=self.n_features, alpha=self.alpha
        )

    def members(self, law: Law) -> int:
        """How many members vote: as many as there are learners under a partition."""
        return law.n_learners if isinstance(law, Partition) else self.n_members

    def holds(self, law: Law, votes: int) -> bool:
        """Whether so many votes are enough, all others being for one other class."""
        cast = _votes(self.members(law), votes, self.n_classes)
        return bool(self.certificates(law, cast).holds(self.threat)[0])

    def reaches(self, law: Law, share: float) -> bool:
        """The same for a share of the votes, rounded up to whole ones."""
        return self.holds(law, math.ceil(share * self.members(law)))

    def votes(self, law: Law) -> int | None:
        """How many members have to agree, all others voting for one other class; None if all are too few."""
        low, high = self.members(law) // 2, self.members(law)
        if not self.holds(law, high):
            return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.holds(law, middle) else (middle, high)
        return high


@functools.lru_cache(maxsize=8)
def _votes(n_members: int, agreeing: int, n_classes: int) -> npt.NDArray[Any]:
    """Votes on one sample: so many for the last class, which loses ties, the others for class 0."""
    votes = np.zeros((n_members, 1), dtype=np.min_scalar_type(n_classes))
    # Spread evenly, for bounds that read the members in order, and for learners that share buckets.
    votes[np.argsort((np.arange(n_members) * 0.6180339887498949) % 1.0, kind="stable")[:agreeing]] = (
        n_classes - 1
    )
    return votes
