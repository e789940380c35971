"""What scikit-learn calls an estimator and cannot be a member: refused by name, before or after training."""

import functools
import warnings
from typing import Any

import numpy as np
import pytest
from estimator_driver import Answer, Plain, X, Y, learner, trained
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.cluster import KMeans
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LinearRegression, SGDClassifier
from sklearn.model_selection import StratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from certssb.exceptions import ParameterError

SHARED = SGDClassifier(warm_start=True)


KEPT: dict[str, Any] = {}


FITTED: list[Any] = []


class Once(BaseEstimator):  # type: ignore[misc]
    """Learns what the first of all learned."""

    memory: Any = None

    def fit(self, X: Any, y: Any) -> Any:
        if Once.memory is None:
            Once.memory = GaussianNB().fit(X, y)
        return self

    def predict(self, X: Any) -> Any:
        return Once.memory.predict(X)


class Last(Once):
    """Says what the last of all learned."""

    def fit(self, X: Any, y: Any) -> Any:
        Once.memory = GaussianNB().fit(X, y)
        return self


class Growing(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Begins where the one before it ended."""

    start = 0.0

    def fit(self, X: Any, y: Any) -> Any:
        self.classes_, self.own_ = np.unique(y), Growing.start + float(y.mean())
        Growing.start = self.own_
        return self

    def predict_proba(self, X: Any) -> Any:
        share = np.full(len(X), 1 / (1 + self.own_))
        rest = (1 - share) / (len(self.classes_) - 1)
        return np.column_stack([share] + [rest] * (len(self.classes_) - 1))

    def predict(self, X: Any) -> Any:
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


class Moody(Plain):
    """Changes its mind whenever it is asked."""

    mood = 0

    def predict(self, X: Any) -> Any:
        Moody.mood += 1
        return (super().predict(X) + Moody.mood) % 2


class Together(Plain):
    """Says something of a sample that depends on the others."""

    def predict(self, X: Any) -> Any:
        return (X.mean(axis=1) > X.mean()).astype(int)


class Unclonable(GaussianNB):  # type: ignore[misc]
    def __init__(self, values: Any = ()) -> None:
        super().__init__()
        self.values = list(values)


def shared_step() -> Any:
    KEPT.setdefault("scaler", StandardScaler())
    return make_pipeline(KEPT["scaler"], GaussianNB())


def fitted(model: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(X, Y)


def fitted_plain() -> Any:
    own = Plain()
    own.fit(X, Y)
    own.where_ = own.where
    return own


REFUSED = [
    (object(), "an object with|has no fit"),
    (StandardScaler(), "StandardScaler.*has no predict"),
    (make_pipeline(StandardScaler()), "Pipeline, which has no predict"),
    (lambda: StandardScaler(), "StandardScaler.*has no predict"),
    (lambda: 5, "5, which has no fit"),
    (LinearRegression(), "a classifier. Got LinearRegression, a regressor"),
    (LinearRegression, "a classifier. Got LinearRegression, a regressor"),
    (make_pipeline(StandardScaler(), LinearRegression()), "a classifier. Got Pipeline, a regressor"),
    (KMeans(2), "a classifier. Got KMeans, a clusterer"),
    (lambda: SHARED, "another estimator every time. Got a callable that returns the same SGDClassifier"),
    (shared_step, "do not share state. Got Pipeline, one of which answered differently after another"),
    (fitted(SGDClassifier(warm_start=True)), "not fitted. Got a fitted SGDClassifier and warm_start=True"),
    (fitted_plain(), "not fitted. Got a fitted Plain, of which no fresh clone"),
    (lambda: fitted(GaussianNB()), "not fitted. Got one that returns a fitted GaussianNB"),
    (Once(), "learns from the samples it is given. Got Once, which says the same whatever labels"),
    (
        DummyClassifier(strategy="constant", constant=0),
        "learns from the samples it is given. Got DummyClassifier",
    ),
    (Last(), "do not share state. Got Last, one of which answered differently after another one was fitted"),
    (Growing(), "do not share state. Got Growing, which came out different when it was fitted again"),
    (Moody, "answers the same when it is asked again. Got Moody"),
    (Together, "does not depend on the others. Got Together|learns from the samples"),
    (
        make_pipeline(StandardScaler(), GaussianNB(), memory="cache"),
        r"without a cache \(memory=None\). Got Pipeline",
    ),
    (Unclonable((1, 2)), "sklearn.base.clone can clone.*Unclonable, whose clone fails"),
    (Answer(change=lambda y: y + 5), "predict returned .*5.* no class of the labels"),
    (Answer(change=lambda y: y + 0.5), "predict returned .*0.5.* no class of the labels"),
    (Answer(change=lambda y: y[:-1]), r"predict returned an array of shape \(39,\) for 40 samples"),
    (Answer(change=lambda y: y.astype(str)), "predict returned values of type <U"),
    (Answer(shares=lambda p: p * np.nan), "whose predict_proba is finite. Got Answer, which returned NaN"),
    (
        Answer(shares=lambda p: 2 * p),
        "predict_proba returns probabilities. Got Answer, which returned values that are negative or whose sum",
    ),
    (
        Answer(shares=lambda p: p[:, :1]),
        r"predict_proba returned an array of shape \(40, 1\) instead of \(40, 2\)",
    ),
    (Answer(shares=lambda p: p[:-1]), r"predict_proba returned an array of shape \(39, 2\)"),
    (KNeighborsClassifier(100), "learns from 40 made-up samples.*n_neighbors"),
]


@pytest.mark.parametrize(("model", "said"), REFUSED, ids=[str(n) for n in range(len(REFUSED))])
def test_what_cannot_be_a_member_is_refused_by_name(model: Any, said: str) -> None:
    Once.memory, Growing.start = None, 0.0
    with pytest.raises(ParameterError, match=f"(?s)'model'.*({said})"):
        learner(model)


def test_what_learns_in_its_own_way_is_taken() -> None:
    learner(DummyClassifier(strategy="prior"))
    learner(StackingClassifier([("a", GaussianNB())], cv=StratifiedKFold(2)))
    learner(fitted(DecisionTreeClassifier()))
    learner(SGDClassifier(warm_start=True))
    learner(functools.partial(SVC, C=2.0))


def test_state_that_members_share_later_is_found_after_training() -> None:
    class Later(Plain):
        offset = 0
        fits = 0

        def fit(self, X: Any, y: Any) -> None:
            super().fit(X, y)
            Later.fits += 1
            if Later.fits > 12:
                Later.offset = 1

        def predict(self, X: Any) -> Any:
            return (super().predict(X) + Later.offset) % 2

    own = learner(Later)
    assert not own.is_disturbed()
    for number in range(12):
        trained(own, number)
    assert own.is_disturbed()
    assert not learner(GaussianNB()).is_disturbed()
