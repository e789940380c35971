"""Fresh estimators: one for each member, with its own seeds, from a prototype or a callable."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from typing import Any

import sklearn
from sklearn.base import clone

from certssb._checks import parameter_error
from certssb.exceptions import ParameterError

__all__ = ["Maker", "check_kind", "is_estimator", "params_of", "refusal", "seed_for"]

EXPECTED = "the name of a built-in, a classifier with fit and predict, or a callable without arguments that makes one"
_OTHERS = ("regressor", "clusterer", "outlier_detector", "density_estimator")
"""What scikit-learn's tags say of estimators that are no classifiers."""


def is_estimator(model: object) -> bool:
    """Whether `model` is an object with fit and predict, not a class or a callable that makes one."""
    return not isinstance(model, type) and all(_has(model, name) for name in ("fit", "predict"))


def _has(model: Any, name: str) -> bool:
    # Some have a predict only once they are fitted.
    return callable(getattr(model, name, None)) or callable(getattr(type(model), name, None))


def refusal(expected: str, got: object) -> ParameterError:
    """A refusal of the 'model' parameter."""
    return parameter_error("model", expected, got)


def params_of(estimator: Any) -> dict[str, Any]:
    """All parameters, nested ones as ``step__name``; none of an object that does not tell them."""
    return dict(estimator.get_params(deep=True)) if hasattr(estimator, "get_params") else {}


def seed_for(seed: int, name: str) -> int:
    """The seed of one parameter of one member, as scikit-learn takes them: 31 bits."""
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return int.from_bytes(digest[:8], "little") % (2**31 - 1)


class Maker:
    """Makes a fresh estimator whenever it is asked.

    Parameters
    ----------
    model : object or callable
        A prototype, which is cloned and never fitted; or a callable without arguments, called for each member.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        # Whatever the user's session was set to is what members are made, trained and asked with, in every thread.
        self.config = sklearn.get_config()
        self._last: Any = None

    def fresh(self, seed: int) -> Any:
        """An estimator that nobody else has, not fitted, its random_state from `seed` and its own threads 1."""
        made = self._made()
        settings: dict[str, Any] = {}
        params = params_of(made)
        for name, value in sorted(params.items()):
            owner, _, own = name.rpartition("__")
            if own == "random_state":
                settings[name] = seed_for(seed, name)
            elif own == "n_jobs" and value is None and not _is_sklearns(params.get(owner, made)):
                # For scikit-learn None is 1; others take all cores for each of the members that are trained side by side.
                settings[name] = 1
        if settings:
            made.set_params(**settings)
        return made

    def _made(self) -> Any:
        if not is_estimator(self.model):
            made = self.model()
            check_kind(made)
            if made is self._last:
                got = f"a callable that returns the same {type(made).__name__} every time: build it inside"
                raise refusal("a callable that makes another estimator every time", got)
            self._last = made
            if _looks_fitted(made):
                got = f"one that returns a fitted {type(made).__name__}"
                raise refusal("a callable that makes estimators that are not fitted", got)
            return made
        return _copied(self.model)


def _is_sklearns(part: Any) -> bool:
    return type(part).__module__.partition(".")[0] == "sklearn"


def _copied(prototype: Any) -> Any:
    if hasattr(prototype, "get_params"):
        try:
            return clone(prototype)
        except Exception as error:
            name = type(prototype).__name__
            raise refusal(
                "an estimator that sklearn.base.clone can clone, or a callable that makes one",
                f"{name}, whose clone fails ({_first_line(error)})",
            ) from error
    try:
        return copy.deepcopy(prototype)
    except Exception as error:
        got = f"{type(prototype).__name__}, whose copy fails ({_first_line(error)})"
        raise refusal("an object that can be copied, or a callable that makes one", got) from error


def check_kind(model: Any) -> None:
    """Refuse what cannot be a member: no fit or predict, no classifier, something fitted that would be forgotten."""
    if not is_estimator(model):
        missing = next((n for n in ("fit", "predict") if not _has(model, n)), "fit")
        raise refusal(EXPECTED, f"{_described(model)}, which has no {missing}")
    kind = _kind(model)
    if kind in _OTHERS:
        raise refusal("a classifier", f"{type(model).__name__}, a {kind.replace('_', ' ')}")
    for name, value in params_of(model).items():
        if name.rpartition("__")[2] == "memory" and value is not None:
            got = f"{type(model).__name__} with {name}: what one member leaves on disk another would read"
            raise refusal("an estimator without a cache (memory=None)", got)


def check_prototype(model: Any) -> None:
    """Refuse a fitted prototype whose fit the members would have to forget."""
    if not _looks_fitted(model):
        return
    warm = [n for n, v in params_of(model).items() if n.rpartition("__")[2] == "warm_start" and v]
    if not hasattr(model, "get_params") or warm:
        why = f" and {warm[0]}=True" if warm else ", of which no fresh clone can be made"
        got = f"a fitted {type(model).__name__}{why}: members begin anew, on their own noised sets alone"
        raise refusal("an estimator that is not fitted", got)


def parts(estimator: Any) -> Iterator[Any]:
    """The estimator and all objects among its parameters that have parameters of their own."""
    yield estimator
    for value in params_of(estimator).values():
        if hasattr(value, "get_params") and not isinstance(value, type):
            yield value


def _kind(model: Any) -> str:
    try:
        tags = sklearn.utils.get_tags(model)
    except Exception:  # noqa: BLE001 - objects of others need no tags
        return str(getattr(model, "_estimator_type", "") or "")
    return str(tags.estimator_type or "")


def _looks_fitted(model: Any) -> bool:
    own = getattr(model, "__sklearn_is_fitted__", None)
    if callable(own):
        try:
            return bool(own())
        except Exception:  # noqa: BLE001 - some can only say so once they are
            return False
    return any(name.endswith("_") and not name.startswith("_") for name in getattr(model, "__dict__", {}))


def _described(model: Any) -> str:
    text = repr(model)
    return text if len(text) <= 80 else f"a {type(model).__name__}"


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"[:300]
