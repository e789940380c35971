"""Readers: real files where they are there, small made-up ones for the rest."""

import gzip
import io
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from certssb import datasets
from certssb.exceptions import ParameterError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def shared(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"needs '{name}' in ../shared/data beside the repository")
    return path


def test_digits_are_two_arrays() -> None:
    X, y = datasets.load_digits()
    assert X.shape == (1797, 1, 8, 8) and X.dtype == np.float32 and X.flags.c_contiguous
    assert (X.min(), X.max()) == (0.0, 1.0) and y.dtype == np.int64 and set(y) == set(range(10))


def test_digits_split_by_class_without_loss() -> None:
    X_train, y_train, X_test, y_test = datasets.load_digits(split=True, test_size=0.2, seed=1)
    X, y = datasets.load_digits()
    rows = np.concatenate([X_train, X_test]).reshape(1797, -1)
    assert sorted(map(bytes, rows)) == sorted(map(bytes, X.reshape(1797, -1)))
    assert (np.bincount(y_test) == np.floor(0.2 * np.bincount(y) + 0.5)).all()
    assert len(y_train) + len(y_test) == 1797 and not set(map(bytes, X_train)) & set(map(bytes, X_test))


def test_the_split_depends_on_the_seed_alone() -> None:
    first, again, other = (datasets.load_digits(split=True, seed=s)[2] for s in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_classes_are_renumbered_in_their_order() -> None:
    X, y = datasets.load_digits(classes=(7, 3))
    X_all, y_all = datasets.load_digits()
    assert np.array_equal(X[y == 0], X_all[y_all == 7]) and np.array_equal(X[y == 1], X_all[y_all == 3])


@pytest.mark.parametrize("classes", [(), (1, 1), (0, 10), (-1,)])
def test_unknown_or_doubled_classes_are_refused(classes: Any) -> None:
    with pytest.raises(ParameterError, match=r"'classes' parameter must be different numbers from 0 to 9"):
        datasets.load_digits(classes=classes)


@pytest.mark.parametrize("test_size", [0.0, 1.0, 2])
def test_a_test_share_outside_its_range_is_refused(test_size: float) -> None:
    with pytest.raises(ParameterError, match="'test_size'"):
        datasets.load_digits(split=True, test_size=test_size)


def idx(array: np.ndarray) -> bytes:
    sizes = np.array(array.shape, dtype=">u4").tobytes()
    return bytes((0, 0, 8, array.ndim)) + sizes + array.astype(np.uint8).tobytes()


def write_mnist(folder: Path, zipped: bool, change: dict[str, bytes | None] | None = None) -> np.ndarray:
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (6, 28, 28))
    labels = np.array([0, 1, 2, 0, 1, 2])
    contents: dict[str, bytes | None] = {
        "train-images-idx3-ubyte": idx(pixels),
        "train-labels-idx1-ubyte": idx(labels),
        "t10k-images-idx3-ubyte": idx(pixels[:3]),
        "t10k-labels-idx1-ubyte": idx(labels[:3]),
        **(change or {}),
    }
    for name, content in contents.items():
        if content is not None and zipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        elif content is not None:
            (folder / name).write_bytes(content)
    return pixels


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("below", ["MNIST/raw", "raw", "."])
def test_idx_files_are_found_zipped_or_not(tmp_path: Path, zipped: bool, below: str) -> None:
    pixels = write_mnist(tmp_path / "root" / below, zipped)
    X_train, y_train, X_test, y_test = datasets.load_mnist(tmp_path / "root", classes=(2, 0))
    assert y_train.tolist() == [1, 0, 1, 0] and y_test.tolist() == [1, 0]
    assert np.array_equal(X_train[:, 0], pixels[[0, 2, 3, 5]].astype(np.float32) / np.float32(255))
    assert X_test.shape == (2, 1, 28, 28) and X_test.dtype == np.float32 and y_test.dtype == np.int64


