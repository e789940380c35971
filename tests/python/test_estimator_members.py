"""scikit-learn estimators as `model=` of the ensemble."""

import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

import certssb as cs
from certssb.exceptions import CheckpointError, DeviceError, ParameterError, TrainingError

X, Y = cs.datasets.load_digits()
TRAIN, TEST = slice(0, 500), slice(500, 700)
LAW = cs.Subsample(size=60)
FOREST = RandomForestClassifier(5, max_depth=6)


def ensemble(model: Any = FOREST, law: cs.Law = LAW, **settings: Any) -> cs.CertifiedClassifier:
    settings = {"n_members": 12, "alpha": 0.3, "seed": 0, "progress": False} | settings
    return cs.CertifiedClassifier(model, law, **settings)


def fitted(model: Any = FOREST, law: cs.Law = LAW, **settings: Any) -> cs.CertifiedClassifier:
    return ensemble(model, law, **settings).fit(X[TRAIN], Y[TRAIN])


def votes(clf: cs.CertifiedClassifier) -> Any:
    return clf.predict_proba(X[TEST])


@pytest.mark.parametrize(
    "model",
    [
        FOREST,
        make_pipeline(StandardScaler(), SVC()),
        KNeighborsClassifier(3),
        DecisionTreeClassifier,
        lambda: make_pipeline(StandardScaler(), GaussianNB(var_smoothing=1e-3)),
    ],
)
def test_an_estimator_is_a_model_like_any_other(model: Any) -> None:
    clf = fitted(model, n_members=30)
    certs = clf.certify(X[TEST])
    assert (certs.prediction == clf.predict(X[TEST])).all()
    assert clf.score(X[TEST], Y[TEST]) > 0.5
    assert certs.certified_accuracy(Y[TEST], n_poisoned=1, trigger_norm=np.inf, labels=True) > 0.1
    assert clf.execution_.startswith("one by one")
    votes_by_hand = np.array([clf.member(n).predict(X[TEST].reshape(200, -1)) for n in range(30)])
    by_hand = (votes_by_hand[:, :, None] == np.arange(10)).mean(axis=0)
    assert np.allclose(votes(clf), by_hand)


@pytest.mark.parametrize(
    "law", [cs.Gaussian(0.1), cs.Subsample(cs.Gaussian(0.1) & cs.LabelNoise(0.1), size=60)]
)
def test_every_law_draws_for_estimators(law: cs.Law) -> None:
    assert (
        fitted(make_pipeline(StandardScaler(), GaussianNB()), law, n_members=8).score(X[TEST], Y[TEST]) > 0.4
    )


def test_a_cascade_has_estimators_at_every_level() -> None:
    law = cs.Cascade([cs.Subsample(cs.Gaussian(0.5), size=60), cs.Subsample(cs.Gaussian(0.1), size=60)])
    clf = fitted(GaussianNB(var_smoothing=1e-2), law)
    assert clf.certify(X[TEST]).prediction.shape == (200,)
    assert isinstance(clf.member(2, level=1), GaussianNB)


def test_the_same_seed_gives_the_same_votes_for_any_number_of_jobs() -> None:
    alone = votes(fitted(n_jobs=1))
    assert (votes(fitted(n_jobs=3)) == alone).all()
    assert (votes(fitted(n_jobs=3, seed=1)) != alone).any()


def test_more_members_are_added_to_those_that_are_there() -> None:
    clf = ensemble(n_members=6).fit(X[TRAIN], Y[TRAIN])
    first = clf.member(3)
    with pytest.warns(cs.GrowthWarning):  # whoever has a member can ask it
        clf.set_params(n_members=12).fit(X[TRAIN], Y[TRAIN])
    assert (clf.member(3).predict(X[TEST].reshape(200, -1)) == first.predict(X[TEST].reshape(200, -1))).all()
    assert (votes(clf) == votes(fitted())).all()


def test_scores_are_probabilities_or_0_and_1() -> None:
    def scores(model: Any) -> Any:
        clf = fitted(model)
        return clf._ensemble.scores(np.ascontiguousarray(X[TEST], dtype=np.float32))

    forest, svm = scores(FOREST), scores(make_pipeline(StandardScaler(), SVC()))
    assert np.allclose(forest.sum(axis=2), 1, atol=1e-5)
    assert ((forest > 0.01) & (forest < 0.99)).any()
    assert set(np.unique(svm)) == {0.0, 1.0}


