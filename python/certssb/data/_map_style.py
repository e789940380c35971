"""Data sets that are read item by item: torch's map-style data sets, and loaders around them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from certssb._checks import parameter_error
from certssb.data._frames import is_frame
from certssb.data._numbers import is_number_type
from certssb.data._pictures import is_picture
from certssb.data._samples import Sample, collect, read_item, typed
from certssb.data._tensors import is_array
from certssb.exceptions import ShapeError


def is_items(X: Any) -> bool:
    """Whether `X` is read item by item, rather than as an array, frame or list."""
    if _is_torch(X, "Dataset", "DataLoader"):
        return True
    if isinstance(X, (list, tuple, str, bytes, Mapping)) or is_array(X) or is_frame(X) or is_picture(X):
        return False
    if hasattr(type(X), "columns") or hasattr(type(X), "toarray"):
        return False
    return hasattr(type(X), "__getitem__") and hasattr(type(X), "__len__")


def read_items(X: Any, name: str) -> tuple[Sample, list[Any] | None]:
    """Read every item once, in the order of the index.

    Returns
    -------
    samples : Sample
        All of them, of one type.
    labels : list or None
        None if the items hold none.
    """
    source = _source(X, name)
    if _is_plain_tensors(source):
        labels = source.tensors[1].cpu().tolist() if len(source.tensors) == 2 else None
        return typed(source.tensors[0], name), labels
    try:
        n = len(source)
    except (TypeError, NotImplementedError):
        raise parameter_error(name, "a data set with a length", type(source).__name__) from None
    if n == 0:
        raise ShapeError(
            f"'{name}' must have samples. Found {type(X).__name__} with 0 sample(s) while a minimum of 1 is required."
        )
    labels = []
    counts: list[int] = []

    def read(index: int) -> Sample:
        def get() -> Any:
            sample, label = _parts(source[index])
            labels.extend(label)
            counts.append(len(label))
            return sample

        sample = read_item(get, name, index)
        if counts[-1] != counts[0]:
            got = f"another kind at item {index}"
            raise parameter_error(name, "items that all have labels, or none", got)
        return sample

    return collect(n, read, name), labels if counts[0] else None


def _is_plain_tensors(source: Any) -> bool:
    """Whether a data set is tensors and nothing of the user's own around them: samples, and labels if there are any."""
    exact = (
        _is_torch(source, "TensorDataset") and type(source) is sys.modules["torch.utils.data"].TensorDataset
    )
    return exact and len(source.tensors) <= 2 and len(source) > 0


def _is_torch(value: object, *kinds: str) -> bool:
    """Whether a value is of one of these classes of ``torch.utils.data``, without importing torch for who does not use it."""
    module = sys.modules.get("torch.utils.data")
    classes = (getattr(module, kind, None) for kind in kinds)
    return isinstance(value, tuple(kind for kind in classes if isinstance(kind, type)))


def _source(X: Any, name: str) -> Any:
    """The data set that a loader is around, if its items are what the loader would show."""
    if _is_torch(X, "DataLoader"):
        data = sys.modules["torch.utils.data"]
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
    if _is_torch(X, "IterableDataset"):
        expected = "a data set that is read by index, since a sample's noise belongs to its index"
        raise parameter_error(name, expected, f"the iterable {type(X).__name__}")
    return X


def _parts(item: Any) -> tuple[Any, list[Any]]:
    """Sample and label (a list of none or one)."""
    if isinstance(item, (tuple, list)) and not all(is_number_type(type(value)) for value in item):
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
