"""Columns as files: CSV with every digit, or Parquet where pyarrow is installed."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["csv_bytes", "parquet_bytes"]

Columns = Mapping[str, npt.NDArray[Any]]


def csv_bytes(columns: Columns) -> bytes:
    """Columns of one length as CSV in UTF-8: floats with all their digits, nothing for NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from certssb.storage._tables import csv_bytes
    >>> csv_bytes({"radius": np.array([0.1, np.nan]), "holds": np.array([True, False])})
    b'radius,holds\\n0.10000000000000001,True\\n,False\\n'
    """
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(columns)
    # Cell by cell of plain Python values: NumPy's print otherwise.
    writer.writerows(
        zip(*([_cell(value) for value in column.tolist()] for column in columns.values()), strict=True)
    )
    return written.getvalue().encode()


def parquet_bytes(columns: Columns) -> bytes | None:
    """Columns of one length as Parquet; None where pyarrow is not installed."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        return None
    written = io.BytesIO()
    parquet.write_table(pyarrow.table({name: _plain(column) for name, column in columns.items()}), written)
    return written.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.17g}"
    return value


def _plain(column: npt.NDArray[Any]) -> Any:
    # Arrow takes text as Python's strings only.
    return column.tolist() if np.issubdtype(column.dtype, np.str_) else column
