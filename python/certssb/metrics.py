"""The shares that tables report. A share of no samples is None, never NaN."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from certssb import _core
from certssb._checks import shape_error
from certssb.data._tensors import plain
from certssb.data._truth import are_equal, true_labels

__all__ = [
    "attack_success_rate",
    "certified_accuracy",
    "certified_ratio",
    "conditional_accuracy",
    "empirical_robust_accuracy",
]


def _flags(values: Any) -> npt.NDArray[np.bool_]:
    return np.ascontiguousarray(plain(values, "certified"), dtype=np.bool_).ravel()


def _certified(certified: npt.ArrayLike, correct: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    flags = _flags(certified)
    if len(flags) != len(correct):
        raise shape_error("certified", f"one value per sample, {len(correct)}", len(flags))
    return flags


def _pair(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    shapes = np.shape(y_true), np.shape(y_pred)
    if shapes[0] != shapes[1] or len(shapes[0]) != 1:
        raise shape_error("y_pred", f"one class per sample, shape {shapes[0]}", f"shape {shapes[1]}")
    return true_labels(y_true), true_labels(y_pred, name="y_pred")


def _equal(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    truth, predicted = _pair(y_true, y_pred)
    return are_equal(predicted, truth)


def certified_accuracy(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, certified: npt.ArrayLike
) -> float | None:
    """Share of samples that are predicted right and certified.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_samples,)
        True and predicted classes.
    certified : array-like of bool, shape (n_samples,)
        Whether each prediction is certified.

    Returns
    -------
    float or None
        The share; None if there are no samples.

    Raises
    ------
    ParameterError
        If a label is missing or a value is masked, or some labels are strings and others numbers or booleans.
    ShapeError
        If the arrays differ in length.

    Examples
    --------
    >>> from certssb import metrics
    >>> metrics.certified_accuracy([0, 1, 1, 0], [0, 1, 0, 0], [True, False, True, True])
    0.5
    """
    correct = _equal(y_true, y_pred)
    return _core.certified_share(_certified(certified, correct), correct)


def certified_ratio(certified: npt.ArrayLike) -> float | None:
    """Share of samples that are certified, predicted right or not.

    Parameters
    ----------
    certified : array-like of bool, shape (n_samples,)
        Whether each prediction is certified.

    Returns
    -------
    float or None
        The share; None if there are no samples.

    Raises
    ------
    ParameterError
        If a value is masked.

    Examples
    --------
    >>> from certssb import metrics
    >>> metrics.certified_ratio([True, False])
    0.5
    >>> metrics.certified_ratio([]) is None
    True
    """
    return _core.certified_share(_flags(certified))


def conditional_accuracy(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, certified: npt.ArrayLike
) -> float | None:
    """Share of the certified samples that are predicted right.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_samples,)
        True and predicted classes.
    certified : array-like of bool, shape (n_samples,)
        Whether each prediction is certified.

    Returns
    -------
    float or None
        The share; None if nothing is certified.

    Raises
    ------
    ParameterError
        If a label is missing or a value is masked, or some labels are strings and others numbers or booleans.
    ShapeError
        If the arrays differ in length.

    Examples
    --------
    >>> from certssb import metrics
    >>> metrics.conditional_accuracy([0, 1, 1], [0, 0, 1], [True, True, False])
    0.5
    """
    correct = _equal(y_true, y_pred)
    return _core.conditional_accuracy(_certified(certified, correct), correct)


def empirical_robust_accuracy(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float | None:
    """Share of triggered samples that are still given their true class.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_samples,)
        True and predicted classes of triggered samples.

    Returns
    -------
    float or None
        The share; None if there are no samples.

    Raises
    ------
    ParameterError
        If a label is missing or a value is masked, or some labels are strings and others numbers or booleans.
    ShapeError
        If the arrays differ in length.

    Examples
    --------
    >>> from certssb import metrics
    >>> metrics.empirical_robust_accuracy([1, 1], [1, 0])
    0.5
    """
    correct = _equal(y_true, y_pred)
    return _core.certified_share(correct, correct)


def attack_success_rate(y_true: npt.ArrayLike, y_pred: npt.ArrayLike, target: Any) -> float | None:
    """Share of triggered samples of other classes that are given the target class.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_samples,)
        True and predicted classes of triggered samples.
    target : label
        The attacker's target class.

    Returns
    -------
    float or None
        None if every sample is of the target class.

    Raises
    ------
    ParameterError
        If a label is missing or a value is masked, or some labels are strings and others numbers or booleans.
    ShapeError
        If the arrays differ in length.

    Examples
    --------
    >>> from certssb import metrics
    >>> metrics.attack_success_rate([1, 1, 0], [0, 1, 0], target=0)
    0.5
    """
    truth, predicted = _pair(y_true, y_pred)
    wanted = np.repeat(true_labels([target], name="target"), len(truth))
    return _core.attack_success_rate(
        are_equal(truth, wanted, "target"), are_equal(predicted, wanted, "target")
    )
