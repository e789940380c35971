"""The command line: ``certssb run`` takes a data set to certificates, table and plot."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import certssb as cs
from certssb.cli._options import _parser as _parser
from certssb.cli._options import parsed

__all__ = ["main"]

DONE, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        The words after ``certssb``; those of the process if not given.

    Returns
    -------
    int
        The exit status: 0 done, 1 failed, 2 refused, 130 interrupted.

    Examples
    --------
    >>> from certssb.cli import main
    >>> main(["plan", "--n-train", "1000", "--n-poisoned", "5", "--norm", "0.5", "--subsample", "50"])
    ... # doctest: +ELLIPSIS
    5 poisoned samples...
    0
    """
    _make_writable()
    try:
        options = parsed(arguments)
        with warnings.catch_warnings():
            warnings.showwarning = _warned
            warnings.simplefilter("always", cs.ScaleWarning)
            status: int | None = options.command(options)
        if sys.stdout is not None:
            sys.stdout.flush()
    except (cs.CancelledError, KeyboardInterrupt) as error:
        return _stopped(INTERRUPTED, str(error) or "Interrupted.")
    except BrokenPipeError:
        # Whoever read the output has gone, as `head` does: nothing to say, and nobody to say it to.
        _forget_output()
        return FAILED
    except (cs.ParameterError, cs.ShapeError, cs.DeviceError, cs.CheckpointError) as error:
        return _stopped(REFUSED, str(error))
    except (cs.CertssbError, OSError, MemoryError, ImportError) as error:
        return _stopped(FAILED, str(error) or type(error).__name__)
    return DONE if status is None else status


def _make_writable() -> None:
    """Names and paths are written even where the terminal's encoding lacks their letters."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None and not stream.closed:
            reconfigure(errors="backslashreplace")


def _forget_output() -> None:
    """Python flushes at exit, and would complain about the closed pipe again."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):
        pass


def _warned(message: Warning | str, *_: Any, **__: Any) -> None:
    _say(f"warning: {message}")


def _stopped(status: int, message: str) -> int:
    """Say why in one line, unless there is nowhere to say it."""
    _say(message)
    return status


def _say(message: str) -> None:
    if sys.stderr is not None:
        try:
            print("certssb: " + " ".join(message.split()), file=sys.stderr)
        except (OSError, ValueError):
            pass
