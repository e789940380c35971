"""The door for the user's arrays."""

import enum
import re
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.exceptions import DataConversionWarning

from certssb.data import as_features, as_labels
from certssb.exceptions import ParameterError, ShapeError

TABLE = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]


class OnlyArray:
    """Something that NumPy can read and nothing else."""

    def __init__(self, values: Any) -> None:
        self.values = np.asarray(values)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.array(self.values, dtype=dtype)


class OnlyDlpack:
    """Something that speaks DLPack and nothing else."""

    def __init__(self, values: Any) -> None:
        self.values = np.asarray(values)

    def __dlpack__(self, **options: Any) -> Any:
        return self.values.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.values.__dlpack_device__()


@pytest.mark.parametrize(
    "X",
    [
        TABLE,
        tuple(map(tuple, TABLE)),
        np.array(TABLE),
        np.array(TABLE, dtype=np.float16),
        np.array(TABLE, dtype=np.int32),
        np.array(TABLE, dtype=np.uint8),
        np.array(TABLE, dtype=">f8"),
        np.array(TABLE, dtype=object),
        np.asfortranarray(TABLE),
        np.array(TABLE * 2)[::2][[0, 0]] * 0 + np.array(TABLE),
        torch.tensor(TABLE),
        torch.tensor(TABLE, dtype=torch.bfloat16),
        torch.tensor(TABLE, requires_grad=True),
        torch.tensor(TABLE).T.contiguous().T,
        [torch.tensor(row) for row in TABLE],
        pd.DataFrame(TABLE, columns=list("abc")),
        pd.DataFrame({"a": [1, 4], "b": pd.array([2, 5], dtype="Int64"), "c": [3.0, 6.0]}),
        OnlyArray(TABLE),
        OnlyDlpack(TABLE),
        np.ma.masked_array(TABLE),
        np.array(TABLE, dtype=np.longdouble),
        [[Fraction(1), Decimal(2), np.int8(3)], [4.0, np.float16(5), 6]],
        memoryview(np.array(TABLE)),
        [pd.Series(row) for row in TABLE],
    ],
)
def test_tables_of_every_kind_become_float32(X: Any) -> None:
    features = as_features(X)
    assert type(features) is np.ndarray and features.dtype == np.float32 and features.flags.c_contiguous
    assert features.tolist() == TABLE


def test_float32_arrays_are_not_copied_and_may_be_read_only(tmp_path: Any) -> None:
    X = np.array(TABLE, dtype=np.float32)
    X.tofile(tmp_path / "X")
    mapped = np.memmap(tmp_path / "X", dtype=np.float32, shape=X.shape, mode="r")
    assert np.shares_memory(as_features(X), X) and np.shares_memory(as_features(mapped), mapped)


@pytest.mark.parametrize(
    "shape, expected",
    [
        ((5, 8, 8), (5, 1, 8, 8)),
        ((5, 1, 8, 8), (5, 1, 8, 8)),
        ((5, 3, 32, 32), (5, 3, 32, 32)),
        ((5, 16, 8, 8), (5, 16, 8, 8)),
        ((5, 28, 28, 1), (5, 1, 28, 28)),
        ((5, 32, 24, 3), (5, 3, 32, 24)),
        ((5, 8, 8, 4), (5, 4, 8, 8)),
        ((5, 1, 4, 4), (5, 1, 4, 4)),
        ((5, 4, 4, 1), (5, 1, 4, 4)),
        ((5, 3, 3, 3), None),
        ((5, 3, 9, 3), None),
        ((5, 1, 1, 3), None),
        ((5, 3, 1, 1), None),
        ((5, 1, 1, 1), (5, 1, 1, 1)),
        ((5, 3, 3, 1), (5, 1, 3, 3)),
        ((5, 1, 3, 3), (5, 1, 3, 3)),
    ],
)
def test_channels_are_found(shape: tuple[int, ...], expected: tuple[int, ...] | None) -> None:
    X = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    if expected is None:
        with pytest.raises(ShapeError, match=r"Are there \d channels"):
            as_features(X)
        assert as_features(torch.from_numpy(X)).shape == shape
    else:
        features = as_features(X)
        assert features.shape == expected and features.flags.c_contiguous
        turned = expected != shape and len(shape) == 4
        assert np.array_equal(features.transpose(0, 2, 3, 1) if turned else features.reshape(shape), X)


