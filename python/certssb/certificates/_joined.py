"""One table of certificates from those of blocks of samples."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from certssb import _core
from certssb._checks import parameter_error
from certssb.certificates._file import parts

__all__ = ["joined"]


def joined(cores: Iterable[_core.Certificates]) -> _core.Certificates:
    """The certificates of all blocks in their order, which members with one record have made in one way.

    Raises
    ------
    ParameterError
        If they were not: members were added in between, say.
    """
    columns: dict[str, list[Any]] = {}
    first: _core.Certificates | None = None
    record = ""
    for number, core in enumerate(cores):
        if first is None:
            first, record = core, core.record()
        if core.record() != record:
            expected = "certificates that were made in the same way, by the same members"
            raise parameter_error("X", expected, f"others in block {number} than in the first")
        for name, column in parts(core, None).items():
            columns.setdefault(name, []).append(column)
    assert first is not None
    if len(columns["prediction"]) == 1:
        return first
    whole: dict[str, Any] = {"record": record}
    for name, found in columns.items():
        if name in ("format", "record"):
            continue
        # Samples are the last dimension but of a cascade's bounds, which have classes behind them.
        axis = 1 if name in ("level_lower", "level_upper") else 0
        whole[name] = np.concatenate(found, axis=axis)
    if "outcome" in whole:
        whole["outcome"] = [str(outcome) for outcome in whole["outcome"]]
    return _core.Certificates.from_parts(whole)