def test_a_member_is_a_copy_of_the_estimator() -> None:
    clf = fitted()
    before = votes(clf)
    member = clf.member(1)
    assert isinstance(member, RandomForestClassifier)
    member.estimators_ = member.estimators_[:1]
    clf._votes.clear()
    assert (votes(clf) == before).all()


def test_a_set_of_one_class_is_a_member_that_says_it() -> None:
    clf = fitted(SVC(), cs.Subsample(size=1), n_members=40)
    member = clf.member(0)
    assert len(set(member.predict(X[TEST].reshape(200, -1)))) == 1
    assert np.allclose(votes(clf), votes(clf)[:1])


def test_searches_reach_law_and_model() -> None:
    grid = {"model__max_depth": [1, 6], "law__size": [20, 60]}
    with pytest.warns(cs.SearchWarning, match="by a GridSearchCV that looked at the data"):
        search = GridSearchCV(ensemble(n_members=8), grid, cv=2).fit(X[:200], Y[:200])
    assert search.best_params_ == {"model__max_depth": 6, "law__size": 60}
    assert clone(ensemble()).model is not FOREST


def test_a_pickled_ensemble_says_the_same_and_goes_on() -> None:
    clf = fitted()
    copied = pickle.loads(pickle.dumps(clf))
    assert (votes(copied) == votes(clf)).all()
    copied.set_params(n_members=15)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        copied.fit(X[TRAIN], Y[TRAIN])
    assert copied.n_members_ == 15


def test_parameters_and_versions_are_in_the_record() -> None:
    import json

    import sklearn

    model = json.loads(fitted().record())["model"]
    assert model.startswith("RandomForestClassifier ")
    assert f"sklearn {sklearn.__version__}" in model
    other = json.loads(fitted(RandomForestClassifier(5, max_depth=5)).record())["model"]
    assert other != model


# Files.


def test_nothing_is_written_unless_a_form_is_chosen(tmp_path: Path) -> None:
    clf = fitted()
    with pytest.raises(
        ParameterError, match=r"(?s)'form'.*skops.*'joblib', which is pickle: whoever can write.*Got None"
    ):
        clf.save(tmp_path / "saved")
    with pytest.raises(
        ParameterError, match=r"(?s)'checkpoint'.*None where members are estimators.*form='skops'"
    ):
        fitted(checkpoint=tmp_path / "kept")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ParameterError, match="'form'.*None where members are not estimators. Got 'joblib'"):
        fitted("linear", cs.Gaussian(0.1)).save(tmp_path / "saved", form="joblib")


def test_saved_as_joblib_it_comes_back_if_that_is_said(tmp_path: Path) -> None:
    clf = fitted(SVC(), cs.Subsample(size=20))
    fingerprint = clf.save(tmp_path / "saved", form="joblib")
    with pytest.raises(ParameterError, match=r"(?s)'form'.*'joblib' for this folder.*runs whatever code"):
        cs.CertifiedClassifier.load(tmp_path / "saved", SVC())
    back = cs.CertifiedClassifier.load(tmp_path / "saved", SVC(), form="joblib", fingerprint=fingerprint)
    assert (votes(back) == votes(clf)).all()
    assert back.save(tmp_path / "again") == fingerprint
    back.set_params(n_members=14)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert back.fit(X[TRAIN], Y[TRAIN]).n_members_ == 14
    with pytest.raises(ParameterError, match="'form'.*'joblib', as the folder says"):
        cs.CertifiedClassifier.load(tmp_path / "saved", SVC(), form="skops")
    with pytest.raises((CheckpointError, ParameterError)):
        cs.CertifiedClassifier.load(tmp_path / "saved", SVC(C=2.0), form="joblib")


def test_a_damaged_member_is_refused_before_it_is_unpickled(tmp_path: Path) -> None:
    fitted(SVC()).save(tmp_path / "saved", form="joblib")
    file = tmp_path / "saved" / "member-000003.safetensors"
    content = bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match="missing or damaged"):
        cs.CertifiedClassifier.load(tmp_path / "saved", SVC(), form="joblib")