def test_byte_images_are_scaled_and_byte_tables_and_other_integers_are_not() -> None:
    photos = np.full((2, 8, 8, 3), 51, dtype=np.uint8)
    assert as_features(photos) == pytest.approx(np.float32(0.2))
    assert as_features(torch.from_numpy(photos[..., 0])) == pytest.approx(np.float32(0.2))
    assert as_features(photos[:, :, 0, 0]).max() == 51
    assert as_features(photos.astype(np.int64)).max() == 51
    assert as_features(np.ones((2, 4), dtype=bool)).tolist() == [[1.0] * 4] * 2


@pytest.mark.parametrize(
    "value, said",
    [(np.nan, "Got NaN"), (np.inf, "Got infinity"), (-np.inf, "Got infinity"), (1e39, "too large")],
)
def test_a_value_that_is_not_finite_is_found(value: float, said: str) -> None:
    X = np.zeros((3000, 2000))
    X[2900, 7] = X[2950, 3] = value
    with pytest.raises(
        ParameterError, match=rf"'X' parameter must be finite.*{said}.*\(2900, 7\).*2 values are"
    ):
        as_features(X)


def test_finite_values_whose_sum_is_huge_pass() -> None:
    assert as_features(np.full((4, 4), 3e38)).max() == np.float32(3e38)


def test_missing_values_of_a_frame_are_found() -> None:
    frame = pd.DataFrame({"a": pd.array([1, None, 3], dtype="Int64"), "b": [1.0, 2.0, 3.0]})
    with pytest.raises(ParameterError, match=r"Got NaN at index \(1, 0\)"):
        as_features(frame)


@pytest.mark.parametrize("shape", [(3, 8, 9), (3, 8, 9, 3), (3, 1, 8, 9)])
def test_a_bad_pixel_is_named_by_its_place_in_what_was_given(shape: tuple[int, ...]) -> None:
    X = np.zeros(shape)
    place = tuple(size - 1 for size in shape)
    X[place] = np.nan
    with pytest.raises(ParameterError, match=re.escape(f"NaN at index {place} instead; 1 value is")):
        as_features(X)


