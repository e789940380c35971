"""Augmentations: against scipy, reproducible by place, refused where they make no sense."""

import pickle
from typing import Any

import numpy as np
import pytest

from certssb.augment import Affine, Augmentation, Compose, Elastic, Flip, Shift, checked
from certssb.exceptions import ParameterError, ShapeError

EVERY: list[Augmentation] = [
    Shift(),
    Flip(vertical=0.5),
    Affine(20.0, 0.1, (0.8, 1.25), 10.0, fill=0.5),
    Elastic(),
    Compose([Shift((1, 2)), Flip(), Affine(), Elastic(0.5, 2.0)]),
]


def images(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(0).random(shape).astype(dtype)


@pytest.mark.parametrize("augment", EVERY, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(40, 9, 7), (60, 3, 28, 28), (0, 1, 5, 5), (3, 1, 1, 1)])
def test_the_batch_keeps_its_form_and_is_not_written_to(augment: Any, dtype: Any, shape: Any) -> None:
    batch = images(*shape, dtype=dtype)
    before = batch.copy()
    changed = augment(batch, 3)
    assert changed.shape == shape and changed.dtype == dtype and np.isfinite(changed).all()
    assert np.array_equal(batch, before) and not np.shares_memory(batch, changed)


@pytest.mark.parametrize("augment", EVERY, ids=str)
def test_a_sample_s_change_depends_on_seed_and_place_alone(augment: Any) -> None:
    batch = images(70, 2, 20, 20)  # enough for several threads
    whole = augment(batch, 5)
    parts = [augment(batch[at : at + 9], 5, first=at) for at in range(0, 70, 9)]
    assert np.array_equal(np.concatenate(parts), whole)
    assert not np.array_equal(augment(batch, 6), whole)
    others = batch.copy()
    others[:30] = 0
    assert np.array_equal(augment(others, 5)[30:], whole[30:])
    assert np.array_equal(augment(np.asfortranarray(batch), 5), whole)
    generators = [np.random.default_rng(1), np.random.default_rng(1)]
    first, again = (augment(batch, rng) for rng in generators)
    assert np.array_equal(first, again) and not np.array_equal(augment(batch, generators[0]), first)
    assert np.array_equal(augment(batch[:, 0], 5), whole[:, 0])


@pytest.mark.parametrize("augment", EVERY, ids=str)
def test_augmentations_are_values(augment: Any) -> None:
    again = type(augment)(**augment.get_params())
    assert again == augment and hash(again) == hash(augment) and again.to_json() == augment.to_json()
    assert pickle.loads(pickle.dumps(augment)) == augment
    assert eval(repr(augment)) == augment
    assert augment != Shift(5)


@pytest.mark.parametrize("angle, scale, shear", [(30, 1.0, 0), (-75, 0.7, 0), (0, 1.3, 20), (160, 1.1, -35)])
def test_affine_is_scipy_s(angle: float, scale: float, shear: float) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    batch = images(2, 3, 13, 10, dtype=np.float64)
    changed = Affine((angle, angle), 0.0, scale, (shear, shear), fill=0.25)(batch, 0)
    a, s = np.radians(angle), np.radians(shear)
    rotation = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    inverse = np.linalg.inv(rotation @ np.array([[1, 0], [np.tan(s), 1]]) * scale)
    centre = np.array([6.0, 4.5])
    for old, new in zip(batch.reshape(-1, 13, 10), changed.reshape(-1, 13, 10), strict=True):
        expected = ndimage.affine_transform(
            old, inverse, centre - inverse @ centre, order=1, mode="grid-constant", cval=0.25
        )
        np.testing.assert_allclose(new, expected, atol=1e-12)


def test_elastic_is_a_smooth_field_through_scipy_s_eyes() -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    # Images whose values are their places show the displacements in what comes out.
    rows, columns = np.mgrid[:40, :40].astype(float)
    batch = np.repeat(np.stack([rows, columns])[None], 300, axis=0)
    changed = Elastic(alpha=1.5, sigma=3.0)(batch, 2)
    inner = (slice(None), slice(None), slice(10, 30), slice(10, 30))
    field = (changed - batch)[inner]
    assert abs(field.std() - 1.5) < 0.05 and abs(field.mean()) < 0.06
    white = np.random.default_rng(0).standard_normal((100, 60, 60))
    reference = np.array([ndimage.gaussian_filter(w, 3.0, truncate=3.0)[20:40, 20:40] for w in white])
    for step in (1, 3, 6):
        ours = (field[..., step:] * field[..., :-step]).mean() / (field**2).mean()
        theirs = (reference[..., step:] * reference[..., :-step]).mean() / (reference**2).mean()
        assert abs(ours - theirs) < 0.06, step
    # One displacement field for all channels: another image is warped along the same one.
    other = batch.copy()
    other[:, 1] = images(40, 40)
    warped = Elastic(alpha=1.5, sigma=3.0)(other, 2)
    places = changed[0][:, 10:30, 10:30]
    expected = ndimage.map_coordinates(other[0, 1], places, order=1)
    np.testing.assert_allclose(warped[0, 1, 10:30, 10:30], expected, atol=1e-9)


