"""The built-in networks as torch modules, to inspect a member or to continue from it.

The definitions match the core's: the same names, shapes and logits, up to rounding. The core trains and asks its own
networks.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F

from certssb._checks import one_of, parameter_error, shown
from certssb.learners.torch import _modes as modes
from certssb.learners.torch._randomness import seeded
from certssb.learners.torch._state import set_values

__all__ = ["BuiltInModule"]

_HIDDEN = 256, 128
"""Widths of the hidden layers of mlp."""

_CHANNELS = 16, 32
_WIDE = 512
"""Channels and hidden layer of cnn."""

_STAGES = 16, 32, 64
_BLOCKS = 5
"""Channels of the stages of resnet, and blocks of each."""


class BuiltInModule(nn.Module):
    """A member of a built-in architecture as a module: plain torch, with the member's logits up to rounding.

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

    Raises
    ------
    ParameterError
        If `name` is not a built-in architecture.

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
        if not isinstance(name, str) or name not in _PARTS:
            raise parameter_error("name", one_of(_PARTS), shown(name))
        self.architecture = name
        # What layers begin with is drawn from the global generator, which is the user's.
        with modes.neutral(), seeded(0):
            _PARTS[name](self, shape, n_classes)
            set_values(self, torch.from_numpy(np.array(values, np.float32)))

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
            For a different shape.

        Examples
        --------
        >>> import certssb as cs
        >>> import torch
        >>> X, y = cs.datasets.load_digits(classes=(0, 1))
        >>> clf = cs.CertifiedClassifier("linear", n_members=3, alpha=0.5, seed=0, progress=False).fit(X, y)
        >>> clf.member(0).forward(torch.as_tensor(X[:4])).shape
        torch.Size([4, 2])
        """
        logits: torch.Tensor = _FORWARD[self.architecture](self, x)
        return logits

    def extra_repr(self) -> str:
        """The name of the architecture, as ``print`` shows it.

        Returns
        -------
        str

        Examples
        --------
        >>> from certssb.modules import BuiltInModule
        >>> import numpy as np
        >>> BuiltInModule("linear", (3,), 2, np.zeros(8, np.float32)).extra_repr()
        "'linear'"
        """
        return f"'{self.architecture}'"


class _Norm(nn.Module):
    """Batch norm with momentum 0.1 and epsilon 1e-5, which counts no batches: a member has no such number."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        running = self.get_buffer("running_mean"), self.get_buffer("running_var")
        return F.batch_norm(x, *running, self.weight, self.bias, self.training)


class _Block(nn.Module):
    """A pre-activation block (He et al. 2016); one that widens halves the image and projects its shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        stride = 1 if inputs == outputs else 2
        self.norm1 = _Norm(inputs)
        self.shortcut = None if stride == 1 else nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm2 = _Norm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        active = F.relu(self.norm1(x))
        shortcut = x if self.shortcut is None else self.shortcut(active)
        y: torch.Tensor = self.conv2(F.relu(self.norm2(self.conv1(active))))
        return y + shortcut


def _dense(module: nn.Module, widths: tuple[int, ...]) -> None:
    for number, pair in enumerate(itertools.pairwise(widths), 1):
        module.add_module(f"fc{number}", nn.Linear(*pair))


def _linear(module: nn.Module, shape: tuple[int, ...], n_classes: int) -> None:
    _dense(module, (math.prod(shape), n_classes))


def _mlp(module: nn.Module, shape: tuple[int, ...], n_classes: int) -> None:
    _dense(module, (math.prod(shape), *_HIDDEN, n_classes))


def _cnn(module: nn.Module, shape: tuple[int, ...], n_classes: int) -> None:
    channels, *sides = shape
    kernel, padding = (5, 0) if min(sides) >= 16 else (3, 1)
    for number, pair in enumerate(itertools.pairwise((channels, *_CHANNELS)), 1):
        module.add_module(f"conv{number}", nn.Conv2d(*pair, kernel, padding=padding))
        sides = [(side + 2 * padding - kernel + 1) // 2 for side in sides]
    _dense(module, (_CHANNELS[-1] * math.prod(sides), _WIDE, n_classes))


def _resnet(module: nn.Module, shape: tuple[int, ...], n_classes: int) -> None:
    module.add_module("conv", nn.Conv2d(shape[0], _STAGES[0], 3, padding=1, bias=False))
    inputs = _STAGES[0]
    for number, outputs in enumerate(_STAGES, 1):
        stage = nn.Sequential()
        for block in range(_BLOCKS):
            stage.add_module(f"block{block + 1}", _Block(outputs if block else inputs, outputs))
        module.add_module(f"stage{number}", stage)
        inputs = outputs
    module.add_module("norm", _Norm(inputs))
    module.add_module("fc", nn.Linear(inputs, n_classes))


def _through_dense(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    layers = [part for part in module.children() if isinstance(part, nn.Linear)]
    x = layers[0](x.flatten(1))
    for layer in layers[1:]:
        x = layer(F.relu(x))
    return x


def _through_cnn(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    for name in ("conv1", "conv2"):
        x = F.relu(F.max_pool2d(module.get_submodule(name)(x), 2))
    return _through_dense(module, x)


def _through_resnet(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    for part in module.children():
        x = F.relu(part(x)).mean((2, 3)) if isinstance(part, _Norm) else part(x)
    return x


_PARTS: dict[str, Callable[[nn.Module, tuple[int, ...], int], None]] = {
    "linear": _linear,
    "discriminant": _linear,
    "ridge": _linear,
    "mlp": _mlp,
    "cnn": _cnn,
    "resnet": _resnet,
}

_FORWARD: dict[str, Callable[[nn.Module, torch.Tensor], torch.Tensor]] = {
    "linear": _through_dense,
    "discriminant": _through_dense,
    "ridge": _through_dense,
    "mlp": _through_dense,
    "cnn": _through_cnn,
    "resnet": _through_resnet,
}
