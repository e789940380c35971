"""The one door: which kind of folder it is, and what can be looked at in it."""

from __future__ import annotations

import os
import secrets
from typing import Any, Literal

import numpy as np

from certssb._checks import check_integer, check_path, check_real, check_seed, parameter_error, shown
from certssb.auditing._rows import AuditReport

__all__ = ["audit"]


def audit(
    folder: str | os.PathLike[str],
    *,
    members: int | Literal["all"] = 5,
    data: str | os.PathLike[str] | None = None,
    table: str | os.PathLike[str] | None = None,
    fingerprint: str | None = None,
    model: Any = None,
    seed: int | None = None,
    tolerance: float = 0.0,
    device: Any = None,
    n_jobs: int | None = None,
    progress: bool = False,
) -> AuditReport:
    """Check the folder of ``certssb run``, or a saved ensemble, without having seen it trained.

    Digests of all files are compared; every certificate is computed anew from the members' votes; results, rows, plot
    and report are made again from the certificates. Then the training data are made again from the recorded settings, and
    some members, drawn at random, are trained again: they must be the same, and vote the same.

    Parameters
    ----------
    folder : str or path
        The folder that ``certssb run`` wrote, or the one of :meth:`certssb.CertifiedClassifier.save`.
    members : int or "all", default=5
        How many members are trained again; 0 for none. Only this detects somebody who rewrote the whole folder,
        including digests, around false votes: with m of N members trained again, false votes of k members go
        unnoticed with a probability of about (1 - k/N)^m.
    data : str or path, optional
        Where the run's data are now: the ``.npz`` file, or the folder of MNIST or CIFAR-10. For a saved ensemble a
        ``.npz`` with ``X_train`` and ``y_train``, ``X_test`` for `table`, ``X_trusted`` and ``y_trusted`` if there
        are any.
    table : str or path, optional
        For a saved ensemble: the table of certificates, written by :meth:`certssb.CertificateTable.save`, that its
        members are claimed to give for ``X_test``.
    fingerprint : str, optional
        For a saved ensemble: what ``save`` returned.
    model : callable or estimator, optional
        For a saved ensemble of your own module or estimator, as for :meth:`certssb.CertifiedClassifier.load`.
    seed : int, optional
        Decides which members are drawn; unpredictable if not given.
    tolerance : float, default=0.0
        Share of a member's votes in [0, 1] that may differ when it is trained again. Use 0 on the machine and with
        the versions of the run; other processors round differently, so that a vote near a tie may change.
    device : str or torch.device, optional
        Where members are trained again; by default the device of the run.
    n_jobs : int, optional
        Members trained at the same time on the CPU; all cores if not given.
    progress : bool, default=False
        Whether to show a progress bar while members are trained.

    Returns
    -------
    AuditReport
        What was checked, with which result, and what no audit can tell.

    Raises
    ------
    ParameterError
        If the folder is neither a run's nor a saved ensemble's, or a value is out of range.

    Examples
    --------
    >>> import certssb as cs
    >>> report = cs.audit("runs/digits", members=5)  # doctest: +SKIP
    >>> report.ok  # doctest: +SKIP
    True
    """
    from certssb.auditing._run import audit_run

    path = check_path("folder", folder)
    if not path.is_dir():
        raise parameter_error("folder", "a folder that certssb run wrote", f"'{path}'")
    wanted = (
        members
        if members == "all"
        else check_integer("members", members, "an integer of at least 0, or 'all'", 0)
    )
    share = check_real("tolerance", tolerance, "a float in the range [0, 1]", 0.0, 1.0)
    root = secrets.randbits(63) if seed is None else check_seed("seed", seed)
    if not isinstance(progress, (bool, np.bool_)):
        raise parameter_error("progress", "a bool", shown(progress))
    place = None if data is None else str(check_path("data", data))
    if (path / "estimator.json").exists():
        from certssb.auditing._saved import audit_saved

        file = None if table is None else str(check_path("table", table))
        rows, limits = audit_saved(
            path, wanted, place, file, fingerprint, model, root, share, device, n_jobs, bool(progress)
        )
        return AuditReport(str(path), rows, limits)
    for name, value in (("table", table), ("fingerprint", fingerprint), ("model", model)):
        if value is not None:
            raise parameter_error(name, "left out for the folder of a run", shown(value))
    rows, limits = audit_run(path, wanted, place, root, share, device, n_jobs, bool(progress))
    return AuditReport(str(path), rows, limits)
