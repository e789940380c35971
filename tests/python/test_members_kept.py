"""Where members are once they are trained: in memory, or in a checkpoint alone."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.neighbors import NearestCentroid
from sklearn.tree import DecisionTreeClassifier

import certssb as cs
from certssb.exceptions import CheckpointError, ParameterError

X, Y = cs.datasets.load_digits(classes=(0, 1, 2))
TRAIN, TEST = slice(0, 200), slice(200, 260)


def fitted(checkpoint: Path | None = None, model: Any = "linear", law: Any = None, **settings: Any) -> Any:
    settings = {"n_members": 30, "alpha": 0.3, "seed": 4, "progress": False, "epochs": 2} | settings
    law = cs.Subsample(cs.Gaussian(0.25), size=40) if law is None else law
    clf = cs.CertifiedClassifier(model, law, checkpoint=checkpoint, **settings)
    return clf.fit(X[TRAIN], Y[TRAIN])


def files(folder: Path, start: str = "") -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.name.startswith(start))


@pytest.mark.parametrize(
    ("model", "law", "more"),
    [
        ("linear", None, {}),
        ("discriminant", cs.Subsample(size=40), {}),
        ("mlp", cs.SampleSpecific(0.25, steps=2), {"n_members": 12}),
        ("linear", cs.SampleSpecific(0.25, steps=2, guarantee="published"), {"n_members": 12}),
        ("linear", cs.Cascade([cs.Gaussian(0.5), cs.Gaussian(0.25)]), {}),
        ("linear", cs.Partition(12), {"n_members": None, "learning_rate": 0.03}),
        (DecisionTreeClassifier(), cs.Subsample(size=40), {"form": "joblib"}),
    ],
)
def test_members_on_disk_say_what_members_in_memory_say(
    tmp_path: Path, model: Any, law: Any, more: dict[str, Any]
) -> None:
    here = fitted(None, model, law, **more)
    there = fitted(tmp_path / "kept", model, law, members="disk", **more)
    assert (there.votes(X[TEST]) == here.votes(X[TEST])).all()
    one, other = there.certify(X[TEST]), here.certify(X[TEST])
    assert one.guarantee == other.guarantee
    assert np.array_equal(one.prediction, other.prediction) and np.array_equal(one.abstained, other.abstained)
    assert (there.scores(X[TEST]) == here.scores(X[TEST])).all()
    assert (there.n_members_, there.n_failed_, there.n_idle_) == (
        here.n_members_,
        here.n_failed_,
        here.n_idle_,
    )
    levels = 2 if isinstance(law, cs.Cascade) else 1
    scout = 1 if "published" in repr(law) else 0
    assert len(files(tmp_path, "member")) == levels + scout, files(tmp_path)
    copied = pickle.loads(pickle.dumps(there))
    assert (copied.votes(X[TEST]) == here.votes(X[TEST])).all()
    form = {"form": more["form"]} if "form" in more else {}
    assert there.save(tmp_path / "saved", **form) == here.save(tmp_path / "same", **form)
    given = {"model": model, **form} if form else {}
    back = cs.CertifiedClassifier.load(tmp_path / "saved", members="disk", **given)
    assert (back.votes(X[TEST]) == here.votes(X[TEST])).all()


def test_the_fingerprint_says_nothing_of_how_members_are_packed(tmp_path: Path) -> None:
    clf = fitted(n_members=90)
    fingerprint = clf.save(tmp_path / "packed")
    assert len(files(tmp_path / "packed", "members-")) == 1
    fitted(n_members=70)._ensemble.save(tmp_path / "grown")
    assert clf.save(tmp_path / "grown") == fingerprint
    assert files(tmp_path / "grown", "member") != files(tmp_path / "packed", "member")
    both = [
        cs.CertifiedClassifier.load(tmp_path / name, fingerprint=fingerprint) for name in ("grown", "packed")
    ]
    assert (both[0].votes(X[TEST]) == both[1].votes(X[TEST])).all()
    clf.set_params(seed=5).fit(X[TRAIN], Y[TRAIN])
    assert clf.save(tmp_path / "packed", overwrite=True) != fingerprint


def test_members_go_on_from_where_they_were_kept(tmp_path: Path) -> None:
    clf = fitted(tmp_path / "kept", members="disk")
    first = clf.votes(X[TEST])
    clf.set_params(n_members=50)
    with pytest.warns(cs.exceptions.GrowthWarning):
        clf.fit(X[TRAIN], Y[TRAIN])
    votes = clf.votes(X[TEST])
    assert (votes[:30] == first).all() and (votes == fitted(n_members=50).votes(X[TEST])).all()
    clf.set_params(members="memory", checkpoint=None)
    clf.fit(X[TRAIN], Y[TRAIN])
    for path in (tmp_path / "kept").iterdir():
        path.unlink()
    assert (clf.votes(X[TEST][:20]) == votes[:, :20]).all()


def test_members_that_are_gone_are_named_and_trained_again(tmp_path: Path) -> None:
    clf = fitted(tmp_path / "kept", members="disk")
    votes = clf.votes(X[TEST])
    (shard,) = (tmp_path / "kept").glob("members-*")
    os.truncate(shard, shard.stat().st_size - 5)
    with pytest.raises(
        CheckpointError, match=r"kept.*its member 29 is gone or damaged since it was trained; fit again"
    ):
        clf.votes(X[TEST][:20])
    assert (clf.fit(X[TRAIN], Y[TRAIN]).votes(X[TEST]) == votes).all()
    shard.unlink()
    # Whichever thread misses its own first.
    for _ in range(50):
        with pytest.raises(CheckpointError, match="kept.*its member 0 is gone"):
            clf.votes(X[TEST][:20])


def test_what_is_no_place_for_members_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="'members' parameter must be .*'disk'.*Got 'moon'"):
        fitted(members="moon")
    with pytest.raises(
        ParameterError, match="'checkpoint' parameter must be a directory for members='disk'.*Got None"
    ):
        fitted(members="disk")
    with pytest.raises(
        ParameterError, match="(?s)'checkpoint'.*None where members are estimators.*form='skops'"
    ):
        fitted(tmp_path / "kept", DecisionTreeClassifier(), members="disk")
    fitted().save(tmp_path / "saved")
    with pytest.raises(ParameterError, match="'members' parameter must be .*'disk'"):
        cs.CertifiedClassifier.load(tmp_path / "saved", members="joblib")


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=1800, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


FULL = """
import resource, zlib, certssb as cs
X, y = cs.datasets.load_digits(classes=(0, 1, 2))
law = cs.Subsample(cs.Gaussian(0.25), size=40)
clf = cs.CertifiedClassifier("mlp", law, n_members=70, alpha=0.3, seed=4, progress=False, epochs=1, {place})
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits sizes of files")
def test_a_disk_that_is_full_in_the_middle_of_a_shard_costs_nothing(tmp_path: Path) -> None:
    place = f'checkpoint={str(tmp_path / "kept")!r}, members="disk"'
    code = FULL.format(place=place) + (
        "resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))\n"
        "print(zlib.crc32(clf.fit(X[:200], y[:200]).votes(X[200:240]).tobytes()))\n"
    )
    size = len(pickle.dumps(fitted(model="mlp", n_members=5)._ensemble.values(0)))
    expected = run(
        (FULL + "print(zlib.crc32(clf.fit(X[:200], y[:200]).votes(X[200:240]).tobytes()))").format(place="")
    )
    assert run(code.replace("{limit}", str(20 * size))) == expected
    assert len(files(tmp_path / "kept", "member-")) == 70, "no file holds many; each is where it was"
    assert not files(tmp_path / "kept", "members-") and not files(tmp_path / "kept", ".certssb")
    # A disk on which not even one member has room: named, and gone on with later.
    small = code.replace("{limit}", str(size // 2)).replace("kept", "none")
    done = subprocess.run(
        [sys.executable, "-c", small], capture_output=True, text=True, timeout=1800, check=False
    )
    assert "CheckpointError" in done.stderr and str(tmp_path / "none") in done.stderr
    assert run(code.replace("{limit}", "-1").replace("kept", "none")) == expected
    assert len(files(tmp_path / "none", "member")) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="limits sizes of files")
def test_a_process_that_is_killed_in_the_middle_of_a_shard_costs_nothing(tmp_path: Path) -> None:
    code = FULL.format(place=f'checkpoint={str(tmp_path / "kept")!r}, members="disk"') + (
        "print(zlib.crc32(clf.fit(X[:200], y[:200]).votes(X[200:240]).tobytes()))\n"
    )
    size = len(pickle.dumps(fitted(model="mlp", n_members=5)._ensemble.values(0)))
    # The system ends a process that writes beyond its limit, as kill -9 does: nothing of it runs any more.
    limit = f"(resource.RLIMIT_FSIZE, ({20 * size}, resource.RLIM_INFINITY))"
    killed = f"import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_DFL)\nresource.setrlimit{limit}\n{code}"
    done = subprocess.run([sys.executable, "-c", killed], capture_output=True, timeout=1800, check=False)
    assert done.returncode == -signal.SIGXFSZ, done.stderr
    (draft,) = (tmp_path / "kept").glob(".certssb-*")
    assert draft.stat().st_size > 10 * size, "in the middle of a shard"
    assert len(files(tmp_path / "kept", "member-")) == 70 and not files(tmp_path / "kept", "members-")
    expected = run(
        (FULL + "print(zlib.crc32(clf.fit(X[:200], y[:200]).votes(X[200:240]).tobytes()))").format(place="")
    )
    assert run(code) == expected
    assert len(files(tmp_path / "kept", "member")) == 1 and not files(tmp_path / "kept", ".certssb")


def test_a_file_system_without_room_is_named_and_the_fit_goes_on_when_there_is_some(tmp_path: Path) -> None:
    mount = shutil.which("mount")
    folder = tmp_path / "small"
    folder.mkdir()
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a file system of three megabytes")
    try:
        code = FULL.format(place=f'checkpoint={str(folder / "kept")!r}, members="disk"')
        code += "print(zlib.crc32(clf.fit(X[:200], y[:200]).votes(X[200:240]).tobytes()))\n"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=1800, check=False
        )
        assert "CheckpointError" in done.stderr and "No space left on device" in done.stderr
        assert str(folder / "kept") in done.stderr
        assert len(files(folder, "member-")) > 3, "what was finished is there"
        subprocess.run([command[0], "-o", "remount,size=64m", str(folder)], capture_output=True, check=True)
        votes = run(code)
        here = run(
            (FULL + "print(zlib.crc32(clf.fit(X[:200], y[:200]).votes(X[200:240]).tobytes()))").format(
                place=""
            )
        )
        assert votes == here
    finally:
        subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)


