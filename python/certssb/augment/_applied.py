"""The user's augmentation as training calls it: how it is called, what it is called in a record, what it must not do.

What a member is made of must be its own noised samples and randomness that does not depend on the data; then augmentation is
post-processing of what the law drew, and no certificate changes. So a callable is given copies of a member's batch and a
generator, and what else it could look at is looked for: training samples in its closure, globals and attributes, and memory
of earlier calls.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import itertools
import numbers
import re
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from certssb import _generators
from certssb._checks import parameter_error, shown
from certssb.data._rows import Rows, blocks

__all__ = ["Applied", "described", "prepared", "samples_held", "tried"]

Array: TypeAlias = npt.NDArray[Any]
Augment: TypeAlias = Callable[..., Any]

_DEPTH = 8
_MOST = 20_000
"""Objects that are looked at; a global may be a whole program."""

_LONG = 200
"""Characters of a name in a record."""


class Applied:
    """A callable of the user's: batches of flat rows and a seed in, changed rows out.

    ``augment(batch, rng)`` gets an array and a ``numpy.random.Generator``. With a single parameter it is ``augment(batch)``
    and draws from torch's, Python's and NumPy's global generators, which are seeded for the call, in one thread at a time; a
    ``torch.nn.Module`` gets a tensor, and a transform of torchvision one image after the other, because it changes all images of
    a batch alike.

    Parameters
    ----------
    augment : callable
        The user's.
    shape : tuple of int
        Shape of one sample.
    """

    def __init__(self, augment: Augment, shape: Sequence[int]) -> None:
        self.augment = augment
        self.description = described(augment)
        self._shape = tuple(shape)
        self._call = _way(augment)

    def __reduce__(self) -> tuple[Any, ...]:
        return Applied, (self.augment, self._shape)

    def __call__(self, rows: Array, seed: int) -> Array:
        """Rows (n, features) of single precision, changed; the given ones are not kept."""
        batch = rows.reshape(len(rows), *self._shape)
        return np.ascontiguousarray(_kept(self._call(batch, seed), batch)).reshape(rows.shape)


def prepared(
    augment: Any, features: Rows | Array, received: Rows | Array, batch_size: int
) -> Applied | str | None:
    """An augmentation as the core takes it: the description of a built-in, or a callable that was tried.

    Parameters
    ----------
    augment : callable or None
        What the user gave.
    features, received : Rows or ndarray of shape (n_samples, ...)
        The training samples as members get them, before the noise, and as they came. Neither is handed to the callable.
    batch_size : int
        Samples of one step.

    Raises
    ------
    ParameterError
        If it is no callable, breaks a rule on made-up samples, or holds training samples.
    """
    from certssb.augment import Augmentation, checked

    if augment is None:
        return None
    if isinstance(augment, Augmentation):
        return augment.to_json()
    if not callable(augment):
        raise parameter_error("augment", "None or a callable that takes a batch of samples", shown(augment))
    n = max(1, min(len(features), batch_size, _TRIED))
    checked(augment, np.random.default_rng(_MADE_UP).random((n, *features.shape[1:]), dtype=np.float32))
    for samples in (features, received):
        place = samples_held(augment, samples)
        if place is not None:
            expected = "a callable that looks at nothing but its batch and its generator"
            raise parameter_error("augment", expected, f"one that holds training samples ({place})")
    return Applied(augment, features.shape[1:])


_TRIED = 16
"""Made-up samples of a trial."""

_MADE_UP = 2**62 + 3
"""Their seed, which nobody makes data from: a callable may keep what it was tried on."""


def tried(augment: Augment, batch: Array, seed: int) -> Array:
    """The result of a callable on a batch, which must keep the rules of one call and leave its batch alone."""
    given = batch.copy()
    result = _kept(_way(augment)(given, seed), batch)
    if not np.array_equal(given, batch):
        raise parameter_error(
            "augment", "a callable that does not write to its batch", "a batch that was changed"
        )
    return result.copy()


def _kept(result: Any, batch: Array) -> Array:
    rule = "a callable that keeps"
    if not isinstance(result, np.ndarray):
        raise parameter_error(
            "augment", f"{rule} the type of its batch, an array", f"a {type(result).__name__}"
        )
    if result.shape != batch.shape:
        raise parameter_error("augment", f"{rule} the shape of its batch, {batch.shape}", result.shape)
    if result.dtype != batch.dtype:
        raise parameter_error("augment", f"{rule} the dtype of its batch, {batch.dtype}", result.dtype)
    if not np.isfinite(result).all():
        raise parameter_error("augment", "a callable that returns finite values", "NaN or infinity")
    return result


def _way(augment: Augment) -> Callable[[Array, int], Any]:
    """How a callable wants to be called."""
    torch = sys.modules.get("torch")
    if type(augment).__module__.partition(".")[0] == "torchvision":
        return functools.partial(_image_by_image, augment)
    if torch is not None and isinstance(augment, torch.nn.Module):
        return functools.partial(_as_tensor, augment)
    if _takes_one(augment):
        return functools.partial(_from_global_generators, augment)
    return lambda batch, seed: augment(batch, np.random.default_rng(seed))


def _takes_one(augment: Augment) -> bool:
    try:
        parameters = inspect.signature(augment).parameters.values()
    except (TypeError, ValueError):
        return False
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return False
    places = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(parameter.kind in places for parameter in parameters) == 1


def _from_global_generators(augment: Augment, batch: Array, seed: int) -> Any:
    with _seeded(seed):
        return augment(batch)


def _seeded(seed: int) -> AbstractContextManager[None]:
    """Python's, NumPy's and, where it is in use, torch's global generators from `seed`, in one thread at a time."""
    if "torch" in sys.modules:
        from certssb.learners.torch._randomness import seeded

        return seeded(seed)
    return _generators.seeded(seed)


