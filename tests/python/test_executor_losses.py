"""Workers that are lost in the middle of a fit cost what they worked on, and nothing else."""

import contextlib
import multiprocessing
import os
import signal
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import joblib
import numpy as np
import pytest
from executor_driver import SPAWN, TEST, TRAIN, Immediate, classifier, votes_of
from joblib.externals.loky import get_reusable_executor

import certssb as cs
from certssb.executors import _futures, _joblib, _task, _training


@pytest.fixture(scope="module", autouse=True)
def no_worker_is_left():
    """A worker that is killed may hold a lock of loky's queue: others wait for it, and the interpreter for them when it ends."""
    yield
    for pid in loky_workers():
        os.kill(pid, signal.SIGKILL)


def test_a_worker_that_is_killed_costs_what_it_worked_on():
    expected = votes_of(n_members=40, epochs=60)
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(2, mp_context=SPAWN) as pool:
        killed = []

        def kill(done, total):
            workers = set(multiprocessing.active_children()) - others - set(killed)
            if workers and len(killed) < 2 and done >= (5, 15)[len(killed)]:
                killed.append(workers.pop())
                killed[-1].kill()

        clf = classifier(pool, n_members=40, epochs=60, progress=kill).fit(*TRAIN)
        assert len(killed) == 2
        clf.executor, clf.progress = None, False
        assert np.array_equal(clf.votes(TEST), expected)


def test_an_executor_made_here_ends_while_tasks_are_under_way_and_others_larger_than_a_pipe_wait():
    executor = ProcessPoolExecutor(2, mp_context=SPAWN)
    futures = [executor.submit(time.sleep, 0.5) for _ in range(2)]
    futures += [executor.submit(len, bytes(3 << 20)) for _ in range(12)]
    while not all(future.running() for future in futures[:2]):
        time.sleep(0.01)
    for future in futures:
        future.cancel()
    thread = executor._executor_manager_thread
    # What its thread raises would be a warning, and so an error.
    _futures._closed(executor)
    thread.join(60)
    assert not thread.is_alive() and all(future.done() for future in futures)


@pytest.mark.parametrize("number", range(2))
def test_an_executor_made_here_ends_though_a_worker_died_with_the_lock_that_others_wait_for(number):
    """One of two workers without a task waits for it, and holds the lock for which the other waits."""
    executor = ProcessPoolExecutor(2, mp_context=SPAWN)
    list(executor.map(abs, range(2)))
    # Both are there, and wait.
    assert all(future.result() == 0 for future in [executor.submit(int) for _ in range(20)])
    worker, other = [list(executor._processes.values())[place] for place in (number, 1 - number)]
    thread = executor._executor_manager_thread
    # It ends after the executor has been told to.
    os.kill(worker.pid, signal.SIGSTOP)
    _futures._closed(executor)
    worker.kill()
    thread.join(30)
    left = thread.is_alive()
    other.kill()
    thread.join(30)
    assert not left and not thread.is_alive()


def test_members_that_end_their_workers_are_named_and_the_others_kept():
    deadly = Immediate(lambda numbers: 7 in numbers)
    clf = classifier(deadly, n_members=30)
    with pytest.raises(
        cs.TrainingError,
        match="Member 7 was lost with its worker 6 times, at the end with nothing else.*ConnectionError",
    ) as told:
        clf.fit(*TRAIN)
    assert told.value.member == 7 and 3 < deadly.lost < 30
    # All others are there: only one is left to train.
    done = []
    clf.executor, clf.progress = None, lambda done_, total: done.append(done_)
    assert np.array_equal(clf.fit(*TRAIN).votes(TEST), votes_of(n_members=30))
    assert done == list(range(1, 31)) or done[-1] == 30


def test_workers_that_are_lost_now_and_then_cost_nothing_else():
    chances = np.random.default_rng(0)
    unsteady = Immediate(lambda numbers: chances.random() < 0.3)
    assert np.array_equal(votes_of(unsteady, n_members=30), votes_of(n_members=30))
    assert unsteady.lost > 3


def test_members_are_trained_whose_worker_is_lost_when_they_were_sent_a_second_time(monkeypatch):
    sent = []

    def labelled(label, version, key, packed, order):
        sent.append(tuple(order or ()))
        if sent.count(sent[-1]) == 1:
            return label, {"kind": "missing", "where": ("elsewhere", 1)}
        if sent.count(sent[-1]) == 2:
            raise ConnectionError("the worker is gone")
        return label, _task.work(version, key, packed, order)

    monkeypatch.setattr(_joblib, "_labelled", labelled)
    with joblib.parallel_config(backend="sequential"):
        clf = classifier("joblib").fit(*TRAIN)
    assert clf.n_members_ == 12 and {sent.count(order) for order in sent} == {3}
    clf.executor = None
    assert np.array_equal(clf.votes(TEST), votes_of())


def loky_workers():
    """Processes of loky's below this one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command, parent = (
                (folder / "cmdline").read_text(),
                (folder / "stat").read_text().rpartition(")")[2].split()[1],
            )
        except OSError:
            continue
        if int(parent) == os.getpid() and "popen_loky_posix" in command:
            found.append(int(folder.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="workers are looked for in /proc")
@pytest.mark.parametrize("engine", ["joblib", "loky"])
def test_a_killed_worker_of_loky_costs_what_it_worked_on(engine):
    killed = []

    def kill(done, total):
        workers = set(loky_workers()) - set(killed)
        if workers and len(killed) < 2 and done >= (5, 15)[len(killed)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(max(workers), signal.SIGKILL)
                killed.append(max(workers))

    settings = {"n_members": 40, "epochs": 60}
    expected = votes_of(**settings)
    # In some fits nobody is there to be killed a second time before all is done.
    for _ in range(10):
        killed.clear()
        with joblib.parallel_config(backend="loky", n_jobs=2):
            executor = "joblib" if engine == "joblib" else get_reusable_executor(max_workers=2)
            clf = classifier(executor, progress=kill, **settings).fit(*TRAIN)
        clf.executor, clf.progress = None, False
        assert killed and np.array_equal(clf.votes(TEST), expected)
        if len(killed) == 2:
            break
    assert len(killed) == 2
    get_reusable_executor(max_workers=2).shutdown(kill_workers=True)


def test_members_that_never_came_back_are_an_error_whatever_the_engine_says(monkeypatch):
    monkeypatch.setattr(_training, "drive", lambda *_: {("elsewhere", 1)})
    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(cs.TrainingError, match="member 0 failed: it did not come back"),
    ):
        classifier(pool).fit(*TRAIN)
