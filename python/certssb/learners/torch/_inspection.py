"""What Python objects hold, by path: what a module keeps beside its tensors, and what all of its kind can reach.

An inspection sees what Python shows: attributes, containers, closures, globals, defaults, generators' frames, the states
of generators of random numbers. What lies in files, in C or behind objects of the standard library it does not see;
that is what the trials are for (`_trials.py`).
"""

from __future__ import annotations

import array
import collections
import functools
import inspect
import itertools
import numbers
import random
import sys
import threading
import types
import weakref
from collections.abc import Iterable, Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

__all__ = ["caches", "collect", "functions", "own_classes", "shared"]

_DEPTH = 6
_LONG = 1000
_LARGE = 2**20
"""Of longer lists the beginning is looked at, of larger arrays a regular sample: a global may be a whole data set."""

_MOST = 20_000
"""Objects of one inspection."""

_LIBRARIES = {"torch", "numpy", "builtins", "torchvision", "certssb", "scipy", "sklearn", "pandas"}

_Known = set[int] | frozenset[int]


def collect(
    path: str, value: Any, found: dict[str, Any], *, known: _Known = frozenset(), leaves: bool = False
) -> None:
    """Note what `value` holds, under paths that begin with `path`.

    Parameters
    ----------
    known : set of int
        Identities of tensors that are left out.
    leaves : bool
        Whether to leave out tensors that were computed from others.
    """
    _Walk(found, known, leaves).visit(path, value, _DEPTH)


def shared(module: nn.Module, factory: Any = None) -> dict[str, Any]:
    """What all modules of a factory see: class attributes, and the globals, closures and defaults of their code."""
    found: dict[str, Any] = {}
    walk = _around(module, factory, found)
    if factory is not None and not isinstance(factory, (type, FunctionType)):
        walk.visit("the callable", factory, _DEPTH)
    return found


def caches(module: nn.Module, factory: Any = None) -> list[Any]:
    """The ``functools.lru_cache`` that a factory and its modules reach."""
    return _around(module, factory, {}).caches


def _around(module: nn.Module, factory: Any, found: dict[str, Any]) -> _Walk:
    """A walk through all that surrounds a module, but is neither the module nor a part of it."""
    tensors = (*module.parameters(), *module.buffers())
    walk = _Walk(found, known={id(tensor) for tensor in tensors})
    walk.leave_out(module.modules())
    for kind in own_classes(module):
        for key, value in list(vars(kind).items()):
            walk.visit(f"{kind.__name__}.{key}", value, _DEPTH)
    for function in functions(module, factory):
        walk.surroundings(function, _DEPTH)
    return walk


def own_classes(module: nn.Module) -> list[type]:
    """Classes of the module's parts that are not torch's."""
    kinds = {kind: None for part in module.modules() for kind in type(part).__mro__ if not is_torchs(kind)}
    return list(kinds)


def functions(module: nn.Module, factory: Any = None) -> list[FunctionType]:
    """Methods of the module's classes, functions that its parts keep, the factory, and functions that these name."""
    found: dict[FunctionType, None] = {}
    waiting: list[Any] = [value for kind in own_classes(module) for value in vars(kind).values()]
    for part in module.modules():
        for value in vars(part).values():
            waiting.extend(value.values() if isinstance(value, dict) else [value])
    waiting.extend(_ways_in(factory))
    while waiting:
        function = _bare(waiting.pop())
        if not isinstance(function, FunctionType) or function in found or is_torchs(function):
            continue
        found[function] = None
        waiting.extend(_named(function).values())
        waiting.extend(_cells(function).values())
    return list(found)


def is_torchs(thing: Any) -> bool:
    """Whether a class or function is torch's, NumPy's or Python's own."""
    return str(getattr(thing, "__module__", "")).partition(".")[0] in ("torch", "builtins", "numpy")


def _is_a_librarys(thing: Any) -> bool:
    root = str(getattr(thing, "__module__", None) or getattr(thing, "__name__", "")).partition(".")[0]
    return root in _LIBRARIES or (root != "__main__" and root in sys.stdlib_module_names)


