"""A member that is a fitted estimator: what it says of samples, as logarithms of probabilities of all classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Member", "NoAnswer"]

Floats = npt.NDArray[np.float32]

_FLOOR = float(np.log(np.finfo(np.float32).tiny))
_NEVER = -1e30
"""The logit of a class that was not chosen by a member without probabilities: its softmax is exactly 0."""

_ARGMAX = {
    "BernoulliNB", "ComplementNB", "DecisionTreeClassifier", "ExtraTreeClassifier", "ExtraTreesClassifier",
    "GaussianNB", "MultinomialNB", "RandomForestClassifier",
}  # fmt: skip
"""scikit-learn's classifiers whose predict is the largest of predict_proba by their own code: one pass tells both."""


class NoAnswer(ValueError):
    """What an estimator said of samples is no answer of a classifier."""


class Member:
    """A fitted estimator and the classes that it knows.

    Parameters
    ----------
    estimator : object or None
        Fitted; None for a member that says the same of every sample.
    seen : ndarray of int64
        The classes of its noised set, ascending.
    relabelled : bool
        Whether the estimator was given their places in `seen` in place of the classes.
    n_classes : int
        Number of all classes.
    """

    __slots__ = ("estimator", "n_classes", "relabelled", "seen")

    def __init__(self, estimator: Any, seen: npt.NDArray[np.int64], relabelled: bool, n_classes: int) -> None:
        self.estimator = estimator
        self.seen = seen
        self.relabelled = relabelled
        self.n_classes = n_classes

    def __getstate__(self) -> tuple[Any, npt.NDArray[np.int64], bool, int]:
        return self.estimator, self.seen, self.relabelled, self.n_classes

    def __setstate__(self, state: tuple[Any, npt.NDArray[np.int64], bool, int]) -> None:
        self.estimator, self.seen, self.relabelled, self.n_classes = state

    def ask(self, X: Floats) -> Floats:
        """Logarithms of probabilities of shape (m, n_classes), the largest that of the class it predicts.

        Rows for which the estimator raises, or has no finite probability, are NaN, unless it raises for all of them.
        """
        if self.estimator is None:
            return self._chosen(np.full(len(X), self.seen[0]))
        try:
            return self._ask(X)
        except NoAnswer:
            raise
        except Exception:
            # One sample of 3e38 shall not stop the answers on all others.
            answers = np.full((len(X), self.n_classes), np.nan, dtype=np.float32)
            if len(X) == 1 or not self._ask_halves(X, answers):
                raise
            return answers

    def _ask_halves(self, X: Floats, answers: Floats) -> bool:
        """Answers for the rows that have one; whether there is any."""
        any_answer = False
        middle = len(X) // 2
        for half in (slice(0, middle), slice(middle, None)):
            try:
                answers[half] = self._ask(X[half])
                any_answer = True
            except NoAnswer:
                raise
            except Exception:  # noqa: BLE001 - the estimator's own, for some row
                if len(X[half]) > 1:
                    any_answer |= self._ask_halves(X[half], answers[half])
        return any_answer

    def _ask(self, X: Floats) -> Floats:
        # A copy: some write to what they are asked about.
        if not hasattr(self.estimator, "predict_proba"):
            return self._chosen(self._predicted(X.copy()))
        shares = self._shares(X.copy())
        finite = np.asarray(np.isfinite(shares).all(axis=1))
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.maximum(np.log(shares), _FLOOR).astype(np.float32)
        logs[~finite] = np.nan
        chosen = shares.argmax(axis=1) if is_argmax(self.estimator) else self._predicted(X.copy())
        return _led_by(logs, chosen, finite)

    def _shares(self, X: Floats) -> npt.NDArray[np.float64]:
        own = np.asarray(self.estimator.predict_proba(X))
        classes = self._known()
        if own.shape != (len(X), len(classes)):
            expected = f"({len(X)}, {len(classes)}), one column for each class that it has seen"
            raise NoAnswer(f"predict_proba returned an array of shape {own.shape} instead of {expected}")
        if own.dtype.kind not in "fiub":
            raise NoAnswer(f"predict_proba returned values of type {own.dtype} instead of floats")
        shares = np.zeros((len(X), self.n_classes))
        shares[:, classes] = own
        # Rounding at values of 1e15 can leave sums that are not 1; whoever returns such on ordinary samples is refused
        # before training.
        sums = shares.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            shares /= sums[:, None]
        shares[~((shares >= 0).all(axis=1) & (sums > 0))] = np.nan
        return shares

    def _known(self) -> npt.NDArray[np.int64]:
        """The classes of the columns of predict_proba."""
        own = getattr(self.estimator, "classes_", None)
        if own is None:
            return self.seen
        return self._translated(np.asarray(own), "classes_ holds")

    def _predicted(self, X: Floats) -> npt.NDArray[np.int64]:
        own = np.asarray(self.estimator.predict(X))
        if own.ndim == 2 and own.shape[1] == 1:
            own = own[:, 0]
        if own.shape != (len(X),):
            raise NoAnswer(f"predict returned an array of shape {own.shape} for {len(X)} samples")
        return self._translated(own, "predict returned")

    def _translated(self, own: npt.NDArray[Any], what: str) -> npt.NDArray[np.int64]:
        if own.dtype.kind not in "iufb":
            raise NoAnswer(f"{what} values of type {own.dtype} instead of classes of the labels it was given")
        limit = len(self.seen) if self.relabelled else self.n_classes
        wrong = ~((own >= 0) & (own < limit) & (own == np.floor(own)))
        if wrong.any():
            raise NoAnswer(f"{what} {own[wrong][0]!r}, which is no class of the labels it was given")
        codes = own.astype(np.int64)
        return self.seen[codes] if self.relabelled else codes

    def _chosen(self, classes: npt.NDArray[np.int64]) -> Floats:
        logs = np.full((len(classes), self.n_classes), _NEVER, dtype=np.float32)
        logs[np.arange(len(classes)), classes] = 0.0
        return logs


def is_argmax(estimator: Any) -> bool:
    """Whether an estimator predicts the class of its largest probability, by its own code."""
    steps = getattr(estimator, "steps", None)
    if type(estimator).__name__ == "Pipeline" and steps:
        estimator = steps[-1][1]
    kind = type(estimator)
    return kind.__module__.startswith("sklearn.") and kind.__name__ in _ARGMAX


def _led_by(logs: Floats, chosen: npt.NDArray[np.int64], finite: npt.NDArray[np.bool_]) -> Floats:
    """Let the chosen class have the largest value of its row: it changes places with the one that has."""
    rows = np.flatnonzero(finite)
    largest = logs[rows].argmax(axis=1)
    apart = largest != chosen[rows]
    rows, first, own = rows[apart], largest[apart], chosen[rows[apart]]
    high, low = logs[rows, first], logs[rows, own]
    logs[rows, own] = high
    # Two that are equal in single precision are no longer.
    logs[rows, first] = np.minimum(low, np.nextafter(high, np.float32(-np.inf)))
    return logs
