"""Displays, on made-up certificates whose curves can be worked out by hand."""

import subprocess
import sys
from typing import Any

import matplotlib
import numpy as np
import pytest

from certssb.displays import CertifiedAccuracyDisplay, FrontierDisplay, PredictionGridDisplay
from certssb.exceptions import ParameterError, ShapeError

matplotlib.use("agg")
import matplotlib.pyplot as plt


class Table:
    """Four samples with radii 0 (abstained), 1, 2, 3; the last is predicted wrong."""

    def __init__(self, radius: bool = True, sound: bool = True) -> None:
        self.prediction = np.array([0, 1, 0, 1])
        self.y = np.array([0, 1, 0, 0])
        self.abstained = np.array([True, False, False, False])
        self._radius = np.array([0.0, 1.0, 2.0, 3.0])
        self.radius = self._radius if radius else None
        self.p_lower = np.array([0.5, 0.6, 0.7, 0.8])
        self.guarantee = "Nothing is promised by a made-up table."
        self.sound = sound
        self.n_train = 1000

    def certified_accuracy(
        self, y: Any, radii: Any = None, n_poisoned: Any = None, trigger_norm: Any = None
    ) -> Any:
        right = (self.prediction == y) & ~self.abstained
        if radii is not None:
            return np.array([(right & (self._radius > r)).mean() for r in radii])
        return float((right & (self.trigger_norm(n_poisoned) >= trigger_norm)).mean())

    def trigger_norm(self, n_poisoned: int, labels: bool = False) -> Any:
        return self._radius / np.sqrt(n_poisoned)

    def frontier(self, n_poisoned: Any, labels: bool = False) -> Any:
        norms = self._radius[:, None] / np.sqrt(np.asarray(n_poisoned, dtype=float))
        norms[1:, np.asarray(n_poisoned) == 1] = np.inf
        return np.where(np.asarray(n_poisoned) > 100, 0.0, norms)


@pytest.fixture(autouse=True)
def close_figures() -> Any:
    yield
    plt.close("all")


def texts(ax: Any) -> str:
    return " ".join(" ".join(text.get_text().split()) for text in ax.texts)


