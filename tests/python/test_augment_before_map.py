"""`augment=` with `features=`: samples are changed as they came, and mapped afterwards, where laws add nothing to features."""

import importlib.util
import json
import pickle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.tree import DecisionTreeClassifier

import certssb as cs
from certssb.augment import Affine
from certssb.exceptions import CheckpointError, ParameterError, TrainingError

Array = npt.NDArray[Any]
SET = cs.Subsample(size=40)


def digits() -> tuple[Array, Array, Array]:
    X, y = cs.datasets.load_digits()
    return X[:200], y[:200], X[200:300]


class Doubled(cs.features.FeatureMap):
    """A map with which every augmentation that moves pixels changes places, to the last bit."""

    lipschitz, rows_alone = 2.0, True
    asked: ClassVar[list[int]] = []

    def __call__(self, X: Array) -> Array:
        self.asked.append(len(X))
        return 2 * X

    def describe(self) -> str:
        return "twice the sample"


class Left(Doubled):
    """The left half of an image: what is on the right shows only after a change of the whole sample."""

    def __call__(self, X: Array) -> Array:
        return np.ascontiguousarray(X[..., :4])


def mirrored(batch: Array, rng: np.random.Generator) -> Array:
    return np.ascontiguousarray(batch[..., ::-1])


def learner(model: Any = "discriminant", law: Any = SET, **settings: Any) -> cs.CertifiedClassifier:
    settings = {"n_members": None if isinstance(law, cs.Partition) else 5, "epochs": 2, **settings}
    return cs.CertifiedClassifier(
        model, law, **{"seed": 0, "progress": False, "alpha": 0.5, "batch_size": 16, **settings}
    )


def values(clf: cs.CertifiedClassifier) -> Array:
    return np.stack([clf._ensemble.values(member) for member in range(clf.n_members_)])


def net() -> Any:
    from torch import nn

    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


MODELS: dict[str, dict[str, Any]] = {
    "discriminant": {"model": "discriminant", "copies": 2},
    "ridge": {"model": "ridge"},
    "linear": {"model": "linear"},
    "a stack": {"model": "linear", "stack": 5},
    "solved in a stack": {"model": "discriminant", "stack": 5, "copies": 2},
    "a module": {"model": net},
    "a tree": {"model": DecisionTreeClassifier(max_depth=4), "copies": 2},
}


@pytest.mark.parametrize("augment", [Affine(angle=10), mirrored], ids=["built in", "own"])
@pytest.mark.parametrize("settings", MODELS.values(), ids=MODELS)
def test_whoever_computes_members_gets_features_of_changed_samples(
    settings: dict[str, Any], augment: Any
) -> None:
    X, y, X_test = digits()
    before = learner(features=Doubled(), augment=augment, **settings).fit(X, y)
    after = learner(augment=augment, **settings).fit(2 * X, y)
    assert np.array_equal(before.scores(X_test), after.scores(2 * X_test))
    other = learner(features=Doubled(), **{**settings, "copies": None}).fit(X, y)
    assert not np.array_equal(before.scores(X_test), other.scores(X_test))


@pytest.mark.parametrize("law", [SET, cs.Partition(5)])
def test_trusted_samples_are_changed_before_the_map_too(law: Any) -> None:
    X, y, X_test = digits()
    settings: dict[str, Any] = {"law": law, "augment": Affine(angle=10), "copies": 2}
    before = learner(features=Doubled(), **settings).fit(X, y, trusted=range(20))
    after = learner(**settings).fit(2 * X, y, trusted=range(20))
    if law is SET:
        assert np.array_equal(before.scores(X_test), after.scores(2 * X_test))
    else:  # Contents, and with them the parts, are those of the samples as they came.
        same = learner(law=law, augment=Affine(angle=10), copies=2).fit(X, y, trusted=range(20))
        assert np.mean(before.votes(X_test) == same.votes(X_test)) > 0.99
    assert json.loads(before.record())["trusted"] != json.loads(after.record())["trusted"]


@pytest.mark.parametrize("law", [cs.Partition(1), cs.Subsample(size=200)])
@pytest.mark.parametrize("model", ["discriminant", "ridge"])
def test_a_member_is_solved_from_mapped_copies_of_its_samples(law: Any, model: str) -> None:
    X, y, X_test = digits()
    scattering = cs.features.Scattering(1, 4, root=True, normalize=True)

    def flat(images: Array) -> Array:
        return scattering(np.ascontiguousarray(images)).reshape(len(images), -1)

    clf = learner(model, law, features=scattering, augment=mirrored, copies=2).fit(X, y)
    own, turned = flat(X), scattering(X)[..., ::-1].reshape(len(X), -1)
    before, after = (
        learner(model, cs.Partition(1)).fit(np.concatenate([own, copy, copy]), np.tile(y, 3))
        for copy in (flat(X[..., ::-1]), turned)
    )
    scale = np.abs(values(before)).max()
    assert np.abs(values(clf)[0] - values(before)[0]).max() <= 1e-3 * scale
    assert np.abs(values(clf)[0] - values(after)[0]).max() > 1e-2 * scale
    assert (clf.votes(X_test)[0] == before.votes(flat(X_test))[0]).all()


