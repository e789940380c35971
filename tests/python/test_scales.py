"""Scalers in front, and spreads that the noise does not fit: said once, and only where it is so."""

import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Digits, small
from sklearn.preprocessing import MinMaxScaler, StandardScaler

import certssb as cs
from certssb import cli
from certssb.estimators._scales import warn_of_scaler, warn_of_spread

RNG = np.random.default_rng(0)
TABLE = RNG.gamma(2.0, size=(200, 6)).astype(np.float32)
LABELS = np.arange(200) % 2
GAUSSIAN = cs.Gaussian(0.5)


def told(X: Any, law: cs.Law = GAUSSIAN, model: str = "linear") -> list[str]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        X = np.ascontiguousarray(X, np.float32)
        warn_of_scaler(X, law, stacklevel=1)
        warn_of_spread(X, law, model, stacklevel=1)
    assert all(one.category is cs.ScaleWarning for one in found)
    return [str(one.message) for one in found]


def with_codes(X: Any) -> Any:
    """Beside columns of zeros and ones, and a constant one."""
    return np.hstack([X, np.eye(4)[np.arange(len(X)) % 4], np.ones((len(X), 1))])


def images(per_pixel: bool) -> Any:
    X = RNG.gamma(2.0, size=(60, 3, 5, 4))
    axes: Any = 0 if per_pixel else (0, 2, 3)
    return (X - X.mean(axis=axes, keepdims=True)) / X.std(axis=axes, keepdims=True)


SCALED = {
    "standard": StandardScaler().fit_transform(TABLE),
    "by n - 1": (TABLE - TABLE.mean(0)) / TABLE.std(0, ddof=1),
    "with a constant column": StandardScaler().fit_transform(np.hstack([TABLE, np.ones((200, 1))])),
    "channels": images(per_pixel=False),
    "pixels": images(per_pixel=True),
    "many rows": StandardScaler().fit_transform(RNG.gamma(2.0, size=(200_000, 5)) + 1000),
    "0 to 1": MinMaxScaler().fit_transform(TABLE),
    "0 to 1 beside codes": with_codes(MinMaxScaler().fit_transform(TABLE)),
}


@pytest.mark.parametrize("X", SCALED.values(), ids=list(SCALED))
@pytest.mark.parametrize("law", [GAUSSIAN, cs.Subsample(size=50)], ids=repr)
def test_scalers_in_front_are_told(X: Any, law: cs.Law) -> None:
    (message,) = told(X, law)
    assert "as if a scaler had been fitted" in message and "proof is void" in message
    assert "data that you trust" in message and "`features=`" in message
    # Changes of labels alone do not reach a scaler.
    assert told(X, cs.LabelNoise(0.1)) == []


def test_noise_that_hides_everything_is_told() -> None:
    centred = TABLE - TABLE.mean(axis=0) + 0.01
    spread = float(np.sqrt(centred.var(axis=0).sum()))
    levels = cs.Cascade([cs.Gaussian(spread / 0.2), cs.Gaussian(spread / 0.1)])
    for law in (
        cs.Gaussian(spread / 0.29), cs.Uniform(3**0.5 * spread / 0.29), levels, cs.SampleSpecific(spread / 0.29),
        cs.Subsample(cs.Gaussian(spread / 0.29), size=9), cs.Gaussian(spread / 0.29) & cs.LabelNoise(0.1),
    ):  # fmt: skip
        (message,) = told(centred, law)
        assert "hides everything" in message and "smaller sigma" in message
    one_level_fits = cs.Cascade([cs.Gaussian(spread / 0.2), cs.Gaussian(spread / 0.4)])
    for law in (
        cs.Gaussian(spread / 0.31),
        one_level_fits,
        cs.Subsample(size=9),
        cs.Discrete(0.9),
        cs.LabelNoise(0.1),
    ):
        assert told(centred * 1.0, law) == []


@pytest.mark.parametrize("name", ["wine", "breast_cancer"])
def test_uneven_tables_are_told(name: str) -> None:
    import sklearn.datasets

    X = getattr(sklearn.datasets, f"load_{name}")().data
    (message,) = told(X)
    assert "very different scales" in message and "fixed constant" in message
    assert told(X, cs.LabelNoise(0.1)) == told(X, cs.Subsample(size=20)) == []
    assert told(X / 10.0 ** np.floor(np.log10(X.max(axis=0)))) == []


def test_features_far_from_0_are_told() -> None:
    far = TABLE + 60.0
    (message,) = told(far)
    assert "far from 0" in message and "Subtract a fixed constant" in message
    # Those that do not descend do not mind, as measured.
    assert told(far, model="discriminant") == told(far, cs.LabelNoise(0.1)) == told(far - 60.0) == []


def quiet() -> dict[str, Any]:
    X, _ = cs.datasets.load_digits()
    grey = RNG.integers(0, 256, (50, 1, 28, 28)) * (RNG.random((1, 1, 28, 28)) > 0.3)
    return {
        "digits": X,
        "digits as a table": X.reshape(len(X), -1),
        "digits from 0 to 16": X.reshape(len(X), -1) * 16,
        "like MNIST": grey / 255,
        "like MNIST, as a table": grey.reshape(50, -1) / 255,
        "bytes": grey,
        "bytes as a table": grey.reshape(50, -1),
        "one-hot": np.eye(7)[np.arange(140) % 7],
        "zeros and ones": RNG.integers(0, 2, (100, 9)),
        "balanced codes": np.repeat([[-1.0, 1.0], [1.0, -1.0]], 50, axis=0),
        "grades": RNG.integers(0, 11, (100, 4)) / 10,
        "cut off": np.clip(RNG.normal(0.5, 0.5, (100, 4)), 0, 1),
        "normal": RNG.normal(size=(1000, 4)),
        "scaled by another part": (TABLE - TABLE[:100].mean(0)) / TABLE[:100].std(0),
        "few rows": StandardScaler().fit_transform(TABLE[:19]),
        "one sample of 3e38": np.vstack([TABLE, np.full((1, 6), 3e38)]),
        "wide and centred": RNG.normal(size=(1000, 4)) * 5000,
    }


