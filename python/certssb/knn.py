"""The address of :class:`CertifiedKNN` in pickles; it lives in `estimators/`."""

from __future__ import annotations

from certssb.estimators.knn import CertifiedKNN

__all__ = ["CertifiedKNN"]
