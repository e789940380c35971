"""What the attacker may have changed: checked in one place, and said in one wording."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_FLOOR, Context, Decimal
from typing import Any

import numpy as np

from certssb._checks import check_number, one_of, parameter_error, shown

__all__ = [
    "COUNTED",
    "KINDS",
    "Budget",
    "asked_budget",
    "check_budget",
    "check_count",
    "check_labels",
    "check_norm",
    "checked_counted",
    "checked_edits",
    "down",
    "exactly",
    "grouped",
    "over_total",
]


KINDS = ("modified", "inserted", "deleted")
"""Edits that can be counted on their own."""
COUNTED = ("edits", "symmetric difference")
"""What a modification counts: one, or two."""


@dataclass(frozen=True)
class Budget:
    """At most so many training samples changed, each by at most such a norm, with or without their labels.

    The inside of a :class:`~certssb.Threat`, of which a number or a norm may be open.

    Attributes
    ----------
    n_poisoned : int or None
        Number of changed samples; None where that is asked for.
    trigger_norm : float or None
        L2 norm of the change of each; infinite for any change, None where that is asked for.
    labels : bool
        Whether their labels may be any as well.
    edits : str
        What the number counts: "modified", "inserted", "deleted" or "any".
    counted : str
        "edits", or "symmetric difference", of which a modified sample takes 2.
    numbers : tuple of int or None
        Numbers of modified, inserted and deleted samples, where each has one.
    """

    n_poisoned: int | None
    trigger_norm: float | None
    labels: bool = False
    edits: str = "modified"
    counted: str = "edits"
    numbers: tuple[int, int, int] | None = None

    def asked(self) -> tuple[int, float, bool, str, tuple[int, int, int] | None, str]:
        """As the core takes it; what is open is not read there."""
        norm = math.inf if self.trigger_norm is None else self.trigger_norm
        return self.n_poisoned or 0, norm, self.labels, self.edits, self.numbers, self.counted

    def limits_norms(self) -> bool:
        """Whether the norm says anything: of samples modified in place."""
        return self.numbers is not None or self.edits == "modified"

    def words(self, n_train: int | None = None) -> str:
        """The budget as it stands in headings; whatever is None stays open.

        Parameters
        ----------
        n_train : int, optional
            Number of training samples, to be named beside the number of changed ones.

        Returns
        -------
        str
            Part of a sentence.

        Examples
        --------
        >>> from certssb.certificates._budget import Budget
        >>> Budget(27, float("inf"), labels=True).words(1346)
        'at most 27 of 1,346 training samples changed in any way, labels included'
        >>> Budget(1, 0.5).words()
        'at most 1 training sample changed, each by an L2 norm of at most 0.5, labels as received'
        >>> Budget(40, float("inf"), edits="inserted").words(1346)
        'at most 40 samples of any kind added to 1,346 training samples, or removed from them'
        """
        of = "" if n_train is None else f" of {n_train:,}"
        number = "" if self.n_poisoned is None else f"at most {self.n_poisoned:,}{of} "
        samples = "sample" if self.n_poisoned == 1 and not of else "samples"
        if self.numbers is not None:
            modified, inserted, deleted = self.numbers
            kinds = {"modified": modified, "inserted": inserted, "deleted": deleted}
            some = [kind for kind, count in kinds.items() if count]
            if len(some) < 2:
                # What goes without saying is left out: one kind reads as it does alone.
                only: Any = some[0] if some else "modified"
                return replace(self, n_poisoned=kinds[only], edits=only, counted="edits", numbers=None).words(
                    n_train
                )
            whole = "training samples" if of else f"training {'sample' if kinds[some[0]] == 1 else 'samples'}"
            if not modified:
                how = f"at most {deleted:,}{of} {whole} removed and at most {inserted:,} of any kind added"
            else:
                how = f"at most {modified:,}{of} {whole} changed{self._how()}, {self._labels()}"
                how += ", and " if len(some) == 2 else ", "
                many = [f"at most {deleted:,} removed"] if deleted else []
                many += [f"at most {inserted:,} of any kind added"] if inserted else []
                how += " and ".join(many)
            return how + ("" if deleted == inserted else ", before they were received or after")
        if self.edits == "any":
            how = "changed, removed or added in any mix and any way, labels included"
            return f"{number}training {samples} {how}{self._twice()}"
        if self.edits in ("inserted", "deleted"):
            # Whoever took samples out before the set was received made one to which the other's are added: both ways hold.
            count = "" if self.n_poisoned is None else f"at most {self.n_poisoned:,} "
            one = "sample" if self.n_poisoned == 1 else "samples"
            whole = "the" if n_train is None else f"{n_train:,}"
            if self.edits == "inserted":
                return f"{count}{one} of any kind added to {whole} training samples, or removed from them"
            return f"{count}{one} removed from {whole} training samples, or added to them"
        return f"{number}training {samples} changed{self._how()}, {self._labels()}{self._twice()}"

    def _how(self) -> str:
        if self.trigger_norm is None:
            return ""
        if math.isinf(self.trigger_norm):
            return " in any way" if self.labels else " in any of their features"
        return f", each by an L2 norm of at most {exactly(self.trigger_norm)}"

    def _labels(self) -> str:
        return "labels included" if self.labels else "labels as received"

    def _twice(self) -> str:
        return "" if self.counted == "edits" else " (a changed sample counts twice)"

    def over(self, n_train: int | None = None) -> str:
        """What a table or a curve runs over, and what it counts; for headings.

        Parameters
        ----------
        n_train : int, optional
            Number of training samples.

        Returns
        -------
        str
            Part of a sentence.

        Examples
        --------
        >>> from certssb.certificates._budget import Budget
        >>> Budget(None, float("inf"), labels=True).over(1346)
        'over the number of training samples (of 1,346) changed in any way, labels included'
        >>> Budget(27, None).over(1346)
        'over the trigger norm, at most 27 of 1,346 training samples changed, labels as received'
        """
        if self.n_poisoned is not None:
            return f"over the trigger norm, {replace(self, trigger_norm=None).words(n_train)}"
        if self.edits in ("inserted", "deleted"):
            return f"over the number of {self.words(n_train)}"
        words = self.words()
        if n_train is not None:
            words = words.replace("training samples", f"training samples (of {n_train:,})", 1)
        return f"over the number of {words}"

    def change(self) -> dict[str, Any]:
        """The budget as the keywords of a table's methods; what is open is left out."""
        sizes: dict[str, Any] = {}
        if self.n_poisoned is not None and self.numbers is None:
            sizes["n_poisoned"] = self.n_poisoned
        if self.trigger_norm is not None:
            sizes["trigger_norm"] = self.trigger_norm
        sizes["labels"] = self.labels
        return sizes | self._kind()

    def _kind(self) -> dict[str, Any]:
        kind: dict[str, Any] = {}
        if self.numbers is not None:
            kind["edits"] = dict(zip(KINDS, self.numbers, strict=True))
        elif self.edits != "modified":
            kind["edits"] = self.edits
        if self.counted != "edits":
            kind["counted"] = self.counted
        return kind

    def column(self) -> str:
        """Name of the column of a table that answers this budget: the call that gives the same values."""
        given = {
            "n_poisoned": None if self.numbers is not None else self.n_poisoned,
            "trigger_norm": self.trigger_norm,
        }
        words = [f"{name}={value}" for name, value in given.items() if value is not None]
        missing = self.n_poisoned is None, self.trigger_norm is None
        asked = "n_poisoned" if missing[0] else "trigger_norm" if missing[1] else "holds"
        words += ["labels=True"] if self.labels else []
        words += [f"{name}={value!r}" for name, value in self._kind().items()]
        return f"{asked}({', '.join(words)})"