LAWS: list[Any] = [
    ("linear", None, {}),
    ("discriminant", cs.Subsample(size=40), {}),
    ("linear", cs.Subsample(cs.Gaussian(0.25), rate=0.01), {}),
    ("mlp", cs.SampleSpecific(0.25, steps=2), {"n_members": 12}),
    ("linear", cs.SampleSpecific(0.25, steps=2, guarantee="published"), {"n_members": 12}),
    ("linear", cs.Cascade([cs.Gaussian(0.5), cs.Gaussian(0.25)]), {}),
    ("linear", cs.Partition(12), {"n_members": None, "learning_rate": 0.03}),
    (DecisionTreeClassifier(), cs.Subsample(size=40), {}),
]


def forgotten(checkpoint: Path | None = None, model: Any = "linear", law: Any = None, **settings: Any) -> Any:
    settings = {"n_members": 30, "alpha": 0.3, "seed": 4, "progress": False, "epochs": 2} | settings
    law = cs.Subsample(cs.Gaussian(0.25), size=40) if law is None else law
    clf = cs.CertifiedClassifier(model, law, checkpoint=checkpoint, members="votes", **settings)
    return clf.fit(X[TRAIN], Y[TRAIN], vote_on=X[TEST])


@pytest.mark.parametrize(("model", "law", "more"), LAWS)
def test_members_that_are_forgotten_have_voted_as_members_that_are_kept(
    tmp_path: Path, model: Any, law: Any, more: dict[str, Any]
) -> None:
    here, gone = fitted(None, model, law, **more), forgotten(tmp_path / "kept", model, law, **more)
    for clf in (gone, pickle.loads(pickle.dumps(gone)), forgotten(tmp_path / "kept", model, law, **more)):
        assert (clf.votes(X[TEST]) == here.votes(X[TEST])).all()
        one, other = clf.certify(X[TEST]), here.certify(X[TEST])
        assert one.guarantee == other.guarantee
        assert np.array_equal(one.prediction, other.prediction) and np.array_equal(
            one.abstained, other.abstained
        )
        assert np.array_equal(clf.predict(X[TEST]), here.predict(X[TEST]))
        assert (clf.n_members_, clf.n_failed_, clf.n_idle_) == (here.n_members_, here.n_failed_, here.n_idle_)
    scout = 1 if "published" in repr(law) else 0
    assert len(files(tmp_path, "member")) == scout, "no member is written"
    assert len(files(tmp_path, "votes-")) == (2 if isinstance(law, cs.Cascade) else 1)
    fingerprint = gone.save(tmp_path / "saved")
    if isinstance(model, str):
        assert fingerprint == here.save(tmp_path / "same"), "which members they are, not what is left of them"
    given = {} if isinstance(model, str) else {"model": model}
    back = cs.CertifiedClassifier.load(tmp_path / "saved", fingerprint=fingerprint, **given)
    assert (back.votes(X[TEST]) == here.votes(X[TEST])).all()
    for clf in (gone, back):
        with pytest.raises(
            ParameterError, match="'members'.*only the votes on the samples of.*are left.*Got 'votes'"
        ):
            clf.predict(X[TEST][::-1])


