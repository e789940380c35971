"""Threats on the command line, in plots and in the page about a run."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import certssb as cs
from certssb import cli


def run(*arguments: Any) -> int:
    return cli.main([str(argument) for argument in arguments])


def test_a_plan_for_a_threat(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["plan", "--n-train", 5000, "--subsample-rate", 0.01]
    assert run(*asked, "--threat", "n_poisoned=20, edits=any") == 0
    plan = cs.Subsample(rate=0.01).plan(cs.Threat(20, edits="any"), n_train=5000)
    assert capsys.readouterr().out.strip() == str(plan)
    for wrong, said in (
        (["--threat", "n_poisoned=20", "--norm", 1], "'--norm' parameter must be left out beside --threat"),
        (["--threat", "20"], "'threat' parameter must be parts between commas"),
        (["--n-poisoned", 3], "'--norm' parameter must be given, or else --threat"),
        (["--threat", "share=1.5"], "'share' parameter"),
        (["--threat", "n_poisoned=2", "--subsample", 5], "'--subsample-rate' parameter must be left out"),
    ):
        assert run(*asked, *wrong) != 0
        assert said in capsys.readouterr().err


def test_votes_certified_against_a_threat(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "votes.npy", np.ones((1000, 3), dtype=int))
    asked = [
        "certify",
        tmp_path / "votes.npy",
        "--n-train",
        5000,
        "--n-classes",
        2,
        "--out",
        tmp_path / "table",
    ]
    threat = "modified=3, inserted=40, deleted=7, labels"
    assert run(*asked, "--subsample-rate", 0.004, "--threat", threat) == 0
    told = capsys.readouterr().out
    table = cs.CertificateTable.load(tmp_path / "table")
    assert table.statement(cs.Threat.parse(threat)) in told
    assert "holds(" in told and "3 of 3 predictions" in told
    assert run(*asked, "--sigma", 1, "--threat", threat) != 0
    assert "'edits' parameter must be 'modified' for Gaussian noise" in capsys.readouterr().err


def test_a_run_against_a_threat(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    threat = ["--threat", "n_poisoned=5, edits=any"]
    small = [
        "--dataset",
        "digits",
        "--members",
        800,
        "--seed",
        0,
        "--quiet",
        "--out",
        tmp_path,
        "--cosine",
        5,
    ]
    assert run("run", *small, *threat) == 0
    told = capsys.readouterr().out
    summary = json.loads((tmp_path / "summary.json").read_text())
    # Without any law the probability follows from the threat, never from the number of samples.
    assert summary["law"].startswith("Subsample(rate=0.") and "each with probability 0." in told
    assert summary["budget"] == {"n_poisoned": 5, "trigger_norm": "any", "labels": False, "edits": "any"}
    words = "over the number of training samples (of 1,346) changed, removed or added in any mix and any way"
    page = (tmp_path / "report.html").read_text()
    assert words in told and words in page
    shares = summary["results"]["clean"]["certified_accuracy_counts"]
    assert summary["results"]["clean"]["counts"][0] == 0 and shares[0] > 0.3
    assert run("report", tmp_path) == 0
    assert "follows from the share" not in capsys.readouterr().out
    assert run("run", *small, "--threat", "edits=inserted, share=1%") == 0
    assert "follows from the share, and so from the number of samples" in capsys.readouterr().out
    assert run("run", *small, "--threat", "inserted=5") == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["budget"] == {
        "n_poisoned": 5,
        "trigger_norm": "any",
        "labels": False,
        "edits": "inserted",
    }
    assert run("run", *small, "--threat", "modified=1, inserted=1") != 0
    assert "'--threat' parameter must be one number for a run" in capsys.readouterr().err


def test_a_curve_over_the_number_of_a_threat() -> None:
    certs = cs.certify_votes(np.ones((1000, 4), int), cs.Subsample(rate=0.01), n_train=5000, n_classes=2)
    make = cs.CertifiedAccuracyDisplay.from_certificates
    whole = make(certs, [1, 1, 1, 0], threat=cs.Threat(3, edits="any"))
    parts = make(certs, [1, 1, 1, 0], edits="any")
    most = int(certs.n_poisoned(edits="any")[0])
    assert (whole.radii == parts.radii).all() and (whole.accuracy == parts.accuracy).all()
    assert (whole.accuracy == np.where(whole.radii <= most, 0.75, 0.0)).all()
    assert "changed, removed or added" in str(whole.xlabel) and "in any mix" in str(whole.title)
    inserted = make(
        certs, [1, 1, 1, 0], threat=cs.Threat(share=0.1, edits="inserted"), counts=[0, 10, 10_000]
    )
    assert inserted.accuracy.tolist() == [0.75, 0.75, 0.0]
    with pytest.raises(cs.ParameterError, match="'threat'.*single number"):
        make(certs, [1, 1, 1, 0], threat=cs.Threat(edits={"inserted": 3}))
    with pytest.raises(cs.ParameterError, match="'n_poisoned'.*'threat' is given"):
        make(certs, [1, 1, 1, 0], n_poisoned=3, threat=cs.Threat(3))
