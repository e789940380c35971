"""A progress bar for long work, with an estimate of the time left.

In a notebook the bar is a widget where ipywidgets is installed, and plain HTML where it is not, without a warning (tqdm
issue 1082): a single line that updates itself, and stays a single line in a notebook that is saved or converted.
"""

from __future__ import annotations

import html
import importlib.util
import io
import sys
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from certssb._checks import parameter_error

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["ProgressBar", "Report", "progress_bar"]

Report: TypeAlias = Callable[[int, int], None]
"""Called as ``report(done, total)``."""


class ProgressBar:
    """A bar over a known number of steps, first drawn at the first report.

    Steps done at the first report count as finished earlier, so that work resumed from a checkpoint does not make the
    estimated time left too short.

    Parameters
    ----------
    description : str, default=""
        What is being done; shown in front of the bar.
    unit : str, default="member"
        What one step is called.

    Examples
    --------
    >>> from certssb.progress import ProgressBar
    >>> with ProgressBar("training") as report:
    ...     for done in range(4):
    ...         report(done, 3)
    >>> report.done
    3
    """

    def __init__(self, description: str = "", unit: str = "member") -> None:
        self.description = description
        self.unit = unit
        self.done = 0
        self._bar: Any = None

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` of `total` steps are finished.

        Parameters
        ----------
        done : int
            Steps finished so far, those of an earlier run included.
        total : int
            Steps in all; may grow from call to call.
        """
        if self._bar is None:
            self._bar = _new_bar(self.description, self.unit, done, total)
        elif done != self._bar.n or total != self._bar.total:
            self._bar.total = total
            self._bar.update(done - self._bar.n)
        self.done = done

    def close(self) -> None:
        """Draw the final state and leave it in place.

        Examples
        --------
        >>> from certssb.progress import ProgressBar
        >>> ProgressBar("training").close()
        """
        if self._bar is not None:
            self._bar.refresh()
            self._bar.close()
            self._bar = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Literal[False]:
        self.close()
        return False


class _Silent(ProgressBar):
    """Counts and shows nothing."""

    def __call__(self, done: int, total: int) -> None:
        self.done = done


class _Forward(ProgressBar):
    """Hands the reports to a function of the caller's."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self._report = report

    def __call__(self, done: int, total: int) -> None:
        self.done = done
        self._report(done, total)


def progress_bar(progress: bool | Report, description: str = "", unit: str = "member") -> ProgressBar:
    """Turn a ``progress`` parameter into something to report to.

    Parameters
    ----------
    progress : bool or callable
        True shows a bar, False shows nothing, and a callable receives ``(done, total)`` instead.
    description : str, default=""
        What is being done; shown in front of the bar.
    unit : str, default="member"
        What one step is called.

    Returns
    -------
    ProgressBar
        A context manager, callable as ``report(done, total)``.

    Raises
    ------
    ParameterError
        If `progress` is neither a bool nor callable.

    Examples
    --------
    >>> from certssb.progress import progress_bar
    >>> with progress_bar(False) as report:
    ...     report(1, 2)
    >>> with progress_bar(lambda done, total: print(done, "of", total)) as report:
    ...     report(1, 2)
    1 of 2
    """
    if callable(progress):
        return _Forward(progress)
    if progress is True:
        return ProgressBar(description, unit) if _has_stream() else _Silent(description, unit)
    if progress is False:
        return _Silent(description, unit)
    raise parameter_error("progress", "a bool or a callable", repr(progress))


def _has_stream() -> bool:
    """Whether there is anything to draw on: pythonw and some services have no error stream, or a closed one."""
    return sys.stderr is not None and not getattr(sys.stderr, "closed", False)


def _new_bar(description: str, unit: str, done: int, total: int) -> Any:
    options: dict[str, Any] = {
        "desc": description or None,
        "unit": unit,
        "initial": done,
        "total": total,
        "dynamic_ncols": True,
        # Members finish in bursts, one per thread: a slow average keeps the estimate steady.
        "smoothing": 0.1,
    }
    if _in_notebook() and importlib.util.find_spec("ipywidgets") is None:
        return _html_bar(options)
    with warnings.catch_warnings():
        # Without ipywidgets tqdm warns at import or raises when the bar is made.
        warnings.simplefilter("ignore")
        try:
            from tqdm.auto import tqdm as best

            return best(**options)
        except (ImportError, NameError, AttributeError):
            from tqdm.std import tqdm as plain

            return plain(**options)


def _in_notebook() -> bool:
    """Whether a notebook's kernel runs this, without importing IPython for those who have none."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def _html_bar(options: dict[str, Any]) -> Any:
    """tqdm's bar, estimate and all, shown as an HTML element that the notebook replaces."""
    from IPython.display import HTML, display
    from tqdm.std import tqdm

    class HtmlBar(tqdm):  # type: ignore[misc]
        handle: Any = None

        def display(self, msg: str | None = None, pos: int | None = None) -> bool:
            shown = HTML(_bar_html(self.format_dict, tqdm.format_meter))
            if self.handle is None:
                self.handle = display(shown, display_id=True)
            else:
                self.handle.update(shown)
            return True

    # Where tqdm would write text of its own: nowhere.
    return HtmlBar(**options | {"file": io.StringIO(), "dynamic_ncols": False})


def _bar_html(state: dict[str, Any], meter: Callable[..., str]) -> str:
    facts = meter(**state | {"bar_format": "{n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}]"})
    bar = f'<progress value="{state["n"]}" max="{state["total"]}"></progress>'
    return f"<div>{html.escape(state['prefix'] or '')} {bar} {html.escape(facts)}</div>"
