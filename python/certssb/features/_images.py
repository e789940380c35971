"""Transforms of images that are linear: cosines and averages, each with the proof of its constant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from certssb._checks import check_integer, shape_error
from certssb.features._maps import FeatureMap, Features


@dataclass(frozen=True)
class Cosine(FeatureMap):
    """The lowest `size` x `size` coefficients of an orthonormal two-dimensional cosine transform, per channel.

    Lipschitz constant 1: the transform (DCT-II) is orthogonal and so keeps every distance, and leaving out
    coefficients only takes squares away from the sum. Up to the rounding of float32.

    Parameters
    ----------
    size : int
        Coefficients kept along each side, from 1 to the images' height and width.

    Raises
    ------
    ParameterError
        If `size` is not an integer of at least 1.
    ShapeError
        When called, if images are smaller than `size`.

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

    Raises
    ------
    ParameterError
        If `k` is not an integer of at least 1.
    ShapeError
        When called, if images are smaller than a block.

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
