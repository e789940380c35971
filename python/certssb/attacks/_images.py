"""Images as arrays or tensors: what triggers and poisoning read, and write copies of."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from certssb._checks import parameter_error, shape_error, shown
from certssb.data._tensors import is_tensor

if TYPE_CHECKING:
    import torch

__all__ = ["Images", "Labels", "changed", "checked_shape", "image_shape"]

Images = TypeVar("Images", npt.NDArray[Any], "torch.Tensor")
Labels = TypeVar("Labels", npt.NDArray[Any], "torch.Tensor")


def image_shape(X: Any) -> tuple[int, int, int]:
    if not (isinstance(X, np.ndarray) or is_tensor(X)):
        raise parameter_error("X", "a NumPy array or a torch tensor of images", type(X).__name__)
    floating = X.dtype.kind == "f" if isinstance(X, np.ndarray) else X.is_floating_point()
    if not floating:
        expected = "of a floating type, in [0, 1] (divide uint8 images by 255 first)"
        raise parameter_error("X", expected, X.dtype)
    if X.ndim != 4:
        raise shape_error("X", "the shape (n_samples, channels, height, width)", tuple(X.shape))
    channels, height, width = X.shape[1:]
    return int(channels), int(height), int(width)


def changed(
    X: Images, where: npt.NDArray[np.bool_], values: npt.NDArray[np.float64], mix: Callable[[Any, Any], Any]
) -> Images:
    """A copy of `X` whose values at `where` are a mix of the old ones and of `values`."""
    if isinstance(X, np.ndarray):
        copied = np.array(X, subok=False)
        copied[:, where] = mix(copied[:, where], values[where].astype(X.dtype))
        return copied
    import torch

    chosen = torch.from_numpy(where).to(X.device)
    copy = X.clone()
    copy[:, chosen] = mix(X[:, chosen], torch.from_numpy(values[where]).to(X.device, X.dtype))
    return copy


def checked_shape(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """The shape of an image, if it is one."""
    try:
        channels, height, width = (operator.index(size) for size in shape)
    except (TypeError, ValueError):
        channels = height = width = 0
    # More could not be held as floats.
    if min(channels, height, width) < 1 or channels * height * width > 2**40:
        expected = "three integers of at least 1, (channels, height, width)"
        raise parameter_error("shape", expected, shown(shape))
    return channels, height, width
