"""statsmodels' Clopper-Pearson interval beside ours, which is rounded outward."""

from typing import Any

import numpy as np
import pytest

import certssb as cs

proportion = pytest.importorskip("statsmodels.stats.proportion", reason="needs statsmodels: make external")

ALPHAS = [0.4, 0.05, 0.001, 1e-6]


def both(n: int, alpha: float) -> tuple[Any, Any, Any, Any]:
    """Our bounds and theirs, for about 60 counts; theirs is two-sided, with half of its alpha on either side."""
    k = np.unique(np.linspace(0, n, 60).astype(int))
    low, high = proportion.proportion_confint(k, n, alpha=2 * alpha, method="beta")
    lower, upper = (
        cs.bounds.clopper_pearson_lower(k, n, alpha),
        cs.bounds.clopper_pearson_upper(k, n, alpha),
    )
    return lower, upper, low, high


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("n", [30, 100, 1000, 10_000, 100_000])
def test_clopper_pearson_is_outside_of_theirs_by_at_most_1e_12(n: int, alpha: float) -> None:
    lower, upper, low, high = both(n, alpha)
    assert (lower <= low).all() and (upper >= high).all()
    assert (low - lower).max() <= 1e-12 and (upper - high).max() <= 1e-12
    # Not by being equal: the outward rounding is there.
    assert (lower[1:] < low[1:]).all() and (upper[:-1] > high[:-1]).all()


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("n", [1, 2, 3, 7, 15])
def test_a_handful_of_members_is_rounded_by_the_error_of_a_tail(n: int, alpha: float) -> None:
    """A tail is summed to a relative 1e-11, which moves the bound of few trials by more than 1e-12."""
    lower, upper, low, high = both(n, alpha)
    assert (lower <= low).all() and (upper >= high).all()
    assert (low - lower).max() <= 1e-11 and (upper - high).max() <= 1e-11
