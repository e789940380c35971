"""Confidence bounds: values, shapes and refusals."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import oracle
from scipy import optimize, special, stats

from certssb import bounds
from certssb.exceptions import ParameterError, ShapeError

CASES = list(
    itertools.product([(0, 10), (1, 10), (5, 10), (10, 10), (777, 1000), (1000, 1000)], [0.5, 0.01, 1e-6])
)

LOWER = {
    "clopper_pearson": bounds.clopper_pearson_lower,
    "kl": bounds.kl_lower,
    "hoeffding": bounds.hoeffding_lower,
}
UPPER = {
    "clopper_pearson": bounds.clopper_pearson_upper,
    "kl": bounds.kl_upper,
    "hoeffding": bounds.hoeffding_upper,
}


def kl(mean: float, q: float) -> float:
    return float(special.rel_entr(mean, q) + special.rel_entr(1 - mean, 1 - q))


@pytest.mark.parametrize(("sample", "alpha"), CASES)
def test_clopper_pearson_is_the_beta_quantile_rounded_outward(sample: tuple[int, int], alpha: float) -> None:
    k, n = sample
    low = stats.beta.ppf(alpha, k, n - k + 1) if k > 0 else 0.0
    high = stats.beta.ppf(1 - alpha, k + 1, n - k) if k < n else 1.0
    lower, upper = bounds.clopper_pearson_lower(k, n, alpha), bounds.clopper_pearson_upper(k, n, alpha)
    assert lower == pytest.approx(low, abs=1e-9)
    assert upper == pytest.approx(high, abs=1e-9)
    # What the bound means, on the safe side: the tail beyond it has at most alpha.
    assert lower == 0.0 or stats.binom.sf(k - 1, n, lower) <= alpha * (1 + 1e-9)
    assert upper == 1.0 or stats.binom.cdf(k, n, upper) <= alpha * (1 + 1e-9)
    assert (lower == 0.0, upper == 1.0) == (k == 0, k == n)


@pytest.mark.parametrize(("sample", "alpha"), CASES)
def test_kl_is_where_the_divergence_reaches_its_limit(sample: tuple[int, int], alpha: float) -> None:
    mean, n = sample[0] / sample[1], sample[1]
    limit = math.log(1 / alpha) / n
    lower, upper = bounds.kl_lower(mean, n, alpha), bounds.kl_upper(mean, n, alpha)
    if mean > 0:
        root = optimize.brentq(lambda q: kl(mean, q) - limit, 1e-300, mean, xtol=1e-14)
        assert lower <= root + 1e-12
        assert lower == pytest.approx(root, abs=1e-9)
    else:
        assert lower == 0.0
    if mean < 1:
        root = optimize.brentq(lambda q: kl(mean, q) - limit, mean, 1 - 1e-16, xtol=1e-14)
        assert upper >= root - 1e-12
        assert upper == pytest.approx(root, abs=1e-9)
    else:
        assert upper == 1.0


@pytest.mark.parametrize(("sample", "alpha"), CASES)
def test_hoeffding_is_its_formula_within_0_and_1(sample: tuple[int, int], alpha: float) -> None:
    mean, n = sample[0] / sample[1], sample[1]
    width = math.sqrt(math.log(1 / alpha) / (2 * n))
    assert bounds.hoeffding_lower(mean, n, alpha) == pytest.approx(max(0.0, mean - width), abs=1e-12)
    assert bounds.hoeffding_upper(mean, n, alpha) == pytest.approx(min(1.0, mean + width), abs=1e-12)


def test_the_oracle_agrees_and_nothing_is_on_the_unsafe_side() -> None:
    rows = oracle("bounds.json")
    assert len(rows) > 10
    for row in rows:
        k, n, alpha = row["k"], row["n"], row["alpha"]
        for name, value in {
            "clopper_pearson_lower": bounds.clopper_pearson_lower(k, n, alpha),
            "hoeffding_lower": bounds.hoeffding_lower(k / n, n, alpha),
            "kl_lower": bounds.kl_lower(k / n, n, alpha),
        }.items():
            assert value == pytest.approx(row[name], abs=1e-9), (name, row)
            assert value <= row[name] + 1e-12, (name, row)
        upper = bounds.clopper_pearson_upper(k, n, alpha)
        assert upper == pytest.approx(row["clopper_pearson_upper"], abs=1e-9), row
        assert upper >= row["clopper_pearson_upper"] - 1e-12, row


@pytest.mark.parametrize("name", LOWER)
def test_lower_and_upper_mirror_each_other_around_the_mean(name: str) -> None:
    counts = np.arange(0, 51)
    values = counts if name == "clopper_pearson" else counts / 50
    lower, upper = LOWER[name](values, 50, 0.05), UPPER[name](values, 50, 0.05)
    np.testing.assert_allclose(lower, 1 - upper[::-1], atol=1e-10)
    assert (lower <= counts / 50).all()
    assert (upper >= counts / 50).all()
    assert (np.diff(lower) >= 0).all()


def test_the_sharper_bound_for_votes_is_clopper_pearson_and_hoeffding_is_the_loosest() -> None:
    k = np.arange(1, 100)
    exact = bounds.clopper_pearson_lower(k, 100, 0.01)
    chernoff = bounds.kl_lower(k / 100, 100, 0.01)
    assert (exact >= chernoff).all()
    assert (chernoff >= bounds.hoeffding_lower(k / 100, 100, 0.01)).all()


@pytest.mark.parametrize("bound", [*LOWER.values(), *UPPER.values()])
def test_numbers_give_floats_and_arrays_keep_their_shape(bound: Callable[..., Any]) -> None:
    assert type(bound(1, 4, 0.1)) is float
    assert type(bound(np.float64(1.0), 4, 0.1)) is float
    square = bound(np.array([[0, 1, 0], [1, 0, 1]], dtype=np.uint8), 4, 0.1)
    assert (square.shape, square.dtype) == ((2, 3), np.float64)
    assert bound([], 4, 0.1).shape == (0,)
    strided = bound(np.array([0, 9, 1, 9])[::2], 4, 0.1)
    np.testing.assert_array_equal(strided, [bound(0, 4, 0.1), bound(1, 4, 0.1)])


def test_betting_covers_a_known_mean_at_every_time_at_once() -> None:
    alpha, runs, n = 0.05, 400, 150
    rng = np.random.default_rng(0)
    wrong = np.zeros(runs, dtype=bool)
    scores = (rng.random((n, runs)) < 0.8).astype(float)
    for members in range(5, n + 1, 5):
        wrong |= bounds.betting_lower(scores[:members], alpha) > 0.8
    # At most alpha is right; three standard deviations of the count are allowed on top.
    assert wrong.mean() <= alpha + 3 * math.sqrt(alpha / runs)
    assert np.median(bounds.betting_lower(scores, alpha)) > 0.65


def test_betting_on_few_and_many_agreeing_members() -> None:
    lower = bounds.betting_lower(np.ones((1000, 2)), 0.001)
    assert lower.shape == (2,)
    assert 0.99 < lower[0] < bounds.clopper_pearson_lower(1000, 1000, 0.001)
    np.testing.assert_allclose(bounds.betting_upper(np.zeros((1000, 2)), 0.001), 1 - lower, atol=1e-9)
    assert bounds.betting_lower([[1.0]], 0.001)[0] < 0.5


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: bounds.clopper_pearson_lower(11, 10, 0.1), "'k'.*from 0 to n = 10. Got 11"),
        (lambda: bounds.clopper_pearson_upper(-1, 10, 0.1), "'k'.*from 0 to n = 10. Got -1"),
        (lambda: bounds.clopper_pearson_lower([1, 2.5], 10, 0.1), "'k'.*from 0 to n = 10. Got 2.5"),
        (lambda: bounds.clopper_pearson_lower(math.nan, 10, 0.1), "'k'.*Got nan"),
        (lambda: bounds.clopper_pearson_lower("five", 10, 0.1), "'k'.*numbers"),
        (lambda: bounds.clopper_pearson_lower(5, 0, 0.1), "'n'.*at least 1. Got 0"),
        (lambda: bounds.clopper_pearson_lower(5, 10.5, 0.1), "'n'.*at least 1. Got 10.5"),
        (lambda: bounds.clopper_pearson_lower(5, 10, 0.0), r"'alpha'.*\(0, 1\). Got 0"),
        (lambda: bounds.kl_lower(1.5, 10, 0.1), r"'mean'.*\[0, 1\]. Got 1.5"),
        (lambda: bounds.kl_upper(math.nan, 10, 0.1), "'mean'.*Got NaN"),
        (lambda: bounds.kl_upper(0.5, -3, 0.1), "'n'.*at least 1. Got -3"),
        (lambda: bounds.hoeffding_lower(-0.1, 10, 0.1), r"'mean'.*\[0, 1\]. Got -0.1"),
        (lambda: bounds.hoeffding_upper(0.5, 10, 1.0), r"'alpha'.*\(0, 1\). Got 1"),
        (lambda: bounds.hoeffding_upper(0.5, 10, "small"), r"'alpha'.*\(0, 1\). Got 'small'"),
        (lambda: bounds.betting_lower([[0.5, 1.1]], 0.1), r"'scores'.*\[0, 1\]. Got 1.1"),
        (lambda: bounds.betting_upper([[0.5, math.nan]], 0.1), "'scores'.*Got NaN"),
        (lambda: bounds.betting_lower([[0.5]], 2), r"'alpha'.*\(0, 1\). Got 2"),
    ],
)
def test_values_out_of_range_are_refused_by_name(call: Callable[[], Any], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        call()


@pytest.mark.parametrize("scores", [[1.0, 0.0], np.ones((2, 2, 2)), np.ones((0, 3))])
def test_betting_wants_members_by_samples(scores: Any) -> None:
    with pytest.raises(ShapeError, match=r"'scores'.*\(n_members, n_samples\).*Got shape"):
        bounds.betting_lower(scores, 0.1)
