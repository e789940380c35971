"""Data sets that do not fit into memory: read once, kept in one file, and mapped."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from certssb import _core
from certssb._checks import check_path, parameter_error, shown
from certssb.data._features import kept
from certssb.data._map_style import each_sample, is_items, sample_at, sample_count, source_of
from certssb.data._samples import Sample, alike
from certssb.exceptions import FileError
from certssb.watch.progress import Report, progress_bar

__all__ = ["spooled"]

_HEAD = 1 << 12
"""Bytes in front of the samples: what is said of them is known when all are written, and has room there."""
_PROBED = 16
"""Items under whose digest the others are looked for."""
_BLOCK = 1 << 24
"""Bytes that are read in one go."""
_TYPES = {"U8": np.uint8, "F16": np.float16, "F32": np.float32}
_ONLY = "items that single precision holds exactly, so that what is kept is what came: bytes, or floats of half or single precision"


def spooled(
    X: Any,
    cache_dir: str | os.PathLike[str],
    *,
    version: str | None = None,
    progress: bool | Report = True,
    name: str = "X",
) -> tuple[npt.NDArray[Any], list[Any] | None]:
    """Read a data set that does not fit into memory into one file, and map that file.

    Items are read once, in the order of the index, by the workers of the loader if `X` is one that has some. A later call reads
    all of them again and compares them with the file, so that samples which changed meanwhile are never taken for those that
    were handed in; the file is written anew if one did. With a `version` the file is found without that: then only the number of
    items and 16 of them, spread over all, are compared, and that the others are the same is your word. A random
    transform makes different samples, and so another file, in each call.

    Parameters
    ----------
    X : Dataset or DataLoader
        As for :func:`as_arrays`: items are samples, or (sample, label) with labels that are integers, strings or booleans.
    cache_dir : str or path
        Directory of the file; created if it does not exist. The file is a safetensors file with the samples in the type
        in which they came, and their labels as JSON; it gets its name once it is complete, and is not removed.
    version : str, optional
        A name for what the data set holds now, such as a release or a commit of it: give another one whenever any sample,
        label or transform changes. Certificates are about the samples in the file.
    progress : bool or callable, default=True
        Whether to show a bar, or a function that is called with the number of items read and the total.
    name : str, default="X"
        What to call the data in messages.

    Returns
    -------
    samples : memmap of shape (n_samples, n_features) or (n_samples, channels, height, width)
        Bytes, or floats of half or single precision, read-only: values are read from the file when they are asked for.
    labels : list or None
        None if the items hold none.

    Raises
    ------
    ParameterError
        If an item cannot be read, or cannot be kept as it is; the error names its number.
    ShapeError
        If items differ in shape, or there are none.
    FileError
        If `cache_dir` cannot be written to, or has no room. No incomplete file is left behind.

    Examples
    --------
    >>> import tempfile, torch
    >>> from torch.utils.data import TensorDataset
    >>> from certssb.data import spooled
    >>> photos = TensorDataset(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 0]))
    >>> X, y = spooled(photos, cache_dir=tempfile.mkdtemp(), progress=False)
    >>> type(X).__name__, X.shape, X.dtype.name, y
    ('memmap', (3, 1, 8, 8), 'uint8', [0, 1, 0])
    """
    if not is_items(X):
        expected = "a data set or a loader, whose items are read one by one; an array is mapped by numpy.load"
        raise parameter_error(name, expected, f"a {type(X).__name__}")
    if version is not None and (not isinstance(version, str) or not version):
        raise parameter_error("version", "None or a string that is not empty", shown(version))
    folder = check_path("cache_dir", cache_dir)
    source, n = source_of(X, name), sample_count(X, name)
    path = folder / f"samples-{_probe(source, n, version, name)}.safetensors"
    found = _mapped(path, n)
    if found is not None and version is None:
        with progress_bar(progress, "comparing", unit="sample") as report:
            if not _is_same(found, X, source, n, name, report):
                found = None
    if found is None:
        with progress_bar(progress, "reading", unit="sample") as report:
            found = _written(path, n, lambda file: _spool(X, source, n, name, file, report))
    if found is None:
        raise FileError(f"'{path}' ('cache_dir') was written and has another content by now.")
    return found


def _probe(source: Any, n: int, version: str | None, name: str) -> str:
    """A digest of some items: the name under which the others are looked for."""
    digest = hashlib.sha256(f"certssb samples 1\n{n}\n{json.dumps(version)}\n".encode())
    for index in np.unique(np.linspace(0, n - 1, _PROBED).astype(np.int64)).tolist():
        sample, label = sample_at(functools.partial(source.__getitem__, index), index, name)
        digest.update(f"{sample.kind} {sample.values.shape} {_labels(label, index, name)}\n".encode())
        digest.update(np.ascontiguousarray(sample.values).tobytes())
    return digest.hexdigest()[:32]


def _is_same(
    found: tuple[npt.NDArray[Any], list[Any] | None], X: Any, source: Any, n: int, name: str, report: Report
) -> bool:
    """Whether a file holds all samples and labels of a data set, in the types in which they come."""
    samples, labels = found
    report(0, n)
    for index, (sample, label) in enumerate(each_sample(X, source, n, name)):
        own, kept = _as_kept(sample, index, name)[0], samples[index]
        if own.dtype != kept.dtype or own.shape != kept.shape or own.tobytes() != kept.tobytes():
            return False
        if _labels(label, index, name) != _labels([] if labels is None else [labels[index]], index, name):
            return False
        report(index + 1, n)
    return True


def _labels(labels: list[Any], index: int, name: str) -> str:
    if not all(isinstance(label, (bool, int, str)) for label in labels):
        got = f"{type(labels[0]).__name__} at item {index}"
        raise parameter_error(name, "items with labels that are integers, strings or booleans", got)
    return json.dumps(labels)


def _spool(X: Any, source: Any, n: int, name: str, file: BinaryIO, report: Report) -> None:
    """All samples behind room for a head, their labels behind them, and then the head."""
    labels: list[Any] = []

    def samples() -> Iterator[Sample]:
        for index, (sample, label) in enumerate(each_sample(X, source, n, name)):
            _labels(label, index, name)
            labels.extend(label)
            yield sample

    digest, first = hashlib.sha256(), None
    file.write(b" " * _HEAD)
    report(0, n)
    for index, sample in enumerate(alike(samples(), name)):
        own = _as_kept(sample, index, name)
        first = own if first is None else first
        row = np.ascontiguousarray(own).tobytes()
        digest.update(row)
        file.write(row)
        report(index + 1, n)
    assert first is not None
    text = json.dumps(labels).encode()
    digest.update(text)
    file.write(text)
    kind = next(code for code, dtype in _TYPES.items() if first.dtype == dtype)
    size = n * first.nbytes
    head = {
        "__metadata__": {"certssb": "samples 1", "sha256": digest.hexdigest()},
        "samples": {"dtype": kind, "shape": [n, *first.shape[1:]], "data_offsets": [0, size]},
        "labels": {"dtype": "U8", "shape": [len(text)], "data_offsets": [size, size + len(text)]},
    }
    file.seek(0)
    file.write((_HEAD - 8).to_bytes(8, "little") + json.dumps(head).encode().ljust(_HEAD - 8))


def _as_kept(sample: Sample, index: int, name: str) -> npt.NDArray[Any]:
    """One sample with a dimension in front, as an array in which it is read as itself."""
    own = kept(Sample(sample.values[np.newaxis], sample.kind), name)
    if own.lost > 0.0:
        raise parameter_error(name, _ONLY, f"{sample.kind} at item {index}")
    if index == 0:
        again = kept(Sample(own.array, f"array of {own.array.dtype.name}"), name)
        if again.axes != tuple(range(own.array.ndim)) or again.divisor != own.divisor:
            expected = "images of a shape that says where the channels are"
            raise parameter_error(name, expected, f"shape {own.array.shape[1:]}")
    return own.array


def _written(
    path: Path, n: int, fill: Callable[[BinaryIO], None]
) -> tuple[npt.NDArray[Any], list[Any] | None] | None:
    """What `fill` writes, at `path` in one step and when it is whole; and then the samples and labels that it has."""
    try:
        os.makedirs(path.parent, exist_ok=True)
        draft = _core.DraftFolder(path)
        try:
            whole = os.path.join(draft.path, path.name)
            with open(whole, "w+b") as file:
                fill(file)
                file.flush()
                os.fsync(file.fileno())
                os.replace(whole, path)
                # This file, whatever another process has put at its path since: two data sets may be looked for there.
                file.seek(0)
                return _held(file, path, n)
        finally:
            draft.discard()
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise FileError(f"'{path}' ('cache_dir') cannot be written: {why}.", error.errno) from error


def _mapped(path: Path, n: int) -> tuple[npt.NDArray[Any], list[Any] | None] | None:
    """The samples and labels of a file, if it is there and whole."""
    with contextlib.suppress(OSError):
        if path.is_file():
            with open(path, "rb") as file:
                return _held(file, path, n)
    return None


def _held(file: BinaryIO, path: Path, n: int) -> tuple[npt.NDArray[Any], list[Any] | None] | None:
    """The samples and labels of an open file, if it is whole: what is mapped is what was looked at."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        size = int.from_bytes(file.read(8), "little")
        if size != _HEAD - 8:
            return None
        head = json.loads(file.read(size))
        digest = hashlib.sha256()
        while block := file.read(_BLOCK):
            digest.update(block)
        if head["__metadata__"]["sha256"] != digest.hexdigest():
            return None
        shape = tuple(head["samples"]["shape"])
        begin, end = head["labels"]["data_offsets"]
        file.seek(_HEAD + begin)
        labels = json.loads(file.read(end - begin))
        if shape[0] == n and len(labels) in (0, n):
            samples: Any = np.memmap(file, _TYPES[head["samples"]["dtype"]], "r", _HEAD, shape)
            samples.filename = path.resolve()
            return samples, labels or None
    return None
