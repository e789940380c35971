"""Readers for the data sets of the field, into plain arrays.

Nothing is downloaded and nothing is cached: a reader takes the files where they are. Images come as
(n_samples, channels, height, width) float32 in [0, 1], tables as (n_samples, n_features) float32,
labels as int64, numbered from 0.
"""

from __future__ import annotations

import io
import math
import os
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from certssb._checks import check_path, check_real, check_seed, one_of, parameter_error, shown
from certssb.exceptions import CertssbError, FileError, ParameterError
from certssb.storage import _files

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["CIFAR10_CLASSES", "load_cifar10", "load_digits", "load_mnist", "load_spambase"]

Features: TypeAlias = npt.NDArray[np.float32]
ClassNumbers: TypeAlias = npt.NDArray[np.int64]
Pair: TypeAlias = tuple[Features, ClassNumbers]
TrainTest: TypeAlias = tuple[Features, ClassNumbers, Features, ClassNumbers]
PathLike: TypeAlias = "str | os.PathLike[str]"

_IMAGE_LIMIT = 1 << 20
"""Bytes that the file of an image of 32 x 32 pixels may have."""

CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
"""Names of CIFAR-10's classes; a name's place is its class number."""


@overload
def load_digits(
    *,
    classes: Sequence[int] | None = ...,
    split: Literal[False] = ...,
    test_size: float = ...,
    seed: int = ...,
) -> Pair: ...
@overload
def load_digits(
    *,
    classes: Sequence[int] | None = ...,
    split: Literal[True],
    test_size: float = ...,
    seed: int = ...,
) -> TrainTest: ...
def load_digits(
    *,
    classes: Sequence[int] | None = None,
    split: bool = False,
    test_size: float = 0.25,
    seed: int = 0,
) -> Pair | TrainTest:
    """Load the 1,797 handwritten digits of 8 x 8 pixels that come with scikit-learn.

    Parameters
    ----------
    classes : sequence of int or None, default=None
        Digits to keep; they are renumbered 0..K-1 in this order. None keeps all ten.
    split : bool, default=False
        Whether to return a training and a test part.
    test_size : float, default=0.25
        Share of the samples in the test part, in (0, 1), the same for every class. Read only
        with `split`.
    seed : int, default=0
        Which samples go to the test part. Read only with `split`.

    Returns
    -------
    X, y : ndarray of shape (n_samples, 1, 8, 8) and (n_samples,)
        Images in [0, 1], float32, and class numbers, int64; or, with `split`,
        X_train, y_train, X_test, y_test.

    Raises
    ------
    ParameterError
        If a parameter is outside its range.

    Examples
    --------
    >>> from certssb import datasets
    >>> X, y = datasets.load_digits()
    >>> X.shape, X.dtype, y.dtype
    ((1797, 1, 8, 8), dtype('float32'), dtype('int64'))
    >>> X_train, y_train, X_test, y_test = datasets.load_digits(classes=(0, 1), split=True)
    >>> len(X_train), len(X_test)
    (269, 91)
    """
    from sklearn.datasets import load_digits as bundled

    digits = bundled()
    X = np.ascontiguousarray(digits.images[:, np.newaxis] / 16.0, dtype=np.float32)
    X, y = _pick(X, digits.target.astype(np.int64), _numbers(classes, 10))
    return _split(X, y, test_size, seed) if split else (X, y)


