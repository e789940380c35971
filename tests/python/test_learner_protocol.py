"""A learner that has what `learners/protocol.py` says, and nothing else, is enough: what CONTRIBUTING tells of is all there is to do."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import certssb as cs
from certssb.estimators import _building
from certssb.learners.protocol import Job, Learner


class Means:
    """Members are class means; the smallest learner."""

    name = "class means"
    behaviour: list[list[float]] = []  # noqa: RUF012 - the name says all
    min_samples = batch = lanes = 1
    stacks = may_keep_state = searches = False
    stacks_are_sure = True
    why_not: str | None = None

    def __init__(self, shape: Sequence[int], n_classes: int) -> None:
        self.n_classes = n_classes
        self.specs: list[tuple[str, list[int], bool]] | None = [
            ("means", [n_classes, int(np.prod(shape))], True)
        ]

    def try_stacks(self, device: str, stack: int | None) -> None: ...
    def check_alone(self, device: str, n_steps: int) -> None: ...
    def enter(self, device: str) -> None: ...

    def is_disturbed(self) -> bool:
        return False

    def suspects(self) -> list[str]:
        return []

    def devices(self) -> list[str]:
        return ["cpu"]

    def starting(self) -> contextlib.nullcontext[None]:
        return contextlib.nullcontext()

    def train(self, job: Job, X: Any, y: Any) -> tuple[Any, Any] | None:
        (x,), (t,) = X.reshape(*X.shape[:2], -1), y
        means = [
            x[t == c].mean(axis=0) if (t == c).any() else np.full(x.shape[1], 9.0)
            for c in range(self.n_classes)
        ]
        return np.array([np.ravel(means)], dtype=np.float32), np.zeros(1, np.float32)

    def ask(self, job: Job, values: Sequence[Any], X: Any) -> Any:
        means = np.asarray(values).reshape(1, self.n_classes, -1)
        rows = X.reshape(-1, means.shape[2])
        return -((rows[None, :, None] - means[:, None]) ** 2).sum(axis=-1, dtype=np.float32)

    def search(self, job: Job, values: Any, X: Any, classes: Any, noise: Any) -> Any:
        raise NotImplementedError


def test_the_smallest_learner_is_all_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    X, y = cs.datasets.load_digits()
    learner: Learner = Means(X.shape[1:], 10)
    # What is asked of any learner is in the protocol; `augments` may be left out.
    own = {name for name in dir(learner) if not name.startswith("_")}
    promised = {name for name in {*dir(Learner), *Learner.__annotations__} if not name.startswith("_")}
    assert own - {"n_classes"} == promised
    monkeypatch.setattr(_building, "learner_of", lambda *_, **__: learner)
    law = cs.Subsample(cs.Gaussian(0.25), size=100)
    settings: dict[str, Any] = {"n_members": 50, "alpha": 0.05, "seed": 0, "progress": False}
    clf = cs.CertifiedClassifier(object(), law, checkpoint=tmp_path, **settings).fit(X[:600], y[:600])
    certs = clf.certify(X[600:800])
    assert certs.certified_accuracy(y[600:800], cs.Threat(2, labels=True)) > 0.5
    assert "class means" in json.loads(clf.record())["model"] and len(list(tmp_path.glob("member-*"))) == 50
