"""The driver of a run: hands out members, in chunks that take seconds, and takes what comes back, whatever workers do."""

from __future__ import annotations

import collections
import threading
import time
import warnings
from typing import Any, Protocol

from certssb import _core, exceptions
from certssb._checks import parameter_error
from certssb.exceptions import CancelledError, CertssbError, RoundingWarning, TrainingError
from certssb.executors import _task
from certssb.executors._payload import Carrier
from certssb.executors._workforce import Chunk, Outcome, Workforce
from certssb.watch._log import LOGGER

__all__ = ["Source", "drive"]

_SECONDS = 2.0
"""Of work in a task: long beside what a task costs, short beside what is lost with a worker."""

_LEAST = 0.1
"""Seconds of work in a task at the end, where chunks get small so that no worker waits for the last one."""

_TRIES = 3
"""How often members are lost before they are suspected, or given up."""


class Source(Protocol):
    """Members to be handed out, and where they go."""

    @property
    def left(self) -> int:
        """How many are still to be handed out."""

    def hand_out(self, most: int) -> list[int]:
        """Up to so many of them, or a little more where some belong together; none if there are none at present."""

    def order(self, numbers: list[int]) -> Any:
        """What a task about them says."""

    def take(self, numbers: list[int], reply: _task.Reply) -> None:
        """Take what came of a task."""

    def wait(self) -> None:
        """Called all the time."""


class _Run:
    """One run: what was lost, how long members take, what is known of workers."""

    def __init__(self, workforce: Workforce, source: Source) -> None:
        self.workforce, self.source = workforce, source
        self._lost: collections.deque[Chunk] = collections.deque()
        self._suspects: collections.deque[Chunk] = collections.deque()
        self._alone = False
        self._seconds: float | None = None
        self._lock = threading.RLock()
        self._warned = False
        self._without: set[tuple[str, int]] = set()
        self._sent = 0
        self.workers: set[tuple[str, int]] = set()

    def feed(self, under_way: int) -> Chunk | None:
        """The next chunk; None if there is none at present."""
        with self._lock:
            if self._alone:
                return None
            if self._lost:
                return self._ready(self._lost.popleft())
            chunk = self._next()
            if chunk is not None:
                return chunk
            if self._suspects and under_way == 0:
                self._alone = True
                return self._ready(self._suspects.popleft())
            return None

    def _ready(self, chunk: Chunk) -> Chunk:
        chunk.order = self.source.order(chunk.numbers)
        return chunk

    def _next(self) -> Chunk | None:
        left = self.source.left
        if left == 0:
            return None
        numbers = self.source.hand_out(self._size(left))
        return self._ready(Chunk(numbers)) if numbers else None

    def _size(self, left: int) -> int:
        if self._seconds is None:
            return 1
        by_time = _SECONDS / self._seconds
        fair = max(left / (2 * self.workforce.n_workers), _LEAST / self._seconds)
        return max(1, int(min(by_time, fair, 10_000)))

    def take(self, outcome: Outcome) -> None:
        """Take what became of a chunk.

        Raises
        ------
        CertssbError
            What the task said, or that it is lost for good.
        """
        with self._lock:
            chunk = outcome.chunk
            self._alone = False
            reply = outcome.reply
            self._sent -= chunk.by_value
            chunk.by_value = False
            if reply is None:
                self._lose(chunk, outcome.loss)
                return
            kind = reply["kind"]
            if kind == "missing":
                # One copy for each worker that has none; others of its tasks come back until it is there.
                self._without.add(tuple(reply["where"]))
                chunk.by_value = self._sent < len(self._without)
                self._sent += chunk.by_value
                self._lost.append(chunk)
                return
            if kind == "cancelled":
                self._lose(chunk, CancelledError("The work was cancelled on a worker."))
                return
            if kind == "refused":
                _refuse(reply)
            if kind == "failed":
                raise _error_of(reply)
            self._without.discard(tuple(reply["where"]))
            self._look_at(reply)
            spent = reply["seconds"] / len(chunk.numbers)
            # The slower of what was seen lately: chunks that are too long cost more than those that are too short.
            self._seconds = spent if self._seconds is None else max(spent, 0.7 * self._seconds + 0.3 * spent)
            self._seconds = max(self._seconds, 1e-6)
            self.source.take(chunk.numbers, reply)

    def _lose(self, chunk: Chunk, loss: BaseException | None) -> None:
        chunk.attempts += 1
        LOGGER.warning(
            "A worker was lost with %d members, which will be done again: %s: %s",
            len(chunk.numbers),
            type(loss).__name__,
            loss,
        )
        if chunk.attempts < _TRIES:
            (self._suspects if chunk.alone else self._lost).append(chunk)
        elif len(chunk.numbers) > 1:
            half = len(chunk.numbers) // 2
            self._lost.extend(Chunk(part) for part in (chunk.numbers[:half], chunk.numbers[half:]))
        elif not chunk.alone:
            # Others may be what ended the worker.
            chunk.attempts, chunk.alone = 0, True
            self._suspects.append(chunk)
        else:
            what = f"{type(loss).__name__}: {str(loss).partition(chr(10))[0]}"
            raise TrainingError(
                f"Member {chunk.numbers[0]} was lost with its worker {2 * _TRIES} times, at the end with nothing else under way ({what}). "
                "The usual reason is too little memory on a worker; finished members are kept.",
                member=chunk.numbers[0],
            ) from loss

    def _look_at(self, reply: _task.Reply) -> None:
        self.workers.add(tuple(reply["where"]))
        own, theirs = _task.facts(), tuple(reply["facts"])
        differ = [
            f"{name} {there} there, {here} here"
            for name, here, there in zip(("", "", "vectors", "processor", "torch"), own, theirs, strict=True)
            if here != there and here and there
        ]
        if differ and not self._warned:
            self._warned = True
            host, _ = reply["where"]
            warnings.warn(
                f"The worker on {host} rounds differently from this machine ({'; '.join(differ)}): its members are those of this "
                "seed up to rounding, but not to the last bit. Certificates hold; getting the same votes again takes the same "
                "processors and libraries.",
                RoundingWarning,
                stacklevel=2,
            )

    def is_over(self) -> bool:
        return not self._lost and not self._suspects and self.source.left == 0


