"""Training with `augment=`: whose samples are changed, from which numbers, and what a callable must not do."""

import functools
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Digits, small
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from torch import nn

import certssb as cs
from certssb.augment import Affine, Compose, Elastic, Flip, Shift
from certssb.augment._applied import Applied, described, samples_held
from certssb.exceptions import CheckpointError, GrowthWarning, ParameterError, TrainingError

SET = cs.Subsample(size=40)


def rolled(batch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Every image by itself: a pixel to the right, or not."""
    chosen = rng.random(len(batch)) < 0.5
    return np.where(chosen[:, None, None, None], np.roll(batch, 1, axis=-1), batch)


def dimmed(batch: np.ndarray) -> np.ndarray:
    """With one parameter: from NumPy's global generator."""
    return (batch * np.random.uniform(0.8, 1.0, size=(len(batch), 1, 1, 1))).astype(np.float32)


class Jitter(nn.Module):
    def forward(self, x: Any) -> Any:
        import torch

        return x + 0.05 * torch.randn_like(x)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, x: Any) -> Any:
        return self.layer(x.flatten(1))


class Convolutions(nn.Sequential):
    """Which computes with channels innermost."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2))


EVERY: dict[str, Any] = {"built in": Shift(1), "rng": rolled, "global": dimmed, "module": Jitter()}
TREE = DecisionTreeClassifier(max_depth=4)
SCALED = make_pipeline(StandardScaler(), SVC())
MODELS: dict[str, Any] = {"linear": "linear", "discriminant": "discriminant", "own": Net, "tree": TREE}


def fitted(digits: Digits, model: Any = "linear", **settings: Any) -> cs.CertifiedClassifier:
    settings = {"law": SET, "n_members": 5, "alpha": 0.5, "batch_size": 16} | settings
    return small(model, **settings).fit(digits[0], digits[1])


def values(clf: cs.CertifiedClassifier) -> np.ndarray:
    return np.stack([clf._ensemble.values(member) for member in range(clf.n_members_)])


@pytest.mark.parametrize("augment", EVERY.values(), ids=EVERY)
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_results_are_the_seeds_whatever_the_threads(digits: Digits, model: Any, augment: Any) -> None:
    def answers(**settings: Any) -> np.ndarray:
        return fitted(digits, model, **settings).scores(digits[2])

    one = answers(augment=augment, n_jobs=1)
    assert np.array_equal(one, answers(augment=augment, n_jobs=3))
    assert not np.array_equal(one, answers())
    assert not np.array_equal(one, answers(augment=augment, seed=1))


@pytest.mark.parametrize(
    "model", [TREE, SCALED, RandomForestClassifier(3), lambda: DecisionTreeClassifier(max_depth=3)]
)
def test_an_estimator_is_fitted_on_its_noised_set_and_changed_copies_of_it(
    digits: Digits, model: Any
) -> None:
    clf = fitted(digits, model, augment=Shift(1), copies=3)
    record = json.loads(clf.record())
    assert (record["augment"]["kind"], record["copies"]) == ("shift", 3)
    estimator = clf.member(0)
    tree = estimator if hasattr(estimator, "tree_") else None
    if tree is not None:
        assert tree.tree_.n_node_samples[0] == 4 * 40
    assert not np.array_equal(clf.votes(digits[2]), fitted(digits, model).votes(digits[2]))
    default = fitted(digits, model, augment=Shift(1))
    assert json.loads(default.record())["copies"] == 8


def test_processes_fit_the_same_estimators_on_changed_copies(
    digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    from certssb.learners.sklearn import _lanes

    in_threads = fitted(digits, TREE, augment=rolled, n_jobs=2).scores(digits[2])
    make = _lanes.Lanes.__init__
    monkeypatch.setattr(_lanes.Lanes, "__init__", lambda self, n_jobs, crowded: make(self, n_jobs, True))
    monkeypatch.setattr(_lanes, "_WORTH_IT", -1.0)
    clf = fitted(digits, TREE, augment=rolled, n_jobs=2)
    assert "processes" in clf.execution_
    assert np.array_equal(clf.scores(digits[2]), in_threads)


@pytest.mark.parametrize("augment", [Compose([Shift(1), Flip()]), rolled], ids=["built in", "own"])
@pytest.mark.parametrize("model", ["linear", "discriminant"])
def test_results_are_the_same_in_stacks(digits: Digits, model: Any, augment: Any) -> None:
    alone = values(fitted(digits, model, augment=augment))
    stacked = values(fitted(digits, model, augment=augment, stack=3))
    np.testing.assert_allclose(stacked, alone, atol=1e-3 * np.abs(alone[alone > -1e8]).max())


class Recording:
    """Changes nothing, and writes down what it is given."""

    def __init__(self) -> None:
        self.batches: list[np.ndarray] = []
        self.drawn: list[int] = []

    def __call__(self, batch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        self.batches.append(batch.copy())
        self.drawn.append(int(rng.integers(2**62)))
        return batch


def trained_on(digits: Digits, model: Any, **settings: Any) -> Recording:
    """What a callable was given in training, without the trial's batches."""
    recording = Recording()
    X, y, _, _ = digits
    settings = {"law": SET, "n_members": 5, "alpha": 0.5, "batch_size": 16, "n_jobs": 1} | settings
    clf = small(model, augment=recording, **settings)
    clf._new_ensemble = functools.partial(_emptied, clf._new_ensemble, recording)  # type: ignore[method-assign]
    clf.fit(X, y)
    return recording


