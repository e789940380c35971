"""What makes two modules one model: structure and behaviour, wherever the source lies.

A class that was defined in a script, in a notebook's cell or in a worker's ``__mp_main__`` is the same model if it is built
the same and does the same. The structure is exact and becomes a digest; the behaviour is a list of numbers, which another
processor rounds otherwise, and is compared with a tolerance (`src/model/behaviour.rs`).
"""

from __future__ import annotations

import hashlib
import json
import numbers
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from certssb.learners.torch import _state as state
from certssb.learners.torch._inspection import Code

__all__ = ["behaviour", "structure"]

_DIRECTIONS = 8
_LOOKED_AT = 2**16
"""Values of a tensor that are projected; of larger ones the norm covers the rest."""


def structure(module: nn.Module) -> str:
    """The module's class, and a digest of its parts, tensors' shapes and constants."""
    digest = hashlib.sha256()
    text = re.sub(r" at 0x[0-9a-fA-F]+", "", repr(module)).replace("__mp_main__", "__main__")
    digest.update(json.dumps([text, state.specs(module)]).encode())
    for path, value in sorted(state.plain(module).items()):
        digest.update(json.dumps([path, _constant(value)]).encode())
    return f"{type(module).__name__} {digest.hexdigest()[:16]}"


def behaviour(tensors: Sequence[torch.Tensor]) -> list[list[float]]:
    """A few numbers for each tensor of a transcript: its norm, and how far it goes in fixed directions."""
    return [_numbers(tensor) for tensor in tensors]


def _constant(value: Any) -> Any:
    """A constant as JSON; of what is computed in floating point only the shape, for its values show in what it does."""
    if isinstance(value, (torch.Tensor, np.ndarray)):
        kind = str(value.dtype).removeprefix("torch.")
        floating = kind.startswith(("float", "bfloat", "complex"))
        return [kind, list(value.shape), None if floating else value.tolist()]
    if isinstance(value, Code):
        return "code"
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, (bool, str)) or value is None else _words(value)


def _words(value: Any) -> str:
    exact = isinstance(value, (numbers.Integral, bytes))
    return repr(value) if exact else type(value).__name__


def _numbers(tensor: torch.Tensor) -> list[float]:
    values = tensor.detach().reshape(-1).to(torch.float64)
    if not values.numel():
        return []
    norm = float(values.norm())
    values = values[:_LOOKED_AT]
    places = torch.arange(1, len(values) + 1, dtype=torch.float64)
    directions = torch.stack([torch.cos(places * (0.7 + 0.3 * d) + d) for d in range(_DIRECTIONS)])
    # As far from each other as the tensors themselves are, whatever their size.
    return [norm, *(directions @ values * (2.0 / _DIRECTIONS) ** 0.5).tolist()]
