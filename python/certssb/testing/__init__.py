"""Tests of certified accuracy: an assertion whose message shows what is certified, and ensembles kept between runs.

With pytest the plugin of this package adds a fixture, ``certssb_fit``, and the options ``--certssb-cache`` and
``--certssb-report``; without it the assertion works just the same.
"""

from certssb.testing._accuracy import assert_certified_accuracy
from certssb.testing._kept import KeptEnsembles

__all__ = ["KeptEnsembles", "assert_certified_accuracy"]
