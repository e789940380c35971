"""What a ledger's file may be, who may read it, and what becomes of it when a process is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

import certssb as cs

unix = pytest.mark.skipif(os.name != "posix", reason="another system has other files")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "regions.sqlite"


def crowd(n, d=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((n, d), dtype=np.float32), rng.integers(0, 3, n), rng.random(n) * 0.2


def filled(path, n=50):
    X, classes, radii = crowd(n)
    with cs.Ledger(path) as ledger:
        return ledger.update_many(X, classes, radii)


# Paths.


@pytest.mark.parametrize(
    ("name", "part"),
    [
        (":memory:", "':memory:'"),
        ("file:regions.sqlite", "'file:regions.sqlite'"),
        ("file::memory:?cache=shared", "the address"),
        ("", "an empty one"),
        ("a\0b", "null character"),
        ("\ud800", "which no file can be called"),
        (3, "type int"),
        (None, "type NoneType"),
    ],
)
@pytest.mark.parametrize("read_only", [False, True])
def test_paths_that_are_no_files(tmp_path, monkeypatch, name, part, read_only):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(cs.LedgerError, match="The 'path' parameter must be the path of a file") as failure:
        cs.Ledger(name, read_only=read_only)
    assert part in str(failure.value) and "\n" not in str(failure.value)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("kind", [str, os.fsencode, lambda path: path])
def test_paths_in_every_form(path, monkeypatch, kind):
    filled(path)
    with cs.Ledger(kind(path)) as ledger:
        assert ledger.path == str(path)
    # What is open stays open, wherever the process goes.
    monkeypatch.chdir(path.parent)
    with cs.Ledger(path.name) as ledger:
        monkeypatch.chdir("/")
        ledger.update([5.0, 5.0], 1, 0.1)
        ledger._core.before_fork()
        ledger._core.after_fork()
        assert ledger.verify().updates == 51


@unix
def test_names_that_are_no_text(tmp_path):
    name = os.path.join(os.fsencode(tmp_path), b"r\xff.sqlite")
    filled(name)
    with cs.Ledger(os.fsdecode(name), read_only=True) as ledger:
        assert ledger.verify().updates == 50


@unix
def test_only_regular_files_are_opened(path, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for name, what in [(pipe, "a named pipe"), ("/dev/zero", "a device"), (tmp_path, "a folder")]:
        for read_only in (False, True):
            start = time.monotonic()
            with pytest.raises(cs.LedgerError, match=what):
                cs.Ledger(name, read_only=read_only)
            assert time.monotonic() - start < 2
    filled(path)
    os.mkfifo(f"{path}-journal")
    with pytest.raises(cs.LedgerError, match=r"-journal.*a named pipe"):
        cs.Ledger(path)


# Values.


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (([0.0, 0.0], 2**32, 0.5), "prediction"),
        (([0.0, 0.0], 2**64, 0.5), "prediction"),
        (([0.0, 0.0], -(2**64), 0.5), "prediction"),
        (([0.0, 0.0], True, 0.5), "prediction"),
        (([0.0, 0.0], 1, 10**400), "radius"),
        (([0.0, 0.0], 1, "0.5"), "radius"),
        (([0.0, 0.0], 1, None), "radius"),
        (([0.0, 10**400], 1, 0.5), "x"),
        (([0.0, 1e300], 1, 0.5), "x"),
        (([[0.0], [0.0, 1.0]], 1, 0.5), "x"),
        (([0.0, 1j], 1, 0.5), "x"),
        ((np.ma.masked_array([0.0, 1.0], [0, 1]), 1, 0.5), "x"),
        ((object(), 1, 0.5), "x"),
    ],
)
@pytest.mark.parametrize("mode", ["warn", "raise"])
def test_values_that_are_none(path, arguments, name, mode):
    with cs.Ledger(path) as ledger:
        ledger.update([1.0, 1.0], prediction=0, radius=0.1)
        x, prediction, radius = arguments
        before = np.seterr(all=mode)
        try:
            with pytest.raises(cs.ParameterError, match=f"'{name}'"):
                ledger.update(x, prediction, radius)
            many = {"x": "X", "prediction": "predictions", "radius": "radii"}[name]
            points = [x] if name == "x" else [[0.0, 0.0]]
            if isinstance(x, np.ma.MaskedArray):
                points = x.reshape(1, -1)
            with pytest.raises((cs.ParameterError, cs.ShapeError), match=f"'{many}"):
                ledger.update_many(points, [prediction], [radius])
            if name == "x":
                with pytest.raises(cs.ParameterError, match="'x'"):
                    ledger.query(x)
        finally:
            np.seterr(**before)
        assert ledger.n_updates == 1


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (([[0.0, 0.0]], [[1]], [0.5]), "predictions"),
        (([[0.0, 0.0]], [1], [[0.5]]), "radii"),
        (([[0.0, 0.0]], [1], 0.5), "radii"),
        (([[0.0, 0.0]], [1], ["0.5"]), "radii"),
        (([[0.0, 0.0]], [1], [1j]), "radii"),
        (([[0.0, 0.0]], np.array([2**63 + 5], dtype=np.uint64), [0.5]), "predictions"),
        (([[0.0, 0.0]], [-1], [0.5]), "predictions"),
        (([[0.0, 0.0]], [0.5], [0.5]), "predictions"),
        (([[0.0, 0.0]], [1, 2], [0.5]), "predictions"),
        (([[0.0, 0.0]], [1], [0.5, 0.5]), "radii"),
        (([[0.0, 0.0, 0.0]], [1], [0.5]), "X"),
        (([[]], [1], [0.5]), "X"),
        (([0.0, 0.0], [1], [0.5]), "X"),
    ],
)
def test_columns_that_do_not_fit(path, arguments, name):
    with cs.Ledger(path) as ledger:
        ledger.update([1.0, 1.0], prediction=0, radius=0.1)
        with pytest.raises((cs.ParameterError, cs.ShapeError), match=f"'{name}'"):
            ledger.update_many(*arguments)
        assert ledger.n_updates == 1


def test_images_and_nothing_are_updates_too(path):
    with cs.Ledger(path) as ledger:
        assert ledger.update_many(np.zeros((0, 2, 2)), [], []) == []
        entries = ledger.update_many(np.eye(4).reshape(4, 2, 2), np.arange(4, dtype=np.uint64), [0.1] * 4)
        assert [entry.outcome for entry in entries] == ["kept"] * 4 and ledger.dimension == 4


def test_numbers_of_entries_keep_their_digits(path):
    with cs.Ledger(path) as ledger:
        assert len(ledger.to_frame()) == 0
        ledger.update([0.0], 1, 1.0)
        ledger.update([1.5], 2**32 - 1, 1.0)
        frame = ledger.to_frame()
    assert frame["cause"].isna().tolist() == [True, False] and frame["cause"][1] == 0
    assert frame["prediction"].tolist() == [1, 2**32 - 1]
    assert {name: str(kind) for name, kind in frame.dtypes.items() if name != "outcome"} == {
        "number": "int64",
        "prediction": "int64",
        "radius": "float64",
        "cause": "Int64",
        "asked_prediction": "int64",
        "asked_radius": "float64",
    }


# Who may read.

READER = """
    import os, sys
    import certssb as cs
    import pandas  # while its files can be read
    cs.Ledger  # and ours
    path = sys.argv[1]
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    if os.access(os.path.dirname(path), os.W_OK):
        sys.exit(77)
    try:
        cs.Ledger(path)
    except cs.LedgerError as error:
        print(error)
    with cs.Ledger(path, read_only=True) as ledger:
        print(ledger.verify().updates, len(ledger.to_frame()), ledger.query([9.0, 9.0]), flush=True)
        if sys.stdin.readline():
            print(ledger.n_updates, ledger.query([9.0, 9.0]).prediction, ledger.verify().updates)