def test_the_learners_of_the_published_table_are_the_packages() -> None:
    place = Path(__file__).parents[2] / "benches" / "partitions.py"
    spec = importlib.util.spec_from_file_location("partitions", place)
    assert spec is not None and spec.loader is not None
    bench = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["partitions"] = bench
    try:
        spec.loader.exec_module(bench)
    finally:
        del sys.modules["partitions"]
    rng = np.random.default_rng(0)
    y = np.arange(30) % 10
    X = (rng.random((30, 3, 16, 16)) * 0.5 + y[:, None, None, None] / 20).astype(np.float32)
    setting = bench.Setting("cifar10", 1, "discriminant", 10.0, 1)
    rows = bench.features(np.concatenate([X, *bench.copies(X, setting)]), setting)
    [(weights, biases)] = bench.solved(rows, np.tile(y, 2), [("discriminant", 10.0)])
    clf = learner(
        law=cs.Partition(1), features=bench.feature_map(setting), augment=mirrored, copies=1, penalty=10.0
    ).fit(X, y)
    asked = rng.random((20, 3, 16, 16)).astype(np.float32)
    known = bench.features(asked, setting) @ weights.T + biases
    assert (clf.votes(asked)[0] == known.argmax(1)).all()
    scores = np.exp(known - known.max(1, keepdims=True))
    assert np.allclose(clf.scores(asked)[0], scores / scores.sum(1, keepdims=True), atol=1e-3)


@pytest.mark.parametrize(
    ("law", "expected"),
    [
        (SET, (1, 8, 8)),
        (cs.Subsample(rate=0.2), (1, 8, 8)),
        (cs.Partition(5), (1, 8, 8)),
        (cs.LabelNoise(0.1), (1, 8, 8)),
        (cs.Gaussian(0.1), (1, 4, 4)),
        (cs.Subsample(cs.Gaussian(0.1), size=40), (1, 4, 4)),
    ],
)
def test_what_is_changed_follows_from_the_law(law: Any, expected: tuple[int, ...]) -> None:
    X, y, _ = digits()
    seen: set[tuple[int, ...]] = set()

    def watched(batch: Array, rng: np.random.Generator) -> Array:
        seen.add(batch.shape[1:])
        return batch.copy()

    clf = learner(law=law, features=cs.features.AveragePool(2), augment=watched, copies=1).fit(X, y)
    assert seen == {expected}
    record = json.loads(clf.record())
    assert ("changed_before_map" in record) == (expected == (1, 8, 8))


def test_samples_themselves_are_mapped_once_and_copies_for_each_member() -> None:
    X, y, _ = digits()
    clf = learner(features=Doubled(), augment=Affine(angle=10), copies=3, batch_size=40)
    Doubled.asked.clear()
    clf.fit(X, y)
    # A trial asks about few samples. The whole set; three copies of each member's set, and of that of the member that is
    # trained twice.
    assert sorted(n for n in Doubled.asked if n > 16) == [40] * 3 * 6 + [200]


def test_a_learner_is_a_function_of_its_samples_before_the_map() -> None:
    X, y, X_test = digits()
    law = cs.Partition(20)
    clf = learner(law=law, features=Left(), augment=mirrored, copies=1).fit(X, y)
    first = clf.votes(X_test)
    order = np.random.default_rng(0).permutation(len(X))
    again = learner(law=law, features=Left(), augment=mirrored, copies=1).fit(X[order], y[order])
    assert (again.votes(X_test) == first).all()
    # A change that the map does not show, and copies do.
    changed = X.copy()
    changed[0, :, :, 4:] = 1 - changed[0, :, :, 4:]
    clf.fit(changed, y)
    fresh = learner(law=law, features=Left(), augment=mirrored, copies=1).fit(changed, y)
    assert clf.n_kept_ in (18, 19)
    assert np.array_equal(values(clf), values(fresh))


class Scaled(Left):
    """A map whose words say nothing of a number in it."""

    def __init__(self, factor: float) -> None:
        self.factor = np.float32(factor)

    def __call__(self, X: Array) -> Array:
        scaled: Array = super().__call__(X) * self.factor
        return scaled


