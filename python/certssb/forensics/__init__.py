"""Looking for poison: training samples whose presence moves the votes on suspicious inputs. Hints, no guarantees."""

from __future__ import annotations

from certssb.forensics._influence import Influence

__all__ = ["Influence"]
