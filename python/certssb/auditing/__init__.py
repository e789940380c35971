"""Certificates that a third party can verify: files, votes, members and data compared with what the record says of them."""

from __future__ import annotations

from certssb.auditing._audit import audit
from certssb.auditing._rows import AuditReport, AuditRow

__all__ = ["AuditReport", "AuditRow", "audit"]
