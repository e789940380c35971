"""What enters and leaves estimators: test inputs that a law can noise, arrays that nobody can write to, X read once."""

import time
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Digits, small

import certssb as cs

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
