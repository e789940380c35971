"""The user's own module as a member: built for each member, checked before training, driven by the core."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from certssb._generators import at_work
from certssb.exceptions import ParameterError
from certssb.learners import _devices
from certssb.learners._libraries import libraries
from certssb.learners.protocol import Job
from certssb.learners.torch import _factory_checks as checks
from certssb.learners.torch import _gpu, _inspection, _stacks, _threads, _trials
from certssb.learners.torch import _identity as identity
from certssb.learners.torch import _state as state
from certssb.learners.torch._asking import BATCH, ask
from certssb.learners.torch._factory_checks import Factory
from certssb.learners.torch._instance import Instance
from certssb.learners.torch._modes import neutral
from certssb.learners.torch._randomness import MemberStream, one_thread
from certssb.learners.torch._recipe import DEFAULT, Recipe
from certssb.learners.torch._searching import search
from certssb.learners.torch._training import train
from certssb.watch._log import LOGGER

__all__ = ["DISTURBED", "Blueprint"]

DISTURBED = (
    "Training failed: the module behaves differently than before. Members share state that is neither a parameter nor a "
    "buffer; none of those trained now is kept."
)
"""What is said of members whose training left traces."""

_LANES = 4
"""Members that are trained side by side on one GPU where they cannot be stacked. The interpreter is held by one of them at a
time, for a third of a step or so: more would wait for it."""

_PROBES = (2**63 + 1, 2**63 + 2)
"""Seeds of the modules that are looked at before training."""


class Blueprint:
    """A factory of modules that was looked at, as the core wants it.

    Parameters
    ----------
    factory : callable
        Called without arguments; returns a fresh ``torch.nn.Module`` that maps (batch, ...) to logits
        (batch, n_classes).
    shape : tuple of int
        Shape of one sample.
    n_classes : int
        Number of classes.
    recipe : Recipe, optional
        Loss and optimiser, where they are the user's.

    Attributes
    ----------
    name : str
        The module's class, and a digest of its structure and constants.
    behaviour : list of list of float
        What it computes for made-up samples. Members of modules that differ in name or behaviour are never put into one
        ensemble.
    libraries : str
        The libraries that members are computed with, and their versions.
    specs : list of (str, list of int, bool)
        Name, shape and whether it is trained, for each parameter and buffer; trained ones first.
    min_samples : int
        Fewest samples of one member: 2 for modules with batch norm, else 1.
    draws : set of str
        The global generators that the module draws from in training: "torch", "random", "numpy".
    stacks : bool
        Whether members may be computed several at a time; only after :meth:`try_stacks`.
    why_not : str or None
        Why not, if that was tried.

    Raises
    ------
    ParameterError, ShapeError
        If members cannot be made of these modules; names the sub-module.

    Examples
    --------
    >>> from torch import nn
    >>> from certssb.learners.torch.blueprint import Blueprint
    >>> Blueprint(lambda: nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), (1, 2, 2), 2).specs
    [('1.weight', [2, 4], True), ('1.bias', [2], True)]
    """

    def __init__(
        self, factory: Factory, shape: tuple[int, ...], n_classes: int, recipe: Recipe = DEFAULT
    ) -> None:
        self._arguments = (factory, tuple(shape), n_classes, recipe)
        self._factory = factory
        self.shape = tuple(shape)
        self.n_classes = n_classes
        self.recipe = recipe
        self.stacks = False
        self.why_not: str | None = None
        self._witness: _trials.Witness | None = None
        with one_thread(), neutral(), checks.failures():
            self._look()

    @at_work
    def _look(self) -> None:
        """Everything that is found out before training."""
        shape, n_classes = self.shape, self.n_classes
        self.recipe.check(n_classes)
        tried, self._prototype = (checks.build(self._factory, seed) for seed in _PROBES)
        for module in (tried, self._prototype):
            checks.check_parts(module)
        checks.check_fresh(tried, self._prototype)
        fresh = state.plain(tried)
        self.name = identity.structure(tried) + self.recipe.digest()
        self.libraries = libraries(["torch", *(type(module).__module__ for module in tried.modules())])
        self.specs = state.specs(tried)
        self.draws = checks.check_passes(self._factory, tried, self._prototype, shape, n_classes)
        self._copies = checks.copied(self._prototype) is not None
        restored = self.module(state.values(tried))
        checks.check_restored(tried, restored, shape, fresh)
        self.channels_last = checks.takes_channels_last(restored, shape, bool(self.draws))
        self.min_samples = 1 if checks.takes_one(restored, shape) else 2
        self._choose_way()

    @at_work
    def _choose_way(self) -> None:
        """Find out whether copies of the prototype are what the factory builds, with other values in all of them."""
        plain, built = (_trials.passes(self, way) for way in ("plain", "built"))
        refused = _trials.is_like_plain(plain, built)
        if refused is not None:
            again = _trials.passes(self, "plain")
            raise refused if _trials.same(plain[1], again[1]) else self._not_alone([])
        used = built
        if self._copies:
            # Its closures, weak references and compiled functions may still be those of the prototype.
            copied = _trials.tried_copy(self)
            self._copies = copied is not None and _trials.same(built[1], copied[1])
            used = copied if copied is not None and self._copies else built
        _trials.check_rows(used[0])
        # What it begins with belongs to what it does.
        start = torch.from_numpy(self.initial(_PROBES[0]))
        self.behaviour = identity.behaviour([start, *built[1]])

    @property
    def _way(self) -> str:
        return "copied" if self._copies else "built"

    @at_work
    def check_alone(self, device: str, n_steps: int) -> None:
        """Refuse modules that share state with each other, by what they do; before training.

        Parameters
        ----------
        device : str
            Where members will be trained. On a GPU or in stacks no member is trained twice, so the trial is longer.
        n_steps : int
            Steps of one member.
        """
        steps = min(n_steps, _trials.STEPS)
        most = n_steps if self.stacks or _devices.first(device, self) != "cpu" else steps
        most = min(most, _trials.MOST)
        with one_thread(), neutral(), checks.failures():
            self._witness, suspects = self._tried(steps, most)
            if self._copies and (self._witness is None or suspects):
                # Copies may share what built modules do not.
                self._copies, before = False, suspects
                self._witness, suspects = self._tried(steps, most)
                if self._witness is None or suspects:
                    suspects = before or suspects
        if self._witness is None or suspects:
            raise self._not_alone(suspects)
        self._common = self._shared()

    @at_work
    def is_disturbed(self) -> bool:
        """Whether training left traces: in what all modules see, or in how they behave."""
        if self._witness is None:
            return False
        with one_thread(), neutral():
            return bool(self.suspects()) or self._witness.differs_now()

    @at_work
    def suspects(self) -> list[str]:
        """What all modules see and training has changed, by name."""
        return [] if self._witness is None else state.differences(self._common, self._shared())

    def _tried(self, steps: int, most: int) -> tuple[_trials.Witness | None, list[str]]:
        """A witness, if modules do not disturb each other; and what they changed that all of them see."""
        _trials.reset_caches(self._prototype, self._factory)
        common = self._shared()
        witness = _trials.Witness(self, self._way, steps, most)
        _trials.reset_caches(self._prototype, self._factory)
        differs = witness.differs()
        changed = state.differences(common, self._shared())
        _trials.reset_caches(self._prototype, self._factory)
        return (None if differs else witness), changed

    def _shared(self) -> dict[str, Any]:
        return _inspection.shared(self._prototype, self._factory)

    def _not_alone(self, suspects: list[str]) -> ParameterError:
        return checks.refusal("are not changed by the training of others", not_alone(suspects))

    @at_work
    def try_stacks(self, device: str, stack: int | None) -> None:
        """Find out whether stacks of members are what their members are alone, if there are to be any on `device`.

        On the CPU, stacks are no faster than members side by side, and are made only where `stack` says so.
        """
        device = _devices.first(device, self)
        if stack == 1 or (stack is None and device == "cpu"):
            return
        with one_thread(), neutral():
            self.why_not = self.recipe.why_not_in_stacks() or _stacks.why_not(
                self, self.shape, self.n_classes, device
            )
        self.stacks = self.why_not is None
        how = "in stacks" if self.stacks else f"one by one: {self.why_not}"
        LOGGER.info("Members of the module '%s' are computed %s", self.name.partition(" ")[0], how)

    @at_work
    def initial(self, seed: int) -> npt.NDArray[np.float32]:
        """Values of a new member before training, in the order of `specs`."""
        module = checks.build(self._factory, seed)
        if state.specs(module) != self.specs:
            raise checks.refusal("have the same parameters and buffers every time", "another one")
        values = state.values(module)
        state.let_go(module)
        return values

    def instance(self, seeds: Sequence[int] = (), stack: int = 1, *, way: str | None = None) -> Instance:
        """Make a module of its own for a stack of members; with seeds for what they draw in training."""
        module = checks.copied(self._prototype) if (way or self._way) == "copied" else None
        module = checks.build(self._factory, _PROBES[1]) if module is None else module
        stream = MemberStream(seeds, self.draws) if seeds and self.draws else None
        return Instance(module, self.n_classes, stream, self.channels_last, stack)

    @at_work
    def module(self, values: npt.NDArray[np.float32]) -> nn.Module:
        """Make a module with a member's values, in evaluation mode."""
        with neutral():
            module = checks.build(self._factory, _PROBES[1])
            state.set_values(module, torch.from_numpy(values.copy()))
            return module.eval()

    batch = BATCH
    stacks_are_sure = False
    may_keep_state = True
    searches = True
    augments = "every epoch"

    @property
    def lanes(self) -> int:
        """Members that are trained side by side on one GPU where they cannot be stacked."""
        return 1 if self.stacks else _LANES

    def devices(self) -> list[str]:
        """Names of the devices that torch sees, "cpu" first."""
        return _gpu.devices()

    def starting(self) -> AbstractContextManager[None]:
        """Give threads that start inside the block one thread of torch each."""
        return _threads.starting()

    def enter(self, device: str) -> None:
        """Get the calling thread ready: its number of threads is read now, and a GPU's lanes have a stream each."""
        torch.get_num_threads()
        if device != "cpu" and self.lanes > 1:
            _gpu.own_stream(torch.device(device).index or 0)

    def train(
        self, job: Job, X: npt.NDArray[np.float32], y: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None:
        """Train members; see :class:`~certssb.learners.protocol.Learner`."""
        with self._computing(job):
            return train(self, job, X, y)

    def ask(
        self, job: Job, values: Sequence[npt.NDArray[np.float32]], X: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32] | None:
        """Logits of members; see :class:`~certssb.learners.protocol.Learner`."""
        with self._computing(job):
            return ask(self, job, values, X)

    def search(
        self,
        job: Job,
        values: npt.NDArray[np.float32],
        X: npt.NDArray[np.float32],
        classes: npt.NDArray[np.int64] | None,
        noise: npt.NDArray[np.float32],
    ) -> npt.NDArray[np.float32] | None:
        """Noise magnitudes that a member bears; see :class:`~certssb.learners.protocol.Learner`."""
        with self._computing(job):
            return search(self, job, values, X, classes, noise)

    @contextmanager
    def _computing(self, job: Job) -> Iterator[None]:
        with _threads.own_modes():
            _gpu.check_precision(job.device, job.precision)
            yield

    def __reduce__(self) -> tuple[Any, ...]:
        return Blueprint, self._arguments


def not_alone(suspects: list[str]) -> str:
    """Say what is wrong with modules that share state, and where it may be."""
    if suspects:
        named = " and ".join(suspects[:2])
        return f"some that are, by way of {named}: build what a module writes to inside of it, as buffers"
    where = "outside its parameters and buffers (an object of the callable, a class, a cache, a file?)"
    return f"some that are: they share state {where}"
