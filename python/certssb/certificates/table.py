"""The table of certificates: one row per test sample, and the sentence that says what they guarantee."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from certssb import _core
from certssb._checks import frozen, parameter_error
from certssb._extras import needed
from certssb.certificates import _file
from certssb.certificates._budget import Budget, asked_budget, check_budget, check_count, check_labels
from certssb.certificates._printed import Shown
from certssb.certificates._row_numbers import row_numbers
from certssb.data._truth import are_equal, true_labels
from certssb.laws import Law
from certssb.storage import _files

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from certssb.threats import Counted, Edits, Threat

__all__ = ["CertificateTable"]

Floats = npt.NDArray[np.float64]


class CertificateTable:
    """Certificates of test samples. Made by ``certify``, :func:`certify_votes` or :func:`certify_scores`.

    A table has a length, can be sliced by rows, compared, copied and pickled. A pickle holds what :meth:`save` writes
    and is checked like a file.

    Attributes
    ----------
    prediction : ndarray of shape (n_samples,)
        The ensemble's class, always a class; int64 class numbers, or labels as `y` held them.
    abstained : ndarray of bool, shape (n_samples,)
        Whether no class could be certified.
    p_lower : ndarray of float64, shape (n_samples,)
        Lower bound for the probability of the class; NaN under a :class:`~certssb.Partition`, which knows of none.
    p_upper : ndarray of float64, shape (n_samples,)
        Upper bound for that of every other class; NaN as well.
    radius : ndarray of float64, shape (n_samples,), or None
        The prediction holds for every change of the training features whose L2 norm over the whole training set
        is *below* the radius, in the units of the features; 0 where abstained. None for a law that has no such
        radius (Subsample, Discrete, LabelNoise, Partition).
    guarantee : str
        One sentence: what exactly is guaranteed, with which probability, for which changes.
    sound : bool
        Whether the guarantee is a proof against an attacker on the training set.

    Examples
    --------
    >>> import numpy as np
    >>> import certssb as cs
    >>> votes = np.array([[1, 0]] * 990 + [[0, 1]] * 10)  # 1000 members, two test samples
    >>> certs = cs.certify_votes(votes, cs.Gaussian(sigma=0.5), n_train=12665, n_classes=2)
    >>> certs.prediction
    array([1, 0])
    >>> certs.radius.round(3)
    array([0.979, 0.979])
    >>> certs.certified_accuracy([1, 1], radii=[0, 0.5, 1.0])
    array([0.5, 0.5, 0. ])
    >>> certs.holds(n_poisoned=10, trigger_norm=0.1)
    array([ True,  True])
    """

    def __init__(self, core: _core.Certificates, classes: npt.NDArray[Any] | None = None) -> None:
        self._core = core
        self._classes = None if classes is None else frozen(classes.copy())

    def __len__(self) -> int:
        return len(self._core)

    def __getitem__(self, index: Any) -> CertificateTable:
        """The table of some of the samples.

        Bounds stay what they are, and so does alpha: statements that hold together for all samples of a table hold
        together for a part of them, and the guarantee of the part goes on to name the number of all.

        Parameters
        ----------
        index : int, slice, array-like of bool of shape (n_samples,), or array-like of int of shape (n_chosen,)
            Which samples, negative numbers counted from the end. A single number makes a table of one sample.

        Returns
        -------
        CertificateTable

        Raises
        ------
        ParameterError
            If `index` is none of these, or there is no such sample.
        ShapeError
            If a mask does not have one bool per sample.

        Examples
        --------
        >>> import numpy as np
        >>> import certssb as cs
        >>> votes = np.array([[1, 0, 1]] * 990 + [[0, 1, 1]] * 10)  # 1000 members, three test samples
        >>> certs = cs.certify_votes(votes, cs.Gaussian(0.5), n_train=12665, n_classes=2, family_wise=True)
        >>> certs[:2].prediction, len(certs[certs.radius > 1]), certs[-1].prediction
        (array([1, 0]), 1, array([1]))
        >>> certs[:2].guarantee[:66]
        'For all 3 test samples together, of which this table has 2 rows, w'
        """
        return CertificateTable(self._core.rows(row_numbers(index, len(self))), self._classes)

    def __iter__(self) -> Iterator[CertificateTable]:
        return (self[i] for i in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CertificateTable):
            return NotImplemented
        return self is other or self._digest() == other._digest()

    def _digest(self) -> str:
        return _file.digest(_file.parts(self._core, self._classes))

    def __hash__(self) -> int:
        return hash((len(self), self._core.record()))

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self._bytes(),)

    @property
    def prediction(self) -> npt.NDArray[Any]:
        numbers = self._core.prediction
        return numbers if self._classes is None else self._classes[numbers]

    @property
    def abstained(self) -> npt.NDArray[np.bool_]:
        return self._core.abstained

    @property
    def p_lower(self) -> Floats:
        return self._bound(self._core.p_lower)

    @property
    def p_upper(self) -> Floats:
        return self._bound(self._core.p_upper)

    def _bound(self, bound: Floats) -> Floats:
        """What the core knows of a probability, where there is one to know of."""
        return bound if self.election is None else np.full_like(bound, np.nan)

    @property
    def radius(self) -> Floats | None:
        return self._core.radius

    @property
    def guarantee(self) -> str:
        return self._core.guarantee

    @property
    def sound(self) -> bool:
        return self._core.sound

    @property
    def law(self) -> Law:
        """The law from which the members' training sets were drawn."""
        return self._core.law

    @property
    def n_train(self) -> int | None:
        """Number of training samples; None where nobody told it, which only a :class:`~certssb.Partition` does without."""
        return self._core.n_train

    @property
    def n_members(self) -> int | None:
        """Number of members, or learners of a partition, whose votes were counted; None for exact certificates."""
        return self._core.n_members

    @property
    def alpha(self) -> float | None:
        """Chance that a statement is wrong; None for exact certificates and those of a :class:`~certssb.Partition`."""
        return self._core.alpha

    @property
    def election(self) -> str | None:
        """How the learners of a :class:`~certssb.Partition` elected the classes; None for every other law."""
        return self._core.election

    @property
    def n_buckets(self) -> npt.NDArray[np.int64] | None:
        """How many buckets of a :class:`~certssb.Partition` may change; None for every other law.

        Under ``assign="content"`` that is the symmetric difference between the training sets: an inserted or a deleted
        sample counts one, a modified one two.
        """
        return self._core.n_buckets

    @property
    def level(self) -> npt.NDArray[np.int64] | None:
        """The level, from 0, that decided each sample; None unless the law is a :class:`~certssb.Cascade`."""
        levels = self._core.levels
        return None if levels is None else levels[2]

    @property
    def noise_magnitude(self) -> Floats | None:
        """Each test sample's own sigma in the published form of SampleSpecific; None for every other law."""
        return self._core.sigmas

    @property
    def outcome(self) -> npt.NDArray[np.str_] | None:
        """What the ledger made of each region ("kept", "trimmed", "adopted", "abstained"); None without a ledger."""
        outcomes = self._core.outcomes
        return None if outcomes is None else np.array(outcomes, dtype=np.str_)

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
        """What is guaranteed of the predictions for which :meth:`holds` says True, in one sentence to be quoted.

        Parameters
        ----------
        threat : Threat
            What the attacker may have done.

        Returns
        -------
        str
            Who may have done what to which samples, how it is counted, and with which probability it changes nothing.

        Raises
        ------
        ParameterError
            If the law says nothing about such threats.

        Examples
        --------
        >>> import certssb as cs
        >>> certs = cs.certify_votes([[1]] * 1000, cs.Subsample(rate=0.01), n_train=5000, n_classes=2)
        >>> certs.statement(cs.Threat(n_poisoned=20, edits="any"))[159:336]
        'a sample that is certified against this threat is the same for every training set that the received one becomes when at most 20 samples are changed, removed or added, in any mix'
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
            Number of training samples changed, at most; left out where `edits` has the numbers.
        labels : bool, default=False
            Whether the labels of the changed samples may be any as well.
        edits, counted
            As for :class:`~certssb.Threat`: with a dict, the norm is that of the modified samples.

        Returns
        -------
        ndarray of float64, shape (n_samples,)
            L2 norm per changed sample, rounded down; ``inf`` where any trigger is survived, 0 where nothing is
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
            As for :class:`~certssb.Threat`. Of other edits than modifications a norm says nothing: 0 or infinite.

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
            Total L2 norms: a sample counts if its radius is *greater*. 0 counts every sample not abstained. Or a threat.
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
            If neither radii nor a budget is given, or both, or the law has none of that kind; if a true class is
            missing, or true classes are no labels of the kind that was predicted (strings, numbers, booleans).
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
        if others and trigger_norm is None:
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
        return are_equal(self.prediction, true_labels(y_true, len(self)))

    def to_frame(
        self,
        threat: Threat | None = None,
        *,
        n_poisoned: int | None = None,
        trigger_norm: float | None = None,
        labels: bool = False,
        edits: Edits | None = None,
        counted: Counted | None = None,
    ) -> pd.DataFrame:
        """The table as a pandas frame: prediction, abstained, p_lower, p_upper and, if the law has one, radius or n_buckets.

        Parameters
        ----------
        threat : Threat, optional
            What the attacker may have done: adds a column that says whether each prediction survives it.
        n_poisoned : int, optional
            Number of training samples changed, at most. Adds a column, named after the call that makes it: with
            `trigger_norm` that of :meth:`holds`, alone that of :meth:`trigger_norm`.
        trigger_norm : float, optional
            L2 norm of the change of each; alone it adds the column of :meth:`n_poisoned`.
        labels : bool, default=False
            Whether the labels of the changed samples may be any as well.
        edits, counted
            As for :class:`~certssb.Threat`.

        Returns
        -------
        pandas.DataFrame
            One row per sample.

        Raises
        ------
        ImportError
            If pandas is not installed.
        ParameterError
            If a value is out of range, or the law says nothing about such changes.

        Examples
        --------
        >>> import numpy as np
        >>> import certssb as cs
        >>> votes = np.array([[1, 0]] * 990 + [[1, 1]] * 10)  # 1000 members, two test samples
        >>> certs = cs.certify_votes(votes, cs.Gaussian(sigma=0.5), n_train=12665, n_classes=2)
        >>> certs.to_frame().columns.tolist()
        ['prediction', 'abstained', 'p_lower', 'p_upper', 'radius']
        >>> certs.to_frame(n_poisoned=4, trigger_norm=0.5).iloc[:, -1]
        0     True
        1    False
        Name: holds(n_poisoned=4, trigger_norm=0.5), dtype: bool
        """
        pandas = needed("pandas", "to_frame", "pandas")
        budget = self._asked(threat, n_poisoned, trigger_norm, labels, edits, counted)
        frame: pd.DataFrame = pandas.DataFrame(self._columns(budget))
        return frame

    def _asked(
        self, threat: Any, n_poisoned: Any, trigger_norm: Any, labels: Any, edits: Any, counted: Any
    ) -> Budget | None:
        """What a column is asked to answer, if one is asked for."""
        if threat is None:
            return asked_budget(n_poisoned, trigger_norm, labels, edits, counted)
        return self._threat(n_poisoned, threat, None, trigger_norm, labels, edits, counted)

    def show(
        self,
        threat: Threat | None = None,
        *,
        n_poisoned: int | None = None,
        trigger_norm: float | None = None,
        labels: bool = False,
        edits: Edits | None = None,
        counted: Counted | None = None,
    ) -> Shown:
        """The table to look at, in a notebook or on a terminal, with what each prediction survives.

        Parameters
        ----------
        threat, n_poisoned, trigger_norm, labels, edits, counted
            As for :meth:`to_frame`: what is asked adds a column, named after the call that makes it.

        Returns
        -------
        Shown
            What the last line of a notebook's cell displays as a table, and what ``print`` writes: the guarantee
            and ten rows, rounded so that nothing claims more than was certified.

        Raises
        ------
        ParameterError
            If a value is out of range, or the law says nothing about such changes.

        Examples
        --------
        >>> import numpy as np
        >>> import certssb as cs
        >>> votes = np.array([[1, 0]] * 990 + [[1, 1]] * 10)  # 1000 members, two test samples
        >>> certs = cs.certify_votes(votes, cs.Subsample(size=100), n_train=12665, n_classes=2)
        >>> print(certs.show(trigger_norm=float("inf"), labels=True))  # doctest: +ELLIPSIS
        For each test sample on its own, ...
           prediction  abstained  p_lower  p_upper  n_poisoned(trigger_norm=inf, labels=True)
        0           1      False   0.9924   0.0076                                         85
        1           0      False   0.9749   0.0251                                         81
        """
        columns = self._columns(self._asked(threat, n_poisoned, trigger_norm, labels, edits, counted))
        return Shown(columns, self.guarantee, self.sound)

    def to_arrow(self) -> pa.Table:
        """The table as an Arrow table, with guarantee and record in its metadata. Needs pyarrow.

        Returns
        -------
        pyarrow.Table
            One row per sample, with the columns of :meth:`to_frame`.

        Raises
        ------
        ImportError
            If pyarrow is not installed.

        Examples
        --------
        >>> import numpy as np
        >>> import certssb as cs
        >>> votes = np.array([[1, 0]] * 990 + [[1, 1]] * 10)  # 1000 members, two test samples
        >>> certs = cs.certify_votes(votes, cs.Gaussian(sigma=0.5), n_train=12665, n_classes=2)
        >>> certs.to_arrow().num_rows
        2
        """
        arrow = needed("pyarrow", "to_arrow", "arrow")
        metadata = {"guarantee": self.guarantee, "record": self._core.record()}
        table: pa.Table = arrow.table(self._columns()).replace_schema_metadata(metadata)
        return table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The Arrow PyCapsule interface: pyarrow, polars and others read the table as it is. Needs pyarrow."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def _columns(self, budget: Budget | None = None) -> dict[str, npt.NDArray[Any]]:
        columns: dict[str, npt.NDArray[Any]] = {
            "prediction": self.prediction,
            "abstained": self.abstained,
            "p_lower": self.p_lower,
            "p_upper": self.p_upper,
        }
        radius = self.radius
        if radius is not None:
            columns["radius"] = radius
        for name in ("n_buckets", "level", "noise_magnitude", "outcome"):
            values = getattr(self, name)
            if values is not None:
                columns[name] = values
        if budget is not None:
            columns[budget.column()] = self._answers(budget)
        return columns

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the table to one file, exactly, by atomic rename.

        The file is a NumPy ``.npz`` archive (whatever its name) with the record and a digest; nothing in it is
        executed on loading.

        Parameters
        ----------
        path : str or path
            The file to write.

        Raises
        ------
        FileError
            If it cannot be written.

        Examples
        --------
        >>> import os, tempfile
        >>> import numpy as np
        >>> import certssb as cs
        >>> certs = cs.certify_votes(np.ones((1000, 2), int), cs.Gaussian(0.5), n_train=100, n_classes=2)
        >>> path = os.path.join(tempfile.mkdtemp(), "table.npz")
        >>> certs.save(path)
        >>> cs.CertificateTable.load(path).radius.tolist() == certs.radius.tolist()
        True
        """
        _files.write(path, self._bytes())

    def _bytes(self) -> bytes:
        return _file.written(self._core, self._classes)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CertificateTable:
        """Read a table written by :meth:`save`.

        Parameters
        ----------
        path : str or path
            The file to read.

        Returns
        -------
        CertificateTable
            The same certificates, bit for bit.

        Raises
        ------
        ParameterError
            If the file is not such a table, or is damaged.
        FileError
            If it cannot be read, or is no regular file.

        Examples
        --------
        >>> import certssb as cs
        >>> cs.CertificateTable.load(__file__)  # a file of another kind
        Traceback (most recent call last):
        certssb.exceptions.ParameterError: The 'path' parameter must be a file written by CertificateTable.save...
        """
        return cls._restored("path", _files.read(path), f"'{path}'")

    @classmethod
    def _restored(cls, name: str, content: bytes, source: str) -> CertificateTable:
        """The table that :meth:`_bytes` made `content` of; `name` and `source` are for messages."""
        return cls(*_file.read(name, content, source))

    def __repr__(self) -> str:
        certified = len(self) - int(self.abstained.sum())
        return f"<CertificateTable of {len(self)} samples, {certified} certified. {self.guarantee}>"

    def _repr_html_(self) -> str:
        return self.show()._repr_html_()


def _unpickled(content: Any) -> CertificateTable:
    """A table from its pickle, which holds what :meth:`CertificateTable.save` writes and nothing else."""
    if not isinstance(content, bytes):
        raise parameter_error("pickle", "one of a table of certificates", type(content).__name__)
    return CertificateTable._restored("pickle", content, "another")


def _sizes(name: str, values: Any) -> Floats:
    try:
        return np.asarray(values, dtype=np.float64)
    except OverflowError:
        expected = "a float of at least 0, or an array of them"
        raise parameter_error(name, expected, "a number beyond every float") from None
    except (TypeError, ValueError):
        raise parameter_error(name, "a float of at least 0, or an array of them", repr(values)) from None
