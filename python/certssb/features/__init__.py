"""Fixed feature maps before the noise: they make members' work easier and lengthen no change.

A map here is fixed in advance: it has no parameters that were fitted to anything, and never sees the data. Each
is proved to be 1-Lipschitz in the L2 norm, ``|f(x) - f(x')| <= |x - x'|``: a trigger of norm t on a sample is a
change of norm at most t of its features, so that norms certified under noise on the features hold, number for
number, for changes of the samples as they came. The map is part of the record and of every guarantee.
"""

from __future__ import annotations

import copy
import warnings
import zlib
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from certssb._checks import check_integer, parameter_error, shape_error

__all__ = ["AveragePool", "Cosine", "FeatureMap"]

Features = npt.NDArray[np.float32]


class FeatureMap(ABC):
    """A fixed map of samples with Lipschitz constant 1 or less in the L2 norm.

    Whoever writes one states its proof: nothing here can check it, and certificates name it. Before training, a map is
    tried on a few samples, alone and together, in another order and twice: one whose values depend on other samples (a
    standardisation by the batch, say) or on what it was asked before is refused. Estimators keep a copy of their own.

    Attributes
    ----------
    lipschitz : float
        A proven Lipschitz constant, at most 1.

    Examples
    --------
    >>> import numpy as np
    >>> import certssb as cs
    >>> class Mirror(cs.features.FeatureMap):
    ...     def __call__(self, X):
    ...         return np.ascontiguousarray(X[..., ::-1])  # a permutation keeps every distance
    ...     def describe(self):
    ...         return "a mirror"
    >>> X, y = cs.datasets.load_digits()
    >>> Mirror()(X).shape
    (1797, 1, 8, 8)
    """

    lipschitz: float = 1.0

    @abstractmethod
    def __call__(self, X: Features) -> Features:
        """Map samples of shape (n_samples, ...); the result is float32 and new."""

    @abstractmethod
    def describe(self) -> str:
        """The map in a few words, for guarantees.

        Returns
        -------
        str
            A few words.

        Examples
        --------
        >>> import certssb as cs
        >>> cs.features.AveragePool(2).describe()
        'averages over 2 x 2 blocks times 2'
        """

    def before_noise(self) -> str:
        """What guarantees say: follows "Each sample first passes".

        Returns
        -------
        str
            Part of a sentence.

        Examples
        --------
        >>> import certssb as cs
        >>> cs.features.AveragePool(2).before_noise()[:61]
        'averages over 2 x 2 blocks times 2, a map that is fixed in ad'
        """
        return (
            f"{self.describe()}, a map that is fixed in advance and lengthens no change (Lipschitz constant "
            f"{self.lipschitz:g}), so that norms are in the units of the samples as they came"
        )


@dataclass(frozen=True)
class Cosine(FeatureMap):
    """The lowest `size` x `size` coefficients of an orthonormal two-dimensional cosine transform, per channel.

    Lipschitz constant 1: the transform (DCT-II) is orthogonal and so keeps every distance, and leaving out
    coefficients only takes squares away from the sum. Up to the rounding of float32.

    Parameters
    ----------
    size : int
        Coefficients kept along each side, from 1 to the images' height and width.

    Examples
    --------
    >>> import certssb as cs
    >>> X, y = cs.datasets.load_digits()
    >>> cs.features.Cosine(5)(X).shape
    (1797, 1, 5, 5)
    """

    size: int

    def __post_init__(self) -> None:
        check_integer("size", self.size, "an integer of at least 1", 1)

    def __call__(self, X: Features) -> Features:
        height, width = _images(X)
        if self.size > min(height, width):
            raise shape_error("X", f"images of at least {self.size} x {self.size}", f"{height} x {width}")
        rows, columns = _cosines(self.size, height), _cosines(self.size, width)
        out = np.empty((*X.shape[:2], self.size, self.size), np.float32)
        for start in range(0, len(X), 4096):
            part = X[start : start + 4096].astype(np.float64)
            out[start : start + 4096] = rows @ part @ columns.T
        return out

    def describe(self) -> str:
        """The map in a few words, for guarantees.

        Returns
        -------
        str
            A few words.

        Examples
        --------
        >>> import certssb as cs
        >>> cs.features.Cosine(5).describe()
        'an orthonormal cosine transform cut to its 5 x 5 lowest coefficients per channel'
        """

        return f"an orthonormal cosine transform cut to its {self.size} x {self.size} lowest coefficients per channel"


@dataclass(frozen=True)
class AveragePool(FeatureMap):
    """Means over disjoint `k` x `k` blocks, times `k`, per channel.

    Lipschitz constant 1: a block's value is the sum of its k^2 entries over k, and by Cauchy-Schwarz
    (sum d / k)^2 <= sum d^2 for any change d; blocks are disjoint, and rows and columns left over are dropped.

    Parameters
    ----------
    k : int
        Side of a block, at least 1.

    Examples
    --------
    >>> import numpy as np
    >>> import certssb as cs
    >>> cs.features.AveragePool(2)(np.ones((1, 1, 4, 4), np.float32))[0, 0]
    array([[2., 2.],
           [2., 2.]], dtype=float32)
    """

    k: int

    def __post_init__(self) -> None:
        check_integer("k", self.k, "an integer of at least 1", 1)

    def __call__(self, X: Features) -> Features:
        height, width = _images(X)
        if self.k > min(height, width):
            raise shape_error("X", f"images of at least {self.k} x {self.k}", f"{height} x {width}")
        rows, columns = height // self.k, width // self.k
        cut = X[:, :, : rows * self.k, : columns * self.k]
        blocks = cut.reshape(*X.shape[:2], rows, self.k, columns, self.k)
        return np.asarray(blocks.sum(axis=(3, 5), dtype=np.float64) / self.k, dtype=np.float32)

    def describe(self) -> str:
        """The map in a few words, for guarantees.

        Returns
        -------
        str
            A few words.

        Examples
        --------
        >>> import certssb as cs
        >>> cs.features.AveragePool(2).describe()
        'averages over 2 x 2 blocks times 2'
        """

        return f"averages over {self.k} x {self.k} blocks times {self.k}"


