"""Tables as they are looked at: in a notebook as HTML, in a terminal as text; ten rows, rounded outward."""

from __future__ import annotations

import html
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

import numpy.typing as npt

__all__ = ["Shown", "aligned"]

_ROWS = 10
_LOWER = ("p_lower", "radius", "noise_magnitude", "trigger_norm(")
_UPPER = ("p_upper",)
_WHOLE = 1e15
"""From here on four decimals are more digits than a float has."""


class Shown:
    """A table to look at: what the last line of a notebook's cell displays, and what ``print`` writes.

    Parameters
    ----------
    columns : dict of ndarray
        The columns by name, all of one length.
    guarantee : str
        The sentence above them.
    sound : bool
        False adds a warning.
    """

    def __init__(self, columns: dict[str, npt.NDArray[Any]], guarantee: str, sound: bool) -> None:
        self._columns = columns
        self._guarantee = guarantee
        self._sound = sound
        self._n_rows = len(next(iter(columns.values())))

    def _cells(self) -> list[list[str]]:
        shown = range(min(self._n_rows, _ROWS))
        return [[_cell(name, column[i]) for name, column in self._columns.items()] for i in shown]

    def _more(self) -> str:
        left = self._n_rows - _ROWS
        return "" if left <= 0 else f"{left:,} more sample{'s' if left > 1 else ''}"

    def __repr__(self) -> str:
        rows = [["", *self._columns], *([str(i), *cells] for i, cells in enumerate(self._cells()))]
        warning = [] if self._sound else ["Not a proof against a training-set attacker."]
        return "\n".join([self._guarantee, *warning, aligned(rows), *filter(None, [self._more()])])

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self._columns)
        rows = []
        for i, row in enumerate(self._cells()):
            cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in row)
            rows.append(f"<tr><th>{i}</th>{cells}</tr>")
        more = f"<p>{self._more()}</p>" if self._more() else ""
        warning = (
            "" if self._sound else "<p><strong>Not a proof against a training-set attacker.</strong></p>"
        )
        return (
            f"<div><p><em>{html.escape(self._guarantee)}</em></p>{warning}"
            f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>{more}</div>"
        )


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells under each other, flush right."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows
    )


def _cell(name: str, value: Any) -> str:
    """A cell, four digits, rounded outward: lower bounds and sizes that are survived down, upper bounds up."""
    if not name.startswith((*_LOWER, *_UPPER)) or not abs(value) < _WHOLE:
        return str(value)
    rounding = ROUND_CEILING if name.startswith(_UPPER) else ROUND_FLOOR
    return str(Decimal(float(value)).quantize(Decimal("0.0001"), rounding=rounding))
