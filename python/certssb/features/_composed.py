"""Feature maps one after another."""

from __future__ import annotations

import math
from dataclasses import dataclass

from certssb._checks import parameter_error
from certssb.features._maps import FeatureMap, Features, mapped


@dataclass(frozen=True)
class Composed(FeatureMap):
    """Several maps in succession, made by :func:`compose`; the Lipschitz constant is the product of theirs.

    Parameters
    ----------
    maps : tuple of FeatureMap
        At least one, in the order in which samples pass them.

    Raises
    ------
    ParameterError
        If there is none, or one is not a feature map.

    Examples
    --------
    >>> import certssb as cs
    >>> cs.features.Composed((cs.features.AveragePool(2), cs.features.Cosine(3))).lipschitz
    1.0
    """

    maps: tuple[FeatureMap, ...]

    def __post_init__(self) -> None:
        given = tuple(self.maps) if isinstance(self.maps, (tuple, list)) else ()
        if not given or not all(isinstance(one, FeatureMap) for one in given):
            raise parameter_error("maps", "one or more maps of certssb.features", repr(self.maps))
        constants = [one.lipschitz for one in given]
        # An unbounded one stays unbounded, whatever is beside it.
        whole = math.inf if math.inf in constants else math.prod(constants)
        object.__setattr__(self, "maps", given)
        object.__setattr__(self, "lipschitz", whole)
        object.__setattr__(self, "rows_alone", all(one.rows_alone for one in given))
        object.__setattr__(self, "trusted", tuple(name for one in given for name in one.trusted))

    def __call__(self, X: Features) -> Features:
        for one in self.maps:
            X = mapped(one, X)
        return X

    def _one_by_one(self, X: Features) -> Features:
        for one in self.maps:
            X = mapped(one, X) if one.rows_alone else one._one_by_one(X)
        return X

    def describe(self) -> str:
        """The maps in a few words, for guarantees.

        Returns
        -------
        str
            A few words.

        Examples
        --------
        >>> import certssb as cs
        >>> cs.features.compose(cs.features.AveragePool(2), cs.features.Cosine(3)).describe()[:54]
        'averages over 2 x 2 blocks times 2, then an orthonorma'
        """
        return ", then ".join(one.describe() for one in self.maps)


def compose(*maps: FeatureMap) -> FeatureMap:
    """Combine several maps in succession into one.

    Parameters
    ----------
    *maps : FeatureMap
        At least one, in the order in which samples pass them.

    Returns
    -------
    FeatureMap
        Their composition; its Lipschitz constant is the product of theirs, and it trusts what they trust.

    Raises
    ------
    ParameterError
        If there is none, or one is not a feature map.

    Examples
    --------
    >>> import certssb as cs
    >>> X, y = cs.datasets.load_digits()
    >>> both = cs.features.compose(cs.features.AveragePool(2), cs.features.Scattering(J=1, angles=4))
    >>> both(X).shape
    (1797, 5, 2, 2)
    """
    return Composed(maps)
