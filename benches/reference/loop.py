"""One member after another: a data set that adds stored noise to each item, a shuffling loader, Adam."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from .models import build


class NoisyData(Dataset):
    """Samples, each with its own row of a noise tensor that is drawn once per member."""

    def __init__(self, X: torch.Tensor, y: torch.Tensor, sigma: float) -> None:
        self.X, self.y = X, y
        self.noise = sigma * torch.randn_like(X)

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.X[index] + self.noise[index], self.y[index]


def train_member(
    X: torch.Tensor,
    y: torch.Tensor,
    *,
    model: str,
    sigma: float,
    epochs: int,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    subsample: int | None = None,
    device: str = "cpu",
    n_classes: int = 2,
) -> nn.Module:
    """Train one member on its own noised copy of the data."""
    if subsample is not None:
        drawn = torch.randperm(len(X))[:subsample]
        X, y = X[drawn], y[drawn]
    loader = DataLoader(NoisyData(X, y, sigma), batch_size=batch_size, shuffle=True)
    network = build(model, tuple(X.shape[1:]), n_classes).to(device)
    optimiser = torch.optim.Adam(network.parameters(), lr=learning_rate)
    network.train()
    for _ in range(epochs):
        total = 0.0
        for inputs, labels in loader:
            inputs, labels = inputs.to(device), labels.to(device)
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(network(inputs), labels)
            loss.backward()
            optimiser.step()
            total += loss.item()
    return network


def train_members(n_members: int, X: torch.Tensor, y: torch.Tensor, **settings) -> list[nn.Module]:
    """Train members one after another; settings as for :func:`train_member`."""
    return [train_member(X, y, **settings) for _ in range(n_members)]


@torch.no_grad()
def accuracy(members: list[nn.Module], X: torch.Tensor, y: torch.Tensor, device: str = "cpu") -> float:
    """Share of right votes over all members and samples."""
    right = 0
    for network in members:
        network.eval()
        for start in range(0, len(X), 1024):
            votes = network(X[start : start + 1024].to(device)).argmax(1).cpu()
            right += int((votes == y[start : start + 1024]).sum())
    return right / (len(members) * len(X))
