"""Partitions: elections of learners trained elsewhere, and what their tables say and keep."""

import io
import itertools
import logging
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import oracle

import certssb as cs

Election = Any


def table(votes: Any, law: cs.Partition, **settings: Any) -> cs.CertificateTable:
    return cs.certify_votes(np.asarray(votes), law, n_classes=3, **settings)


def spread_of(fed: list[list[int]]) -> cs.Partition | None:
    """The partition behind a list of the learners that each bucket feeds; None if their number is no multiple of it."""
    shifts, n = fed[0], len(fed)
    if n % len(shifts):
        # The engine's own test has these as well.
        return None
    law = cs.Partition(n // len(shifts), overlap=len(shifts), shifts=shifts)
    assert [sorted((b + s) % n for s in shifts) for b in range(n)] == [sorted(f) for f in fed]
    return law


@pytest.mark.parametrize("election", ["plurality", "run-off"])
def test_the_oracle_agrees_exactly(election: Election) -> None:
    elections = [(spread_of(row["spread"]), np.array(row["scores"]), row) for row in oracle("partition.json")]
    known = [(law, scores, row) for law, scores, row in elections if law is not None]
    assert len(known) > len(elections) / 2 and any(law.overlap > 1 for law, _, _ in known)
    for law, scores, row in known:
        certs = cs.certify_scores(scores, law, election=election)
        expected = row[election.replace("-", "_")]
        assert certs.prediction.tolist() == expected["prediction"]
        assert certs.n_buckets is not None and certs.n_buckets.tolist() == expected["buckets"]
        if election == "plurality":
            # The lowest class with the highest score is a learner's vote.
            votes = scores.astype(np.float32).argmax(axis=2)
            by_votes = cs.certify_votes(votes, law, n_classes=scores.shape[2])
            assert by_votes.n_buckets is not None and by_votes.n_buckets.tolist() == expected["buckets"]
            assert by_votes.prediction.tolist() == expected["prediction"]


def test_every_change_of_the_buckets_that_a_certificate_allows_leaves_the_class() -> None:
    """All elections of five learners among three classes, ties included, and of four with overlap."""
    for law, n in ((cs.Partition(5), 5), (cs.Partition(2, overlap=2, shifts=[0, 1]), 4)):
        shifts = law.shifts
        every = np.array(list(itertools.product(range(3), repeat=n)))
        certs = table(every.T, law)
        winners, buckets = certs.prediction, certs.n_buckets
        assert buckets is not None
        tight = 0
        for i, votes in enumerate(every):
            for r in range(1, n + 1):
                changes = False
                for touched in itertools.combinations(range(n), r):
                    learners = {(h + s) % n for h in touched for s in shifts}
                    same = (every == votes).all(axis=1, where=[m not in learners for m in range(n)])
                    changes |= bool((winners[same] != winners[i]).any())
                assert not (changes and r <= buckets[i]), (votes, r)
                if changes:
                    # Without overlap a certificate is as large as it can be.
                    tight += r == buckets[i] + 1
                    assert len(shifts) > 1 or r == buckets[i] + 1
                    break
        assert tight > len(every) // 2


@pytest.mark.parametrize(
    ("law", "n_classes"),
    [(cs.Partition(5), 3), (cs.Partition(3), 4), (cs.Partition(2, overlap=2, shifts=[0, 1]), 3)],
    ids=str,
)
def test_every_change_that_a_run_off_allows_leaves_the_class(law: cs.Partition, n_classes: int) -> None:
    """All elections of a few learners, each of which ranks the classes in any order."""
    n, orders = law.n_learners, list(itertools.permutations(range(n_classes)))
    scores = -np.argsort(np.array(orders), axis=1).astype(np.float32)
    every = np.array(list(itertools.product(range(len(orders)), repeat=n)))
    certs = cs.certify_scores(scores[every].transpose(1, 0, 2), law, election="run-off")
    winners, buckets = certs.prediction, certs.n_buckets
    assert buckets is not None
    tight = np.zeros(len(every), dtype=bool)
    for r in range(1, n + 1):
        for touched in itertools.combinations(range(n), r):
            learners = {(h + s) % n for h in touched for s in law.shifts}
            left = [m for m in range(n) if m not in learners]
            # Elections that agree on all learners but those are what the attacker can make of each other.
            _, group = np.unique(every[:, left] @ len(orders) ** np.arange(len(left)), return_inverse=True)
            low, high = np.full(len(every), n_classes), np.full(len(every), -1)
            np.minimum.at(low, group, winners)
            np.maximum.at(high, group, winners)
            turned = low[group] != high[group]
            assert not (turned & (buckets >= r)).any(), touched
            tight |= turned & (buckets == r - 1)
    assert tight.mean() > 0.5


def test_how_a_changed_sample_counts() -> None:
    votes = np.array([[1, 1]] * 9 + [[1, 0]] * 2)
    counts = {"content": (2, 2, 2), "features": (2, 5, 2), "index": (5, 5, 5)}
    for assign, (any_change, label, trigger) in counts.items():
        certs = table(votes, cs.Partition(11, assign=assign), n_train=500)  # type: ignore[arg-type]
        assert certs.n_buckets is not None and certs.n_buckets.tolist() == [5, 3]
        assert certs.n_poisoned()[0] == any_change
        assert certs.n_poisoned(trigger_norm=0.0, labels=True)[0] == label
        assert certs.n_poisoned(trigger_norm=0.1)[0] == trigger
        assert certs.n_poisoned(trigger_norm=0.0)[0] == 500, "nothing is changed then"
        assert certs.holds(any_change, np.inf, labels=True)[0]
        assert not certs.holds(any_change + 1, np.inf, labels=True)[0]


def test_a_table_of_a_partition_knows_of_no_probabilities_and_comes_back_from_a_file(tmp_path: Path) -> None:
    law = cs.Partition(11, assign="features")
    votes = np.array([[1, 1, 2]] * 9 + [[1, 0, 2]] * 2)
    certs = table(votes, law, n_train=500)
    assert certs.alpha is None and certs.radius is None and certs.sound and certs.election == "plurality"
    assert certs.n_members == 11 and not certs.abstained.any()
    assert np.isnan(certs.p_lower).all() and np.isnan(certs.p_upper).all()
    assert certs.to_frame()["n_buckets"].tolist() == [5, 3, 5]
    assert certs.trigger_norm(2, labels=True).tolist() == [np.inf, 0.0, np.inf]
    assert certs.certified_accuracy([1, 1, 2], n_poisoned=2, trigger_norm=np.inf, labels=True) == 2 / 3
    assert certs.frontier([1, 2]).tolist() == [[np.inf, np.inf], [np.inf, 0.0], [np.inf, np.inf]]
    certs.save(tmp_path / "table.npz")
    for again in (cs.CertificateTable.load(tmp_path / "table.npz"), pickle.loads(pickle.dumps(certs))):
        assert again == certs and again.law == law and again.guarantee == certs.guarantee
    assert certs[1:].n_buckets is not None and certs[1:].n_buckets.tolist() == [3, 5]
    assert "n_buckets" in repr(certs.show()) and "nan" in certs._repr_html_()


def test_the_sentence_says_how_changes_count_and_what_a_learner_must_be() -> None:
    words = {
        "content": (
            "symmetric difference of at most n_buckets samples",
            "a hash of their features and label",
        ),
        "features": ("a changed label alone changes 1 bucket", "a hash of their features"),
        "index": ("inserting or deleting samples is not covered", "their number in the training set"),
    }
    for assign, (how, by) in words.items():
        certs = table([[1]] * 11, cs.Partition(11, assign=assign))  # type: ignore[arg-type]
        assert certs.guarantee.startswith(
            "For each test sample, with certainty, the class that 11 learners elect"
        )
        assert how in certs.guarantee and f"put into buckets by {by} and" in certs.guarantee
        assert "deterministic function" in certs.guarantee and "probability" not in certs.guarantee
    assert "a bucket" not in table([[1]] * 10, cs.Partition(5, overlap=2)).guarantee


def test_what_a_partition_cannot_be() -> None:
    for arguments, name in (
        ({"n_parts": 0}, "n_parts"),
        ({"n_parts": 2**70}, "n_parts"),
        ({"n_parts": 5, "overlap": 0}, "overlap"),
        ({"n_parts": 5, "overlap": 2, "shifts": [0]}, "shifts"),
        ({"n_parts": 5, "overlap": 2, "shifts": [0, 10]}, "shifts"),
        ({"n_parts": 5, "overlap": 2, "shifts": [0, -1]}, "shifts"),
        ({"n_parts": 5, "assign": "order"}, "assign"),
    ):
        with pytest.raises(cs.ParameterError, match=f"'{name}'"):
            cs.Partition(**arguments)  # type: ignore[arg-type]
    law = cs.Partition(5)
    for make in (
        lambda: law & cs.Gaussian(1.0),
        lambda: cs.Subsample(law, size=3),
        lambda: cs.Cascade([law, law]),
    ):
        with pytest.raises(cs.ParameterError, match="a Partition"):
            make()
    with pytest.raises(cs.ParameterError, match="learners"):
        law.plan(n_train=100, n_poisoned=1, trigger_norm=1.0)


@pytest.mark.parametrize(
    "low, high", [(1.0, 1.0 + 1e-9), (2**24, 2**24 + 1), (2**62, 2**62 + 1), (1e300, 2e300)], ids=str
)
@pytest.mark.parametrize("election", ["plurality", "run-off"])
def test_learners_prefer_what_their_scores_say_to_the_last_bit(
    low: Any, high: Any, election: Election
) -> None:
    # Six learners are for class 0, five for class 1; in single precision these would be ties, which class 0 wins.
    scores = np.array([[[high, low, low]]] * 6 + [[[low, high, low]]] * 5)
    ranks = np.array([[[1, 0, 0]]] * 6 + [[[0, 1, 0]]] * 5)
    law = cs.Partition(11)
    told, known = (cs.certify_scores(given, law, election=election) for given in (scores, ranks))
    assert told == known and told.prediction[0] == 0 and told.n_buckets is not None
    assert told.n_buckets[0] == 0, "the class that one learner more is for falls with one learner"


def test_scores_of_any_type_elect_as_their_ranks_do() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, 3, (21, 30, 4))
    law = cs.Partition(7, overlap=3)
    for election in ("plurality", "run-off"):
        expected = cs.certify_scores(drawn, law, election=election)
        for scores in (1.0 + drawn * 1e-12, -1e-320 * (2 - drawn), drawn.astype(np.uint64) + 2**63):
            assert cs.certify_scores(scores, law, election=election) == expected


