"""The display of noise magnitudes, on magnitudes chosen by hand."""

from typing import Any

import matplotlib
import numpy as np
import pytest

from certssb.displays import NoiseMagnitudeDisplay
from certssb.exceptions import ParameterError, ShapeError

matplotlib.use("agg")
import matplotlib.pyplot as plt

SIGMAS = [0.5, 0.25, 1.0, 0.25, 0.75]
X = np.arange(5.0).reshape(5, 1, 1, 1) / 4 * np.ones((1, 1, 2, 2))
Y = np.array([0, 1, 0, 1, 1])


@pytest.fixture(autouse=True)
def close_figures() -> Any:
    yield
    plt.close("all")


def test_the_ends_of_the_range_are_shown_outermost_first() -> None:
    display = NoiseMagnitudeDisplay(SIGMAS, X, Y, n=2, class_names=("cat", "dog")).plot()
    assert display.smallest.tolist() == [1, 3] and display.largest.tolist() == [2, 4]
    assert [ax.get_title() for ax in display.axes_] == [
        "dog\nsigma 0.25", "dog\nsigma 0.25", "cat\nsigma 1", "dog\nsigma 0.75",
    ]  # fmt: skip
    shown = [float(np.asarray(ax.images[0].get_array())[0, 0]) for ax in display.axes_]
    assert shown == [0.25, 0.75, 0.5, 1.0]


def test_the_histogram_counts_every_sample_and_marks_the_median() -> None:
    display = NoiseMagnitudeDisplay(SIGMAS).plot(bins=3)
    assert [bar.get_height() for bar in display.histogram_.patches] == [2, 1, 2]  # type: ignore[attr-defined]
    assert "median 0.5" in [text.get_text() for text in display.histogram_.texts]
    assert display.axes_ == [] and display.figure_ is display.ax_.figure


def test_it_fills_axes_that_are_there_and_stays_inside() -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(14, 6))
    display = NoiseMagnitudeDisplay.from_arrays(SIGMAS, X, Y, ax=right)
    assert display.ax_ is right and not left.child_axes and len(right.child_axes) == 5
    figure.canvas.draw()
    frame = right.get_window_extent()
    for child in right.child_axes:
        box = child.get_window_extent()
        assert frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 - 1 <= box.y0 and box.y1 <= frame.y1


def test_equal_magnitudes_and_a_single_sample_draw() -> None:
    assert NoiseMagnitudeDisplay([0.5] * 4, np.zeros((4, 3, 2, 2))).plot().smallest.tolist() == [0, 1]
    assert NoiseMagnitudeDisplay([0.5], np.zeros((1, 1, 2, 2), dtype=np.uint8)).plot().largest.tolist() == [0]


@pytest.mark.parametrize(
    "call, kind, said",
    [
        (lambda: NoiseMagnitudeDisplay([]), ShapeError, "'sigmas'"),
        (lambda: NoiseMagnitudeDisplay([[1.0]]), ShapeError, r"'sigmas'.*\(1, 1\)"),
        (lambda: NoiseMagnitudeDisplay([1, -0.5]), ParameterError, "'sigmas'.*-0.5 at index 1"),
        (lambda: NoiseMagnitudeDisplay([np.nan]), ParameterError, "'sigmas'.*nan at index 0"),
        (lambda: NoiseMagnitudeDisplay(SIGMAS, X[:4]), ShapeError, "'X'.*5 in all. Got 4"),
        (lambda: NoiseMagnitudeDisplay(SIGMAS, X[:, 0]), ShapeError, "'X'"),
        (lambda: NoiseMagnitudeDisplay(SIGMAS, X, [1]), ShapeError, "'y'"),
        (lambda: NoiseMagnitudeDisplay(SIGMAS, n=0), ParameterError, "'n'"),
        (lambda: NoiseMagnitudeDisplay(SIGMAS).plot(bins=0), ParameterError, "'bins'"),
    ],
)
def test_it_refuses_by_name(call: Any, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        call()
