"""How shares are written: never above what was certified."""

from __future__ import annotations

import math

__all__ = ["share_down"]


def share_down(share: float) -> float:
    """Four digits, rounded down: a share in a table never claims more than was certified."""
    return math.floor(share * 1e4 + 1e-9) / 1e4