def test_what_forgotten_members_cannot_say_is_refused_by_name() -> None:
    gone = forgotten()
    for ask in (gone.scores, gone.predict, gone.certify, gone.votes):
        with pytest.raises(ParameterError, match="'members' parameter must be 'memory' or 'disk'.*vote_on"):
            ask(X[:7])
    with pytest.raises(ParameterError, match="'members'.*nothing about other samples or about scores"):
        gone.scores(X[TEST])
    with pytest.raises(ParameterError, match="'members'"):
        gone.member(3)
    partition = forgotten(law=cs.Partition(12), n_members=None)
    with pytest.raises(ParameterError, match="'members'"):
        partition.certify(X[TEST], election="run-off")
    with pytest.raises(ParameterError, match="'vote_on'.*members='votes'.*Got None"):
        cs.CertifiedClassifier("linear", n_members=3, alpha=0.6, members="votes", progress=False).fit(X, Y)
    with pytest.raises(ParameterError, match="'vote_on'.*None without members='votes'"):
        cs.CertifiedClassifier("linear", n_members=3, alpha=0.6, progress=False).fit(X, Y, vote_on=X)
    with pytest.raises(cs.exceptions.ShapeError):
        gone.fit(X[TRAIN], Y[TRAIN], vote_on=X[:, :, :4])