def legend(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_the_accuracy_curve_steps_down_and_never_claims_more() -> None:
    table = Table()
    display = CertifiedAccuracyDisplay.from_certificates(table, table.y).plot()
    assert display.radii[0] == 0 and display.radii[-1] > 3 and len(display.radii) == 257
    assert display.accuracy[0] == 0.5 and display.accuracy[-1] == 0 and (np.diff(display.accuracy) <= 0).all()
    assert display.line_.get_drawstyle() == "steps-pre"
    assert display.ax_.get_ylim() == (0, 1) and display.ax_.get_xlim() == (0, display.radii[-1])
    assert "L2 radius" in display.ax_.get_xlabel() and display.figure_ is display.ax_.figure


def test_radii_can_be_given() -> None:
    table = Table()
    display = CertifiedAccuracyDisplay.from_certificates(table, table.y, radii=[0, 1.5, 0.5])
    assert display.radii.tolist() == [0, 0.5, 1.5] and display.accuracy.tolist() == [0.5, 0.5, 0.25]
    assert not hasattr(display, "ax_")


def test_accuracy_over_trigger_norms_at_a_fixed_count() -> None:
    table = Table(radius=False)
    display = CertifiedAccuracyDisplay.from_certificates(
        table, table.y, n_poisoned=4, trigger_norms=[0, 0.5, 0.75, 1.25]
    ).plot()
    assert display.accuracy.tolist() == [0.5, 0.5, 0.25, 0.0]
    assert "Trigger" in display.ax_.get_xlabel() and "at most 4 of 1,000" in display.ax_.get_title(loc="left")
    assert CertifiedAccuracyDisplay.from_certificates(table, table.y, n_poisoned=4).radii[-1] > 1.5


def test_a_law_without_a_radius_asks_for_a_count() -> None:
    table = Table(radius=False)
    with pytest.raises(ParameterError, match="'n_poisoned' parameter must be an integer.*no L2 radius"):
        CertifiedAccuracyDisplay.from_certificates(table, table.y)
    with pytest.raises(ParameterError, match="'radii'"):
        CertifiedAccuracyDisplay.from_certificates(table, table.y, radii=[1], n_poisoned=3)


def test_curves_share_axes_and_the_widest_range() -> None:
    _, ax = plt.subplots()
    first = CertifiedAccuracyDisplay([0, 2], [1, 0], name="a").plot(ax)
    second = CertifiedAccuracyDisplay.from_certificates(
        Table(sound=False), Table().y, radii=[0, 1], name="b", ax=ax
    )
    assert first.ax_ is second.ax_ is ax and ax.get_xlim() == (0, 2)
    assert first.line_.get_color() != second.line_.get_color()
    assert legend(ax) == ["a", "b (not a proof)"] and second.line_.get_linestyle() == "--"


def test_the_legend_is_outside_the_data_and_inside_the_picture() -> None:
    display = CertifiedAccuracyDisplay([0, 1], [1, 0], name="a law with a rather long name").plot()
    display.figure_.canvas.draw()
    box, axes = display.ax_.get_legend().get_window_extent(), display.ax_.get_window_extent()
    assert box.x0 >= axes.x1 and box.x1 <= display.figure_.bbox.x1


def test_the_guarantee_is_written_under_the_plot_once() -> None:
    table = Table()
    display = CertifiedAccuracyDisplay.from_certificates(table, table.y)
    assert texts(display.plot().ax_) == ""
    ax = display.plot(guarantee=True).ax_
    display.plot(ax, guarantee=True)
    assert texts(ax) == table.guarantee
    display.plot(ax, guarantee=True, name="b")
    assert texts(ax) == f"{table.guarantee} b: {table.guarantee}"
    ax.figure.canvas.draw()
    note = ax.texts[0].get_window_extent()
    assert note.y1 < ax.xaxis.label.get_window_extent().y0 and note.y0 >= 0


def test_line_options_reach_the_line() -> None:
    display = CertifiedAccuracyDisplay([0, 1], [1, 0]).plot(color="black", linewidth=7)
    assert (display.line_.get_color(), display.line_.get_linewidth()) == ("black", 7)


def test_accuracy_of_no_samples_is_a_gap() -> None:
    table = Table()
    table.certified_accuracy = lambda y, radii: [None] * len(radii)  # type: ignore[method-assign]
    assert np.isnan(CertifiedAccuracyDisplay.from_certificates(table, table.y, radii=[0, 1]).accuracy).all()


@pytest.mark.parametrize("radii, accuracy", [([], []), ([0, 1], [1]), ([[0]], [[1]])])
def test_points_that_do_not_match_are_refused(radii: Any, accuracy: Any) -> None:
    with pytest.raises(ShapeError, match="radii, accuracy"):
        CertifiedAccuracyDisplay(radii, accuracy)


def test_the_frontier_shows_shares_of_samples() -> None:
    table = Table()
    display = FrontierDisplay.from_certificates(table, n_poisoned=[1, 4, 200], levels=(0.25, 0.5, 0.75, 1.0))
    assert display.curves[:, 1].tolist() == [1.5, 1.0, 0.5, 0.0]
    assert display.curves[:, 0].tolist() == [np.inf, np.inf, np.inf, 0.0] and not display.curves[:, 2].any()
    right = FrontierDisplay.from_certificates(table, table.y, n_poisoned=[4], levels=(0.25, 0.5, 0.75))
    assert right.curves[:, 0].tolist() == [1.0, 0.5, 0.0]


def test_a_share_that_binary_numbers_round_up_is_still_met() -> None:
    norms = np.arange(10.0)[:, None]
    assert FrontierDisplay([1], norms, levels=(0.9, 0.7)).curves.ravel().tolist() == [1.0, 3.0]


def test_any_trigger_is_a_marked_band_above_all_finite_norms() -> None:
    display = FrontierDisplay.from_certificates(Table(), n_poisoned=[1, 4, 9], levels=(0.5,)).plot()
    heights = np.asarray(display.line_.get_ydata())
    assert heights[0] > heights[1] == 1.0 and display.ax_.get_ylim()[1] > heights[0]
    assert [t.get_text() for t in display.ax_.get_yticklabels()][-1] == "any\ntrigger"


def test_frontiers_on_the_same_axes_share_the_band() -> None:
    low = FrontierDisplay([1, 2], [[np.inf, 1.0]], levels=(1,), name="low").plot()
    high = FrontierDisplay([1, 2], [[np.inf, 5.0]], levels=(1,), name="high").plot(low.ax_)
    infinite = [np.asarray(display.line_.get_ydata())[0] for display in (low, high)]
    assert infinite[0] == infinite[1] > 5 and len(low.ax_.patches) == 1
    assert legend(low.ax_) == ["low: 100% of samples", "high: 100% of samples"]
    assert low.line_.get_color() != high.line_.get_color()


def test_without_infinite_norms_there_is_no_band() -> None:
    display = FrontierDisplay([1, 2], [[2.0, 1.0]]).plot()
    assert not display.ax_.patches and len(display.lines_) == 3


def test_the_default_counts_end_where_nothing_is_certified() -> None:
    display = FrontierDisplay.from_certificates(Table()).plot()
    assert display.n_poisoned[0] == 1 and 100 < display.n_poisoned[-1] < 200
    assert not display.curves[:, -1].any() and display.ax_.get_xscale() == "log"


def test_nothing_certified_at_all_still_draws() -> None:
    display = FrontierDisplay([1, 5], np.zeros((3, 2))).plot()
    assert display.ax_.get_ylim()[1] > 0
    assert CertifiedAccuracyDisplay([0], [0.5]).plot().ax_.get_xlim() == (0, 1)


@pytest.mark.parametrize(
    "call, kind, said",
    [
        (lambda: FrontierDisplay([0, 1], np.zeros((1, 2))), ParameterError, "'n_poisoned'.*at least 1"),
        (lambda: FrontierDisplay([1.5], np.zeros((1, 1))), ParameterError, "'n_poisoned'"),
        (lambda: FrontierDisplay([2, 1], np.zeros((1, 2))), ParameterError, "ascending"),
        (lambda: FrontierDisplay([1, 2], np.zeros((1, 3))), ShapeError, r"\(n_samples, 2\)"),
        (lambda: FrontierDisplay([1], np.zeros((1, 1)), levels=(0,)), ParameterError, "'levels'"),
        (lambda: FrontierDisplay.from_certificates(Table(), [0, 1]), ShapeError, "'y_true'.*4 in all"),
    ],
)
def test_frontiers_refuse_by_name(call: Any, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        call()


def titles(display: PredictionGridDisplay) -> list[str]:
    return [ax.get_title() for ax in display.axes_]


@pytest.mark.parametrize(
    "channels, dtype", [(1, np.float32), (3, np.uint8), (4, np.float32), (2, np.float64)]
)
def test_the_grid_says_what_is_certified(channels: int, dtype: Any) -> None:
    table, X = Table(), np.ones((4, channels, 8, 8), dtype=dtype)
    display = PredictionGridDisplay.from_certificates(table, X, table.y).plot(guarantee=True)
    assert titles(display) == [
        "0 ✓\nabstained",
        "1 ✓\nradius 1.00",
        "0 ✓\nradius 2.00",
        "1 ✗ true: 0\nradius 3.00",
    ]
    assert legend(display.ax_) == ["right and certified", "abstained", "wrong"]
    assert texts(display.ax_) == table.guarantee
    display.figure_.canvas.draw()


def test_what_is_no_proof_says_so_without_being_asked() -> None:
    table = Table(sound=False)
    curve = CertifiedAccuracyDisplay.from_certificates(table, table.y).plot()
    frontier = FrontierDisplay.from_certificates(table, n_poisoned=[4], levels=(0.5,)).plot()
    grid = PredictionGridDisplay.from_certificates(table, np.zeros((4, 1, 2, 2)), table.y).plot()
    for display in (curve, frontier, grid):
        assert "(not a proof)" in legend(display.ax_)[0]


def test_frames_differ_by_outcome() -> None:
    table = Table()
    display = PredictionGridDisplay.from_certificates(table, np.zeros((4, 1, 8, 8)), table.y).plot()
    frames = [ax.spines["top"].get_edgecolor() for ax in display.axes_]
    assert frames[1] == frames[2] and len(set(frames)) == 3


def test_the_grid_can_start_with_the_least_certain() -> None:
    X = np.arange(4.0).reshape(4, 1, 1, 1) * np.ones((1, 1, 2, 2))
    least = PredictionGridDisplay.from_certificates(Table(), X, n=2, order="least")
    most = PredictionGridDisplay.from_certificates(Table(), X, n=2, order="most")
    assert least.images[:, 0, 0, 0].tolist() == [0, 1] and most.images[:, 0, 0, 0].tolist() == [3, 2]


def test_without_a_radius_the_probability_is_shown_rounded_down() -> None:
    table = Table(radius=False)
    table.p_lower[1] = 0.6999
    display = PredictionGridDisplay.from_certificates(
        table, np.zeros((4, 1, 2, 2)), class_names=("cat", "dog")
    )
    assert titles(display.plot())[1] == "dog\np at least 0.69"


def test_the_grid_fills_axes_that_are_there() -> None:
    figure, (left, right) = plt.subplots(1, 2)
    display = PredictionGridDisplay(np.zeros((3, 1, 2, 2)), [0, 1, 2], [False] * 3).plot(right)
    assert (
        display.ax_ is right
        and display.figure_ is figure
        and not left.child_axes
        and len(right.child_axes) == 3
    )


@pytest.mark.parametrize(
    "change, kind, said",
    [
        ({"X": np.zeros((3, 1, 8, 8))}, ShapeError, "'X'.*4 in all. Got 3"),
        ({"X": np.zeros((4, 64))}, ShapeError, r"'X'.*\(4, 64\)"),
        ({"y_true": [0]}, ShapeError, "'y_true'"),
        ({"n": 0}, ParameterError, "'n'.*at least 1. Got 0"),
        ({"order": "random"}, ParameterError, "'order'.*'given', 'least', 'most'.*Got 'random'"),
    ],
)
def test_grids_refuse_by_name(change: dict[str, Any], kind: type[Exception], said: str) -> None:
    call: dict[str, Any] = {"X": np.zeros((4, 1, 8, 8)), "y_true": None, **change}
    with pytest.raises(kind, match=said):
        PredictionGridDisplay.from_certificates(Table(), **call)


def test_the_package_comes_without_matplotlib_until_something_is_drawn() -> None:
    program = (
        "import sys, certssb\n"
        "assert certssb.CertifiedAccuracyDisplay and certssb.FrontierDisplay\n"
        "print(sorted({'matplotlib', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    ("radii", "accuracy", "said"),
    [([1, 0], [1, 0], "'radii'"), ([np.nan], [1], "'radii'"), ([-1, 0], [1, 0], "'radii'"), ([0, 1], [2, 0], "'accuracy'")],
)  # fmt: skip
def test_curves_that_are_none_are_refused(radii: Any, accuracy: Any, said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        CertifiedAccuracyDisplay(radii, accuracy)
    CertifiedAccuracyDisplay([0, 0], [1, np.nan])


def test_a_number_of_samples_has_no_halves_on_its_axis() -> None:
    axis = CertifiedAccuracyDisplay([0, 1, 2], [0.9, 0.8, 0.0], xlabel="Changed entries (at most)").plot().ax_
    ticks = axis.get_xticks()
    assert len(ticks) >= 3 and (ticks == np.round(ticks)).all()
