"""Clocks, memory, and what this machine could do at best: the floors that times are held against."""

from __future__ import annotations

import itertools
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from quiet import Beside, Surroundings
from quiet import surroundings as _surroundings


@dataclass
class Row:
    """One line of the table: the same work done by the reference and by certssb."""

    work: str
    unit: str
    ours: float
    reference: float | None = None
    floor: float | None = None
    memory: dict[str, float] = field(default_factory=dict)
    accuracy: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    surroundings: Surroundings | None = None

    @property
    def ratio(self) -> float | None:
        return None if self.reference is None else self.reference / self.ours

    @property
    def mark(self) -> str:
        """Why the figures say little; empty if the machine was quiet, as far as that is known."""
        return "" if self.surroundings is None else ", ".join(self.surroundings.complaints)


@dataclass
class Timed:
    """Seconds, peak memory (MB above what was there before) and processor seconds of all threads of one run, what it
    returned, and the core seconds that other processes took meanwhile (None: unknown)."""

    seconds: float
    memory: float
    result: Any
    processor: float = 0.0
    others: float | None = None


def run(work: Callable[[], Any], cuda: bool = False) -> Timed:
    """Run something once; on a GPU, wait for it and measure its memory."""
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before, beside = torch.cuda.memory_allocated(), Beside()
        started = time.perf_counter()
        result = work()
        torch.cuda.synchronize()
        seconds = time.perf_counter() - started
        others = beside.seconds()
        memory = (torch.cuda.max_memory_allocated() - before) / 1e6
        return Timed(seconds, memory, result, others=others)
    with closing(_Resident()) as resident:
        beside = Beside()
        started, used = time.perf_counter(), time.process_time()
        result = work()
        seconds, used = time.perf_counter() - started, time.process_time() - used
        others = beside.seconds()
    return Timed(seconds, resident.peak, result, used, others)


def alternate(
    sides: dict[str, Callable[[], Any]], rounds: int, cuda: bool = False, seconds: float = 50.0
) -> dict[str, list[Timed]]:
    """Run all sides in turn, so that a machine that slows down slows all of them; no new round after `seconds`."""
    times: dict[str, list[Timed]] = {name: [] for name in sides}
    until = time.perf_counter() + seconds
    for number in range(rounds):
        if number and time.perf_counter() > until:
            break
        for name, work in sides.items():
            times[name].append(run(work, cuda))
    return times


def median(runs: list[Timed]) -> float:
    return statistics.median(one.seconds for one in runs)


def processor(runs: list[Timed]) -> float:
    """Seconds of all cores together: what a run costs on a machine that others use too."""
    return statistics.median(one.processor for one in runs)


def surroundings(*sides: list[Timed]) -> Surroundings:
    """Whether the machine was quiet during all rounds of all sides."""
    return _surroundings(([one.seconds for one in own], [one.others for one in own]) for own in sides)


def thread_counts() -> list[int]:
    """One thread, and as many as torch takes by itself, or all cores where the environment allows it one only."""
    return sorted({1, torch.get_num_threads() if torch.get_num_threads() > 1 else _cores()})


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


@contextmanager
def threads(n: int) -> Iterator[None]:
    """torch computes an operation with this many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def peak(runs: list[Timed]) -> float:
    return max(one.memory for one in runs)


class _Resident:
    """Samples this process's resident memory while something runs; 0 where the system does not tell."""

    def __init__(self) -> None:
        self._before, self.peak, self._stop = _resident(), 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            self._look()

    def _look(self) -> None:
        self.peak = max(self.peak, (_resident() - self._before) / 1e6)


def _resident() -> int:
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def status(name: str) -> int:
    """Bytes of a line of this process's status, such as VmHWM, the peak of its resident memory; 0 if unknown."""
    try:
        with open("/proc/self/status") as file:
            lines = (line.split() for line in file)
            return next((int(words[1]) * 1024 for words in lines if words[:1] == [f"{name}:"]), 0)
    except OSError:
        return 0


@dataclass(frozen=True)
class Speeds:
    """What a machine does at best: single-precision operations and copied bytes (read and written) a second."""

    flops: float
    bytes: float

    def floor(self, flops: float = 0.0, moved: float = 0.0) -> float:
        """Seconds that operations and bytes take at least: the larger of the two, as they may overlap."""
        return max(flops / self.flops, moved / self.bytes)


def speeds(size: int = 2048, seconds: float = 0.5, device: str = "cpu") -> Speeds:
    """Measure them: a square product on all cores, or the GPU, and a copy of arrays far larger than caches."""
    a, b = torch.rand(size, size, device=device), torch.rand(size, size, device=device)
    product = _best(lambda: a @ b, seconds, device)
    source = torch.rand(max(size * size * 8, 1 << 20), device=device)
    target = torch.empty_like(source)
    copy = _best(lambda: target.copy_(source), seconds, device)
    return Speeds(2 * size**3 / product, 2 * 4 * source.numel() / copy)


def _best(work: Callable[[], Any], seconds: float, device: str) -> float:
    times: list[float] = []
    until = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < until:
        times.append(run(work, device != "cpu").seconds if device != "cpu" else _plain(work))
    return min(times)


def _plain(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def training_flops(model: str, shape: tuple[int, ...], n_classes: int = 2) -> float:
    """Operations of one training step per sample: 2 for each multiplication and addition, forward, gradient of the
    weights, and gradient of the inputs for all layers but the first. Norms, activations and pooling are left out."""
    layers = _products(model, shape, n_classes)
    return 2.0 * (3 * sum(layers) - layers[0])


def _products(model: str, shape: tuple[int, ...], n_classes: int) -> list[float]:
    """Multiplications of each layer's forward pass on one sample."""
    features = float(torch.Size(shape).numel())
    if model == "linear":
        return [features * n_classes]
    channels, height, width = shape
    if model == "cnn":
        kernel, padding = (5, 0) if min(height, width) >= 16 else (3, 1)
        h, w = (n + 2 * padding - kernel + 1 for n in (height, width))
        first = h * w * 16 * channels * kernel**2
        h, w = (n // 2 + 2 * padding - kernel + 1 for n in (h, w))
        second = h * w * 32 * 16 * kernel**2
        flat = 32 * (h // 2) * (w // 2)
        return [first, second, flat * 512, 512 * n_classes]
    pixels, layers = float(height * width), [9.0 * channels * 16 * height * width]
    widths = [16] * 6 + [32] * 5 + [64] * 5
    for a, b in itertools.pairwise(widths):
        pixels = pixels if a == b else pixels / 4
        layers += [] if a == b else [pixels * a * b]
        layers += [9 * pixels * a * b, 9 * pixels * b * b]
    return [*layers, 64 * n_classes]


def machine() -> str:
    """A neutral name: the GPU, or the processor's model and its number of cores."""
    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()}x {torch.cuda.get_device_name(0)}"
    return f"{_processor()}, {os.cpu_count()} cores"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return " ".join((names or [platform.machine() or "processor"])[0].split())
