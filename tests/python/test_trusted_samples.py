"""Trusted samples: every member sees them as they are, and nothing else of an ensemble knows the others by way of them."""

from __future__ import annotations

import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.base import clone
from sklearn.neighbors import KNeighborsClassifier

import certssb as cs
from certssb.exceptions import CheckpointError, ParameterError, ScaleWarning, ShapeError

Array = npt.NDArray[Any]

X, Y = cs.datasets.load_digits(classes=(0, 1, 2))
X = np.ascontiguousarray(X.reshape(len(X), -1))
BITS = np.ascontiguousarray((X > 0.5).astype(np.float32))
TEST = slice(300, 360)
INDEX = np.array([2, 3, 17, 40, 41, 59])
OTHERS = np.setdiff1d(np.arange(60), INDEX)
NOISY = cs.Gaussian(0.4) & cs.LabelNoise(0.5)
LAWS = [
    cs.Gaussian(0.4),
    cs.Uniform(half_width=0.4),
    cs.Discrete(keep=0.7),
    cs.LabelNoise(0.3),
    NOISY,
    cs.Subsample(size=9),
    cs.Subsample(rate=0.15),
    cs.Subsample(NOISY, size=9),
    cs.Subsample(NOISY, rate=0.15),
    cs.Subsample(cs.Discrete(keep=0.7), size=12),
    cs.Partition(9),
    cs.Partition(4, overlap=2, assign="features"),
    cs.Partition(6, assign="index"),
]


def ensemble(law: cs.Law, model: Any = None, n_members: int = 40, **settings: Any) -> cs.CertifiedClassifier:
    """Members that remember what they were trained on, unless another model is named."""
    members = None if isinstance(law, cs.Partition) else n_members
    model = KNeighborsClassifier(1) if model is None else model
    settings = {"seed": 0, "progress": False, "alpha": 0.3, "epochs": 2} | settings
    return cs.CertifiedClassifier(model, law, members, **settings)


def data(law: cs.Law) -> Array:
    return BITS if "Discrete" in repr(law) else X


def seen(clf: cs.CertifiedClassifier, member: int) -> tuple[Array, Array]:
    """Features and class numbers that a member was trained on, in order."""
    own = clf.member(member)
    return own._fit_X, np.asarray(own.classes_)[own._y]


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_every_member_sees_the_trusted_samples_as_they_are_beside_its_draw(law: cs.Law) -> None:
    features = data(law)
    clf = ensemble(law).fit(features[:60], Y[:60], trusted=INDEX)
    plain = ensemble(law).fit(features[OTHERS], Y[OTHERS], classes=[0, 1, 2])
    assert clf.n_trusted_ == len(INDEX) and plain.n_trusted_ == 0
    drawn = 0
    for m in range(clf.n_members_):
        rows, labels = seen(clf, m)
        assert rows[:6].tobytes() == features[INDEX].tobytes() and (labels[:6] == Y[INDEX]).all()
        if len(rows) > 6 and len(set(labels[6:])) > 1:
            # What follows is the draw of the same ensemble on the others alone, noise included.
            own, own_labels = seen(plain, m)
            assert rows[6:].tobytes() == own.tobytes() and (labels[6:] == own_labels).all()
            drawn += 1
    assert drawn > 0.5 * clf.n_members_


@pytest.mark.parametrize("law", LAWS, ids=repr)
@pytest.mark.parametrize("model", ["discriminant", "linear"])
def test_certificates_are_those_of_the_others_and_say_both_numbers(law: cs.Law, model: str) -> None:
    features = data(law)
    clf = ensemble(law, model).fit(features[:60], Y[:60], trusted=INDEX)
    certs = clf.certify(features[TEST])
    again = (
        cs.certify_votes(clf.votes(features[TEST]), law, n_train=54, n_classes=3, n_features=64, alpha=0.3)
        if not isinstance(law, cs.Partition)
        else cs.certify_votes(clf.votes(features[TEST]), law, n_train=54, n_classes=3)
    )
    assert certs.n_train == 54 and certs.to_frame().equals(again.to_frame())
    note = "The training set that may differ is one of 54 samples; 6 further samples were taken as trusted: they are assumed"
    assert note in certs.guarantee and note not in again.guarantee
    with pytest.raises(ParameterError, match="54"):
        certs.holds(n_poisoned=55, trigger_norm=0.1)
    table = pickle.loads(pickle.dumps(certs))
    assert table.guarantee == certs.guarantee and "54 samples; 6 further" in table[:3].guarantee


