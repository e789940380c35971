"""Tables of certificates: one row per test sample, and the sentence that says what they guarantee."""

from __future__ import annotations

from certssb.certificates.table import CertificateTable

# By this address pickles of before know it.
from certssb.certificates.table import _unpickled as _unpickled
from certssb.certificates.votes import certify_scores, certify_votes

__all__ = ["CertificateTable", "certify_scores", "certify_votes"]