def _refuse(reply: _task.Reply) -> None:
    version, schema, *_ = reply["facts"]
    host, _ = reply["where"]
    here = _core.build_facts()
    raise parameter_error(
        "executor",
        f"one whose workers have certssb {here[0]} (records of version {here[1]})",
        f"one whose worker on {host} has certssb {version} (records of version {schema})",
    )


def _error_of(reply: _task.Reply) -> BaseException:
    """What a task raised, as it would have been raised here."""
    LOGGER.debug("A task failed on %s:\n%s", reply["where"][0], reply["trace"])
    kind = getattr(exceptions, reply["error"], None) if reply["error"] else None
    text = reply["text"]
    if kind is TrainingError:
        return TrainingError(text, member=reply["member"])
    if kind is not None and issubclass(kind, CertssbError):
        error: BaseException = kind(text)
        return error
    host, _ = reply["where"]
    return TrainingError(f"A worker on {host} failed: {text.partition(chr(10))[0]}.", member=reply["member"])


def drive(workforce: Workforce, carrier: Carrier, source: Source) -> set[tuple[str, int]]:
    """Have all members of a source done; who did them, as hosts and processes.

    Raises
    ------
    CertssbError
        What a task raised, or that members were lost for good. What came before is with the source.
    """
    run = _Run(workforce, source)
    workforce.put(carrier)
    while not run.is_over():
        stream = workforce.stream(run.feed)
        came = False
        try:
            for outcome in stream:
                source.wait()
                if outcome is not None:
                    came = True
                    run.take(outcome)
        finally:
            stream.close()
        source.wait()
        if not came:
            # Others are training all that is left.
            time.sleep(0.1)
    return run.workers
