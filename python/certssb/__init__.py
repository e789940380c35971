"""Classifiers that are provably robust against backdoors in their training data.

An ensemble is trained, each member on its own randomly noised copy of the data; its votes give, for every test
sample, a certificate: every change of the training data within a stated budget leaves this prediction as it is.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from certssb import _core as _core
from certssb._core import __version__
from certssb.exceptions import (
    CancelledError,
    CertssbError,
    CheckpointError,
    DeviceError,
    FailedMembersWarning,
    FileError,
    GrowthWarning,
    LedgerCorruptError,
    LedgerError,
    LedgerVersionError,
    MissingFileError,
    ParameterError,
    RoundingWarning,
    ScaleWarning,
    SearchWarning,
    ShapeError,
    TrainingError,
)
from certssb.laws import (
    Cascade,
    Discrete,
    Gaussian,
    LabelNoise,
    Law,
    Partition,
    SampleSpecific,
    Subsample,
    Uniform,
)

if TYPE_CHECKING:
    from certssb import (
        adapters,
        augment,
        bounds,
        callbacks,
        data,
        datasets,
        features,
        metrics,
        report,
        testing,
        threats,
        triggers,
    )
    from certssb.auditing import audit
    from certssb.certificates import CertificateTable, certify_scores, certify_votes
    from certssb.displays import (
        CertifiedAccuracyDisplay,
        FrontierDisplay,
        InfluenceDisplay,
        NoiseMagnitudeDisplay,
        PredictionGridDisplay,
        RecommendationDisplay,
    )
    from certssb.estimators.classifier import CertifiedClassifier
    from certssb.estimators.knn import CertifiedKNN
    from certssb.estimators.until import Until
    from certssb.ledger import Ledger
    from certssb.recommending import recommend
    from certssb.threats import Threat

_HOMES = {
    "CertificateTable": "certssb.certificates",
    "CertifiedAccuracyDisplay": "certssb.displays",
    "CertifiedClassifier": "certssb.estimators.classifier",
    "CertifiedKNN": "certssb.estimators.knn",
    "FrontierDisplay": "certssb.displays",
    "InfluenceDisplay": "certssb.displays",
    "Ledger": "certssb.ledger",
    "NoiseMagnitudeDisplay": "certssb.displays",
    "PredictionGridDisplay": "certssb.displays",
    "Threat": "certssb.threats",
    "Until": "certssb.estimators.until",
    "audit": "certssb.auditing",
    "RecommendationDisplay": "certssb.displays",
    "recommend": "certssb.recommending",
    "certify_scores": "certssb.certificates",
    "certify_votes": "certssb.certificates",
}
"""Where names lie that are imported when they are first asked for: scikit-learn alone takes seconds."""

_ROOMS = frozenset(
    [
        "adapters",
        "auditing",
        "augment",
        "bounds",
        "callbacks",
        "certificates",
        "classifier",
        "cli",
        "data",
        "datasets",
        "displays",
        "estimators",
        "features",
        "forensics",
        "knn",
        "ledger",
        "metrics",
        "modules",
        "progress",
        "recommending",
        "report",
        "testing",
        "threats",
        "triggers",
        "until",
    ]
)
"""Modules that need no import statement of their own."""


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name in _ROOMS:
        value = importlib.import_module(f"certssb.{name}")
    else:
        raise AttributeError(f"module 'certssb' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_ROOMS})


__all__ = [
    "CancelledError",
    "Cascade",
    "CertificateTable",
    "CertifiedAccuracyDisplay",
    "CertifiedClassifier",
    "CertifiedKNN",
    "CertssbError",
    "CheckpointError",
    "DeviceError",
    "Discrete",
    "FailedMembersWarning",
    "FileError",
    "FrontierDisplay",
    "Gaussian",
    "GrowthWarning",
    "InfluenceDisplay",
    "LabelNoise",
    "Law",
    "Ledger",
    "LedgerCorruptError",
    "LedgerError",
    "LedgerVersionError",
    "MissingFileError",
    "NoiseMagnitudeDisplay",
    "ParameterError",
    "Partition",
    "PredictionGridDisplay",
    "RecommendationDisplay",
    "RoundingWarning",
    "SampleSpecific",
    "ScaleWarning",
    "SearchWarning",
    "ShapeError",
    "Subsample",
    "Threat",
    "TrainingError",
    "Uniform",
    "Until",
    "__version__",
    "adapters",
    "audit",
    "augment",
    "bounds",
    "callbacks",
    "certify_scores",
    "certify_votes",
    "data",
    "datasets",
    "features",
    "metrics",
    "recommend",
    "report",
    "testing",
    "threats",
    "triggers",
]
