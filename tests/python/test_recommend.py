"""Which law: every recommended one reaches the threat with the votes stated and with no fewer, and what is measured is."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import numpy as np
import pytest

import certssb as cs
from certssb.cli import main
from certssb.exceptions import ParameterError, ShapeError
from certssb.recommending import Recommendation, RecommendedKNN, RecommendedLaw

THREATS = [
    (cs.Threat(50, labels=True, edits="any"), 5000, 10),
    (cs.Threat(40, edits="inserted"), 5000, 2),
    (cs.Threat(share=0.02, trigger_norm=1.0), 12665, 2),
    (cs.Threat(20, trigger_norm=0.5, labels=True), 2000, 3),
    (cs.Threat(30, trigger_norm=0.0, labels=True), 2000, 2),
    (cs.Threat(edits={"modified": 2, "inserted": 9, "deleted": 3}, trigger_norm=0.5), 3000, 2),
    (cs.Threat(40, edits="any", counted="symmetric difference"), 3000, 2),
    (cs.Threat(3, trigger_norm=0.5), 500, 2),
]


def cast(row: RecommendedLaw, votes: int, n_classes: int) -> Any:
    """So many votes for the class that loses ties, the others for class 0; the last members are those that agree."""
    return (np.arange(row.n_members) >= row.n_members - votes)[:, None] * (n_classes - 1)


def certified(row: RecommendedLaw, threat: cs.Threat, n_train: int, n_classes: int, votes: int) -> bool:
    table = cs.certify_votes(
        cast(row, votes, n_classes), row.law, n_train=n_train, n_classes=n_classes, n_features=784
    )
    return bool(table.holds(threat)[0]) and table.prediction[0] == n_classes - 1


@pytest.mark.parametrize(("threat", "n_train", "n_classes"), THREATS, ids=str)
def test_rows_need_the_votes_that_they_state_and_no_fewer(
    threat: cs.Threat, n_train: int, n_classes: int
) -> None:
    found = cs.recommend(threat, n_train=n_train, n_classes=n_classes, shape=(28, 28))
    assert len(found) >= 4 and found.best is found[0].law
    for row in found:
        assert certified(row, threat, n_train, n_classes, row.votes), row
        assert not certified(row, threat, n_train, n_classes, row.votes - 1), row
        assert row.agreement == row.votes / row.n_members <= 1 and row.n_seen >= 1
        assert row.cost == pytest.approx(row.n_members * row.n_seen / n_train)
        assert row.secret == (row.alpha is not None) == (not isinstance(row.law, cs.Partition))
        if row.alpha is not None and row.n_members == 1000:
            plan = row.law.plan(threat, n_train=n_train, n_classes=n_classes, n_features=784)
            assert plan.votes == row.votes


@pytest.mark.parametrize(("threat", "n_train", "n_classes"), THREATS, ids=str)
def test_a_member_sees_as_much_as_the_votes_allow(threat: cs.Threat, n_train: int, n_classes: int) -> None:
    for row in cs.recommend(threat, n_train=n_train, n_classes=n_classes):
        share = 0.75 if row.votes <= math.ceil(0.75 * row.n_members) else 0.95
        if isinstance(row.law, cs.Subsample) and row.law.size is not None and row.law.size < n_train:
            larger = cs.Subsample(row.law.inner, size=row.law.size + 1)
            votes = larger.plan(threat, n_train=n_train, n_classes=n_classes).votes
            assert votes is None or votes > share * row.n_members, row
        if isinstance(row.law, cs.Gaussian):
            quieter = cs.Gaussian(row.law.sigma * 0.8)
            votes = quieter.plan(threat, n_train=n_train, n_classes=n_classes).votes
            assert votes is None or votes > share * row.n_members, row


@pytest.mark.parametrize(("threat", "n_train", "n_classes"), THREATS, ids=str)
def test_no_overlap_and_no_run_off_needs_fewer_votes_whoever_gives_them(
    threat: cs.Threat, n_train: int, n_classes: int
) -> None:
    """Why they are no rows: with the votes of as many parts less one, they certify no better in the worst case."""
    rows = [
        row
        for row in cs.recommend(threat, n_train=n_train, n_classes=n_classes)
        if isinstance(row.law, cs.Partition)
    ]
    assert rows
    for row in rows:
        law: Any = row.law
        short = np.eye(n_classes, dtype=np.float32)[cast(row, row.votes - 1, n_classes)]
        for election in ("plurality", "run-off"):
            certs = cs.certify_scores(short, law, n_train, election=election)  # type: ignore[arg-type]
            assert not certs.holds(threat)[0]
        touched = int(cs.certify_votes(short.argmax(axis=2), law, n_train, n_classes).n_buckets[0]) + 1  # type: ignore[index]
        for overlap in (2, 3):
            wide = cs.Partition(law.n_parts, overlap, law.assign)
            n, n_agreeing = wide.n_learners, overlap * (row.votes - 1)
            # All learners of as many buckets as the threat touches, and others.
            fed = {(bucket + shift) % n for bucket in range(touched) for shift in wide.shifts}
            assert len(fed) <= n_agreeing
            agreeing = [*fed, *(learner for learner in range(n) if learner not in fed)][:n_agreeing]
            votes = np.zeros((n, 1), dtype=int)
            votes[agreeing] = n_classes - 1
            assert not cs.certify_votes(votes, wide, n_train, n_classes).holds(threat)[0]


def test_the_order_is_fewer_votes_then_less_noise_then_more_samples() -> None:
    found = cs.recommend(cs.Threat(share=0.02, trigger_norm=1.0), n_train=12665)
    needs = [row.votes > math.ceil(0.75 * row.n_members) for row in found]
    assert needs == sorted(needs) and 0 < sum(needs) < len(needs)

    def noise(law: cs.Law) -> int:
        plain = isinstance(law, cs.Partition) or (isinstance(law, cs.Subsample) and law.inner is None)
        return 0 if plain else 1 if isinstance(law, cs.Subsample) else 2

    for late in (False, True):
        rows = [row for row, need in zip(found, needs, strict=True) if need == late]
        assert [noise(row.law) for row in rows] == sorted(noise(row.law) for row in rows)
        for kind in range(3):
            seen = [row.n_seen for row in rows if noise(row.law) == kind]
            assert seen == sorted(seen, reverse=True)


def test_what_is_left_out_is_named_with_its_reason() -> None:
    anything = cs.recommend(cs.Threat(20, edits="any"), n_train=2000, shape=10).unreachable
    for law in ("Gaussian(...)", "Uniform(...)", "LabelNoise(...)", "Discrete(...)"):
        assert anything[law] == "insertions and deletions are not covered"
    labels = cs.recommend(cs.Threat(20, labels=True, trigger_norm=1.0), n_train=2000).unreachable
    assert labels["Gaussian(...)"] == "changed labels are not covered"
    assert labels["Uniform(...)"] in ("changed labels are not covered", "the shape of a sample is needed")
    features = cs.recommend(cs.Threat(20), n_train=2000).unreachable
    assert features["LabelNoise(...)"] == "changed features are not covered"
    assert "no setting reaches" in features["Gaussian(...)"]
    noisy = cs.recommend(cs.Threat(1, trigger_norm=40.0), n_train=50).unreachable
    assert any(
        "less than one sample" in r or "no setting" in r or "without noise" in r for r in noisy.values()
    )


def test_a_threat_that_nothing_covers_has_no_best() -> None:
    nothing = cs.recommend(cs.Threat(2000, edits="any"), n_train=2000)
    assert len(nothing) == 0 and list(nothing) == [] and "no law reaches this threat" in str(nothing)
    with pytest.raises(ParameterError, match="'threat'.*some law reaches"):
        nothing.best  # noqa: B018
    assert nothing.unreachable and "<table>" not in nothing._repr_html_()
    few = cs.recommend(cs.Threat(1), n_train=200, n_members=3)
    # Three members certify nothing by chance; learners of a partition are counted on their own.
    assert len(few) > 0 and all(isinstance(row.law, cs.Partition) for row in few)
    for n_train in (1, 2, 3):
        assert all(row.n_seen >= 1 for row in cs.recommend(cs.Threat(1), n_train=n_train))


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: cs.recommend(3, n_train=100), "'threat'.*a Threat"),  # type: ignore[arg-type]
        (lambda: cs.recommend(cs.Threat(3), n_train=0), "'n_train'"),
        (lambda: cs.recommend(cs.Threat(3), n_train=100, n_classes=1), "'n_classes'"),
        (lambda: cs.recommend(cs.Threat(3), n_train=100, alpha=1.0), "'alpha'"),
        (lambda: cs.recommend(cs.Threat(3), n_train=100, n_members=0), "'n_members'"),
        (lambda: cs.recommend(cs.Threat(3), n_train=100, shape=(0,)), "'shape'"),
        (lambda: cs.recommend(cs.Threat(3), n_train=100, shape="28x28"), "'shape'"),  # type: ignore[arg-type]
        (lambda: cs.recommend(cs.Threat(3), n_train=100, model="linear"), "'trusted'.*'model'"),
        (lambda: cs.recommend(cs.Threat(3), n_train=100, trusted=([[0.0]], [0])), "'model'.*'trusted'"),
        (lambda: cs.recommend(cs.Threat(3), n_train=100, trusted=3, model="linear"), "'trusted'"),  # type: ignore[arg-type]
        (lambda: cs.recommend(cs.Threat(3), 100, trusted=([[0.0]] * 4, [0, 1] * 2), model="linear"), "'trusted'.*8"),
        (lambda: cs.recommend(cs.Threat(3), 100, trusted=([[0.0]] * 9, [0] * 9), model="linear"), "'trusted'.*1 class"),
        (lambda: cs.recommend(cs.Threat(3), 100, trusted=([["a"]] * 9, [0, 1, 0] * 3), model="linear"), "'model'.*'X'"),
        (lambda: cs.recommend(cs.Threat(100), n_train=100).best, "'threat'.*some law"),
        (lambda: cs.recommend(cs.Threat(101), n_train=100), "'threat'.*at most 100 samples"),
    ],
)  # fmt: skip
def test_wrong_questions_are_refused_by_name(ask: Any, said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        ask()


def test_a_cost_of_a_thousand_is_written_as_one() -> None:
    found = cs.recommend(cs.Threat(3, trigger_norm=0.5), n_train=500)
    assert max(row.cost for row in found) == 1000.0
    assert "1,000" in str(found) and "e+" not in str(found) + found._repr_html_()


def test_a_size_that_follows_from_the_number_of_samples_is_warned_of() -> None:
    threat = cs.Threat(50, edits="any")
    found = [cs.recommend(threat, n_train=n, n_classes=10) for n in (4900, 5000)]
    laws = [{repr(row.law) for row in each} for each in found]
    # Only sizes differ, which is what the sentence says.
    assert all(law.startswith("Subsample(size=") for law in laws[0] ^ laws[1]) and laws[0] != laws[1]
    assert all(
        "Sizes follow from n_train, which insertions and deletions change" in str(each) for each in found
    )
    # Members see 22 samples under one and 21.9 under the other.
    assert repr(cs.recommend(threat, n_train=5100, n_classes=10).best).startswith("Subsample(rate=")
    share = cs.recommend(cs.Threat(share=0.01, edits="any"), n_train=5000, n_classes=10).sentence
    assert "so do all of these laws" in share and "Sizes follow" not in share
    few = cs.recommend(threat, n_train=5000, n_classes=10, n_members=3)
    assert len(few) and "Sizes follow" not in few.sentence  # partitions only


def test_a_recommendation_is_a_table_wherever_it_is_looked_at() -> None:
    found = cs.recommend(cs.Threat(20, trigger_norm=0.5), n_train=2000, n_classes=2)
    assert isinstance(found, Recommendation) and found[:2] == (found[0], found[1]) and found[0] in found
    text, page, frame = str(found), found._repr_html_(), found.to_frame()
    for row in found:
        assert repr(row.law) in text and f"{row.votes:,} of {row.n_members:,}" in page
    assert "no data were looked at" in text and "Not recommended" in page and "Sizes follow" not in text
    assert frame["law"].tolist() == [row.law for row in found] and frame["votes"].tolist() == [
        row.votes for row in found
    ]
    assert "accuracy" not in frame and "certified share" not in text
    with pytest.raises(ParameterError, match="'recommendation'.*trusted"):
        found.plot()


@pytest.fixture(scope="module")
def measured() -> Recommendation:
    X, y = cs.datasets.load_digits(classes=(0, 1, 2))
    return cs.recommend(
        cs.Threat(20, trigger_norm=0.5),
        n_train=2000,
        n_classes=3,
        trusted=(X[:120], y[:120]),
        model="discriminant",
        n_trial=40,
    )


def test_candidates_are_measured_on_trusted_samples(measured: Recommendation) -> None:
    shares = [row.certified or 0.0 for row in measured]
    assert shares == sorted(shares, reverse=True) and shares[0] > 0.7
    assert all((row.certified or 0.0) <= (row.accuracy or 0.0) for row in measured)
    # Noise on everything, for ten triggers, leaves nothing: the choice is not made by the votes alone.
    worst = [row for row in measured if isinstance(row.law, cs.Gaussian)]
    assert worst and all((row.certified or 0.0) < 0.5 < (measured[0].accuracy or 0.0) for row in worst)
    # Sixty samples train: of 30 at most a member's are drawn, and the row says where the law has more.
    for row in measured:
        assert row.scaled == (round(row.n_seen) > 30)
    assert "on 120 trusted samples, and on nothing else" in measured.sentence
    assert {"accuracy", "certified", "scaled"} <= set(measured.to_frame())
    assert "certified share" in str(measured) and "(fewer samples)" in measured._repr_html_()
    # What cannot be trained on these features is left out, by name.
    assert any("codes from 0 to 1" in reason for reason in measured.unreachable.values())


def test_what_was_measured_is_what_the_votes_of_such_members_say(measured: Recommendation) -> None:
    X, y = cs.datasets.load_digits(classes=(0, 1, 2))
    X, y = X[:120], y[:120]
    row = next(
        row for row in measured if not row.scaled and isinstance(row.law, cs.Subsample) and row.law.size
    )
    order = np.random.default_rng(0).permutation(120)
    right = survived = 0
    for own, other in ((order[:60], order[60:]), (order[60:], order[:60])):
        clf = cs.CertifiedClassifier("discriminant", row.law, n_members=40, seed=0, progress=False)
        votes = clf.fit(X[own], y[own], classes=[0, 1, 2]).votes(X[other])
        certs = cs.certify_votes(np.tile(votes, (25, 1)), row.law, n_train=2000, n_classes=3)
        right += int((certs.prediction == y[other]).sum())
        survived += int(((certs.prediction == y[other]) & certs.holds(measured.threat)).sum())
    assert (row.accuracy, row.certified) == (right / 120, survived / 120)


def test_the_picture_has_a_point_for_each_law(measured: Recommendation) -> None:
    pytest.importorskip("matplotlib").use("Agg")
    display = measured.plot()
    places = [tuple(points.get_offsets()[0]) for points in display.points_]
    assert places == [(row.accuracy, row.certified) for row in measured]
    legend = display.ax_.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [repr(row.law) for row in measured]
    close = cs.RecommendationDisplay([0.93, 0.96], [0.5, 0.5], ["one", "two"]).plot()
    for axis in (close.ax_.xaxis, close.ax_.yaxis):
        ticks, labels = axis.get_majorticklocs(), axis.get_ticklabels()
        written = [float(label.get_text().rstrip("%")) for label in labels]
        assert written == pytest.approx([100 * tick for tick in ticks]), "no tick is rounded"
    with pytest.raises(ShapeError, match="'certified'"):
        cs.RecommendationDisplay([0.5], [0.5, 0.5], ["one"])
    with pytest.raises(ParameterError, match="'accuracy'"):
        cs.RecommendationDisplay([1.5], [0.5], ["one"])


def test_the_command_line_recommends(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["recommend", "--threat", "n_poisoned=50, edits=any", "--n-train", "5000", "--n-classes", "10"]
    found = cs.recommend(cs.Threat(50, edits="any"), 5000, 10)
    assert main(words) == 0 and capsys.readouterr().out.strip() == str(found)
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [law["law"] for law in told["laws"]] == [repr(row.law) for row in found]
    assert told["laws"][0]["votes"] == found[0].votes and told["unreachable"] == found.unreachable
    assert cs.Threat.parse(told["threat"]) == found.threat
    assert main([*words[:2], "share=1.5", *words[3:]]) == 2
    assert "'share'" in capsys.readouterr().err
    assert [row["classifier"] for row in told["nearest"]] == []
    words = ["recommend", "--threat", "n_poisoned=3, trigger_norm=0.5", "--n-train", "500"]
    rows = cs.recommend(cs.Threat(3, trigger_norm=0.5), 500).nearest
    assert main(words) == 0 and repr(rows[0].classifier) in capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["nearest"]
    assert [row["probability"] for row in told] == [row.probability for row in rows]


NEIGHBOURS = [
    (cs.Threat(1, trigger_norm=0.3), 4),
    (cs.Threat(edits={"modified": 2, "inserted": 0, "deleted": 0}, trigger_norm=0.2), 3),
    (cs.Threat(share=0.3, trigger_norm=0.25), 4),
]


@pytest.mark.parametrize(("threat", "n_train"), NEIGHBOURS, ids=str)
def test_the_nearest_neighbour_is_certified_from_the_stated_probability_on(
    threat: cs.Threat, n_train: int
) -> None:
    """On sets so small that every choice of samples is moved either way, as far as the threat allows: the prediction stays."""
    rows = cs.recommend(threat, n_train).nearest
    assert len(rows) == 3 and [row.sigma for row in rows] == sorted((row.sigma for row in rows), reverse=True)
    X, y = np.zeros((n_train, 2)), np.arange(n_train) // 2
    X[:, 0] = np.arange(n_train)
    inputs = np.zeros((20, 2))
    inputs[:, 0] = np.linspace(-2, X.max() + 2, 20)
    n, norm = threat.number(n_train), threat.trigger_norm
    moves = list(itertools.product((-norm, norm), repeat=n))
    seen = set()
    for row in rows:
        certs = row.classifier.fit(X, y, classes=[0, 1]).certify(inputs)
        kept = certs.holds(threat)
        assert (kept == (certs.p_lower >= row.probability)).all(), row
        seen |= set(kept.tolist())
        if row is not rows[1]:
            continue
        some = np.flatnonzero(kept)[::3]
        for chosen, move in itertools.product(itertools.combinations(range(n_train), n), moves):
            changed = X.copy()
            changed[list(chosen), 0] += move
            after = row.classifier.fit(changed, y, classes=[0, 1]).predict(inputs[some])
            assert (after == certs.prediction[some]).all()
    assert all("labels" in row.not_covered and row.n_seen == n_train for row in rows)
    assert seen == {False, True}


def test_the_nearest_neighbour_is_left_out_where_its_theorem_says_nothing() -> None:
    for threat, why in (
        (cs.Threat(3, trigger_norm=0.5, labels=True), "changed labels are not covered"),
        (cs.Threat(3, trigger_norm=0.5, edits="any"), "insertions and deletions are not covered"),
        (cs.Threat(3, edits="inserted"), "insertions and deletions are not covered"),
        (cs.Threat(edits={"modified": 2, "inserted": 1, "deleted": 0}, trigger_norm=0.5), "insertions and"),
        (cs.Threat(3), "no noise reaches the threat"),
    ):
        found = cs.recommend(threat, n_train=500)
        assert found.nearest == () and found.unreachable["CertifiedKNN(...)"].startswith(why), threat
        assert "exactly computed" not in str(found)
    found = cs.recommend(cs.Threat(3, trigger_norm=0.5), n_train=500, n_members=3)
    # Too few members show nothing; the neighbour has none.
    assert not any(isinstance(row.law, cs.Gaussian) for row in found) and len(found.nearest) == 3
    for row in found.nearest:
        assert isinstance(row, RecommendedKNN) and repr(row.classifier) in str(found)
        assert repr(row.classifier) in found._repr_html_()
    assert "accuracy" not in str(found).partition("exactly computed")[2]


def test_the_nearest_neighbour_is_measured_among_trusted_samples(measured: Recommendation) -> None:
    X, y = cs.datasets.load_digits(classes=(0, 1, 2))
    X, y = X[:120], y[:120]
    shares = [row.certified or 0.0 for row in measured.nearest]
    assert len(shares) == 3 and shares == sorted(shares, reverse=True)
    order = np.random.default_rng(0).permutation(120)
    for row in measured.nearest:
        right = survived = 0
        for own, other in ((order[:60], order[60:]), (order[60:], order[:60])):
            certs = row.classifier.fit(X[own], y[own], classes=[0, 1, 2]).certify(X[other])
            correct = certs.prediction == y[other]
            right += int(correct.sum())
            survived += int((correct & (certs.radius > 20**0.5 * 0.5)).sum())
        assert (row.accuracy, row.certified) == (right / 120, survived / 120)
    assert max(row.accuracy or 0.0 for row in measured.nearest) > 0.9
    assert "certified share" in str(measured).partition("exactly computed")[2]
