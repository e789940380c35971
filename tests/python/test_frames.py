"""Frames of pandas and Arrow: columns of numbers are read, any other column is named, with the row."""

import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import small

from certssb.data import as_features
from certssb.exceptions import ParameterError

pa = pytest.importorskip("pyarrow")

DAYS = pd.to_datetime(["2020-01-01", "2021-01-01"])


@pytest.mark.parametrize(
    "column",
    [
        [1, 2],
        np.array([1, 2], dtype=np.uint8),
        np.array([1, 2], dtype=np.float16),
        pd.array([1, 2], dtype="Int64"),
        pd.array([1, 2], dtype="UInt8"),
        pd.array([1, 2], dtype="Float32"),
        pd.array([1, 2], dtype="int64[pyarrow]"),
        pd.Categorical([1, 2], categories=[3, 2, 1]),
        pd.arrays.SparseArray([1, 2]),
        pd.Series([1, 2.0], dtype=object).array,
        pd.Series([Decimal(1), np.float32(2)], dtype=object).array,
    ],
)
def test_columns_of_numbers_are_read(column: Any) -> None:
    frame = pd.DataFrame({"a": [True, False], "b": column}, index=[7, 7])
    assert as_features(frame).tolist() == [[1, 1], [0, 2]]


@pytest.mark.parametrize(
    "column, said",
    [
        (DAYS, r"values of type datetime64\[.*\] in column 'when'"),
        (DAYS.tz_localize("UTC"), r"a Timestamp at index \(0, 1\), in column 'when'"),
        (DAYS - DAYS[0], r"values of type timedelta64\[.*\] in column 'when'"),
        (pd.period_range("2020", periods=2), r"a Period at index \(0, 1\), in column 'when'"),
        (pd.arrays.IntervalArray.from_breaks([0, 1, 2]), r"an Interval at index \(0, 1\), in column 'when'"),
        (pd.Categorical(["red", "blue"]), r"str 'red' at index \(0, 1\), in column 'when'"),
        (["1", "n/a"], r"str 'n/a' at index \(1, 1\), in column 'when'"),
        (["1", "2"], r"str '1' at index \(0, 1\), in column 'when'"),
        ([1.0, "x" * 99], r"str 'x{20}'\.\.\. at index \(1, 1\), in column 'when'"),
        (pd.Series([1, pd.NA], dtype=object), r"a missing value at index \(1, 1\), in column 'when'"),
        (pd.Series([1, None], dtype=object), r"a missing value at index \(1, 1\), in column 'when'"),
        (pd.array([1, None], dtype="Int64"), r"NaN at index \(1, 1\), in column 'when', instead; 1 of this"),
        (pd.array([True, None], dtype="boolean"), r"a missing value at index \(1, 1\), in column 'when'"),
        (pd.Categorical([1, None]), r"NaN at index \(1, 1\), in column 'when'"),
        ([1, np.inf], r"infinity at index \(1, 1\), in column 'when'"),
        ([1, 1e300], r"1e\+300, too large for float32, at index \(1, 1\), in column 'when'"),
        ([1, 10**400], r"an integer too large for float32 at index \(1, 1\), in column 'when'"),
        ([1, 2j], r"values of type complex128 in column 'when'"),
        ([1, [2]], r"a list at index \(1, 1\), in column 'when'"),
        ([1, {}], r"a dict at index \(1, 1\), in column 'when'"),
        ([1, b"2"], r"bytes b'2' at index \(1, 1\), in column 'when'"),
    ],
)
def test_any_other_column_is_named(column: Any, said: str) -> None:
    frame = pd.DataFrame({"a": [1, 2], "when": column})
    with pytest.raises(
        (ParameterError, TypeError), match=f"^The 'X' parameter must be finite numbers. Got {said}"
    ):
        as_features(frame)


@pytest.mark.parametrize(
    "names, said",
    [
        (["a", "a"], "different names. Got 'a' twice"),
        (["a", 3], r"all text, or none. Got 3 \(int\) beside text"),
        (pd.Index(["a", "\ud800"], dtype=object), r"UTF-8. Got '\\ud800', which holds half of a character"),
    ],
)
def test_names_that_name_no_column_are_refused(names: Any, said: str) -> None:
    with pytest.raises(ParameterError, match=f"'X'.*{said}"):
        as_features(pd.DataFrame([[1, 2]], columns=names))


def test_columns_of_several_levels_and_numbered_ones_are_read_and_named() -> None:
    levels = pd.MultiIndex.from_tuples([("a", "b"), ("a", "c")])
    assert as_features(pd.DataFrame([[1, 2]], columns=levels)).tolist() == [[1, 2]]
    assert as_features(pd.DataFrame([[1, 2]], columns=[7, 8])).tolist() == [[1, 2]]
    with pytest.raises(ParameterError, match=r"in column \('a', 'c'\)"):
        as_features(pd.DataFrame([[1, "x"]], columns=levels))


def test_arrow_tables_are_frames() -> None:
    table = pa.table({"a": [1, 2], "b": [True, False]})
    assert as_features(table).tolist() == [[1, 1], [2, 0]]
    assert as_features(table.to_batches()[0]).tolist() == [[1, 1], [2, 0]]
    indexed = pa.Table.from_pandas(pd.DataFrame({"a": [1, 2]}, index=pd.Index([5, 6], name="key")))
    assert as_features(indexed).tolist() == [[1, 5], [2, 6]]
    for values in ([1, None], ["x", "y"], [datetime.date(2020, 1, 1)] * 2):
        with pytest.raises((ParameterError, TypeError), match="in column 'b'"):
            as_features(pa.table({"a": [1, 2], "b": values}))


def test_a_frame_is_remembered_by_its_names() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.random((20, 3)), columns=["a", "b", "c"])
    for given in (frame, pa.Table.from_pandas(frame)):
        clf = small(n_members=8, alpha=0.3, epochs=1, seed=0).fit(given, [0, 1] * 10)
        assert clf.feature_names_in_.tolist() == ["a", "b", "c"]
        with pytest.raises(ValueError, match="feature names should match"):
            clf.predict(frame[["c", "b", "a"]])
