"""The exact 1-nearest neighbour under Gaussian noise."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import Digits
from scipy import stats
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import certssb as cs
from certssb.exceptions import CertssbError, ParameterError, ShapeError


@pytest.fixture(scope="module")
def example() -> tuple[Any, Any, Any]:
    """30 points in three classes in three dimensions, and eight to ask about."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(30, 3)).astype(np.float32)
    return X, np.arange(30) % 3, rng.normal(size=(8, 3)).astype(np.float32)


@pytest.mark.parametrize("sigma", [0.2, 1.0, 3.0])
def test_probabilities_agree_with_simulated_noise(example: Any, sigma: float) -> None:
    X, y, X_test = example
    probabilities = cs.CertifiedKNN(sigma=sigma).fit(X, y).predict_proba(X_test)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-9)
    rng, draws = np.random.default_rng(0), 20_000
    noised = X + sigma * rng.normal(size=(draws, *X.shape))
    for x, row in zip(X_test, probabilities, strict=True):
        nearest = y[((noised - x) ** 2).sum(axis=2).argmin(axis=1)]
        shares = np.bincount(nearest, minlength=3) / draws
        allowed = 4.5 * np.sqrt(row * (1 - row) / draws) + 1e-4
        assert (np.abs(shares - row) < allowed).all()


def test_two_points_have_a_closed_form() -> None:
    # The sign of a normal with the difference of squared distances: exact in one dimension far away.
    knn = cs.CertifiedKNN(sigma=1.0).fit([[0.0], [100.0]], [0, 1])
    p = knn.predict_proba([[50.0], [49.5]])
    assert p[0] == pytest.approx([0.5, 0.5], abs=1e-9)
    # |49.5 - e0| < |50.5 + e1|, both signs known: 49.5 - e0 < 50.5 + e1, that is e0 + e1 > -1.
    assert p[1, 0] == pytest.approx(stats.norm.cdf(1 / np.sqrt(2)), abs=1e-9)


@pytest.mark.parametrize("sigma", [0.5, 2.0])
def test_certificates_follow_from_the_probabilities(example: Any, sigma: float) -> None:
    X, y, X_test = example
    knn = cs.CertifiedKNN(sigma=sigma).fit(X, y)
    certs, probabilities = knn.certify(X_test), knn.predict_proba(X_test)
    ordered = np.sort(probabilities, axis=1)
    np.testing.assert_array_equal(certs.prediction, probabilities.argmax(axis=1))
    np.testing.assert_array_equal(knn.predict(X_test), certs.prediction)
    np.testing.assert_allclose(certs.p_lower, ordered[:, -1], atol=1e-9)
    np.testing.assert_allclose(certs.p_upper, ordered[:, -2], atol=1e-9)
    assert (certs.p_lower <= ordered[:, -1]).all()
    assert certs.radius is not None
    formula = sigma / 2 * (stats.norm.ppf(certs.p_lower) - stats.norm.ppf(certs.p_upper))
    np.testing.assert_allclose(certs.radius, np.maximum(formula, 0), rtol=1e-9, atol=1e-9)
    assert (certs.radius <= np.maximum(formula, 0) * (1 + 1e-12) + 1e-15).all()
    np.testing.assert_allclose(certs.trigger_norm(n_poisoned=4), certs.radius / 2, rtol=1e-6)


def test_budgets_are_as_large_as_radii_beyond_eight_sigma() -> None:
    X, y, X_test, y_test = cs.datasets.load_digits(split=True, seed=0)
    certs = cs.CertifiedKNN(sigma=0.1).fit(X, y).certify(X_test)
    assert certs.radius is not None and (certs.p_lower > 1 - 1e-15).mean() > 0.05
    norms = [0.5, 0.8, 1.0]
    by_budget = certs.certified_accuracy(y_test, n_poisoned=1, trigger_norm=norms)
    assert by_budget.tolist() == certs.certified_accuracy(y_test, radii=norms).tolist()
    assert by_budget[-1] > 0.1
    np.testing.assert_allclose(certs.trigger_norm(n_poisoned=1), certs.radius, rtol=1e-6)


def test_the_guarantee_is_certain(example: Any) -> None:
    X, y, X_test = example
    certs = cs.CertifiedKNN(sigma=1.0).fit(X, y).certify(X_test)
    assert certs.alpha is None
    assert certs.n_members is None
    assert certs.law == cs.Gaussian(1.0)
    assert "with certainty" in certs.guarantee
    assert "probability" not in certs.guarantee.replace("with certainty", "")
    with pytest.raises(ParameterError, match="'labels'"):
        certs.holds(1, 0.1, labels=True)


def test_labels_of_any_kind_come_back(example: Any) -> None:
    X, y, X_test = example
    plain = cs.CertifiedKNN().fit(X, y).predict(X_test)
    names = np.array(["ant", "bee", "cat"])
    for labels in (names, np.array([-5, 1, 7]), np.array(["a", "b", "c"], dtype=object)):
        knn = cs.CertifiedKNN().fit(X, labels[y])
        assert knn.classes_.tolist() == labels.tolist()
        assert knn.predict(X_test).tolist() == labels[plain].tolist()
        assert knn.certify(X_test).prediction.tolist() == labels[plain].tolist()


