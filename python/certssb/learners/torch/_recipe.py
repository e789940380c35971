"""What the user says of training beside the module: the loss, and what makes the optimiser. Looked at before training."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from certssb._checks import parameter_error
from certssb.exceptions import CertssbError
from certssb.learners.torch._factory_checks import text
from certssb.learners.torch._optimisers import Factory, Loss

__all__ = ["DEFAULT", "Recipe"]

_OPTIMIZER = (
    "None, or a callable that takes a list of parameters and returns a fresh torch.optim.Optimizer for them, or a tuple "
    "of one and of schedulers that take a step after each epoch"
)
_LOSS = (
    "None, or a callable that takes logits (batch, n_classes) and classes (batch,) and returns one float32 value for each "
    "sample or their mean, with a gradient"
)
_EPOCHS = 1024
"""Steps of schedules that are looked at: members of two schedules that part later than in any training must not be taken for each
other."""

_ELEMENTWISE = {
    getattr(torch.optim, name)
    for name in ("SGD", "Adam", "AdamW", "NAdam", "RAdam", "Adamax", "Adagrad", "Adadelta", "RMSprop", "ASGD")
}
"""Optimisers of torch's that treat every value by itself: in a stack, members do not meet in them."""


@dataclass(frozen=True)
class Recipe:
    """How members of a module are trained, where the user wants it otherwise.

    Attributes
    ----------
    optimizer : callable or None
        Takes a list of parameters; returns an optimiser, or a tuple of it and of schedulers. None for Adam with the
        estimator's learning rate.
    loss : callable or None
        Of logits and classes. None for cross-entropy.
    """

    optimizer: Factory | None = None
    loss: Loss | None = None

    def check(self, n_classes: int) -> None:
        """Refuse what cannot work, by the parameter's name."""
        if self.loss is not None:
            _check_loss(self.loss, n_classes)
        if self.optimizer is not None:
            _check_optimizer(self.optimizer)

    def digest(self) -> str:
        """What tells recipes apart that do the same at first; empty for the default."""
        if self.optimizer is None:
            return repr(self.loss) if isinstance(self.loss, nn.Module) else ""
        optimiser, *schedules = _made(self.optimizer, [torch.zeros(2, 2, requires_grad=True)])
        told = [repr(optimiser), *(type(schedule).__name__ for schedule in schedules)]
        for epoch in range(_EPOCHS if schedules else 0):
            try:
                optimiser.step()
                for schedule in schedules:
                    schedule.step()
            except Exception:  # noqa: BLE001 - some schedules end; training says so where it is longer
                told.append(f"ends at {epoch}")
                break
            told += [f"{group['lr']:.6g}" for group in optimiser.param_groups]
        if isinstance(self.loss, nn.Module):
            told.append(repr(self.loss))
        return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]

    def why_not_in_stacks(self) -> str | None:
        """Why members of a stack might meet in the optimiser; None if they cannot."""
        if self.optimizer is None:
            return None
        optimiser, *_ = _made(self.optimizer, [torch.zeros(2, 2, requires_grad=True)])
        hooks = optimiser._optimizer_step_pre_hooks or optimiser._optimizer_step_post_hooks
        if type(optimiser) not in _ELEMENTWISE or hooks:
            return (
                f"its optimiser {type(optimiser).__name__} may treat the values of several members together"
            )
        return None


DEFAULT = Recipe()


def _made(factory: Factory, parameters: Sequence[torch.Tensor]) -> tuple[Any, ...]:
    made = factory(list(parameters))
    return made if isinstance(made, tuple) else (made,)


def _check_loss(loss: Any, n_classes: int) -> None:
    if not callable(loss):
        raise parameter_error("loss", _LOSS, repr(loss))
    if isinstance(loss, nn.Module) and any(True for _ in loss.parameters()):
        raise parameter_error("loss", f"{_LOSS}, and keeps no parameters", type(loss).__name__)
    logits = torch.linspace(-1.0, 1.0, 4 * n_classes).view(4, n_classes).requires_grad_()
    try:
        value = loss(logits, torch.arange(4) % n_classes)
    except CertssbError:
        raise
    except Exception as error:
        raise parameter_error("loss", _LOSS, f"one that raises {text(error)}") from error
    if not isinstance(value, torch.Tensor):
        raise parameter_error("loss", _LOSS, f"one that returns {type(value).__name__}")
    if tuple(value.shape) not in ((), (4,)) or value.dtype != torch.float32:
        kind = str(value.dtype).removeprefix("torch.")
        got = f"one that returns {kind} of shape {tuple(value.shape)} for 4 samples"
        raise parameter_error("loss", _LOSS, got)
    if not value.requires_grad:
        raise parameter_error("loss", _LOSS, "one whose values have no gradient")
    if not bool(value.isfinite().all()):
        raise parameter_error("loss", _LOSS, "one that is not finite for logits from -1 to 1")


def _check_optimizer(factory: Any) -> None:
    if isinstance(factory, (torch.optim.Optimizer, str)) or not callable(factory):
        got = repr(factory) if not isinstance(factory, torch.optim.Optimizer) else "an optimiser"
        raise parameter_error("optimizer", _OPTIMIZER, got)
    found = []
    for _ in range(2):
        parameters = [torch.ones(3, 4, requires_grad=True), torch.ones(3, requires_grad=True)]
        try:
            made = _made(factory, parameters)
        except CertssbError:
            raise
        except Exception as error:
            raise parameter_error("optimizer", _OPTIMIZER, f"one that raises {text(error)}") from error
        for part in made:
            if not callable(getattr(part, "step", None)):
                raise parameter_error("optimizer", _OPTIMIZER, f"one that returns {type(part).__name__}")
        found.append((made, parameters))
    (first, _), (second, _) = found
    if any(a is b for a in first for b in second):
        raise parameter_error("optimizer", _OPTIMIZER, "one that returns the same object twice")
    for made, parameters in found:
        for parameter in parameters:
            parameter.grad = torch.ones_like(parameter)
        try:
            # A schedule may begin with a rate of 0.
            for part in made * 3:
                part.step()
        except Exception as error:
            raise parameter_error("optimizer", _OPTIMIZER, f"one whose step raises {text(error)}") from error
        if all(bool((parameter == 1.0).all()) for parameter in parameters):
            raise parameter_error("optimizer", _OPTIMIZER, "one that leaves the parameters as they are")
