"""What a table of certificates holds, column by column; its attributes are described with the table."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from certssb import _core
from certssb.laws import Law

__all__ = ["Contents", "Floats"]

Floats = npt.NDArray[np.float64]


class Contents:
    """One row per test sample.

    Attributes
    ----------
    _core : _core.Certificates
        What was certified, by class numbers.
    _classes : ndarray or None
        The labels that the numbers stand for.
    """

    _core: _core.Certificates
    _classes: npt.NDArray[Any] | None

    def __len__(self) -> int:
        return len(self._core)

    @property
    def prediction(self) -> npt.NDArray[Any]:
        numbers = self._core.prediction
        return numbers if self._classes is None else self._classes[numbers]

    @property
    def abstained(self) -> npt.NDArray[np.bool_]:
        return self._core.abstained

    @property
    def p_lower(self) -> Floats:
        return self._bound(self._core.p_lower)

    @property
    def p_upper(self) -> Floats:
        return self._bound(self._core.p_upper)

    def _bound(self, bound: Floats) -> Floats:
        """What the core knows of a probability, where there is one to know of."""
        return bound if self.election is None else np.full_like(bound, np.nan)

    @property
    def radius(self) -> Floats | None:
        return self._core.radius

    @property
    def guarantee(self) -> str:
        return self._core.guarantee

    @property
    def sound(self) -> bool:
        return self._core.sound

    @property
    def law(self) -> Law:
        """The law from which the members' training sets were drawn."""
        return self._core.law

    @property
    def n_train(self) -> int | None:
        """Number of training samples, not counting trusted ones; None if it was not given, which only a
        :class:`~certssb.Partition` allows."""
        return self._core.n_train

    @property
    def n_trusted(self) -> int:
        """Number of trusted samples, which every member saw as they are and which are assumed unchanged."""
        return self._core.n_trusted

    @property
    def n_members(self) -> int | None:
        """Number of members, or learners of a partition, whose votes were counted; None for exact certificates."""
        return self._core.n_members

    @property
    def alpha(self) -> float | None:
        """Chance that a statement is wrong; None for exact certificates and those of a :class:`~certssb.Partition`."""
        return self._core.alpha

    @property
    def election(self) -> str | None:
        """How the learners of a :class:`~certssb.Partition` elected the classes; None for every other law."""
        return self._core.election

    @property
    def n_buckets(self) -> npt.NDArray[np.int64] | None:
        """How many buckets of a :class:`~certssb.Partition` may change; None for every other law.

        Under ``assign="content"`` that is the symmetric difference between the training sets: an inserted or a deleted
        sample counts one, a modified one two.
        """
        return self._core.n_buckets

    @property
    def level(self) -> npt.NDArray[np.int64] | None:
        """The level, from 0, that decided each sample; None unless the law is a :class:`~certssb.Cascade`."""
        levels = self._core.levels
        return None if levels is None else levels[2]

    @property
    def noise_magnitude(self) -> Floats | None:
        """Each test sample's own sigma in the published form of SampleSpecific; None for every other law."""
        return self._core.sigmas

    @property
    def outcome(self) -> npt.NDArray[np.str_] | None:
        """What the ledger made of each region ("kept", "trimmed", "adopted", "abstained"); None without a ledger."""
        outcomes = self._core.outcomes
        return None if outcomes is None else np.array(outcomes, dtype=np.str_)
