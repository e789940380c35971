"""The command line."""

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import Digits
from matplotlib.image import imread

import certssb as cs
from certssb import cli

FAST = [
    "--members", "30", "--epochs", "2", "--subsample", "150", "--sigma", "0.25", "--model", "linear",
    "--learning-rate", "0.05", "--seed", "0", "--quiet",
]  # fmt: skip


def run(*arguments: Any) -> int:
    return cli.main([str(argument) for argument in arguments])


def test_the_whole_job_on_the_digits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "folder"
    attack = ["--trigger", "one-pixel", "--rate", 0.01, "--norm", 0.5, "--target", 2]
    assert run("run", "--dataset", "digits", *attack, *FAST, "--out", out) == 0
    names = {path.name for path in out.iterdir()}
    assert names == {
        "certificates-clean.npz", "certificates-triggered.npz", "certificates.parquet", "certified_accuracy.png", "hints-clean.npz",
        "hints-triggered.npz", "members.npz",
        "report.html", "run.toml", "samples-clean.npz", "samples-triggered.npz", "summary.json", "votes-clean.npz", "votes-triggered.npz",
    }  # fmt: skip

    summary = json.loads((out / "summary.json").read_text())
    assert summary["law"] == "Subsample(Gaussian(sigma=0.25), size=150)"
    assert summary["n_poisoned"] == round(0.01 * summary["n_train"])
    assert summary["settings"]["norm"] == 0.5
    assert summary["record"]["model"] == "linear"
    assert summary["sound"] is True
    assert 'if edits="any" is asked for' in summary["guarantee"]
    assert set(summary["results"]) == {"clean", "triggered"}
    clean = summary["results"]["clean"]
    assert clean["accuracy"] > 0.5
    shares = clean["certified_accuracy_budget"]
    assert len(shares) == len(clean["trigger_norms"]) > 5
    assert all(later <= earlier for earlier, later in itertools.pairwise(shares))
    assert shares[0] <= clean["accuracy"]

    frame = pd.read_parquet(out / "certificates.parquet")
    assert frame["test"].value_counts().to_dict() == {
        name: results["n_samples"] for name, results in summary["results"].items()
    }
    table = cs.CertificateTable.load(out / "certificates-clean.npz")
    truth = frame.loc[frame["test"] == "clean", "y_true"].to_numpy()
    assert (table.prediction == truth).mean() == pytest.approx(clean["accuracy"])
    again = table.certified_accuracy(
        truth, n_poisoned=summary["n_poisoned"], trigger_norm=clean["trigger_norms"]
    )
    np.testing.assert_allclose(again, shares)
    assert (frame.loc[frame["test"] == "triggered", "y_true"] != 2).all()

    image = imread(out / "certified_accuracy.png")
    assert image.shape[0] > 400
    assert image.shape[1] > 600
    assert len(np.unique(image.reshape(-1, image.shape[2]), axis=0)) > 20

    printed = capsys.readouterr()
    assert summary["guarantee"] in printed.out
    assert (
        f"Predicted right and certified, over the trigger norm, at most {summary['n_poisoned']} of 1,346 training "
        "samples changed, labels as received\n" in printed.out
    )
    assert "given the target class" in printed.out
    assert f"Written to {out}" in printed.out
    assert printed.err == ""


