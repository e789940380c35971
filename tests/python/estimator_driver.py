"""A learner of scikit-learn estimators, driven as the core drives it."""

from typing import Any

import numpy as np
from sklearn.naive_bayes import GaussianNB

from certssb.learners.sklearn._learner import EstimatorLearner

RNG = np.random.default_rng(3)
X = RNG.random((40, 6), dtype=np.float32)
Y = (X[:, 0] + X[:, 1] > 1.0).astype(np.int64)


class Job:
    """What the core hands over with a call."""

    def __init__(self, *numbers: int, stopped: bool = False) -> None:
        self.numbers = list(numbers)
        self.init_seeds = [1000 + number for number in numbers]
        self.model_seeds = [2000 + number for number in numbers]
        self._stopped = stopped
        self.augments = False

    def stopped(self) -> bool:
        return self._stopped


def learner(model: Any, n_classes: int = 2, n_samples: int = 40, **settings: Any) -> EstimatorLearner:
    return EstimatorLearner(model, (6,), n_classes, n_samples, n_jobs=2, **settings)


def trained(own: EstimatorLearner, number: int = 0, X: Any = X, y: Any = Y) -> Any:
    found = own.train(Job(number), X[None].copy(), y[None].copy())
    assert found is not None
    return found[0][0]


def asked(own: EstimatorLearner, member: Any, X: Any = X) -> Any:
    answers = own.ask(Job(0), [member], X)
    assert answers is not None
    assert answers.dtype == np.float32
    return answers[0]


class Plain:
    """An object with fit and predict and nothing else."""

    def __init__(self) -> None:
        self.where: Any = None

    def fit(self, X: Any, y: Any) -> None:
        self.where = np.array([X[y == c].mean(axis=0) for c in np.unique(y)])
        self.classes = np.unique(y)

    def predict(self, X: Any) -> Any:
        return self.classes[((X[:, None] - self.where) ** 2).sum(axis=2).argmin(axis=1)]


class Answer(GaussianNB):  # type: ignore[misc]
    """What some function makes of a good answer."""

    def __init__(self, change: Any = None, shares: Any = None) -> None:
        super().__init__()
        self.change = change
        self.shares = shares

    def predict(self, X: Any) -> Any:
        own = super().predict(X)
        return own if self.change is None else self.change(own)

    def predict_proba(self, X: Any) -> Any:
        own = super().predict_proba(X)
        return own if self.shares is None else self.shares(own)
