"""Processes that share a checkpoint directory share its work, and do that of those which are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import certssb as cs

MEMBERS = 60
SETTINGS: dict[str, Any] = {
    "n_members": MEMBERS,
    "epochs": 40,
    "alpha": 0.3,
    "n_jobs": 1,
    "progress": False,
}
WORK = """
import sys, certssb as cs
X, y = cs.datasets.load_digits()
seed = None if sys.argv[2] == "none" else int(sys.argv[2])
clf = cs.CertifiedClassifier("mlp", cs.Gaussian(0.25), checkpoint=sys.argv[1], seed=seed, **SETTINGS)
clf.fit(X[:200], y[:200])
print(clf.votes(X[200:300]).tolist(), clf.seed_)
"""


def begin(folder: Path, seed: str = "5") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORK.replace("SETTINGS", repr(SETTINGS)), str(folder), seed]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


def members(folder: Path) -> int:
    return len(list(folder.glob("member-*"))) if folder.exists() else 0


def test_who_is_killed_leaves_its_members_to_the_others(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    killed, other = begin(folder), begin(folder)
    deadline = time.monotonic() + 120
    while members(folder) < 6 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert 6 <= members(folder) < MEMBERS
    start = time.monotonic()
    votes, _ = said(other).rsplit(maxsplit=1)
    # Its claim is taken over as soon as it is dead, not after a minute of patience.
    assert time.monotonic() - start < 50
    X, y = cs.datasets.load_digits()
    alone = cs.CertifiedClassifier("mlp", cs.Gaussian(0.25), seed=5, **SETTINGS).fit(X[:200], y[:200])
    assert votes == str(np.asarray(alone.votes(X[200:300])).tolist())
    assert not list(folder.glob("claim-*"))


@pytest.mark.parametrize("later", [0.0, 1.0])
def test_without_a_seed_the_first_one_draws_the_secret_of_all(later: float, tmp_path: Path) -> None:
    first = begin(tmp_path / "run", "none")
    time.sleep(later)
    second = begin(tmp_path / "run", "none")
    assert said(first) == said(second)


def test_a_secret_that_another_process_draws_meanwhile_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = cs.datasets.load_digits()
    settings: dict[str, Any] = SETTINGS | {"n_members": 12, "epochs": 1, "checkpoint": tmp_path / "run"}
    looked = cs.CertifiedClassifier._seed_to_go_on_with
    others: list[cs.CertifiedClassifier] = []

    def look(self: Any, ensemble: Any) -> int:
        seed = looked(self, ensemble)
        if not others:
            # Between this look and the beginning of the directory another process begins it.
            others.append(cs.CertifiedClassifier("linear", cs.Gaussian(0.25), seed=77, **settings))
            others[0].fit(X[:100], y[:100])
        return seed

    monkeypatch.setattr(cs.CertifiedClassifier, "_seed_to_go_on_with", look)
    clf = cs.CertifiedClassifier("linear", cs.Gaussian(0.25), **settings).fit(X[:100], y[:100])
    assert clf.seed_ == 77
    assert np.array_equal(clf.votes(X[:9]), others[0].votes(X[:9]))
