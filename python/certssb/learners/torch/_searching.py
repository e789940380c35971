"""Stochastic gradient ascent on each sample's noise magnitude, through the module.

R(s) = s/2 (Phi^-1(p_a(s)) - max over c != a of Phi^-1(p_c(s))), p(s) the mean softmax over noisy copies x + s e, each
probability kept in [0.02, 0.98]. The gap is signed: where noise hides the class, it is negative, and the ascent shrinks s.
The gradient goes through noise, module and softmax (reparametrisation); a step is s <- s exp(rate dR/ds) within the bounds,
ascent on log s with a rate that has no unit and falls linearly to 0. All samples share a step's noise vectors.

The core's own networks do the same in `src/kernel/rays.rs` and `src/torch/search.rs`.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from certssb.learners.torch._optimisers import NO_GRADIENT
from certssb.learners.torch._tensors import Values, upload

if TYPE_CHECKING:
    from certssb.learners.protocol import Job
    from certssb.learners.torch._instance import Instance
    from certssb.learners.torch.blueprint import Blueprint

__all__ = ["search"]

_ROWS = 256
"""Rows of a forward pass, noisy copies counted."""

_CLAMP = 0.02
_STEEPEST = 2.053748910631823
"""Slopes are cut to what R has where nothing is uncertain, Phi^-1(0.98): near the clamp they can be anything."""

Floats = npt.NDArray[np.float32]


def search(
    blueprint: Blueprint,
    job: Job,
    values: Floats,
    X: Floats,
    classes: npt.NDArray[np.int64] | None,
    noise: Floats,
) -> Floats | None:
    """The magnitude of each sample's noise that one member bears.

    Parameters
    ----------
    blueprint : Blueprint
        What makes the module.
    job : Job
        Its `search` holds start, sigma_min, sigma_max, steps, learning_rate and samples.
    values : ndarray of shape (n_values,)
        What the member is.
    X : ndarray of shape (m, ...)
        Samples.
    classes : ndarray of shape (m,) or None
        The class of each that its noise must not hide; None for the one that the member gives it without noise.
    noise : ndarray of shape (steps, samples, ...)
        Standard normal values of all steps.

    Returns
    -------
    ndarray of shape (m,), or None
        None if the job was stopped.
    """
    how = job.search or {}
    rows = max(1, _ROWS // int(how["samples"]))
    weights = Values(blueprint.specs, [values], job.device)
    for leaf in weights.trained:
        leaf.requires_grad_(False)
    steps, parts = upload(noise, job.device), []
    with closing(blueprint.instance()) as instance:
        instance.bind(weights.trained, weights.running)
        for start in range(0, len(X), rows):
            x = upload(X[start : start + rows], job.device)
            if classes is None:
                with torch.no_grad():
                    own = instance(instance.images(instance.lay_out(x)), False).argmax(-1)
            else:
                own = upload(classes[start : start + rows], job.device)
            sigma = torch.full((len(x),), float(how["start"]), device=job.device)
            for step, copies in enumerate(steps):
                if job.stopped():
                    return None
                slope = _slope(instance, x, own, sigma, copies).clamp_(-_STEEPEST, _STEEPEST)
                rate = float(how["learning_rate"]) * (1.0 - step / len(steps))
                sigma = (sigma * (slope * rate).exp()).clamp(float(how["sigma_min"]), float(how["sigma_max"]))
            parts.append(sigma)
        found: Floats = torch.cat(parts).cpu().numpy()
    return found


def _slope(
    instance: Instance, x: torch.Tensor, classes: torch.Tensor, sigma: torch.Tensor, noise: torch.Tensor
) -> torch.Tensor:
    """dR/ds of every sample at `sigma` (m), with a step's noise vectors (samples, ...)."""
    sigma = sigma.detach().requires_grad_()
    scores = _mean_scores(instance, x, sigma, noise)
    # R has a gradient of its own, through its factor sigma: without that of the scores it would be another one.
    if not scores.requires_grad:
        raise RuntimeError(NO_GRADIENT)
    # Phi^-1(p) = sqrt(2) erfinv(2p - 1).
    quantiles = (2.0 * scores.clamp(_CLAMP, 1.0 - _CLAMP) - 1.0).erfinv()
    index = classes.unsqueeze(1)
    others = quantiles.scatter(1, index, -torch.inf).amax(1)
    radius = sigma * (quantiles.gather(1, index).squeeze(1) - others) * (0.5 * 2.0**0.5)
    (slope,) = torch.autograd.grad(radius.sum(), sigma)
    # Samples that drive the module to infinity leave sigma as it is.
    return slope.nan_to_num_(0.0, 0.0, 0.0)


def _mean_scores(
    instance: Instance, x: torch.Tensor, sigma: torch.Tensor, noise: torch.Tensor
) -> torch.Tensor:
    """Mean softmax over the noisy copies, (m, K)."""
    spread = sigma.view(-1, *[1] * x.ndim) * noise
    noisy = (x.unsqueeze(1) + spread).flatten(0, 1)
    logits = instance(instance.images(instance.lay_out(noisy)), False)
    return logits.softmax(-1).view(len(x), len(noise), -1).mean(1)
