"""What a feature map is, and the trial of one before training."""

from __future__ import annotations

import copy
import threading
import warnings
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from certssb import _core
from certssb._checks import parameter_error
from certssb._core import Rows

Features: TypeAlias = npt.NDArray[np.float32]


class FeatureMap(ABC):
    """A fixed map of samples.

    A map that lengthens no change (a Lipschitz constant of 1 or less in the L2 norm) can be used with every law. The
    author of a map is responsible for the proof: nothing here can check it, and certificates name the map. A map with
    a larger `lipschitz`, or ``math.inf`` if it has no constant, can be used with laws that count samples, such as
    ``Subsample(size=30)``. Before training, a map is tried on a few samples, alone and together, in a different order
    and twice. It is refused if its values depend on other samples (as with standardisation over the batch) or on
    earlier calls. Estimators keep their own copy.

    Attributes
    ----------
    lipschitz : float
        A proven Lipschitz constant, 1 unless it is set; ``math.inf`` if there is none.
    rows_alone : bool
        Whether the features of a sample are the same to the last bit whatever samples it is mapped together with.
        Sums in libraries seldom are, so it is False by default; laws under which members see only some of the samples
        (:class:`~certssb.Subsample`, :class:`~certssb.Partition`) then map training samples one at a time. If it is
        True, the trial compares bits.

    Examples
    --------
    >>> import numpy as np
    >>> import certssb as cs
    >>> class Mirror(cs.features.FeatureMap):
    ...     def __call__(self, X):
    ...         return np.ascontiguousarray(X[..., ::-1])  # a permutation keeps every distance
    ...     def describe(self):
    ...         return "a mirror"
    >>> X, y = cs.datasets.load_digits()
    >>> Mirror()(X).shape
    (1797, 1, 8, 8)
    """

    lipschitz: float = 1.0
    rows_alone = False
    trusted: tuple[str, ...] = ()
    """Names of encoders that guarantees trust."""

    @abstractmethod
    def __call__(self, X: Features) -> Features:
        """Map samples to features.

        Parameters
        ----------
        X : ndarray of float32, shape (n_samples, ...)
            Samples: tables or images. Not changed.

        Returns
        -------
        ndarray of float32, shape (n_samples, ...)
            Their features, in an array of its own: one entry for each sample, in the same order.
        """

    def _one_by_one(self, X: Features) -> Features:
        """Each sample mapped by itself, so that no bit of it depends on the others."""
        return np.concatenate([mapped(self, X[i : i + 1]) for i in range(len(X))])

    @abstractmethod
    def describe(self) -> str:
        """The map in a few words, for guarantees.

        Returns
        -------
        str
            A few words.

        Examples
        --------
        >>> import certssb as cs
        >>> cs.features.AveragePool(2).describe()
        'averages over 2 x 2 blocks times 2'
        """

    def before_noise(self) -> str:
        """What guarantees say: follows "Each sample first passes".

        Returns
        -------
        str
            Part of a sentence.

        Examples
        --------
        >>> import certssb as cs
        >>> cs.features.AveragePool(2).before_noise()[:61]
        'averages over 2 x 2 blocks times 2, a map that is fixed in ad'
        """
        if self.trusted:
            return (
                f"{self.describe()}. The guarantee trusts {' and '.join(self.trusted)}: it holds provided that nobody "
                "who changed the data had a hand in it. Where it measures changes, it measures those of the features "
                "that come out, which says nothing of how far the samples moved"
            )
        if not self.lipschitz <= 1.0:
            return (
                f"{self.describe()}, a map that is fixed in advance and may lengthen changes, so that what is certified "
                "is how many samples may change, and no norm of their changes"
            )
        return (
            f"{self.describe()}, a map that is fixed in advance and lengthens no change (Lipschitz constant "
            f"{self.lipschitz:g}), so that norms are in the units of the samples as they came"
        )


_FIXED = "a map that is fixed in advance, so that what it makes of a sample depends on that sample alone"


