"""scikit-learn's own checks of estimators."""

from collections.abc import Callable
from typing import Any

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

import certssb as cs

# scikit-learn's checks standardise the data that they make: what the warning is about, and not what they look at.
pytestmark = pytest.mark.filterwarnings("ignore::certssb.exceptions.ScaleWarning")

# Noise that is small beside the distances in scikit-learn's toy data, so that its checks of accuracy are met.
CLASSIFIER = cs.CertifiedClassifier(
    "linear",
    cs.Gaussian(sigma=0.05),
    n_members=15,
    epochs=30,
    learning_rate=0.05,
    alpha=0.01,
    seed=0,
    progress=False,
)

CHECKS = [
    pytest.param(estimator, check, id=f"{type(estimator).__name__}-{number}-{check.func.__name__}")
    for tested in (CLASSIFIER, cs.CertifiedKNN(sigma=1.0))
    for number, (estimator, check) in enumerate(estimator_checks_generator(tested))
    # Skips itself unless SciPy was imported with an environment variable set.
    if check.func.__name__ != "check_array_api_input"
]


@pytest.mark.parametrize(("estimator", "check"), CHECKS)
def test_scikit_learn(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


def test_both_estimators_are_checked_in_full() -> None:
    assert len(CHECKS) > 100
