"""Fixed feature maps before the noise: they make learning easier for members, and are fixed before anybody sees the
data.

A map here has no parameters that were fitted to the received data. Most are proved to be 1-Lipschitz in the L2 norm,
``|f(x) - f(x')| <= |x - x'|``: a trigger of norm t on a sample is a change of norm at most t of its features, so that norms
certified under noise on the features hold, number for number, for changes of the samples as they came. A map that may
lengthen changes can be used only with laws that count samples and measure nothing. The map is part of the record and of
every guarantee.
"""

from certssb.features._composed import Composed, compose
from certssb.features._images import AveragePool, Cosine
from certssb.features._maps import FeatureMap
from certssb.features._scattering import Scattering
from certssb.features._trusted import Trusted

__all__ = ["AveragePool", "Composed", "Cosine", "FeatureMap", "Scattering", "Trusted", "compose"]
