"""The progress bar, and what it falls back to."""

import sys
import types
from typing import Any

import pytest

from certssb.exceptions import ParameterError
from certssb.progress import ProgressBar, progress_bar


def shown(capsys: Any) -> str:
    return str(capsys.readouterr().err)


def test_the_bar_counts_to_the_end_and_estimates(capsys: Any) -> None:
    with progress_bar(True, "training") as report:
        for done in (0, 2, 4):
            report(done, 4)
    text = shown(capsys)
    assert "training: 100%" in text and "4/4" in text and "member/s" in text


def test_members_finished_before_do_not_flatter_the_estimate() -> None:
    with ProgressBar() as report:
        report(90, 100)
        report(91, 100)
        assert (report._bar.initial, report._bar.n, report._bar.total) == (90, 91, 100)
    assert report.done == 91


def test_the_total_may_grow(capsys: Any) -> None:
    with ProgressBar() as report:
        report(1, 2)
        report(2, 5)
    assert "2/5" in shown(capsys)


def test_nothing_is_shown_when_asked_for_nothing(capsys: Any) -> None:
    with progress_bar(False) as report:
        report(1, 2)
    assert shown(capsys) == "" and report.done == 1


def test_a_function_gets_the_reports() -> None:
    calls: list[tuple[int, int]] = []
    with progress_bar(lambda done, total: calls.append((done, total))) as report:
        report(1, 3)
        report(3, 3)
    assert calls == [(1, 3), (3, 3)]


def test_a_bar_without_reports_draws_nothing(capsys: Any) -> None:
    with progress_bar(True):
        pass
    assert shown(capsys) == ""


def test_an_exception_passes_through(capsys: Any) -> None:
    with pytest.raises(KeyboardInterrupt), progress_bar(True) as report:
        report(1, 2)
        raise KeyboardInterrupt
    assert "1/2" in shown(capsys)


@pytest.mark.filterwarnings("error")
def test_a_notebook_without_ipywidgets_gets_plain_text(monkeypatch: Any, capsys: Any) -> None:
    def refuse(**options: Any) -> None:
        raise ImportError("IProgress not found. Please update jupyter and ipywidgets.")

    auto: Any = types.ModuleType("tqdm.auto")
    auto.tqdm = refuse
    monkeypatch.setitem(sys.modules, "tqdm.auto", auto)
    with progress_bar(True) as report:
        report(1, 2)
    assert "1/2" in shown(capsys)


class Kernel:
    """Stands for a notebook: a shell with a kernel, and a display that is kept."""

    def __init__(self) -> None:
        self.kernel = object()
        self.shown: list[str] = []

    def display(self, element: str, display_id: bool) -> "Kernel":
        assert display_id
        self.shown.append(element)
        return self

    def update(self, element: str) -> None:
        self.shown.append(element)


@pytest.fixture
def notebook(monkeypatch: Any) -> Kernel:
    kernel = Kernel()
    ipython: Any = types.ModuleType("IPython")
    ipython.get_ipython = lambda: kernel
    shown: Any = types.ModuleType("IPython.display")
    shown.HTML, shown.display = str, kernel.display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", shown)
    return kernel


def test_a_notebook_without_ipywidgets_gets_one_element_that_is_replaced(
    notebook: Kernel, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with progress_bar(True, "training <now>") as report:
        for done in (0, 2, 4):
            report(done, 4)
    assert shown(capsys) == ""
    assert '<progress value="0" max="4"></progress> 0/4' in notebook.shown[0]
    assert '<progress value="4" max="4"></progress> 4/4' in notebook.shown[-1]
    assert "training &lt;now&gt;" in notebook.shown[-1] and "member/s" in notebook.shown[-1]


def test_a_terminal_with_ipython_gets_text(notebook: Kernel, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(notebook, "kernel", None)
    with progress_bar(True) as report:
        report(1, 2)
    assert "1/2" in shown(capsys) and notebook.shown == []


def test_anything_else_is_refused() -> None:
    answer: Any = "yes"
    with pytest.raises(ParameterError, match="'progress' parameter must be a bool or a callable. Got 'yes'"):
        progress_bar(answer)
