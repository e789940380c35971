"""What may stand in brackets behind a table: a row, a slice, a mask, or row numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from certssb._checks import parameter_error, shape_error

__all__ = ["row_numbers"]

_EXPECTED = "a row number, a slice, a mask of one bool per sample, or an array of row numbers"


def row_numbers(index: Any, n_rows: int) -> npt.NDArray[np.int64]:
    """The rows that `index` names, counted from 0.

    Parameters
    ----------
    index : int, slice, array-like of bool of shape (n_rows,), or array-like of int of shape (n_chosen,)
        Negative row numbers count from the end.
    n_rows : int
        Number of rows there are.

    Returns
    -------
    ndarray of int64, shape (n_chosen,)

    Raises
    ------
    ParameterError
        If it is none of these, or there is no such row.
    ShapeError
        If a mask is not of the table's length.

    Examples
    --------
    >>> from certssb.certificates._row_numbers import row_numbers
    >>> row_numbers(-1, 5), row_numbers(slice(None, None, 2), 5), row_numbers([True, False, True], 3)
    (array([4]), array([0, 2, 4]), array([0, 2]))
    """
    if isinstance(index, slice):
        try:
            return np.arange(n_rows, dtype=np.int64)[index]
        except (TypeError, ValueError):
            raise parameter_error("index", _EXPECTED, repr(index)) from None
    if isinstance(index, tuple) or index is None or index is Ellipsis:
        raise parameter_error("index", _EXPECTED, repr(index))
    try:
        asked = np.asarray(index)
    except Exception:  # noqa: BLE001 - whatever an object does that is asked for its array
        raise parameter_error("index", _EXPECTED, type(index).__name__) from None
    if asked.dtype == np.bool_ and asked.ndim == 1:
        if len(asked) != n_rows:
            raise shape_error("index", f"one bool per sample, {n_rows} in all", len(asked))
        return np.flatnonzero(asked).astype(np.int64)
    if asked.size == 0 and asked.ndim == 1:
        return np.zeros(0, np.int64)
    if asked.ndim > 1 or asked.dtype.kind not in "iu":
        got = repr(index) if asked.ndim == 0 else f"{asked.dtype} of shape {asked.shape}"
        raise parameter_error("index", _EXPECTED, got)
    asked = np.atleast_1d(asked)
    outside = (
        asked[(asked >= n_rows) | (asked < -n_rows)] if asked.dtype.kind == "i" else asked[asked >= n_rows]
    )
    if len(outside):
        expected = f"row numbers from {-n_rows} to {n_rows - 1}" if n_rows else "empty, as the table is"
        raise parameter_error("index", expected, outside[0])
    numbers = asked.astype(np.int64)
    return np.where(numbers < 0, numbers + n_rows, numbers)
