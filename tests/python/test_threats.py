"""Threats: stated once, read the same by tables, plans, plots, goals and the command line."""

from __future__ import annotations

import copy
import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import certssb as cs
from certssb.exceptions import ParameterError

INF = math.inf
ORACLE = json.loads((Path(__file__).parents[1] / "oracle" / "edits.json").read_text())
THREATS = [
    cs.Threat(50, edits="any"),
    cs.Threat(50, edits="any", counted="symmetric difference", labels=True),
    cs.Threat(share=0.02, trigger_norm=1.0),
    cs.Threat(edits={"modified": 3, "inserted": 40, "deleted": 7}, trigger_norm=0.5),
    cs.Threat(7, edits="inserted"),
    cs.Threat(7, edits="deleted"),
    cs.Threat(0),
]


def agreeing(law: cs.Law, n_train: int = 12665, against: int = 0) -> cs.CertificateTable:
    votes = np.array([[1]] * (1000 - against) + [[0]] * against)
    return cs.certify_votes(votes, law, n_train=n_train, n_classes=2)


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_threats_are_values(threat: cs.Threat) -> None:
    for same in (
        pickle.loads(pickle.dumps(threat)),
        copy.deepcopy(threat),
        cs.Threat.parse(str(threat)),
        eval(repr(threat), {"Threat": cs.Threat}),
    ):
        assert same == threat and hash(same) == hash(threat)
    assert {threat: 1}[copy.copy(threat)] == 1 and threat != str(threat)
    with pytest.raises(AttributeError, match="cannot be changed"):
        threat.labels = True  # type: ignore[misc]
    if isinstance(threat.edits, dict):
        threat.edits["modified"] = 1000
        assert threat.n_poisoned == 50


