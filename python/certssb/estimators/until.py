"""When an ensemble that grows by itself has grown enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from certssb._checks import check_integer, check_real, parameter_error, shown
from certssb.threats import Threat

__all__ = ["Until"]


@dataclass(frozen=True)
class Until:
    """Goal of ``CertifiedClassifier(n_members="auto").fit(X, y, until=...)``.

    Members are added until the certificate at a budget is decided for a share of the given samples. A sample is
    decided if it is certified, or if more members could hardly certify it because even the upper bound from the votes
    would not be enough.

    Parameters
    ----------
    X : array-like
        Samples to be certified, of the shape of the training samples.
    n_poisoned : int, optional
        Largest number of changed training samples; left out if a threat is given.
    trigger_norm : float, optional
        Largest L2 norm of the change of each; ``inf``, the default, for any change.
    labels : bool, default=False
        Whether labels may change as well.
    share : float, default=0.95
        Share of the samples that have to be decided, in (0, 1].
    max_members : int, default=10000
        Where to stop in any case.
    first : int, default=100
        Members before the first look; before each later look, half as many again are added.
    threat : Threat, optional
        What the attacker may have done, instead of `n_poisoned`, `trigger_norm` and `labels`.

    Raises
    ------
    ParameterError
        If a value is out of range.

    Examples
    --------
    >>> import certssb as cs
    >>> X, y = cs.datasets.load_digits(classes=(0, 1))
    >>> law = cs.Subsample(cs.Gaussian(0.5), size=50)
    >>> clf = cs.CertifiedClassifier("linear", law, n_members="auto",
    ...                              learning_rate=0.03, seed=0, progress=False)
    >>> goal = cs.Until(X[300:], n_poisoned=3, trigger_norm=0.5, share=0.9)
    >>> certs = clf.fit(X[:300], y[:300], until=goal).certify(X[300:])
    >>> clf.decided_ >= 0.9, "however often members were added" in certs.guarantee
    (True, True)
    """

    X: Any
    n_poisoned: int | None = None
    trigger_norm: float | None = None
    labels: bool = False
    share: float = 0.95
    max_members: int = 10_000
    first: int = 100
    threat: Threat | None = None

    def __post_init__(self) -> None:
        if self.n_poisoned is not None:
            check_integer("n_poisoned", self.n_poisoned, "an integer of at least 0", 0)
        self._threat  # noqa: B018 - what is wrong with it is said here
        check_real("share", self.share, "a float in the range (0, 1]", 5e-324, 1.0)
        check_integer("first", self.first, "an integer of at least 1", 1)
        check_integer("max_members", self.max_members, "an integer of at least 'first'", self.first)

    @property
    def _threat(self) -> Threat:
        """The threat, or the one that the keywords build."""
        if self.threat is None:
            norm = float("inf") if self.trigger_norm is None else self.trigger_norm
            return Threat(self.n_poisoned, trigger_norm=norm, labels=self.labels)
        if not isinstance(self.threat, Threat):
            raise parameter_error("threat", "a Threat", shown(self.threat))
        for name in ("n_poisoned", "trigger_norm"):
            if getattr(self, name) is not None:
                raise parameter_error(name, "left out beside a threat, which says it", "both")
        if self.labels:
            raise parameter_error("labels", "left out beside a threat, which says it", "both")
        return self.threat
