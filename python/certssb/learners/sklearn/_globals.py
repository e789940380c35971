"""What all threads of a process share, and members must not: global generators, and the thread pools of libraries."""

from __future__ import annotations

import os
import random
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from certssb._generators import seeded

__all__ = ["OneThread", "in_turn", "seeded", "stand", "watching_warnings"]

_TURN = threading.RLock()
"""Held by whoever exchanges the filters of warnings, where that is not each thread's own."""


def _after_fork() -> None:
    """Begin anew in a forked child: a thread of the parent that held the lock is not there to release it."""
    global _TURN
    _TURN = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def stand() -> tuple[Any, ...]:
    """Where Python's and NumPy's global generators stand, to be compared."""
    own: Any = np.random.get_state()
    return random.getstate(), own[0], own[1].tobytes(), *own[2:]


class _Watched(list):  # type: ignore[type-arg]
    """Filters of warnings that notice when somebody puts a copy in their place."""

    copied = False

    def __getitem__(self, key: Any) -> Any:
        self.copied = self.copied or isinstance(key, slice)
        return super().__getitem__(key)


@contextmanager
def watching_warnings() -> Iterator[Callable[[], bool]]:
    """Find out whether what is done inside the block exchanges the filters of warnings, which all threads share.

    ``warnings.catch_warnings`` does, as scikit-learn's forests do for each tree. Two threads that do so at the same time
    put each other's filters back: warnings by the thousand, and another set of filters at the end.
    """
    before, watched = warnings.filters, _Watched(warnings.filters)
    warnings.filters = watched
    try:
        yield lambda: watched.copied
    finally:
        warnings.filters = before


@contextmanager
def in_turn(needed: bool) -> Iterator[None]:
    """One thread at a time inside the block, if it exchanges the filters of warnings."""
    if not needed:
        yield
        return
    with _TURN:
        yield


class OneThread:
    """One thread for each member in the libraries that would take all cores for each: BLAS and OpenMP.

    BLAS has one number for the process: it is 1 while anybody is inside, and put back by the last one out. OpenMP has
    one for each thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._blas: Any = None
        self._pools: ThreadpoolController | None = None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._pools is None:
                self._pools = ThreadpoolController()
            pools = self._pools
            if self._inside == 0:
                self._blas = pools.select(user_api="blas").limit(limits=1)
            self._inside += 1
        try:
            with pools.select(user_api="openmp").limit(limits=1):
                yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    self._blas.restore_original_limits()

    def look_again(self) -> None:
        """Find libraries that were loaded since."""
        with self._lock:
            if self._inside == 0:
                self._pools = None
