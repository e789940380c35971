"""What a run starts from: data, attack and folder, checked before any work."""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import certssb as cs
from certssb._checks import check_real, one_of, parameter_error, shape_error, unreadable
from certssb.certificates._budget import Budget
from certssb.cli._options import ARRAYS
from certssb.data._trusted import numbers_of
from certssb.storage import _files

_TRIGGERS: dict[str, Callable[[float], cs.triggers.Trigger]] = {
    "one-pixel": lambda norm: cs.triggers.OnePixel(norm=norm),
    "four-pixel": lambda norm: cs.triggers.FourPixel(norm=norm),
    "blend": lambda norm: cs.triggers.Blend(norm=norm),
    "patch": lambda norm: cs.triggers.Patch(norm=norm),
}


@dataclass(frozen=True)
class Inputs:
    """Data as the run uses them.

    Attributes
    ----------
    X_train, y_train : ndarray
        Training data that are not trusted, poisoned if that was asked for.
    listed : list or None
        All classes, where they are known without a look at the labels.
    n_classes : int
        Their number.
    tests : dict of (ndarray, ndarray)
        Test samples and their true classes, by name.
    attack : Budget or None
        What the run's own attack changed, measured.
    trusted : tuple of ndarray or None
        Trusted samples and their labels, which no attack of the run reaches.
    """

    X_train: npt.NDArray[Any]
    y_train: npt.NDArray[Any]
    listed: list[Any] | None
    n_classes: int
    tests: dict[str, tuple[npt.NDArray[Any], npt.NDArray[Any]]]
    attack: Budget | None
    trusted: tuple[npt.NDArray[Any], npt.NDArray[Any]] | None = None

    @property
    def n_trusted(self) -> int:
        return 0 if self.trusted is None else len(self.trusted[1])

    @property
    def n_features(self) -> int:
        return int(np.prod(self.X_train.shape[1:]))

    @property
    def n_test(self) -> int:
        return max(len(y) for _, y in self.tests.values())


def read_inputs(options: argparse.Namespace) -> Inputs:
    """Read the data, poison them if that is asked for, and refuse now what would fail after training."""
    X_train, y_train, X_test, y_test = _data(options)
    listed = _listed_classes(options, y_train)
    classes, codes = cs.data.as_labels(y_train, len(X_train), "y_train", classes=listed)
    y_train = classes[codes]
    y_test = _test_labels(y_test, len(X_test), classes)
    if X_train.shape[1:] != X_test.shape[1:]:
        expected = f"samples of the shape of those in X_train, {X_train.shape[1:]}"
        raise shape_error("X_test", expected, f"shape {X_test.shape[1:]}")
    tests = {"clean": (X_test, y_test)}
    X_train, y_train, trusted = _without_trusted(X_train, y_train, options)
    if options.trigger == "none":
        return Inputs(X_train, y_train, listed, len(classes), tests, None, trusted)
    if X_train.ndim < 3:
        raise parameter_error(
            "--trigger", "none for a table: triggers are stamped on images", repr(options.trigger)
        )
    trigger = _TRIGGERS[options.trigger](options.norm)
    X_bad, y_bad, attack = _poisoned(X_train, y_train, trigger, options)
    others = y_test != options.target
    if not others.any():
        expected = "a class that some test samples do not have: those are given the trigger"
        raise parameter_error("--target", expected, repr(options.target))
    tests["triggered"] = (trigger(X_test[others]), y_test[others])
    return Inputs(X_bad, y_bad, listed, len(classes), tests, attack, trusted)


def _without_trusted(
    X: npt.NDArray[Any], y: npt.NDArray[Any], options: argparse.Namespace
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], tuple[npt.NDArray[Any], npt.NDArray[Any]] | None]:
    """Training samples that are not trusted, and those that are, if there are any."""
    if options.trusted is None:
        return X, y, None
    if options.trusted.isdecimal():
        number = int(options.trusted)
        if not 0 < number < len(X):
            expected = f"a number of samples from 1 to {len(X) - 1}, so that there are others to certify, or a .npy file"
            raise parameter_error("--trusted", expected, options.trusted)
        index = np.sort(np.random.default_rng(options.data_seed).permutation(len(X))[:number])
    else:
        expected = "a number of samples, or a .npy file with a mask or with numbers of samples"
        index = numbers_of(read_arrays("--trusted", expected, options.trusted), len(X), "--trusted")
    if not len(index):
        return X, y, None
    others = np.ones(len(X), dtype=np.bool_)
    others[index] = False
    return X[others], y[others], (X[index], y[index])


def _poisoned(
    X_train: npt.NDArray[Any], y_train: npt.NDArray[Any], trigger: Any, options: argparse.Namespace
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], Budget | None]:
    classes = np.unique(y_train).tolist()
    if options.target not in classes:
        raise parameter_error("--target", one_of(classes), repr(options.target))
    rate = check_real("--rate", options.rate, "a float in the range [0, 1]", 0, 1)
    if 0 < rate * len(X_train) < 0.5:
        expected = f"0, or large enough for one of {len(X_train)} samples"
        raise parameter_error("--rate", expected, repr(rate))
    X_bad, y_bad, index = cs.triggers.poison(
        X_train, y_train, trigger, rate=rate, target=options.target, seed=options.data_seed
    )
    if not len(index):
        return X_bad, y_bad, None
    change = (X_bad[index].astype(np.float64) - X_train[index]).reshape(len(index), -1)
    measured = float(np.sqrt((change**2).sum(axis=1)).max())
    # The trigger's own norm, unless rounding in float32 went beyond it.
    norm = (
        float(options.norm) if measured <= options.norm else _rounded_up(math.nextafter(measured, math.inf))
    )
    return X_bad, y_bad, Budget(len(index), norm, labels=True)