def test_a_cascade_shows_every_level_the_trusted_samples() -> None:
    law = cs.Cascade([cs.Gaussian(1.0), cs.Gaussian(0.3)], thresholds=[0.2])
    clf = ensemble(law).fit(X[:60], Y[:60], trusted=INDEX)
    for level in range(2):
        own = clf.member(3, level)
        assert own._fit_X[:6].tobytes() == X[INDEX].tobytes()
        assert not np.array_equal(own._fit_X[6:], X[OTHERS])
    certs = clf.certify(X[TEST])
    assert certs.n_train == 54 and "of 54 samples; 6 further samples were taken as trusted" in certs.guarantee
    assert clf.n_trusted_ == 6


@pytest.mark.parametrize("guarantee", ["sound", "published"])
def test_own_magnitudes_leave_trusted_samples_alone(guarantee: Any) -> None:
    law = cs.SampleSpecific(sigma=0.4, guarantee=guarantee)
    clf = ensemble(law, "linear", n_members=10).fit(X[:60], Y[:60], trusted=INDEX)
    certs = clf.certify(X[TEST])
    assert certs.n_train == 54 and "6 further samples were taken as trusted" in certs.guarantee
    # A member that has trusted samples only is one without any noise, whatever the law.
    alone = [cs.Subsample(inner, rate=1e-9) for inner in (cs.SampleSpecific(sigma=0.4), None)]
    members = [ensemble(law, "linear", n_members=5).fit(X[:60], Y[:60], trusted=INDEX) for law in alone]
    for m in range(5):
        one, other = (clf.member(m).state_dict() for clf in members)
        assert all((one[name] == other[name]).all() for name in other)


def test_a_member_does_not_know_what_was_not_drawn_for_it() -> None:
    clf = ensemble(cs.Subsample(NOISY, rate=0.2)).fit(X[:60], Y[:60], trusted=INDEX)
    changed, labels = X[:60].copy(), Y[:60].copy()
    changed[10], labels[10] = 1.0 - changed[10], 2 - labels[10]
    # Insertions behind the others leave the coins of those before them alone.
    changed, labels = np.concatenate([changed, X[70:90]]), np.concatenate([labels, Y[70:90]])
    other = ensemble(cs.Subsample(NOISY, rate=0.2)).fit(changed, labels, trusted=INDEX)
    same = 0
    for m in range(40):
        (rows, own), (rows_there, own_there) = seen(clf, m), seen(other, m)
        assert rows_there[:6].tobytes() == rows[:6].tobytes()
        if len(rows) == len(rows_there):
            same += rows.tobytes() == rows_there.tobytes() and (own == own_there).all()
    # Nothing new is drawn for 0.8^20 of 40 members: hardly any. So without insertions, too:
    changed, labels = changed[:60], labels[:60]
    other = ensemble(cs.Subsample(NOISY, rate=0.2)).fit(changed, labels, trusted=INDEX)
    same = sum(seen(clf, m)[0].tobytes() == seen(other, m)[0].tobytes() for m in range(40))
    assert 22 <= same < 40


def test_empty_draws_leave_a_member_with_what_is_trusted() -> None:
    law = cs.Subsample(rate=1e-9)
    clf = ensemble(law).fit(X[:60], Y[:60], trusted=INDEX)
    assert all(len(seen(clf, m)[0]) == 6 for m in range(40))
    assert clf.score(X[TEST], Y[TEST]) > 0.5 and "No samples" not in clf.certify(X[TEST]).guarantee
    with pytest.raises(ParameterError, match="'size'"):
        ensemble(cs.Subsample(size=55)).fit(X[:60], Y[:60], trusted=INDEX)


@pytest.mark.parametrize("law", [cs.Gaussian(0.4), cs.Subsample(size=9), cs.Partition(6)], ids=repr)
def test_without_trusted_samples_everything_is_as_before(law: cs.Law) -> None:
    plain = ensemble(law, "linear").fit(X[:60], Y[:60])
    for empty in (
        {"trusted": []},
        {"trusted": np.zeros(60, dtype=bool)},
        {"trusted": np.zeros(0, dtype=np.int64)},
        {"X_trusted": X[:0], "y_trusted": Y[:0]},
    ):
        clf = ensemble(law, "linear").fit(X[:60], Y[:60], **empty)
        assert clf.record() == plain.record() and "trusted" not in clf.record() and clf.n_trusted_ == 0
        assert (clf.votes(X[TEST]) == plain.votes(X[TEST])).all()
        assert clf.certify(X[TEST]).guarantee == plain.certify(X[TEST]).guarantee


