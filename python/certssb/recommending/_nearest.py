"""The exact 1-nearest neighbour against a threat: it has no members and no votes, but a probability of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from certssb import _core
from certssb.certificates.table import CertificateTable
from certssb.estimators.knn import CertifiedKNN
from certssb.exceptions import ParameterError
from certssb.recommending._candidates import SHARES, least_noise, refused
from certssb.recommending._needed import Asked

__all__ = ["NAME", "RecommendedKNN", "holds", "neighbours"]

NAME = "CertifiedKNN(...)"
_PROBABILITIES = (*SHARES, 1 - 1e-6)
"""Those that votes are asked for, and one that no thousand votes can show."""
_HIGHEST = math.nextafter(1.0, 0.0)
_OUT_OF_REACH = "no noise reaches the threat"


@dataclass(frozen=True)
class RecommendedKNN:
    """The exact 1-nearest neighbour with a noise scale at which it can reach a threat.

    Attributes
    ----------
    sigma : float
        Standard deviation of the noise, in the units of the features.
    probability : float
        Smallest probability of the predicted class at which a prediction is certified, if one other class has all the rest.
        It is computed, not estimated, so nothing is left to chance and no seed has to be secret.
    n_seen : int
        Number of training samples that a prediction looks at: all of them.
    not_covered : str
        What the certificate does not cover.
    accuracy : float or None
        Share of the trusted samples that were predicted right, with the other half of them as neighbours: an estimate, not
        a guarantee. None where nothing was measured.
    certified : float or None
        Share of the trusted samples that were predicted right and would be certified: likewise an estimate. None where
        nothing was measured.

    Examples
    --------
    >>> import certssb as cs
    >>> row = cs.recommend(cs.Threat(3, trigger_norm=0.5), n_train=500).nearest[0]
    >>> row.classifier, round(row.probability, 2)
    (CertifiedKNN(sigma=1.3), 0.75)
    """

    sigma: float
    probability: float
    n_seen: int
    not_covered: str
    accuracy: float | None = None
    certified: float | None = None

    @property
    def classifier(self) -> CertifiedKNN:
        """A new :class:`~certssb.CertifiedKNN` with this noise, ready to be fitted."""
        return CertifiedKNN(sigma=self.sigma)

    def _cells(self) -> list[str]:
        cells = [
            repr(self.classifier),
            f"{100 * self.probability:.6g}%",
            f"{self.n_seen:,}",
            "every sample for each prediction",
            "nothing left to chance",
            self.not_covered,
        ]
        if self.accuracy is not None and self.certified is not None:
            cells[2:2] = [f"{self.accuracy:.3f} (fewer samples)", f"{self.certified:.3f}"]
        return cells


def holds(
    asked: Asked, sigma: float, p_lower: npt.NDArray[np.float64], p_upper: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Whether predictions of such probabilities survive the threat, in a training set of the size that was asked about."""
    # As far as a number below 1 says how far from 1 it is.
    p_lower = np.minimum(p_lower, _HIGHEST)
    table = CertificateTable(_core.Knn.supposed(sigma, asked.n_train, asked.n_classes, p_lower, p_upper))
    return table.holds(asked.threat)


def _suffices(asked: Asked, sigma: float, probability: float) -> bool:
    return bool(holds(asked, sigma, np.array([probability]), np.array([1.0]))[0])


def neighbours(asked: Asked) -> Iterator[RecommendedKNN | str]:
    """For each probability the least noise with which it is enough, or why there is none."""
    for probability in _PROBABILITIES:
        try:
            sigma = least_noise(
                asked,
                lambda sigma, enough=probability: _suffices(asked, sigma, enough),  # type: ignore[misc]
            )
        except ParameterError as error:
            yield refused(str(error))
            continue
        if sigma is None:
            yield _OUT_OF_REACH
            continue
        yield RecommendedKNN(
            sigma=sigma,
            probability=_needed(asked, sigma),
            n_seen=asked.n_train,
            not_covered="labels, insertions and deletions; changes of a larger total norm",
        )


def _needed(asked: Asked, sigma: float) -> float:
    """The smallest probability that is enough: the next smaller number is not."""
    low, high = 0.5, _HIGHEST
    if _suffices(asked, sigma, math.nextafter(0.5, 1.0)):
        return math.nextafter(0.5, 1.0)
    while low < (middle := low + 0.5 * (high - low)) < high:
        low, high = (low, middle) if _suffices(asked, sigma, middle) else (middle, high)
    return high
