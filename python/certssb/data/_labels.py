"""Labels of any kind as classes and class numbers."""

from __future__ import annotations

import sys
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from certssb._checks import parameter_error, shape_error
from certssb.data._tensors import is_array, to_numpy
from certssb.exceptions import ParameterError

__all__ = ["as_labels"]

Codes: TypeAlias = npt.NDArray[np.int64]

GIVEN = "labels of the given classes, {}"
_LABELS = "an array of class labels (integers, strings or booleans), one per sample"


def as_labels(
    y: Any, n_samples: int, name: str = "y", *, classes: Any = None
) -> tuple[npt.NDArray[Any], Codes]:
    """Turn labels of any kind into classes and their numbers.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        One label per sample: integers of any size, strings or booleans; floats if they are whole numbers, as in
        scikit-learn. A column (n_samples, 1) is flattened with scikit-learn's warning. Arrays, tensors, pandas series,
        lists.
    n_samples : int
        Number of samples that the labels belong to.
    name : str, default="y"
        What to call the labels in messages.
    classes : array-like of shape (n_classes,), optional
        All possible classes, in any order, known without looking at the labels. Other labels are refused; a class
        without samples still counts.

    Returns
    -------
    classes : ndarray of shape (n_classes,)
        The distinct labels, or the given classes, ascending, in their own type.
    codes : ndarray of shape (n_samples,)
        Each sample's class as a number 0..n_classes-1 into `classes`, int64.

    Raises
    ------
    ParameterError
        If labels are fractions, missing, infinite or of mixed or unknown types, are none of the given
        classes, or there are fewer than two classes.
    ShapeError
        If there is not exactly one label per sample.

    Warns
    -----
    sklearn.exceptions.DataConversionWarning
        If `y` is a column.

    Examples
    --------
    >>> from certssb.data import as_labels
    >>> classes, codes = as_labels(["cat", "dog", "cat"], n_samples=3)
    >>> classes.tolist(), codes.tolist()
    (['cat', 'dog'], [0, 1, 0])
    """
    labels = read_labels(y, n_samples, name)
    if classes is not None:
        known = _class_list(classes)
        return known, _numbers(labels, known, name)
    received, codes = np.unique(labels, return_inverse=True)
    _check_words(received, name)
    if len(received) < 2:
        got = f"{len(received)} class, {received.tolist()},"
        raise parameter_error(name, "labels of at least two classes", got)
    return received, codes.astype(np.int64)


def read_labels(y: Any, n_samples: int, name: str) -> npt.NDArray[Any]:
    """One label for every sample, in a type that sorts."""
    if y is None:
        raise ParameterError(
            f"The '{name}' parameter must be {_LABELS}. Got None instead: "
            f"this estimator requires y to be passed, but the target y is None."
        )
    labels = _one_dimension(_label_array(y, name), name)
    if len(labels) != n_samples:
        raise shape_error(name, f"one label per sample, {n_samples} in all", f"{len(labels)} labels")
    return _known_kind(labels, name)


def codes_among(y: Any, n_samples: int, known: npt.NDArray[Any], name: str, expected: str) -> Codes:
    """Class numbers of labels among classes that are known from elsewhere, as :func:`as_labels` gives them; `expected` says of
    which, with a place for the list."""
    return _numbers(read_labels(y, n_samples, name), known, name, expected)


def _class_list(classes: Any) -> npt.NDArray[Any]:
    """Classes that were given, ascending."""
    listed = list(classes) if isinstance(classes, (set, frozenset)) else classes
    known = np.unique(_known_kind(_one_dimension(_label_array(listed, "classes"), "classes"), "classes"))
    if len(known) < 2:
        raise parameter_error("classes", "a list of at least two classes", repr(classes))
    _check_words(known, "classes")
    return known


def _check_words(classes: npt.NDArray[Any], name: str) -> None:
    """Refuse words that no file can hold."""
    for word in classes.tolist() if _family(classes) == "text" else ():
        try:
            word.encode()
        except UnicodeEncodeError:
            got = f"{word!r}, which is no text"
            raise parameter_error(name, _LABELS, got) from None


def _numbers(labels: npt.NDArray[Any], known: npt.NDArray[Any], name: str, expected: str = GIVEN) -> Codes:
    """Each label's place among the given classes."""
    inside = np.zeros(len(labels), dtype=np.bool_)
    codes = np.zeros(len(labels), dtype=np.int64)
    if _family(labels) == _family(known):
        with np.errstate(invalid="ignore", over="ignore"):
            same = labels.astype(known.dtype)
        codes = np.minimum(np.searchsorted(known, same), len(known) - 1).astype(np.int64)
        # Compared with the label as it came, so that no cast (a longer word, a larger number) makes it another one.
        inside = np.asarray(known[codes] == labels, dtype=np.bool_)
    if not inside.all():
        index = int(inside.argmin())
        listed = ", ".join(repr(label) for label in known[:10].tolist()) + (
            ", ..." if len(known) > 10 else ""
        )
        got = f"{labels[index : index + 1].tolist()[0]!r} at index {index}"
        raise parameter_error(name, expected.format(f"[{listed}]"), got)
    return codes


def _family(labels: npt.NDArray[Any]) -> str:
    return {"b": "boolean", "i": "number", "u": "number", "f": "number"}.get(labels.dtype.kind, "text")


