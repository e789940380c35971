"""Plots of certificates, as scikit-learn's Display objects do it.

``SomeDisplay.from_certificates(certs, ...)`` collects what is to be drawn, ``.plot(ax=ax)`` draws
it and returns the display with ``ax_`` and ``figure_``. Nothing is rounded in the certificates'
favour: between two computed points a curve shows the lower one.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from certssb._checks import check_integer, parameter_error, shape_error
from certssb.exceptions import ParameterError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from typing_extensions import Self

__all__ = ["CertifiedAccuracyDisplay", "FrontierDisplay", "PredictionGridDisplay"]

Floats: TypeAlias = npt.NDArray[np.float64]

# Okabe and Ito's colours, told apart by colour-blind readers; the line style differs as well.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_STYLES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
_INK, _FAINT = "#333333", "#777777"


class Certificates(Protocol):
    """What the displays ask of a table of certificates."""

    @property
    def prediction(self) -> Any: ...
    @property
    def abstained(self) -> Any: ...
    @property
    def radius(self) -> Any: ...
    @property
    def guarantee(self) -> str: ...
    @property
    def sound(self) -> bool: ...
    def certified_accuracy(self, *args: Any, **kwargs: Any) -> Any: ...
    def trigger_norm(self, *args: Any, **kwargs: Any) -> Any: ...
    def frontier(self, *args: Any, **kwargs: Any) -> Any: ...


class CertifiedAccuracyDisplay:
    """Share of test samples that are predicted right and certified, over the size of the change.

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
        Label of the x axis; None for that of radii.
    title : str or None, default=None
        Title over the plot.
    sound : bool, default=True
        False marks a curve that is no proof: dashed, and said in the legend.

    Attributes
    ----------
    line_ : matplotlib.lines.Line2D
        The curve, after :meth:`plot`.
    ax_ : matplotlib.axes.Axes
        What it was drawn on.
    figure_ : matplotlib.figure.Figure
        The figure around it.

    Raises
    ------
    ShapeError
        If `radii` and `accuracy` are not of one length of at least 1.

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
        self.radii = np.asarray(radii, dtype=np.float64)
        self.accuracy = np.asarray(accuracy, dtype=np.float64)
        if self.radii.ndim != 1 or self.radii.size == 0 or self.accuracy.shape != self.radii.shape:
            got = f"shapes {self.radii.shape} and {self.accuracy.shape}"
            raise shape_error("radii, accuracy", "one value each per point", got)
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
        labels: bool = False,
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
            L2 radii over the whole training set; None takes 257 from 0 to just beyond the largest.
        n_poisoned : int or None, default=None
            Draw over the trigger norm instead, at up to this many poisoned samples.
        trigger_norms : array-like of shape (n_points,) or None, default=None
            Trigger norms (L2, per sample) to draw over, with `n_poisoned`; None takes 101 from 0
            to just beyond the largest that is certified.
        labels : bool, default=False
            Whether the attacker may change the poisoned samples' labels as well, with
            `n_poisoned`.
        name : str or None, default=None
            Name of the curve in the legend.
        ax : matplotlib.axes.Axes or None, default=None
            Draw at once on these axes; None leaves that to :meth:`plot`.

        Returns
        -------
        CertifiedAccuracyDisplay

        Raises
        ------
        ParameterError
            If the law has no radius and `n_poisoned` is None, or if both `radii` and `n_poisoned`
            are given.
        """
        if n_poisoned is None:
            grid = _radius_grid(certs) if radii is None else _ascending("radii", radii)
            accuracy = _shares(certs.certified_accuracy(y_true, radii=grid))
            xlabel, title = None, "Share of test samples predicted right and certified"
        else:
            if radii is not None:
                raise parameter_error("radii", "None where 'n_poisoned' is given", "an array")
            budget: dict[str, Any] = {"n_poisoned": n_poisoned, **({"labels": True} if labels else {})}
            grid = (
                _norm_grid(certs, budget)
                if trigger_norms is None
                else _ascending("trigger_norms", trigger_norms)
            )
            points = [certs.certified_accuracy(y_true, trigger_norm=float(t), **budget) for t in grid]
            accuracy = _shares(points)
            xlabel = "Trigger's L2 norm per poisoned sample (units of the features)"
            title = f"Predicted right and certified, up to {n_poisoned:,} poisoned training samples" + (
                ", labels included" if labels else ""
            )
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
            Axes to draw on, next to what is there already; None makes a figure.
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
        """
        from matplotlib.ticker import PercentFormatter

        ax, n_before = _axes(ax)
        style = _line_style(n_before, self.sound)
        label = _label(name if name is not None else self.name, self.sound)
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
        ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        ax.set_yticks(np.linspace(0, 1, 6))
        ax.set_ylim(0, 1)
        right = max(float(self.radii[-1]), ax.get_xlim()[1] if n_before else 0)
        ax.set_xlim(0, right if right > 0 else 1)
        _finish(self, ax, self.title, guarantee, name if name is not None else self.name)
        return self


