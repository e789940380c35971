"""A Ray cluster: the one that ``ray.init`` found."""

from __future__ import annotations

import contextlib
from typing import Any

from certssb._checks import parameter_error
from certssb._extras import absent
from certssb.executors import _task
from certssb.executors._payload import Carrier, InFile, Packed
from certssb.executors._workforce import Chunk, Workforce

__all__ = ["Ray"]


class Ray(Workforce):
    """Workers of Ray.

    Parameters
    ----------
    n_jobs : int
        Processors that each task takes.
    device : str
        Where members are computed; a GPU is asked for where it names one.
    """

    name = "Ray"

    def __init__(self, n_jobs: int, device: str) -> None:
        missing = absent("ray", "executor='ray'", "ray")
        if missing is not None:
            raise parameter_error("executor", "another one where Ray is not installed", f"'ray': {missing}")
        import ray

        if not ray.is_initialized():
            raise parameter_error("executor", "'ray' after ray.init()", "'ray' without a cluster")
        self._ray = ray
        resources = ray.cluster_resources()
        super().__init__(int(resources.get("CPU", 1)) // n_jobs)
        gpus = 1 if device.startswith("cuda") else 0
        # Who counts losses, and looks what they have in common, is the driver.
        self._work = ray.remote(_task.work).options(num_cpus=n_jobs, num_gpus=gpus, max_retries=0)
        self._payload: Any = None

    def _put(self, carrier: Carrier) -> None:
        self._payload = self._ray.put(carrier.by_value())

    def _submit(self, packed: Packed | InFile | None, chunk: Chunk) -> Any:
        assert self.carrier is not None
        version = _task.facts()[:2]
        reference = self._work.remote(version, self.carrier.key, self._payload, chunk.order)
        return _Task(self._ray, reference)

    def _renew(self, error: BaseException) -> None:
        if not self._ray.is_initialized():
            raise parameter_error(
                "executor", "'ray' with a cluster that stays", "one that is gone; finished members are kept"
            )
        if self.carrier is not None and "ObjectLost" in type(error).__name__:
            self._payload = self._ray.put(self.carrier.by_value())

    def close(self) -> None:
        self._payload = None


class _Task:
    """A task of Ray's as a future."""

    def __init__(self, ray: Any, reference: Any) -> None:
        self._ray, self._reference = ray, reference
        self._future = reference.future()

    def add_done_callback(self, call: Any) -> None:
        self._future.add_done_callback(call)

    def result(self) -> Any:
        return self._future.result()

    def cancel(self) -> None:
        # The worker hears it as Ctrl-C.
        with contextlib.suppress(Exception):
            self._ray.cancel(self._reference, force=False)