def over_total(n_train: int | None = None) -> str:
    """What radii run over, and what they count; for headings.

    Parameters
    ----------
    n_train : int, optional
        Number of training samples.

    Returns
    -------
    str
        Part of a sentence.

    Examples
    --------
    >>> from certssb.certificates._budget import over_total
    >>> over_total(1346)
    'over the total L2 norm of changes to the features of all 1,346 training samples, labels as received'
    """
    samples = "training samples" if n_train is None else f"{n_train:,} training samples"
    return f"over the total L2 norm of changes to the features of all {samples}, labels as received"


def exactly(size: float) -> str:
    """A number in few digits if these are exact, and in all of them if not: rounding could claim more."""
    short = f"{size:g}"
    return short if float(short) == size else repr(float(size))


def grouped(size: float) -> str:
    """The same, with commas between thousands of a whole number."""
    return f"{int(size):,}" if float(size).is_integer() else exactly(size)


def down(size: float) -> float:
    """A size that is survived in four digits, rounded down.

    Examples
    --------
    >>> from certssb.certificates._budget import down
    >>> down(0.047839), down(1234.56), down(0.0)
    (0.04783, 1234.0, 0.0)
    """
    if not 0 < size < math.inf:
        return size
    return float(Decimal(size).normalize(Context(prec=4, rounding=ROUND_FLOOR)))


