"""Certified accuracy as a function of the size of the change."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from certssb._checks import check_floats, frozen, parameter_error, shape_error
from certssb._extras import needed
from certssb.certificates._budget import Budget, check_budget, over_total
from certssb.displays._style import dressed_axes, finish, label_of, line_style
from certssb.displays._table import Certificates, Floats
from certssb.threats import Counted, Edits, Threat, asked_threat

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from typing_extensions import Self

__all__ = ["CertifiedAccuracyDisplay"]


class CertifiedAccuracyDisplay:
    """Share of test samples that are predicted right and certified, as a function of the size of the change.

    Build it with :meth:`from_certificates`, draw it with :meth:`plot`.

    Parameters
    ----------
    radii : array-like of shape (n_points,)
        Sizes of the change, ascending, at least 0: L2 radii over the whole training set, or
        trigger norms per sample; in the units of the features.
    accuracy : array-like of shape (n_points,)
        Certified accuracy at each of them, in [0, 1].
    name : str or None, default=None
        Name of the curve in the legend.
    guarantee : str or None, default=None
        What is guaranteed, one sentence.
    xlabel : str or None, default=None
        Label of the x axis; None takes one for radii.
    title : str or None, default=None
        Title over the plot.
    sound : bool, default=True
        False marks a curve that is not a proof: it is dashed, and the legend says so.

    Attributes
    ----------
    line_ : matplotlib.lines.Line2D
        The curve, after :meth:`plot`.
    ax_ : matplotlib.axes.Axes
        The axes that it was drawn on.
    figure_ : matplotlib.figure.Figure
        The figure around it.

    Raises
    ------
    ShapeError
        If `radii` and `accuracy` differ in length or are empty.
    ParameterError
        If `radii` are negative, NaN or not ascending, or an accuracy is outside [0, 1].

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from certssb.displays import CertifiedAccuracyDisplay
    >>> display = CertifiedAccuracyDisplay([0, 0.5, 1], [0.99, 0.9, 0.2], name="sigma 0.5").plot()
    >>> display.ax_.get_ylabel()
    'Certified accuracy'
    """

    line_: Line2D
    ax_: Axes
    figure_: Figure

    def __init__(
        self,
        radii: npt.ArrayLike,
        accuracy: npt.ArrayLike,
        *,
        name: str | None = None,
        guarantee: str | None = None,
        xlabel: str | None = None,
        title: str | None = None,
        sound: bool = True,
    ) -> None:
        self.radii = frozen(check_floats("radii", radii, copy=True))
        self.accuracy = frozen(check_floats("accuracy", accuracy, copy=True))
        if self.radii.ndim != 1 or self.radii.size == 0 or self.accuracy.shape != self.radii.shape:
            got = f"shapes {self.radii.shape} and {self.accuracy.shape}"
            raise shape_error("radii, accuracy", "one value each per point", got)
        if not (self.radii >= 0).all() or (np.diff(self.radii) < 0).any():
            raise parameter_error("radii", "ascending floats of at least 0", repr(radii))
        # NaN is the share of no samples.
        if ((self.accuracy < 0) | (self.accuracy > 1)).any():
            raise parameter_error("accuracy", "floats in the range [0, 1]", repr(accuracy))
        self.name = name
        self.guarantee = guarantee
        self.xlabel = xlabel
        self.title = title
        self.sound = sound

    @classmethod
    def from_certificates(
        cls,
        certs: Certificates,
        y_true: npt.ArrayLike,
        *,
        radii: npt.ArrayLike | None = None,
        n_poisoned: int | None = None,
        trigger_norms: npt.ArrayLike | None = None,
        trigger_norm: float | None = None,
        counts: npt.ArrayLike | None = None,
        labels: bool = False,
        edits: Edits | None = None,
        counted: Counted | None = None,
        threat: Threat | None = None,
        name: str | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Compute the curve of a table of certificates.

        Parameters
        ----------
        certs : CertificateTable
            Certificates of test samples.
        y_true : array-like of shape (n_samples,)
            Their true classes.
        radii : array-like of shape (n_points,) or None, default=None
            L2 radii over the whole training set; None takes 257 values from 0 to just beyond the largest.
        n_poisoned : int or None, default=None
            Draw over the trigger norm instead, at up to this many poisoned samples.
        trigger_norms : array-like of shape (n_points,) or None, default=None
            Trigger norms (L2, per sample) to draw over, with `n_poisoned`; None takes 101 values from 0
            to just beyond the largest that is certified.
        trigger_norm : float or None, default=None
            Draw over the number of poisoned samples instead, each changed by at most this L2 norm; ``inf`` for
            any change.
        counts : array-like of int, shape (n_points,), or None, default=None
            Numbers of poisoned samples to draw over, with `trigger_norm`; None takes all of them up to just beyond
            the largest that is certified.
        labels : bool, default=False
            Whether the attacker may change the poisoned samples' labels as well, with
            `n_poisoned` or `trigger_norm`.
        edits, counted
            As for :class:`~certssb.Threat`: draw over the number of these edits instead.
        threat : Threat or None, default=None
            Draw over the number of what this threat counts instead; its own number plays no part.
        name : str or None, default=None
            Name of the curve in the legend.
        ax : matplotlib.axes.Axes or None, default=None
            Axes on which to draw at once; None leaves drawing to :meth:`plot`.

        Returns
        -------
        CertifiedAccuracyDisplay

        Raises
        ------
        ParameterError
            If the law has no radius and neither `n_poisoned` nor `trigger_norm` nor edits are given, or if more than one of
            `radii`, `n_poisoned`, `trigger_norm` and `threat` is given.

        Examples
        --------
        >>> import matplotlib
        >>> matplotlib.use("agg")
        >>> import numpy as np
        >>> import certssb as cs
        >>> certs = cs.certify_votes(np.ones((1000, 4), int), cs.Gaussian(0.5), n_train=100, n_classes=2)
        >>> display = cs.CertifiedAccuracyDisplay.from_certificates(certs, [1, 1, 1, 0], radii=[0, 1, 2])
        >>> display.accuracy
        array([0.75, 0.75, 0.  ])
        """
        n_train = getattr(certs, "n_train", None)
        given = {"radii": radii, "n_poisoned": n_poisoned, "trigger_norm": trigger_norm, "threat": threat}
        named = [name for name, value in given.items() if value is not None]
        if len(named) > 1:
            raise parameter_error(named[0], f"None where '{named[1]}' is given", "both")
        if threat is not None:
            whole = asked_threat(threat, n_train, labels=labels, edits=edits, counted=counted)
            labels, edits, counted = whole.labels, _counted_edits(whole), threat.counted
        if threat is not None or (edits is not None and n_poisoned is None and trigger_norm is None):
            trigger_norm = math.inf if threat is None else threat.trigger_norm
        if n_poisoned is not None:
            budget = check_budget(labels, edits, counted, n_poisoned=n_poisoned)
            options: dict[str, Any] = {
                name: value for name, value in budget.change().items() if name != "labels" or value
            }
            grid = (
                _norm_grid(certs, options)
                if trigger_norms is None
                else _ascending("trigger_norms", trigger_norms)
            )
            accuracy = _shares(
                [certs.certified_accuracy(y_true, trigger_norm=float(t), **options) for t in grid]
            )
            xlabel, over = (
                "Trigger's L2 norm per changed sample (units of the features)",
                budget.over(n_train),
            )
        elif trigger_norm is not None:
            budget = check_budget(labels, edits, counted, trigger_norm=trigger_norm)
            grid, accuracy = _over_counts(certs, y_true, budget, counts)
            xlabel, over = (
                _OVER.get(budget.edits, "Changed training samples (at most)"),
                budget.over(n_train),
            )
        else:
            grid = _radius_grid(certs) if radii is None else _ascending("radii", radii)
            accuracy = _shares(certs.certified_accuracy(y_true, radii=grid))
            xlabel, over = None, over_total(n_train)
        title = f"Predicted right and certified, {over}"
        display = cls(
            grid,
            accuracy,
            name=name,
            guarantee=certs.guarantee,
            xlabel=xlabel,
            title=title,
            sound=certs.sound,
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
        """Draw the curve.

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
        CertifiedAccuracyDisplay
            Itself, with ``line_``, ``ax_`` and ``figure_``.

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
        >>> display = cs.CertifiedAccuracyDisplay.from_certificates(certs, [1, 1, 1, 0])
        >>> display.plot(guarantee=True).ax_.get_title(loc="left").splitlines()[0]
        'Predicted right and certified, over the total L2 norm of changes to the features of all'
        """
        ticker = needed("matplotlib.ticker", "A plot", "plot")
        ax, n_before = dressed_axes(ax)
        style = line_style(n_before, self.sound)
        label = label_of(name if name is not None else self.name, self.sound)
        # "steps-pre": up to the next computed point the curve has that point's value, the lower one.
        options = {
            **style,
            "drawstyle": "steps-pre",
            "label": label,
            "clip_on": False,
            "zorder": 3,
            **line_kw,
        }
        (self.line_,) = ax.plot(self.radii, self.accuracy, **options)
        ax.set_xlabel(
            self.xlabel or "Certified L2 radius over the whole training set (units of the features)"
        )
        ax.set_ylabel("Certified accuracy")
        if (self.radii == np.round(self.radii)).all():
            # Of a number of samples there are no halves.
            ax.xaxis.set_major_locator(ticker.MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
        ax.yaxis.set_major_formatter(ticker.PercentFormatter(1.0, decimals=0))
        ax.set_yticks(np.linspace(0, 1, 6))
        ax.set_ylim(0, 1)
        right = max(float(self.radii[-1]), ax.get_xlim()[1] if n_before else 0)
        ax.set_xlim(0, right if right > 0 else 1)
        finish(self, ax, self.title, guarantee, name if name is not None else self.name)
        return self


_OVER = {
    "any": "Training samples changed, removed or added (at most)",
    "inserted": "Training samples added, or removed (at most)",
    "deleted": "Training samples removed, or added (at most)",
}
"""What a curve over other edits than modifications runs over."""


def _counted_edits(threat: Budget) -> Any:
    """The edits that a number of a threat counts, which a curve can run over."""
    if threat.numbers is not None:
        expected = "a threat with a single number, over which a curve can run"
        raise parameter_error("threat", expected, "a number for each kind of edit")
    return threat.edits


def _over_counts(
    certs: Certificates, y_true: npt.ArrayLike, budget: Budget, counts: npt.ArrayLike | None
) -> tuple[Floats, Floats]:
    """Numbers of poisoned samples, and the share that survives each."""
    change = budget.change()
    if counts is None:
        beyond = int(np.max(certs.n_poisoned(**change), initial=0)) + 1
        if budget.edits not in ("inserted", "deleted") and budget.counted == "edits":
            beyond = min(beyond, getattr(certs, "n_train", None) or beyond)
        grid = np.unique(np.linspace(0, max(beyond, 1), 101).round())
    else:
        grid = _ascending("counts", counts)
        if (grid != grid.round()).any():
            raise parameter_error("counts", "integers of at least 0", repr(counts))
    return grid, _shares(
        [certs.certified_accuracy(y_true, n_poisoned=int(count), **change) for count in grid]
    )


def _shares(values: Any) -> Floats:
    """Certified accuracies as an array; None (no samples) becomes NaN."""
    return np.array(
        [np.nan if v is None else v for v in np.atleast_1d(np.asarray(values, dtype=object))], dtype=float
    )


def _ascending(name: str, values: npt.ArrayLike) -> Floats:
    grid = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if grid.ndim != 1 or grid.size == 0 or not (grid >= 0).all() or not np.isfinite(grid).all():
        raise parameter_error(name, "finite floats greater than or equal to 0", repr(values))
    return np.unique(grid)


def _radius_grid(certs: Certificates) -> Floats:
    if certs.radius is None:
        raise parameter_error(
            "n_poisoned", "an integer, because this law certifies no L2 radius over the training set", "None"
        )
    return np.linspace(0, _beyond(np.asarray(certs.radius, dtype=np.float64)), 257)


def _norm_grid(certs: Certificates, budget: dict[str, Any]) -> Floats:
    return np.linspace(0, _beyond(np.asarray(certs.trigger_norm(**budget), dtype=np.float64)), 101)


def _beyond(values: Floats) -> float:
    """A round number a little larger than the largest finite value; 1 if there is none."""
    largest = float(values[np.isfinite(values)].max(initial=0.0))
    if largest <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(largest)) / 4
    return unit * (math.floor(largest * 1.02 / unit) + 1)