def test_samples_that_are_more_than_a_block_are_known_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    from certssb.estimators import _in_blocks

    gone, here = forgotten(), fitted()
    monkeypatch.setattr(_in_blocks, "_VALUES", 64 * 7)
    assert (gone.votes(X[TEST]) == here.votes(X[TEST])).all() and gone.certify(X[TEST]) == here.certify(
        X[TEST]
    )


class Late(NearestCentroid):  # type: ignore[misc]
    """Begins to remember what it was fitted on after a while, as a library with a cache does that is not of use before."""

    fits, upto = 0, 10**9

    def fit(self, X: Any, y: Any) -> Any:
        Late.fits += 1
        return super().fit(X + 0.01 * max(0, Late.fits - Late.upto), y)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("elsewhere", [False, True])
def test_no_votes_are_kept_of_members_that_turn_out_to_share_state(tmp_path: Path, elsewhere: bool) -> None:
    with ThreadPoolExecutor(1) as pool:
        clf = cs.CertifiedClassifier(
            Late(),
            cs.Subsample(size=20),
            n_members=300,
            members="votes",
            checkpoint=tmp_path,
            form="joblib",
            executor=pool if elsewhere else None,
            n_jobs=1,
            seed=0,
            progress=False,
        )
        # Of the second part, where members are trained in parts.
        Late.upto = 270
        try:
            for _ in range(2):
                Late.fits = 0
                with pytest.raises(
                    cs.exceptions.TrainingError, match="trained again after the others, it differs"
                ):
                    clf.fit(X[TRAIN], Y[TRAIN], vote_on=X[TEST])
                assert not files(tmp_path, "votes-"), "a second fit would take them for what they are not"
        finally:
            Late.upto = 10**9


