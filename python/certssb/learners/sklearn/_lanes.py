"""Where members are fitted: in the core's threads, or in processes where the interpreter would keep threads waiting."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError
from concurrent.futures import TimeoutError as NotYet
from typing import Any

import numpy as np
import numpy.typing as npt

from certssb.learners.sklearn._fitting import Recipe, attempted
from certssb.learners.sklearn._member import Floats, Member

__all__ = ["Lanes"]

_WORTH_IT = 1.0
"""Seconds of work in threads before processes are started, which takes about as long."""

_LOOK = 0.05

_IDLE = 60.0
"""Seconds after which processes without work end."""

_pools: dict[tuple[int, int], Any] = {}
_pools_lock = threading.Lock()


def _pool(n_jobs: int) -> Any:
    """Processes that later fits find again.

    Not those of ``get_reusable_executor``: of these there is one set in a process, which `joblib.Parallel` takes for its
    own kind and fails on. A process that was forked has no use for those of its parent.
    """
    from joblib.externals.loky import ProcessPoolExecutor

    key = (os.getpid(), n_jobs)
    with _pools_lock:
        known = _pools.get(key)
        if known is None or known._flags.broken is not None or known._flags.shutdown:
            known = _pools[key] = ProcessPoolExecutor(max_workers=n_jobs, timeout=_IDLE)
        return known


class Lanes:
    """Fits members for the threads of the core.

    Parameters
    ----------
    n_jobs : int
        Threads that will ask at the same time.
    in_processes : bool
        Whether to hand the work to processes once there is enough of it. A member is the same wherever it is fitted.
    """

    def __init__(self, n_jobs: int, in_processes: bool) -> None:
        self._n_jobs = n_jobs
        self.in_processes = in_processes and n_jobs > 1
        self.used_processes = False
        self._spent = 0.0
        self._lock = threading.Lock()

    def fit(
        self,
        recipe: Recipe,
        seeds: tuple[int, int],
        X: Floats,
        y: npt.NDArray[np.int64],
        stopped: Callable[[], bool],
    ) -> tuple[Member, float, str | None] | None:
        """A member, its loss, and why there is none; None if `stopped` said so meanwhile."""
        if self.in_processes and self._spent > _WORTH_IT:
            try:
                return self._elsewhere(recipe, seeds, X, y, stopped)
            except BrokenExecutor:
                # Somebody ended a worker, such as a system short of memory.
                self.in_processes = False
        start = time.monotonic()
        found = attempted(recipe, *seeds, X, y)
        with self._lock:
            self._spent += time.monotonic() - start
        return None if stopped() else found

    def _elsewhere(
        self,
        recipe: Recipe,
        seeds: tuple[int, int],
        X: Floats,
        y: npt.NDArray[np.int64],
        stopped: Callable[[], bool],
    ) -> tuple[Member, float, str | None] | None:
        from joblib.externals.loky.process_executor import ShutdownExecutorError

        while True:
            try:
                return self._asked(_pool(self._n_jobs), (recipe, *seeds, X, y), stopped)
            except ShutdownExecutorError:
                # Another fit had the same processes, and was stopped.
                if stopped():
                    return None

    def _asked(
        self, executor: Any, task: tuple[Any, ...], stopped: Callable[[], bool]
    ) -> tuple[Member, float, str | None] | None:
        future = executor.submit(attempted, *task)
        orphaned = False
        while True:
            try:
                found: tuple[Member, float, str | None] = future.result(timeout=_LOOK)
                self.used_processes = True
                return found
            except (NotYet, CancelledError):
                if future.done():
                    if future.cancelled() or stopped():
                        return None
                    continue
                if stopped():
                    # A fit cannot be interrupted; its process can be ended.
                    executor.shutdown(wait=False, kill_workers=True)
                    return None
                # The thread that takes results from workers may have ended, and then nobody ever would. Looked at twice:
                # as it ends it tells its futures.
                taker = getattr(executor, "_executor_manager_thread", None)
                gone = taker is not None and not taker.is_alive()
                if gone and orphaned:
                    executor.shutdown(wait=False, kill_workers=True)
                    raise BrokenExecutor("nobody takes the results of workers") from None
                orphaned = gone
            except BrokenExecutor:
                if stopped():
                    return None
                raise
