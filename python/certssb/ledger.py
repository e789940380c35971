"""The ledger: certified regions that never contradict each other, kept in a file."""

from __future__ import annotations

import os
import threading
import weakref
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from certssb import _core
from certssb._checks import check_integer, check_real, parameter_error, shape_error
from certssb._extras import needed
from certssb._generators import registered
from certssb.exceptions import LedgerError
from certssb.watch.progress import Report, progress_bar

if TYPE_CHECKING:
    import pandas as pd
    from typing_extensions import Self

__all__ = ["Ledger", "LedgerClaim", "LedgerEntry", "LedgerReport"]

# Entries that are read in one step.
_ROWS = 4096
_TYPES = {"outcome": str}
"""Of columns that come as lists, which are empty at the end."""
# Largest number of a class: classes are 32 bits wide in a ledger.
_LARGEST_CLASS = 2**32 - 1


class LedgerEntry(NamedTuple):
    """The outcome of one update.

    Attributes
    ----------
    prediction : int
        The class: the adopted one if the outcome is "adopted", otherwise the one asked for.
    radius : float
        L2, in the units of x: every input closer to the centre has this class. 0 where nothing is claimed.
    outcome : str
        "kept", "trimmed", "adopted" or "abstained".
    number : int
        Place in the order of arrival, from 0.
    cause : int or None
        Number of the entry because of whose region this one was trimmed, adopted a class or abstained.

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
    """What a verification counted.

    Attributes
    ----------
    updates : int
        Number of updates, abstentions included.
    regions : int
        Number of regions.
    outcomes : dict of int
        Number of updates by outcome.

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
    SQLite database; several processes on one machine may use it at once, and an update is durable when it returns.

    Threads may share a ledger: they take turns, and a long call lets others in after each group of updates. A progress
    function may not use the ledger that it reports on. An open ledger may be carried across a fork
    (``multiprocessing``, ``os.fork``): both processes then have connections of their own.

    The content of the file is checked whenever it is read, so damage and edits are noticed. Two things are not: that
    the whole file was replaced by an older copy of itself between two openings, and the work of someone who recomputes
    every digest.

    Parameters
    ----------
    path : str or path
        A regular file; created if it does not exist. Names that mean something else to SQLite (``":memory:"``,
        ``"file:..."``) are refused.
    read_only : bool, default=False
        Open for reading only; updates fail. In a folder that cannot be written to, a ledger can be read as long as
        nobody has it open for writing.

    Raises
    ------
    LedgerCorruptError
        If the file is not a ledger or is damaged.
    LedgerVersionError
        If it was written by another schema version.
    LedgerError
        If it cannot be read or written, or the path is not one that a ledger can have.

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
        self._path = _path(path)
        self._core = _core.Ledger(self._path, bool(read_only))
        with _REGISTERING:
            _LEDGERS.add(self)
        self._core.open()

    @property
    def path(self) -> str:
        """The path as it was given."""
        return self._path

    def update(self, x: npt.ArrayLike, prediction: int, radius: float) -> LedgerEntry:
        """Settle and store one region; durable when it returns.

        Parameters
        ----------
        x : array-like
            The centre; any shape, flattened; the first entry fixes the number of values. Kept as float32.
        prediction : int
            The class, at least 0.
        radius : float
            L2, in the units of x, at least 0 and finite; 0 claims nothing.

        Returns
        -------
        LedgerEntry

        Raises
        ------
        ParameterError, ShapeError
            For NaN, a negative radius or a different number of values. Nothing is stored.
        LedgerError
            If the file cannot be written. Nothing is stored.

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
            Centres; any shape of a sample, flattened.
        predictions : array-like of int, shape (n_samples,)
            The class of each region, at least 0.
        radii : array-like of float, shape (n_samples,)
            The radius of each region: L2, in the units of `X`, at least 0 and finite; 0 claims nothing.
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
            After Ctrl-C; what was settled before it stays.

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
        classes, sizes = _classes(predictions), _radii(radii)
        # reshape cannot infer the rest of a shape that has no entries.
        flat = points.reshape(len(points), int(np.prod(points.shape[1:])))
        with progress_bar(progress, "updating", unit="region") as report:
            rows = self._core.update_many(flat, classes, sizes, report)
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
            For NaN or a different number of values.
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
            If anything is wrong; the message names the first fault.

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
        """All entries in the order of arrival, without their centres; each is checked while it is read.

        Returns
        -------
        pandas.DataFrame
            One row per update: number, prediction, radius, outcome, cause, and the prediction and radius asked for.

        Raises
        ------
        ImportError
            If pandas is not installed.
        LedgerCorruptError
            If an entry was changed.

        Examples
        --------
        >>> import os, tempfile
        >>> import certssb as cs
        >>> ledger = cs.Ledger(os.path.join(tempfile.mkdtemp(), "regions.sqlite"))
        >>> entry = ledger.update([0.0, 0.0], prediction=1, radius=0.5)
        >>> ledger.to_frame()["outcome"].tolist()
        ['kept']
        """
        pandas = needed("pandas", "to_frame", "pandas")
        columns = self._columns()
        # Numbers as nullable integers all along: through floats, entries beyond 2**53 would lose digits.
        cause = pandas.Series(columns["cause"], dtype="Int64")
        frame: pd.DataFrame = pandas.DataFrame(columns | {"cause": cause.mask(cause < 0)})
        return frame

    def _columns(self) -> dict[str, npt.NDArray[Any]]:
        """All entries in order, by column; a cause of -1 is none."""
        names = ["number", "prediction", "radius", "outcome", "cause", "asked_prediction", "asked_radius"]
        walk = _core.LedgerWalk(self._core)
        parts = [walk.columns(_ROWS)]
        while len(parts[-1][0]):
            parts.append(walk.columns(_ROWS))
        columns = dict(zip(names, zip(*parts, strict=True), strict=True))
        return {
            name: np.concatenate([np.asarray(part, _TYPES.get(name)) for part in of])
            for name, of in columns.items()
        }

    def centres(self) -> npt.NDArray[np.float32]:
        """The centres of all entries in the order of arrival; each is checked while it is read.

        Returns
        -------
        ndarray of float32, shape (n_updates, dimension)
            Flattened centres, in the units of x; a copy.

        Raises
        ------
        LedgerCorruptError
            If an entry was changed.

        Examples
        --------
        >>> import os, tempfile
        >>> import certssb as cs
        >>> ledger = cs.Ledger(os.path.join(tempfile.mkdtemp(), "regions.sqlite"))
        >>> entry = ledger.update([0.0, 0.0], prediction=1, radius=0.5)
        >>> ledger.centres()
        array([[0., 0.]], dtype=float32)
        """
        walk = _core.LedgerWalk(self._core)
        parts: list[npt.NDArray[np.float32]] = []
        while len(part := walk.centres(_ROWS)):
            parts.append(part)
        return np.concatenate(parts) if parts else np.empty((0, self.dimension or 0), dtype=np.float32)

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
        """Close the file; leaving a ``with`` block does so too.

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