def load_mnist(root: PathLike, classes: Sequence[int] | None = None) -> TrainTest:
    """Load MNIST, or any data set in its IDX format, from files on disk.

    Parameters
    ----------
    root : str or path
        Folder that holds ``MNIST/raw`` as torchvision lays it out, or the folder with the four
        files itself (so Fashion-MNIST works the same way). The files may be gzipped or not.
    classes : sequence of int or None, default=None
        Classes to keep; they are renumbered 0..K-1 in this order. None keeps all.

    Returns
    -------
    X_train, y_train, X_test, y_test : ndarray
        Images of shape (n_samples, 1, 28, 28) in [0, 1], float32, and class numbers (n_samples,),
        int64, in the order of the files.

    Raises
    ------
    ParameterError
        If the files are missing or damaged, or `classes` are not in them.

    Examples
    --------
    >>> from certssb import datasets
    >>> X_train, y_train, X_test, y_test = datasets.load_mnist("data", classes=(0, 1))  # doctest: +SKIP
    >>> X_train.shape  # doctest: +SKIP
    (12665, 1, 28, 28)
    """
    folder = _mnist_folder(check_path("root", root))
    parts: list[Any] = []
    for stem in ("train", "t10k"):
        pixels = _read_idx(folder, f"{stem}-images-idx3-ubyte", ndim=3)
        labels = _read_idx(folder, f"{stem}-labels-idx1-ubyte", ndim=1)
        if len(pixels) != len(labels):
            raise _damaged(folder, f"{len(pixels)} images but {len(labels)} labels in '{stem}'")
        parts += _pick(pixels, labels.astype(np.int64), _numbers(classes, int(labels.max()) + 1))
    X_train, y_train, X_test, y_test = parts
    return _unit(X_train[:, np.newaxis]), y_train, _unit(X_test[:, np.newaxis]), y_test


def load_cifar10(root: PathLike, classes: Sequence[int | str] | None = None) -> TrainTest:
    """Load CIFAR-10 from a folder or a zip archive on disk.

    Parameters
    ----------
    root : str or path
        One of: a zip archive or a folder with image files ``train/<class>/NNNN.jpg`` and
        ``test/<class>/NNNN.jpg`` (JPEG or PNG); a folder with ``cifar10-jpeg.zip``; a folder with
        the binary version, ``cifar-10-batches-bin``; a folder with the Python version,
        ``cifar-10-batches-py``, which is made of pickles and is read through torchvision if that
        is installed.
    classes : sequence of int or str, or None, default=None
        Classes to keep, by number or by name (:data:`CIFAR10_CLASSES`); they are renumbered
        0..K-1 in this order. None keeps all ten.

    Returns
    -------
    X_train, y_train, X_test, y_test : ndarray
        Images of shape (n_samples, 3, 32, 32) in [0, 1], float32, and class numbers (n_samples,),
        int64. Image files are ordered by file name, then class, so that a leading slice holds all
        classes alike; batches keep their own order.

    Raises
    ------
    ParameterError
        If the files are missing or damaged, or `classes` are unknown.

    Examples
    --------
    >>> from certssb import datasets
    >>> classes = ("airplane", "bird")
    >>> X_train, y_train, X_test, y_test = datasets.load_cifar10("data", classes)  # doctest: +SKIP
    >>> X_train.shape  # doctest: +SKIP
    (10000, 3, 32, 32)
    """
    keep = _cifar_numbers(classes)
    path = check_path("root", root)
    for candidate, reader in _cifar_layouts(path):
        if candidate.exists():
            train, test = reader(candidate, True, keep), reader(candidate, False, keep)
            return _unit(train[0]), train[1], _unit(test[0]), test[1]
    raise parameter_error(
        "root",
        "a zip archive or folder with train/<class>/NNNN.jpg, or a folder with cifar10-jpeg.zip, "
        "cifar-10-batches-bin or cifar-10-batches-py",
        f"'{path}', {_what(path)},",
    )


