"""The least certain samples of a table, kept with their images for the report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from certssb._checks import check_path, frozen, parameter_error, shown
from certssb.certificates import CertificateTable
from certssb.data._truth import are_equal, true_labels
from certssb.storage import _files

__all__ = ["Samples", "least_certain", "load_samples", "save_samples"]

N_SHOWN = 12
"""How many samples each row of images shows."""

LIMIT = 1 << 28
"""Bytes that their file may have."""

_SIDE = 256
"""Pixels that a side of an image is kept with."""

Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Samples:
    """True classes of all samples, and images of a few.

    Attributes
    ----------
    y_true : ndarray of shape (n_samples,)
        True classes.
    index : ndarray of shape (n_images,)
        Which samples the images are of.
    images : ndarray of shape (n_images, channels, height, width), or None
        None where the samples are no images.
    """

    y_true: npt.NDArray[Any]
    index: Places
    images: npt.NDArray[np.float32] | None

    def __post_init__(self) -> None:
        for array in (self.y_true, self.index, self.images):
            if array is not None:
                frozen(array)


def least_certain(table: CertificateTable) -> tuple[Places, Places]:
    """The least certain samples of all, and the least certain ones among those that are certified.

    Parameters
    ----------
    table : CertificateTable
        Certificates.

    Returns
    -------
    of_all, certified : ndarray of shape (at most 12,)
        Places in the table, least certain first: abstained ones, then by radius, then by how far `p_lower` is above
        `p_upper`. Where the law has no radius, that distance alone orders what is certified, and among itself what is
        not; it need not be the order of any budget. A partition's are in the order of `n_buckets`.

    Examples
    --------
    >>> import numpy as np
    >>> import certssb as cs
    >>> from certssb.report._samples import least_certain
    >>> votes = np.array([[1, 1, 0]] * 600 + [[0, 1, 0]] * 390 + [[0, 0, 1]] * 10)
    >>> certs = cs.certify_votes(votes, cs.Gaussian(1.0), n_train=100, n_classes=2)
    >>> least_certain(certs)
    (array([0, 1, 2]), array([0, 1, 2]))
    """
    radius = np.zeros(len(table)) if table.radius is None else table.radius
    certain = table.p_lower - table.p_upper if table.n_buckets is None else table.n_buckets
    order = np.lexsort((certain, radius, ~table.abstained))
    return order[:N_SHOWN], order[~table.abstained[order]][:N_SHOWN]


def save_samples(path: Path, table: CertificateTable, X: Any, y_true: Any) -> None:
    """Keep what the report shows of the test samples beside their certificates.

    Parameters
    ----------
    path : pathlib.Path
        The ``.npz`` file to write.
    table : CertificateTable
        Their certificates.
    X : array-like of shape (n_samples, ...)
        The test samples; images are kept for the least certain ones if there are four dimensions.
    y_true : array-like of shape (n_samples,)
        Their true classes.

    Raises
    ------
    ParameterError, ShapeError
        If a true class is missing or cannot be compared with the predicted ones, or there is not one per sample.

    Examples
    --------
    >>> from certssb import report
    >>> report.save_samples(path, certs, X_test, y_test)  # doctest: +SKIP
    """
    if not isinstance(table, CertificateTable):
        raise parameter_error("table", "a CertificateTable", shown(table))
    _files.write(check_path("path", path), samples_bytes(table, X, y_true))


def samples_bytes(table: CertificateTable, X: Any, y_true: Any) -> bytes:
    """What :func:`save_samples` writes."""
    index = np.unique(np.concatenate(least_certain(table)))
    truth = true_labels(y_true, len(table))
    # Refused here, not in the report of a finished run.
    are_equal(np.asarray(table.prediction), truth)
    plain = truth.astype(np.str_) if truth.dtype.kind == "O" else truth
    parts: dict[str, npt.NDArray[Any]] = {"y_true": plain}
    if np.ndim(X) == 4:
        parts |= {"index": index, "images": _shrunk(np.asarray(X[index], dtype=np.float32))}
    return _files.npz(parts)


def _shrunk(images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Means over squares of pixels where images are larger than the report shows them."""
    height, width = images.shape[2:]
    side = -(-max(height, width) // _SIDE)
    if side <= 1:
        return images
    height, width = max(height // side, 1), max(width // side, 1)
    across, down = min(side, images.shape[3]), min(side, images.shape[2])
    squares = images[:, :, : height * down, : width * across].reshape(
        *images.shape[:2], height, down, width, across
    )
    means: npt.NDArray[np.float32] = squares.mean(axis=(3, 5), dtype=np.float32)
    return means


def load_samples(path: Path, n_samples: int) -> Samples:
    """Read what :func:`save_samples` wrote, for a table of `n_samples` certificates.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    n_samples : int
        Number of certificates it belongs to.

    Returns
    -------
    Samples

    Raises
    ------
    ParameterError
        If the file is damaged or belongs to another table.

    Examples
    --------
    >>> from certssb.report._samples import load_samples
    >>> samples = load_samples(path, n_samples=451)  # doctest: +SKIP
    """
    return parse_samples(_files.read(path, LIMIT), n_samples, str(path))


def parse_samples(content: bytes, n_samples: int, source: str) -> Samples:
    """:func:`load_samples` of a file's content; `source` is for messages."""
    try:
        parts = _files.archive(content)
    except _files.Damaged as error:
        raise parameter_error("folder", "a folder with undamaged files", f"'{source}' ({error})") from None
    if not {"y_true"} <= parts.keys() <= {"y_true", "index", "images"}:
        raise parameter_error("folder", "a folder with undamaged files", f"'{source}' with other parts")
    samples = Samples(parts["y_true"], parts.get("index", np.zeros(0, np.int64)), parts.get("images"))
    if not _fits(samples, n_samples):
        raise parameter_error("folder", "a folder with files of one run", f"'{source}' of another one")
    return samples


def _fits(samples: Samples, n_samples: int) -> bool:
    images, index = samples.images, samples.index
    if samples.y_true.shape != (n_samples,) or index.ndim != 1:
        return False
    if images is None:
        return len(index) == 0
    inside = index.dtype.kind == "i" and bool(((index >= 0) & (index < n_samples)).all())
    drawn = images.ndim == 4 and images.dtype.kind == "f" and min(images.shape[1:]) > 0
    return (
        inside and drawn and len(images) == len(index) <= 2 * N_SHOWN and max(images.shape[2:]) <= 4 * _SIDE
    )
