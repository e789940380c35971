"""The displays' curves as drawings inside the page, in colours that follow its light or dark scheme."""

from __future__ import annotations

import io
import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from certssb._extras import absent
from certssb.certificates._budget import Budget, exactly
from certssb.certificates._shares import share_down
from certssb.displays import CertifiedAccuracyDisplay, FrontierDisplay
from certssb.displays._style import COLOURS, FAINT, INK
from certssb.report._counted import KINDS, Kind
from certssb.report._markup import Markup, tag
from certssb.report._run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["drawing", "figures"]

# Small enough that its letters stay readable where a phone shows it in full width.
_SIZE = (4.7, 3.3)


def figures(run: Run) -> list[Markup]:
    """Draw what a run's certificates can be drawn over: radius, trigger norm or entries, and the frontier.

    Parameters
    ----------
    run : Run
        What the run left.

    Returns
    -------
    list of Markup
        One ``<figure>`` per plot; where matplotlib is not installed, one sentence that says so.
    """
    sentence = absent("matplotlib", "A plot", "plot")
    if sentence is not None:
        return [tag("p", f"{sentence}, then certssb report {run.name}", class_="faint")]
    drawn = [
        _over(run, kind) for kind in KINDS if all(kind.sizes in r for r in run.summary["results"].values())
    ]
    if all("trigger_norms" in results for results in run.summary["results"].values()):
        drawn += [_frontier(run, name) for name in run.tables]
    return drawn


_TOLD = 20
"""Points of one curve of a frontier that say their numbers: each takes a few hundred bytes."""

_XLABELS = {
    "trigger_norms": "L2 norm of the change of each sample",
    "radii": "L2 radius over the whole training set",
    "flips": "Changed entries (at most)",
}


def _display(run: Run, kind: Kind, name: str) -> CertifiedAccuracyDisplay:
    make, budget = CertifiedAccuracyDisplay.from_certificates, run.budget
    table, y_true, results = run.tables[name], run.samples[name].y_true, run.summary["results"][name]
    if kind.sizes == "radii":
        return make(table, y_true, name=name)
    if kind.sizes == "trigger_norms":
        return make(table, y_true, name=name, **replace(budget, trigger_norm=None).change())
    if kind.sizes == "counts":
        return make(table, y_true, name=name, **replace(budget, n_poisoned=None).change())
    shares = results[kind.shares]
    return CertifiedAccuracyDisplay(results[kind.sizes], shares, name=name, sound=table.sound)


def _over(run: Run, kind: Kind) -> Markup:
    curves = [(name, _display(run, kind, name), run.summary["results"][name]) for name in run.tables]
    return _drawn(curves, kind, run)


def compared(runs: dict[str, Run], kind: Kind) -> Markup:
    """The curves of several runs that count the same, in one drawing."""
    curves = []
    for which, run in runs.items():
        for name in run.tables:
            display = _display(run, kind, name)
            display.name = f"{which}, {name}"
            curves.append((display.name, display, run.summary["results"][name]))
    return _drawn(curves, kind, next(iter(runs.values())))


def _drawn(
    curves: list[tuple[str, CertifiedAccuracyDisplay, dict[str, Any]]], kind: Kind, run: Run
) -> Markup:
    ax, colours = _axes(), []
    for _, display, _ in curves:
        _plot(display, ax, _XLABELS.get(kind.sizes, display.xlabel))
        colours.append(ax.get_lines()[-1].get_color())
    # After all curves, whose colours go by how many lines there are.
    for (name, _, results), colour in zip(curves, colours, strict=True):
        _tell(ax, name, kind, results, colour)
    return _figure(ax, f"Predicted right and certified, {run._counted(kind)}")


def _tell(ax: Axes, name: str, kind: Kind, results: dict[str, Any], colour: Any) -> None:
    """Say the numbers of a curve where a pointer rests on it: those of the table."""
    for size, share in zip(results[kind.sizes], results[kind.shares], strict=True):
        words = f"{name}: {100 * share_down(share):.2f}% at {exactly(size)} ({kind.unit})"
        _point(ax, float(size), float(share), words, colour)


def _point(ax: Axes, x: float, y: float, words: str, colour: Any) -> None:
    """A mark that shows itself, and its words, under a pointer only."""
    left, right = ax.get_xlim()
    if not left <= x <= right:
        return
    told: list[str] = vars(ax).setdefault("_certssb_told", [])
    limits = ax.get_xlim(), ax.get_ylim()
    ax.plot(
        [x], [y], marker="o", markersize=9, linestyle="none", color=colour, alpha=0.0, clip_on=False, zorder=5,
        label="_told", gid=f"point-{len(told)}",
    )  # fmt: skip
    told.append(words)
    ax.set_xlim(*limits[0])
    ax.set_ylim(*limits[1])


