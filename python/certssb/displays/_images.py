"""Images, and grids of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from certssb._checks import shape_error
from certssb.displays._style import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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


def draw_image(cell: Axes, image: npt.NDArray[Any], caption: str, **image_kw: Any) -> None:
    """Draw one (channels, height, width) image without ticks, in [0, 1] or uint8, and a caption over it."""
    picture = image.transpose(1, 2, 0) if len(image) in (3, 4) else image.mean(axis=0)
    top = 255 if image.dtype == np.uint8 else 1
    if picture.ndim == 3 and top == 1:
        picture = picture.clip(0, 1)
    cell.imshow(picture, **{"cmap": "gray", "vmin": 0, "vmax": top, "interpolation": "nearest", **image_kw})
    cell.set_xticks([])
    cell.set_yticks([])
    cell.set_title(caption, fontsize=8, color=INK, pad=4, linespacing=1.25)
