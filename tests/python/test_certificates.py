"""Certificates from votes and scores, the table that holds them, and what the table says."""

import json
import math
import os
import pickle
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import oracle
from scipy import stats

import certssb as cs
from certssb import _core
from certssb.exceptions import ParameterError, ShapeError

GAUSSIAN = cs.Gaussian(1.0)
N_TRAIN = 12665


def agreeing(count: int, n_members: int = 1000, **settings: Any) -> cs.CertificateTable:
    """One sample that `count` members give class 1."""
    votes = np.zeros((n_members, 1), dtype=int)
    votes[:count] = 1
    settings = {"law": GAUSSIAN, "n_train": N_TRAIN, "n_classes": 2} | settings
    return cs.certify_votes(votes, **settings)


def rho(certs: cs.CertificateTable) -> float:
    """Radius in units of sigma."""
    assert certs.radius is not None
    return float(certs.radius[0])


def exact(law: cs.Law, p_lower: float, n_train: int, n_classes: int = 2) -> cs.CertificateTable:
    """A table with one sample whose probability is given."""
    facts = {"n_train": n_train, "n_features": None, "n_classes": n_classes}
    record = {"law": json.loads(law.to_json()), "facts": facts, "evidence": {"evidence": "exact"}}
    rest = np.array([1 - p_lower])
    parts = {"prediction": np.array([0]), "p_lower": np.array([p_lower]), "p_upper": rest, "p_rest": rest}
    words = json.dumps(record | {"before_noise": None})
    return cs.CertificateTable(_core.Certificates.from_parts({"record": words, **parts}))


def test_unanimous_votes_reach_the_radii_of_the_literature() -> None:
    split = agreeing(1100, 1100, selection="split", split=100)
    assert rho(split) == pytest.approx(2.463, abs=5e-4)
    assert rho(split) == pytest.approx(stats.norm.ppf(0.001 ** (1 / 1000)), abs=1e-9)
    union = agreeing(1000)
    assert rho(union) == pytest.approx(stats.norm.ppf(0.0005 ** (1 / 1000)), abs=1e-9)
    assert 2.4 < rho(union) < rho(split)
    hoeffding = agreeing(1100, 1100, selection="split", split=100, bound="hoeffding")
    assert rho(hoeffding) == pytest.approx(1.565, abs=5e-4)
    assert rho(agreeing(1000, bound="kl")) == pytest.approx(rho(union), abs=1e-6)
    assert rho(hoeffding) < rho(agreeing(1000, bound="betting")) < rho(union)


