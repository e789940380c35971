"""What a run comes to in a few numbers: how much is predicted right, and how much of it no change within the budget touches."""

from __future__ import annotations

import math
from datetime import datetime, timezone
from typing import Any, NamedTuple

from certssb.certificates._shares import share_down, share_up
from certssb.exceptions import ParameterError
from certssb.laws import Discrete
from certssb.report._markup import Markup, tag
from certssb.report._run import Run

__all__ = ["Headline", "finished", "headline", "headlines", "percent", "percent_up"]


class Headline(NamedTuple):
    """The numbers of one set of test samples.

    Attributes
    ----------
    name : str
        The set.
    accuracy : float
        Share that is predicted right.
    certified : float or None
        Share that is predicted right whatever is changed within the run's budget; None where the law says nothing of it.
    """

    name: str
    accuracy: float
    certified: float | None


def headlines(run: Run) -> list[Headline]:
    """The numbers of every set of test samples."""
    return [
        Headline(name, float(run.summary["results"][name]["accuracy"]), _certified(run, name))
        for name in run.tables
    ]


def _certified(run: Run, name: str) -> float | None:
    table, y = run.tables[name], run.samples[name].y_true
    if isinstance(table.law, Discrete):
        results = run.summary["results"][name]
        shares = dict(zip(results.get("flips", ()), results.get("certified_accuracy_flips", ()), strict=True))
        return None if 1.0 not in shares else float(shares[1.0])
    try:
        return float(table.certified_accuracy(y, **run.budget.change()))
    except ParameterError:
        return None


def change_words(run: Run) -> str:
    """What the certified shares are counted for."""
    if isinstance(next(iter(run.tables.values())).law, Discrete):
        return f"at most 1 entry of {run.n_train:,} training samples changed"
    return run.budget.words(run.n_train)


def percent(share: float | None) -> str:
    """In percent with two decimals, rounded down, so that no share claims more than was certified."""
    return "-" if share is None else f"{100 * share_down(share):.2f}%"


def percent_up(share: float | None) -> str:
    """In percent with two decimals, rounded up."""
    return "-" if share is None else f"{100 * share_up(share):.2f}%"


def headline(run: Run) -> Markup:
    """The numbers, and one sentence that says what they count."""
    cards = []
    for found in headlines(run):
        cards.append(_card(percent(found.accuracy), f"{found.name}: predicted right"))
        cards.append(
            _card(percent(found.certified), f"{found.name}: predicted right and certified", "certified-share")
        )
    sound = all(table.sound for table in run.tables.values())
    rests = "as the guarantee below says" if sound else "by a published form, which is not a proof"
    words = f"Certified: the prediction stays the same with {change_words(run)}, {rests}."
    measured = any({"trigger_norms", "radii"} & results.keys() for results in run.summary["results"].values())
    if measured and run.budget.trigger_norm is not None and math.isinf(run.budget.trigger_norm):
        words += (
            " No norm was asked for, so changes of any size count here; what is certified up to which norm stands in the "
            "tables below."
        )
    return tag("section", tag("dl", *cards, class_="headline"), tag("p", words), class_="first")


def _card(number: str, words: str, kind: str | None = None) -> Markup:
    return tag("div", tag("dd", number), tag("dt", words), class_=kind)


def finished(run: Run) -> Markup | None:
    """When the run ended, for people."""
    told: Any = run.summary.get("finished")
    try:
        when = datetime.fromisoformat(told).astimezone(timezone.utc)
    except (TypeError, ValueError):
        return None
    words = f"{when.day} {when:%B %Y, %H:%M} UTC"
    return tag("time", words, datetime=told)