@pytest.mark.parametrize("law", [cs.Gaussian(0.4), cs.Subsample(rate=0.2), cs.Partition(6)], ids=repr)
def test_the_ways_to_tell_them_are_one(law: cs.Law) -> None:
    mask = np.isin(np.arange(60), INDEX)
    clf = ensemble(law).fit(X[:60], Y[:60], trusted=INDEX)
    same: list[dict[str, Any]] = [
        {"trusted": mask},
        {"trusted": mask.tolist()},
        {"trusted": INDEX[::-1].astype(np.uint8)},
        {"trusted": [int(i) for i in INDEX]},
    ]
    for told in same:
        other = ensemble(law).fit(X[:60], Y[:60], **told)
        assert other.record() == clf.record() and (other.votes(X[TEST]) == clf.votes(X[TEST])).all()
    apart = ensemble(law).fit(X[OTHERS], Y[OTHERS], X_trusted=X[INDEX], y_trusted=Y[INDEX].tolist())
    assert apart.record() == clf.record() and (apart.votes(X[TEST]) == clf.votes(X[TEST])).all()


def test_the_list_of_classes_is_that_of_the_trusted_samples() -> None:
    words = np.array(["zero", "one", "two"])[Y]
    law = cs.Subsample(size=9)
    taken = "the list of classes, which is taken as received"
    clf = ensemble(law).fit(X[:60], words[:60], trusted=INDEX)
    assert clf.classes_.tolist() == ["one", "two", "zero"] and taken not in clf.certify(X[TEST]).guarantee
    assert taken in ensemble(law).fit(X[:60], words[:60]).certify(X[TEST]).guarantee
    poisoned = words[:60].copy()
    poisoned[5] = "six"
    for told in ({"trusted": INDEX}, {"X_trusted": X[INDEX], "y_trusted": words[INDEX]}):
        with pytest.raises(
            ParameterError, match=r"'y' .*classes that trusted samples have, .*'six' at index 5"
        ):
            ensemble(law).fit(X[:60], poisoned, **told)
        given = ensemble(law).fit(X[:60], poisoned, classes=["zero", "one", "two", "six"], **told)
        assert len(given.classes_) == 4
    one_class = np.flatnonzero(Y[:60] == 0)[:3]
    for told, name in (
        ({"trusted": one_class}, "trusted"),
        ({"X_trusted": X[one_class], "y_trusted": words[one_class]}, "y_trusted"),
    ):
        with pytest.raises(ParameterError, match=f"'{name}' .*at least two classes.*pass all as 'classes'"):
            ensemble(law).fit(X[:60], words[:60], **told)
        ensemble(law).fit(X[:60], words[:60], classes=["zero", "one", "two"], **told)


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"trusted": [3, 60]}, ParameterError, r"'trusted' .*from 0 to 59.*Got 60"),
    ({"trusted": [-1, 3]}, ParameterError, r"'trusted' .*Got -1"),
    ({"trusted": [3, 4, 3]}, ParameterError, r"'trusted' .*each once.*Got 3 2 times"),
    (
        {"trusted": np.isin(np.arange(60), INDEX).astype(int)},
        ParameterError,
        r"'trusted' .*trusted.astype\(bool\)",
    ),
    ({"trusted": np.zeros(59, dtype=bool)}, ShapeError, r"'trusted' .*each of the 60 samples.*59 booleans"),
    ({"trusted": np.ones(60, dtype=bool)}, ParameterError, r"'trusted' .*all 60"),
    ({"trusted": range(60)}, ParameterError, r"'trusted' .*all 60"),
    ({"trusted": [0.5, 1.0]}, ParameterError, r"'trusted' .*array of float64"),
    ({"trusted": "all"}, ParameterError, r"'trusted' .*'all'"),
    ({"trusted": 3}, ParameterError, r"'trusted' .*Got 3"),
    ({"trusted": [[1, 2]]}, ShapeError, r"'trusted' .*1 dimension"),
    ({"trusted": [1, 2], "X_trusted": X[:2], "y_trusted": Y[:2]}, ParameterError, r"'trusted' .*'X_trusted'"),
    ({"trusted": [1, 2], "y_trusted": Y[:2]}, ParameterError, r"'trusted' .*'y_trusted'"),
    ({"y_trusted": Y[:2]}, ParameterError, r"'X_trusted' .*'y_trusted'"),
    ({"X_trusted": X[:9]}, ParameterError, r"'y_trusted' .*None"),
    ({"X_trusted": X[:9], "y_trusted": Y[:8]}, ShapeError, r"'y_trusted' .*9 in all.*8 labels"),
    ({"X_trusted": X[:9, :63], "y_trusted": Y[:9]}, ShapeError, r"'X_trusted' .*\(64,\).*\(63,\)"),
    ({"X_trusted": X[:9].reshape(9, 1, 8, 8), "y_trusted": Y[:9]}, ShapeError, r"'X_trusted'"),
    ({"X_trusted": np.full((9, 64), np.nan), "y_trusted": Y[:9]}, ParameterError, r"'X_trusted' .*NaN"),
    ({"X_trusted": X[:9], "y_trusted": [0.0] * 8 + [np.nan]}, ParameterError, r"'y_trusted' .*NaN"),
    ({"X_trusted": X[:9], "y_trusted": ["a"] * 4 + ["b"] * 5}, ParameterError, r"'y' .*trusted samples have"),
    (
        {"X_trusted": X[:9], "y_trusted": Y[:9], "classes": [1, 2]},
        ParameterError,
        r"'y_trusted' .*given classes",
    ),
]


