"""Random changes of images, for training: shifts, flips, affine maps, elastic displacements.

Small members need them. They are applied to a member's own noised samples, after the noise: whatever a member computes
from its noised set alone weakens no certificate, under any law. An augmentation is called on a batch with a source of
randomness; what happens to a sample depends on the seed and on its place in the batch alone.
"""

from __future__ import annotations

import json
import numbers
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from certssb import _core
from certssb._checks import check_integer, check_real, check_seed, parameter_error, shape_error, shown
from certssb.augment._applied import tried

__all__ = ["Affine", "Augmentation", "Compose", "Elastic", "Flip", "Shift", "checked", "from_description"]

Array: TypeAlias = npt.NDArray[Any]

_LARGEST = float(np.finfo(np.float32).max)
_RNG = "a numpy.random.Generator or an integer from 0 to 2**64 - 1"


class Augmentation(ABC):
    """A random change of images, callable on a batch of them.

    Immutable, comparable, picklable. All channels of an image are changed alike. Values between pixels are interpolated
    bilinearly, and every neighbour outside the image has the fill value.

    Examples
    --------
    >>> import certssb as cs
    >>> isinstance(cs.augment.Shift(), cs.augment.Augmentation)
    True
    """

    def __call__(self, batch: Array, rng: np.random.Generator | int, *, first: int = 0) -> Array:
        """Change every image of a batch by itself.

        Parameters
        ----------
        batch : ndarray of shape (n, channels, height, width) or (n, height, width)
            Finite images of float32 or float64. Not changed.
        rng : numpy.random.Generator or int
            A generator from which a seed is drawn, or a seed.
        first : int, default=0
            Place of the first image, if the batch is a part of a larger one: the parts then give what the whole gives.

        Returns
        -------
        ndarray
            Changed copies, of the same shape and dtype.

        Raises
        ------
        ParameterError
            If `batch` is not floating or not finite, or `rng` or `first` is invalid.
        ShapeError
            If `batch` does not have three or four dimensions.

        Examples
        --------
        >>> import numpy as np
        >>> from certssb.augment import Shift
        >>> batch = np.ones((100, 28, 28), dtype=np.float32)
        >>> changed = Shift(pixels=2)(batch, 7)
        >>> changed.shape, changed.dtype.name
        ((100, 28, 28), 'float32')
        >>> bool((Shift(pixels=2)(batch[60:], 7, first=60) == changed[60:]).all())
        True
        """
        seed = _seed(rng)
        first = check_integer("first", first, "an integer of at least 0", 0)
        if not isinstance(batch, np.ndarray) or batch.dtype not in (np.float32, np.float64):
            got = batch.dtype if isinstance(batch, np.ndarray) else f"a {type(batch).__name__}"
            raise parameter_error("batch", "an array of float32 or float64 (divide uint8 images by 255)", got)
        if batch.ndim not in (3, 4):
            raise shape_error("batch", "3 or 4 dimensions, (n, [channels,] height, width)", batch.shape)
        if not np.isfinite(batch).all():
            raise parameter_error("batch", "finite", "NaN or infinity")
        planes = batch if batch.ndim == 4 else batch[:, None]
        augmenter = _core.Augmenter(self.to_json())
        if batch.dtype == np.float32:
            changed: Array = augmenter.apply_f32(planes, seed, first)
        else:
            changed = augmenter.apply_f64(planes, seed, first)
        return changed.reshape(batch.shape)

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """The augmentation as values that JSON can hold.

        Returns
        -------
        dict
            Its kind and its parameters.

        Examples
        --------
        >>> from certssb.augment import Flip
        >>> Flip().describe()
        {'kind': 'flip', 'horizontal': 0.5, 'vertical': 0.0}
        """

    def to_json(self) -> str:
        """The description as text, for a record.

        Returns
        -------
        str
            JSON; equal augmentations give equal texts.

        Examples
        --------
        >>> from certssb.augment import Flip
        >>> Flip().to_json()
        '{"kind": "flip", "horizontal": 0.5, "vertical": 0.0}'
        """
        return json.dumps(self.describe())

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters by name.

        Parameters
        ----------
        deep : bool, default=True
            For scikit-learn's convention only; it changes nothing here.

        Returns
        -------
        dict
            Arguments that build an equal augmentation.

        Examples
        --------
        >>> from certssb.augment import Shift
        >>> Shift(pixels=3).get_params()
        {'pixels': (3, 3), 'fill': 0.0}
        """
        return dict(vars(self))


class _Described(Augmentation):
    """One whose description is the name of its class and its parameters."""

    def describe(self) -> dict[str, Any]:
        values = {name: list(v) if isinstance(v, tuple) else v for name, v in self.get_params().items()}
        return {"kind": type(self).__name__.lower()} | values


@dataclass(frozen=True)
class Shift(_Described):
    """Shift by whole pixels, every number of them within the limits equally likely.

    Parameters
    ----------
    pixels : int or (int, int), default=2
        Largest shift in either direction, from 0 to 65536: one number, or (vertical, horizontal).
    fill : float, default=0.0
        Value of what comes in from outside, in the units of the images.

    Raises
    ------
    ParameterError
        If a parameter is outside its range.

    Examples
    --------
    >>> import numpy as np
    >>> from certssb.augment import Shift
    >>> batch = np.eye(3)[None]
    >>> Shift(pixels=(0, 1))(batch, 4).shape
    (1, 3, 3)
    """

    pixels: int | tuple[int, int] = 2
    fill: float = 0.0

    def __post_init__(self) -> None:
        expected = "an integer from 0 to 65536 or a pair of them"
        both = _pair("pixels", self.pixels, expected)
        _set(
            self,
            pixels=tuple(check_integer("pixels", p, expected, 0, 1 << 16) for p in both),
            fill=_fill(self.fill),
        )


@dataclass(frozen=True)
class Flip(_Described):
    """Mirror an image, left to right, top to bottom, or both.

    Parameters
    ----------
    horizontal : float, default=0.5
        Probability that left and right are exchanged, in [0, 1].
    vertical : float, default=0.0
        Probability that top and bottom are exchanged, in [0, 1].

    Raises
    ------
    ParameterError
        If a parameter is outside its range.

    Examples
    --------
    >>> import numpy as np
    >>> from certssb.augment import Flip
    >>> Flip(horizontal=1.0)(np.array([[[1.0, 2.0, 3.0]]]), 0).tolist()
    [[[3.0, 2.0, 1.0]]]
    """

    horizontal: float = 0.5
    vertical: float = 0.0

    def __post_init__(self) -> None:
        for name in ("horizontal", "vertical"):
            value = check_real(name, getattr(self, name), "a float in the range [0, 1]", 0.0, 1.0)
            _set(self, **{name: value})


@dataclass(frozen=True)
class Affine(_Described):
    """Rotate, scale, shear and shift about the image's centre, each uniformly within its interval.

    Parameters
    ----------
    angle : float or (float, float), default=15.0
        Degrees, counterclockwise: the largest in either direction, or (lowest, highest), in [-360, 360].
    translate : float or (float, float), default=0.0
        Largest shift in either direction as a share of the image's side, in [0, 1]: one number, or (vertical, horizontal).
    scale : float or (float, float), default=1.0
        Factor of size, or (lowest, highest), in [0.01, 100].
    shear : float or (float, float), default=0.0
        Degrees by which columns are slanted: the largest in either direction, or (lowest, highest), in [-80, 80].
    fill : float, default=0.0
        Value of what comes in from outside, in the units of the images.

    Raises
    ------
    ParameterError
        If a parameter is outside its range.

    Examples
    --------
    >>> import numpy as np
    >>> from certssb.augment import Affine
    >>> Affine(angle=(90, 90))(np.array([[[1.0, 2.0], [3.0, 4.0]]]), 0).tolist()
    [[[2.0, 4.0], [1.0, 3.0]]]
    """

    angle: float | tuple[float, float] = 15.0
    translate: float | tuple[float, float] = 0.0
    scale: float | tuple[float, float] = 1.0
    shear: float | tuple[float, float] = 0.0
    fill: float = 0.0

    def __post_init__(self) -> None:
        expected = "a float in the range [0, 1] or a pair of them"
        translate = _pair("translate", self.translate, expected)
        _set(
            self,
            angle=_interval("angle", self.angle, -360.0, 360.0, around=True),
            translate=tuple(check_real("translate", t, expected, 0.0, 1.0) for t in translate),
            scale=_interval("scale", self.scale, 0.01, 100.0, around=False),
            shear=_interval("shear", self.shear, -80.0, 80.0, around=True),
            fill=_fill(self.fill),
        )


@dataclass(frozen=True)
class Elastic(_Described):
    """Displace every pixel by a smooth random field.

    The field is white noise smoothed by a Gaussian kernel, scaled so that every displacement, vertical and horizontal,
    is normal with standard deviation `alpha`, at the edge as in the middle, whatever `sigma` is.

    Parameters
    ----------
    alpha : float, default=1.0
        Standard deviation of the displacements, in pixels, in [0, 1000].
    sigma : float, default=4.0
        Standard deviation of the smoothing kernel, in pixels, in [0.01, 64]; the kernel is cut off at three of them.
    fill : float, default=0.0
        Value of what comes in from outside, in the units of the images.

    Raises
    ------
    ParameterError
        If a parameter is outside its range.

    Examples
    --------
    >>> import certssb as cs
    >>> X, y = cs.datasets.load_digits()
    >>> changed = cs.augment.Elastic(alpha=0.5, sigma=2.0)(X[:10], 3)
    >>> changed.shape, bool((changed == X[:10]).all())
    ((10, 1, 8, 8), False)
    """

    alpha: float = 1.0
    sigma: float = 4.0
    fill: float = 0.0

    def __post_init__(self) -> None:
        _set(
            self,
            alpha=check_real("alpha", self.alpha, "a float in the range [0, 1000]", 0.0, 1000.0),
            sigma=check_real("sigma", self.sigma, "a float in the range [0.01, 64]", 0.01, 64.0),
            fill=_fill(self.fill),
        )


@dataclass(frozen=True)
class Compose(Augmentation):
    """Several augmentations, one after another.

    Parameters
    ----------
    steps : sequence of Augmentation
        Applied in this order; nested at most 16 deep.

    Raises
    ------
    ParameterError
        If a step is not an augmentation.

    Examples
    --------
    >>> from certssb.augment import Compose, Elastic, Shift
    >>> Compose([Shift(1), Elastic()])
    Compose(steps=(Shift(pixels=(1, 1), fill=0.0), Elastic(alpha=1.0, sigma=4.0, fill=0.0)))
    """

    steps: Sequence[Augmentation] = ()

    def __post_init__(self) -> None:
        expected = "a sequence of augmentations"
        if not isinstance(self.steps, Sequence):
            raise parameter_error("steps", expected, shown(self.steps))
        for step in self.steps:
            if not isinstance(step, Augmentation):
                raise parameter_error("steps", expected, shown(step))
        _set(self, steps=tuple(self.steps))
        _core.Augmenter(self.to_json())

    def describe(self) -> dict[str, Any]:
        return {"kind": "compose", "steps": [step.describe() for step in self.steps]}


def checked(
    augment: Callable[[Array, np.random.Generator], Array],
    batch: Array,
    *,
    seed: int = 0,
    per_sample: bool = False,
) -> Callable[[Array, np.random.Generator], Array]:
    """Try a callable of your own on a batch, and return it if it keeps the rules.

    The result must be a new, finite array of the batch's shape and dtype, and the same again under a generator in the
    same state, even after the callable has seen another batch. A trial cannot find everything: a callable that breaks a
    rule only on other batches passes. Samples of one batch may be mixed, because a batch is one member's own noised
    samples; a callable must not remember samples from one call to the next, which would carry them between members.

    Parameters
    ----------
    augment : callable
        Called as ``augment(batch, rng)`` with a ``numpy.random.Generator``.
    batch : ndarray of shape (n, ...)
        What it is tried on, at least one sample. The callable gets copies.
    seed : int, default=0
        Seed of the generators of the trial.
    per_sample : bool, default=False
        Whether what becomes of a sample must also not depend on the other samples' values: this is tried with the
        others replaced by copies of the sample.

    Returns
    -------
    callable
        `augment` itself.

    Raises
    ------
    ParameterError
        If `augment` is not callable or breaks a rule; the message says which.

    Examples
    --------
    >>> import numpy as np
    >>> from certssb.augment import Shift, checked
    >>> batch = np.random.default_rng(0).random((8, 1, 6, 6))
    >>> checked(Shift(1), batch, per_sample=True)
    Shift(pixels=(1, 1), fill=0.0)
    >>> checked(lambda batch, rng: batch[:4], batch)
    Traceback (most recent call last):
    certssb.exceptions.ParameterError: The 'augment' parameter must be a callable that keeps the shape of its batch, (8, 1, 6, 6). Got (4, 1, 6, 6) instead.
    """
    if not callable(augment):
        raise parameter_error(
            "augment", "a callable that takes a batch and a numpy.random.Generator", shown(augment)
        )
    seed = check_seed("seed", seed)
    if not isinstance(batch, np.ndarray) or batch.ndim == 0 or len(batch) == 0:
        raise parameter_error("batch", "an array of at least one sample", shown(batch))
    once = tried(augment, batch, seed)
    tried(augment, np.ascontiguousarray(batch[::-1] * 0.5 + 0.25).astype(batch.dtype), seed + 1)
    if not np.array_equal(once, tried(augment, batch, seed)):
        raise parameter_error(
            "augment",
            "a callable that is reproducible: all randomness from the generator, no memory",
            "two results",
        )
    if per_sample:
        for place in range(min(len(batch), 4)):
            alone = tried(augment, np.repeat(batch[place : place + 1], len(batch), axis=0), seed)
            if not np.array_equal(once[place], alone[place]):
                raise parameter_error(
                    "augment",
                    "a callable that changes each sample by itself",
                    f"a different result for sample  {place} among other samples",
                )
    return augment


def _seed(rng: object) -> int:
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(2**64, dtype=np.uint64))
    if isinstance(rng, numbers.Integral) and not isinstance(rng, bool) and 0 <= int(rng) < 2**64:
        return int(rng)
    raise parameter_error("rng", _RNG, shown(rng))


def _pair(name: str, value: Any, expected: str) -> tuple[Any, Any]:
    """One number for both, or a pair."""
    if isinstance(value, numbers.Real):
        return value, value
    if isinstance(value, (tuple, list)) and len(value) == 2:
        return value[0], value[1]
    raise parameter_error(name, expected, shown(value))


def _interval(name: str, value: Any, low: float, high: float, *, around: bool) -> tuple[float, float]:
    """The pair (lowest, highest), or one number: the largest around 0, or the only one."""
    expected = f"a float in the range [{low:g}, {high:g}] or a pair (lowest, highest) of them"
    if around and isinstance(value, numbers.Real):
        expected = f"a float in the range [0, {high:g}] or a pair (lowest, highest) in [{low:g}, {high:g}]"
        largest = check_real(name, value, expected, 0.0, high)
        return 0.0 - largest, largest
    pair = _pair(name, value, expected)
    first, last = (check_real(name, number, expected, low, high) for number in pair)
    if first > last:
        raise parameter_error(name, expected, shown(value))
    return first, last


def _fill(value: object) -> float:
    return check_real("fill", value, "a float within the range of single precision", -_LARGEST, _LARGEST)


def _set(instance: object, **values: object) -> None:
    for name, value in values.items():
        # What is as it should be stays the same object, by which scikit-learn's clone knows that nothing was modified.
        if not _is_exactly(getattr(instance, name, None), value):
            object.__setattr__(instance, name, value)


def _is_exactly(given: object, value: object) -> bool:
    if type(given) is not type(value):
        return False
    if isinstance(given, tuple) and isinstance(value, tuple):
        return len(given) == len(value) and all(map(_is_exactly, given, value))
    return given is value or bool(given == value)


def from_description(description: dict[str, Any]) -> Augmentation:
    """Make an augmentation from its description.

    Parameters
    ----------
    description : dict
        What :meth:`Augmentation.describe` returned, even if it has been through JSON since.

    Returns
    -------
    Augmentation
        An equal augmentation.

    Raises
    ------
    ParameterError
        If it does not describe an augmentation.

    Examples
    --------
    >>> from certssb.augment import Shift, from_description
    >>> from_description(Shift(3).describe()) == Shift(3)
    True
    """
    expected = "what an augmentation's describe() returned"
    known: dict[Any, type[_Described]] = {
        kind.__name__.lower(): kind for kind in (Shift, Flip, Affine, Elastic)
    }
    values = dict(description) if isinstance(description, dict) else {}
    kind = values.pop("kind", None)
    try:
        if kind == "compose":
            return Compose([from_description(step) for step in values.pop("steps")], **values)
        return known[kind](**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})
    except (KeyError, TypeError) as error:
        raise parameter_error("description", expected, shown(description)) from error
