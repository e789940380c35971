"""The global generators, which a member's randomness borrows: one thread at a time, whoever computes the member."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

__all__ = ["seeded", "turn"]

_LOCK = threading.RLock()
_HELD = threading.local()
"""Whether this thread's fork has the turn: two threads may fork at once."""

_WAIT = 2.0
"""Seconds that a fork waits: whoever has the turn may itself be waiting for the process that forks."""


@contextmanager
def turn() -> Iterator[None]:
    """Held by whoever exchanges the states of the global generators."""
    with _LOCK:
        yield


def _before_fork() -> None:
    # A generator has a lock of its own: a child that finds it held by a thread of its parent's waits for ever.
    _HELD.taken = _LOCK.acquire(timeout=_WAIT)


def _after_fork_in_parent() -> None:
    if getattr(_HELD, "taken", False):
        _HELD.taken = False
        _LOCK.release()


def _after_fork_in_child() -> None:
    """Begin anew: a thread of the parent that held the lock is not there to release it."""
    global _LOCK
    _LOCK, _HELD.taken = threading.RLock(), False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
    )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let Python's and NumPy's global generators start from `seed` inside the block, for this thread alone; put them back."""
    with turn():
        before = random.getstate(), np.random.get_state()
        try:
            random.seed(seed)
            np.random.seed(seed % 2**32)
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])