@pytest.mark.parametrize(("told", "error", "words"), BAD)
def test_bad_input_is_named(told: dict[str, Any], error: type[Exception], words: str) -> None:
    clf = ensemble(cs.Subsample(size=9))
    with pytest.raises(error, match=words):
        clf.fit(X[:60], Y[:60], **told)
    assert not hasattr(clf, "n_members_")


def test_trusted_images_of_another_type_are_refused() -> None:
    images = X.reshape(-1, 1, 8, 8)
    photos = (images * 255).astype(np.uint8)
    clf = ensemble(cs.Subsample(size=9))
    for own, apart in ((images, photos), (photos, images * 255)):
        with pytest.raises(ParameterError, match="'X_trusted'"):
            clf.fit(own[OTHERS], Y[OTHERS], X_trusted=apart[INDEX], y_trusted=Y[INDEX])
    clf.fit(photos[OTHERS], Y[OTHERS], X_trusted=photos[INDEX], y_trusted=Y[INDEX])
    assert clf.n_trusted_ == 6


def test_an_ensemble_is_that_of_its_trusted_samples(tmp_path: Path) -> None:
    law = cs.Subsample(size=9)
    clf = ensemble(law, "linear", checkpoint=tmp_path / "a").fit(X[:60], Y[:60], trusted=INDEX)
    told: dict[str, Any] = {"X_trusted": X[INDEX], "y_trusted": Y[INDEX], "classes": [0, 1, 2]}
    other, relabelled = X[INDEX].copy(), Y[INDEX].copy()
    other[0, 5] += 0.5
    relabelled[1] = (relabelled[1] + 1) % 3
    for apart in (
        {**told, "X_trusted": other},
        {**told, "y_trusted": relabelled},
        {**told, "X_trusted": X[INDEX[:5]], "y_trusted": Y[INDEX[:5]]},
        {**told, "X_trusted": X[INDEX[::-1]], "y_trusted": Y[INDEX[::-1]]},
        {"classes": [0, 1, 2]},
    ):
        with pytest.raises(CheckpointError, match="trusted"):
            ensemble(law, "linear", checkpoint=tmp_path / "a").fit(X[OTHERS], Y[OTHERS], **apart)
        fresh = ensemble(law, "linear", seed=None).fit(X[OTHERS], Y[OTHERS], **told)
        seed = fresh.seed_
        assert fresh.fit(X[OTHERS], Y[OTHERS], **told).seed_ == seed
        assert fresh.fit(X[OTHERS], Y[OTHERS], **apart).seed_ != seed
    resumed = ensemble(law, "linear", checkpoint=tmp_path / "a").fit(X[OTHERS], Y[OTHERS], **told)
    assert (resumed.votes(X[TEST]) == clf.votes(X[TEST])).all()
    # Files and pickles know them.
    guarantee = clf.certify(X[TEST]).guarantee
    clf.save(tmp_path / "b")
    for copied in (cs.CertifiedClassifier.load(tmp_path / "b"), pickle.loads(pickle.dumps(clf))):
        assert copied.n_trusted_ == 6 and copied.certify(X[TEST]).guarantee == guarantee
    record = json.loads(clf.record())
    assert record["n_train"] == 54 and record["trusted"]["n"] == 6
    assert clone(clf).set_params(checkpoint=None).fit(X[:60], Y[:60]).n_trusted_ == 0