def checked_map(given: object, X: Rows | Features, law: _core.Law) -> FeatureMap | None:
    """The estimator's own copy of a map, tried on a few samples: alone and together, in another order, and twice.

    Every question goes to a copy that was asked nothing before, so that a map which remembers what it saw first is
    told from one that remembers nothing.
    """
    if given is None:
        return None
    if not isinstance(given, FeatureMap):
        raise parameter_error(
            "features",
            "None or a map of certssb.features, such as Trusted(encoder, name) around a fitted transformer",
            repr(given),
        )
    if not given.lipschitz >= 0.0:
        expected = "a map whose Lipschitz constant is 0 or more, and math.inf if it has none"
        raise parameter_error("features", expected, f"one of {given.lipschitz}")
    if given.lipschitz > 1.0 and not given.trusted and _core.measures_features(law):
        expected = (
            "a map with a Lipschitz constant of at most 1, which lengthens no change, where the law measures changes; "
            "laws that count samples, such as Subsample(size=30), take any map"
        )
        raise parameter_error("features", expected, f"one of {given.lipschitz:g} and the law {law!r}")
    if _counts_entries(law) and not given.trusted:
        # A map may turn one changed entry into several, however short it keeps changes.
        raise parameter_error(
            "features", "None under a law that counts changed entries", f"one and the law {law!r}"
        )
    own = copy.deepcopy(given)
    chosen = np.unique(np.linspace(0, len(X) - 1, 16).astype(np.int64))
    rows = X[chosen] if isinstance(X, np.ndarray) else X.take(chosen)
    together = _fresh(own, rows)
    _compare(own, together, _fresh(own, rows), chosen, "when it is asked again")
    backwards = _fresh(own, rows[::-1])[::-1]
    _compare(own, together, backwards, chosen, "when samples come in another order")
    few = np.unique(np.linspace(0, len(rows) - 1, 4).astype(np.int64))
    alone = np.concatenate([_fresh(own, rows[i : i + 1]) for i in few])
    _compare(own, together[few], alone, chosen[few], "alone than among others")
    worn = copy.deepcopy(own)
    mapped(worn, rows[:1])
    _compare(own, together, mapped(worn, rows), chosen, "after it was asked about another")
    return own


def mapped(
    feature_map: FeatureMap, X: Features, ask: Callable[[Features], Features] | None = None
) -> Features:
    """The features of X, by `ask` if it is not the map itself: float32, as many as samples, finite; X is left as it is."""
    before = zlib.crc32(np.ascontiguousarray(X).data)
    view = X.view()
    view.setflags(write=False)
    try:
        with warnings.catch_warnings():
            # torch says so of every array that must not be written to.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            out = np.asarray((ask or feature_map)(view))
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        got = f"{type(feature_map).__name__}, which writes to it"
        raise parameter_error("features", "a map that leaves its input as it is", got) from error
    if zlib.crc32(np.ascontiguousarray(X).data) != before:
        got = f"{type(feature_map).__name__}, which writes to it"
        raise parameter_error("features", "a map that leaves its input as it is", got)
    if out.dtype.kind != "f" or out.ndim not in (2, 4) or len(out) != len(X) or out.size == 0:
        expected = f"a map to floats of shape ({len(X)}, n_features) or ({len(X)}, channels, height, width) for {len(X)} samples"
        got = f"{type(feature_map).__name__}, which returns shape {out.shape} of type {out.dtype}"
        raise parameter_error("features", expected, got)
    with np.errstate(over="ignore"):
        features = np.ascontiguousarray(out, dtype=np.float32)
    finite = np.isfinite(features).reshape(len(features), -1).all(axis=1)
    if not finite.all():
        got = f"{type(feature_map).__name__}, which returns NaN or infinity for sample {int(finite.argmin())}"
        raise parameter_error("features", "a map to finite numbers", got)
    return features


class OfRows:
    """A map as training calls it for changed copies of a member's own samples: flat rows in, flat rows of features out.

    All rows of a call are one member's, so that nothing is lost if their last bits depend on one another. Members are trained
    side by side, and a map of somebody else's is asked by one at a time.
    """

    def __init__(self, feature_map: FeatureMap, shape: tuple[int, ...]) -> None:
        self._map, self._shape, self._turn = feature_map, shape, threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return OfRows, (self._map, self._shape)

    def __call__(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        rows = values.reshape(-1, *self._shape)
        with self._turn:
            return mapped(self._map, rows).reshape(-1)


def _counts_entries(law: _core.Law) -> bool:
    return any(isinstance(part, _core.Discrete) for part in [law, *law.get_params(deep=True).values()])


def _fresh(feature_map: FeatureMap, rows: Features) -> Features:
    return mapped(copy.deepcopy(feature_map), np.ascontiguousarray(rows))


def _compare(
    feature_map: FeatureMap, one: Features, other: Features, samples: npt.NDArray[np.int64], when: str
) -> None:
    """Refuse values that differ by more than the rounding of another order of summation, or at all where that is claimed."""
    name = type(feature_map).__name__
    if one.shape != other.shape:
        raise parameter_error("features", _FIXED, f"{name}, which gives samples another shape {when}")
    apart = np.abs(one - other).reshape(len(one), -1).max(axis=1)
    allowed = 1e-4 * np.abs(one).reshape(len(one), -1).max(axis=1) + 1e-6
    if feature_map.rows_alone and one.tobytes() != other.tobytes() and (apart <= allowed).all():
        expected = (
            "a map with rows_alone=False, or one that gives a sample the same bits whatever comes with it"
        )
        raise parameter_error("features", expected, f"{name}, whose last bits differ {when}")
    if (apart > allowed).any():
        worst = int((apart - allowed).argmax())
        got = f"{name}, which gives sample {samples[worst]} other values {when}, by up to {apart[worst]:.3g}"
        raise parameter_error("features", _FIXED, got)
