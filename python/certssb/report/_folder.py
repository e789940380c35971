"""What a run leaves in its folder, all of it or nothing."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from certssb.certificates import CertificateTable
from certssb.certificates._budget import asked_budget
from certssb.report._hints import parse_hints
from certssb.report._page import render
from certssb.report._run import Run, digest
from certssb.report._samples import parse_samples, samples_bytes
from certssb.storage import _files
from certssb.storage._tables import csv_bytes, parquet_bytes

__all__ = ["finite", "frame", "frame_columns", "write_run"]

_NOTHING = {"n_poisoned": None, "trigger_norm": None, "labels": False}
"""What a table is asked if nothing is."""


def write_run(
    folder: Path,
    tables: Mapping[str, CertificateTable],
    tests: Mapping[str, tuple[Any, Any]],
    summary: dict[str, Any],
    plot: bytes | None = None,
    asked: Mapping[str, Any] | None = None,
    answers: Mapping[str, bytes] | None = None,
) -> list[str]:
    """Write tables, samples, frame, plot, report and, last, the summary with the digests of all others.

    Every file is whole before the first one gets its name, so that a full disk leaves the folder as it was; what a kill
    between two names leaves is noticed by the digests. What an earlier run left in the folder and this one does not have,
    such as its triggered samples, is removed then: it would look like a part of this run.

    Parameters
    ----------
    folder : pathlib.Path
        An existing folder.
    tables : mapping of CertificateTable
        Certificates by the name of their test set.
    tests : mapping of (X, y)
        The test samples and their true classes, by the same names.
    summary : dict
        What ``summary.json`` holds, without ``files``.
    plot : bytes, optional
        A PNG.
    asked : mapping, optional
        The budget for which the frame has a column; keywords of ``CertificateTable.to_frame``.
    answers : mapping of bytes, optional
        Further files, by name: votes, and digests of who cast them.

    Returns
    -------
    list of str
        The names of the files, sorted.

    Raises
    ------
    FileError
        If the folder cannot be written to.
    """
    earlier = _listed(folder)
    files: dict[str, bytes] = {}
    for name, table in tables.items():
        files[f"certificates-{name}.npz"] = table._bytes()
        files[f"samples-{name}.npz"] = samples_bytes(table, *tests[name])
    truth = {name: np.asarray(y) for name, (_, y) in tests.items()}
    files |= frame(tables, truth, asked or {})
    files |= answers or {}
    if plot is not None:
        files["certified_accuracy.png"] = plot
    index = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    summary = finite({**summary, "files": index})
    summary["digest"] = digest(summary)
    samples = {
        name: parse_samples(files[f"samples-{name}.npz"], len(table), name) for name, table in tables.items()
    }
    hints = {
        name: parse_hints(files[f"hints-{name}.npz"], len(table), name)
        for name, table in tables.items()
        if f"hints-{name}.npz" in files
    }
    page = render(Run(folder.resolve().name, summary, dict(tables), samples, hints))
    files["report.html"] = page.encode()
    files["summary.json"] = (json.dumps(summary, indent=2, allow_nan=False) + "\n").encode()
    _files.write_all(folder, files)
    for name in earlier.keys() - files.keys():
        with contextlib.suppress(OSError):
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() == earlier[name]:
                (folder / name).unlink()
    return sorted(files)


def _listed(folder: Path) -> dict[str, str]:
    """The digests of the files that a run left in the folder, as its summary has them; none where there is no such summary."""
    try:
        files = json.loads((folder / "summary.json").read_bytes())["files"]
        return {name: files[name] for name in files if Path(name).name == name}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def frame_columns(
    tables: Mapping[str, CertificateTable],
    truth: Mapping[str, npt.NDArray[Any]],
    asked: Mapping[str, Any],
) -> dict[str, npt.NDArray[Any]]:
    """All tables under each other, with the name of the test set and the true class of every row."""
    parts = [
        {
            **tables[name]._columns(asked_budget(**{**_NOTHING, **asked})),
            "test": np.full(len(tables[name]), name),
            "y_true": y,
        }
        for name, y in truth.items()
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def frame(
    tables: Mapping[str, CertificateTable],
    truth: Mapping[str, npt.NDArray[Any]],
    asked: Mapping[str, Any],
) -> dict[str, bytes]:
    """The same as a file, by its name."""
    columns = frame_columns(tables, truth, asked)
    parquet = parquet_bytes(columns)
    if parquet is None:
        return {"certificates.csv": csv_bytes(columns)}
    return {"certificates.parquet": parquet}


def finite(value: Any) -> Any:
    """JSON has no numbers that are not finite; they are words."""
    if isinstance(value, dict):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(part) for part in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