def test_a_partition_keeps_learners_only_beside_the_same_trusted_samples() -> None:
    law = cs.Partition(12)
    told = {"X_trusted": X[INDEX], "y_trusted": Y[INDEX]}
    clf = ensemble(law).fit(X[OTHERS], Y[OTHERS], **told)
    clf.fit(X[OTHERS[:-1]], Y[OTHERS[:-1]], **told)
    assert clf.n_kept_ == 11
    again = ensemble(law).fit(X[OTHERS[:-1]], Y[OTHERS[:-1]], **told)
    assert (again.votes(X[TEST]) == clf.votes(X[TEST])).all()
    relabelled = Y[INDEX].copy()
    relabelled[0] = (relabelled[0] + 1) % 3
    clf.fit(X[OTHERS[:-1]], Y[OTHERS[:-1]], X_trusted=X[INDEX], y_trusted=relabelled)
    assert clf.n_kept_ == 0
    clf.fit(X[OTHERS[:-1]], Y[OTHERS[:-1]], classes=[0, 1, 2])
    assert clf.n_kept_ == 0


@pytest.mark.parametrize("overlap", [1, 2])
def test_a_partition_is_that_of_the_others_and_its_sentence_allows_for_the_trusted(overlap: int) -> None:
    law = cs.Partition(8, overlap=overlap)
    clf = ensemble(law).fit(X[:60], Y[:60], trusted=INDEX)
    parts = law.parts(X[OTHERS], Y[OTHERS])
    for m, part in enumerate(parts):
        rows, labels = seen(clf, m)
        assert (rows[6:] == X[OTHERS][part]).all() and (labels[6:] == Y[OTHERS][part]).all()
    assert "nothing else that was received but the trusted samples" in clf.certify(X[TEST]).guarantee
    # A learner whose bucket is empty is trained on what is trusted.
    law = cs.Partition(40)
    clf = ensemble(law).fit(X[:60], Y[:60], trusted=INDEX)
    sizes = [len(part) for part in law.parts(X[OTHERS], Y[OTHERS])]
    assert min(sizes) == 0 and clf.n_idle_ == 0
    assert [len(seen(clf, m)[0]) - 6 for m in range(40)] == sizes


def edited(X: Array, y: Array, at: Array, wrong: int, r: int, how: str) -> tuple[Array, Array]:
    """What an attacker makes of the samples that are not trusted, to turn the prediction at one place."""
    order = np.argsort(((X - at) ** 2).sum(axis=1))
    right = order[y[order] != wrong]
    X, y = X.copy(), y.copy()
    if how == "relabel":
        y[right[:r]] = wrong
    elif how == "delete":
        keep = np.setdiff1d(np.arange(len(X)), right[:r])
        X, y = X[keep], y[keep]
    else:
        X = np.concatenate([X, np.repeat(at[None], r, axis=0)])
        y = np.concatenate([y, np.full(r, wrong)])
    return X, y


@pytest.mark.parametrize("how", ["relabel", "delete", "insert"])
@pytest.mark.parametrize(
    "law",
    [cs.Subsample(size=5), cs.Subsample(rate=0.08), cs.Partition(18), cs.Partition(9, overlap=2)],
    ids=repr,
)
def test_certified_predictions_survive_edits_of_the_others(law: cs.Law, how: str) -> None:
    told = {"X_trusted": X[INDEX], "y_trusted": Y[INDEX]}
    settings: dict[str, Any] = {"n_members": 400, "alpha": 0.001}
    clf = ensemble(law, "discriminant", **settings).fit(X[OTHERS], Y[OTHERS], **told)
    certs = clf.certify(X[TEST])
    edits = (
        "modified"
        if how == "relabel"
        else {how.replace("delete", "deleted").replace("insert", "inserted"): 1}
    )
    kind = "modified" if how == "relabel" else next(iter(edits))
    tried = 0
    for i in range(0, 60, 4):
        numbers = [r for r in range(1, 20) if certs[i : i + 1].holds(_threat(kind, r))[0]]
        if not numbers:
            continue
        tried += 1
        wrong = int(clf.predict_proba(X[TEST][i : i + 1])[0].argsort()[-2])
        wrong = wrong if wrong != certs.prediction[i] else (wrong + 1) % 3
        attacked = edited(X[OTHERS], Y[OTHERS], X[TEST][i], wrong, max(numbers), how)
        other = ensemble(law, "discriminant", **settings).fit(*attacked, **told)
        assert other.predict(X[TEST][i : i + 1])[0] == certs.prediction[i]
    assert tried >= 5


