"""Pictures of PIL as arrays, by a rule that depends on their mode alone."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from certssb.exceptions import ParameterError

READ_AS = {
    "1": "L",
    "L": "L",
    "P": "RGB",
    "RGB": "RGB",
    "LA": "RGBA",
    "PA": "RGBA",
    "RGBA": "RGBA",
    "CMYK": "CMYK",
    "YCbCr": "YCbCr",
    "HSV": "HSV",
    "I;16": "I;16",
    "I;16L": "I;16L",
    "I;16B": "I;16B",
    "F": "F",
}
"""The mode that a picture of each mode is read in. What is not here has no range that is known, or is padding."""


def is_picture(value: object) -> bool:
    """Whether a value is an image of PIL, without importing PIL for those who do not use it."""
    images = sys.modules.get("PIL.Image")
    return images is not None and isinstance(value, images.Image)


def pixels(picture: Any, name: str) -> npt.NDArray[Any]:
    """Values of shape (height, width) or (channels, height, width): uint8, uint16, or float32 for mode F.

    Parameters
    ----------
    picture : PIL.Image.Image
        The picture, as it lies in its file: an orientation in its EXIF data is not applied.
    name : str
        What to call the data in messages.

    Returns
    -------
    ndarray

    Raises
    ------
    ParameterError
        If pictures of this mode are not read.
    """
    mode = READ_AS.get(picture.mode)
    if mode is None:
        raise ParameterError(
            f"The '{name}' parameter must be pictures of one of the modes {', '.join(READ_AS)}. Got mode "
            f"{picture.mode} instead; convert all of them, as by picture.convert('RGB') or picture.convert('L')."
        )
    values = np.asarray(picture if mode == picture.mode else picture.convert(mode))
    if values.ndim == 3:
        values = values.transpose(2, 0, 1)
    return values.astype(values.dtype.newbyteorder("="), copy=False)
