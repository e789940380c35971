"""The ensemble as a scikit-learn estimator."""

import copy
import json
import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import Digits, small
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import certssb as cs
from certssb import _core
from certssb.exceptions import CancelledError, ParameterError


def parameters(clf: cs.CertifiedClassifier) -> list[Any]:
    """Every parameter of every member."""
    ensemble = clf._ensemble
    names = ensemble.parameter_names()
    return [ensemble.parameter(member, name) for member in range(ensemble.n_members) for name in names]


def same_members(one: cs.CertifiedClassifier, other: cs.CertifiedClassifier) -> bool:
    pairs = list(zip(parameters(one), parameters(other), strict=True))
    return bool(pairs) and all(np.array_equal(a, b) for a, b in pairs)


def test_from_arrays_to_certificates(digits: Digits, ensemble: cs.CertifiedClassifier) -> None:
    X_train, y_train, X_test, y_test = digits
    assert ensemble.classes_.tolist() == list(range(10))
    assert ensemble.n_members_ == 20
    votes, proba = ensemble.votes(X_test), ensemble.predict_proba(X_test)
    assert (votes.shape, votes.dtype) == ((20, 100), np.uint16)
    assert (proba.shape, proba.dtype) == ((100, 10), np.float64)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)
    np.testing.assert_allclose(proba[:, 3], (votes == 3).mean(axis=0))
    np.testing.assert_array_equal(ensemble.predict(X_test), proba.argmax(axis=1))
    assert ensemble.score(X_test, y_test) == (ensemble.predict(X_test) == y_test).mean() > 0.7
    certs = ensemble.certify(X_test)
    np.testing.assert_array_equal(certs.prediction, ensemble.predict(X_test))
    assert (certs.n_train, certs.n_members, certs.alpha) == (len(X_train), 20, 0.01)
    assert certs.law == cs.Gaussian(0.25)
    by_votes = cs.certify_votes(votes, cs.Gaussian(0.25), len(X_train), 10, alpha=0.01)
    np.testing.assert_array_equal(certs.radius, by_votes.radius)
    assert certs.certified_accuracy(y_test, radii=0.0) > 0.3


def test_scores_of_members_are_softmax_and_vote_as_they_score(
    digits: Digits, ensemble: cs.CertifiedClassifier
) -> None:
    scores = ensemble.scores(digits[2])
    assert (scores.shape, scores.dtype) == ((20, 100, 10), np.float32)
    np.testing.assert_allclose(scores.sum(axis=2), 1.0, atol=1e-5)
    np.testing.assert_array_equal(scores.argmax(axis=2), ensemble.votes(digits[2]))
    assert len(cs.certify_scores(scores, cs.Gaussian(0.25), 400, alpha=0.01)) == 100


def test_settings_of_certify_reach_the_certificates(digits: Digits, ensemble: cs.CertifiedClassifier) -> None:
    X_test = digits[2]
    plain = ensemble.certify(X_test)
    assert ensemble.certify(X_test, alpha=0.001).alpha == 0.001
    assert (ensemble.certify(X_test, alpha=0.001).p_lower < plain.p_lower).all()
    assert (ensemble.certify(X_test, bound="kl").p_lower <= plain.p_lower).all()
    assert (
        "of which chose the class"
        in ensemble.certify(X_test, selection="split", split=3, alpha=0.05).guarantee
    )
    assert "together" in ensemble.certify(X_test[:2], family_wise=True).guarantee


@pytest.mark.parametrize("model", ["linear", "mlp", "cnn", "resnet"])
def test_every_built_in_model_trains_on_images(model: str, digits: Digits) -> None:
    X_train, y_train, X_test, _ = digits
    law = cs.Subsample(cs.Gaussian(0.25), size=40)
    clf = small(model, law, n_members=3, epochs=1, alpha=0.5, n_jobs=2).set_params(alpha=0.9)
    clf.fit(X_train[:60], y_train[:60] % 2)
    assert clf.votes(X_test[:5]).shape == (3, 5)


@pytest.mark.parametrize(
    "kind", [np.asarray, torch.as_tensor, lambda a: np.asarray(a).tolist(), np.asfortranarray]
)
def test_any_container_gives_the_same_members(
    kind: Any, digits: Digits, ensemble: cs.CertifiedClassifier
) -> None:
    X_train, y_train, X_test, _ = digits
    clf = small(n_members=15).fit(kind(X_train), kind(y_train))
    np.testing.assert_array_equal(clf.votes(kind(X_test)), ensemble.votes(X_test)[:15])


