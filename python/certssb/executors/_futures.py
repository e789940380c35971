"""Whatever has the interface of ``concurrent.futures.Executor``: pools of processes or threads, loky, MPI, an engine's own."""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

from certssb.exceptions import TrainingError
from certssb.executors import _task
from certssb.executors._payload import Carrier, InFile, Packed
from certssb.executors._workforce import Chunk, Workforce

__all__ = ["Futures"]


class Futures(Workforce):
    """Workers behind an executor.

    Parameters
    ----------
    executor : concurrent.futures.Executor or like one
        With ``submit``.
    """

    def __init__(self, executor: Any) -> None:
        super().__init__(_n_workers(executor))
        self.name = type(executor).__name__
        self._executor = executor
        self._own: Any = None
        self._file: InFile | None = None

    def _put(self, carrier: Carrier) -> None:
        self._file = None
        if isinstance(self._executor, ThreadPoolExecutor):
            carrier.here()
        else:
            # For processes of this machine, which most are; others say that they do not see it, and are sent it by value.
            # So they are where there is no room for the file.
            with contextlib.suppress(OSError):
                self._file = carrier.in_file()

    def _submit(self, packed: Packed | InFile | None, chunk: Chunk) -> Any:
        assert self.carrier is not None
        executor = self._own if self._own is not None else self._executor
        version = _task.facts()[:2]
        return executor.submit(_task.work, version, self.carrier.key, packed or self._file, chunk.order)

    def _renew(self, error: BaseException) -> None:
        # loky's pools and those of the standard library end as a whole with one of their workers.
        kinds = {kind.__name__ for kind in type(error).__mro__}
        if "BrokenExecutor" not in kinds:
            return
        executor = self._own if self._own is not None else self._executor
        if not _is_broken(executor):
            # Made anew already: this was under way in the one before.
            return
        fresh = _like(executor)
        if fresh is None:
            raise TrainingError(
                f"Training failed: the 'executor' lost its workers and takes no more tasks ({type(error).__name__}: {error}); "
                "finished members are kept."
            ) from error
        if self._own is not None:
            _closed(self._own)
        self._own = fresh

    def _stop(self) -> None:
        if self.carrier is not None:
            _task.stop(self.carrier.key)

    def close(self) -> None:
        if self._own is not None:
            _closed(self._own)
            self._own = None


def _closed(executor: Any) -> None:
    """End an executor that was made here in place of one that was broken."""
    workers = list((getattr(executor, "_processes", None) or {}).values())
    idle = not getattr(executor, "_pending_work_items", None)
    with contextlib.suppress(Exception):
        executor.shutdown(wait=False)
    # A worker that was ended while it waited for a task holds the lock that the others wait for, for ever; the executor's
    # thread waits for those, and the interpreter for that thread when it ends. Where tasks are under way they end first, and
    # that thread hears of a worker that ended. loky's may be somebody else's too, but end with one of them.
    with contextlib.suppress(Exception):
        if idle and (type(executor) is ProcessPoolExecutor or any(worker.exitcode for worker in workers)):
            for worker in workers:
                worker.kill()


def _n_workers(executor: Any) -> int:
    for name in ("_max_workers", "max_workers", "num_workers"):
        known = getattr(executor, name, None)
        if isinstance(known, int) and known > 0:
            return known
    client = getattr(executor, "_client", None)
    if client is not None and hasattr(client, "nthreads"):
        with contextlib.suppress(Exception):
            return sum(client.nthreads().values())
    return os.cpu_count() or 1


def _is_broken(executor: Any) -> bool:
    if getattr(executor, "_broken", False):
        return True
    flags = getattr(executor, "_flags", None)
    return bool(getattr(flags, "broken", None) or getattr(flags, "shutdown", False))


def _like(executor: Any) -> Any:
    """An executor like one that is broken; None where nobody knows how it was made."""
    if type(executor) is ProcessPoolExecutor:
        known: Any = executor
        return ProcessPoolExecutor(known._max_workers, known._mp_context, known._initializer, known._initargs)
    if type(executor).__module__.partition(".")[0] in ("loky", "joblib"):
        return _loky(type(executor))(max_workers=executor._max_workers)
    return None


def _loky(kind: type) -> Any:
    if kind.__module__.startswith("joblib"):
        from joblib.externals.loky import get_reusable_executor
    else:
        from loky import get_reusable_executor
    return get_reusable_executor
