"""Simulated ensembles of a known truth: how often is what they certify wrong?"""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats
from test_certificates import exact

import certssb as cs

ALPHA = 0.05


def simulated(p: list[float], n_members: int, n_ensembles: int, seed: int) -> Any:
    """Votes of independent ensembles, one per column."""
    rng = np.random.default_rng(seed)
    return rng.choice(len(p), size=(n_members, n_ensembles), p=p)


def allowed(n_ensembles: int) -> float:
    """Alpha, and three standard deviations of a share whose chance is alpha."""
    return ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / n_ensembles)


def wrong(certs: cs.CertificateTable, p: list[float], sigma: float) -> Any:
    """Where more is certified than is true: another class than the top one, or a radius beyond the true one."""
    ranked = sorted(p, reverse=True)
    true_radius = sigma / 2 * (stats.norm.ppf(ranked[0]) - stats.norm.ppf(ranked[1]))
    assert certs.radius is not None
    top = certs.prediction == int(np.argmax(p))
    return ~certs.abstained & (~top | (certs.radius > true_radius))


@pytest.mark.parametrize("bound", ["clopper_pearson", "kl", "hoeffding", "betting"])
@pytest.mark.parametrize("selection", ["union", "split"])
@pytest.mark.parametrize("p", [[0.75, 0.25], [0.52, 0.48], [0.45, 0.35, 0.2]], ids=str)
def test_at_most_alpha_of_the_certificates_are_wrong(bound: Any, selection: Any, p: list[float]) -> None:
    n_ensembles = 1000 if bound == "betting" else 5000
    votes = simulated(p, 80, n_ensembles, seed=len(p))
    for runner_up in ("complement", "bound"):
        certs = cs.certify_votes(
            votes, cs.Gaussian(2.0), 100, len(p), alpha=ALPHA, bound=bound, selection=selection, runner_up=runner_up,
            split=10 if selection == "split" else None,
        )  # fmt: skip
        assert wrong(certs, p, 2.0).mean() <= allowed(n_ensembles)


def test_the_test_itself_sees_a_bound_that_is_too_bold() -> None:
    p = [0.75, 0.25]
    votes = simulated(p, 80, 5000, seed=2)
    bold = cs.certify_votes(votes, cs.Gaussian(2.0), 100, 2, alpha=0.5)
    assert wrong(bold, p, 2.0).mean() > allowed(5000)
    careful = cs.certify_votes(votes, cs.Gaussian(2.0), 100, 2, alpha=ALPHA)
    assert 0.0 < wrong(careful, p, 2.0).mean()
    assert (~careful.abstained).mean() > 0.9


@pytest.mark.parametrize(
    ("law", "labels"),
    [
        (cs.Subsample(size=10), True),
        (cs.Subsample(cs.Gaussian(1.0), size=20), False),
        (cs.Subsample(cs.Gaussian(1.0) & cs.LabelNoise(0.2), size=10), True),
    ],
)
def test_budgets_per_sample_are_overstated_at_most_alpha_of_the_time(law: cs.Law, labels: bool) -> None:
    p = 0.85
    votes = 1 - simulated([p, 1 - p], 100, 5000, seed=7)
    certs = cs.certify_votes(votes, law, 1000, 2, alpha=ALPHA)
    truth = exact(law, p, 1000).n_poisoned(trigger_norm=1.0, labels=labels)[0]
    assert truth > 1
    claimed = certs.n_poisoned(trigger_norm=1.0, labels=labels)
    assert (claimed > truth).mean() <= allowed(5000)
    assert claimed.mean() > 0.3 * truth


def test_family_wise_statements_hold_together() -> None:
    p, family, rounds = [0.75, 0.25], 20, 400
    votes = simulated(p, 60, family * rounds, seed=11)
    failed = np.zeros(rounds, dtype=bool)
    for number in range(rounds):
        block = votes[:, family * number : family * (number + 1)]
        certs = cs.certify_votes(block, cs.Gaussian(1.0), 100, 2, alpha=ALPHA, family_wise=True)
        failed[number] = wrong(certs, p, 1.0).any()
    assert failed.mean() <= allowed(rounds)


def test_scores_are_as_sound_as_votes() -> None:
    rng = np.random.default_rng(3)
    first = rng.beta(3, 1, size=(80, 4000)).astype(np.float32)
    certs = cs.certify_scores(np.stack([first, 1 - first], axis=2), cs.Gaussian(1.0), 100, alpha=ALPHA)
    assert wrong(certs, [0.75, 0.25], 1.0).mean() <= allowed(4000)
    assert (~certs.abstained).mean() > 0.9
