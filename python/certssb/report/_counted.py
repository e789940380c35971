"""What a run's tables and plots count, in one wording for the terminal, the page and the pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from certssb.certificates._budget import Budget, check_budget, over_total
from certssb.certificates._shares import share_down
from certssb.laws import Discrete, Law

__all__ = ["KINDS", "Kind", "attack_sentence", "budget_of", "counted", "saved_budget"]


class Kind(NamedTuple):
    """One way to say how large a change is.

    Attributes
    ----------
    sizes, shares : str
        Where the sizes, and the shares certified against them, stand in a run's results.
    unit : str
        What the sizes are.
    """

    sizes: str
    shares: str
    unit: str


KINDS = (
    Kind("counts", "certified_accuracy_counts", "samples"),
    Kind("trigger_norms", "certified_accuracy_budget", "trigger norm (L2)"),
    Kind("radii", "certified_accuracy", "radius"),
    Kind("flips", "certified_accuracy_flips", "entries"),
)


def counted(kind: Kind, budget: Budget, n_train: int, law: Law) -> str:
    """What the sizes of this kind count, for headings.

    Parameters
    ----------
    kind : Kind
        Which sizes.
    budget : Budget
        What the run certifies against.
    n_train : int
        Number of training samples.
    law : Law
        The law of the certificates.

    Returns
    -------
    str
        Part of a sentence.
    """
    if kind.sizes == "radii":
        return over_total(n_train)
    if kind.sizes == "trigger_norms":
        return replace(budget, trigger_norm=None).over(n_train)
    if kind.sizes == "counts":
        return replace(budget, n_poisoned=None).over(n_train)
    included = isinstance(law, Discrete) and law.labels
    test = " and entries of the test input" if isinstance(law, Discrete) and law.test_input else ""
    labels = "labels included" if included else "labels as received"
    return f"over the number of changed entries of the {n_train:,} training samples{test}, {labels}"


def saved_budget(budget: Budget) -> dict[str, Any]:
    """The budget as JSON has it, where no number is infinite."""
    norm = budget.trigger_norm
    kind = {name: value for name, value in budget.change().items() if name in ("edits", "counted")}
    return {
        "n_poisoned": budget.n_poisoned,
        "trigger_norm": "any" if norm is None or math.isinf(norm) else norm,
        "labels": budget.labels,
        **kind,
    }


def budget_of(saved: Mapping[str, Any]) -> Budget:
    """What :func:`saved_budget` made JSON of."""
    norm = saved.get("trigger_norm", "any")
    return check_budget(
        bool(saved["labels"]),
        saved.get("edits"),
        saved.get("counted"),
        n_poisoned=int(saved["n_poisoned"]),
        trigger_norm=math.inf if norm == "any" else float(norm),
    )


def attack_sentence(
    attack: Budget, headline: Budget, shares: Mapping[str, float | None], n_train: int
) -> str:
    """Whether what is certified covers the attack that the run itself made.

    Parameters
    ----------
    attack : Budget
        What the run changed.
    headline : Budget
        What its tables count.
    shares : dict of float or None
        Share of each set of test samples that is predicted right and certified against the attack, labels
        included; None where the law says nothing about it.
    n_train : int
        Number of training samples.

    Returns
    -------
    str
        A sentence, and a second one where the tables count less than the attack.

    Examples
    --------
    >>> from certssb.certificates._budget import Budget
    >>> from certssb.report._counted import attack_sentence
    >>> attack = Budget(27, 1.0, labels=True)
    >>> attack_sentence(attack, Budget(27, float("inf"), True), {"clean": 0.38559}, 1346)
    'Certified against the attack that this run made (at most 27 of 1,346 training samples changed, each by an L2 norm of at most 1, labels included): 38.55% of the clean test samples are predicted right, and for each of them, with the probability that the guarantee states, no such attack could change that.'
    >>> attack_sentence(attack, Budget(27, 1.0, False), {"clean": None}, 1346)[:76]
    'The attack that this run made is NOT covered: under this law labels count as'
    """
    words = f"({attack.words(n_train)})"
    known = {name: share for name, share in shares.items() if share is not None}
    if not known:
        # Label noise says nothing of features, other noise without labels nothing of these.
        kept = "features" if headline.labels and headline.trigger_norm == 0.0 else "labels"
        return (
            f"The attack that this run made is NOT covered: under this law {kept} count as received, and the attack "
            f"changed them {words}."
        )
    if not any(known.values()):
        sentence = (
            f"The attack that this run made is NOT covered: no test sample is both predicted right and certified "
            f"against it {words}."
        )
    else:
        listed = " and ".join(
            f"{100 * share_down(share):.2f}% of the {name}" for name, share in known.items()
        )
        sentence = (
            f"Certified against the attack that this run made {words}: {listed} test samples are predicted right, and "
            f"for each of them, with the probability that the guarantee states, no such attack could change that."
        )
    less = []
    if not headline.labels:
        less.append("labels as received")
    if (
        headline.n_poisoned is not None
        and attack.n_poisoned is not None
        and headline.n_poisoned < attack.n_poisoned
    ):
        less.append(f"{headline.n_poisoned:,} changed samples at most")
    if less:
        sentence += f" The tables and plots count less than that attack: {' and '.join(less)}."
    return sentence
