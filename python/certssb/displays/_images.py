"""Images, and grids of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from certssb._checks import shape_error


def as_images(X: Any) -> npt.NDArray[Any]:
    images = np.asarray(X.detach().cpu() if hasattr(X, "detach") else X)
    if images.ndim != 4:
        raise shape_error("X", "the shape (n_samples, channels, height, width)", f"shape {images.shape}")
    return images


def columns_for(n_images: int) -> int:
    """Columns of a grid a little wider than high, with full rows where that is possible."""
    if n_images <= 5:
        return n_images
    about = math.ceil(math.sqrt(1.3 * n_images))
    return min((about, about - 1, about + 1), key=lambda columns: -n_images % columns)