@pytest.mark.parametrize(
    "names",
    [
        np.array(["zero", "one", "two"]),
        np.array(["zero", "one", "two"], dtype=object),
        np.array([7, 1, -3]),
        np.array([2.0, 0.0, 1.0]),
    ],
)
def test_labels_of_any_kind_come_back(names: Any, digits: Digits) -> None:
    X_train, y_train, X_test, _ = digits
    keep = y_train < 3
    X, y = X_train[keep], names[y_train[keep]]
    clf = small(n_members=10).fit(X, y)
    assert clf.classes_.tolist() == sorted(names.tolist())
    predicted = clf.predict(X_test)
    assert set(predicted.tolist()) <= set(names.tolist())
    assert clf.score(X, y) > 0.8
    certs = clf.certify(X)
    np.testing.assert_array_equal(certs.prediction, clf.predict(X))
    assert certs.certified_accuracy(y, radii=0) > 0.5


def test_booleans_are_labels(digits: Digits) -> None:
    clf = small(n_members=10).fit(digits[0], digits[1] == 3)
    assert clf.predict(digits[2]).dtype == np.bool_


def test_tables_get_the_network_for_tables_and_their_names_are_kept(digits: Digits) -> None:
    X_train, y_train, X_test, _ = digits
    frame = pd.DataFrame(X_train.reshape(400, -1)).add_prefix("pixel")
    clf = small("auto", n_members=12, alpha=0.05).fit(frame, y_train)
    assert clf.n_features_in_ == 64
    assert clf.feature_names_in_[0] == "pixel0"
    assert '"model":"mlp"' in clf.record()
    assert len(clf.certify(pd.DataFrame(X_test.reshape(100, -1)).add_prefix("pixel"))) == 100
    images = small("auto", n_members=12, epochs=1, alpha=0.05, law=cs.Subsample(size=30)).fit(
        X_train, y_train
    )
    assert '"model":"cnn"' in images.record()
    assert not hasattr(images, "n_features_in_")


def test_scikit_learn_tools_work_with_it(digits: Digits) -> None:
    X = digits[0].reshape(400, -1)
    clf = small(n_members=10, alpha=0.05)
    assert cross_val_score(clf, X, digits[1], cv=2).min() > 0.5
    pipeline = make_pipeline(FunctionTransformer(lambda X: X / 1.0), clf).fit(X, digits[1])
    assert pipeline.score(X, digits[1]) > 0.7


@pytest.mark.parametrize("n_jobs", [2, 3, -1])
def test_the_same_seed_gives_the_same_members_on_any_number_of_threads(n_jobs: int, digits: Digits) -> None:
    X_train, y_train, X_test, _ = digits
    law = cs.Subsample(cs.Gaussian(0.25) & cs.LabelNoise(0.1), size=60)
    for model in ("linear", "cnn"):
        one, more = (
            small(model, law, n_members=15, epochs=2, n_jobs=jobs).fit(X_train, y_train)
            for jobs in (1, n_jobs)
        )
        assert same_members(one, more)
        np.testing.assert_array_equal(one.votes(X_test), more.votes(X_test))
        np.testing.assert_array_equal(one.scores(X_test), more.scores(X_test))


def test_another_seed_gives_other_members_and_none_a_fresh_one(
    digits: Digits, ensemble: cs.CertifiedClassifier
) -> None:
    X_train, y_train, X_test, _ = digits
    other = small(seed=1).fit(X_train, y_train)
    assert not np.array_equal(other.votes(X_test), ensemble.votes(X_test))
    secret, another = (small(n_members=15, seed=None).fit(X_train, y_train) for _ in range(2))
    assert secret.seed_ != another.seed_
    again = small(n_members=15, seed=secret.seed_).fit(X_train, y_train)
    assert same_members(again, secret)


def test_torch_is_left_as_it_was_found(digits: Digits) -> None:
    state, threads, grad = torch.random.get_rng_state(), torch.get_num_threads(), torch.is_grad_enabled()
    small(n_members=15).fit(digits[0], digits[1]).certify(digits[2])
    assert torch.equal(torch.random.get_rng_state(), state)
    assert (torch.get_num_threads(), torch.is_grad_enabled()) == (threads, grad)


def test_the_training_set_is_not_changed(digits: Digits) -> None:
    X, y = digits[0].copy(), digits[1].copy()
    small(n_members=15).fit(X, y).predict(X)
    np.testing.assert_array_equal(X, digits[0])
    np.testing.assert_array_equal(y, digits[1])


