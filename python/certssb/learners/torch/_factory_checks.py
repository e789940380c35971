"""What must hold of the user's module, looked at before anything is trained.

A factory that cannot work is refused with the sub-module named: better now than in member 700.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.nn import functional as F

from certssb._checks import parameter_error
from certssb.exceptions import CertssbError, ParameterError, ShapeError
from certssb.learners.torch import _inspection
from certssb.learners.torch import _state as state
from certssb.learners.torch._randomness import seeded, states, used

Factory: TypeAlias = Callable[[], nn.Module]

_FACTORY = (
    "the name of a built-in architecture or a callable without arguments that returns a fresh torch.nn.Module"
)
_BATCH = 4

RTOL, ATOL = 1e-4, 1e-5
"""Logits that may differ by rounding only."""

ALONE = "return logits that do not depend on the rest of the batch in evaluation mode"


def refusal(expected: str, got: str) -> ParameterError:
    """Say what the factory's modules must do, as what follows 'a callable whose modules', and what came."""
    return parameter_error("model", f"a callable whose modules {expected}", got)


def build(factory: Factory, seed: int) -> nn.Module:
    """Call the factory with the global generators seeded, and put those back."""
    if isinstance(factory, nn.Module):
        got = f"a module; pass what makes it: lambda: {type(factory).__name__}(...)"
        raise parameter_error("model", _FACTORY, got)
    if not callable(factory):
        raise parameter_error("model", _FACTORY, repr(factory))
    try:
        with seeded(seed), torch.enable_grad():
            module = factory()
    except CertssbError:
        raise
    except Exception as error:
        raise parameter_error("model", _FACTORY, f"one that raises {text(error)}") from error
    if not isinstance(module, nn.Module):
        raise parameter_error("model", _FACTORY, f"one that returns {type(module).__name__}")
    return module


@contextmanager
def failures() -> Iterator[None]:
    """Refuse a module whose code fails inside the block, in whatever way."""
    try:
        yield
    except CertssbError:
        raise
    except Exception as error:
        raise refusal("can be trained and asked", f"one that raises {text(error)}") from error


