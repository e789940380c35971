"""Samples of any kind as features: finite float32, a table or images with channels first."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from certssb._checks import parameter_error, shape_error
from certssb.data._items import is_items, read_items
from certssb.data._tensors import is_tensor, plain
from certssb.exceptions import ParameterError, ShapeError

__all__ = ["as_arrays", "as_features"]

Features: TypeAlias = npt.NDArray[np.float32]

_CHANNELS = (1, 3, 4)


def as_arrays(X: Any, y: Any = None, name: str = "X") -> tuple[Features, Any]:
    """Turn training data of any kind into features, and labels as they came.

    A ``Dataset`` is read once, item after item in the order of the index, whatever shuffles or workers a
    ``DataLoader`` around it has: its batches, order, ``collate_fn`` and ``drop_last`` play no part. What was read is
    the training set that noise is added to and that is certified against. A transform that is random has been drawn
    once with it; drawing it anew in every epoch would be a second door to the data, around the noise.

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
        As from :func:`as_features`: float32, in memory. A data set that does not fit is written into a
        ``numpy.memmap`` of that shape first, which is used where it lies.
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
    if not is_items(X):
        return as_features(X, name), y
    samples, labels = read_items(X, name)
    if y is not None and labels is not None:
        raise parameter_error("y", f"left out, since the items of '{name}' hold labels", "labels")
    if y is None and labels is None:
        raise parameter_error(
            name, "a data set of items (sample, label), or y given beside it", "items alone"
        )
    return as_features(samples, name), labels if y is None else y


def as_features(X: Any, name: str = "X") -> Features:
    """Turn what a user calls data into features, or say what is wrong with it.

    Parameters
    ----------
    X : array-like
        NumPy array (memory-mapped too), torch tensor on any device, pandas or polars frame,
        object with ``__array__`` or ``__dlpack__``, list of numbers, arrays, tensors or images;
        a map-style torch ``Dataset`` or a ``DataLoader`` (see :func:`as_arrays`; labels in its
        items are left aside). Not changed.

        - 2 dimensions are a table (n_samples, n_features).
        - 3 dimensions are grey images (n_samples, height, width).
        - 4 dimensions are images (n_samples, channels, height, width). They are taken for
          (n_samples, height, width, channels) and turned if the last dimension is 1, 3 or 4 and
          the second is not. If both are, the reading that makes the images square (and larger
          than one pixel) counts; if that decides nothing, a torch tensor is read as channels
          first, as torch does, and anything else is refused.
        - uint8 images are divided by 255. Other integers, booleans and uint8 tables are taken
          as they are.
    name : str, default="X"
        What to call the array in messages.

    Returns
    -------
    ndarray of shape (n_samples, n_features) or (n_samples, channels, height, width)
        Finite features, float32, C-contiguous. Shares memory with `X` where `X` is so already:
        do not write to it.

    Raises
    ------
    ParameterError
        If values are NaN, infinite, beyond float32, complex or no numbers.
    ShapeError
        If there are no samples or no features, rows of unequal length, or another number of
        dimensions; or if it cannot be told where the channels are.
    TypeError
        If `X` is sparse or holds objects that are no numbers.

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
    if is_items(X):
        X, _ = read_items(X, name)
    given = _numeric(X, name)
    _check_not_empty(given, name)
    axes = _axes_of(given, name, torch_like=is_tensor(X))
    array = given.transpose(axes)
    if array.ndim == 3:
        array = array[:, np.newaxis]
    with np.errstate(over="ignore"):
        features = np.ascontiguousarray(array, dtype=np.float32)
    if array.ndim == 4 and array.dtype == np.uint8:
        # A new array already, since its type is another.
        np.divide(features, np.float32(255), out=features)
    if given.dtype.kind == "f":
        _check_finite(features, given, axes, name)
    return features


def _numeric(X: Any, name: str) -> npt.NDArray[Any]:
    """`X` as an array of real numbers, with scikit-learn's rules and wording."""
    from sklearn.utils import check_array

    readable = plain(X, name)
    try:
        array = check_array(
            readable,
            dtype="numeric",
            ensure_all_finite=False,
            ensure_2d=False,
            allow_nd=True,
            ensure_min_samples=0,
            ensure_min_features=0,
            input_name=name,
        )
    except ValueError as error:
        if "inhomogeneous" in str(error):
            raise shape_error(name, "samples of one shape", "samples of different shapes") from None
        reason = str(error).splitlines()[0]
        raise ParameterError(
            f"The '{name}' parameter must be finite numbers. Got other values instead: {reason}"
        ) from None
    if array.dtype.kind not in "fiub":
        raise parameter_error(name, "finite numbers", f"values of type {array.dtype}")
    numbers: npt.NDArray[Any] = array
    return numbers


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


def _axes_of(array: npt.NDArray[Any], name: str, torch_like: bool) -> tuple[int, ...]:
    """Order of the dimensions that puts channels second."""
    if array.ndim == 4 and _channels_last(array.shape, name, torch_like):
        return (0, 3, 1, 2)
    return tuple(range(array.ndim))


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


def _check_finite(features: Features, given: npt.NDArray[Any], axes: tuple[int, ...], name: str) -> None:
    """Look for NaN and infinite values, some rows at a time: the data may be larger than memory."""
    step = max(1, 2**22 // features[0].size)
    count, first = 0, None
    for start in range(0, len(features), step):
        rows = features[start : start + step]
        # A finite sum means finite values; NaN and infinity are sticky.
        with np.errstate(all="ignore"):
            if np.isfinite(rows.sum(dtype=np.float64)):
                continue
        bad = ~np.isfinite(rows)
        count += int(bad.sum())
        if first is None:
            first = np.array(np.unravel_index(int(bad.argmax()), bad.shape))
            first[0] += start
    if first is not None:
        raise _not_finite(first, count, given, axes, name)


def _not_finite(
    first: npt.NDArray[Any], count: int, given: npt.NDArray[Any], axes: tuple[int, ...], name: str
) -> ParameterError:
    """Name the first such value by its place in the array as it was given."""
    if given.ndim == 3:
        first = np.delete(first, 1)
    place = tuple(int(first[axes.index(axis)]) for axis in range(given.ndim))
    value = given[place]
    what = "NaN" if np.isnan(value) else "infinity" if np.isinf(value) else f"{value}, too large for float32,"
    values = "values are" if count > 1 else "value is"
    return ParameterError(
        f"The '{name}' parameter must be finite numbers. Got {what} at index {place} instead; "
        f"{count} {values} not finite (NaN, infinity, or too large)."
    )