def _as_tensor(augment: Augment, batch: Array, seed: int) -> Any:
    import torch

    with _seeded(seed), torch.no_grad():
        return _array(augment(torch.from_numpy(batch.copy())))


def _image_by_image(augment: Augment, batch: Array, seed: int) -> Any:
    import torch

    with _seeded(seed), torch.no_grad():
        changed = [_array(augment(torch.from_numpy(image))) for image in batch.copy()]
    for image in changed:
        # Here, where the error says what became of one image.
        if isinstance(image, np.ndarray) and image.shape == batch.shape[1:]:
            continue
        got = image.shape if isinstance(image, np.ndarray) else f"a {type(image).__name__}"
        expected = f"a transform that keeps the shape of an image, {batch.shape[1:]}"
        raise parameter_error("augment", expected, got)
    return np.stack(changed) if changed else batch


def _array(tensor: Any) -> Any:
    import torch

    return tensor.detach().cpu().numpy() if isinstance(tensor, torch.Tensor) else tensor


def described(augment: Augment) -> str:
    """A name, and a digest of the code and the values behind it; where the source lies says nothing.

    Code is compared as Python compiled it, so that another version of Python sees another callable.
    """
    digest = hashlib.sha256()
    for word in itertools.islice(_words(augment, ()), _MOST):
        digest.update(word.encode("utf-8", "surrogatepass"))
        digest.update(b"\0")
    function = augment.func if isinstance(augment, functools.partial) else augment
    name = getattr(function, "__qualname__", None)
    if name is None:
        name = re.sub(r"\s+", " ", repr(augment))
        name = type(augment).__qualname__ if " at 0x" in name or len(name) > _LONG else name
    return f"{name} {digest.hexdigest()[:16]}"


def _words(value: Any, around: tuple[int, ...]) -> Iterator[str]:
    """What a value is, piece by piece; the same for equal ones in another process."""
    if value is None or isinstance(value, (str, bytes, numbers.Number)):
        yield f"{type(value).__name__} {value!r}"
        return
    array = _as_array(value)
    if array is not None:
        values = (
            repr(array.tolist()).encode() if array.dtype == object else np.ascontiguousarray(array).tobytes()
        )
        yield f"{array.dtype.str} {array.shape} {hashlib.sha256(values).hexdigest()}"
        return
    yield type(value).__qualname__
    if id(value) in around or len(around) > _DEPTH:
        return
    if isinstance(value, types.CodeType):
        yield value.co_code.hex()
        yield " ".join(value.co_names)
        parts = [("", constant) for constant in value.co_consts]
    elif isinstance(value, (set, frozenset)):
        yield " ".join(sorted(repr(part) for part in value))
        parts = []
    else:
        if isinstance(value, (types.ModuleType, type, types.BuiltinFunctionType, types.FunctionType)):
            yield str(getattr(value, "__qualname__", getattr(value, "__name__", "")))
        parts = _parts(value)
        if isinstance(value, types.FunctionType) and not _is_a_librarys(value):
            parts.insert(0, ("", value.__code__))
    for name, part in parts:
        yield name
        yield from _words(part, (*around, id(value)))


_LIBRARIES = {
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "sklearn",
    "pandas",
    "certssb",
    "kornia",
    "PIL",
    "builtins",
}


def _is_a_librarys(value: Any) -> bool:
    """Whether a class or function is a library's: its name says what it does, and what it reaches is the library's."""
    return str(getattr(value, "__module__", "")).partition(".")[0] in _LIBRARIES


