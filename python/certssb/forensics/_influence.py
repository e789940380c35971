"""How votes differ between members that saw a training sample and members that did not."""

from __future__ import annotations

import json
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from certssb import _core
from certssb._checks import check_integer, frozen, parameter_error
from certssb._extras import needed
from certssb.certificates._printed import aligned

if TYPE_CHECKING:
    import pandas as pd

    from certssb.displays.influence import InfluenceDisplay

__all__ = ["Influence", "measured"]

_ROOM = 1 << 23
"""Numbers that are worked on at a time: differences and errors of so many test samples for every training sample."""

_CHANCE = 0.05
_ENOUGH = 30
_SHOWN = 10

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Influence:
    """The training samples whose presence moves the votes on some inputs, as
    :meth:`certssb.CertifiedClassifier.influence` returns them.

    Under :class:`~certssb.Subsample` each member saw samples that were drawn at random. The effect of a training
    sample is the share of votes for a class among the members that drew it, minus the share among the others. That is
    exact for the draws that were made, and an estimate, with standard error `error`, of the average effect. It is a
    hint where to look first, **not a guarantee**: poison may move no vote by itself, and a harmless sample that
    resembles an input moves some.

    Attributes
    ----------
    n_drew : ndarray of shape (n_train,)
        How many members drew each training sample. Trusted samples, which all members saw, are not included.
    difference : ndarray of shape (n_train,)
        By how much the presence of each training sample raises the share of votes for the inputs' classes, averaged
        over all inputs, in [-1, 1]; NaN if all members drew it, or none did.
    error : ndarray of shape (n_train,)
        Standard error of `difference`: its standard deviation over all draws if the sample had no effect.
    index : ndarray of shape (n_inputs, n_top)
        For each input, the training samples with the largest differences in units of their errors, largest first.
    differences : ndarray of shape (n_inputs, n_top)
        Differences of the samples in `index`, for this input alone.
    errors : ndarray of shape (n_inputs, n_top)
        Standard errors of `differences`.
    classes : ndarray of shape (n_inputs,)
        For each input, the class whose votes were counted.
    n_members : int
        Number of members.

    Examples
    --------
    >>> import certssb as cs
    >>> X, y = cs.datasets.load_digits(classes=(0, 1))
    >>> law = cs.Subsample(size=20)
    >>> clf = cs.CertifiedClassifier("discriminant", law, n_members=200, seed=0, progress=False)
    >>> found = clf.fit(X[:300], y[:300]).influence(X[300:310])
    >>> found.index.shape, found.order.shape
    ((10, 10), (300,))
    """

    n_drew: npt.NDArray[np.int64]
    difference: Floats
    error: Floats
    index: Places
    differences: Floats
    errors: Floats
    classes: npt.NDArray[Any]
    n_members: int

    @property
    def score(self) -> Floats:
        """`difference` in units of its standard error; 0 where nothing is known."""
        return _score(self.difference, self.error)

    @property
    def order(self) -> Places:
        """The training samples, those first that raise the votes for the inputs' classes most clearly."""
        return np.argsort(-self.score, kind="stable")

    @property
    def limit(self) -> float:
        """The score that the largest of all samples passes by chance with a probability of about 5%, if none changes anything."""
        return NormalDist().inv_cdf(1 - _CHANCE / max(1, len(self.n_drew)))

    @property
    def beyond(self) -> npt.NDArray[np.bool_]:
        """Which samples have a score above `limit`, among those that at least 30 members drew and at least 30 did not.

        With fewer members, a score is too far from normal for such a limit.
        """
        enough = (self.n_drew >= _ENOUGH) & (self.n_members - self.n_drew >= _ENOUGH)
        beyond: npt.NDArray[np.bool_] = (self.score > self.limit) & enough
        return beyond

    @property
    def sentence(self) -> str:
        """What the numbers are, and are not."""
        drew = float(np.mean(self.n_drew)) if len(self.n_drew) else 0.0
        beyond = int(self.beyond.sum())
        inputs = "1 input" if len(self.classes) == 1 else f"{len(self.classes):,} inputs"
        return (
            f"{beyond:,} of {len(self.n_drew):,} training samples move the votes on {inputs} more than chance "
            f"would move any of them (score above {self.limit:.1f}, drawn by {_ENOUGH} members or more); each was drawn by {drew:,.0f} of {self.n_members:,} members "
            f"on average. This is a hint where to look first, not a guarantee: poison may move no vote by itself, and a harmless "
            f"sample may."
        )

    def to_frame(self) -> pd.DataFrame:
        """All training samples as a pandas frame, in their own order.

        Returns
        -------
        pandas.DataFrame
            Columns ``n_drew``, ``difference``, ``error`` and ``score``.

        Raises
        ------
        ImportError
            If pandas is not installed.

        Examples
        --------
        >>> import certssb as cs
        >>> X, y = cs.datasets.load_digits(classes=(0, 1))
        >>> law = cs.Subsample(size=20)
        >>> clf = cs.CertifiedClassifier("discriminant", law, n_members=200, seed=0, progress=False)
        >>> _ = clf.fit(X[:300], y[:300])
        >>> clf.influence(X[300:310]).to_frame().shape
        (300, 4)
        """
        pandas = needed("pandas", "A frame", "pandas")
        frame: pd.DataFrame = pandas.DataFrame(
            {"n_drew": self.n_drew, "difference": self.difference, "error": self.error, "score": self.score}
        )
        return frame

    def plot(self, ax: Any = None, top: int = 20) -> InfluenceDisplay:
        """Draw the differences of those samples that move the votes most.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a new figure if not given.
        top : int, default=20
            How many samples.

        Returns
        -------
        InfluenceDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> import certssb as cs
        >>> X, y = cs.datasets.load_digits(classes=(0, 1))
        >>> law = cs.Subsample(size=20)
        >>> clf = cs.CertifiedClassifier("discriminant", law, n_members=200, seed=0, progress=False)
        >>> _ = clf.fit(X[:300], y[:300])
        >>> len(clf.influence(X[300:310]).plot(top=5).index)
        5
        """
        from certssb.displays.influence import InfluenceDisplay

        return InfluenceDisplay.from_influence(self, top=top).plot(ax=ax)

    def __repr__(self) -> str:
        rows = [["sample", "drawn by", "difference", "error", "score"]]
        score = self.score
        rows += [
            [
                str(i),
                str(self.n_drew[i]),
                f"{self.difference[i]:+.4f}",
                f"{self.error[i]:.4f}",
                f"{score[i]:+.1f}",
            ]
            for i in self.order[:_SHOWN]
        ]
        return f"{self.sentence}\n{aligned(rows)}"