@pytest.mark.parametrize("name", list(quiet()))
def test_data_as_they_come_are_taken_in_silence(name: str) -> None:
    X = quiet()[name]
    assert told(X) == told(X, cs.Subsample(size=20)) == []


@pytest.mark.parametrize("estimator", [small(), cs.CertifiedKNN(0.5)], ids=["members", "1-NN"])
def test_rounding_that_counts_beside_the_noise_is_told(estimator: Any) -> None:
    """Doubles a hundredth apart near 10^9 are 64 apart as floats, which no radius reaches."""
    far = np.hstack([TABLE.astype(np.float64), 1e9 + 16.0 + RNG.random((200, 1)) / 100])
    assert np.ptp(far[:, -1]) < 0.02 and np.ptp(far[:, -1].astype(np.float32)) == 0.0
    with pytest.warns(cs.ScaleWarning) as found:
        estimator.fit(far, LABELS)
    (message,) = [str(one.message) for one in found if "Rounding" in str(one.message)]
    assert "moved samples by 16" in message and " deviations of the noise" in message
    assert "The guarantee is about the rounded samples" in message
    # What is single precision already was not moved by us; one sample of twenty decides nothing for the others.
    for X in (far.astype(np.float32), np.vstack([TABLE[:190], np.full((10, 6), 1e9 + 16.0)])):
        with warnings.catch_warnings(record=True) as found_there:
            warnings.simplefilter("always")
            estimator.fit(X, LABELS)
        assert not any("Rounding" in str(one.message) for one in found_there)


class ByConstants(cs.features.FeatureMap):
    def __init__(self, mean: float, deviation: float) -> None:
        self.mean, self.deviation = mean, deviation

    def __call__(self, X: Any) -> Any:
        return (X - np.float32(self.mean)) / np.float32(self.deviation)

    def describe(self) -> str:
        return "features scaled by fixed constants"


def test_rounding_that_counts_behind_a_map_is_told() -> None:
    """What counts is how far apart single precision puts samples behind the map, beside the noise that is added there."""
    far = np.hstack([TABLE.astype(np.float64), 1e9 + 16.0 + RNG.random((200, 1)) / 100])

    def said(X: Any, deviation: float, law: cs.Law = GAUSSIAN) -> list[str]:
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            small(law=law, features=ByConstants(1e9, deviation)).fit(X, LABELS)
        return [str(one.message) for one in found if "Rounding" in str(one.message)]

    # Divided by 100, 16 that were lost are 0.16, a third of sigma; divided by a million they are nothing.
    (message,) = said(far, 100.0)
    assert "moved the features of samples by 0.16" in message and "0.32 deviations" in message
    assert said(far, 1e6) == said(far.astype(np.float32), 100.0) == []
    assert said(far, 100.0, cs.Subsample(size=20)) == [], "nothing measures these changes"


@pytest.mark.parametrize("estimator", [small(), cs.CertifiedKNN(0.5)], ids=["members", "1-NN"])
def test_fit_says_it_once_where_it_was_called(estimator: Any) -> None:
    for X in (SCALED["standard"], SCALED["0 to 1"], TABLE * 0.01, TABLE * [1e5, 1, 1, 1, 1, 1]):
        with pytest.warns(cs.ScaleWarning) as found:
            estimator.fit(X, LABELS)
        assert len(found) == 1 and Path(found[0].filename) == Path(__file__)
    estimator.fit(TABLE, LABELS)


def test_what_comes_out_of_the_map_is_looked_at(digits: Digits) -> None:
    X, y = digits[:2]
    small(features=ByConstants(0.3, 0.01)).fit(X, y)
    with pytest.warns(cs.ScaleWarning, match="hides everything"):
        small(features=ByConstants(0.3, 1000.0)).fit(X, y)
    small(features=ByConstants(0.0, 0.01)).fit(TABLE * 0.01, LABELS)
    with pytest.warns(cs.ScaleWarning, match="scaler"):
        small(features=ByConstants(1.0, 3.0)).fit(SCALED["standard"], LABELS)


def test_the_command_line_says_it_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    X = SCALED["standard"]
    parts = {"X_train": X, "y_train": LABELS, "X_test": X[:9], "y_test": LABELS[:9]}
    np.savez(tmp_path / "data.npz", **parts)
    arguments = [
        "--model",
        "linear",
        "--sigma",
        "0.5",
        "--members",
        "30",
        "--epochs",
        "1",
        "--alpha",
        "0.1",
    ]
    status = cli.main(
        ["run", "--dataset", str(tmp_path / "data.npz"), "--trigger", "none", "--quiet", "--seed", "0",
         "--out", str(tmp_path / "run"), *arguments]
    )  # fmt: skip
    said = capsys.readouterr().err
    assert status == 0, said
    assert said.startswith("certssb: warning: All columns have mean 0") and said.count("\n") == 1


def test_a_look_is_cheap() -> None:
    X = RNG.normal(size=(50_000, 200)).astype(np.float32)
    best = np.inf
    for _ in range(3):
        started = time.process_time()
        told(X)
        best = min(best, time.process_time() - started)
    assert best < 1.0
