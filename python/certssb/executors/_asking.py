"""Questions to members, answered by the workers of an engine: votes, scores, logits, noise magnitudes."""

from __future__ import annotations

import collections
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from certssb import _core
from certssb.exceptions import TrainingError
from certssb.executors import _task
from certssb.executors._driving import drive
from certssb.executors._payload import Carrier, ready
from certssb.executors._training import carried, prepare
from certssb.executors._workforce import Workforce
from certssb.learners import _devices
from certssb.watch.progress import Report

__all__ = ["Question", "ask"]

Question = Literal["votes", "scores", "logits", "magnitudes"]

_BYTES = 64 << 20
"""Of members, or of answers, in one task."""


@dataclass
class Asked:
    """Test inputs, and an ensemble without members, for workers to put members into."""

    features: npt.NDArray[np.float32]
    question: Question
    bare: tuple[Callable[..., _core.Ensemble], tuple[Any, ...]]
    how: tuple[str, int, int | None, str]
    """Device, threads, members together, precision."""
    magnitudes: list[float] | None

    def work(self, order: Any, stopped: Any) -> _task.Reply:
        """Ask the members of an order, on a worker."""
        *_, precision = self.how
        with _devices.computing(precision), ready(self, self._made) as ensemble:
            begun = time.perf_counter()
            try:
                ensemble.unpack(order)
                answers = getattr(ensemble, self.question)(self.features)
            finally:
                ensemble.truncate(0)
            return {"answers": answers, "seconds": time.perf_counter() - begun}

    def _made(self) -> _core.Ensemble:
        make, parts = self.bare
        ensemble = make(*parts)
        device, n_jobs, stack, _ = self.how
        if ensemble.model is not None:
            prepare(ensemble.model, device, stack)
        ensemble.reconfigure(device, n_jobs, stack)
        if self.magnitudes is not None:
            ensemble.recall_magnitudes(self.magnitudes)
        return ensemble


class _Answers:
    """Answers that are still to come, in an array."""

    def __init__(self, ensemble: _core.Ensemble, answers: npt.NDArray[Any], report: Report | None) -> None:
        self._ensemble, self.answers, self._report = ensemble, answers, report
        self._groups = collections.deque(ensemble.groups())
        numbers = [number for group in self._groups for number in group]
        self._place = {number: place for place, number in enumerate(numbers)}
        self._done, self._row_bytes = 0, max(1, answers[:1].nbytes)
        self._member_bytes = 1

    @property
    def left(self) -> int:
        return sum(map(len, self._groups))

    def hand_out(self, most: int) -> list[int]:
        most = max(1, min(most, _BYTES // max(self._row_bytes, self._member_bytes)))
        numbers: list[int] = []
        while self._groups and (not numbers or len(numbers) + len(self._groups[0]) <= most):
            numbers.extend(self._groups.popleft())
        return numbers

    def order(self, numbers: list[int]) -> list[tuple[int, bytes]]:
        packed = self._ensemble.pack(numbers)
        self._member_bytes = max(len(content) for _, content in packed)
        return packed

    def take(self, numbers: list[int], reply: _task.Reply) -> None:
        answers = reply["answers"]
        expected = (len(numbers), *self.answers.shape[1:])
        if answers.shape != expected or answers.dtype != self.answers.dtype:
            got = f"{answers.dtype} of shape {answers.shape}"
            raise TrainingError(f"A worker answered {got} where {len(numbers)} members were asked.")
        self.answers[[self._place[number] for number in numbers]] = answers
        self._done += len(numbers)
        if self._report is not None:
            self._report(self._done, len(self.answers))

    def wait(self) -> None:
        """Nobody waits."""


def ask(
    workforce: Workforce,
    ensemble: _core.Ensemble,
    features: npt.NDArray[np.float32],
    question: Question,
    how: tuple[str, int, str],
    report: Report | None = None,
) -> npt.NDArray[Any]:
    """What members say of samples, as the ensemble's method of the question's name returns it.

    Parameters
    ----------
    workforce : Workforce
        Whose workers are asked.
    ensemble : Ensemble
        With members.
    features : ndarray of shape (n_samples, ...)
        The samples.
    question : {"votes", "scores", "logits", "magnitudes"}
        What is asked.
    how : tuple of str, int and str
        Device, threads of a task, precision.
    report : callable, optional
        Told how many members have answered.

    Raises
    ------
    CertssbError
        As that method; and a ParameterError that names `executor` if it cannot do this.
    """
    ensemble.check_inputs(features)
    magnitudes = None
    if not ensemble.sound:
        # Found by one member, the scout, for all of them.
        magnitudes = ensemble.magnitudes(features)
        if question == "magnitudes":
            return magnitudes
    shape: tuple[int, ...] = (ensemble.n_members, len(features))
    if question in ("scores", "logits"):
        shape = (*shape, json.loads(ensemble.record())["n_classes"])
    answers = np.zeros(shape, dtype=np.uint16 if question == "votes" else np.float32)
    device, n_jobs, precision = how
    asked = Asked(
        features,
        question,
        ensemble.bare(),
        (device, n_jobs, ensemble.stack, precision),
        None if magnitudes is None else magnitudes.ravel().tolist(),
    )
    with carried(ensemble.model):
        carrier = Carrier(asked)
        try:
            drive(workforce, carrier, _Answers(ensemble, answers, report))
        finally:
            carrier.close()
    return answers