def test_images_and_frames_are_read_as_everywhere(digits: Digits, example: Any) -> None:
    X_train, y_train, X_test, y_test = digits
    knn = cs.CertifiedKNN(sigma=0.5).fit(X_train, y_train)
    assert knn.score(X_test[:20], y_test[:20]) > 0.8
    assert not hasattr(knn, "n_features_in_")
    X, y, other = example
    framed = cs.CertifiedKNN().fit(pd.DataFrame(X, columns=list("abc")), y)
    assert framed.feature_names_in_.tolist() == ["a", "b", "c"]
    plain = cs.CertifiedKNN().fit(X, y)
    np.testing.assert_array_equal(
        framed.predict(pd.DataFrame(other, columns=list("abc"))), plain.predict(other)
    )


def test_progress_is_told_and_its_errors_are_not_swallowed(example: Any) -> None:
    X, y, X_test = example
    seen: list[tuple[int, int]] = []
    cs.CertifiedKNN(progress=lambda done, total: seen.append((done, total))).fit(X, y).certify(X_test)
    assert seen
    assert all(total == 8 and done <= 8 for done, total in seen)

    def stop(done: int, total: int) -> None:
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        cs.CertifiedKNN(progress=stop).fit(X, y).certify(X_test)


def test_pickles_copies_and_clones(example: Any) -> None:
    X, y, X_test = example
    knn = cs.CertifiedKNN(sigma=0.7).fit(X, y)
    for other in (pickle.loads(pickle.dumps(knn)), copy.deepcopy(knn)):
        np.testing.assert_array_equal(other.predict_proba(X_test), knn.predict_proba(X_test))
    fresh = clone(knn)
    assert fresh.sigma == 0.7
    with pytest.raises(NotFittedError):
        fresh.predict(X_test)


@pytest.mark.parametrize("ask", ["predict", "predict_proba", "certify"])
def test_nothing_is_answered_before_fit(ask: str) -> None:
    with pytest.raises(NotFittedError):
        getattr(cs.CertifiedKNN(), ask)([[0.0]])


@pytest.mark.parametrize(
    ("act", "kind", "said"),
    [
        (lambda X, y: cs.CertifiedKNN(sigma=0).fit(X, y), ParameterError, "'sigma'.*greater than 0. Got 0"),
        (
            lambda X, y: cs.CertifiedKNN(sigma=-1.0).fit(X, y),
            ParameterError,
            "'sigma'.*greater than 0. Got -1",
        ),
        (lambda X, y: cs.CertifiedKNN(sigma=float("nan")).fit(X, y), ParameterError, "'sigma'.*Got nan"),
        (lambda X, y: cs.CertifiedKNN(sigma="1").fit(X, y), ParameterError, "'sigma'.*Got '1'"),
        (lambda X, y: cs.CertifiedKNN().fit(X, y[:-1]), ShapeError, "'y'.*30 in all. Got 29"),
        (lambda X, y: cs.CertifiedKNN().fit(X[0], y), ShapeError, "'X'.*2 dimensions"),
        (lambda X, y: cs.CertifiedKNN().fit(X, y * 0), ParameterError, "'y'.*two classes. Got 1 class"),
        (lambda X, y: cs.CertifiedKNN().fit(X * np.nan, y), ParameterError, "'X'.*finite.*Got NaN"),
        (lambda X, y: cs.CertifiedKNN().fit(X, y).certify(X * np.inf), ParameterError, "'X'.*finite"),
        (lambda X, y: cs.CertifiedKNN(progress=3).fit(X, y).certify(X), ParameterError, "'progress'.*Got 3"),
    ],
)
def test_bad_input_is_refused_by_name(
    example: Any, act: Callable[[Any, Any], Any], kind: type[CertssbError], said: str
) -> None:
    with pytest.raises(kind, match=said):
        act(example[0], example[1])


def test_a_refused_fit_leaves_the_earlier_one(example: Any) -> None:
    X, y, X_test = example
    knn = cs.CertifiedKNN(sigma=0.7).fit(X, y)
    before = knn.predict_proba(X_test)
    with pytest.raises(ParameterError, match="'sigma'"):
        knn.set_params(sigma=-1.0).fit(X[:, :2], y)
    np.testing.assert_array_equal(knn.predict_proba(X_test), before)
    with pytest.raises(ValueError, match="2 features.*expecting 3"):
        knn.predict(X_test[:, :2])


def test_a_fit_on_images_forgets_the_columns_of_a_table(example: Any) -> None:
    X, y, _ = example
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    knn = cs.CertifiedKNN(sigma=0.7).fit(frame, y)
    assert (knn.n_features_in_, list(knn.feature_names_in_)) == (3, ["a", "b", "c"])
    knn.fit(np.tile(X[:, :1, None, None], (1, 1, 2, 2)), y)
    assert not hasattr(knn, "n_features_in_") and not hasattr(knn, "feature_names_in_")
    with pytest.raises(ShapeError, match="as in fit"):
        knn.predict(X)
