"""Which training samples are trusted: apart from the others from here on, with a list of classes that is theirs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from certssb._checks import parameter_error, shape_error, shown
from certssb.data._features import read_labelled
from certssb.data._labels import GIVEN, as_labels, codes_among, read_labels
from certssb.data._rows import Joined, Rows
from certssb.data._tensors import is_array, to_numpy

__all__ = ["TrainingSamples", "numbers_of", "read_training"]

Codes = npt.NDArray[np.int64]

_SEVERAL = "samples of at least two classes, since the list of classes is learned from them; or pass all as 'classes'"
_EXPECTED = "a mask of {n} booleans, or whole numbers of samples from 0 to {last}, each once"


@dataclass(frozen=True)
class TrainingSamples:
    """Training samples as they were received, and trusted ones, which nobody could have changed.

    Attributes
    ----------
    features, codes : Rows and ndarray
        The samples that are not trusted, in their order, and their class numbers.
    trusted : tuple of Rows and ndarray, or None
        Samples and class numbers of those that are, in their order; None if there are none.
    classes : ndarray
        The classes that numbers are places in.
    received : Rows or Joined
        All samples as they came, trusted ones included.
    lost : float
        How far, in L2, most samples were moved when they were rounded to single precision.
    """

    features: Rows
    codes: Codes
    trusted: tuple[Rows, Codes] | None
    classes: npt.NDArray[Any]
    received: Rows | Joined
    lost: float = 0.0

    @property
    def n_trusted(self) -> int:
        """Number of trusted samples."""
        return 0 if self.trusted is None else len(self.trusted[1])


def read_training(
    X: Any,
    y: Any,
    *,
    trusted: Any = None,
    X_trusted: Any = None,
    y_trusted: Any = None,
    classes: Any = None,
) -> TrainingSamples:
    """Read training samples with those that are trusted, told by a mask, by their numbers or apart.

    Parameters
    ----------
    X, y
        As for :func:`certssb.data.as_arrays` and :func:`certssb.data.as_labels`.
    trusted : array-like of bool of shape (n_samples,), or of int, optional
        Which samples of `X` are trusted.
    X_trusted, y_trusted : optional
        Trusted samples beside those of `X`, read in the same way.
    classes : array-like, optional
        All classes. Left out, they are those of the trusted samples or, where there are none, of all.

    Returns
    -------
    TrainingSamples

    Raises
    ------
    ParameterError, ShapeError
        If one of them cannot be worked with.

    Examples
    --------
    >>> from certssb.data._trusted import read_training
    >>> samples = read_training([[0.0], [1.0], [2.0], [3.0]], ["a", "b", "b", "a"], trusted=[1, 3])
    >>> features, trusted = samples.features.whole(), samples.trusted[0].whole()
    >>> features.ravel().tolist(), trusted.ravel().tolist(), samples.classes.tolist()
    ([0.0, 2.0], [1.0, 3.0], ['a', 'b'])
    """
    if trusted is not None and (X_trusted is not None or y_trusted is not None):
        given = "X_trusted" if X_trusted is not None else "y_trusted"
        raise parameter_error(
            "trusted", f"left out beside '{given}': trusted samples are told in one way", shown(trusted)
        )
    features, labels, reading = read_labelled(X, y)
    if X_trusted is None and y_trusted is not None:
        raise parameter_error("X_trusted", "the samples that 'y_trusted' belongs to", "None")
    if X_trusted is not None and not _is_empty(X_trusted):
        own, own_labels, own_reading = read_labelled(X_trusted, y_trusted, "X_trusted")
        if own.shape[1:] != features.shape[1:]:
            expected = f"samples of shape {features.shape[1:]}, as 'X' has"
            raise shape_error("X_trusted", expected, f"samples of shape {own.shape[1:]}")
        reading.check(own_reading, "X_trusted")
        if own_reading.divisor != reading.divisor and own_reading.images:
            expected = f"of the type of 'X' ({reading.kind}, divided by {reading.divisor})"
            raise parameter_error(
                "X_trusted", expected, f"{own_reading.kind}, divided by {own_reading.divisor},"
            )
        known, own_codes = _labels_apart(own_labels, len(own), classes)
        codes = codes_among(labels, len(features), known, "y", _expected(classes))
        return TrainingSamples(features, codes, (own, own_codes), known, Joined(own, features), reading.lost)
    index = numbers_of(trusted, len(features))
    if len(index) == 0:
        known, codes = as_labels(labels, len(features), classes=classes)
        return TrainingSamples(features, codes, None, known, features, reading.lost)
    if classes is None:
        received, codes = as_labels(labels, len(features))
        known = np.unique(received[codes[index]])
        if len(known) < 2:
            raise parameter_error("trusted", _SEVERAL, f"those of {known.tolist()} alone")
        codes = codes_among(received[codes], len(features), known, "y", _expected(classes))
    else:
        known, codes = as_labels(labels, len(features), classes=classes)
    others = np.ones(len(features), dtype=np.bool_)
    others[index] = False
    apart = (features.select(index), codes[index])
    rest = features.select(np.flatnonzero(others))
    return TrainingSamples(rest, codes[others], apart, known, features, reading.lost)


def _labels_apart(labels: Any, n: int, classes: Any) -> tuple[npt.NDArray[Any], Codes]:
    if classes is not None:
        return as_labels(labels, n, "y_trusted", classes=classes)
    labels = read_labels(labels, n, "y_trusted")
    known = np.unique(labels)
    if len(known) < 2:
        raise parameter_error("y_trusted", _SEVERAL, f"those of {known.tolist()} alone")
    return as_labels(labels, n, "y_trusted")


def _expected(classes: Any) -> str:
    if classes is not None:
        return GIVEN
    return "labels of the classes that trusted samples have, {} (or pass all classes as 'classes')"


def _is_empty(X: Any) -> bool:
    """Whether no samples are given apart: the same as none."""
    return hasattr(X, "__len__") and len(X) == 0


def numbers_of(trusted: Any, n: int, name: str = "trusted") -> Codes:
    """The numbers of the trusted ones of `n` samples, ascending."""
    if trusted is None:
        return np.zeros(0, dtype=np.int64)
    expected = _EXPECTED.format(n=n, last=n - 1)
    if isinstance(trusted, (str, bytes)) or not (
        is_array(trusted) or isinstance(trusted, (list, tuple, range))
    ):
        raise parameter_error(name, expected, shown(trusted))
    try:
        given = to_numpy(trusted, name) if is_array(trusted) else np.asarray(list(trusted))
    except ValueError:
        raise parameter_error(name, expected, shown(trusted)) from None
    if given.ndim != 1:
        raise shape_error(name, f"1 dimension: {expected}", f"an array of shape {given.shape}")
    if given.dtype.kind == "b":
        if len(given) != n:
            raise shape_error(name, f"one boolean for each of the {n} samples", f"{len(given)} booleans")
        index = np.flatnonzero(given)
    elif len(given) == 0:
        return np.zeros(0, dtype=np.int64)
    elif given.dtype.kind in "iu":
        outside = (given < 0) | (given >= n)
        if outside.any():
            raise parameter_error(name, expected, f"{given[outside][0]}")
        index, times = np.unique(given.astype(np.int64), return_counts=True)
        if len(index) < len(given):
            got = f"{index[times.argmax()]} {times.max()} times"
            if set(index.tolist()) <= {0, 1} and len(given) == n:
                got += "; a mask is of booleans: trusted.astype(bool)"
            raise parameter_error(name, expected, got)
    else:
        raise parameter_error(name, expected, f"an array of {given.dtype}")
    if len(index) == n:
        raise parameter_error(
            "trusted", "some of the samples, so that there are others to certify", f"all {n}"
        )
    return index.astype(np.int64)
