"""How shares are written: never above what was certified, nor below what an attacker reached."""

from __future__ import annotations

import math

__all__ = ["share_down", "share_up"]


def share_down(share: float) -> float:
    """Four digits, rounded down: a share in a table never claims more than was certified."""
    return math.floor(share * 1e4 + 1e-9) / 1e4


def share_up(share: float) -> float:
    """Four digits, rounded up: a table never shows an attack as less successful than it was."""
    return math.ceil(share * 1e4 - 1e-9) / 1e4
