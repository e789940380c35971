"""Sample-specific noise in both forms, cascades, and the ledger in certify."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import certssb as cs

Arrays = tuple[Any, Any, Any, Any]


@pytest.fixture(scope="module")
def digits() -> Arrays:
    X, y = cs.datasets.load_digits(classes=(0, 1, 2))
    return X[:300], y[:300], X[300:400], y[300:400]


def classifier(law: cs.Law, **settings: Any) -> cs.CertifiedClassifier:
    usual = {
        "model": "mlp",
        "n_members": 40,
        "epochs": 3,
        "learning_rate": 1e-2,
        "seed": 0,
        "progress": False,
    }
    return cs.CertifiedClassifier(law=law, **(usual | settings))


SOUND = cs.SampleSpecific(0.5, steps=3, samples=2)
PUBLISHED = cs.SampleSpecific(0.5, "published", steps=3, samples=2)
GAUSSIANS = [cs.Gaussian(1.0), cs.Gaussian(0.5), cs.Gaussian(0.25)]


# --- the sound form


def test_the_sound_form_certifies_what_gaussian_noise_would_on_the_same_votes(digits: Arrays) -> None:
    X, y, X_test, y_test = digits
    clf = classifier(SOUND).fit(X, y)
    certs = clf.certify(X_test)
    same = cs.certify_votes(clf.votes(X_test), cs.Gaussian(0.5), n_train=300, n_classes=3)
    assert certs.sound
    np.testing.assert_array_equal(certs.radius, same.radius)
    np.testing.assert_array_equal(certs.trigger_norm(9), same.trigger_norm(9))
    assert "base draw" in certs.guarantee
    assert np.mean(certs.prediction == y_test) > 0.8


def test_each_member_finds_its_own_magnitudes_within_their_bounds(digits: Arrays) -> None:
    X, y, X_test, _ = digits
    law = cs.SampleSpecific(0.5, sigma_min=0.1, sigma_max=0.6, steps=4, samples=2)
    clf = classifier(law, n_members=16).fit(X, y)
    sigma = clf.noise_magnitudes(X_test)
    assert sigma.shape == (16, 100)
    assert sigma.min() >= np.float32(0.1) and sigma.max() <= np.float32(0.6)
    assert np.ptp(sigma, axis=0).max() > 0.05, "members differ"
    assert np.ptp(sigma, axis=1).max() > 0.1, "samples differ"
    # A sample's magnitude and votes are its own, whatever it came with.
    np.testing.assert_allclose(clf.noise_magnitudes(X_test[40:41]), sigma[:, 40:41], rtol=1e-4)
    np.testing.assert_array_equal(clf.votes(X_test[40:41]), clf.votes(X_test)[:, 40:41])


def test_the_extra_noise_changes_what_members_learn_but_not_what_they_may_see(digits: Arrays) -> None:
    X, y, X_test, _ = digits

    def scores(law: cs.Law, model: str) -> Any:
        return classifier(law, model=model).fit(X, y).scores(X_test)

    # Linear, because the training of an mlp may blow up a difference of 1e-7 in its features to 0.1 in its scores.
    small = cs.SampleSpecific(0.5, sigma_min=1e-7, sigma_max=1e-6, steps=1, samples=1)
    np.testing.assert_allclose(scores(small, "linear"), scores(cs.Gaussian(0.5), "linear"), atol=1e-4)
    assert np.abs(scores(SOUND, "mlp") - scores(cs.Gaussian(0.5), "mlp")).max() > 0.1


def test_it_is_reproducible_for_any_number_of_threads(digits: Arrays) -> None:
    X, y, X_test, _ = digits
    votes = [classifier(SOUND, n_members=16, n_jobs=jobs).fit(X, y).votes(X_test) for jobs in (1, 2)]
    np.testing.assert_array_equal(*votes)


def test_inside_a_subsample_with_label_noise(digits: Arrays) -> None:
    X, y, X_test, _ = digits
    law = cs.Subsample(SOUND & cs.LabelNoise(0.1), size=60)
    clf = classifier(law, n_members=60).fit(X, y)
    assert clf.noise_magnitudes(X_test).shape == (60, 100)
    same = cs.certify_votes(
        clf.votes(X_test), cs.Subsample(cs.Gaussian(0.5) & cs.LabelNoise(0.1), size=60), 300, 3
    )
    np.testing.assert_array_equal(
        clf.certify(X_test).trigger_norm(2, labels=True), same.trigger_norm(2, labels=True)
    )


# --- the published form


def test_the_published_form_says_that_it_is_no_proof(digits: Arrays, tmp_path: Path) -> None:
    X, y, X_test, _ = digits
    clf = classifier(PUBLISHED, checkpoint=tmp_path / "members").fit(X, y)
    certs = clf.certify(X_test)
    assert not certs.sound
    assert certs.guarantee.startswith("NOT A PROOF")
    assert "tuned on the received samples" in certs.guarantee
    assert "Not a proof" in certs._repr_html_()
    sigma = clf.noise_magnitudes(X_test)[0]
    np.testing.assert_allclose(certs.noise_magnitude, sigma)
    # The radius is sigma_x times what the votes give, one sigma for each sample.
    unit = cs.certify_votes(clf.votes(X_test), cs.Gaussian(1.0), n_train=300, n_classes=3)
    np.testing.assert_allclose(certs.radius, sigma * unit.radius, rtol=1e-6)
    assert np.ptp(sigma) > 0.1
    for budget in (lambda: certs.holds(1, 0.1), lambda: certs.trigger_norm(1), lambda: certs.n_poisoned(0.1)):
        with pytest.raises(cs.ParameterError, match="radius only"):
            budget()
    # Members, and the network that finds magnitudes, are taken from the checkpoint and from a pickle.
    again = classifier(PUBLISHED, checkpoint=tmp_path / "members").fit(X, y)
    copied = pickle.loads(pickle.dumps(clf))
    clf.save(tmp_path / "ensemble")
    for other in (again, copied, cs.CertifiedClassifier.load(tmp_path / "ensemble")):
        np.testing.assert_array_equal(other.certify(X_test).radius, certs.radius)
    certs.save(tmp_path / "table")
    loaded = cs.CertificateTable.load(tmp_path / "table")
    np.testing.assert_array_equal(loaded.radius, certs.radius)
    assert not loaded.sound
    assert "noise_magnitude" in certs.to_frame()


def test_the_published_form_is_not_certified_from_votes_alone() -> None:
    with pytest.raises(cs.ParameterError, match="'law'.*published"):
        cs.certify_votes(np.ones((40, 2), int), PUBLISHED, n_train=300, n_classes=2)


# --- the ledger in certify


def test_a_ledger_keeps_published_regions_from_contradicting_each_other(
    digits: Arrays, tmp_path: Path
) -> None:
    X, y, X_test, _ = digits
    clf = classifier(PUBLISHED).fit(X, y)
    plain = clf.certify(X_test)
    assert plain.outcome is None
    with cs.Ledger(tmp_path / "regions.sqlite") as ledger:
        certs = clf.certify(X_test, ledger=ledger)
        assert ledger.n_updates == 100
        entries = ledger.to_frame()
        ledger.verify()
        # A second table arrives at the same places: every region lies where one with its class is.
        again = clf.certify(X_test, ledger=ledger)
    assert set(certs.outcome) <= {"kept", "trimmed", "adopted", "abstained"}
    np.testing.assert_array_equal(certs.radius, entries["radius"])
    np.testing.assert_array_equal(certs.prediction, entries["prediction"])
    assert (certs.radius <= plain.radius + 1e-12).all() or "adopted" in certs.outcome
    np.testing.assert_array_equal(again.prediction, certs.prediction)
    np.testing.assert_array_equal(certs.abstained, certs.radius == 0)
    certs.save(tmp_path / "table")
    loaded = cs.CertificateTable.load(tmp_path / "table")
    np.testing.assert_array_equal(loaded.outcome, certs.outcome)
    np.testing.assert_array_equal(loaded.radius, certs.radius)


def test_a_trimmed_region_is_told(tmp_path: Path, digits: Arrays) -> None:
    X, y, X_test, _ = digits
    clf = classifier(PUBLISHED).fit(X, y)
    plain = clf.certify(X_test)
    first = int(np.argmax(plain.radius))
    with cs.Ledger(tmp_path / "regions.sqlite") as ledger:
        # Somebody was promised another class nearby.
        other = (int(plain.prediction[first]) + 1) % 3
        near = X_test[first].ravel().copy()
        near[0] += 0.5 * float(plain.radius[first])
        ledger.update(near, prediction=other, radius=0.1 * float(plain.radius[first]))
        certs = clf.certify(X_test[first : first + 1], ledger=ledger)
    assert certs.outcome[0] == "trimmed"
    assert 0.3 < certs.radius[0] / plain.radius[first] < 0.41


@pytest.mark.parametrize(
    "law", [cs.Gaussian(0.5), SOUND, cs.Cascade(GAUSSIANS), cs.Subsample(size=60)], ids=repr
)
def test_a_ledger_is_refused_where_radii_are_no_regions(law: cs.Law, digits: Arrays, tmp_path: Path) -> None:
    X, y, X_test, _ = digits
    clf = classifier(law).fit(X, y)
    with cs.Ledger(tmp_path / "regions.sqlite") as ledger:
        with pytest.raises(cs.ParameterError, match="'ledger'.*distance between training sets"):
            clf.certify(X_test, ledger=ledger)
        assert ledger.n_updates == 0
    with pytest.raises(cs.ParameterError, match="'ledger'"):
        clf.certify(X_test, ledger="regions.sqlite")  # type: ignore[arg-type]


# --- a module of the user's


def test_all_forms_work_with_a_module(digits: Arrays) -> None:
    from torch import nn

    def net() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 3))

    X, y, X_test, y_test = digits
    for law in (SOUND, PUBLISHED, cs.Cascade(GAUSSIANS[1:])):
        clf = classifier(law, model=net, n_members=20, epochs=5).fit(X, y)
        assert np.mean(clf.certify(X_test).prediction == y_test) > 0.7, law


# --- cascades


def quantile(p: Any) -> Any:
    return np.vectorize(__import__("statistics").NormalDist().inv_cdf)(p)


def test_a_cascade_follows_its_definition(digits: Arrays) -> None:
    X, y, X_test, y_test = digits
    law = cs.Cascade(GAUSSIANS, thresholds=[0.3, 0.15])
    clf = classifier(law, n_members=60).fit(X, y)
    votes = clf.votes(X_test)
    assert votes.shape == (3, 60, 100)
    shares = (votes[..., None] == np.arange(3)).mean(axis=1)
    certs = clf.certify(X_test)
    np.testing.assert_array_equal(clf.predict(X_test), certs.prediction)
    np.testing.assert_array_equal(clf.predict_proba(X_test), shares[certs.level, np.arange(100)])
    for i in range(100):
        for g, (sigma, tau) in enumerate([(1.0, 0.3), (0.5, 0.15), (0.25, None)]):
            top = np.sort(shares[g, i])[::-1]
            gap = np.inf if top[0] == 1 else quantile(top[0]) - (quantile(top[1]) if top[1] else -np.inf)
            if tau is None or sigma / 2 * gap >= tau:
                assert (certs.prediction[i], certs.level[i]) == (shares[g, i].argmax(), g)
                break
    assert len(set(certs.level)) > 1
    assert certs.sound and "cascade" in certs.guarantee and "3 levels" in certs.guarantee
    # The first level at alpha / 3 less its threshold, for those it decides without doubt.
    first = cs.certify_votes(votes[0], GAUSSIANS[0], 300, 3, alpha=0.001 / 3)
    sure = (certs.level == 0) & (first.radius > 0.8)
    np.testing.assert_allclose(certs.radius[sure], first.radius[sure] - 0.3, atol=1e-9)
    assert np.mean(certs.prediction == y_test) > 0.8


def test_a_cascade_has_the_members_of_single_ensembles_with_its_seed(digits: Arrays, tmp_path: Path) -> None:
    X, y, X_test, _ = digits
    law = cs.Cascade(GAUSSIANS[:2])
    clf = classifier(law, seed=7, checkpoint=tmp_path / "members").fit(X, y)
    for g, level in enumerate(law.levels):
        alone = classifier(level, seed=7).fit(X, y)
        np.testing.assert_array_equal(alone.votes(X_test), clf.votes(X_test)[g])
    assert sorted(path.name for path in (tmp_path / "members").iterdir()) == ["level-0", "level-1"]
    certs = clf.certify(X_test)
    elsewhere = cs.certify_votes(clf.votes(X_test), law, n_train=300, n_classes=3)
    np.testing.assert_array_equal(elsewhere.radius, certs.radius)
    clf.save(tmp_path / "ensemble")
    for copied in (pickle.loads(pickle.dumps(clf)), cs.CertifiedClassifier.load(tmp_path / "ensemble")):
        np.testing.assert_array_equal(copied.certify(X_test).radius, certs.radius)
        assert copied.law == law
    weight = clf.member(3, level=1).state_dict()
    assert all(len(values) for values in weight.values())
    with pytest.raises(cs.ParameterError, match="'level'"):
        clf.member(3, level=2)
    with pytest.warns(cs.GrowthWarning):
        more = clf.set_params(n_members=45).fit(X, y)
    assert more.votes(X_test).shape == (2, 45, 100)
    certs.save(tmp_path / "table")
    loaded = cs.CertificateTable.load(tmp_path / "table")
    np.testing.assert_array_equal(loaded.radius, certs.radius)
    np.testing.assert_array_equal(loaded.level, certs.level)
    np.testing.assert_array_equal(loaded.trigger_norm(5), certs.trigger_norm(5))
    assert "level" in certs.to_frame()


def test_a_cascade_of_subsamples_certifies_budgets(digits: Arrays) -> None:
    X, y, X_test, y_test = digits
    law = cs.Cascade([cs.Subsample(cs.Gaussian(1.0), size=60), cs.Subsample(size=30)])
    certs = classifier(law, n_members=200, epochs=10).fit(X, y).certify(X_test)
    assert certs.radius is None
    norms = certs.trigger_norm(2)
    assert (norms > 0).mean() > 0.3
    finite = (norms > 0) & np.isfinite(norms)
    assert finite.any()
    for i in np.flatnonzero(finite)[:5]:
        assert certs.holds(2, norms[i])[i] and not certs.holds(2, norms[i] * 1.001)[i]
    counts = certs.n_poisoned(0.5, labels=True)
    assert (counts <= certs.n_poisoned(0.5)).all() and counts.max() > 0
    shares = certs.certified_accuracy(y_test, n_poisoned=2, trigger_norm=[0.0, 0.5, np.inf])
    assert (np.diff(shares) <= 0).all()
    np.testing.assert_allclose(certs.frontier([2])[:, 0], norms)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: cs.Cascade([cs.Gaussian(1.0)]), "'levels'.*at least two"),
        (lambda: cs.Cascade(GAUSSIANS, thresholds=[0.1]), "'thresholds'.*2"),
        (lambda: cs.Cascade(GAUSSIANS, thresholds=[0.1, -1.0]), "'thresholds'"),
        (lambda: cs.Cascade([cs.Gaussian(1.0), PUBLISHED]), "'levels'.*proof"),
        (lambda: cs.Cascade([cs.Gaussian(1.0), cs.Cascade(GAUSSIANS)]), "'levels'.*cascade"),
        (lambda: cs.Subsample(cs.Cascade(GAUSSIANS), size=5), "'inner'"),
        (lambda: cs.Subsample(PUBLISHED, size=5), "'inner'.*proof"),
        (lambda: cs.Cascade(GAUSSIANS) & cs.LabelNoise(0.1), "'&'"),
        (lambda: PUBLISHED & cs.LabelNoise(0.1), "'&'.*proof"),
        (lambda: cs.SampleSpecific(0.0), "'sigma'"),
        (lambda: cs.SampleSpecific(0.5, "honest"), "'guarantee'.*published"),  # type: ignore[arg-type]
        (lambda: cs.SampleSpecific(0.5, sigma_min=0.4, sigma_max=0.2), "'sigma_min'"),
        (lambda: cs.SampleSpecific(0.5, start=3.0), "'start'"),
        (lambda: cs.SampleSpecific(0.5, steps=0), "'steps'"),
        (lambda: cs.SampleSpecific(0.5, samples=-1), "'samples'"),
        (lambda: cs.SampleSpecific(0.5, learning_rate=float("nan")), "'learning_rate'"),
        (lambda: cs.Cascade(GAUSSIANS).plan(300, 3, 0.5), "'law'.*levels"),
    ],
)
def test_what_does_not_fit_is_named(wrong: Any, message: str) -> None:
    with pytest.raises(cs.ParameterError, match=message):
        wrong()


def test_a_cascade_is_refused_where_it_cannot_be(digits: Arrays) -> None:
    X, y, X_test, _ = digits
    law = cs.Cascade(GAUSSIANS)
    with pytest.raises(cs.ParameterError, match="'n_members'"):
        classifier(law, n_members=11).fit(X, y)
    clf = classifier(law).fit(X, y)
    with pytest.raises(cs.ParameterError, match="'selection'"):
        clf.certify(X_test, selection="split")
    with pytest.raises(cs.ParameterError, match="'law'"):
        clf.noise_magnitudes(X_test)
    with pytest.raises(cs.ShapeError, match="n_levels"):
        cs.certify_votes(np.ones((40, 2), int), law, n_train=300, n_classes=2)
    with pytest.raises(cs.ParameterError, match="'votes'"):
        cs.certify_votes(np.full((3, 40, 2), 2), law, n_train=300, n_classes=2)
    until = cs.Until(X=X_test, n_poisoned=1, trigger_norm=0.1)
    with pytest.raises(cs.ParameterError, match="'law'.*one level"):
        classifier(law, n_members="auto").fit(X, y, until=until)
