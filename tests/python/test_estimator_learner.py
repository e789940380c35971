"""scikit-learn estimators as members: what the learner says to the core, driven as the core drives it."""

import functools
import pickle
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.cluster import KMeans
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier, StackingClassifier, VotingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.model_selection import FixedThresholdClassifier, StratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from certssb.exceptions import CheckpointError, ParameterError
from certssb.learners.sklearn._lanes import Lanes
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


def test_a_member_is_the_estimator_fitted_on_its_noised_set_with_its_own_seed() -> None:
    prototype = RandomForestClassifier(10, max_depth=3, random_state=5)
    own = learner(prototype)
    first, second = trained(own, 0), trained(own, 1)
    forest = own.estimator(first)
    assert forest.get_params()["max_depth"] == 3
    by_hand = RandomForestClassifier(10, max_depth=3, random_state=forest.random_state).fit(X, Y)
    assert np.allclose(np.exp(asked(own, first)), by_hand.predict_proba(X), atol=1e-6)
    assert forest.random_state != own.estimator(second).random_state
    assert not own.same(first, second)
    assert own.same(first, trained(own, 0))
    # The prototype is never fitted.
    assert not hasattr(prototype, "estimators_")


def test_nested_seeds_differ_and_come_from_the_member() -> None:
    own = learner(make_pipeline(StandardScaler(), SGDClassifier(random_state=1)))
    seeds = [own.estimator(trained(own, n)).get_params()["sgdclassifier__random_state"] for n in range(5)]
    assert len(set(seeds)) == 5
    voting = learner(VotingClassifier([("a", DecisionTreeClassifier()), ("b", DecisionTreeClassifier())]))
    params = voting.estimator(trained(voting)).get_params()
    assert params["a__random_state"] != params["b__random_state"]


def test_a_pipelines_scaler_is_fitted_on_the_noised_set_alone() -> None:
    own = learner(make_pipeline(StandardScaler(), SVC()))
    scaler = own.estimator(trained(own, X=X[:20], y=Y[:20]))[0]
    assert np.allclose(scaler.mean_, X[:20].mean(axis=0))


@pytest.mark.parametrize("model", [DecisionTreeClassifier, lambda: DecisionTreeClassifier(max_features=2)])
def test_a_callable_makes_each_member(model: Any) -> None:
    own = learner(model)
    assert (asked(own, trained(own)).argmax(axis=1) == Y).all()
    assert own.estimator(trained(own, 0)) is not own.estimator(trained(own, 0))


class Plain:
    """An object with fit and predict and nothing else."""

    def __init__(self) -> None:
        self.where: Any = None

    def fit(self, X: Any, y: Any) -> None:
        self.where = np.array([X[y == c].mean(axis=0) for c in np.unique(y)])
        self.classes = np.unique(y)

    def predict(self, X: Any) -> Any:
        return self.classes[((X[:, None] - self.where) ** 2).sum(axis=2).argmin(axis=1)]


def test_an_object_with_fit_and_predict_is_copied_for_each_member() -> None:
    prototype = Plain()
    own = learner(prototype)
    assert prototype.where is None
    answers = asked(own, trained(own))
    by_hand = Plain()
    by_hand.fit(X, Y)
    assert (answers.argmax(axis=1) == by_hand.predict(X)).all()
    # Without probabilities scores are 0 and 1, exactly.
    scores = np.exp(answers) / np.exp(answers).sum(axis=1, keepdims=True)
    assert set(np.unique(scores)) == {0.0, 1.0}


def test_classes_that_were_not_seen_have_no_share() -> None:
    labels = np.where(Y == 0, 1, 3)
    for model in (RandomForestClassifier(5), KNeighborsClassifier(3), SVC(), Plain()):
        own = learner(model, n_classes=5)
        answers = asked(own, trained(own, y=labels))
        assert set(answers.argmax(axis=1)) == {1, 3}
        assert (np.exp(answers[:, [0, 2, 4]]) < 1e-30).all()


