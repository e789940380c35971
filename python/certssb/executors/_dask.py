"""A Dask cluster, by its client."""

from __future__ import annotations

import contextlib
import time
import uuid
from typing import Any

from certssb._checks import parameter_error
from certssb.executors import _task
from certssb.executors._payload import Carrier, InFile, Packed
from certssb.executors._workforce import Chunk, Workforce

__all__ = ["Dask", "is_client"]

_COUNTED = 5.0
"""Seconds after which workers are counted again."""


def is_client(executor: Any) -> bool:
    """Whether something is a client of Dask's, without importing it."""
    return any(
        kind.__module__.startswith("distributed.") and kind.__name__ == "Client"
        for kind in type(executor).__mro__
    )


class Dask(Workforce):
    """Workers that a client knows.

    Parameters
    ----------
    client : distributed.Client
        Connected, and not asynchronous.
    """

    name = "Dask"

    def __init__(self, client: Any) -> None:
        if client.asynchronous:
            raise parameter_error(
                "executor", "a Client that was not made with asynchronous=True", repr(client)
            )
        if client.status != "running":
            raise parameter_error("executor", "a Client that is connected", f"one that is {client.status}")
        super().__init__(sum(client.nthreads().values()))
        self._client = client
        self._payload: Any = None
        self._counted = time.monotonic()

    def _put(self, carrier: Carrier) -> None:
        self._scatter(carrier)

    def _scatter(self, carrier: Carrier) -> None:
        packed = carrier.by_value()
        if self._client.nthreads():
            # One copy; workers that need it fetch it from those that have it, each once.
            self._payload = self._client.scatter(packed, hash=False)
        else:
            # A cluster that starts workers when there is work has nobody yet to scatter to.
            self._payload = self._client.submit(_itself, packed, pure=False)

    def _submit(self, packed: Packed | InFile | None, chunk: Chunk) -> Any:
        assert self.carrier is not None
        if time.monotonic() - self._counted > _COUNTED:
            self._count()
        version = _task.facts()[:2]
        return self._client.submit(
            _task.work, version, self.carrier.key, self._payload, chunk.order, pure=False, key=_name(chunk)
        )

    def _count(self) -> None:
        """Workers come and go."""
        self._counted = time.monotonic()
        self.n_workers = max(1, sum(self._client.nthreads().values()))

    def _renew(self, error: BaseException) -> None:
        if self._client.status != "running":
            raise parameter_error(
                "executor",
                "a Client that stays connected",
                f"one that is {self._client.status}; finished members are kept",
            ) from error
        self._count()
        if self.carrier is not None and self._payload.status in ("error", "cancelled", "lost"):
            # Whoever had it is gone.
            self._scatter(self.carrier)

    def _stop(self) -> None:
        if self.carrier is not None:
            # Python code that runs in a worker's threads cannot be ended from outside: it is told.
            with contextlib.suppress(Exception):
                self._client.run(_task.stop, self.carrier.key, on_error="ignore")

    def close(self) -> None:
        if self._payload is not None:
            with contextlib.suppress(Exception):
                self._payload.release()
            self._payload = None


def _itself(packed: Packed) -> Packed:
    return packed


def _name(chunk: Chunk) -> str:
    first = chunk.numbers[0] if chunk.numbers else 0
    return f"certssb-members-{first}-{uuid.uuid4().hex}"
