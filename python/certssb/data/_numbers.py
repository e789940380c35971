"""Python objects as numbers, each on its own: what one is says nothing about how another is read."""

from __future__ import annotations

import numbers
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from certssb._checks import shape_error
from certssb.exceptions import ParameterError

Floats: TypeAlias = npt.NDArray[np.float64]
Where: TypeAlias = Callable[[tuple[int, ...]], str]

DEEPEST = 6
"""Levels of lists in lists that are looked into: more than any array here has dimensions."""


def is_number_type(kind: type) -> bool:
    """Whether objects of a type are real numbers. A duration of NumPy's calls itself an integer and is none."""
    real = (numbers.Real, Decimal, np.bool_, np.integer, np.floating)
    return issubclass(kind, real) and not issubclass(kind, np.timedelta64)


def is_missing(value: object) -> bool:
    """Whether a value stands for one that is not there."""
    # Without an import: only who uses pandas has its values.
    pandas = sys.modules.get("pandas")
    if value is None or (value is getattr(pandas, "NA", None)) or (value is getattr(pandas, "NaT", None)):
        return True
    if isinstance(value, np.ma.MaskedArray) and value.ndim == 0:
        return bool(np.ma.getmaskarray(value))
    if isinstance(value, (float, np.floating)):
        return bool(np.isnan(value))
    if isinstance(value, Decimal):
        return value.is_nan()
    return isinstance(value, (np.datetime64, np.timedelta64)) and bool(np.isnat(value))


def described(value: object) -> str:
    """An object in a message, short, without asking it for more than its type unless it is text."""
    if isinstance(value, (str, bytes)):
        shown = value if len(value) <= 20 else value[:20]
        more = "" if len(value) <= 20 else "..."
        return f"{type(value).__name__} {shown!r}{more}"
    if is_missing(value):
        return "a missing value"
    kind = type(value).__name__
    return f"{'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind}"


def no_number(value: object, name: str, where: str) -> Exception:
    """The refusal of an entry."""
    expected = f"The '{name}' parameter must be finite numbers."
    if isinstance(value, complex):
        return ParameterError(f"{expected} Complex data not supported. Got a complex number {where} instead.")
    if isinstance(value, int):
        return ParameterError(f"{expected} Got an integer too large for float32 {where} instead.")
    got = f"{expected} Got {described(value)} {where} instead"
    if isinstance(value, (str, bytes)) or is_missing(value):
        return ParameterError(f"{got}.")
    return TypeError(f"{got}; an entry of this argument must be no string and no other object, but a number.")


def not_finite(value: Any) -> str:
    """What to call a number that is not finite as float32."""
    return "NaN" if np.isnan(value) else "infinity" if np.isinf(value) else f"{value}, too large for float32,"


def if_missing(value: Any) -> str:
    """What to do where a value is missing: the mean of a column, which comes to mind, is a way around the law."""
    if not np.isnan(value):
        return ""
    return (
        " Put a constant in the place of missing values, such as -1, and impute inside the members if at all: "
        "what is computed from all received samples is a way around the law."
    )


def from_objects(objects: npt.NDArray[Any], name: str, where: Where | None = None) -> Floats:
    """An array of objects as float64.

    Parameters
    ----------
    objects : ndarray of object
        Entries of any kind.
    name : str
        What to call the array in messages.
    where : callable, optional
        From an entry's index to its place in words, for messages.

    Returns
    -------
    ndarray of float64, of the shape of `objects`

    Raises
    ------
    ParameterError, TypeError
        If an entry is no real number, is missing or is beyond float64.
    """
    flat = objects.ravel().tolist()
    if all(is_number_type(kind) for kind in set(map(type, flat))):
        try:
            return objects.astype(np.float64)
        except (OverflowError, ValueError):
            pass  # The loop finds which one.
    values = np.empty(len(flat))
    for place, value in enumerate(flat):
        try:
            values[place] = _float(value)
        except (OverflowError, TypeError, ValueError):
            index = tuple(int(i) for i in np.unravel_index(place, objects.shape))
            raise no_number(value, name, where(index) if where else f"at index {index}") from None
    return values.reshape(objects.shape)


def _float(value: object) -> float:
    if is_number_type(type(value)):
        return float(value)  # type: ignore[arg-type]
    if (
        isinstance(value, np.ndarray)
        and value.ndim == 0
        and value.dtype.kind in "fiub"
        and not is_missing(value)
    ):
        return float(value)
    raise TypeError


def leaf_types(rows: Any, depth: int = DEEPEST) -> set[type]:
    """Types of what lies in lists of lists, at any depth."""
    kinds: set[type] = set(map(type, rows))
    nested = {kind for kind in kinds if issubclass(kind, (list, tuple))}
    kinds -= nested
    if nested and depth == 0:
        return kinds | {list}
    for row in rows if nested else ():
        if isinstance(row, (list, tuple)):
            kinds |= leaf_types(row, depth - 1)
    return kinds


def from_lists(rows: Any, name: str) -> Floats:
    """Lists of lists of numbers as float64.

    Raises
    ------
    ParameterError, TypeError
        If an entry is no real number, is missing or is beyond float64.
    ShapeError
        If lists differ in length.
    """
    if all(is_number_type(kind) for kind in leaf_types(rows)):
        try:
            return np.array(rows, dtype=np.float64)
        except (OverflowError, TypeError, ValueError):
            pass  # The walk finds out where.
    _check_lists(rows, name, ())
    raise shape_error(name, "samples of one shape", "samples of different shapes")


def _check_lists(rows: Any, name: str, place: tuple[int, ...]) -> None:
    """Find the entry that is no number, or the sample whose shape is another."""
    for number, row in enumerate(rows):
        here = (*place, number)
        if isinstance(row, (list, tuple)):
            if len(here) <= DEEPEST:
                _check_lists(row, name, here)
            continue
        try:
            _float(row)
        except (OverflowError, TypeError, ValueError):
            raise no_number(row, name, f"at index {_place(here)}") from None
    lengths = [len(row) if isinstance(row, (list, tuple)) else None for row in rows]
    for number, length in enumerate(lengths):
        if length != lengths[0]:
            found = "a number" if length is None else f"{length} values"
            first = "a number" if lengths[0] is None else f"{lengths[0]} values"
            expected = f"samples of one shape: {first} at index {_place((*place, 0))} as everywhere"
            raise shape_error(name, expected, f"{found} at index {_place((*place, number))}")


def _place(index: tuple[int, ...]) -> str:
    return str(index[0]) if len(index) == 1 else str(index)
