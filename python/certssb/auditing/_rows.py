"""What an audit found, row by row, as text and as a table in notebooks."""

from __future__ import annotations

import html
import textwrap
from dataclasses import dataclass
from typing import Literal

__all__ = ["NOT_ASKED", "AuditReport", "AuditRow", "Rows"]

NOT_ASKED = "none was to be trained again"
_NEEDED = ("certificates", "report", "data", "members")

Result = Literal["passed", "FAILED", "not checked"]


@dataclass(frozen=True)
class AuditRow:
    """One thing that an audit looked at.

    Attributes
    ----------
    what : str
        What was looked at.
    result : {"passed", "FAILED", "not checked"}
        The outcome.
    detail : str
        What was compared with what, or why it was not.

    Examples
    --------
    >>> from certssb.auditing import AuditRow
    >>> row = AuditRow("summary", "passed", "as it was written")
    >>> row.what, row.result
    ('summary', 'passed')
    """

    what: str
    result: Result
    detail: str


class AuditReport:
    """What :func:`certssb.audit` found; prints as text and shows itself as a table in notebooks.

    Parameters
    ----------
    folder : str
        What was audited.
    rows : sequence of AuditRow
        What was looked at, in that order.
    limits : sequence of str
        What no audit of this folder can tell.

    Attributes
    ----------
    ok : bool
        Whether nothing failed.
    complete : bool
        Whether certificates, report, data and members were looked at; members not where none was asked for.
    text : str
        The whole report, as ``print`` writes it.

    Examples
    --------
    >>> from certssb.auditing import AuditReport, AuditRow
    >>> report = AuditReport("runs/digits", [AuditRow("votes", "FAILED", "299 members voted, not 300")], [])
    >>> report.ok
    False
    >>> print(report)
    runs/digits: FAILED
      FAILED       votes         299 members voted, not 300
    """

    def __init__(self, folder: str, rows: list[AuditRow], limits: list[str]) -> None:
        self.folder = folder
        self.rows = tuple(rows)
        self.limits = tuple(limits)

    @property
    def ok(self) -> bool:
        return not any(row.result == "FAILED" for row in self.rows)

    @property
    def complete(self) -> bool:
        return not any(
            row.result == "not checked" and row.what in _NEEDED and row.detail != NOT_ASKED
            for row in self.rows
        )

    @property
    def text(self) -> str:
        lines = [self._verdict()]
        for row in self.rows:
            head = f"  {row.result:<12} {row.what:<13} "
            lines += textwrap.wrap(
                row.detail,
                110,
                initial_indent=head,
                subsequent_indent=" " * len(head),
                break_long_words=False,
            )
        if self.limits:
            lines += ["", "No audit of this folder can tell:"]
            for limit in self.limits:
                lines += textwrap.wrap(limit, 110, initial_indent="  - ", subsequent_indent="    ")
        return "\n".join(lines)

    def _verdict(self) -> str:
        left = sum(row.result == "not checked" for row in self.rows)
        words = "passed" if self.ok else "FAILED"
        return f"{self.folder}: {words}" + (f", {left} not checked" if left else "")

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{_mark(row.result)}</td><th>{html.escape(row.what)}</th><td>{html.escape(row.detail)}</td></tr>"
            for row in self.rows
        )
        limits = "".join(f"<li>{html.escape(limit)}</li>" for limit in self.limits)
        more = f"<p>No audit of this folder can tell:</p><ul>{limits}</ul>" if limits else ""
        return (
            f"<div><p><strong>{html.escape(self._verdict())}</strong></p>"
            f"<table><tbody>{rows}</tbody></table>{more}</div>"
        )


def _mark(result: str) -> str:
    return f"<strong>{result}</strong>" if result == "FAILED" else result


class Rows(list[AuditRow]):
    """Rows as they are found."""

    def passed(self, what: str, detail: str) -> None:
        self.append(AuditRow(what, "passed", detail))

    def failed(self, what: str, detail: str) -> None:
        self.append(AuditRow(what, "FAILED", detail))

    def unchecked(self, what: str, detail: str) -> None:
        self.append(AuditRow(what, "not checked", detail))

    def found(self, what: str, wrong: list[str], right: str) -> None:
        """Failed with everything that is wrong, or else passed."""
        if wrong:
            shown = "; ".join(wrong[:4]) + (f"; and {len(wrong) - 4} more" if len(wrong) > 4 else "")
            self.failed(what, shown)
        else:
            self.passed(what, right)
