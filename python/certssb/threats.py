"""What an attacker may have done to the training set: stated once, read by plans, certificates, tables, plots and reports."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Literal, TypeAlias

from certssb._checks import check_real, parameter_error, shown
from certssb.certificates._budget import (
    COUNTED,
    KINDS,
    Budget,
    check_count,
    check_labels,
    check_norm,
    checked_counted,
    checked_edits,
)

__all__ = ["Threat"]

Edits: TypeAlias = Literal["modified", "inserted", "deleted", "any"] | Mapping[str, int]
Counted: TypeAlias = Literal["edits", "symmetric difference"]


class Threat:
    """What an attacker may have done: how many samples, how far, with which labels, and by which kind of edit.

    Threats are immutable, are equal if they say the same, and can be keys of a dictionary.

    Parameters
    ----------
    n_poisoned : int, optional
        Largest number of edits. Left out if `edits` has the numbers.
    share : float, optional
        The same number as a share of the training set, in [0, 1], rounded down to whole samples. Exactly one of
        `n_poisoned`, `share` and numbers in `edits` must be given.
    trigger_norm : float, default=inf
        Largest L2 norm of the change of each modified sample, in the units of the features; ``inf`` for any change.
    labels : bool, default=False
        Whether the labels of modified samples may change as well. (Inserted samples may have any label.)
    edits : {"modified", "inserted", "deleted", "any"} or dict, default="modified"
        What attackers may have done, and what is counted: samples modified in place, inserted, deleted, or all of
        these in any mix and in any way. A dict has a number for each, such as
        ``{"modified": 3, "inserted": 40, "deleted": 7}``.
    counted : {"edits", "symmetric difference"}, default="edits"
        Whether a modification counts once, or twice: as one sample removed and one added.

    Raises
    ------
    ParameterError
        If a value is out of range, a name is unknown, or not exactly one number is given.

    Notes
    -----
    A certificate says that the prediction is the same for two training sets, one of which attackers made from the
    other. It holds whichever of the two you received. If yours was tampered with, the other set is the clean one; if
    yours is clean, the other one is what attackers would make of it. Samples that are inserted in one direction are
    deleted in the other. So ``edits="inserted"`` and ``edits="deleted"`` make the same claim, and certify the same
    numbers.

    Insertions and deletions are covered by laws under which members see only some of the samples:
    :class:`~certssb.Subsample`, with a fixed size or a rate, and :class:`~certssb.Partition`, unless it assigns by index.

    Examples
    --------
    >>> import certssb as cs
    >>> threat = cs.Threat(n_poisoned=50, labels=True, edits="any")
    >>> threat
    Threat(n_poisoned=50, labels=True, edits='any')
    >>> cs.Threat.parse(str(threat)) == threat
    True
    >>> cs.Threat(share=0.02, trigger_norm=1.0).number(12665)
    253
    >>> certs = cs.certify_votes([[1]] * 1000, cs.Subsample(rate=0.01), n_train=5000, n_classes=2)
    >>> certs.holds(threat), certs.n_poisoned(edits="inserted")
    (array([ True]), array([68]))
    """

    __slots__ = ("_counted", "_edits", "_labels", "_n_poisoned", "_numbers", "_share", "_trigger_norm")

    _counted: Counted
    _edits: str
    _labels: bool
    _n_poisoned: int | None
    _numbers: tuple[int, int, int] | None
    _share: float | None
    _trigger_norm: float

    def __init__(
        self,
        n_poisoned: int | None = None,
        *,
        share: float | None = None,
        trigger_norm: float = math.inf,
        labels: bool = False,
        edits: Edits = "modified",
        counted: Counted = "edits",
    ) -> None:
        kind, numbers = checked_edits(edits)
        given = [name for name, value in (("n_poisoned", n_poisoned), ("share", share)) if value is not None]
        if len(given) + (numbers is not None) != 1:
            expected = "given, or else 'share' or a dict of numbers as 'edits', and only one of them"
            got = ", ".join([*given, *(["numbers of edits"] if numbers else [])]) or "none of them"
            raise parameter_error("n_poisoned", expected, got)
        values = {
            "_counted": checked_counted(counted),
            "_edits": kind,
            "_labels": check_labels(labels),
            "_n_poisoned": None if n_poisoned is None else check_count("n_poisoned", n_poisoned),
            "_numbers": numbers,
            "_share": None
            if share is None
            else check_real("share", share, "a float in the range [0, 1]", 0.0, 1.0),
            "_trigger_norm": _norm(trigger_norm),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a Threat cannot be changed: make a new one with another '{name}'")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("a Threat cannot be changed")

    @property
    def n_poisoned(self) -> int | None:
        """Largest number of edits; None if a share is given."""
        if self._numbers is None:
            return self._n_poisoned
        modified, inserted, deleted = self._numbers
        return modified * (1 if self._counted == "edits" else 2) + inserted + deleted

    @property
    def share(self) -> float | None:
        """The number as a share of the training set; None if a number is given."""
        return self._share

    @property
    def trigger_norm(self) -> float:
        """Largest L2 norm of the change of each modified sample."""
        return self._trigger_norm

    @property
    def labels(self) -> bool:
        """Whether the labels of modified samples may change."""
        return self._labels

    @property
    def edits(self) -> str | dict[str, int]:
        """Which edits are counted, or numbers of each."""
        return self._edits if self._numbers is None else dict(zip(KINDS, self._numbers, strict=True))

    @property
    def counted(self) -> Counted:
        """Whether a modification counts once ("edits") or twice ("symmetric difference")."""
        return self._counted

    def number(self, n_train: int) -> int:
        """The number of edits for a training set of this size.

        Parameters
        ----------
        n_train : int
            Number of training samples.

        Returns
        -------
        int
            A share of them is rounded down: 2% of 12,665 samples are 253.

        Raises
        ------
        ParameterError
            If `n_train` is not a number of samples.

        Examples
        --------
        >>> import certssb as cs
        >>> cs.Threat(share=0.02).number(12665), cs.Threat(n_poisoned=50).number(12665)
        (253, 50)
        """
        number = self.n_poisoned
        if number is not None:
            return number
        # The decimal number that was typed: 0.29 of 100 samples are 29, not 28.
        return math.floor(Fraction(repr(self._share)) * check_count("n_train", n_train))

    def words(self, n_train: int | None = None) -> str:
        """The threat as headings show it.

        Parameters
        ----------
        n_train : int, optional
            Number of training samples; needed for a share.

        Returns
        -------
        str
            Part of a sentence.

        Examples
        --------
        >>> import certssb as cs
        >>> cs.Threat(n_poisoned=50, edits="any").words(5000)
        'at most 50 of 5,000 training samples changed, removed or added in any mix and any way, labels included'
        """
        return self._budget(n_train).words(n_train)

    def _budget(self, n_train: int | None) -> Budget:
        number = self.n_poisoned if n_train is None else self.number(n_train)
        return Budget(
            number, self._trigger_norm, self._labels, self._edits, self._counted, numbers=self._numbers
        )

    @classmethod
    def parse(cls, threat: str) -> Threat:
        """Read a threat as it is written on the command line and by ``str``.

        Parameters
        ----------
        threat : str
            Parts separated by commas: ``n_poisoned=50`` or ``share=0.02`` (or ``share=2%``), ``trigger_norm=1.5``,
            ``labels``, ``edits=any``, ``counted=symmetric difference``; numbers of each edit as ``modified=3``,
            ``inserted=40``, ``deleted=7``.

        Returns
        -------
        Threat

        Raises
        ------
        ParameterError
            If a part is not one of these, or is given twice.

        Examples
        --------
        >>> import certssb as cs
        >>> cs.Threat.parse("share=2%, edits=any, labels")
        Threat(share=0.02, labels=True, edits='any')
        """
        if not isinstance(threat, str):
            raise parameter_error("threat", "text such as 'n_poisoned=50, edits=any'", shown(threat))
        values: dict[str, Any] = {}
        numbers: dict[str, int] = {}
        for part in threat.split(","):
            name, _, value = (word.strip() for word in part.partition("="))
            place = numbers if name in KINDS else values
            if name in place or name not in (*_READERS, *KINDS):
                got = f"'{part.strip()}'" + (" twice" if name in place else "")
                known = ", ".join([*_READERS, *KINDS])
                raise parameter_error("threat", f"parts between commas, each once, named {known}", got)
            reader = int if name in KINDS else _READERS[name]
            try:
                place[name] = reader(value)
            except (ValueError, ZeroDivisionError):
                raise parameter_error(
                    "threat", f"readable: '{name}=' and a value", f"'{part.strip()}'"
                ) from None
        if numbers:
            if "edits" in values:
                raise parameter_error("threat", "one of 'edits=' and numbers of each edit", f"'{threat}'")
            values["edits"] = numbers
        return cls(**values)

    def _parts(self) -> dict[str, Any]:
        """What is not the default, by name."""
        parts: dict[str, Any] = {}
        if self._n_poisoned is not None:
            parts["n_poisoned"] = self._n_poisoned
        if self._share is not None:
            parts["share"] = self._share
        if not math.isinf(self._trigger_norm):
            parts["trigger_norm"] = self._trigger_norm
        if self._labels:
            parts["labels"] = True
        if self.edits != "modified":
            parts["edits"] = self.edits
        if self._counted != "edits":
            parts["counted"] = self._counted
        return parts

    def __repr__(self) -> str:
        return f"Threat({', '.join(f'{name}={value!r}' for name, value in self._parts().items())})"

    def __str__(self) -> str:
        words = []
        for name, value in self._parts().items():
            if isinstance(value, dict):
                words += [f"{kind}={number}" for kind, number in value.items()]
            else:
                words.append("labels" if name == "labels" else f"{name}={value}")
        return ", ".join(words)

    def _key(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, Threat) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (self._parts(),)


def _made(parts: dict[str, Any]) -> Threat:
    return Threat(**parts)


def _norm(value: Any) -> float:
    norm = check_norm(value)
    if not norm >= 0:
        got = "NaN" if math.isnan(norm) else norm
        raise parameter_error("trigger_norm", "a float greater than or equal to 0", got)
    return norm


def _share(text: str) -> float:
    if not text.endswith("%"):
        return float(text)
    percent = Fraction(text[:-1].strip())
    return float(percent / 100)


def _flag(text: str) -> bool:
    if text.lower() not in ("", "true", "false"):
        raise ValueError(text)
    return text.lower() != "false"


_READERS: dict[str, Any] = {
    "n_poisoned": int,
    "share": _share,
    "trigger_norm": float,
    "labels": _flag,
    "edits": str,
    "counted": str,
}


def planned(
    threat: Any,
    n_train: Any,
    n_poisoned: Any,
    share: Any,
    trigger_norm: Any,
    labels: Any,
    edits: Any,
    counted: Any,
) -> tuple[int, tuple[Any, ...]]:
    """The size of the training set and the threat of a plan, as the core takes them; called by ``Law.plan``."""
    if n_train is None and not isinstance(threat, Threat):
        # The order of before: n_train, n_poisoned, trigger_norm.
        threat, n_train = None, threat
    if n_train is None:
        raise parameter_error("n_train", "the number of training samples", "None")
    n_train = check_count("n_train", n_train)
    asked = asked_threat(
        threat,
        n_train,
        n_poisoned=n_poisoned,
        share=share,
        trigger_norm=trigger_norm,
        labels=labels,
        edits=edits,
        counted=counted,
    )
    return n_train, asked.asked()


def asked_threat(threat: Any, n_train: int | None, **parts: Any) -> Budget:
    """The budget of a threat, or of one that keywords build; parts that are None are left out.

    Raises
    ------
    ParameterError
        If both are given, or neither, or `threat` is something else.
    """
    named = {name: value for name, value in parts.items() if value is not None}
    if threat is None:
        return Threat(**named)._budget(n_train)
    if not isinstance(threat, Threat):
        raise parameter_error("threat", "a Threat", shown(threat))
    extra = {name: value for name, value in named.items() if not (name == "labels" and value is False)}
    if extra:
        raise parameter_error(next(iter(extra)), "left out beside a threat, which says it", "both")
    return threat._budget(n_train)


assert COUNTED == ("edits", "symmetric difference")
