"""What is recommended: laws with what each needs, costs and leaves out, best first, as a table wherever it is looked at."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from certssb._checks import parameter_error
from certssb._extras import needed
from certssb.certificates._printed import aligned
from certssb.laws import Law
from certssb.threats import Threat

if TYPE_CHECKING:
    import pandas as pd

    from certssb.displays.recommended import RecommendationDisplay
    from certssb.recommending._nearest import RecommendedKNN

__all__ = ["Recommendation", "RecommendedLaw"]

_HEADS = ("law", "votes needed", "agreement", "samples a member sees", "cost", "rests on", "does not cover")
_MEASURED = ("accuracy", "certified share")
_NEAREST_HEADS = ("classifier", "probability needed", "samples it sees", "cost", "rests on", "does not cover")
_NEAREST = "Without members, exactly computed:"


@dataclass(frozen=True)
class RecommendedLaw:
    """One law that can reach a threat.

    Attributes
    ----------
    law : Law
        The law, ready for :class:`~certssb.CertifiedClassifier`.
    n_members : int
        Number of members, or of a partition's learners.
    votes : int
        How many of them have to agree on a test sample if all others vote for one other class. Fewer are enough if
        the others do not agree on one class.
    n_seen : float
        Number of training samples that a member sees; under a rate or a partition, on average.
    cost : float
        Samples that all members see together, in units of one training set: 3.0 costs as much as three members on the
        whole set.
    alpha : float or None
        Largest probability that a statement is wrong; None if nothing is left to chance.
    secret : bool
        Whether the guarantee requires a seed that nobody who changed the data knew.
    not_covered : str
        What the certificate does not cover.
    accuracy : float or None
        Share of the trusted samples that small ensembles predicted right: an estimate, not a guarantee. None where
        nothing was measured.
    certified : float or None
        Share of the trusted samples that they predicted right with enough votes for a certificate: likewise an
        estimate. None where nothing was measured.
    scaled : bool
        Whether the measured members saw fewer samples than `n_seen`, as there were not enough trusted ones.

    Examples
    --------
    >>> import certssb as cs
    >>> row = cs.recommend(cs.Threat(50, edits="any"), n_train=5000)[0]
    >>> row.law, row.agreement, row.secret
    (Subsample(rate=0.0045), 0.75, True)
    """

    law: Law
    n_members: int
    votes: int
    n_seen: float
    cost: float
    alpha: float | None
    secret: bool
    not_covered: str
    accuracy: float | None = None
    certified: float | None = None
    scaled: bool = False

    @property
    def agreement(self) -> float:
        """The share of the members that has to agree, `votes` / `n_members`."""
        return self.votes / self.n_members

    def _cells(self) -> list[str]:
        rests = "deterministic learners" if self.alpha is None else f"alpha {self.alpha:g}, a secret seed"
        seen = f"{self.n_seen:,.0f}" if self.n_seen >= 10 else f"{self.n_seen:.3g}"
        cells = [
            repr(self.law),
            f"{self.votes:,} of {self.n_members:,}",
            f"{100 * self.agreement:.1f}%",
            seen,
            f"{self.cost:,.0f}" if self.cost >= 100 else f"{self.cost:.3g}",
            rests,
            self.not_covered,
        ]
        if self.accuracy is not None and self.certified is not None:
            fewer = " (fewer samples)" if self.scaled else ""
            cells[3:3] = [f"{self.accuracy:.3f}{fewer}", f"{self.certified:.3f}"]
        return cells


class Recommendation(Sequence[RecommendedLaw]):
    """Laws that can reach a threat, best first; what :func:`certssb.recommend` returns.

    Behaves like a tuple of :class:`RecommendedLaw`, prints as a table and shows itself as one in notebooks. Parameters are
    attributes as well.

    Parameters
    ----------
    rows : sequence of RecommendedLaw
        The laws that reach the threat, best first.
    unreachable : dict of str to str
        Laws that are not recommended, with the reason.
    threat : Threat
        What was asked about.
    n_train : int
        Size of the training set, without trusted samples.
    sentence : str
        What the table says, and what it was made from.
    nearest : sequence of RecommendedKNN, optional
        The exact 1-nearest neighbour, with the noise that it needs. It is a classifier of its own rather than a law, so these
        are no rows, and `best` is none of them.

    Examples
    --------
    >>> import certssb as cs
    >>> found = cs.recommend(cs.Threat(2, trigger_norm=0.0, labels=True), n_train=500)
    >>> found.best, found[0].not_covered
    (Partition(9, assign='index'), 'changes of more samples; insertions and deletions')
    """

    def __init__(
        self,
        rows: Sequence[RecommendedLaw],
        unreachable: dict[str, str],
        threat: Threat,
        n_train: int,
        sentence: str,
        nearest: Sequence[RecommendedKNN] = (),
    ) -> None:
        self._rows = tuple(rows)
        self.unreachable = dict(unreachable)
        self.threat = threat
        self.n_train = n_train
        self.sentence = sentence
        self.nearest = tuple(nearest)

    @overload
    def __getitem__(self, index: int) -> RecommendedLaw: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[RecommendedLaw, ...]: ...
    def __getitem__(self, index: int | slice) -> RecommendedLaw | tuple[RecommendedLaw, ...]:
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[RecommendedLaw]:
        return iter(self._rows)

    @property
    def best(self) -> Law:
        """The law of the first row.

        Raises
        ------
        ParameterError
            If no law reaches the threat.
        """
        if not self._rows:
            raise parameter_error("threat", "a threat that some law reaches", str(self.threat))
        return self._rows[0].law

    def plot(self, ax: Any = None) -> RecommendationDisplay:
        """Draw the certified share over the accuracy, as measured on trusted samples.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a new figure if not given.

        Returns
        -------
        RecommendationDisplay

        Raises
        ------
        ParameterError
            If nothing was measured.

        Examples
        --------
        >>> import certssb as cs
        >>> X, y = cs.datasets.load_digits(classes=(0, 1))
        >>> found = cs.recommend(cs.Threat(20, edits="any"), n_train=2000, trusted=(X[:80], y[:80]),
        ...                      model="discriminant", n_trial=20)
        >>> len(found.plot().points_) == len(found)
        True
        """
        from certssb.displays.recommended import RecommendationDisplay

        return RecommendationDisplay.from_recommendation(self).plot(ax=ax)

    def to_frame(self) -> pd.DataFrame:
        """The table as a pandas frame, one row for each law.

        Returns
        -------
        pandas.DataFrame
            With the columns law, n_members, votes, agreement, n_seen, cost, alpha, secret, not_covered and, where samples
            were measured, accuracy, certified and scaled.

        Raises
        ------
        ImportError
            If pandas is not installed.

        Examples
        --------
        >>> import certssb as cs
        >>> frame = cs.recommend(cs.Threat(50, edits="any"), n_train=5000).to_frame()
        >>> frame["votes"].tolist()[0], frame["law"][0]
        (750, Subsample(rate=0.0045))
        """
        pandas = needed("pandas", "to_frame", "pandas")
        names = ["law", "n_members", "votes", "agreement", "n_seen", "cost", "alpha", "secret", "not_covered"]
        names += ["accuracy", "certified", "scaled"] if self._measured else []
        return pandas.DataFrame({name: [getattr(row, name) for row in self] for name in names})

    @property
    def _measured(self) -> bool:
        return any(row.accuracy is not None for row in self)

    def _heads(self) -> list[str]:
        heads = list(_HEADS)
        heads[3:3] = _MEASURED if self._measured else ()
        return heads

    def _nearest_heads(self) -> list[str]:
        heads = list(_NEAREST_HEADS)
        heads[2:2] = _MEASURED if self.nearest[0].accuracy is not None else ()
        return heads

    def __repr__(self) -> str:
        parts = [self.sentence]
        if self._rows:
            parts.append(aligned([self._heads(), *(row._cells() for row in self)]))
        if self.nearest:
            parts += [_NEAREST, aligned([self._nearest_heads(), *(row._cells() for row in self.nearest)])]
        if self.unreachable:
            parts.append("Not recommended:")
            parts += [f"  {name}: {reason}" for name, reason in self.unreachable.items()]
        return "\n".join(parts)

    def _repr_html_(self) -> str:
        def row(cells: Sequence[str], kind: str) -> str:
            return "<tr>" + "".join(f"<{kind}>{html.escape(cell)}</{kind}>" for cell in cells) + "</tr>"

        def table_of(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
            body = "".join(row(cells, "td") for cells in rows)
            return f"<table><thead>{row(heads, 'th')}</thead><tbody>{body}</tbody></table>"

        table = ""
        if self._rows:
            table = table_of(self._heads(), [own._cells() for own in self])
        if self.nearest:
            own_table = table_of(self._nearest_heads(), [own._cells() for own in self.nearest])
            table += f"<p>{_NEAREST}</p>{own_table}"
        reasons = "".join(
            f"<li>{html.escape(name)}: {html.escape(reason)}</li>"
            for name, reason in self.unreachable.items()
        )
        left = f"<p>Not recommended:</p><ul>{reasons}</ul>" if reasons else ""
        return f"<div><p><em>{html.escape(self.sentence)}</em></p>{table}{left}</div>"

    def _as_json(self) -> dict[str, Any]:
        """What the command line writes for programs."""
        names = ["n_members", "votes", "agreement", "n_seen", "cost", "alpha", "secret", "not_covered"]
        names += ["accuracy", "certified", "scaled"] if self._measured else []
        rows = [{"law": repr(row.law)} | {name: getattr(row, name) for name in names} for row in self]
        names = ["sigma", "probability", "n_seen", "not_covered"]
        names += (
            [name for name in ("accuracy", "certified") if getattr(self.nearest[0], name) is not None]
            if self.nearest
            else []
        )
        nearest = [
            {"classifier": repr(row.classifier)} | {name: getattr(row, name) for name in names}
            for row in self.nearest
        ]
        return {
            "threat": str(self.threat),
            "n_train": self.n_train,
            "sentence": self.sentence,
            "laws": rows,
            "nearest": nearest,
            "unreachable": self.unreachable,
        }