class FrontierDisplay:
    """How large a trigger is certified, over how many training samples carry it.

    For each share of the test samples one curve: at a number of poisoned samples, the largest
    trigger norm against which at least that share is certified.

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
        False says in the legend that this is no proof.

    Attributes
    ----------
    lines_ : list of matplotlib.lines.Line2D
        One curve per level, after :meth:`plot`.
    line_ : matplotlib.lines.Line2D
        The first of them.
    ax_ : matplotlib.axes.Axes
        What they were drawn on.
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
        self.n_poisoned = _counts(n_poisoned)
        self.trigger_norm = np.asarray(trigger_norm, dtype=np.float64)
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
        """ndarray of shape (n_levels, n_points): what is drawn, with infinite values."""
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
            Their true classes: a sample that is predicted wrong then counts as not certified.
        n_poisoned : array-like of shape (n_points,) or None, default=None
            Numbers of poisoned samples; None takes about 60 from 1 to the size of the training
            set, closer together where they are small.
        labels : bool, default=False
            Whether the attacker may change the poisoned samples' labels as well.
        levels : sequence of float, default=(0.5, 0.75, 0.9)
            Shares of the test samples, in (0, 1].
        name : str or None, default=None
            Name in the legend.
        ax : matplotlib.axes.Axes or None, default=None
            Draw at once on these axes; None leaves that to :meth:`plot`.

        Returns
        -------
        FrontierDisplay

        Raises
        ------
        ParameterError
            If a parameter is outside its range.
        ShapeError
            If `y_true` does not have one class per sample.
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
            Axes to draw on, next to what is there already; None makes a figure.
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
        """
        ax, _ = _axes(ax)
        drawn: _Drawn = _memory(ax).setdefault("frontiers", [])
        colour = _COLOURS[len(drawn) % len(_COLOURS)]
        name = name if name is not None else self.name
        self.lines_ = []
        marker = "o" if len(self.n_poisoned) <= 15 else ""
        for place, (level, curve) in enumerate(zip(self.levels, self.curves, strict=True)):
            label = _label(f"{name}: {_percent(level)}" if name else _percent(level), self.sound)
            style = {"color": colour, "linestyle": _STYLES[place % len(_STYLES)], "linewidth": 2.0}
            options = {**style, "drawstyle": "steps-pre", "marker": marker, "markersize": 4, "label": label}
            (line,) = ax.plot(self.n_poisoned, curve, **{**options, "clip_on": False, "zorder": 3, **line_kw})
            self.lines_.append(line)
        self.line_ = self.lines_[0]
        drawn.append((self.lines_, self.curves, self.n_poisoned))
        _draw_frontiers(ax, drawn)
        ax.set_xlabel("Poisoned training samples (at most)")
        ax.set_ylabel("Certified trigger norm (L2, feature units)")
        _finish(self, ax, self.title, guarantee, name)
        return self


