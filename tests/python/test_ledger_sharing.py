"""A ledger among others: threads that write to its input, callbacks that come back, and Ctrl-C."""

from __future__ import annotations

import _thread
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

import certssb as cs


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


# Arrays that change during the call.


def test_an_array_changed_between_groups_stores_nothing_unchecked(path):
    X, classes, radii = crowd(2000)

    def spoil(done, total):
        X[done:] = np.nan

    with cs.Ledger(path) as ledger:
        with pytest.raises(cs.ParameterError, match=r"'X\[512\]'.*The first 512 of 2000 updates are stored"):
            ledger.update_many(X, classes, radii, progress=spoil)
        assert ledger.verify().updates == 512
    with cs.Ledger(path) as ledger:
        assert len(ledger.centres()) == 512


def test_another_thread_writes_to_the_array_all_the_time(path):
    X, classes, radii = crowd(20_000)
    own, stop = X.copy(), threading.Event()

    def spoil():
        while not stop.is_set():
            X[-1500:] = np.nan
            X[-1500:] = own[-1500:]

    spoiler = threading.Thread(target=spoil)
    with cs.Ledger(path) as ledger:
        for _ in range(5):
            spoiler = threading.Thread(target=spoil)
            spoiler.start()
            try:
                ledger.update_many(X, classes, radii)
            except cs.ParameterError as error:
                assert "'X[" in str(error)
            finally:
                stop.set()
                spoiler.join()
                stop.clear()
                X[:] = own
        assert np.isfinite(ledger.centres()).all()
    with cs.Ledger(path) as ledger:
        ledger.verify()


def test_what_is_handed_out_is_a_copy(path):
    expected = filled(path)
    with cs.Ledger(path) as ledger:
        for array in (ledger.centres(), ledger.to_frame()["radius"].to_numpy(copy=False)):
            try:
                array[:] = 0
            except ValueError:
                assert not array.flags.writeable
        ledger.verify().outcomes["kept"] = -1
        assert np.array_equal(ledger.centres(), crowd(50)[0])
        assert ledger.to_frame()["radius"].tolist() == [entry.radius for entry in expected]
        assert ledger.verify().outcomes["kept"] > 0
        with pytest.raises(AttributeError):
            ledger.path = "elsewhere"


# Callbacks that come back.

