"""What a run leaves in its folder, all of it or nothing."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from certssb.certificates import CertificateTable
from certssb.report._page import render
from certssb.report._run import Run, digest
from certssb.report._samples import parse_samples, samples_bytes
from certssb.storage import _files

__all__ = ["write_run"]


def write_run(
    folder: Path,
    tables: Mapping[str, CertificateTable],
    tests: Mapping[str, tuple[Any, Any]],
    summary: dict[str, Any],
    plot: bytes | None = None,
    asked: Mapping[str, Any] | None = None,
) -> None:
    """Write tables, samples, frame, plot, report and, last, the summary with the digests of all others.

    Every file is whole before the first one gets its name, so that a full disk leaves the folder as it was; what a kill
    between two names leaves is noticed by the digests.

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

    Raises
    ------
    FileError
        If the folder cannot be written to.
    """
    files: dict[str, bytes] = {}
    for name, table in tables.items():
        files[f"certificates-{name}.npz"] = table._bytes()
        files[f"samples-{name}.npz"] = samples_bytes(table, *tests[name])
    files |= _frame(tables, tests, asked or {})
    if plot is not None:
        files["certified_accuracy.png"] = plot
    index = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    summary = _finite({**summary, "files": index})
    summary["digest"] = digest(summary)
    samples = {
        name: parse_samples(files[f"samples-{name}.npz"], len(table), name) for name, table in tables.items()
    }
    page = render(Run(folder.resolve().name, summary, dict(tables), samples))
    files["report.html"] = page.encode()
    files["summary.json"] = (json.dumps(summary, indent=2, allow_nan=False) + "\n").encode()
    _files.write_all(folder, files)


def _frame(
    tables: Mapping[str, CertificateTable], tests: Mapping[str, tuple[Any, Any]], asked: Mapping[str, Any]
) -> dict[str, bytes]:
    import pandas as pd

    frames = [
        tables[name].to_frame(**asked).assign(test=name, y_true=np.asarray(y))
        for name, (_, y) in tests.items()
    ]
    frame = pd.concat(frames, ignore_index=True)
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        return {"certificates.csv": frame.to_csv(index=False, float_format="%.17g").encode()}
    return {"certificates.parquet": frame.to_parquet()}


def _finite(value: Any) -> Any:
    """JSON has no numbers that are not finite; they are words."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