def _emptied(make: Any, recording: Recording, *arguments: Any) -> Any:
    recording.batches.clear()
    recording.drawn.clear()
    return make(*arguments)


@pytest.mark.parametrize(
    "model, epochs, copies", [("linear", 3, None), ("discriminant", 5, 3), (Net, 3, None), (TREE, 5, 3)]
)
def test_a_callable_is_given_a_members_own_samples_and_new_numbers_each_time(
    digits: Digits, model: Any, epochs: int, copies: int | None
) -> None:
    given = trained_on(digits, model, epochs=epochs, copies=copies)
    # 40 samples: 16, 16 and 8 in each of three passes. The first member is trained twice.
    assert [len(batch) for batch in given.batches] == [16, 16, 8] * 3 * 6
    assert len(set(given.drawn)) == 5 * 9 and given.drawn[:9] == given.drawn[45:]
    known = {row.tobytes() for row in digits[0]}
    passes = [{row.tobytes() for batch in given.batches[i : i + 3] for row in batch} for i in range(0, 54, 3)]
    assert all(own <= known for own in passes)
    assert passes[0] == passes[1] == passes[2] == passes[15] and len(passes[0] ^ passes[3]) > 20


def test_images_are_images_whatever_order_a_module_likes() -> None:
    X = np.random.default_rng(0).random((60, 3, 4, 5), dtype=np.float32)
    given = trained_on((X, np.arange(60) % 2, X, X), Convolutions, epochs=2)
    known = {row.tobytes() for row in X}
    assert given.batches and all(row.tobytes() in known for batch in given.batches for row in batch)


def test_samples_are_changed_after_the_noise(digits: Digits) -> None:
    given = trained_on(digits, "linear", law=cs.Subsample(cs.Gaussian(0.25), size=40))
    known = {row.tobytes() for row in digits[0]}
    assert not any(row.tobytes() in known for batch in given.batches for row in batch)
    passes = [{row.tobytes() for batch in given.batches[i : i + 3] for row in batch} for i in (0, 3)]
    assert passes[0] == passes[1], "one draw of the noise serves all epochs"


@pytest.mark.parametrize(
    "law",
    [
        cs.Gaussian(0.25),
        cs.Subsample(cs.LabelNoise(0.1), size=40),
        cs.SampleSpecific(0.25, steps=2, samples=2),
        cs.Cascade([cs.Gaussian(0.5), cs.Gaussian(0.25)]),
    ],
    ids=str,
)
def test_every_law_takes_it(digits: Digits, law: Any) -> None:
    clf = fitted(digits, law=law, augment=Shift(1), n_members=10)
    plain = fitted(digits, law=law, n_members=10)
    assert clf.certify(digits[2]).guarantee == plain.certify(digits[2]).guarantee


