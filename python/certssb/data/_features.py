"""Samples of any kind as features: finite float32, a table or images with channels first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from certssb._checks import parameter_error, shape_error
from certssb.data._frames import is_frame, read_frame
from certssb.data._map_style import is_items, read_items
from certssb.data._numbers import from_objects, if_missing, is_number_type, not_finite
from certssb.data._pictures import is_picture
from certssb.data._reading import Reading
from certssb.data._rows import Rows, is_kept, rows_of
from certssb.data._samples import NUMBERS, Sample, not_numeric, read_list
from certssb.data._tensors import is_array, is_tensor, sparse, to_numpy
from certssb.exceptions import ParameterError, ShapeError

__all__ = ["as_arrays", "as_features", "kept", "read_arrays", "read_features", "read_labelled", "read_rows"]

Features: TypeAlias = npt.NDArray[np.float32]

_CHANNELS = (1, 3, 4)
_ROWS = 2**22
"""Values that are converted or looked at in one go: the data may be larger than memory."""


def as_arrays(X: Any, y: Any = None, name: str = "X") -> tuple[Features, Any]:
    """Turn training data of any kind into features, and labels as they came.

    A ``Dataset`` is read once, item after item in the order of the index, whatever shuffles or workers a
    ``DataLoader`` around it has: its batches, order, ``collate_fn`` and ``drop_last`` play no part. What was read is
    the training set that noise is added to and that is certified against. A random transform is thereby drawn once;
    drawing it anew in every epoch would show members the received data past the noise.

    Parameters
    ----------
    X : array-like, Dataset or DataLoader
        As for :func:`as_features`. Items of a data set are (sample, label) or, with `y`, samples; samples are
        tensors, arrays, numbers or PIL images (which are uint8, and scaled as such).
    y : array-like of shape (n_samples,), optional
        Labels; left out if the items hold them.
    name : str, default="X"
        What to call the data in messages.

    Returns
    -------
    features : ndarray of shape (n_samples, n_features) or (n_samples, channels, height, width)
        As from :func:`as_features`: float32, in memory. A data set that does not fit is read by :func:`spooled`.
    labels : array-like
        `y`, or the items' labels as a list.

    Raises
    ------
    ParameterError
        If an item cannot be read (the error names its number, and the reason is its ``__cause__``), labels are
        missing or given twice, the data set has no length, or a loader draws only some items.
    ShapeError
        If items differ in shape, or there are none.

    Examples
    --------
    >>> import torch
    >>> from torch.utils.data import TensorDataset
    >>> from certssb.data import as_arrays
    >>> X, y = as_arrays(TensorDataset(torch.zeros(3, 1, 8, 8), torch.tensor([0, 1, 0])))
    >>> X.shape, [int(label) for label in y]
    ((3, 1, 8, 8), [0, 1, 0])
    """
    rows, labels, _ = read_labelled(X, y, name)
    return rows.whole(), labels


def read_arrays(X: Any, y: Any = None, name: str = "X") -> tuple[Features, Any, Reading]:
    """What :func:`as_arrays` gives, and how the samples were read.

    Parameters
    ----------
    X, y, name
        As for :func:`as_arrays`.

    Returns
    -------
    features, labels : ndarray and array-like
        As from :func:`as_arrays`.
    reading : Reading
        As from :func:`read_features`.

    Raises
    ------
    ParameterError, ShapeError, TypeError
        As from :func:`as_arrays`.

    Examples
    --------
    >>> from certssb.data import read_arrays
    >>> X, y, reading = read_arrays([[1.0, 2.0], [3.0, 4.0]], ["a", "b"])
    >>> reading.kind, reading.divisor
    ('numbers', 1)
    """
    rows, labels, reading = read_labelled(X, y, name)
    return rows.whole(), labels, reading


def read_labelled(X: Any, y: Any = None, name: str = "X") -> tuple[Rows, Any, Reading]:
    """What :func:`read_arrays` gives, with samples in the type in which they came."""
    if not is_items(X):
        rows, reading = read_rows(X, name)
        return rows, y, reading
    samples, labels = read_items(X, name)
    if y is not None and labels is not None:
        raise parameter_error("y", f"left out, since the items of '{name}' hold labels", "labels")
    if y is None and labels is None:
        raise parameter_error(
            name, "a data set of items (sample, label), or y given beside it", "items alone"
        )
    rows, reading = _rows(samples, name)
    return rows, labels if y is None else y, reading


def as_features(X: Any, name: str = "X") -> Features:
    """Turn samples of any kind into features, or say what is wrong with them.

    Parameters
    ----------
    X : array-like
        NumPy array (memory-mapped too), torch tensor on any device, pandas, polars or Arrow frame,
        object with ``__array__`` or ``__dlpack__``, list of numbers, arrays, tensors or pictures;
        a map-style torch ``Dataset`` or a ``DataLoader`` (see :func:`as_arrays`; labels in its items are ignored). Not
        changed.

        - 2 dimensions are a table (n_samples, n_features).
        - 3 dimensions are grey images (n_samples, height, width).
        - 4 dimensions are images (n_samples, channels, height, width). They are taken for
          (n_samples, height, width, channels) and transposed if the last dimension is 1, 3 or 4 and
          the second is not. If both are, the reading that makes the images square (and larger
          than one pixel) counts; if that decides nothing, a torch tensor is read as channels
          first, as torch does, and anything else is refused.
        - uint8 images are divided by 255. Other integers, booleans, uint8 tables and lists of Python
          numbers are taken as they are.
        - Pictures (PIL) are read by their mode alone: 1 as L, P as RGB, LA and PA as RGBA; L, RGB,
          RGBA, CMYK, YCbCr and HSV as they are, all divided by 255; I;16 divided by 65535; F as it
          is. Other modes are refused. An orientation in EXIF data is not applied.
        - Columns of a frame are numbers, booleans, or categories that are numbers.
        - A zero is read without its sign: -0.0 and 0.0 are one value.

        No sample decides how another is read: samples in a list or data set have one type and
        one shape (pictures: one mode), and anything else is refused.
    name : str, default="X"
        What to call the array in messages.

    Returns
    -------
    ndarray of shape (n_samples, n_features) or (n_samples, channels, height, width)
        Finite features, float32, C-contiguous. Shares memory with `X` if `X` has this form already and no -0.0: do not
        write to it.

    Raises
    ------
    ParameterError
        If values are NaN, infinite, missing, masked, beyond float32, complex, text or not numbers, or samples are of
        several types.
    ShapeError
        If there are no samples or no features, samples of unequal shape, or a different number of dimensions; or if it
        cannot be told where the channels are.
    TypeError
        If `X` is sparse, is not array-like or holds objects that are not numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from certssb.data import as_features
    >>> as_features([[1, 2], [3, 4]])
    array([[1., 2.],
           [3., 4.]], dtype=float32)
    >>> photos = np.full((5, 32, 32, 3), 255, dtype=np.uint8)
    >>> images = as_features(photos)
    >>> images.shape, float(images.max())
    ((5, 3, 32, 32), 1.0)
    """
    return read_features(X, name)[0]


def read_features(X: Any, name: str = "X") -> tuple[Features, Reading]:
    """What :func:`as_features` gives, and how it was read.

    Parameters
    ----------
    X, name
        As for :func:`as_features`.

    Returns
    -------
    features : ndarray of shape (n_samples, n_features) or (n_samples, channels, height, width)
        As from :func:`as_features`.
    reading : Reading
        What the samples were and how they were scaled; :meth:`Reading.check` compares a test set's with the
        training set's.

    Raises
    ------
    ParameterError, ShapeError, TypeError
        As from :func:`as_features`.

    Examples
    --------
    >>> import numpy as np
    >>> from certssb.data import read_features
    >>> features, reading = read_features(np.full((5, 28, 28), 255, dtype=np.uint8))
    >>> reading.kind, reading.divisor
    ('array of uint8', 255)
    """
    rows, reading = read_rows(X, name)
    return rows.whole(), reading


def read_rows(X: Any, name: str = "X") -> tuple[Rows, Reading]:
    """What :func:`read_features` gives, in the type in which it came."""
    return _rows(_read(X, name), name)


def _rows(given: Sample, name: str) -> tuple[Rows, Reading]:
    array, divisor, lost, axes = kept(given, name)
    rows = rows_of(array, divisor)
    n_bad, first = rows.not_finite
    if first is not None:
        raise _not_finite(rows, n_bad, first, given.values, axes, name)
    # Most samples, not all: what one sample holds must not decide what is said of the others.
    unit = 2 * rows.n_unit >= len(rows)
    scale = given.divisor if rows.ndim == 4 else 1
    return rows, Reading(given.kind, scale, unit, rows.ndim == 4, lost)


class Kept(NamedTuple):
    """Samples in the type and the order of dimensions in which they are kept.

    Attributes
    ----------
    array : ndarray of shape (n_samples, n_features) or (n_samples, channels, height, width)
        Of a type that is kept (bytes, floats of half or single precision).
    divisor : int
        By what values are still to be divided.
    lost : float
        How far, in L2, most samples were moved when they were rounded to single precision.
    axes : tuple of int
        The dimensions of the samples as they came, in their order in `array`.
    """

    array: npt.NDArray[Any]
    divisor: int
    lost: float
    axes: tuple[int, ...]


def kept(given: Sample, name: str) -> Kept:
    """Samples as they are kept: where they lie if their type is one that is kept, else in single precision.

    Raises
    ------
    ShapeError
        If these are no samples, or it cannot be told where the channels are.
    """
    array = given.values
    _check_not_empty(array, name)
    axes = _axes_of(given, name)
    array = array.transpose(axes)
    if array.ndim == 3:
        array = array[:, np.newaxis]
    divisor = given.divisor if array.ndim == 4 else 1
    if is_kept(array):
        return Kept(array, divisor, 0.0, axes)
    features = _as_float32(array)
    lost = _lost(array, features) / divisor
    if divisor != 1:
        # A new array already, since its type is another.
        np.divide(features, np.float32(divisor), out=features)
    return Kept(features, 1, lost, axes)


def _read(X: Any, name: str) -> Sample:
    """`X` as an array of real numbers of the type that it has."""
    if is_items(X):
        return read_items(X, name)[0]
    if isinstance(X, (list, tuple)):
        return read_list(X, name)
    if is_frame(X):
        return Sample(read_frame(X, name), NUMBERS)
    _check_array_like(X, name)
    array = to_numpy(X, name)
    if array.dtype.kind == "O":
        if array.ndim == 1 and not all(is_number_type(kind) for kind in set(map(type, array.tolist()))):
            return read_list(array.tolist(), name)
        return Sample(from_objects(array, name), NUMBERS)
    if array.dtype.kind not in "fiub":
        raise parameter_error(name, "finite numbers", not_numeric(array.dtype))
    what = "tensor" if is_tensor(X) else "array"
    return Sample(array, f"{what} of {array.dtype.name}")


def _check_array_like(X: Any, name: str) -> None:
    expected = "an array, a tensor, a frame, a list of samples or a data set"
    if is_picture(X):
        raise parameter_error(name, "several samples", f"one picture; a list of pictures, [{name}], is read,")
    if isinstance(X, Iterator):
        got = f"{_a(X)}, which can be read only once; pass list({name})"
        raise TypeError(f"The '{name}' parameter must be {expected}. Got {got} instead.")
    if isinstance(X, (str, bytes, Mapping, AbstractSet)) or not (is_array(X) or is_number_type(type(X))):
        if hasattr(X, "toarray"):
            raise sparse(name)
        raise TypeError(f"The '{name}' parameter must be {expected}. Got {_a(X)} instead.")


def _a(value: object) -> str:
    return "None" if value is None else f"an object of type {type(value).__name__}"


def _as_float32(array: npt.NDArray[Any]) -> Features:
    """Each number rounded by itself, and in one way whatever type the array has: to float64 first, then to float32."""
    with np.errstate(over="ignore"):
        if array.dtype.itemsize <= 4 or array.dtype == np.float64:
            return np.ascontiguousarray(array, dtype=np.float32)
        features = np.empty(array.shape, dtype=np.float32)
        step = max(1, _ROWS // features[0].size)
        for start in range(0, len(array), step):
            features[start : start + step] = array[start : start + step].astype(np.float64)
    return features


def _lost(array: npt.NDArray[Any], features: Features) -> float:
    """How far, in L2, single precision moved samples: further than that at most one of twenty."""
    if array.dtype.kind == "b" or (array.dtype.kind in "iu" and array.dtype.itemsize <= 2):
        return 0.0
    squares = np.empty(len(array))
    step = max(1, _ROWS // features[0].size)
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(array), step):
            moved = array[start : start + step].astype(np.float64) - features[start : start + step]
            moved = moved.reshape(len(moved), -1)
            squares[start : start + step] = np.einsum("ij,ij->i", moved, moved)
    most = float(np.sqrt(np.quantile(np.nan_to_num(squares), 0.95, method="lower")))
    return most if np.isfinite(most) else 0.0


def _check_not_empty(array: npt.NDArray[Any], name: str) -> None:
    expected = "2 dimensions (a table) or 3 or 4 (images)"
    if array.ndim < 2:
        raise ShapeError(
            f"'{name}' must have {expected}. Got an array of shape {array.shape} instead. Reshape your "
            "data either using array.reshape(-1, 1) if your data has a single feature or "
            "array.reshape(1, -1) if it contains a single sample."
        )
    if array.ndim > 4:
        raise shape_error(name, expected, f"shape {array.shape}")
    if len(array) == 0:
        raise ShapeError(
            f"'{name}' must have samples. Found array with 0 sample(s) (shape={array.shape}) while a "
            "minimum of 1 is required."
        )
    if array.size == 0:
        raise ShapeError(
            f"'{name}' must have features. Found array with 0 feature(s) (shape={array.shape}) while a "
            "minimum of 1 is required."
        )


def _axes_of(given: Sample, name: str) -> tuple[int, ...]:
    """Order of the dimensions that puts channels second."""
    shape = given.values.shape
    if len(shape) == 4 and not given.is_picture and _channels_last(shape, name, given.is_tensor):
        return (0, 3, 1, 2)
    return tuple(range(len(shape)))


def _channels_last(shape: tuple[int, ...], name: str, torch_like: bool) -> bool:
    """Whether images of this shape are (n, height, width, channels)."""
    _, second, third, fourth = shape
    if fourth not in _CHANNELS or (second, third, fourth) == (1, 1, 1):
        return False
    if second not in _CHANNELS:
        return True
    first_is_square, last_is_square = third == fourth > 1, second == third > 1
    if first_is_square != last_is_square:
        return last_is_square
    if torch_like:
        return False
    raise ShapeError(
        f"'{name}' must have the shape (n_samples, channels, height, width). Got {shape}, where both the "
        f"second and the last dimension could be the channels. Are there {second} channels in images of "
        f"{third} x {fourth}? Then pass a torch tensor, which is read so: torch.as_tensor({name}). Or {fourth} in "
        f"images of {second} x {third}? Then torch.as_tensor({name}).permute(0, 3, 1, 2)."
    )


def _not_finite(
    rows: Rows, count: int, first: tuple[int, int], given: npt.NDArray[Any], axes: tuple[int, ...], name: str
) -> ParameterError:
    """Name the first value that is not finite by its place in the array as it was given."""
    row, place = first
    index = [row, *(int(i) for i in np.unravel_index(place, rows.shape[1:]))]
    if given.ndim == 3:
        del index[1]
    where = tuple(index[axes.index(axis)] for axis in range(given.ndim))
    values = "values are" if count > 1 else "value is"
    return ParameterError(
        f"The '{name}' parameter must be finite numbers. Got {not_finite(given[where])} at index {where} instead; "
        f"{count} {values} not finite (NaN, infinity, or too large).{if_missing(given[where])}"
    )
