"""The address of :class:`CertifiedClassifier` in pickles; it lives in `estimators/`."""

from __future__ import annotations

from certssb.estimators.classifier import CertifiedClassifier

__all__ = ["CertifiedClassifier"]
