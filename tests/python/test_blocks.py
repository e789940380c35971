"""Test samples block by block: the answers of all of them together, from memory for one block."""

import numpy as np
import pytest
from conftest import small

import certssb as cs
from certssb.estimators import _in_blocks


@pytest.fixture(scope="module")
def digits():
    X, y = cs.datasets.load_digits(classes=(0, 1, 2))
    return (np.asarray(X) * 255).round().astype(np.uint8), np.asarray(y)


LAWS = {
    "gaussian": cs.Gaussian(0.5),
    "subsample": cs.Subsample(size=30),
    "specific": cs.SampleSpecific(0.5, steps=2),
    "published": cs.SampleSpecific(0.5, guarantee="published", steps=2),
    "partition": cs.Partition(8),
    "cascade": cs.Cascade([cs.Gaussian(1.0), cs.Gaussian(0.5)], thresholds=[0.2]),
}


@pytest.mark.parametrize("law", LAWS)
def test_blocks_are_answered_as_all_together(digits, law, monkeypatch):
    X, y = digits
    clf = small("linear", LAWS[law], n_members=None if law == "partition" else 12, alpha=0.4)
    clf.fit(X[:120], y[:120])
    T = X[120:220]
    whole = clf.certify(T)
    answers = [clf.predict(T), clf.predict_proba(T), clf.votes(T), clf.scores(T)]

    def ragged():
        yield T[:33]
        yield list(T[33:34])
        yield T[34:], y[154:220]

    assert clf.certify(ragged()) == whole
    assert clf.certify(cs.data.blocks(T, 7)) == whole
    for ask, expected in zip((clf.predict, clf.predict_proba, clf.votes, clf.scores), answers, strict=True):
        assert np.array_equal(ask(ragged()), expected)
    tables = list(clf.certify_blocks(cs.data.blocks(T, 40)))
    assert [len(table) for table in tables] == [40, 40, 20]
    assert np.array_equal(tables[1].prediction, whole.prediction[40:80])
    assert np.array_equal(tables[1].p_lower, whole.p_lower[40:80], equal_nan=True)
    if law == "partition":
        assert clf.certify(cs.data.blocks(T, 9), election="run-off") == clf.certify(T, election="run-off")
    others = []
    if law in ("specific", "published"):
        others.append((clf.noise_magnitudes, clf.noise_magnitudes(T)))
        assert np.array_equal(clf.noise_magnitudes(ragged()), others[-1][1])
    if law == "subsample":
        for targets in (None, y[120:220]):
            one, other = clf.influence(T, targets), clf.influence(ragged(), targets)
            for name in ("difference", "error", "index", "differences", "errors", "classes"):
                assert np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True), name
    # Whatever is larger than memory is asked about in blocks of itself.
    monkeypatch.setattr(_in_blocks, "_VALUES", 64 * 30)
    clf._votes.clear()
    assert clf.certify(T) == whole and np.array_equal(clf.votes(T), answers[2])
    assert next(iter(clf._votes.values())).shape[-1] == 100 % 30
    for ask, expected in others:
        assert np.array_equal(ask(T), expected)
    if law == "gaussian":
        together = clf.certify(T, family_wise=True)
        assert "100 test samples together" in together.guarantee


def test_noise_by_the_place_of_a_test_sample_is_that_of_all_together(digits, monkeypatch):
    """What does not fit into memory is asked about as a whole, and blocks, which begin at place 0, are refused."""
    X, y = digits
    signs = (X > 100).astype(np.float32)
    clf = small("linear", cs.Discrete(0.8, test_input=True), n_members=12, alpha=0.4).fit(
        signs[:120], y[:120]
    )
    T = signs[120:180]
    certs, asked = clf.certify(T), [clf.predict, clf.predict_proba, clf.votes, clf.scores]
    answers = [ask(T) for ask in asked]
    assert not np.array_equal(clf.votes(T[7:]), answers[2][:, 7:]), "places count"
    monkeypatch.setattr(_in_blocks, "_VALUES", 64 * 7)
    clf._votes.clear()
    for ask, expected in zip(asked, answers, strict=True):
        assert np.array_equal(ask(T), expected)
    assert clf.certify(T) == certs
    for ask in (*asked, clf.certify, lambda given: list(clf.certify_blocks(given))):
        with pytest.raises(
            cs.ParameterError, match="'X' parameter must be samples in one array under test_input"
        ):
            ask(cs.data.blocks(T, 7))


@pytest.mark.parametrize("kind", ["ensemble", "exact"])
def test_all_blocks_are_answered_by_the_fit_that_answered_the_first(digits, kind):
    X, y = digits
    T = X[120:220]
    names = np.array(["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"])

    def fresh():
        if kind == "exact":
            return cs.CertifiedKNN(sigma=1.0).fit(X[:120], y[:120])
        return small("linear", cs.Gaussian(0.5), n_members=12, alpha=0.4).fit(X[:120], y[:120])

    def refit(clf):
        """Other data, other members by another law, other names."""
        if kind == "ensemble":
            clf.set_params(law=cs.Subsample(size=5), n_members=20)
        clf.fit(X[50:120], names[9 - y[50:120]], classes=names)

    def blocks(clf):
        yield T[:40]
        refit(clf)
        yield T[40:]

    whole = fresh()
    clf = fresh()
    assert clf.certify(blocks(clf)) == whole.certify(T)
    assert clf.certify(T[:9]) != whole.certify(T[:9]), "later questions are those of the later fit"
    for name in ["predict", "predict_proba"] + ["votes", "scores"] * (kind == "ensemble"):
        clf = fresh()
        assert np.array_equal(getattr(clf, name)(blocks(clf)), getattr(whole, name)(T)), name
    if kind == "ensemble":
        clf = fresh()
        tables = clf.certify_blocks(cs.data.blocks(T, 50))
        first = next(tables)
        refit(clf)
        assert [first, next(tables)] == list(whole.certify_blocks(cs.data.blocks(T, 50)))
        # What the fit before said is not taken for what the next one says of the same samples.
        clf = fresh()
        answers = clf.certify_blocks(block for _ in range(2) for block in (T[:40], T[40:]))
        next(answers)
        refit(clf)
        next(answers)
        expected = small("linear", cs.Subsample(size=5), n_members=20, alpha=0.4).fit(
            X[50:120], names[9 - y[50:120]], classes=names
        )
        assert np.array_equal(clf.votes(T[40:]), expected.votes(T[40:]))


