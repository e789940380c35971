"""The wavelet scattering transform, which the core computes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from certssb import _core
from certssb._checks import check_integer, parameter_error, shape_error
from certssb.data import as_features
from certssb.features._maps import FeatureMap, Features


@dataclass(frozen=True)
class Scattering(FeatureMap):
    """The wavelet scattering transform: features of images that are stable under shifts and small deformations.

    Images are filtered by Morlet wavelets of `J` scales and as many `angles`, the moduli are filtered again by wavelets of
    coarser scales, and everything is averaged over windows of 2^J pixels (Mallat 2012; Bruna and Mallat 2013). Nothing is
    trained. The filters are those of the literature's software; images whose sides are not multiples of 2^J are padded
    with zeros.

    Lipschitz constant 1 in its plain form: a modulus lengthens no difference, and the filters of each layer are scaled
    so that their Littlewood-Paley sum, including the aliases that subsampling causes, is at most 1 at every
    frequency. Up to the rounding of float32. With `root` or `normalize`, which help small members a great deal, there
    is no such constant: these are for laws that count samples, such as ``Subsample(size=30)``, and are refused where a
    law measures changes.

    Parameters
    ----------
    J : int, default=2
        Scales: features are averages over windows of 2^J x 2^J pixels, from 1 to 10. Images must be as large as that.
    angles : int, default=8
        Wavelets of each scale, from 1 to 64.
    order : {1, 2}, default=2
        Number of moduli in succession: 1 gives 1 + J L features for each window and channel with L angles, 2 gives L^2
        J (J - 1) / 2 more.
    root : bool, default=False
        Whether each value v becomes sign(v) sqrt(abs(v)).
    normalize : bool, default=False
        Whether the features of each image are divided by their L2 norm.

    Raises
    ------
    ParameterError
        If a parameter is outside its range.

    Examples
    --------
    >>> import certssb as cs
    >>> X, y = cs.datasets.load_digits()
    >>> cs.features.Scattering(J=1, angles=4)(X).shape
    (1797, 5, 4, 4)
    >>> cs.features.Scattering(J=2, angles=8)(X).shape
    (1797, 81, 2, 2)
    """

    rows_alone = True

    J: int = 2
    angles: int = 8
    order: int = 2
    root: bool = False
    normalize: bool = False

    def __post_init__(self) -> None:
        for name, expected, high in (
            ("J", "an integer from 1 to 10", 10),
            ("angles", "an integer from 1 to 64", 64),
            ("order", "1 or 2", 2),
        ):
            value = check_integer(name, getattr(self, name), expected, 1)
            if value > high:
                raise parameter_error(name, expected, value)
            object.__setattr__(self, name, value)
        for name in ("root", "normalize"):
            if not isinstance(getattr(self, name), (bool, np.bool_)):
                raise parameter_error(name, "True or False", repr(getattr(self, name)))
            object.__setattr__(self, name, bool(getattr(self, name)))
        if self.root or self.normalize:
            object.__setattr__(self, "lipschitz", math.inf)

    def __call__(self, X: Features) -> Features:
        """Features of images.

        Parameters
        ----------
        X : array-like of shape (n_samples, channels, height, width) or (n_samples, height, width)
            Images of any kind that estimators take: uint8 is divided by 255, and so on.

        Returns
        -------
        ndarray of float32, of shape (n_samples, channels * n_paths, ceil(height / 2^J), ceil(width / 2^J))
            All paths of the first channel, then those of the next; for each channel the average of the image, then the
            averages of the first moduli by scale and angle, then those of the second.

        Raises
        ------
        ParameterError, ShapeError
            If `X` does not hold finite images of at least 2^J x 2^J pixels.
        """
        if not (isinstance(X, np.ndarray) and X.dtype == np.float32 and X.ndim == 4):
            X = as_features(X)
        if X.ndim != 4:
            raise shape_error(
                "X", "the shape (n_samples, channels, height, width) for a map of images", f"shape {X.shape}"
            )
        if not np.isfinite(X).all():
            raise parameter_error("X", "finite numbers", "NaN or infinity")
        transform = _transform(self.J, self.angles, self.order, self.root, self.normalize)
        return transform.apply(X)

    def describe(self) -> str:
        """The map in a few words, for guarantees.

        Returns
        -------
        str
            A few words.

        Examples
        --------
        >>> import certssb as cs
        >>> cs.features.Scattering(2, 8, normalize=True).describe()
        'a wavelet scattering transform of order 2 with 2 scales and 8 angles, each image divided by its norm'
        """
        scales, angles = _many(self.J, "scale"), _many(self.angles, "angle")
        after = [", roots of its values"] * self.root + [", each image divided by its norm"] * self.normalize
        return (
            f"a wavelet scattering transform of order {self.order} with {scales} and {angles}{''.join(after)}"
        )


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


@lru_cache(maxsize=16)
def _transform(J: int, angles: int, order: int, root: bool, normalize: bool) -> _core.Scattering:
    """Filters take longer to make than an image to transform; what keeps them is asked for again and again."""
    return _core.Scattering(J, angles, order, root, normalize)
