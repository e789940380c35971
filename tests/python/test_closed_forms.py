"""Members in closed form: `discriminant` and `ridge`, their penalties, copies and threads."""

import json

import numpy as np
import pytest
from sklearn.linear_model import Ridge

import certssb as cs
from certssb.augment import Compose, Flip, Shift

X, Y = cs.datasets.load_digits()
SEEN, ASKED = slice(0, 300), slice(300, 700)


def fitted(model="ridge", law=None, X=X[SEEN], y=Y[SEEN], **settings):
    law = cs.Subsample(size=60) if law is None else law
    settings = {"n_members": 20, "alpha": 0.3, "seed": 0, "progress": False, **settings}
    return cs.CertifiedClassifier(model, law, **settings).fit(X, y)


def by_scikit_learn(samples, labels, penalty):
    """Least squares onto the classes; the penalty is relative to the samples' mean squared distance from their mean."""
    flat = samples.reshape(len(samples), -1).astype(np.float64)
    alpha = penalty * ((flat - flat.mean(0)) ** 2).sum(1).mean() + 1e-6
    return Ridge(alpha=alpha, solver="cholesky").fit(flat, np.eye(10)[labels])


@pytest.mark.parametrize("n", [40, 300], ids=["fewer samples than features", "more"])
@pytest.mark.parametrize("penalty", [None, 0.02, 3.0])
def test_ridge_is_that_of_scikit_learn(n, penalty):
    # A member that sees everything sees it in whatever order; the last class is not there.
    there = np.flatnonzero(Y < 9)[:n]
    clf = fitted(law=cs.Subsample(size=n), X=X[there], y=Y[there], penalty=penalty)
    reference = by_scikit_learn(X[there], Y[there], 0.3 if penalty is None else penalty)
    expected = reference.predict(X[ASKED].reshape(400, -1).astype(np.float64))
    margin = np.sort(expected, axis=1)[:, -1] - np.sort(expected, axis=1)[:, -2]
    clear = margin > 1e-5
    votes = clf.votes(X[ASKED])
    assert (votes == votes[0]).all() and clear.mean() > 0.99
    np.testing.assert_array_equal(votes[0][clear], expected.argmax(1)[clear])


def test_a_members_weights_are_those_of_scikit_learn():
    pytest.importorskip("torch")
    clf = fitted(law=cs.Subsample(size=300))
    reference = by_scikit_learn(X[SEEN], Y[SEEN], 0.3)
    (layer,) = [module for module in clf.member(3).modules() if hasattr(module, "weight")]
    np.testing.assert_allclose(layer.weight.detach().numpy(), reference.coef_, atol=1e-5)
    np.testing.assert_allclose(layer.bias.detach().numpy(), reference.intercept_, atol=1e-5)


def test_a_class_without_samples_is_never_voted_for():
    there = np.flatnonzero(Y != 4)[:300]
    clf = cs.CertifiedClassifier(
        "ridge", cs.Subsample(size=60), n_members=20, alpha=0.3, seed=0, progress=False
    )
    clf.fit(X[there], Y[there], classes=range(10))
    assert not (clf.votes(X[ASKED]) == 4).any()


@pytest.mark.parametrize("model", ["ridge", "discriminant"])
def test_threads_do_not_matter_and_copies_do(model):
    changes = {"augment": Compose([Shift(1), Flip()]), "copies": 3}
    one, other = (fitted(model, n_jobs=jobs, **changes).votes(X[ASKED]) for jobs in (1, 2))
    np.testing.assert_array_equal(one, other)
    assert (fitted(model).votes(X[ASKED]) != one).any()
    assert (fitted(model, **{**changes, "copies": 4}).votes(X[ASKED]) != one).any()


@pytest.mark.parametrize("model", ["ridge", "discriminant"])
def test_stacks_are_the_same_up_to_rounding(model):
    pytest.importorskip("torch")
    try:
        stacked = fitted(model, stack=4, penalty=0.7)
    except cs.DeviceError as error:
        pytest.skip(str(error))
    alone = fitted(model, penalty=0.7)
    assert (stacked.votes(X[ASKED]) == alone.votes(X[ASKED])).mean() > 0.999


def test_the_penalty_is_part_of_the_record(tmp_path):
    def penalty(clf):
        return json.loads(clf.record()).get("penalty")

    assert penalty(fitted()) == 0.3 and penalty(fitted(penalty=2)) == 2.0
    # Discriminants were without one once: their records stay what they were.
    assert penalty(fitted("discriminant")) is penalty(fitted("discriminant", penalty=1.0)) is None
    strong = fitted("discriminant", penalty=10.0)
    assert (
        penalty(strong) == 10.0 and (strong.votes(X[ASKED]) != fitted("discriminant").votes(X[ASKED])).any()
    )
    fitted(checkpoint=tmp_path)
    with pytest.raises(cs.CheckpointError, match="penalty"):
        fitted(checkpoint=tmp_path, penalty=0.5)


@pytest.mark.parametrize("model", ["ridge", "discriminant"])
def test_saved_and_loaded(model, tmp_path):
    clf = fitted(model, penalty=0.7)
    clf.save(tmp_path / "saved")
    loaded = cs.CertifiedClassifier.load(tmp_path / "saved")
    assert loaded.penalty == 0.7 and loaded.model == model
    np.testing.assert_array_equal(loaded.votes(X[ASKED]), clf.votes(X[ASKED]))


@pytest.mark.parametrize("penalty", [0.0, -1.0, np.inf, np.nan, "0.3", True])
def test_bad_penalties_are_refused(penalty):
    with pytest.raises(cs.ParameterError, match="'penalty'"):
        fitted(penalty=penalty)


def test_other_members_take_no_penalty():
    with pytest.raises(cs.ParameterError, match=r"'penalty'.*'discriminant' and 'ridge'.*'linear'"):
        fitted("linear", penalty=0.3)
    from sklearn.tree import DecisionTreeClassifier

    with pytest.raises(cs.ParameterError, match="'penalty'"):
        fitted(DecisionTreeClassifier(), penalty=0.3)