@pytest.mark.parametrize(
    "X, kind, said",
    [
        (np.zeros(4), ShapeError, "Reshape your data"),
        (np.float32(1), ShapeError, "Reshape your data"),
        (pd.Series([1.0, 2.0]), ShapeError, "Reshape your data"),
        (np.zeros((1, 1, 1, 1, 1)), ShapeError, r"2 dimensions.*\(1, 1, 1, 1, 1\)"),
        (np.zeros((0, 3)), ShapeError, r"0 sample\(s\) \(shape=\(0, 3\)\) while a minimum of 1 is required"),
        (
            np.zeros((12, 0)),
            ShapeError,
            r"0 feature\(s\) \(shape=\(12, 0\)\) while a minimum of 1 is required.",
        ),
        (np.zeros((2, 1, 0, 8)), ShapeError, r"0 feature\(s\)"),
        ([[1.0, 2.0], [3.0]], ShapeError, "samples of one shape"),
        ([torch.zeros(2), torch.zeros(3)], ShapeError, r"samples of one shape, \(2,\). Got \(3,\) at item 1"),
        (np.array([[1 + 2j]]), ParameterError, "Complex data not supported"),
        (torch.tensor([[1 + 2j]]), ParameterError, "Complex data not supported"),
        (np.array([["a", "b"]]), ParameterError, r"finite numbers. Got text \(type <U1\)"),
        (np.array([["a", "b"]], dtype=object), ParameterError, r"Got str 'a' at index \(0, 0\)"),
        (np.array([["2020-01-01"]], dtype="datetime64[D]"), ParameterError, "datetime64"),
        (sparse.csr_array(np.eye(2)), TypeError, "Sparse data was passed for 'X'"),
        (torch.eye(2).to_sparse(), TypeError, "Sparse data was passed"),
        (np.array([[{"foo": "bar"}, 1]], dtype=object), TypeError, "argument must be .* string.* number"),
        ("words", TypeError, "'X'.*an array, a tensor.*Got an object of type str"),
        (None, TypeError, "'X'.*Got None"),
        ({"a": [1]}, TypeError, "'X'.*type dict"),
        ({1, 2}, TypeError, "'X'.*type set"),
        (object(), TypeError, "'X'.*type object"),
        (np.ndarray, TypeError, "'X'.*type type"),
        ((row for row in TABLE), TypeError, r"'X'.*generator, which can be read only once; pass list\(X\)"),
        (iter(TABLE), TypeError, "list_iterator, which can be read only once"),
        (np.zeros(2, dtype=[("a", "f4"), ("b", "i4")]), ParameterError, "records with the fields 'a', 'b'"),
        (np.zeros((2, 2), dtype="V3"), ParameterError, "'X'.*values of type"),
        (np.array(3), ShapeError, "'X'.*Reshape your data"),
        ([[10**400, 1]], ParameterError, r"an integer too large for float32 at index \(0, 0\)"),
        ([[1, Decimal("1e400")]], ParameterError, r"'X'.*infinity at index \(0, 1\)"),
        ([[1, Fraction(10**400)]], TypeError, r"'X'.*at index \(0, 1\)"),
        ([[1, None]], ParameterError, r"a missing value at index \(0, 1\)"),
        ([[1, "2"]], ParameterError, r"str '2' at index \(0, 1\)"),
        ([[1], 2], ShapeError, "1 values at index 0 as everywhere. Got a number at index 1"),
        (
            np.ma.masked_array([[1, 2]], [[0, 1]]),
            ParameterError,
            r"nothing is masked. Got a masked value at index \(0, 1\)",
        ),
        (
            [np.ma.masked_array([1, 2], [0, 1])],
            ParameterError,
            "Item 0 of 'X'.*Got a masked value at index 1",
        ),
        (torch.zeros(2, 2, device="meta"), ParameterError, "'X'.*a Tensor that cannot be read"),
        (
            torch.quantize_per_tensor(torch.ones(2, 2), 0.1, 0, torch.quint8),
            ParameterError,
            "'X'.*Tensor that cannot",
        ),
    ],
)
def test_what_is_no_features_is_refused(X: Any, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        as_features(X)


class Fruit(str, enum.Enum):
    APPLE = "a"
    PEAR = "p"


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


def test_messages_name_the_array() -> None:
    with pytest.raises(ShapeError, match="'X_test'"):
        as_features(np.zeros(3), name="X_test")
    with pytest.raises(ParameterError, match="'X_test'"):
        as_features([[np.nan]], name="X_test")


@pytest.mark.parametrize(
    "y, classes",
    [
        ([1, 2, 1], [1, 2]),
        ([-1, 7, -1], [-1, 7]),
        ([3.0, 5.0, 3.0], [3.0, 5.0]),
        (["a", "b", "a"], ["a", "b"]),
        ([False, True, False], [False, True]),
        (np.array([2**63, 2**63 + 1, 2**63], dtype=np.uint64), [2**63, 2**63 + 1]),
        (np.array(["a", "b", "a"], dtype=object), ["a", "b"]),
        (np.array([4, 9, 4], dtype=object), [4, 9]),
        (np.array([False, True, False], dtype=object), [False, True]),
        (torch.tensor([4, 9, 4]), [4, 9]),
        ([torch.tensor(4), torch.tensor(9), torch.tensor(4)], [4, 9]),
        (pd.Series(["a", "b", "a"]), ["a", "b"]),
        (pd.Series(["a", "b", "a"], dtype="category"), ["a", "b"]),
        (pd.Series([4, 9, 4], dtype="Int64", index=[7, 8, 9]), [4, 9]),
        (OnlyArray([1, 2, 1]), [1, 2]),
        ([Fruit.APPLE, Fruit.PEAR, Fruit.APPLE], ["a", "p"]),
        (np.array([Fruit.APPLE, Fruit.PEAR, Fruit.APPLE], dtype=object), ["a", "p"]),
        ([Size.SMALL, Size.LARGE, Size.SMALL], [1, 2]),
        ([1, 2**63, 1], [1, 2**63]),
        ([2**63, 2**63 + 1, 2**63], [2**63, 2**63 + 1]),
        ([2**53, 2**53 + 1, 2**53], [2**53, 2**53 + 1]),
        ((1, 2.0, 1), [1.0, 2.0]),
        (["a", "a\0", "a"], ["a", "a\0"]),
        ([np.str_("a"), "b", "a"], ["a", "b"]),
        (np.array([1, 2, 1], dtype=">i4"), [1, 2]),
        (np.array([1, 2, 1], dtype=np.longdouble), [1.0, 2.0]),
        (np.array(["a", "b", "a"], dtype=">U1"), ["a", "b"]),
    ],
)
def test_labels_of_every_kind_become_classes(y: Any, classes: list[Any]) -> None:
    found, codes = as_labels(y, 3)
    assert found.tolist() == classes
    assert codes.dtype == np.int64 and codes.tolist() == [0, 1, 0]
    assert found.dtype.isnative and found.dtype != np.longdouble
    assert as_labels(y, 3, classes=classes)[1].tolist() == [0, 1, 0]


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="NumPy 2 has this type")
def test_strings_of_any_length_are_labels() -> None:
    found, codes = as_labels(np.array(["a", "b" * 50, "a"], dtype=np.dtypes.StringDType()), 3)
    assert found.dtype.kind == "U" and found.tolist() == ["a", "b" * 50] and codes.tolist() == [0, 1, 0]


