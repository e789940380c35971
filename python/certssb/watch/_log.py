"""One line per fit and per table of certificates, to the logger "certssb", at level INFO."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

__all__ = ["LOGGER", "log_certify", "log_fit"]

LOGGER = logging.getLogger("certssb")
"""Without a handler that keeps silent: what goes wrong in a callback is on the error stream if nobody set up logging."""

P = ParamSpec("P")
T = TypeVar("T")


def log_fit(fit: Callable[P, T]) -> Callable[P, T]:
    """Say what was trained, and how long it took; or that it stopped, and why."""

    @functools.wraps(fit)
    def logged(*args: P.args, **kwargs: P.kwargs) -> T:
        estimator: Any = args[0]
        name, started = type(estimator).__name__, time.monotonic()
        try:
            fitted = fit(*args, **kwargs)
        except BaseException as error:
            seconds = time.monotonic() - started
            LOGGER.info("%s.fit stopped after %.1f s: %s", name, seconds, _first_line(error))
            raise
        classes, members = len(estimator.classes_), getattr(estimator, "n_members_", None)
        trained = f"{classes} classes" if members is None else f"{classes} classes, {members} members"
        law = getattr(estimator, "law", None)
        noise = f", {law!r}" if law is not None else ""
        how = f", {estimator.execution_}" if hasattr(estimator, "execution_") else ""
        LOGGER.info("%s.fit: %s%s%s, %.1f s", name, trained, noise, how, time.monotonic() - started)
        return fitted

    return logged


def log_certify(certify: Callable[P, T]) -> Callable[P, T]:
    """Say how many samples were certified, from how many members, at which alpha or by which election."""

    @functools.wraps(certify)
    def logged(*args: P.args, **kwargs: P.kwargs) -> T:
        started = time.monotonic()
        table = certify(*args, **kwargs)
        if LOGGER.isEnabledFor(logging.INFO):
            of = f"{type(args[0]).__name__}." if "." in certify.__qualname__ else ""
            _log_table(f"{of}{certify.__name__}", table, time.monotonic() - started)
        return table

    return logged


def _log_table(name: str, table: Any, seconds: float) -> None:
    certified = len(table) - int(table.abstained.sum())
    how = "exactly" if table.n_members is None else f"from {table.n_members} members"
    if table.alpha is not None:
        how += f" at alpha {table.alpha!r}"
    elif table.n_members is not None:
        how = f"by {table.election} of {table.n_members} learners"
    warning = "" if table.sound else ", not a proof"
    facts = (name, certified, len(table), how, table.law, warning, seconds)
    LOGGER.info("%s: %d of %d samples certified %s, %r%s, %.1f s", *facts)


def _first_line(error: BaseException) -> str:
    words = str(error).splitlines()
    return f"{type(error).__name__}: {words[0]}" if words else type(error).__name__
