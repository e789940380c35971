"""Noise magnitudes that differ from sample to sample, with the images at both ends of their range."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from certssb._checks import check_floats, check_integer, frozen, parameter_error, read_only, shape_error
from certssb.displays._images import as_images, draw_image
from certssb.displays._style import COLOURS, FAINT, INK, dressed_axes, figure_of, new_axes
from certssb.displays._table import Floats, per_sample

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from typing_extensions import Self

__all__ = ["NoiseMagnitudeDisplay"]


class NoiseMagnitudeDisplay:
    """How noise magnitudes spread over the samples, with the images that got the least and the most.

    Above, a histogram of all magnitudes with the median marked; below, a row of images with the smallest and a
    row with the largest. Images of equal magnitude keep their order.

    Parameters
    ----------
    sigmas : array-like of shape (n_samples,)
        Each sample's noise magnitude: the standard deviation of its noise, at least 0, in the units of the features.
    X : array-like of shape (n_samples, channels, height, width), or None, default=None
        The images, in [0, 1] or uint8. None draws the histogram alone (tables have no images).
    y : array-like of shape (n_samples,) or None, default=None
        Their classes, for the captions.
    n : int, default=6
        Images in each row, at most half of the samples.
    class_names : sequence of str or None, default=None
        Names of classes 0..K-1; None writes the classes as they are.
    title : str or None, default=None
        Title over the plot.

    Attributes
    ----------
    smallest : ndarray of shape (n_shown,)
        Indices of the shown samples with the least noise, smallest magnitude first.
    largest : ndarray of shape (n_shown,)
        Indices of those with the most, largest magnitude first.
    axes_ : list of matplotlib.axes.Axes
        One per image, after :meth:`plot`: first those of the smallest magnitudes.
    histogram_ : matplotlib.axes.Axes
        The axes that the histogram was drawn on.
    ax_ : matplotlib.axes.Axes
        The axes around all of it.
    figure_ : matplotlib.figure.Figure
        The figure around it.

    Raises
    ------
    ParameterError
        If a magnitude is negative or not finite, or `n` is not a positive integer.
    ShapeError
        If `sigmas` is not a vector of at least one value, or `X` or `y` do not have one entry per magnitude.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> import numpy as np
    >>> import certssb as cs
    >>> X, y = cs.datasets.load_digits()
    >>> display = cs.NoiseMagnitudeDisplay(np.linspace(0.25, 1.0, 100), X[:100], y[:100], n=3)
    >>> [ax.get_title() for ax in display.plot().axes_]
    ['0\\nsigma 0.25', '1\\nsigma 0.258', '2\\nsigma 0.265', '1\\nsigma 1', '3\\nsigma 0.992', '4\\nsigma 0.985']
    """

    axes_: list[Axes]
    histogram_: Axes
    ax_: Axes
    figure_: Figure

    def __init__(
        self,
        sigmas: npt.ArrayLike,
        X: npt.ArrayLike | None = None,
        y: npt.ArrayLike | None = None,
        *,
        n: int = 6,
        class_names: Sequence[str] | None = None,
        title: str | None = None,
    ) -> None:
        self.sigmas = frozen(_magnitudes(sigmas))
        n_samples = len(self.sigmas)
        self.X = None if X is None else read_only(as_images(X))
        if self.X is not None and len(self.X) != n_samples:
            raise shape_error("X", f"one image per magnitude, {n_samples} in all", len(self.X))
        self.y = None if y is None else per_sample("y", y, n_samples)
        shown = min(check_integer("n", n, "an integer of at least 1", 1), max(1, n_samples // 2))
        self.smallest = frozen(np.argsort(self.sigmas, kind="stable")[:shown])
        self.largest = frozen(np.argsort(-self.sigmas, kind="stable")[:shown])
        self.class_names = class_names
        self.title = title

    @classmethod
    def from_arrays(
        cls,
        sigmas: npt.ArrayLike,
        X: npt.ArrayLike | None = None,
        y: npt.ArrayLike | None = None,
        *,
        n: int = 6,
        class_names: Sequence[str] | None = None,
        title: str | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Make the display and, given axes, draw it at once.

        Parameters
        ----------
        sigmas, X, y, n, class_names, title
            As for the class.
        ax : matplotlib.axes.Axes or None, default=None
            Axes on which to draw at once; None leaves drawing to :meth:`plot`.

        Returns
        -------
        NoiseMagnitudeDisplay

        Raises
        ------
        ParameterError, ShapeError
            As for the class.

        Examples
        --------
        >>> import certssb as cs
        >>> display = cs.NoiseMagnitudeDisplay.from_arrays([0.5, 0.25, 1.0])
        >>> display.smallest, display.largest
        (array([1]), array([2]))
        """
        display = cls(sigmas, X, y, n=n, class_names=class_names, title=title)
        return display if ax is None else display.plot(ax=ax)

    def plot(self, ax: Axes | None = None, *, bins: int = 40, **image_kw: Any) -> Self:
        """Draw histogram and images.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None, default=None
            Axes to fill; None makes a figure of a suitable size.
        bins : int, default=40
            Number of bars in the histogram.
        **image_kw
            Options of :meth:`matplotlib.axes.Axes.imshow`, such as ``cmap``.

        Returns
        -------
        NoiseMagnitudeDisplay
            Itself, with ``axes_``, ``histogram_``, ``ax_`` and ``figure_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ParameterError
            If `bins` is not a positive integer.

        Examples
        --------
        >>> import matplotlib
        >>> matplotlib.use("agg")
        >>> import certssb as cs
        >>> display = cs.NoiseMagnitudeDisplay([0.5, 0.25, 1.0]).plot(bins=3)
        >>> [int(bar.get_height()) for bar in display.histogram_.patches]
        [1, 1, 1]
        """
        check_integer("bins", bins, "an integer of at least 1", 1)
        with_images = self.X is not None
        if ax is None:
            width = max(5.0, 1.1 * len(self.smallest) + 1.2) if with_images else 6.0
            ax = new_axes((width, 5.6 if with_images else 3.0))
        ax.set_axis_off()
        bottom = 0.61 if with_images else 0.12
        self.histogram_ = ax.inset_axes((0.08, bottom, 0.9, 0.98 - bottom))
        self._draw_histogram(bins)
        self.axes_ = []
        if with_images:
            self._draw_row(ax, self.smallest, 0.24, "least\nnoise", image_kw)
            self._draw_row(ax, self.largest, 0.0, "most\nnoise", image_kw)
        self.ax_, self.figure_ = ax, figure_of(ax)
        return self

    def _draw_histogram(self, bins: int) -> None:
        ax, _ = dressed_axes(self.histogram_)
        ax.hist(self.sigmas, bins=bins, color=COLOURS[0])
        median = float(np.median(self.sigmas))
        ax.axvline(median, color=INK, linewidth=1.2, linestyle="--")
        # To the side with more room, so that the words stay inside.
        left = median > (float(self.sigmas.min()) + float(self.sigmas.max())) / 2
        ax.annotate(
            f"median {median:.3g}",
            (median, 1.0),
            (-4 if left else 4, -2),
            xycoords=ax.get_xaxis_transform(),
            textcoords="offset points",
            ha="right" if left else "left",
            va="top",
            fontsize=8,
            color=INK,
        )
        ax.set_ylim(top=ax.get_ylim()[1] * 1.12)
        ax.set_xlabel("Noise magnitude sigma (units of the features)", color=INK, fontsize=9.5)
        ax.set_ylabel("Samples", color=INK, fontsize=9.5)
        if self.title:
            ax.set_title(self.title, loc="left", fontsize=10.5, color=INK)

    def _draw_row(
        self, ax: Axes, places: npt.NDArray[np.int64], bottom: float, name: str, image_kw: dict[str, Any]
    ) -> None:
        assert self.X is not None
        width = 0.9 / len(places)
        for column, place in enumerate(places):
            cell = ax.inset_axes((0.08 + (column + 0.05) * width, bottom, 0.9 * width, 0.15))
            draw_image(cell, self.X[place], self._caption(int(place)), **image_kw)
            for spine in cell.spines.values():
                spine.set(color=FAINT, linewidth=0.8)
            self.axes_.append(cell)
        ax.text(0.0, bottom + 0.075, name, transform=ax.transAxes, fontsize=8, color=INK, va="center")

    def _caption(self, place: int) -> str:
        sigma = f"sigma {self.sigmas[place]:.3g}"
        if self.y is None:
            return sigma
        label = self.y[place]
        return f"{label if self.class_names is None else self.class_names[int(label)]}\n{sigma}"


def _magnitudes(sigmas: npt.ArrayLike) -> Floats:
    values = check_floats("sigmas", sigmas, copy=True)
    if values.ndim != 1 or values.size == 0:
        raise shape_error("sigmas", "one value per sample, at least one", f"shape {values.shape}")
    bad = ~np.isfinite(values) | (values < 0)
    if bad.any():
        got = f"{values[bad.argmax()]} at index {int(bad.argmax())}"
        raise parameter_error("sigmas", "finite floats of at least 0", got)
    return values
