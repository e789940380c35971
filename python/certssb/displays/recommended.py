"""What laws achieved on trusted samples: certified share against accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from certssb._checks import check_floats, frozen, parameter_error, shape_error, shown
from certssb._extras import needed
from certssb.displays._style import COLOURS, FAINT, INK, dressed_axes, figure_of, write_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.figure import Figure
    from typing_extensions import Self

    from certssb.recommending import Recommendation

__all__ = ["RecommendationDisplay"]

_MARKERS = "osD^vP*X"


class RecommendationDisplay:
    """One point per law: the share of trusted samples predicted right, and the share whose votes would be enough.

    Parameters
    ----------
    accuracy : array-like of shape (n_laws,)
        Share of samples that are predicted right.
    certified : array-like of shape (n_laws,)
        Share of samples that are predicted right and whose votes would be enough for the threat; at most the accuracy.
    names : sequence of str
        Names of the laws, in the legend; the first is the best.
    title : str or None, default=None
        Title over the plot.
    sentence : str or None, default=None
        What the numbers rest on, in small print under the plot.

    Attributes
    ----------
    points_ : list of matplotlib.collections.PathCollection
        One for each law, after :meth:`plot`.
    ax_ : matplotlib.axes.Axes
        The axes that they were drawn on.
    figure_ : matplotlib.figure.Figure
        The figure around it.

    Raises
    ------
    ParameterError
        If a share is outside [0, 1].
    ShapeError
        If there is not one value of each for every law.

    Examples
    --------
    >>> from certssb.displays import RecommendationDisplay
    >>> display = RecommendationDisplay([0.97, 0.92], [0.71, 0.66], ["Subsample(size=21)", "Partition(401)"])
    >>> display.certified.tolist()
    [0.71, 0.66]
    """

    points_: list[PathCollection]
    ax_: Axes
    figure_: Figure

    def __init__(
        self,
        accuracy: npt.ArrayLike,
        certified: npt.ArrayLike,
        names: Sequence[str],
        *,
        title: str | None = None,
        sentence: str | None = None,
    ) -> None:
        if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
            raise parameter_error("names", "a list of names, one for each law", shown(names))
        self.names = tuple(names)
        self.accuracy = frozen(check_floats("accuracy", accuracy, copy=True))
        self.certified = frozen(check_floats("certified", certified, copy=True))
        for name, values in (("accuracy", self.accuracy), ("certified", self.certified)):
            if values.shape != (len(self.names),):
                raise shape_error(
                    name, f"one share for each of {len(self.names)} laws", f"shape {values.shape}"
                )
            if not ((values >= 0) & (values <= 1)).all():
                raise parameter_error(name, "shares in the range [0, 1]", np.array2string(values))
        self.title = title
        self.sentence = sentence

    @classmethod
    def from_recommendation(cls, recommendation: Recommendation) -> Self:
        """Build the display from what :func:`certssb.recommend` measured.

        Parameters
        ----------
        recommendation : Recommendation
            One that was made with trusted samples.

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
        >>> display = cs.RecommendationDisplay.from_recommendation(found)
        >>> len(display.names) == len(found)
        True
        """
        rows = [row for row in recommendation if row.accuracy is not None and row.certified is not None]
        if not rows:
            raise parameter_error(
                "recommendation", "one that was measured, with trusted= and model=", "one that was not"
            )
        return cls(
            [row.accuracy or 0.0 for row in rows],
            [row.certified or 0.0 for row in rows],
            [repr(row.law) for row in rows],
            title=f"Against {recommendation.threat.words(recommendation.n_train)}",
            sentence=recommendation.sentence,
        )

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the points.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw on; a new figure if not given.

        Returns
        -------
        RecommendationDisplay
            Itself, with ``ax_``, ``figure_`` and ``points_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> from certssb.displays import RecommendationDisplay
        >>> display = RecommendationDisplay([0.97, 0.92], [0.71, 0.66], ["Subsample(size=21)", "Partition(401)"])
        >>> display.plot().ax_.get_xlabel()
        'Trusted samples predicted right'
        """
        ticker = needed("matplotlib.ticker", "A plot", "plot")
        ax, _ = dressed_axes(ax)
        # Nothing is certified that is not right: no point lies above the line.
        ax.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        self.points_ = []
        for place, (x, y, name) in enumerate(zip(self.accuracy, self.certified, self.names, strict=True)):
            style: dict[str, Any] = {
                "color": COLOURS[place % len(COLOURS)],
                "marker": _MARKERS[place // len(COLOURS) % len(_MARKERS)],
            }
            size = 90 if place == 0 else 42
            self.points_.append(
                ax.scatter([x], [y], s=size, label=name, zorder=3, clip_on=False, edgecolor="white", **style)
            )
        low = max(0.0, np.floor(10 * float(self.accuracy.min()) - 0.5) / 10) if len(self.accuracy) else 0.0
        ax.set_xlim(low, 1)
        ax.set_ylim(0, 1)
        # An axis is at least a tenth long, so that its ticks are whole percents.
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(ticker.MaxNLocator(6, steps=[1, 2, 5, 10]))
            axis.set_major_formatter(ticker.PercentFormatter(1.0, decimals=0))
        ax.set_xlabel("Trusted samples predicted right", color=INK, fontsize=9.5)
        ax.set_ylabel("Predicted right, with enough votes", color=INK, fontsize=9.5)
        if self.title:
            ax.set_title(self.title, loc="left", fontsize=10.5, color=INK, wrap=True)
        place_of: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.02, 1.0), "borderaxespad": 0.0}
        ax.legend(frameon=False, fontsize=8.5, labelcolor=INK, **place_of)
        if self.sentence:
            write_note(ax, self.sentence, below=44)
        self.ax_, self.figure_ = ax, figure_of(ax)
        return self
