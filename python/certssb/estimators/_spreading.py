"""Where members are trained and asked: by threads of this process, or by the workers of an engine."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from certssb._checks import check_integer, parameter_error
from certssb.estimators._cascade_levels import Levels, Members
from certssb.estimators._forgetting import forgetting
from certssb.executors._asking import ask
from certssb.executors._choice import is_executor, workforce_of
from certssb.executors._training import Recipe, train
from certssb.executors._workforce import Workforce
from certssb.watch.progress import Report

if TYPE_CHECKING:
    from certssb.executors._asking import Question

__all__ = ["checked_jobs", "elsewhere", "jobs_of_task", "said", "train_elsewhere"]

_MOST_JOBS = 2**15
"""Threads that no machine has; more are a slip."""

Features = npt.NDArray[np.float32]


def checked_jobs(value: Any) -> int:
    """scikit-learn's rule: -1 is all processors, -2 all but one."""
    expected = f"None, an integer from 1 to {_MOST_JOBS}, or -1 for all processors"
    jobs = check_integer("n_jobs", value, expected, -(2**31), _MOST_JOBS)
    if jobs == 0:
        raise parameter_error("n_jobs", expected, "0")
    return jobs if jobs > 0 else max(1, (os.cpu_count() or 1) + 1 + jobs)


def jobs_of_task(n_jobs: Any) -> int:
    """Threads of one task on a worker: one, unless told otherwise, because engines start a worker for each processor."""
    return 1 if n_jobs is None else checked_jobs(n_jobs)


@contextlib.contextmanager
def elsewhere(estimator: Any) -> Iterator[Workforce | None]:
    """The workers that an estimator's executor names; None for threads of this process."""
    if not is_executor(estimator.executor):
        # None, or what fit refuses: what was fitted before still answers.
        yield None
        return
    workforce = workforce_of(estimator.executor, jobs_of_task(estimator.n_jobs), str(estimator.device))
    try:
        yield workforce
    finally:
        workforce.close()


def train_elsewhere(
    workforce: Workforce,
    ensemble: Members,
    recipes: Sequence[Recipe],
    n_members: int,
    checkpoint: str | None,
    report: Report | None,
    vote_on: Features | None = None,
) -> str:
    """Train what is missing, level by level; who did it, in words. Members that vote on `vote_on` are forgotten."""
    if isinstance(ensemble, Levels):
        who = ""
        for (level, folder, told), recipe in zip(ensemble.each(checkpoint, report), recipes, strict=True):
            who = train_elsewhere(workforce, level, [recipe], n_members, folder, told, vote_on) or who
        return who
    if vote_on is None:
        return train(workforce, ensemble, recipes[0], n_members, checkpoint, report)
    with forgetting(ensemble, vote_on, n_members, checkpoint):
        return train(workforce, ensemble, recipes[0], n_members, checkpoint, report, vote_on)


def said(
    estimator: Any,
    ensemble: Members,
    features: Features,
    question: Question,
    report: Report | None = None,
    precision: str | None = None,
) -> npt.NDArray[Any]:
    """What members say of samples; of a cascade, level by level. `precision` is that of the last fit if not given."""
    with elsewhere(estimator) as workforce:
        if workforce is None or ensemble.forgets:
            # What forgotten members said is here.
            answers: npt.NDArray[Any] = getattr(ensemble, question)(features, report)
            return answers
        precision = str(estimator._precision) if precision is None else precision
        how = (str(estimator.device), jobs_of_task(estimator.n_jobs), precision)
        if not isinstance(ensemble, Levels):
            return ask(workforce, ensemble, features, question, how, report)
        each = ensemble.each(None, report)
        return np.stack([ask(workforce, level, features, question, how, told) for level, _, told in each])
