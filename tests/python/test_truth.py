"""True classes of another type than the predicted ones: equal values count, all else is refused by name."""

import enum
from collections.abc import Callable
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import pytest
from conftest import Digits, small

import certssb as cs
from certssb import displays, metrics
from certssb.report._samples import samples_bytes

CLASSES = [3, 7, 3, 3, 7, 3]
IMAGES = np.zeros((6, 1, 4, 4), np.float32)


def table(classes: Any = CLASSES) -> cs.CertificateTable:
    names, codes = np.unique(classes, return_inverse=True)
    votes = np.repeat(codes[None], 100, axis=0)
    plain = cs.certify_votes(votes, cs.Gaussian(1.0), n_train=50, n_classes=len(names))
    return cs.CertificateTable(plain._core, names)


def shares_of_all(y: Any, classes: Any = CLASSES) -> list[Any]:
    """What everything public that compares true classes with predictions says."""
    certs, given = table(classes), np.asarray(classes)
    sure = np.ones(len(given), bool)
    grid = displays.PredictionGridDisplay.from_certificates(certs, IMAGES, y_true=y, n=6)
    return [
        certs.certified_accuracy(y, radii=0),
        certs.certified_accuracy(y, n_poisoned=1, trigger_norm=0.1),
        displays.CertifiedAccuracyDisplay.from_certificates(certs, y, radii=[0.0]).accuracy[0],
        float(displays.FrontierDisplay.from_certificates(certs, y, n_poisoned=[1]).trigger_norm.min() > 0),
        float(all(grid._state(place) == 0 for place in range(6))),
        metrics.certified_accuracy(y, given, sure),
        metrics.conditional_accuracy(y, given, sure),
        metrics.empirical_robust_accuracy(y, given),
    ]


def askers() -> dict[str, Callable[[Any], Any]]:
    """The same, one by one, so that each refuses by itself."""
    certs, given = table(), np.asarray(CLASSES)
    sure = np.ones(6, bool)
    return {
        "radii": lambda y: certs.certified_accuracy(y, radii=0),
        "budget": lambda y: certs.certified_accuracy(y, n_poisoned=1, trigger_norm=0.1),
        "accuracy display": lambda y: displays.CertifiedAccuracyDisplay.from_certificates(certs, y),
        "frontier display": lambda y: displays.FrontierDisplay.from_certificates(certs, y, n_poisoned=[1]),
        "grid display": lambda y: displays.PredictionGridDisplay.from_certificates(certs, IMAGES, y_true=y),
        "grid": lambda y: displays.PredictionGridDisplay(IMAGES, given, ~sure, y_true=y),
        "report": lambda y: samples_bytes(certs, IMAGES, y),
        "certified": lambda y: metrics.certified_accuracy(y, given, sure),
        "conditional": lambda y: metrics.conditional_accuracy(y, given, sure),
        "empirical": lambda y: metrics.empirical_robust_accuracy(y, given),
        "attack": lambda y: metrics.attack_success_rate(y, given, 3),
    }


class Number(enum.IntEnum):
    THREE = 3
    SEVEN = 7


class Word(str, enum.Enum):
    THREE = "three"
    SEVEN = "seven"


class Plain(enum.Enum):
    THREE = 3
    SEVEN = 7


@pytest.mark.parametrize(
    "y",
    [
        np.array(CLASSES, np.uint8), np.array(CLASSES, np.float32), np.array(CLASSES, np.longdouble),
        np.array(CLASSES, ">i4"), np.array(CLASSES, object), [3.0, 7, np.uint8(3), 3, np.float64(7), 3],
        [Number(value) for value in CLASSES], pd.Series(CLASSES, dtype="Int64"), np.ma.array(CLASSES),
    ],
    ids=["uint8", "float32", "long double", "big-endian", "objects", "mixed", "IntEnum", "Int64", "unmasked"],
)  # fmt: skip
def test_equal_numbers_of_another_type_count(y: Any) -> None:
    assert shares_of_all(y) == [1.0] * 8


def test_words_of_any_type_count() -> None:
    words = ["three" if value == 3 else "seven" for value in CLASSES]
    kinds = [words, np.array(words, object), [Word(word) for word in words], pd.Series(words, dtype="string")]
    if hasattr(np.dtypes, "StringDType"):
        kinds.append(np.array(words, np.dtypes.StringDType()))
    for y in kinds:
        assert shares_of_all(y, words) == [1.0] * 8


