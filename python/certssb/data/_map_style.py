"""Data sets that are read item by item: torch's map-style data sets, and loaders around them."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from certssb._checks import parameter_error
from certssb.data._frames import is_frame
from certssb.data._numbers import is_number_type
from certssb.data._pictures import is_picture
from certssb.data._samples import Sample, collect, read_item, typed
from certssb.data._tensors import is_array
from certssb.exceptions import ParameterError, ShapeError


def is_items(X: Any) -> bool:
    """Whether `X` is read item by item, rather than as an array, frame or list."""
    if is_torch(X, "Dataset", "DataLoader"):
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
    source = source_of(X, name)
    if _is_plain_tensors(source):
        beside = source.tensors[1].cpu().tolist() if len(source.tensors) == 2 else None
        return typed(source.tensors[0], name), beside
    n = sample_count(X, name)
    labels: list[Any] = []

    def unlabelled() -> Iterator[Sample]:
        for sample, label in each_sample(X, source, n, name):
            labels.extend(label)
            yield sample

    samples = unlabelled()
    read = collect(n, lambda _: next(samples), name)
    return read, labels or None


def each_sample(X: Any, source: Any, n: int, name: str) -> Iterator[tuple[Sample, list[Any]]]:
    """The first `n` items in their order: sample and label (a list of one, or of none if no item has one).

    Raises
    ------
    ParameterError, ShapeError
        If one cannot be read, or has a label and others have none; the error names its number.
    """
    items, n_labels = each_item(X, source, n), 0
    for index in range(n):
        sample, label = sample_at(lambda: next(items)(), index, name)
        n_labels = len(label) if index == 0 else n_labels
        if len(label) != n_labels:
            got = f"another kind at item {index}"
            raise parameter_error(name, "items that all have labels, or none", got)
        yield sample, label


def sample_at(item: Callable[[], Any], index: int, name: str) -> tuple[Sample, list[Any]]:
    """Sample and label (a list of none or one) of an item, which is to be called."""
    label: list[Any] = []

    def get() -> Any:
        sample, own = _parts(item())
        label.extend(own)
        return sample

    return read_item(get, name, index), label


def _length(source: Any, name: str) -> int:
    try:
        return len(source)
    except (TypeError, NotImplementedError):
        raise parameter_error(name, "a data set with a length", type(source).__name__) from None


def sample_count(X: Any, name: str) -> int:
    """How many samples a data set or a loader has, which is at least one."""
    n = _length(source_of(X, name), name)
    if n == 0:
        raise ShapeError(
            f"'{name}' must have samples. Found {type(X).__name__} with 0 sample(s) while a minimum of 1 is required."
        )
    return n


def some_items(X: Any, start: int, stop: int, name: str) -> list[Any]:
    """Samples of a data set or a loader, without their labels, as they are."""
    source = source_of(X, name)

    def get(item: Callable[[], Any], index: int) -> Any:
        try:
            return _parts(item())[0]
        except Exception as error:
            reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
            raise ParameterError(f"Item {index} of '{name}' cannot be read: {reason}") from error

    return [get(item, start + place) for place, item in enumerate(each_item(X, source, stop, start))]


def each_item(X: Any, source: Any, stop: int, start: int = 0) -> Iterator[Callable[[], Any]]:
    """Items in the order of their numbers, each to be called: by the workers of the loader `X` if it has some."""
    if not is_torch(X, "DataLoader") or X.num_workers == 0:
        for index in range(start, stop):
            yield functools.partial(source.__getitem__, index)
        return
    loader = sys.modules["torch.utils.data"].DataLoader(
        _Tried(source, start, stop),
        batch_size=_AT_ONCE,
        num_workers=X.num_workers,
        collate_fn=list,
        worker_init_fn=X.worker_init_fn,
        multiprocessing_context=X.multiprocessing_context,
        prefetch_factor=X.prefetch_factor,
        timeout=X.timeout,
    )
    for batch in loader:
        for item, failure in batch:
            yield functools.partial(_told, item, failure)


_AT_ONCE = 16
"""Items that a worker reads in one go."""


class _Tried:
    """Items by their numbers, or why one cannot be read: what a worker raises would stop all, and name no number."""

    def __init__(self, source: Any, start: int, stop: int) -> None:
        self._source, self._start, self._n = source, start, stop - start

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, place: int) -> tuple[Any, str | None]:
        try:
            return self._source[self._start + place], None
        except Exception as error:  # noqa: BLE001 (told where the item is asked for)
            return None, f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


class _Failed(Exception):
    """What a worker could not read."""


def _told(item: Any, failure: str | None) -> Any:
    if failure is not None:
        raise _Failed(failure)
    return item


def is_loader_of_stream(X: Any) -> bool:
    """Whether a loader shows batches of a data set that is no more than a stream."""
    return is_torch(X, "DataLoader") and isinstance(
        X.dataset, sys.modules["torch.utils.data"].IterableDataset
    )


def _is_plain_tensors(source: Any) -> bool:
    """Whether a data set is tensors and nothing of the user's own around them: samples, and labels if there are any."""
    exact = (
        is_torch(source, "TensorDataset") and type(source) is sys.modules["torch.utils.data"].TensorDataset
    )
    return exact and len(source.tensors) <= 2 and len(source) > 0


def is_torch(value: object, *kinds: str) -> bool:
    """Whether a value is of one of these classes of ``torch.utils.data``, without importing torch for who does not use it."""
    module = sys.modules.get("torch.utils.data")
    classes = (getattr(module, kind, None) for kind in kinds)
    return isinstance(value, tuple(kind for kind in classes if isinstance(kind, type)))


def source_of(X: Any, name: str) -> Any:
    """The data set that a loader is around, if its items are what the loader would show."""
    if is_torch(X, "DataLoader"):
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
    if is_torch(X, "IterableDataset"):
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