def _threat(kind: str, r: int) -> cs.Threat:
    if kind == "modified":
        return cs.Threat(n_poisoned=r, trigger_norm=np.inf, labels=True)
    return cs.Threat(trigger_norm=np.inf, labels=True, edits={kind: r})


def test_one_more_than_certified_turns_a_planted_case() -> None:
    """Copies of the test sample under another label, which one that is drawn suffices for: the worst there is."""
    X = np.array([[float(i), 1.0] for i in range(60)], dtype=np.float32)
    y = np.zeros(60, dtype=np.int64)
    far = {"X_trusted": np.array([[500.0, 0.0], [900.0, 0.0]]), "y_trusted": [0, 1], "classes": [0, 1]}
    at = np.array([[400.0, 0.0]], dtype=np.float32)
    law = cs.Subsample(rate=0.19)
    clf = ensemble(law, n_members=400, alpha=0.01).fit(X, y, **far)
    certs = clf.certify(at)
    r = int(certs.n_poisoned(trigger_norm=np.inf, labels=True)[0])
    assert certs.prediction[0] == 0 and r == 3

    def attacked(number: int) -> int:
        changed, labels = X.copy(), y.copy()
        changed[:number], labels[:number] = at, 1
        fitted = ensemble(law, n_members=400, alpha=0.01).fit(changed, labels, **far)
        return int(fitted.predict(at)[0])

    assert attacked(r) == 0 and attacked(r + 1) == 1
    # And a partition, whose certificate is exact for insertions into buckets of the attacker's choice.
    parts = cs.Partition(9)
    clf = ensemble(parts).fit(X, y, **far)
    certs = clf.certify(at)
    buckets = int(certs.n_buckets[0])
    assert buckets == 4
    copies = at + np.arange(200, dtype=np.float32)[:, None] * np.array([[0.0, 1e-3]], dtype=np.float32)
    where = parts.buckets(copies, np.ones(200, dtype=np.int64))
    _, first = np.unique(where, return_index=True)
    for number in (buckets, buckets + 1):
        chosen = first[:number]
        grown = np.concatenate([X, copies[chosen]]), np.concatenate([y, np.ones(number, dtype=np.int64)])
        assert ensemble(parts).fit(*grown, **far).predict(at)[0] == int(number > buckets)


def test_a_scaler_may_be_fitted_on_trusted_samples_and_on_no_others() -> None:
    rng = np.random.default_rng(0)
    raw = rng.normal(3.0, 2.0, (200, 5)).astype(np.float32)
    y = rng.integers(0, 2, 200)
    law = cs.Subsample(size=20)
    trusted = np.arange(60)

    def warned(scaled: Array, **told: Any) -> bool:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            ensemble(law, "linear").fit(scaled, y[60:] if "X_trusted" in told else y, **told)
        return any(issubclass(warning.category, ScaleWarning) for warning in caught)

    def by(part: Array) -> Array:
        return (raw - part.mean(axis=0)) / part.std(axis=0)

    assert not warned(by(raw[:60]), trusted=trusted)
    assert warned(by(raw), trusted=trusted)
    assert warned(by(raw[60:]), trusted=trusted)
    apart = {"X_trusted": by(raw)[:60], "y_trusted": y[:60]}
    assert warned(by(raw)[60:], **apart)


def test_augmentation_reaches_trusted_samples() -> None:
    law, images = cs.Subsample(rate=1e-9), X.reshape(-1, 1, 8, 8)
    votes = []
    for augment in (None, cs.augment.Shift(2)):
        copies = None if augment is None else 4
        clf = ensemble(law, "discriminant", augment=augment, copies=copies)
        votes.append(clf.fit(images[:60], Y[:60], trusted=INDEX).votes(images[TEST]))
    assert (votes[0] != votes[1]).any()


def test_members_are_added_until_a_goal_beside_trusted_samples() -> None:
    until = cs.Until(X[TEST], n_poisoned=2, labels=True, share=0.5, max_members=400)
    clf = ensemble(cs.Subsample(size=5), "discriminant", n_members="auto", alpha=0.01)  # type: ignore[arg-type]
    clf.fit(X[:60], Y[:60], trusted=INDEX, until=until)
    assert clf.n_trusted_ == 6 and clf.certify(X[TEST]).n_train == 54


