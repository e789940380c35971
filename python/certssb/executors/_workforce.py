"""An engine as the driver knows it: tasks go in, and come out as they finish, or are lost."""

from __future__ import annotations

import contextlib
import itertools
import queue
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from certssb._checks import parameter_error
from certssb.executors import _task
from certssb.executors._payload import Carrier, InFile, Packed, unpicklable

__all__ = ["Chunk", "Lost", "Outcome", "Workforce"]

_MOMENT = 0.2
"""Seconds after which a driver to whom nothing came looks around."""


@dataclass(eq=False)
class Chunk:
    """Members that one task is asked about."""

    numbers: list[int]
    order: Any = None
    attempts: int = 0
    """How often it was lost."""
    by_value: bool = False
    """Whether the payload goes along: a worker did not find it."""
    alone: bool = False
    """Whether nothing else is to be under way meanwhile, because it is suspected to be what ends workers."""


class Lost(Exception):
    """A task did not come back, because of its worker; `__cause__` says what the engine said."""


@dataclass
class Outcome:
    """What became of a chunk: a reply, or its loss."""

    chunk: Chunk
    reply: _task.Reply | None
    loss: BaseException | None = None


class Workforce:
    """Workers of an engine.

    Attributes
    ----------
    name : str
        What the engine is called.
    n_workers : int
        Tasks that are done at the same time.
    """

    name = "executor"

    def __init__(self, n_workers: int) -> None:
        self.n_workers = max(1, n_workers)
        self.carrier: Carrier | None = None

    # What an engine of its own says.

    def _submit(self, packed: Packed | InFile | None, chunk: Chunk) -> Any:
        """Send a task; a future with ``add_done_callback``, ``result`` and ``cancel``."""
        raise NotImplementedError

    def _put(self, carrier: Carrier) -> None:
        """Send a payload ahead."""

    def _renew(self, error: BaseException) -> None:
        """Get ready again after a loss; raises what cannot be mended."""

    def _stop(self) -> None:
        """End tasks under way, as far as the engine can."""

    def close(self) -> None:
        """Let go of what was made for this run."""

    # What is the same for all.

    def put(self, carrier: Carrier) -> None:
        """Make a payload the one that tasks from now on are about."""
        self.carrier = carrier
        self._put(carrier)

    def submit(self, chunk: Chunk) -> Any:
        """Send a task about a chunk."""
        if self.carrier is None:
            raise parameter_error("executor", "one that was given a payload", "none")
        return self._submit(self.carrier.by_value() if chunk.by_value else None, chunk)

    def stream(self, feed: Callable[[int], Chunk | None]) -> Generator[Outcome | None, None, None]:
        """Outcomes of chunks in the order in which they come; None now and then while nothing does.

        `feed` is asked for chunks, and told how many are under way, so that each worker always has one more to go on with.
        """
        done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        waiting: dict[int, tuple[Any, Chunk]] = {}
        counter = itertools.count()
        try:
            while True:
                while len(waiting) < 3 * self.n_workers:
                    chunk = feed(len(waiting))
                    if chunk is None:
                        break
                    try:
                        future = self.submit(chunk)
                    except Exception as error:  # noqa: BLE001 - engines raise what they like
                        loss = self._judged(error)
                        self._renew(loss)
                        yield Outcome(chunk, None, loss)
                        continue
                    ticket = next(counter)
                    waiting[ticket] = future, chunk
                    future.add_done_callback(lambda _, ticket=ticket: done.put(ticket))
                if not waiting:
                    return
                try:
                    ticket = done.get(timeout=_MOMENT)
                except queue.Empty:
                    yield None
                    continue
                future, chunk = waiting.pop(ticket)
                yield self._outcome(future, chunk)
        finally:
            if waiting:
                for future, _ in waiting.values():
                    with contextlib.suppress(Exception):
                        future.cancel()
                with contextlib.suppress(Exception):
                    self._stop()

    def _outcome(self, future: Any, chunk: Chunk) -> Outcome:
        try:
            return Outcome(chunk, self._result(future))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - engines cancel with exceptions that are no Exception
            loss = self._judged(error)
            self._renew(loss)
            return Outcome(chunk, None, loss)

    def _result(self, future: Any) -> Any:
        return future.result()

    def _judged(self, error: BaseException) -> BaseException:
        """A loss that is worth another try, or what there is to say."""
        text = f"{type(error).__name__}: {error}"
        if "No module named 'certssb" in text or 'No module named "certssb' in text:
            raise parameter_error(
                "executor",
                "one whose workers have this version of certssb installed",
                f"one with a worker that has not ({_line(text)})",
            ) from error
        if any(
            sign in text for sign in ("PicklingError", "cannot pickle", "Can't pickle", "Can't get attribute")
        ):
            raise unpicklable(error) from error
        if isinstance(error, RuntimeError) and ("after shutdown" in text or "shutdown" in text.lower()):
            raise parameter_error(
                "executor", "one that takes tasks", f"one that was shut down ({_line(text)})"
            ) from error
        return error


def _line(text: str) -> str:
    return text.partition("\n")[0][:300]
