"""What enters and leaves estimators: test inputs that a law can noise, X read once."""

import contextlib
import time
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Digits, small
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.tree import DecisionTreeClassifier

import certssb as cs
from certssb.learners.torch import _gpu

NOISED = cs.Discrete(0.9, test_input=True)


def binary(X: Any) -> Any:
    return (X > 0.5).astype(np.float32)


@pytest.mark.parametrize(
    "law", [NOISED, cs.Discrete(0.9), cs.Subsample(cs.Discrete(0.9), size=150)], ids=repr
)
@pytest.mark.parametrize("ask", ["votes", "scores", "predict", "predict_proba", "score", "certify"])
@pytest.mark.parametrize("value", [1e6, 2.0, 0.5, -1.0])
def test_test_inputs_are_codes_at_every_door(ask: str, law: cs.Law, value: float, digits: Digits) -> None:
    X, y, X_test, y_test = digits
    clf = small(law=law).fit(binary(X), y)
    attacked = binary(X_test)
    attacked[3, 0, 2, 1] = value
    words = [attacked, y_test] if ask == "score" else [attacked]
    with pytest.raises(
        cs.ParameterError, match="'X'.*codes from 0 to 1 under Discrete noise.*Got (1000000|2|0.5|-1) instead"
    ):
        getattr(clf, ask)(*words)
    getattr(clf, ask)(binary(X_test), *words[1:])


def test_samples_of_a_goal_are_codes_before_training(digits: Digits) -> None:
    X, y, X_test, _ = digits
    told: list[int] = []
    law = cs.Subsample(cs.Discrete(0.9), size=50)
    clf = small(law=law, n_members="auto", progress=lambda done, total: told.append(done))
    with pytest.raises(cs.ParameterError, match="codes from 0 to 1"):
        clf.fit(binary(X), y, until=cs.Until(X_test, n_poisoned=1, trigger_norm=1.0, labels=True))
    assert told == []


