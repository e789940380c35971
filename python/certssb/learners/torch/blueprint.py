"""The user's own module as a member: built for each member, checked before training, driven by the core."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from certssb import _core
from certssb.exceptions import ParameterError
from certssb.learners import _devices
from certssb.learners.torch import _factory_checks as checks
from certssb.learners.torch import _identity as identity
from certssb.learners.torch import _inspection, _stacks, _trials
from certssb.learners.torch import _state as state
from certssb.learners.torch._factory_checks import Factory
from certssb.learners.torch._modes import neutral
from certssb.learners.torch._randomness import MemberStream, one_thread
from certssb.watch._log import LOGGER

__all__ = ["BuiltInModule"]

DISTURBED = (
    "Training failed: the module behaves otherwise than before it. Members share state that is no parameter and no buffer; "
    "of those trained now none is kept."
)
"""What is said of members whose training left traces."""

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

    Attributes
    ----------
    name : str
        The module's class, and a digest of its structure and constants.
    behaviour : list of list of float
        What it computes for made-up samples. Members of modules that differ in name or behaviour are never put into one
        ensemble.
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
    >>> from certssb.modules import Blueprint
    >>> Blueprint(lambda: nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), (1, 2, 2), 2).specs
    [('1.weight', [2, 4], True), ('1.bias', [2], True)]
    """

    def __init__(self, factory: Factory, shape: tuple[int, ...], n_classes: int) -> None:
        self._arguments = (factory, tuple(shape), n_classes)
        self._factory = factory
        self.shape = tuple(shape)
        self.n_classes = n_classes
        self.stacks = False
        self.why_not: str | None = None
        self._witness: _trials.Witness | None = None
        with one_thread(), neutral(), checks.failures():
            self._look()

    def _look(self) -> None:
        """Everything that is found out before training."""
        shape, n_classes = self.shape, self.n_classes
        tried, self._prototype = (checks.build(self._factory, seed) for seed in _PROBES)
        for module in (tried, self._prototype):
            checks.check_parts(module)
        checks.check_fresh(tried, self._prototype)
        fresh = state.plain(tried)
        self.name = identity.structure(tried)
        self.specs = state.specs(tried)
        self.draws = checks.check_passes(self._factory, tried, self._prototype, shape, n_classes)
        self._copies = checks.copied(self._prototype) is not None
        restored = self.module(state.values(tried))
        checks.check_restored(tried, restored, shape, fresh)
        self.channels_last = checks.takes_channels_last(restored, shape, bool(self.draws))
        self.min_samples = 1 if checks.takes_one(restored, shape) else 2
        self._choose_way()

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
        most = n_steps if self.stacks or _devices.first(device) != "cpu" else steps
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

    def is_disturbed(self) -> bool:
        """Whether training left traces: in what all modules see, or in how they behave."""
        if self._witness is None:
            return False
        with one_thread(), neutral():
            return bool(self.suspects()) or self._witness.differs_now()

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

    def try_stacks(self, device: str, stack: int | None) -> None:
        """Find out whether stacks of members are what their members are alone, if there are to be any on `device`.

        On the CPU, stacks are no faster than members side by side, and are made only where `stack` says so.
        """
        device = _devices.first(device)
        if stack == 1 or (stack is None and device == "cpu"):
            return
        with one_thread(), neutral():
            self.why_not = _stacks.why_not(self, self.shape, self.n_classes, device)
        self.stacks = self.why_not is None
        how = "in stacks" if self.stacks else f"one by one: {self.why_not}"
        LOGGER.info("Members of the module '%s' are computed %s", self.name.partition(" ")[0], how)

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

    def module(self, values: npt.NDArray[np.float32]) -> nn.Module:
        """Make a module with a member's values, in evaluation mode."""
        with neutral():
            module = checks.build(self._factory, _PROBES[1])
            state.set_values(module, torch.from_numpy(values.copy()))
            return module.eval()

    def __reduce__(self) -> tuple[Any, ...]:
        return Blueprint, self._arguments