@pytest.mark.parametrize("sigma", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("count", [1000, 999, 950, 700, 560])
def test_the_radius_is_the_closed_form_rounded_down(sigma: float, count: int) -> None:
    certs = agreeing(count, law=cs.Gaussian(sigma))
    p_lower = stats.beta.ppf(0.0005, count, 1000 - count + 1)
    expected = sigma * stats.norm.ppf(p_lower)
    assert certs.p_lower[0] == pytest.approx(p_lower, abs=1e-10)
    assert certs.p_upper[0] == pytest.approx(1 - p_lower, abs=1e-10)
    assert rho(certs) == pytest.approx(expected, rel=1e-7)
    assert rho(certs) <= sigma / 2 * (stats.norm.ppf(certs.p_lower[0]) - stats.norm.ppf(certs.p_upper[0])) * (
        1 + 1e-12
    )


def test_a_law_draws_no_line_between_samples_that_nobody_agrees_on() -> None:
    certs = agreeing(500)
    assert certs.abstained.tolist() == [True]
    assert certs.prediction.tolist() == [0]
    assert rho(certs) == 0.0
    assert certs.trigger_norm(n_poisoned=1).tolist() == [0.0]
    assert certs.n_poisoned(trigger_norm=0.1).tolist() == [0]
    assert not certs.holds(n_poisoned=0, trigger_norm=0.0)[0]


def test_a_split_leaves_the_choosing_members_out_of_the_bound() -> None:
    votes = np.ones((1000, 1), dtype=int)
    votes[:100] = 0
    split = cs.certify_votes(votes, GAUSSIAN, N_TRAIN, 2, selection="split")
    assert split.prediction.tolist() == [0]
    assert split.abstained.tolist() == [True]
    assert "the first 100 of which chose the class" in split.guarantee
    votes[:100] = 1
    again = cs.certify_votes(votes, GAUSSIAN, N_TRAIN, 2, selection="split", split=100)
    assert again.p_lower[0] == pytest.approx(0.001 ** (1 / 900), abs=1e-12)


def test_the_runner_up_is_bounded_on_its_own_with_many_classes() -> None:
    votes = np.arange(1000)[:, None] % 10
    votes[:400] = 3
    settings: dict[str, Any] = {"law": GAUSSIAN, "n_train": N_TRAIN, "n_classes": 10}
    auto = cs.certify_votes(votes, **settings)
    bound = cs.certify_votes(votes, **settings, runner_up="bound")
    complement = cs.certify_votes(votes, **settings, runner_up="complement")
    assert auto.prediction.tolist() == [3]
    assert rho(auto) == rho(bound) > 0
    assert complement.abstained.tolist() == [True]
    # 460 votes for class 3, 60 for each other one, 12 statements together at alpha: 10 lower bounds, 2 upper ones.
    assert bound.p_lower[0] == pytest.approx(stats.beta.ppf(0.001 / 12, 460, 541), abs=1e-9)
    assert bound.p_upper[0] == pytest.approx(stats.beta.ppf(1 - 0.001 / 12, 61, 940), abs=1e-9)
    assert complement.p_lower[0] == pytest.approx(stats.beta.ppf(0.001 / 10, 460, 541), abs=1e-9)


def test_with_two_classes_the_runner_up_is_the_complement() -> None:
    for settings in ({}, {"selection": "split"}):
        whole = agreeing(900, **settings)
        assert whole.p_lower == agreeing(900, runner_up="complement", **settings).p_lower
        assert whole.p_lower == agreeing(900, runner_up="bound", **settings).p_lower


@pytest.mark.parametrize(
    ("selection", "runner_up", "radius"),
    [
        ("union", "bound", 2.352),
        ("split", "bound", 2.391),
        ("union", "complement", 2.429),
        ("union", "auto", 2.352),
    ],
)
def test_unanimous_votes_of_ten_classes(selection: Any, runner_up: Any, radius: float) -> None:
    votes = np.ones((1000, 1), dtype=int)
    certs = cs.certify_votes(votes, cs.Gaussian(1.0), N_TRAIN, 10, selection=selection, runner_up=runner_up)
    assert rho(certs) == pytest.approx(radius, abs=5e-4)


def test_a_split_that_stays_is_named_with_the_betting_bound() -> None:
    votes = np.ones((1000, 1), dtype=int)
    certs = cs.certify_votes(
        votes, cs.Gaussian(1.0), N_TRAIN, 10, bound="betting", selection="split", split=50
    )
    assert "the first 50 of which chose the class" in certs.guarantee
    assert "provided that the number of choosing members was fixed before the first look" in certs.guarantee


def test_family_wise_statements_share_alpha_among_the_samples() -> None:
    votes = np.ones((1000, 50), dtype=int)
    together = cs.certify_votes(votes, GAUSSIAN, N_TRAIN, 2, family_wise=True)
    alone = cs.certify_votes(votes, GAUSSIAN, N_TRAIN, 2)
    assert together.p_lower[0] == pytest.approx((0.001 / 100) ** (1 / 1000), abs=1e-12)
    assert together.p_lower[0] < alone.p_lower[0]
    assert "For all 50 test samples together" in together.guarantee
    assert "For each test sample on its own" in alone.guarantee


def test_members_whose_answers_are_masked_are_not_counted_as_if_they_were_there() -> None:
    votes, scores = np.ones((100, 2), int), np.full((100, 2, 2), 0.5)
    hidden = np.ma.masked_array(votes, mask=np.arange(200).reshape(100, 2) < 150)
    with pytest.raises(ParameterError, match=r"'votes'.*masked value at index \(0, 0\), 150 in all"):
        cs.certify_votes(hidden, cs.Gaussian(0.5), n_train=10, n_classes=2)
    with pytest.raises(ParameterError, match="'votes'.*masked"):
        cs.certify_votes(hidden, cs.Partition(100), n_classes=2)
    with pytest.raises(ParameterError, match="'scores'.*masked"):
        cs.certify_scores(np.ma.masked_array(scores, mask=scores > 0), cs.Gaussian(0.5), n_train=10)
    with pytest.raises(ParameterError, match="'scores'.*masked"):
        cs.bounds.betting_lower(hidden, alpha=0.01)
    with pytest.raises(ParameterError, match="'certified'.*masked"):
        cs.metrics.certified_ratio(hidden[:, 0])
    # Nothing of it is masked: an array like others.
    whole = np.ma.masked_array(votes)
    assert cs.certify_votes(whole, cs.Gaussian(0.5), 10, 2) == cs.certify_votes(
        votes, cs.Gaussian(0.5), 10, 2
    )


def test_ties_go_to_the_lowest_class() -> None:
    votes = np.array([[2, 1], [1, 2], [0, 0]] * 20)
    certs = cs.certify_votes(votes, GAUSSIAN, N_TRAIN, 3)
    assert certs.prediction.tolist() == [0, 0]


def test_scores_are_bounded_by_their_mean() -> None:
    scores = np.tile(np.array([0.02, 0.9, 0.08], dtype=np.float32), (500, 2, 1))
    certs = cs.certify_scores(scores, GAUSSIAN, N_TRAIN)
    assert certs.prediction.tolist() == [1, 1]
    assert certs.p_lower[0] == pytest.approx(cs.bounds.kl_lower(0.9, 500, 0.001 / 5), abs=1e-6)
    assert certs.p_upper[0] == pytest.approx(cs.bounds.kl_upper(0.08, 500, 0.001 / 5), abs=1e-6)
    hoeffding = cs.certify_scores(scores, GAUSSIAN, N_TRAIN, bound="hoeffding", runner_up="complement")
    assert hoeffding.p_lower[0] == pytest.approx(0.9 - math.sqrt(math.log(2000) / 1000), abs=1e-6)


def test_votes_are_scores_of_0_and_1() -> None:
    votes = (np.arange(300)[:, None] % 10 == [0, 3]).astype(int)
    scores = np.eye(2)[votes]
    by_votes = cs.certify_votes(votes, GAUSSIAN, N_TRAIN, 2, bound="kl")
    by_scores = cs.certify_scores(scores, GAUSSIAN, N_TRAIN, bound="kl")
    np.testing.assert_allclose(by_votes.p_lower, by_scores.p_lower, atol=1e-12)
    np.testing.assert_array_equal(by_votes.prediction, by_scores.prediction)


def test_the_frontier_of_subsampling_agrees_with_the_oracle() -> None:
    rows = oracle("subsample_frontier.json")
    assert len(rows) > 10
    for row in rows:
        inner: cs.Law = cs.Gaussian(row["sigma"])
        labels = row["label_flip"] > 0
        if labels:
            inner = inner & cs.LabelNoise(row["label_flip"])
        law = cs.Subsample(inner, size=row["subsample"])
        certs = exact(law, row["p_lower"], row["n_train"], row["n_classes"])
        norm = certs.trigger_norm(n_poisoned=row["n_poisoned"], labels=labels)[0]
        expected = float(row["trigger_norm"])
        assert norm == pytest.approx(expected, abs=1e-6), row
        assert norm <= expected + 1e-9, row


@pytest.mark.parametrize("keep", [0.5 + 1e-9, 0.5 + 1e-5, 0.501, 0.51, 0.6, 0.999_999, 1.0])
def test_flips_are_counted_in_a_moment_and_never_beyond_the_entries_that_exist(keep: float) -> None:
    chances = np.random.default_rng(0).uniform(0.6, 1, 300)
    votes = (np.random.default_rng(1).uniform(size=(1000, 300)) < chances).astype(int)
    for n_features, entries in ((1, 4), (20, 42), (784, 10**6)):
        law = cs.Discrete(keep, labels=True)
        start = time.monotonic()
        flips = cs.certify_votes(
            votes, law, 2 if n_features < 784 else N_TRAIN, 2, n_features=n_features
        ).n_flips()
        assert time.monotonic() - start < 5.0
        assert flips.max() <= entries
        if keep == 0.5 + 1e-9:
            # Nothing is to be told apart: every entry may change.
            assert flips.max() == entries


def test_flips_agree_with_the_oracle() -> None:
    rows = oracle("flips.json")
    assert len(rows) > 10
    for row in rows:
        law = cs.Discrete(row["keep"], alphabet=row["alphabet"], labels=False)
        flips = exact(law, row["p_lower"], 100).n_flips()[0]
        # A tie in decimals, above 1/2 by 1e-16 in binary: rounding outward may not claim it.
        tie = (row["p_lower"], row["keep"], row["alphabet"]) == (0.9, 0.7, 2)
        assert flips == row["flips"] - tie, row


def test_figures_of_the_attack_in_the_literature() -> None:
    # 2 % of MNIST 0/1, trigger norm 1, sigma 1, all 1000 members agreeing at alpha = 0.001.
    p_lower, r = 0.001 ** (1 / 1000), 253
    assert exact(cs.Gaussian(1.0), p_lower, N_TRAIN).trigger_norm(r)[0] == pytest.approx(0.155, abs=5e-4)
    hundred = exact(cs.Subsample(cs.Gaussian(1.0), size=100), p_lower, N_TRAIN)
    assert hundred.trigger_norm(r)[0] == pytest.approx(1.815, abs=2e-3)
    fifty = exact(cs.Subsample(cs.Gaussian(1.0) & cs.LabelNoise(0.2), size=50), p_lower, N_TRAIN)
    assert fifty.trigger_norm(r, labels=True)[0] == pytest.approx(2.31, abs=5e-3)
    bagging = exact(cs.Subsample(size=20), p_lower, N_TRAIN)
    assert bagging.trigger_norm(r, labels=True)[0] == math.inf


LAWS: dict[str, tuple[cs.Law, list[bool]]] = {
    "gaussian": (cs.Gaussian(0.5), [False]),
    "uniform": (cs.Uniform(0.5), [False]),
    "discrete": (cs.Discrete(0.9), [False, True]),
    "gaussian and label noise": (cs.Gaussian(0.5) & cs.LabelNoise(0.45), [False, True]),
    "bagging": (cs.Subsample(size=30), [False, True]),
    "subsampled gaussian": (cs.Subsample(cs.Gaussian(1.0), size=300), [False, True]),
    "subsampled both": (cs.Subsample(cs.Gaussian(1.0) & cs.LabelNoise(0.3), size=60), [False, True]),
    "subsampled discrete": (cs.Subsample(cs.Discrete(0.9, labels=False), size=60), [False, True]),
}


@pytest.mark.parametrize(("law", "labels"), [(law, flag) for law, flags in LAWS.values() for flag in flags])
def test_norm_count_and_verdict_tell_one_story(law: cs.Law, labels: bool) -> None:
    votes = (np.arange(1000)[:, None] < [1000, 990, 900, 600, 500]).astype(int)
    certs = cs.certify_votes(votes, law, n_train=1000, n_classes=2, n_features=64)
    counts = [0, 1, 2, 5, 20, 200, 1000]
    frontier = certs.frontier(counts, labels=labels)
    assert frontier.shape == (5, len(counts))
    assert (frontier[:, 1:] <= frontier[:, :-1] * (1 + 1e-9)).all()
    for column, r in enumerate(counts):
        norms = certs.trigger_norm(n_poisoned=r, labels=labels)
        np.testing.assert_array_equal(norms, frontier[:, column])
        for sample, norm in enumerate(norms):
            # What is claimed holds, and no more than a little beyond it is left unclaimed.
            held = certs.holds(n_poisoned=r, trigger_norm=norm, labels=labels)[sample]
            assert held or norm == 0.0
            if math.isfinite(norm):
                assert not certs.holds(n_poisoned=r, trigger_norm=norm * 1.001 + 1e-6, labels=labels)[sample]
    for norm in (0.0, 0.3, 1.0, math.inf):
        largest = certs.n_poisoned(trigger_norm=norm, labels=labels)
        for sample, r in enumerate(largest):
            if not certs.abstained[sample]:
                assert certs.holds(n_poisoned=int(r), trigger_norm=norm, labels=labels)[sample]
            if r < 1000:
                assert not certs.holds(n_poisoned=int(r) + 1, trigger_norm=norm, labels=labels)[sample]


def test_labels_can_only_cost() -> None:
    certs = exact(cs.Subsample(cs.Gaussian(1.0) & cs.LabelNoise(0.2), size=50), 0.99, 1000)
    kept, changed = certs.frontier(range(0, 50, 5)), certs.frontier(range(0, 50, 5), labels=True)
    assert (changed <= kept).all()
    assert (changed < kept).any()


def test_a_total_radius_over_r_samples_is_divided_by_the_root_of_r() -> None:
    certs = agreeing(990)
    for r in (1, 4, 253):
        assert certs.trigger_norm(r)[0] == pytest.approx(rho(certs) / math.sqrt(r), rel=1e-6)
    with pytest.raises(
        ParameterError, match="'n_poisoned'.*0 to the number of training samples, 12665. Got 12666"
    ):
        certs.trigger_norm(N_TRAIN + 1)


def test_only_discrete_noise_counts_entries() -> None:
    certs = agreeing(1000, law=cs.Discrete(0.8), n_features=100)
    flips = certs.n_flips()
    assert (flips.dtype, flips.shape) == (np.int64, (1,))
    assert flips[0] >= 1
    assert certs.radius is None
    assert certs.n_poisoned(trigger_norm=1.0)[0] == flips[0]
    for law in (cs.Gaussian(1.0), cs.Subsample(size=3)):
        with pytest.raises(ParameterError, match="'law'.*Discrete, which counts changed entries"):
            agreeing(1000, law=law).n_flips()


@pytest.mark.parametrize("law", [cs.Subsample(size=30), cs.LabelNoise(0.3), cs.Subsample(GAUSSIAN, size=9)])
def test_a_law_without_a_radius_says_so(law: cs.Law) -> None:
    certs = agreeing(1000, law=law)
    assert certs.radius is None
    assert "radius" not in certs.to_frame()
    with pytest.raises(ParameterError, match="'radii'.*None, with n_poisoned and trigger_norm"):
        certs.certified_accuracy([1], radii=[0.0])


def test_certified_accuracy_counts_what_is_right_and_strictly_beyond(
    certificates: cs.CertificateTable,
) -> None:
    radius = certificates.radius
    assert radius is not None
    truth = [1, 1, 1, 1, 0]
    assert certificates.certified_accuracy(truth, radii=0.0) == 0.8
    assert certificates.certified_accuracy([0] * 5, radii=0.0) == 0.0
    # A prediction holds below its radius, not at it.
    at = certificates.certified_accuracy(truth, radii=radius[:4])
    np.testing.assert_allclose(at, [0.0, 0.2, 0.4, 0.6])
    below = certificates.certified_accuracy(truth, radii=np.nextafter(radius[:4], 0))
    np.testing.assert_allclose(below, [0.2, 0.4, 0.6, 0.8])
    assert certificates.certified_accuracy(truth, radii=[[0.0, 9.0]]).shape == (1, 2)
    norm = certificates.trigger_norm(n_poisoned=16)[2]
    shares = certificates.certified_accuracy(truth, n_poisoned=16, trigger_norm=[0.0, norm, norm * 1.001])
    np.testing.assert_allclose(shares, [0.8, 0.6, 0.4])
    assert certificates.certified_accuracy(truth, n_poisoned=16, trigger_norm=norm) == 0.6


def _unaligned(votes: np.ndarray) -> np.ndarray:
    bytes_ = np.empty(votes.nbytes + 1, np.uint8)
    view = bytes_[1:].view(votes.dtype).reshape(votes.shape)
    view[...] = votes
    assert view.itemsize == 1 or not view.flags.aligned
    return view


def _read_only(votes: np.ndarray) -> np.ndarray:
    votes = votes.copy()
    votes.setflags(write=False)
    return votes


LAYOUTS = {
    "rows": np.ascontiguousarray,
    "columns": np.asfortranarray,
    "transposed": lambda votes: np.ascontiguousarray(votes.T).T,
    "every other": lambda votes: np.repeat(np.repeat(votes, 2, axis=0), 3, axis=1)[::2, ::3],
    "backwards": lambda votes: np.ascontiguousarray(votes[::-1, ::-1])[::-1, ::-1],
    "read only": _read_only,
    "unaligned": _unaligned,
    "other end first": lambda votes: votes.astype(votes.dtype.newbyteorder()),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "longlong"])
