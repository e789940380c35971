"""scikit-learn estimators as members: what the learner says to the core, driven as the core drives it."""

import pickle
import sys
from typing import Any

import numpy as np
import pytest
from estimator_driver import Answer, Job, Plain, X, Y, asked, learner, trained
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from certssb.exceptions import CheckpointError, ParameterError
from certssb.learners.sklearn._learner import EstimatorLearner


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