"""


def reader(path):
    """A process without any right but to read."""
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only root can become nobody")
    command = [sys.executable, "-c", textwrap.dedent(READER), str(path)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.fixture
def foreign_path(tmp_path):
    """In a folder that others may enter and not write, under folders that they may enter."""
    import shutil
    import tempfile

    folder = tempfile.mkdtemp()
    os.chmod(folder, 0o755)
    yield os.path.join(folder, "regions.sqlite")
    shutil.rmtree(folder)


def test_a_ledger_in_a_folder_without_write_permission_can_be_read(foreign_path):
    filled(foreign_path)
    out, errors = (process := reader(foreign_path)).communicate("", timeout=1800)
    if process.returncode == 77:
        pytest.skip("nobody may write here")
    assert process.returncode == 0, errors
    refused, read = out.splitlines()
    assert "cannot be written" in refused and "write permission" in refused
    assert read == "50 50 None"
    assert os.listdir(os.path.dirname(foreign_path)) == ["regions.sqlite"]


def test_a_reader_without_rights_sees_what_is_written_meanwhile(foreign_path):
    filled(foreign_path)
    process = reader(foreign_path)
    lines = [process.stdout.readline(), process.stdout.readline()]
    if process.poll() == 77:
        pytest.skip("nobody may write here")
    assert lines[1] == "50 50 None\n", process.stderr.read()
    with cs.Ledger(foreign_path) as ledger:
        ledger.update([9.0, 9.0], 2, 0.5)
    out, errors = process.communicate("go on\n", timeout=1800)
    assert process.returncode == 0, errors
    assert out == "51 2 51\n"


# Killed.

WRITER = """
    import sys
    import numpy as np
    import certssb as cs
    path, seed = sys.argv[1:]
    rng = np.random.default_rng(int(seed))
    X, classes, radii = rng.random((60_000, 2), dtype=np.float32), rng.integers(0, 3, 60_000), rng.random(60_000) * .2
    with cs.Ledger(path) as ledger:
        ledger.update_many(X, classes, radii, progress=lambda done, total: print(done, flush=True))