class SeesSigns(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier that says the opposite where a zero of its samples has a sign."""

    def fit(self, X: Any, y: Any) -> "SeesSigns":
        self.tree_ = DecisionTreeClassifier(max_depth=1, random_state=0).fit(X, y)
        self.classes_, self.opposite_ = self.tree_.classes_, bool(np.signbit(X[X == 0]).any())
        return self

    def predict(self, X: Any) -> Any:
        said = self.tree_.predict(X)
        opposite = self.opposite_ | np.signbit(np.where(X == 0, X, 1)).any(axis=1)
        return np.where(opposite, self.classes_.sum() - said, said)


@pytest.mark.parametrize(
    "law", [cs.Discrete(0.8), cs.Discrete(0.8, test_input=True), cs.LabelNoise(0.2)], ids=repr
)
def test_no_member_sees_the_sign_of_a_zero(law: cs.Law) -> None:
    # Noise would not hide it: a kept entry would show what it was, of which the law says that it is one of two codes.
    X, y = np.repeat([[0.0, 0.0], [1.0, 1.0]], 20, axis=0), np.repeat([0, 1], 20)
    signed = X.copy()
    signed[0, 0] = -0.0
    certs = [
        cs.CertifiedClassifier(SeesSigns(), law, n_members=300, seed=0, progress=False)
        .fit(samples, y, classes=[0, 1])
        .certify(asked)
        for samples, asked in ((X, X[:1]), (signed, X[:1]), (X, signed[:1]))
    ]
    assert not certs[0].abstained.any()
    assert certs[0] == certs[1] == certs[2]


INTEGERS = ["seed", "epochs", "batch_size", "n_jobs", "stack", "n_members"]


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize(
    "value",
    [2**64, 10**400, pytest.param(10**5000, id="5000 digits"), np.int64(-(2**40)), 1.5, True, "7", [1]],
)
def test_integers_beyond_what_can_be_counted_are_one_sentence_before_any_work(
    name: str, value: Any, digits: Digits
) -> None:
    told: list[int] = []
    clf = small(**{"progress": lambda done, total: told.append(done), name: value})
    with pytest.raises(
        cs.ParameterError, match=rf"The '{name}' parameter must be .*integer.* Got .* instead\."
    ):
        clf.fit(*digits[:2])
    assert told == []


@pytest.mark.parametrize("name", ["n_poisoned", "max_members", "first"])
def test_integers_of_a_goal_too(name: str) -> None:
    with pytest.raises(cs.ParameterError, match=f"'{name}'.*at most"):
        cs.Until([[0.0]], **{"n_poisoned": 1, "trigger_norm": 1.0, "max_members": 2**63 - 1, name: 2**64})


def test_integers_and_shares_of_any_type_are_taken(digits: Digits) -> None:
    integers = {name: np.int16(20 if name == "n_members" else 1) for name in INTEGERS}
    clf = small(**integers | {"seed": np.uint64(2**64 - 1), "alpha": np.float32(0.01)}).fit(*digits[:2])
    assert clf.seed_ == 2**64 - 1 and clf.certify(digits[2]).alpha == float(np.float32(0.01))
    small(batch_size=2**62, stack=2**62).fit(*digits[:2])


@pytest.mark.parametrize("n_members", [10**9, 2**62])
def test_members_that_no_memory_holds_are_refused_at_once(n_members: int, digits: Digits) -> None:
    started = time.monotonic()
    with pytest.raises(
        cs.ParameterError, match=r"'n_members'.*at most \d+: members of this model have 650 values"
    ):
        small(n_members=n_members).fit(*digits[:2])
    assert time.monotonic() - started < 2.0


@pytest.mark.parametrize("device", [5, None, object(), torch.device("meta")])
def test_devices_that_are_none(device: Any, digits: Digits) -> None:
    with pytest.raises(cs.DeviceError, match="'device'.*'auto' or one of"):
        small(device=device).fit(*digits[:2])


def test_votes_are_of_what_was_asked(digits: Digits, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y, X_test, _ = digits
    asked = X_test.copy()
    clf = small().fit(X, y)
    right = clf.votes(X_test)
    clf.fit(X, y)
    # As another thread might, between the look at the samples and the members' votes.
    monkeypatch.setattr(_gpu, "products", lambda precision: contextlib.nullcontext(asked.fill(0.0)))
    np.testing.assert_array_equal(clf.votes(asked), right)
    assert asked.sum() == 0.0
    monkeypatch.undo()
    np.testing.assert_array_equal(clf.votes(X_test), right)


class Once:
    """An array that is another one each time it is read."""

    def __init__(self, X: Any) -> None:
        self.X, self.n_read = X, 0

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        self.n_read += 1
        return np.array(self.X + 0.001 * self.n_read, dtype=dtype)


@pytest.mark.parametrize("estimator", [small(), cs.CertifiedKNN(1.0)], ids=["members", "1-NN"])
@pytest.mark.parametrize("ask", ["certify", "score", "predict", "predict_proba", "votes", "scores"])
def test_samples_are_read_once(ask: str, estimator: Any, digits: Digits) -> None:
    X, y, X_test, y_test = digits
    if not hasattr(estimator, ask):
        pytest.skip("members only")
    clf, asked = estimator.fit(X, y), Once(X_test)
    np.array(asked)
    per_reading, asked.n_read = asked.n_read, 0
    cs.data.as_features(asked)
    per_reading, asked.n_read = max(per_reading, asked.n_read), 0
    getattr(clf, ask)(*([asked, y_test] if ask == "score" else [asked]))
    assert asked.n_read == per_reading


class Own(cs.features.FeatureMap):
    """A map of the user's."""

    def __init__(self, make: Any) -> None:
        self.make, self.seen = make, None

    def __call__(self, X: Any) -> Any:
        return self.make(self, X)

    def describe(self) -> str:
        return "a map of our own"


def writes(own: Own, X: Any) -> Any:
    X -= 0.5
    return X


def writes_through_torch(own: Own, X: Any) -> Any:
    return torch.from_numpy(X).sub_(0.5).numpy()


def learns_at_first(own: Own, X: Any) -> Any:
    if own.seen is None:
        own.seen = X.mean(axis=0)
    return X - own.seen


def counts(own: Own, X: Any) -> Any:
    own.seen = (own.seen or 0) + 1
    return X * 0.5**own.seen


MAPS = {
    "standardised by the batch": (lambda own, X: (X - X.mean(axis=0)) / (X.std(axis=0) + 1), "alone than among others"),
    "centred by the batch": (lambda own, X: X - X.mean(axis=0), "alone than among others"),
    "ranked": (lambda own, X: X.argsort(axis=0).astype(np.float32), "other values"),
    "by place": (lambda own, X: X + np.arange(len(X), dtype=np.float32)[:, None, None, None], "another order"),
    "random": (lambda own, X: X + np.float32(np.random.default_rng().normal()), "asked again"),
    "learned at first": (learns_at_first, "other values"),
    "counting": (counts, "after it was asked"),
    "written to": (writes, "leaves its input as it is.*writes to it"),
    "written to by torch": (writes_through_torch, "leaves its input as it is.*writes to it"),
    "too few": (lambda own, X: X[:-1] if len(X) > 1 else X, "returns shape"),
    "integers": (lambda own, X: (X * 255).astype(np.int64), "type int64"),
    "NaN": (lambda own, X: X * np.nan, "NaN or infinity for sample 0"),
    "too large": (lambda own, X: X.astype(np.float64) + 1e300, "NaN or infinity"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "said"), MAPS.values(), ids=list(MAPS))
def test_maps_that_are_not_fixed_are_refused_before_training(make: Any, said: str, digits: Digits) -> None:
    told: list[int] = []
    X = digits[0].copy()
    clf = small(features=Own(make), progress=lambda done, total: told.append(done))
    with pytest.raises(cs.ParameterError, match=f"'features'.*{said}"):
        clf.fit(X, digits[1])
    assert told == []


def encoder(own: Own, X: Any) -> Any:
    torch.manual_seed(0)
    with torch.no_grad():
        return torch.nn.functional.conv2d(torch.tensor(X), torch.full((2, 1, 3, 3), 0.1)).flatten(1).numpy()


def test_fixed_maps_are_taken_and_kept(digits: Digits) -> None:
    X, y, X_test, _ = digits
    for feature_map in (
        cs.features.Cosine(4),
        cs.features.AveragePool(2),
        Own(encoder),
        Own(lambda own, X: X[..., ::-1]),
    ):
        clf = small(features=feature_map).fit(X, y)
        votes = clf.votes(X_test)
        if isinstance(feature_map, Own):
            feature_map.make = lambda own, X: X * 0.1
        clf._votes.clear()
        np.testing.assert_array_equal(clf.votes(X_test), votes)


def test_members_are_asked_as_they_were_trained(digits: Digits) -> None:
    X, y, X_test, y_test = digits
    clf = small().fit(X, y)
    before = clf.certify(X_test)
    clf.set_params(
        features=cs.features.Cosine(3), law=cs.Cascade([cs.Gaussian(1.0), cs.Gaussian(0.5)]), precision="tf32"
    )
    clf._votes.clear()
    after = clf.certify(X_test)
    np.testing.assert_array_equal(after.p_lower, before.p_lower)
    assert after.guarantee == before.guarantee and clf.score(X_test, y_test) > 0.5
    assert clf.member(0)(torch.as_tensor(X_test)).shape == (100, 10)


def test_an_estimator_is_fitted_once_at_a_time(digits: Digits) -> None:
    X, y, X_test, _ = digits
    told: list[str] = []

    def again(done: int, total: int) -> None:
        with pytest.raises(cs.TrainingError, match="is being trained already; fit a clone") as error:
            clf.fit(X, y)
        told.append(str(error.value))

    clf = small(progress=again)
    votes = clf.fit(X, y).votes(X_test)
    assert told and (small().fit(X, y).votes(X_test) == votes).all()
    # Free again, also after a fit that was refused.
    clf.set_params(progress=False, n_members=0)
    for _ in range(2):
        with pytest.raises(cs.ParameterError, match="n_members"):
            clf.fit(X, y)
    assert (clf.set_params(n_members=20).fit(X, y).votes(X_test) == votes).all()


@pytest.mark.parametrize("until", ["goal", 3, {"X": [0.0]}])
def test_a_goal_of_another_kind_is_named(until: Any, digits: Digits) -> None:
    with pytest.raises(cs.ParameterError, match=r"'until'.*None or a certssb\.Until. Got"):
        small(n_members="auto").fit(*digits[:2], until=until)


def test_shares_are_of_the_members_that_voted(digits: Digits) -> None:
    clf = small().fit(*digits[:2])
    clf.n_members_ = 10**9
    np.testing.assert_allclose(clf.predict_proba(digits[2]).sum(axis=1), 1.0)