def test_a_checkpoint_is_gone_on_with(tmp_path: Path) -> None:
    settings = {"checkpoint": tmp_path / "kept", "form": "joblib"}
    first = fitted(n_members=7, **settings)
    written = {file: file.stat().st_mtime_ns for file in (tmp_path / "kept").glob("member-*")}
    assert len(written) == 7
    more = fitted(n_members=12, **settings)
    assert {file: file.stat().st_mtime_ns for file in written} == written
    assert (votes(more) == votes(fitted())).all()
    assert first.n_members_ == 7
    with pytest.raises(CheckpointError, match="made with other settings or data .model"):
        fitted(RandomForestClassifier(5, max_depth=5), **settings)


# What goes wrong.


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (5, "'model'.*a classifier with fit and predict.*Got 5"),
        (StandardScaler(), "'model'.*Got StandardScaler|'model'.*which has no predict"),
        (LinearRegression(), "'model'.*a classifier. Got LinearRegression, a regressor"),
        (KNeighborsClassifier(100), "'model'.*learns from 60 made-up samples"),
    ],
)
def test_what_is_no_classifier_is_refused(model: Any, said: str) -> None:
    with pytest.raises(ParameterError, match=f"(?s){said}"):
        fitted(model)


def test_an_estimator_has_no_gpu() -> None:
    with pytest.raises((ParameterError, DeviceError), match="device|GPU|cuda"):
        fitted(GaussianNB(), device="cuda")


def test_an_estimator_searches_no_noise() -> None:
    with pytest.raises(ParameterError, match="gradient|search"):
        fitted(GaussianNB(), cs.SampleSpecific(0.5))


def test_a_member_that_fails_is_named() -> None:
    class Picky(GaussianNB):  # type: ignore[misc]
        raises = RuntimeError

        def fit(self, X: Any, y: Any) -> Any:
            if X.max() > 1.5:
                raise self.raises("that is too bright")
            return super().fit(X, y)

    class Refusing(Picky):
        raises = ValueError

    bright = X.copy()
    bright[:500] *= 2.0
    with pytest.raises(TrainingError, match=r"member \d+ failed: RuntimeError: that is too bright"):
        ensemble(Picky(), n_jobs=1).fit(bright[TRAIN], Y[TRAIN])
    with pytest.raises(TrainingError, match="more than half.*ValueError: that is too bright"):
        ensemble(Refusing(), n_jobs=1).fit(bright[TRAIN], Y[TRAIN])


def test_members_that_turn_out_to_share_state_are_all_taken_back(tmp_path: Path) -> None:
    class Counting(GaussianNB):  # type: ignore[misc]
        fits = 0

        def fit(self, X: Any, y: Any) -> Any:
            Counting.fits += 1
            return super().fit(X, y if Counting.fits < 15 else (y + 1) % 10)

    clf = ensemble(Counting(var_smoothing=1e-2), n_jobs=1, checkpoint=tmp_path / "kept", form=None)
    clf.checkpoint = None
    with pytest.raises(TrainingError, match="it differs. Members share state|behaves differently"):
        clf.fit(X[TRAIN], Y[TRAIN])
    assert not hasattr(clf, "n_members_")


def test_members_from_processes_are_those_from_threads() -> None:
    """In a process of its own: workers outlive a test."""
    code = (
        "import certssb as cs, numpy as np\n"
        "from certssb.learners.sklearn import _lanes\n"
        "from sklearn.ensemble import RandomForestClassifier\n"
        "X, y = cs.datasets.load_digits()\n"
        "def votes(threads):\n"
        "    _lanes._WORTH_IT = 1e9 if threads else 0.0\n"
        "    clf = cs.CertifiedClassifier(RandomForestClassifier(5), cs.Subsample(size=60), n_members=6, alpha=0.5, seed=0,\n"
        "                                 n_jobs=2, progress=False).fit(X[:300], y[:300])\n"
        "    assert clf.execution_ == 'one by one, 2 %s of the CPU' % ('threads' if threads else 'processes'), clf.execution_\n"
        "    return clf.predict_proba(X[300:400])\n"
        "assert (votes(True) == votes(False)).all()\n"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=1800,
        env=os.environ,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