@pytest.mark.parametrize("settings", [{}, {"selection": "split"}, {"bound": "betting"}], ids=str)
def test_votes_are_read_as_they_lie(layout: str, kind: str, settings: dict[str, Any]) -> None:
    rng = np.random.default_rng(5)
    votes = np.where(rng.random((300, 37)) < 0.9, np.arange(37) % 3, rng.integers(0, 3, (300, 37)))
    expected = cs.certify_votes(votes, GAUSSIAN, N_TRAIN, 3, **settings)
    given = LAYOUTS[layout](votes.astype(kind))
    before = given.copy()
    certs = cs.certify_votes(given, GAUSSIAN, N_TRAIN, 3, **settings)
    assert np.array_equal(certs.prediction, expected.prediction)
    assert np.array_equal(certs.p_lower, expected.p_lower)
    assert np.array_equal(certs.p_upper, expected.p_upper)
    assert np.array_equal(given, before)


def test_yes_and_no_are_votes_for_two_classes() -> None:
    votes = np.arange(300)[:, None] >= np.array([0, 3, 290])
    certs = cs.certify_votes(votes, GAUSSIAN, N_TRAIN, 2)
    expected = cs.certify_votes(votes.astype(int), GAUSSIAN, N_TRAIN, 2)
    assert certs.prediction.tolist() == [1, 1, 0]
    assert np.array_equal(certs.p_lower, expected.p_lower)


