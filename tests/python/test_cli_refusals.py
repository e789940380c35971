"""Wrong words on the command line: one sentence, status 2, no traceback, and before any work."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import certssb as cs
from certssb import cli


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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that are nearly right."""
    folder = tmp_path_factory.mktemp("wrong")
    (folder / "damaged.npz").write_bytes(b"PK\x03\x04 no archive")
    (folder / "empty.npz").write_bytes(b"")
    (folder / "text.txt").write_text("no archive")
    (folder / "folder").mkdir()
    np.save(folder / "array.npy", np.zeros(3))
    (folder / "array.npz").write_bytes((folder / "array.npy").read_bytes())
    for name, change in {
        "plain": {},
        "incomplete": {"y_test": None},
        "pickled": {"y_test": np.array([0, "a", None, 1], dtype=object)},
        "unequal": {"y_test": np.zeros(3)},
        "unequal training": {"y_train": np.zeros(3)},
        "nan": {"X_test": np.full((4, 3), np.nan)},
        "huge": {"X_train": np.full((9, 3), 1e300)},
        "narrow": {"X_test": np.zeros((4, 2))},
        "images": {"X_train": np.zeros((9, 1, 4, 4)), "X_test": np.zeros((4, 1, 4, 5))},
        "flat": {"X_train": np.zeros(9)},
        "three": {"X_train": np.zeros((9, 2, 2))},
        "nobody": {"X_test": np.zeros((0, 3)), "y_test": np.zeros(0)},
        "words": {"y_test": np.array(["0", "1", "0", "1"])},
        "all words": {"y_train": np.array(["a", "b"])[np.arange(9) % 2], "y_test": np.array(["a", "b", "a", "b"])},
        "fractions": {"y_test": np.array([0.5, 1, 0, 1])},
        "others": {"y_test": np.arange(4) + 7},
        "square labels": {"y_test": np.zeros((4, 2))},
        "one class": {"y_train": np.zeros(9)},
        "words for features": {"X_train": np.full((9, 3), "a")},
        "complex": {"X_train": np.zeros((9, 3), complex)},
        "targets": {
            "X_train": np.zeros((9, 1, 4, 4)), "X_test": np.zeros((4, 1, 4, 4)), "y_test": np.zeros(4, int),
        },
    }.items():  # fmt: skip
        save_arrays(folder / f"{name}.npz", **change)
    np.save(folder / "votes.npy", np.zeros((30, 2), int))
    np.save(folder / "sevens.npy", np.full((30, 2), 7))
    np.save(folder / "heavy.npy", np.full((30, 2, 2), 0.9))
    np.save(folder / "fractions.npy", np.full((30, 2), 0.5))
    np.save(folder / "flat.npy", np.zeros(30, int))
    np.save(folder / "nan.npy", np.full((30, 2, 2), np.nan))
    (folder / "no.npy").write_bytes(b"no array")
    return folder


DATA = ["--dataset", "{folder}/plain.npz"]
ATTACK = ["--trigger", "one-pixel"]
SMALL = ["--n-train", "100", "--n-poisoned", "5", "--norm", "1"]
VOTES = ["certify", "{folder}/votes.npy", "--n-train", "100", "--sigma", "1", "--n-classes", "2"]

