"""Largest certified trigger as a function of the number of samples that carry it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from certssb._checks import check_floats, frozen, parameter_error, shape_error
from certssb.data._truth import are_equal, true_labels
from certssb.displays._style import COLOURS, STYLES, dressed_axes, finish, label_of, memory_of
from certssb.displays._table import Certificates, Floats
from certssb.exceptions import ParameterError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from typing_extensions import Self

__all__ = ["FrontierDisplay"]

_Drawn: TypeAlias = "list[tuple[list[Line2D], Floats, npt.NDArray[np.int64]]]"


class FrontierDisplay:
    """Largest certified trigger as a function of the number of training samples that carry it.

    One curve for each share of the test samples: the largest trigger norm against which at least that share is
    certified, at each number of poisoned samples.

    Parameters
    ----------
    n_poisoned : array-like of shape (n_points,)
        Numbers of poisoned samples, ascending, at least 1.
    trigger_norm : array-like of shape (n_samples, n_points)
        Each test sample's largest certified trigger norm (L2 per poisoned sample, units of the
        features): 0 where there is none, infinite where any trigger is certified.
    levels : sequence of float, default=(0.5, 0.75, 0.9)
        Shares of the test samples, in (0, 1].
    name : str or None, default=None
        Name in the legend.
    guarantee : str or None, default=None
        What is guaranteed, one sentence.
    title : str or None, default=None
        Title over the plot.
    sound : bool, default=True
        If False, the legend says that this is not a proof.

    Attributes
    ----------
    lines_ : list of matplotlib.lines.Line2D
        One curve per level, after :meth:`plot`.
    line_ : matplotlib.lines.Line2D
        The first of them.
    ax_ : matplotlib.axes.Axes
        The axes that they were drawn on.
    figure_ : matplotlib.figure.Figure
        The figure around it.

    Raises
    ------
    ParameterError
        If a level or a number of poisoned samples is outside its range.
    ShapeError
        If `trigger_norm` does not have one column per number of poisoned samples.

    Examples
    --------
    >>> import numpy as np
    >>> from certssb.displays import FrontierDisplay
    >>> norms = np.array([[np.inf, 2.0], [3.0, 1.0], [1.5, 0.5], [1.0, 0.0]])
    >>> display = FrontierDisplay([1, 10], norms, levels=(0.5, 1.0))
    >>> display.curves.tolist()
    [[3.0, 1.0], [1.0, 0.0]]
    """

    lines_: list[Line2D]
    line_: Line2D
    ax_: Axes
    figure_: Figure

    def __init__(
        self,
        n_poisoned: npt.ArrayLike,
        trigger_norm: npt.ArrayLike,
        *,
        levels: Sequence[float] = (0.5, 0.75, 0.9),
        name: str | None = None,
        guarantee: str | None = None,
        title: str | None = None,
        sound: bool = True,
    ) -> None:
        self.n_poisoned = frozen(_counts(n_poisoned))
        self.trigger_norm = frozen(check_floats("trigger_norm", trigger_norm, copy=True))
        if (
            self.trigger_norm.ndim != 2
            or self.trigger_norm.shape[1] != len(self.n_poisoned)
            or not len(self.trigger_norm)
        ):
            expected = f"the shape (n_samples, {len(self.n_poisoned)})"
            raise shape_error("trigger_norm", expected, f"shape {self.trigger_norm.shape}")
        self.levels = tuple(float(level) for level in levels)
        if not self.levels or not all(0 < level <= 1 for level in self.levels):
            raise parameter_error("levels", "floats in the range (0, 1]", repr(levels))
        self.name = name
        self.guarantee = guarantee
        self.title = title
        self.sound = sound

    @property
    def curves(self) -> Floats:
        """What is drawn, infinite values included: an array of shape (n_levels, n_points)."""
        descending = -np.sort(-self.trigger_norm, axis=0)
        n_samples = len(descending)
        # The share itself may be rounded up in binary: 0.9 * 10 is 9 samples, not 10.
        places = [max(1, math.ceil(level * n_samples - 1e-9)) - 1 for level in self.levels]
        curves: Floats = descending[places]
        return curves

    @classmethod
    def from_certificates(
        cls,
        certs: Certificates,
        y_true: npt.ArrayLike | None = None,
        *,
        n_poisoned: npt.ArrayLike | None = None,
        labels: bool = False,
        levels: Sequence[float] = (0.5, 0.75, 0.9),
        name: str | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Compute the frontier of a table of certificates.

        Parameters
        ----------
        certs : CertificateTable
            Certificates of test samples.
        y_true : array-like of shape (n_samples,) or None, default=None
            Their true classes: a wrongly predicted sample then counts as not certified.
        n_poisoned : array-like of shape (n_points,) or None, default=None
            Numbers of poisoned samples; None takes about 60 from 1 to the size of the training
            set, more densely where they are small.
        labels : bool, default=False
            Whether the attacker may change the poisoned samples' labels as well.
        levels : sequence of float, default=(0.5, 0.75, 0.9)
            Shares of the test samples, in (0, 1].
        name : str or None, default=None
            Name in the legend.
        ax : matplotlib.axes.Axes or None, default=None
            Axes on which to draw at once; None leaves drawing to :meth:`plot`.

        Returns
        -------
        FrontierDisplay

        Raises
        ------
        ParameterError
            If a parameter is outside its range.
        ShapeError
            If `y_true` does not have one class per sample.

        Examples
        --------
        >>> import matplotlib
        >>> matplotlib.use("agg")
        >>> import numpy as np
        >>> import certssb as cs
        >>> certs = cs.certify_votes(np.ones((1000, 4), int), cs.Gaussian(0.5), n_train=100, n_classes=2)
        >>> display = cs.FrontierDisplay.from_certificates(certs, n_poisoned=[1, 4], levels=(0.5,))
        >>> display.curves.round(2)
        array([[1.21, 0.61]])
        """
        default = n_poisoned is None
        grid = _default_counts(certs) if n_poisoned is None else _counts(n_poisoned)
        norms = np.array(certs.frontier(grid, labels=labels), dtype=np.float64)
        if y_true is not None:
            norms[~_is_right(certs, y_true)] = 0.0
        if default:
            # Leave out the tail where nothing is certified, but for its first point.
            last = int(np.flatnonzero((norms > 0).any(axis=0)).max(initial=0)) + 2
            grid, norms = grid[:last], norms[:, :last]
        whose = "certified" if y_true is None else "certified and predicted right"
        title = f"Share of test samples {whose}" + (", label changes included" if labels else "")
        display = cls(
            grid, norms, levels=levels, name=name, guarantee=certs.guarantee, title=title, sound=certs.sound
        )
        return display if ax is None else display.plot(ax=ax)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        name: str | None = None,
        guarantee: bool = False,
        **line_kw: Any,
    ) -> Self:
        """Draw the frontier.

        Infinite norms, where any trigger whatsoever is certified, are drawn in a marked band
        above the largest finite one.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None, default=None
            Axes to draw on, beside whatever is there already; None makes a new figure.
        name : str or None, default=None
            Name in the legend; None for the display's own.
        guarantee : bool, default=False
            Whether to write the guarantee under the plot.
        **line_kw
            Options of :meth:`matplotlib.axes.Axes.plot`, such as ``color``.

        Returns
        -------
        FrontierDisplay
            Itself, with ``lines_``, ``line_``, ``ax_`` and ``figure_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> import matplotlib
        >>> matplotlib.use("agg")
        >>> import numpy as np
        >>> import certssb as cs
        >>> certs = cs.certify_votes(np.ones((1000, 4), int), cs.Gaussian(0.5), n_train=100, n_classes=2)
        >>> display = cs.FrontierDisplay.from_certificates(certs, [1, 1, 1, 0]).plot()
        >>> [line.get_label() for line in display.lines_]
        ['50% of samples', '75% of samples', '90% of samples']
        """
        ax, _ = dressed_axes(ax)
        drawn: _Drawn = memory_of(ax).setdefault("frontiers", [])
        colour = COLOURS[len(drawn) % len(COLOURS)]
        name = name if name is not None else self.name
        self.lines_ = []
        marker = "o" if len(self.n_poisoned) <= 15 else ""
        for place, (level, curve) in enumerate(zip(self.levels, self.curves, strict=True)):
            label = label_of(f"{name}: {_percent(level)}" if name else _percent(level), self.sound)
            style = {"color": colour, "linestyle": STYLES[place % len(STYLES)], "linewidth": 2.0}
            options = {**style, "drawstyle": "steps-pre", "marker": marker, "markersize": 4, "label": label}
            (line,) = ax.plot(self.n_poisoned, curve, **{**options, "clip_on": False, "zorder": 3, **line_kw})
            self.lines_.append(line)
        self.line_ = self.lines_[0]
        drawn.append(([*self.lines_], self.curves, self.n_poisoned))
        _draw_frontiers(ax, drawn)
        ax.set_xlabel("Changed training samples (at most)")
        ax.set_ylabel("Certified trigger norm (L2, feature units)")
        finish(self, ax, self.title, guarantee, name)
        return self