def _rounded_up(norm: float) -> float:
    """To four digits, which headings can show: never less than what was measured."""
    return max(norm, float(Context(prec=4, rounding=ROUND_CEILING).create_decimal(norm)))


def made_folders(options: argparse.Namespace) -> Path:
    """Make the folders that are written to, and try whether they can be."""
    for name, path in (("--checkpoint", options.checkpoint), ("--out", options.out)):
        if path is None:
            continue
        try:
            Path(path).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path):
                pass
        except (OSError, ValueError) as error:
            raise parameter_error(name, "a folder that can be written to", unreadable(path, error)) from None
    return Path(options.out)


def check_target(name: str, path: str) -> None:
    """Refuse a file that cannot be written because of where it would lie."""
    target = Path(path)
    if not path or target.is_dir() or not target.parent.is_dir():
        raise parameter_error(name, "a file in a folder that exists", f"'{path}'")


def _data(options: argparse.Namespace) -> tuple[Any, Any, Any, Any]:
    name = options.dataset
    if name.endswith(".npz"):
        return _user_arrays(name)
    if name not in ("digits", "mnist", "cifar10"):
        expected = one_of(["digits", "mnist", "cifar10"]) + " or a .npz file"
        raise parameter_error("--dataset", expected, repr(name))
    words = [label for label in options.classes or [] if not isinstance(label, int)]
    if words:
        raise parameter_error("--classes", f"numbers of classes of {name}", repr(words[0]))
    if name == "digits":
        return cs.datasets.load_digits(classes=options.classes, split=True, seed=options.data_seed)
    if options.data_root is None:
        raise parameter_error("--data-root", f"the folder that holds the {name} data", "nothing")
    load = cs.datasets.load_mnist if name == "mnist" else cs.datasets.load_cifar10
    return load(options.data_root, classes=options.classes)


def _user_arrays(path: str) -> tuple[Any, Any, Any, Any]:
    arrays = read_arrays("--dataset", "a .npz file of plain arrays", path)
    if not isinstance(arrays, dict):
        raise parameter_error("--dataset", "a .npz file of plain arrays", f"'{path}'")
    missing = [name for name in ARRAYS if name not in arrays]
    if missing:
        raise parameter_error(
            "--dataset", f"a .npz with {', '.join(ARRAYS)}", f"one without {', '.join(missing)}"
        )
    X_train, y_train, X_test, y_test = (arrays[name] for name in ARRAYS)
    for name, X in (("X_train", X_train), ("X_test", X_test)):
        if X.ndim not in (2, 4) or not X.size:
            expected = (
                "the shape (n_samples, n_features) or (n_samples, channels, height, width), and samples"
            )
            raise shape_error(name, expected, f"shape {X.shape}")
    return cs.data.as_features(X_train, "X_train"), y_train, cs.data.as_features(X_test, "X_test"), y_test


def _test_labels(y_test: Any, n_samples: int, classes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """True classes, of the kind that training labels are of; classes of their own are no error."""
    truth = np.asarray(y_test)
    if truth.shape != (n_samples,):
        raise shape_error(
            "y_test", f"one label per test sample, shape ({n_samples},)", f"shape {truth.shape}"
        )
    if (truth.dtype.kind in "US") != (classes.dtype.kind in "US"):
        expected = f"labels of the kind that y_train has, {classes.dtype}"
        raise parameter_error("y_test", expected, f"values of type {truth.dtype}")
    # With two stand-ins, because a test set may hold one class only.
    known, codes = cs.data.as_labels(np.concatenate([truth, classes[:2]]), n_samples + 2, "y_test")
    truth = np.asarray(known[codes][:n_samples])
    if n_samples and not np.isin(truth, classes).any():
        expected = f"labels of which some are classes of y_train, such as {classes[:1].tolist()[0]!r}"
        raise parameter_error(
            "y_test", expected, f"{truth[:1].tolist()[0]!r} and others that none of its samples has"
        )
    return truth


def _listed_classes(options: argparse.Namespace, y_train: Any) -> list[Any] | None:
    """All classes that there are, as far as they are known without a look at the labels."""
    if not options.dataset.endswith(".npz"):
        return list(range(10 if options.classes is None else len(options.classes)))
    if options.classes is not None and np.asarray(y_train).dtype.kind not in "iuf":
        return [str(label) for label in options.classes]
    return options.classes  # type: ignore[no-any-return]


def read_arrays(name: str, expected: str, path: str) -> Any:
    """The array of a .npy file, or all arrays of a .npz by name."""
    try:
        return _files.arrays(name, expected, path)
    except (OSError, ValueError) as error:
        if isinstance(error, cs.ParameterError):
            raise
        raise parameter_error(name, expected, unreadable(path, error)) from None
