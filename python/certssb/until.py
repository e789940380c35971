"""The address of :class:`Until` in pickles; it lives in `estimators/`."""

from __future__ import annotations

from certssb.estimators.until import Until

__all__ = ["Until"]