# All ledgers of this process, for the time of a fork. The lock keeps new ones out meanwhile.
_LEDGERS: weakref.WeakSet[Ledger] = weakref.WeakSet()
_REGISTERING = threading.Lock()
_forking: list[Ledger] = []


def _before_fork() -> None:
    # SQLite connections must not cross a fork, not even to be closed: they are closed here and opened when next used.
    _REGISTERING.acquire()
    _forking[:] = _LEDGERS
    for ledger in _forking:
        ledger._core.before_fork()


def _after_fork() -> None:
    for ledger in _forking:
        ledger._core.after_fork()
    _forking.clear()
    if _REGISTERING.locked():
        _REGISTERING.release()


# What closes connections lets other threads work meanwhile, so it comes before the generators' own hook, which does not.
if registered:
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)


def _path(path: str | os.PathLike[str]) -> str:
    expected = "the path of a file, such as 'regions.sqlite'"
    try:
        name = os.fsdecode(path)
    except TypeError:
        got = f"an object of type {type(path).__name__}"
        raise LedgerError(str(parameter_error("path", expected, got))) from None
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        message = str(parameter_error("path", expected, f"{name!r}, which no file can be called,"))
        raise LedgerError(message) from None
    return name


def _array(name: str, expected: str, values: Any) -> npt.NDArray[Any]:
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise parameter_error(name, expected, "masked values")
    try:
        # Rows of different lengths, tensors on other devices and objects of all kinds: refused in one way.
        return np.asarray(values)
    except Exception as error:
        got = f"an object of type {type(values).__name__} ({error})"
        raise parameter_error(name, expected, got) from error


def _numbers(name: str, values: Any) -> npt.NDArray[np.float32]:
    array = _array(name, "an array of finite numbers", values)
    if array.dtype.kind not in "fiub":
        raise parameter_error(name, "an array of finite numbers", f"values of type {array.dtype}")
    # Numbers beyond float32 become infinite, which is refused where they are checked.
    with np.errstate(all="ignore"):
        return np.ascontiguousarray(array, dtype=np.float32)


def _classes(predictions: Any) -> npt.NDArray[np.int64]:
    expected = f"a one-dimensional array of integers from 0 to {_LARGEST_CLASS}"
    array = _array("predictions", expected, predictions)
    if array.size == 0 and array.ndim == 1:
        return np.empty(0, dtype=np.int64)
    if array.dtype.kind not in "iu" or array.ndim != 1:
        got = f"an array of shape {array.shape} and type {array.dtype}"
        raise parameter_error("predictions", expected, got)
    wrong = (array < 0) | (array > _LARGEST_CLASS)
    if wrong.any():
        raise parameter_error("predictions", expected, repr(int(array[wrong][0])))
    return np.ascontiguousarray(array, dtype=np.int64)


def _radii(radii: Any) -> npt.NDArray[np.float64]:
    expected = "a one-dimensional array of finite floats of at least 0"
    array = _array("radii", expected, radii)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "fiu"):
        raise parameter_error("radii", expected, f"an array of shape {array.shape} and type {array.dtype}")
    with np.errstate(all="ignore"):
        return np.ascontiguousarray(array, dtype=np.float64)


def _class(value: Any) -> int:
    expected = f"an integer from 0 to {_LARGEST_CLASS}"
    number = check_integer("prediction", value, expected, 0)
    if number > _LARGEST_CLASS:
        raise parameter_error("prediction", expected, repr(value))
    return number


def _radius(value: Any) -> float:
    return check_real("radius", value, "a finite float of at least 0", 0.0, float(np.finfo(np.float64).max))
