"""What members of the user's module say about inputs: in evaluation mode and without gradients by construction.

Inputs go through a module in batches of one fixed size, so that the answer for one does not depend on which others it
came with.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from certssb.learners.torch._tensors import Values, upload

if TYPE_CHECKING:
    from certssb.learners.protocol import Job
    from certssb.learners.torch.blueprint import Blueprint

__all__ = ["BATCH", "ask"]

BATCH = 64
"""Inputs of one forward pass."""

Floats = npt.NDArray[np.float32]


def ask(blueprint: Blueprint, job: Job, values: Sequence[Floats], X: Floats) -> Floats | None:
    """Logits of members.

    Parameters
    ----------
    blueprint : Blueprint
        What makes the modules.
    job : Job
        Which members, and where.
    values : sequence of S ndarrays of shape (n_values,)
        What the members are.
    X : ndarray of shape (m, ...) or (S, m, ...)
        Inputs of all members, or of each; m is a multiple of :data:`BATCH`.

    Returns
    -------
    ndarray of shape (S, m, n_classes), or None
        None if the job was stopped.
    """
    stack = len(values)
    own = X.ndim == len(blueprint.shape) + 2
    # The layout of one member has no dimension for members.
    inputs = X[0] if own and stack == 1 else X
    lead = 1 if own and stack > 1 else 0
    weights = Values(blueprint.specs, values, job.device)
    parts = []
    with closing(blueprint.instance(stack=stack)) as instance, torch.no_grad():
        instance.bind(weights.trained, weights.running)
        for start in range(0, inputs.shape[lead], BATCH):
            if job.stopped():
                return None
            rows = inputs[:, start : start + BATCH] if lead else inputs[start : start + BATCH]
            x = upload(np.ascontiguousarray(rows), job.device)
            if stack == 1:
                x = instance.images(instance.lay_out(x))
            elif not lead:
                x = x.unsqueeze(0).expand(stack, *x.shape)
            parts.append(instance(x, False))
        logits: Floats = torch.cat(parts, -2).cpu().view(stack, -1, blueprint.n_classes).numpy()
    return logits
