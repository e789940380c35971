"""What stands in ``estimator.json``: one rule per value, and one fingerprint over all of it.

The fingerprint covers the facts, the record and the history of every level, and every member. It tells damage, and
whether an ensemble is the one whose fingerprint is known from elsewhere. It is no defence against somebody who changes
members and writes the fingerprint anew; the fingerprint that was kept elsewhere is.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from certssb.storage._files import Damaged

__all__ = ["check", "classes_from_json", "classes_to_json", "is_fingerprint", "seal"]

_VERSION = 2
_DIGEST = re.compile(r"[0-9a-f]{64}")
_TYPE = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f(?:2|4|8|16)|U[0-9]{1,5}|O|T16)")
# Characters that labels may have altogether, as an array holds them.
_TEXT = 1 << 26


def seal(facts: dict[str, Any]) -> dict[str, Any]:
    """Facts with version and fingerprint; refused if they are none that could be read again."""
    whole = {"version": _VERSION, **facts}
    return check({**whole, "fingerprint": _fingerprint(whole)})


def is_fingerprint(value: object) -> bool:
    """Whether a value looks like one."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def _fingerprint(facts: dict[str, Any]) -> str:
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def check(facts: Any) -> dict[str, Any]:
    """The facts, if every one of them is what it can be and the fingerprint is theirs."""
    if not isinstance(facts, dict):
        raise Damaged("it is not a JSON object")
    if facts.get("version") != _VERSION:
        raise Damaged(f"it has version {facts.get('version')!r} of the format, not {_VERSION}")
    for name in facts:
        if name not in _RULES:
            raise Damaged(f"it has a value '{name}', which is not known")
    for name, (rule, expected) in _RULES.items():
        if name not in facts and name not in _NOT_ALWAYS:
            raise Damaged(f"it has no value '{name}'")
        if name in facts and not rule(facts[name]):
            raise Damaged(f"'{name}' must be {expected}, not {_shown(facts[name])}")
    classes_from_json(facts["classes"])
    _check_together(facts)
    own = _fingerprint({name: value for name, value in facts.items() if name != "fingerprint"})
    if facts["fingerprint"] != own:
        raise Damaged("it was changed after it was written: its fingerprint is another")
    return facts


def _check_together(facts: dict[str, Any]) -> None:
    n_members, levels = facts["n_members"], facts["levels"]
    if facts["cascade"] is None and len(levels) != 1:
        raise Damaged("it has several levels but no cascade")
    for level in levels:
        # Numbers beyond every ensemble's are those of helpers, such as the network that finds magnitudes.
        numbers = {int(number) for number in level["members"]}
        if {number for number in numbers if number < 2**62} != set(range(n_members)):
            raise Damaged(f"'levels' must list the members 0 to {n_members - 1}")
    if facts["grown"] != any(level["history"]["grown"] for level in levels):
        raise Damaged("'grown' contradicts 'levels'")
    if facts["names"] and len(facts["names"]) != facts["shape"][0]:
        raise Damaged("'names' must have one name per feature")


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _is_count(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_real(value: Any, low: float, high: float) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value) and low <= value <= high


def _is_text_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_map(value: Any) -> bool:
    if value is None:
        return True
    return (
        isinstance(value, dict)
        and set(value) == {"name", "sizes", "words"}
        and isinstance(value["name"], str)
        and isinstance(value["words"], str)
        and (value["sizes"] is None or isinstance(value["sizes"], dict))
    )


def _is_shape(value: Any) -> bool:
    if not isinstance(value, list) or len(value) not in (1, 3):
        return False
    return all(_is_count(size, 1, 2**40) for size in value) and math.prod(value) <= 2**40


