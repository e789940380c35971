"""One step of an optimiser on a stack's parameters: Adam in one operation, or what the user's factory makes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import torch

from certssb.learners.torch._tensors import Values

__all__ = ["NO_GRADIENT", "Adam", "Factory", "Loss", "Users", "gradients"]

Factory: TypeAlias = Callable[[Iterable[torch.Tensor]], Any]
"""Makes an optimiser, or an optimiser and what changes its rate after each epoch."""

Loss: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Of logits (batch, n_classes) and classes (batch): one value for each sample, or their mean."""

NO_GRADIENT = "its logits have no gradient (is the pass detached, under no_grad, or a constant?)"
"""What is said of a pass through which nothing can be learned."""

_BETAS = 0.9, 0.999
_EPSILON = 1e-8

_SWEEP = 64
"""Steps between two sweeps of the moments."""

_NEGLIGIBLE = 1e-30
"""Moments below this are zero after a sweep: far below the epsilon and its square."""


def gradients(loss: torch.Tensor, parameters: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The gradients of a loss, each laid out in memory as its parameter; of parameters without a part in it zeros."""
    if not loss.requires_grad:
        raise RuntimeError(NO_GRADIENT)
    found = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    # Convolutions of images with channels innermost lay theirs out like that.
    return [gradient if gradient.is_contiguous() else gradient.contiguous() for gradient in found]


class Adam:
    """Adam (Kingma & Ba 2015) with torch's semantics, in one operation for all parameters.

    The first moments of weights without a gradient (those of units that are never active) decay by a tenth a step and
    are subnormal after 800 steps, where processors calculate many times slower. A sweep every 64 steps sets them to zero
    before.
    """

    def __init__(self, values: Values, learning_rate: float) -> None:
        shapes = [tensor.shape for tensor in values.trained]
        self._rate = learning_rate
        self._parameters = [tensor.detach() for tensor in values.trained]
        self._moments = torch.zeros_like(values.flat), torch.zeros_like(values.flat)
        self._mean, self._square = (Values.views(moment, shapes) for moment in self._moments)
        self._step = 0
        self._now = torch.zeros((), dtype=torch.float32, device=values.flat.device)
        self._steps = [self._now] * len(shapes)

    def step(self, gradients: list[torch.Tensor]) -> None:
        """Change the parameters in place."""
        self._step += 1
        with torch.no_grad():
            self._now += 1
            torch._fused_adam_(
                self._parameters,
                gradients,
                self._mean,
                self._square,
                [],
                self._steps,
                lr=self._rate,
                beta1=_BETAS[0],
                beta2=_BETAS[1],
                weight_decay=0.0,
                eps=_EPSILON,
                amsgrad=False,
                maximize=False,
            )
            if self._step % _SWEEP == 0:
                for moment in self._moments:
                    moment.masked_fill_(moment.abs() < _NEGLIGIBLE, 0.0)

    def end_epoch(self) -> None:
        """Do nothing: the rate is constant."""


class Users:
    """An optimiser of the user's, over the parameters as they lie."""

    def __init__(self, parameters: list[torch.Tensor], factory: Factory) -> None:
        made = factory(list(parameters))
        self._optimiser, *self._schedules = made if isinstance(made, tuple) else (made,)
        self._parameters = parameters

    def step(self, gradients: list[torch.Tensor]) -> None:
        """Change the parameters in place."""
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = gradient
        self._optimiser.step()

    def end_epoch(self) -> None:
        """Let schedules take a step."""
        for schedule in self._schedules:
            schedule.step()
