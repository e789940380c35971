"""Confidence bounds for a vote share or a mean score, one-sided, rounded outward.

A lower bound lies below the true value with probability at least ``1 - alpha``; an upper bound lies above it, likewise.
All functions take numbers or arrays and return the same shape, float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from certssb import _core
from certssb._checks import check_integer, check_number, parameter_error, shape_error
from certssb.data._tensors import plain

__all__ = [
    "betting_lower",
    "betting_upper",
    "clopper_pearson_lower",
    "clopper_pearson_upper",
    "hoeffding_lower",
    "hoeffding_upper",
    "kl_lower",
    "kl_upper",
]

Floats = npt.NDArray[np.float64]


def _each(name: str, values: Any, bound: Callable[[Any], Floats]) -> Any:
    """Apply a bound of flat arrays to a number or an array of any shape."""
    array = _numbers(name, values)
    result = bound(array.ravel())
    return float(result[0]) if array.ndim == 0 else result.reshape(array.shape)


def _numbers(name: str, values: Any) -> npt.NDArray[Any]:
    array = plain(values, name)
    if array.dtype.kind not in "fiub":
        raise parameter_error(name, "a number or an array of numbers", f"values of type {array.dtype}")
    return array


def _clopper_pearson(k: npt.ArrayLike, n: int, alpha: float, upper: bool) -> Any:
    def bound(counts: npt.NDArray[Any]) -> Floats:
        bad = counts[~(np.isfinite(counts) & (np.trunc(counts) == counts) & (np.abs(counts) < 2.0**63))]
        if bad.size > 0:
            raise parameter_error("k", f"an integer from 0 to n = {n}", bad[0])
        return _core.clopper_pearson(np.ascontiguousarray(counts, np.int64), _n(n), _alpha(alpha), upper)

    return _each("k", k, bound)


def _mean_bound(
    mean: npt.ArrayLike, n: int, alpha: float, kind: Literal["kl", "hoeffding"], upper: bool
) -> Any:
    def bound(means: npt.NDArray[Any]) -> Floats:
        return _core.mean_bound(np.ascontiguousarray(means, np.float64), _n(n), _alpha(alpha), kind, upper)

    return _each("mean", mean, bound)


def _betting(scores: npt.ArrayLike, alpha: float, upper: bool) -> Floats:
    array = _numbers("scores", scores)
    if array.ndim != 2 or len(array) == 0:
        expected = "shape (n_members, n_samples) with at least one member"
        raise shape_error("scores", expected, f"shape {array.shape}")
    return _core.betting(np.ascontiguousarray(array, dtype=np.float64), _alpha(alpha), upper)


def _n(n: Any) -> int:
    return check_integer("n", n, "an integer of at least 1", 1)


def _alpha(alpha: Any) -> float:
    return check_number("alpha", alpha, "a float in the range (0, 1)")


def clopper_pearson_lower(k: npt.ArrayLike, n: int, alpha: float) -> Any:
    """Lower bound for the chance behind `k` successes in `n` trials (Clopper & Pearson 1934).

    Parameters
    ----------
    k : int or array of int
        Successes, 0 to `n`.
    n : int
        Trials, at least 1.
    alpha : float
        Chance that the bound is wrong, one-sided: below 1, and at least 1e-200, the smallest for which bounds are
        proved.

    Returns
    -------
    float or ndarray
        ``Beta.ppf(alpha, k, n - k + 1)``, rounded down.

    Raises
    ------
    ParameterError
        If a value is out of range.

    Examples
    --------
    >>> import certssb as cs
    >>> round(cs.bounds.clopper_pearson_lower(1000, 1000, alpha=0.001), 6)
    0.993116
    """
    return _clopper_pearson(k, n, alpha, False)


def clopper_pearson_upper(k: npt.ArrayLike, n: int, alpha: float) -> Any:
    """Upper bound for the chance behind `k` successes in `n` trials; see :func:`clopper_pearson_lower`.

    Parameters
    ----------
    k : int or array of int
        Successes, 0 to `n`.
    n : int
        Trials, at least 1.
    alpha : float
        Chance that the bound is wrong, one-sided: below 1, and at least 1e-200, the smallest for which bounds are
        proved.

    Returns
    -------
    float or ndarray
        The bound, rounded up, in the shape of `k`.

    Raises
    ------
    ParameterError
        If a value is out of range.

    Examples
    --------
    >>> import certssb as cs
    >>> round(cs.bounds.clopper_pearson_upper(0, 1000, alpha=0.001), 6)
    0.006884
    """
    return _clopper_pearson(k, n, alpha, True)


def kl_lower(mean: npt.ArrayLike, n: int, alpha: float) -> Any:
    """Lower bound for the expectation of scores in [0, 1] from their mean (Hoeffding 1963, Theorem 1).

    Parameters
    ----------
    mean : float or array of float
        Mean score, in [0, 1].
    n : int
        Number of scores averaged, at least 1.
    alpha : float
        Chance that the bound is wrong, one-sided: below 1, and at least 1e-200, the smallest for which bounds are
        proved.

    Returns
    -------
    float or ndarray
        The smallest q with ``n * kl(mean, q) <= log(1 / alpha)``, rounded down.

    Raises
    ------
    ParameterError
        If a value is out of range.

    Examples
    --------
    >>> import certssb as cs
    >>> round(cs.bounds.kl_lower(0.99, 1000, alpha=0.001), 6)
    0.973478
    """
    return _mean_bound(mean, n, alpha, "kl", False)


def kl_upper(mean: npt.ArrayLike, n: int, alpha: float) -> Any:
    """Upper bound for the expectation of scores in [0, 1]; see :func:`kl_lower`.

    Parameters
    ----------
    mean : float or array of float
        Mean score, in [0, 1].
    n : int
        Number of scores averaged, at least 1.
    alpha : float
        Chance that the bound is wrong, one-sided: below 1, and at least 1e-200, the smallest for which bounds are
        proved.

    Returns
    -------
    float or ndarray
        The bound, rounded up, in the shape of `mean`.

    Raises
    ------
    ParameterError
        If a value is out of range.

    Examples
    --------
    >>> import certssb as cs
    >>> round(cs.bounds.kl_upper(0.01, 1000, alpha=0.001), 6)
    0.026522
    """
    return _mean_bound(mean, n, alpha, "kl", True)


def hoeffding_lower(mean: npt.ArrayLike, n: int, alpha: float) -> Any:
    """``mean - sqrt(log(1 / alpha) / (2 n))``: the literature's bound, for comparison (Hoeffding 1963, Theorem 2).

    Parameters
    ----------
    mean : float or array of float
        Mean score, in [0, 1].
    n : int
        Number of scores averaged, at least 1.
    alpha : float
        Chance that the bound is wrong, one-sided: below 1, and at least 1e-200, the smallest for which bounds are
        proved.

    Returns
    -------
    float or ndarray
        The bound, rounded down, in the shape of `mean`.

    Raises
    ------
    ParameterError
        If a value is out of range.

    Examples
    --------
    >>> import certssb as cs
    >>> round(cs.bounds.hoeffding_lower(1.0, 1000, alpha=0.001), 6)
    0.94123
    """
    return _mean_bound(mean, n, alpha, "hoeffding", False)


def hoeffding_upper(mean: npt.ArrayLike, n: int, alpha: float) -> Any:
    """``mean + sqrt(log(1 / alpha) / (2 n))``; see :func:`hoeffding_lower`.

    Parameters
    ----------
    mean : float or array of float
        Mean score, in [0, 1].
    n : int
        Number of scores averaged, at least 1.
    alpha : float
        Chance that the bound is wrong, one-sided: below 1, and at least 1e-200, the smallest for which bounds are
        proved.

    Returns
    -------
    float or ndarray
        The bound, rounded up, in the shape of `mean`.

    Raises
    ------
    ParameterError
        If a value is out of range.

    Examples
    --------
    >>> import certssb as cs
    >>> round(cs.bounds.hoeffding_upper(0.0, 1000, alpha=0.001), 6)
    0.05877
    """
    return _mean_bound(mean, n, alpha, "hoeffding", True)


def betting_lower(scores: npt.ArrayLike, alpha: float) -> npt.NDArray[np.float64]:
    """Lower bound for the expectation of scores that holds at every number of members at once.

    Members may be added after looking at results: the statement stays true (Waudby-Smith & Ramdas 2024).

    Parameters
    ----------
    scores : array of float, shape (n_members, n_samples)
        Scores in [0, 1] (or votes for a class as 0 and 1), in the order in which members were added.
    alpha : float
        Chance that the bound is wrong at any time, in (0, 1), one-sided.

    Returns
    -------
    ndarray of shape (n_samples,)
        The bound after the last member.

    Raises
    ------
    ParameterError
        If a value is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import certssb as cs
    >>> cs.bounds.betting_lower(np.ones((1000, 1)), alpha=0.001).round(3)
    array([0.992])
    """
    return _betting(scores, alpha, False)


def betting_upper(scores: npt.ArrayLike, alpha: float) -> npt.NDArray[np.float64]:
    """Upper bound for the expectation of scores at every number of members at once; see :func:`betting_lower`.

    Parameters
    ----------
    scores : array of float, shape (n_members, n_samples)
        Scores in [0, 1] (or votes for a class as 0 and 1), in the order in which members were added.
    alpha : float
        Chance that the bound is wrong at any time, in (0, 1), one-sided.

    Returns
    -------
    ndarray of shape (n_samples,)
        The bound after the last member, rounded up.

    Raises
    ------
    ParameterError
        If a value is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import certssb as cs
    >>> cs.bounds.betting_upper(np.zeros((1000, 1)), alpha=0.001).round(3)
    array([0.008])
    """
    return _betting(scores, alpha, True)
