"""How every plot here looks: axes, colours, legend, and the guarantee under the plot."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from certssb._extras import needed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by colour-blind readers; the line style differs as well.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
INK, FAINT = "#333333", "#777777"


def memory_of(ax: Axes) -> dict[str, Any]:
    """What earlier displays left on these axes; it lives and dies with them."""
    memory: dict[str, Any] = vars(ax).setdefault("_certssb", {})
    return memory


def label_of(name: str | None, sound: bool) -> str:
    label = name or "certified accuracy"
    return label if sound else f"{label} (not a proof)"


def line_style(place: int, sound: bool) -> dict[str, Any]:
    style = STYLES[(place // len(COLOURS)) % len(STYLES)] if sound else (0, (4, 2))
    return {"color": COLOURS[place % len(COLOURS)], "linestyle": style, "linewidth": 2.2}


def new_axes(size: tuple[float, float]) -> Axes:
    plt = needed("matplotlib.pyplot", "A plot", "plot")
    ax: Axes
    _, ax = plt.subplots(figsize=size, layout="constrained")
    return ax


def dressed_axes(ax: Axes | None) -> tuple[Axes, int]:
    """The axes to draw on, dressed, and how many curves are on them."""
    if ax is None:
        ax = new_axes((8.0, 4.4))
    n_before = len(ax.lines)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(FAINT)
    ax.tick_params(colors=FAINT, labelcolor=INK, labelsize=9)
    ax.grid(True, color="#E3E3E3", linewidth=0.8)
    ax.set_axisbelow(True)
    return ax, n_before


def figure_of(ax: Axes) -> Figure:
    figure: Any = ax.figure
    root: Figure = figure.figure if getattr(figure, "figure", None) is not None else figure
    return root


def finish(display: Any, ax: Axes, title: str | None, guarantee: bool, name: str | None) -> None:
    """Labels, legend and guarantee; the same for every curve."""
    for axis in (ax.xaxis, ax.yaxis):
        axis.label.set(color=INK, fontsize=9.5)
    if title:
        ax.set_title(_wrapped(title, ax), loc="left", fontsize=10.5, color=INK)
    handles, labels = ax.get_legend_handles_labels()
    if len(handles) > 1 or name or not display.sound:
        place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.02, 1.0), "borderaxespad": 0.0}
        ax.legend(handles, labels, frameon=False, fontsize=9, labelcolor=INK, handlelength=2.6, **place)
    if guarantee and display.guarantee:
        write_note(ax, display.guarantee if not name else f"{name}: {display.guarantee}", below=44)
    display.ax_, display.figure_ = ax, figure_of(ax)


def _wrapped(title: str, ax: Axes) -> str:
    """The title in lines as wide as the axes: a heading that says what was counted is long."""
    width = figure_of(ax).get_figwidth() * 72 * ax.get_position().width / 5.0
    return textwrap.fill(title, max(24, int(width)))


def write_note(ax: Axes, sentence: str, below: float) -> None:
    """Write a sentence small under the axes, below those written there before."""
    text, sentences = memory_of(ax).get("note", (None, []))
    if sentence not in sentences:
        sentences = [*sentences, sentence]
    width = max(40, int(figure_of(ax).get_figwidth() * 72 * 0.85 / 3.75))
    wrapped = "\n".join(textwrap.fill(s, width) for s in sentences)
    if text is not None:
        text.remove()
    options: dict[str, Any] = {
        "xycoords": "axes fraction",
        "textcoords": "offset points",
        "annotation_clip": False,
    }
    text = ax.annotate(
        wrapped,
        (0, 0),
        (0, -below),
        va="top",
        ha="left",
        fontsize=7.5,
        color=FAINT,
        linespacing=1.35,
        **options,
    )
    memory_of(ax)["note"] = (text, sentences)
