"""Shares that tables report."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from certssb import metrics
from certssb.exceptions import ShapeError

TRUTH = [0, 1, 1, 0, 2]
GIVEN = [0, 1, 0, 0, 1]
CERTIFIED = [True, False, True, True, False]


def test_each_share_counts_what_it_says() -> None:
    assert metrics.certified_accuracy(TRUTH, GIVEN, CERTIFIED) == 2 / 5
    assert metrics.certified_ratio(CERTIFIED) == 3 / 5
    assert metrics.conditional_accuracy(TRUTH, GIVEN, CERTIFIED) == 2 / 3
    assert metrics.empirical_robust_accuracy(TRUTH, GIVEN) == 3 / 5
    assert metrics.attack_success_rate(TRUTH, GIVEN, target=0) == 1 / 3


def test_samples_of_the_target_class_are_no_attacks() -> None:
    assert metrics.attack_success_rate([0, 0, 1], [0, 0, 1], target=0) == 0.0
    assert metrics.attack_success_rate(["cat", "dog"], ["dog", "dog"], target="dog") == 1.0


@pytest.mark.parametrize(
    "share",
    [
        lambda: metrics.certified_accuracy([], [], []),
        lambda: metrics.certified_ratio([]),
        lambda: metrics.conditional_accuracy([], [], []),
        lambda: metrics.conditional_accuracy([0, 1], [0, 1], [False, False]),
        lambda: metrics.empirical_robust_accuracy([], []),
        lambda: metrics.attack_success_rate([0, 0], [0, 1], target=0),
    ],
)
def test_a_share_of_nothing_is_none(share: Callable[[], Any]) -> None:
    assert share() is None


@pytest.mark.parametrize("kind", [np.array, list, tuple])
def test_any_sequence_and_any_label_will_do(kind: Callable[[Any], Any]) -> None:
    assert metrics.certified_accuracy(kind(["a", "b"]), kind(["a", "a"]), kind([True, True])) == 0.5


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (lambda: metrics.certified_accuracy([0, 1], [0], [True]), r"'y_pred'.*\(2,\). Got shape \(1,\)"),
        (
            lambda: metrics.certified_accuracy([0, 1], [0, 1], [True]),
            "'certified'.*one value per sample, 2. Got 1",
        ),
        (lambda: metrics.empirical_robust_accuracy([[0]], [[0]]), r"'y_pred'.*Got shape \(1, 1\)"),
        (lambda: metrics.attack_success_rate([0, 1], [0, 1, 1], 0), r"'y_pred'.*\(2,\). Got shape \(3,\)"),
    ],
)
def test_unequal_lengths_are_refused(share: Callable[[], Any], said: str) -> None:
    with pytest.raises(ShapeError, match=said):
        share()