def _ways_in(factory: Any) -> list[Any]:
    """Functions that run when the factory is called, beside the modules' own."""
    if factory is None or isinstance(factory, FunctionType):
        return [factory]
    if isinstance(factory, type):
        return list(vars(factory).values())
    return [factory, *vars(type(factory)).values()]


def _bare(value: Any) -> Any:
    """The function inside of whatever it was wrapped in."""
    for _ in range(8):
        if isinstance(value, functools.partial):
            value = value.func
        elif isinstance(value, (MethodType, staticmethod, classmethod)):
            value = value.__func__
        elif isinstance(value, property):
            value = value.fget
        elif isinstance(value, functools.cached_property):
            value = value.func
        elif not isinstance(value, FunctionType) and hasattr(value, "__wrapped__"):
            value = value.__wrapped__
    try:
        return inspect.unwrap(value) if callable(value) else value
    except ValueError:
        return value


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _named(function: FunctionType) -> dict[str, Any]:
    """Globals that a function's code names; of the user's modules what the code names of them."""
    names = {name for code in _codes(function.__code__) for name in code.co_names}
    found: dict[str, Any] = {}
    for name in sorted(names & function.__globals__.keys()):
        value = function.__globals__[name]
        if not isinstance(value, ModuleType):
            found[name] = value
        elif not _is_a_librarys(value):
            found.update({f"{name}.{key}": vars(value)[key] for key in sorted(names & vars(value).keys())})
    return found


def _cells(function: FunctionType) -> dict[str, Any]:
    found = {}
    for key, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            found[key] = cell.cell_contents
        except ValueError:  # a cell that is still empty
            continue
    return found


