"""How training tells callbacks."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Literal

from certssb._checks import parameter_error
from certssb.watch._log import LOGGER
from certssb.watch.callbacks.base import Callback
from certssb.watch.progress import ProgressBar

__all__ = ["Watched", "checked_callbacks"]


def checked_callbacks(callbacks: Iterable[Callback] | None) -> list[Callback]:
    """The callbacks as a list, or a sentence about the one that is none."""
    found = [] if callbacks is None else callbacks
    if isinstance(found, Callback) or not isinstance(found, Iterable):
        raise parameter_error("callbacks", "a list of certssb.callbacks.Callback", repr(callbacks))
    found = list(found)
    for callback in found:
        if not isinstance(callback, Callback):
            raise parameter_error("callbacks", "a list of certssb.callbacks.Callback", repr(callback))
    return found


class Watched(ProgressBar):
    """A progress bar that callbacks watch as well.

    Parameters
    ----------
    bar : ProgressBar
        The bar itself.
    callbacks : sequence of Callback
        Who watches.
    record : str
        The ensemble's record, as JSON.
    law : object
        Its law.
    """

    def __init__(self, bar: ProgressBar, callbacks: Sequence[Callback], record: str, law: object) -> None:
        super().__init__()
        self._inner = bar
        self._callbacks = list(callbacks)
        self._first: tuple[int, float] | None = None
        self._start(_settings(record, law))

    def _start(self, settings: dict[str, Any]) -> None:
        started: list[Callback] = []
        try:
            for callback in self._callbacks:
                callback.start(dict(settings))
                started.append(callback)
        except BaseException as error:
            # Nobody is left with a run that never ends.
            self._callbacks = started
            self._tell("end", 0, error)
            raise

    def __call__(self, done: int, total: int) -> None:
        self.done = done
        self._inner(done, total)
        now = time.monotonic()
        if self._first is None:
            # What is reported first may have been there before: time counts from here.
            self._first = (done, now)
        trained = done - self._first[0]
        seconds = (now - self._first[1]) / trained if trained > 0 else float("nan")
        self._tell("progress", done, total, seconds)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        self._inner.__exit__(kind, error, trace)
        self._tell("end", self.done, error)
        return False

    def _tell(self, what: str, *facts: Any) -> None:
        for callback in list(self._callbacks):
            try:
                getattr(callback, what)(*facts)
            except Exception as error:  # noqa: BLE001 - whatever goes wrong there, training goes on
                name = type(callback).__name__
                LOGGER.warning("%s.%s failed and is left out for the rest of this fit: %s", name, what, error)
                self._callbacks.remove(callback)


def _settings(record: str, law: object) -> dict[str, Any]:
    """What callbacks are told at the start; a cascade's record is a list, whose entries differ in their law only."""
    decoded = json.loads(record)
    settings: dict[str, Any] = dict(decoded[0] if isinstance(decoded, list) else decoded)
    settings.pop("seed", None)
    ensemble = hashlib.sha256(record.encode()).hexdigest()[:12]
    return settings | {"law": repr(law), "ensemble": ensemble}
