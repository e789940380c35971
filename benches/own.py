"""The user's own module in the benchmark's GPU section: stacks beside members one by one. Runs on any device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import measure
import numpy as np
import torch
from measure import Row
from torch import nn
from work import Data, synthetic

import certssb as cs


def convolutional() -> nn.Module:
    """The literature's cnn, written by a user, with dropout and batch norm."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Dropout(0.2), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 2),
    )  # fmt: skip


class Attention(nn.Module):
    """Rows of an image as a sequence, through a transformer's layer."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(28, 4, 64, dropout=dropout, batch_first=True)
        self.fc = nn.Linear(28, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.layer(x[:, 0]).mean(1))


class Recurrent(nn.Module):
    """What vmap has no rule for."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.fc = nn.LSTM(28, 32, batch_first=True), nn.Linear(32, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.lstm(x[:, 0])[0][:, -1])


MODULES: dict[str, Callable[[], nn.Module]] = {
    "cnn": convolutional,
    "attention": lambda: Attention(0.0),
    "attention with dropout": lambda: Attention(0.1),
    "lstm": Recurrent,
}


def _fit(data: Data, model: Callable[[], nn.Module], **settings: Any) -> cs.CertifiedClassifier:
    clf = cs.CertifiedClassifier(model, cs.Gaussian(0.5), progress=False, alpha=0.9, seed=3, **settings)
    return clf.fit(data.X, data.y)


def checks(device: str, n: int = 400) -> Iterator[tuple[str, bool, str]]:
    """Members of a stack beside the same members one by one, on the same device: same draws, other rounding."""
    data = synthetic(n, n // 2, (1, 28, 28))
    for name, model in MODULES.items():
        settings = {"n_members": 8, "epochs": 2, "batch_size": 50, "device": device, "n_jobs": 1}
        alone, together = (_fit(data, model, stack=stack, **settings) for stack in (1, 8))
        apart = np.abs(alone.scores(data.X_test) - together.scores(data.X_test))
        votes = float((alone.votes(data.X_test) == together.votes(data.X_test)).mean())
        how = f"{together.execution_}; alone {alone.execution_}"
        figures = f"mean difference {apart.mean():.2g}, equal votes {votes:.4f}; {how}"
        stacked = together.execution_.startswith("stacks of 8")
        expected = name != "lstm"
        right = apart.mean() < 0.02 and votes > 0.98
        # Whether attention with dropout can be stacked depends on the kernel that a device takes.
        yield (
            f"own {name}, stack against single",
            right and (stacked == expected or "dropout" in name),
            figures,
        )


def rows(device: str, quick: bool, data: Data) -> Iterator[Row]:
    """Seconds a member: ours as it is by default on the device, and one by one in the column of the reference."""
    members, epochs = (4, 1) if quick else (64, 3)
    for name, model in MODULES.items():
        settings = {"n_members": members, "epochs": epochs, "device": device}
        forced = {"stack": members} if device == "cpu" else {}

        def ours(model: Any = model, settings: Any = settings, forced: Any = forced) -> Any:
            return _fit(data, model, **settings, **forced)

        def alone(model: Any = model, settings: Any = settings) -> Any:
            return _fit(data, model, stack=1, **settings)

        # Kernels are chosen and the trial is known to work before anything is timed.
        _fit(data, model, **(settings | {"n_members": min(4, members), "epochs": 1}), **forced)
        sides = {"ours": ours, "reference": alone}
        runs = measure.alternate(sides, 1, device != "cpu")
        accuracy = {
            side: float((times[-1].result.votes(data.X_test) == data.y_test).mean())
            for side, times in runs.items()
        }
        facts = {
            "model": f"own {name}", "members": members, "epochs": epochs, "device": device, "data": data.source,
            "ours": runs["ours"][-1].result.execution_, "reference": runs["reference"][-1].result.execution_,
        }  # fmt: skip
        yield Row(
            f"{data.source}, own {name}, {epochs} epochs: stacks / one by one", "s a member",
            measure.median(runs["ours"]) / members, measure.median(runs["reference"]) / members, None,
            {side: measure.peak(times) for side, times in runs.items()}, accuracy, facts,
            measure.surroundings(*runs.values()),
        )  # fmt: skip
