"""Classifiers that are provably robust against backdoors in their training data.

An ensemble is trained, each member on its own randomly noised copy of the data; its votes give, for every test
sample, a certificate: every change of the training data within a stated budget leaves this prediction as it is.
"""

from __future__ import annotations

_TORCH = "2.11"
"""The release of PyTorch that the compiled core was built for."""


def _check_torch() -> None:
    """Say in one sentence what is wrong with torch, instead of letting the loader say it."""
    advice = f"certssb needs PyTorch {_TORCH}: pip install 'torch=={_TORCH}.*'"
    try:
        import torch
    except ImportError as error:
        raise ImportError(f"PyTorch cannot be imported ({error}). {advice}") from None
    found = str(torch.__version__)
    if found.split("+")[0].split(".")[:2] != _TORCH.split("."):
        raise ImportError(f"PyTorch {found} is installed, which this build cannot load. {advice}")


_check_torch()

from certssb import adapters, augment, bounds, callbacks, data, datasets, features, metrics, report, triggers
from certssb import classifier as classifier
from certssb import knn as knn
from certssb import modules as modules
from certssb import progress as progress
from certssb import until as until
from certssb._core import __version__
from certssb.certificates import CertificateTable, certify_scores, certify_votes
from certssb.displays import (
    CertifiedAccuracyDisplay,
    FrontierDisplay,
    NoiseMagnitudeDisplay,
    PredictionGridDisplay,
)
from certssb.estimators.classifier import CertifiedClassifier
from certssb.estimators.knn import CertifiedKNN
from certssb.estimators.until import Until
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
    ScaleWarning,
    ShapeError,
    TrainingError,
)
from certssb.laws import (
    Cascade,
    Discrete,
    Gaussian,
    LabelNoise,
    Law,
    SampleSpecific,
    Subsample,
    Uniform,
)
from certssb.ledger import Ledger

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
    "LabelNoise",
    "Law",
    "Ledger",
    "LedgerCorruptError",
    "LedgerError",
    "LedgerVersionError",
    "MissingFileError",
    "NoiseMagnitudeDisplay",
    "ParameterError",
    "PredictionGridDisplay",
    "SampleSpecific",
    "ScaleWarning",
    "ShapeError",
    "Subsample",
    "TrainingError",
    "Uniform",
    "Until",
    "__version__",
    "adapters",
    "augment",
    "bounds",
    "callbacks",
    "certify_scores",
    "certify_votes",
    "data",
    "datasets",
    "features",
    "metrics",
    "report",
    "triggers",
]
