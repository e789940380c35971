"""One self-contained page about everything that a suite asserted: what held, what did not, and the curves."""

from __future__ import annotations

import datetime
from typing import Any

from certssb._core import __version__
from certssb._extras import absent
from certssb.certificates._budget import exactly, grouped
from certssb.certificates._shares import share_down
from certssb.report._markup import Markup, table, tag
from certssb.report._page import document

__all__ = ["render_suite"]


def render_suite(name: str, assertions: list[dict[str, Any]]) -> str:
    """Make the page.

    Parameters
    ----------
    name : str
        Whose suite it is.
    assertions : list of dict
        What ``certssb.testing._asserted`` told, with the name of the test of each.

    Returns
    -------
    str
        A self-contained HTML document.
    """
    title = f"Certified accuracy: {name}"
    n_held = sum(found["held"] for found in assertions)
    tests = len({found["test"] for found in assertions})
    when = datetime.datetime.now(tz=datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    suite = f"{tests:,} test" if tests == 1 else f"{tests:,} tests"
    told = f"{n_held:,} of {len(assertions):,} assertions held, in {suite}. {when}, certssb {__version__}."
    header = tag("header", tag("h1", title), tag("p", told, class_="faint"))
    # Those that did not hold first; of the others the order in which they ran, whichever worker it was.
    rows = sorted(assertions, key=lambda found: (found["held"], found["test"]))
    tables: dict[str, list[dict[str, Any]]] = {}
    for found in rows:
        tables.setdefault(found["table"], []).append(found)
    places = {digest: place for place, digest in enumerate(tables, start=1)}
    sections = [_results(rows, places)]
    sections += [_certificates(places[digest], of_table) for digest, of_table in tables.items()]
    return document(title, header, sections)


def _results(rows: list[dict[str, Any]], places: dict[str, int]) -> Markup:
    heading = tag("h2", "What was asserted")
    if not rows:
        return tag("section", heading, tag("p", "Nothing: no test called assert_certified_accuracy."))
    body = [
        [
            tag("code", found["test"]),
            found["threat"],
            f"{exactly(100 * found['asked'])}%",
            f"{100 * share_down(found['share']):.2f}%",
            "yes" if found["held"] else tag("strong", "no"),
            tag("a", f"{places[found['table']]}", href=f"#certificates-{places[found['table']]}"),
        ]
        for found in rows
    ]
    head = ["Test", "Threat", "At least", "Certified", "Held", "Table"]
    return tag("section", heading, table(head, body, class_="numbers assertions"))


def _certificates(place: int, rows: list[dict[str, Any]]) -> Markup:
    first = rows[0]
    members = f", {first['n_members']:,} members" if first["n_members"] is not None else ""
    trained = f", {first['n_train']:,} training samples" if first["n_train"] is not None else ""
    facts = f"{first['law']}{members}{trained}, {first['n_samples']:,} test samples."
    warning = tag(
        "p", tag("strong", "Not a proof against an attacker on the training set."), class_="warning"
    )
    sentences = dict.fromkeys(found["sentence"] for found in rows)
    return tag(
        "section",
        tag("h2", f"Certificates {place}", id=f"certificates-{place}"),
        tag("p", facts, class_="faint"),
        None if first["sound"] else warning,
        tag("blockquote", first["guarantee"]),
        tag("div", *_curves(place, rows), class_="plots"),
        tag(
            "details",
            tag("summary", f"The sentence to quote for each threat ({len(sentences)})"),
            *(tag("blockquote", sentence) for sentence in sentences),
        ),
    )


def _curves(place: int, rows: list[dict[str, Any]]) -> list[Markup]:
    """One drawing per kind of change; where matplotlib is not installed, the same as a table."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for found in rows:
        kinds.setdefault(found["unit"], []).append(found)
    # Each as far as the largest that was asked about.
    widest = [(unit, max(of_kind, key=lambda found: found["size"])) for unit, of_kind in kinds.items()]
    if absent("matplotlib", "A plot", "plot") is None:
        return [_drawn(place, unit, found) for unit, found in widest]
    return [
        tag(
            "div",
            tag("h3", f"Predicted right and certified, over the {unit}"),
            table(
                ["Size", "Share"],
                [[grouped(size), f"{100 * share_down(share):.2f}%"]
                 for size, share in zip(found["sizes"], found["shares"], strict=True)],
                class_="numbers",
            ),
        )
        for unit, found in widest
    ]  # fmt: skip


def _drawn(place: int, unit: str, found: dict[str, Any]) -> Markup:
    from certssb.displays import CertifiedAccuracyDisplay
    from certssb.report._plots import drawing

    display = CertifiedAccuracyDisplay(
        found["sizes"], found["shares"], sound=found["sound"], xlabel="Size of the change (at most)", title=""
    )
    return drawing(display, f"Certificates {place}: predicted right and certified, over the {unit}")
