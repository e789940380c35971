"""One member from its noised set: the function that threads and worker processes call."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn import config_context

from certssb.exceptions import ParameterError
from certssb.learners.sklearn._globals import OneThread, in_turn, seeded
from certssb.learners.sklearn._making import EXPECTED, Maker, refusal
from certssb.learners.sklearn._member import Floats, Member, NoAnswer

__all__ = ["ONE_THREAD", "Recipe", "asked", "attempted", "fitted"]

ONE_THREAD = OneThread()

_ROWS_OF_LOSS = 64


@dataclass(frozen=True)
class Recipe:
    """All that decides what an estimator becomes, beside its seeds and its noised set.

    Parameters
    ----------
    maker : Maker
        Makes a fresh estimator.
    n_classes : int
        Number of classes.
    relabelled : bool
        Whether it wants classes numbered without gaps.
    draws : bool
        Whether it draws from Python's or NumPy's global generator.
    warns : bool
        Whether it exchanges the filters of warnings, which all threads share.
    """

    maker: Maker
    n_classes: int
    relabelled: bool = False
    draws: bool = False
    warns: bool = False

    def but(self, **changes: Any) -> Recipe:
        """The recipe with other settings."""
        return replace(self, **changes)


def fitted(
    recipe: Recipe, seed: int, model_seed: int, X: Floats, y: npt.NDArray[np.int64]
) -> tuple[Member, float]:
    """A member of a noised set of shape (n, ...), and its mean loss there.

    Changed copies of the set follow it, as part of `X` and `y`.

    A set of a single class makes a member that says that class: most estimators refuse to learn one.
    """
    seen = np.unique(y)
    if len(seen) == 1:
        return Member(None, seen, False, recipe.n_classes), 0.0
    samples = X.reshape(len(X), -1)
    labels = np.searchsorted(seen, y) if recipe.relabelled else y
    with in_turn(recipe.warns), ONE_THREAD(), config_context(**recipe.maker.config):
        if recipe.draws:
            with seeded(model_seed):
                estimator = _fit(recipe, seed, samples, labels)
        else:
            estimator = _fit(recipe, seed, samples, labels)
        member = Member(estimator, seen, recipe.relabelled, recipe.n_classes)
        return member, _loss(member, X, y)


def attempted(
    recipe: Recipe, seed: int, model_seed: int, X: Floats, y: npt.NDArray[np.int64]
) -> tuple[Member, float, str | None]:
    """What :func:`fitted` gives and no word or, where the estimator refuses its samples, no loss (NaN) and its reason.

    Nobody shall stop a fit by what they put into it: one sample of 3e38, one of a class that a cross-validation wants
    three of, or one that is missing among as many neighbours. What an estimator refuses is a function of the noised set,
    and the core lets a member without a loss vote for the lowest class. An estimator that refuses more than half of the
    sets is an error.
    """
    try:
        return *fitted(recipe, seed, model_seed, X, y), None
    except (NoAnswer, ParameterError):
        raise
    except (ArithmeticError, ValueError) as error:
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0][:300]}"
        return Member(None, np.unique(y)[:1], False, recipe.n_classes), float("nan"), reason


def asked(recipe: Recipe, member: Member, X: Floats) -> Floats:
    """What a member says of samples of shape (m, ...)."""
    with in_turn(recipe.warns), ONE_THREAD(), config_context(**recipe.maker.config):
        return member.ask(X.reshape(len(X), -1))


def _fit(recipe: Recipe, seed: int, X: Floats, y: npt.NDArray[np.int64]) -> Any:
    estimator = recipe.maker.fresh(seed)
    estimator.fit(X, y)
    if not hasattr(estimator, "predict"):
        raise refusal(EXPECTED, f"a {type(estimator).__name__}, which has no predict")
    return estimator


def _loss(member: Member, X: Floats, y: npt.NDArray[np.int64]) -> float:
    """Mean log loss, or share of errors of a member without probabilities, on the first samples of its set."""
    rows = X[:_ROWS_OF_LOSS].reshape(min(len(X), _ROWS_OF_LOSS), -1)
    logs = member.ask(rows)
    own = -logs[np.arange(len(rows)), y[: len(rows)]].astype(np.float64)
    # What it cannot say of its own samples is a matter of these, not of its training.
    own = own[np.isfinite(own)]
    return float(np.where(own > 1e29, 1.0, own).mean()) if len(own) else 0.0
