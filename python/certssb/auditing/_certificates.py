"""Tables of certificates, made again from votes and compared number by number."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import numpy.typing as npt

import certssb as cs
from certssb import _core
from certssb.certificates import CertificateTable
from certssb.certificates._file import parts
from certssb.storage._ensembles import sample_shape

__all__ = ["certified_again", "differences", "flat", "law_of"]

_ASKED_OF_MEMBERS = ("n_failed", "n_idle", "n_empty")
"""What a table's record says of members, which votes do not tell."""


def law_of(record: dict[str, Any]) -> cs.Law:
    """The law of an ensemble's record."""
    return _core.law_from_json(json.dumps(record["law"]))


def certified_again(
    votes: npt.NDArray[np.uint16], record: dict[str, Any], settings: dict[str, Any], election: str
) -> CertificateTable:
    """The certificates that these votes give under the record's law; ranks of classes in place of votes for a run-off."""
    law = law_of(record)
    known: dict[str, Any] = {**settings, "n_features": _n_features(record), "election": election}
    if election == "run-off":
        scores = np.ascontiguousarray(votes.transpose(0, 2, 1), dtype=np.float32)
        return cs.certify_scores(scores, law, record["n_train"], **known)
    return cs.certify_votes(votes, law, record["n_train"], record["n_classes"], **known)


def _n_features(record: dict[str, Any]) -> int:
    return math.prod(sample_shape(record))


def differences(
    table: CertificateTable, again: CertificateTable, record: dict[str, Any], received: bool
) -> list[str]:
    """In what a table is not the one that votes give, in words; `received` says that classes were read from labels."""
    own, new = parts(table._core, None), parts(again._core, None)
    told, made = json.loads(str(own.pop("record"))), json.loads(str(new.pop("record")))
    made |= {"before_noise": record.get("before_noise")}
    # Known to an ensemble, of which a partition's votes need not be told.
    made["facts"]["n_features"] = _n_features(record)
    n_trusted = (record.get("trusted") or {"n": 0})["n"]
    made |= {"n_trusted": n_trusted} if n_trusted else {}
    made |= {"classes_as_received": True} if received else {}
    flat_told, flat_made = flat(told), flat(made)
    wrong = [
        f"its record says {name} {flat_told.get(name)!r}, votes and ensemble {flat_made.get(name)!r}"
        for name in sorted({*flat_told, *flat_made})
        if name not in _ASKED_OF_MEMBERS and flat_told.get(name) != flat_made.get(name)
    ]
    if own.keys() != new.keys():
        return [*wrong, f"it has other columns ({', '.join(sorted(own.keys() ^ new.keys()))})"]
    for name, column in own.items():
        there = np.asarray(new[name])
        if column.shape != there.shape:
            wrong.append(f"{name} has the shape {column.shape}, not {there.shape}")
        elif not np.array_equal(column, there, equal_nan=column.dtype.kind == "f"):
            other = column != there
            places = np.flatnonzero(other.reshape(len(other), -1).any(axis=1) if other.ndim else other)
            at = int(places[0])
            wrong.append(
                f"{name} of {len(places)} samples is not what the votes give, as of sample {at}: {_shown(column, at)}, not "
                f"{_shown(there, at)}"
            )
    return wrong


def _shown(column: npt.NDArray[Any], at: int) -> str:
    return str(column.reshape(-1)[at] if column.ndim < 2 else column[at].tolist())


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """Nested values by their path."""
    if not isinstance(value, dict) or not value:
        return {name: value}
    found: dict[str, Any] = {}
    for key, part in value.items():
        found |= flat(part, f"{name}.{key}" if name else key)
    return found
