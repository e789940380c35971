"""A search for unsound certificates of ensembles that grow until the answer is liked, through the estimator itself.

Members see one sample each and say its label: how often a class is voted for is known to be its share of the labels, and
so is what changed labels make of it. The share is put where the change asked about just overturns the prediction, so
that every certificate of it is false; over many ensembles at most alpha may have one, at whatever look. Judged by bets that
are fair where alpha of the ensembles are wrong. In `make test` for some seconds, in `make attack` for longer
(`CERTSSB_ATTACK_SECONDS`), each time with another seed (`CERTSSB_ATTACK_SEED` for the same again).
"""

import math
import os
import random
import secrets
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import certssb as cs

SECONDS = float(os.environ.get("CERTSSB_ATTACK_SECONDS", "15"))
LEVEL = 1e-9
"""The chance that a sound library fails the search."""


class Case:
    """A training set whose first class the change just overturns, and goals that are looked at one after another."""

    def __init__(self, rng: random.Random) -> None:
        self.changed = rng.randint(1, 8)
        # After the change both classes have half of the labels, and ties go to the lowest class, the other one.
        half = rng.randint(self.changed + 2, 40)
        self.y = np.array([1] * (half + self.changed) + [0] * (half - self.changed))
        self.X = np.zeros((len(self.y), 1), dtype=np.float32)
        self.alpha = rng.choice([0.05, 0.1, 0.2, 0.4])
        self.first = rng.randint(12, 40)
        self.most = [self.first + step for step in (rng.randint(10, 60), rng.randint(61, 150))]
        self.share = rng.choice([0.01, 0.5, 1.0])
        self.seed = rng.randrange(2**64)

    def estimator(self) -> cs.CertifiedClassifier:
        return cs.CertifiedClassifier(
            "linear", cs.Subsample(size=1), n_members="auto", epochs=2, learning_rate=1.0, alpha=self.alpha,
            seed=self.seed, progress=False, n_jobs=1,
        )  # fmt: skip

    def goal(self, most: int) -> cs.Until:
        return cs.Until(self.X[:1], n_poisoned=self.changed, trigger_norm=math.inf, labels=True, share=self.share,
                        max_members=most, first=self.first)  # fmt: skip

    def is_wrong(self, certified: Callable[[Any, "Case"], bool]) -> bool:
        """Whether something false is certified at any look."""
        clf = self.estimator()
        for most in self.most:
            try:
                clf.fit(self.X, self.y, until=self.goal(most))
            except cs.ParameterError as error:
                assert "within reach" in str(error)
                continue
            if certified(clf, self):
                return True
        return False


def certified(clf: Any, case: Case) -> bool:
    table = clf.certify(case.X[:1])
    return bool(table.prediction[0] == 1 and table.holds(case.changed, math.inf, labels=True)[0])


def certified_without_the_change(clf: Any, case: Case) -> bool:
    """What would be certified if changed labels were not counted."""
    table = clf.certify(case.X[:1])
    return bool(table.prediction[0] == 1 and not table.abstained[0])


def search(seed: int, seconds: float, least: int, claimed: Any) -> tuple[int, int, float]:
    """Cases, wrong ones, and the capital, as a logarithm, of one who bets that too many are."""
    cases, wrong, capital = 0, 0, 0.0
    end = time.monotonic() + seconds
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        while (time.monotonic() < end or cases < least) and capital < math.log(1 / LEVEL):
            case = Case(random.Random(f"{seed} {cases}"))
            is_wrong = case.is_wrong(claimed)
            cases, wrong = cases + 1, wrong + is_wrong
            # A fair bet where alpha of the ensembles are wrong, and a losing one where fewer are.
            capital += math.log1p(0.1 * (1 / case.alpha - 1)) if is_wrong else math.log1p(-0.1)
    return cases, wrong, capital


def test_members_say_the_label_of_their_sample() -> None:
    case = Case(random.Random(3))
    clf = case.estimator().fit(case.X, case.y, until=case.goal(case.most[-1]))
    votes = clf.votes(case.X[:1])[:, 0]
    n, p = len(votes), case.y.mean()
    assert abs(votes.mean() - p) < 5 * math.sqrt(p * (1 - p) / n)
    assert 0 < votes.mean() < 1


def test_growing_ensembles_certify_at_most_alpha_falsely() -> None:
    seed = int(os.environ.get("CERTSSB_ATTACK_SEED", secrets.randbits(32)))
    cases, wrong, capital = search(seed, SECONDS / 2, 100, certified)
    print(f"seed {seed}: {wrong} of {cases} growing ensembles wrong")
    assert capital < math.log(1 / LEVEL), f"CERTSSB_ATTACK_SEED={seed}: {wrong} of {cases} wrong"


def test_changes_that_are_not_counted_would_be_found() -> None:
    cases, wrong, capital = search(1, 60.0, 1, certified_without_the_change)
    assert capital >= math.log(1 / LEVEL), f"{wrong} of {cases}"


@pytest.mark.parametrize("share", [0.01, 1.0])
def test_what_is_certified_is_asked_at_the_edge(share: float) -> None:
    """One label less to overturn it is certified sometimes: the search is not vacuous."""
    case = Case(random.Random(5))
    case.changed, case.share = 1, share
    case.y = np.array([1] * 40 + [0] * 2)
    case.X = np.zeros((42, 1), dtype=np.float32)
    clf = case.estimator().fit(case.X, case.y, until=case.goal(300))
    assert certified(clf, case)
