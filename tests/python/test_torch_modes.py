"""torch's global modes do not decide what members are, and are put back."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Digits
from test_own_model import Plain, own, values

import certssb as cs
from certssb.learners.torch._modes import neutral


@contextmanager
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def default_device() -> Iterator[None]:
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextmanager
def rounded() -> Iterator[None]:
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision("highest")


MODES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "inference": torch.inference_mode,
    "no gradients": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "default dtype": double,
    "default device": default_device,
    "device block": lambda: torch.device("meta"),
    "deterministic": deterministic,
    "anomaly": lambda: torch.autograd.set_detect_anomaly(True),
    "rounded products": rounded,
}


def _state() -> tuple[Any, ...]:
    return (
        torch.is_inference_mode_enabled(), torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"),
        torch.get_default_dtype(), torch.empty(0).device, torch.are_deterministic_algorithms_enabled(),
        torch.is_anomaly_enabled(), torch.get_float32_matmul_precision(),
    )  # fmt: skip


@pytest.fixture(scope="module")
def reference(digits: Digits) -> cs.CertifiedClassifier:
    return own(Plain, n_jobs=1, seed=0).fit(digits[0], digits[1])


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.parametrize("mode", MODES)
def test_members_are_the_same_under_every_mode(
    digits: Digits, reference: cs.CertifiedClassifier, mode: str
) -> None:
    X, y, X_test, _ = digits
    with MODES[mode]():
        before = _state()
        clf = own(Plain, n_jobs=1, seed=0).fit(X, y)
        votes = clf.votes(X_test)
        member = clf.member(1)
        assert _state() == before
    assert all(np.array_equal(a, b) for a, b in zip(values(clf), values(reference), strict=True))
    assert np.array_equal(votes, reference.votes(X_test))
    parameters = list(member.parameters())
    assert {p.dtype for p in parameters} == {torch.float32} and {p.device.type for p in parameters} == {"cpu"}
    assert not any(p.is_inference() for p in parameters)


def test_modes_of_two_threads_are_put_back_by_the_last() -> None:
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with neutral():
            entered.set()
            leave.wait(10)

    with double():
        with neutral():
            thread = threading.Thread(target=other)
            thread.start()
            entered.wait(10)
        assert torch.get_default_dtype() == torch.float32, "the other thread is still at work"
        leave.set()
        thread.join()
        assert torch.get_default_dtype() == torch.float64
        with contextlib.suppress(ValueError), neutral():
            raise ValueError
        assert torch.get_default_dtype() == torch.float64
