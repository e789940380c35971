"""scikit-learn estimators as members: what the core asks for, answered with fitted objects."""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.dummy import DummyClassifier

from certssb.exceptions import CheckpointError
from certssb.learners._libraries import libraries
from certssb.learners.sklearn import _identity, _storage, _trials
from certssb.learners.sklearn._fitting import ONE_THREAD, Recipe, asked
from certssb.learners.sklearn._lanes import Lanes
from certssb.learners.sklearn._making import (
    EXPECTED,
    Maker,
    check_kind,
    check_prototype,
    is_estimator,
    parts,
    refusal,
)
from certssb.learners.sklearn._member import Floats, Member

__all__ = ["EstimatorLearner"]

_ROWS = 4096
"""Rows of one question, so that Ctrl-C is heard between two."""


class EstimatorLearner:
    """A classifier that was looked at, as the core wants it.

    Parameters
    ----------
    model : object or callable
        A classifier with fit and predict, of which each member is a fresh clone; or a callable without arguments that
        makes one.
    shape : tuple of int
        Shape of one sample; estimators see it flat.
    n_classes : int
        Number of classes.
    n_samples : int
        Samples of a member's noised set.
    n_jobs : int, optional
        Members fitted at the same time; all cores if not given.
    form : {"skops", "joblib"}, optional
        In which form members are written into files; not at all if not given.

    Attributes
    ----------
    name : str
        Class, digest of the parameters, versions of the libraries.
    behaviour : list of list of float
        What a member of made-up samples says of others; empty if the name says all.
    libraries : str
        The libraries that members are computed with, and their versions.
    refusals : list of str
        Why members could not be trained on their sets, in the order in which that came out.

    Raises
    ------
    ParameterError
        If it cannot be a member: no classifier, or one whose members would share state.
    """

    specs: None = None
    min_samples = 1
    batch = 1
    stacks = False
    stacks_are_sure = False
    may_keep_state = True
    lanes = 1
    searches = False
    augments = "once"
    why_not: str | None = None
    carried: _storage.Form | None = None
    """In which form members travel between processes of one run, where no form for files was chosen."""

    def __init__(
        self,
        model: Any,
        shape: Sequence[int],
        n_classes: int,
        n_samples: int = 64,
        n_jobs: int | None = None,
        form: Any = None,
    ) -> None:
        form = _storage.checked(form)
        if is_estimator(model):
            check_kind(model)
            check_prototype(model)
        elif not callable(model):
            check_kind(model)
        self.shape = tuple(shape)
        self.n_classes = n_classes
        self._n_samples = n_samples
        recipe = Recipe(Maker(model), n_classes)
        first = recipe.maker.fresh(0)
        if not is_estimator(first):
            raise refusal(EXPECTED, f"a callable that returns a {type(first).__name__}")
        # Loaded by now: the libraries whose threads are counted.
        ONE_THREAD.look_again()
        self._witness, crowded = _trials.tried(recipe, self.shape, n_samples)
        self._recipe = self._witness.recipe
        self.name = _identity.described(first)
        modules = [type(part).__module__ for part in parts(first)]
        self.libraries = libraries(["numpy", "scipy", "sklearn", *modules])
        self.behaviour = [] if _identity.is_exact(first) else _identity.numbers(self._witness.answers)
        self._lanes = Lanes(n_jobs or os.cpu_count() or 1, crowded)
        self.refusals: list[str] = []
        self.form: _storage.Form | None = None
        self.write_as(form)

    @property
    def worker(self) -> str:
        """What members were fitted in, in the plural."""
        return "processes" if self._lanes.used_processes else "threads"

    def devices(self) -> list[str]:
        """Where members can be trained."""
        return ["cpu"]

    def starting(self) -> AbstractContextManager[None]:
        """What is held while the core starts its threads: nothing."""
        return contextlib.nullcontext()

    def enter(self, device: str) -> None:
        """A thread of the core begins; each call limits the threads of libraries by itself."""

    def train(
        self, job: Any, X: Floats, y: npt.NDArray[np.int64]
    ) -> tuple[list[Member], npt.NDArray[np.float32]] | None:
        """Members of noised sets of shape (S, n, ...), and their losses, NaN where the estimator refused its set; None if the
        run was stopped."""
        members, losses = [], np.zeros(len(X), dtype=np.float32)
        for place, seeds in enumerate(zip(job.init_seeds, job.model_seeds, strict=True)):
            if job.stopped():
                return None
            samples, labels = _with_copies(job, place, X[place], y[place])
            found = self._lanes.fit(self._recipe, seeds, samples, labels, job.stopped)
            if found is None:
                return None
            member, losses[place], refusal = found
            members.append(member)
            if refusal is not None:
                self.refusals.append(refusal)
        return members, losses

    def ask(self, job: Any, values: Sequence[Member], X: Floats) -> Floats | None:
        """Logarithms of probabilities of shape (S, m, n_classes); None if the run was stopped."""
        shared = X.ndim == len(self.shape) + 1
        n_rows = len(X) if shared else X.shape[1]
        answers = np.empty((len(values), n_rows, self.n_classes), dtype=np.float32)
        for place, member in enumerate(values):
            rows = X if shared else X[place]
            for start in range(0, n_rows, _ROWS):
                if job.stopped():
                    return None
                part = slice(start, start + _ROWS)
                answers[place, part] = asked(self._recipe, member, rows[part])
        return answers

    def write_as(self, form: Any) -> None:
        """Choose the form in which members are written into files; refuse one that cannot hold them."""
        self.form = _storage.checked(form)
        self._types = [] if self.form is None else _storage.try_form(self.form, self._witness.member)

    def pack(self, member: Member) -> bytes:
        """A member as bytes, for a file."""
        form = self.form or self.carried
        if form is None:
            raise CheckpointError(_storage.NO_FORM)
        return _storage.pack(member, form)

    def unpack(self, content: bytes) -> Member:
        """A member from the bytes of a file."""
        form = self.form or self.carried
        if form is None:
            raise CheckpointError(_storage.NO_FORM)
        return _storage.unpack(content, form, self._types)

    def stay_in_threads(self) -> None:
        """Fit members in the threads that ask for them: this process is one of several already."""
        self._lanes.in_processes = False

    def same(self, a: Member, b: Member) -> bool:
        """Whether two members say the same of made-up samples, bit for bit."""
        return self._witness.same(self._witness.asked(a), self._witness.asked(b))

    def estimator(self, member: Member) -> Any:
        """A copy of what was fitted; for a member of a single class, an estimator that says it."""
        if member.estimator is not None:
            return copy.deepcopy(member.estimator)
        only = member.seen[:1]
        constant = DummyClassifier(strategy="constant", constant=int(only[0]))
        return constant.fit(np.zeros((1, int(np.prod(self.shape))), dtype=np.float32), only)

    # What is asked of every model of the user's around a training run.

    def try_stacks(self, device: str, stack: int | None) -> None:
        """Estimators are fitted one by one."""

    def check_alone(self, device: str, n_steps: int) -> None:
        """Tried when this was made."""

    def is_disturbed(self) -> bool:
        """Whether training left traces in what members are."""
        return self._witness.is_disturbed()

    def suspects(self) -> list[str]:
        """What all members see and training has changed, by name: where that lies is not known."""
        return []

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state["_lanes"] = (self._lanes._n_jobs, self._lanes.in_processes)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lanes = Lanes(*state["_lanes"])


def _with_copies(
    job: Any, place: int, X: Floats, y: npt.NDArray[np.int64]
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """A noised set, followed by the changed copies of it that an augmentation asks for."""
    if not job.augments:
        return X, y
    rows = job.with_copies(X.reshape(len(X), -1), place)
    return rows.reshape(-1, *X.shape[1:]), np.tile(y, len(rows) // len(X))
