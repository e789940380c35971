"""A run per ensemble in MLflow."""

from __future__ import annotations

import json
import math
import time
from typing import Any

from certssb.certificates import CertificateTable
from certssb.watch.callbacks.base import Callback, no_run

__all__ = ["MLflowCallback"]

_TAG = "certssb.ensemble"


class MLflowCallback(Callback):
    """Log members done, seconds per member, settings and certified accuracy to MLflow. Needs mlflow or mlflow-skinny.

    Parameters
    ----------
    experiment : str, default="certssb"
        Name of the experiment; created if it does not exist.
    tracking_uri : str, optional
        Where the runs are kept; if not given, wherever MLflow is set up to keep them.
    every : float, default=1.0
        Seconds between two reports of progress, at least: a server need not hear of every member.

    Raises
    ------
    ImportError
        If mlflow is not installed.

    Examples
    --------
    >>> import certssb as cs
    >>> callback = cs.callbacks.MLflowCallback("digits")  # doctest: +SKIP
    >>> clf.fit(X, y, callbacks=[callback])  # doctest: +SKIP
    >>> callback.log_certificates(clf.certify(X_test), y_test, radii=[0, 0.25, 0.5])  # doctest: +SKIP
    """

    def __init__(
        self, experiment: str = "certssb", tracking_uri: str | None = None, every: float = 1.0
    ) -> None:
        self.experiment = experiment
        self.tracking_uri = tracking_uri
        self.every = every
        self._client = _client(tracking_uri)
        self._run_id: str | None = None
        self._last: tuple[int, int, float] | None = None
        self._told = -math.inf

    def start(self, settings: dict[str, Any]) -> None:
        self._last, self._told = None, -math.inf
        self._run_id = self._known_run(settings["ensemble"])
        if self._run_id is not None:
            self._client.set_terminated(self._run_id, status="RUNNING")
            return
        name = f"{settings['model']}-{settings['ensemble']}"
        run = self._client.create_run(
            self._experiment_id(), tags={_TAG: settings["ensemble"], "mlflow.runName": name}
        )
        self._run_id = run.info.run_id
        for key, value in settings.items():
            self._client.log_param(self._run_id, key, value if isinstance(value, str) else json.dumps(value))

    def progress(self, done: int, total: int, seconds_per_member: float) -> None:
        self._last = (done, total, seconds_per_member)
        if time.monotonic() - self._told >= self.every:
            self._send()

    def end(self, done: int, error: BaseException | None) -> None:
        if self._last is not None:
            self._send()
        status = "FINISHED" if error is None else "KILLED" if _interrupted(error) else "FAILED"
        self._client.set_terminated(self._run_id, status=status)

    def _send(self) -> None:
        assert self._last is not None
        done, total, seconds = self._last
        self._told = time.monotonic()
        values = {"members/done": done, "members/total": total, "members/seconds_per_member": seconds}
        for key, value in values.items():
            if not math.isnan(value):
                self._client.log_metric(self._run_id, key, value, step=done)

    def _record_certificates(self, certs: CertificateTable, name: str, shares: dict[str, float]) -> None:
        if self._run_id is None:
            raise no_run()
        # Tags hold 5000 characters at least; a guarantee has a few hundred.
        self._client.set_tag(self._run_id, f"{name}.guarantee", certs.guarantee)
        for key, share in shares.items():
            self._client.log_metric(self._run_id, key, share, step=certs.n_members or 0)

    def _experiment_id(self) -> str:
        known = self._client.get_experiment_by_name(self.experiment)
        return str(self._client.create_experiment(self.experiment) if known is None else known.experiment_id)

    def _known_run(self, ensemble: str) -> str | None:
        runs = self._client.search_runs(
            [self._experiment_id()], filter_string=f"tags.`{_TAG}` = '{ensemble}'", max_results=1
        )
        return runs[0].info.run_id if runs else None


def _interrupted(error: BaseException) -> bool:
    return type(error).__name__ in ("CancelledError", "KeyboardInterrupt")


def _client(tracking_uri: str | None) -> Any:
    try:
        from mlflow import MlflowClient
    except ImportError as error:
        advice = "MLflowCallback needs mlflow: pip install 'certssb[mlflow]'"
        raise ImportError(f"{advice} ({error})") from None
    return MlflowClient(tracking_uri=tracking_uri)
