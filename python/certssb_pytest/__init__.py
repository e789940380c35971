"""The plugin that pytest finds: a fixture and two options, and nothing of certssb imported until one of them is used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["certssb_fit", "pytest_addoption", "pytest_configure"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Two options, in a group of their own."""
    group = parser.getgroup("certssb", "certified accuracy")
    group.addoption(
        "--certssb-cache",
        metavar="DIR",
        help="where the fixture certssb_fit keeps trained members; by default pytest's own cache",
    )
    group.addoption(
        "--certssb-report",
        metavar="DIR",
        help="write one page about all claims checked by assert_certified_accuracy: DIR/report.html",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Whoever writes the page listens from the start."""
    folder = config.getoption("certssb_report", None)
    if folder is not None:
        from certssb.testing._suite import Suite

        config.pluginmanager.register(Suite(config, _folder(config, folder)), "certssb-report")


@pytest.fixture(scope="session")
def certssb_fit(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Fit an ensemble with ``certssb_fit(clf, X, y)``; its members are kept between runs, by their record."""
    from certssb.testing import KeptEnsembles

    folder = pytestconfig.getoption("certssb_cache", None)
    cache = getattr(pytestconfig, "cache", None)
    if folder is not None:
        place = _folder(pytestconfig, folder)
    elif cache is not None:
        place = Path(cache.mkdir("certssb"))
    else:  # -p no:cacheprovider: kept for this run alone
        place = tmp_path_factory.mktemp("certssb")
    return KeptEnsembles(place).fit


def _folder(config: pytest.Config, folder: str) -> Path:
    """As the shell that started pytest means it, whatever directory tests go to."""
    return Path(config.invocation_params.dir, folder)
