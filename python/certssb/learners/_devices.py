"""Devices and torch's switches for them, as the estimator asks for them: torch is spoken to only where it is in use."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from certssb import _core

__all__ = ["first", "free_memory", "products"]


def first(device: str) -> str:
    """The device that `device` names, the first of several; "cpu" for names that the core will refuse."""
    gpus = [name for name in _core.devices() if name != "cpu"]
    if device in ("auto", "cuda"):
        return gpus[0] if gpus else "cpu"
    return device if device in gpus else "cpu"


def free_memory(device: str) -> int | None:
    """Bytes that a stack of members may take on each GPU that `device` names; None without a GPU."""
    if not _uses_torch():
        return None
    from certssb.learners.torch import _gpu

    return _gpu.free_memory(device)


@contextmanager
def products(precision: str) -> Iterator[None]:
    """Let torch, where it computes, compute as `precision` says meanwhile."""
    if not _uses_torch():
        yield
        return
    from certssb.learners.torch import _gpu

    with _gpu.products(precision):
        yield


def _uses_torch() -> bool:
    """Whether torch may compute here: who has a GPU has loaded it, and so has who passes a module of their own."""
    return "torch" in sys.modules or first("auto") != "cpu"