def test_a_checkpoint_is_resumed_to_the_last_bit(
    tmp_path: Path, digits: Digits, ensemble: cs.CertifiedClassifier
) -> None:
    X_train, y_train, X_test, _ = digits
    folder = tmp_path / "made" / "when needed"
    small(checkpoint=folder).fit(X_train, y_train)
    files = sorted(folder.glob("member-*"))
    assert len(files) == 20
    written = {file.name: file.stat().st_mtime_ns for file in files}
    for file in files[3:9]:
        file.unlink()
    files[12].write_bytes(files[12].read_bytes()[:100])
    resumed = small(checkpoint=str(folder)).fit(X_train, y_train)
    assert same_members(resumed, ensemble)
    np.testing.assert_array_equal(resumed.votes(X_test), ensemble.votes(X_test))
    again = {file.name for file in folder.glob("member-*") if file.stat().st_mtime_ns != written[file.name]}
    assert again == {file.name for file in [*files[3:9], files[12]]}


def test_fit_again_with_more_members_trains_the_missing_ones_only(digits: Digits) -> None:
    X_train, y_train, X_test, _ = digits
    told: list[tuple[int, int, float]] = []

    def report(done: int, total: int) -> None:
        told.append((done, total, time.monotonic()))

    clf = small(n_members=16, epochs=400, n_jobs=1, progress=report).fit(X_train, y_train)
    assert [(done, total) for done, total, _ in told] == [(done, 16) for done in range(1, 17)]
    before = parameters(clf)
    told.clear()
    clf.set_params(n_members=24).fit(X_train, y_train)
    assert [(done, total) for done, total, _ in told] == [(done, 24) for done in range(1, 25)]
    # The first sixteen are told in no time, since nothing is trained for them; trained, they would take longest.
    times = [at for _, _, at in told]
    assert times[15] - times[0] < 0.5 * (times[23] - times[15])
    assert clf.n_members_ == 24
    assert all(np.array_equal(a, b) for a, b in zip(before, parameters(clf), strict=False))
    assert same_members(clf, small(n_members=24, epochs=400).fit(X_train, y_train))
    clf.set_params(n_members=12).fit(X_train, y_train)
    assert clf.votes(X_test).shape == (12, 100)


def test_other_settings_begin_anew(digits: Digits, ensemble: cs.CertifiedClassifier) -> None:
    X_train, y_train, _, _ = digits
    for change in ({"epochs": 4}, {"learning_rate": 0.02}, {"law": cs.Gaussian(0.3)}, {"batch_size": 64}):
        clf = copy.deepcopy(ensemble).set_params(**change).fit(X_train, y_train)
        assert same_members(clf, small(**change).fit(X_train, y_train))
        assert not same_members(clf, ensemble)