class Instance:
    """One module of the user's, as the core drives it: its tensors are the core's.

    Parameters
    ----------
    module : Module
        Nobody else's.
    n_classes : int
        Number of classes.
    stream : MemberStream, optional
        Where it draws from in training.
    channels_last : bool, default=False
        Whether to hand images of a single member over with channels innermost in memory, which convolutions on the
        CPU like.
    stack : int, default=1
        Number of members; of several, each tensor has one more dimension in front, and one call of the module
        computes all of them (``torch.func.vmap``).
    """

    def __init__(
        self,
        module: nn.Module,
        n_classes: int,
        stream: MemberStream | None = None,
        channels_last: bool = False,
        stack: int = 1,
    ) -> None:
        self.module = module
        self._n_classes = n_classes
        self._stream = stream
        self._channels_last = channels_last
        self._stack = stack
        self._running: list[torch.Tensor] = []
        self._own: list[torch.Tensor] = []
        self._bound = False
        if stack > 1:
            _stacks.quiet(1)

    def bind_buffers(self, running: list[torch.Tensor]) -> None:
        """Take the tensors that hold frozen parameters and buffers; what training writes to these is kept there."""
        self._running = running

    def forward(self, trained: list[torch.Tensor], x: torch.Tensor, train: bool) -> torch.Tensor:
        """Logits of a batch, with the given trained parameters."""
        if not self._bound:
            self._bind(len(trained), x.device)
        self.module.train(train)
        compute = self._alone if self._stack == 1 else self._together
        if self._channels_last and self._stack == 1:
            x = checks.channels_last(x)
        version = x._version
        if train and self._stream is not None:
            with self._stream():
                logits, running = compute(trained, x)
        else:
            logits, running = compute(trained, x)
        if x._version != version:
            raise checks.in_place(state.label("", self.module))
        if train:
            self._keep_running(running)
        return logits

    def close(self) -> None:
        """Let go of all tensors, even if the module lives on in a cycle."""
        state.let_go(self.module)
        self._running, self._own = [], []
        self.module = nn.Module()
        if self._stack > 1:
            _stacks.quiet(-1)

    def _alone(
        self, trained: Sequence[torch.Tensor], x: torch.Tensor
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Logits of one member, or of any one of a stack; and what its buffers are now."""
        _put(self._trained_places, trained)
        logits = checks.check_logits(self.module(x), len(x), self._n_classes, self.module)
        return logits, [table[key] for (table, key), *_ in self._running_places]

    def _together(
        self, trained: Sequence[torch.Tensor], x: torch.Tensor
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The same for all members of a stack: a functional call of the module, mapped over their tensors."""

        def member(
            trained: list[torch.Tensor], running: list[torch.Tensor], x: torch.Tensor
        ) -> tuple[torch.Tensor, list[torch.Tensor]]:
            _put(self._running_places, running)
            return self._alone(trained, x)

        result: tuple[torch.Tensor, list[torch.Tensor]] = torch.func.vmap(member, randomness="different")(
            list(trained), self._own, x
        )
        return result

    def _bind(self, n_trained: int, device: torch.device) -> None:
        if device.type != "cpu":
            self.module.to(device)
        places = state.places(self.module)
        self._trained_places, self._running_places = places[:n_trained], places[n_trained:]
        kinds = [table[key].dtype for (table, key), *_ in self._running_places]
        # Counters and masks keep their own type; the core keeps floats.
        self._own = [
            tensor if kind == tensor.dtype else tensor.to(kind)
            for tensor, kind in zip(self._running, kinds, strict=True)
        ]
        _put(self._running_places, self._own)
        self._bound = True

    def _keep_running(self, now: list[torch.Tensor]) -> None:
        """Copy what is not written in place: buffers of other types, and those that were replaced."""
        with torch.no_grad():
            for tensor, own, current in zip(self._running, self._own, now, strict=True):
                # A stack takes its buffers from `own` in every pass; a module alone keeps what it put in its place.
                if self._stack > 1 and current.data_ptr() != own.data_ptr():
                    own.copy_(current)
                kept = own if self._stack > 1 else current
                if kept is not tensor:
                    tensor.copy_(kept)


def not_alone(suspects: list[str]) -> str:
    """Say what is wrong with modules that share state, and where it may be."""
    if suspects:
        named = " and ".join(suspects[:2])
        return f"some that are, by way of {named}: build what a module writes to inside of it, as buffers"
    where = "outside of its parameters and buffers (an object of the callable, a class, a cache, a file?)"
    return f"some that are: they share state {where}"


def _put(places: Sequence[state.Places], tensors: Sequence[torch.Tensor]) -> None:
    for places_of_one, tensor in zip(places, tensors, strict=True):
        for table, key in places_of_one:
            table[key] = tensor


class BuiltInModule(nn.Module):
    """A member of a built-in architecture as a module; the core computes, so the logits are the member's own.

    Parameters
    ----------
    name : str
        Name of the architecture.
    shape : tuple of int
        Shape of one sample.
    n_classes : int
        Number of classes.
    values : ndarray
        The member's values: trained ones, then running statistics.

    Examples
    --------
    >>> import certssb as cs
    >>> X, y = cs.datasets.load_digits(classes=(0, 1))
    >>> clf = cs.CertifiedClassifier("linear", n_members=3, alpha=0.5, seed=0, progress=False).fit(X, y)
    >>> member = clf.member(1)
    >>> import torch
    >>> member(torch.as_tensor(X[:3])).shape
    torch.Size([3, 2])
    >>> sorted(member.state_dict())
    ['fc1.bias', 'fc1.weight']
    """

    def __init__(
        self, name: str, shape: tuple[int, ...], n_classes: int, values: npt.NDArray[np.float32]
    ) -> None:
        super().__init__()
        self._core = _core.BuiltIn(name, list(shape), n_classes)
        self._names: dict[bool, list[tuple[nn.Module, str]]] = {True: [], False: []}
        specs = self._core.specs
        start = 0
        for path, size, trained in [s for s in specs if s[2]] + [s for s in specs if not s[2]]:
            n_values = int(np.prod(size))
            tensor = torch.from_numpy(values[start : start + n_values].reshape(size).copy())
            start += n_values
            home, key = self._home(path)
            if trained:
                home.register_parameter(key, nn.Parameter(tensor))
            else:
                home.register_buffer(key, tensor)
            self._names[trained].append((home, key))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of a batch.

        Parameters
        ----------
        x : torch.Tensor of shape (batch, ...)
            Samples of the shape the member was trained on.

        Returns
        -------
        torch.Tensor of shape (batch, n_classes)

        Raises
        ------
        RuntimeError
            For another shape.

        Examples
        --------
        >>> import certssb as cs
        >>> import torch
        >>> X, y = cs.datasets.load_digits(classes=(0, 1))
        >>> clf = cs.CertifiedClassifier("linear", n_members=3, alpha=0.5, seed=0, progress=False).fit(X, y)
        >>> clf.member(0).forward(torch.as_tensor(X[:4])).shape
        torch.Size([4, 2])
        """
        trained, running = ([getattr(home, key) for home, key in self._names[kind]] for kind in (True, False))
        logits: torch.Tensor = self._core.forward(trained, running, x, self.training)
        return logits

    def _home(self, path: str) -> tuple[nn.Module, str]:
        home: nn.Module = self
        *parts, key = path.split(".")
        for part in parts:
            if part not in home._modules:
                home.add_module(part, nn.Module())
            home = home.get_submodule(part)
        return home, key