def _score(difference: Floats, error: Floats) -> Floats:
    """Differences in units of their errors; 0 where one is unknown or all members agree."""
    known = np.isfinite(difference) & (error > 0)
    return np.divide(difference, error, out=np.zeros(difference.shape), where=known)


def measured(
    ensemble: _core.Ensemble,
    votes: npt.NDArray[np.uint16],
    targets: npt.NDArray[np.int64],
    classes: npt.NDArray[Any],
    top: int,
) -> Influence:
    """The influence of all training samples on the share of votes for `targets`, class numbers, one per input."""
    n_members, n_inputs = votes.shape
    n_train = int(json.loads(ensemble.record())["n_train"])
    check_integer("top", top, f"an integer from 1 to the number of training samples, {n_train}", 1, n_train)
    columns = max(1, _ROOM // n_train)
    blocks = [slice(start, start + columns) for start in range(0, n_inputs, columns)]
    shares = np.zeros((n_members, 1))
    for block in blocks:
        shares[:, 0] += (votes[:, block] == targets[block]).sum(axis=1)
    n_drew, difference, error = ensemble.influence((shares / max(1, n_inputs)).astype(np.float32))
    index = np.zeros((n_inputs, top), dtype=np.int64)
    differences, errors = np.zeros((n_inputs, top)), np.zeros((n_inputs, top))
    for block in blocks:
        _, own, own_error = ensemble.influence((votes[:, block] == targets[block]).astype(np.float32))
        order = np.argsort(-_score(own, own_error), axis=1, kind="stable")[:, :top]
        index[block] = order
        differences[block] = np.take_along_axis(own, order, axis=1)
        errors[block] = np.take_along_axis(own_error, order, axis=1)
    frozen_ones = [frozen(array) for array in (difference[0], error[0], differences, errors)]
    return Influence(
        frozen(n_drew.astype(np.int64)), frozen_ones[0], frozen_ones[1], frozen(index), frozen_ones[2], frozen_ones[3],
        frozen(classes.copy()), n_members,
    )  # fmt: skip


def checked_targets(
    targets: Any, predicted: npt.NDArray[np.int64], classes: npt.NDArray[Any]
) -> npt.NDArray[np.int64]:
    """Class numbers, one per input: those predicted, or the given labels."""
    if targets is None:
        return predicted
    expected = f"one of the classes for each of {len(predicted)} inputs"
    given = np.asarray(targets)
    known = {label: number for number, label in enumerate(classes.tolist())}
    if given.shape != predicted.shape:
        raise parameter_error("targets", expected, f"shape {given.shape}")
    unknown = [label for label in given.tolist() if label not in known]
    if unknown:
        raise parameter_error("targets", expected, repr(unknown[0]))
    return np.array([known[label] for label in given.tolist()], dtype=np.int64)
