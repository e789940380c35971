"""Insertions and deletions for real: samples are added, removed and relabelled, members trained anew, and predictions stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.neighbors import KNeighborsClassifier

import certssb as cs

Data = tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]


@pytest.fixture(scope="module")
def digits() -> Data:
    X, y = cs.datasets.load_digits(classes=(0, 1))
    X = X.reshape(len(X), -1)
    return X[:60], y[:60], X[300:340], y[300:340]


def fitted(model: Any, law: cs.Law, X: Any, y: Any, n_members: int, seed: int) -> cs.CertifiedClassifier:
    clf = cs.CertifiedClassifier(
        model, law, n_members=n_members, epochs=5, learning_rate=0.05, seed=seed, progress=False, n_jobs=2
    )
    return clf.fit(X, y, classes=[0, 1])


def edited(
    X: npt.NDArray[Any], y: npt.NDArray[Any], at: npt.NDArray[Any], wrong: int, r: int, how: str
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The training set after r edits that are aimed at one test sample."""
    order = np.argsort(((X - at) ** 2).sum(axis=1))
    right = order[y[order] != wrong]
    X, y = X.copy(), y.copy()
    if how == "relabel":
        y[right[:r]] = wrong
    elif how == "replace":
        X[right[:r]], y[right[:r]] = at, wrong
    elif how == "delete":
        keep = np.setdiff1d(np.arange(len(X)), right[:r])
        X, y = X[keep], y[keep]
    else:
        place = 0 if how == "insert first" else len(X)
        X = np.insert(X, [place] * r, at, axis=0)
        y = np.insert(y, [place] * r, wrong)
    return X, y


