"""The ledger: certified regions that never contradict each other, in a file that survives."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from certssb import _core
from certssb._checks import check_integer, check_real, parameter_error, shape_error
from certssb.progress import Report, progress_bar

if TYPE_CHECKING:
    import pandas as pd
    from typing_extensions import Self

__all__ = ["Ledger", "LedgerClaim", "LedgerEntry", "LedgerReport"]

_ROWS = 4096


class LedgerEntry(NamedTuple):
    """What came of one update.

    Attributes
    ----------
    prediction : int
        The class: the adopted one where the outcome says so, else the one asked for.
    radius : float
        L2, in the units of x: every input closer to the centre has this class. 0 where nothing is claimed.
    outcome : str
        "kept", "trimmed", "adopted" or "abstained".
    number : int
        Place in the order of arrival, from 0.
    cause : int or None
        Number of the entry whose region made this one trim, adopt or abstain.

    Examples
    --------
    >>> import certssb as cs
    >>> from certssb.ledger import LedgerEntry
    >>> LedgerEntry(prediction=1, radius=0.25, outcome="trimmed", number=7, cause=3).outcome
    'trimmed'
    """

    prediction: int
    radius: float
    outcome: str
    number: int
    cause: int | None


class LedgerClaim(NamedTuple):
    """What the ledger says at an input.

    Attributes
    ----------
    prediction : int
        Class of the region that contains the input deepest.
    radius : float
        L2 distance to that region's edge, in the units of x.
    number : int
        Number of its entry.

    Examples
    --------
    >>> from certssb.ledger import LedgerClaim
    >>> LedgerClaim(prediction=1, radius=0.25, number=7).radius
    0.25
    """

    prediction: int
    radius: float
    number: int


class LedgerReport(NamedTuple):
    """What a verification has counted.

    Attributes
    ----------
    updates : int
        Updates, abstentions included.
    regions : int
        Regions.
    outcomes : dict of int
        Updates by outcome.

    Examples
    --------
    >>> from certssb.ledger import LedgerReport
    >>> LedgerReport(updates=3, regions=2, outcomes={"kept": 2, "abstained": 1}).regions
    2
    """

    updates: int
    regions: int
    outcomes: dict[str, int]


class Ledger:
    """Certified regions around inputs, no two of which contradict each other (Cert-SSBD's storage-update step).

    A region says that every input closer to its centre than its radius has its class. A new region is kept as it
    is, trimmed so that it only touches a stored one of another class, adopts the class of a stored one that contains
    its centre, or abstains. The result depends on the order of arrival, which is part of the record. The file is an
    SQLite data base; several processes on one machine may use it at once, and an update is durable when it returns.

    Parameters
    ----------
    path : str or path
        The file; made where there is none.
    read_only : bool, default=False
        Open for reading; updates fail.

    Raises
    ------
    LedgerCorruptError
        If the file is not a ledger or is damaged.
    LedgerVersionError
        If it was written by another schema version.
    LedgerError
        If it cannot be read or written.

    Examples
    --------
    >>> import tempfile, os
    >>> import certssb as cs
    >>> path = os.path.join(tempfile.mkdtemp(), "regions.sqlite")
    >>> with cs.Ledger(path) as ledger:
    ...     first = ledger.update([0.0, 0.0], prediction=1, radius=0.5)
    ...     second = ledger.update([0.0, 0.75], prediction=0, radius=0.5)
    ...     third = ledger.update([0.25, 0.0], prediction=0, radius=0.5)
    >>> first.outcome, second.outcome, second.radius, third.outcome, third.prediction
    ('kept', 'trimmed', 0.25, 'adopted', 1)
    """

    def __init__(self, path: str | os.PathLike[str], *, read_only: bool = False) -> None:
        self.path = os.fspath(path)
        self._core = _core.Ledger(self.path, read_only)

    def update(self, x: npt.ArrayLike, prediction: int, radius: float) -> LedgerEntry:
        """Settle and store one region; durable when it returns.

        Parameters
        ----------
        x : array-like
            The centre; any shape, flattened; the first entry fixes the number of values. Kept as float32.
        prediction : int
            The class, at least 0.
        radius : float
            L2, in the units of x, at least 0 and finite; 0 asks for nothing.

        Returns
        -------
        LedgerEntry

        Raises
        ------
        ParameterError, ShapeError
            For NaN, a negative radius, another number of values. Nothing is stored then.
        LedgerError
            If the file cannot be written. Nothing is stored then.

        Examples
        --------
        >>> import os, tempfile
        >>> import certssb as cs
        >>> ledger = cs.Ledger(os.path.join(tempfile.mkdtemp(), "regions.sqlite"))
        >>> entry = ledger.update([0.0, 0.0], prediction=1, radius=0.5)
        >>> entry
        LedgerEntry(prediction=1, radius=0.5, outcome='kept', number=0, cause=None)
        """
        point = _numbers("x", x).reshape(-1)
        return LedgerEntry(*self._core.update(point, _class(prediction), _radius(radius)))

    def update_many(
        self,
        X: npt.ArrayLike,
        predictions: npt.ArrayLike,
        radii: npt.ArrayLike,
        *,
        progress: bool | Report = False,
    ) -> list[LedgerEntry]:
        """:meth:`update` for each sample in order, with the same result, but faster.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Centres.
        predictions : array-like of int, shape (n_samples,)
        radii : array-like of float, shape (n_samples,)
        progress : bool or callable, default=False
            Whether to show a bar; or a function called with (done, total).

        Returns
        -------
        list of LedgerEntry

        Raises
        ------
        ParameterError, ShapeError, LedgerError
            As :meth:`update`; arguments are checked before anything is stored.
        CancelledError
            After Ctrl-C; what was settled until then stays.

        Examples
        --------
        >>> import os, tempfile
        >>> import certssb as cs
        >>> ledger = cs.Ledger(os.path.join(tempfile.mkdtemp(), "regions.sqlite"))
        >>> entries = ledger.update_many([[0.0, 0.0], [0.0, 0.75]], [1, 0], [0.5, 0.5])
        >>> [entry.radius for entry in entries]
        [0.5, 0.25]
        """
        points = _numbers("X", X)
        if points.ndim < 2:
            raise shape_error("X", "a sample in each row", f"shape {points.shape}")
        classes = np.asarray(predictions)
        if classes.dtype.kind not in "iu" or classes.ndim != 1:
            raise parameter_error("predictions", "a one-dimensional array of integers", repr(predictions))
        sizes = np.asarray(radii, dtype=np.float64)
        flat = np.ascontiguousarray(points.reshape(len(points), -1))
        with progress_bar(progress, "updating", unit="region") as report:
            rows = self._core.update_many(
                flat,
                np.ascontiguousarray(classes, dtype=np.int64),
                np.ascontiguousarray(sizes.ravel()),
                report,
            )
        return [LedgerEntry(*row) for row in rows]

    def query(self, x: npt.ArrayLike) -> LedgerClaim | None:
        """What is claimed at `x`: the region that contains it deepest, or None.

        Parameters
        ----------
        x : array-like
            The input; any shape, flattened, with as many values as the entries.

        Returns
        -------
        LedgerClaim or None
            The claim; None where no region contains `x`.

        Raises
        ------
        ParameterError, ShapeError
            For NaN or another number of values.
        LedgerError
            If the file cannot be read.

        Examples
        --------
        >>> import os, tempfile
        >>> import certssb as cs
        >>> ledger = cs.Ledger(os.path.join(tempfile.mkdtemp(), "regions.sqlite"))
        >>> entry = ledger.update([0.0, 0.0], prediction=1, radius=0.5)
        >>> ledger.query([0.0, 0.25])
        LedgerClaim(prediction=1, radius=0.25, number=0)
        >>> ledger.query([1.0, 1.0]) is None
        True
        """
        found = self._core.query(_numbers("x", x).reshape(-1))
        return None if found is None else LedgerClaim(found[1], found[2], found[0])

    def verify(self, *, progress: bool | Report = False) -> LedgerReport:
        """Check the whole file: structure, digests, order, every decision repeated, and that regions are disjoint.

        Parameters
        ----------
        progress : bool or callable, default=False
            Whether to show a bar; or a function called with (done, total).

        Returns
        -------
        LedgerReport

        Raises
        ------
        LedgerCorruptError
            Naming the first fault.

        Examples
        --------
        >>> import os, tempfile
        >>> import certssb as cs
        >>> ledger = cs.Ledger(os.path.join(tempfile.mkdtemp(), "regions.sqlite"))
        >>> entry = ledger.update([0.0, 0.0], prediction=1, radius=0.5)
        >>> ledger.verify().regions
        1
        """
        with progress_bar(progress, "verifying", unit="entry") as report:
            updates, regions, outcomes = self._core.verify(report)
        return LedgerReport(updates, regions, dict(outcomes))

    def to_frame(self) -> pd.DataFrame:
        """All entries in the order of arrival, without their centres.

        Returns
        -------
        pandas.DataFrame
            One row per update: number, prediction, radius, outcome, cause, and the prediction and radius asked for.

        Examples
        --------
        >>> import os, tempfile
        >>> import certssb as cs
        >>> ledger = cs.Ledger(os.path.join(tempfile.mkdtemp(), "regions.sqlite"))
        >>> entry = ledger.update([0.0, 0.0], prediction=1, radius=0.5)
        >>> ledger.to_frame()["outcome"].tolist()
        ['kept']
        """
        import pandas as pd

        names = ["number", "prediction", "radius", "outcome", "cause", "asked_prediction", "asked_radius"]
        rows = [
            (entry.number, entry.prediction, entry.radius, entry.outcome, entry.cause, asked, size)
            for entry, asked, size, _ in self._records()
        ]
        return pd.DataFrame(rows, columns=names).astype({"cause": "Int64"})

    def centres(self) -> npt.NDArray[np.float32]:
        """The centres of all entries in the order of arrival.

        Returns
        -------
        ndarray of float32, shape (n_updates, dimension)
            Flattened centres, in the units of x.

        Examples
        --------
        >>> import os, tempfile
        >>> import certssb as cs
        >>> ledger = cs.Ledger(os.path.join(tempfile.mkdtemp(), "regions.sqlite"))
        >>> entry = ledger.update([0.0, 0.0], prediction=1, radius=0.5)
        >>> ledger.centres()
        array([[0., 0.]], dtype=float32)
        """
        rows = [centre for *_, centre in self._records()]
        return np.stack(rows) if rows else np.empty((0, self.dimension or 0), dtype=np.float32)

    def _records(self) -> Iterator[tuple[LedgerEntry, int, float, npt.NDArray[np.float32]]]:
        number = 0
        while rows := self._core.records(number, _ROWS):
            for row, asked, size, centre in rows:
                yield LedgerEntry(*row), asked, size, centre
            number += len(rows)

    @property
    def dimension(self) -> int | None:
        """Number of values of a centre; None before the first entry."""
        return self._core.dimension

    @property
    def n_updates(self) -> int:
        """Number of updates, abstentions included."""
        return self._core.n_updates

    def __len__(self) -> int:
        """Number of regions."""
        return len(self._core)

    def close(self) -> None:
        """Close the file; done by ``with`` as well.

        Examples
        --------
        >>> import os, tempfile
        >>> import certssb as cs
        >>> ledger = cs.Ledger(os.path.join(tempfile.mkdtemp(), "regions.sqlite"))
        >>> ledger.close()
        """
        self._core.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Ledger({self.path!r})"


def _numbers(name: str, values: Any) -> npt.NDArray[np.float32]:
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise parameter_error(name, "an array of finite numbers", f"values of type {array.dtype}")
    return np.ascontiguousarray(array, dtype=np.float32)


def _class(value: Any) -> int:
    return check_integer("prediction", value, "an integer of at least 0", 0)


def _radius(value: Any) -> float:
    return check_real("radius", value, "a finite float of at least 0", 0.0, float(np.finfo(np.float64).max))