def _parts(value: Any) -> list[tuple[str, Any]]:
    """What an object holds and what code of the user's reaches, by name."""
    if isinstance(value, (types.ModuleType, types.BuiltinFunctionType, types.CodeType)):
        return []
    if isinstance(value, type):
        return _members(value)
    if isinstance(value, functools.partial):
        return [("func", value.func), ("args", value.args), ("keywords", value.keywords)]
    if isinstance(value, types.MethodType):
        return [("__func__", value.__func__), ("__self__", value.__self__)]
    if isinstance(value, (staticmethod, classmethod)):
        return [("__func__", value.__func__)]
    if isinstance(value, property):
        return [("fget", value.fget)]
    if isinstance(value, types.FunctionType):
        return _reached(value)
    if isinstance(value, Mapping):
        return [(repr(key), part) for key, part in list(value.items())]
    if isinstance(value, (list, tuple)):
        return [(str(place), part) for place, part in enumerate(value)]
    held = dict(getattr(value, "__dict__", {}))
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(value, name):
                held[name] = getattr(value, name)
    return [*sorted(held.items()), *_members(type(value))]


def _members(kind: type) -> list[tuple[str, Any]]:
    """Methods and values of the user's classes."""
    own = [base for base in kind.__mro__ if not _is_a_librarys(base)]
    members = [item for base in own for item in sorted(vars(base).items())]
    return [
        (name, part)
        for name, part in members
        if not name.startswith("__") or name in ("__call__", "__init__")
    ]


def _reached(function: types.FunctionType) -> list[tuple[str, Any]]:
    """Globals that a function names, its closure and its defaults."""
    if _is_a_librarys(function):
        return []
    names = {name for code in _codes(function.__code__) for name in code.co_names}
    known = function.__globals__
    parts = [(f"the global '{name}'", known[name]) for name in sorted(names & known.keys())]
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            parts.append((f"the variable '{name}'", cell.cell_contents))
        except ValueError:  # a cell that is still empty
            continue
    for value in function.__defaults__ or ():
        parts.append(("a default argument", value))
    parts += [
        (f"the default argument '{name}'", part) for name, part in (function.__kwdefaults__ or {}).items()
    ]
    return parts


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def samples_held(augment: Augment, received: Rows | Array) -> str | None:
    """Where a callable holds training samples; None if no such place is found.

    An array is taken for training samples if it lies in their memory, has as many values as they have, or if one of its rows
    is one of them.
    """
    waiting: list[tuple[str, Any, int]] = [("the callable", augment, _DEPTH)]
    seen: dict[int, Any] = {}
    known: set[bytes] | None = None
    size, total = int(np.prod(received.shape[1:])), int(np.prod(received.shape))
    memory = received if isinstance(received, np.ndarray) else received.values
    while waiting and len(seen) < _MOST:
        path, value, depth = waiting.pop()
        if id(value) in seen or isinstance(value, (str, bytes, numbers.Number, types.ModuleType)):
            continue
        # Kept alive, so that no other object gets its identity.
        seen[id(value)] = value
        array = _as_array(value)
        if array is None:
            if depth > 0:
                waiting += [(_path(path, name), part, depth - 1) for name, part in _parts(value)]
            continue
        if array.dtype.kind not in "biuf" or array.size < size or size < 2:
            continue
        if np.may_share_memory(array, memory) or (array.size == total and len(received) > 1):
            return path
        if array.size % size == 0:
            if known is None:
                known = set().union(*map(_rows, blocks(received)))
            if not known.isdisjoint(_rows(array.reshape(-1, size))):
                return path
    return None


def _path(path: str, name: str) -> str:
    if path == "the callable" or name.startswith(("the ", "a ")):
        return name if name.startswith(("the ", "a ")) else f"its '{name}'"
    return f"{path}, '{name}'"


def _rows(array: Array) -> set[bytes]:
    """Digests of samples, as single precision; a constant sample is nobody's."""
    # Zeros without a sign, as samples are read.
    rows = array.reshape(len(array), -1).astype(np.float32) + np.float32(0)
    return {hashlib.sha256(row.tobytes()).digest() for row in rows if row.size and (row != row[0]).any()}


def _as_array(value: Any) -> Array | None:
    """An array, tensor or frame as an array, without a copy where that is possible."""
    if isinstance(value, np.ndarray):
        return value
    torch, pandas = sys.modules.get("torch"), sys.modules.get("pandas")
    if torch is not None and isinstance(value, torch.Tensor):
        numeric = (
            value.device.type == "cpu" and value.layout == torch.strided and value.dtype != torch.bfloat16
        )
        return np.asarray(value.detach().numpy()) if numeric else None
    if pandas is not None and isinstance(value, (pandas.DataFrame, pandas.Series)):
        return np.asarray(value.to_numpy())
    return None
