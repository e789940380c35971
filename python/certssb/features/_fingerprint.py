"""What an encoder is, as a digest: its weights and state, and the code that Python runs of it.

Two that differ get two digests as far as Python can see into them; what lies in compiled code, or in files that it reads,
is not seen. Two that are equal may get two digests as well, which costs a computation and nothing else.
"""

from __future__ import annotations

import functools
import hashlib
import pickle
import sys
import types
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["fingerprint", "weights"]

_DEEPEST = 12
_PLAIN = (str, bytes, int, float, complex, bool, type(None), type(Ellipsis), slice, range)


def fingerprint(encoder: Any) -> str:
    """A digest of an encoder: 64 hexadecimal digits.

    Examples
    --------
    >>> from certssb.features._fingerprint import fingerprint
    >>> def scaled(by):
    ...     return lambda X: X * by
    >>> fingerprint(scaled(2.0)) == fingerprint(scaled(2.0)), fingerprint(scaled(2.0)) == fingerprint(scaled(3.0))
    (True, False)
    """
    found = _Fingerprint()
    found.add(encoder, 0)
    return found.digest.hexdigest()


def weights(encoder: Any) -> str:
    """A digest of a module's parameters and buffers; empty for what is no module of torch."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(encoder, torch.nn.Module):
        return ""
    digest = hashlib.sha256(type(encoder).__qualname__.encode())
    for name, value in sorted(encoder.state_dict().items()):
        if isinstance(value, torch.Tensor):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


class _Fingerprint:
    def __init__(self) -> None:
        self.digest = hashlib.sha256(f"certssb encoder {sys.version_info[:2]}\n".encode())
        self._met: dict[int, Any] = {}

    def _say(self, *words: object) -> None:
        self.digest.update((" ".join(map(str, words)) + "\n").encode("utf-8", "surrogatepass"))

    def add(self, value: Any, depth: int) -> None:
        if isinstance(value, _PLAIN):
            self._say(type(value).__name__, repr(value))
            return
        if depth > _DEEPEST or id(value) in self._met:
            self._say("again", type(value).__qualname__)
            return
        # What is held here keeps its address, so that nothing else is taken for it.
        self._met[id(value)] = value
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(value, torch.nn.Module):
            self._say(repr(value), weights(value))
            for kind in dict.fromkeys(type(module) for module in value.modules()):
                self.add(kind, depth + 1)
        elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
            self._say(value.dtype.str, value.shape)
            self.digest.update(np.ascontiguousarray(value).tobytes())
        elif isinstance(value, (list, tuple)):
            self._say(type(value).__name__, len(value))
            for each in value:
                self.add(each, depth + 1)
        elif isinstance(value, Mapping):
            self._say(type(value).__name__, len(value))
            for key, each in value.items():
                self.add(key, depth + 1)
                self.add(each, depth + 1)
        elif isinstance(value, types.ModuleType):
            self._say(value.__name__, getattr(value, "__version__", ""))
        elif isinstance(value, functools.partial):
            self.add((value.func, value.args, value.keywords), depth + 1)
        elif isinstance(value, types.MethodType):
            self.add((value.__func__, value.__self__), depth + 1)
        elif isinstance(value, types.FunctionType):
            self._function(value, depth)
        elif isinstance(value, types.CodeType):
            self._code(value, depth)
        elif isinstance(value, type):
            self._class(value, depth)
        else:
            self._object(value, depth)

    def _code(self, code: types.CodeType, depth: int) -> None:
        self._say(code.co_name, code.co_names, code.co_varnames)
        self.digest.update(code.co_code)
        for constant in code.co_consts:
            self.add(constant, depth + 1)

    def _function(self, function: types.FunctionType, depth: int) -> None:
        self._code(function.__code__, depth)
        self.add((function.__defaults__, function.__kwdefaults__), depth + 1)
        for cell in function.__closure__ or ():
            try:
                self.add(cell.cell_contents, depth + 1)
            except ValueError:
                self._say("an empty cell")
        for name in _named(function.__code__):
            if name in function.__globals__:
                self._say(name)
                self.add(function.__globals__[name], depth + 1)

    def _class(self, kind: type, depth: int) -> None:
        top = sys.modules.get(kind.__module__.partition(".")[0])
        self._say(kind.__module__, kind.__qualname__, getattr(top, "__version__", ""))
        if getattr(top, "__version__", "") or kind.__module__ == "builtins":
            return
        for base in kind.__bases__:
            self.add(base, depth + 1)
        for name, value in sorted(vars(kind).items()):
            if not name.startswith("__") or callable(value):
                self._say(name)
                self.add(getattr(value, "__func__", value), depth + 1)

    def _object(self, value: Any, depth: int) -> None:
        self.add(type(value), depth + 1)
        try:
            self.digest.update(pickle.dumps(value, protocol=4))
        except Exception:  # noqa: BLE001  whatever the object's own code raises
            self.add(dict(getattr(value, "__dict__", {})), depth + 1)


def _named(code: types.CodeType) -> list[str]:
    """The names that code, and code within it, looks up."""
    inner = [name for each in code.co_consts if isinstance(each, types.CodeType) for name in _named(each)]
    return list(dict.fromkeys([*code.co_names, *inner]))
