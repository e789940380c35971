"""The same networks as certssb's, as ordinary modules."""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.nn import functional as F


def _linear(shape: tuple[int, ...], n_classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(shape).numel(), n_classes))


def _cnn(shape: tuple[int, ...], n_classes: int) -> nn.Module:
    """conv16 - conv32 - fc512; 5x5 kernels, or padded 3x3 ones for images below 16 pixels."""
    channels, height, width = shape
    kernel, padding = (5, 0) if min(height, width) >= 16 else (3, 1)

    def after(n: int) -> int:
        for _ in range(2):
            n = (n + 2 * padding - kernel + 1) // 2
        return n

    return nn.Sequential(
        nn.Conv2d(channels, 16, kernel, padding=padding),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, kernel, padding=padding),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * after(height) * after(width), 512),
        nn.ReLU(),
        nn.Linear(512, n_classes),
    )


class _Block(nn.Module):
    """A pre-activation block of two 3x3 convolutions."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        stride = 1 if inputs == outputs else 2
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if stride == 2 else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        active = F.relu(self.norm1(x))
        beside = x if self.shortcut is None else self.shortcut(active)
        return self.conv2(F.relu(self.norm2(self.conv1(active)))) + beside


def _resnet(shape: tuple[int, ...], n_classes: int) -> nn.Module:
    """Three stages of five blocks, 16, 32 and 64 channels."""
    widths = [16] * 6 + [32] * 5 + [64] * 5
    blocks = [_Block(a, b) for a, b in itertools.pairwise(widths)]
    return nn.Sequential(
        nn.Conv2d(shape[0], 16, 3, padding=1, bias=False),
        *blocks,
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, n_classes),
    )


MODELS = {"linear": _linear, "cnn": _cnn, "resnet": _resnet}


def build(name: str, shape: tuple[int, ...], n_classes: int) -> nn.Module:
    """The network called `name` for samples of that shape."""
    return MODELS[name](shape, n_classes)