@pytest.mark.parametrize(
    "name, content, said",
    [
        ("train-labels-idx1-ubyte", None, "'train-labels-idx1-ubyte'.*without it"),
        ("train-labels-idx1-ubyte", b"", "not an IDX file"),
        ("train-images-idx3-ubyte", b"\x00\x00\x0d\x03" + bytes(12), "not an IDX file"),
        ("t10k-images-idx3-ubyte", idx(np.zeros((3, 28, 28)))[:-1], "2352 values announced, 2351 found"),
        ("t10k-labels-idx1-ubyte", idx(np.zeros(4)), "3 images but 4 labels in 't10k'"),
    ],
)
def test_damaged_idx_files_are_named(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    write_mnist(tmp_path / "raw", zipped=False, change={name: content})
    with pytest.raises(ParameterError, match=said):
        datasets.load_mnist(tmp_path)


def test_a_cut_off_gzip_is_named(tmp_path: Path) -> None:
    write_mnist(tmp_path / "raw", zipped=True)
    file = tmp_path / "raw" / "train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ParameterError, match=r"train-images-idx3-ubyte.gz.*cannot be read"):
        datasets.load_mnist(tmp_path)


@pytest.mark.parametrize("load", [datasets.load_mnist, datasets.load_cifar10, datasets.load_spambase])
def test_a_missing_place_is_named_with_what_belongs_there(load: Any, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"(?s)(MNIST/raw|cifar10|spambase).*nowhere'.*does not exist"):
        load(tmp_path / "nowhere")
    with pytest.raises(ParameterError, match=r"Got '.*', a folder without them"):
        load(tmp_path)


def jpeg(value: int, size: tuple[int, int] = (32, 32)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (value, 0, 0)).save(buffer, "JPEG")
    return buffer.getvalue()


def cifar_files() -> dict[str, bytes]:
    names = ("airplane", "bird", "frog")
    return {
        f"{part}/{name}/{number:04}.jpg": jpeg(60 * place + 40 * number)
        for part in ("train", "test")
        for place, name in enumerate(names)
        for number in range(2)
    }


def write_cifar(path: Path, files: dict[str, bytes], as_zip: bool) -> Path:
    if as_zip:
        with zipfile.ZipFile(path / "cifar10-jpeg.zip", "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        for name, content in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
    return path


@pytest.mark.parametrize("as_zip", [True, False])
def test_image_files_come_ordered_by_number_then_class(tmp_path: Path, as_zip: bool) -> None:
    root = write_cifar(tmp_path, cifar_files(), as_zip)
    X_train, y_train, X_test, y_test = datasets.load_cifar10(root, classes=("bird", 0))
    assert y_train.tolist() == [0, 1, 0, 1] and y_test.tolist() == [0, 1, 0, 1]
    assert X_train.shape == (4, 3, 32, 32) and X_train.dtype == np.float32 and X_test.max() <= 1
    red = X_train[:, 0].mean(axis=(1, 2)) * 255
    assert red == pytest.approx([60, 0, 100, 40], abs=4)


@pytest.mark.parametrize(
    "name, content, said",
    [
        ("train/bird/0000.jpg", b"no image", "'train/bird/0000.jpg' is no image"),
        ("test/bird/0001.jpg", jpeg(0, (16, 8)), "8 x 16 pixels, not 32 x 32"),
    ],
)
def test_damaged_images_are_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    write_cifar(tmp_path, {**cifar_files(), name: content}, as_zip=True)
    with pytest.raises(ParameterError, match=said):
        datasets.load_cifar10(tmp_path / "cifar10-jpeg.zip", classes=("airplane", "bird"))


def test_a_class_without_images_is_named(tmp_path: Path) -> None:
    write_cifar(tmp_path, cifar_files(), as_zip=True)
    with pytest.raises(ParameterError, match="no image in train/automobile"):
        datasets.load_cifar10(tmp_path)


@pytest.mark.parametrize(
    "classes, said", [(("bird", "cow"), "'airplane'.*Got 'cow'"), ("bird", "a sequence")]
)
def test_unknown_class_names_are_refused(classes: Any, said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        datasets.load_cifar10("anywhere", classes=classes)


def test_the_binary_version_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in [f"data_batch_{k}.bin" for k in range(1, 6)] + ["test_batch.bin"]:
        rows = rng.integers(0, 256, (4, 3073)).astype(np.uint8)
        rows[:, 0] = [0, 2, 5, 2]
        rows.tofile(folder / name)
    X_train, y_train, X_test, y_test = datasets.load_cifar10(tmp_path, classes=("airplane", "bird"))
    assert y_train.tolist() == [0, 1, 1] * 5 and y_test.tolist() == [0, 1, 1]
    assert np.array_equal(X_test[2], rows[3, 1:].reshape(3, 32, 32) / np.float32(255))
    (folder / "test_batch.bin").write_bytes(b"short")
    with pytest.raises(ParameterError, match=r"test_batch.bin'.*3,072"):
        datasets.load_cifar10(tmp_path)


def test_pickled_batches_go_through_torchvision_or_say_so(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    with pytest.raises(ParameterError, match=r"pickles.*install it.*cifar-10-batches-bin"):
        datasets.load_cifar10(tmp_path)

    class CIFAR10:
        def __init__(self, root: str, train: bool, download: bool) -> None:
            assert Path(root) == tmp_path and not download
            self.data = np.full((2, 32, 32, 3), (10, 20, 30), dtype=np.uint8)
            self.targets = [3, 0] if train else [0, 3]

    stand_in: Any = types.ModuleType("torchvision.datasets")
    stand_in.CIFAR10 = CIFAR10
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", stand_in)
    X_train, y_train, _, y_test = datasets.load_cifar10(tmp_path)
    assert y_train.tolist() == [3, 0] and y_test.tolist() == [0, 3]
    assert X_train[0, :, 5, 5] * 255 == pytest.approx([10, 20, 30])


@pytest.mark.parametrize("content", ["", "1,2,3\n", "a,b\n", ",".join(["1"] * 57) + ",7\n"])
def test_a_damaged_spambase_is_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "spambase.data"
    file.write_text(content)
    with pytest.raises(ParameterError, match="undamaged files.*spambase.data"):
        datasets.load_spambase(file)


def test_real_mnist() -> None:
    root = shared("MNIST").parent
    X_train, y_train, X_test, y_test = datasets.load_mnist(root, classes=(1, 0))
    assert X_train.shape == (12665, 1, 28, 28) and X_test.shape == (2115, 1, 28, 28)
    assert np.bincount(y_train).tolist() == [6742, 5923] and np.bincount(y_test).tolist() == [1135, 980]
    # A one has far less ink than a nought.
    assert X_train[y_train == 0].mean() < 0.6 * X_train[y_train == 1].mean()


def test_real_cifar() -> None:
    X_train, y_train, X_test, y_test = datasets.load_cifar10(
        shared("cifar10-jpeg.zip"), classes=("airplane", "bird")
    )
    assert X_train.shape == (10000, 3, 32, 32) and X_test.shape == (2000, 3, 32, 32)
    assert np.bincount(y_train).tolist() == [5000, 5000] and np.bincount(y_test[:100]).tolist() == [50, 50]
    # Aeroplanes fly in front of a sky: more blue than red.
    sky = X_train[y_train == 0].mean(axis=(0, 2, 3))
    assert sky[2] > sky[0] and 0.3 < X_train.mean() < 0.7


def test_real_spambase() -> None:
    X, y = datasets.load_spambase(shared("spambase.data"))
    assert X.shape == (4601, 57) and X.dtype == np.float32 and int(y.sum()) == 1813
    X_train, _, X_test, y_test = datasets.load_spambase(SHARED, split=True)
    assert (len(X_train), len(X_test), int(y_test.sum())) == (3680, 921, 363)
