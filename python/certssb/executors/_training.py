"""Training of members by the workers of an engine."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from certssb import _core
from certssb.exceptions import TrainingError
from certssb.executors import _task
from certssb.executors._driving import drive
from certssb.executors._payload import Carrier, ready
from certssb.executors._workforce import Workforce
from certssb.laws import Law
from certssb.learners import _devices
from certssb.watch.progress import Report

__all__ = ["Recipe", "train"]

_MOST_UNWRITTEN = 1_000
"""Members whose votes are in no checkpoint yet."""

_UNWRITTEN_FOR = 5.0
"""Seconds after which they are written, however few they are."""


@dataclass
class Recipe:
    """What an ensemble is made of, for workers to make it again.

    Attributes
    ----------
    features, codes, n_classes, law
        As the core's ensemble takes them.
    settings : dict
        The others of its arguments.
    n_steps : int
        Steps of one member of a module.
    digest : str
        Of the record that must come out.
    sigmas : list of float, optional
        Noise magnitudes of the samples, under the published form of sample-specific noise.
    vote_on : ndarray of shape (n_samples, ...), optional
        Samples that members vote on where they are trained, and are forgotten.
    magnitudes : list of float, optional
        Noise magnitudes of these, under the published form.
    twice : int, optional
        The member that comes back whole nevertheless: its two trainings are compared where both are seen.
    """

    features: _core.Rows
    codes: npt.NDArray[np.int64]
    n_classes: int
    law: Law
    settings: dict[str, Any]
    n_steps: int
    digest: str = ""
    sigmas: list[float] | None = None
    vote_on: npt.NDArray[np.float32] | None = None
    magnitudes: list[float] | None = None
    twice: int | None = None
    _tried: bool = field(default=False, repr=False)

    def of(
        self, ensemble: _core.Ensemble, vote_on: npt.NDArray[np.float32] | None, twice: int | None
    ) -> Recipe:
        """The recipe of an ensemble that may have got another seed since."""
        seed = json.loads(ensemble.record())["seed"]
        sigmas = ensemble.sigmas()
        magnitudes = None
        if vote_on is not None and not ensemble.sound:
            magnitudes = ensemble.magnitudes(vote_on).ravel().tolist()
        return replace(
            self,
            settings=self.settings | {"seed": seed},
            digest=ensemble.record_digest(),
            sigmas=None if sigmas is None else sigmas.tolist(),
            vote_on=vote_on,
            magnitudes=magnitudes,
            twice=twice,
        )

    def work(self, order: list[int], stopped: Any) -> _task.Reply:
        """Train the members of an order, on a worker."""
        learner = self.settings["model"]
        own = not isinstance(learner, str)
        with _devices.computing(self.settings["precision"]), ready(self, self._made) as ensemble:
            refused = len(getattr(learner, "refusals", ()))
            # Without what this process did before the first task.
            begun = time.perf_counter()
            beside = (stopped, self.settings["trusted"], self.settings["received"])
            what = (ensemble, self.features, self.codes, order)
            came: _task.Reply
            if self.vote_on is None or self.twice in order:
                came = {"members": _core.Elsewhere.train_for(*what, *beside)}
            else:
                came = {"votes": _core.Elsewhere.vote_for(*what, self.vote_on, *beside)}
            seconds = time.perf_counter() - begun
            return came | {
                "seconds": seconds,
                "execution": ensemble.execution,
                "refusals": list(getattr(learner, "refusals", ()))[refused:],
                "disturbed": own and learner.is_disturbed(),
                "suspects": learner.suspects() if own else [],
            }

    def _made(self) -> _core.Ensemble:
        learner, device = self.settings["model"], self.settings["device"]
        if not isinstance(learner, str) and not self._tried:
            prepare(learner, device, self.settings["stack"])
            learner.check_alone(device, self.n_steps)
            self._tried = True
        memory = _devices.free_memory(device, None if isinstance(learner, str) else learner)
        settings = self.settings | {"memory": memory}
        ensemble = _core.Ensemble(self.features, self.codes, self.n_classes, self.law, **settings)
        if ensemble.record_digest() != self.digest:
            raise TrainingError(
                "A worker would train different members: it has different versions of the libraries that they are made of."
            )
        if self.sigmas is not None:
            ensemble.recall_sigmas(self.sigmas)
        if self.magnitudes is not None:
            ensemble.recall_magnitudes(self.magnitudes)
        return ensemble

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_tried": False}


def prepare(learner: Any, device: str, stack: int | None) -> None:
    """Get a learner ready on a worker."""
    learner.try_stacks(device, stack)
    alone = getattr(learner, "stay_in_threads", None)
    if alone is not None:
        alone()


class _Fit:
    """The core's fit, as the driver of a run sees it."""

    def __init__(
        self, fit: _core.Elsewhere, learner: Any, report: Report | None, kept: _Votes | None = None
    ) -> None:
        self._fit, self._learner, self._report, self._kept = fit, learner, report, kept
        self.execution: Any = None
        self.disturbed = False
        self.suspects: list[str] = []

    @property
    def left(self) -> int:
        return self._fit.left

    def hand_out(self, most: int) -> list[int]:
        return self._fit.hand_out(most, self._report)

    def order(self, numbers: list[int]) -> list[int]:
        return numbers

    def take(self, numbers: list[int], reply: _task.Reply) -> None:
        known, own = self.execution, reply["execution"]
        if known is None or own is None:
            self.execution = known or own
        else:
            self.execution = (
                known[0],
                min(known[1], own[1]),
                max(known[2], own[2]),
                known[3] or own[3],
            )
        if reply["refusals"] and self._learner is not None:
            self._learner.refusals.extend(reply["refusals"])
        self.disturbed = self.disturbed or reply["disturbed"]
        self.suspects.extend(reply["suspects"])
        if "votes" not in reply:
            self._fit.take(reply["members"], self._report)
            if self._kept is not None:
                self._kept.vote()
            return
        self._fit.take_votes(numbers, reply["votes"], self._report)
        if self._kept is not None:
            self._kept.add(numbers)

    def wait(self) -> None:
        self._fit.keep_claims()
        if self._kept is not None:
            # Others may be waiting for what is not written yet.
            self._kept.write_if_due()


