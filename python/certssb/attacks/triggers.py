"""Backdoor triggers: small fixed changes of images, called on a batch of them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from certssb._checks import (
    check_integer,
    check_positive,
    check_seed,
    one_of,
    parameter_error,
)
from certssb.attacks._images import Images, changed, checked_shape, image_shape

__all__ = ["Blend", "FourPixel", "OnePixel", "Patch", "Trigger"]

Pixel = tuple[int, int]

_CORNERS = ("top-left", "top-right", "bottom-left", "bottom-right")
_PIXEL = "a pair (row, column) of integers greater than or equal to 0"


class Trigger(ABC):
    """A fixed change of an image, callable on a batch of them.

    Subclasses decide which values change and how; all are called in the same way.

    Attributes
    ----------
    norm : float or None
        L2 norm of the change before clipping, over all pixels and channels, in the units of the
        features; None where it depends on the image (a :class:`Patch` that replaces values).
        Clipping can only make a change smaller: :func:`trigger_norms` measures it.

    Examples
    --------
    >>> import certssb as cs
    >>> X, y = cs.datasets.load_digits()
    >>> trigger = cs.triggers.OnePixel(norm=0.5)
    >>> isinstance(trigger, cs.triggers.Trigger), trigger(X).shape
    (True, (1797, 1, 8, 8))
    """

    norm: float | None

    def __call__(self, X: Images) -> Images:
        """Put the trigger on every image of a batch.

        Parameters
        ----------
        X : ndarray or torch.Tensor of shape (n_samples, channels, height, width)
            Images of a floating type, in [0, 1]. Not changed.

        Returns
        -------
        ndarray or torch.Tensor
            A copy with the trigger, of the same type, shape, dtype and device.

        Raises
        ------
        ParameterError
            If `X` is not floating (divide uint8 images by 255 first), or if the trigger lies
            outside the images.
        ShapeError
            If `X` does not have four dimensions.
        """
        shape = image_shape(X)
        pattern = self.pattern(shape)
        return changed(X, pattern != 0, pattern, self._mix)

    @abstractmethod
    def pattern(self, shape: tuple[int, int, int]) -> npt.NDArray[np.float64]:
        """The change of an image of this shape, before clipping.

        Parameters
        ----------
        shape : tuple of int
            (channels, height, width) of the images.

        Returns
        -------
        ndarray of shape (channels, height, width)
            What is added, in the units of the features; its L2 norm is `norm`.

        Raises
        ------
        ParameterError
            If the trigger lies outside an image of this shape.

        Examples
        --------
        >>> import certssb as cs
        >>> change = cs.triggers.FourPixel(norm=1.0).pattern((1, 8, 8))
        >>> change.shape, int((change != 0).sum())
        ((1, 8, 8), 4)
        """

    @staticmethod
    def _mix(old: Any, change: Any) -> Any:
        """Add within [0, 1]; a value that already lies outside is not pulled back in."""
        return (old + change).clip(old.clip(None, 0), old.clip(1, None))


@dataclass(frozen=True)
class OnePixel(Trigger):
    """Brighten one pixel: ``norm / sqrt(channels)`` on every channel, clipped at 1.

    Parameters
    ----------
    position : (int, int) or None, default=None
        Row and column, from 0 at the top left. None takes the literature's: (23, 23) in images
        of 28 x 28, (15, 15) in images of 32 x 32, and (23, 23) scaled to other sizes.
    norm : float, default=1.0
        L2 norm before clipping, in the units of the features, greater than 0.

    Raises
    ------
    ParameterError
        If a parameter is outside its range; when called, if `position` is outside the image.

    Examples
    --------
    >>> import numpy as np
    >>> from certssb.triggers import OnePixel
    >>> trigger = OnePixel(position=(23, 23), norm=1.0)
    >>> trigger
    OnePixel(position=(23, 23), norm=1.0)
    >>> X = np.zeros((2, 1, 28, 28), dtype=np.float32)
    >>> float(trigger(X)[0, 0, 23, 23]), float(X.max())
    (1.0, 0.0)
    """

    position: Pixel | None = None
    norm: float = 1.0

    def __post_init__(self) -> None:
        if self.position is not None:
            _set(self, position=_pixel("position", self.position))
        _set(self, norm=check_positive("norm", self.norm))

    def pattern(self, shape: tuple[int, int, int]) -> npt.NDArray[np.float64]:
        shape = checked_shape(shape)
        position = self.position
        if position is None:
            position = _literature_place(shape, {28: 23, 32: 15}, margin=0)
        return _pixels_pattern([position], shape, self.norm)


@dataclass(frozen=True)
class FourPixel(Trigger):
    """Brighten four pixels: ``norm / sqrt(4 * channels)`` on each of them in every channel, clipped at 1.

    Parameters
    ----------
    position : (int, int), sequence of four (int, int), or None, default=None
        The four pixels as (row, column), or their centre (r, c), which stands for
        (r-1, c+1), (r, c), (r+1, c-1) and (r+1, c+1). None takes the literature's centre:
        (19, 19) in images of 28 x 28, (15, 15) in images of 32 x 32, and (19, 19) scaled to
        other sizes.
    norm : float, default=1.0
        L2 norm before clipping over all four pixels and all channels, greater than 0.

    Raises
    ------
    ParameterError
        If a parameter is outside its range; when called, if a pixel is outside the image.

    Examples
    --------
    >>> import numpy as np
    >>> from certssb.triggers import FourPixel
    >>> changed = FourPixel(norm=1.0)(np.zeros((1, 1, 28, 28)))
    >>> np.argwhere(changed[0, 0]).tolist()
    [[18, 20], [19, 19], [20, 18], [20, 20]]
    >>> float(changed.max())
    0.5
    """

    position: Pixel | Sequence[Pixel] | None = None
    norm: float = 1.0

    def __post_init__(self) -> None:
        if self.position is not None:
            _set(self, position=_centre_or_four(self.position))
        _set(self, norm=check_positive("norm", self.norm))

    def pattern(self, shape: tuple[int, int, int]) -> npt.NDArray[np.float64]:
        shape = checked_shape(shape)
        return _pixels_pattern(self._pixels(shape), shape, self.norm)

    def _pixels(self, shape: tuple[int, int, int]) -> list[Pixel]:
        position = self.position
        if position is None:
            position = _literature_place(shape, {28: 19, 32: 15}, margin=1)
        if len(position) == 4:
            return cast("list[Pixel]", list(position))
        row, column = cast(Pixel, position)
        return [(row + down, column + right) for down, right in _FOUR]


_FOUR = ((-1, 1), (0, 0), (1, -1), (1, 1))


@dataclass(frozen=True)
class Blend(Trigger):
    """Add a fixed Gaussian pattern to the whole image, scaled to the norm and not clipped.

    The pattern depends on `seed` and on the shape of an image, on nothing else: all images of a data set get the same
    pattern.

    Parameters
    ----------
    norm : float, default=1.0
        L2 norm over all pixels and channels, in the units of the features, greater than 0.
    seed : int, default=0
        Which pattern, greater than or equal to 0.

    Raises
    ------
    ParameterError
        If a parameter is outside its range.

    Examples
    --------
    >>> import numpy as np
    >>> from certssb.triggers import Blend
    >>> changed = Blend(norm=0.1, seed=3)(np.zeros((1, 3, 32, 32)))
    >>> round(float(np.linalg.norm(changed)), 12)
    0.1
    """

    norm: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        _set(self, norm=check_positive("norm", self.norm), seed=check_seed("seed", self.seed))

    def pattern(self, shape: tuple[int, int, int]) -> npt.NDArray[np.float64]:
        shape = checked_shape(shape)
        drawn = np.random.default_rng(self.seed).standard_normal(shape)
        return _scaled(drawn, self.norm)

    @staticmethod
    def _mix(old: Any, change: Any) -> Any:
        return old + change


@dataclass(frozen=True)
class Patch(Trigger):
    """Put a square on the image: added with a given norm, or replacing what is there.

    Parameters
    ----------
    size : int, default=3
        Side of the square in pixels, at least 1.
    corner : str or (int, int), default="bottom-right"
        "top-left", "top-right", "bottom-left" or "bottom-right" of the image, or row and column
        of the square's top left pixel.
    norm : float or None, default=1.0
        L2 norm of what is added, before clipping to [0, 1]. None replaces the pixels by `value`
        instead: the norm of the change then depends on the image, and :func:`trigger_norms`
        measures it.
    value : float or array-like, default=1.0
        The square's pixels: one number, one per channel (channels,), a pattern (size, size) or
        (channels, size, size). With a norm only their proportions matter.

    Raises
    ------
    ParameterError
        If a parameter is outside its range; when called, if the square does not fit the image or
        `value` its channels.

    Examples
    --------
    >>> import numpy as np
    >>> from certssb.triggers import Patch
    >>> X = np.full((1, 1, 8, 8), 0.25)
    >>> added = Patch(size=2, norm=0.5)(X)
    >>> float(added[0, 0, 7, 7]), float(added[0, 0, 0, 0])
    (0.5, 0.25)
    >>> replaced = Patch(size=2, norm=None, value=1.0)(X)
    >>> float(replaced[0, 0, 7, 7])
    1.0
    """

    size: int = 3
    corner: str | Pixel = "bottom-right"
    norm: float | None = 1.0
    value: npt.ArrayLike = 1.0

    def __post_init__(self) -> None:
        _set(self, size=check_integer("size", self.size, "an integer of at least 1", 1))
        if not isinstance(self.corner, str):
            _set(self, corner=_pixel("corner", self.corner))
        elif self.corner not in _CORNERS:
            raise parameter_error("corner", one_of(_CORNERS) + ", or " + _PIXEL, repr(self.corner))
        if self.norm is not None:
            _set(self, norm=check_positive("norm", self.norm))
        _set(self, value=self._checked_value())

    def __call__(self, X: Images) -> Images:
        if self.norm is not None:
            return super().__call__(X)
        shape = image_shape(X)
        inside = np.zeros(shape, dtype=bool)
        inside[self._window(shape)] = True
        return changed(X, inside, self._painted(shape), lambda old, new: new + 0 * old)

    def pattern(self, shape: tuple[int, int, int]) -> npt.NDArray[np.float64]:
        shape = checked_shape(shape)
        if self.norm is None:
            raise parameter_error("norm", "a float for the patch to be added", "None")
        return _scaled(self._painted(shape), self.norm)

    def _checked_value(self) -> Any:
        expected = "finite numbers, one, or of shape (channels,), (size, size) or (channels, size, size)"
        try:
            value = np.asarray(self.value, dtype=np.float64)
        except (OverflowError, TypeError, ValueError):
            raise parameter_error("value", expected, repr(self.value)) from None
        square = value.ndim < 2 or value.shape[-2:] == (self.size, self.size)
        if value.ndim > 3 or value.size == 0 or not square or not np.isfinite(value).all():
            raise parameter_error("value", expected, repr(self.value))
        if self.norm is not None and not value.any():
            raise parameter_error("value", "other than 0 to be scaled to a norm", repr(self.value))
        return _tuples(value.tolist())

    def _window(self, shape: tuple[int, int, int]) -> tuple[slice, slice, slice]:
        _, height, width = shape
        if self.size > min(height, width):
            raise parameter_error(
                "size", f"at most {min(height, width)}, to fit images of {height} x {width}", self.size
            )
        row, column = self._top_left(height, width)
        if row + self.size > height or column + self.size > width:
            raise parameter_error(
                "corner",
                f"such that {self.size} x {self.size} pixels fit images of {height} x {width}",
                self.corner,
            )
        return slice(None), slice(row, row + self.size), slice(column, column + self.size)

    def _top_left(self, height: int, width: int) -> Pixel:
        if not isinstance(self.corner, str):
            return self.corner
        row = 0 if self.corner.startswith("top") else height - self.size
        return row, 0 if self.corner.endswith("left") else width - self.size

    def _painted(self, shape: tuple[int, int, int]) -> npt.NDArray[np.float64]:
        value = np.asarray(self.value, dtype=np.float64)
        if value.ndim in (1, 3) and len(value) not in (1, shape[0]):
            raise parameter_error(
                "value", f"for one channel or for the images' {shape[0]}", f"{len(value)} channels"
            )
        if value.ndim == 1:
            value = value[:, np.newaxis, np.newaxis]
        painted = np.zeros(shape)
        painted[self._window(shape)] = value
        return painted


def _set(trigger: Trigger, **values: object) -> None:
    for name, value in values.items():
        object.__setattr__(trigger, name, value)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def _pixel(name: str, value: Any, expected: str = _PIXEL) -> Pixel:
    try:
        row, column = value
        return check_integer(name, row, "", 0), check_integer(name, column, "", 0)
    except (TypeError, ValueError):
        raise parameter_error(name, expected, repr(value)) from None


def _centre_or_four(value: Any) -> Pixel | tuple[Pixel, ...]:
    expected = f"{_PIXEL}, or a sequence of four different ones"
    try:
        length = len(value)
    except TypeError:
        raise parameter_error("position", expected, repr(value)) from None
    if length == 2:
        return _pixel("position", value, expected)
    pixels = tuple(_pixel("position", pixel, expected) for pixel in value)
    if len(pixels) != 4 or len(set(pixels)) != 4:
        raise parameter_error("position", expected, repr(value))
    return pixels


def _literature_place(shape: tuple[int, int, int], known: dict[int, int], margin: int) -> Pixel:
    """The literature's place in squares of a known side; MNIST's, scaled, in any other image."""
    _, height, width = shape
    if height == width and height in known:
        return known[height], known[height]
    row, column = known[28] * height // 28, known[28] * width // 28
    return max(margin, min(row, height - 1 - margin)), max(margin, min(column, width - 1 - margin))


def _pixels_pattern(pixels: list[Pixel], shape: tuple[int, int, int], norm: float) -> npt.NDArray[np.float64]:
    channels, height, width = shape
    for row, column in pixels:
        if not (0 <= row < height and 0 <= column < width):
            expected = f"inside the image, rows 0 to {height - 1} and columns 0 to {width - 1}"
            raise parameter_error("position", expected, (row, column))
    pattern = np.zeros(shape)
    for row, column in pixels:
        pattern[:, row, column] = norm / math.sqrt(len(pixels) * channels)
    return pattern


def _scaled(pattern: npt.NDArray[np.float64], norm: float) -> npt.NDArray[np.float64]:
    return pattern * (norm / float(np.linalg.norm(pattern)))
