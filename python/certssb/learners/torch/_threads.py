"""Threads of the core that compute with torch: each of them uses one, whatever the user has set for their own."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

__all__ = ["own_modes", "starting"]

_LOCK = threading.Lock()


def _after_fork() -> None:
    """Begin anew in a forked child: a thread of the parent that held the lock is not there to release it."""
    global _LOCK
    _LOCK = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def starting() -> Iterator[None]:
    """Let threads that ask torch for the first time inside the block use one thread each.

    torch keeps the number of threads per thread, and a global one for threads that start later. Small networks scale
    better side by side than inside. The caller's number is put back; it is disturbed for as long as threads take to start.
    """
    with _LOCK:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


@contextmanager
def own_modes() -> Iterator[None]:
    """Compute with gradients, on the CPU's defaults, without autocast, in the calling thread.

    What torch keeps per thread; the threads of the core have never set any of it, but a learner can be called from others.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        # A default device is a mode that sees every call: none is best. torch 2.4 tells of one that was set, and not of
        # one inside whose `with` block this runs, so a tensor is asked.
        if torch.empty(0).device.type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield
