"""Members that vote on samples which are known when they are trained, and are forgotten: an ensemble in constant memory."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from certssb import _core
from certssb._checks import parameter_error
from certssb._core import Rows
from certssb.estimators._cascade_levels import Levels, Members, Received, Trusted
from certssb.estimators.until import Until
from certssb.watch.progress import Report

__all__ = ["checked_asked", "forgetting", "train_and_forget"]

Features = npt.NDArray[np.float32]
_POLL = 0.1
"""Seconds between two looks at what other processes have written."""

_NEEDED = "the samples to vote on, for members='votes', which answers for these alone"


def checked_asked(members: Any, vote_on: Any, until: Until | None) -> Any:
    """The samples that members vote on before they are forgotten; None where they are not."""
    if members != "votes":
        if vote_on is not None:
            raise parameter_error(
                "vote_on", "None without members='votes': members can be asked later", "samples"
            )
        return None
    if until is None:
        if vote_on is None:
            raise parameter_error("vote_on", _NEEDED, "None")
        return vote_on
    if vote_on is not None and vote_on is not until.X:
        raise parameter_error("vote_on", "left out beside 'until', whose samples are voted on", "samples")
    return until.X


def train_and_forget(
    kept: tuple[Members, Features, str | None, Report | None],
    n_members: int,
    features: Rows,
    codes: npt.NDArray[np.int64],
    trusted: Trusted,
    received: Received,
) -> None:
    """Train in parts, each of which votes on the samples of `kept` and is forgotten.

    `kept` is an ensemble, the samples, the checkpoint of votes, and who is told of progress.
    """
    ensemble, asked, checkpoint, report = kept
    if isinstance(ensemble, Levels):
        for level, folder, told in ensemble.each(checkpoint, report):
            train_and_forget((level, asked, folder, told), n_members, features, codes, trusted, received)
        return
    with forgetting(ensemble, asked, n_members, checkpoint):
        while (part := ensemble.next_part(n_members, report)) is not None:
            if not part:
                # Other processes are training all that is missing.
                time.sleep(_POLL)
                continue
            # Members go nowhere: what is kept of them is written when they have voted.
            ensemble.train(features, codes, n_members, None, report, trusted, received)
            ensemble.forget(asked, checkpoint)


@contextlib.contextmanager
def forgetting(
    ensemble: _core.Ensemble, asked: Features, n_members: int, checkpoint: str | None
) -> Iterator[None]:
    """A training in parts that comes to `n_members`: votes that the checkpoint has before it, all of them written after it."""
    ensemble.recall_votes(asked, n_members, checkpoint)
    ensemble.come_to(n_members, checkpoint)
    try:
        yield
        ensemble.forget(asked, checkpoint, done=True)
    finally:
        ensemble.come_to(None)
