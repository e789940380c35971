"""What a module consists of: tensors that travel with a member, and everything else that it keeps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn

from certssb.learners.torch._inspection import collect

Spec: TypeAlias = tuple[str, list[int], bool]
"""Name, shape, and whether it is trained."""

Places: TypeAlias = list[tuple[dict[str, Any], str]]
"""Where one tensor stands: the dictionaries of sub-modules that hold it (several if it is tied), and the keys."""

_OWN = {"_parameters", "_buffers", "_modules", "training", "_non_persistent_buffers_set"}
_EXACT = 2**24
"""Integers up to here are exact in float32, in which members keep all their values."""


def label(name: str, module: nn.Module) -> str:
    """How messages call a sub-module."""
    kind = type(module).__name__
    return f"the sub-module '{name}' ({kind})" if name else f"the module itself ({kind})"


def owner(module: nn.Module, name: str) -> str:
    """How messages call the sub-module that holds the parameter or buffer `name`."""
    path = name.rpartition(".")[0]
    return label(path, module.get_submodule(path))


def tensors(module: nn.Module) -> Iterator[tuple[str, torch.Tensor, bool]]:
    """Name, tensor and whether it is trained, for every parameter and buffer once, trained ones first."""
    parameters = list(module.named_parameters())
    yield from ((name, p, True) for name, p in parameters if p.requires_grad)
    yield from ((name, p, False) for name, p in parameters if not p.requires_grad)
    yield from ((name, b, False) for name, b in module.named_buffers())


def specs(module: nn.Module) -> list[Spec]:
    """Parameters and buffers as the core lists them."""
    return [(name, list(tensor.shape), trained) for name, tensor, trained in tensors(module)]


def values(module: nn.Module) -> np.ndarray[Any, np.dtype[np.float32]]:
    """All values of a module, in the order of :func:`tensors`, float32."""
    parts = [tensor.detach().cpu().to(torch.float32).reshape(-1) for _, tensor, _ in tensors(module)]
    flat: np.ndarray[Any, np.dtype[np.float32]] = torch.cat(parts).numpy()
    return flat


def set_values(module: nn.Module, flat: torch.Tensor) -> None:
    """Write values back that :func:`values` gave."""
    start = 0
    with torch.no_grad():
        for _, tensor, _ in tensors(module):
            tensor.copy_(flat[start : start + tensor.numel()].view(tensor.shape))
            start += tensor.numel()


def places(module: nn.Module) -> list[Places]:
    """Where each tensor of :func:`tensors` stands, in its order."""
    found: dict[int, Places] = {}
    for part in module.modules():
        for table in (part._parameters, part._buffers):
            for key, tensor in table.items():
                if tensor is not None:
                    found.setdefault(id(tensor), []).append((table, key))
    return [found[id(tensor)] for _, tensor, _ in tensors(module)]


def let_go(module: nn.Module) -> None:
    """Take all tensors from a module that is done with: in a cycle it would hold them until the collector comes."""
    for part in module.modules():
        for table in (part._parameters, part._buffers):
            for key in table:
                table[key] = None


def is_exact(tensor: torch.Tensor) -> bool:
    """Whether float32 holds the tensor's values as they are."""
    if tensor.dtype in (torch.float32, torch.bool) or tensor.numel() == 0:
        return True
    whole = not tensor.is_floating_point() and not tensor.is_complex()
    return whole and int(tensor.abs().max()) <= _EXACT


def plain(module: nn.Module) -> dict[str, Any]:
    """Numbers, strings, arrays and tensors that sub-modules keep as ordinary attributes, by path."""
    found: dict[str, Any] = {}
    own = {id(tensor) for _, tensor, _ in tensors(module)}
    for name, part in module.named_modules():
        hooks = {key for key in vars(part) if key.startswith("_") and key.endswith("_hooks")}
        for key, value in vars(part).items():
            if (
                key not in _OWN
                and key not in hooks
                and not key.endswith(("_hooks_with_kwargs", "_hooks_always_called"))
            ):
                collect(f"{name}.{key}" if name else key, value, found, known=own, leaves=True)
    return found


def differences(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """Paths whose values differ."""
    return [
        path for path in [*a, *(path for path in b if path not in a)] if not _same(a.get(path), b.get(path))
    ]


def _same(a: Any, b: Any) -> bool:
    def is_nan(value: Any) -> bool:
        return isinstance(value, float) and math.isnan(value)

    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a.shape == b.shape and a.dtype == b.dtype and torch.equal(a.nan_to_num(), b.nan_to_num())
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.tobytes() == b.tobytes()
    return type(a) is type(b) and bool(a == b or (is_nan(a) and is_nan(b)))
