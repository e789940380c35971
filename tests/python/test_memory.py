"""Memory while many modules are trained: what members keep, and nothing else.

``CERTSSB_LONG=1`` trains 50 residual networks on 500 images of CIFAR-10 (`make long`) instead of 16 on fewer and smaller ones.
"""

import gc
import itertools
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import small
from torch import nn
from torch.nn import functional as F

import certssb as cs

LONG = os.environ.get("CERTSSB_LONG") == "1"
STATM = Path("/proc/self/statm")
CIFAR = Path(__file__).resolve().parents[3] / "shared" / "data" / "cifar10-jpeg.zip"
MEBIBYTE = 2**20


class Block(nn.Module):
    """torchvision's basic block."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += identity
        return self.relu(out)


class ResNet18(nn.Module):
    """torchvision's ResNet-18, narrower."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # A cycle, as users' modules have them: what they hold must not wait for the garbage collector.
        self.itself = [self]
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        sizes = [width, width, 2 * width, 4 * width, 8 * width]
        self.layers = nn.Sequential(
            *(
                nn.Sequential(Block(a, b, 1 if a == b else 2), Block(b, b, 1))
                for a, b in itertools.pairwise(sizes)
            )
        )
        self.fc = nn.Linear(8 * width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        return self.fc(self.layers(x).mean((2, 3)))


def resident() -> float:
    """Memory of this process in MiB."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / MEBIBYTE


def images(n: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Images and classes: of CIFAR-10 if they are as large and it lies in ../shared, else random ones."""
    if side == 32 and CIFAR.exists():
        X, y, _, _ = cs.datasets.load_cifar10(CIFAR)
        return X[:n].copy(), y[:n].copy()
    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, n)
    y[:10] = range(10)
    return rng.random((n, 3, side, side), dtype=np.float32), y


def train_many(n_members: int, n: int, side: int, width: int) -> tuple[list[float], float, float]:
    """Memory after every member, a member's weights, and what three more votings add; all in MiB."""
    X, y = images(n, side)
    curve = []
    clf = small(lambda: ResNet18(width), n_members=n_members, alpha=0.4, epochs=2, batch_size=50, n_jobs=2)  # type: ignore[arg-type]
    clf.set_params(progress=lambda done, total: curve.append(resident())).fit(X, y)
    one = sum(value.numel() for value in clf.member(0).state_dict().values()) * 4 / MEBIBYTE
    voting = []
    for _ in range(4):
        clf._votes.clear()
        clf.set_params(progress=False).predict(X[:20])
        voting.append(resident())
    return curve, one, voting[-1] - voting[0]


@pytest.mark.skipif(not STATM.exists(), reason="reads /proc")
def test_memory_is_flat_but_for_the_weights_that_members_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    # One heap: what those of several threads hold free is no member's, and differs from run to run.
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    n_members, settled, *sizes = (50, 5, 500, 32, 32) if LONG else (16, 4, 20, 16, 24)
    # A process of its own: what other tests left on the heap would be measured too.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        curve, one, voting = pool.apply(train_many, (n_members, *sizes))
    if LONG:
        steps = ", ".join(f"{number}: {size:.0f}" for number, size in enumerate(curve, 1) if number % 5 == 0)
        print(f"\nresident MiB after member {steps}; {one:.1f} MiB of weights each")
    rest = n_members - settled
    growth = curve[-1] - curve[settled - 1] - one * rest
    assert len(curve) == n_members
    # A second copy of every member's weights would be twice the limit.
    assert growth < 0.5 * one * rest, f"{growth:.0f} MiB beyond: {[round(size) for size in curve]}"
    assert voting < 0.5 * one * n_members


def living() -> int:
    """Values of all tensors that Python knows."""
    return sum(thing.numel() for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor))


def test_modules_in_cycles_give_their_tensors_back_without_the_collector() -> None:
    X = np.random.default_rng(0).random((20, 3, 8, 8), dtype=np.float32)
    y = np.arange(20) % 10
    kept = []
    gc.collect()
    gc.disable()
    try:
        # Counted between fits: while threads build modules, a list of all objects would hold their half-built tuples.
        for n_members in (8, 16):
            before = living()
            clf = small(lambda: ResNet18(4), n_members=n_members, alpha=0.4, epochs=1, n_jobs=1).fit(X, y)  # type: ignore[arg-type]
            kept.append(living() - before)
        one = sum(value.numel() for value in clf.member(0).state_dict().values())
        # Eight members more: one that was kept alive by each would show eight times.
        assert kept[1] < kept[0] + 2 * one, kept
        before = living()
        clf.set_params(progress=False).predict(X)
        assert living() < before + one
    finally:
        gc.enable()


def anonymous() -> float:
    """Memory of this process that is no mapped file, in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


@pytest.mark.skipif(not STATM.exists(), reason="reads /proc")
def test_a_mapped_array_stays_out_of_memory(tmp_path: Path) -> None:
    n, d = 40_000, 1_600
    X = np.memmap(tmp_path / "X", dtype=np.float32, shape=(n, d), mode="w+")
    X[::2, :8] = 1.0
    X.flush()
    mapped = np.memmap(tmp_path / "X", dtype=np.float32, shape=(n, d), mode="r")
    y = np.arange(n) % 2
    highest = []
    before = anonymous()
    law = cs.Subsample(cs.Gaussian(0.25), size=50)
    clf = small("linear", law, n_members=10, epochs=1, alpha=0.3, n_jobs=2)
    clf.set_params(progress=lambda done, total: highest.append(anonymous())).fit(mapped, y)
    assert clf.predict(mapped[:100]).shape == (100,)
    assert max(highest) - before < 0.25 * X.nbytes / MEBIBYTE
