"""What a run left in its folder, read and checked."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from certssb._checks import parameter_error
from certssb.certificates import CertificateTable
from certssb.report._samples import Samples, load_samples

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
)


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
            If the folder is no run's, or a file in it is damaged.

        Examples
        --------
        >>> from certssb.report import Run
        >>> Run.read("no/such/folder")
        Traceback (most recent call last):
        certssb.exceptions.ParameterError: The 'folder' parameter must be a folder that certssb run wrote. Got 'no/such/folder' without summary.json instead.
        """
        folder = Path(folder)
        summary = _summary(folder)
        tables, samples = {}, {}
        for name in summary["results"]:
            _check_present(folder, f"certificates-{name}.npz", f"samples-{name}.npz")
            tables[name] = CertificateTable.load(folder / f"certificates-{name}.npz")
            samples[name] = load_samples(folder / f"samples-{name}.npz", len(tables[name]))
        return cls(folder.resolve().name, summary, tables, samples)


def _check_present(folder: Path, *names: str) -> None:
    for name in names:
        if not (folder / name).is_file():
            raise parameter_error("folder", "a folder that certssb run wrote", f"'{folder}' without {name}")


def _summary(folder: Path) -> dict[str, Any]:
    _check_present(folder, "summary.json")
    path = folder / "summary.json"
    try:
        summary: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise parameter_error("folder", "a folder with an undamaged summary.json", f"{error}") from None
    missing = [key for key in _NEEDED if not isinstance(summary, dict) or key not in summary]
    if missing or not isinstance(summary["results"], dict) or not summary["results"]:
        got = f"one without {', '.join(missing or ['results'])}"
        raise parameter_error("folder", "a folder with a complete summary.json", got)
    unsafe = [name for name in summary["results"] if not name.replace("-", "").replace("_", "").isalnum()]
    if unsafe:
        raise parameter_error("folder", "a folder with plain names of test sets", repr(unsafe[0]))
    return summary