def _is_level(value: Any) -> bool:
    if not isinstance(value, dict) or set(value) != {"record", "history", "members"}:
        return False
    members, history = value["members"], value["history"]
    return (
        is_fingerprint(value["record"])
        and isinstance(members, dict)
        and all(number.isdecimal() and len(number) < 20 and str(int(number)) == number for number in members)
        and all(is_fingerprint(digest) for digest in members.values())
        and isinstance(history, dict)
        and set(history) == {"planned", "seen", "grown"}
        and isinstance(history["grown"], bool)
        and all(
            isinstance(history[name], list) and all(_is_count(n, 0, 2**63) for n in history[name])
            for name in ("planned", "seen")
        )
    )


def _is_digests(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= 2**20 and all(map(is_fingerprint, value))


_TINY = math.nextafter(0.0, 1.0)
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "version": (lambda value: True, ""),
    "n_members": (lambda value: _is_count(value, 1, 2**40), "an integer of at least 1"),
    "classes": (
        lambda value: isinstance(value, dict) and set(value) == {"type", "values"},
        "labels with their type",
    ),
    "classes_given": (lambda value: isinstance(value, bool), "true or false"),
    "features": (_is_map, "null or a feature map"),
    "alpha": (lambda value: _is_real(value, _TINY, 1 - 2**-53), "a number in the range (0, 1)"),
    "grown": (lambda value: isinstance(value, bool), "true or false"),
    "decided": (lambda value: value is None or _is_real(value, 0, 1), "null or a share"),
    "names": (_is_text_list, "a list of names"),
    "shape": (_is_shape, "the shape of a sample"),
    "seed": (lambda value: value is None or _is_count(value, 0, 2**64 - 1), "null or a seed"),
    "cascade": (lambda value: value is None or isinstance(value, dict), "null or a law"),
    "levels": (
        lambda value: isinstance(value, list) and 0 < len(value) < 1000 and all(map(_is_level, value)),
        "record, history and members of each level",
    ),
    "fingerprint": (is_fingerprint, "64 hexadecimal digits"),
    "trained_on": (_is_digests, "digests of what a partition's learners were trained on"),
    "form": (lambda value: value in ("skops", "joblib"), "'skops' or 'joblib'"),
}
_NOT_ALWAYS = ("form", "trained_on")
"""Facts of some ensembles only."""


def classes_to_json(classes: npt.NDArray[Any]) -> dict[str, Any]:
    """Labels with their type."""
    values = classes.tolist()
    if classes.dtype.kind == "f":
        # Long doubles are no JSON; labels are whole numbers.
        values = [float(value) for value in values]
    if classes.dtype.kind in "OUT":
        values = [str(value) for value in values]
    return {"type": classes.dtype.str, "values": values}


def classes_from_json(facts: dict[str, Any]) -> npt.NDArray[Any]:
    """Labels as they were: at least two, different, ascending."""
    kind, values = facts["type"], facts["values"]
    if not isinstance(kind, str) or not _TYPE.fullmatch(kind):
        raise Damaged(f"'classes' must have a type of labels, not {_shown(kind)}")
    if not isinstance(values, list) or not 2 <= len(values) <= 65535:
        raise Damaged("'classes' must be 2 to 65535 labels")
    made = _labels(kind, values)
    if made is None or made.tolist() != values:
        raise Damaged(f"'classes' must be labels of type '{kind}'")
    if not bool((made[:-1] < made[1:]).all()):
        raise Damaged("'classes' must be different labels, ascending")
    return made


def _labels(kind: str, values: list[Any]) -> npt.NDArray[Any] | None:
    letter = kind.lstrip("<>|=")[0]
    own = {"b": bool, "i": int, "u": int, "f": float}.get(letter, str)
    if any(type(value) is not own for value in values):
        return None
    if letter == "U" and int(kind.lstrip("<>|=")[1:]) * len(values) > _TEXT:
        return None
    dtype: Any = np.dtypes.StringDType() if letter == "T" else np.dtype(kind)
    try:
        return np.array(values, dtype=dtype)
    except (OverflowError, ValueError, TypeError):
        return None
