"""A run per ensemble in TensorBoard."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from certssb._checks import check_path
from certssb.certificates import CertificateTable
from certssb.watch.callbacks.base import Callback, no_run

__all__ = ["TensorBoardCallback"]


class TensorBoardCallback(Callback):
    """Log members done, seconds per member, settings and certified accuracy to TensorBoard. Needs tensorboard.

    Parameters
    ----------
    log_dir : str or path
        Folder of the runs; each ensemble gets a folder in it, named after its model and record.

    Raises
    ------
    ImportError
        If tensorboard is not installed.

    Examples
    --------
    >>> import certssb as cs
    >>> callback = cs.callbacks.TensorBoardCallback("runs")  # doctest: +SKIP
    >>> clf.fit(X, y, callbacks=[callback])  # doctest: +SKIP
    >>> callback.log_certificates(clf.certify(X_test), y_test, radii=[0, 0.25, 0.5])  # doctest: +SKIP
    """

    def __init__(self, log_dir: str | os.PathLike[str]) -> None:
        self.log_dir = check_path("log_dir", log_dir)
        self._run: Path | None = None
        self._writer: Any = None
        self._total: int | None = None
        self._done = 0
        self._new_writer = _summary_writer()

    def start(self, settings: dict[str, Any]) -> None:
        self._run = self.log_dir / f"{settings['model']}-{settings['ensemble']}"
        self._total, self._done = None, 0
        self._writer = self._new_writer(log_dir=str(self._run))
        self._writer.add_text("settings", _as_markdown(settings), 0)

    def progress(self, done: int, total: int, seconds_per_member: float) -> None:
        self._done = done
        self._writer.add_scalar("members/done", done, done)
        if total != self._total:
            self._total = total
            self._writer.add_scalar("members/total", total, done)
        if not math.isnan(seconds_per_member):
            self._writer.add_scalar("members/seconds_per_member", seconds_per_member, done)

    def end(self, done: int, error: BaseException | None) -> None:
        outcome = "finished" if error is None else f"stopped: {type(error).__name__}"
        self._writer.add_text("outcome", outcome, done)
        self._writer.close()

    def _record_certificates(self, certs: CertificateTable, name: str, shares: dict[str, float]) -> None:
        if self._run is None:
            raise no_run()
        with self._new_writer(log_dir=str(self._run)) as writer:
            writer.add_text(f"{name}/guarantee", certs.guarantee, certs.n_members)
            for key, share in shares.items():
                writer.add_scalar(key, share, certs.n_members)


def _as_markdown(settings: dict[str, Any]) -> str:
    return "\n".join(f"- {name}: `{value}`" for name, value in settings.items())


def _summary_writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        advice = "TensorBoardCallback needs tensorboard: pip install 'certssb[tensorboard]'"
        raise ImportError(f"{advice} ({error})") from None
    return SummaryWriter
