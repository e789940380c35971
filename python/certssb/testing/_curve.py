"""Certified accuracy over the size of what an attacker may have done, around the size that was asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from certssb.certificates import CertificateTable
from certssb.certificates._budget import KINDS
from certssb.threats import Threat

__all__ = ["Curve", "curve_of"]

_COARSE = (0, 1 / 4, 1 / 2, 3 / 4, 1, 3 / 2, 2)
_FINE = tuple(step / 16 for step in range(33))


@dataclass(frozen=True)
class Curve:
    """Shares of samples that are predicted right and certified, over sizes of one kind.

    Attributes
    ----------
    unit : str
        What is counted.
    asked : float
        The size that was asked for.
    sizes, shares : tuple of float
        Ascending sizes, the one asked for among them, and the share at each.
    """

    unit: str
    asked: float
    sizes: tuple[float, ...]
    shares: tuple[float, ...]


def curve_of(
    certs: CertificateTable, y_true: npt.ArrayLike, threat: Threat | float, *, fine: bool = False
) -> Curve:
    """Compute the curve from no change to twice of what was asked about."""
    factors = _FINE if fine else _COARSE
    if not isinstance(threat, Threat):
        sizes = sorted({factor * threat for factor in factors}) if math.isfinite(threat) else [0.0, threat]
        shares = certs.certified_accuracy(y_true, radii=sizes)
        return Curve("total L2 norm", threat, tuple(sizes), tuple(float(share) for share in shares))
    if isinstance(threat.edits, dict):
        points = [(factor, _scaled(threat, factor)) for factor in factors]
        unit, asked = f"multiple of {threat.words(certs.n_train)}", 1.0
    else:
        number = threat._budget(certs.n_train).n_poisoned or 0
        most = max(number, 2 * number if certs.n_train is None else min(2 * number, certs.n_train), 1)
        numbers = {min(round(factor * max(number, 1)), most) for factor in factors} | {number}
        points = [(float(size), _numbered(threat, size)) for size in sorted(numbers)]
        unit, asked = f"number of {_counted(threat)}", float(number)
    shares = [float(certs.certified_accuracy(y_true, point)) for _, point in points]
    return Curve(unit, asked, tuple(size for size, _ in points), tuple(shares))


def _counted(threat: Threat) -> str:
    return _numbered(threat, 0).words().removeprefix("at most 0 ")


def _numbered(threat: Threat, number: int) -> Threat:
    edits: Any = threat.edits
    return _alike(threat, edits, number)


def _scaled(threat: Threat, factor: float) -> Threat:
    numbers: Any = threat.edits
    return _alike(threat, {kind: math.ceil(factor * numbers[kind]) for kind in KINDS}, None)


def _alike(threat: Threat, edits: Any, number: int | None) -> Threat:
    kind: dict[str, Any] = {
        "trigger_norm": threat.trigger_norm,
        "labels": threat.labels,
        "counted": threat.counted,
    }
    return Threat(number, edits=edits, **kind)
