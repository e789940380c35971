"""Settings that a search of scikit-learn's chose by the data that are fitted: no certificate covers the choice."""

from __future__ import annotations

import sys
import warnings
from types import FrameType
from typing import Any

from certssb.exceptions import SearchWarning

__all__ = ["warn_of_search"]

_SEARCH = "sklearn.model_selection._search"
_TRIAL = "sklearn.model_selection._validation"


def warn_of_search(stacklevel: int) -> None:
    """Say so if a search fits what it has chosen. Its trials, whose ensembles nobody gets, pass in silence."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module == _TRIAL:
            return
        if module == _SEARCH and frame.f_code.co_name == "fit":
            if _chose(frame.f_locals):
                warnings.warn(_message(frame.f_locals.get("self")), SearchWarning, stacklevel=stacklevel + 1)
            return
        frame = frame.f_back


def _chose(local: dict[str, Any]) -> bool:
    """Whether there was more than one candidate; where that is not known any more, there was."""
    results = local.get("results")
    candidates = results.get("params") if isinstance(results, dict) else None
    return not isinstance(candidates, list) or len(candidates) > 1


def _message(search: object) -> str:
    name = "search" if search is None else type(search).__name__
    return (
        f"The settings were chosen by a {name} that looked at the data that are now fitted. Certificates say what changes to "
        "these data do to the predictions of an ensemble with these settings. They do not cover the choice: with one sample "
        "changed, the search may choose other settings. Search on samples that you trust, or on other data of the same kind, "
        "and fit with the settings that it finds; certssb.recommend measures laws on trusted samples. If nobody else could "
        "write to what the search looked at, ignore this."
    )