class _Walk:
    """One inspection; every container is looked at once."""

    def __init__(self, found: dict[str, Any], known: _Known = frozenset(), leaves: bool = False) -> None:
        self.caches: list[Any] = []
        self._found = found
        self._known = known
        self._leaves = leaves
        self._seen: dict[int, Any] = {}

    def leave_out(self, objects: Iterable[Any]) -> None:
        """Look at none of these."""
        self._seen.update((id(thing), thing) for thing in objects)

    def surroundings(self, function: FunctionType, depth: int) -> None:
        """What a function can reach without being given it."""
        for key, value in _named(function).items():
            self.visit(f"the global '{key}'", value, depth)
        for key, value in _cells(function).items():
            self.visit(f"the variable '{key}'", value, depth)
        names = function.__code__.co_varnames[: function.__code__.co_argcount]
        defaults = function.__defaults__ or ()
        for key, value in zip(names[len(names) - len(defaults) :], defaults, strict=False):
            self.visit(f"the default argument '{key}' of {function.__qualname__}", value, depth)
        for key, value in (function.__kwdefaults__ or {}).items():
            self.visit(f"the default argument '{key}' of {function.__qualname__}", value, depth)
        for key, value in vars(function).items():
            self.visit(f"{function.__qualname__}.{key}", value, depth)

    def visit(self, path: str, value: Any, depth: int) -> None:
        if self._plain(path, value) or depth == 0 or id(value) in self._seen or len(self._seen) >= _MOST:
            return
        # Kept alive, so that no other object gets its identity.
        self._seen[id(value)] = value
        self._inside(path, value, depth - 1)

    def _plain(self, path: str, value: Any) -> bool:
        """Note a value that has nothing inside."""
        if isinstance(value, torch.Tensor):
            if id(value) not in self._known and (value.is_leaf or not self._leaves):
                self._found[path] = _sample(value) if value.device.type != "meta" else tuple(value.shape)
        elif isinstance(value, np.ndarray) and value.dtype != object:
            large = value.size > _LARGE
            self._found[path] = (value.flat[:: 1 + value.size // _LARGE] if large else value).copy()
        elif value is None or isinstance(value, (numbers.Number, str, bool)):
            self._found[path] = value
        elif isinstance(value, (bytes, bytearray, array.array, memoryview)):
            self._found[path] = bytes(value)
        elif isinstance(value, itertools.count):
            self._found[path] = repr(value)
        elif isinstance(value, torch.Generator):
            self._found[path] = value.get_state()
        elif isinstance(value, random.Random):
            self._found[path] = value.getstate()
        elif isinstance(value, np.random.Generator):
            self._found[path] = repr(value.bit_generator.state)
        elif isinstance(value, np.random.RandomState):
            self._found[path] = repr(value.get_state())
        else:
            return False
        return True

    def _inside(self, path: str, value: Any, depth: int) -> None:
        if isinstance(value, dict):
            self._found[f"{path} (length)"] = len(value)
            for key in itertools.islice(list(value), _LONG):
                self.visit(f"{path}[{key!r}]", value.get(key), depth)
        elif isinstance(value, (list, tuple, collections.deque)):
            self._found[f"{path} (length)"] = len(value)
            for number, item in enumerate(itertools.islice(list(value), _LONG)):
                self.visit(f"{path}[{number}]", item, depth)
        elif isinstance(value, (set, frozenset)):
            plain = sorted(repr(item) for item in value if isinstance(item, (numbers.Number, str)))
            self._found[f"{path} (length)"] = len(value)
            self._found[path] = repr(plain[:_LONG])
        elif isinstance(value, functools.partial):
            for key, part in (("func", value.func), ("args", value.args), ("keywords", value.keywords)):
                self.visit(f"{path}.{key}", part, depth)
        elif isinstance(value, functools._lru_cache_wrapper):
            # What a cache holds is judged by behaviour: filling one changes nothing.
            self.caches.append(value)
            self.visit(path, value.__wrapped__, depth)
        elif isinstance(value, MethodType):
            self.visit(f"{path}.__self__", value.__self__, depth)
        elif isinstance(value, (FunctionType, BuiltinFunctionType)):
            self._found[path] = Code(value)
            if isinstance(value, FunctionType) and not is_torchs(value) and not self._leaves:
                self.surroundings(value, depth)
        elif isinstance(value, types.GeneratorType):
            self._found[f"{path} (place)"] = value.gi_frame.f_lasti if value.gi_frame else None
            self.visit(f"{path}'s variables", dict(value.gi_frame.f_locals) if value.gi_frame else {}, depth)
        elif isinstance(value, weakref.ref):
            self.visit(f"{path}()", value(), depth)
        elif isinstance(value, type):
            if not _is_a_librarys(value):
                for key, part in list(vars(value).items()):
                    self.visit(f"{value.__name__}.{key}", part, depth)
        elif isinstance(value, (types.SimpleNamespace, threading.local, nn.Module)) or not _is_a_librarys(
            type(value)
        ):
            self._attributes(path, value, depth)

    def _attributes(self, path: str, value: Any, depth: int) -> None:
        if isinstance(value, nn.Module) and self._leaves:
            return
        for key, part in list(getattr(value, "__dict__", {}).items()):
            if not (isinstance(value, nn.Module) and key.endswith("_hooks")):
                self.visit(f"{path}.{key}", part, depth)
        for kind in type(value).__mro__:
            slots = vars(kind).get("__slots__", ())
            for key in (slots,) if isinstance(slots, str) else slots:
                if key not in ("__dict__", "__weakref__") and hasattr(value, key):
                    self.visit(f"{path}.{key}", getattr(value, key), depth)


class Code:
    """A function as a value: equal if it is the same code."""

    def __init__(self, function: Any) -> None:
        self.name = f"{function.__module__}.{function.__qualname__}"
        self._code = getattr(function, "__code__", None)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Code) and (self.name, self._code) == (other.name, other._code)

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return self.name


def _sample(tensor: torch.Tensor) -> torch.Tensor:
    tensor = tensor.detach()
    if tensor.numel() <= _LARGE:
        return tensor.clone()
    return tensor.reshape(-1)[:: 1 + tensor.numel() // _LARGE].clone()
