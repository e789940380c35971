"""Attacks of others as triggers, on an attack that is plain enough to check by hand."""

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
