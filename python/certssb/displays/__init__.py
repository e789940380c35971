"""Plots of certificates, in the manner of scikit-learn's Display objects.

``SomeDisplay.from_certificates(certs, ...)`` collects what is to be drawn, ``.plot(ax=ax)`` draws
it and returns the display with ``ax_`` and ``figure_``. Nothing is rounded in the certificates'
favour: between two computed points a curve shows the lower value.
"""

from __future__ import annotations

from certssb.displays.accuracy import CertifiedAccuracyDisplay
from certssb.displays.frontier import FrontierDisplay
from certssb.displays.grid import PredictionGridDisplay
from certssb.displays.influence import InfluenceDisplay
from certssb.displays.noise import NoiseMagnitudeDisplay
from certssb.displays.recommended import RecommendationDisplay

__all__ = [
    "CertifiedAccuracyDisplay",
    "FrontierDisplay",
    "InfluenceDisplay",
    "NoiseMagnitudeDisplay",
    "PredictionGridDisplay",
    "RecommendationDisplay",
]