def test_learners_behind_another_map_of_the_same_words_do_not_stay(tmp_path: Path) -> None:
    X, y, X_test = digits()

    def scaled(factor: float, **settings: Any) -> cs.CertifiedClassifier:
        return learner(law=cs.Partition(20), features=Scaled(factor), augment=mirrored, copies=1, **settings)

    clf = scaled(1.0, checkpoint=tmp_path / "members").fit(X, y)
    # A checkpoint in which nothing stays is that of other data.
    with pytest.raises(CheckpointError, match="data_digest"):
        scaled(-3.0, checkpoint=tmp_path / "members").fit(X[1:], y[1:])
    # What comes to a partition from an earlier fit must be what a first one makes of these data.
    clf.set_params(features=Scaled(-3.0), checkpoint=None).fit(X[1:], y[1:])
    fresh = scaled(-3.0).fit(X[1:], y[1:])
    assert clf.n_kept_ == 0 and np.array_equal(values(clf), values(fresh))
    assert clf.fit(X[2:], y[2:]).n_kept_ in (18, 19)
    moved = scaled(1.0, checkpoint=tmp_path / "members").fit(X[1:], y[1:])
    assert moved.n_kept_ in (18, 19) and np.array_equal(values(moved), values(scaled(1.0).fit(X[1:], y[1:])))


def test_records_files_and_pickles_keep_it(tmp_path: Path) -> None:
    X, y, X_test = digits()
    pool = cs.features.AveragePool(2)
    settings: dict[str, Any] = {"features": pool, "augment": Affine(angle=10), "copies": 2}
    clf = learner(**settings, checkpoint=tmp_path / "run").fit(X, y)
    record = json.loads(clf.record())
    assert record["changed_before_map"] == {"image": {"channels": 1, "height": 8, "width": 8}}
    assert record["shape"] == {"image": {"channels": 1, "height": 4, "width": 4}}
    clf.save(tmp_path / "kept")
    for known in (
        cs.CertifiedClassifier.load(tmp_path / "kept", features=pool),
        pickle.loads(pickle.dumps(clf)),
    ):
        assert (known.votes(X_test) == clf.votes(X_test)).all()
        assert json.loads(known.record()) == record
    # Saved and asked members are never grown without a warning: others.
    learner(**settings, checkpoint=tmp_path / "grown").fit(X, y)
    more = learner(**settings, checkpoint=tmp_path / "grown", n_members=8).fit(X, y)
    whole = learner(**settings, n_members=8).fit(X, y)
    assert np.array_equal(values(more), values(whole))
    # Mapped beforehand, the samples are the same and the members are not.
    with pytest.raises(CheckpointError):
        learner(augment=Affine(angle=10), copies=2, checkpoint=tmp_path / "run").fit(pool(X), y)
    changed = X.copy()
    changed[0, 0, 0, :2] += np.float32([0.25, -0.25])
    assert np.array_equal(pool(changed)[0], pool(X)[0]) and not np.array_equal(changed, X)
    with pytest.raises(CheckpointError):
        learner(**settings, checkpoint=tmp_path / "run").fit(changed, y)


def test_threads_do_not_matter() -> None:
    X, y, X_test = digits()
    scattering = cs.features.Scattering(1, 4, root=True)
    one, three = (
        learner(features=scattering, augment=Affine(angle=10), copies=2, n_jobs=n).fit(X, y).scores(X_test)
        for n in (1, 3)
    )
    assert np.array_equal(one, three)


class Brittle(Doubled):
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, X: Array) -> Array:
        if len(X) == 40:
            raise RuntimeError("the map is tired")
        return 2 * X


class Narrower(Doubled):
    def __call__(self, X: Array) -> Array:
        return 2 * X[..., : 8 if len(X) != 40 else 4]


def test_what_a_map_does_wrong_to_copies_is_an_error_that_names_it() -> None:
    X, y, _ = digits()
    with pytest.raises(TrainingError, match="'features' raised RuntimeError: the map is tired"):
        learner(features=Brittle(), augment=mirrored, copies=1, batch_size=40).fit(X, y)
    with pytest.raises(ParameterError, match="'features' parameter must be a map that gives every sample"):
        learner(features=Narrower(), augment=mirrored, copies=1, batch_size=40).fit(X, y)


def test_augmentations_for_images_need_images_before_the_map_not_after() -> None:
    X, y, _ = digits()
    encoder = cs.features.Trusted(lambda X: X.reshape(len(X), -1), name="flat")
    learner(features=encoder, augment=Affine(angle=10), copies=1).fit(X, y)
    with pytest.raises(ParameterError, match="augment"):
        learner(law=cs.Gaussian(0.1), features=encoder, augment=Affine(angle=10), copies=1).fit(X, y)
