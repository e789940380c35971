"""What members said, as a run keeps it: votes in as many bits as classes need, so that anybody can count them again."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from certssb.storage import _files

__all__ = ["LIMIT", "digests_bytes", "parse_digests", "parse_votes", "size_of", "votes_bytes"]

LIMIT = 1 << 28
"""Bytes that the votes on one set of test samples may take; more are not kept."""

_RATIO = 50
_ROWS = 256
"""Rows of votes that are packed or unpacked at a time."""

Votes = npt.NDArray[np.uint16]


def size_of(shape: tuple[int, ...], n_values: int) -> int:
    """Bytes that numbers below `n_values` of this shape take before they are compressed."""
    *rows, length = shape
    return int(np.prod(rows, dtype=object)) * _bits(n_values) * -(-length // 8)


def _bits(n_values: int) -> int:
    return max(1, (n_values - 1).bit_length())


def votes_bytes(votes: npt.NDArray[Any], n_values: int) -> bytes | None:
    """Numbers below `n_values`, shape (..., n_members, n_samples), as a file; None if it would be too large.

    Each row is kept as planes of bits: a vote among ten classes takes four bits before it is compressed.

    Examples
    --------
    >>> import numpy as np
    >>> from certssb.report._votes import parse_votes, votes_bytes
    >>> votes = np.array([[0, 2, 1], [2, 2, 1]])
    >>> parse_votes(votes_bytes(votes, 3)).tolist()
    [[0, 2, 1], [2, 2, 1]]
    """
    if size_of(votes.shape, n_values) > LIMIT:
        return None
    bits, length = _bits(n_values), votes.shape[-1]
    rows = votes.reshape(-1, length)
    planes = np.zeros((len(rows), bits, -(-length // 8)), dtype=np.uint8)
    for start in range(0, len(rows), _ROWS):
        block = rows[start : start + _ROWS].astype(np.uint16)
        for bit in range(bits):
            planes[start : start + _ROWS, bit] = np.packbits((block >> bit) & 1, axis=-1)
    parts = {"planes": planes, "shape": np.array(votes.shape, dtype=np.int64)}
    packed = _files.npz(parts, packed=True)
    # What unpacks to much more than it is would be refused where it is read.
    return packed if planes.nbytes <= _RATIO * len(packed) else _files.npz(parts)


def parse_votes(content: bytes) -> Votes:
    """What :func:`votes_bytes` wrote.

    Raises
    ------
    Damaged
        If it is something else.
    """
    parts = _files.archive(content, packed=True)
    if parts.keys() != {"planes", "shape"}:
        raise _files.Damaged("it has other parts than votes have")
    planes, shape = parts["planes"], parts["shape"]
    if planes.dtype != np.uint8 or planes.ndim != 3 or shape.dtype != np.int64 or shape.ndim != 1:
        raise _files.Damaged("its parts are not those of votes")
    sizes = [int(size) for size in shape]
    if not 2 <= len(sizes) <= 4:
        raise _files.Damaged("its votes have a different number of axes")
    rows, bits, packed = planes.shape
    if (
        min(sizes) < 1
        or np.prod(sizes[:-1], dtype=object) != rows
        or packed != -(-sizes[-1] // 8)
        or bits > 16
    ):
        raise _files.Damaged("its parts do not fit each other")
    votes = np.zeros((rows, sizes[-1]), dtype=np.uint16)
    for start in range(0, rows, _ROWS):
        block = planes[start : start + _ROWS]
        for bit in range(bits):
            plane = np.unpackbits(block[:, bit], axis=-1, count=sizes[-1])
            votes[start : start + _ROWS] |= plane.astype(np.uint16) << bit
    return votes.reshape(sizes)


def digests_bytes(levels: list[list[str]]) -> bytes:
    """Digests of the members of each level, in hexadecimal, as a file."""
    raw = [[list(bytes.fromhex(digest)) for digest in members] for members in levels]
    return _files.npz({"digests": np.array(raw, dtype=np.uint8)})


def parse_digests(content: bytes) -> list[list[str]]:
    """What :func:`digests_bytes` wrote.

    Raises
    ------
    Damaged
        If it is something else.
    """
    parts = _files.archive(content)
    digests = parts.get("digests")
    if digests is None or digests.dtype != np.uint8 or digests.ndim != 3 or digests.shape[2] != 32:
        raise _files.Damaged("it holds no digests of members")
    return [[bytes(digest.tolist()).hex() for digest in members] for members in digests]
