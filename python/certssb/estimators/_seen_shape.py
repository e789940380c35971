"""What an estimator remembers of the samples it was fitted on: their shape, and number and names of features."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import validate_data

from certssb._checks import frozen, shape_error
from certssb.data._rows import Rows

__all__ = ["check_shape"]


def check_shape(estimator: Any, X: Any, features: Rows | npt.NDArray[np.float32], *, reset: bool) -> None:
    """Remember, or compare, number and names of features, and the shape of images."""
    if features.ndim == 2:
        # scikit-learn's own bookkeeping; it reads names off frames.
        given = X if hasattr(X, "columns") else np.broadcast_to(np.float32(0), features.shape)
        validate_data(estimator, given, reset=reset, skip_check_array=True)
        if hasattr(estimator, "feature_names_in_"):
            frozen(estimator.feature_names_in_)
    elif reset:
        # Images have neither; an earlier fit on a table had.
        for name in ("n_features_in_", "feature_names_in_"):
            vars(estimator).pop(name, None)
    shape = features.shape[1:]
    if reset:
        estimator._shape = shape
    elif shape != estimator._shape:
        raise shape_error("X", f"samples of shape {estimator._shape}, as in fit", f"samples of shape {shape}")