def test_a_block_is_asked_for_when_the_one_before_is_answered(digits):
    X, y = digits
    clf = small("linear", n_members=12, alpha=0.4).fit(X[:120], y[:120])
    events = []

    def told():
        for start in range(120, 180, 20):
            events.append(f"block {start}")
            yield X[start : start + 20]

    for table in clf.certify_blocks(told()):
        events.append(f"table of {len(table)}")
        # Votes of this block alone.
        assert next(iter(clf._votes.values())).shape == (12, 20)
    assert events == ["block 120", "table of 20", "block 140", "table of 20", "block 160", "table of 20"]


def test_score_of_blocks_with_their_labels(digits):
    X, y = digits
    clf = small("linear", n_members=12, alpha=0.4).fit(X[:120], y[:120])
    pairs = ((X[start : start + 50], y[start : start + 50]) for start in range(120, 320, 50))
    assert clf.score(pairs) == clf.score(X[120:320], y[120:320])
    assert clf.score(cs.data.blocks(X[120:320], 50), y[120:320]) == clf.score(X[120:320], y[120:320])
    with pytest.raises(cs.ParameterError, match=r"blocks \(samples, labels\).*block 0 without labels"):
        clf.score(cs.data.blocks(X[120:], 50))


def test_loaders_of_streams_and_data_sets(digits):
    torch = pytest.importorskip("torch")
    from torch.utils.data import DataLoader, IterableDataset, TensorDataset

    X, y = digits
    clf = small("linear", n_members=12, alpha=0.4).fit(X[:120], y[:120])
    T = X[120:220]
    whole = clf.certify(T)

    class Stream(IterableDataset):
        def __iter__(self):
            return iter(zip(torch.as_tensor(T), y[120:220].tolist(), strict=True))

    loader = DataLoader(Stream(), batch_size=30)
    assert clf.certify(loader) == whole and clf.score(loader) == clf.score(T, y[120:220])
    data = TensorDataset(torch.as_tensor(T), torch.as_tensor(y[120:220]))
    assert clf.certify(cs.data.blocks(data, 30)) == whole
    assert clf.certify(cs.data.blocks(DataLoader(data, batch_size=4), 30)) == whole
    with pytest.raises(cs.ParameterError, match="comes in blocks already"):
        cs.data.blocks(loader)


def test_the_exact_classifier_takes_blocks(digits):
    X, y = digits
    knn = cs.CertifiedKNN(0.5, progress=False).fit(X[:100], y[:100])
    T = X[120:150]
    assert knn.certify(cs.data.blocks(T, 8)) == knn.certify(T)
    assert np.array_equal(knn.predict(cs.data.blocks(T, 8)), knn.predict(T))
    assert np.array_equal(knn.predict_proba(cs.data.blocks(T, 8)), knn.predict_proba(T))


def test_a_ledger_settles_block_after_block(digits, tmp_path):
    X, y = digits
    clf = small("linear", LAWS["published"], n_members=30, alpha=0.4).fit(X[:120], y[:120])
    T = np.concatenate([X[120:160], X[120:160]])
    with cs.Ledger(tmp_path / "a.sqlite") as one, cs.Ledger(tmp_path / "b.sqlite") as other:
        assert clf.certify(cs.data.blocks(T, 13), ledger=one) == clf.certify(T, ledger=other)
        assert len(one) == len(other)


def test_what_blocks_cannot_be(digits):
    X, y = digits
    clf = small("linear", n_members=12, alpha=0.4).fit(X[:120], y[:120])

    def bad(second):
        yield X[:5]
        yield second

    cases = [
        (bad(X[:5, :, :4]), cs.ShapeError, "Block 1 of 'X' cannot be read"),
        (
            bad(np.full((2, 1, 8, 8), np.nan)),
            cs.ParameterError,
            "Block 1 of 'X' cannot be read.*NaN at index",
        ),
        (bad((X[:5], y[:5], 3)), cs.ParameterError, "3 values as block 1"),
        (iter([]), cs.ShapeError, "Found no block"),
        ((1 / 0 for _ in range(3)), cs.ParameterError, "Block 0 of 'X' cannot be had: ZeroDivisionError"),
    ]
    for given, error, words in cases:
        with pytest.raises(error, match=words):
            clf.certify(given)
    with pytest.raises(cs.ParameterError, match="alpha / n for each"):
        clf.certify(cs.data.blocks(X, 5), family_wise=True)
    with pytest.raises(cs.ParameterError, match="'size' parameter must be an integer of at least 1"):
        cs.data.blocks(X, 0)
    with pytest.raises(TypeError, match="can be read only once"):
        small().fit(cs.data.blocks(X, 5), y)
