"""Devices and torch's switches for them, as the estimator asks for them: torch is spoken to only where it is in use."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from certssb import _core
from certssb.learners import _extension, _heap

if TYPE_CHECKING:
    from certssb.learners._choice import Learner

__all__ = ["computing", "first", "free_memory", "wished"]


def first(device: str, learner: Learner | None = None) -> str:
    """The device that `device` names, the first of several; "cpu" for names that the core will refuse.

    GPUs are those of the learner, or those that built-in networks can use; nobody is asked for them where the CPU is named.
    """
    if device == "cpu":
        return device
    if wished(device, learner) == "cpu":
        return "cpu"
    known = _core.devices() if learner is None else learner.devices()
    gpus = [name for name in known if name != "cpu"]
    if device in ("auto", "cuda"):
        return gpus[0] if gpus else "cpu"
    return device if device in gpus else "cpu"


def wished(device: str, learner: Learner | None) -> str:
    """What the core is told: "cpu" for "auto" where built-in networks need not be asked for GPUs to know that there is none."""
    return "cpu" if device == "auto" and learner is None and _extension.is_left_alone() else device


def free_memory(device: str, learner: Learner | None) -> int | None:
    """Bytes that a stack of members may take on each GPU that `device` names; None without a GPU."""
    if first(device, learner) == "cpu":
        return None
    from certssb.learners.torch import _gpu

    return _gpu.free_memory(device)


@contextmanager
def computing(precision: str) -> Iterator[None]:
    """What holds while members are trained or asked: torch, where it computes, computes as `precision` says, and memory that is
    freed is kept for the next step."""
    with _heap.kept(), _products(precision):
        yield


@contextmanager
def _products(precision: str) -> Iterator[None]:
    if "torch" not in sys.modules:
        yield
        return
    from certssb.learners.torch import _gpu

    with _gpu.products(precision):
        yield
