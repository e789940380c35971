"""The user's model as a member: torch is imported when a model asks for it, not before."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from certssb._extras import needed

if TYPE_CHECKING:
    from certssb.learners.torch.blueprint import Blueprint

__all__ = ["own_module"]


def own_module(
    model: Callable[[], Any],
    shape: tuple[int, ...],
    n_classes: int,
    optimizer: Callable[[Any], Any] | None = None,
    loss: Callable[[Any, Any], Any] | None = None,
) -> Blueprint:
    """The user's callable, looked at, as the core wants it: a factory of torch modules, and how these are trained.

    Raises
    ------
    ImportError
        If torch is not there.
    ParameterError, ShapeError
        If what it makes cannot be a member.
    """
    needed("torch", "A torch module as a member", "torch")
    from certssb.learners.torch._recipe import Recipe
    from certssb.learners.torch.blueprint import Blueprint

    return Blueprint(model, shape, n_classes, Recipe(optimizer, loss))