RUNS: dict[str, tuple[list[str], str]] = {
    "unknown data set": (["--dataset", "imagenet"], "'--dataset'.*one of 'digits', 'mnist', 'cifar10' or a .npz file. Got 'imagenet'"),
    "another kind of file": (["--dataset", "{folder}/text.txt"], "'--dataset'.*a .npz file"),
    "no root": (["--dataset", "mnist"], "'--data-root'.*the folder that holds the mnist data. Got nothing"),
    "empty root": (["--dataset", "mnist", "--data-root", "{folder}"], "root.*MNIST"),
    "missing root": (["--dataset", "cifar10", "--data-root", "{folder}/nowhere"], "root"),
    "missing archive": (["--dataset", "{folder}/nothing.npz"], "'--dataset'.*nothing.npz"),
    "a folder for an archive": (["--dataset", "{folder}/folder.npz"], "'--dataset'.*folder.npz"),
    "damaged archive": (["--dataset", "{folder}/damaged.npz"], "'--dataset'.*a .npz file of plain arrays. Got .*damaged.npz"),
    "empty archive": (["--dataset", "{folder}/empty.npz"], "'--dataset'.*a .npz file of plain arrays"),
    "one array": (["--dataset", "{folder}/array.npz"], "'--dataset'.*a .npz file of plain arrays"),
    "incomplete archive": (["--dataset", "{folder}/incomplete.npz"], "'--dataset'.*X_train, y_train, X_test, y_test. Got one without y_test"),
    "pickled archive": (["--dataset", "{folder}/pickled.npz"], r"'--dataset'.*plain arrays.*array.astype\(str\)"),
    "fewer test labels": (["--dataset", "{folder}/unequal.npz"], r"'y_test'.*one label per test sample, shape \(4,\). Got shape \(3,\)"),
    "fewer training labels": (["--dataset", "{folder}/unequal training.npz"], "'y_train'.*9"),
    "NaN": (["--dataset", "{folder}/nan.npz"], "'X_test'.*finite numbers. Got NaN.*Put a constant in the place of missing values"),
    "beyond single precision": (["--dataset", "{folder}/huge.npz"], "'X_train'.*finite"),
    "a narrower test part": (["--dataset", "{folder}/narrow.npz"], r"'X_test'.*shape of those in X_train, \(3,\). Got shape \(2,\)"),
    "test images of another size": (["--dataset", "{folder}/images.npz"], r"'X_test'.*\(1, 4, 4\). Got shape \(1, 4, 5\)"),
    "a row of numbers": (["--dataset", "{folder}/flat.npz"], r"'X_train'.*n_features.*Got shape \(9,\)"),
    "three dimensions": (["--dataset", "{folder}/three.npz"], r"'X_train'.*Got shape \(9, 2, 2\)"),
    "no test samples": (["--dataset", "{folder}/nobody.npz"], r"'X_test'.*and samples. Got shape \(0, 3\)"),
    "test labels of another kind": (["--dataset", "{folder}/words.npz"], "'y_test'.*of the kind that y_train has"),
    "fractions for test labels": (["--dataset", "{folder}/fractions.npz"], "'y_test'"),
    "test labels that nobody has": (["--dataset", "{folder}/others.npz"], "'y_test'.*some are classes of y_train, such as 0. Got 7 and others"),
    "a table of test labels": (["--dataset", "{folder}/square labels.npz"], "'y_test'.*one label per test sample"),
    "one class": (["--dataset", "{folder}/one class.npz"], "'y_train'.*two"),
    "words for features": (["--dataset", "{folder}/words for features.npz"], "'X_train'"),
    "complex features": (["--dataset", "{folder}/complex.npz"], "'X_train'"),
    "labels beside the classes": ([*DATA, "--classes", "0", "2"], r"'y_train'.*given classes, \[0, 2\]. Got 1 at index 1"),
    "words for classes": (["--classes", "zero", "one"], "'--classes'.*numbers of classes of digits. Got 'zero'"),
    "a class that is not there": (["--classes", "0", "77"], "'classes'.*0 to 9"),
    "the same class twice": (["--classes", "1", "1"], "'classes'.*different"),
    "two noises": (["--sigma", "1", "--uniform", "1"], "'--cascade, --sigma, --uniform, --keep'.*at a time. Got 2"),
    "thresholds alone": (["--thresholds", "0.1"], "'--thresholds'.*--cascade"),
    "a cascade of one": (["--cascade", "0.5"], "'levels'.*at least two"),
    "sample-specific alone": (["--sample-specific"], "'--sample-specific'.*--sigma"),
    "sigma 0": (["--sigma", "0"], "'sigma'.*greater than 0, also in single precision. Got 0"),
    "sigma NaN": (["--sigma", "nan"], "'sigma'"),
    "sigma infinite": (["--sigma", "inf"], "'sigma'"),
    "label noise above 1": (["--label-noise", "1.5"], "'q'"),
    "keep above 1": (["--keep", "1.5"], "'keep'"),
    "few members": (["--sigma", "1", "--members", "5"], r"'n_members'.*at least \d+.*Got 5"),
    "few members for the default": (["--members", "5"], r"'n_members'.*at least \d+.*Got 5"),
    "no members": (["--members", "0"], "'--members'.*at least 1. Got 0"),
    "negative members": (["--members", "-3"], "'--members'.*at least 1. Got -3"),
    "no epochs": (["--epochs", "0"], "'epochs'.*Got 0"),
    "an empty batch": (["--batch-size", "0"], "'batch_size'.*Got 0"),
    "steps of no size": (["--learning-rate", "0"], "'learning_rate'.*Got 0"),
    "steps of NaN": (["--learning-rate", "nan"], "'learning_rate'"),
    "changed tables": ([*DATA, "--augment", "shift"], "'augment'.*samples that are not images"),
    "copies of nothing": (["--copies", "3"], "'copies'.*without 'augment'. Got 3"),
    "no copies": (["--augment", "shift", "--copies", "0"], "'copies'.*from 1 to 1000. Got 0"),
    "copies beside epochs": (["--augment", "flip", "--copies", "3", "--model", "linear"], "'copies'.*in every epoch. Got 3"),
    "no jobs": (["--jobs", "0"], "'n_jobs'.*Got 0"),
    "a negative seed": (["--seed", "-1"], "'seed'.*Got -1"),
    "a negative data seed": (["--data-seed", "-1"], "'seed'.*Got -1"),
    "device": (["--device", "tpu"], "'device'.*'cpu'.*Got 'tpu'"),
    "model": (["--model", "tree"], "'model'.*'linear'.*Got 'tree'"),
    "images for tables": ([*DATA, "--model", "cnn"], "'X'|'model'"),
    "cosine of tables": ([*DATA, "--cosine", "2"], "'X'"),
    "cosine of no size": (["--cosine", "0"], "'size'.*at least 1. Got 0"),
    "cosine beyond the image": (["--cosine", "9"], "'X'.*at least 9 x 9. Got 8 x 8"),
    "bound": (["--bound", "tight"], "'bound'.*'auto'.*Got 'tight'"),
    "selection": (["--selection", "best"], "'selection'.*Got 'best'"),
    "runner-up": (["--runner-up", "third"], "'runner_up'.*Got 'third'"),
    "alpha 2": (["--alpha", "2"], r"'alpha'.*Got 2"),
    "alpha 0": (["--alpha", "0"], r"'alpha'.*Got 0"),
    "alpha NaN": (["--alpha", "nan"], r"'alpha'.*Got [Nn]a[Nn]"),
    "subsample": (["--subsample", "100000"], "'size'.*number of training samples.*Got 100000"),
    "an empty subsample": (["--subsample", "0"], "'size'.*Got 0"),
    "labels under noise on features": (["--sigma", "1", "--labels"], "'labels'.*False for Gaussian"),
    "n_poisoned": (["--subsample", "10", "--n-poisoned", "99999"], "'--n-poisoned'.*number of training samples.*Got 99999"),
    "negative n_poisoned": (["--n-poisoned", "-1"], "'--n-poisoned'.*Got -1"),
    "grey values": (["--keep", "0.9"], "'X'.*codes from 0 to 1"),
    "rate 2": ([*ATTACK, "--rate", "2"], "'--rate'.*Got 2"),
    "rate NaN": ([*ATTACK, "--rate", "nan"], "'--rate'.*Got nan"),
    "rate of no sample": ([*ATTACK, "--rate", "0.0001"], "'--rate'.*large enough for one of 1346 samples. Got 0.0001"),
    "rate beyond the other classes": ([*ATTACK, "--rate", "1"], "'rate'"),
    "norm below 0": ([*ATTACK, "--norm", "-1"], "'norm'.*Got -1"),
    "norm NaN": ([*ATTACK, "--norm", "nan"], "'norm'"),
    "target": ([*ATTACK, "--target", "77"], "'--target'.*one of 0, 1, .*9. Got 77"),
    "a word for a target": ([*ATTACK, "--target", "zero"], "'--target'.*one of 0, 1.*Got 'zero'"),
    "only targets to test": (["--dataset", "{folder}/targets.npz", "--rate", "0.3", *ATTACK], "'--target'.*some test samples do not have"),
    "a trigger on a table": ([*DATA, *ATTACK, "--rate", "0.3"], "'--trigger'.*none for a table: triggers are stamped on images. Got 'one-pixel'"),
    "a file for the folder": (["--out", "{folder}/text.txt"], "'--out'.*a folder that can be written to"),
    "a folder in a file": (["--out", "{folder}/text.txt/out"], "'--out'.*a folder that can be written to"),
    "a folder of the system": (["--out", "/proc/certssb"], "'--out'.*a folder that can be written to"),
    "a checkpoint in a file": (["--checkpoint", "{folder}/text.txt"], "'--checkpoint'.*a folder that can be written to"),
}  # fmt: skip