def _counts(values: npt.ArrayLike) -> npt.NDArray[np.int64]:
    raw = np.atleast_1d(np.asarray(values))
    whole = raw.ndim == 1 and raw.size > 0 and raw.dtype.kind in "iuf" and bool((raw == np.round(raw)).all())
    if not whole or (raw < 1).any():
        raise parameter_error("n_poisoned", "integers of at least 1", repr(values))
    counts = raw.astype(np.int64)
    if (np.diff(counts) <= 0).any():
        raise parameter_error("n_poisoned", "ascending", repr(values))
    return counts


def _default_counts(certs: Certificates) -> npt.NDArray[np.int64]:
    n_train = getattr(certs, "n_train", None)
    if n_train is None:
        raise ParameterError(
            "The 'n_poisoned' parameter must be integers, as the size of the training set is unknown."
        )
    return np.unique(np.geomspace(1, int(n_train), 60).round().astype(np.int64))


def _is_right(certs: Certificates, y_true: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    prediction = np.asarray(certs.prediction)
    return are_equal(prediction, true_labels(y_true, len(prediction)))


def _percent(level: float) -> str:
    return f"{100 * level:.4g}% of samples"


def _draw_frontiers(ax: Axes, drawn: _Drawn) -> None:
    """Scale the axes to all frontiers on them and put infinite norms into a band at the top."""
    from matplotlib.ticker import MaxNLocator, NullFormatter, StrMethodFormatter

    curves = [curve for _, group, _ in drawn for curve in group]
    finite = [float(curve[np.isfinite(curve)].max(initial=0.0)) for curve in curves]
    highest = max(finite) or 1.0
    has_infinite = any(np.isinf(curve).any() for curve in curves)
    floor, ceiling = highest * 1.06, highest * 1.2
    for lines, group, _ in drawn:
        for line, curve in zip(lines, group, strict=True):
            line.set_ydata(np.where(np.isinf(curve), (floor + ceiling) / 2, curve))
    for artist in memory_of(ax).pop("band", []):
        artist.remove()
    ax.set_ylim(0, ceiling if has_infinite else floor)
    counts = np.concatenate([n for _, _, n in drawn])
    first, last = int(counts.min()), int(counts.max())
    if last >= 20 * first:
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlim(first, last if last > first else first + 1)
    if has_infinite:
        band = ax.axhspan(floor, ceiling, color="#F0F0F0", zorder=0, linewidth=0)
        ticks = [
            tick for tick in MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]).tick_values(0, floor) if tick <= floor
        ]
        names = [f"{tick:.4g}" for tick in ticks]
        ax.set_yticks([*ticks, (floor + ceiling) / 2], [*names, "any\ntrigger"])
        ax.set_ylim(0, ceiling)
        memory_of(ax)["band"] = [band]
