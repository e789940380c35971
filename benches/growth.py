"""How time and memory grow with members, samples, image size and classes, in a table and a plot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import measure
import numpy as np

import certssb as cs

BASE = {"members": 16, "samples": 400, "pixels": 20, "classes": 2}
SWEEPS = {
    "members": [8, 16, 32, 64],
    "samples": [200, 400, 800, 1600],
    "pixels": [12, 16, 20, 28, 40],
    "classes": [2, 5, 10, 20],
}
QUICK = {
    name: [value, 2 * value]
    for name, value in {"members": 4, "samples": 24, "pixels": 16, "classes": 2}.items()
}


def _measure(members: int, samples: int, pixels: int, classes: int, device: str) -> measure.Timed:
    """One ensemble of the cnn, trained on the full noised set for 2 epochs, and its votes on 100 inputs."""
    rng = np.random.default_rng(0)
    y = np.arange(samples) % classes
    X = rng.random((samples, 1, pixels, pixels), dtype=np.float32)
    law = cs.Gaussian(0.5)
    clf = cs.CertifiedClassifier(
        "cnn", law, n_members=members, epochs=2, device=device, progress=False, alpha=0.9, batch_size=64
    )
    return measure.run(lambda: clf.fit(X, y).votes(X[:100]), device != "cpu")


def growth(quick: bool, device: str = "cpu") -> dict[str, list[dict[str, float]]]:
    """Seconds and MB along each sweep, the other sizes at their base."""
    base = {name: values[0] for name, values in QUICK.items()} if quick else BASE
    found: dict[str, list[dict[str, float]]] = {}
    _measure(**base, device=device)
    for name, values in (QUICK if quick else SWEEPS).items():
        runs = [(value, _measure(**(base | {name: value}), device=device)) for value in values]
        found[name] = [{name: value, "seconds": run.seconds, "memory": run.memory} for value, run in runs]
    return found


def plot(found: dict[str, list[dict[str, float]]], path: Path, title: str) -> None:
    """Seconds and memory against each size, both axes from 0, so that straight lines are linear growth."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.5), layout="constrained")
    axes: Any = figure.subplots(2, len(found), sharex="col", sharey="row")
    for column, (name, points) in zip(axes.T, found.items(), strict=True):
        sizes = [point[name] for point in points]
        for axis, key, label in zip(
            column, ("seconds", "memory"), ("seconds", "peak memory, MB"), strict=True
        ):
            axis.plot(sizes, [point[key] for point in points], marker="o")
            axis.set(xlim=(0, None), ylim=(0, None))
            axis.grid(alpha=0.3)
            if column is axes.T[0]:
                axis.set_ylabel(label)
        column[1].set_xlabel("pixels a side" if name == "pixels" else name)
    figure.suptitle(f"cnn, 2 epochs, full noisy sets: {title}")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
