"""Noise laws: how each member's training set is drawn from the received one, and what that proves."""

from certssb._core import (
    Cascade,
    Discrete,
    Gaussian,
    LabelNoise,
    Law,
    Partition,
    Plan,
    SampleSpecific,
    Subsample,
    Uniform,
)

__all__ = [
    "Cascade",
    "Discrete",
    "Gaussian",
    "LabelNoise",
    "Law",
    "Partition",
    "Plan",
    "SampleSpecific",
    "Subsample",
    "Uniform",
]
