"""Frames of pandas, polars and Arrow as tables of numbers, column by column."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from certssb._checks import parameter_error
from certssb._extras import needed
from certssb.data._numbers import Floats, Where, from_objects, if_missing, no_number, not_finite
from certssb.exceptions import ParameterError

_FRAMES = {"pandas": ("DataFrame",), "polars": ("DataFrame",), "pyarrow": ("Table", "RecordBatch")}


def is_frame(value: object) -> bool:
    """Whether a value is a frame, without importing a library that is not in use."""
    return any(_is_of(value, library) for library in _FRAMES)


def read_frame(frame: Any, name: str) -> npt.NDArray[np.float32]:
    """A frame's numbers, column by column: what a cell is says nothing about how another is read.

    Parameters
    ----------
    frame : DataFrame or pyarrow.Table
        Columns of numbers, booleans or categories that are numbers, nullable and sparse ones too.
    name : str
        What to call the frame in messages.

    Returns
    -------
    ndarray of float32, shape (n_rows, n_columns)

    Raises
    ------
    ParameterError, TypeError
        If a column holds something else, or nothing in a row: the column is named, and the row. If two columns have
        one name, or only some names are text.
    """
    if _is_of(frame, "pyarrow"):
        needed("pandas", "A table of Arrow", "pandas")
        frame = frame.to_pandas(ignore_metadata=True)
    _check_names(list(frame.columns), name)
    table = np.empty(frame.shape, dtype=np.float32)
    for number, label in enumerate(frame.columns):
        column = frame.iloc[:, number] if _is_of(frame, "pandas") else frame.to_series(number)

        def where(index: tuple[int, ...], number: int = number, label: Any = label) -> str:
            return f"at index ({index[0]}, {number}), in column {label!r},"

        values = _numbers(column, name, label, where)
        with np.errstate(over="ignore"):
            table[:, number] = values
        finite = np.isfinite(table[:, number])
        if not finite.all():
            row = int(finite.argmin())
            raise ParameterError(
                f"The '{name}' parameter must be finite numbers. Got {not_finite(values[row])} {where((row,))} "
                f"instead; {int((~finite).sum())} of this column's values are not finite (NaN, infinity, or too large)."
                f"{if_missing(values[row])}"
            )
    return table


def _is_of(value: object, library: str, *kinds: str) -> bool:
    """Whether a value is of one of a library's classes; of its frames, if none is named."""
    module = sys.modules.get(library)
    classes = (getattr(module, kind, None) for kind in kinds or _FRAMES[library])
    return isinstance(value, tuple(kind for kind in classes if isinstance(kind, type)))


def _check_names(labels: list[Any], name: str) -> None:
    seen: set[Any] = set()
    for label in labels:
        if label in seen:
            raise parameter_error(name, "a frame whose columns have different names", f"{label!r} twice")
        seen.add(label)
    other = [label for label in labels if not isinstance(label, str)]
    if other and len(other) < len(labels):
        got = f"{other[0]!r} ({type(other[0]).__name__}) beside text; rename the columns"
        raise parameter_error(name, "a frame whose columns' names are all text, or none", got)
    for label in labels:
        if isinstance(label, str) and any("\ud800" <= letter <= "\udfff" for letter in label):
            got = f"{label!a}, which holds half of a character"
            raise parameter_error(name, "a frame whose columns' names can be written as UTF-8", got)


def _numbers(column: Any, name: str, label: Any, where: Where) -> Floats:
    """One column as float64."""
    values = column.to_numpy()
    if _is_categorical(column):
        values = np.asarray(column.astype(object))
    elif _is_nullable_number(column) and not bool(column.isna().any()):
        values = column.to_numpy(dtype=np.float64)
    if values.ndim != 1:
        raise parameter_error(
            name, "finite numbers", f"several values a row (type {column.dtype}) in column {label!r}"
        )
    if values.dtype.kind in "fiub":
        return np.asarray(values, dtype=np.float64)
    if values.dtype.kind == "O":
        _check_no_word(values, name, where)
        return from_objects(values, name, where)
    raise parameter_error(name, "finite numbers", f"values of type {column.dtype} in column {label!r}")


def _is_categorical(column: Any) -> bool:
    return _is_of(column, "pandas", "Series") and isinstance(
        column.dtype, sys.modules["pandas"].CategoricalDtype
    )


def _is_nullable_number(column: Any) -> bool:
    if not _is_of(column, "pandas", "Series") or isinstance(column.dtype, np.dtype):
        return False
    return (
        bool(sys.modules["pandas"].api.types.is_numeric_dtype(column.dtype))
        and getattr(column.dtype, "kind", "") != "c"
    )


def _check_no_word(values: npt.NDArray[Any], name: str, where: Where) -> None:
    """Refuse text; one cell can make a column text, so the cell that is no number is the one to name."""
    words = [row for row, value in enumerate(values.tolist()) if isinstance(value, (str, bytes))]
    if words:
        row = next((row for row in words if not _is_written_number(values[row])), words[0])
        raise no_number(values[row], name, where((row,)))


def _is_written_number(word: Any) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