OTHERS: dict[str, tuple[list[str], str]] = {
    "plan without a law": (["plan", *SMALL], "'--sigma'.*--subsample. Got none"),
    "plan of a partition": (["plan", "--n-train", "100", "--partition", "9", "--threat", "n_poisoned=2"], "'--partition'.*certssb recommend"),
    "plan for too many": (["plan", "--n-train", "100", "--n-poisoned", "101", "--norm", "1", "--sigma", "1"], "'n_poisoned'.*100"),
    "plan for nobody": (["plan", "--n-train", "0", "--n-poisoned", "0", "--norm", "1", "--sigma", "1"], "'n_train'"),
    "plan with a negative norm": (["plan", "--n-train", "9", "--n-poisoned", "1", "--norm", "-1", "--sigma", "1"], "'trigger_norm'"),
    "plan for one class": (["plan", *SMALL, "--sigma", "1", "--n-classes", "1"], "'n_classes'"),
    "plan for labels": (["plan", *SMALL, "--sigma", "1", "--labels"], "'labels'.*False"),
    "plan with uniform noise": (["plan", *SMALL, "--uniform", "1"], "'n_features'.*Uniform.*Got None"),
    "plan at alpha 0": (["plan", *SMALL, "--sigma", "1", "--alpha", "0"], "'alpha'"),
    "report of nothing": (["report", "{folder}/nowhere"], "'folder'.*that certssb run wrote"),
    "report of a file": (["report", "{folder}/text.txt"], "'folder'.*that certssb run wrote"),
    "report into nowhere": (["report", "{folder}", "--out", "{folder}/nowhere/page.html"], "'--out'.*a folder that exists"),
    "votes without classes": (["certify", "{folder}/votes.npy", "--n-train", "100", "--sigma", "1"], "'--n-classes'.*given with votes. Got nothing"),
    "votes without a law": (["certify", "{folder}/votes.npy", "--n-train", "100", "--n-classes", "2"], "'--sigma'.*Got none"),
    "votes for no class": (["certify", "{folder}/sevens.npy", *VOTES[2:]], "'votes'.*from 0 to 1. Got 7"),
    "votes under uniform noise": (["certify", "{folder}/votes.npy", "--n-train", "100", "--n-classes", "2", "--uniform", "1"], "'n_features'.*Uniform.*Got None"),
    "scores above 1": (["certify", "{folder}/heavy.npy", *VOTES[2:]], "'scores'.*sum to 1"),
    "scores of NaN": (["certify", "{folder}/nan.npy", *VOTES[2:]], "'scores'"),
    "fractions for votes": (["certify", "{folder}/fractions.npy", *VOTES[2:]], "'votes'.*integers"),
    "flat votes": (["certify", "{folder}/flat.npy", *VOTES[2:]], "'votes'.*shape"),
    "no votes": (["certify", "{folder}/no.npy", *VOTES[2:]], "'votes'.*a .npy file of votes or scores. Got"),
    "an archive of votes": (["certify", "{folder}/plain.npz", *VOTES[2:]], "'votes'.*a .npy file of votes or scores. Got"),
    "missing votes": (["certify", "{folder}/nothing.npy", *VOTES[2:]], "'votes'.*nothing.npy"),
    "certificates into nowhere": ([*VOTES, "--out", "{folder}/nowhere/t.npz"], "'--out'.*a folder that exists"),
    "votes for too many": ([*VOTES, "--n-poisoned", "101"], "'n_poisoned'.*100"),
    "labels alone": ([*VOTES, "--labels"], "'labels'.*given with n_poisoned"),
    "a missing ledger": (["ledger", "show", "{folder}/nothing.sqlite"], "'ledger'.*nothing.sqlite"),
    "an export of another kind": (["ledger", "export", "{folder}/nothing.sqlite", "{folder}/x.txt"], "'out'.*.csv or .npz"),
}  # fmt: skip


