"""What the attacker may have changed: checked in one place, and said in one wording."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from decimal import ROUND_FLOOR, Context, Decimal
from typing import Any

import numpy as np

from certssb._checks import check_number, parameter_error

__all__ = [
    "Budget",
    "asked_budget",
    "check_budget",
    "check_count",
    "check_labels",
    "check_norm",
    "down",
    "exactly",
    "over_total",
]


@dataclass(frozen=True)
class Budget:
    """At most so many training samples changed, each by at most such a norm, with or without their labels.

    Attributes
    ----------
    n_poisoned : int or None
        Number of changed samples; None where that is asked for.
    trigger_norm : float or None
        L2 norm of the change of each; infinite for any change, None where that is asked for.
    labels : bool
        Whether their labels may be any as well.
    """

    n_poisoned: int | None
    trigger_norm: float | None
    labels: bool = False

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
        """
        of = "" if n_train is None else f" of {n_train:,}"
        number = "" if self.n_poisoned is None else f"at most {self.n_poisoned:,}{of} "
        samples = "sample" if self.n_poisoned == 1 and not of else "samples"
        how = ""
        if self.trigger_norm is not None:
            how = f", each by an L2 norm of at most {exactly(self.trigger_norm)}"
            if math.isinf(self.trigger_norm):
                how = " in any way" if self.labels else " in any of their features"
        return f"{number}training {samples} changed{how}, {self._labels()}"

    def _labels(self) -> str:
        return "labels included" if self.labels else "labels as received"

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
        words = self.words()
        if n_train is not None:
            words = words.replace("training samples", f"training samples (of {n_train:,})", 1)
        return f"over the number of {words}"

    def change(self) -> dict[str, Any]:
        """The budget as the keywords of a table's methods; what is open is left out."""
        sizes = {"n_poisoned": self.n_poisoned, "trigger_norm": self.trigger_norm}
        return {name: size for name, size in sizes.items() if size is not None} | {"labels": self.labels}

    def column(self) -> str:
        """Name of the column of a table that answers this budget: the call that gives the same values."""
        given = {"n_poisoned": self.n_poisoned, "trigger_norm": self.trigger_norm}
        words = [f"{name}={value}" for name, value in given.items() if value is not None]
        asked = "holds" if len(words) == 2 else next(name for name, value in given.items() if value is None)
        return f"{asked}({', '.join([*words, *(['labels=True'] if self.labels else [])])})"


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


def check_budget(labels: Any, **sizes: Any) -> Budget:
    """Make a budget of what a user typed: `n_poisoned`, `trigger_norm` or both; the one left out stays open."""
    return Budget(
        check_count("n_poisoned", sizes["n_poisoned"]) if "n_poisoned" in sizes else None,
        check_norm(sizes["trigger_norm"]) if "trigger_norm" in sizes else None,
        check_labels(labels),
    )


def asked_budget(n_poisoned: Any, trigger_norm: Any, labels: Any) -> Budget | None:
    """Make a budget of options of which None stands for left out; None if all are."""
    given = {"n_poisoned": n_poisoned, "trigger_norm": trigger_norm}
    budget = check_budget(labels, **{name: value for name, value in given.items() if value is not None})
    if budget.n_poisoned is not None or budget.trigger_norm is not None:
        return budget
    if budget.labels:
        raise parameter_error("labels", "given with n_poisoned, trigger_norm or both", "labels=True alone")
    return None


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
