"""What the core must be told about GPUs: memory that is free, torch's switches for products, and streams."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from certssb.exceptions import DeviceError
from certssb.learners.torch._modes import neutral

__all__ = ["check_precision", "convolutions", "devices", "free_memory", "own_stream", "products"]

# Of what is free: the rest is for the libraries' own workspaces and for pieces that do not fit.
_SHARE = 0.8


def free_memory(device: str) -> int | None:
    """Bytes that a stack of members may take on each GPU that `device` names; None without a GPU."""
    if not torch.cuda.is_available():
        return None
    everything = {f"cuda:{n}": [n] for n in range(torch.cuda.device_count())}
    everything |= {"cuda": [0], "auto": list(range(torch.cuda.device_count()))}
    numbers = everything.get(device)
    if numbers is None:
        return None
    # What torch keeps for itself but does not use is as good as free.
    spare = [torch.cuda.memory_reserved(n) - torch.cuda.memory_allocated(n) for n in numbers]
    free = [torch.cuda.mem_get_info(n)[0] for n in numbers]
    return int(_SHARE * min(a + b for a, b in zip(free, spare, strict=True)))


def devices() -> list[str]:
    """Names of the devices that torch sees: "cpu", then "cuda:0" and on."""
    return ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]


_CHECKED = threading.local()
"""The devices whose products the thread has looked at."""


def check_precision(device: str, precision: str) -> None:
    """Refuse a GPU whose matrix products are rounded to TF32 when the members' record says single precision.

    torch has one switch for the whole process. 1 + 2^-12 is a float and no TF32 number: one product tells.
    """
    if device == "cpu" or precision == "tf32" or device in getattr(_CHECKED, "devices", ()):
        return
    factor = torch.full((64, 64), 1.0 + 2.0**-12, device=device)
    if float((factor @ torch.eye(64, device=device))[0, 0]) <= 1.0:
        raise DeviceError(
            "The members' record says single precision, but torch rounds matrix products to TF32 in this process. Call "
            "torch.set_float32_matmul_precision('highest'), or train with precision='tf32'."
        )
    _CHECKED.devices = (*getattr(_CHECKED, "devices", ()), device)


def own_stream(number: int) -> None:
    """Let everything that the calling thread does on a GPU from now on go into a stream of its own.

    torch keeps the current stream per thread, for what is called from Python and from the core alike. A backward
    pass runs on the streams of its forward pass.
    """
    torch.cuda.set_stream(torch.cuda.Stream(number))  # type: ignore[no-untyped-call]


@contextmanager
def convolutions(tf32: bool) -> Iterator[None]:
    """Let cuDNN round what it multiplies to TF32 meanwhile, or not; torch's default is that it does.

    The core tells its own convolutions; those of a user's module ask this switch.
    """
    try:
        before = torch.backends.cudnn.allow_tf32
    except RuntimeError:  # set operation by operation: that stays as it is
        yield
        return
    torch.backends.cudnn.allow_tf32 = tf32
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


@contextmanager
def products(precision: str) -> Iterator[None]:
    """Let torch compute as `precision` says meanwhile: its global modes neutral, factors rounded to TF32 or not."""
    with neutral():
        if not torch.cuda.is_available():
            yield
            return
        with convolutions(precision == "tf32"):
            before = torch.get_float32_matmul_precision()
            torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
            try:
                yield
            finally:
                torch.set_float32_matmul_precision(before)