def refused(arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    filled = [argument.replace("{folder}", str(folder)) for argument in arguments]
    assert cli.main(filled) == 2
    told = capsys.readouterr()
    assert told.err.startswith("certssb: ")
    assert told.err.count("\n") == 1
    return told.err


@pytest.mark.parametrize(("arguments", "said"), RUNS.values(), ids=list(RUNS))
def test_a_run_is_refused_in_one_sentence_before_training(
    arguments: list[str], said: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    trained: list[Any] = []
    monkeypatch.setattr(cs._core.Ensemble, "train", lambda *a, **k: trained.append(a), raising=False)
    (folder / "folder.npz").mkdir(exist_ok=True)
    common = ["run", "--members", "60", "--epochs", "1", "--quiet", "--out", str(tmp_path / "out")]
    err = refused([*common, *arguments], folder, capsys)
    assert re.search(said, err), err
    paths = re.findall(r"'(/[^']+)'", err)
    assert len(paths) == len(set(paths)), f"a file is named twice: {err}"
    assert not trained
    assert not (tmp_path / "out" / "summary.json").exists()


@pytest.mark.parametrize(("arguments", "said"), OTHERS.values(), ids=list(OTHERS))
def test_the_other_commands_refuse_in_one_sentence(
    arguments: list[str], said: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    err = refused(arguments, folder, capsys)
    assert re.search(said, err), err
    paths = re.findall(r"'(/[^']+)'", err)
    assert len(paths) == len(set(paths)), f"a file is named twice: {err}"
    assert not list(tmp_path.iterdir())


UNKNOWN: dict[str, tuple[list[str], str]] = {
    "nothing": ([], "certssb: .*COMMAND"),
    "another command": (["fly"], "certssb: .*invalid choice: 'fly'"),
    "another trigger": (["run", "--trigger", "paint"], "certssb run: argument --trigger: invalid choice: 'paint'"),
    "another augmentation": (["run", "--augment", "shift", "paint"], "argument --augment: invalid choice: 'paint'"),
    "a word for a number": (["run", "--members", "many"], "certssb run: argument --members: invalid int value: 'many'"),
    "half a member": (["run", "--members", "2.5"], "argument --members: invalid int value: '2.5'"),
    "a word for sigma": (["run", "--sigma", "large"], "argument --sigma: invalid float value: 'large'"),
    "an option without a value": (["run", "--sigma"], "argument --sigma: expected one argument"),
    "an unknown option": (["run", "--gpus", "4"], "unrecognized arguments: --gpus 4"),
    "half an option": (["run", "--member", "4"], "unrecognized arguments: --member 4"),
    "no size": (["certify", "votes.npy"], "certssb certify: the following arguments are required: --n-train"),
    "no action": (["ledger"], "certssb ledger: .*ACTION"),
    "no folder": (["report"], "certssb report: .*folder"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "said"), UNKNOWN.values(), ids=list(UNKNOWN))
def test_words_that_are_unknown_are_one_sentence(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    err = capsys.readouterr().err
    assert re.search(said, err), err
    assert err.count("\n") == 1 and "--help'" in err


def test_what_is_no_ledger_is_status_1(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ledger", "verify", str(folder / "text.txt")]) == 1
    err = capsys.readouterr().err
    assert err.startswith("certssb: ") and "text.txt" in err and err.count("\n") == 1


def test_long_messages_stay_on_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def failed(*arguments: Any, **settings: Any) -> None:
        raise cs.TrainingError("Member 3 failed:\n  a line of torch\n  another one", 3)

    monkeypatch.setattr(cs.CertifiedClassifier, "fit", failed)
    assert cli.main(["run", "--quiet", "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "certssb: Member 3 failed: a line of torch another one\n"
