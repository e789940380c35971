"""What was asserted, for whoever reports on a whole suite; nothing is kept where nobody does."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from certssb.certificates._budget import exactly
from certssb.threats import Threat

if TYPE_CHECKING:
    from certssb.certificates import CertificateTable
    from certssb.testing._curve import Curve

__all__ = ["listen", "note", "wanted"]

Assertion = dict[str, Any]
"""One assertion as JSON holds it, so that it travels from another process."""

_listener: Callable[[Assertion], None] | None = None


def listen(listener: Callable[[Assertion], None] | None) -> None:
    """Hear of every assertion from now on; None for nobody."""
    global _listener
    _listener = listener


def wanted() -> bool:
    """Whether somebody listens."""
    return _listener is not None


def note(
    certs: CertificateTable, threat: Threat | float, asked: float, share: float, held: bool, curve: Curve
) -> None:
    """Tell whoever listens."""
    if _listener is None:
        return
    _listener(
        {
            "threat": str(threat)
            if isinstance(threat, Threat)
            else f"total L2 norm of at most {exactly(threat)}",
            "sentence": certs.statement(threat) if isinstance(threat, Threat) else certs.guarantee,
            "asked": asked,
            # JSON has no NaN; of no samples nothing is certified.
            "share": 0.0 if math.isnan(share) else share,
            "held": held,
            "table": certs._digest(),
            "law": repr(certs.law),
            "guarantee": certs.guarantee,
            "sound": certs.sound,
            "n_samples": len(certs),
            "n_train": certs.n_train,
            "n_members": certs.n_members,
            "unit": curve.unit,
            "size": curve.asked,
            "sizes": list(curve.sizes),
            "shares": [0.0 if math.isnan(value) else value for value in curve.shares],
        }
    )
