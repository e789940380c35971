"""Which learner a model of the user's wants: a torch module's, or that of estimators with fit and predict."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from certssb._checks import parameter_error
from certssb.laws import Law, Partition, Subsample
from certssb.learners._own import own_module

if TYPE_CHECKING:
    from typing_extensions import TypeIs

    from certssb.learners.sklearn._learner import EstimatorLearner
    from certssb.learners.torch.blueprint import Blueprint

__all__ = ["Learner", "is_object_learner", "learner_of", "set_size"]

Learner: TypeAlias = "Blueprint | EstimatorLearner"


def set_size(law: Law, n_train: int, n_trusted: int = 0) -> int:
    """Samples of a member's set, trusted ones included, for trials; where sets differ, a number that says nothing of how many
    there are.

    What a trial finds out is part of how every member is trained. Where samples may be inserted and members see a share of
    them, it must not hang on their number: learners of 11 samples were told of classes in another way than those of 12.
    """
    if isinstance(law, Partition) or (isinstance(law, Subsample) and law.size is None):
        return _ANY_SIZE
    drawn = n_train
    if isinstance(law, Subsample) and law.size is not None:
        drawn = min(law.size, n_train)
    return max(1, drawn + n_trusted)


_ANY_SIZE = 4096
"""Made-up samples that are enough for any estimator."""


def is_object_learner(learner: Learner | None) -> TypeIs[EstimatorLearner]:
    """Whether members are objects, which no file holds by itself, and no numbers."""
    return learner is not None and learner.specs is None


def learner_of(
    model: Any,
    shape: Sequence[int],
    n_classes: int,
    n_samples: int,
    n_jobs: int | None,
    form: Any,
    recipe: tuple[Any, Any] = (None, None),
) -> Learner:
    """The learner of an estimator, or of whatever a callable makes.

    `recipe` is the optimiser and the loss of a module's members.

    Raises
    ------
    ParameterError
        If the model is nothing of the kind, or cannot be a member.
    ImportError
        If it is a torch module and torch is not there.
    """
    from certssb.learners.sklearn._making import EXPECTED, is_estimator, refusal

    if is_estimator(model) or _makes_estimators(model):
        for name, given in zip(("optimizer", "loss"), recipe, strict=True):
            if given is not None:
                raise parameter_error(name, "None: estimators train themselves", repr(given))
        from certssb.learners.sklearn._learner import EstimatorLearner

        return EstimatorLearner(model, shape, n_classes, n_samples, n_jobs, form=form)
    if not callable(model):
        raise refusal(EXPECTED, repr(model))
    return own_module(model, tuple(shape), n_classes, *recipe)


def _makes_estimators(model: Any) -> bool:
    """Whether a callable makes something to fit; a class is not called for that."""
    if not callable(model):
        return False
    if isinstance(model, type):
        return hasattr(model, "fit") and not _is_module(model)
    from certssb.learners.sklearn._globals import seeded

    try:
        # What it draws from the global generators is put back.
        with seeded(0), _torch_put_back():
            made = model()
    except Exception:  # noqa: BLE001 - whoever builds members of it says what is wrong
        return False
    return hasattr(made, "fit") and not _is_module(type(made))


def _torch_put_back() -> contextlib.AbstractContextManager[None]:
    torch = sys.modules.get("torch")
    return contextlib.nullcontext() if torch is None else torch.random.fork_rng(devices=[])


def _is_module(kind: type) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and issubclass(kind, torch.nn.Module)
