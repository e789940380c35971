"""True classes beside predicted ones: equal values count, whatever cannot be compared is refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from certssb._checks import parameter_error, shape_error
from certssb.data._labels import _family, _known_kind, _label_array

__all__ = ["are_equal", "true_labels"]


def true_labels(y: Any, n_samples: int | None = None, name: str = "y_true") -> npt.NDArray[Any]:
    """Labels in a type of their own, none of them missing; of one class only, or of none that was trained, if need be.

    Raises
    ------
    ParameterError
        If labels are fractions, missing or of mixed or unknown types.
    ShapeError
        If they are not one per sample.
    """
    labels = _label_array(y, name)
    if labels.ndim != 1 or n_samples not in (None, len(labels)):
        expected = (
            "one class per sample"
            if n_samples is None
            else f"one class per sample, {n_samples} in all: shape ({n_samples},)"
        )
        raise shape_error(name, expected, f"shape {labels.shape}")
    return _known_kind(labels, name) if len(labels) else np.zeros(0, np.int64)


def are_equal(
    predicted: npt.NDArray[Any], truth: npt.NDArray[Any], name: str = "y_true"
) -> npt.NDArray[np.bool_]:
    """Whether each prediction is the true class; both as :func:`true_labels` makes them, of one length.

    Raises
    ------
    ParameterError
        If one side holds words, numbers or booleans and the other side another kind of these, where nothing could be
        equal, or equal by accident only.
    """
    if not len(truth):
        return np.zeros(0, np.bool_)
    family = _family(predicted)
    if _family(truth) != family:
        what = {"text": "strings", "boolean": "booleans", "number": "numbers"}
        expected = (
            f"labels of the kind that was predicted, {what[family]} such as {predicted[:1].tolist()[0]!r}"
        )
        raise parameter_error(name, expected, f"{what[_family(truth)]} such as {truth[:1].tolist()[0]!r}")
    equal = np.asarray(predicted == truth, dtype=np.bool_)
    if family == "number" and predicted.dtype != truth.dtype:
        # Two integers that one double stands for are two classes.
        with np.errstate(invalid="ignore", over="ignore"):
            equal &= predicted == truth.astype(predicted.dtype)
            equal &= predicted.astype(truth.dtype) == truth
    return equal