@overload
def load_spambase(
    path: PathLike, *, split: Literal[False] = ..., test_size: float = ..., seed: int = ...
) -> Pair: ...
@overload
def load_spambase(
    path: PathLike, *, split: Literal[True], test_size: float = ..., seed: int = ...
) -> TrainTest: ...
def load_spambase(
    path: PathLike, *, split: bool = False, test_size: float = 0.2, seed: int = 0
) -> Pair | TrainTest:
    """Load UCI Spambase: word and character frequencies of e-mails, spam or not.

    The features are raw. Their scales differ by orders of magnitude (a run of capitals reaches
    15,841, most frequencies stay below 5); noise and norms apply to the features as they are, so
    scale them by numbers fixed in advance rather than by ones computed from the training set.

    Parameters
    ----------
    path : str or path
        The comma-separated file ``spambase.data``, or the folder that holds it.
    split : bool, default=False
        Whether to return a training and a test part.
    test_size : float, default=0.2
        Share of the samples in the test part, in (0, 1), the same for both classes. Read only
        with `split`.
    seed : int, default=0
        Which samples go to the test part. Read only with `split`.

    Returns
    -------
    X, y : ndarray of shape (n_samples, 57) and (n_samples,)
        Features, float32, and class numbers, int64: 1 is spam; or, with `split`,
        X_train, y_train, X_test, y_test.

    Raises
    ------
    ParameterError
        If the file is missing or damaged, or a parameter is outside its range.

    Examples
    --------
    >>> from certssb import datasets
    >>> X, y = datasets.load_spambase("spambase.data")  # doctest: +SKIP
    >>> X.shape  # doctest: +SKIP
    (4601, 57)
    """
    place = check_path("path", path)
    file = place / "spambase.data" if place.is_dir() else place
    if not file.is_file():
        raise parameter_error("path", "the file spambase.data or its folder", f"'{place}', {_what(place)},")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an empty file is refused below
            rows = np.loadtxt(io.BytesIO(_files.read(file, _files.TEXT_LIMIT)), delimiter=",", ndmin=2)
    except FileError:
        raise
    except ValueError as error:
        raise _damaged(file, f"not a table of numbers ({error})", "path") from None
    if rows.size == 0 or rows.shape[1] != 58 or not np.isin(rows[:, 57], (0, 1)).all():
        raise _damaged(
            file, f"57 features and a label of 0 or 1 expected, {rows.shape[1]} columns found", "path"
        )
    X, y = rows[:, :57].astype(np.float32), rows[:, 57].astype(np.int64)
    return _split(X, y, test_size, seed) if split else (X, y)


def _what(path: Path) -> str:
    if not path.exists():
        return "which does not exist"
    return "a folder without them" if path.is_dir() else "a file of another kind"


def _damaged(path: Path, reason: str, name: str = "root") -> ParameterError:
    return ParameterError(f"The '{name}' parameter must point to undamaged files. '{path}': {reason}.")


def _unit(pixels: npt.NDArray[np.uint8]) -> Features:
    return np.ascontiguousarray(pixels, dtype=np.float32) / np.float32(255)


def _split(X: Features, y: ClassNumbers, test_size: float, seed: int) -> TrainTest:
    """Put the same share of every class aside, at random, and keep the order of the samples."""
    tiny = math.ulp(0.0)
    share = check_real("test_size", test_size, "a float in the range (0, 1)", tiny, 1 - 2**-53)
    generator = np.random.default_rng(check_seed("seed", seed))
    is_test = np.zeros(len(y), dtype=bool)
    for number in np.unique(y):
        members = np.flatnonzero(y == number)
        is_test[generator.permutation(members)[: math.floor(share * len(members) + 0.5)]] = True
    return X[~is_test], y[~is_test], X[is_test], y[is_test]


def _numbers(classes: Sequence[int] | None, n_classes: int) -> list[int]:
    """Class numbers in the order asked for."""
    known = range(n_classes)
    if classes is None:
        return list(known)
    if isinstance(classes, str) or not isinstance(classes, Iterable):
        raise parameter_error("classes", f"different numbers from 0 to {n_classes - 1}", shown(classes))
    wanted = list(classes)
    if not wanted or len(set(wanted)) != len(wanted) or any(c not in known for c in wanted):
        raise parameter_error("classes", f"different numbers from 0 to {n_classes - 1}", repr(classes))
    return [int(c) for c in wanted]