@pytest.mark.parametrize("kind", ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8"])
@pytest.mark.parametrize("bound", ["auto", "betting"])
def test_a_vote_for_no_class_is_named_with_its_place(kind: str, bound: Any) -> None:
    largest = int(np.iinfo(kind).max)
    for bad in {3, largest, *([-1, -largest] if kind.startswith("i") else [])}:
        votes = np.zeros((40, 600), kind)
        votes[7, 513] = bad
        for given in (votes, np.asfortranarray(votes)):
            with pytest.raises(ParameterError, match=rf"from 0 to 2. Got {bad} from member 7 for sample 513"):
                cs.certify_votes(given, GAUSSIAN, N_TRAIN, 3, bound=bound)


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        ({}, ParameterError, "'radii'.*alone, or else both"),
        (
            {"radii": 0.5, "n_poisoned": 1, "trigger_norm": 1.0},
            ParameterError,
            "'radii'.*alone, or else both",
        ),
        ({"n_poisoned": 1}, ParameterError, "'radii'.*alone, or else both"),
        ({"trigger_norm": 1.0}, ParameterError, "'radii'.*alone, or else both"),
        ({"radii": [-0.5]}, ParameterError, "'radii'.*greater than or equal to 0. Got -0.5"),
        ({"radii": [math.nan]}, ParameterError, "'radii'.*greater than or equal to 0. Got NaN"),
        ({"radii": "all"}, ParameterError, "'radii'.*float.*Got 'all'"),
        ({"n_poisoned": 1, "trigger_norm": -1.0}, ParameterError, "'trigger_norm'.*Got -1"),
        (
            {"n_poisoned": 1, "trigger_norm": 1.0, "labels": True},
            ParameterError,
            "'labels'.*False for Gaussian",
        ),
        ({"y_true": [1, 1], "radii": 0}, ShapeError, r"'y_true'.*shape \(5,\). Got shape \(2,\)"),
        ({"y_true": [[1]] * 5, "radii": 0}, ShapeError, r"'y_true'.*Got shape \(5, 1\)"),
    ],
)
def test_certified_accuracy_refuses_by_name(
    certificates: cs.CertificateTable, change: dict[str, Any], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        certificates.certified_accuracy(**({"y_true": [1] * 5} | change))


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda c: c.holds(-1, 0.5), "'n_poisoned'.*at least 0. Got -1"),
        (lambda c: c.holds(1.5, 0.5), "'n_poisoned'.*at least 0. Got 1.5"),
        (lambda c: c.holds(True, 0.5), "'n_poisoned'.*at least 0. Got True"),
        (lambda c: c.holds(2**80, 0.5), "'n_poisoned'.*at least 0. Got 12089"),
        (
            lambda c: c.holds(N_TRAIN + 1, 0.5),
            "'n_poisoned'.*0 to the number of training samples, 12665. Got 12666",
        ),
        (lambda c: c.holds(1, -0.5), "'trigger_norm'.*greater than or equal to 0. Got -0.5"),
        (lambda c: c.holds(1, math.nan), "'trigger_norm'.*Got NaN"),
        (lambda c: c.holds(1, "1.0"), "'trigger_norm'.*Got '1.0'"),
        (lambda c: c.trigger_norm(N_TRAIN + 1), "'n_poisoned'.*Got 12666"),
        (lambda c: c.trigger_norm("two"), "'n_poisoned'.*Got 'two'"),
        (lambda c: c.n_poisoned(-1.0), "'trigger_norm'.*Got -1"),
        (lambda c: c.n_poisoned("any"), "'trigger_norm'.*Got 'any'"),
        (lambda c: c.frontier([1, -2]), "'n_poisoned'.*Got .*-2"),
        (lambda c: c.frontier([1, N_TRAIN + 1]), "'n_poisoned'.*Got 12666"),
        (
            lambda c: c.trigger_norm(1, labels=True),
            "'labels'.*neither noises labels nor leaves samples out.*Got True",
        ),
        (
            lambda c: c.holds(1, 0.5, labels=True),
            "'labels'.*compose it with LabelNoise or put it inside Subsample",
        ),
        (lambda c: c.n_poisoned(0.5, labels=True), "'labels'.*False for Gaussian noise of sigma 0.5"),
        (lambda c: c.frontier([1], labels=True), "'labels'.*False for Gaussian noise of sigma 0.5"),
    ],
)
def test_questions_a_table_cannot_answer_are_refused(
    certificates: cs.CertificateTable, ask: Callable[[Any], Any], said: str
) -> None:
    with pytest.raises(ParameterError, match=said):
        ask(certificates)


