"""The part of the pytest plugin that writes one page about a whole suite; imported where ``--certssb-report`` is given."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from certssb.storage import _files
from certssb.testing import _asserted
from certssb.testing._page import render_suite

__all__ = ["Suite"]


class Suite:
    """Hears what tests assert, also those of workers of pytest-xdist, and writes the page at the end."""

    def __init__(self, config: pytest.Config, folder: Path) -> None:
        self._config, self._folder = config, folder
        self._found: list[dict[str, Any]] = []
        self._test = ""
        self._written: Path | None = None
        _asserted.listen(self._hear)

    def _hear(self, assertion: dict[str, Any]) -> None:
        self._found.append({"test": self._test, **assertion})

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self._test = item.nodeid
        return (yield)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self._found += getattr(node, "workeroutput", {}).get("certssb", [])

    def pytest_sessionfinish(self) -> None:
        output = getattr(self._config, "workeroutput", None)
        if output is not None:
            output["certssb"] = self._found
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        self._written = self._folder / "report.html"
        page = render_suite(self._config.rootpath.name, self._found)
        _files.write(self._written, page.encode())

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._written is not None:
            terminalreporter.write_line(f"certified accuracy: {self._written}")

    def pytest_unconfigure(self) -> None:
        _asserted.listen(None)
