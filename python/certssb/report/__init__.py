"""One self-contained HTML page about a run: guarantee, tables, plots, least certain samples, settings.

The page loads nothing: styles, plots and images are embedded, there is no script, and its content security policy
forbids every request. Whatever comes from the run (names of classes, paths, settings) is escaped.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from certssb._checks import check_path, parameter_error
from certssb.exceptions import CertssbError
from certssb.report._page import render
from certssb.report._run import Run
from certssb.report._samples import save_samples
from certssb.storage import _files

__all__ = ["Run", "render", "save_samples", "write_comparison", "write_report"]


def write_comparison(
    folder: str | os.PathLike[str], other: str | os.PathLike[str], path: str | os.PathLike[str] | None = None
) -> Path:
    """Write a page that compares two runs; the same as ``certssb report`` with two folders.

    Parameters
    ----------
    folder, other : str or path
        The runs' folders.
    path : str or path, optional
        File to write; ``comparison.html`` in the second folder if not given.

    Returns
    -------
    pathlib.Path
        The file that was written, by atomic rename.

    Raises
    ------
    ParameterError
        If a folder does not hold a run, or a file in it is damaged.
    FileError
        If a file cannot be read or written.

    Examples
    --------
    >>> from certssb import report
    >>> report.write_comparison("runs/one", "runs/two")  # doctest: +SKIP
    PosixPath('runs/two/comparison.html')
    """
    from certssb.report._comparison import render_comparison

    folders = [check_path("folder", folder), check_path("other", other)]
    target = folders[1] / "comparison.html" if path is None else check_path("path", path)
    one, two = (Run._unchecked(folder) for folder in folders)
    page = _rendered(lambda: render_comparison(one, two))
    one._check()
    two._check()
    _files.write(target, page.encode())
    return target


def _rendered(render: Callable[[], str]) -> str:
    try:
        return render()
    except CertssbError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # Something is missing in the summary, or is of another kind than certssb run writes.
        raise parameter_error("folder", "a folder with a complete summary.json", repr(error)) from error


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
        If the folder does not hold a run, or a file in it is damaged.
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
    page = _rendered(lambda: render(run))
    run._check()
    _files.write(target, page.encode())
    return target
