"""Samples that stay as they came: bytes and floats of half or single precision, also in files that are mapped."""

from __future__ import annotations

import mmap
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from certssb._core import Rows

__all__ = ["Joined", "Rows", "Samples", "block_of", "blocks", "is_kept", "lowest", "rows_of"]

Features: TypeAlias = npt.NDArray[np.float32]

_BLOCK = 2**22
"""Values of a block (16 MiB as floats)."""


class Joined:
    """Rows behind others, to be looked at together."""

    def __init__(self, first: Rows, second: Rows) -> None:
        self._first, self._second = first, second

    def __len__(self) -> int:
        return len(self._first) + len(self._second)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self._first.shape[1:])

    @property
    def ndim(self) -> int:
        return self._first.ndim

    @property
    def lowest(self) -> float:
        return min(self._first.lowest, self._second.lowest)

    def read(self, start: int, stop: int) -> Features:
        """Rows from `start` to before `stop`."""
        n = len(self._first)
        parts = [
            self._first.read(min(start, n), min(stop, n)),
            self._second.read(max(start - n, 0), max(stop - n, 0)),
        ]
        return np.concatenate([part for part in parts if len(part)] or parts[:1])


Samples: TypeAlias = Rows | Joined | Features


def is_kept(array: npt.NDArray[Any]) -> bool:
    """Whether an array is read where it lies: no other type is smaller than single precision and as exact."""
    kept = array.dtype in (np.uint8, np.float16, np.float32)
    repeated = any(stride == 0 and n > 1 for n, stride in zip(array.shape, array.strides, strict=True))
    return kept and array.dtype.isnative and array.flags.aligned and not repeated


def rows_of(array: npt.NDArray[Any], divisor: int = 1) -> Rows:
    """Rows of an array that is kept, of shape (n, features) or (n, channels, height, width), looked at once.

    What is not finite is told, not refused.
    """
    four = array if array.ndim == 4 else array[:, :, np.newaxis, np.newaxis]
    if four.dtype == np.float16:
        four = four.view(np.uint16)
    # An array of NumPy's own: what it lies in is another's affair.
    return Rows(np.asarray(four), array.shape[1:], divisor, _giving_back(array))


def _giving_back(array: npt.NDArray[Any]) -> Callable[[], None] | None:
    """What gives back the pages of the file in which an array lies, if it lies in one.

    Pages that were read stay in the system's memory, but no longer in this process's. Only where all writing goes to the
    file: in a private copy it would be lost.
    """
    mode, base = None, array
    while isinstance(base, np.ndarray):
        mode = getattr(base, "mode", None) or mode
        base = base.base  # type: ignore[assignment]
    if sys.platform != "linux" or mode not in ("r", "r+", "w+") or not isinstance(base, mmap.mmap):
        return None

    def give_back() -> None:
        base.madvise(mmap.MADV_DONTNEED)

    return give_back


def block_of(samples: Samples, start: int, stop: int) -> Features:
    """Some of the samples as floats."""
    return samples[start:stop] if isinstance(samples, np.ndarray) else samples.read(start, stop)


def blocks(samples: Samples, values: int = _BLOCK) -> Iterator[Features]:
    """All samples as floats, some at a time."""
    step = max(1, values // int(np.prod(samples.shape[1:])))
    return (block_of(samples, start, start + step) for start in range(0, len(samples), step))


def lowest(samples: Samples) -> float:
    """No value is below it, and one is it where samples are all that there are in their array."""
    return float(samples.min()) if isinstance(samples, np.ndarray) else samples.lowest
