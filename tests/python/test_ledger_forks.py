"""A ledger and processes that are forked from the one that has it open."""

from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import pytest

import certssb as cs

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "regions.sqlite"


def crowd(n, d=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((n, d), dtype=np.float32), rng.integers(0, 3, n), rng.random(n) * 0.2


def in_a_fork(work, seconds=30):
    """What `work` says in a forked child, or what stopped it."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = work()
        except BaseException as error:  # noqa: BLE001 -- told to the parent
            said = f"{type(error).__name__}: {error}"
        os.write(write, str(said).encode())
        os._exit(0)
    os.close(write)
    deadline = time.monotonic() + seconds
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(read)
            return "hangs"
        time.sleep(0.01)
    with os.fdopen(read) as told:
        return told.read()


def test_parent_and_child_both_go_on_with_a_ledger_after_a_fork(path):
    with cs.Ledger(path) as ledger:
        ledger.update([0.0, 0.0], prediction=1, radius=0.5)

        def child():
            second = ledger.update([0.0, 0.75], prediction=0, radius=0.5)
            return second.outcome, ledger.query([0.1, 0.0]).prediction, len(ledger), ledger.verify().updates

        assert in_a_fork(child) == "('trimmed', 1, 2, 2)"
        # The child's process has ended meanwhile; its update is there, and the parent's connection is sound.
        assert ledger.update([0.25, 0.0], prediction=0, radius=0.5).number == 2
        assert ledger.verify().updates == 3


def test_a_child_opens_a_ledger_that_its_parent_has_open(path):
    with cs.Ledger(path) as ledger:
        ledger.update([0.0, 0.0], prediction=1, radius=0.5)

        def child():
            with cs.Ledger(path) as own:
                X, classes, radii = crowd(700)
                return len(own.update_many(X, classes, radii)), own.verify().updates

        assert in_a_fork(child) == "(700, 701)"
        ledger.update([5.0, 5.0], prediction=1, radius=0.5)
        assert ledger.verify().updates == 702


def test_a_child_does_not_inherit_connections(path):
    """By the list of open files: SQLite's own state would be wrong in a child that has one."""
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("this system does not list open files")
    with cs.Ledger(path) as ledger:
        ledger.update([0.0, 0.0], prediction=1, radius=0.5)

        def child():
            names = [
                os.readlink(f"/proc/self/fd/{fd}")
                for fd in os.listdir("/proc/self/fd")
                if fd != "3" and os.path.exists(f"/proc/self/fd/{fd}")
            ]
            return [name for name in names if "regions.sqlite" in name]

        assert in_a_fork(child) == "[]"
        assert len(ledger) == 1


def test_a_fork_while_other_threads_use_the_ledger(path):
    with cs.Ledger(path) as ledger:
        stop = threading.Event()
        failures = []

        def work():
            rng = np.random.default_rng(0)
            try:
                while not stop.is_set():
                    ledger.update(rng.random(2, dtype=np.float32), 1, 0.01)
            except Exception as error:  # noqa: BLE001 -- told to the main thread
                failures.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            for _ in range(10):
                said = in_a_fork(lambda: ledger.update([9.0, 9.0], 2, 0.01).prediction)
                assert said == "2"
        finally:
            stop.set()
            thread.join()
        assert not failures
        ledger.verify()


def test_a_child_of_a_progress_function_is_refused_by_name(path):
    with cs.Ledger(path) as ledger:
        said = []
        ledger.update_many(*crowd(10), progress=lambda *_: said.append(in_a_fork(lambda: len(ledger))))
        assert said and "LedgerError" in said[0] and "progress function" in said[0]
        assert ledger.verify().updates == 10


def test_a_child_that_closes_or_drops_a_ledger_leaves_the_parents_alone(path):
    ledger = cs.Ledger(path)
    ledger.update([0.0, 0.0], prediction=1, radius=0.5)
    assert in_a_fork(lambda: ledger.close()) == "None"
    assert ledger.update([5.0, 5.0], prediction=1, radius=0.5).number == 1
    ledger.close()
    with cs.Ledger(path) as again:
        assert again.verify().updates == 2
