"""The values of a stack of members as tensors, and noised sets as a module takes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

if TYPE_CHECKING:
    from certssb.learners.torch._state import Spec

__all__ = ["Values", "upload"]

Floats = npt.NDArray[np.float32]


class Values:
    """The values of a stack of members.

    Trained ones lie in one piece of memory, parameter after parameter, so that what is done to all of them is one pass.
    Every parameter has a leading dimension for the members, left out for a single one.

    Parameters
    ----------
    specs : sequence of (str, list of int, bool)
        Name, shape and whether it is trained, for each parameter and buffer; trained ones first.
    members : sequence of ndarray of shape (n_values,)
        Each member's values, in the order of `specs`.
    device : str
        Where the tensors lie.

    Attributes
    ----------
    flat : torch.Tensor
        All trained values.
    trained : list of torch.Tensor
        Leaves that share their memory with `flat`.
    running : list of torch.Tensor
        Frozen parameters and buffers, as floats.
    """

    def __init__(self, specs: Sequence[Spec], members: Sequence[Floats], device: str) -> None:
        self.stack = len(members)
        table = torch.from_numpy(np.stack(members))
        self._sizes = [math.prod(shape) for _, shape, _ in specs]
        lead = [] if self.stack == 1 else [self.stack]
        parts = [
            (part.reshape(-1), [*lead, *shape], trained)
            for part, (_, shape, trained) in zip(torch.split(table, self._sizes, 1), specs, strict=True)
        ]
        self.flat = torch.cat([part for part, _, trained in parts if trained]).to(device)
        self.trained = self.views(self.flat, [shape for _, shape, trained in parts if trained])
        for leaf in self.trained:
            leaf.requires_grad_()
        self.running = [part.clone().view(shape).to(device) for part, shape, trained in parts if not trained]

    @staticmethod
    def views(flat: torch.Tensor, shapes: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """Tensors of the given shapes, one after the other in the memory of `flat`.

        Each counts its own changes: a module that writes to one parameter in a pass does not spoil the gradients of
        the others.
        """
        found, start = [], 0
        for shape in shapes:
            size = math.prod(shape)
            found.append(flat.data[start : start + size].view(shape))
            start += size
        return found

    def members(self) -> Floats:
        """Each member's values, shape (S, n_values)."""
        parts = [tensor.detach().reshape(self.stack, -1) for tensor in (*self.trained, *self.running)]
        table: Floats = torch.cat(parts, 1).cpu().numpy()
        return table


def upload(array: npt.NDArray[Any], device: str) -> torch.Tensor:
    """An array as a tensor on `device`, through page-locked memory, so that the caller does not wait for the device."""
    tensor = torch.from_numpy(array)
    if device == "cpu":
        return tensor
    try:
        return tensor.pin_memory().to(device, non_blocking=True)
    except RuntimeError:  # page-locked memory is scarce on some systems; then the copy waits
        return tensor.to(device)
