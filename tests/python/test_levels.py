"""The smallest level that bounds are proved for: kept at it, refused below it, also where alpha is shared."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from conftest import Digits, small

import certssb as cs
from certssb import bounds
from certssb.exceptions import ParameterError

SMALLEST = 1e-200
BELOW = [math.nextafter(SMALLEST, 0.0), 1e-300, 5e-324]
VOTES = np.zeros((3000, 20), dtype=np.uint16)
GAUSSIAN = cs.Gaussian(0.5)


def log_tail(k: int, n: int, p: float) -> float:
    """log P(X >= k) for X binomial (n, p), by exact arithmetic."""
    p_exact = Fraction(p)
    tail = sum(math.comb(n, j) * p_exact**j * (1 - p_exact) ** (n - j) for j in range(k, n + 1))
    return math.log(tail.numerator) - math.log(tail.denominator)


@pytest.mark.parametrize("k", [40, 90, 199, 200])
def test_the_exact_bound_is_the_quantile_at_the_smallest_level(k: int) -> None:
    n = 200
    lower = bounds.clopper_pearson_lower(k, n, SMALLEST)
    # A level's own rounding has 500 times the relative size in the bound's logarithm, and no more.
    assert log_tail(k, n, lower) <= math.log(SMALLEST) + 1e-9
    assert log_tail(k, n, lower * (1 + 1e-9)) >= math.log(SMALLEST)
    assert bounds.clopper_pearson_upper(n - k, n, SMALLEST) == pytest.approx(1 - lower)


@pytest.mark.parametrize("mean", [0.0, 1e-9, 0.3, 1 - 1e-9, 1.0])
def test_every_bound_stays_on_its_side_at_the_smallest_level(mean: float) -> None:
    scores = np.full((1000, 1), mean)
    for lower, upper in [
        (bounds.kl_lower(mean, 1000, SMALLEST), bounds.kl_upper(mean, 1000, SMALLEST)),
        (bounds.hoeffding_lower(mean, 1000, SMALLEST), bounds.hoeffding_upper(mean, 1000, SMALLEST)),
        (bounds.betting_lower(scores, SMALLEST)[0], bounds.betting_upper(scores, SMALLEST)[0]),
    ]:
        assert 0.0 <= lower <= mean <= upper <= 1.0
        assert lower < mean or mean == 0.0
        assert upper > mean or mean == 1.0


@pytest.mark.parametrize("alpha", BELOW)
@pytest.mark.parametrize(
    "ask",
    [
        lambda alpha: bounds.clopper_pearson_lower(9, 10, alpha),
        lambda alpha: bounds.kl_upper(0.9, 10, alpha),
        lambda alpha: bounds.hoeffding_lower(0.9, 10, alpha),
        lambda alpha: bounds.betting_lower(np.ones((10, 1)), alpha),
        lambda alpha: cs.certify_votes(VOTES, GAUSSIAN, n_train=100, n_classes=2, alpha=alpha),
        lambda alpha: GAUSSIAN.plan(100, n_poisoned=1, trigger_norm=1.0, alpha=alpha),
    ],
)
def test_a_smaller_level_is_refused_and_written_without_hundreds_of_zeros(
    ask: Callable[[float], Any], alpha: float
) -> None:
    with pytest.raises(
        ParameterError, match="'alpha' parameter must be at least 1e-200, the smallest"
    ) as error:
        ask(alpha)
    assert len(str(error.value)) < 200


def test_the_estimator_refuses_it_before_training(digits: Digits) -> None:
    with pytest.raises(ParameterError, match="'alpha'.*at least 1e-200"):
        small(alpha=1e-250).fit(*digits[:2])


@pytest.mark.parametrize(
    "settings",
    [
        {"n_classes": 2},
        {"n_classes": 10},
        {"n_classes": 10, "selection": "split"},
        {"n_classes": 2, "family_wise": True},
        {"n_classes": 2, "bound": "betting"},
    ],
)
def test_what_alpha_leaves_for_each_bound_counts(settings: dict[str, Any]) -> None:
    with pytest.raises(ParameterError, match="'alpha'.*share of at least 1e-200.*which leaves [0-9.]*e-2"):
        cs.certify_votes(VOTES, GAUSSIAN, n_train=100, alpha=SMALLEST, **settings)
    certs = cs.certify_votes(VOTES, GAUSSIAN, n_train=100, alpha=SMALLEST * 100, **settings)
    assert np.all(certs.radius > 0.0) and np.all(certs.p_lower < 1.0) and "1 - 1e-198" in certs.guarantee


def test_a_plan_shares_alpha_too() -> None:
    with pytest.raises(ParameterError, match="'alpha'.*share of at least 1e-200"):
        GAUSSIAN.plan(100, n_poisoned=1, trigger_norm=1.0, n_classes=10, alpha=SMALLEST)