def check_parts(module: nn.Module) -> None:
    """Refuse parts that members cannot be made of."""
    for name, part in module.named_modules():
        here = state.label(name, part)
        if isinstance(part, torch.jit.ScriptModule):
            raise refusal("are plain modules", f"{here}, which is compiled by torch.jit")
        if type(part).__name__ == "OptimizedModule":
            raise refusal("are plain modules", f"{here}, which is compiled by torch.compile")
        if isinstance(part, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            raise refusal("have no parallel wrappers, since members run side by side", here)
        if type(part).get_extra_state is not nn.Module.get_extra_state:
            raise refusal("have no state but parameters and buffers", f"{here}, which has an extra state")
    for name, tensor, trained in state.tensors(module):
        here = f"{state.owner(module, name)}, whose '{name.rpartition('.')[2]}'"
        if nn.parameter.is_lazy(tensor):
            raise refusal("know their sizes", f"{here} waits for its first input (a lazy module)")
        if tensor.device.type != "cpu":
            expected = "are made on the CPU (the parameter 'device' takes them elsewhere)"
            raise refusal(expected, f"{here} is on the device '{tensor.device}'")
        is_parameter = trained or isinstance(tensor, nn.Parameter)
        if tensor.dtype != torch.float32 and (
            is_parameter or tensor.is_floating_point() or tensor.is_complex()
        ):
            raise refusal("are float32 throughout", f"{here} is {_dtype(tensor)}: call .float()")
        if not state.is_exact(tensor):
            raise refusal("keep integers up to 2**24 in their buffers", f"{here} holds larger ones")
        if not bool(torch.isfinite(tensor).all()):
            raise refusal("begin with finite values", f"{here} is not finite")
    if not any(trained for _, _, trained in state.tensors(module)):
        raise refusal("have trainable parameters", f"{state.label('', module)}, which has none")


def check_fresh(a: nn.Module, b: nn.Module) -> None:
    """Refuse a factory whose modules have a part in common: their members would not be independent."""
    ours = {id(part): name for name, part in a.named_modules()}
    for name, part in b.named_modules():
        if id(part) in ours:
            got = f"two with {state.label(name, part)} in common; build it inside the callable"
            raise refusal("share nothing with the next one it returns", got)
    storages = {_storage(tensor) for _, tensor, _ in state.tensors(a) if tensor.numel()}
    for name, tensor, _ in state.tensors(b):
        if tensor.numel() and _storage(tensor) in storages:
            got = f"two that share the '{name.rpartition('.')[2]}' of {state.owner(b, name)}; clone it"
            raise refusal("share nothing with the next one it returns", got)
    if state.specs(a) != state.specs(b):
        different = [one for one, other in zip(state.specs(a), state.specs(b), strict=False) if one != other]
        got = f"two that differ{f', as in {different[0][0]}' if different else ''}"
        raise refusal("have the same parameters and buffers every time", got)
    apart = state.differences(state.plain(a), state.plain(b))
    if apart:
        got = f"two that differ in '{apart[0]}'; use register_buffer for what belongs to a member"
        raise refusal("have the same attributes every time, beside parameters and buffers", got)


def check_passes(
    factory: Factory, module: nn.Module, other: nn.Module, shape: tuple[int, ...], n_classes: int
) -> set[str]:
    """Run `module` as voting and training will; say from which global generators it draws in training.

    `module` is trained a little; `other`, the next one of the factory, must not notice.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.rand((_BATCH, *shape), generator=generator)
    common, others = _inspection.shared(module, factory), _everything(other)
    with torch.no_grad():
        _check_voting(module, x, n_classes)
    # Whatever the module draws here must not move the user's generators.
    with seeded(0), torch.enable_grad():
        before = states()
        _step(module, x, n_classes)
        draws = used(before)
        _step(module, x, n_classes)
    changed = state.differences(common, _inspection.shared(module, factory))
    if changed:
        got = f"one that changes {changed[0]}, which all of them see"
        raise refusal("keep what they learn to themselves", got)
    changed = state.differences(others, _everything(other))
    if changed:
        got = f"two of which one changes '{changed[0]}' of the other"
        raise refusal("share nothing with the next one it returns", got)
    return draws


def check_restored(
    module: nn.Module, restored: nn.Module, shape: tuple[int, ...], fresh: dict[str, Any]
) -> None:
    """Refuse a module that learns something which is neither parameter nor buffer."""
    x = torch.rand((_BATCH, *shape), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        same = torch.allclose(module.eval()(x.clone()), restored.eval()(x.clone()), rtol=RTOL, atol=ATOL)
    if not same:
        changed = state.differences(fresh, state.plain(module))
        what = f"'{changed[0]}'" if changed else "something"
        got = f"one that learns {what} beside them, which voting and saving would lose: use register_buffer"
        raise refusal("have no state but parameters and buffers", got)


def takes_one(module: nn.Module, shape: tuple[int, ...]) -> bool:
    """Whether the module can be trained on a batch of one sample, which batch norm cannot."""
    x = torch.rand((1, *shape), generator=torch.Generator().manual_seed(2))
    try:
        with seeded(0), torch.enable_grad():
            return bool(torch.isfinite(module.train()(x)).all())
    except Exception:  # noqa: BLE001 - whatever it is, one sample is too few
        return False


def channels_last(x: torch.Tensor) -> torch.Tensor:
    """The same images with channels innermost in memory; also for one channel, where torch sees no difference."""
    return torch.empty_like(x, memory_format=torch.channels_last).copy_(x)


def takes_channels_last(module: nn.Module, shape: tuple[int, ...], is_random: bool) -> bool:
    """Whether images with channels innermost in memory give the same logits; ``x.view`` refuses them, for one.

    What a module draws in training is drawn in the order of memory: there it is enough that nothing fails.
    """
    if len(shape) != 3 or not any(isinstance(part, nn.Conv2d) for part in module.modules()):
        return False
    x = torch.rand((_BATCH, *shape), generator=torch.Generator().manual_seed(3))
    try:
        for train in (True, False):
            logits = []
            for images in (x, channels_last(x)):
                with seeded(0), torch.set_grad_enabled(train):
                    logits.append(module.train(train)(images))
            if train:
                trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
                torch.autograd.grad(logits[1].sum(), trained, allow_unused=True)
            same = torch.allclose(logits[0], logits[1], rtol=1e-4, atol=1e-4)
            if not same and not (train and is_random):
                return False
    except Exception:  # noqa: BLE001 - whatever it is, the usual layout works
        return False
    return True


def check_logits(logits: object, batch: int, n_classes: int, module: nn.Module) -> torch.Tensor:
    """Refuse an answer that is no batch of logits."""
    if (
        isinstance(logits, torch.Tensor)
        and logits.shape == (batch, n_classes)
        and logits.dtype == torch.float32
    ):
        return logits
    here, expected = (
        state.label("", module),
        f"logits of shape (batch, n_classes), here ({batch}, {n_classes})",
    )
    if not isinstance(logits, torch.Tensor):
        raise refusal(f"return one tensor, the {expected}", f"{here}, which returns {type(logits).__name__}")
    if tuple(logits.shape) != (batch, n_classes):
        last = _last(module)
        raise ShapeError(
            f"The 'model' parameter must be a callable whose modules return {expected}. Got shape "
            f"{tuple(logits.shape)} from {here} instead{f'; its last part is {last}' if last else ''}."
        )
    if logits.dtype != torch.float32:
        raise refusal(f"return float32 {expected}", f"{_dtype(logits)} from {here}")
    return logits


def in_place(where: str) -> ParameterError:
    """The refusal of a module that changes what it is given."""
    got = f"{where}, which changes it in place (inplace=True, or an operation such as x += 1)"
    return refusal("leave their input as it is", got)


def _check_voting(module: nn.Module, x: torch.Tensor, n_classes: int) -> None:
    module.eval()
    for name, part in module.named_modules():
        if part.training:
            got = f"{state.label(name, part)}, which stays in training mode"
            raise refusal("go to evaluation mode as a whole when eval() is called", got)
    kept = _everything(module)
    logits = check_logits(_traced(module, x), len(x), n_classes, module)
    if not bool(torch.isfinite(logits).all()):
        raise refusal("return finite logits", f"{state.label('', module)}, whose logits are not")
    with seeded(1):
        again = _traced(module, x)
    if not torch.equal(logits, again):
        got = f"{_first_difference(module, x, x)}, which answers the same input differently (randomness in eval mode?)"
        raise refusal("return the same logits for the same input in evaluation mode", got)
    for number, company in enumerate(companies(x)):
        rows = slice(None) if number == len(x) else slice(number, number + 1)
        theirs = _traced(module, company)
        if not torch.allclose(
            logits[rows], (theirs.flip(0) if number == len(x) else theirs)[rows], rtol=RTOL, atol=ATOL
        ):
            got = f"{_first_difference(module, x, company, number)}, which depends on it (statistics of the batch?)"
            raise refusal(ALONE, got)
    changed = state.differences(kept, _everything(module))
    if any(path.startswith("tensor ") for path in changed):
        name = changed[0].removeprefix("tensor ")
        raise refusal(
            "leave their parameters and buffers alone in evaluation mode",
            f"{state.owner(module, name)}, which changes '{name}'",
        )


def companies(x: torch.Tensor) -> list[torch.Tensor]:
    """Batches in which each row in turn stays while all others change; the last one has all rows in reverse order."""
    other = 3.0 * x.flip(0) - 1.0
    places = torch.arange(len(x)).view(-1, *[1] * (x.ndim - 1))
    return [*(torch.where(places == row, x, other) for row in range(len(x))), x.flip(0)]


def _step(module: nn.Module, x: torch.Tensor, n_classes: int) -> None:
    """One step of training; refuses what training would stumble over."""
    module.train()
    logits = check_logits(_traced(module, x), len(x), n_classes, module)
    if not logits.requires_grad:
        raise _without_gradient(module, x)
    names, trained = zip(*((n, t) for n, t, is_trained in state.tensors(module) if is_trained), strict=True)
    loss = F.cross_entropy(logits, torch.arange(len(x)) % n_classes)
    try:
        gradients = torch.autograd.grad(loss, trained, allow_unused=True)
    except RuntimeError as error:
        raise refusal("return logits that can be differentiated", text(error)) from error
    if all(gradient is None for gradient in gradients):
        raise _without_gradient(module, x)
    with torch.no_grad():
        for name, parameter, gradient in zip(names, trained, gradients, strict=True):
            if gradient is None:
                continue
            if not bool(torch.isfinite(gradient).all()):
                got = f"{state.owner(module, name)}, whose '{name.rpartition('.')[2]}' has another"
                raise refusal("have finite gradients", got)
            parameter.sub_(gradient, alpha=0.01)


def _traced(module: nn.Module, x: torch.Tensor) -> Any:
    """A forward pass that knows which sub-module fails, and which one changes the input in place."""
    given, storage = x.clone(), _storage(x)
    stack: list[tuple[str, nn.Module, int]] = []
    guilty: list[str] = []

    def enter(name: str) -> Callable[[nn.Module, Any], None]:
        return lambda part, _: stack.append((name, part, x._version))

    def leave(part: nn.Module, inputs: Any, _: Any) -> None:
        name, part, version = stack.pop()
        touched = any(isinstance(t, torch.Tensor) and _storage(t) == storage for t in inputs)
        if touched and x._version != version and not guilty:
            guilty.append(state.label(name, part))

    handles: list[Any] = []
    for name, part in module.named_modules():
        handles += [part.register_forward_pre_hook(enter(name)), part.register_forward_hook(leave)]
    try:
        result = module(x)
    except Exception as error:
        name, part, _ = stack[-1] if stack else ("", module, 0)
        got = f"{state.label(name, part)}, which raises {text(error)}"
        raise refusal(f"take a batch of shape {tuple(x.shape)}", got) from error
    finally:
        for handle in handles:
            handle.remove()
    if guilty or not torch.equal(given, x):
        raise in_place(guilty[0] if guilty else state.label("", module))
    return result


def _without_gradient(module: nn.Module, x: torch.Tensor) -> ParameterError:
    """The refusal of a module whose logits no parameter has a part in; names where the gradient ends."""
    ends: list[str] = []

    def leave(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def look(part: nn.Module, inputs: Any, result: Any) -> None:
            if isinstance(result, torch.Tensor) and result.is_floating_point() and not result.requires_grad:
                sources = [t for t in inputs if isinstance(t, torch.Tensor)]
                if any(t.requires_grad for t in (*sources, *part.parameters())):
                    ends.append(state.label(name, part))

        return look

    handles = [part.register_forward_hook(leave(name)) for name, part in module.named_modules()]
    try:
        module(x.clone())
    finally:
        for handle in handles:
            handle.remove()
    where = ends[0] if ends else state.label("", module)
    got = f"{where}, behind which they have none (a detach() or no_grad() inside?)"
    return refusal("return logits with a gradient", got)


def _first_difference(module: nn.Module, x: torch.Tensor, other: torch.Tensor, row: int = 0) -> str:
    """The first innermost sub-module whose answer for a row differs between two passes over the same row."""
    places = (0, len(x) - 1) if row == len(x) else (row, row)
    first, second = (
        _rows(module, batch, seed, place)
        for batch, seed, place in zip((x, other), (0, 1), places, strict=True)
    )
    for (name, a), (_, b) in zip(first, second, strict=False):
        if a.shape != b.shape or not torch.allclose(a, b, rtol=RTOL, atol=ATOL):
            return state.label(name, module.get_submodule(name))
    return state.label("", module)


def first_apart(one: nn.Module, other: nn.Module, shape: tuple[int, ...]) -> str:
    """The first innermost sub-module that answers otherwise in one of two modules that should be the same."""
    x = torch.rand((_BATCH, *shape), generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        first, second = (_rows(module, x, 0, 0) for module in (one, other))
    for (name, a), (_, b) in zip(first, second, strict=False):
        if a.shape != b.shape or not torch.allclose(a, b, rtol=RTOL, atol=ATOL):
            return state.label(name, one.get_submodule(name))
    return state.label("", one)


def _rows(module: nn.Module, x: torch.Tensor, seed: int, place: int) -> list[tuple[str, torch.Tensor]]:
    rows: list[tuple[str, torch.Tensor]] = []

    def leave(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def keep(_: nn.Module, __: Any, result: Any) -> None:
            if isinstance(result, torch.Tensor) and result.ndim and len(result) == len(x):
                rows.append((name, result[place].detach().clone()))

        return keep

    handles = [part.register_forward_hook(leave(name)) for name, part in module.named_modules()]
    try:
        with seeded(seed):
            module(x)
    finally:
        for handle in handles:
            handle.remove()
    return rows


def _everything(module: nn.Module) -> dict[str, Any]:
    kept = {f"tensor {name}": tensor.detach().clone() for name, tensor, _ in state.tensors(module)}
    return kept | state.plain(module)


def _last(module: nn.Module) -> str | None:
    leaves = [(name, part) for name, part in module.named_modules() if name and not list(part.children())]
    return state.label(*leaves[-1]) if leaves else None


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def text(error: BaseException) -> str:
    """An exception in one line."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def copied(prototype: nn.Module) -> nn.Module | None:
    """A module like `prototype` with a state of its own but the same parameters and buffers; None if it cannot be.

    The tensors are about to be replaced, so they are not copied.
    """
    memo: dict[int, Any] = {id(tensor): tensor for _, tensor, _ in state.tensors(prototype)}
    try:
        return copy.deepcopy(prototype, memo)
    except Exception:  # noqa: BLE001 - modules may refuse in any way; the factory makes another one then
        return None
