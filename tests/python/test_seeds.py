"""The seed: a secret by default, and kept where members of the same data and settings are gone on with."""

import importlib.util
import json
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Digits, small
from sklearn.base import clone

import certssb as cs
from certssb import cli

ROOT = Path(__file__).resolve().parents[2]


def secret(**settings: Any) -> cs.CertifiedClassifier:
    return small(n_members=8, alpha=0.4, **{"seed": None} | settings)


def test_the_noise_is_a_secret_unless_a_seed_is_passed(digits: Digits) -> None:
    assert cs.CertifiedClassifier().seed is None
    assert cli._parser().parse_args(["run"]).seed is None
    seeds = {secret().fit(*digits[:2]).seed_ for _ in range(3)}
    assert len(seeds) == 3 and min(seeds) > 2**32


def test_more_members_are_added_under_the_same_secret(digits: Digits) -> None:
    clf = secret().fit(*digits[:2])
    votes, seed = clf.votes(digits[2]), clf.seed_
    with pytest.warns(cs.exceptions.GrowthWarning):
        clf.set_params(n_members=10).fit(*digits[:2])
    assert clf.seed_ == seed and json.loads(clf.record())["seed"] == seed
    np.testing.assert_array_equal(clf.votes(digits[2])[:8], votes)


@pytest.mark.parametrize("change", ["data", "settings", "clone"])
def test_other_data_and_other_settings_have_another_secret(change: str, digits: Digits) -> None:
    X, y, *_ = digits
    clf = secret().fit(X, y)
    seed = clf.seed_
    if change == "data":
        clf.fit(X[::-1], y[::-1])
    elif change == "settings":
        clf.set_params(epochs=4).fit(X, y)
    else:
        clf = clone(clf).fit(X, y)
    assert clf.seed_ != seed and json.loads(clf.record())["seed"] == clf.seed_


@pytest.mark.parametrize("law", [cs.Gaussian(0.25), cs.Cascade([cs.Gaussian(0.5), cs.Gaussian(0.25)])])
def test_a_checkpoint_is_gone_on_with_under_its_secret(law: cs.Law, tmp_path: Path, digits: Digits) -> None:
    def fit() -> cs.CertifiedClassifier:
        return secret(law=law, checkpoint=tmp_path / "members").fit(*digits[:2])

    first = fit()
    for member in (tmp_path / "members").rglob("member-000002*"):
        member.unlink()
    again = fit()
    assert again.seed_ == first.seed_
    np.testing.assert_array_equal(again.votes(digits[2]), first.votes(digits[2]))
    with pytest.raises(cs.CheckpointError, match=r"settings or data \(epochs: 3 there, 4 here\)"):
        secret(law=law, epochs=4, checkpoint=tmp_path / "members").fit(*digits[:2])


def test_an_interrupted_fit_is_gone_on_with_under_its_secret(digits: Digits) -> None:
    def stop(done: int, total: int) -> None:
        if done == 3:
            raise RuntimeError("enough")

    clf = secret(progress=stop, n_jobs=1)
    with pytest.raises(RuntimeError, match="enough"):
        clf.fit(*digits[:2])
    seed = json.loads(clf._unfinished.record())["seed"]
    assert clf.set_params(progress=False).fit(*digits[:2]).seed_ == seed


@pytest.mark.parametrize("seed", [None, 7])
def test_a_saved_ensemble_knows_whether_its_seed_was_drawn(
    seed: int | None, tmp_path: Path, digits: Digits
) -> None:
    clf = secret(seed=seed).fit(*digits[:2])
    clf.save(tmp_path)
    loaded = cs.CertifiedClassifier.load(tmp_path)
    assert (loaded.seed, loaded.seed_) == (seed, clf.seed_)
    with pytest.warns(cs.exceptions.GrowthWarning):
        loaded.set_params(n_members=10, progress=False).fit(*digits[:2])
    assert loaded.seed_ == clf.seed_
    np.testing.assert_array_equal(loaded.votes(digits[2])[:8], clf.votes(digits[2]))


def test_the_page_of_a_run_says_which_seed_repeats_it(tmp_path: Path) -> None:
    words = [
        "run",
        "--dataset",
        "digits",
        "--classes",
        "0",
        "1",
        "--model",
        "linear",
        "--members",
        "20",
        "--epochs",
        "1",
        "--quiet",
        "--out",
    ]
    assert cli.main([*words, str(tmp_path)]) == 0
    seed = json.loads((tmp_path / "summary.json").read_text())["record"]["seed"]
    page = (tmp_path / "report.html").read_text()
    assert f"--seed {seed} repeats it" in page


def test_printed_examples_pass_a_seed() -> None:
    places = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "notebooks").glob("*.ipynb")]
    without = [
        f"{path.name}: {call}"
        for path in places
        for call in re.findall(
            r"CertifiedClassifier\(.*?\)(?:\.fit|\s*\\n|\s*\n)", path.read_text(), re.DOTALL
        )
        if "seed" not in call and "**settings" not in call and "checkpoint" not in call
    ]
    assert without == []


def test_whoever_borrows_the_global_generators_waits_for_whoever_has_them() -> None:
    from certssb.augment import _applied
    from certssb.learners.sklearn import _globals

    ways = [_globals.seeded, _applied._seeded]
    if importlib.util.find_spec("torch") is not None:
        from certssb.learners.torch import _randomness

        ways.append(_randomness.seeded)
    for first in ways:
        for second in ways:
            inside = threading.Event()

            def enter(seeded: Any = second, inside: threading.Event = inside) -> None:
                with seeded(2):
                    inside.set()

            with first(1):
                thread = threading.Thread(target=enter)
                thread.start()
                assert not inside.wait(0.05)
            thread.join(10)
            assert inside.is_set()
