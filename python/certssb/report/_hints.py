"""Training samples whose presence moves the votes on the least certain test samples, kept with their images for the report."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from certssb._checks import frozen, parameter_error
from certssb.certificates import CertificateTable
from certssb.report._samples import LIMIT, N_SHOWN, _shrunk, least_certain
from certssb.storage import _files

__all__ = ["LIMIT", "TOP", "Hints", "hinted", "hints_bytes", "parse_hints"]

TOP = 3
"""Training samples that are shown for each test sample."""

_PARTS = ("index", "samples", "differences", "errors", "known", "labels", "images")


@dataclass(frozen=True)
class Hints:
    """What presence of training samples does to the votes on some test samples.

    Attributes
    ----------
    index : ndarray of shape (n,)
        The test samples.
    samples : ndarray of shape (n, 3)
        For each of them the training samples that raise the votes for its class most clearly.
    differences, errors : ndarray of shape (n, 3)
        By how much, with standard errors.
    known : ndarray of shape (k,)
        The training samples that occur, ascending.
    labels : ndarray of shape (k,)
        Their labels, as received.
    images : ndarray of shape (k, channels, height, width)
        Their images.
    """

    index: npt.NDArray[np.int64]
    samples: npt.NDArray[np.int64]
    differences: npt.NDArray[np.float64]
    errors: npt.NDArray[np.float64]
    known: npt.NDArray[np.int64]
    labels: npt.NDArray[Any]
    images: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        for name in _PARTS:
            frozen(getattr(self, name))


def hinted(table: CertificateTable) -> npt.NDArray[np.int64]:
    """The test samples of which hints are kept: those of whose images are, the least certain of all."""
    return np.sort(least_certain(table)[0])


def hints_bytes(
    index: npt.NDArray[np.int64],
    samples: npt.NDArray[np.int64],
    differences: npt.NDArray[np.float64],
    errors: npt.NDArray[np.float64],
    X_train: npt.NDArray[Any],
    y_train: npt.NDArray[Any],
) -> bytes:
    """What :func:`parse_hints` reads."""
    known = np.unique(samples)
    labels = y_train[known]
    parts = {
        "index": index, "samples": samples, "differences": differences, "errors": errors, "known": known,
        "labels": labels.astype(np.str_) if labels.dtype.kind == "O" else labels,
        "images": _shrunk(np.asarray(X_train[known], dtype=np.float32)),
    }  # fmt: skip
    return _files.npz(parts)


def parse_hints(content: bytes, n_samples: int, source: str) -> Hints:
    """Read what :func:`hints_bytes` wrote, for a table of `n_samples`; `source` is for messages.

    Raises
    ------
    ParameterError
        If it is something else.
    """
    try:
        parts = _files.archive(content)
    except _files.Damaged as error:
        raise parameter_error("folder", "a folder with undamaged files", f"'{source}' ({error})") from None
    if parts.keys() != set(_PARTS):
        raise parameter_error("folder", "a folder with undamaged files", f"'{source}' with other parts")
    hints = Hints(**parts)
    if not _fits(hints, n_samples):
        raise parameter_error("folder", "a folder with files of one run", f"'{source}' of another one")
    return hints


def _fits(hints: Hints, n_samples: int) -> bool:
    n, k = hints.index.shape, hints.known.shape
    if len(n) != 1 or len(k) != 1 or n[0] > N_SHOWN or k[0] > N_SHOWN * TOP or hints.labels.shape != k:
        return False
    whole = (hints.index, hints.samples, hints.known)
    if any(array.dtype != np.int64 for array in whole) or hints.samples.ndim != 2:
        return False
    same = hints.samples.shape == hints.differences.shape == hints.errors.shape
    if not same or len(hints.samples) != n[0] or not 1 <= hints.samples.shape[1] <= TOP:
        return False
    numbers = (hints.differences, hints.errors)
    if any(array.dtype != np.float64 for array in numbers):
        return False
    drawn = hints.images.ndim == 4 and hints.images.dtype == np.float32 and len(hints.images) == k[0]
    inside = bool(((hints.index >= 0) & (hints.index < n_samples)).all())
    return (
        inside
        and drawn
        and math.prod(hints.images.shape[1:]) > 0
        and bool(np.isin(hints.samples, hints.known).all())
    )
