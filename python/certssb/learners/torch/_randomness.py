"""Randomness of the user's own code, led to a member's own generators.

torch, ``random`` and NumPy each have one generator that all threads share. What a factory or a module draws from them
is drawn from generators of one member instead, and theirs are put back.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from certssb._generators import turn

States: TypeAlias = tuple[torch.Tensor, Any, Any]
"""Where torch's (CPU), Python's and NumPy's global generators stand."""


def _get() -> States:
    return torch.default_generator.get_state(), random.getstate(), np.random.get_state()


def _set(states: States) -> None:
    torch.default_generator.set_state(states[0])
    random.setstate(states[1])
    np.random.set_state(states[2])


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let the global generators start from `seed` inside the block, for this thread alone; put them back after."""
    with turn():
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
    """Generators of one member, or of each member of a stack, for what its module draws while it is trained.

    Parameters
    ----------
    seeds : sequence of int
        Where each member's start.
    kinds : set of str
        Which global generators the module draws from: "torch", "random", "numpy". For torch alone every operation is
        handed the member's generator, so that other threads go on; for the others the whole pass holds the lock, and
        a stack has none: what is drawn there would be one value for all members.
    """

    def __init__(self, seeds: Sequence[int], kinds: set[str]) -> None:
        self._alone = not kinds <= {"torch"}
        self._mode = _Redirect(seeds) if kinds == {"torch"} else None
        if self._alone and len(seeds) > 1:
            raise RuntimeError(
                "what is drawn from random and numpy.random cannot be drawn for several members"
            )
        with seeded(seeds[0]):
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
            with turn():
                before = _get()
                try:
                    _set(self._states)
                    yield
                finally:
                    self._states = _get()
                    _set(before)


_DRAWING = threading.local()
"""Whether a member's stream is being drawn from: one around it, of a member whose pass was interrupted, lets it."""


class _Redirect(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Hands each random operation of torch a generator of its own device: the member's, or one after the other
    those of a stack's members, each for the member's own part.

    What is drawn does not depend on how tensors lie in memory, so that a member of a stack draws what it draws alone.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._seeds = list(seeds)
        self._generators: dict[tuple[torch.device, int], torch.Generator] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if (
            torch.Tag.nondeterministic_seeded not in func.tags
            or getattr(_DRAWING, "now", False)
            or kwargs.get("generator") is not None
            or _argument(func, args, kwargs, "dropout_p") == 0.0
        ):
            return func(*args, **kwargs)
        if len(self._seeds) == 1:
            return self._draw(0, func, args, kwargs)
        return self._draw_each(func, args, kwargs)

    def _draw_each(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Draw for the members in turn; an operation that is not the members' parts side by side is refused."""
        stack, given = len(self._seeds), [arg for arg in args if isinstance(arg, torch.Tensor)]
        if given:
            side_by_side = all(arg.ndim > 0 and len(arg) == stack for arg in given)
        else:
            side_by_side = bool(args) and isinstance(args[0], (list, tuple)) and list(args[0][:1]) == [stack]
        if not side_by_side:
            raise RuntimeError(f"{func} cannot be drawn member by member")
        parts, written = [], _written(func, args)
        for member in range(stack):
            own = [arg[member] if isinstance(arg, torch.Tensor) else arg for arg in args]
            if not given:
                own[0] = own[0][1:]
            parts.append(self._draw(member, func, own, kwargs))
            if written and parts[-1] is own[written[0]]:
                parts[-1] = None
        if parts[0] is None:
            return args[written[0]]
        if isinstance(parts[0], torch.Tensor):
            return torch.stack(parts)
        return tuple(torch.stack(part) for part in zip(*parts, strict=True))

    def _draw(self, member: int, func: Any, args: Any, kwargs: Any) -> Any:
        plain = [arg.contiguous() if isinstance(arg, torch.Tensor) else arg for arg in args]
        drawn = self._call(self._generator(_device(args, kwargs), member), func, plain, kwargs)
        for place in _written(func, args):
            if plain[place] is not args[place]:
                args[place].copy_(plain[place])
            # An operation in place answers with what it was given.
            if drawn is plain[place]:
                drawn = args[place]
        return drawn

    def _call(self, generator: torch.Generator, func: Any, args: Any, kwargs: Any) -> Any:
        if any(argument.name == "generator" for argument in func._schema.arguments):
            return func(*args, **kwargs, generator=generator)
        shared = (
            torch.default_generator
            if generator.device.type == "cpu"
            else torch.cuda.default_generators[generator.device.index or 0]
        )
        with turn():
            before = shared.get_state()
            try:
                shared.set_state(generator.get_state())
                _DRAWING.now = True
                return func(*args, **kwargs)
            finally:
                _DRAWING.now = False
                generator.set_state(shared.get_state())
                shared.set_state(before)

    def _generator(self, device: torch.device, member: int) -> torch.Generator:
        key = device, member
        if key not in self._generators:
            self._generators[key] = torch.Generator(device).manual_seed(self._seeds[member])
        return self._generators[key]


def _argument(func: Any, args: Any, kwargs: Any, name: str) -> Any:
    """What an operation is given for a parameter, or its default; None if it has no such parameter."""
    for place, argument in enumerate(func._schema.arguments):
        if argument.name == name:
            default = argument.default_value if argument.has_default_value() else None
            return args[place] if place < len(args) else kwargs.get(name, default)
    return None


def _written(func: Any, args: Any) -> list[int]:
    """Which of the tensors given by place an operation writes to."""
    arguments = list(enumerate(func._schema.arguments))[: len(args)]
    return [place for place, argument in arguments if argument.alias_info and argument.alias_info.is_write]


def _device(args: Any, kwargs: Any) -> torch.device:
    for value in args:
        if isinstance(value, torch.Tensor):
            return value.device
    device = torch.device(kwargs.get("device") or "cpu")
    if device.type == "cuda" and device.index is None:
        # The same generator as for tensors that are there.
        return torch.device("cuda", torch.cuda.current_device())
    return device