"""


@unix
@pytest.mark.parametrize("seed", range(4))
def test_killed_in_the_middle_of_many_updates(path, seed):
    """Groups that were reported are there, no group is there in part, and all of it is what it would have been."""
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(path), str(seed)]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    reported = int(writer.stdout.readline())
    time.sleep(0.05 * seed)
    writer.send_signal(signal.SIGKILL)
    rest = writer.communicate(timeout=1800)[0].split()
    reported = max([reported, *map(int, rest)])
    rng = np.random.default_rng(seed)
    X, classes, radii = (
        rng.random((60_000, 2), dtype=np.float32),
        rng.integers(0, 3, 60_000),
        rng.random(60_000) * 0.2,
    )
    with cs.Ledger(path) as ledger:
        stored = ledger.verify().updates
        assert reported <= stored <= reported + 512 and (stored % 512 == 0 or stored == 60_000)
        assert np.array_equal(ledger.centres(), X[:stored])
        frame = ledger.to_frame()
    with cs.Ledger(path.with_name("again.sqlite")) as ledger:
        again = ledger.update_many(X[:stored], classes[:stored], radii[:stored])
    assert frame["radius"].tolist() == [entry.radius for entry in again]
    assert frame["outcome"].tolist() == [entry.outcome for entry in again]


@pytest.mark.parametrize("becomes", ["removed", "another ledger", "another file", "moved"])
def test_a_ledger_whose_file_has_gone_keeps_nothing_and_says_so(tmp_path, becomes):
    path = tmp_path / "regions.sqlite"
    with cs.Ledger(path) as ledger:
        ledger.update([0.0, 0.0], prediction=1, radius=0.5)
        kept = tmp_path / "kept.sqlite"
        os.replace(path, kept)
        if becomes == "removed":
            kept.unlink()
        elif becomes == "another ledger":
            cs.Ledger(path).close()
        elif becomes == "another file":
            path.write_text("a thesis")
        asks = (
            lambda: ledger.update([5.0, 5.0], prediction=0, radius=0.5),
            lambda: ledger.update_many(np.ones((3, 2), np.float32), [0, 0, 0], [0.1, 0.1, 0.1]),
            lambda: ledger.query([0.1, 0.0]),
            lambda: ledger.verify(),
            lambda: ledger.to_frame(),
        )
        for ask in asks:
            with pytest.raises(
                cs.LedgerError, match="regions.sqlite' is no longer there: its file was removed or replaced"
            ):
                ask()
        if becomes == "moved":
            os.replace(kept, path)
            assert ledger.update([5.0, 5.0], prediction=0, radius=0.5).number == 1
            assert ledger.verify().updates == 2
    if becomes == "another file":
        assert path.read_text() == "a thesis"


def test_a_file_that_goes_while_a_group_is_settled_is_no_success(tmp_path):
    path = tmp_path / "regions.sqlite"
    X = np.random.default_rng(0).random((3000, 2)).astype(np.float32)
    with cs.Ledger(path) as ledger, pytest.raises(cs.LedgerError, match="is no longer there"):
        ledger.update_many(
            X, np.zeros(3000, int), np.full(3000, 1e-6), progress=lambda *_: path.unlink(missing_ok=True)
        )
