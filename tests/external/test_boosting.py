"""LightGBM's and XGBoost's classifiers as members, and members in the form of skops."""

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from certssb.exceptions import CheckpointError, ParameterError
from certssb.learners.sklearn._learner import EstimatorLearner

lightgbm = pytest.importorskip("lightgbm")
xgboost = pytest.importorskip("xgboost")

RNG = np.random.default_rng(3)
X = RNG.random((60, 6), dtype=np.float32)
Y = (X[:, 0] + X[:, 1] > 1.0).astype(np.int64)


class Job:
    """What the core hands over with a call."""

    augments = False

    def __init__(self, number: int = 0) -> None:
        self.numbers = [number]
        self.init_seeds = [1000 + number]
        self.model_seeds = [2000 + number]

    def stopped(self) -> bool:
        return False


def trained(own: EstimatorLearner, number: int = 0, y: Any = Y) -> Any:
    found = own.train(Job(number), X[None].copy(), y[None].copy())
    assert found is not None
    return found[0][0]


def asked(own: EstimatorLearner, member: Any) -> Any:
    answers = own.ask(Job(), [member], X)
    assert answers is not None
    return answers[0]


BOOSTED = [
    lightgbm.LGBMClassifier(n_estimators=10, min_child_samples=3, verbose=-1),
    xgboost.XGBClassifier(n_estimators=10, max_depth=3),
]


@pytest.mark.parametrize("model", BOOSTED, ids=["lightgbm", "xgboost"])
def test_a_member_is_the_classifier_with_its_own_seed_on_one_thread(model: Any) -> None:
    own = EstimatorLearner(model, (6,), 2, 60, n_jobs=2)
    member = trained(own)
    made = own.estimator(member)
    assert made.n_jobs == 1
    assert (asked(own, member).argmax(axis=1) == made.predict(X)).all()
    assert np.allclose(np.exp(asked(own, member)), made.predict_proba(X), atol=1e-6)
    assert own.same(member, trained(own))
    assert made.random_state != own.estimator(trained(own, 1)).random_state
    assert own.name.endswith(f"({type(model).__module__.partition('.')[0]} {_version(model)})")
    assert own.behaviour == []


def _version(model: Any) -> str:
    return {"lightgbm": lightgbm, "xgboost": xgboost}[type(model).__module__.partition(".")[0]].__version__


@pytest.mark.parametrize("model", BOOSTED, ids=["lightgbm", "xgboost"])
def test_classes_that_were_not_seen_have_no_share(model: Any) -> None:
    own = EstimatorLearner(model, (6,), 5, 60, n_jobs=2)
    answers = asked(own, trained(own, y=np.where(Y == 0, 1, 4)))
    assert set(answers.argmax(axis=1)) == {1, 4}
    assert (np.exp(answers[:, [0, 2, 3]]) < 1e-30).all()
    three = np.digitize(X[:, 2], [0.3, 0.6]) + np.digitize(X[:, 2], [0.6])
    answers = asked(own, trained(own, y=three.astype(np.int64)))
    assert (answers.argmax(axis=1) == three).mean() > 0.9


HELD = [
    *BOOSTED,
    RandomForestClassifier(5),
    HistGradientBoostingClassifier(max_iter=3),
    make_pipeline(StandardScaler(), SVC()),
    KNeighborsClassifier(),
]


@pytest.mark.parametrize("model", HELD, ids=[type(model).__name__ for model in HELD])
@pytest.mark.parametrize("form", ["skops", "joblib"])
def test_members_come_back_from_bytes(model: Any, form: str) -> None:
    pytest.importorskip("skops")
    own = EstimatorLearner(model, (6,), 3, 60, n_jobs=2, form=form)
    for member in (trained(own, y=np.where(Y == 0, 0, 2)), trained(own, y=np.full(60, 2))):
        back = own.unpack(own.pack(member))
        assert asked(own, back).tobytes() == asked(own, member).tobytes()


def test_skops_builds_no_objects_of_other_types() -> None:
    pytest.importorskip("skops")
    own = EstimatorLearner(make_pipeline(StandardScaler(), SVC()), (6,), 2, 60, form="skops")
    forest = EstimatorLearner(RandomForestClassifier(5), (6,), 2, 60, form="skops")
    with pytest.raises(
        CheckpointError, match=r"types that members of this model do not have: sklearn.tree._tree.Tree"
    ):
        own.unpack(forest.pack(trained(forest)))
    with pytest.raises(CheckpointError, match="A member cannot be read"):
        own.unpack(b"PK\x03\x04 no archive")


def test_a_form_that_cannot_hold_a_member_is_refused_before_training() -> None:
    pytest.importorskip("skops")
    model = make_pipeline(FunctionTransformer(lambda X: X), SVC())
    for form in ("skops", "joblib"):
        with pytest.raises(
            ParameterError, match=f"'form'.*can hold such members. Got '{form}', which cannot"
        ):
            EstimatorLearner(model, (6,), 2, 60, form=form)