def _label_array(y: Any, name: str) -> npt.NDArray[Any]:
    from scipy.sparse import issparse

    if issparse(y):
        raise TypeError(f"Sparse data was passed for '{name}', but dense data is required.")
    if isinstance(y, (list, tuple)) and not any(_holds_several(label) for label in y):
        # NumPy would turn labels into whatever all of them fit in, and merge some of them on the way.
        labels = np.empty(len(y), dtype=object)
        for place, label in enumerate(y):
            labels[place] = None if label is np.ma.masked else label.item() if _holds_one(label) else label
        return _from_objects(labels, name) if len(y) else labels
    if is_array(y):
        return to_numpy(y, name)
    try:
        return np.asarray(y)
    except ValueError:
        raise shape_error(name, "one label per sample", "rows of different length") from None


def _holds_several(label: object) -> bool:
    return isinstance(label, (list, tuple)) or getattr(label, "shape", ()) != ()


def _holds_one(label: object) -> bool:
    """Whether a label is a scalar or tensor without dimensions, of some library."""
    return (
        getattr(label, "shape", None) == ()
        and hasattr(label, "item")
        and not isinstance(label, np.longdouble)
    )


def _one_dimension(labels: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    if labels.ndim == 1:
        return labels
    if labels.ndim == 2 and labels.shape[1] == 1:
        from sklearn.utils import column_or_1d

        column: npt.NDArray[Any] = column_or_1d(labels, warn=True)
        return column
    advice = f"; for one-hot labels pass {name}.argmax(axis=1)" if labels.ndim == 2 else ""
    expected = f"one label per sample: {name} should be a 1d array{advice}"
    raise shape_error(name, expected, f"an array of shape {labels.shape}")


def _known_kind(labels: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """Labels that name classes, in a type that sorts; anything else is refused by name."""
    kind = labels.dtype.kind
    if kind in "iubU":
        return labels.astype(labels.dtype.newbyteorder("="), copy=False)
    if kind == "f":
        _check_whole(labels, name)
        return (
            _double(labels, name) if labels.dtype.itemsize > 8 else labels.astype(f"f{labels.dtype.itemsize}")
        )
    if kind == "T":
        return _from_objects(labels.astype(object), name)
    if kind == "O":
        return _from_objects(labels, name)
    if kind == "c":
        raise ParameterError(f"The '{name}' parameter must be {_LABELS}. Complex data not supported.")
    raise parameter_error(name, _LABELS, f"Unknown label type: {labels.dtype}")


def _double(labels: npt.NDArray[Any], name: str) -> npt.NDArray[np.float64]:
    """Whole numbers of any type as doubles, if not one of them is rounded."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            doubles: npt.NDArray[np.float64] = labels.astype(np.float64)
    except OverflowError:
        raise parameter_error(name, _LABELS, "integers beyond 64 bits") from None
    same = [float(double) == label for double, label in zip(doubles, labels.tolist(), strict=True)]
    if not all(same):
        index = same.index(False)
        got = f"{labels[index]} at index {index}, which a double cannot hold,"
        raise parameter_error(name, _LABELS, got)
    return doubles


def _check_whole(labels: npt.NDArray[Any], name: str) -> None:
    finite = np.isfinite(labels)
    if not finite.all():
        index = int(finite.argmin())
        what = "NaN" if np.isnan(labels[index]) else "infinity"
        raise parameter_error(name, _LABELS, f"a missing label: Input {name} contains {what} (index {index})")
    fraction = labels != np.trunc(labels)
    if fraction.any():
        index = int(fraction.argmax())
        got = f"{labels[index]} at index {index} (Unknown label type: continuous)"
        raise parameter_error(name, _LABELS, got)


def _from_objects(labels: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """Give Python objects (a list, an object column of a frame) the type that they share."""
    for index, label in enumerate(labels):
        if _is_missing(label):
            what = "NaN" if isinstance(label, (float, np.floating)) else "NaN or None"
            got = f"a missing label: Input {name} contains {what} (index {index})"
            raise parameter_error(name, _LABELS, got)
    kinds = {_object_kind(label) for label in labels}
    if kinds == {"string"}:
        return _words(labels)
    if kinds == {"boolean"}:
        return labels.astype(np.bool_)
    if kinds == {"integer"}:
        return _integers(labels, name)
    if kinds and kinds <= {"integer", "float"}:
        return _known_kind(_double(labels, name), name)
    if any(isinstance(label, (complex, np.complexfloating)) for label in labels):
        raise ParameterError(f"The '{name}' parameter must be {_LABELS}. Complex data not supported.")
    types = ", ".join(sorted({type(label).__name__ for label in labels}))
    raise parameter_error(name, _LABELS, f"Unknown label type: objects of {types}")


def _is_missing(label: object) -> bool:
    pandas = sys.modules.get("pandas")
    return (
        label is None
        or (isinstance(label, (float, np.floating)) and bool(np.isnan(label)))
        or (pandas is not None and (label is pandas.NA or label is pandas.NaT))
    )


def _words(labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Strings as what they hold: a member of an enumeration of strings is its value, not its name."""
    words = [label if type(label) is str else str.__str__(label) for label in labels]
    if any(word.endswith("\0") for word in words):
        # An array of NumPy's own strings would lose those characters.
        kept = np.empty(len(words), dtype=object)
        kept[:] = words
        return kept
    return np.array(words, dtype=np.str_)


def _integers(labels: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """Integers in the type of 64 bits that holds all of them."""
    numbers = [int(label) for label in labels]
    for dtype in (np.int64, np.uint64):
        if np.iinfo(dtype).min <= min(numbers) and max(numbers) <= np.iinfo(dtype).max:
            return np.array(numbers, dtype=dtype)
    raise parameter_error(name, _LABELS, "integers beyond 64 bits")


def _object_kind(label: object) -> str:
    if isinstance(label, str):
        return "string"
    if isinstance(label, (bool, np.bool_)):
        return "boolean"
    if isinstance(label, (int, np.integer)):
        return "integer"
    return "float" if isinstance(label, (float, np.floating)) else "unknown"
