"""Attacks of others as triggers, on an attack that is plain enough to check by hand."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import certssb as cs
from certssb.adapters import ArtTrigger, attack_size


class Corner:
    """Sets the last pixel, as ART's attacks do it: in place, channels last."""

    def poison(self, x: Any, y: Any) -> tuple[Any, Any]:
        assert x.shape[0] == len(y)
        x[:, -1, -1, :] = 0.5
        return x, y


def test_an_attack_becomes_a_trigger_that_never_works_in_place() -> None:
    X = np.zeros((3, 2, 4, 5), dtype=np.float32)
    stamped = ArtTrigger(Corner(), channels_last=True)(X)
    assert stamped.shape == X.shape and stamped.dtype == np.float32 and not X.any()
    assert (stamped[:, :, -1, -1] == 0.5).all() and stamped.sum() == 3


def test_poisoning_through_it_has_the_size_that_was_asked_for() -> None:
    X, y = cs.datasets.load_digits()
    trigger = ArtTrigger(Corner(), channels_last=True)
    X_bad, y_bad, index = cs.triggers.poison(X, y, trigger, rate=0.02, target=3, seed=1)
    size = attack_size(X, y, X_bad, y_bad)
    assert size.n_poisoned == len(index) == 36 and size.labels
    assert 0.5 <= size.trigger_norm < 0.5 + 1e-9
    assert attack_size(X, y, X_bad, y).labels is False
    assert attack_size(X, y, X, y) == (0, 0.0, False)


def test_the_size_is_rounded_up() -> None:
    X = np.zeros((1, 2))
    size = attack_size(X, [0], [[1.0, 1.0]], [0])
    assert size.trigger_norm**2 > 2 and size.trigger_norm == pytest.approx(2**0.5, rel=1e-15)


def test_the_size_is_that_of_what_a_classifier_reads_and_no_sum_is_rounded_down() -> None:
    # Two numbers on both sides of where single precision changes: 2e-12 apart, and 1.2e-7 when they are read.
    edge = 1.0 + 2.0**-24
    size = attack_size([[edge - 1e-12]], [0], [[edge + 1e-12]], [0])
    read = cs.data.as_features([[edge - 1e-12], [edge + 1e-12]])
    assert size.trigger_norm >= float(read[1, 0]) - float(read[0, 0]) > 1e-7
    rng = np.random.default_rng(0)
    for scale in (1e-30, 1.0, 1e18):
        X, X_bad = (rng.random((1, 3001), dtype=np.float32) * np.float32(scale) for _ in range(2))
        exact = sum(
            (Fraction(float(b)) - Fraction(float(a))) ** 2 for a, b in zip(X[0], X_bad[0], strict=True)
        )
        found = attack_size(X, [0], X_bad, [0]).trigger_norm
        assert exact <= Fraction(found) ** 2 <= exact * Fraction(1 + 1e-10)
    # Squares of these are 0 to a computer.
    assert attack_size([[1e-170]], [0], [[3e-170]], [0]).n_poisoned == 1
    with pytest.raises(cs.ParameterError, match="'X_bad'.*masked"):
        attack_size([[1.0]], [0], np.ma.masked_array([[1.0]], mask=[[True]]), [0])


class Shrinking:
    def poison(self, x: Any, y: Any) -> tuple[Any, Any]:
        return x[:, :1], y


def test_what_does_not_fit_is_refused_by_name() -> None:
    with pytest.raises(cs.ParameterError, match="'attack'.*method poison"):
        ArtTrigger(print)
    with pytest.raises(cs.ShapeError, match=r"'attack'.*\(3, 2, 4, 5\).*Got shape \(3, 1, 4, 5\)"):
        ArtTrigger(Shrinking())(np.zeros((3, 2, 4, 5)))
    with pytest.raises(cs.ShapeError, match="'X_bad'"):
        attack_size(np.zeros((3, 1)), [0, 0, 0], np.zeros((4, 1)), [0, 0, 0])
    with pytest.raises(cs.ShapeError, match="'y, y_bad'"):
        attack_size(np.zeros((3, 1)), [0, 0, 0], np.zeros((3, 1)), [0, 0])