def test_label_noise_alone_says_nothing_about_triggers() -> None:
    certs = agreeing(1000, law=cs.LabelNoise(0.4))
    assert certs.n_poisoned(trigger_norm=0.0, labels=True)[0] > 0
    with pytest.raises(ParameterError, match="'trigger_norm'.*0 for label noise"):
        certs.holds(n_poisoned=1, trigger_norm=0.5)


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        ({"votes": [0, 1]}, ShapeError, r"'votes'.*\(n_members, n_samples\). Got shape \(2,\)"),
        ({"votes": np.zeros((30, 2, 2), int)}, ShapeError, "'votes'.*Got shape"),
        ({"votes": np.zeros((30, 0), int)}, ShapeError, "'votes'.*at least one member and one sample"),
        ({"votes": np.zeros((30, 2))}, ParameterError, "'votes'.*integers. Got values of type float64"),
        ({"votes": [["a", "b"]] * 30}, ParameterError, "'votes'.*integers. Got values of type <U1"),
        ({"votes": [[0, 2]] * 30}, ParameterError, "'votes'.*from 0 to 1. Got 2"),
        ({"votes": [[0, -1]] * 30}, ParameterError, "'votes'.*from 0 to 1. Got -1"),
        ({"n_train": 0}, ParameterError, "'n_train'.*at least 1 .*Got 0"),
        ({"n_train": 9.5}, ParameterError, "'n_train'.*Got 9.5"),
        ({"n_classes": 1}, ParameterError, "'n_classes'.*from 2 to 65535. Got 1"),
        ({"n_features": -1}, ParameterError, "'n_features'.*Got -1"),
        ({"law": 0.5}, ParameterError, r"'law'.*a noise law such as certssb.Gaussian\(0.5\). Got 0.5"),
        ({"law": "gaussian"}, ParameterError, "'law'.*a noise law.*Got 'gaussian'"),
        ({"law": cs.Uniform(0.5)}, ParameterError, "'n_features'.*number of features.*Uniform.*Got None"),
        ({"law": cs.Subsample(size=101)}, ParameterError, "'size'.*number of training samples, 100. Got 101"),
        ({"law": cs.LabelNoise(0.5)}, ParameterError, r"'q'.*\[0, 0.5000\) for 2 classes. Got 0.5"),
        ({"alpha": 0}, ParameterError, r"'alpha'.*\(0, 1\). Got 0"),
        ({"alpha": 1.0}, ParameterError, r"'alpha'.*\(0, 1\). Got 1"),
        ({"alpha": -0.1}, ParameterError, r"'alpha'.*\(0, 1\). Got -0.1"),
        ({"alpha": math.nan}, ParameterError, r"'alpha'.*\(0, 1\). Got NaN"),
        ({"alpha": "0.1"}, ParameterError, r"'alpha'.*\(0, 1\). Got '0.1'"),
        ({"bound": "bernstein"}, ParameterError, "'bound'.*'auto', 'clopper_pearson', 'kl', 'hoeffding', 'betting'.*Got 'bernstein'"),
        ({"bound": None}, ParameterError, "'bound'.*Got 'None'"),
        ({"selection": "first"}, ParameterError, "'selection'.*'union', 'split'.*Got 'first'"),
        ({"runner_up": "third"}, ParameterError, "'runner_up'.*'auto', 'complement', 'bound'.*Got 'third'"),
        ({"selection": "split", "split": 30}, ParameterError, "'split'.*from 1 to 29.*30 members.*Got 30"),
        ({"selection": "split", "split": 0}, ParameterError, "'split'.*from 1 to 29.*Got 0"),
        ({"selection": "split", "split": 2.5}, ParameterError, "'split'.*Got 2.5"),
        ({"split": 10}, ParameterError, "'split'.*None with selection='union'. Got 10"),
        ({"votes": [[1, 1]] * 10}, ParameterError, "'n_members'.*at least 11: with alpha=0.001 and 2 classes.*Got 10"),
        ({"votes": [[1, 1]] * 11, "family_wise": True}, ParameterError, "'n_members'.*at least 12:.*Got 11"),
    ],
)  # fmt: skip
def test_votes_and_settings_are_refused_by_name(
    change: dict[str, Any], kind: type[Exception], said: str
) -> None:
    call: dict[str, Any] = {"votes": [[0, 1]] * 30, "law": GAUSSIAN, "n_train": 100, "n_classes": 2}
    with pytest.raises(kind, match=said):
        cs.certify_votes(**(call | change))


