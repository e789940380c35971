"""Confidence bounds for a vote share or a mean score, one-sided, rounded outward.

A lower bound is below the true value with probability at least ``1 - alpha``; so is an upper bound above.
All functions take numbers or arrays and return the same shape, float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from certssb import _core

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


def _each(values: Any, dtype: Any, bound: Any) -> Any:
    """Apply a bound of flat arrays to a number or an array of any shape."""
    array = np.asarray(values)
    if dtype is np.int64 and array.dtype.kind == "f" and bool((array == np.trunc(array)).all()):
        array = array.astype(np.int64)
    flat = np.ascontiguousarray(array.ravel(), dtype=dtype) if array.dtype.kind != "f" else array.ravel()
    result = bound(np.ascontiguousarray(flat.astype(dtype, casting="same_kind")))
    return float(result[0]) if array.ndim == 0 else result.reshape(array.shape)


def clopper_pearson_lower(k: npt.ArrayLike, n: int, alpha: float) -> Any:
    """Lower bound for the chance behind `k` successes in `n` trials (Clopper & Pearson 1934).

    Parameters
    ----------
    k : int or array of int
        Successes, 0 to `n`.
    n : int
        Trials, at least 1.
    alpha : float
        Chance that the bound is wrong, in (0, 1), one-sided.

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
    return _each(k, np.int64, lambda k: _core.clopper_pearson(k, n, alpha, False))


def clopper_pearson_upper(k: npt.ArrayLike, n: int, alpha: float) -> Any:
    """Upper bound for the chance behind `k` successes in `n` trials; see :func:`clopper_pearson_lower`.

    Examples
    --------
    >>> import certssb as cs
    >>> round(cs.bounds.clopper_pearson_upper(0, 1000, alpha=0.001), 6)
    0.006884
    """
    return _each(k, np.int64, lambda k: _core.clopper_pearson(k, n, alpha, True))


def kl_lower(mean: npt.ArrayLike, n: int, alpha: float) -> Any:
    """Lower bound for the expectation of scores in [0, 1] from their mean (Hoeffding 1963, Theorem 1).

    Parameters
    ----------
    mean : float or array of float
        Mean score, in [0, 1].
    n : int
        Number of scores averaged, at least 1.
    alpha : float
        Chance that the bound is wrong, in (0, 1), one-sided.

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
    return _each(mean, np.float64, lambda m: _core.mean_bound(m, n, alpha, "kl", False))


def kl_upper(mean: npt.ArrayLike, n: int, alpha: float) -> Any:
    """Upper bound for the expectation of scores in [0, 1]; see :func:`kl_lower`.

    Examples
    --------
    >>> import certssb as cs
    >>> round(cs.bounds.kl_upper(0.01, 1000, alpha=0.001), 6)
    0.026522
    """
    return _each(mean, np.float64, lambda m: _core.mean_bound(m, n, alpha, "kl", True))


def hoeffding_lower(mean: npt.ArrayLike, n: int, alpha: float) -> Any:
    """``mean - sqrt(log(1 / alpha) / (2 n))``: the literature's bound, for comparison (Hoeffding 1963, Theorem 2).

    Parameters and errors as for :func:`kl_lower`.

    Examples
    --------
    >>> import certssb as cs
    >>> round(cs.bounds.hoeffding_lower(1.0, 1000, alpha=0.001), 6)
    0.94123
    """
    return _each(mean, np.float64, lambda m: _core.mean_bound(m, n, alpha, "hoeffding", False))


def hoeffding_upper(mean: npt.ArrayLike, n: int, alpha: float) -> Any:
    """``mean + sqrt(log(1 / alpha) / (2 n))``; see :func:`hoeffding_lower`.

    Examples
    --------
    >>> import certssb as cs
    >>> round(cs.bounds.hoeffding_upper(0.0, 1000, alpha=0.001), 6)
    0.05877
    """
    return _each(mean, np.float64, lambda m: _core.mean_bound(m, n, alpha, "hoeffding", True))


def betting_lower(scores: npt.ArrayLike, alpha: float) -> npt.NDArray[np.float64]:
    """Lower bound for the expectation of scores that holds at every number of members at once.

    Members may be added until the answer is liked: the statement stays true (Waudby-Smith & Ramdas 2024).

    Parameters
    ----------
    scores : array of float, shape (n_members, n_samples)
        Scores in [0, 1] (or votes for a class as 0 and 1), in the order in which members came.
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
    array([0.991])
    """
    return _core.betting(np.ascontiguousarray(scores, dtype=np.float64), alpha, False)


def betting_upper(scores: npt.ArrayLike, alpha: float) -> npt.NDArray[np.float64]:
    """Upper bound for the expectation of scores at every number of members at once; see :func:`betting_lower`.

    Examples
    --------
    >>> import numpy as np
    >>> import certssb as cs
    >>> cs.bounds.betting_upper(np.zeros((1000, 1)), alpha=0.001).round(3)
    array([0.009])
    """
    return _core.betting(np.ascontiguousarray(scores, dtype=np.float64), alpha, True)
