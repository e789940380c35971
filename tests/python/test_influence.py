"""Influence: who saw a sample is what was drawn, differences and errors are those of the votes, and poison comes first."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from conftest import Digits, small
from sklearn.exceptions import NotFittedError

import certssb as cs
from certssb.forensics import Influence


def presence(clf: cs.CertifiedClassifier) -> Any:
    """Who drew what, (n_members, n_train), read off differences of a column that only one member has a one in."""
    _, difference, _ = clf._ensemble.influence(np.eye(clf.n_members_, dtype=np.float32))  # type: ignore[union-attr]
    return np.nan_to_num(difference) > 0


@pytest.mark.parametrize("law", [cs.Subsample(size=30), cs.Subsample(cs.Gaussian(0.25), rate=0.1)], ids=repr)
def test_members_depend_on_what_they_drew_and_on_nothing_else(digits: Digits, law: cs.Law) -> None:
    X, y, X_test, _ = digits
    clf = small("discriminant", law, n_members=40).fit(X, y, classes=range(10))
    drew = presence(clf)
    found = clf.influence(X_test)
    np.testing.assert_array_equal(found.n_drew, drew.sum(axis=0))
    if isinstance(law, cs.Subsample) and law.size is not None:
        assert (drew.sum(axis=1) == 30).all()
    sample = int(found.n_drew.argmax())
    other = X.copy()
    other[sample] = 1 - other[sample]
    again = small("discriminant", law, n_members=40).fit(other, y, classes=range(10))
    for member in range(40):
        one, two = (one._ensemble.values(member) for one in (clf, again))  # type: ignore[union-attr]
        assert one is not None and two is not None
        assert np.array_equal(one, two) == (not drew[member, sample]), member


def test_differences_and_errors_are_those_of_the_votes(digits: Digits) -> None:
    X, y, X_test, _ = digits
    clf = small("discriminant", cs.Subsample(size=40), n_members=60).fit(X, y)
    drew, votes = presence(clf).astype(float), clf.votes(X_test)
    predicted = clf.predict(X_test)
    hits = (clf.classes_[votes] == predicted).astype(float)
    found = clf.influence(X_test, top=400)
    n = drew.sum(axis=0)
    assert n.min() > 0

    def expected(values: Any) -> tuple[Any, Any]:
        difference = drew.T @ values / n - (1 - drew).T @ values / (60 - n)
        return difference, np.sqrt(values.var(ddof=1) * (1 / n + 1 / (60 - n)))

    group = expected(hits.mean(axis=1))
    np.testing.assert_allclose(found.difference, group[0], atol=1e-7)
    np.testing.assert_allclose(found.error, group[1], atol=1e-7)
    np.testing.assert_allclose(found.score, group[0] / group[1], atol=1e-4)
    assert (np.diff(found.score[found.order]) <= 0).all()
    for row in (0, 3, 99):
        difference, error = expected(hits[:, row])
        np.testing.assert_allclose(found.differences[row], difference[found.index[row]], atol=1e-12)
        np.testing.assert_allclose(found.errors[row], error[found.index[row]], atol=1e-12)
        # All of them, largest first, each once.
        assert sorted(found.index[row].tolist()) == list(range(400))
        if error.max() > 0:
            scores = found.differences[row] / found.errors[row]
            assert (np.diff(scores) <= 1e-12).all()
    assert found.classes.tolist() == predicted.tolist()


def test_the_error_is_the_spread_of_differences_where_samples_change_nothing(digits: Digits) -> None:
    """Votes that no sample moves: scores are about standard normal, and the limit is passed as rarely as it says."""
    X, y, *_ = digits
    clf = small("discriminant", cs.Subsample(size=40), n_members=400).fit(X, y)
    noise = np.random.default_rng(0).random((400, 50)) < 0.3
    _, difference, error = clf._ensemble.influence(noise.astype(np.float32))  # type: ignore[union-attr]
    scores = difference / error
    # 20,000 scores: the standard error of their standard deviation is about 0.005, their dependence aside.
    assert abs(scores.std() - 1) < 0.03 and abs(scores.mean()) < 0.03
    limit = clf.influence(X[:2]).limit
    assert (scores.max(axis=1) > limit).mean() < 0.2


def test_poison_comes_first_and_is_drawn(digits: Digits) -> None:
    X, y, *_ = digits
    trigger = cs.triggers.Patch(norm=4.0)
    X_bad, y_bad, index = cs.triggers.poison(X, y, trigger, rate=0.02, target=0, seed=0)
    clf = small("discriminant", cs.Subsample(size=60), n_members=1000).fit(X_bad, y_bad)
    inputs = trigger(X[y != 0][:60])
    found = clf.influence(inputs, targets=[0] * 60, top=5)
    assert set(found.order[: len(index)].tolist()) == set(index.tolist())
    assert (found.score[index] > found.limit).all()
    # One input alone says less: eight poisoned samples of 400 would be 0.02 by chance.
    assert np.isin(found.index, index).mean() > 0.5
    assert "move the votes on 1 input more than" in clf.influence(inputs[:1]).sentence
    assert "not a guarantee" in found.sentence and repr(found).count("\n") == 11
    display = found.plot(top=12)
    assert display.index.tolist() == found.order[:12].tolist()
    assert display.beyond.tolist() == found.beyond[display.index].tolist() and display.beyond[:8].all()
    assert [tick.get_text() for tick in display.ax_.get_xticklabels()] == [str(i) for i in found.order[:12]]
    plt.close("all")
    frame = found.to_frame()
    assert frame["score"].idxmax() == found.order[0]
    for array in (found.difference, found.index, found.classes):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_members_from_a_folder_and_trusted_samples(digits: Digits, tmp_path: Any) -> None:
    X, y, X_test, _ = digits
    clf = small("discriminant", cs.Subsample(size=30), n_members=50).fit(X, y, trusted=range(100))
    found = clf.influence(X_test)
    assert len(found.n_drew) == 300 and found.n_drew.sum() == 50 * 30
    clf.save(tmp_path / "saved")
    again = cs.CertifiedClassifier.load(tmp_path / "saved").influence(X_test)
    for name in ("n_drew", "difference", "error", "index", "differences", "errors"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))


@pytest.mark.parametrize(
    ("law", "why"),
    [
        (cs.Gaussian(0.5), "every member sees every sample"),
        (cs.LabelNoise(0.2), "every member sees every sample"),
        (cs.Partition(20), "samples of one bucket are always seen together"),
        (cs.Cascade([cs.Gaussian(1.0), cs.Gaussian(0.5)]), "answer in turn"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_laws_that_draw_no_samples_are_refused_with_the_reason(law: cs.Law, why: str, digits: Digits) -> None:
    X, y, X_test, _ = digits
    n_members = None if isinstance(law, cs.Partition) else 20
    clf = small("linear", law, n_members=n_members).fit(X, y)
    with pytest.raises(cs.ParameterError, match=why):
        clf.influence(X_test)


def test_wrong_questions_are_refused(digits: Digits) -> None:
    X, y, X_test, _ = digits
    with pytest.raises(NotFittedError):
        small("linear", cs.Subsample(size=30)).influence(X_test)
    clf = small("linear", cs.Subsample(size=30)).fit(X, y)
    for few in ({"beyond": [1, 0]}, {"beyond": [True]}):
        with pytest.raises(cs.ParameterError, match="beyond"):
            cs.InfluenceDisplay([1, 2], [0.1, 0.2], [0.1, 0.1], **few)  # type: ignore[arg-type]
    with pytest.raises(cs.ShapeError, match="error"):
        cs.InfluenceDisplay([1, 2], [0.1, 0.2], [0.1])
    for words in ({"targets": [0, 1]}, {"targets": [11] * 100}, {"top": 0}, {"top": 401}, {"top": 1.5}):
        with pytest.raises(cs.ParameterError, match=next(iter(words))):
            clf.influence(X_test, **words)  # type: ignore[arg-type]
    with pytest.raises(cs.ShapeError):
        clf.influence(X_test[:, :, :4])
    with pytest.raises(cs.ParameterError, match="influence"):
        cs.InfluenceDisplay.from_influence("words")  # type: ignore[arg-type]
    assert isinstance(clf.influence(X_test[:1]), Influence)


def test_the_legend_of_a_picture_covers_no_bar() -> None:
    n = 20
    display = cs.InfluenceDisplay(
        range(n), np.full(n, 0.2), np.linspace(0.01, 0.1, n), beyond=[True] * 10 + [False] * 10
    ).plot()
    figure, ax = display.figure_, display.ax_
    figure.draw_without_rendering()
    legend = ax.get_legend().get_window_extent()
    highest = ax.transData.transform((0.0, 0.2 + 2 * 0.1))[1]
    assert highest < legend.y0