def test_a_share_is_the_number_that_was_typed() -> None:
    assert cs.Threat(share=0.29).number(100) == 29 and cs.Threat(share=0.02).number(12665) == 253
    assert cs.Threat.parse("share=2%").share == 0.02 and cs.Threat.parse("share=0.1%").share == 0.001
    assert cs.Threat(share=1.0).number(7) == 7 and cs.Threat(share=0.0).number(7) == 0
    certs = agreeing(cs.Subsample(size=30))
    assert (certs.holds(share=0.02) == certs.holds(253)).all()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: cs.Threat(), "'n_poisoned'.*none of them"),
        (lambda: cs.Threat(3, share=0.1), "'n_poisoned'.*n_poisoned, share"),
        (lambda: cs.Threat(-1), "'n_poisoned'.*at least 0"),
        (lambda: cs.Threat(2**70), "'n_poisoned'.*at least 0. Got 1180591620717411303424"),
        (lambda: cs.Threat(True), "'n_poisoned'"),
        (lambda: cs.Threat(share=1.01), r"'share'.*\[0, 1\]. Got 1.01"),
        (lambda: cs.Threat(share=-0.1), "'share'"),
        (lambda: cs.Threat(share=math.nan), "'share'"),
        (lambda: cs.Threat(1, trigger_norm=-1.0), "'trigger_norm'"),
        (lambda: cs.Threat(1, trigger_norm=math.nan), "'trigger_norm'"),
        (lambda: cs.Threat(1, labels="no"), "'labels'"),  # type: ignore[arg-type]
        (lambda: cs.Threat(1, edits="all"), "'edits'.*'any'"),  # type: ignore[arg-type]
        (lambda: cs.Threat(edits={}), "'edits'.*empty"),
        (lambda: cs.Threat(edits={"moved": 1}), "'edits'.*Got 'moved'"),
        (lambda: cs.Threat(edits={"inserted": -1}), "'edits'"),
        (lambda: cs.Threat(4, edits={"inserted": 4}), "'n_poisoned'.*numbers of edits"),
        (lambda: cs.Threat(1, counted="bags"), "'counted'.*symmetric difference"),  # type: ignore[arg-type]
        (lambda: cs.Threat.parse("n_poisoned"), "'threat'"),
        (lambda: cs.Threat.parse("n_poisoned=4, n_poisoned=5"), "'threat'.*twice"),
        (lambda: cs.Threat.parse("norm=4"), "'threat'.*Got 'norm=4'"),
        (lambda: cs.Threat.parse("inserted=4, edits=any"), "'threat'"),
        (lambda: cs.Threat.parse(7), "'threat'.*text"),  # type: ignore[arg-type]
    ],
)
def test_bad_threats_are_refused_by_name(make: Any, said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        make()


@pytest.mark.parametrize("law", [cs.Subsample(size=30), cs.Subsample(cs.Gaussian(1.0), rate=0.004)], ids=repr)
@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_whoever_is_asked_reads_the_same(law: cs.Law, threat: cs.Threat) -> None:
    certs = agreeing(law)
    holds = certs.holds(threat)
    number = threat.number(12665)
    kind = {"edits": threat.edits, "counted": threat.counted}
    words = {"trigger_norm": threat.trigger_norm, "labels": threat.labels, **kind}
    if not isinstance(threat.edits, dict):
        words["n_poisoned"] = number
        assert (certs.n_poisoned(threat.trigger_norm, threat.labels, **kind) >= number) == holds
    assert certs.holds(**words) == holds == certs.holds(threat=threat)
    assert certs.certified_accuracy([1], threat) == float(holds[0])
    assert certs.certified_accuracy([1], threat=threat) == float(holds[0])
    assert (certs._columns(certs._asked(threat, None, None, False, None, None)).popitem()[1] == holds).all()
    plan = law.plan(threat, n_train=12665)
    assert (plan.votes is not None) == holds[0]
    assert repr(plan) == repr(law.plan(n_train=12665, **words))
    sentence = certs.statement(threat)
    assert "with probability at least 1 - 0.001" in sentence and law_words(law) in sentence
    assert f"{number:,}" in sentence or isinstance(threat.edits, dict)


def law_words(law: cs.Law) -> str:
    assert isinstance(law, cs.Subsample)
    return f"subsample of {law.size}" if law.rate is None else f"with probability {law.rate}"


def test_the_column_of_a_table_is_named_by_the_call_that_answers_it() -> None:
    certs = agreeing(cs.Subsample(rate=0.004))
    for threat in THREATS:
        name = list(certs._columns(certs._asked(threat, None, None, False, None, None)))[-1]
        assert name.startswith("holds(")
        again = eval(f"certs.{name}", {"certs": certs, "inf": INF})
        assert (again == certs.holds(threat)).all()
    assert list(certs._columns(certs._asked(None, None, None, False, "any", None)))[-1] == (
        "n_poisoned(trigger_norm=inf, edits='any')"
    )
    assert "n_poisoned(trigger_norm=inf, edits='any')" in str(certs.show(edits="any"))


def test_the_words_of_before_build_the_same_threat() -> None:
    certs = agreeing(cs.Subsample(cs.Gaussian(1.0), size=100))
    threat = cs.Threat(253, trigger_norm=1.0)
    assert certs.holds(253, 1.0) == certs.holds(threat) == certs.holds(n_poisoned=253, trigger_norm=1.0)
    assert certs.statement(threat).count("at most 253 of its samples are changed in place") == 1
    law = cs.Subsample(cs.Gaussian(1.0), size=100)
    assert repr(law.plan(12665, 253, 1.0)) == repr(law.plan(threat, n_train=12665))


@pytest.mark.parametrize("threat", [t for t in THREATS if t.edits != "modified"], ids=str)
@pytest.mark.parametrize(
    "law",
    [cs.Gaussian(1.0), cs.LabelNoise(0.2), cs.Discrete(0.8), cs.Gaussian(0.5) & cs.LabelNoise(0.1)],
    ids=repr,
)
def test_what_a_law_cannot_say_is_refused_with_those_that_can(law: cs.Law, threat: cs.Threat) -> None:
    certs = agreeing(law)
    for ask in (
        lambda: certs.holds(threat),
        lambda: certs.certified_accuracy([1], threat),
        lambda: certs.statement(threat),
        lambda: law.plan(threat, n_train=12665),
    ):
        with pytest.raises(
            ParameterError, match=r"'edits'.*Subsample\(size=\.\.\.\), Subsample\(rate=.*Partition"
        ):
            ask()
    assert "inserting or deleting samples is not covered" in certs.guarantee


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda certs: certs.holds(cs.Threat(1), trigger_norm=1.0), "'trigger_norm'.*beside a threat"),
        (lambda certs: certs.holds(cs.Threat(1), threat=cs.Threat(2)), "'threat'.*two"),
        (lambda certs: certs.holds(threat=3), "'threat'.*a Threat"),
        (lambda certs: certs.holds(), "'n_poisoned'"),
        (lambda certs: certs.holds(12666), "'n_poisoned'.*12665"),
        (lambda certs: certs.holds(cs.Threat(12666, edits="any")), "'edits'.*12665"),
        (
            lambda certs: certs.holds(cs.Threat(edits={"modified": 12666, "deleted": 1})),
            "'n_poisoned'.*12665",
        ),
        (lambda certs: certs.trigger_norm(), "'n_poisoned'"),
        (lambda certs: certs.n_poisoned(edits={"inserted": 3}), "'edits'.*where a number is asked"),
        (lambda certs: certs.frontier([1], edits={"inserted": 3}), "'edits'"),
        (lambda certs: certs.certified_accuracy([1], cs.Threat(1), trigger_norm=1.0), "'trigger_norm'"),
        (lambda certs: certs.to_frame(cs.Threat(1), n_poisoned=3), "'n_poisoned'.*beside a threat"),
        (lambda certs: certs.law.plan(cs.Threat(1)), "'n_train'"),
        (lambda certs: certs.law.plan(cs.Threat(1), n_train=-3), "'n_train'"),
        (lambda certs: cs.Until([[0.0]], threat=3), "'threat'"),
        (lambda certs: cs.Until([[0.0]], 3, 1.0, threat=cs.Threat(3)), "'n_poisoned'.*beside a threat"),
        (lambda certs: cs.Until([[0.0]]), "'n_poisoned'"),
    ],
)
def test_questions_with_too_much_or_too_little_in_them(ask: Any, said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        ask(agreeing(cs.Subsample(size=30)))


def directional(law: cs.Subsample, n: int, inserted: int, deleted: int) -> float:
    """What p_A - p_B has to exceed for edits that lead one way, by the formulas of the design."""
    if law.rate is not None:
        rest = 1 - law.rate
        missed, other, q = rest**deleted, rest**inserted, rest ** (inserted - deleted)
    else:
        k, m = law.size, n - deleted + inserted
        assert k is not None
        missed = math.comb(n - deleted, k) / math.comb(n, k)
        other = math.comb(n - deleted, k) / math.comb(m, k)
        q = math.comb(n, k) / math.comb(m, k)
    return (1 - missed) + (1 - other) / q


@pytest.mark.parametrize("row", ORACLE[::3], ids=lambda row: " ".join(map(str, row.values())))
def test_tables_agree_with_the_reference_on_the_worse_of_both_ways(row: dict[str, Any]) -> None:
    numbers = {kind: row[kind] for kind in ("modified", "inserted", "deleted")}
    law = cs.Subsample(size=row["size"]) if row["law"] == "fixed" else cs.Subsample(rate=row["rate"])
    n_train = row["n"] or 5000
    votes = np.array([np.arange(1000) < against for against in range(0, 500, 7)]).T.astype(int)
    certs = cs.certify_votes(votes, law, n_train=n_train, n_classes=2)
    gap = certs.p_lower - certs.p_upper
    threat = cs.Threat(edits=numbers, labels=True)
    # An unlimited modification is one sample of each side.
    inserted, deleted = (row["modified"] + row[kind] for kind in ("inserted", "deleted"))
    assert directional(law, n_train, inserted, deleted) == pytest.approx(row["need"], abs=1e-9)
    need = max(row["need"], directional(law, n_train, deleted, inserted))
    assert (certs.holds(threat) == (gap > need + 1e-9))[abs(gap - need) > 1e-9].all()


def test_statements_say_who_may_have_done_what_before_or_after() -> None:
    certs = agreeing(cs.Subsample(rate=0.004))
    both_ways = "for every training set that the received one becomes, or that became the received one, when at most 40 "
    inserted = certs.statement(cs.Threat(40, edits="inserted"))
    assert f"{both_ways}new samples of any kind are added, under" in inserted
    deleted = certs.statement(cs.Threat(40, edits="deleted"))
    assert f"{both_ways}of its samples are removed, under" in deleted
    anything = certs.statement(cs.Threat(40, edits="any"))
    assert (
        f"{both_ways}samples are changed, removed or added, in any mix and in any way, labels included"
        in anything
    )
    assert "(a changed sample counts once)" in anything
    both = certs.statement(cs.Threat(40, edits="any", counted="symmetric difference"))
    assert "(a changed sample counts twice, as one removed and one added)" in both
    fixed = agreeing(cs.Subsample(size=30))
    assert "while the others stay in their order" in fixed.statement(cs.Threat(40, edits="any"))
    assert "order" not in anything and "order" not in fixed.statement(cs.Threat(40))
    partition = cs.certify_votes([[1]] * 50, cs.Partition(50), n_classes=2)
    assert f"{both_ways}of its samples are removed, provided" in partition.statement(
        cs.Threat(40, edits="deleted")
    )


def test_headings_say_that_both_ways_are_meant() -> None:
    words = {kind: cs.Threat(7, edits=kind).words(100) for kind in ("inserted", "deleted")}  # type: ignore[arg-type]
    assert (
        words["inserted"]
        == "at most 7 samples of any kind added to 100 training samples, or removed from them"
    )
    assert words["deleted"] == "at most 7 samples removed from 100 training samples, or added to them"
    mixed = cs.Threat(edits={"inserted": 4, "deleted": 3}).words(100)
    assert mixed == (
        "at most 3 of 100 training samples removed and at most 4 of any kind added, before they were received or after"
    )
    assert "before" not in cs.Threat(edits={"inserted": 4, "deleted": 4}).words(100)


def test_a_kind_of_edit_of_which_there_is_none_goes_without_saying() -> None:
    certs = cs.certify_votes([[1]] * 50, cs.Subsample(size=3), n_train=100, n_classes=2)
    for edits, words in (
        ({"inserted": 7}, cs.Threat(7, edits="inserted").words(100)),
        ({"deleted": 1}, cs.Threat(1, edits="deleted").words(100)),
        ({"modified": 2}, cs.Threat(2).words(100)),
        ({"modified": 0}, cs.Threat(0).words(100)),
        (
            {"modified": 2, "deleted": 1},
            (
                "at most 2 of 100 training samples changed in any of their features, labels as received, and at most 1 "
                "removed, before they were received or after"
            ),
        ),
    ):
        threat = cs.Threat(edits=edits)
        assert threat.words(100) == words
        assert "at most 0" not in certs.statement(threat) or not any(edits.values())
        assert bool(certs.holds(threat)[0])
    both = certs.statement(cs.Threat(edits={"modified": 2, "deleted": 1}))
    assert "and with its label as received, and at most 1 is removed, while" in both


@pytest.mark.parametrize("law", [cs.Subsample(size=30), cs.Subsample(rate=0.01)], ids=repr)
def test_what_is_asked_one_way_is_answered_both_ways(law: cs.Subsample) -> None:
    n, one_way = 1000, 0
    for against in range(0, 400, 23):
        certs = agreeing(law, n_train=n, against=against)
        gap = float(certs.p_lower[0] - certs.p_upper[0])
        for inserted, deleted in [(0, 12), (12, 0), (30, 5), (5, 30), (0, 45), (45, 0), (20, 21)]:
            onward, back = (
                gap > directional(law, n, *way) for way in ((inserted, deleted), (deleted, inserted))
            )
            one_way += onward != back
            threat = cs.Threat(edits={"inserted": inserted, "deleted": deleted})
            assert certs.holds(threat)[0] == (onward and back), (against, inserted, deleted)
            plan = law.plan(threat, n_train=n)
            assert (plan.votes is not None and 1000 - against >= plan.votes) == certs.holds(threat)[0]
            for kind, number in (("inserted", inserted), ("deleted", deleted)):
                if inserted + deleted == number > 0:
                    assert certs.holds(number, edits=kind)[0] == (onward and back)
        numbers = {kind: int(certs.n_poisoned(edits=kind)[0]) for kind in ("inserted", "deleted")}  # type: ignore[arg-type]
        assert numbers["inserted"] == numbers["deleted"]
    # Some predictions hold one way only, and are not certified.
    assert one_way > 5


def test_more_samples_may_have_been_taken_out_than_there_are() -> None:
    few = cs.certify_votes([[1]] * 1000, cs.Subsample(rate=1e-4), n_train=100, n_classes=2)
    assert few.n_poisoned(edits="deleted")[0] == few.n_poisoned(edits="inserted")[0] > 1000
    assert few.holds(1000, edits="deleted")[0] and few.holds(edits={"modified": 60, "deleted": 900})[0]


def test_partitions_answer_threats_in_buckets() -> None:
    votes = np.array([[1]] * 40 + [[0]] * 10)
    content = cs.certify_votes(votes, cs.Partition(50), n_classes=2)
    buckets = int(content.n_buckets[0])
    assert buckets > 4
    for kind in ("inserted", "deleted"):
        assert content.n_poisoned(edits=kind)[0] == buckets
    assert content.n_poisoned(edits="any")[0] == buckets // 2
    assert content.n_poisoned(edits="any", counted="symmetric difference")[0] == buckets
    mixed = {"modified": 1, "inserted": 1, "deleted": 1}
    assert content.holds(edits=mixed)[0] == (4 <= buckets)
    assert not content.holds(edits={**mixed, "deleted": buckets - 2})[0]
    threat = cs.Threat(buckets // 2, edits="any")
    assert content.holds(threat)[0] and not content.holds(buckets // 2 + 1, edits="any")[0]
    assert "with certainty" in content.statement(threat) and "in any mix" in content.statement(threat)
    with pytest.raises(ParameterError, match="'share'.*unknown"):
        content.holds(share=0.1)
    index = cs.certify_votes(votes, cs.Partition(50, assign="index"), n_classes=2)
    assert index.n_poisoned()[0] == buckets
    with pytest.raises(ParameterError, match="'edits'.*partition"):
        index.holds(threat)


def test_a_symmetric_difference_is_within_what_a_cascade_answers_for_it() -> None:
    levels = [cs.Subsample(size=20), cs.Subsample(size=5)]
    votes = np.ones((2, 1000, 1), dtype=int)
    certs = cs.certify_votes(votes, cs.Cascade(levels, thresholds=[0.5]), n_train=2000, n_classes=2)
    most = int(certs.n_poisoned(edits="any", counted="symmetric difference")[0])
    assert most >= 4
    # Whatever lies within it, taken apart: so many inserted, the others deleted; modified ones count two.
    for inserted in range(0, most + 1, max(1, most // 7)):
        assert certs.holds(edits={"inserted": inserted, "deleted": most - inserted})[0], inserted
        assert certs.holds(edits={"modified": inserted // 2, "deleted": most - inserted})[0], inserted
