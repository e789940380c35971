"""Which engine `executor` names."""

from __future__ import annotations

from typing import Any

from certssb._checks import parameter_error, shown
from certssb.executors import _dask
from certssb.executors._workforce import Workforce

__all__ = ["check_executor", "is_executor", "workforce_of"]

_EXPECTED = "None, an executor with the interface of concurrent.futures.Executor, a dask.distributed.Client, 'ray' or 'joblib'"


def is_executor(executor: Any) -> bool:
    """Whether something is one, by its name or its methods."""
    if isinstance(executor, (str, type)):
        return executor in ("ray", "joblib")
    return _dask.is_client(executor) or callable(getattr(executor, "submit", None))


def check_executor(executor: Any) -> None:
    """Refuse what is no executor.

    Raises
    ------
    ParameterError
        If it is none.
    """
    if executor is None or is_executor(executor):
        return
    got = shown(executor)
    if isinstance(executor, str) and executor == "dask":
        got += "; pass the Client itself"
    raise parameter_error("executor", _EXPECTED, got)


def workforce_of(executor: Any, n_jobs: int, device: str) -> Workforce:
    """The workers of an executor.

    Parameters
    ----------
    executor : object
        As the user gave it, but not None.
    n_jobs : int
        Threads of one task.
    device : str
        Where a task computes.

    Raises
    ------
    ParameterError
        If it is none, or one that takes no tasks.
    """
    check_executor(executor)
    if executor == "ray":
        from certssb.executors._ray import Ray

        return Ray(n_jobs, device)
    if executor == "joblib":
        from certssb.executors._joblib import Joblib

        return Joblib()
    if _dask.is_client(executor):
        return _dask.Dask(executor)
    from certssb.executors._futures import Futures

    return Futures(executor)