@pytest.mark.parametrize(
    ("scores", "kind", "said"),
    [
        (
            np.full((30, 2), 0.5),
            ShapeError,
            r"'scores'.*\(n_members, n_samples, n_classes\). Got shape \(30, 2\)",
        ),
        (np.full((30, 2, 1), 1.0), ParameterError, "'n_classes'.*from 2 to 65535. Got 1"),
        (np.full((30, 2, 2), 0.6), ParameterError, "'scores'.*sum to 1 over the classes. Got a sum of 1.2"),
        (
            np.tile([1.5, -0.5], (30, 2, 1)),
            ParameterError,
            r"'scores'.*\[0, 1\]. Got 1.5 from member 0 for sample 0",
        ),
        (np.full((30, 2, 2), math.nan), ParameterError, r"'scores'.*\[0, 1\]. Got NaN"),
        (np.full((30, 2, 2), "x"), ParameterError, "'scores'.*floats. Got values of type <U1"),
    ],
)
def test_scores_are_refused_by_name(scores: Any, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        cs.certify_scores(scores, GAUSSIAN, n_train=100)


def test_clopper_pearson_is_for_votes_only() -> None:
    with pytest.raises(
        ParameterError, match="'bound'.*for scores, which are not yes-or-no votes.*'clopper_pearson'"
    ):
        cs.certify_scores(np.full((30, 2, 2), 0.5), GAUSSIAN, 100, bound="clopper_pearson")


GUARANTEES = {
    "gaussian": (GAUSSIAN, ["below the radius", "all labels as received", "Gaussian noise of sigma 1"]),
    "labels": (cs.LabelNoise(0.2), ["labels of at most n_poisoned", "all features as received"]),
    "both": (GAUSSIAN & cs.LabelNoise(0.2), ["n_poisoned", "trigger_norm", "any labels"]),
    "bagging": (cs.Subsample(size=9), ["n_poisoned", "trigger_norm", "any labels", "subsample of 9"]),
    "discrete": (cs.Discrete(0.8), ["n_flips", "training labels", "keeps an entry with probability 0.8"]),
    "features": (cs.Discrete(0.8, labels=False), ["n_flips", "all labels as received"]),
    "test": (cs.Discrete(0.8, test_input=True), ["n_flips", "entries of the test input"]),
    "uniform": (cs.Uniform(0.5), ["n_poisoned", "all labels as received", "uniform noise on [-0.5, 0.5]"]),
}


@pytest.mark.parametrize(("law", "words"), GUARANTEES.values(), ids=list(GUARANTEES))
def test_the_guarantee_says_how_surely_what_and_what_not(law: cs.Law, words: list[str]) -> None:
    certs = agreeing(1000, law=law, n_features=100, alpha=0.01)
    always = [
        "with probability at least 1 - 0.01 over the noise of 1000 members",
        "the prediction stays the same",
    ]
    uncovered = "inserting or deleting samples is not covered"
    edits = "by at most n_poisoned samples inserted, deleted or changed in any mix and in any way, while the others stay"
    for word in [*always, *words, edits if isinstance(law, cs.Subsample) else uncovered]:
        assert word in certs.guarantee
    assert certs.guarantee.count(". ") == 0
    assert certs.guarantee.endswith(".")
    assert certs.sound
    any_time = agreeing(1000, law=law, n_features=100, bound="betting").guarantee
    assert "however often members were added" in any_time


def test_a_table_knows_what_it_was_made_of(certificates: cs.CertificateTable) -> None:
    assert len(certificates) == 5
    assert certificates.law == cs.Gaussian(0.5)
    assert (certificates.n_train, certificates.n_members, certificates.alpha) == (12665, 1000, 0.001)
    assert (certificates.prediction.dtype, certificates.abstained.dtype) == (np.int64, np.bool_)
    assert repr(certificates).startswith("<CertificateTable of 5 samples, 4 certified. For each test sample")
    assert repr(certificates[:1]).startswith("<CertificateTable of 1 sample, ")


def test_frame_and_arrow_hold_the_columns_exactly(certificates: cs.CertificateTable) -> None:
    frame = certificates.to_frame()
    assert list(frame.columns) == ["prediction", "abstained", "p_lower", "p_upper", "radius"]
    pd.testing.assert_series_equal(frame["radius"], pd.Series(certificates.radius, name="radius"))
    pytest.importorskip("pyarrow", reason="needs pyarrow, the extra 'arrow'")
    table = certificates.to_arrow()
    assert table.column_names == list(frame.columns)
    np.testing.assert_array_equal(table.column("p_upper").to_numpy(), certificates.p_upper)
    assert table.schema.metadata[b"guarantee"].decode() == certificates.guarantee
    assert json.loads(table.schema.metadata[b"record"])["facts"]["n_train"] == 12665


def tables() -> dict[str, cs.CertificateTable]:
    core = agreeing(990)._core
    return {
        "numbers": agreeing(990),
        "strings": cs.CertificateTable(core, np.array(["cat", "dog"])),
        "objects": cs.CertificateTable(core, np.array(["cat", "dog"], dtype=object)),
        "negative": cs.CertificateTable(core, np.array([-7, 3])),
        "no radius": agreeing(990, law=cs.Subsample(GAUSSIAN & cs.LabelNoise(0.1), size=7)),
        "uniform": agreeing(990, law=cs.Uniform(0.3), n_features=10),
    }


@pytest.mark.parametrize("name", tables())
def test_what_is_saved_is_loaded_to_the_last_bit(name: str, tmp_path: Path) -> None:
    certs = tables()[name]
    certs.save(tmp_path / "table.npz")
    loaded = cs.CertificateTable.load(str(tmp_path / "table.npz"))
    pd.testing.assert_frame_equal(
        loaded.to_frame(), certs.to_frame(), check_exact=True, check_dtype=name != "objects"
    )
    assert (loaded.guarantee, loaded.law) == (certs.guarantee, certs.law)
    np.testing.assert_array_equal(loaded.trigger_norm(3), certs.trigger_norm(3))
    assert os.listdir(tmp_path) == ["table.npz"]
    certs.save(tmp_path / "table.npz")
    assert cs.CertificateTable.load(tmp_path / "table.npz").prediction.tolist() == certs.prediction.tolist()


def test_any_changed_bit_of_the_numbers_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "table"
    agreeing(990).save(path)
    parts = dict(np.load(path))
    for name, change in {
        "p_lower": np.array([0.9999]),
        "prediction": np.array([0]),
        "p_rest": np.array([0.0]),
        "record": np.array(str(parts["record"]).replace("12665", "12666")),
    }.items():
        np.savez(tmp_path / "changed.npz", **(parts | {name: change}))
        with pytest.raises(
            ParameterError, match="'path'.*undamaged file written by CertificateTable.save.*changed"
        ):
            cs.CertificateTable.load(tmp_path / "changed.npz")
    content = path.read_bytes()
    for place in range(0, len(content), 97):
        changed = bytearray(content)
        changed[place] ^= 0x10
        path.write_bytes(changed)
        try:
            loaded = cs.CertificateTable.load(path)
        except ParameterError as error:
            assert "'path'" in str(error)
        else:  # some bytes, such as the dates in an archive, say nothing
            assert loaded.p_lower == agreeing(990).p_lower
            assert loaded.guarantee == agreeing(990).guarantee


@pytest.mark.parametrize(
    "content", [b"", b"not a table", b"PK\x03\x04 and then nothing", pickle.dumps({"format": "certssb"})]
)
def test_foreign_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "table.npz"
    path.write_bytes(content)
    with pytest.raises(ParameterError, match="'path'.*a file written by CertificateTable.save.*table.npz"):
        cs.CertificateTable.load(path)


def test_other_archives_and_missing_files_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", X=np.zeros(3))
    np.save(tmp_path / "array.npy", np.zeros(3))
    for name in ("other.npz", "array.npy"):
        with pytest.raises(ParameterError, match=f"'path'.*written by CertificateTable.save.*{name}"):
            cs.CertificateTable.load(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        cs.CertificateTable.load(tmp_path / "nowhere.npz")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        agreeing(990).save(tmp_path / "nowhere" / "table.npz")


def test_the_shown_table_rounds_outward(certificates: cs.CertificateTable) -> None:
    page = certificates._repr_html_()
    assert certificates.guarantee in page
    cells = [float(cell) for cell in re.findall(r"<td>(\d\.\d{4})</td>", page)]
    shown = np.array(cells).reshape(5, 3)
    assert certificates.radius is not None
    exact = np.stack([certificates.p_lower, certificates.p_upper, certificates.radius], axis=1)
    difference = shown - exact
    assert (difference[:, [0, 2]] <= 0).all()
    assert (difference[:, 1] >= 0).all()
    assert (np.abs(difference) < 1e-4).all()


def test_the_shown_table_is_short_and_escaped() -> None:
    votes = np.ones((1000, 25), dtype=int)
    core = cs.certify_votes(votes, GAUSSIAN, N_TRAIN, 2)._core
    page = cs.CertificateTable(core, np.array(["<b>", "<i>"]))._repr_html_()
    assert page.count("<tr>") == 11
    assert "15 more samples" in page
    assert "&lt;i&gt;" in page
    assert "<i>" not in page