def _cifar_numbers(classes: Sequence[int | str] | None) -> list[int]:
    if isinstance(classes, str):
        raise parameter_error("classes", "a sequence of class names or numbers", repr(classes))
    if classes is None:
        return list(range(10))
    if not isinstance(classes, Iterable):
        return _numbers(classes, 10)
    for name in classes:
        if isinstance(name, str) and name not in CIFAR10_CLASSES:
            raise parameter_error("classes", one_of(CIFAR10_CLASSES), repr(name))
    return _numbers([CIFAR10_CLASSES.index(c) if isinstance(c, str) else c for c in classes], 10)


def _pick(X: Any, y: ClassNumbers, keep: list[int]) -> tuple[Any, ClassNumbers]:
    """Samples of the classes in `keep`, renumbered in that order; the samples' order stays."""
    places = np.full(max(int(y.max()), *keep) + 1, -1, dtype=np.int64)
    places[keep] = np.arange(len(keep))
    renumbered = places[y]
    chosen = renumbered >= 0
    return X[chosen], renumbered[chosen]


def _mnist_folder(root: Path) -> Path:
    for folder in (root / "MNIST" / "raw", root / "raw", root):
        if any(folder.glob("train-images-idx3-ubyte*")):
            return folder
    raise parameter_error(
        "root",
        "a folder that holds MNIST/raw/train-images-idx3-ubyte and its three companions, "
        "gzipped (.gz) or not, as torchvision lays them out",
        f"'{root}', {_what(root)},",
    )


def _read_idx(folder: Path, name: str, ndim: int) -> npt.NDArray[np.uint8]:
    """Read one IDX file: two zero bytes, type 8 (uint8), the rank, then sizes and values."""
    plain, zipped = folder / name, folder / f"{name}.gz"
    path = plain if plain.is_file() else zipped
    if not path.is_file():
        raise parameter_error("root", f"a folder with '{name}', gzipped or not", f"'{folder}' without it")
    content = _files.read(path)
    try:
        content = content if path == plain else _files.gunzip(content)
    except _files.Damaged as error:
        raise _damaged(path, f"cannot be read ({error})") from None
    header = 4 + 4 * ndim
    if len(content) < header or content[:4] != bytes((0, 0, 8, ndim)):
        raise _damaged(path, f"not an IDX file of bytes with {ndim} dimension(s)")
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", count=ndim, offset=4))
    if len(content) - header != math.prod(shape) or shape[0] == 0:
        raise _damaged(path, f"{math.prod(shape)} values announced, {len(content) - header} found")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


Batch: TypeAlias = tuple[npt.NDArray[np.uint8], ClassNumbers]
Reader: TypeAlias = Callable[[Path, bool, list[int]], Batch]


def _cifar_layouts(path: Path) -> list[tuple[Path, Reader]]:
    if path.is_file():
        return [(path, _cifar_zip)] if zipfile.is_zipfile(path) else []
    layouts: list[tuple[Path, Reader]] = [
        (path / "train", lambda _, train, keep: _cifar_images(path, train, keep)),
        (path / "cifar10-jpeg.zip", _cifar_zip),
        (path / "cifar-10-batches-bin", _cifar_binary),
        (path / "data_batch_1.bin", lambda file, train, keep: _cifar_binary(file.parent, train, keep)),
        (path / "cifar-10-batches-py", _cifar_pickles),
    ]
    return layouts


def _cifar_zip(path: Path, train: bool, keep: list[int]) -> Batch:
    content = io.BytesIO(_files.read(path))
    try:
        with zipfile.ZipFile(content) as archive:

            def read(name: str) -> bytes:
                if archive.getinfo(name).file_size > _IMAGE_LIMIT:
                    raise _damaged(path, f"'{name}' is too large for an image of 32 x 32 pixels")
                return archive.read(name)

            return _cifar_decode(path, archive.namelist(), read, train, keep)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        UnicodeError,
    ) as error:
        raise _damaged(path, f"cannot be read ({error})") from None