def test_bad_elections_are_named() -> None:
    law, votes = cs.Partition(5), np.ones((5, 2), dtype=np.int64)
    with pytest.raises(cs.ParameterError, match="'n_parts'.*at most the number of training samples, 4"):
        table(votes, law, n_train=4)
    with pytest.raises(cs.ShapeError, match="votes"):
        table(votes[:4], law)
    with pytest.raises(cs.ParameterError, match="'election'.*needs the learners' scores"):
        table(votes, law, election="run-off")
    for election in ("run off", None, 3):
        with pytest.raises(cs.ParameterError, match="'election'"):
            table(votes, law, election=election)
    with pytest.raises(cs.ParameterError, match="'votes'.*from 0 to 2.*7"):
        table(votes * 7, law)
    with pytest.raises(cs.ParameterError, match="finite"):
        cs.certify_scores(np.full((5, 2, 3), np.nan), law)
    with pytest.raises(cs.ParameterError, match="'n_classes'"):
        cs.certify_votes(votes, law)
    with pytest.raises(cs.ParameterError, match="'n_train'"):
        cs.certify_votes(votes, cs.Gaussian(1.0), n_classes=2)
    with pytest.raises(cs.ParameterError, match="'election'.*learners of a Partition alone"):
        cs.certify_votes(votes, cs.Gaussian(1.0), 100, 2, election="run-off")


