"""What the predictions of a table survive: threats, and the largest norms and numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from certssb._checks import parameter_error
from certssb.certificates._budget import Budget, check_budget, check_count, check_labels
from certssb.certificates._contents import Contents, Floats

if TYPE_CHECKING:
    from certssb.threats import Counted, Edits, Threat

__all__ = ["Surviving"]


class Surviving(Contents):
    """Asks the core what holds within a budget, and how large one may be."""

    def holds(
        self,
        n_poisoned: int | Threat | None = None,
        trigger_norm: float | None = None,
        labels: bool = False,
        *,
        share: float | None = None,
        edits: Edits | None = None,
        counted: Counted | None = None,
        threat: Threat | None = None,
    ) -> npt.NDArray[np.bool_]:
        """Whether each prediction survives a threat, or the change of the training set that keywords describe.

        Parameters
        ----------
        n_poisoned : int or Threat
            A threat, or the number of training samples changed, at most.
        trigger_norm : float, default=inf
            L2 norm of the change of each, at most, in the units of the features; ``inf`` for any change.
        labels : bool, default=False
            Whether the labels of the changed samples may be any as well.
        share, edits, counted
            As for :class:`~certssb.Threat`, which the keywords build: a share in place of a number; insertions and
            deletions.
        threat : Threat, optional
            A threat by keyword.

        Returns
        -------
        ndarray of bool, shape (n_samples,)

        Raises
        ------
        ParameterError
            If a value is out of range, or the law says nothing about such changes.

        Examples
        --------
        >>> import numpy as np
        >>> import certssb as cs
        >>> votes = np.array([[1, 0]] * 990 + [[1, 1]] * 10)  # 1000 members, two test samples
        >>> certs = cs.certify_votes(votes, cs.Gaussian(sigma=0.5), n_train=12665, n_classes=2)
        >>> certs.holds(n_poisoned=4, trigger_norm=0.5)
        array([ True, False])
        >>> bag = cs.certify_votes(votes, cs.Subsample(size=30), n_train=12665, n_classes=2)
        >>> bag.holds(cs.Threat(n_poisoned=280, edits="any"))
        array([ True, False])
        """
        return self._answers(
            self._threat(n_poisoned, threat, share, trigger_norm, labels, edits, counted),
        )

    def _threat(
        self, first: Any, threat: Any, share: Any, trigger_norm: Any, labels: Any, edits: Any, counted: Any
    ) -> Budget:
        """The budget of a threat, or of the one that keywords build; `first` is a threat, or a number."""
        from certssb.threats import Threat, asked_threat

        labels = check_labels(labels)
        if isinstance(first, Threat):
            if threat is not None:
                raise parameter_error("threat", "left out beside another one", "two of them")
            first, threat = None, first
        parts = {"share": share, "trigger_norm": trigger_norm, "edits": edits, "counted": counted}
        budget = asked_threat(threat, self.n_train, n_poisoned=first, labels=labels, **parts)
        if budget.n_poisoned is None:
            raise parameter_error("share", "left out, as the number of training samples is unknown", "one")
        return budget

    def statement(self, threat: Threat) -> str:
        """One sentence to quote: what is guaranteed about the predictions for which :meth:`holds` is True.

        Parameters
        ----------
        threat : Threat
            What the attacker may have done.

        Returns
        -------
        str
            Who may have done what to which samples, how it is counted, and with what probability it changes nothing.

        Raises
        ------
        ParameterError
            If the law says nothing about such threats.

        Examples
        --------
        >>> import certssb as cs
        >>> certs = cs.certify_votes([[1]] * 1000, cs.Subsample(rate=0.01), n_train=5000, n_classes=2)
        >>> certs.statement(cs.Threat(n_poisoned=20, edits="any"))[159:370]
        'a sample that is certified against this threat is the same for every training set that the received one becomes, or that became the received one, when at most 20 samples are changed, removed or added, in any mix'
        """
        return self._core.statement(self._threat(threat, None, None, None, False, None, None).asked())

    def trigger_norm(
        self,
        n_poisoned: int | None = None,
        labels: bool = False,
        *,
        edits: Edits | None = None,
        counted: Counted | None = None,
    ) -> Floats:
        """The largest trigger norm each prediction survives on `n_poisoned` samples.

        Parameters
        ----------
        n_poisoned : int
            Largest number of training samples changed; left out if `edits` has the numbers.
        labels : bool, default=False
            Whether the labels of the changed samples may be any as well.
        edits, counted
            As for :class:`~certssb.Threat`: with a dict, the norm is that of the modified samples.

        Returns
        -------
        ndarray of float64, shape (n_samples,)
            L2 norm per changed sample, rounded down; ``inf`` if the prediction survives any trigger, 0 if nothing is
            certified.

        Raises
        ------
        ParameterError
            If a value is out of range, or the law says nothing about such changes.

        Examples
        --------
        >>> import numpy as np
        >>> import certssb as cs
        >>> votes = np.array([[1, 0]] * 990 + [[1, 1]] * 10)  # 1000 members, two test samples
        >>> certs = cs.certify_votes(votes, cs.Subsample(cs.Gaussian(1.0), size=100), n_train=12665, n_classes=2)
        >>> certs.trigger_norm(n_poisoned=100).round(2)
        array([3.23, 2.73])
        """
        sizes = {} if n_poisoned is None else {"n_poisoned": n_poisoned}
        budget = check_budget(labels, edits, counted, **sizes)
        if budget.n_poisoned is None:
            raise parameter_error("n_poisoned", "an integer of at least 0", "None")
        return self._answers(budget)

    def n_poisoned(
        self,
        trigger_norm: float | None = None,
        labels: bool = False,
        *,
        edits: Edits | None = None,
        counted: Counted | None = None,
    ) -> npt.NDArray[np.int64]:
        """The largest number of changed samples each prediction survives at `trigger_norm` (``inf``: any trigger).

        Parameters
        ----------
        trigger_norm : float, default=inf
            L2 norm of the change of each, at most, in the units of the features; ``inf`` for any change. Left out under a
            :class:`~certssb.Partition`: any change, labels included.
        labels : bool, default=False
            Whether the labels of the changed samples may be any as well.
        edits, counted
            As for :class:`~certssb.Threat`: which edits are counted, modifications in place by default.

        Returns
        -------
        ndarray of int64, shape (n_samples,)

        Raises
        ------
        ParameterError
            If a value is out of range, or the law says nothing about such changes.

        Examples
        --------
        >>> import numpy as np
        >>> import certssb as cs
        >>> votes = np.array([[1, 0]] * 990 + [[1, 1]] * 10)  # 1000 members, two test samples
        >>> certs = cs.certify_votes(votes, cs.Subsample(cs.Gaussian(1.0), size=100), n_train=12665, n_classes=2)
        >>> certs.n_poisoned(trigger_norm=2.5)
        array([137, 107])
        >>> certs.n_poisoned(edits="any"), certs.n_poisoned(edits="inserted")
        (array([85, 81]), array([86, 84]))
        """
        if trigger_norm is None and self.election is not None:
            labels = True
        norm = math.inf if trigger_norm is None else trigger_norm
        budget = check_budget(labels, edits, counted, trigger_norm=norm)
        if budget.numbers is not None:
            raise parameter_error(
                "edits", "one kind of edit, or 'any', where a number is asked for", repr(edits)
            )
        return self._answers(budget)

    def _answers(self, budget: Budget) -> npt.NDArray[Any]:
        """What each prediction survives: yes or no where all of `budget` is given, else the largest of what is open."""
        if budget.trigger_norm is None:
            return self._core.trigger_norm(budget.asked())
        if budget.n_poisoned is None:
            return self._core.n_poisoned(budget.asked())
        return self._core.holds(budget.asked())

    def n_flips(self) -> npt.NDArray[np.int64]:
        """The largest number of changed entries each prediction survives, under :class:`~certssb.Discrete`.

        Returns
        -------
        ndarray of int64, shape (n_samples,)

        Raises
        ------
        ParameterError
            If the law does not count entries.

        Examples
        --------
        >>> import numpy as np
        >>> import certssb as cs
        >>> votes = np.array([[1, 0]] * 990 + [[1, 1]] * 10)  # 1000 members, two test samples
        >>> certs = cs.certify_votes(votes, cs.Discrete(keep=0.8), n_train=12665, n_classes=2)
        >>> certs.n_flips()
        array([3, 2])
        """
        return self._core.n_flips()

    def frontier(
        self,
        n_poisoned: npt.ArrayLike,
        labels: bool = False,
        *,
        edits: Edits | None = None,
        counted: Counted | None = None,
    ) -> Floats:
        """:meth:`trigger_norm` for many counts at once.

        Parameters
        ----------
        n_poisoned : array-like of int, shape (n_counts,)
            Numbers of changed samples.
        labels : bool, default=False
            Whether labels may change as well.
        edits, counted
            As for :class:`~certssb.Threat`. For edits other than modifications, norms have no meaning: the result is
            0 or infinite.

        Returns
        -------
        ndarray of float64, shape (n_samples, n_counts)

        Raises
        ------
        ParameterError
            If a value is out of range, or the law says nothing about such changes.

        Examples
        --------
        >>> import numpy as np
        >>> import certssb as cs
        >>> votes = np.array([[1, 0]] * 990 + [[1, 1]] * 10)  # 1000 members, two test samples
        >>> certs = cs.certify_votes(votes, cs.Subsample(cs.Gaussian(1.0), size=100), n_train=12665, n_classes=2)
        >>> certs.frontier([10, 100]).round(1)
        array([[inf, 3.2],
               [inf, 2.7]])
        """
        counts = np.array(
            [check_count("n_poisoned", r) for r in np.ravel(np.asarray(n_poisoned))], dtype=np.int64
        )
        budget = check_budget(labels, edits, counted)
        if budget.numbers is not None:
            raise parameter_error("edits", "one kind of edit, or 'any', for many numbers", repr(edits))
        return self._core.frontier(counts, budget.asked())
