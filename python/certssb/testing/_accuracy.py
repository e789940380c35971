"""The assertion: enough test samples are predicted right and certified against a threat."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from certssb._checks import check_real, parameter_error, shown
from certssb.certificates import CertificateTable
from certssb.certificates._budget import down, exactly, grouped, over_total
from certssb.certificates._shares import share_down
from certssb.testing import _asserted
from certssb.testing._curve import Curve, curve_of
from certssb.threats import Threat

__all__ = ["assert_certified_accuracy"]

_BAR = 40
"""Width of a bar that stands for all samples."""


def assert_certified_accuracy(
    certs: CertificateTable,
    y_true: npt.ArrayLike,
    threat: Threat | float,
    *,
    at_least: float,
    sound: bool = True,
) -> float:
    """Fail unless a share of the test samples is predicted right and certified against a threat.

    Parameters
    ----------
    certs : CertificateTable
        Certificates of the test samples.
    y_true : array-like of shape (n_samples,)
        Their true classes.
    threat : Threat or float
        What the attacker may have done, or a total L2 norm over the features of the whole training set: a sample counts
        if its radius is greater.
    at_least : float
        The required share, in [0, 1].
    sound : bool, default=True
        Whether the guarantee has to be a proof; pass False for a published form that is not one.

    Returns
    -------
    float
        The share found for these samples; it is not an estimate for others.

    Raises
    ------
    AssertionError
        If the share is smaller, there are no samples, or the guarantee is not a proof. The message shows the share as
        a function of the size of the change, how far the claim holds, and the sentence that says what is guaranteed.
    ParameterError
        If the law says nothing about such threats, or a value is out of range.
    ShapeError
        If there is not one true class per sample.

    Examples
    --------
    >>> import numpy as np
    >>> import certssb as cs
    >>> votes = np.array([[1, 0, 1, 1]] * 990 + [[1, 1, 0, 0]] * 10)  # 1000 members, four test samples
    >>> certs = cs.certify_votes(votes, cs.Gaussian(sigma=0.5), n_train=12665, n_classes=2)
    >>> y_true = [1, 0, 1, 1]
    >>> four, nine = (cs.Threat(n_poisoned=n, trigger_norm=0.4) for n in (4, 9))
    >>> cs.testing.assert_certified_accuracy(certs, y_true, four, at_least=0.9)
    1.0
    >>> cs.testing.assert_certified_accuracy(certs, y_true, nine, at_least=0.9)
    Traceback (most recent call last):
    AssertionError: certified accuracy 0.25 is below 0.9: 1 of 4 samples...
    """
    __tracebackhide__ = True
    if not isinstance(certs, CertificateTable):
        raise parameter_error("certs", "a table of certificates", shown(certs))
    asked = check_real("at_least", at_least, "a float in the range [0, 1]", 0.0, 1.0)
    if not isinstance(threat, Threat):
        expected = "a certssb.Threat, or a total L2 norm of at least 0"
        threat = check_real("threat", threat, expected, 0.0, math.inf)
    share = float(certs.certified_accuracy(y_true, threat))
    failure = None
    if sound and not certs.sound:
        failure = _unsound(certs)
    elif len(certs) == 0 or not share >= asked:
        failure = _too_few(certs, y_true, threat, asked, share)
    if _asserted.wanted():
        _asserted.note(
            certs, threat, asked, share, failure is None, curve_of(certs, y_true, threat, fine=True)
        )
    if failure is not None:
        raise AssertionError(failure)
    return share


def _unsound(certs: CertificateTable) -> str:
    return (
        "these certificates are not a proof against an attacker on the training set. Pass sound=False if "
        f"you mean to check them nevertheless.\n\n{certs.guarantee}"
    )


def _too_few(
    certs: CertificateTable, y_true: npt.ArrayLike, threat: Threat | float, asked: float, share: float
) -> str:
    n = len(certs)
    sentence = certs.statement(threat) if isinstance(threat, Threat) else certs.guarantee
    if n == 0:
        return f"there are no samples, of which a share of {exactly(asked)} was required.\n\n{sentence}"
    right = certs._correct(y_true)
    abstained = int((right & certs.abstained).sum())
    found = round(share * n)
    beyond = int(right.sum()) - abstained - found
    parts = [
        (int((~right).sum()), "predicted wrong"),
        (abstained, "predicted right, not certified at all"),
        (beyond, "predicted right, certified against less"),
    ]
    rest = ", ".join(f"{count:,} {words}" for count, words in parts if count)
    curve = curve_of(certs, y_true, threat)
    lines = [
        f"certified accuracy {share_down(share):g} is below {exactly(asked)}: "
        + f"{found:,} of {n:,} {'sample is' if n == 1 else 'samples are'} predicted right and certified,",
        f"against {_words(certs, threat)}.",
        f"The others: {rest}.",
        "",
        *_drawn(curve),
        "",
        *_reached(certs, right, threat, asked),
        "",
        sentence,
    ]
    return "\n".join(lines)


def _words(certs: CertificateTable, threat: Threat | float) -> str:
    if isinstance(threat, Threat):
        return threat.words(certs.n_train)
    return f"a change of size {exactly(threat)}, {over_total(certs.n_train).removeprefix('over ')}"


def _drawn(curve: Curve) -> list[str]:
    """The curve as text, the point that was asked for marked."""
    sizes = [grouped(size) for size in curve.sizes]
    width = max(len(size) for size in sizes)
    lines = [f"   {curve.unit}: certified accuracy"]
    for size, value, share in zip(sizes, curve.sizes, curve.shares, strict=True):
        mark = "->" if value == curve.asked else "  "
        bar = "#" * math.floor(share * _BAR)
        lines.append(f"{mark} {size:>{width}}  {share_down(share):.4f}  {bar}".rstrip())
    return lines


def _reached(
    certs: CertificateTable, right: npt.NDArray[np.bool_], threat: Threat | float, asked: float
) -> list[str]:
    """Up to where the share that was asked for is reached, in what is counted and in the norm."""
    needed = math.ceil(asked * len(certs) - 1e-9)
    if needed > int((right & ~certs.abstained).sum()):
        return [f"{exactly(asked)} is not reached against any change, however small."]
    if not isinstance(threat, Threat):
        radius = certs.radius
        assert radius is not None  # or there was no share
        return [f"{exactly(asked)} is reached below {_least(radius, right, needed):g}."]
    budget = threat._budget(certs.n_train)
    found = []
    if budget.numbers is None:
        counts = certs.n_poisoned(**replace(budget, n_poisoned=None).change())
        found.append(f"up to {int(_least(counts, right, needed)):,} of the {budget.n_poisoned:,}")
    if budget.limits_norms() and math.isfinite(threat.trigger_norm):
        norms = certs.trigger_norm(**replace(budget, trigger_norm=None).change())
        found.append(f"for all of them up to a norm of {_least(norms, right, needed):g}")
    return [f"{exactly(asked)} is reached {', or '.join(found)}."] if found else []


def _least(values: npt.NDArray[Any], right: npt.NDArray[np.bool_], needed: int) -> float:
    """What so many of the samples that are predicted right survive, in few digits, rounded down."""
    if needed == 0:
        return math.inf
    ordered = np.sort(np.asarray(values, dtype=np.float64)[right])[::-1]
    return down(float(ordered[needed - 1])) if needed <= len(ordered) else 0.0
