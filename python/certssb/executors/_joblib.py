"""Whatever ``joblib.parallel_config`` names: loky, Dask, Ray, Spark."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any

import joblib
from joblib.parallel import get_active_backend

from certssb.executors import _task
from certssb.executors._payload import Carrier, InFile, Packed
from certssb.executors._workforce import Chunk, Outcome, Workforce

__all__ = ["Joblib"]


class Joblib(Workforce):
    """Workers of joblib's backend."""

    name = "joblib"

    def __init__(self) -> None:
        backend, n_jobs = get_active_backend()
        if n_jobs in (None, 1) and not backend.__class__.__name__.startswith("Sequential"):
            # Nobody said how many, which joblib takes for one: whoever asks for an executor wants what there is.
            n_jobs = -1
        self._n_jobs = n_jobs
        super().__init__(int(backend.effective_n_jobs(n_jobs)))
        self.name = f"joblib, {type(backend).__name__.removesuffix('Backend').lower()}"
        self._file: InFile | None = None

    def _put(self, carrier: Carrier) -> None:
        carrier.here()
        self._file = None
        with contextlib.suppress(OSError):
            self._file = carrier.in_file()

    def stream(self, feed: Callable[[int], Chunk | None]) -> Generator[Outcome | None, None, None]:
        """One call of ``joblib.Parallel``, which asks for chunks while it runs, in threads of its own."""
        lock = threading.Lock()
        # What is under way, by a number of its own each time: a chunk that came back may be sent again.
        sent: dict[int, Chunk] = {}
        labels = itertools.count()
        raised: list[BaseException] = []

        def tasks() -> Iterator[Any]:
            while True:
                try:
                    with lock:
                        chunk = feed(len(sent))
                        if chunk is None:
                            return
                        label = next(labels)
                        sent[label] = chunk
                except BaseException as error:  # noqa: BLE001 - raised again where the driver is
                    raised.append(error)
                    return
                yield joblib.delayed(_labelled)(label, *self._arguments(chunk))

        results = joblib.Parallel(
            n_jobs=self._n_jobs, return_as="generator_unordered", pre_dispatch="3*n_jobs", batch_size=1
        )(tasks())
        try:
            for label, reply in results:
                with lock:
                    chunk = sent.pop(label)
                yield Outcome(chunk, reply)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001 - joblib ends the whole call with what one worker did
            loss = self._judged(error)
            with lock:
                lost = list(sent.values())
            for chunk in lost:
                yield Outcome(chunk, None, loss)
        finally:
            results.close()
        if raised:
            raise raised[0]

    def _arguments(self, chunk: Chunk) -> tuple[Any, ...]:
        assert self.carrier is not None
        packed: Packed | InFile | None = self.carrier.by_value() if chunk.by_value else self._file
        return _task.facts()[:2], self.carrier.key, packed, chunk.order


def _labelled(label: int, *arguments: Any) -> tuple[int, _task.Reply]:
    return label, _task.work(*arguments)
