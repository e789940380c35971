"""What all tasks of a run have in common, and how it travels: once to each worker, beside the tasks."""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import shutil
import tempfile
import threading
import uuid
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from certssb._checks import parameter_error

__all__ = ["Carrier", "InFile", "Packed", "Payload", "found", "ready", "unpicklable"]

_KEPT = 2
"""Payloads that a process keeps: of a fit, and of a question after it."""

_ALIGNED = 64
"""Bytes that parts of a file begin at multiples of."""

_ALIGNMENT = 8
"""Bytes that the largest number has."""


class Payload(Protocol):
    """What tasks need beside their members' numbers."""

    def work(self, order: Any, stopped: Any) -> dict[str, Any]:
        """Do what a task says; the reply."""


class Packed:
    """A payload as bytes, its arrays apart from the rest."""

    def __init__(self, key: str, main: bytes, buffers: Sequence[Any]) -> None:
        self.key, self.main, self.buffers = key, main, list(buffers)

    def unpacked(self) -> Any:
        return pickle.loads(self.main, buffers=[_aligned(buffer) for buffer in self.buffers])


def _aligned(buffer: Any) -> npt.NDArray[np.uint8]:
    """The bytes of a buffer where numbers may begin; engines leave them at any address in what came from a network."""
    view = np.frombuffer(buffer, dtype=np.uint8)
    return view if view.ctypes.data % _ALIGNMENT == 0 else view.copy()


class InFile:
    """Where a packed payload lies, for processes that see this file."""

    def __init__(self, key: str, path: str, sizes: Sequence[int]) -> None:
        self.key, self.path, self.sizes = key, path, list(sizes)

    def unpacked(self) -> Any | None:
        """The payload with its arrays mapped; None where there is no such file."""
        try:
            whole = np.memmap(self.path, dtype=np.uint8, mode="r")
        except (OSError, ValueError):
            return None
        parts, start = [], 0
        for size in self.sizes:
            parts.append(whole[start : start + size])
            start += -(-size // _ALIGNED) * _ALIGNED
        if start > len(whole):
            return None
        return pickle.loads(parts[0].tobytes(), buffers=parts[1:])


class Carrier:
    """A payload of this process's, ready to travel in whatever form an engine wants.

    Raises
    ------
    ParameterError
        If something in it cannot be pickled, not even by value.
    """

    def __init__(self, payload: Payload) -> None:
        self.key = uuid.uuid4().hex
        self.payload = payload
        self._packed: Packed | None = None
        self._folder: str | None = None

    def by_value(self) -> Packed:
        if self._packed is None:
            buffers: list[pickle.PickleBuffer] = []
            try:
                main = _by_value().dumps(self.payload, protocol=5, buffer_callback=buffers.append)
            except Exception as error:
                raise unpicklable(error) from error
            views = [np.frombuffer(buffer.raw(), dtype=np.uint8) for buffer in buffers]
            self._packed = Packed(self.key, main, views)
        return self._packed

    def in_file(self) -> InFile:
        """The payload in a file of its own, which ends with this object."""
        packed = self.by_value()
        parts: list[Any] = [packed.main, *packed.buffers]
        sizes = [len(part) for part in parts]
        if self._folder is None:
            folder = tempfile.mkdtemp(prefix="certssb-")
            try:
                with open(os.path.join(folder, self.key), "wb") as file:
                    for part, size in zip(parts, sizes, strict=True):
                        file.write(part)
                        file.write(bytes(-size % _ALIGNED))
            except OSError:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            self._folder = folder
        return InFile(self.key, os.path.join(self._folder, self.key), sizes)

    def here(self) -> None:
        """Let tasks that run in this process find it."""
        _KNOWN.put(self.key, self.payload)

    def close(self) -> None:
        _KNOWN.drop(self.key)
        self._packed = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def _by_value() -> Any:
    """cloudpickle, which sends functions and classes of a notebook by value; it comes with scikit-learn's joblib."""
    try:
        return importlib.import_module("cloudpickle")
    except ModuleNotFoundError:
        return importlib.import_module("joblib.externals.cloudpickle")


def unpicklable(error: BaseException) -> Exception:
    """What is said where data, a model or a function cannot be sent."""
    what = f"{type(error).__name__}: {str(error).partition(chr(10))[0][:300]}"
    return parameter_error(
        "executor",
        "None for a model and data that cannot be pickled",
        f"one that sends them to other processes ({what})",
    )


class _Known:
    """Payloads that this process has, and what is ready to work on them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._payloads: OrderedDict[str, Any] = OrderedDict()
        self._idle: dict[str, list[Any]] = {}

    def get(self, key: str) -> Any | None:
        with self._lock:
            payload = self._payloads.get(key)
            if payload is not None:
                self._payloads.move_to_end(key)
            return payload

    def put(self, key: str, payload: Any) -> Any:
        """Keep a payload; the one that is there already, if another thread was faster."""
        with self._lock:
            payload = self._payloads.setdefault(key, payload)
            self._payloads.move_to_end(key)
            while len(self._payloads) > _KEPT:
                oldest, _ = self._payloads.popitem(last=False)
                self._idle.pop(oldest, None)
            return payload

    def drop(self, key: str) -> None:
        with self._lock:
            self._payloads.pop(key, None)
            self._idle.pop(key, None)

    def take(self, payload: Any) -> Any | None:
        with self._lock:
            for key, known in self._payloads.items():
                if known is payload:
                    idle = self._idle.get(key)
                    return idle.pop() if idle else None
        return None

    def give(self, payload: Any, ready: Any) -> None:
        with self._lock:
            for key, known in self._payloads.items():
                if known is payload:
                    self._idle.setdefault(key, []).append(ready)


_KNOWN = _Known()


def found(key: str, packed: Packed | InFile | None) -> Any | None:
    """The payload of a task, from this process or as it was sent; None if it is neither here nor there."""
    payload = _KNOWN.get(key)
    if payload is not None or packed is None:
        return payload
    unpacked = packed.unpacked()
    return None if unpacked is None else _KNOWN.put(key, unpacked)


@contextlib.contextmanager
def ready(payload: Any, make: Any) -> Any:
    """What works on a payload, used by one thread at a time: one that is idle, or a new one."""
    worker = _KNOWN.take(payload)
    worker = make() if worker is None else worker
    yield worker
    _KNOWN.give(payload, worker)
