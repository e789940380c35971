"""From your data to checked arrays of features and labels.

Everything else in the package may assume finite, C-contiguous float32 features, tabular
(n_samples, n_features) or images (n_samples, channels, height, width), and class numbers 0..K-1.
No sample decides how another is read: a change to one sample changes its own features only, or is refused.
"""

from certssb.data._blocks import blocks
from certssb.data._features import as_arrays, as_features, read_arrays, read_features
from certssb.data._labels import as_labels
from certssb.data._numbered import as_numbered
from certssb.data._reading import Reading
from certssb.data._spooled import spooled

__all__ = [
    "Reading",
    "as_arrays",
    "as_features",
    "as_labels",
    "as_numbered",
    "blocks",
    "read_arrays",
    "read_features",
    "spooled",
]