def test_exact_neighbours_without_noise() -> None:
    """In one dimension, against the integral by brute force; and the radius by the closed form of Gaussian noise."""
    from scipy.integrate import quad
    from scipy.stats import norm

    X_one = np.array([[0.0], [0.9], [2.0], [3.1], [4.0]], dtype=np.float32)
    y_one = np.array([0, 1, 0, 2, 1])
    knn = cs.CertifiedKNN(sigma=0.8).fit(X_one, y_one, trusted=[2, 4], classes=[0, 1, 2])
    others, labels = X_one[[0, 1, 3], 0].astype(float), y_one[[0, 1, 3]]
    asked = np.array([[0.4], [1.0], [1.9], [2.6], [3.3], [9.0], [2.0]], dtype=np.float32)
    found = knn.predict_proba(asked)
    for x, row in zip(asked[:, 0].astype(float), found, strict=True):
        apart = np.abs(np.array([2.0, 4.0]) - x)
        end, of = apart.min(), [0, 1][apart.argmin()]
        exact = np.zeros(3)

        def within(r: float, at: float, x: float = x) -> float:
            return float(norm.cdf((x + r - at) / 0.8) - norm.cdf((x - r - at) / 0.8))

        def density(r: float, i: int, x: float = x) -> float:
            own = norm.pdf((x + r - others[i]) / 0.8) + norm.pdf((x - r - others[i]) / 0.8)
            return float(own / 0.8 * np.prod([1 - within(r, at) for j, at in enumerate(others) if j != i]))

        for i, label in enumerate(labels):
            exact[label] += quad(density, 0.0, end, args=(i,), epsabs=1e-13)[0]
        exact[of] += np.prod([1 - within(end, at) for at in others])
        assert np.abs(row - exact).max() < 1e-10
    certs = knn.certify(asked)
    assert certs.n_train == 3 and certs.n_trusted == 2 and knn.n_trusted_ == 2
    expected = 0.4 * (norm.ppf(certs.p_lower) - norm.ppf(certs.p_upper))
    some = (certs.radius > 0.0) & (certs.p_lower < 1.0 - 1e-9)
    assert some.sum() >= 3 and np.allclose(certs.radius[some], expected[some], rtol=1e-6)
    # The test sample is a trusted one: nothing is nearer.
    assert certs.prediction[6] == 0 and certs.radius[6] > 10.0
    assert (
        "1-nearest" not in certs.guarantee
        and "3 samples; 2 further samples were taken as trusted" in certs.guarantee
    )
    assert "no noise was added to them" in certs.guarantee
    again = pickle.loads(pickle.dumps(knn))
    assert again.certify(asked).to_frame().equals(certs.to_frame()) and again.n_trusted_ == 2


def test_exact_neighbours_as_before_without_trusted_ones_and_the_same_either_way() -> None:
    plain = cs.CertifiedKNN(sigma=0.5).fit(X[:60], Y[:60]).certify(X[TEST])
    empty = cs.CertifiedKNN(sigma=0.5).fit(X[:60], Y[:60], trusted=[]).certify(X[TEST])
    assert empty.to_frame().equals(plain.to_frame()) and empty.guarantee == plain.guarantee
    told = cs.CertifiedKNN(sigma=0.1).fit(X[:60], Y[:60], trusted=INDEX).certify(X[TEST])
    apart = cs.CertifiedKNN(sigma=0.1).fit(X[OTHERS], Y[OTHERS], X_trusted=X[INDEX], y_trusted=Y[INDEX])
    assert apart.certify(X[TEST]).to_frame().equals(told.to_frame()) and told.n_train == 54
    with pytest.raises(ShapeError, match="'X_trusted'"):
        cs.CertifiedKNN().fit(X[OTHERS], Y[OTHERS], X_trusted=X[INDEX, :9], y_trusted=Y[INDEX])
    with pytest.raises(ParameterError, match="'trusted' .*Got 60"):
        cs.CertifiedKNN().fit(X[:60], Y[:60], trusted=[60])