def test_a_column_is_flattened_with_scikit_learns_warning() -> None:
    with pytest.warns(
        DataConversionWarning, match="A column-vector y was passed when a 1d array was expected"
    ):
        assert as_labels(np.array([[1], [2]]), 2)[1].tolist() == [0, 1]


@pytest.mark.parametrize(
    "y, kind, said",
    [
        (
            [0.0, 0.5, 1.0],
            ParameterError,
            "'y' parameter must be an array of class labels.*0.5 at index 1.*continuous",
        ),
        ([0.0, np.nan, 1.0], ParameterError, r"missing label: Input y contains NaN \(index 1\)"),
        ([0.0, 1.0, np.inf], ParameterError, r"infinity \(index 2\)"),
        (["a", None, "b"], ParameterError, r"NaN or None \(index 1\)"),
        (np.array(["a", np.nan, "b"], dtype=object), ParameterError, r"NaN \(index 1\)"),
        (pd.Series([1, None, 2], dtype="Int64"), ParameterError, r"contains NaN.*\(index 1\)"),
        (pd.Series(["a", None, "b"]), ParameterError, r"NaN \(index 1\)"),
        (np.array([1, "a", 2], dtype=object), ParameterError, "Unknown label type: objects of int, str"),
        (np.array([{}, {}, {}], dtype=object), ParameterError, "Unknown label type: objects of dict"),
        (np.array([b"a", b"b", b"a"]), ParameterError, "Unknown label type"),
        (np.array(["2020", "2021", "2020"], dtype="datetime64[Y]"), ParameterError, "Unknown label type"),
        (np.array([10**30, 1, 2], dtype=object), ParameterError, "64 bits"),
        ([1, "a", 2], ParameterError, "Unknown label type: objects of int, str"),
        ([True, 2, 1], ParameterError, "Unknown label type: objects of bool, int"),
        ([2**53 + 1, 1.0, 2.0], ParameterError, "9007199254740993 at index 0, which a double cannot hold"),
        ([-1, 2**63, 1], ParameterError, "64 bits"),
        ([10**400, 1.0, 2], ParameterError, "64 bits"),
        (["a", "\udc80", "a"], ParameterError, "no text"),
        ([np.ma.masked, 1, 2], ParameterError, r"missing label.*\(index 0\)"),
        (np.ma.masked_array([0, 1, 1], [0, 0, 1]), ParameterError, "masked value at index 2"),
        (list(Size), ShapeError, "3 in all. Got 2 labels"),
        ([Colour.RED, Colour.BLUE, Colour.RED], ParameterError, "objects of Colour"),
        ([1j, 2j, 1j], ParameterError, "Complex data not supported"),
        ([1, 1, 1], ParameterError, r"at least two classes. Got 1 class, \[1\]"),
        (None, ParameterError, "requires y to be passed, but the target y is None"),
        ([0, 1], ShapeError, "'y' must have one label per sample, 3 in all. Got 2 labels"),
        (np.eye(3), ShapeError, r"argmax\(axis=1\).*\(3, 3\)"),
        (5, ShapeError, "1d array"),
        ([[1], [1, 2], [3]], ShapeError, "different length"),
        (sparse.csr_array(np.eye(3)), TypeError, "Sparse data was passed"),
    ],
)
def test_what_is_no_labels_is_refused(y: Any, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        as_labels(y, 3)
