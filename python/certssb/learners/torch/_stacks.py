"""Whether members of the user's module can be computed several at a time: a stack is tried beside its members alone.

A stack is one functional call of the module, mapped over the members' tensors by ``torch.func.vmap``. Not every module
can be mapped (control flow that looks at data, operations without a rule), and a member must be the same in a stack as
alone: its logits, gradients, buffers, and what it draws in training.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import torch

from certssb.learners.torch._gpu import convolutions
from certssb.learners.torch._optimisers import gradients
from certssb.learners.torch._randomness import seeded
from certssb.learners.torch._training import mean_losses

if TYPE_CHECKING:
    from certssb.learners.torch.blueprint import Blueprint

__all__ = ["quiet", "why_not"]

_STACK = 3
_BATCH = 5
"""Another number than that of the members, so that the two cannot be taken for each other."""

_SEEDS = range(1, _STACK + 1)

_TOLERANCE = 1e-2, 1e-4
"""Of a tensor's norm, and of all tensors' norm: gradients of batch norm over few values are rounded that much, and
those that are zero but for rounding have no norm of their own. What is wrong is wrong by more."""

_Pass = tuple[list[torch.Tensor], list[torch.Tensor]]
"""Logits and gradients of a pass, and buffers after it; the tensors of a stack have one more dimension in front."""


_LOCK = threading.Lock()
_QUIET = [0]


def _after_fork() -> None:
    """Begin anew in a forked child, which has none of its parent's threads and so none of their stacks."""
    global _LOCK
    _LOCK, _QUIET[0] = threading.Lock(), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def quiet(change: int) -> None:
    """Count stacks: while there are any, vmap does not warn of operations that it computes member by member.

    It has one switch for all threads, and a warning in a thread of the core may be an error.
    """
    with _LOCK:
        _QUIET[0] += change
        torch._C._functorch._set_vmap_fallback_warning_enabled(_QUIET[0] == 0)  # type: ignore[attr-defined]


def why_not(blueprint: Blueprint, shape: tuple[int, ...], n_classes: int, device: str) -> str | None:
    """The reason why members have to be computed one by one; None if a stack is what its members are alone."""
    if not blueprint.draws <= {"torch"}:
        return f"it draws from {' and '.join(sorted(blueprint.draws - {'torch'}))}, one value for all members"
    generator = torch.Generator().manual_seed(4)
    x = torch.rand((_STACK, _BATCH, *shape), generator=generator).to(device)
    y = (torch.arange(_BATCH) % n_classes).to(device)
    values = torch.stack([torch.from_numpy(blueprint.initial(seed)) for seed in _SEEDS]).to(device)
    try:
        # Rounded products would hide what is wrong.
        with seeded(0), torch.enable_grad(), convolutions(tf32=False):
            together = _passes(blueprint, values, x, y, list(_SEEDS))
            alone = [_passes(blueprint, values[m : m + 1], x[m], y, [seed]) for m, seed in enumerate(_SEEDS)]
    except Exception as error:  # noqa: BLE001 - a module may fail under vmap in any way
        text = (str(error).splitlines() or [""])[0].partition(". ")[0]
        return f"{type(error).__name__}: {text[:200]}"
    names = ("logits and gradients", "logits and gradients after a step", "logits in evaluation mode")
    for number, (name, (computed, buffers)) in enumerate(zip(names, together, strict=True)):
        if not _same(computed, [passes[number][0] for passes in alone]):
            return f"{name} differ in a stack"
        if not _same(buffers, [passes[number][1] for passes in alone]):
            return "buffers differ in a stack"
    return None


def _passes(
    blueprint: Blueprint, values: torch.Tensor, x: torch.Tensor, y: torch.Tensor, seeds: list[int]
) -> list[_Pass]:
    """Two passes in training mode and one in evaluation mode, of members with the given values."""
    stack = len(seeds)
    lead = [stack] if stack > 1 else []
    sizes = [torch.Size(shape).numel() for _, shape, _ in blueprint.specs]
    parts = [
        part.reshape([*lead, *shape]).clone().requires_grad_(trained)
        for part, (_, shape, trained) in zip(torch.split(values, sizes, 1), blueprint.specs, strict=True)
    ]
    trained = [part for part in parts if part.requires_grad]
    running = [part for part in parts if not part.requires_grad]
    instance = blueprint.instance(seeds, stack)
    try:
        instance.bind(trained, running)
        x = instance.images(instance.lay_out(x))
        passes: list[_Pass] = []
        for _ in range(2):
            logits = instance(x, True)
            instance.settle()
            losses = mean_losses(blueprint.recipe.loss)(logits, y.repeat(stack))
            passes.append(
                ([logits.detach(), *gradients(losses.sum(), trained)], [part.clone() for part in running])
            )
        with torch.no_grad():
            passes.append(([instance(x, False)], []))
        return passes
    finally:
        instance.close()


def _same(stack: list[torch.Tensor], alone: list[list[torch.Tensor]]) -> bool:
    """Whether a stack's tensors are those of its members, but for rounding."""
    own, of_all = _TOLERANCE
    for member, tensors in enumerate(alone):
        total = sum(float(tensor.square().sum()) for tensor in tensors) ** 0.5
        for a, b in zip(stack, tensors, strict=True):
            # Written so that NaN is a difference.
            if not float((a[member] - b).norm()) <= own * float(b.norm()) + of_all * total:
                return False
    return True
