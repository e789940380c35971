"""Randomness of the user's own code, led to a member's own generators.

torch, ``random`` and NumPy each have one generator that all threads share. What a factory or a module draws from them
is drawn from generators of one member instead, and theirs are put back.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

States: TypeAlias = tuple[torch.Tensor, Any, Any]
"""Where torch's (CPU), Python's and NumPy's global generators stand."""

_LOCK = threading.RLock()
"""Whoever exchanges the states of the global generators holds it."""


def _get() -> States:
    return torch.default_generator.get_state(), random.getstate(), np.random.get_state()


def _set(states: States) -> None:
    torch.default_generator.set_state(states[0])
    random.setstate(states[1])
    np.random.set_state(states[2])


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let the global generators start from `seed` inside the block, for this thread alone; put them back after."""
    with _LOCK:
        before = _get()
        try:
            torch.default_generator.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed % 2**32)
            yield
        finally:
            _set(before)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread inside the block: small operations crawl on several of a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def used(before: States) -> set[str]:
    """Which of the global generators have moved since `before`."""
    now = _get()
    moved = {
        "torch": not torch.equal(before[0], now[0]),
        "random": before[1] != now[1],
        "numpy": before[2][2:] != now[2][2:] or not np.array_equal(before[2][1], now[2][1]),
    }
    return {name for name, differs in moved.items() if differs}


states = _get


class MemberStream:
    """Generators of one member, for what its module draws while it is trained.

    Parameters
    ----------
    seed : int
        Where they start.
    kinds : set of str
        Which global generators the module draws from: "torch", "random", "numpy". For torch alone every operation is
        handed the member's generator, so that other threads go on; for the others the whole pass holds the lock.
    """

    def __init__(self, seed: int, kinds: set[str]) -> None:
        self._alone = not kinds <= {"torch"}
        self._mode = _Redirect(seed) if kinds == {"torch"} else None
        with seeded(seed):
            self._states = _get()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Draw from the member's generators inside the block."""
        if self._mode is not None:
            with self._mode:
                yield
        elif not self._alone:
            yield
        else:
            with _LOCK:
                before = _get()
                try:
                    _set(self._states)
                    yield
                finally:
                    self._states = _get()
                    _set(before)


class _Redirect(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Hands each random operation of torch a generator of its own device."""

    def __init__(self, seed: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._seed = seed
        self._generators: dict[torch.device, torch.Generator] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in func.tags or kwargs.get("generator") is not None:
            return func(*args, **kwargs)
        generator = self._generator(_device(args, kwargs))
        if any(argument.name == "generator" for argument in func._schema.arguments):
            return func(*args, **kwargs, generator=generator)
        shared = (
            torch.default_generator
            if generator.device.type == "cpu"
            else torch.cuda.default_generators[generator.device.index or 0]
        )
        with _LOCK:
            before = shared.get_state()
            try:
                shared.set_state(generator.get_state())
                return func(*args, **kwargs)
            finally:
                generator.set_state(shared.get_state())
                shared.set_state(before)

    def _generator(self, device: torch.device) -> torch.Generator:
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self._seed)
        return self._generators[device]


def _device(args: Any, kwargs: Any) -> torch.device:
    for value in args:
        if isinstance(value, torch.Tensor):
            return value.device
    return torch.device(kwargs.get("device") or "cpu")
