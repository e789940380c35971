"""Training samples whose presence changes votes, and how certain that is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from certssb._checks import check_floats, check_integer, frozen, parameter_error, shape_error, shown
from certssb._extras import needed
from certssb.displays._style import COLOURS, FAINT, INK, dressed_axes, figure_of, write_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import ErrorbarContainer
    from matplotlib.figure import Figure
    from typing_extensions import Self

    from certssb.forensics import Influence

__all__ = ["InfluenceDisplay"]


class InfluenceDisplay:
    """How much each training sample's presence changes the share of votes, with two standard errors either way.

    Parameters
    ----------
    index : array-like of int of shape (n_shown,)
        Numbers of the training samples.
    difference : array-like of shape (n_shown,)
        Share of votes of members that drew the sample, minus that of members that did not.
    error : array-like of shape (n_shown,)
        Standard error of each difference.
    beyond : array-like of bool of shape (n_shown,), optional
        Which differences are beyond chance: these are drawn in colour, the others faintly.
    title : str or None, default=None
        Title over the plot.
    sentence : str or None, default=None
        What the numbers are and are not, in small print under the plot.

    Attributes
    ----------
    bars_ : matplotlib.container.ErrorbarContainer
        The points with their errors, after :meth:`plot`.
    ax_ : matplotlib.axes.Axes
        The axes that they were drawn on.
    figure_ : matplotlib.figure.Figure
        The figure around it.

    Raises
    ------
    ShapeError
        If there is not one value of each for every sample.

    Examples
    --------
    >>> from certssb.displays import InfluenceDisplay
    >>> display = InfluenceDisplay([17, 4], [0.21, 0.08], [0.03, 0.03], beyond=[True, False])
    >>> display.index.tolist()
    [17, 4]
    """

    bars_: ErrorbarContainer
    ax_: Axes
    figure_: Figure

    def __init__(
        self,
        index: npt.ArrayLike,
        difference: npt.ArrayLike,
        error: npt.ArrayLike,
        *,
        beyond: npt.ArrayLike | None = None,
        title: str | None = None,
        sentence: str | None = None,
    ) -> None:
        places = np.array(index)
        if places.ndim != 1 or places.dtype.kind not in "iu":
            raise parameter_error("index", "numbers of training samples, shape (n_shown,)", shown(index))
        self.index = frozen(places)
        self.difference = frozen(check_floats("difference", difference, copy=True))
        self.error = frozen(check_floats("error", error, copy=True))
        for name, values in (("difference", self.difference), ("error", self.error)):
            if values.shape != self.index.shape:
                raise shape_error(
                    name, f"one value for each of {len(self.index)} samples", f"shape {values.shape}"
                )
        marked = np.ones(len(self.index), dtype=np.bool_) if beyond is None else np.array(beyond)
        if marked.shape != self.index.shape or marked.dtype != np.bool_:
            raise parameter_error("beyond", "None or one bool for each sample", shown(beyond))
        self.beyond = frozen(marked)
        self._told = beyond is not None
        self.title = title
        self.sentence = sentence

    @classmethod
    def from_influence(cls, influence: Influence, top: int = 20) -> Self:
        """The samples that raise the votes for the inputs' classes most clearly.

        Parameters
        ----------
        influence : Influence
            What :meth:`certssb.CertifiedClassifier.influence` returned.
        top : int, default=20
            Number of samples to show.

        Returns
        -------
        InfluenceDisplay

        Raises
        ------
        ParameterError
            If `influence` is something else, or `top` is not an integer of at least 1.

        Examples
        --------
        >>> import certssb as cs
        >>> X, y = cs.datasets.load_digits(classes=(0, 1))
        >>> law = cs.Subsample(size=20)
        >>> clf = cs.CertifiedClassifier("discriminant", law, n_members=200, seed=0, progress=False)
        >>> _ = clf.fit(X[:300], y[:300])
        >>> len(cs.InfluenceDisplay.from_influence(clf.influence(X[300:310]), top=7).index)
        7
        """
        from certssb.forensics import Influence

        if not isinstance(influence, Influence):
            raise parameter_error("influence", "what CertifiedClassifier.influence returns", shown(influence))
        n = check_integer("top", top, "an integer of at least 1", 1)
        order = influence.order[:n]
        n_inputs = len(influence.classes)
        return cls(
            order, influence.difference[order], influence.error[order], beyond=influence.beyond[order],
            title=f"Votes on {n_inputs:,} input{'s' if n_inputs != 1 else ''}: members with a training sample, less members without",
            sentence=influence.sentence,
        )  # fmt: skip

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the samples from left to right.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw on; a new figure if not given.

        Returns
        -------
        InfluenceDisplay
            Itself, with ``ax_``, ``figure_`` and ``bars_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> from certssb.displays import InfluenceDisplay
        >>> InfluenceDisplay([17, 4], [0.21, 0.08], [0.03, 0.03]).plot().ax_.get_xlabel()
        'Training sample'
        """
        percent = needed("matplotlib.ticker", "A plot", "plot").PercentFormatter
        ax, _ = dressed_axes(ax)
        places = np.arange(len(self.index))
        ax.axhline(0, color=FAINT, linewidth=1)
        for chosen, colour, name in (
            (self.beyond, COLOURS[1], "beyond chance"),
            (~self.beyond, FAINT, "within chance"),
        ):
            if chosen.any():
                self.bars_ = ax.errorbar(
                    places[chosen], self.difference[chosen], yerr=2 * self.error[chosen], fmt="o", color=colour,
                    ecolor=colour, elinewidth=1.2, markersize=5, label=name if self._told else None,
                )  # fmt: skip
        ax.set_xticks(places, [str(i) for i in self.index], rotation=90 if len(places) > 8 else 0)
        ax.yaxis.set_major_formatter(percent(1.0, decimals=None))
        ax.set_xlabel("Training sample", color=INK, fontsize=9.5)
        ax.set_ylabel("Difference of vote shares", color=INK, fontsize=9.5)
        if self.title:
            ax.set_title(self.title, loc="left", fontsize=10.5, color=INK, wrap=True)
        if self._told and len(places):
            # A strip of its own above the bars.
            low, high = ax.get_ylim()
            ax.set_ylim(low, high + 0.16 * (high - low))
            legend: dict[str, Any] = {
                "loc": "upper right",
                "ncols": 2,
                "frameon": False,
                "fontsize": 8.5,
                "labelcolor": INK,
            }
            ax.legend(**legend)
        if self.sentence:
            write_note(ax, self.sentence, below=62)
        self.ax_, self.figure_ = ax, figure_of(ax)
        return self