def test_a_quarter_turn_is_rot90() -> None:
    batch = images(3, 2, 6, 6)
    for quarters in (-1, 1, 2, 3):
        angle = 90 * quarters
        assert np.array_equal(Affine((angle, angle))(batch, 0), np.rot90(batch, quarters, axes=(2, 3)))


BAD: list[tuple[str, Any]] = [
    ("pixels", lambda: Shift(-1)),
    ("pixels", lambda: Shift(1.5)),  # type: ignore[arg-type]
    ("pixels", lambda: Shift((1, 2, 3))),  # type: ignore[arg-type]
    ("pixels", lambda: Shift(True)),
    ("pixels", lambda: Shift(10**30)),
    ("fill", lambda: Shift(fill=np.nan)),
    ("fill", lambda: Elastic(fill=1e39)),
    ("horizontal", lambda: Flip(1.5)),
    ("vertical", lambda: Flip(vertical=-0.1)),
    ("angle", lambda: Affine(np.nan)),
    ("angle", lambda: Affine(-5.0)),
    ("angle", lambda: Affine((10, 5))),
    ("angle", lambda: Affine("15")),  # type: ignore[arg-type]
    ("translate", lambda: Affine(translate=1.5)),
    ("scale", lambda: Affine(scale=0.0)),
    ("scale", lambda: Affine(scale=np.inf)),
    ("shear", lambda: Affine(shear=90.0)),
    ("alpha", lambda: Elastic(alpha=-1.0)),
    ("sigma", lambda: Elastic(sigma=0.0)),
    ("sigma", lambda: Elastic(sigma=1e9)),
    ("steps", lambda: Compose(3)),  # type: ignore[arg-type]
    ("steps", lambda: Compose([Shift(), "flip"])),  # type: ignore[list-item]
    ("batch", lambda: Shift()([[[1.0]]], 0)),  # type: ignore[arg-type]
    ("batch", lambda: Shift()(np.zeros((1, 4, 4), dtype=np.uint8), 0)),
    ("batch", lambda: Shift()(np.full((1, 4, 4), np.nan), 0)),
    ("rng", lambda: Shift()(images(1, 4, 4), -1)),
    ("rng", lambda: Shift()(images(1, 4, 4), None)),  # type: ignore[arg-type]
    ("rng", lambda: Shift()(images(1, 4, 4), 2**64)),
    ("first", lambda: Shift()(images(1, 4, 4), 0, first=-1)),
    ("augment", lambda: checked(3, images(1, 4, 4))),  # type: ignore[arg-type]
    ("batch", lambda: checked(Shift(), images(0, 4, 4))),
]


@pytest.mark.parametrize("name, call", BAD)
def test_bad_input_is_named(name: str, call: Any) -> None:
    with pytest.raises(ParameterError, match=f"^The '{name}' parameter must be"):
        call()


def test_other_ranks_are_refused() -> None:
    with pytest.raises(ShapeError, match="'batch' must have 3 or 4 dimensions"):
        Shift()(images(4, 4), 0)


def test_compositions_have_a_bottom() -> None:
    deep: Augmentation = Shift()
    with pytest.raises(ParameterError, match="'steps'"):
        for _ in range(40):
            deep = Compose([deep])


def written(batch: np.ndarray, rng: Any) -> np.ndarray:
    batch += 1
    return batch.copy()


def remembering() -> Any:
    seen: list[np.ndarray] = []

    def augment(batch: np.ndarray, rng: Any) -> np.ndarray:
        seen.append(batch)
        return batch + seen[-2].mean() if len(seen) > 1 else batch + 0

    return augment


BROKEN: list[tuple[str, Any]] = [
    ("shape", lambda batch, rng: batch[:1]),
    ("dtype", lambda batch, rng: batch.astype(np.float64)),
    ("type of its batch", lambda batch, rng: batch.tolist()),
    ("finite", lambda batch, rng: batch / 0.0 * np.nan),
    ("does not write", written),
    ("reproducible", lambda batch, rng: batch + np.random.random()),
    ("reproducible", remembering()),
]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("rule, augment", BROKEN)
def test_callables_that_break_a_rule_are_refused(rule: str, augment: Any) -> None:
    with pytest.raises(ParameterError, match=f"^The 'augment' parameter must be .*{rule}"):
        checked(augment, images(6, 1, 5, 5))


def test_mixing_within_a_batch_is_refused_where_samples_must_stand_alone() -> None:
    def mixed(batch: np.ndarray, rng: Any) -> np.ndarray:
        return (batch + batch.mean(axis=0)) / np.float32(2)

    batch = images(6, 1, 5, 5)
    assert checked(mixed, batch) is mixed
    with pytest.raises(ParameterError, match="each sample by itself"):
        checked(mixed, batch, per_sample=True)


@pytest.mark.parametrize("augment", EVERY, ids=str)
def test_the_built_in_ones_keep_the_rules(augment: Any) -> None:
    assert checked(augment, images(6, 1, 8, 8), per_sample=True) is augment