@pytest.mark.parametrize("asker", list(askers()))
@pytest.mark.parametrize(
    ("y", "said"),
    [
        (["3", "7", "3", "3", "7", "3"], "kind.*(numbers such as|strings such as)"),
        ([b"3"] * 6, "class labels.*bytes"),
        (np.array([b"3"] * 6), "class labels.*S1"),
        ([Plain.THREE] * 6, "class labels.*Plain"),
        ([True, False] * 3, "kind.*booleans"),
        ([3.5, 7, 3, 3, 7, 3], "class labels.*3.5 at index 0"),
        ([3.0, np.nan, 3, 3, 7, 3], "missing label.*index 1"),
        ([3, None, 3, 3, 7, 3], "missing label.*index 1"),
        (pd.Series([3, pd.NA, 3, 3, 7, 3], dtype="Int64"), "missing|NA"),
        (pd.Series([3, pd.NA, 3, 3, 7, 3], dtype=object), "missing label.*index 1"),
        (np.ma.array(CLASSES, mask=[0, 0, 1, 0, 0, 0]), "masked"),
    ],
    ids=["words", "bytes", "S", "enum", "bool", "fraction", "nan", "none", "Int64 NA", "NA", "masked"],
)  # fmt: skip
def test_other_kinds_and_missing_ones_are_refused(asker: str, y: Any, said: str) -> None:
    with pytest.raises(cs.ParameterError, match=said):
        askers()[asker](y)


def test_the_target_of_an_attack_is_a_label_too() -> None:
    assert metrics.attack_success_rate([1, 1, 0], [0, 1, 0], target=np.float64(0)) == 0.5
    for target in ("0", None, False, b"0", [0]):
        with pytest.raises((cs.ParameterError, cs.ShapeError), match="target"):
            metrics.attack_success_rate([1, 1, 0], [0, 1, 0], target=target)


def test_large_integers_are_not_merged_by_a_double() -> None:
    y = [2**53 + 1, 2**53 + 1]
    assert metrics.empirical_robust_accuracy(y, np.array([2.0**53, 2.0**53])) == 0.0
    assert metrics.empirical_robust_accuracy(np.array(y), np.array(y, np.uint64)) == 1.0
    assert (
        metrics.empirical_robust_accuracy(np.array([-(2**63)] * 2), np.array([2**63] * 2, np.uint64)) == 0.0
    )


def test_classes_that_were_not_trained_are_wrong_and_no_error() -> None:
    assert table().certified_accuracy([3, 7, 3, 3, 9, 2**62], radii=0) == 4 / 6


@pytest.mark.parametrize("kind", ["big-endian", "StringDType", "long double"])
def test_labels_of_rare_types_go_everywhere(kind: str, digits: Digits, tmp_path: Any) -> None:
    pytest.importorskip("pyarrow")
    X, y, X_test, y_test = digits
    labels: Any = y.astype(">i8" if kind == "big-endian" else np.longdouble)
    if kind == "StringDType":
        labels = np.array([f"digit {value}" for value in y], np.dtypes.StringDType())
    clf = small().fit(X, labels)
    certs = clf.certify(X_test)
    truth = [f"digit {value}" for value in y_test] if kind == "StringDType" else y_test
    share = certs.certified_accuracy(truth, radii=0)
    assert share > 0.5 and certs.to_arrow()["prediction"].to_pylist() == certs.prediction.tolist()
    certs.save(tmp_path / "table.npz")
    assert cs.CertificateTable.load(tmp_path / "table.npz") == certs
    clf.save(tmp_path / "saved")
    again = cs.CertifiedClassifier.load(tmp_path / "saved")
    assert again.classes_.dtype == clf.classes_.dtype and again.classes_.dtype.isnative
    np.testing.assert_array_equal(again.predict(X_test), clf.predict(X_test))


def test_true_classes_that_all_are_none_are_warned_of() -> None:
    certs = cs.certify_votes(np.ones((100, 3), int), cs.Subsample(size=5), n_train=100, n_classes=2)
    with pytest.warns(UserWarning, match="None of the true classes, such as 7, .* such as 0: every sample"):
        assert certs.certified_accuracy([7, 8, 9], cs.Threat(1)) == 0.0
    # One that is there says that the others are meant.
    assert certs.certified_accuracy([7, 8, 0], cs.Threat(1)) == 0.0
