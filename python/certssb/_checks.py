"""One wording for refusals, and the checks that several modules share."""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from certssb.exceptions import ParameterError, ShapeError

T = TypeVar("T", bound=np.generic)


def parameter_error(name: str, expected: str, got: object) -> ParameterError:
    """Name the parameter, what was expected and what came."""
    # An expectation may end with a whole sentence.
    stop = "" if expected.endswith(".") else "."
    return ParameterError(f"The '{name}' parameter must be {expected}{stop} Got {got} instead.")


def shape_error(name: str, expected: str, got: object) -> ShapeError:
    """Name the array, the shape that was expected and the one that came."""
    return ShapeError(f"'{name}' must have {expected}. Got {got} instead.")


def one_of(known: Iterable[object]) -> str:
    """List the known values, for a message."""
    return "one of " + ", ".join(repr(k) for k in known)


def shown(value: object) -> str:
    """The value for a message; an integer of thousands of digits, which Python refuses to write, by its size."""
    try:
        text = repr(value)
    except ValueError:
        return f"a value of type {type(value).__name__} with thousands of digits"
    return text if len(text) <= 300 else f"{text[:300]}..."


def check_real(name: str, value: object, expected: str, low: float, high: float) -> float:
    """Return `value` as a float if it is a real number in [`low`, `high`]."""
    number = check_number(name, value, expected)
    if not low <= number <= high:
        raise parameter_error(name, expected, shown(value))
    return number


def check_number(name: str, value: object, expected: str) -> float:
    """Return `value` as a float if it is a real number; its range is checked where it is used."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise parameter_error(name, expected, shown(value))
    try:
        return float(value)
    except OverflowError:  # an integer or a fraction beyond every float
        raise parameter_error(name, expected, "a number beyond every float") from None


def check_positive(name: str, value: object) -> float:
    """Return `value` as a float if it is finite and greater than 0."""
    smallest, largest = math.nextafter(0.0, 1.0), math.nextafter(math.inf, 0.0)
    return check_real(name, value, "a finite float greater than 0", smallest, largest)


def check_integer(name: str, value: object, expected: str, low: int, high: int = 2**63 - 1) -> int:
    """Return `value` as an int if it is an integer from `low` to `high`, which the core can count to."""
    is_integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_integer or int(value) < low:  # type: ignore[call-overload]
        raise parameter_error(name, expected, shown(value))
    number: int = int(value)  # type: ignore[call-overload]
    if number > high:
        told = expected if " to " in expected else f"{expected}, and at most {high}"
        raise parameter_error(name, told, shown(value))
    return number


def frozen(array: npt.NDArray[T]) -> npt.NDArray[T]:
    """The array, which nobody can write to any more: for arrays that are handed out and that later answers are read from."""
    array.setflags(write=False)
    return array


def read_only(array: npt.NDArray[T]) -> npt.NDArray[T]:
    """The same values to read only, where they lie: for arrays of the caller's that are too large to copy."""
    return frozen(array.view())


def check_path(name: str, value: object) -> Path:
    """Return `value` as a path."""
    try:
        return Path(os.fsdecode(value))  # type: ignore[arg-type]
    except TypeError:
        raise parameter_error(name, "a path", shown(value)) from None


def unreadable(path: object, error: BaseException) -> str:
    """A file for a message, with what was wrong with it; its name once, whatever the error says."""
    why = getattr(error, "strerror", None) or str(error).strip().rstrip(".")
    named = f"'{path}'"
    return f"{named} ({why.replace(f'{named} cannot', 'it cannot', 1)})"


def check_callable(name: str, value: object, expected: str = "a callable") -> None:
    """Refuse what cannot be called."""
    if not callable(value):
        raise parameter_error(name, expected, shown(value))


def check_floats(name: str, value: npt.ArrayLike, copy: bool = False) -> npt.NDArray[np.float64]:
    """Return `value` as an array of floats; their shape and range are checked where they are used."""
    try:
        return np.array(value, dtype=np.float64) if copy else np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise parameter_error(name, "numbers", shown(value)) from None


def check_seed(name: str, value: object) -> int:
    """Return `value` as an int if it can seed a generator, whose seeds have 64 bits."""
    return check_integer(name, value, "an integer greater than or equal to 0", 0, 2**64 - 1)
