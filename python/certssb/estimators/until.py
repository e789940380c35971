"""When an ensemble that grows by itself has grown enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from certssb._checks import check_integer, check_real

__all__ = ["Until"]


@dataclass(frozen=True)
class Until:
    """Goal of ``CertifiedClassifier(n_members="auto").fit(X, y, until=...)``.

    Members are added until the certificate at a budget is decided for a share of the given samples: certified, or
    beyond hope because even the upper end of what the votes allow would not be enough.

    Parameters
    ----------
    X : array-like
        Samples to be certified, of the shape of the training samples.
    n_poisoned : int
        Number of changed training samples, at most.
    trigger_norm : float
        L2 norm of the change of each, at most; ``inf`` for any change.
    labels : bool, default=False
        Whether labels may change as well.
    share : float, default=0.95
        Share of the samples that have to be decided, in (0, 1].
    max_members : int, default=10000
        Where to stop in any case.
    first : int, default=100
        Members before the first look; from then on half as many again before each.

    Raises
    ------
    ParameterError
        If a value is out of range.

    Examples
    --------
    >>> import certssb as cs
    >>> X, y = cs.datasets.load_digits(classes=(0, 1))
    >>> clf = cs.CertifiedClassifier("linear", cs.Subsample(cs.Gaussian(0.5), size=50), n_members="auto",
    ...                              learning_rate=0.03, seed=0, progress=False)
    >>> goal = cs.Until(X[300:], n_poisoned=3, trigger_norm=0.5, share=0.9)
    >>> certs = clf.fit(X[:300], y[:300], until=goal).certify(X[300:])
    >>> clf.decided_ >= 0.9, "however often members were added" in certs.guarantee
    (True, True)
    """

    X: Any
    n_poisoned: int
    trigger_norm: float
    labels: bool = False
    share: float = 0.95
    max_members: int = 10_000
    first: int = 100

    def __post_init__(self) -> None:
        check_integer("n_poisoned", self.n_poisoned, "an integer of at least 0", 0)
        check_real("trigger_norm", self.trigger_norm, "a float of at least 0", 0.0, float("inf"))
        check_real("share", self.share, "a float in the range (0, 1]", 5e-324, 1.0)
        check_integer("first", self.first, "an integer of at least 1", 1)
        check_integer("max_members", self.max_members, "an integer of at least 'first'", self.first)