@pytest.mark.parametrize("model", [SVC(), LogisticRegression(), RandomForestClassifier(5), Plain()])
def test_a_noised_set_of_one_class_makes_a_member_that_says_it(model: Any) -> None:
    own = learner(model, n_classes=3)
    answers = asked(own, trained(own, y=np.full(40, 2)))
    assert (answers.argmax(axis=1) == 2).all()


def test_votes_are_predictions_where_the_largest_probability_says_otherwise() -> None:
    own = learner(FixedThresholdClassifier(GaussianNB(), threshold=0.9))
    member = trained(own)
    answers, estimator = asked(own, member), own.estimator(member)
    assert (estimator.predict(X) != estimator.predict_proba(X).argmax(axis=1)).any()
    assert (answers.argmax(axis=1) == estimator.predict(X)).all()
    assert np.allclose(np.exp(answers).sum(axis=1), 1.0, atol=1e-5)


def test_samples_are_flat_for_estimators() -> None:
    own = EstimatorLearner(GaussianNB(), (1, 2, 3), 2, 40)
    images = X.reshape(40, 1, 2, 3)
    member = trained(own, X=images)
    assert own.estimator(member).n_features_in_ == 6
    flat = learner(GaussianNB())
    assert asked(own, member, images).tobytes() == asked(flat, trained(flat)).tobytes()


def test_one_member_is_asked_about_its_own_samples() -> None:
    own = learner(GaussianNB())
    members = [trained(own, 0), trained(own, 1, X[:20], Y[:20])]
    together = own.ask(Job(0, 1), members, np.stack([X, X[::-1]]))
    assert together is not None
    assert together.shape == (2, 40, 2)
    assert np.allclose(together[1], asked(own, members[1], X[::-1].copy()), atol=1e-5)


def test_what_is_stopped_says_so() -> None:
    own = learner(GaussianNB())
    member = trained(own)
    assert own.train(Job(0, stopped=True), X[None], Y[None]) is None
    assert own.ask(Job(0, stopped=True), [member], X) is None


def test_a_row_that_breaks_the_estimator_is_not_finite_and_stops_no_other() -> None:
    own = learner(make_pipeline(FunctionTransformer(_squared), GaussianNB()))
    member = trained(own)
    broken = X.copy()
    broken[7] = 3e38
    answers = asked(own, member, broken)
    assert np.isnan(answers[7]).all()
    rest = np.arange(40) != 7
    assert np.allclose(answers[rest], asked(own, member)[rest], atol=1e-5)
    with pytest.raises(ValueError, match="infinity"):
        asked(own, member, np.full_like(X, 3e38))


def test_rounded_probabilities_are_normalised_and_none_at_all_are_no_answer() -> None:
    def shares(own: Any) -> Any:
        if len(own) == 40:
            own[3] *= 1.5
            own[4] = 0.0
        return own

    own = learner(Answer(shares=shares))
    answers = np.exp(asked(own, trained(own)))
    assert np.allclose(np.delete(answers, 4, axis=0).sum(axis=1), 1.0, atol=1e-5)
    assert np.isnan(answers[4]).all()


def _squared(X: Any) -> Any:
    with np.errstate(over="ignore"):
        return np.float32(X) ** 2


def test_one_training_sample_of_3e38_makes_a_failed_member() -> None:
    own = learner(make_pipeline(FunctionTransformer(_squared), GaussianNB()))
    broken = X.copy()
    broken[7] = 3e38
    found = own.train(Job(0), broken[None], Y[None])
    assert found is not None
    assert np.isnan(found[1]).all()
    own = learner(KNeighborsClassifier(35), n_samples=40)
    found = own.train(Job(0), X[None, :20], Y[None, :20])
    assert found is not None
    assert np.isnan(found[1]).all()
    assert "n_neighbors" in own.refusals[0]


def test_global_generators_are_seeded_for_a_member_and_put_back() -> None:
    class Drawing(Plain):
        def fit(self, X: Any, y: Any) -> None:
            rows = np.random.choice(len(X), len(X))
            super().fit(X[rows], y[rows])

    own = learner(Drawing)
    np.random.seed(5)
    before = np.random.get_state()[1].tobytes()  # type: ignore[index, union-attr]
    first = trained(own)
    assert np.random.get_state()[1].tobytes() == before  # type: ignore[index, union-attr]
    np.random.seed(6)
    assert own.same(first, trained(own))
    assert not own.same(first, trained(own, 1))


