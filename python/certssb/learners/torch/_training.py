"""Training of a stack of members of the user's module: epochs, batches, losses, steps.

The loop is short on purpose: what it does in Python, it does with the interpreter held, and other members wait.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from certssb.learners.torch._optimisers import Adam, Loss, Users, gradients
from certssb.learners.torch._tensors import Values, upload

if TYPE_CHECKING:
    from certssb.learners.protocol import Job
    from certssb.learners.torch._instance import Instance
    from certssb.learners.torch.blueprint import Blueprint

__all__ = ["batches", "mean_losses", "train"]

Floats = npt.NDArray[np.float32]


def train(
    blueprint: Blueprint, job: Job, X: Floats, y: npt.NDArray[np.int64]
) -> tuple[Floats, Floats] | None:
    """Train the members of a job on their noised sets.

    One noise draw per member and sample serves all epochs; the samples are shuffled anew every epoch into batches.
    Nothing but the noised set is looked at.

    Parameters
    ----------
    blueprint : Blueprint
        What makes the modules.
    job : Job
        Which members, and how.
    X : ndarray of shape (S, n, ...)
        Their noised sets.
    y : ndarray of shape (S, n)
        The classes in these.

    Returns
    -------
    (values, losses) : ndarrays of shape (S, n_values) and (S,), or None
        Losses are means of the last epoch, NaN for a member whose training diverged. None if the job was stopped.
    """
    initial = [blueprint.initial(seed) for seed in job.init_seeds]
    values = Values(blueprint.specs, initial, job.device)
    with closing(blueprint.instance(job.model_seeds, values.stack)) as instance:
        instance.bind(values.trained, values.running)
        losses = _Training(blueprint, instance, values, job, X, y).run()
        if losses is None:
            return None
        instance.settle()
    table = values.members()
    losses[~np.isfinite(table).all(1)] = np.nan
    return table, losses


class _Training:
    """A stack in training."""

    def __init__(
        self,
        blueprint: Blueprint,
        instance: Instance,
        values: Values,
        job: Job,
        X: Floats,
        y: npt.NDArray[np.int64],
    ) -> None:
        self._job = job
        self._instance = instance
        self._values = values
        self._stack, self._n = y.shape
        self._inputs = instance.lay_out(upload(X.reshape(-1, *X.shape[2:]), job.device))
        self._labels = upload(y.reshape(-1), job.device)
        self._batches = batches(self._n, job.batch_size)
        recipe = blueprint.recipe
        self._loss = mean_losses(recipe.loss)
        self._optimiser: Adam | Users = (
            Adam(values, job.learning_rate)
            if recipe.optimizer is None
            else Users(values.trained, recipe.optimizer)
        )

    def run(self) -> Floats | None:
        """Train all epochs; mean losses of the last one."""
        on_cpu, failed = self._job.device == "cpu", torch.zeros(self._stack, dtype=torch.bool)
        sums: list[torch.Tensor] = []
        for epoch in range(self._job.epochs):
            sums.append(torch.zeros(self._stack, device=self._job.device))
            for x, y in self._epoch(epoch):
                if self._job.stopped():
                    return None
                try:
                    losses = self._step(x, y)
                except Exception as error:
                    if not self._has_diverged(error, x, sums[-1]):
                        raise
                    return np.full(1, np.nan, np.float32)
                sums[-1].add_(losses, alpha=len(y) // self._stack)
            self._optimiser.end_epoch()
            # Looking at a loss waits for the device: a GPU is asked once, at the end.
            if on_cpu or epoch + 1 == self._job.epochs:
                failed |= ~torch.stack(sums).cpu().isfinite().all(0)
                sums = sums[-1:]
                if bool(failed.all()):
                    break
        losses = sums[-1].cpu() / self._n
        losses[failed] = torch.nan
        found: Floats = losses.numpy()
        return found

    def _epoch(self, epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Batches of one epoch: inputs (S B, ...) and labels (S B)."""
        if len(self._batches) == 1:
            # The order within a batch does not matter: nothing to shuffle, nothing to copy.
            yield self._changed(self._instance.images(self._inputs), epoch, 0), self._labels
            return
        order = self._job.order(epoch)
        if self._stack > 1:
            order = order + self._n * np.arange(self._stack)[:, None]
        index = upload(order, self._job.device)
        for start, length in self._batches:
            own = index[:, start : start + length].reshape(-1)
            x = self._changed(self._instance.images(self._inputs.index_select(0, own)), epoch, start)
            yield x, self._labels.index_select(0, own)

    def _changed(self, x: torch.Tensor, epoch: int, start: int) -> torch.Tensor:
        """The samples of a batch (S B, ...) augmented, each member's from its own streams."""
        if not getattr(self._job, "augments", False):
            return x
        rows = np.ascontiguousarray(x.cpu().numpy()).reshape(len(x), -1)
        changed = self._job.change(rows, epoch, start).reshape(x.shape)
        return self._instance.images(self._instance.lay_out(upload(changed, self._job.device)))

    def _step(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """One step on a batch; the members' mean losses (S)."""
        if self._stack > 1:
            x = x.view(self._stack, -1, *x.shape[1:])
        losses = self._loss(self._instance(x, True), y)
        total = losses.sum() if self._stack > 1 else losses
        self._optimiser.step(gradients(total, self._values.trained))
        return losses.detach()

    def _has_diverged(self, error: Exception, x: torch.Tensor, losses: torch.Tensor) -> bool:
        """Whether a step of a single member ended in an error because of numbers beyond single precision.

        A module may raise at what others end with as a loss that is NaN. That is no error of the module's where what it
        was given, or its weights, are beyond what single precision calculates with.
        """
        of_the_process = isinstance(error, MemoryError) or "memory" in str(error).lower()
        if self._stack > 1 or of_the_process:
            return False
        return any(_overflows(tensor) for tensor in (x, losses, *self._values.trained))


def _overflows(values: torch.Tensor) -> bool:
    """Whether the sum of the squares is infinite or NaN: the numbers are, or so large that no layer can work with them."""
    return not bool(values.detach().square().sum().isfinite())


def mean_losses(loss: Loss | None) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """What gives the mean loss of each member: of logits (B, K) of one a scalar, of (S, B, K) of several (S)."""
    return _cross_entropies if loss is None else functools.partial(_users, loss)


def _cross_entropies(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    if logits.ndim == 2:
        return F.cross_entropy(logits, y)
    return F.cross_entropy(logits.flatten(0, 1), y, reduction="none").view(len(logits), -1).mean(1)


def _users(loss: Loss, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    # It gives one value for each sample, or their mean.
    if logits.ndim == 2:
        return _mean(loss(logits, y))

    def of_one(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return _mean(loss(logits, y))

    losses: torch.Tensor = torch.func.vmap(of_one)(logits, y.view(len(logits), -1))
    return losses


def _mean(loss: torch.Tensor) -> torch.Tensor:
    return loss.mean() if loss.ndim else loss


def batches(n: int, size: int) -> list[tuple[int, int]]:
    """Starts and lengths of an epoch's batches.

    A last batch of a single sample joins the one before it: batch norm has no statistics of one sample.
    """
    found = [(start, min(size, n - start)) for start in range(0, n, size)]
    if size > 1 and n % size == 1 and len(found) > 1:
        found.pop()
        start, length = found[-1]
        found[-1] = start, length + 1
    return found
