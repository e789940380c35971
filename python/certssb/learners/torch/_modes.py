"""torch's global modes, set to what a module of the user's is built, checked, trained and asked under.

A notebook may run under ``inference_mode``, autocast, another default dtype or device: none of them may decide what a
member is. What the user had set is put back.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

__all__ = ["neutral"]

_LOCK = threading.Lock()
_USERS = [0]
_BEFORE: list[dict[str, Any]] = []
"""What was set when the first user of the process-wide switches came; the last one puts it back."""


def _after_fork() -> None:
    """Begin anew in a forked child, which has none of its parent's threads: the user's settings are put back."""
    global _LOCK
    _LOCK, _USERS[0] = threading.Lock(), 0
    while _BEFORE:
        _put(_BEFORE.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def neutral() -> Iterator[None]:
    """Compute in float32 on the CPU's defaults, with gradients, without autocast and other modes, inside the block."""
    with ExitStack() as stack:
        # Of this thread alone.
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for device in ("cpu", "cuda"):
            stack.enter_context(torch.autocast(device, enabled=False))
        stack.enter_context(torch.device("cpu"))
        # Of all threads.
        stack.enter_context(_switches())
        yield


@contextmanager
def _switches() -> Iterator[None]:
    """The switches that all threads share: counted, since fits of several threads may overlap."""
    with _LOCK:
        if _USERS[0] == 0:
            _BEFORE.append(_get())
            _put(_NEUTRAL)
        _USERS[0] += 1
    try:
        yield
    finally:
        with _LOCK:
            _USERS[0] -= 1
            # A child that was forked inside the block has put them back already.
            if _USERS[0] <= 0 and _BEFORE:
                _put(_BEFORE.pop())
            _USERS[0] = max(_USERS[0], 0)


_NEUTRAL: dict[str, Any] = {
    "dtype": torch.float32,
    "deterministic": (False, False),
    "anomaly": (False, True),
    "products": "highest",
}


def _get() -> dict[str, Any]:
    return {
        "dtype": torch.get_default_dtype(),
        "deterministic": (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        "anomaly": (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        "products": torch.get_float32_matmul_precision(),
    }


def _put(values: dict[str, Any]) -> None:
    # What is as it should be is left alone: some setters have side effects of their own.
    now = _get()
    if now["dtype"] != values["dtype"]:
        torch.set_default_dtype(values["dtype"])
    if now["deterministic"] != values["deterministic"]:
        on, warn_only = values["deterministic"]
        torch.use_deterministic_algorithms(on, warn_only=warn_only)
    if now["anomaly"] != values["anomaly"]:
        on, check_nan = values["anomaly"]
        torch.autograd.set_detect_anomaly(on, check_nan)
    if now["products"] != values["products"]:
        torch.set_float32_matmul_precision(values["products"])