# Names.


def test_the_name_tells_parameters_and_library() -> None:
    names = {
        learner(model).name
        for model in (
            RandomForestClassifier(5),
            RandomForestClassifier(6),
            RandomForestClassifier(5, class_weight={0: 1, 1: 2}),
            make_pipeline(StandardScaler(), RandomForestClassifier(5)),
            make_pipeline(StandardScaler(with_std=False), RandomForestClassifier(5)),
        )
    }
    assert len(names) == 5
    import sklearn

    assert all(f"sklearn {sklearn.__version__}" in name for name in names)
    forest = learner(RandomForestClassifier(5, random_state=7, n_jobs=1, verbose=0))
    assert (
        forest.name
        == learner(RandomForestClassifier(5)).name
        == learner(lambda: RandomForestClassifier(5)).name
    )
    assert forest.behaviour == []


def test_code_of_the_users_is_known_by_what_it_does() -> None:
    def model(factor: float) -> Any:
        return make_pipeline(FunctionTransformer(lambda X: np.abs(X - factor)), GaussianNB())

    first, second = learner(model(0.5)), learner(model(0.1))
    assert first.name == second.name
    assert first.behaviour != second.behaviour
    assert learner(model(0.5)).behaviour == first.behaviour


# What is refused.

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


# Side by side.


