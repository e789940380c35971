"""How time and memory grow with members, samples, image size and classes, in a table and a plot."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import measure
import numpy as np
from quiet import surroundings

import certssb as cs

BASE = {"members": 8, "samples": 200, "pixels": 20, "classes": 2}
SWEEPS = {
    "members": [8, 20, 50, 125],
    "samples": [200, 600, 1800, 5400],
    "pixels": [16, 20, 28, 36, 48],
    "classes": [2, 5, 20, 50],
}
QUICK = {
    name: [value, 2 * value]
    for name, value in {"members": 4, "samples": 24, "pixels": 16, "classes": 2}.items()
}
REPETITIONS = 3
# No new round after so many seconds.
ENOUGH = 100.0

LABELS = {
    "members": "members",
    "samples": "training samples",
    "pixels": "image side (pixels)",
    "classes": "classes",
}


def _fit(members: int, samples: int, pixels: int, classes: int, device: str) -> None:
    """An ensemble of the cnn, trained on the full noised set for 2 epochs, and its votes on 100 inputs."""
    rng = np.random.default_rng(0)
    y = np.arange(samples) % classes
    X = rng.random((samples, 1, pixels, pixels), dtype=np.float32)
    clf = cs.CertifiedClassifier(
        "cnn", cs.Gaussian(0.5), n_members=members, epochs=2, device=device, seed=0, progress=False, alpha=0.9,
        batch_size=64,
    )  # fmt: skip
    clf.fit(X, y).votes(X[:100])


def _child(sizes: dict[str, int], device: str, answer: Connection) -> None:
    """Seconds, and peak memory in MiB above what the libraries take once they have run."""
    _fit(2, 8, 16, 2, device)
    before = measure.status("VmRSS")
    run = measure.run(lambda: _fit(**sizes, device=device), device != "cpu")
    memory = max(measure.status("VmHWM") - before, 0) / 2**20
    answer.send((run.seconds, memory if device == "cpu" else run.memory * 1e6 / 2**20, run.others))


def _measure(context: Any, sizes: dict[str, int], device: str) -> tuple[float, float, float | None]:
    """Seconds, MiB and others' core seconds of one point, in a process of its own: what earlier points left behind neither
    helps nor counts."""
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(sizes, device, there))
    child.start()
    there.close()
    try:
        return here.recv()
    finally:
        child.join()


def growth(quick: bool, device: str = "cpu") -> dict[str, list[dict[str, Any]]]:
    """Seconds and MiB along each sweep, the other sizes at their base; medians, the runs behind them, and what speaks
    against them."""
    sweeps = QUICK if quick else SWEEPS
    base = {name: values[0] for name, values in QUICK.items()} if quick else BASE
    points = [(name, value, base | {name: value}) for name, values in sweeps.items() for value in values]
    # Children come from a process that has read the libraries and done nothing else.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["certssb", "torch"])
    runs: dict[tuple[int, ...], list[tuple[float, float, float | None]]] = {}
    # All points in turn, so that a machine that slows down does not bend a line.
    until = time.monotonic() + ENOUGH
    for number in range(1 if quick else REPETITIONS):
        if number and time.monotonic() > until:
            break
        for sizes in {tuple(sizes.values()): sizes for _, _, sizes in points}.values():
            own = runs.setdefault(tuple(sizes.values()), [])
            if len(own) == number:
                own.append(_measure(context, sizes, device))
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in sweeps}
    for name, value, sizes in points:
        seconds, memory, others = zip(*runs[tuple(sizes.values())], strict=True)
        beside = surroundings([(list(seconds), list(others))])
        found[name].append({
            name: value, "seconds": statistics.median(seconds), "memory": statistics.median(memory),
            "all seconds": seconds, "all memory": memory, "mark": ", ".join(beside.complaints),
        })  # fmt: skip
    return found


def _guide(name: str, key: str, sizes: list[int]) -> tuple[str, list[float]]:
    """Growth as it should be, up to a factor: with what is computed, or kept; classes are one small layer."""
    if name == "classes":
        return "flat", [1.0 for _ in sizes]
    if name != "pixels":
        return "proportional", [float(size) for size in sizes]
    if key == "seconds":
        return "as operations", [measure.training_flops("cnn", (1, size, size)) for size in sizes]
    return "as pixels", [float(size**2) for size in sizes]


def plot(found: dict[str, list[dict[str, Any]]], path: Path, title: str) -> Any:
    """Seconds and MiB against each size, both axes logarithmic; a row's panels share one scale. The figure."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    figure = Figure(figsize=(3.1 * len(found) + 0.6, 6.4), layout="constrained")
    panels: Any = figure.subplots(2, len(found), sharex="col", sharey="row")
    rows = (("seconds", "time (s)", "#1f6f8b"), ("memory", "peak memory (MiB)", "#b5532a"))
    for row, (key, label, colour) in zip(panels, rows, strict=True):
        drawn = [
            value
            for axis, (name, points) in zip(row, found.items(), strict=True)
            for value in _panel(axis, name, points, key, colour)
        ]
        if drawn:
            room = (max(drawn) / min(drawn)) ** 0.08 * 1.1
            row[0].set_ylim(min(drawn) / room, max(drawn) * room)
        row[0].set_ylabel(label)
        row[0].yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        row[0].yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        row[0].yaxis.set_minor_formatter(NullFormatter())
    for axis, name in zip(panels[1], found, strict=True):
        axis.set_xlabel(LABELS[name])
    base = {name: points[0][name] for name, points in found.items()} | _base(found)
    runs = len(found["members"][0]["all seconds"])
    points = [point for points in found.values() for point in points]
    marked = sum(bool(point.get("mark")) for point in points)
    quiet = f"; the machine was not quiet at {marked} of {len(points)} points" if marked else ""
    figure.suptitle(
        f"{title}: cnn, 2 epochs on full noisy sets, votes on 100 inputs\n"
        f"{base['members']} members, {base['samples']} samples of {base['pixels']} x {base['pixels']}, "
        f"{base['classes']} classes, but for what the axis says; medians of {runs} runs, least to most{quiet}",
        fontsize="medium",
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    return figure


def _base(found: dict[str, list[dict[str, Any]]]) -> dict[str, int]:
    """The base, where it is not the first of a sweep."""
    return {name: BASE[name] for name, points in found.items() if BASE[name] in [p[name] for p in points]}


def _panel(axis: Any, name: str, points: list[dict[str, Any]], key: str, colour: str) -> list[float]:
    """Medians with whiskers from the least to the most, and the guide through the last of them; all heights drawn."""
    axis.set(xscale="log", yscale="log")
    axis.grid(alpha=0.25, which="major")
    axis.spines[["top", "right"]].set_visible(False)
    sizes = [point[name] for point in points]
    axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axis.minorticks_off()
    margin = (sizes[-1] / sizes[0]) ** 0.07
    axis.set_xlim(sizes[0] / margin, sizes[-1] * margin)
    middle = [point[key] for point in points]
    every = [value for point in points for value in point[f"all {key}"]]
    if not all(value > 0 for value in every):
        axis.text(0.5, 0.5, "not measured", transform=axis.transAxes, ha="center")
        return []
    least, most = ([pick(point[f"all {key}"]) for point in points] for pick in (min, max))
    whiskers = [
        [value - low for value, low in zip(middle, least, strict=True)],
        [high - value for value, high in zip(middle, most, strict=True)],
    ]
    label, guide = _guide(name, key, sizes)
    guide = [middle[-1] * value / guide[-1] for value in guide]
    axis.plot(sizes, guide, color="0.55", linestyle="--", linewidth=1.2, label=label)
    axis.errorbar(
        sizes, middle, yerr=whiskers, color=colour, marker="o", markersize=5, linewidth=1.8, capsize=3
    )
    axis.legend(frameon=False, fontsize="small", loc="upper left", handlelength=2.4)
    return [*every, *guide]