def test_records_keep_it(digits: Digits) -> None:
    plain = json.loads(fitted(digits).record())
    assert "augment" not in plain and "copies" not in plain
    built_in = json.loads(fitted(digits, augment=Flip(0.25)).record())
    assert built_in == plain | {"augment": {"kind": "flip", "horizontal": 0.25, "vertical": 0.0}}
    own = json.loads(fitted(digits, augment=rolled).record())
    assert own == plain | {"augment": described(rolled)} and own["augment"].startswith("rolled ")
    closed = json.loads(fitted(digits, "discriminant", augment=rolled).record())
    assert closed["copies"] == 8


def scaled(factor: float) -> Any:
    return lambda batch, rng: (batch * np.float32(factor)).astype(np.float32)


class Scaled:
    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, batch: np.ndarray, rng: Any) -> np.ndarray:
        return (batch * np.float32(self.factor)).astype(np.float32)


def test_descriptions_tell_callables_apart_and_know_them_again() -> None:
    def weighted(batch: np.ndarray, rng: Any, by: float = 0.5) -> np.ndarray:
        return batch * np.float32(by)

    def one(batch: np.ndarray, rng: Any) -> np.ndarray:
        return batch + np.float32(1)

    def two(batch: np.ndarray, rng: Any) -> np.ndarray:
        return batch + np.float32(2)

    two.__qualname__ = one.__qualname__
    different = [
        scaled(0.5), scaled(0.25), Scaled(0.5), Scaled(0.25), weighted, one, two, rolled, dimmed,
        functools.partial(weighted, by=0.5), functools.partial(weighted, by=0.25),
    ]  # fmt: skip
    words = [described(augment) for augment in different]
    assert len(set(words)) == len(words)
    assert words[:4] == [described(again) for again in (scaled(0.5), scaled(0.25), Scaled(0.5), Scaled(0.25))]
    assert described(pickle.loads(pickle.dumps(Scaled(0.5)))) == words[2]


@pytest.mark.parametrize(
    "first, second", [(Shift(1), Shift(2)), (Shift(1), None), (None, rolled), (Scaled(0.5), Scaled(0.25))]
)
def test_a_checkpoint_of_another_augmentation_is_refused(
    digits: Digits, tmp_path: Path, first: Any, second: Any
) -> None:
    fitted(digits, augment=first, checkpoint=tmp_path)
    with pytest.raises(CheckpointError, match="augment"):
        fitted(digits, augment=second, checkpoint=tmp_path)


@pytest.mark.parametrize("augment", [Shift(1), Scaled(0.5)], ids=["built in", "own"])
def test_a_checkpoint_goes_on(digits: Digits, tmp_path: Path, augment: Any) -> None:
    fitted(digits, augment=augment, checkpoint=tmp_path)
    kept = {file.name: file.stat().st_mtime_ns for file in tmp_path.glob("member-*")}
    again = fitted(digits, augment=augment, checkpoint=tmp_path, n_members=7)
    assert np.array_equal(values(again), values(fitted(digits, augment=augment, n_members=7)))
    now = {file.name: file.stat().st_mtime_ns for file in tmp_path.glob("member-*")}
    assert len(now) == 7 and now | kept == now, "members that were there are not trained again"


def test_saved_ensembles_vote_without_it_and_go_on_with_it(digits: Digits, tmp_path: Path) -> None:
    built_in = fitted(digits, "discriminant", augment=Shift(1), copies=3)
    built_in.save(tmp_path / "built-in")
    loaded = cs.CertifiedClassifier.load(tmp_path / "built-in")
    assert (loaded.augment, loaded.copies) == (Shift(1), 3)
    forest = fitted(digits, TREE, augment=Shift(1), copies=3)
    forest.save(tmp_path / "forest", form="joblib")
    loaded = cs.CertifiedClassifier.load(tmp_path / "forest", TREE, form="joblib")
    assert (loaded.augment, loaded.copies) == (Shift(1), 3)
    assert np.array_equal(loaded.votes(digits[2]), forest.votes(digits[2]))
    own = fitted(digits, augment=Scaled(0.5))
    own.save(tmp_path / "own")
    loaded = cs.CertifiedClassifier.load(tmp_path / "own")
    assert loaded.augment == described(Scaled(0.5))
    assert np.array_equal(loaded.votes(digits[2]), own.votes(digits[2]))
    assert pickle.loads(pickle.dumps(loaded)).record() == own.record()
    loaded.set_params(n_members=7, alpha=0.5, progress=False)
    with pytest.raises(ParameterError, match="'augment' parameter must be .*Scaled"):
        loaded.fit(digits[0], digits[1])
    with pytest.warns(GrowthWarning):
        loaded.set_params(augment=Scaled(0.5)).fit(digits[0], digits[1])
    assert np.array_equal(values(loaded)[:5], values(own)) and loaded.n_members_ == 7