class PredictionGridDisplay:
    """Test images with their prediction, certified radius and true class.

    A blue frame is right and certified, a grey one abstained, a red one wrong; the caption
    says the same in words.

    Parameters
    ----------
    images : array-like of shape (n_images, channels, height, width)
        Images in [0, 1], or uint8; one channel is drawn grey, three as colour.
    prediction : array-like of shape (n_images,)
        Predicted classes.
    abstained : array-like of shape (n_images,)
        Whether no class could be certified.
    value : array-like of shape (n_images,) or None, default=None
        What is written under each image, such as its radius; rounded down to two decimals.
    value_name : str, default="radius"
        What to call it.
    y_true : array-like of shape (n_images,) or None, default=None
        True classes.
    class_names : sequence of str or None, default=None
        Names of classes 0..K-1; None writes the classes as they are.
    guarantee : str or None, default=None
        What is guaranteed, one sentence.
    sound : bool, default=True
        False says in the key that this is no proof.

    Attributes
    ----------
    axes_ : list of matplotlib.axes.Axes
        One per image, after :meth:`plot`.
    ax_ : matplotlib.axes.Axes
        The axes around them.
    figure_ : matplotlib.figure.Figure
        The figure around it.

    Raises
    ------
    ShapeError
        If the arrays differ in length, are empty, or the images do not have four dimensions.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> import numpy as np
    >>> from certssb.displays import PredictionGridDisplay
    >>> images = np.zeros((2, 1, 8, 8))
    >>> display = PredictionGridDisplay(images, [3, 4], [False, True], [0.719, 0], y_true=[3, 5])
    >>> [ax.get_title() for ax in display.plot().axes_]
    ['3 \u2713\\nradius 0.71', '4 \u2717 true: 5\\nabstained']
    """

    axes_: list[Axes]
    ax_: Axes
    figure_: Figure

    def __init__(
        self,
        images: npt.ArrayLike,
        prediction: npt.ArrayLike,
        abstained: npt.ArrayLike,
        value: npt.ArrayLike | None = None,
        *,
        value_name: str = "radius",
        y_true: npt.ArrayLike | None = None,
        class_names: Sequence[str] | None = None,
        guarantee: str | None = None,
        sound: bool = True,
    ) -> None:
        self.images = np.asarray(images)
        if self.images.ndim != 4 or self.images.size == 0:
            expected = "the shape (n_images, channels, height, width)"
            raise shape_error("images", expected, f"shape {self.images.shape}")
        n_images = len(self.images)
        self.prediction = _per_image("prediction", prediction, n_images)
        self.abstained = _per_image("abstained", abstained, n_images)
        self.value = None if value is None else _per_image("value", value, n_images)
        self.value_name = value_name
        self.y_true = None if y_true is None else _per_image("y_true", y_true, n_images)
        self.class_names = class_names
        self.guarantee = guarantee
        self.sound = sound

    @classmethod
    def from_certificates(
        cls,
        certs: Certificates,
        X: npt.ArrayLike,
        y_true: npt.ArrayLike | None = None,
        *,
        n: int = 16,
        order: str = "given",
        class_names: Sequence[str] | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Take images out of a table of certificates.

        Parameters
        ----------
        certs : CertificateTable
            Certificates of test samples.
        X : array-like of shape (n_samples, channels, height, width)
            The test images.
        y_true : array-like of shape (n_samples,) or None, default=None
            Their true classes.
        n : int, default=16
            How many to show, at most.
        order : {"given", "least", "most"}, default="given"
            The first ones, or the least or the most certain ones first: by radius, or by the lower
            bound of the predicted class's probability where the law has no radius.
        class_names : sequence of str or None, default=None
            Names of classes 0..K-1.
        ax : matplotlib.axes.Axes or None, default=None
            Draw at once on these axes; None leaves that to :meth:`plot`.

        Returns
        -------
        PredictionGridDisplay

        Raises
        ------
        ParameterError
            If `n` or `order` is outside its range.
        ShapeError
            If there is not one image, or one true class, per certificate, or `X` are no images.
        """
        images = _images(X)
        n_samples = len(np.asarray(certs.prediction))
        if len(images) != n_samples:
            raise shape_error("X", f"one image per certificate, {n_samples} in all", len(images))
        value, value_name = certs.radius, "radius"
        if value is None:
            value, value_name = getattr(certs, "p_lower", np.zeros(n_samples)), "p at least"
        value = np.asarray(value, dtype=np.float64)
        chosen = _ordered(value, order)[: check_integer("n", n, "an integer of at least 1", 1)]
        truth = None if y_true is None else _per_image("y_true", y_true, n_samples)[chosen]
        display = cls(
            images[chosen],
            np.asarray(certs.prediction)[chosen],
            np.asarray(certs.abstained)[chosen],
            value[chosen],
            value_name=value_name,
            y_true=truth,
            class_names=class_names,
            guarantee=certs.guarantee,
            sound=certs.sound,
        )
        return display if ax is None else display.plot(ax=ax)

    def plot(self, ax: Axes | None = None, *, guarantee: bool = False, **image_kw: Any) -> Self:
        """Draw the grid.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None, default=None
            Axes to fill; None makes a figure of a fitting size.
        guarantee : bool, default=False
            Whether to write the guarantee under the grid.
        **image_kw
            Options of :meth:`matplotlib.axes.Axes.imshow`, such as ``cmap``.

        Returns
        -------
        PredictionGridDisplay
            Itself, with ``axes_``, ``ax_`` and ``figure_``.
        """
        n_images = len(self.images)
        columns = _columns(n_images)
        rows = math.ceil(n_images / columns)
        if ax is None:
            ax = _new_axes((1.35 * columns + 0.2, 1.68 * rows + 0.45))
        ax.set_axis_off()
        self.axes_ = []
        for place in range(n_images):
            row, column = divmod(place, columns)
            box = ((column + 0.06) / columns, 1 - (row + 0.98) / rows, 0.88 / columns, 0.72 / rows)
            cell = ax.inset_axes(box)
            self._draw_image(cell, place, image_kw)
            self.axes_.append(cell)
        self._draw_key(ax)
        self.ax_, self.figure_ = ax, _figure(ax)
        if guarantee and self.guarantee:
            _write_note(ax, self.guarantee, below=30)
        return self

    def _state(self, place: int) -> int:
        """0 right and certified (or no truth known), 1 abstained, 2 wrong."""
        if self.y_true is not None and self.prediction[place] != self.y_true[place]:
            return 2
        return 1 if self.abstained[place] else 0

    def _caption(self, place: int) -> str:
        caption = self._class_name(self.prediction[place])
        if self.y_true is not None:
            right = self.prediction[place] == self.y_true[place]
            caption += " \u2713" if right else f" \u2717 true: {self._class_name(self.y_true[place])}"
        if self.abstained[place]:
            return caption + "\nabstained"
        if self.value is None:
            return caption + "\ncertified"
        return f"{caption}\n{self.value_name} {_rounded_down(float(self.value[place]))}"

    def _class_name(self, value: Any) -> str:
        return str(value) if self.class_names is None else str(self.class_names[int(value)])

    def _draw_image(self, cell: Axes, place: int, image_kw: dict[str, Any]) -> None:
        image = self.images[place]
        picture = image.transpose(1, 2, 0) if len(image) in (3, 4) else image.mean(axis=0)
        top = 255 if self.images.dtype == np.uint8 else 1
        if picture.ndim == 3 and top == 1:
            picture = picture.clip(0, 1)
        cell.imshow(
            picture, **{"cmap": "gray", "vmin": 0, "vmax": top, "interpolation": "nearest", **image_kw}
        )
        cell.set_xticks([])
        cell.set_yticks([])
        state = self._state(place)
        cell.set_title(self._caption(place), fontsize=8, color=_INK, pad=4, linespacing=1.25)
        for spine in cell.spines.values():
            spine.set(color=_FRAMES[state], linewidth=2.5)

    def _draw_key(self, ax: Axes) -> None:
        from matplotlib.lines import Line2D

        states = sorted({self._state(place) for place in range(len(self.images))})
        certified = _label("certified" if self.y_true is None else "right and certified", self.sound)
        names = (certified, "abstained", "wrong")
        handles = [Line2D([], [], color=_FRAMES[s], linewidth=2.5, label=names[s]) for s in states]
        options: dict[str, Any] = {
            "loc": "upper center",
            "bbox_to_anchor": (0.5, -0.01),
            "ncol": len(handles),
        }
        ax.legend(handles=handles, frameon=False, fontsize=8, labelcolor=_INK, **options)


_FRAMES = ("#0072B2", "#999999", "#D55E00")

_Drawn: TypeAlias = "list[tuple[list[Line2D], Floats, npt.NDArray[np.int64]]]"


def _memory(ax: Axes) -> dict[str, Any]:
    """What earlier displays left on these axes; it lives and dies with them."""
    memory: dict[str, Any] = vars(ax).setdefault("_certssb", {})
    return memory


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
    right: npt.NDArray[np.bool_] = prediction == _per_image("y_true", y_true, len(prediction))
    return right


def _per_image(name: str, values: npt.ArrayLike, n_images: int) -> npt.NDArray[Any]:
    array = np.asarray(values)
    if array.shape != (n_images,):
        raise shape_error(name, f"one value per sample, {n_images} in all", f"shape {array.shape}")
    return array


def _images(X: Any) -> npt.NDArray[Any]:
    images = np.asarray(X.detach().cpu() if hasattr(X, "detach") else X)
    if images.ndim != 4:
        raise shape_error("X", "the shape (n_samples, channels, height, width)", f"shape {images.shape}")
    return images


def _ordered(value: Floats, order: str) -> npt.NDArray[np.int64]:
    if order == "given":
        return np.arange(len(value))
    if order not in ("least", "most"):
        raise parameter_error("order", "one of 'given', 'least', 'most'", repr(order))
    return np.argsort(value if order == "least" else -value, kind="stable")


def _columns(n_images: int) -> int:
    """Columns of a grid a little wider than high, with full rows where that is possible."""
    if n_images <= 5:
        return n_images
    about = math.ceil(math.sqrt(1.3 * n_images))
    return min((about, about - 1, about + 1), key=lambda columns: -n_images % columns)


def _rounded_down(value: float) -> str:
    """Two decimals, never more than the value."""
    return "any" if math.isinf(value) else f"{math.floor(value * 100) / 100:.2f}"


def _percent(level: float) -> str:
    return f"{100 * level:.4g} % of samples"


def _label(name: str | None, sound: bool) -> str:
    label = name or "certified accuracy"
    return label if sound else f"{label} (not a proof)"


def _line_style(place: int, sound: bool) -> dict[str, Any]:
    style = _STYLES[(place // len(_COLOURS)) % len(_STYLES)] if sound else (0, (4, 2))
    return {"color": _COLOURS[place % len(_COLOURS)], "linestyle": style, "linewidth": 2.2}


def _new_axes(size: tuple[float, float]) -> Axes:
    import matplotlib.pyplot as plt

    _, ax = plt.subplots(figsize=size, layout="constrained")
    return ax


def _axes(ax: Axes | None) -> tuple[Axes, int]:
    """The axes to draw on, dressed, and how many curves are on them."""
    if ax is None:
        ax = _new_axes((8.0, 4.4))
    n_before = len(ax.lines)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(_FAINT)
    ax.tick_params(colors=_FAINT, labelcolor=_INK, labelsize=9)
    ax.grid(True, color="#E3E3E3", linewidth=0.8)
    ax.set_axisbelow(True)
    return ax, n_before


def _figure(ax: Axes) -> Figure:
    figure: Any = ax.figure
    root: Figure = figure.figure if getattr(figure, "figure", None) is not None else figure
    return root


def _finish(display: Any, ax: Axes, title: str | None, guarantee: bool, name: str | None) -> None:
    """Labels, legend and guarantee; the same for every curve."""
    for axis in (ax.xaxis, ax.yaxis):
        axis.label.set(color=_INK, fontsize=9.5)
    if title:
        ax.set_title(title, loc="left", fontsize=10.5, color=_INK)
    handles, labels = ax.get_legend_handles_labels()
    if len(handles) > 1 or name or not display.sound:
        place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.02, 1.0), "borderaxespad": 0.0}
        ax.legend(handles, labels, frameon=False, fontsize=9, labelcolor=_INK, handlelength=2.6, **place)
    if guarantee and display.guarantee:
        _write_note(ax, display.guarantee if not name else f"{name}: {display.guarantee}", below=44)
    display.ax_, display.figure_ = ax, _figure(ax)


def _write_note(ax: Axes, sentence: str, below: float) -> None:
    """Write a sentence small under the axes, below those written there before."""
    text, sentences = _memory(ax).get("note", (None, []))
    if sentence not in sentences:
        sentences = [*sentences, sentence]
    width = max(40, int(_figure(ax).get_figwidth() * 72 * 0.85 / 3.75))
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
        color=_FAINT,
        linespacing=1.35,
        **options,
    )
    _memory(ax)["note"] = (text, sentences)


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
    for artist in _memory(ax).pop("band", []):
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
        _memory(ax)["band"] = [band]
