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
        "certificates-clean.npz", "certificates-triggered.npz", "certificates.parquet", "certified_accuracy.png", "report.html",
        "samples-clean.npz", "samples-triggered.npz", "summary.json",
    }  # fmt: skip

    summary = json.loads((out / "summary.json").read_text())
    assert summary["law"] == "Subsample(Gaussian(sigma=0.25), size=150)"
    assert summary["n_poisoned"] == round(0.01 * summary["n_train"])
    assert summary["settings"]["norm"] == 0.5
    assert summary["record"]["model"] == "linear"
    assert summary["sound"] is True
    assert "inserting or deleting samples is not covered" in summary["guarantee"]
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
        f"Certified accuracy over the trigger norm, {summary['n_poisoned']} poisoned samples:" in printed.out
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
    assert "Certified accuracy over the total L2 radius:" in capsys.readouterr().out


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


def save_arrays(path: Path, **change: Any) -> Path:
    arrays = {
        "X_train": np.zeros((9, 3)),
        "y_train": np.arange(9) % 2,
        "X_test": np.zeros((4, 3)),
        "y_test": np.arange(4) % 2,
    }
    arrays = {name: value for name, value in (arrays | change).items() if value is not None}
    np.savez(path, **arrays)
    return path


BAD_RUNS = {
    "unknown data set": (["--dataset", "imagenet"], "'--dataset'.*one of 'digits', 'mnist', 'cifar10' or a .npz file. Got 'imagenet'"),
    "no root": (["--dataset", "mnist"], "'--data-root'.*the folder that holds the mnist data. Got nothing"),
    "empty root": (["--dataset", "mnist", "--data-root", "{folder}"], "root.*MNIST"),
    "missing archive": (["--dataset", "{folder}/nothing.npz"], "nothing.npz"),
    "damaged archive": (["--dataset", "{folder}/damaged.npz"], "'--dataset'.*a .npz file of plain arrays. Got .*damaged.npz"),
    "incomplete archive": (["--dataset", "{folder}/incomplete.npz"], "'--dataset'.*X_train, y_train, X_test, y_test. Got one without y_test"),
    "pickled archive": (["--dataset", "{folder}/pickled.npz"], "'--dataset'.*plain arrays"),
    "unequal archive": (["--dataset", "{folder}/unequal.npz"], "'y_test'.*one label per test sample, 4. Got 3"),
    "NaN archive": (["--dataset", "{folder}/nan.npz"], "'X.*finite numbers. Got NaN"),
    "classes of an archive": (["--dataset", "{folder}/plain.npz", "--classes", "0", "2"], r"'y'.*given classes, \[0, 2\]. Got 1 at index 1"),
    "words for classes": (["--classes", "zero", "one"], "'classes'.*different numbers from 0 to 9"),
    "two noises": (["--sigma", "1", "--uniform", "1"], "'--cascade, --sigma, --uniform, --keep'.*at a time. Got 2"),
    "thresholds alone": (["--thresholds", "0.1"], "'--thresholds'.*--cascade"),
    "a cascade of one": (["--cascade", "0.5"], "'levels'.*at least two"),
    "sample-specific alone": (["--sample-specific"], "'--sample-specific'.*--sigma"),
    "sigma 0": (["--sigma", "0"], "'sigma'.*greater than 0, also in single precision. Got 0"),
    "few members": (["--members", "5"], "'n_members'.*at least 14.*Got 5"),
    "no members": (["--members", "0"], "'--members'.*at least 1. Got 0"),
    "device": (["--device", "tpu"], "'device'.*'cpu'.*Got 'tpu'"),
    "model": (["--model", "tree"], "'model'.*'linear'.*Got 'tree'"),
    "bound": (["--bound", "tight"], "'bound'.*'auto'.*Got 'tight'"),
    "alpha": (["--alpha", "2"], r"'alpha'.*\(0, 1\). Got 2"),
    "subsample": (["--subsample", "100000"], "'size'.*number of training samples.*Got 100000"),
    "labels": (["--sigma", "1", "--labels"], "'labels'.*False for Gaussian"),
    "n_poisoned": (["--subsample", "10", "--n-poisoned", "99999"], "'n_poisoned'.*number of training samples.*Got 99999"),
    "grey values": (["--keep", "0.9"], "'X'.*codes from 0 to 1"),
    "rate": (["--trigger", "one-pixel", "--rate", "2"], "'rate'.*Got 2"),
    "target": (["--trigger", "one-pixel", "--target", "77"], "'--target'.*one of 0, 1, .*9. Got 77"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "said"), BAD_RUNS.values(), ids=list(BAD_RUNS))
def test_bad_input_is_one_sentence_and_status_1(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "damaged.npz").write_bytes(b"PK\x03\x04 no archive")
    save_arrays(tmp_path / "incomplete.npz", y_test=None)
    save_arrays(tmp_path / "pickled.npz", y_test=np.array([0, "a", None, 1], dtype=object))
    save_arrays(tmp_path / "unequal.npz", y_test=np.zeros(3))
    save_arrays(tmp_path / "plain.npz")
    save_arrays(tmp_path / "nan.npz", X_test=np.full((4, 3), np.nan))
    filled = [argument.replace("{folder}", str(tmp_path)) for argument in arguments]
    assert (
        run(
            "run",
            "--members",
            20,
            "--epochs",
            1,
            "--model",
            "linear",
            "--quiet",
            "--out",
            tmp_path / "out",
            *filled,
        )
        == 1
    )
    err = capsys.readouterr().err
    assert err.startswith("certssb: ")
    assert err.count("\n") == 1
    assert re.search(said, err), err
    assert not (tmp_path / "out" / "summary.json").exists()


@pytest.mark.parametrize(
    "arguments",
    [[], ["fly"], ["run", "--trigger", "paint"], ["run", "--members", "many"], ["certify", "votes.npy"]],
)
def test_commands_that_do_not_exist_are_status_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 2
    assert "usage: certssb" in capsys.readouterr().err


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


@pytest.mark.parametrize(
    ("content", "arguments", "said"),
    [
        (np.zeros((30, 2), int), [], "'--n-classes'.*given with votes. Got nothing"),
        (np.full((30, 2), 7), ["--n-classes", 2], "'votes'.*from 0 to 1. Got 7"),
        (np.zeros((30, 2), int), ["--n-classes", 2, "--uniform", 1], "'n_features'.*Uniform.*Got None"),
        (np.full((30, 2, 2), 0.9), [], "'scores'.*sum to 1"),
        (b"no array", ["--n-classes", 2], "'votes'.*a .npy file of votes or scores. Got"),
        (b"PK\x03\x04 no archive", ["--n-classes", 2], "'votes'.*a .npy file of votes or scores. Got"),
        (None, ["--n-classes", 2], "votes.npy"),
    ],
)
def test_bad_votes_are_one_sentence_and_status_1(
    content: Any, arguments: list[Any], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "votes.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content)
    assert run("certify", path, "--n-train", 100, *arguments, "--out", tmp_path / "table.npz") == 1
    err = capsys.readouterr().err
    assert err.startswith("certssb: ")
    assert re.search(said, err), err
    assert not (tmp_path / "table.npz").exists()


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
