"""Two runs side by side: their numbers, what differs in how they were made, and where they disagree."""

from __future__ import annotations

from typing import Any

import numpy as np

from certssb._extras import absent
from certssb.report._counted import KINDS
from certssb.report._headline import change_words, finished, headlines, percent
from certssb.report._markup import Markup, table, tag
from certssb.report._page import document, written
from certssb.report._plots import compared
from certssb.report._run import Run

__all__ = ["render_comparison"]

_HOW = ("out", "quiet", "jobs", "checkpoint")
"""Settings that change nothing of what comes out."""


def render_comparison(one: Run, two: Run) -> str:
    """Make the page.

    Parameters
    ----------
    one, two : Run
        What the runs left in their folders.

    Returns
    -------
    str
        A whole HTML document that loads nothing.
    """
    names = _names(one, two)
    sections = [
        _numbers(one, two, names),
        _made(one, two, names),
        _curves(one, two, names),
        _agreement(one, two, names),
    ]
    sections += [_guarantees(one, two, names)]
    title = f"Comparison: {names[0]} and {names[1]}"
    header = tag("header", tag("h1", title), tag("p", *_dates(one, two, names), class_="faint"))
    return document(title, header, sections)


def _names(one: Run, two: Run) -> tuple[str, str]:
    return (one.name, two.name) if one.name != two.name else (f"{one.name} (first)", f"{two.name} (second)")


def _dates(one: Run, two: Run, names: tuple[str, str]) -> list[Any]:
    parts: list[Any] = []
    for name, run in zip(names, (one, two), strict=True):
        when = finished(run)
        parts += ["; " if parts else "", f"{name}: {run.summary['law']}", ", finished " if when else "", when]
    return parts


def _numbers(one: Run, two: Run, names: tuple[str, str]) -> Markup:
    rows: list[list[Any]] = []
    of_two = {found.name: found for found in headlines(two)}
    for first in headlines(one):
        second = of_two.get(first.name)
        if second is None:
            continue
        for words, before, after in (
            ("predicted right", first.accuracy, second.accuracy),
            ("predicted right and certified", first.certified, second.certified),
        ):
            rows.append(
                [f"{first.name}: {words}", percent(before), percent(after), _difference(before, after)]
            )
    counts = [change_words(run) for run in (one, two)]
    if counts[0] == counts[1]:
        note = tag("p", f"Certified in both: the prediction stays the same with {counts[0]}.")
    else:
        both = "; ".join(f"{name}: {words}" for name, words in zip(names, counts, strict=True))
        warning = tag("strong", "The runs certify against different changes")
        note = tag("p", warning, f", so that certified shares are no comparison. {both}.", class_="warning")
    head = ["Test samples", *names, "difference"]
    return tag("section", tag("h2", "Results"), table(head, rows, class_="numbers"), note)


def _difference(before: float | None, after: float | None) -> str:
    return "-" if before is None or after is None else f"{100 * (after - before):+.2f} points"


def _made(one: Run, two: Run, names: tuple[str, str]) -> Markup:
    """What differs in settings, sizes and versions."""
    facts = []
    for run in (one, two):
        known = {
            key.replace("_", " "): value for key, value in run.summary["settings"].items() if key not in _HOW
        }
        known |= {f"version of {key}": value for key, value in run.summary["versions"].items()}
        record: Any = run.summary["record"]
        record = dict(record[0] if isinstance(record, list) else record)
        known |= {
            "digest of the training data": record.get("data_digest"),
            "seed of the noise": record.get("seed"),
        }
        facts.append(known | {"training took": f"{run.summary['seconds'].get('training', 0):,.1f} s"})
    keys = dict.fromkeys([*facts[0], *facts[1]])
    rows = [
        [key, *(_shown(known.get(key)) for known in facts)]
        for key in keys
        if facts[0].get(key) != facts[1].get(key)
    ]
    if not rows:
        rows = [["nothing", "", ""]]
    return tag("section", tag("h2", "What differs in how they were made"), table(["", *names], rows))


def _shown(value: Any) -> str:
    return "-" if value is None else written(value)


def _curves(one: Run, two: Run, names: tuple[str, str]) -> Markup | None:
    if absent("matplotlib", "A plot", "plot") is not None:
        return None
    drawn = []
    for kind in KINDS:
        has = all(kind.sizes in results for run in (one, two) for results in run.summary["results"].values())
        if has and one._counted(kind) == two._counted(kind):
            drawn.append(compared({names[0]: one, names[1]: two}, kind))
    return tag("section", tag("h2", "Curves"), tag("div", *drawn, class_="plots")) if drawn else None


def _agreement(one: Run, two: Run, names: tuple[str, str]) -> Markup | None:
    """How many samples one of the runs certifies and the other does not, where both were asked about the same ones."""
    rows = []
    for name, first in one.samples.items():
        second = two.samples.get(name)
        if second is None or not np.array_equal(first.y_true, second.y_true):
            continue
        right = []
        for run, samples in ((one, first), (two, second)):
            certs = run.tables[name]
            right.append(np.asarray(certs.prediction == samples.y_true) & ~certs.abstained)
        both = [right[0] & right[1], right[0] & ~right[1], ~right[0] & right[1], ~right[0] & ~right[1]]
        rows.append([name, *(f"{int(which.sum()):,}" for which in both)])
    if not rows:
        return None
    head = ["Test samples", "in both", f"in {names[0]} only", f"in {names[1]} only", "in neither"]
    note = "Samples that are predicted right and not abstained. The true classes of both runs' test samples are the same."
    return tag(
        "section",
        tag("h2", "Sample by sample"),
        table(head, rows, class_="numbers"),
        tag("p", note, class_="faint"),
    )


def _guarantees(one: Run, two: Run, names: tuple[str, str]) -> Markup:
    parts = []
    told = [list(dict.fromkeys(certs.guarantee for certs in run.tables.values())) for run in (one, two)]
    for name, run, sentences in zip(names, (one, two), told, strict=True):
        if told[0] == told[1]:
            name = "Both runs"
            if run is two:
                break
        parts += [tag("h3", name), *(tag("blockquote", sentence) for sentence in sentences)]
        if not all(certs.sound for certs in run.tables.values()):
            parts.append(
                tag(
                    "p",
                    tag("strong", "Not a proof against an attacker on the training set."),
                    class_="warning",
                )
            )
    return tag("section", tag("h2", "What is guaranteed"), *parts)
