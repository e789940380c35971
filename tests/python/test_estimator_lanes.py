"""Members that are estimators, side by side in threads and in processes."""

import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from estimator_driver import Job, Plain, X, Y, asked, learner, trained
from sklearn.ensemble import RandomForestClassifier

from certssb.learners.sklearn._lanes import Lanes
from certssb.learners.sklearn._learner import EstimatorLearner


def test_members_are_the_same_from_threads_and_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    own = learner(RandomForestClassifier(8))
    alone = [trained(own, number) for number in range(4)]
    results: dict[tuple[str, int], Any] = {}

    def work(way: str, number: int) -> None:
        results[way, number] = trained(own, number)

    for way in ("threads", "processes"):
        own._lanes = Lanes(2, way == "processes")
        own._lanes._spent = 100.0
        threads = [threading.Thread(target=work, args=(way, number)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for (_, number), member in results.items():
        assert asked(own, member).tobytes() == asked(own, alone[number]).tobytes()
    assert len(results) == 8


def test_threads_do_not_put_each_others_filters_of_warnings_back() -> None:
    own = learner(RandomForestClassifier(20))
    own._lanes = Lanes(3, False)
    before, content = warnings.filters, list(warnings.filters)
    members: list[Any] = []

    def work(number: int) -> None:
        for again in range(3):
            members.append(trained(own, number + again))
            asked(own, members[-1])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    # As on a busy machine, where a thread is interrupted anywhere.
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(usual)
    assert len(members) == 9
    same = warnings.filters is before and list(before) == content
    warnings.filters = before
    assert same


def test_a_process_is_ended_when_the_run_is_stopped() -> None:
    class Slow(Plain):
        def fit(self, X: Any, y: Any) -> None:
            super().fit(X, y)
            if X[0, 0] == 7.0:
                time.sleep(60)

    own = learner(Slow)
    own._lanes = Lanes(2, True)
    own._lanes._spent = 100.0
    slow = X.copy()
    slow[0, 0] = 7.0
    job = Job(0)
    timer = threading.Timer(3.0, lambda: setattr(job, "_stopped", True))
    timer.start()
    start = time.monotonic()
    assert own.train(job, slow[None], Y[None]) is None
    assert time.monotonic() - start < 20


def test_a_run_that_is_stopped_ends_no_other_run(tmp_path: Path) -> None:
    class Waiting(Plain):
        def fit(self, X: Any, y: Any) -> None:
            super().fit(X, y)
            if X[0, 0] >= 7.0:
                (tmp_path / f"begun-{X[0, 0]:.0f}").touch()
                while not (tmp_path / "stopped").exists():
                    time.sleep(0.01)

    class Stopped(Job):
        def stopped(self) -> bool:
            return (tmp_path / "begun-8").exists()

    def slow() -> EstimatorLearner:
        own = learner(Waiting)
        own._lanes = Lanes(2, True)
        own._lanes._spent = 100.0
        return own

    data, other = X.copy(), X.copy()
    data[0, 0], other[0, 0] = 7.0, 8.0
    with ThreadPoolExecutor(1) as pool:
        going_on = pool.submit(slow().train, Job(0), data[None], Y[None])
        try:
            while not (tmp_path / "begun-7").exists() and not going_on.done():
                time.sleep(0.01)
            # Both have the same processes.
            assert slow().train(Stopped(1), other[None], Y[None]) is None
        finally:
            (tmp_path / "stopped").touch()
        assert going_on.result(timeout=1800) is not None


def test_workers_whose_results_nobody_takes_are_done_without(monkeypatch):
    from concurrent.futures import Future

    from certssb.learners.sklearn import _lanes

    class Orphaned:
        _executor_manager_thread = threading.Thread(target=int)
        ended = False

        def submit(self, *_):
            return Future()

        def shutdown(self, **_):
            self.ended = True

    executor = Orphaned()
    monkeypatch.setattr(_lanes, "_pool", lambda _: executor)
    monkeypatch.setattr(_lanes, "attempted", lambda *_: ("member", 0.5, None))
    lanes = _lanes.Lanes(2, True)
    lanes._spent = 10.0
    assert lanes.fit(None, (0, 1), None, None, lambda: False) == ("member", 0.5, None)
    assert executor.ended and not lanes.in_processes


def test_joblib_works_in_a_process_whose_members_were_fitted_in_processes() -> None:
    import joblib

    own = learner(RandomForestClassifier(5))
    own._lanes = Lanes(2, True)
    own._lanes._spent = 100.0
    trained(own)
    assert own._lanes.used_processes
    assert joblib.Parallel(n_jobs=2)(joblib.delayed(abs)(number) for number in (-1, 2)) == [1, 2]
    assert trained(own, 1) is not None and own._lanes.in_processes