def attacked(
    X: npt.NDArray[Any], y: npt.NDArray[Any], at: npt.NDArray[Any], wrong: int, r: int, kind: str
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """What attackers who may insert, or else delete, r samples make of a training set."""
    return edited(X, y, at, wrong, r, {"inserted": "insert last", "deleted": "delete"}[kind])


@pytest.mark.parametrize("kind", ["inserted", "deleted"])
@pytest.mark.parametrize("law", [cs.Subsample(size=5), cs.Subsample(rate=0.08)], ids=repr)
def test_certified_predictions_are_those_of_the_set_before_the_attack_and_after(
    digits: Data, law: cs.Law, kind: Any
) -> None:
    """Onward, from the clean set to the attacked one; and back, where only the attacked one is received and certified."""
    X, y, X_test, _ = digits
    clean = fitted("discriminant", law, X, y, 400, 1)
    numbers, onward, back = clean.certify(X_test, alpha=0.001).n_poisoned(edits=kind), 0, 0
    for case in np.flatnonzero(numbers > 0)[::2][:10]:
        at, right, r = X_test[case], int(clean.predict(X_test[[case]])[0]), int(numbers[case])
        bad = fitted("discriminant", law, *attacked(X, y, at, 1 - right, r, kind), 400, 2 + int(case))
        # What is certified is the probability behind the votes: of 400, four standard deviations are 0.1.
        assert (bad.votes(X_test[[case]]) == right).mean() > 0.5 - 0.1, (case, r)
        onward += 1
        for fewer in sorted({1, max(r // 2, 1)}):
            received = fitted("discriminant", law, *attacked(X, y, at, 1 - right, fewer, kind), 400, 900)
            certs = received.certify(X_test[[case]], alpha=0.001)
            if certs.holds(fewer, edits=kind)[0]:
                # The clean set is within the threat: what is certified of the attacked one is its prediction too.
                assert (clean.votes(X_test[[case]]) == certs.prediction[0]).mean() > 0.5 - 0.1, (case, fewer)
                back += 1
    assert onward >= 5 and back >= 5, (onward, back)


def test_samples_taken_out_before_the_set_was_received_are_counted_the_harder_way() -> None:
    """A planted case whose received set has lost marks: it is certified up to what they could turn, and no further."""
    n, asked = 30, np.zeros((1, 2))
    X = np.random.default_rng(0).random((n, 2))
    y = (np.arange(n) >= n - 3).astype(int)
    X[y == 1] += 100
    law, nearest = cs.Subsample(rate=0.27), KNeighborsClassifier(n_neighbors=1)
    # Members answer as the nearest of their samples. The attackers have removed every copy of `asked` of class 1.
    certs = fitted(nearest, law, X, y, 600, 3).certify(asked)
    r = int(certs.n_poisoned(edits="deleted")[0])
    one_way = next(d for d in range(1, 99) if not certs.p_lower[0] - certs.p_upper[0] > 1 - 0.73**d) - 1
    assert certs.prediction[0] == 0 and one_way > r >= 1

    def clean(removed: int) -> int:
        X_clean = np.concatenate([X, np.zeros((removed, 2))])
        y_clean = np.concatenate([y, np.ones(removed, int)])
        return int(fitted(nearest, law, X_clean, y_clean, 600, 3 + removed).predict(asked)[0])

    # What only looks onward would have certified the set from which so many were removed, whose prediction is another.
    assert clean(r) == 0 and clean(one_way) == 1


HOW = ["relabel", "replace", "delete", "insert first", "insert last"]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("law", [cs.Subsample(size=5), cs.Subsample(rate=0.08)], ids=repr)
def test_certified_predictions_survive_edits_that_are_aimed_at_them(
    digits: Data, law: cs.Law, how: str
) -> None:
    X, y, X_test, _ = digits
    nearest = KNeighborsClassifier(n_neighbors=1)
    model = nearest if how in ("replace", "insert last") else "discriminant"
    certs = fitted(model, law, X, y, 400, 1).certify(X_test, alpha=0.001)
    survives = certs.n_poisoned(edits="any", labels=True)
    cases = np.flatnonzero(survives > 0)[:: 4 if model is nearest else 2][:12]
    assert len(cases) >= 5 and survives.max() >= 2
    for case in cases:
        right, r = int(certs.prediction[case]), int(survives[case])
        X_bad, y_bad = edited(X, y, X_test[case], 1 - right, r, how)
        again = fitted(model, law, X_bad, y_bad, 400, 2 + int(case))
        share = (again.votes(X_test[case : case + 1]) == right).mean()
        # What is certified is the probability behind the votes: of 400, four standard deviations are 0.1.
        assert share > 0.5 - 0.1, (how, case, r, share)


@pytest.mark.parametrize(
    ("law", "n_train"), [(cs.Subsample(rate=0.27), 30), (cs.Subsample(size=8), 30)], ids=["poisson", "fixed"]
)
def test_a_planted_case_falls_one_insertion_later(law: cs.Law, n_train: int) -> None:
    # Members answer as the nearest of their samples: as soon as one of the inserted copies is among them, wrongly.
    X = np.random.default_rng(0).random((n_train, 2))
    y = (np.arange(n_train) >= n_train - 3).astype(int)
    X[y == 1] += 100
    asked = np.zeros((1, 2))

    def with_marks(r: int) -> cs.CertifiedClassifier:
        X_bad, y_bad = np.concatenate([X, np.zeros((r, 2))]), np.concatenate([y, np.ones(r, int)])
        return fitted(KNeighborsClassifier(n_neighbors=1), law, X_bad, y_bad, 600, 3 + r)

    certs = with_marks(0).certify(asked)
    r = int(certs.n_poisoned(edits="inserted")[0])
    assert r >= 1 and certs.prediction[0] == 0
    assert certs.holds(cs.Threat(r, edits="inserted"))[0]
    assert not certs.holds(cs.Threat(r + 1, edits="inserted"))[0]
    assert with_marks(r).predict(asked)[0] == 0
    assert with_marks(r + 1).predict(asked)[0] == 1


@pytest.mark.parametrize(
    "model", ["linear", "mlp", "discriminant", KNeighborsClassifier(n_neighbors=1)], ids=str
)
@pytest.mark.parametrize(
    "law", [cs.Subsample(rate=0.1), cs.Subsample(cs.Gaussian(0.3) & cs.LabelNoise(0.1), rate=0.1)], ids=repr
)
def test_members_see_nothing_of_how_many_samples_there_are(digits: Data, law: cs.Law, model: Any) -> None:
    X, y, X_test, _ = digits
    fewer = fitted(model, law, X[:50], y[:50], 30, 5).votes(X_test)
    more = fitted(model, law, X, y, 30, 5).votes(X_test)
    # A member into which none of the ten new samples was drawn (0.9^10 = 0.35 of them) is the same, bit for bit.
    same = (fewer == more).all(axis=1)
    assert 4 <= same.sum() and (model in ("linear", "mlp") or same.sum() < 30)


def test_members_without_samples_vote_for_the_lowest_class_and_are_counted(digits: Data) -> None:
    X, y, X_test, _ = digits
    clf = fitted("discriminant", cs.Subsample(rate=0.02), X, y, 200, 1)
    certs = clf.certify(X_test)
    # (1 - 0.02)^60 = 0.30 of them.
    votes = clf.votes(X_test)
    found = certs.guarantee.split("too few to train on, were drawn for ")[1].split(" ")[0]
    assert 40 <= int(found) <= 80 and clf.n_failed_ == 0
    assert (votes == 0).all(axis=1).sum() >= int(found)
    assert "their training" not in certs.guarantee and "vote for the lowest class" in certs.guarantee


def test_a_poisson_ensemble_is_saved_resumed_and_loaded(digits: Data, tmp_path: Any) -> None:
    X, y, X_test, _ = digits
    law = cs.Subsample(cs.Gaussian(0.2), rate=0.03)
    clf = cs.CertifiedClassifier(
        "linear", law, n_members=30, epochs=2, seed=1, progress=False, checkpoint=tmp_path / "members"
    )
    clf.fit(X, y, classes=[0, 1])
    again = cs.CertifiedClassifier(
        "linear", law, n_members=30, epochs=2, seed=1, progress=False, checkpoint=tmp_path / "members"
    ).fit(X, y, classes=[0, 1])
    assert (again.votes(X_test) == clf.votes(X_test)).all()
    clf.save(tmp_path / "saved")
    loaded = cs.CertifiedClassifier.load(tmp_path / "saved")
    certs, threat = loaded.certify(X_test), cs.Threat(1, edits="any")
    assert certs == clf.certify(X_test) and certs.law == law
    certs.save(tmp_path / "table")
    restored = cs.CertificateTable.load(tmp_path / "table")
    assert restored.guarantee == certs.guarantee and (restored.holds(threat) == certs.holds(threat)).all()
    assert "were drawn for" in restored.guarantee


def test_an_ensemble_grows_until_a_threat_is_decided(digits: Data) -> None:
    X, y, X_test, _ = digits
    threat = cs.Threat(1, edits="any")
    clf = cs.CertifiedClassifier(
        "discriminant", cs.Subsample(rate=0.1), n_members="auto", seed=0, progress=False, alpha=0.01
    )
    clf.fit(X, y, until=cs.Until(X_test, threat=threat, share=0.5, max_members=400), classes=[0, 1])
    assert clf.decided_ >= 0.5
    with pytest.raises(cs.ParameterError, match="'until'.*within reach"):
        clf.fit(X, y, until=cs.Until(X_test, threat=cs.Threat(30, edits="any")))
    with pytest.raises(cs.ParameterError, match="'edits'"):
        clf.set_params(law=cs.Gaussian(1.0)).fit(X, y, until=cs.Until(X_test, threat=threat))


@pytest.mark.parametrize("law", [cs.Subsample(rate=0.1), cs.Partition(10)])
def test_trials_before_training_hang_on_no_number_of_samples(law: Any) -> None:
    from certssb.learners._choice import set_size

    assert len({set_size(law, n) for n in (1, 50, 109, 110, 119, 120, 10**6)}) == 1
    assert set_size(cs.Subsample(size=60), 5000, 3) == 63
