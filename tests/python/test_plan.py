"""Advice before training, and ensembles that grow until their certificates are decided."""

from __future__ import annotations

import math

import numpy as np
import pytest

import certssb as cs

N_TRAIN = 12665


def test_a_plan_is_what_votes_then_certify():
    law = cs.Subsample(cs.Gaussian(1.0), size=100)
    plan = law.plan(N_TRAIN, n_poisoned=253, trigger_norm=1.0)
    assert plan.possible and plan.n_members == 81

    def holds(votes):
        certs = cs.certify_votes(votes, law, n_train=N_TRAIN, n_classes=2)
        return bool(certs.holds(n_poisoned=253, trigger_norm=1.0)[0])

    assert holds(np.zeros((81, 1), int)) and not holds(np.zeros((80, 1), int))
    agreeing = (np.arange(1000) >= plan.votes).astype(int)[:, None]
    assert holds(agreeing)
    agreeing[plan.votes - 1] = 1
    assert not holds(agreeing)


def test_full_set_noise_is_out_of_reach_of_the_attack_of_the_literature():
    plan = cs.Gaussian(1.0).plan(N_TRAIN, n_poisoned=253, trigger_norm=1.0)
    assert plan.possible and plan.n_members > 10**50 and plan.votes is None
    assert "out of reach" in repr(plan) and 100 < plan.suggested_size < 200
    suggested = cs.Subsample(cs.Gaussian(1.0), size=plan.suggested_size).plan(N_TRAIN, 253, 1.0)
    assert suggested.votes <= 950
    larger = cs.Subsample(cs.Gaussian(1.0), size=plan.suggested_size + 1).plan(N_TRAIN, 253, 1.0)
    assert larger.votes > 950


def test_what_is_impossible_is_said():
    plan = cs.Subsample(size=30).plan(1000, n_poisoned=253, trigger_norm=math.inf, labels=True)
    assert not plan.possible and plan.n_members is None and "impossible" in plan._repr_html_()


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"n_poisoned": 100_000, "trigger_norm": 1.0}, "n_poisoned"),
        ({"n_poisoned": -1, "trigger_norm": 1.0}, "n_poisoned"),
        ({"n_poisoned": 1, "trigger_norm": -1.0}, "trigger_norm"),
        ({"n_poisoned": 1, "trigger_norm": 1.0, "labels": True}, "labels"),
        ({"n_poisoned": 1, "trigger_norm": 1.0, "alpha": 0.0}, "alpha"),
        ({"n_poisoned": 1, "trigger_norm": 1.0, "n_classes": 1}, "n_classes"),
    ],
)
def test_a_plan_refuses_by_name(arguments, name):
    with pytest.raises(cs.ParameterError, match=f"'{name}'"):
        cs.Gaussian(1.0).plan(N_TRAIN, **arguments)


@pytest.fixture(scope="module")
def digits():
    X_train, y_train, X_test, y_test = cs.datasets.load_digits(classes=(0, 1), split=True)
    return X_train, y_train, X_test[:60], y_test[:60]


def classifier(**settings):
    law = cs.Subsample(cs.Gaussian(0.5), size=60)
    settings = {"seed": 0} | settings
    return cs.CertifiedClassifier(
        "linear", law, n_members="auto", learning_rate=0.03, progress=False, **settings
    )


def test_members_are_added_until_the_goal_is_reached(digits):
    X_train, y_train, X_test, y_test = digits
    clf = classifier()
    clf.fit(X_train, y_train, until=cs.Until(X_test, n_poisoned=3, trigger_norm=0.5, share=0.9, first=20))
    assert 20 <= clf.n_members_ < 2000 and clf.decided_ >= 0.9
    certs = clf.certify(X_test)
    assert "however often members were added" in certs.guarantee
    assert certs.certified_accuracy(y_test, n_poisoned=3, trigger_norm=0.5) > 0.8
    # The same members, counted with a bound for a fixed number, would claim more than the look allows.
    fixed = cs.certify_votes(clf.votes(X_test), clf.law, n_train=len(X_train), n_classes=2)
    assert (certs.p_lower <= fixed.p_lower).all()
    with pytest.raises(cs.ParameterError, match="'bound'"):
        clf.certify(X_test, bound="clopper_pearson")
    with pytest.raises(cs.ParameterError, match="'selection'"):
        clf.certify(X_test, selection="split")


def test_more_members_on_top_stay_any_time(digits):
    X_train, y_train, X_test, _ = digits
    clf = classifier().fit(X_train, y_train, until=cs.Until(X_test, 3, 0.5, share=0.5, first=20))
    grown = clf.n_members_
    clf.set_params(n_members=grown + 10).fit(X_train, y_train)
    assert clf.n_members_ == grown + 10 and "however often" in clf.certify(X_test).guarantee
    fresh = classifier().set_params(n_members=30).fit(X_train, y_train)
    assert "however often" not in fresh.certify(X_test).guarantee


def test_growth_ends_at_the_maximum(digits):
    X_train, y_train, X_test, _ = digits
    goal = cs.Until(X_test, n_poisoned=8, trigger_norm=0.5, share=1.0, first=20, max_members=150)
    clf = classifier().fit(X_train, y_train, until=goal)
    assert clf.n_members_ == 150 or clf.decided_ == 1.0


def test_goals_that_make_no_sense_are_refused_before_training(digits):
    X_train, y_train, X_test, _ = digits
    seen = []
    clf = classifier().set_params(progress=lambda done, total: seen.append(done))
    for until in (None, cs.Until(X_test, len(X_train), 5.0), cs.Until(X_test[:, :, :4], 3, 0.5)):
        with pytest.raises((cs.ParameterError, cs.ShapeError)):
            clf.fit(X_train, y_train, until=until)
    with pytest.raises(cs.ParameterError, match="'until'"):
        clf.set_params(n_members=50).fit(X_train, y_train, until=cs.Until(X_test, 3, 0.5))
    assert not seen
    for bad in ({"share": 0.0}, {"share": 1.5}, {"first": 0}, {"max_members": 3}, {"n_poisoned": -1}):
        with pytest.raises(cs.ParameterError):
            cs.Until(X_test, **{"n_poisoned": 3, "trigger_norm": 0.5, **bad})


def test_one_sample_is_one_sample() -> None:
    plan = cs.Subsample(size=1).plan(n_train=100, n_poisoned=1, trigger_norm=0.5)
    assert str(plan).startswith("1 poisoned sample, trigger norm 0.5,")
    assert "under a random subsample of 1 training sample for each member" in str(plan)