def test_members_are_the_same_from_threads_and_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    own = learner(RandomForestClassifier(8))
    alone = [trained(own, number) for number in range(4)]
    results: dict[tuple[str, int], Any] = {}

    def work(way: str, number: int) -> None:
        results[way, number] = trained(own, number)

    for way in ("threads", "processes"):
        own._lanes = Lanes(2, way == "processes")
        own._lanes._spent = 100.0
        threads = [threading.Thread(target=work, args=(way, number)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for (_, number), member in results.items():
        assert asked(own, member).tobytes() == asked(own, alone[number]).tobytes()
    assert len(results) == 8


def test_threads_do_not_put_each_others_filters_of_warnings_back() -> None:
    own = learner(RandomForestClassifier(20))
    own._lanes = Lanes(3, False)
    before, content = warnings.filters, list(warnings.filters)
    members: list[Any] = []

    def work(number: int) -> None:
        for again in range(3):
            members.append(trained(own, number + again))
            asked(own, members[-1])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    # As on a busy machine, where a thread is interrupted anywhere.
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(usual)
    assert len(members) == 9
    same = warnings.filters is before and list(before) == content
    warnings.filters = before
    assert same


def test_a_process_is_ended_when_the_run_is_stopped() -> None:
    class Slow(Plain):
        def fit(self, X: Any, y: Any) -> None:
            super().fit(X, y)
            if X[0, 0] == 7.0:
                time.sleep(60)

    own = learner(Slow)
    own._lanes = Lanes(2, True)
    own._lanes._spent = 100.0
    slow = X.copy()
    slow[0, 0] = 7.0
    job = Job(0)
    timer = threading.Timer(3.0, lambda: setattr(job, "_stopped", True))
    timer.start()
    start = time.monotonic()
    assert own.train(job, slow[None], Y[None]) is None
    assert time.monotonic() - start < 20


def test_a_run_that_is_stopped_ends_no_other_run(tmp_path: Path) -> None:
    class Waiting(Plain):
        def fit(self, X: Any, y: Any) -> None:
            super().fit(X, y)
            if X[0, 0] >= 7.0:
                (tmp_path / f"begun-{X[0, 0]:.0f}").touch()
                while not (tmp_path / "stopped").exists():
                    time.sleep(0.01)

    class Stopped(Job):
        def stopped(self) -> bool:
            return (tmp_path / "begun-8").exists()

    def slow() -> EstimatorLearner:
        own = learner(Waiting)
        own._lanes = Lanes(2, True)
        own._lanes._spent = 100.0
        return own

    data, other = X.copy(), X.copy()
    data[0, 0], other[0, 0] = 7.0, 8.0
    with ThreadPoolExecutor(1) as pool:
        going_on = pool.submit(slow().train, Job(0), data[None], Y[None])
        try:
            while not (tmp_path / "begun-7").exists() and not going_on.done():
                time.sleep(0.01)
            # Both have the same processes.
            assert slow().train(Stopped(1), other[None], Y[None]) is None
        finally:
            (tmp_path / "stopped").touch()
        assert going_on.result(timeout=100) is not None


def test_a_learner_and_its_members_are_pickled() -> None:
    own = learner(RandomForestClassifier(5))
    member = trained(own)
    copied, its = pickle.loads(pickle.dumps((own, member)))
    assert copied.name == own.name
    assert asked(copied, its).tobytes() == asked(own, member).tobytes()
    assert copied.same(trained(copied), its)


# Augmentation.


class Copying(Job):
    """Which answers a noised set with two copies of it, each moved by the member's number."""

    def __init__(self, *numbers: int) -> None:
        super().__init__(*numbers)
        self.augments = True

    def with_copies(self, rows: Any, place: int) -> Any:
        return np.concatenate([rows, rows + 10 + self.numbers[place], rows + 20 + self.numbers[place]])


def test_copies_follow_the_noised_set() -> None:
    seen: list[Any] = []

    class Looking(Plain):
        def fit(self, X: Any, y: Any) -> None:
            super().fit(X, y)
            seen.append((X.copy(), y.copy()))

    own = learner(Looking)
    found = own.train(Copying(0, 3), np.stack([X, X + 1]), np.stack([Y, 1 - Y]))
    assert found is not None and len(found[0]) == 2
    for number, (samples, labels), start, y in zip((0, 3), seen[-2:], (X, X + 1), (Y, 1 - Y), strict=True):
        assert np.array_equal(samples, np.concatenate([start, start + 10 + number, start + 20 + number]))
        assert np.array_equal(labels, np.tile(y, 3))


# Files.


def test_members_are_written_in_the_form_that_was_asked_for_only() -> None:
    own = learner(RandomForestClassifier(5))
    member = trained(own)
    with pytest.raises(CheckpointError, match=r"(?s)form='skops'.*form='joblib', which is pickle"):
        own.pack(member)
    own.write_as("joblib")
    assert asked(own, own.unpack(own.pack(member))).tobytes() == asked(own, member).tobytes()
    with pytest.raises(CheckpointError, match="A member cannot be read"):
        own.unpack(b"nothing")
    with pytest.raises(ParameterError, match="'form'.*None or one of 'skops', 'joblib'. Got 'pickle'"):
        own.write_as("pickle")


def test_skops_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skops", None)
    with pytest.raises(ParameterError, match=r"'form'.*not installed.*certssb\[skops\]"):
        learner(GaussianNB(), form="skops")


def test_workers_whose_results_nobody_takes_are_done_without(monkeypatch):
    from concurrent.futures import Future

    from certssb.learners.sklearn import _lanes

    class Orphaned:
        _executor_manager_thread = threading.Thread(target=int)
        ended = False

        def submit(self, *_):
            return Future()

        def shutdown(self, **_):
            self.ended = True

    executor = Orphaned()
    monkeypatch.setattr(_lanes, "_pool", lambda _: executor)
    monkeypatch.setattr(_lanes, "attempted", lambda *_: ("member", 0.5, None))
    lanes = _lanes.Lanes(2, True)
    lanes._spent = 10.0
    assert lanes.fit(None, (0, 1), None, None, lambda: False) == ("member", 0.5, None)
    assert executor.ended and not lanes.in_processes


def test_joblib_works_in_a_process_whose_members_were_fitted_in_processes() -> None:
    import joblib

    own = learner(RandomForestClassifier(5))
    own._lanes = Lanes(2, True)
    own._lanes._spent = 100.0
    trained(own)
    assert own._lanes.used_processes
    assert joblib.Parallel(n_jobs=2)(joblib.delayed(abs)(number) for number in (-1, 2)) == [1, 2]
    assert trained(own, 1) is not None and own._lanes.in_processes
