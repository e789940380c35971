"""Memory that training frees and needs again at once: kept by the C library meanwhile, whatever the environment says.

The core has glibc raise its own thresholds for that. An environment that sets one of them fixes all of them, and then every
step maps and unmaps its activations: Dask's workers begin with ``MALLOC_TRIM_THRESHOLD_=65536``, which doubles the processor
time of small networks. What an environment asks for holds again, and what was kept is given back, when the work is done.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["kept"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Numbers of the parameters, from malloc.h."""

_DEFAULT = 128 << 10
"""Bytes: glibc's value of both, before it adapts them."""

_MAPPED = 32 << 20
"""Bytes that a block has at least which is mapped on its own: the most that glibc allows."""

_TRIMMED = 2 * _MAPPED
"""Free bytes at the end of a heap that are given back: glibc's own choice beside that."""

_NEVER = 2**31 - 1
"""Bytes: the most that can be said."""

_FIXING = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_")
_TUNABLE = (
    "glibc.malloc.trim_threshold",
    "glibc.malloc.top_pad",
    "glibc.malloc.mmap_threshold",
    "glibc.malloc.mmap_max",
)

_LOCK = threading.Lock()
_INSIDE = 0
"""Threads of this process that need it."""


def _library() -> Any | None:
    """The C library, where it is one with thresholds."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


def _asked() -> dict[str, str]:
    """What the environment says of thresholds, by the names of variables and tunables."""
    found = {name: os.environ[name] for name in _FIXING if name in os.environ}
    for setting in os.environ.get("GLIBC_TUNABLES", "").split(":"):
        name, _, value = setting.partition("=")
        if name in _TUNABLE:
            found[name] = value
    return found


def _bytes_of(asked: dict[str, str], *names: str) -> int:
    for name in names:
        try:
            number = int(asked[name], 0)
        except (KeyError, ValueError):
            continue
        # Below zero: never.
        return _NEVER if number < 0 else number
    return _DEFAULT


def _afresh() -> None:
    """A forked child has none of its parent's other threads, which may have held the lock."""
    global _LOCK, _INSIDE
    _LOCK, _INSIDE = threading.Lock(), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_afresh)


@contextmanager
def kept() -> Iterator[None]:
    """Keep freed memory for the next step, where the environment has switched off that the C library learns to."""
    global _INSIDE
    asked = _asked()
    library = _library() if asked else None
    if library is None:
        yield
        return
    trim = _bytes_of(asked, "MALLOC_TRIM_THRESHOLD_", "glibc.malloc.trim_threshold")
    mapped = _bytes_of(asked, "MALLOC_MMAP_THRESHOLD_", "glibc.malloc.mmap_threshold")
    with _LOCK:
        _INSIDE += 1
        if _INSIDE == 1:
            library.mallopt(_M_TRIM_THRESHOLD, min(max(trim, _TRIMMED), _NEVER))
            library.mallopt(_M_MMAP_THRESHOLD, _MAPPED)
    try:
        yield
    finally:
        with _LOCK:
            _INSIDE -= 1
            if _INSIDE == 0:
                library.mallopt(_M_TRIM_THRESHOLD, min(trim, _NEVER))
                library.mallopt(_M_MMAP_THRESHOLD, min(mapped, _MAPPED))
                library.malloc_trim(0)