def test_members_are_added_and_trained_again_where_their_votes_are_not_enough() -> None:
    gone, whole = forgotten(), fitted(n_members=45)
    gone.set_params(n_members=45).fit(X[TRAIN], Y[TRAIN], vote_on=X[TEST])
    assert not gone._ensemble.grown, "nobody has looked"
    assert (gone.votes(X[TEST]) == whole.votes(X[TEST])).all()
    gone.fit(X[TRAIN], Y[TRAIN], vote_on=X[:20])
    assert (gone.votes(X[:20]) == whole.votes(X[:20])).all()
    gone.set_params(n_members=50)
    with pytest.warns(cs.exceptions.GrowthWarning):
        gone.fit(X[TRAIN], Y[TRAIN], vote_on=X[:20])
    gone.set_params(members="memory", n_members=45)
    gone.fit(X[TRAIN], Y[TRAIN])
    assert (gone.votes(X[TEST]) == whole.votes(X[TEST])).all()


def test_votes_that_are_damaged_are_cast_again(tmp_path: Path) -> None:
    gone = forgotten(tmp_path / "kept")
    votes = gone.votes(X[TEST])
    (path,) = (tmp_path / "kept").glob("votes-*")
    good = path.read_bytes()
    for bad in (good[:-3], good[: len(good) // 2], b"", good[:-1] + bytes([good[-1] ^ 1]), b"\xff" * 40):
        path.write_bytes(bad)
        assert (forgotten(tmp_path / "kept").votes(X[TEST]) == votes).all()


def test_a_goal_is_voted_on_and_members_forgotten(tmp_path: Path) -> None:
    law = cs.Subsample(cs.Gaussian(0.25), size=40)
    goal = cs.Until(X[TEST], n_poisoned=1, trigger_norm=0.1, share=0.9, first=20, max_members=80)
    settings: dict[str, Any] = {"n_members": "auto", "alpha": 0.3, "seed": 4, "progress": False, "epochs": 2}
    here = cs.CertifiedClassifier("linear", law, **settings).fit(X[TRAIN], Y[TRAIN], until=goal)
    gone = cs.CertifiedClassifier("linear", law, members="votes", **settings).fit(
        X[TRAIN], Y[TRAIN], until=goal
    )
    assert gone.n_members_ == here.n_members_ and gone.decided_ == here.decided_
    assert (gone.votes(X[TEST]) == here.votes(X[TEST])).all()
    assert gone.certify(X[TEST]).guarantee == here.certify(X[TEST]).guarantee
    with pytest.raises(ParameterError, match="'vote_on'.*'until'"):
        gone.fit(X[TRAIN], Y[TRAIN], until=goal, vote_on=X[:5])


MEMORY = """
import sys, certssb as cs
X, y = cs.datasets.load_digits()
law = cs.Subsample(cs.Gaussian(0.25), size=10)
clf = cs.CertifiedClassifier("mlp", law, n_members=int(sys.argv[1]), alpha=0.3, seed=4, progress=False, epochs=1,
                             checkpoint=sys.argv[2], members=sys.argv[3], device="cpu")
clf.fit(X[:1000], y[:1000], **({"vote_on": X[1000:1100]} if sys.argv[3] == "votes" else {}))
clf.certify(X[1000:1100])
clf.save(sys.argv[2] + "-saved")
print([line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")][0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads peaks from /proc")
def test_memory_does_not_grow_with_members_on_disk(tmp_path: Path) -> None:
    def peak(n_members: int, members: str) -> float:
        folder = str(tmp_path / f"{members}-{n_members}")
        arguments = [sys.executable, "-c", MEMORY, str(n_members), folder, members]
        # One heap: what those of several threads hold free is no member's, and differs from run to run.
        once = os.environ | {"MALLOC_ARENA_MAX": "1"}
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=1800, check=True, env=once)
        return int(done.stdout) / 1024

    values = fitted(model="mlp", n_members=5)._ensemble.values(0).nbytes
    grown = 400 * values / 2**20
    assert grown > 60, "too little to be seen"
    few = peak(40, "disk")
    assert peak(440, "disk") < few + 0.25 * grown
    # A part of 256 members is in memory at a time, of however many; of fewer than 1,024 a quarter, since others may share them.
    assert peak(1500, "votes") < peak(1100, "votes") + 0.1 * grown
    assert peak(440, "memory") > few + 0.75 * grown
