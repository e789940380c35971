"""Arrays in through DLPack and ``__array__``, tables out through Arrow, with the packages that read and write them."""

from typing import Any

import numpy as np
import pytest
import torch

import certssb as cs

X, Y = cs.datasets.load_digits(classes=(0, 1))


class OnlyDLPack:
    """What a tensor of another library shows of itself."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor = tensor

    def __dlpack__(self, **options: Any) -> Any:
        return self._tensor.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._tensor.__dlpack_device__()


class OnlyArray:
    """An object with nothing but ``__array__``."""

    def __init__(self, values: Any) -> None:
        self._values = values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self._values, dtype=dtype)


@pytest.mark.parametrize("wrap", [lambda a: OnlyDLPack(torch.as_tensor(a)), OnlyArray, torch.as_tensor])
def test_estimators_read_arrays_of_others(wrap: Any) -> None:
    expected = cs.CertifiedKNN().fit(X[:200], Y[:200]).certify(X[200:210])
    certs = cs.CertifiedKNN().fit(wrap(X[:200]), wrap(Y[:200])).certify(wrap(X[200:210]))
    np.testing.assert_array_equal(certs.radius, expected.radius)
    np.testing.assert_array_equal(certs.prediction, expected.prediction)


def test_a_table_goes_into_arrow_by_itself() -> None:
    pa = pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'certssb[arrow]'")
    certs = cs.CertifiedKNN().fit(X[:200], Y[:200]).certify(X[200:210])
    read = pa.RecordBatchReader.from_stream(certs).read_all()
    assert read.equals(certs.to_arrow()) and pa.table(certs).equals(read)
    assert read.column_names == ["prediction", "abstained", "p_lower", "p_upper", "radius"]
    np.testing.assert_array_equal(read["radius"].to_numpy(), certs.radius)
    assert read.schema.metadata[b"guarantee"].decode() == certs.guarantee


def test_polars_reads_a_table() -> None:
    pl = pytest.importorskip("polars", reason="needs polars: make external")
    certs = cs.CertifiedKNN().fit(X[:200], Y[:200]).certify(X[200:210])
    np.testing.assert_array_equal(pl.DataFrame(certs)["radius"].to_numpy(), certs.radius)