def test_a_partition_is_a_law_like_others() -> None:
    law = cs.Partition(5, overlap=2, shifts=[0, 3], assign="index")
    assert repr(law) == "Partition(5, overlap=2, assign='index', shifts=[0, 3])"
    assert repr(cs.Partition(5)) == "Partition(5)" and cs.Partition(7, 2).get_params()["shifts"] is None
    assert eval(repr(law), {"Partition": cs.Partition}) == law == pickle.loads(pickle.dumps(law))
    assert hash(law) == hash(cs.Partition(5, 2, "index", [0, 3])) and law != cs.Partition(5, 2, "index")
    assert cs.Partition(5).set_params(n_parts=6, assign="features") == cs.Partition(6, assign="features")


def test_the_log_names_the_election(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="certssb"):
        table([[1]] * 5, cs.Partition(5))
    assert "1 of 1 samples certified by plurality of 5 learners, Partition(5)" in caplog.text


def test_a_damaged_file_of_a_partition_is_refused(tmp_path: Path) -> None:
    from certssb.certificates import _file

    certs = table([[1]] * 5, cs.Partition(5))
    good = _file.parts(certs._core, None)
    for wrong in (
        {"buckets": np.array([6])},
        {"buckets": np.array([-1])},
        {"buckets": np.array([1, 1])},
        {"record": np.array(str(good["record"]).replace('"n_members":5', '"n_members":6'))},
        {"record": np.array(str(good["record"]).replace('"n_learners":5', '"n_learners":4'))},
    ):
        parts = {**good, **wrong}
        content = io.BytesIO()
        np.savez(content, digest=np.array(_file.digest(parts)), **parts)
        with pytest.raises(cs.ParameterError, match="parts of a table"):
            _file.read("path", content.getvalue(), "it")
    parts = {name: value for name, value in good.items() if name != "buckets"}
    content = io.BytesIO()
    np.savez(content, digest=np.array(_file.digest(parts)), **parts)
    with pytest.raises(cs.ParameterError, match="buckets"):
        _file.read("path", content.getvalue(), "it")


def test_a_number_of_samples_says_all_where_norms_make_no_difference() -> None:
    votes, y = np.array([[0, 1, 1]] * 9 + [[1, 1, 0]] * 2), np.array([0, 1, 0])
    certs = cs.certify_votes(votes, cs.Partition(11), n_train=400, n_classes=2, election="plurality")
    for number in (0, 1, 2, 3):
        share = certs.certified_accuracy(y, cs.Threat(n_poisoned=number, labels=True))
        assert certs.certified_accuracy(y, n_poisoned=number, labels=True) == share
    assert certs.certified_accuracy(y, n_poisoned=1, labels=True) > certs.certified_accuracy(
        y, n_poisoned=3, labels=True
    )
    noised = cs.certify_votes(np.zeros((100, 3), int), cs.Gaussian(1.0), n_train=400, n_classes=2)
    with pytest.raises(cs.ParameterError, match="trigger_norm"):
        noised.certified_accuracy(y, n_poisoned=2)
