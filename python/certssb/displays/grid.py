"""Test images with what is certified about them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from certssb._checks import check_integer, frozen, parameter_error, read_only, shape_error
from certssb.data._truth import are_equal, true_labels
from certssb.displays._images import as_images, columns_for, draw_image
from certssb.displays._style import INK, figure_of, label_of, new_axes, write_note
from certssb.displays._table import Certificates, Floats, per_sample

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from typing_extensions import Self

__all__ = ["PredictionGridDisplay"]

_FRAMES = ("#0072B2", "#999999", "#D55E00")


class PredictionGridDisplay:
    """Test images with their prediction, certified radius and true class.

    A blue frame means right and certified, a grey one abstained, an orange one wrong; the caption says the same in words.

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
        Name of that value.
    y_true : array-like of shape (n_images,) or None, default=None
        True classes.
    class_names : sequence of str or None, default=None
        Names of classes 0..K-1; None writes the classes as they are.
    guarantee : str or None, default=None
        What is guaranteed, one sentence.
    sound : bool, default=True
        If False, the key says that this is not a proof.

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
        self.images = read_only(np.asarray(images))
        if self.images.ndim != 4 or self.images.size == 0:
            expected = "the shape (n_images, channels, height, width)"
            raise shape_error("images", expected, f"shape {self.images.shape}")
        n_images = len(self.images)
        self.prediction = per_sample("prediction", prediction, n_images)
        self.abstained = per_sample("abstained", abstained, n_images)
        self.value = None if value is None else per_sample("value", value, n_images)
        self.value_name = value_name
        self.y_true = None if y_true is None else frozen(true_labels(y_true, n_images).copy())
        self._right = None if self.y_true is None else are_equal(self.prediction, self.y_true)
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
        """Build the grid from a table of certificates and the test images.

        Parameters
        ----------
        certs : CertificateTable
            Certificates of test samples.
        X : array-like of shape (n_samples, channels, height, width)
            The test images.
        y_true : array-like of shape (n_samples,) or None, default=None
            Their true classes.
        n : int, default=16
            Number of images to show, at most.
        order : {"given", "least", "most"}, default="given"
            The first ones, or the least or the most certain ones first: by radius, or by the lower
            bound of the predicted class's probability where the law has no radius; for a partition by the number of
            buckets that may change.
        class_names : sequence of str or None, default=None
            Names of classes 0..K-1.
        ax : matplotlib.axes.Axes or None, default=None
            Axes on which to draw at once; None leaves drawing to :meth:`plot`.

        Returns
        -------
        PredictionGridDisplay

        Raises
        ------
        ParameterError
            If `n` or `order` is outside its range.
        ShapeError
            If there is not one image, or one true class, per certificate, or `X` does not hold images.

        Examples
        --------
        >>> import matplotlib
        >>> matplotlib.use("agg")
        >>> import numpy as np
        >>> import certssb as cs
        >>> certs = cs.certify_votes(np.ones((1000, 4), int), cs.Gaussian(0.5), n_train=100, n_classes=2)
        >>> X, y = cs.datasets.load_digits(classes=(0, 1))
        >>> display = cs.PredictionGridDisplay.from_certificates(certs, X[:4], y[:4], n=2)
        >>> display.images.shape
        (2, 1, 8, 8)
        """
        images = as_images(X)
        n_samples = len(np.asarray(certs.prediction))
        if len(images) != n_samples:
            raise shape_error("X", f"one image per certificate, {n_samples} in all", len(images))
        value, value_name = certs.radius, "radius"
        if value is None:
            value, value_name = getattr(certs, "n_buckets", None), "buckets"
        if value is None:
            value, value_name = getattr(certs, "p_lower", np.zeros(n_samples)), "p at least"
        value = np.asarray(value, dtype=np.float64)
        chosen = _ordered(value, order)[: check_integer("n", n, "an integer of at least 1", 1)]
        truth = None if y_true is None else true_labels(y_true, n_samples)[chosen]
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
            Axes to fill; None makes a figure of a suitable size.
        guarantee : bool, default=False
            Whether to write the guarantee under the grid.
        **image_kw
            Options of :meth:`matplotlib.axes.Axes.imshow`, such as ``cmap``.

        Returns
        -------
        PredictionGridDisplay
            Itself, with ``axes_``, ``ax_`` and ``figure_``.

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
        >>> X, y = cs.datasets.load_digits(classes=(0, 1))
        >>> display = cs.PredictionGridDisplay.from_certificates(certs, X[:4], y[:4]).plot()
        >>> len(display.axes_)
        4
        """
        n_images = len(self.images)
        columns = columns_for(n_images)
        rows = math.ceil(n_images / columns)
        if ax is None:
            ax = new_axes((1.35 * columns + 0.2, 1.68 * rows + 0.45))
        ax.set_axis_off()
        self.axes_ = []
        for place in range(n_images):
            row, column = divmod(place, columns)
            box = ((column + 0.06) / columns, 1 - (row + 0.98) / rows, 0.88 / columns, 0.72 / rows)
            cell = ax.inset_axes(box)
            draw_image(cell, self.images[place], self._caption(place), **image_kw)
            for spine in cell.spines.values():
                spine.set(color=_FRAMES[self._state(place)], linewidth=2.5)
            self.axes_.append(cell)
        self._draw_key(ax)
        self.ax_, self.figure_ = ax, figure_of(ax)
        if guarantee and self.guarantee:
            write_note(ax, self.guarantee, below=30)
        return self

    def _state(self, place: int) -> int:
        """0 right and certified (or no truth known), 1 abstained, 2 wrong."""
        if self._right is not None and not self._right[place]:
            return 2
        return 1 if self.abstained[place] else 0

    def _caption(self, place: int) -> str:
        caption = self._class_name(self.prediction[place])
        if self.y_true is not None and self._right is not None:
            wrong = f" \u2717 true: {self._class_name(self.y_true[place])}"
            caption += " \u2713" if self._right[place] else wrong
        if self.abstained[place]:
            return caption + "\nabstained"
        if self.value is None:
            return caption + "\ncertified"
        return f"{caption}\n{self.value_name} {_rounded_down(float(self.value[place]))}"

    def _class_name(self, value: Any) -> str:
        return str(value) if self.class_names is None else str(self.class_names[int(value)])

    def _draw_key(self, ax: Axes) -> None:
        from matplotlib.lines import Line2D

        states = sorted({self._state(place) for place in range(len(self.images))})
        certified = label_of("certified" if self.y_true is None else "right and certified", self.sound)
        names = (certified, "abstained", "wrong")
        handles = [Line2D([], [], color=_FRAMES[s], linewidth=2.5, label=names[s]) for s in states]
        options: dict[str, Any] = {
            "loc": "upper center",
            "bbox_to_anchor": (0.5, -0.01),
            "ncol": len(handles),
        }
        ax.legend(handles=handles, frameon=False, fontsize=8, labelcolor=INK, **options)


def _ordered(value: Floats, order: str) -> npt.NDArray[np.int64]:
    if order == "given":
        return np.arange(len(value))
    if order not in ("least", "most"):
        raise parameter_error("order", "one of 'given', 'least', 'most'", repr(order))
    return np.argsort(value if order == "least" else -value, kind="stable")


def _rounded_down(value: float) -> str:
    """Two decimals, never more than the value."""
    return "any" if math.isinf(value) else f"{math.floor(value * 100) / 100:.2f}"
