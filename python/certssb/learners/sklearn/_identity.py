"""What makes two estimators one model: class, parameters, and versions of the libraries that they come from."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from types import CodeType
from typing import Any

import numpy as np
import numpy.typing as npt

from certssb.learners.sklearn._making import params_of, parts

__all__ = ["described", "is_exact", "numbers"]

_NOT_OF_IT = ("random_state", "n_jobs", "verbose", "thread_count", "nthread", "verbosity")
"""Parameters that are set for each member, or say how fast and how loud."""

_VERSIONED = ("catboost", "imblearn", "lightgbm", "sklearn", "xgboost")


def described(estimator: Any) -> str:
    """The class, a digest of its parameters, and the versions of the libraries."""
    shown: dict[str, Any] = {"": _class(estimator)}
    own = params_of(estimator) or dict(getattr(estimator, "__dict__", {}))
    for name, value in sorted(own.items()):
        if name.rpartition("__")[2] not in _NOT_OF_IT:
            shown[name] = _constant(value)
    digest = hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()
    text = f"{type(estimator).__name__} {digest[:16]}"
    versions = [f"{name} {_version(name)}" for name in _libraries(estimator) if _version(name)]
    return f"{text} ({', '.join(versions)})" if versions else text


def is_exact(estimator: Any) -> bool:
    """Whether the name says all: every part comes from a library whose version is in it, and no parameter is code."""
    if not hasattr(estimator, "get_params"):
        return False
    known = all(_library(part) in _VERSIONED for part in parts(estimator))
    return known and all(_is_plain(value) for value in params_of(estimator).values())


def numbers(answers: npt.NDArray[np.float32]) -> list[list[float]]:
    """A few numbers for the probabilities of made-up samples: their norm, and how far they go in fixed directions."""
    values = np.exp(answers.astype(np.float64)).ravel()
    places = np.arange(1, len(values) + 1)
    directions = [np.cos(places * (0.7 + 0.3 * d) + d) @ values * 0.5 for d in range(8)]
    return [[float(np.linalg.norm(values)), *map(float, directions)]]


def _libraries(estimator: Any) -> list[str]:
    return sorted({_library(part) for part in parts(estimator)} & set(_VERSIONED))


def _library(part: Any) -> str:
    return type(part).__module__.partition(".")[0]


def _version(library: str) -> str:
    return str(getattr(sys.modules.get(library), "__version__", ""))


def _class(value: Any) -> str:
    kind = value if isinstance(value, type) else type(value)
    home = kind.__module__.partition(".")[0]
    # Where a user's source lies says nothing: a script, a cell, a worker's __mp_main__.
    return f"{home}.{kind.__qualname__}" if home in _VERSIONED or home == "numpy" else kind.__qualname__


def _is_plain(value: Any) -> bool:
    if value is None or isinstance(value, (bool, int, float, str, bytes, np.generic)):
        return True
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "biufUS"
    if isinstance(value, dict):
        return all(map(_is_plain, value)) and all(map(_is_plain, value.values()))
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(map(_is_plain, value))
    return hasattr(value, "get_params") and not isinstance(value, type)


def _constant(value: Any) -> Any:
    """A parameter as JSON; of code its name, for what it does shows in what the estimator does."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, float, np.generic)):
        return repr(value.item() if isinstance(value, np.generic) else value)
    if isinstance(value, np.ndarray):
        # An array of objects is a list of pointers.
        content = repr(value.tolist()) if value.dtype == object else value.tobytes().hex()
        return [str(value.dtype), list(value.shape), hashlib.sha256(content.encode()).hexdigest()]
    if isinstance(value, dict):
        return sorted([repr(_constant(key)), _constant(own)] for key, own in value.items())
    if isinstance(value, (set, frozenset)):
        return sorted(repr(_constant(own)) for own in value)
    if isinstance(value, (list, tuple)):
        return [_constant(own) for own in value]
    if hasattr(value, "get_params") and not isinstance(value, type):
        # Nested parameters stand beside it under their own names; of objects in lists they do not.
        own = {n: v for n, v in params_of(value).items() if n.rpartition("__")[2] not in _NOT_OF_IT}
        return [_class(value), sorted([name, _constant(v)] for name, v in own.items())]
    if isinstance(value, (type, CodeType)) or callable(value):
        return getattr(value, "__qualname__", type(value).__qualname__)
    text = re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value)).replace("__mp_main__", "__main__")
    return [_class(value), text]