def _cifar_images(path: Path, train: bool, keep: list[int]) -> Batch:
    part = "train" if train else "test"
    files = [file.relative_to(path).as_posix() for file in path.glob(f"{part}/*/*")]
    return _cifar_decode(path, files, lambda name: _files.read(path / name, _IMAGE_LIMIT), train, keep)


def _cifar_decode(
    path: Path, names: list[str], read: Callable[[str], bytes], train: bool, keep: list[int]
) -> Batch:
    """Decode the images of one part, ordered by file name and then class."""
    part = "train" if train else "test"
    places = {CIFAR10_CLASSES[number]: place for place, number in enumerate(keep)}
    found: list[tuple[str, int, str]] = []
    for name in names:
        folder, _, file = name.rpartition("/")
        above, _, label = folder.rpartition("/")
        if (
            above.split("/")[-1] == part
            and label in places
            and file.lower().endswith((".jpg", ".jpeg", ".png"))
        ):
            found.append((file, places[label], name))
    missing = set(places.values()) - {place for _, place, _ in found}
    if missing:
        absent = CIFAR10_CLASSES[keep[min(missing)]]
        raise _damaged(path, f"no image in {part}/{absent}")
    found.sort()
    pixels = np.empty((len(found), 3, 32, 32), dtype=np.uint8)
    for number, (_, _, name) in enumerate(found):
        pixels[number] = _decoded(path, name, read(name))
    return pixels, np.array([place for _, place, _ in found], dtype=np.int64)


def _decoded(path: Path, name: str, content: bytes) -> npt.NDArray[np.uint8]:
    from PIL import Image as images

    try:
        with warnings.catch_warnings():
            # Too many pixels are refused below, before they are unpacked.
            warnings.simplefilter("ignore")
            image: Image = images.open(io.BytesIO(content), formats=("JPEG", "PNG"))
        width, height = image.size
        if (width, height) != (32, 32):
            raise _damaged(path, f"'{name}' has {height} x {width} pixels, not 32 x 32")
        pixels = np.asarray(image.convert("RGB"))
    except (CertssbError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever damaged bytes make the readers of images do
        raise _damaged(path, f"'{name}' is no image ({error})") from None
    return pixels.transpose(2, 0, 1)


def _cifar_binary(folder: Path, train: bool, keep: list[int]) -> Batch:
    """Read the binary version: rows of one label byte and 3,072 pixels, channel by channel."""
    names = [f"data_batch_{number}.bin" for number in range(1, 6)] if train else ["test_batch.bin"]
    rows: list[npt.NDArray[np.uint8]] = []
    for name in names:
        file = folder / name
        if not file.is_file():
            raise _damaged(folder, f"'{name}' is missing")
        content = np.frombuffer(_files.read(file, 1 << 30), dtype=np.uint8)
        if content.size == 0 or content.size % 3073 or content[::3073].max() > 9:
            raise _damaged(file, "not rows of a label from 0 to 9 and 3,072 pixels")
        rows.append(content.reshape(-1, 3073))
    table = np.concatenate(rows)
    return _pick(table[:, 1:].reshape(-1, 3, 32, 32), table[:, 0].astype(np.int64), keep)


def _cifar_pickles(folder: Path, train: bool, keep: list[int]) -> Batch:
    try:
        from torchvision.datasets import CIFAR10
    except ImportError:
        raise _damaged(
            folder,
            "these batches are pickles, which only torchvision reads here and it is not installed; "
            "install it, or take the binary version (cifar-10-batches-bin)",
        ) from None
    try:
        batch = CIFAR10(str(folder.parent), train=train, download=False)
    except RuntimeError as error:
        raise _damaged(folder, f"torchvision refuses it ({error})") from None
    pixels = np.asarray(batch.data, dtype=np.uint8).transpose(0, 3, 1, 2)
    return _pick(pixels, np.asarray(batch.targets, dtype=np.int64), keep)
