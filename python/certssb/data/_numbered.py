"""Samples with classes that are numbers already, for what is computed without an estimator's list of classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from certssb._checks import parameter_error, shape_error
from certssb.data._features import as_arrays

__all__ = ["as_numbered"]


def as_numbered(X: Any, y: Any) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Checked features, and class numbers from 0 to 65534 as int64.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features) or (n_samples, channels, height, width)
        Samples, or what holds their classes too.
    y : array-like of int, shape (n_samples,)
        Their classes.

    Returns
    -------
    features : ndarray of float32
    numbers : ndarray of int64, shape (n_samples,)

    Raises
    ------
    ParameterError, ShapeError
        For samples or classes that cannot be worked with.

    Examples
    --------
    >>> from certssb.data import as_numbered
    >>> features, numbers = as_numbered([[0.5], [1.0]], [3, 0])
    >>> features.dtype, numbers
    (dtype('float32'), array([3, 0]))
    """
    features, y = as_arrays(X, y)
    labels = np.asarray(y)
    if labels.shape != (len(features),):
        raise shape_error("y", f"one class per sample, {len(features)} in all", f"shape {labels.shape}")
    if labels.dtype.kind not in "iu" or not ((labels >= 0) & (labels < 65535)).all():
        raise parameter_error(
            "y", "class numbers from 0 to 65534", f"values of type {labels.dtype}, or others"
        )
    return features, labels.astype(np.int64)