_FIXED = "a map that is fixed in advance, so that what it makes of a sample depends on that sample alone"


def checked_map(given: object, X: Features) -> FeatureMap | None:
    """The estimator's own copy of a map, tried on a few samples: alone and together, in another order, and twice.

    Every question goes to a copy that was asked nothing before, so that a map which remembers what it saw first is
    told from one that remembers nothing.
    """
    if given is None:
        return None
    if not isinstance(given, FeatureMap):
        raise parameter_error("features", "None or a map of certssb.features", repr(given))
    if not 0.0 <= given.lipschitz <= 1.0:
        expected = "a map with a Lipschitz constant of at most 1, which lengthens no change"
        raise parameter_error("features", expected, f"one of {given.lipschitz}")
    own = copy.deepcopy(given)
    chosen = np.unique(np.linspace(0, len(X) - 1, 16).astype(np.int64))
    rows = X[chosen]
    together = _fresh(own, rows)
    _compare(own, together, _fresh(own, rows), chosen, "when it is asked again")
    backwards = _fresh(own, rows[::-1])[::-1]
    _compare(own, together, backwards, chosen, "when samples come in another order")
    few = np.unique(np.linspace(0, len(rows) - 1, 4).astype(np.int64))
    alone = np.concatenate([_fresh(own, rows[i : i + 1]) for i in few])
    _compare(own, together[few], alone, chosen[few], "alone than among others")
    worn = copy.deepcopy(own)
    mapped(worn, rows[:1])
    _compare(own, together, mapped(worn, rows), chosen, "after it was asked about another")
    return own


def mapped(feature_map: FeatureMap, X: Features) -> Features:
    """The features of X: float32, as many as samples, finite; X itself is left as it is."""
    before = zlib.crc32(np.ascontiguousarray(X).data)
    view = X.view()
    view.setflags(write=False)
    try:
        with warnings.catch_warnings():
            # torch says so of every array that must not be written to.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            out = np.asarray(feature_map(view))
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        got = f"{type(feature_map).__name__}, which writes to it"
        raise parameter_error("features", "a map that leaves its input as it is", got) from error
    if zlib.crc32(np.ascontiguousarray(X).data) != before:
        got = f"{type(feature_map).__name__}, which writes to it"
        raise parameter_error("features", "a map that leaves its input as it is", got)
    if out.dtype.kind != "f" or out.ndim not in (2, 4) or len(out) != len(X) or out.size == 0:
        expected = f"a map to floats of shape ({len(X)}, n_features) or ({len(X)}, channels, height, width) for {len(X)} samples"
        got = f"{type(feature_map).__name__}, which returns shape {out.shape} of type {out.dtype}"
        raise parameter_error("features", expected, got)
    with np.errstate(over="ignore"):
        features = np.ascontiguousarray(out, dtype=np.float32)
    finite = np.isfinite(features).reshape(len(features), -1).all(axis=1)
    if not finite.all():
        got = f"{type(feature_map).__name__}, which returns NaN or infinity for sample {int(finite.argmin())}"
        raise parameter_error("features", "a map to finite numbers", got)
    return features


def _fresh(feature_map: FeatureMap, rows: Features) -> Features:
    return mapped(copy.deepcopy(feature_map), np.ascontiguousarray(rows))


def _compare(
    feature_map: FeatureMap, one: Features, other: Features, samples: npt.NDArray[np.int64], when: str
) -> None:
    """Refuse values that differ by more than the rounding of another order of summation."""
    name = type(feature_map).__name__
    if one.shape != other.shape:
        raise parameter_error("features", _FIXED, f"{name}, which gives samples another shape {when}")
    apart = np.abs(one - other).reshape(len(one), -1).max(axis=1)
    allowed = 1e-4 * np.abs(one).reshape(len(one), -1).max(axis=1) + 1e-6
    if (apart > allowed).any():
        worst = int((apart - allowed).argmax())
        got = f"{name}, which gives sample {samples[worst]} other values {when}, by up to {apart[worst]:.3g}"
        raise parameter_error("features", _FIXED, got)


def _images(X: Features) -> tuple[int, int]:
    if X.ndim != 4:
        raise shape_error(
            "X", "the shape (n_samples, channels, height, width) for a map of images", f"shape {X.shape}"
        )
    return X.shape[2], X.shape[3]


def _cosines(size: int, length: int) -> npt.NDArray[np.float64]:
    """The first rows of the orthogonal matrix of the DCT-II."""
    frequency, place = np.arange(size)[:, None], np.arange(length)[None, :]
    matrix: npt.NDArray[np.float64] = np.cos(np.pi * frequency * (place + 0.5) / length) * np.sqrt(
        2.0 / length
    )
    matrix[0] = np.sqrt(1.0 / length)
    return matrix
