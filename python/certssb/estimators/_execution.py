"""How members were trained, in words: several at a time or one by one, side by side on what, and why not otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from certssb.learners import _devices, _extension

if TYPE_CHECKING:
    from certssb.learners._choice import Learner

__all__ = ["Execution", "describe"]

Execution: TypeAlias = tuple[int, int, int, str | None]
"""Members of a stack at first and at the end, stacks side by side, and why stacks were given up, if they were."""


def describe(execution: Execution | None, wish: str, blueprint: Learner | None) -> str:
    """One line about a training run on the device called `wish`; `blueprint` is that of the user's model, if members are such."""
    if execution is None:
        return "nothing was left to train"
    device = _devices.first(wish, blueprint)
    stack, smallest, side_by_side, failure = execution
    if stack == 1:
        how = "one by one"
    else:
        mapped = "" if blueprint is None else " by torch.func.vmap"
        how = f"stacks of {stack}{mapped}"
    if device == "cpu":
        kind = getattr(blueprint, "worker", "threads") if side_by_side > 1 else "thread"
        where = f"{side_by_side} {kind} of the CPU"
    elif stack == 1:
        where = f"{side_by_side} CUDA stream{'s' if side_by_side > 1 else ''}"
    else:
        where = f"{side_by_side} GPU{'s' if side_by_side > 1 else ''}"
    text = f"{how}, {where}"
    if failure is not None:
        return f"{text}; then one by one, since a stack failed: {failure}"
    if smallest < stack:
        return f"{text}; then stacks of {smallest}, because memory ran out"
    if blueprint is not None and blueprint.why_not is not None:
        return f"{text}; not in stacks, since {blueprint.why_not}"
    if blueprint is None and wish == "auto" and device == "cpu" and (why := _extension.missed()) is not None:
        return f"{text}; no GPU: {why}"
    return text
