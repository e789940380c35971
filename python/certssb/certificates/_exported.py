"""A table of certificates as others read it: a pandas frame, an Arrow table, something to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from certssb._extras import needed
from certssb.certificates._budget import Budget, asked_budget
from certssb.certificates._printed import Shown
from certssb.certificates._surviving import Surviving

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from certssb.threats import Counted, Edits, Threat

__all__ = ["Exported"]


class Exported(Surviving):
    """Columns by name, with what is asked as one more."""

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
            What the attacker may have done; adds a column that says whether each prediction survives it.
        n_poisoned : int, optional
            Largest number of training samples changed. Adds a column, named after the call that makes it:
            :meth:`holds` if `trigger_norm` is given too, otherwise :meth:`trigger_norm`.
        trigger_norm : float, optional
            L2 norm of the change of each; without `n_poisoned`, it adds the column of :meth:`n_poisoned`.
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
        """The table for display in a notebook or a terminal, with what each prediction survives.

        Parameters
        ----------
        threat, n_poisoned, trigger_norm, labels, edits, counted
            As for :meth:`to_frame`: they add a column, named after the call that makes it.

        Returns
        -------
        Shown
            An object that a notebook displays as a table and ``print`` writes as text: the guarantee and ten rows,
            rounded so that nothing claims more than was certified.

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