def check_budget(labels: Any, edits: Any = None, counted: Any = None, **sizes: Any) -> Budget:
    """Make a budget of what a user typed: `n_poisoned`, `trigger_norm` or both; the one left out stays open."""
    kind, numbers = checked_edits("modified" if edits is None else edits)
    counted = checked_counted("edits" if counted is None else counted)
    n_poisoned = check_count("n_poisoned", sizes["n_poisoned"]) if "n_poisoned" in sizes else None
    if numbers is not None:
        total = numbers[0] * (1 if counted == "edits" else 2) + numbers[1] + numbers[2]
        if n_poisoned not in (None, total):
            expected = f"left out beside a dict of edits, which makes {total} of them"
            raise parameter_error("n_poisoned", expected, n_poisoned)
        n_poisoned = total
    return Budget(
        n_poisoned,
        check_norm(sizes["trigger_norm"]) if "trigger_norm" in sizes else None,
        check_labels(labels),
        kind,
        counted,
        numbers,
    )


def asked_budget(
    n_poisoned: Any, trigger_norm: Any, labels: Any, edits: Any = None, counted: Any = None
) -> Budget | None:
    """Make a budget of options of which None stands for left out; None if all are.

    Of edits that are not modifications a norm says nothing: they are asked about with any.
    """
    given = {"n_poisoned": n_poisoned, "trigger_norm": trigger_norm}
    sizes = {name: value for name, value in given.items() if value is not None}
    budget = check_budget(labels, edits, counted, **sizes)
    if budget.trigger_norm is None and (
        not budget.limits_norms() or ((edits or counted) and n_poisoned is None)
    ):
        budget = replace(budget, trigger_norm=math.inf)
    if budget.n_poisoned is not None or budget.trigger_norm is not None:
        return budget
    if budget.labels:
        raise parameter_error("labels", "given with n_poisoned, trigger_norm or both", "labels=True alone")
    return None


def checked_edits(value: Any) -> tuple[str, tuple[int, int, int] | None]:
    """The kind of edits that a user typed, and numbers of each if there are."""
    if isinstance(value, Mapping):
        unknown = [key for key in value if key not in KINDS]
        if unknown or not value:
            expected = f"a dict of numbers by {one_of(KINDS)[7:]}"
            raise parameter_error("edits", expected, shown(unknown[0]) if unknown else "an empty one")
        modified, inserted, deleted = (check_count("edits", value.get(kind, 0)) for kind in KINDS)
        return "mixed", (modified, inserted, deleted)
    if not isinstance(value, str) or value not in (*KINDS, "any"):
        raise parameter_error("edits", f"{one_of((*KINDS, 'any'))}, or a dict of numbers", shown(value))
    return value, None


def checked_counted(value: Any) -> str:
    """What a modification counts, as a user typed it."""
    if not isinstance(value, str) or value not in COUNTED:
        raise parameter_error("counted", one_of(COUNTED), shown(value))
    return value


def check_count(name: str, value: Any) -> int:
    """Return `value` as an int if it can be a number of samples."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise parameter_error(name, "an integer of at least 0", repr(value))
    if not 0 <= value < 2**63:
        raise parameter_error(name, "an integer of at least 0", repr(value))
    return int(value)


def check_norm(value: Any) -> float:
    """Return `value` as a float if it is a number; its range is checked where it is used."""
    return check_number("trigger_norm", value, "a float of at least 0, or inf")


def check_labels(value: Any) -> bool:
    """Return `value` as a bool if it is one: "no" is true to Python."""
    if not isinstance(value, (bool, np.bool_)):
        raise parameter_error("labels", "a bool", repr(value))
    return bool(value)
