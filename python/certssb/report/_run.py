"""What a run left in its folder, read and checked."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from certssb._checks import parameter_error
from certssb.certificates import CertificateTable
from certssb.certificates._budget import Budget
from certssb.report._counted import Kind, budget_of, counted
from certssb.report._hints import LIMIT as HINTS
from certssb.report._hints import Hints, parse_hints
from certssb.report._samples import LIMIT, Samples, parse_samples
from certssb.storage import _files

__all__ = ["Run"]

_NEEDED = (
    "guarantee",
    "sound",
    "results",
    "settings",
    "law",
    "record",
    "n_train",
    "budget",
    "versions",
    "seconds",
    "files",
    "digest",
)

_SUMMARY_LIMIT = 1 << 24


@dataclass(frozen=True)
class Run:
    """Everything a report is made of.

    Attributes
    ----------
    name : str
        The folder's name.
    summary : dict
        What ``summary.json`` holds.
    tables : dict of CertificateTable
        Certificates of each set of test samples, by its name.
    samples : dict of Samples
        True classes of all of them and images of the least certain ones, by the same names.
    hints : dict of Hints
        For some of these, training samples whose presence moves the votes; by the same names, where the law allows it.

    Examples
    --------
    >>> from certssb.report import Run
    >>> Run.read("runs/digits").summary["law"]  # doctest: +SKIP
    'Subsample(Gaussian(sigma=1.0), size=400)'
    """

    name: str
    summary: dict[str, Any]
    tables: dict[str, CertificateTable]
    samples: dict[str, Samples]
    hints: dict[str, Hints] = field(default_factory=dict)

    @property
    def budget(self) -> Budget:
        """What the run certifies against."""
        return budget_of(self.summary["budget"])

    @property
    def n_train(self) -> int:
        """Number of training samples, which every run knows."""
        n_train = next(iter(self.tables.values())).n_train
        if n_train is None:
            raise parameter_error("run", "one whose certificates name the number of training samples", "None")
        return n_train

    def _counted(self, kind: Kind) -> str:
        """What sizes of this kind count, for headings."""
        return counted(kind, self.budget, self.n_train, next(iter(self.tables.values())).law)

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> Run:
        """Read a folder that ``certssb run`` wrote.

        Parameters
        ----------
        folder : str or path
            The folder.

        Returns
        -------
        Run

        Raises
        ------
        ParameterError
            If the folder does not hold a run, or a file in it is damaged.

        Examples
        --------
        >>> from certssb.report import Run
        >>> Run.read("no/such/folder")
        Traceback (most recent call last):
        certssb.exceptions.ParameterError: The 'folder' parameter must be a folder that certssb run wrote. Got 'no/such/folder' without summary.json instead.
        """
        run = cls._unchecked(folder)
        run._check()
        return run

    def _check(self) -> None:
        """Refuse a summary that was changed after it was written."""
        if self.summary["digest"] != digest(self.summary):
            got = "one that was changed after it was written"
            raise parameter_error("folder", "a folder with an undamaged summary.json", got)

    @classmethod
    def _unchecked(cls, folder: str | os.PathLike[str]) -> Run:
        """The same for who looks at the summary's values before, and says which is wrong."""
        folder = Path(folder)
        summary = _summary(folder)
        tables, samples, hints = {}, {}, {}
        for name in summary["results"]:
            content = {
                kind: _indexed(folder, f"{kind}-{name}.npz", limit, summary["files"])
                for kind, limit in (("certificates", _files.DATA_LIMIT), ("samples", LIMIT))
            }
            source = str(folder / f"samples-{name}.npz")
            tables[name] = CertificateTable._restored(
                "folder", content["certificates"], f"'{folder / f'certificates-{name}.npz'}'"
            )
            samples[name] = parse_samples(content["samples"], len(tables[name]), source)
            if f"hints-{name}.npz" in summary["files"]:
                raw = _indexed(folder, f"hints-{name}.npz", HINTS, summary["files"])
                hints[name] = parse_hints(raw, len(tables[name]), str(folder / f"hints-{name}.npz"))
        return cls(folder.resolve().name, summary, tables, samples, hints)


def digest(summary: dict[str, Any]) -> str:
    """SHA-256 of everything in a summary but this."""
    rest = {key: value for key, value in summary.items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _read(folder: Path, name: str, limit: int) -> bytes:
    try:
        return _files.read(folder / name, limit)
    except FileNotFoundError:
        raise parameter_error(
            "folder", "a folder that certssb run wrote", f"'{folder}' without {name}"
        ) from None


def _indexed(folder: Path, name: str, limit: int, index: dict[str, str]) -> bytes:
    """A file that has to be the one of which the summary speaks, which is written last."""
    content = _read(folder, name, limit)
    if index.get(name) != hashlib.sha256(content).hexdigest():
        expected = "a folder with undamaged files of one run"
        raise parameter_error(
            "folder", expected, f"'{folder / name}', which its summary.json does not mention,"
        )
    return content


def _summary(folder: Path) -> dict[str, Any]:
    content = _read(folder, "summary.json", _SUMMARY_LIMIT)
    try:
        summary: dict[str, Any] = _files.parse(content)
    except _files.Damaged as error:
        raise parameter_error("folder", "a folder with an undamaged summary.json", f"{error}") from None
    missing = [key for key in _NEEDED if not isinstance(summary, dict) or key not in summary]
    of_kind = not missing and all(isinstance(summary[name], dict) for name in ("results", "files"))
    if not of_kind or not summary["results"]:
        got = f"one without {', '.join(missing or ['results'])}"
        raise parameter_error("folder", "a folder with a complete summary.json", got)
    unsafe = [name for name in summary["results"] if not name.replace("-", "").replace("_", "").isalnum()]
    if unsafe:
        raise parameter_error("folder", "a folder with plain names of test sets", repr(unsafe[0]))
    return summary
