"""What a run certifies covers the attack that it made, labels included; where it does not, the run says so."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Digits

import certssb as cs
from certssb import cli
from certssb.cli._laws import AGREEMENT, Facts, covering_law

ATTACK = ["--trigger", "one-pixel", "--rate", "0.02", "--norm", "1", "--target", "0"]


def run(folder: Path, *arguments: Any) -> dict[str, Any]:
    words = ["run", *ATTACK, "--seed", "0", "--quiet", "--out", folder, *arguments]
    assert cli.main([str(word) for word in words]) == 0
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary


@pytest.fixture(scope="module")
def covered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("covered")
    import contextlib
    import io

    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        run(folder, "--members", 4000, "--cosine", 5)
    return folder, said.getvalue()


def test_the_default_covers_the_attack_that_the_run_made(covered: tuple[Path, str]) -> None:
    folder, said = covered
    summary = json.loads((folder / "summary.json").read_text())
    assert re.fullmatch(r"Subsample\(size=\d+\)", summary["law"])
    assert summary["model"] == summary["record"]["model"] == "discriminant"
    assert summary["budget"] == {"n_poisoned": 27, "trigger_norm": "any", "labels": True}
    attack = summary["own_attack"]
    assert {key: attack[key] for key in ("n_poisoned", "trigger_norm", "labels", "covered")} == {
        "n_poisoned": 27, "trigger_norm": 1.0, "labels": True, "covered": True,
    }  # fmt: skip
    for name, share in attack["certified_accuracy"].items():
        table = cs.CertificateTable.load(folder / f"certificates-{name}.npz")
        with np.load(folder / f"samples-{name}.npz") as samples:
            truth = samples["y_true"]
        held = table.holds(n_poisoned=27, trigger_norm=1.0, labels=True)
        assert share == ((table.prediction == truth) & held).mean() > 0.1
        # Any change of 27 samples is what the tables count, and the attack is one of them.
        results = summary["results"][name]
        assert results["certified_accuracy_counts"][results["counts"].index(27)] == share
        assert results["certified_accuracy_counts"][0] > 0.8
    assert attack["sentence"] in said


HEADING = "over the number of training samples (of 1,346) changed in any way, labels included"


def test_every_heading_says_what_was_counted(covered: tuple[Path, str]) -> None:
    folder, said = covered
    assert f"Predicted right and certified, {HEADING}\n" in said
    assert "at most 27 of 1,346 training samples changed in any way, labels included." in said
    page = (folder / "report.html").read_text()
    sentence = json.loads((folder / "summary.json").read_text())["own_attack"]["sentence"]
    assert sentence in page
    assert page.count(HEADING) >= 3  # table, plot and its description
    headings = re.findall(r"<(?:h3|figcaption)>([^<]*(?:certified|survive)[^<]*)<", page)
    assert headings and all("labels included" in heading for heading in headings), headings
    assert "Survives: the largest number of training samples changed in any way, labels included." in page
    assert re.search(r"survives \d+<br>", page)


def test_the_frame_holds_the_headline(covered: tuple[Path, str]) -> None:
    import pandas as pd

    folder, _ = covered
    frame = pd.read_parquet(folder / "certificates.parquet")
    name = "holds(n_poisoned=27, trigger_norm=inf, labels=True)"
    clean = frame[frame["test"] == "clean"]
    right = (clean["prediction"] == clean["y_true"]) & clean[name]
    results = json.loads((folder / "summary.json").read_text())["results"]["clean"]
    assert right.mean() == results["certified_accuracy_counts"][results["counts"].index(27)]


UNCOVERED: dict[str, tuple[list[Any], bool, str]] = {
    "labels as received": (
        ["--sigma", 0.5, "--subsample", 400, "--members", 100], False, "no test sample is both predicted right and certified",
    ),
    "a law without labels": (["--sigma", 0.5, "--members", 60], False, "under this law labels count as received"),
    "a law that is no proof of it": (
        ["--cascade", 1, 0.5, "--members", 60], False, "under this law labels count as received",
    ),
    "labels left out": (["--members", 2000, "--no-labels"], True, "count less than that attack: labels as received"),
    "fewer samples": (["--members", 2000, "--n-poisoned", 5], True, "count less than that attack: 5 changed samples"),
}  # fmt: skip


@pytest.mark.parametrize(("options", "covered", "said"), UNCOVERED.values(), ids=list(UNCOVERED))
def test_a_run_that_does_not_cover_its_attack_says_so(
    options: list[Any], covered: bool, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from certssb.cli import _results

    notes: list[str] = []
    monkeypatch.setattr(_results, "write_note", lambda ax, sentence, below: notes.append(sentence))
    summary = run(tmp_path, "--epochs", 1, "--learning-rate", 0.05, *options)
    sentence = summary["own_attack"]["sentence"]
    assert summary["own_attack"]["covered"] is covered
    assert ("NOT covered" in sentence) is not covered
    assert said in sentence
    assert sentence in capsys.readouterr().out
    page = (tmp_path / "report.html").read_text()
    assert sentence in page
    assert covered or f'<p class="warning">{sentence}' in page
    # Drawn with the curves, not only printed beside them.
    assert notes == [sentence]


def test_a_run_without_an_attack_counts_the_same(tmp_path: Path, digits: Digits) -> None:
    X_train, y_train, X_test, y_test = digits
    data = tmp_path / "mine.npz"
    np.savez(
        data, X_train=X_train.reshape(400, -1), y_train=y_train, X_test=X_test.reshape(100, -1), y_test=y_test
    )
    words = ["run", "--dataset", data, "--quiet", "--seed", 0, "--out", tmp_path / "out"]
    assert cli.main([str(word) for word in words]) == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["budget"] == {"n_poisoned": 8, "trigger_norm": "any", "labels": True}
    assert summary["own_attack"] is None and summary["settings"]["members"] == 1000
    assert summary["results"]["clean"]["certified_accuracy_counts"][0] > 0.6


SETTINGS = {"alpha": 0.001, "bound": "auto", "selection": "union", "runner_up": "auto", "family_wise": False}
SIZES: list[tuple[int, int, int, dict[str, Any]]] = [
    (1346, 27, 10, {}),
    (1346, 27, 10, {"family_wise": True}),
    (1346, 27, 10, {"selection": "split"}),
    (12665, 253, 2, {}),
    (60000, 10, 10, {"alpha": 0.1}),
    (50, 1, 2, {"bound": "betting"}),
]


@pytest.mark.parametrize("members", [100, 1000])
@pytest.mark.parametrize(("n_train", "n_poisoned", "n_classes", "change"), SIZES)
def test_the_default_law_is_the_largest_that_covers(
    n_train: int, n_poisoned: int, n_classes: int, change: dict[str, Any], members: int
) -> None:
    settings = SETTINGS | change
    facts = Facts(n_train, 64, n_classes, 451, members, settings)
    law: Any = covering_law(facts, n_poisoned)
    assert law.inner is None
    shape = (members, 451 if settings["family_wise"] else 1)

    def holds(size: int, share: float) -> bool:
        votes = np.ones(shape, int)
        votes[np.linspace(0, members - 1, math.ceil(share * members)).round().astype(int)] = 0
        table = cs.certify_votes(votes, cs.Subsample(size=size), n_train, n_classes, **settings)
        return bool(table.holds(n_poisoned, math.inf, labels=True)[0])

    # All members, where three quarters of so few are not enough for any size.
    share = AGREEMENT if holds(1, AGREEMENT) else 1.0
    assert holds(law.size, share)
    assert law.size == n_train or not holds(law.size + 1, share)
    # Nothing but sizes and settings decides: no look at the data.
    assert set(Facts.__dataclass_fields__) == {
        "n_train", "n_features", "n_classes", "n_test", "members", "settings",
    }  # fmt: skip


def test_an_attack_that_nothing_can_cover_is_named(tmp_path: Path) -> None:
    summary = run(tmp_path, "--rate", 0.5, "--members", 100)
    assert summary["own_attack"]["covered"] is False
    assert "NOT covered" in summary["own_attack"]["sentence"]