METHODS = [
    lambda ledger: len(ledger),
    lambda ledger: ledger.n_updates,
    lambda ledger: ledger.dimension,
    lambda ledger: ledger.query([0.0, 0.0]),
    lambda ledger: ledger.update([0.0, 0.0], 1, 0.1),
    lambda ledger: ledger.update_many([[0.0, 0.0]], [1], [0.1]),
    lambda ledger: ledger.to_frame(),
    lambda ledger: ledger.centres(),
    lambda ledger: ledger.verify(),
    lambda ledger: ledger.close(),
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("job", ["update_many", "verify"])
def test_a_progress_function_cannot_use_the_ledger_it_reports_on(path, method, job):
    with cs.Ledger(path) as ledger:
        ledger.update_many(*crowd(600))
        start = time.monotonic()
        with pytest.raises(cs.LedgerError, match="progress function"):
            if job == "verify":
                ledger.verify(progress=lambda done, total: method(ledger))
            else:
                ledger.update_many(*crowd(600, seed=1), progress=lambda done, total: method(ledger))
        assert time.monotonic() - start < 10
        # And afterwards everything works.
        assert ledger.verify().updates == ledger.n_updates in (600, 1112)


@pytest.mark.parametrize("job", ["update_many", "verify"])
def test_a_progress_function_may_wait_for_a_thread_that_uses_the_ledger(path, job):
    with cs.Ledger(path) as ledger:
        ledger.update_many(*crowd(600))
        seen = []

        def ask(done, total):
            thread = threading.Thread(target=lambda: seen.append(len(ledger)))
            thread.start()
            thread.join(20)
            assert not thread.is_alive()

        if job == "verify":
            ledger.verify(progress=ask)
        else:
            ledger.update_many(*crowd(600, seed=1), progress=ask)
        assert len(seen) == 2 and seen == sorted(seen)


def test_threads_take_turns_and_all_updates_are_there(path):
    with cs.Ledger(path) as ledger:
        failures = []

        def work(seed):
            try:
                X, classes, radii = crowd(40, seed=seed)
                for x, c, r in zip(X, classes, radii, strict=True):
                    ledger.update(x, int(c), float(r))
                    ledger.query(x)
            except Exception as error:  # noqa: BLE001 -- told to the main thread
                failures.append(error)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert ledger.verify().updates == 160


# Ctrl-C.


HOLDER = """
    import sqlite3, sys
    other = sqlite3.connect(sys.argv[1], isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    print("locked", flush=True)
    sys.stdin.read()
    other.execute("ROLLBACK")
"""


class Locked:
    """Another process that holds the file's write lock until it is released."""

    def __init__(self, path):
        command = [sys.executable, "-c", textwrap.dedent(HOLDER), str(path)]
        self.holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.holder.stdout.readline() == "locked\n"

    def release(self):
        self.holder.communicate(timeout=1800)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.holder.poll() is None:
            self.release()


def interrupt_after(seconds):
    timer = threading.Timer(seconds, _thread.interrupt_main)
    timer.start()
    return timer


@pytest.mark.parametrize(
    "job",
    [
        lambda ledger: ledger.update([0.0, 0.0], 1, 0.1),
        lambda ledger: ledger.update_many(*crowd(600)),
    ],
)
def test_ctrl_c_while_waiting_for_a_lock(path, job):
    filled(path)
    with Locked(path) as other, cs.Ledger(path) as ledger:
        interrupt_after(0.3)
        start = time.monotonic()
        with pytest.raises((KeyboardInterrupt, cs.CancelledError)):
            job(ledger)
        assert time.monotonic() - start < 2.3
        other.release()
        assert ledger.verify().updates == 50


def test_ctrl_c_while_another_thread_has_the_ledger(path):
    filled(path)
    with Locked(path) as other, cs.Ledger(path) as ledger:
        thread = threading.Thread(target=lambda: ledger.update([0.0, 0.0], 1, 0.1))
        asked, struck, over = [time.monotonic()], [], threading.Event()

        def interrupt_when_it_waits():
            while time.monotonic() - asked[0] < 0.3:
                if over.wait(0.01):
                    return
            struck.append(time.monotonic())
            _thread.interrupt_main()

        interrupter = threading.Thread(target=interrupt_when_it_waits)
        with pytest.raises((KeyboardInterrupt, cs.CancelledError)):
            thread.start()
            interrupter.start()
            try:
                while True:
                    # It answers for as long as the other has not begun, which must come to its turn.
                    time.sleep(0.01)
                    asked[0] = time.monotonic()
                    len(ledger)
            finally:
                over.set()
        assert time.monotonic() - struck[0] < 2.0
        other.release()
        thread.join(20)
        assert not thread.is_alive() and ledger.n_updates == 51


LONG = """
    import signal, sys, time, _thread, threading
    import numpy as np
    import certssb as cs

    path, job = sys.argv[1:]
    ledger = cs.Ledger(path)
    jobs = {
        "update_many": lambda: ledger.update_many(
            np.random.default_rng(1).random((200_000, 100), dtype=np.float32), np.zeros(200_000, int),
            np.full(200_000, .01)),
        "verify": lambda: [ledger.verify() for _ in range(1000)],
        "to_frame": lambda: [ledger.to_frame() for _ in range(1000)],
        "centres": lambda: [ledger.centres() for _ in range(1000)],
        "open": lambda: [cs.Ledger(path) for _ in range(1000)],
    }
    threading.Timer(1.0, lambda: (print(time.monotonic(), flush=True), _thread.interrupt_main())).start()
    try:
        jobs[job]()
    except BaseException as error:
        print(time.monotonic(), type(error).__name__, error, flush=True)
    ledger.verify()
    print("done", flush=True)
"""


@pytest.fixture(scope="module")
def long_ledger(tmp_path_factory):
    path = tmp_path_factory.mktemp("long") / "regions.sqlite"
    rng = np.random.default_rng(0)
    with cs.Ledger(path) as ledger:
        ledger.update_many(
            rng.random((20_000, 100), dtype=np.float32), np.zeros(20_000, int), np.full(20_000, 0.01)
        )
    return path


@pytest.mark.parametrize("job", ["update_many", "verify", "to_frame", "centres", "open"])
def test_ctrl_c_in_long_work_is_heard_within_two_seconds(long_ledger, job):
    command = [sys.executable, "-c", textwrap.dedent(LONG), str(long_ledger), job]
    out = subprocess.run(
        command, capture_output=True, text=True, timeout=1800, check=True
    ).stdout.splitlines()
    assert out[-1] == "done" and len(out) == 3, out
    heard, kind = float(out[1].split()[0]), out[1].split()[1]
    assert heard - float(out[0]) < 2, out
    assert kind in ("KeyboardInterrupt", "CancelledError")


def test_what_a_signal_handler_raises_is_told_as_it_is(path):
    if not hasattr(signal, "setitimer"):
        pytest.skip("this system has no timers")
    filled(path)

    def alarm(number, frame):
        raise TimeoutError("too long")

    before = signal.signal(signal.SIGALRM, alarm)
    try:
        with Locked(path) as other, cs.Ledger(path) as ledger:
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            with pytest.raises(TimeoutError, match="too long"):
                ledger.update([0.0, 0.0], 1, 0.1)
            other.release()
            ledger.update([0.0, 0.0], 1, 0.1)
    finally:
        signal.signal(signal.SIGALRM, before)
