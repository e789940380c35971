"""The user's own module as a member: built for each member, checked before training, driven by the core."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from certssb import _core
from certssb import _module_checks as checks
from certssb import _module_state as state
from certssb._checks import parameter_error
from certssb._module_checks import Factory
from certssb._randomness import MemberStream, one_thread

__all__ = ["BuiltInModule"]

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
        The module's class, and a digest of its structure, constants and code: members of different modules are never
        put into one ensemble.
    specs : list of (str, list of int, bool)
        Name, shape and whether it is trained, for each parameter and buffer; trained ones first.
    min_samples : int
        Fewest samples of one member: 2 for modules with batch norm, else 1.
    draws : set of str
        The global generators that the module draws from in training: "torch", "random", "numpy".

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
        self._n_classes = n_classes
        with one_thread():
            self._look()

    def _look(self) -> None:
        """Everything that is found out before training."""
        _, shape, n_classes = self._arguments
        tried, self._prototype = (checks.build(self._factory, seed) for seed in _PROBES)
        for module in (tried, self._prototype):
            checks.check_parts(module)
        checks.check_fresh(tried, self._prototype)
        fresh = state.plain(tried)
        self.name = state.identity(tried)
        self.specs = state.specs(tried)
        self.draws = checks.check_passes(tried, self._prototype, shape, n_classes)
        self._copies = checks.copied(self._prototype) is not None
        restored = self.module(state.values(tried))
        checks.check_restored(tried, restored, shape, fresh)
        self._channels_last = checks.takes_channels_last(restored, shape, bool(self.draws))
        self.min_samples = 1 if checks.takes_one(restored, shape) else 2

    def initial(self, seed: int) -> npt.NDArray[np.float32]:
        """Values of a new member before training, in the order of `specs`."""
        module = checks.build(self._factory, seed)
        if state.specs(module) != self.specs:
            expected = "a callable that returns the same architecture every time"
            raise parameter_error("model", expected, "another one")
        values = state.values(module)
        state.let_go(module)
        return values

    def instance(self, seed: int | None) -> Instance:
        """Make a module of its own for a member; with a seed for what it draws in training."""
        module = checks.copied(self._prototype) if self._copies else None
        module = checks.build(self._factory, _PROBES[1]) if module is None else module
        stream = MemberStream(seed, self.draws) if seed is not None and self.draws else None
        return Instance(module, self._n_classes, stream, self._channels_last)

    def module(self, values: npt.NDArray[np.float32]) -> nn.Module:
        """Make a module with a member's values, in evaluation mode."""
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
        Whether to hand images over with channels innermost in memory, which convolutions on the CPU like.
    """

    def __init__(
        self,
        module: nn.Module,
        n_classes: int,
        stream: MemberStream | None = None,
        channels_last: bool = False,
    ) -> None:
        self._module = module
        self._n_classes = n_classes
        self._stream = stream
        self._channels_last = channels_last
        self._running: list[torch.Tensor] = []
        self._bound = False

    def bind_buffers(self, running: list[torch.Tensor]) -> None:
        """Take the tensors that hold frozen parameters and buffers; what training writes to these is kept there."""
        self._running = running

    def forward(self, trained: list[torch.Tensor], x: torch.Tensor, train: bool) -> torch.Tensor:
        """Logits of a batch, with the given trained parameters."""
        if not self._bound:
            self._bind(len(trained), x.device)
        for places, tensor in zip(self._trained_places, trained, strict=True):
            for table, key in places:
                table[key] = tensor
        self._module.train(train)
        if self._channels_last:
            x = checks.channels_last(x)
        version = x._version
        if train and self._stream is not None:
            with self._stream():
                logits = self._module(x)
        else:
            logits = self._module(x)
        if x._version != version:
            raise checks.in_place(state.label("", self._module))
        if train:
            self._keep_running()
        return checks.check_logits(logits, len(x), self._n_classes, self._module)

    def close(self) -> None:
        """Let go of all tensors, even if the module lives on in a cycle."""
        state.let_go(self._module)
        self._running = []
        self._module = nn.Module()

    def _bind(self, n_trained: int, device: torch.device) -> None:
        if device.type != "cpu":
            self._module.to(device)
        places = state.places(self._module)
        self._trained_places, self._running_places = places[:n_trained], places[n_trained:]
        for places_of_one, tensor in zip(self._running_places, self._running, strict=True):
            table, key = places_of_one[0]
            # Counters and masks keep their own type; the core keeps floats.
            own = tensor if table[key].dtype == tensor.dtype else tensor.to(table[key].dtype)
            for table, key in places_of_one:
                table[key] = own
        self._bound = True

    def _keep_running(self) -> None:
        """Copy what is not written in place: buffers of other types, and those that were replaced."""
        with torch.no_grad():
            for places, tensor in zip(self._running_places, self._running, strict=True):
                table, key = places[0]
                if table[key] is not tensor:
                    tensor.copy_(table[key])


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
    >>> clf = cs.CertifiedClassifier("linear", n_members=3, alpha=0.5, progress=False).fit(X, y)
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
        >>> clf = cs.CertifiedClassifier("linear", n_members=3, alpha=0.5, progress=False).fit(X, y)
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