def test_full_noise_has_a_radius_to_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = [
        "--members",
        20,
        "--epochs",
        1,
        "--model",
        "linear",
        "--learning-rate",
        0.1,
        "--sigma",
        0.1,
        "--quiet",
    ]
    assert run("run", "--classes", 0, 1, *settings, "--out", tmp_path) == 0
    results = json.loads((tmp_path / "summary.json").read_text())["results"]["clean"]
    assert results["radii"][0] == 0.0
    assert results["certified_accuracy"][0] > 0.5
    assert "attack_success_rate" not in results
    said = (
        "over the total L2 norm of changes to the features of all 269 training samples, labels as received\n"
    )
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("noise", "law"),
    [
        (["--cascade", "1", "0.5"], "Cascade([Gaussian(sigma=1.0), Gaussian(sigma=0.5)], thresholds=[0.2])"),
        (["--sigma", "0.5", "--sample-specific"], "SampleSpecific(sigma=0.5, guarantee='sound')"),
        (
            ["--cascade", "1", "0.5", "--thresholds", "0.1", "--subsample", "9"],
            "Cascade([Subsample(Gaussian(sigma=1.0), size=9), Subsample(Gaussian(sigma=0.5), size=9)], thresholds=[0.1])",
        ),
    ],
    ids=["cascade", "sample-specific", "cascade of subsamples"],
)
def test_noise_of_each_samples_own_size(tmp_path: Path, noise: list[str], law: str) -> None:
    options = ["--model", "linear", "--members", "40", "--epochs", "2", "--learning-rate", "0.01", "--quiet"]
    trigger = ["--trigger", "one-pixel"]
    assert cli.main(["run", "--dataset", "digits", *noise, *trigger, *options, "--out", str(tmp_path)]) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["law"] == law and summary["sound"]
    table = cs.CertificateTable.load(tmp_path / "certificates-clean.npz")
    assert repr(table.law) == law
    assert (table.radius is None) == ("Subsample" in law)
    assert "cascade" in (tmp_path / "report.html").read_text() or "Cascade" not in law


def test_an_archive_of_the_users(tmp_path: Path, digits: Digits) -> None:
    X_train, y_train, X_test, y_test = digits
    path = tmp_path / "mine.npz"
    names = np.array([f"digit {number}" for number in range(10)])
    np.savez(
        path, X_train=X_train.reshape(400, -1), y_train=names[y_train], X_test=X_test.reshape(100, -1), y_test=names[y_test]
    )  # fmt: skip
    assert run("run", "--dataset", path, *FAST, "--out", tmp_path / "out") == 0
    table = cs.CertificateTable.load(tmp_path / "out" / "certificates-clean.npz")
    assert set(table.prediction.tolist()) <= set(names.tolist())
    assert (table.prediction == names[y_test]).mean() > 0.5


def test_discrete_noise_and_label_noise(tmp_path: Path, digits: Digits) -> None:
    X_train, y_train, X_test, y_test = digits
    path = tmp_path / "binary.npz"
    np.savez(path, X_train=X_train > 0.5, y_train=y_train % 2, X_test=X_test > 0.5, y_test=y_test % 2)
    settings = [
        "--members",
        40,
        "--epochs",
        3,
        "--model",
        "linear",
        "--learning-rate",
        0.05,
        "--quiet",
        "--keep",
        0.9,
    ]
    assert run("run", "--dataset", path, *settings, "--out", tmp_path / "discrete") == 0
    results = json.loads((tmp_path / "discrete" / "summary.json").read_text())["results"]["clean"]
    assert results["flips"][0] == 0
    assert results["certified_accuracy_flips"][0] > 0.3
    labelled = [
        *FAST,
        "--classes",
        0,
        1,
        "--subsample",
        60,
        "--label-noise",
        0.1,
        "--labels",
        "--n-poisoned",
        1,
    ]
    assert run("run", *labelled, "--out", tmp_path / "labels") == 0
    summary = json.loads((tmp_path / "labels" / "summary.json").read_text())
    assert "LabelNoise(q=0.1)" in summary["law"]
    assert summary["results"]["clean"]["certified_accuracy_budget"][0] > 0.1


def test_members_are_kept_and_found_again(tmp_path: Path) -> None:
    kept = ["--checkpoint", tmp_path / "members"]
    assert run("run", *FAST, *kept, "--out", tmp_path / "one") == 0
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "members").iterdir()}
    assert len(written) == 30 + len(
        ("manifest.json", "history-planned-000030.json", "history-seen-000030.json")
    )
    assert run("run", *FAST, *kept, "--out", tmp_path / "two") == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "members").iterdir()} == written
    one, two = (pd.read_parquet(tmp_path / name / "certificates.parquet") for name in ("one", "two"))
    pd.testing.assert_frame_equal(one, two, check_exact=True)