def drawing(display: CertifiedAccuracyDisplay, title: str) -> Markup:
    """One curve as a drawing of a page; titles on a page must differ."""
    ax = _axes()
    display.plot(ax=ax)
    return _figure(ax, title)


def _plot(display: CertifiedAccuracyDisplay, ax: Axes, xlabel: str | None) -> None:
    display.xlabel, display.title = xlabel, ""
    display.plot(ax=ax)


def _frontier(run: Run, name: str) -> Markup:
    labels = run.budget.labels
    display = FrontierDisplay.from_certificates(run.tables[name], run.samples[name].y_true, labels=labels)
    display.title = ""
    ax = _axes()
    display.plot(ax=ax)
    lines = list(display.lines_)
    for line, level, curve in zip(lines, display.levels, display.curves, strict=True):
        every = -(-len(curve) // _TOLD)
        for n, norm in zip(display.n_poisoned[::every].tolist(), curve[::every].tolist(), strict=True):
            if math.isfinite(norm):
                told = (
                    f"{name}: {100 * level:g}% survive {n:,} samples, each changed by at most {_down(norm)}"
                )
                _point(ax, float(n), float(norm), told, line.get_color())
    words = Budget(None, None, labels).over(run.n_train)
    title = f"Largest trigger norm that shares of the {name} test samples survive, predicted right, {words}"
    return _figure(ax, title, dashes=(None, "9 3", "2 2"))


def _down(norm: float) -> str:
    return f"{math.floor(1000 * norm) / 1000:.3f}"


def _axes() -> Axes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE, layout="constrained")
    FigureCanvasAgg(figure)
    return figure.add_subplot()


def _figure(ax: Axes, title: str, dashes: tuple[str | None, ...] = ()) -> Markup:
    """The plot with its title above and its key below, where they wrap."""
    lines, labels = ax.get_legend_handles_labels()
    handles: list[Any] = list(lines)
    dashes = dashes or tuple(None if line.get_linestyle() == "-" else "9 4" for line in handles)
    keys = [
        tag("li", _swatch(line, dash), label)
        for line, dash, label in zip(handles, dashes, labels, strict=True)
    ]
    legend: Any = ax.get_legend()
    if legend is not None:
        legend.remove()
    key = tag("ul", *keys, class_="key") if keys else None
    return tag("figure", tag("figcaption", title), _svg(ax, title), key)


def _swatch(line: Any, dash: str | None) -> Markup:
    stroke = {
        "stroke": _THEMED.get(str(line.get_color()).lower(), "currentColor"),
        "stroke_width": "2.5",
        "stroke_dasharray": dash,
    }
    size = {"viewBox": "0 0 24 10", "width": "24", "height": "10"}
    return tag("svg", tag("path", d="M0 5h24", **stroke), aria_hidden="true", **size)


_THEMED = {
    INK.lower(): "currentColor",
    FAINT.lower(): "var(--faint)",
    "#e3e3e3": "var(--line)",
    "#f0f0f0": "var(--band)",
    **{colour.lower(): f"var(--series-{place})" for place, colour in enumerate(COLOURS)},
}


def _svg(ax: Axes, title: str) -> Markup:
    import matplotlib

    written = io.StringIO()
    figure: Any = ax.figure
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": title}):
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    drawing = written.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r"#[0-9a-f]{6}\b", lambda colour: _THEMED.get(colour[0], colour[0]), drawing)
    drawing = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px system-ui, sans-serif", drawing)
    # Several drawings share the page, so that names inside them must differ.
    prefix = re.sub(r"\W+", "-", title)
    drawing = re.sub(r'\bid="', f'id="{prefix}-', drawing)
    drawing = re.sub(r'(url\(#|href="#)', rf"\1{prefix}-", drawing)
    told: list[str] = vars(ax).get("_certssb_told", [])
    drawing = re.sub(
        r'<g id="[^"]*-point-(\d+)">', lambda group: group[0] + tag("title", told[int(group[1])]), drawing
    )
    opened = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", drawing, count=1)
    opened = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", opened, count=1)
    named = tag("svg", role="img", aria_label=title)[: -len("></svg>")]
    return Markup(opened.replace("<svg", named, 1))