class _Votes:
    """Votes of members that were forgotten, on their way into a checkpoint: some at a time, since each time is a file."""

    def __init__(
        self, ensemble: _core.Ensemble, checkpoint: str | None, asked: npt.NDArray[np.float32]
    ) -> None:
        self._ensemble, self._checkpoint, self._asked = ensemble, checkpoint, asked
        self._numbers: list[int] = []
        self._written = time.monotonic()

    def add(self, numbers: list[int]) -> None:
        self._numbers.extend(numbers)
        self.write_if_due()

    def vote(self) -> None:
        """Have those vote that came back whole."""
        self._ensemble.forget(self._asked, self._checkpoint)

    def write_if_due(self) -> None:
        if len(self._numbers) >= _MOST_UNWRITTEN or time.monotonic() - self._written > _UNWRITTEN_FOR:
            self.write()

    def write(self) -> None:
        if self._numbers and self._checkpoint is not None:
            self._ensemble.keep_votes(sorted(self._numbers), self._checkpoint)
        self._numbers, self._written = [], time.monotonic()


def train(
    workforce: Workforce,
    ensemble: _core.Ensemble,
    recipe: Recipe,
    n_members: int,
    checkpoint: str | None,
    report: Report | None,
    vote_on: npt.NDArray[np.float32] | None = None,
) -> str:
    """Train what is missing of an ensemble by the workers of an engine; who did it, in words.

    Whatever happens, members that came back are kept, as with :meth:`Ensemble.train`. Where they vote on `vote_on` and are
    forgotten, only votes come back and are kept, but for the member that is trained twice.

    Raises
    ------
    CertssbError
        As there; and a ParameterError that names `executor` if it cannot do this.
    """
    settings = recipe.settings
    data = (recipe.features, recipe.codes)
    beside = (settings["trusted"], settings["received"])
    kept = None if vote_on is None else _Votes(ensemble, checkpoint, vote_on)
    # Members that go nowhere are not looked for in a checkpoint, which has their votes.
    folder = checkpoint if kept is None else None
    fit = _core.Elsewhere(ensemble, *data, n_members, folder, report, *beside)
    learner = ensemble.model
    source = _Fit(fit, learner, report, kept)
    finished, workers = False, set()
    try:
        if fit.left:
            with carried(learner):
                carrier = Carrier(recipe.of(ensemble, vote_on, fit.twice))
                try:
                    workers = drive(workforce, carrier, source)
                finally:
                    carrier.close()
        finished = True
    except KeyboardInterrupt:
        # Says how many members are finished and kept.
        fit.cancelled()
        raise
    finally:
        if kept is not None:
            kept.write()
        fit.end(*data, finished, source.execution, *beside)
    if source.disturbed:
        raise Disturbed(source.suspects)
    if not workers:
        return ""
    many = "worker" if len(workers) == 1 else "workers"
    return f"{len(workers)} {many} ({workforce.name})"


class Disturbed(Exception):
    """Members of a module share state, which showed on a worker; the arguments are the suspects."""


class carried:
    """Let a learner of objects write and read them as they travel, in whatever form files have."""

    def __init__(self, learner: Any) -> None:
        self._learner = learner if hasattr(learner, "carried") else None

    def __enter__(self) -> None:
        if self._learner is not None:
            self._learner.carried = "joblib"

    def __exit__(self, *exception: object) -> None:
        if self._learner is not None:
            self._learner.carried = None
