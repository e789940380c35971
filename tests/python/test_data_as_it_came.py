"""Samples stay in the type in which they came, and what members see of them is the same to the last bit."""

import pickle

import numpy as np
import pytest
from conftest import small

import certssb as cs
from certssb import _core
from certssb.data._features import read_rows
from certssb.data._rows import blocks


@pytest.fixture(scope="module")
def photos():
    """Digits as bytes, channels last, which have another order in memory than members want."""
    X, y = cs.datasets.load_digits(classes=(0, 1, 2))
    X = np.asarray(X[:160])
    return np.ascontiguousarray((X * 255).round().astype(np.uint8).transpose(0, 2, 3, 1)), y[:160]


def floats(photos):
    """What the package made of bytes when it had floats only."""
    return np.ascontiguousarray(photos.transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(255)


LAWS = {
    "gaussian": cs.Gaussian(0.5),
    "uniform": cs.Uniform(0.5),
    "labels": cs.LabelNoise(0.2),
    "both": cs.Gaussian(0.5) & cs.LabelNoise(0.2),
    "subsample": cs.Subsample(size=30),
    "poisson": cs.Subsample(cs.Gaussian(0.5) & cs.LabelNoise(0.2), rate=0.2),
    "specific": cs.SampleSpecific(0.5, steps=2),
    "published": cs.SampleSpecific(0.5, guarantee="published", steps=2),
    "content": cs.Partition(8),
    "place": cs.Partition(8, assign="index"),
    "cascade": cs.Cascade([cs.Gaussian(1.0), cs.Gaussian(0.5)], thresholds=[0.2]),
}


def facts(clf, T):
    """All that could differ: records with the digest of the data, members, and certificates."""
    levels = getattr(clf._ensemble, "levels", [clf._ensemble])
    table = clf.certify(T)
    columns = table.to_frame().to_csv()
    return [level.record() for level in levels], [level.digests() for level in levels], columns


@pytest.mark.parametrize("law", LAWS)
def test_bytes_make_the_members_of_floats_under_every_law(photos, law):
    X, y = photos
    settings = {"n_members": None if law in ("content", "place") else 12, "alpha": 0.4}
    of_bytes = small("linear", LAWS[law], **settings).fit(X[:120], y[:120])
    of_floats = small("linear", LAWS[law], **settings).fit(floats(X[:120]), y[:120])
    assert facts(of_bytes, X[120:]) == facts(of_floats, floats(X[120:]))


def test_trusted_samples_as_bytes_are_those_of_floats(photos):
    X, y = photos
    law = cs.Subsample(cs.Gaussian(0.5), size=20)
    ways = [
        {"trusted": [3, 50, 7]},
        {"trusted": np.arange(120) % 5 == 0},
        {"X_trusted": X[140:], "y_trusted": y[140:]},
    ]
    for way in ways:
        made = []
        for read in (lambda photos: photos, floats):
            told = {k: read(v) if k == "X_trusted" else v for k, v in way.items()}
            clf = small("linear", law, n_members=12, alpha=0.4).fit(
                read(X[:120]), y[:120], classes=[0, 1, 2], **told
            )
            made.append(facts(clf, read(X[120:140])))
        assert made[0] == made[1]


@pytest.mark.parametrize(
    "settings",
    [
        {"features": cs.features.AveragePool(2)},
        {"features": cs.features.AveragePool(2), "law": cs.Subsample(size=30)},
        {"features": cs.features.Scattering(J=1, angles=2), "law": cs.Subsample(size=30)},
        {"augment": cs.augment.Affine(0.1), "copies": 2, "model": "discriminant"},
        {"augment": lambda batch, rng: batch + rng.normal(size=batch.shape).astype(np.float32)},
        {
            "features": cs.features.AveragePool(2),
            "law": cs.Subsample(size=30),
            "augment": cs.augment.Affine(0.1),
        },
        {"model": "cnn"},
    ],
    ids=["map", "map alone", "scattering", "augment", "own augment", "augment before map", "cnn"],
)
def test_maps_augmentations_and_networks_see_the_same(photos, settings):
    X, y = photos
    settings = {"model": "linear", "law": cs.Gaussian(0.5), "n_members": 6, "alpha": 0.4} | settings
    of_bytes = small(**settings).fit(X[:120], y[:120])
    of_floats = small(**settings).fit(floats(X[:120]), y[:120])
    assert facts(of_bytes, X[120:]) == facts(of_floats, floats(X[120:]))


def test_halves_tables_and_the_exact_classifier(photos):
    X, y = photos
    table = floats(X).reshape(160, -1).astype(np.float16)
    made = [
        facts(small("mlp", n_members=8, alpha=0.4).fit(given[:120], y[:120]), given[120:])
        for given in (table, table.astype(np.float32), table.astype(np.float64))
    ]
    assert made[0] == made[1] == made[2]
    signs = (X.reshape(160, -1) > 100).astype(np.uint8)
    law = cs.Discrete(0.8)
    made = [
        facts(small("linear", law, n_members=8, alpha=0.4).fit(given[:120], y[:120]), given[120:])
        for given in (signs, signs.astype(bool), signs.astype(np.float32))
    ]
    assert made[0] == made[1] == made[2]
    radii = [
        cs.CertifiedKNN(0.5, progress=False).fit(given[:120], y[:120]).certify(given[120:130]).radius
        for given in (X, floats(X))
    ]
    assert np.array_equal(radii[0], radii[1])


def test_what_is_kept_is_what_came():
    """No copy is made of what is kept, whichever way it lies; other types are converted, as they were."""
    rng = np.random.default_rng(0)
    photos = rng.integers(0, 256, (12, 9, 7, 3), dtype=np.uint8)
    kept = [photos, photos[::-1], photos[:, ::2], photos.transpose(0, 3, 1, 2), photos[..., 0]]
    kept += [photos.astype(np.float16), photos.astype(np.float32), photos[:, :, 0, 0]]
    for given in kept:
        rows, reading = read_rows(given)
        assert np.shares_memory(rows.values, given), given.strides
        channels = given[:, None] if given.ndim == 3 else given
        last = channels.ndim == 4 and channels.shape[-1] == 3
        expected = (channels.transpose(0, 3, 1, 2) if last else channels).astype(np.float32)
        expected = expected / np.float32(reading.divisor)
        assert np.array_equal(rows.whole(), expected) and rows.shape == expected.shape
        index = np.array([5, 0, 11])
        assert np.array_equal(rows.take(index), expected[index])
        some = rows.select(index)
        assert np.array_equal(some.whole(), expected[index]) and np.array_equal(
            some.read(1, 9), expected[[0, 11]]
        )
        assert np.array_equal(pickle.loads(pickle.dumps(some)).whole(), expected[index])
        assert np.array_equal(np.concatenate(list(blocks(rows, 7))), expected)
    for other in (photos.astype(">f4"), photos.astype(np.float64), photos.astype(np.int16)):
        assert np.array_equal(read_rows(other)[0].whole(), other.transpose(0, 3, 1, 2).astype(np.float32))
    repeated = np.broadcast_to(photos[0], (6, 9, 7, 3))
    assert np.array_equal(read_rows(repeated)[0].whole()[5], floats(photos)[0])
    for wrong in ([12], [-1]):
        with pytest.raises(cs.ShapeError):
            read_rows(photos)[0].select(np.array(wrong))


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_the_last_value_is_checked(kind):
    values = np.zeros((9, 6, 6, 3), dtype=kind)
    values[8, 5, 4, 2] = np.inf
    with pytest.raises(cs.ParameterError, match=r"infinity at index \(8, 5, 4, 2\).*1 value is not finite"):
        cs.data.as_features(values)


@pytest.mark.parametrize("kind", [np.uint8, np.float16, np.float32])
@pytest.mark.parametrize("law", ["gaussian", "subsample", "content"])
def test_samples_that_change_during_a_fit_end_it(photos, kind, law):
    """What was digested is what members see: a change of the last bit of one value is noticed when it is read."""
    photos, y = photos
    X = photos.copy() if kind == np.uint8 else floats(photos).astype(kind)

    class Writer(cs.callbacks.Callback):
        def start(self, settings):
            X.view(np.uint8).reshape(-1)[-X.itemsize] ^= 1

    clf = small("linear", LAWS[law], n_members=None if law == "content" else 60, alpha=0.4)
    with pytest.raises(cs.CertssbError, match="not written to while they are in use.*sample 159"):
        clf.fit(X, y, callbacks=[Writer()])
    assert not hasattr(clf, "n_members_")


def test_a_digest_is_computed_once_for_the_same_samples_and_labels(photos):
    X, y = photos
    rows, _ = read_rows(X)
    settings = {
        "model": "linear",
        "epochs": 1,
        "batch_size": 8,
        "learning_rate": 0.1,
        "seed": 1,
        "device": "cpu",
    }

    def digest(rows, labels, n_classes=3):
        import json

        made = _core.Ensemble(rows, labels, n_classes, cs.Gaussian(1.0), **settings)
        return json.loads(made.record())["data_digest"]

    first = digest(rows, y)
    others = [
        digest(rows, (y + 1) % 3),
        digest(rows, y, 4),
        digest(rows.select(np.arange(159)), y[:159]),
        digest(rows.select(np.arange(160)[::-1].copy()), y),
    ]
    assert digest(rows, y) == digest(floats(X), y) == first and len({first, *others}) == 5


def resident_pages(array):
    """Bytes of a file's mapping that are in this process's memory."""
    start = array.__array_interface__["data"][0]
    with open("/proc/self/smaps") as file:
        lines = iter(file)
        for line in lines:
            if "-" in line.split()[0] and int(line.split("-")[0], 16) <= start < int(
                line.split()[0].split("-")[1], 16
            ):
                size = next(found for found in lines if found.startswith("Rss:"))
                return 1024 * int(size.split()[1])
    raise AssertionError("the array lies in no mapping")


@pytest.mark.parametrize("save", ["raw", "npy"])
def test_mapped_files_stay_mapped(photos, tmp_path, save):
    """Members and digests are those of the array in memory; the file is read where it lies."""
    X, y = photos
    path = tmp_path / "photos.npy"
    if save == "raw":
        X.tofile(path)
        mapped = np.memmap(path, dtype=np.uint8, mode="r", shape=X.shape)
    else:
        np.save(path, X)
        mapped = np.load(path, mmap_mode="r")
    rows, _ = read_rows(mapped)
    assert np.shares_memory(rows.values, mapped)
    law = cs.Subsample(cs.Gaussian(0.5), size=30)
    made = [
        facts(small("linear", law, n_members=12, alpha=0.4).fit(given[:120], y[:120]), given[120:])
        for given in (X, mapped)
    ]
    assert made[0] == made[1]


@pytest.mark.skipif(not __import__("sys").platform.startswith("linux"), reason="looks at mappings of Linux")
def test_pages_of_a_mapped_file_are_given_back(tmp_path):
    """A file of 400 MB leaves little of itself in memory, and a private copy keeps what was written to it."""
    path = tmp_path / "photos"
    with path.open("wb") as file:
        file.truncate(400_000 * 1000)
    mapped = np.memmap(path, dtype=np.uint8, mode="r", shape=(400_000, 1000))
    rows, _ = read_rows(mapped)
    assert resident_pages(mapped) < 80e6
    clf = small("linear", cs.Subsample(size=20), n_members=8, alpha=0.4).fit(mapped, np.arange(400_000) % 2)
    assert resident_pages(mapped) < 80e6 and clf.n_members_ == 8
    private = np.memmap(path, dtype=np.uint8, mode="c", shape=(400_000, 1000))
    private[399_999, 999] = 7
    rows, _ = read_rows(private)
    assert private[399_999, 999] == 7 and rows.read(399_999, 400_000)[0, 999] == 7


def test_a_file_that_another_process_writes_to_ends_the_fit(photos, tmp_path):
    X, y = photos
    path = tmp_path / "photos"
    X.tofile(path)
    mapped = np.memmap(path, dtype=np.uint8, mode="r", shape=X.shape)

    class Writer(cs.callbacks.Callback):
        def start(self, settings):
            with path.open("r+b") as file:
                file.seek(X.nbytes - 1)
                file.write(b"\x99")

    with pytest.raises(cs.CertssbError, match="sample 159"):
        small("linear", LAWS["subsample"], n_members=60, alpha=0.4).fit(mapped, y, callbacks=[Writer()])


def test_workers_of_a_loader_read_the_items(photos):
    torch = pytest.importorskip("torch")
    import os

    from torch.utils.data import DataLoader, Dataset

    X, y = photos

    class Photos(Dataset):
        def __init__(self, bad=None):
            self.bad = bad

        def __len__(self):
            return len(X)

        def __getitem__(self, index):
            if index == self.bad:
                raise OSError("a torn photo")
            return np.append(X[index], np.uint8(0 if index else os.getpid() % 251)), int(y[index])

    alone, labels = cs.data.as_arrays(Photos())
    together, others = cs.data.as_arrays(DataLoader(Photos(), batch_size=7, shuffle=True, num_workers=2))
    assert labels == others == y.tolist() and np.array_equal(together[1:], alone[1:])
    assert alone[0, -1] == os.getpid() % 251
    with pytest.raises(cs.ParameterError, match="Item 77 of 'X' cannot be read.*OSError: a torn photo"):
        cs.data.as_arrays(DataLoader(Photos(77), num_workers=2))
    with pytest.raises(cs.ParameterError, match="Item 77 of 'X' cannot be read: OSError: a torn photo"):
        list(cs.data.blocks(DataLoader(Photos(77)), 50))
    assert torch.utils.data.get_worker_info() is None