@pytest.fixture
def ctrl_c_heard() -> Iterator[None]:
    """Python's own handler: a shell that runs the tests in the background may have switched SIGINT off."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_heard")
def test_ctrl_c_comes_back_at_once_and_keeps_what_is_finished(digits: Digits) -> None:
    X_train, y_train, X_test, _ = digits
    keep = y_train < 2
    X, y = X_train[keep], y_train[keep]
    sent: list[float] = []

    def interrupt() -> None:
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    def report(done: int, total: int) -> None:
        if done == 2 and not sent:
            threading.Timer(0.02, interrupt).start()

    settings: dict[str, Any] = {"n_members": 6, "epochs": 20_000, "alpha": 0.2, "n_jobs": 1}
    clf = small(progress=report, **settings)
    with pytest.raises(CancelledError, match=r"cancelled; [2-5] of 6 members are finished and kept"):
        clf.fit(X, y)
    assert time.monotonic() - sent[0] < 2.0
    with pytest.raises(NotFittedError):
        clf.predict(X_test)
    told: list[float] = []
    clf.set_params(progress=lambda done, total: told.append(time.monotonic())).fit(X, y)
    assert told[1] - told[0] < 0.5 * (told[-1] - told[1])
    assert same_members(clf, small(**settings).fit(X, y))


def test_a_callback_that_fails_stops_training_and_keeps_what_is_finished(digits: Digits) -> None:
    X_train, y_train, X_test, _ = digits

    def report(done: int, total: int) -> None:
        if done == 5:
            raise LookupError("enough")

    clf = small(progress=False, n_members=100).fit(X_train, y_train)
    votes = clf.votes(X_test)
    with pytest.raises(LookupError, match="enough"):
        # Many workers may have trained all before anybody hears of the fifth.
        clf.set_params(progress=report, seed=3, n_jobs=1).fit(X_train, y_train)
    # The earlier ensemble still answers; the unfinished one waits.
    np.testing.assert_array_equal(clf.set_params(progress=False).votes(X_test), votes)
    assert 5 <= clf._unfinished.n_members < 100
    clf.fit(X_train, y_train)
    assert same_members(clf, small(n_members=100, seed=3).fit(X_train, y_train))


def test_votes_that_are_handed_out_are_copies(digits: Digits) -> None:
    X_train, y_train, X_test, _ = digits
    clf = small(n_members=15).fit(X_train, y_train)
    before = clf.certify(X_test, alpha=0.01).p_lower.copy()
    clf.votes(X_test)[...] = 0
    np.testing.assert_array_equal(clf.certify(X_test, alpha=0.01).p_lower, before)


def test_votes_are_kept_for_the_last_samples_only_until_the_next_fit(digits: Digits) -> None:
    X_train, y_train, X_test, _ = digits
    clf = small(n_members=15).fit(X_train, y_train)
    first = clf.votes(X_test)
    kept = clf._votes_on(X_test)
    assert clf._votes_on(X_test.copy()) is kept and not np.shares_memory(first, kept)
    changed = X_test.copy()
    changed[0] = 0.0
    assert not np.array_equal(clf.votes(changed), first)
    assert clf._votes_on(X_test) is not kept
    np.testing.assert_array_equal(clf.votes(X_test), first)
    clf.set_params(seed=5).fit(X_train, y_train)
    assert not np.array_equal(clf.votes(X_test), first)


def test_pickles_and_copies_answer_alike_and_grow(digits: Digits, ensemble: cs.CertifiedClassifier) -> None:
    X_train, y_train, X_test, _ = digits
    for other in (pickle.loads(pickle.dumps(ensemble)), copy.deepcopy(ensemble)):
        np.testing.assert_array_equal(other.votes(X_test), ensemble.votes(X_test))
        assert other.certify(X_test).guarantee == ensemble.certify(X_test).guarantee
        with pytest.warns(cs.GrowthWarning):
            assert other.set_params(n_members=21).fit(X_train, y_train).n_members_ == 21
    assert ensemble.n_members_ == 20


def test_a_clone_has_the_settings_and_no_members(ensemble: cs.CertifiedClassifier) -> None:
    fresh = clone(ensemble)
    assert fresh.get_params() == ensemble.get_params()
    with pytest.raises(NotFittedError):
        fresh.certify([[0.0]])


@pytest.mark.parametrize("ask", ["predict", "predict_proba", "votes", "scores", "certify", "record"])
def test_nothing_is_answered_before_fit(ask: str, digits: Digits) -> None:
    with pytest.raises(NotFittedError):
        getattr(small(), ask)(*([] if ask == "record" else [digits[2]]))


def test_discrete_noise_counts_entries(digits: Digits) -> None:
    X_train, y_train, X_test, _ = digits
    binary = (X_train > 0.5).astype(np.float32)
    clf = small(law=cs.Discrete(keep=0.8), n_members=60).fit(binary, y_train == 3)
    certs = clf.certify((X_test > 0.5).astype(np.float32))
    assert certs.radius is None
    assert certs.n_flips().max() >= 1
    with pytest.raises(ParameterError, match="'X'.*codes from 0 to 1 under Discrete"):
        clf.fit(X_train, y_train)


def test_label_noise_reaches_the_members(digits: Digits) -> None:
    X_train, y_train, X_test, y_test = digits
    noised = small(law=cs.LabelNoise(0.5), n_members=15).fit(X_train, y_train)
    clean = small(law=cs.Subsample(size=400), n_members=15).fit(X_train, y_train)
    right = [(clf.votes(X_test) == y_test).mean() for clf in (noised, clean)]
    assert right[0] < right[1]


def test_bar_or_nothing_is_shown(digits: Digits, capfd: pytest.CaptureFixture[str]) -> None:
    small(n_members=15, progress=True).fit(digits[0], digits[1])
    assert "training" in capfd.readouterr().err
    small(n_members=15).fit(digits[0], digits[1]).predict(digits[2])
    assert capfd.readouterr() == ("", "")


def test_settings_of_an_ensemble_are_read_by_name():
    """Each once: one that is missing, unknown or of another type is named, and no ensemble is made."""
    X, y = np.zeros((6, 4), np.float32), np.arange(6) % 2
    settings = {
        "model": "linear",
        "epochs": 1,
        "batch_size": 4,
        "learning_rate": 0.1,
        "seed": 0,
        "device": "cpu",
    }
    made = _core.Ensemble(X, y, 2, cs.Gaussian(1.0), **settings, penalty=None, stack=1)
    assert json.loads(made.record())["batch_size"] == 4
    for wrong, kind, named in [
        ({"epoch": 1}, TypeError, "no setting 'epoch'"),
        ({"epochs": None}, TypeError, "needs the setting 'epochs'"),
        ({"epochs": "1"}, ParameterError, "'epochs'"),
        ({"precision": "f16"}, ParameterError, "'precision'"),
    ]:
        with pytest.raises(kind, match=named):
            _core.Ensemble(X, y, 2, cs.Gaussian(1.0), **(settings | wrong))
