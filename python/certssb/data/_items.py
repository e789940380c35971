"""Data sets that are read item by item: torch's map-style data sets, and loaders around them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils import data

from certssb._checks import parameter_error, shape_error
from certssb.data._tensors import is_tensor, tensor_to_numpy
from certssb.exceptions import CertssbError, ParameterError, ShapeError


def is_items(X: Any) -> bool:
    """Whether `X` is read item by item, rather than as an array, frame or list."""
    if isinstance(X, (data.Dataset, data.DataLoader)):
        return True
    arrays = ("__array__", "__dlpack__", "__array_interface__", "columns", "toarray")
    if isinstance(X, (list, tuple, dict, str, bytes)) or any(hasattr(X, name) for name in arrays):
        return False
    return hasattr(type(X), "__getitem__") and hasattr(type(X), "__len__")


def read_items(X: Any, name: str) -> tuple[Any, list[Any] | None]:
    """Read every item once, in the order of the index.

    Returns
    -------
    samples : ndarray or tensor of shape (n_samples, ...)
        A tensor if the samples are tensors, so that its dimensions are read as torch's.
    labels : list or None
        None if the items hold none.
    """
    source = _source(X, name)
    if type(source) is data.TensorDataset and len(source.tensors) <= 2 and len(source) > 0:
        labels = source.tensors[1].cpu().tolist() if len(source.tensors) == 2 else None
        return source.tensors[0], labels
    try:
        n = len(source)
    except (TypeError, NotImplementedError):
        raise parameter_error(name, "a data set with a length", type(source).__name__) from None
    if n == 0:
        raise ShapeError(
            f"'{name}' must have samples. Found {type(X).__name__} with 0 sample(s) while a minimum of 1 is required."
        )
    return _read(source, n, name)


def _read(source: Any, n: int, name: str) -> tuple[Any, list[Any] | None]:
    samples: npt.NDArray[Any] = np.empty(0)
    labels: list[Any] = []
    tensors = False
    for index in range(n):
        try:
            item = source[index]
            sample, label = _parts(item)
            row = _row(sample)
        except CertssbError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
            raise ParameterError(f"Item {index} of '{name}' cannot be read: {reason}") from error
        if index == 0:
            tensors = is_tensor(sample)
            samples = np.empty((n, *row.shape), np.float32 if row.dtype.kind == "f" else row.dtype)
            has_labels, kind = len(label) == 1, row.dtype.kind
        if row.shape != samples.shape[1:]:
            raise shape_error(
                name, f"samples of one shape, {samples.shape[1:]}", f"{row.shape} at item {index}"
            )
        if row.dtype.kind != kind or (kind != "f" and row.dtype != samples.dtype):
            raise parameter_error(
                name, f"samples of one type, {samples.dtype}", f"{row.dtype} at item {index}"
            )
        if (len(label) == 1) != has_labels:
            raise parameter_error(
                name, "items that all have labels, or none", f"another kind at item {index}"
            )
        with np.errstate(over="ignore"):
            samples[index] = row
        labels += label
    return torch.from_numpy(samples) if tensors else samples, labels if has_labels else None


def _source(X: Any, name: str) -> Any:
    """The data set that a loader is around, if its items are what the loader would show."""
    if isinstance(X, data.DataLoader):
        sampler, batches = X.sampler, X.batch_sampler
        whole = isinstance(sampler, data.SequentialSampler) or (
            isinstance(sampler, data.RandomSampler)
            and not sampler.replacement
            and sampler.num_samples == len(sampler.data_source)
        )
        if not isinstance(X.dataset, data.IterableDataset):
            if not whole or (batches is not None and type(batches) is not data.BatchSampler):
                got = f"one that samples by {type(sampler if not whole else batches).__name__}"
                raise parameter_error(
                    name, "a loader of all items; use torch.utils.data.Subset for some", got
                )
            if X.collate_fn not in (data.default_collate, data.default_convert):
                raise parameter_error(name, "a loader without a collate_fn of its own", "one that has it")
        X = X.dataset
    if isinstance(X, data.IterableDataset):
        expected = "a data set that is read by index, since a sample's noise belongs to its index"
        raise parameter_error(name, expected, f"the iterable {type(X).__name__}")
    return X


def _parts(item: Any) -> tuple[Any, list[Any]]:
    """Sample and label (a list of none or one)."""
    if isinstance(item, (tuple, list)) and not all(isinstance(value, (int, float)) for value in item):
        if len(item) == 1:
            return item[0], []
        if len(item) == 2:
            return item[0], [_label(item[1])]
        raise TypeError(f"an item must be a sample or (sample, label), not {len(item)} values")
    if isinstance(item, dict) or item is None:
        raise TypeError(f"an item must be a sample or (sample, label), not {type(item).__name__}")
    return item, []


def _label(label: Any) -> Any:
    return label.item() if hasattr(label, "item") and getattr(label, "ndim", 1) == 0 else label


def _row(sample: Any) -> npt.NDArray[Any]:
    row = tensor_to_numpy(sample, "X") if is_tensor(sample) else np.asarray(sample)
    if isinstance(sample, (list, tuple, int, float)) and row.dtype.kind in "iub":
        row = row.astype(np.float64)
    if row.dtype.kind not in "fiub":
        what = type(sample).__name__
        raise TypeError(f"a sample must be a tensor, an array, numbers or an image, not {what}")
    return row
