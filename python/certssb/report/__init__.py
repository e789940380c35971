"""One self-contained HTML page about a run: guarantee, tables, plots, least certain samples, settings.

The page loads nothing: styles, plots and images are inside, there is no script, and its content security policy
forbids every request. Whatever comes from the run (names of classes, paths, settings) is escaped.
"""

from __future__ import annotations

import os
from pathlib import Path

from certssb._checks import check_path, parameter_error
from certssb.exceptions import CertssbError
from certssb.report._page import render
from certssb.report._run import Run
from certssb.report._samples import save_samples
from certssb.storage import _files

__all__ = ["Run", "render", "save_samples", "write_report"]


def write_report(folder: str | os.PathLike[str], path: str | os.PathLike[str] | None = None) -> Path:
    """Write the report of a folder that ``certssb run`` wrote; the same as ``certssb report``.

    Parameters
    ----------
    folder : str or path
        The run's folder, with ``summary.json`` and the tables of certificates.
    path : str or path, optional
        File to write; ``report.html`` in the folder if not given.

    Returns
    -------
    pathlib.Path
        The file that was written, by atomic rename.

    Raises
    ------
    ParameterError
        If the folder is no run's, or a file in it is damaged.
    FileError
        If a file cannot be read or written.

    Examples
    --------
    >>> from certssb import report
    >>> report.write_report("runs/digits")  # doctest: +SKIP
    PosixPath('runs/digits/report.html')
    """
    folder = check_path("folder", folder)
    target = folder / "report.html" if path is None else check_path("path", path)
    run = Run._unchecked(folder)
    try:
        page = render(run)
    except CertssbError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # Something is missing in the summary, or is of another kind than certssb run writes.
        raise parameter_error("folder", "a folder with a complete summary.json", repr(error)) from error
    run._check()
    _files.write(target, page.encode())
    return target
