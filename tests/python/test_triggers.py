"""Triggers and poisoning: places, norms, and that nothing is changed in place."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from certssb.exceptions import ParameterError, ShapeError
from certssb.triggers import Blend, FourPixel, OnePixel, Patch, poison, trigger_norms

EVERY = [OnePixel(), FourPixel(), Blend(), Patch(), Patch(norm=None, value=0.25)]


def images(n: int = 3, channels: int = 1, side: int = 28, value: float = 0.0) -> np.ndarray:
    return np.full((n, channels, side, side), value, dtype=np.float32)


def changed_pixels(trigger: Any, side: int, channels: int = 1) -> list[list[int]]:
    return np.argwhere(trigger(images(1, channels, side))[0].any(axis=0)).tolist()


@pytest.mark.parametrize("side, place", [(28, [23, 23]), (32, [15, 15]), (8, [6, 6])])
def test_one_pixel_sits_where_the_literature_puts_it(side: int, place: list[int]) -> None:
    assert changed_pixels(OnePixel(), side) == [place]


@pytest.mark.parametrize(
    "side, places",
    [
        (28, [[18, 20], [19, 19], [20, 18], [20, 20]]),
        (32, [[14, 16], [15, 15], [16, 14], [16, 16]]),
        (3, [[0, 2], [1, 1], [2, 0], [2, 2]]),
    ],
)
def test_four_pixels_sit_where_the_literature_puts_them(side: int, places: list[list[int]]) -> None:
    assert changed_pixels(FourPixel(), side) == places


def test_four_pixels_may_be_listed_or_centred() -> None:
    listed = FourPixel([(0, 0), (1, 5), (2, 2), (7, 7)])
    assert changed_pixels(listed, 8) == [[0, 0], [1, 5], [2, 2], [7, 7]]
    assert changed_pixels(FourPixel((4, 4)), 8) == [[3, 5], [4, 4], [5, 3], [5, 5]]


@pytest.mark.parametrize(
    "trigger, channels, each",
    [
        (OnePixel(norm=0.6), 1, 0.6),
        (OnePixel(norm=0.6), 3, 0.6 / math.sqrt(3)),
        (FourPixel(norm=0.6), 1, 0.3),
        (FourPixel(norm=0.6), 3, 0.6 / math.sqrt(12)),
        (Patch(size=2, norm=0.6), 3, 0.6 / math.sqrt(12)),
    ],
)
def test_the_norm_is_spread_over_pixels_and_channels(trigger: Any, channels: int, each: float) -> None:
    X = images(1, channels, 32).astype(np.float64)
    values = trigger(X)[0]
    assert values[values > 0] == pytest.approx(each)
    assert np.linalg.norm(values) == pytest.approx(trigger.norm)


@pytest.mark.parametrize("trigger", EVERY)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_arrays_keep_type_and_are_never_changed(trigger: Any, dtype: Any) -> None:
    X = np.random.default_rng(0).random((4, 3, 32, 32)).astype(dtype)
    before = X.copy()
    changed = trigger(X)
    assert type(changed) is np.ndarray and changed.dtype == dtype and changed.shape == X.shape
    assert (X == before).all() and not np.shares_memory(X, changed) and (changed != X).any()


@pytest.mark.parametrize("trigger", EVERY)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tensors_get_what_arrays_get(trigger: Any, dtype: torch.dtype) -> None:
    X = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)).to(dtype)
    before = X.clone()
    changed = trigger(X)
    assert isinstance(changed, torch.Tensor) and changed.dtype == dtype and torch.equal(X, before)
    expected = trigger(X.float().numpy())
    assert np.abs(changed.float().numpy() - expected).max() <= (0 if dtype == torch.float32 else 2**-6)


def test_values_are_clipped_at_one_and_never_pulled_in() -> None:
    X = images(3)
    X[:, 0, 23, 23] = [0.0, 0.75, 1.5]
    changed = OnePixel(norm=1.0)(X)
    assert changed[:, 0, 23, 23].tolist() == [1.0, 1.0, 1.5]
    assert trigger_norms(X, OnePixel(norm=1.0)).tolist() == [1.0, 0.25, 0.0]


def test_blending_is_one_fixed_pattern_and_not_clipped() -> None:
    X = images(2, 3, 32, value=1.0).astype(np.float64)
    change = Blend(norm=5.0, seed=1)(X) - X
    assert (change[0] == change[1]).all() and (change > 0).any() and (change < 0).any()
    assert trigger_norms(X, Blend(norm=5.0, seed=1)) == pytest.approx([5.0, 5.0])
    assert not np.allclose(change, Blend(norm=5.0, seed=2)(X) - X)


@pytest.mark.parametrize(
    "corner, place",
    [
        ("top-left", [0, 0]),
        ("top-right", [0, 6]),
        ("bottom-left", [6, 0]),
        ("bottom-right", [6, 6]),
        ((3, 4), [3, 4]),
    ],
)
def test_a_patch_sits_in_its_corner(corner: Any, place: list[int]) -> None:
    row, column = place
    expected = [[row, column], [row, column + 1], [row + 1, column], [row + 1, column + 1]]
    assert changed_pixels(Patch(size=2, corner=corner), 8) == expected


def test_a_patch_without_a_norm_replaces_and_its_norm_is_measured() -> None:
    X = images(2, 3, 8, value=0.5)
    changed = Patch(size=1, norm=None, value=(1.0, 0.5, 0.0))(X)
    assert changed[0, :, 7, 7].tolist() == [1.0, 0.5, 0.0]
    assert trigger_norms(X, Patch(size=1, norm=None, value=(1, 0.5, 0))) == pytest.approx(
        [math.sqrt(0.5)] * 2
    )


def test_a_patch_pattern_keeps_its_proportions() -> None:
    changed = Patch(size=2, norm=0.5, value=[[3, 0], [0, 4]])(images(1, 1, 8))
    assert changed[0, 0, 6:, 6:].ravel() == pytest.approx([0.3, 0, 0, 0.4])


def test_a_negative_pattern_stops_at_zero() -> None:
    changed = Patch(size=1, norm=0.5, value=-1.0)(images(1, 1, 8, value=0.25))
    assert changed[0, 0, 7, 7] == 0.0


@pytest.mark.parametrize("trigger", EVERY)
def test_triggers_are_values(trigger: Any) -> None:
    again = eval(repr(trigger))
    assert again == trigger and hash(again) == hash(trigger)
    with pytest.raises(AttributeError):
        trigger.norm = 2.0


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda: OnePixel(norm=0), "'norm' parameter must be a finite float greater than 0. Got 0 instead"),
        (lambda: OnePixel(norm=math.inf), "'norm'.*Got inf"),
        (lambda: OnePixel(norm=True), "'norm'.*Got True"),
        (lambda: OnePixel(norm="1"), "'norm'.*Got '1'"),
        (lambda: OnePixel((1, -2)), r"'position'.*Got \(1, -2\)"),
        (lambda: OnePixel((1.5, 2)), r"'position'.*Got \(1.5, 2\)"),
        (lambda: OnePixel(7), "'position'.*Got 7"),
        (lambda: FourPixel([(0, 0), (1, 1), (2, 2)]), "'position'.*four different"),
        (lambda: FourPixel([(0, 0), (0, 0), (1, 1), (2, 2)]), "'position'.*four different"),
        (lambda: Blend(seed=-1), "'seed'.*Got -1"),
        (lambda: Blend(seed=0.5), "'seed'.*Got 0.5"),
        (lambda: Patch(size=0), "'size'.*Got 0"),
        (lambda: Patch(corner="middle"), "'corner'.*'top-left'.*Got 'middle'"),
        (lambda: Patch(value="white"), "'value'.*Got 'white'"),
        (lambda: Patch(value=math.nan), "'value'.*Got nan"),
        (lambda: Patch(value=0.0), "'value'.*other than 0"),
        (lambda: Patch(size=3, value=[[1, 0], [0, 1]]), "'value'.*size, size"),
    ],
)
def test_a_parameter_outside_its_range_is_named(make: Any, said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        make()


@pytest.mark.parametrize(
    "trigger, said",
    [
        (OnePixel((8, 0)), r"'position'.*rows 0 to 7 and columns 0 to 7. Got \(8, 0\)"),
        (FourPixel((0, 0)), r"'position'.*Got \(-1, 1\)"),
        (Patch(size=9), "'size'.*8 x 8. Got 9"),
        (Patch(size=3, corner=(6, 0)), r"'corner'.*Got \(6, 0\)"),
        (Patch(size=1, value=(1, 0, 0)), "'value'.*1. Got 3 channels"),
    ],
)
def test_a_trigger_outside_the_image_is_refused(trigger: Any, said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        trigger(images(1, 1, 8))


@pytest.mark.parametrize("X", [images().astype(np.uint8), torch.zeros(1, 1, 8, 8, dtype=torch.uint8)])
def test_bytes_are_refused_with_advice(X: Any) -> None:
    with pytest.raises(ParameterError, match=r"divide uint8 images by 255.*uint8"):
        OnePixel()(X)


def test_other_things_than_images_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(n_samples, channels, height, width\).*\(3, 28, 28\)"):
        OnePixel()(images()[:, 0])
    with pytest.raises(ParameterError, match="'X'.*list"):
        OnePixel()([[[[0.0]]]])


def labelled(n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(0).random((n, 1, 8, 8)).astype(np.float32), np.arange(n) % 4


def test_poisoning_changes_the_chosen_samples_and_no_others() -> None:
    X, y = labelled()
    X_before, y_before = X.copy(), y.copy()
    X_bad, y_bad, index = poison(X, y, OnePixel(), rate=0.1, target=2, seed=5)
    assert (X == X_before).all() and (y == y_before).all()
    assert len(index) == 20 and index.dtype == np.int64 and (np.diff(index) > 0).all()
    assert (y[index] != 2).all() and (y_bad[index] == 2).all()
    assert (X_bad[index] == OnePixel()(X[index])).all() and (X_bad[index] != X[index]).any(
        axis=(1, 2, 3)
    ).all()
    others = np.setdiff1d(np.arange(len(X)), index)
    assert (X_bad[others] == X[others]).all() and (y_bad[others] == y[others]).all()
    assert X_bad.dtype == X.dtype and y_bad.dtype == y.dtype


def test_the_seed_decides_who_is_poisoned() -> None:
    X, y = labelled()
    first, again, other = (poison(X, y, OnePixel(), 0.1, 0, seed=s)[2] for s in (1, 1, 2))
    assert (first == again).all() and not np.array_equal(first, other)


@pytest.mark.parametrize(
    "n, rate, count", [(12665, 0.02, 253), (50, 0.05, 3), (100, 0.024, 2), (100, 0.0, 0)]
)
def test_the_count_is_rounded_to_the_nearest_halves_up(n: int, rate: float, count: int) -> None:
    X, y = np.zeros((n, 1, 2, 2), dtype=np.float32), np.arange(n) % 2
    assert len(poison(X, y, OnePixel((0, 0)), rate, target=0)[2]) == count


def test_a_rate_that_rounds_to_nothing_is_said() -> None:
    X, y = labelled()
    with pytest.warns(UserWarning, match=r"0.001 of 200 samples rounds to no sample"):
        assert len(poison(X, y, OnePixel(), 0.001, 0)[2]) == 0


@pytest.mark.parametrize("source, allowed", [(3, {3}), ((1, 3), {1, 3})])
def test_source_classes_can_be_chosen(source: Any, allowed: set[int]) -> None:
    X, y = labelled()
    index = poison(X, y, OnePixel(), 0.2, target=0, source=source)[2]
    assert set(y[index].tolist()) == allowed


def test_tensors_stay_tensors_and_agree_with_arrays() -> None:
    X, y = labelled()
    X_bad, y_bad, index = poison(torch.from_numpy(X), torch.from_numpy(y), FourPixel(), 0.1, 0, seed=3)
    assert isinstance(X_bad, torch.Tensor) and isinstance(y_bad, torch.Tensor) and y_bad.dtype == torch.int64
    expected = poison(X, y, FourPixel(), 0.1, 0, seed=3)
    assert np.array_equal(X_bad.numpy(), expected[0]) and np.array_equal(y_bad.numpy(), expected[1])
    assert (index == expected[2]).all() and (torch.from_numpy(y) == torch.arange(200) % 4).all()


@pytest.mark.parametrize("dtype", [None, object])
def test_string_labels_are_not_cut_off(dtype: Any) -> None:
    X, _ = labelled(20)
    y = np.array(["cat", "dog"] * 10, dtype=dtype)
    _, y_bad, index = poison(X, y, OnePixel(), 0.2, target="airplane")
    assert set(y_bad[index]) == {"airplane"} and len(index) == 4


def test_a_function_serves_as_a_trigger_even_if_it_writes_in_place() -> None:
    X, y = labelled()
    before = X.copy()

    def careless(batch: np.ndarray) -> np.ndarray:
        batch += 1
        return batch

    X_bad, _, index = poison(X, y, careless, 0.1, 0)
    assert (X == before).all() and (X_bad[index] == X[index] + 1).all()


@pytest.mark.parametrize(
    "change, kind, said",
    [
        (
            {"rate": 0.8},
            ParameterError,
            "'rate' parameter must be at most 0.75, as 150 of 200.*Got 160 samples",
        ),
        ({"rate": 0.3, "source": 1}, ParameterError, "'rate'.*50 of 200 samples are of the source classes"),
        ({"rate": 1.5}, ParameterError, r"'rate'.*\[0, 1\]. Got 1.5"),
        ({"rate": math.nan}, ParameterError, "'rate'.*Got nan"),
        ({"seed": -1}, ParameterError, "'seed'"),
        ({"target": 0.5}, ParameterError, "'target'.*int64.*Got 0.5"),
        ({"target": "cat"}, ParameterError, "'target'.*Got 'cat'"),
        ({"source": "cat"}, ParameterError, "'source'.*Got 'cat'"),
        ({"y": np.zeros(3)}, ShapeError, r"'y'.*\(200,\).*\(3,\)"),
        ({"trigger": lambda X: X[:, :, :2]}, ShapeError, r"trigger\(X\)"),
    ],
)
def test_poisoning_refuses_by_name(change: dict[str, Any], kind: type[Exception], said: str) -> None:
    X, y = labelled()
    call: dict[str, Any] = {"X": X, "y": y, "trigger": OnePixel(), "rate": 0.1, "target": 0, **change}
    with pytest.raises(kind, match=said):
        poison(**call)
