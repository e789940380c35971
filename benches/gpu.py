"""The benchmark's GPU section: correctness first, then times. Needs an installed certssb, torch and NumPy only."""

from __future__ import annotations

from collections.abc import Iterator

import measure
import numpy as np
import own
import torch
from measure import Row, Speeds
from work import Data, cifar, members_row, mnist01, synthetic

import certssb as cs
from certssb import _core


def _fit(data: Data, device: str, stack: int | None = None, **settings: object) -> _core.Ensemble:
    options = {
        "model": "cnn",
        "epochs": 2,
        "batch_size": 64,
        "learning_rate": 1e-3,
        "seed": 3,
        "n_members": 8,
    }
    options |= settings
    n_members, law = options.pop("n_members"), options.pop("law", cs.Gaussian(0.5))
    y = data.y.astype(np.int64)
    ensemble = _core.Ensemble(data.X, y, 2, law, device=device, stack=stack, **options)
    ensemble.train(data.X, y, n_members)
    return ensemble


def correctness(device: str) -> Iterator[tuple[str, bool, str]]:
    """Name, verdict and figures of each check of a device against single members of the CPU."""
    data = synthetic(400, 200, (1, 28, 28))
    for model, tolerance in [("linear", 0.01), ("cnn", 0.05), ("resnet", 0.2)]:
        n_members = 3 if model == "resnet" else 8
        scores = {
            name: _fit(data, where, stack, model=model, n_members=n_members).scores(data.X_test)
            for name, where, stack in [("cpu", "cpu", 1), ("single", device, 1), ("stack", device, n_members)]
        }
        for name in ("single", "stack"):
            apart = np.abs(scores["cpu"] - scores[name])
            votes = float((scores["cpu"].argmax(2) == scores[name].argmax(2)).mean())
            figures = (
                f"mean difference {apart.mean():.2g}, largest {apart.max():.2g}, equal votes {votes:.4f}"
            )
            yield f"{model}, {name}, against the CPU", apart.mean() < tolerance and votes > 0.98, figures
    yield _noise(device)
    yield _repeats(data, device)


def _noise(device: str) -> tuple[str, bool, str]:
    """A discriminant on pure noise shows it: features are 0, so a class's mean is a mean of normals."""
    n, d, sigma = 4000, 64, 2.0
    data = Data(
        np.zeros((n, d), np.float32), np.arange(n) % 2, np.zeros((1, d), np.float32), np.zeros(1), "zeros"
    )
    settings = {"model": "discriminant", "law": cs.Gaussian(sigma), "n_members": 20}
    weights = {
        where: np.stack([ensemble.parameter(m, "fc1.weight") for m in range(20)])
        for where, ensemble in [
            ("cpu", _fit(data, "cpu", 1, **settings)),
            ("gpu", _fit(data, device, 4, **settings)),
        ]
    }
    # A mean of n/2 normals, over a variance of 3/2 sigma^2 (half of it the regularisation's).
    expected = 1 / np.sqrt(n / 2) / sigma / 2
    ratio = float(weights["gpu"].std() / expected)
    same = float(np.abs(weights["gpu"] - weights["cpu"]).max() / weights["cpu"].std())
    return (
        "noise statistics",
        0.7 < ratio < 1.4 and same < 1e-3,
        f"deviation {ratio:.2f} of expected, cpu {same:.1e}",
    )


def _repeats(data: Data, device: str) -> tuple[str, bool, str]:
    first, second = (_fit(data, device, 8, model="linear").scores(data.X_test) for _ in range(2))
    apart = float(np.abs(first - second).max())
    return "the same run twice", apart < 1e-3, f"largest difference {apart:.1e}"


def shrinking(device: str) -> tuple[str, bool, str]:
    """A stack far too large for a memory fraction: it is halved, and the members come out all the same."""
    data = synthetic(2000, 100, (1, 28, 28))
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.empty_cache()
    share = (torch.cuda.memory_allocated() + 1.5e9) / total
    torch.cuda.set_per_process_memory_fraction(min(1.0, share))
    try:
        torch.cuda.reset_peak_memory_stats()
        ensemble = _fit(data, device, 64, n_members=64, batch_size=256)
        peak = torch.cuda.max_memory_allocated()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
    right = float((ensemble.votes(data.X_test) == data.y_test).mean())
    within = peak <= share * total * 1.01
    return (
        "out of memory shrinks the stack",
        within and right > 0.9,
        f"peak {peak / 1e9:.2f} GB, accuracy {right:.3f}",
    )


def gpu_rows(quick: bool, speeds: Speeds) -> Iterator[Row]:
    """Full ensembles on the first GPU; the reference is measured on a few members and taken for all."""
    device, tf32 = "cuda:0", {"precision": "tf32"}
    digits = synthetic(200, 40, (1, 28, 28)) if quick else mnist01()
    planes = synthetic(64, 16, (3, 32, 32)) if quick else cifar()
    epochs, many, few = (1, 4, 1) if quick else (20, 1000, 2)
    # Libraries are loaded, kernels chosen and clocks raised before anything is timed.
    _fit(digits, device, 4, n_members=4, epochs=1)
    common = {"rounds": 1, "device": device, "reference_members": few}
    for precision in ("tf32", "f32"):
        row = members_row(
            f"{digits.source}, cnn, {many} members x {epochs} epochs, {precision}", digits, speeds, model="cnn",
            members=many if precision == "tf32" else max(4, many // 5), epochs=epochs, precision=precision, **common,
        )  # fmt: skip
        row.facts["seconds all told"] = row.ours * row.facts["members"]
        yield row
    epochs, many = (1, 2) if quick else (10, 40)
    row = members_row(
        f"{planes.source}, resnet, {epochs} epochs", planes, speeds, model="resnet", members=many, epochs=epochs,
        **common, **tf32,
    )  # fmt: skip
    row.facts["members per hour"] = 3600 / row.ours
    yield row
    yield from own.rows(device, quick, digits if quick else digits.first(4000, 1000))


def section(quick: bool) -> tuple[list[Row], list[tuple[str, bool, str]]]:
    """Checks, then rows; nothing is timed after a check has failed."""
    checks = [*correctness("cuda:0"), *own.checks("cuda:0"), shrinking("cuda:0")]
    if not all(right for _, right, _ in checks):
        return [], checks
    speeds = measure.speeds(1024 if quick else 8192, 0.05 if quick else 1.0, "cuda:0")
    return list(gpu_rows(quick, speeds)), checks