def test_estimators_are_cloned_with_it() -> None:
    for augment in (Shift(2), Affine(10), Flip(), Elastic(), Compose([Shift(1), Affine()])):
        assert clone(small(augment=augment)).augment == augment
    assert clone(small(augment=rolled)).augment is rolled


IMAGES = cs.datasets.load_digits()[0]


def mixed_with_global(batch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (0.5 * batch + 0.5 * IMAGES[rng.integers(len(IMAGES), size=len(batch))]).astype(np.float32)


class Keeper:
    def __init__(self, X: Any) -> None:
        self.kept = {"X": [X]}

    def __call__(self, batch: np.ndarray, rng: Any) -> np.ndarray:
        return self.mixed(batch)

    def mixed(self, batch: np.ndarray) -> np.ndarray:
        return batch + np.float32(0.0) * len(self.kept)


def keepers(X: np.ndarray) -> list[Any]:
    import pandas as pd
    import torch

    def closure(batch: np.ndarray, rng: Any) -> np.ndarray:
        return (batch + X[0]).astype(np.float32)

    def default(batch: np.ndarray, rng: Any, other: np.ndarray = X[7:9]) -> np.ndarray:
        return (batch + other[0]).astype(np.float32)

    def called(batch: np.ndarray, rng: Any) -> np.ndarray:
        return closure(batch, rng)

    return [
        closure,
        default,
        called,
        functools.partial(default, other=X[:3].copy()),
        Keeper(torch.from_numpy(X[5:7].copy())),
        Keeper(pd.DataFrame(X.reshape(len(X), -1).astype(np.float64))),
        Keeper((X * 16).astype(np.uint8)),
        Keeper(X[3].copy()).__call__,
        mixed_with_global,
    ]


@pytest.mark.parametrize("which", range(9))
def test_training_samples_in_a_callable_are_found(digits: Digits, which: int) -> None:
    with pytest.raises(ParameterError, match="^The 'augment' parameter must be .*holds training samples"):
        fitted(digits, augment=keepers(digits[0])[which])


def test_other_arrays_in_a_callable_are_none(digits: Digits) -> None:
    mask = np.linspace(0.5, 1.0, 64, dtype=np.float32).reshape(1, 8, 8)
    for held in (mask, np.zeros((4, 1, 8, 8), np.float32), np.eye(64, dtype=np.float32), mask[0, 0, :3], "X"):
        assert samples_held(Keeper(held), digits[0]) is None
    assert samples_held(Keeper(digits[0][2]), digits[0]) is not None


def late(rule: str, after: int) -> Any:
    """Keeps every rule in the trial, and breaks one afterwards."""
    calls: list[int] = []

    def augment(batch: np.ndarray, rng: Any) -> Any:
        calls.append(1)
        if len(calls) < after:
            return batch
        if rule == "shape":
            return batch[:-1]
        if rule == "dtype":
            return batch.astype(np.float64)
        if rule == "finite":
            return batch * np.float32("nan")
        if rule == "type":
            return None
        if rule == "raises":
            raise KeyError("no such thing")
        return batch * np.float32(0.5)

    return augment


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("rule", ["shape", "dtype", "finite", "type"])
def test_a_rule_that_is_broken_in_training_is_named(digits: Digits, model: Any, rule: str) -> None:
    with pytest.raises(ParameterError, match=f"^The 'augment' parameter must be .*{rule}"):
        fitted(digits, model, augment=late(rule, 6))


@pytest.mark.parametrize("model", ["linear", Net, TREE], ids=["linear", "own", "tree"])
def test_what_it_raises_is_the_members_error_and_an_earlier_fit_stays(digits: Digits, model: Any) -> None:
    clf = fitted(digits, model)
    before = clf.scores(digits[2])
    with pytest.raises(TrainingError, match="member 0 .*'augment' raised KeyError: 'no such thing'"):
        clf.set_params(augment=late("raises", 6), n_jobs=1).fit(digits[0], digits[1])
    assert np.array_equal(clf.scores(digits[2]), before)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_memory_that_shows_late_is_found_by_training_a_member_twice(digits: Digits, model: Any) -> None:
    clf = small(model, law=SET, n_members=5, alpha=0.5, batch_size=16, augment=late("changes", 30), n_jobs=1)
    with pytest.raises(TrainingError, match="trained again after the others, it differs.*'augment'"):
        clf.fit(digits[0], digits[1])


BAD: list[tuple[str, Any]] = [
    ("augment", {"augment": 3}),
    ("augment", {"augment": "shift"}),
    ("augment", {"augment": lambda batch, rng: batch[:, :, 1:]}),
    ("augment", {"augment": lambda batch, rng: batch.astype(np.float16)}),
    ("augment", {"augment": lambda batch, rng: batch + np.float32(np.inf)}),
    ("augment", {"augment": lambda batch, rng: batch + np.float32(np.random.random())}),
    ("copies", {"copies": 3}),
    ("copies", {"copies": 3, "augment": Shift(1)}),
    ("copies", {"copies": 0, "augment": Shift(1), "model": "discriminant"}),
    ("copies", {"copies": 1.5, "augment": Shift(1), "model": "discriminant"}),
    *[
        (name, settings | {"model": TREE})
        for name, settings in (
            ("augment", {"augment": "shift"}),
            ("augment", {"augment": lambda batch, rng: batch[1:]}),
            ("augment", {"augment": lambda batch, rng: batch.astype(np.float64)}),
            ("augment", {"augment": lambda batch, rng: batch * np.float32(np.nan)}),
            ("augment", {"augment": lambda batch, rng: 0.5 * (batch + IMAGES[: len(batch)])}),
            ("copies", {"copies": 3}),
            ("copies", {"copies": 0, "augment": Shift(1)}),
            ("copies", {"copies": 1001, "augment": Shift(1)}),
        )
    ],
]


@pytest.mark.parametrize("name, settings", BAD)
def test_bad_input_is_named(digits: Digits, name: str, settings: dict[str, Any]) -> None:
    with pytest.raises(ParameterError, match=f"^The '{name}' parameter must be"):
        fitted(digits, **settings)


def test_tables_take_a_callable_and_no_built_in(digits: Digits) -> None:
    X, y = digits[0].reshape(len(digits[0]), -1), digits[1]
    settings: dict[str, Any] = {"law": SET, "n_members": 5, "alpha": 0.5}
    clf = small(**settings, augment=lambda batch, rng: batch[:, ::-1]).fit(X, y)
    assert clf.n_members_ == 5
    with pytest.raises(ParameterError, match="^The 'augment' parameter must be a callable of your own"):
        small(**settings, augment=Shift(1)).fit(X, y)


def test_transforms_of_torchvision_change_each_image_by_itself(digits: Digits) -> None:
    transforms = pytest.importorskip("torchvision.transforms.v2")
    shift = transforms.RandomCrop(8, padding=2)
    applied = Applied(shift, (1, 8, 8))
    rows = np.repeat(digits[0][:1].reshape(1, -1), 50, axis=0)
    changed = applied(rows, 4)
    assert len({row.tobytes() for row in changed}) > 10
    assert np.array_equal(changed, applied(rows, 4)) and not np.array_equal(changed, applied(rows, 5))
    clf = fitted(digits, augment=shift)
    assert json.loads(clf.record())["augment"].startswith("RandomCrop(")
    assert (
        described(transforms.RandomCrop(8, padding=2))
        == described(shift)
        != described(transforms.RandomCrop(8, padding=1))
    )
    with pytest.raises(ParameterError, match="'augment' parameter must be a transform that keeps the shape"):
        fitted(digits, augment=transforms.CenterCrop(4))


def test_global_generators_are_where_they_were(digits: Digits) -> None:
    np.random.seed(3)
    expected = np.random.random(4)
    np.random.seed(3)
    fitted(digits, augment=dimmed)
    assert np.array_equal(np.random.random(4), expected)
