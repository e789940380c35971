"""What several test files share: data, a small fitted ensemble, and the numbers of an independent implementation."""

import functools
import importlib.util
import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import certssb as cs

ORACLE = Path(__file__).resolve().parents[1] / "oracle"

Digits = tuple[Any, Any, Any, Any]

EXTENSION = importlib.util.find_spec("certssb_torch") is not None
needs_extension = pytest.mark.skipif(not EXTENSION, reason="needs the torch extension: make build")


@functools.cache
def missing_extension() -> str | None:
    """What the core says if built-in networks that need torch's kernels cannot be computed here; None if they can."""
    try:
        settings: dict[str, Any] = {"n_members": 3, "epochs": 1, "alpha": 0.9, "device": "cpu"}
        images = np.zeros((4, 1, 8, 8), dtype=np.float32)
        small("resnet", **settings).fit(images, [0, 1, 0, 1])
    except cs.DeviceError as error:
        return str(error)
    return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Skip, with what the core said, tests of what only the torch extension does, where it is not installed."""
    try:
        return (yield)
    except cs.DeviceError as error:
        if "torch extension" in str(error) and missing_extension() is not None:
            pytest.skip(str(error))
        raise


def oracle(name: str) -> list[dict[str, Any]]:
    """Rows of a file of reference values."""
    rows: list[dict[str, Any]] = json.loads((ORACLE / name).read_text())
    return rows


def small(model: str = "linear", law: cs.Law | None = None, **settings: Any) -> cs.CertifiedClassifier:
    """An estimator that trains in a fraction of a second on the digits below."""
    settings = {
        "n_members": 20,
        "epochs": 3,
        "learning_rate": 0.03,
        "progress": False,
        "alpha": 0.01,
        "seed": 0,
    } | settings
    return cs.CertifiedClassifier(model, cs.Gaussian(0.25) if law is None else law, **settings)


@pytest.fixture(scope="session")
def digits() -> Digits:
    """400 training and 100 test images of the 8x8 digits, ten classes."""
    X, y = cs.datasets.load_digits()
    return X[:400], y[:400], X[400:500], y[400:500]


@pytest.fixture(scope="session")
def ensemble(digits: Digits) -> cs.CertifiedClassifier:
    """A small fitted ensemble. Shared: tests must not change it."""
    return small().fit(digits[0], digits[1])


@pytest.fixture(scope="session")
def certificates() -> cs.CertificateTable:
    """Certificates of five samples from 1000 members: unanimous, 990, 900, 600 and 500 of them for class 1."""
    votes = np.zeros((1000, 5), dtype=int)
    for sample, count in enumerate((1000, 990, 900, 600, 500)):
        votes[:count, sample] = 1
    return cs.certify_votes(votes, cs.Gaussian(0.5), n_train=12665, n_classes=2)


HOSTILE = "<script>alert('1')</script>"
"""Name of class 0 in the run below, which must reach the page as text."""


@pytest.fixture(scope="session")
def hostile_run(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> Path:
    """Folder of a run whose data set and classes are named to break a page that does not escape them."""
    from certssb import cli

    X_train, y_train, X_test, y_test = digits
    names = np.array([HOSTILE, '"><img src=x onerror=alert(2)>', *(f"digit &amp; {i}" for i in range(2, 10))])
    folder = tmp_path_factory.mktemp("hostile")
    data = folder / "<b>&'mine'.npz"
    np.savez(data, X_train=X_train, y_train=names[y_train], X_test=X_test, y_test=names[y_test])
    arguments = [
        "run", "--dataset", str(data), "--members", "30", "--epochs", "3", "--subsample", "150", "--sigma", "0.25",
        "--model", "linear", "--learning-rate", "0.05", "--seed", "0", "--quiet", "--out", str(folder / "out"),
    ]  # fmt: skip
    assert cli.main(arguments) == 0
    return folder / "out"
