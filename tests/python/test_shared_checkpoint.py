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
    out, err = process.communicate(timeout=1800)
    assert process.returncode == 0, err
    return out


def members(folder: Path) -> int:
    return len(list(folder.glob("member-*"))) if folder.exists() else 0


def test_who_is_killed_leaves_its_members_to_the_others(tmp_path: Path) -> None:
    for attempt in range(5):
        folder = tmp_path / f"run-{attempt}"
        killed, other = begin(folder), begin(folder)
        deadline = time.monotonic() + 900
        while members(folder) < 6 and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(killed.pid, signal.SIGKILL)
        killed.communicate()
        there = members(folder)
        if there < MEMBERS:
            break
        # On a busy machine all were trained before it came to that.
        said(other)
    assert 6 <= there < MEMBERS
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


VOTING = """
import hashlib, os, sys, time
import certssb as cs
from concurrent.futures import ThreadPoolExecutor
from sklearn.neighbors import NearestCentroid

# However late a process begins: the second does when the first has told of some members, and the first works no further alone.
role, other = sys.argv[6:] if len(sys.argv) > 6 else ("", "")

def told(path):
    return len(set(open(path))) if os.path.exists(path) else 0

def wait():
    latest = time.monotonic() + 100
    while told(other) < 20 and time.monotonic() < latest:
        time.sleep(0.01)

class Told(NearestCentroid):
    def fit(self, X, y):
        if len(X) == 41:  # a member's samples, unlike those of any other
            if role == "first" and told(sys.argv[2]) == 25:
                wait()
            time.sleep(0.03)
            with open(sys.argv[2], "a") as file:
                file.write(hashlib.sha256(X.tobytes()).hexdigest() + chr(10))
        return super().fit(X, y)

X, y = cs.datasets.load_digits()
executor = ThreadPoolExecutor(1) if sys.argv[3] == "elsewhere" else None
clf = cs.CertifiedClassifier(Told(), cs.Subsample(cs.Gaussian(0.25), size=41), n_members=int(sys.argv[4]), members="votes", form="joblib",
    checkpoint=sys.argv[1], executor=executor, n_jobs=1, seed=int(sys.argv[5]), alpha=0.6, progress=False)
if role == "second":
    wait()
clf.fit(X[:200], y[:200], vote_on=X[200:300])
print(clf.votes(X[200:300]).tolist(), clf.n_members_)
"""


def begin_voting(
    folder: Path, told: Path, where: str, *role: str | Path, members: int = 90, seed: int = 5
) -> subprocess.Popen[str]:
    """`role` is "first" or "second", and where the other of the two tells."""
    command = [sys.executable, "-c", VOTING, str(folder), str(told), where, str(members), str(seed)]
    command += map(str, role)
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def trained(told: Path) -> list[str]:
    return told.read_text().split() if told.exists() else []


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """What models are tried on before any member is trained."""
    folder = tmp_path_factory.mktemp("tried")
    said(begin_voting(folder / "run", folder / "told", "here", members=9, seed=6))
    said(begin_voting(folder / "other", folder / "also", "here", members=9, seed=7))
    return set(trained(folder / "told")) & set(trained(folder / "also"))


@pytest.mark.parametrize("second", ["here", "elsewhere"])
def test_processes_that_keep_votes_alone_share_the_work(
    second: str, made_up: set[str], tmp_path: Path
) -> None:
    folder, told = tmp_path / "run", [tmp_path / name for name in ("one", "other", "third")]
    both = [
        begin_voting(folder, told[0], "here", "first", told[1]),
        begin_voting(folder, told[1], second, "second", told[0]),
    ]
    one, other = map(said, both)
    assert one == other == said(begin_voting(tmp_path / "alone", told[2], "here"))
    first, last, all_of_them = (set(trained(file)) - made_up for file in told)
    assert len(first) > 15 and len(last) > 15, "both have worked"
    assert not first & last and first | last == all_of_them, "each member was one's"
    assert len(all_of_them) == 90 and len(made_up) > 0
    assert not list(folder.glob("claim-*")) and len(list(folder.glob("votes-*"))) == 1


def test_votes_that_a_killed_process_owes_are_cast_by_the_others(made_up: set[str], tmp_path: Path) -> None:
    folder, told = tmp_path / "run", [tmp_path / "killed", tmp_path / "other"]
    killed = begin_voting(folder, told[0], "here", "first", told[1])
    other = begin_voting(folder, told[1], "here", "second", told[0])
    deadline = time.monotonic() + 900
    while (len(trained(told[0])) < 20 or len(trained(told[1])) < 8) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    start = time.monotonic()
    votes = said(other)
    assert time.monotonic() - start < 50, "a claim is taken over as soon as its process is dead"
    assert votes == said(begin_voting(tmp_path / "alone", tmp_path / "third", "here"))
    twice = (set(trained(told[0])) & set(trained(told[1]))) - made_up
    assert len(twice) < 25, "no more than one part, whose votes were not written"
