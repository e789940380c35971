"""Trials of the user's modules: what they do is compared with what they do alone, whatever state they keep and where.

A member must be a function of its own noised set and its own randomness. Inspections (`_inspection.py`) find state that
Python shows; a trial finds state by what it changes. One module is trained on made-up samples and written down; another
one is trained; the first is made again and trained again, while the other makes passes between its steps and between
its operations, as threads would. Whatever the two share, and read within the trial's steps, shows as another transcript.

The limit: a trial has `STEPS` steps of training, on a GPU or in stacks up to `MOST`, and made-up samples. State that is
first read later is what training a member twice is for (`src/ensemble/train.rs`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from certssb.exceptions import ParameterError
from certssb.learners.torch import _factory_checks as checks
from certssb.learners.torch import _inspection
from certssb.learners.torch import _state as state
from certssb.learners.torch._optimisers import Users, gradients
from certssb.learners.torch._randomness import MemberStream, seeded, states, used
from certssb.learners.torch._training import mean_losses

if TYPE_CHECKING:
    from certssb.learners.torch._instance import Instance
    from certssb.learners.torch.blueprint import Blueprint

__all__ = [
    "MOST",
    "STEPS",
    "Witness",
    "check_rows",
    "is_like_plain",
    "passes",
    "reset_caches",
    "same",
    "tried_copy",
]

STEPS = 16
"""Steps of a trial where a member is trained twice as well."""

MOST = 256
"""Steps of a trial where none is, if they take no longer than `_SECONDS`."""

_SECONDS = 2.0
_BATCH = 4
_FIRST, _SECOND = 2**62 + 1, 2**62 + 2
"""Seeds of the modules of a trial; no member has them."""

_VISITS = 4
"""Passes of the other module between the operations of one step."""


class Trainee:
    """A module in training on made-up samples, driven as the core drives a member.

    Parameters
    ----------
    blueprint : Blueprint
        What makes it.
    seed : int
        Of its weights, its samples and what it draws.
    way : str
        "copied" or "built", as members are made; "plain" for the user's module as it is, its own tensors in place.
    spread : float, default=0.0
        What is added to its first values, so that no tensor is what it is in another module.
    """

    def __init__(self, blueprint: Blueprint, seed: int, way: str, spread: float = 0.0) -> None:
        values = torch.from_numpy(blueprint.initial(seed))
        trained = sum(torch.Size(shape).numel() for _, shape, trained in blueprint.specs if trained)
        values[:trained] += spread * torch.sin(torch.arange(trained, dtype=torch.float32) + 1.0)
        self.values = values.clone()
        self._generator = torch.Generator().manual_seed(seed)
        self._shape, self._n_classes = blueprint.shape, blueprint.n_classes
        self._offset = seed % 7
        self._loss = mean_losses(blueprint.recipe.loss)
        self._optimiser: Users | None = None
        self._instance: Instance | None
        if way == "plain":
            self.module = blueprint.module(values.numpy())
            self._stream = MemberStream([seed], blueprint.draws) if blueprint.draws else None
            self._channels_last = blueprint.channels_last
            self._instance = None
            self._trained = [tensor for _, tensor, trained in state.tensors(self.module) if trained]
            self._prepare(blueprint)
            return
        sizes = [torch.Size(shape).numel() for _, shape, _ in blueprint.specs]
        parts = [
            part.reshape(shape).clone().requires_grad_(trained)
            for part, (_, shape, trained) in zip(torch.split(values, sizes), blueprint.specs, strict=True)
        ]
        self._trained = [part for part in parts if part.requires_grad]
        self._running = [part for part in parts if not part.requires_grad]
        self._instance = blueprint.instance([seed], way=way)
        self._instance.bind(self._trained, self._running)
        self.module = self._instance.module
        self._prepare(blueprint)

    def _prepare(self, blueprint: Blueprint) -> None:
        if blueprint.recipe.optimizer is not None:
            self._optimiser = Users(self._trained, blueprint.recipe.optimizer)

    def step(self) -> list[torch.Tensor]:
        """Train a step; logits and size of every gradient."""
        x = torch.rand((_BATCH, *self._shape), generator=self._generator)
        y = (torch.arange(_BATCH) + self._offset) % self._n_classes
        with torch.enable_grad():
            logits = self._forward(x, True)
        if not logits.requires_grad:
            return [logits.clone()]
        found = gradients(self._loss(logits, y), self._trained)
        sizes = torch.stack([gradient.norm() for gradient in found])
        if self._optimiser is not None:
            self._optimiser.step(found)
            return [logits.detach().clone(), sizes]
        with torch.no_grad():
            for tensor, gradient in zip(self._trained, found, strict=True):
                tensor.sub_(gradient, alpha=0.01)
            return [logits.detach().clone(), sizes]

    def ask(self, x: torch.Tensor | None = None, train: bool = False) -> torch.Tensor:
        """Logits in evaluation mode, or of a pass in training mode without a step."""
        if x is None:
            x = torch.rand((_BATCH, *self._shape), generator=torch.Generator().manual_seed(self._offset))
        with torch.no_grad():
            return self._forward(x, train).clone()

    def buffers(self) -> list[torch.Tensor]:
        """Frozen parameters and buffers as they are now."""
        if self._instance is None:
            own = state.tensors(self.module)
            return [tensor.detach().to(torch.float32) for _, tensor, trained in own if not trained]
        self._instance.settle()
        return [tensor.clone() for tensor in self._running]

    def _forward(self, x: torch.Tensor, train: bool) -> torch.Tensor:
        if self._instance is not None:
            return self._instance(self._instance.images(self._instance.lay_out(x)), train)
        self.module.train(train)
        x = checks.channels_last(x) if self._channels_last else x
        if train and self._stream is not None:
            with self._stream():
                return checks.check_logits(self.module(x), len(x), self._n_classes, self.module)
        return checks.check_logits(self.module(x), len(x), self._n_classes, self.module)


def passes(blueprint: Blueprint, way: str) -> tuple[Trainee, list[torch.Tensor]]:
    """Two steps and an answer of a module made in some way, with values that no other module has."""
    trainee = Trainee(blueprint, _FIRST, way, spread=0.05)
    found = [*trainee.step(), *trainee.step(), *trainee.buffers(), trainee.ask(), trainee.ask()]
    return trainee, found


def tried_copy(blueprint: Blueprint) -> tuple[Trainee, list[torch.Tensor]] | None:
    """The passes of a copy of the prototype; None if it fails."""
    try:
        return passes(blueprint, "copied")
    except Exception:  # noqa: BLE001 - a copy may fail in any way; the factory makes modules then
        return None


def same(a: Sequence[torch.Tensor], b: Sequence[torch.Tensor]) -> bool:
    """Whether two transcripts are the same, bit for bit; NaN is like NaN."""
    pairs = zip(a, b, strict=False)
    return len(a) == len(b) and all(
        s.shape == t.shape and torch.equal(s.nan_to_num(), t.nan_to_num()) for s, t in pairs
    )


def is_like_plain(
    plain: tuple[Trainee, list[torch.Tensor]], own: tuple[Trainee, list[torch.Tensor]]
) -> ParameterError | None:
    """The refusal of a module that is another one when its tensors are the core's; None if it is the same.

    A closure that holds a parameter keeps the one it was made with, whatever is written in its place.
    """
    if all(
        torch.allclose(a, b, rtol=checks.RTOL, atol=checks.ATOL, equal_nan=True)
        for a, b in zip(plain[1], own[1], strict=True)
    ):
        return None
    where = checks.first_apart(plain[0].module.eval(), own[0].module.eval(), plain[0]._shape)
    got = f"{where}, which keeps some elsewhere too (in a closure, a list, or as a plain attribute?)"
    return checks.refusal("reach their parameters and buffers as attributes only", got)


def check_rows(trainee: Trainee) -> None:
    """Refuse a module, as it is used for voting, whose answer for a row depends on the other rows."""
    x = torch.rand((_BATCH, *trainee._shape), generator=torch.Generator().manual_seed(5))
    alone = trainee.ask(x)
    for number, company in enumerate(checks.companies(x)):
        theirs = trainee.ask(company)
        kept = slice(None) if number == len(x) else slice(number, number + 1)
        if not torch.allclose(
            alone[kept],
            (theirs.flip(0) if number == len(x) else theirs)[kept],
            rtol=checks.RTOL,
            atol=checks.ATOL,
        ):
            where = state.label("", trainee.module)
            got = f"{where}, whose do (a part that eval() does not reach, or statistics of the batch?)"
            raise checks.refusal(checks.ALONE, got)


class Witness:
    """What a module does alone, to be compared with what it does when others have been trained.

    Parameters
    ----------
    blueprint : Blueprint
        What makes the modules.
    way : str
        How: "copied" or "built".
    steps : int
        Steps of training, at least; as many more as `most` and a few seconds allow.
    most : int
        Steps at most.
    """

    def __init__(self, blueprint: Blueprint, way: str, steps: int, most: int) -> None:
        self._blueprint = blueprint
        self._way = way
        self._steps = steps
        self._most = most
        self._operations = 0
        self._alone = self._first()

    def _first(self) -> list[torch.Tensor]:
        """The transcript of the first module; finds out how many steps it has, and what else is drawn from."""
        for _ in range(2):
            start = time.monotonic()
            with seeded(6):
                before = states()
                trainee, found = self._begin()
                between = _Between()
                for step in range(self._most):
                    if step >= self._steps and time.monotonic() - start > _SECONDS:
                        break
                    found += self._step(trainee, step, between)
                    if step == 0:
                        self._operations = between.count
                late = used(before) - self._blueprint.draws
            if not late:
                break
            # It draws what it did not draw in its first steps: from the member's own stream from now on.
            self._blueprint.draws |= late
        self._steps = step + (step + 1 == self._most)
        return found

    def differs(self) -> bool:
        """Whether the module is another one when a second one is trained before and meanwhile."""
        try:
            other = Trainee(self._blueprint, _SECOND, self._way)
            with seeded(7):
                for step in range(self._steps):
                    self._step(other, step, _Between())
                trainee, found = self._begin()
                for step in range(self._steps):
                    found += self._step(trainee, step, _Between(self._visits(other, step)))
                    self._step(other, step, _Between())
        except Exception:  # noqa: BLE001 - it did not fail alone: whatever it is, the other one brought it about
            return True
        return not same(self._alone, found)

    def differs_now(self) -> bool:
        """Whether the module is another one by now, after whatever was done since."""
        try:
            with seeded(8):
                trainee, found = self._begin()
                for step in range(self._steps):
                    found += self._step(trainee, step, _Between())
        except Exception:  # noqa: BLE001 - it did not fail before
            return True
        return not same(self._alone, found)

    def _begin(self) -> tuple[Trainee, list[torch.Tensor]]:
        trainee = Trainee(self._blueprint, _FIRST, self._way)
        return trainee, [trainee.values, trainee.ask()]

    def _step(self, trainee: Trainee, step: int, between: _Between) -> list[torch.Tensor]:
        with between:
            found = trainee.step()
        return [*found, trainee.ask()] if step % 4 == 3 or step == self._steps - 1 else found

    def _visits(self, other: Trainee, step: int) -> Callable[[int], None]:
        """Passes of `other` at some of a step's operations: at others in each step."""
        stride = max(1, self._operations // _VISITS)

        def visit(operation: int) -> None:
            if operation % stride == step % stride:
                other.ask(train=(operation // stride) % 2 == 0)

        return visit


class _Between(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Calls `visit` with the number of the operation before each operation of torch inside the block."""

    def __init__(self, visit: Callable[[int], None] | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0
        self._visit = visit

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self._visit is not None:
            self._visit(self.count)
        self.count += 1
        return func(*args, **(kwargs or {}))


def reset_caches(module: nn.Module, factory: Any) -> None:
    """Empty what ``functools.lru_cache`` keeps for a factory's modules, as in a process that begins."""
    for cache in _inspection.caches(module, factory):
        cache.cache_clear()
