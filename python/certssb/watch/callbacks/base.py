"""What a callback is told about a fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from certssb import metrics
from certssb._checks import check_floats, parameter_error, shown
from certssb.certificates import CertificateTable
from certssb.certificates._budget import exactly
from certssb.exceptions import CertssbError
from certssb.threats import Threat

__all__ = ["Callback"]


class Callback:
    """Base class of whatever is told about a fit. Every method does nothing until it is overridden.

    An error in :meth:`start` stops the fit before it trains. An error later is logged as a warning and silences the
    callback for the rest of the fit: hours of training are not lost because a tracking server fails.

    Examples
    --------
    >>> import certssb as cs
    >>> class Printer(cs.callbacks.Callback):
    ...     def start(self, settings):
    ...         print(settings["model"], settings["law"])
    ...     def end(self, done, error):
    ...         print(done, "members,", "stopped" if error else "finished")
    >>> X, y = cs.datasets.load_digits(classes=(0, 1))
    >>> law = cs.Gaussian(0.25)
    >>> clf = cs.CertifiedClassifier("linear", law, n_members=20, epochs=1, seed=0, progress=False)
    >>> _ = clf.fit(X, y, callbacks=[Printer()])
    linear Gaussian(sigma=0.25)
    20 members, finished
    """

    def start(self, settings: dict[str, Any]) -> None:
        """Called before training, with what is about to be trained.

        Parameters
        ----------
        settings : dict
            ``ensemble``, which names the ensemble (the same for a resumed one), and, by name, everything that decides
            what its members are: law, model, sizes, data digest. The seed is not among them, because the noise is a
            secret.

        Examples
        --------
        >>> from certssb.callbacks import Callback
        >>> Callback().start({"ensemble": "0123456789ab", "model": "linear"})
        """

    def progress(self, done: int, total: int, seconds_per_member: float) -> None:
        """Called when members are done.

        Parameters
        ----------
        done : int
            Members done so far, those of an earlier fit included.
        total : int
            Members in all; may grow.
        seconds_per_member : float
            Mean wall-clock time per member in this fit; NaN before it has trained one.

        Examples
        --------
        >>> from certssb.callbacks import Callback
        >>> Callback().progress(5, 100, seconds_per_member=0.2)
        """

    def end(self, done: int, error: BaseException | None) -> None:
        """Called when the fit has ended, however it ended.

        Parameters
        ----------
        done : int
            Members at the end.
        error : BaseException or None
            What stopped the fit; None if it finished.

        Examples
        --------
        >>> from certssb.callbacks import Callback
        >>> Callback().end(100, None)
        """

    def log_certificates(
        self,
        certs: CertificateTable,
        y_true: npt.ArrayLike,
        *,
        name: str = "test",
        radii: npt.ArrayLike | None = None,
        n_poisoned: int | None = None,
        trigger_norms: npt.ArrayLike | None = None,
        labels: bool = False,
        threat: Threat | None = None,
    ) -> None:
        """Add what was certified to the run of the last fit.

        Parameters
        ----------
        certs : CertificateTable
            Certificates of test samples.
        y_true : array-like of shape (n_samples,)
            Their true classes.
        name : str, default="test"
            What to call these samples.
        radii : array-like of float, optional
            Total L2 norms to report the certified accuracy at, in the units of the features.
        n_poisoned : int, optional
            Number of changed training samples, together with `trigger_norms`.
        trigger_norms : array-like of float, optional
            L2 norms per changed sample to report the certified accuracy at.
        labels : bool, default=False
            Whether labels may change as well, with `n_poisoned`.
        threat : Threat, optional
            What the attacker may have done: adds the share that is right and certified against it, under the name of the
            threat as the command line writes it.

        Raises
        ------
        CertssbError
            If this callback has not been passed to a fit yet.
        ParameterError
            If `n_poisoned` is given without `trigger_norms` or the other way round, or the law certifies nothing
            of that kind, or `threat` is not a threat.

        Examples
        --------
        >>> callback = cs.callbacks.TensorBoardCallback("runs")  # doctest: +SKIP
        >>> clf.fit(X, y, callbacks=[callback])  # doctest: +SKIP
        >>> callback.log_certificates(clf.certify(X_test), y_test, radii=[0, 0.25])  # doctest: +SKIP
        """
        shares = certified_shares(certs, y_true, name, radii, n_poisoned, trigger_norms, labels, threat)
        self._record_certificates(certs, name, shares)

    def _record_certificates(self, certs: CertificateTable, name: str, shares: dict[str, float]) -> None:
        """Keep shares by their names; for callbacks that have somewhere to keep them."""


def certified_shares(
    certs: CertificateTable,
    y_true: npt.ArrayLike,
    name: str,
    radii: npt.ArrayLike | None,
    n_poisoned: int | None,
    trigger_norms: npt.ArrayLike | None,
    labels: bool,
    threat: Threat | None = None,
) -> dict[str, float]:
    """Name the shares that :meth:`Callback.log_certificates` reports."""
    if not isinstance(certs, CertificateTable):
        raise parameter_error("certs", "a CertificateTable", shown(certs))
    if (n_poisoned is None) != (trigger_norms is None):
        got = f"n_poisoned={n_poisoned!r}, trigger_norms={trigger_norms!r}"
        raise parameter_error("n_poisoned", "given together with trigger_norms", got)
    right = certs._correct(y_true)
    shares: dict[str, float | None] = {
        f"{name}/accuracy": metrics.empirical_robust_accuracy(y_true, certs.prediction),
        f"{name}/certified_ratio": metrics.certified_ratio(~certs.abstained),
        f"{name}/right_and_certified": metrics.certified_ratio(right & ~certs.abstained),
    }
    if radii is not None:
        for radius in np.ravel(check_floats("radii", radii)):
            key = f"{name}/certified_accuracy/radius_{exactly(radius)}"
            shares[key] = certs.certified_accuracy(y_true, radii=float(radius))
    if n_poisoned is not None:
        for norm in np.ravel(np.asarray(trigger_norms, dtype=float)):
            key = f"{name}/certified_accuracy/poisoned_{n_poisoned}_norm_{exactly(norm)}"
            budget: Any = {"n_poisoned": n_poisoned, "trigger_norm": float(norm), "labels": labels}
            shares[key] = certs.certified_accuracy(y_true, **budget)
    if threat is not None:
        if not isinstance(threat, Threat):
            raise parameter_error("threat", "a Threat", shown(threat))
        # Trackers allow letters, digits, spaces and some signs in names; "=" and "," are none of them.
        words = str(threat).replace("=", "_").replace(", ", "/")
        shares[f"{name}/certified_accuracy/{words}"] = certs.certified_accuracy(y_true, threat)
    return {key: share for key, share in shares.items() if share is not None}


class _NoRunError(CertssbError, RuntimeError):
    """Raised for a callback that was never part of a fit."""


def no_run() -> CertssbError:
    """What is raised where there is no run to add to."""
    return _NoRunError("There is no run to add certificates to: pass this callback to fit first.")