@pytest.mark.parametrize(
    ("words", "recorded", "copies"),
    [
        (["shift"], cs.augment.Shift(), None),
        (["flip", "elastic"], cs.augment.Compose([cs.augment.Flip(), cs.augment.Elastic()]), 3),
        (["affine"], cs.augment.Affine(), 2),
    ],
)
def test_members_see_changed_copies(
    tmp_path: Path, words: list[str], recorded: Any, copies: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    option = [] if copies is None else ["--copies", copies]
    common = ["run", "--members", 60, "--seed", 0, "--quiet"]
    assert run(*common, "--augment", *words, *option, "--out", tmp_path) == 0
    record = json.loads((tmp_path / "summary.json").read_text())["record"]
    assert record["augment"] == recorded.describe()
    with pytest.raises(SystemExit):
        run("run", "--help")
    default = re.search(r"(\d+) by default. Other models", " ".join(capsys.readouterr().out.split()))
    assert default is not None
    assert record["copies"] == (int(default[1]) if copies is None else copies)


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in {
        ("--version",): f"certssb {cs.__version__}",
        ("--help",): "certify",
        ("run", "--help"): "--trigger",
    }.items():
        with pytest.raises(SystemExit) as caught:
            run(*arguments)
        assert caught.value.code == 0
        assert said in capsys.readouterr().out


def test_the_module_runs_too() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "certssb", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"certssb {cs.__version__}"


def test_votes_and_scores_of_others_are_certified(
    tmp_path: Path, digits: Digits, ensemble: cs.CertifiedClassifier, capsys: pytest.CaptureFixture[str]
) -> None:
    X_test = digits[2]
    np.save(tmp_path / "votes.npy", ensemble.votes(X_test))
    np.save(tmp_path / "scores.npy", ensemble.scores(X_test))
    common = ["--n-train", 400, "--sigma", 0.25, "--alpha", 0.01, "--out", tmp_path / "table.npz"]
    assert run("certify", tmp_path / "votes.npy", "--n-classes", 10, *common) == 0
    table = cs.CertificateTable.load(tmp_path / "table.npz")
    np.testing.assert_array_equal(table.radius, ensemble.certify(X_test).radius)
    assert table.guarantee in capsys.readouterr().out
    assert run("certify", tmp_path / "scores.npy", *common) == 0
    expected = cs.certify_scores(ensemble.scores(X_test), cs.Gaussian(0.25), 400, alpha=0.01)
    np.testing.assert_array_equal(cs.CertificateTable.load(tmp_path / "table.npz").p_lower, expected.p_lower)


def test_an_interrupted_run_is_status_130(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def cancelled(*arguments: Any, **settings: Any) -> None:
        raise cs.CancelledError("Training was cancelled; 3 of 30 members are finished and kept.")

    monkeypatch.setattr(cs.CertifiedClassifier, "fit", cancelled)
    assert run("run", *FAST, "--out", tmp_path) == 130
    assert "3 of 30 members are finished and kept" in capsys.readouterr().err


def test_the_settings_of_the_command_line_are_those_of_the_estimator() -> None:
    options = cli._parser().parse_args(["run"])
    defaults = cs.CertifiedClassifier().get_params()
    for name in ("epochs", "batch_size", "learning_rate", "device", "seed", "alpha"):
        assert getattr(options, name) == defaults[name], name


def test_a_run_under_label_noise_counts_labels_and_says_so(tmp_path: Path) -> None:
    options = [
        "--members",
        "200",
        "--model",
        "discriminant",
        "--label-noise",
        "0.4",
        "--alpha",
        "0.05",
        "--seed",
        "0",
        "--quiet",
    ]
    attack = ["--trigger", "one-pixel", "--classes", "0", "1"]
    assert run("run", "--dataset", "digits", *options, *attack, "--out", tmp_path) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["law"] == "LabelNoise(q=0.4)"
    sizes, shares = (
        summary["results"]["clean"]["counts"],
        summary["results"]["clean"]["certified_accuracy_counts"],
    )
    certs = cs.CertificateTable.load(tmp_path / "certificates-clean.npz")
    survived = certs.n_poisoned(trigger_norm=0.0, labels=True)
    assert survived.max() > 0 and sizes[0] == 0 and shares[0] > shares[-1]
    assert "features count as received" in summary["own_attack"]["sentence"]
    assert cli.main(["report", str(tmp_path)]) == 0


def test_the_attack_s_norm_is_short_and_never_below_what_was_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Single precision goes beyond 0.5 by 3e-8, which headings wrote as 0.5000000298023229."""
    from certssb.cli._inputs import _rounded_up

    for norm in np.random.default_rng(0).lognormal(0, 3, 1000).tolist():
        assert norm <= _rounded_up(norm) <= 1.0011 * norm
    attack = ["--trigger", "patch", "--rate", 0.01, "--norm", 0.5]
    assert run("run", "--dataset", "digits", *attack, *FAST, "--out", tmp_path) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["own_attack"]["trigger_norm"] == 0.5001
    assert "0.5001" in summary["own_attack"]["sentence"]

    # The terminal and the page write a share in the same way.
    said = capsys.readouterr().out
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for name in ("clean", "triggered"):
        (accuracy,) = re.findall(rf"^{name} test samples: \d+, accuracy ([\d.]+)", said, re.MULTILINE)
        assert f"<dd>{100 * float(accuracy):.2f}%</dd><dt>{name}: predicted right</dt>" in page


def test_sizes_end_with_what_is_certified_not_with_what_was_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table from 0 to 26 in steps of 5 hid that a partition certified up to 3 samples."""
    partition = ["--partition", 60, "--model", "discriminant", "--seed", "0", "--quiet"]
    assert run("run", "--dataset", "digits", "--n-poisoned", 200, *partition, "--out", tmp_path) == 0
    clean = json.loads((tmp_path / "summary.json").read_text())["results"]["clean"]
    assert 0 < clean["counts"][1] < 5 and clean["counts"][-1] == 200 and len(clean["counts"]) < 20
    assert clean["certified_accuracy_counts"][1] > 0 == clean["certified_accuracy_counts"][-2]
    assert "60 learners" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_run_without_a_norm_says_that_changes_of_any_size_count(tmp_path: Path) -> None:
    few = ["--members", 30, "--model", "discriminant", "--classes", 0, 1, "--seed", "0", "--quiet"]
    assert run("run", "--dataset", "digits", "--sigma", 0.5, *few, "--out", tmp_path / "open") == 0
    stated = ["--threat", "n_poisoned=2, trigger_norm=0.1"]
    assert run("run", "--dataset", "digits", "--sigma", 0.5, *few, *stated, "--out", tmp_path / "stated") == 0
    said = "No norm was asked for, so changes of any size count here"
    assert said in (tmp_path / "open" / "report.html").read_text(encoding="utf-8")
    assert said not in (tmp_path / "stated" / "report.html").read_text(encoding="utf-8")


def test_a_run_leaves_nothing_of_an_earlier_one_in_its_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["--dataset", "digits", "--members", 60, "--alpha", 0.01, "--seed", 0, "--quiet", "--out", tmp_path]
    assert run("run", *few, "--trigger", "one-pixel") == 0
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "samples-triggered.npz").write_bytes(b"mine as well")
    assert run("run", *few) == 0
    left = {path.name for path in tmp_path.iterdir() if "triggered" in path.name or path.suffix == ".txt"}
    assert left == {"notes.txt", "samples-triggered.npz"}
    said = capsys.readouterr().out.splitlines()
    assert "triggered" not in said[-1] and "notes" not in said[-1] and "certificates-clean.npz" in said[-1]
    # Sixty members of two samples each agree on nothing.
    assert any(line.startswith("No prediction is certified, not even against no change") for line in said)
