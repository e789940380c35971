"""The certified accuracy of a table: who is predicted right, and stays so."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from certssb._checks import parameter_error
from certssb.certificates._contents import Floats
from certssb.certificates._surviving import Surviving
from certssb.data._truth import are_equal, true_labels
from certssb.laws import Law, Partition, Subsample

if TYPE_CHECKING:
    from certssb.threats import Counted, Edits, Threat

__all__ = ["WithAccuracy"]


class WithAccuracy(Surviving):
    """Shares of samples, from true classes."""

    @overload
    def certified_accuracy(
        self, y_true: npt.ArrayLike, radii: npt.ArrayLike | None = ..., *, labels: bool = ...
    ) -> Any: ...
    @overload
    def certified_accuracy(
        self, y_true: npt.ArrayLike, *, n_poisoned: int, trigger_norm: npt.ArrayLike, labels: bool = ...
    ) -> Any: ...
    @overload
    def certified_accuracy(self, y_true: npt.ArrayLike, radii: Threat, /) -> Any: ...
    @overload
    def certified_accuracy(
        self,
        y_true: npt.ArrayLike,
        *,
        n_poisoned: int | None = ...,
        share: float | None = ...,
        trigger_norm: npt.ArrayLike | None = ...,
        labels: bool = ...,
        edits: Edits | None = ...,
        counted: Counted | None = ...,
        threat: Threat | None = ...,
    ) -> Any: ...
    def certified_accuracy(
        self,
        y_true: npt.ArrayLike,
        radii: npt.ArrayLike | Threat | None = None,
        *,
        n_poisoned: int | None = None,
        trigger_norm: npt.ArrayLike | None = None,
        labels: bool = False,
        share: float | None = None,
        edits: Edits | None = None,
        counted: Counted | None = None,
        threat: Threat | None = None,
    ) -> Any:
        """Share of samples that are predicted right and certified against a change.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            True classes; numbers of equal value are equal, whatever their types.
        radii : float, array-like or Threat
            Total L2 norms: a sample counts if its radius is *greater*. 0 counts every sample that is not an
            abstention. Or a threat.
        n_poisoned : int
            Number of changed samples, together with `trigger_norm`.
        trigger_norm : float or array-like
            L2 norm of the change of each sample.
        labels : bool, default=False
            Whether labels may change as well.
        share, edits, counted
            As for :class:`~certssb.Threat`; with `edits` the norm may be left out, for any change.
        threat : Threat, optional
            A threat by keyword.

        Returns
        -------
        float or ndarray
            One share per radius or trigger norm.

        Raises
        ------
        ParameterError
            If neither radii nor a budget is given, or both, or the law has no budget of that kind. If a true class is
            missing, or true classes are not of the kind that was predicted (strings, numbers, booleans).
        ShapeError
            If there is not one true class per sample.

        Examples
        --------
        >>> import numpy as np
        >>> import certssb as cs
        >>> certs = cs.certify_votes(np.ones((1000, 4), int), cs.Gaussian(1.0), n_train=100, n_classes=2)
        >>> certs.certified_accuracy([1, 1, 1, 0], n_poisoned=4, trigger_norm=1.0)
        0.75
        >>> certs.certified_accuracy([1, 1, 1, 0], cs.Threat(share=0.04, trigger_norm=1.0))
        0.75
        """
        from certssb.threats import Threat

        correct = self._correct(y_true)
        if isinstance(radii, Threat) or threat is not None:
            both = [
                name for name, given in (("n_poisoned", n_poisoned), ("trigger_norm", trigger_norm)) if given
            ]
            if both or (threat is not None and radii is not None):
                raise parameter_error(both[0] if both else "radii", "left out beside a threat", "both")
            first = radii if threat is None else None
            budget = self._threat(first, threat, share, None, labels, edits, counted)
            return float(
                self._core.accuracy_within(correct, budget.asked(), np.array([budget.trigger_norm]))[0]
            )
        others = [value for value in (share, edits) if value is not None]
        counts = n_poisoned is not None or bool(others)
        if counts and trigger_norm is None and (others or not _limits_norms(self.law)):
            trigger_norm = math.inf
        if (radii is None) != counts or counts != (trigger_norm is not None):
            raise parameter_error(
                "radii",
                "given alone, or else both n_poisoned and trigger_norm",
                f"radii={radii!r}, n_poisoned={n_poisoned!r}, trigger_norm={trigger_norm!r}",
            )
        if not counts:
            sizes = _sizes("radii", radii)
            shares = self._core.accuracy_at_radii(correct, np.ascontiguousarray(sizes.ravel()))
        else:
            sizes = _sizes("trigger_norm", trigger_norm)
            budget = self._threat(n_poisoned, None, share, None, labels, edits, counted)
            shares = self._core.accuracy_within(correct, budget.asked(), np.ascontiguousarray(sizes.ravel()))
        return float(shares[0]) if sizes.ndim == 0 else shares.reshape(sizes.shape)

    def _correct(self, y_true: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        truth = true_labels(y_true, len(self))
        correct = are_equal(self.prediction, truth)
        if len(truth) and not correct.any():
            classes = np.arange(self._core.n_classes) if self._classes is None else self._classes
            if not np.isin(truth, classes).any():
                warnings.warn(
                    f"None of the true classes, such as {truth[:1].tolist()[0]!r}, is one of those that can be predicted, such as "
                    f"{classes[:1].tolist()[0]!r}: every sample counts as predicted wrong. Are they numbered or spelt in another way?",
                    stacklevel=3,
                )
        return correct


def _limits_norms(law: Law) -> bool:
    """Whether it makes a difference under a law by how much a counted sample was changed."""
    return not isinstance(law, Partition) and not (isinstance(law, Subsample) and law.inner is None)


def _sizes(name: str, values: Any) -> Floats:
    try:
        return np.asarray(values, dtype=np.float64)
    except OverflowError:
        expected = "a float of at least 0, or an array of them"
        raise parameter_error(name, expected, "a number beyond every float") from None
    except (TypeError, ValueError):
        raise parameter_error(name, "a float of at least 0, or an array of them", repr(values)) from None