def test_trusted_samples_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from certssb import cli

    np.savez(tmp_path / "data.npz", X_train=X[:60], y_train=Y[:60], X_test=X[TEST], y_test=Y[TEST])
    np.save(tmp_path / "core.npy", np.isin(np.arange(60), INDEX))
    asked = ["run", "--dataset", str(tmp_path / "data.npz"), "--members", "60", "--seed", "0", "--quiet"]
    asked += ["--subsample", "9", "--alpha", "0.1", "--model", "discriminant"]
    expected = {"6": 6, str(tmp_path / "core.npy"): 6}
    for told, number in expected.items():
        out = tmp_path / f"run-{len(told)}"
        assert cli.main([*asked, "--trusted", told, "--out", str(out)]) == 0
        assert "54 training samples and 6 trusted ones" in capsys.readouterr().out
        summary = json.loads((out / "summary.json").read_text())
        assert (summary["n_train"], summary["n_trusted"]) == (54, number)
        assert "54 samples; 6 further samples were taken as trusted" in summary["guarantee"]
        assert "54 training samples and 6 trusted ones" in (out / "report.html").read_text()
    clf = ensemble(cs.Subsample(size=9), "discriminant", n_members=60)
    record = json.loads(clf.fit(X[:60], Y[:60], trusted=INDEX).record())
    assert summary["record"]["trusted"] == record["trusted"]
    for wrong, said in (
        ("0", "'--trusted' parameter must be a number of samples from 1 to 59"),
        ("60", "'--trusted' parameter must be a number of samples from 1 to 59"),
        ("-3", "--trusted"),
        ("nowhere.npy", "'--trusted' parameter must be a number of samples, or a .npy file"),
    ):
        assert cli.main([*asked, "--trusted", wrong, "--out", str(tmp_path / "c")]) == 2
        assert said in capsys.readouterr().err


def test_a_run_poisons_no_trusted_sample(tmp_path: Path) -> None:
    from argparse import Namespace

    from certssb.cli._inputs import read_inputs

    images = X[:60].reshape(-1, 1, 8, 8)
    data = {"X_train": images, "y_train": Y[:60], "X_test": X[TEST].reshape(-1, 1, 8, 8), "y_test": Y[TEST]}
    np.savez(tmp_path / "data.npz", **data)
    options = Namespace(dataset=str(tmp_path / "data.npz"), classes=None, trusted="25", data_seed=3)
    options.__dict__.update(trigger="none", norm=1.0, target=0)
    # All that may be poisoned is.
    own = read_inputs(options).y_train
    options.__dict__.update(trigger="patch", rate=float((own != 0).mean()))
    inputs = read_inputs(options)
    assert inputs.trusted is not None and inputs.attack is not None
    assert 0 < inputs.attack.n_poisoned == (own != 0).sum() < 35
    clean = {(row.tobytes(), int(label)) for row, label in zip(images, Y[:60], strict=True)}
    assert all((row.tobytes(), int(label)) in clean for row, label in zip(*inputs.trusted, strict=True))
    assert (inputs.y_train == 0).all() and len(inputs.X_train) == 35


@pytest.mark.parametrize(
    ("law", "votes"),
    [
        (cs.Subsample(size=10), np.ones((1000, 2), int)),
        (cs.Partition(50), np.ones((50, 2), int)),
        (cs.Cascade([cs.Gaussian(1.0), cs.Gaussian(0.5)]), np.ones((2, 1000, 2), int)),
    ],
)
def test_votes_of_members_that_saw_trusted_samples_say_so(law, votes, tmp_path):
    with_them = cs.certify_votes(votes, law, n_train=500, n_classes=2, n_trusted=40)
    assert "one of 500 samples; 40 further samples were taken as trusted" in with_them.guarantee
    assert with_them.n_trusted == 40 and with_them.n_train == 500
    without = cs.certify_votes(votes, law, n_train=500, n_classes=2)
    assert "trusted" not in without.guarantee and without.n_trusted == 0
    np.testing.assert_array_equal(with_them.p_lower, without.p_lower)
    with_them.save(tmp_path / "certs.npz")
    assert cs.CertificateTable.load(tmp_path / "certs.npz").guarantee == with_them.guarantee


def test_scores_of_learners_on_data_of_unknown_size_beside_trusted_samples():
    scores = np.tile([0.1, 0.9], (50, 2, 1))
    guarantee = cs.certify_scores(scores, cs.Partition(50), election="run-off", n_trusted=1).guarantee
    assert (
        "The training set that may differ is the others; 1 further sample was taken as trusted" in guarantee
    )
    for bad in (-1, 1.5, True, 2**41):
        with pytest.raises(cs.ParameterError, match="'n_trusted'"):
            cs.certify_scores(scores, cs.Partition(50), n_trusted=bad)
