"""The door for the user's arrays: whatever comes in, checked arrays go on.

Everything behind this door may assume finite, C-contiguous float32 features, tabular
(n_samples, n_features) or images (n_samples, channels, height, width), and class numbers 0..K-1.
"""

from certssb.data._features import as_arrays, as_features
from certssb.data._labels import as_labels

__all__ = ["as_arrays", "as_features", "as_labels"]
