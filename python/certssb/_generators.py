"""The global generators, which a member's randomness borrows: one thread at a time, whoever computes the member."""

from __future__ import annotations

import functools
import os
import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np

from certssb import _core
from certssb.exceptions import DeviceError

__all__ = ["at_work", "registered", "renew_engine", "seeded", "turn"]

P = ParamSpec("P")
R = TypeVar("R")

_LOCK = threading.RLock()
_HELD = threading.local()
"""Whether this thread's fork has the turn: two threads may fork at once."""

_WAIT = 2.0
"""Seconds that a fork waits: whoever has the turn may itself be waiting for the process that forks."""

_PATIENCE = 10.0
"""Seconds after which a forked child gives torch's generator up: nobody draws in it yet."""

_INHERITED = [False]
"""Whether this is a forked child that has not looked yet in which state torch's generator came."""


@contextmanager
def turn() -> Iterator[None]:
    """Held by whoever exchanges the states of the global generators.

    Raises
    ------
    DeviceError
        In a forked child, if a thread of its parent's was drawing from torch's generator at the moment of the fork.
    """
    lock = _LOCK
    if not lock.acquire(blocking=False):
        _core.resting(lock.acquire)
    try:
        if _INHERITED[0]:
            _look()
        yield
    finally:
        lock.release()


def at_work(function: Callable[P, R]) -> Callable[P, R]:
    """A function that computes with torch in the calling thread: a fork waits for it, for a while."""

    @functools.wraps(function)
    def working(*args: P.args, **kwargs: P.kwargs) -> R:
        return cast(R, _core.working(lambda: function(*args, **kwargs)))

    return working


def _look() -> None:
    """Refuse a generator whose lock nobody will release; asked for by another thread, since asking is waiting."""
    torch = _torch()
    if torch is not None:
        # Waits for the lock and draws nothing; unlike most methods of a generator, without the interpreter.
        asking = threading.Thread(target=torch.randperm, args=(1,), kwargs={"device": "cpu"}, daemon=True)
        asking.start()
        asking.join(_PATIENCE)
        if asking.is_alive():
            raise DeviceError(
                "torch's global generator cannot be used in this process: another thread was drawing from it when the "
                "process was forked. Fork while nothing is drawn, or start processes by 'spawn'."
            )
    _INHERITED[0] = False


def renew_engine() -> None:
    """Let torch make anew what computes gradients, as it does when a forked child first asks for it; called by one thread."""
    torch = _torch()
    if torch is not None:
        with torch.inference_mode(False), torch.enable_grad():
            number = torch.ones((), dtype=torch.float32, device="cpu", requires_grad=True)
            number * number  # kept for a gradient


def _torch() -> Any:
    """torch, where it is imported and whole."""
    torch = sys.modules.get("torch")
    return torch if hasattr(torch, "default_generator") and hasattr(torch, "randperm") else None


def _before_fork() -> None:
    # A generator has a lock of its own: a child that finds it held by a thread of its parent's waits for ever.
    _HELD.taken = _LOCK.acquire(timeout=_WAIT)
    torch = _torch()
    if torch is not None:
        # Waits for a draw of whoever took no turn. Another one may begin before the fork: the child looks.
        torch.default_generator.get_state()
    # torch's libraries have locks too, held for as long as an operation takes.
    _core.before_fork(torch is not None)


def _after_fork_in_parent() -> None:
    _core.after_fork(False)
    if getattr(_HELD, "taken", False):
        _HELD.taken = False
        _LOCK.release()


def _after_fork_in_child() -> None:
    """Begin anew: a thread of the parent that held a lock is not there to release it."""
    global _LOCK
    _core.after_fork(True)
    _LOCK, _HELD.taken = threading.RLock(), False
    _INHERITED[0] = _torch() is not None
    # NumPy's is one of Python's own, which can be made anew.
    begin_anew = getattr(np.random.mtrand.get_bit_generator().lock, "_at_fork_reinit", None)
    if begin_anew is not None:
        begin_anew()


registered = hasattr(os, "register_at_fork")
"""Whether what is done around forks is registered here. What is registered later is run earlier, before a fork."""

if registered:
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
