"""The benchmark's rows on the CPU: members trained, points and votes certified."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import measure
import numpy as np
import reference
import torch
from measure import Row, Speeds, training_flops

import certssb as cs

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


@dataclass(frozen=True)
class Data:
    """Training and test samples with two classes; where they come from."""

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    source: str

    def first(self, n: int, n_test: int) -> Data:
        return Data(self.X[:n], self.y[:n], self.X_test[:n_test], self.y_test[:n_test], self.source)

    def tensors(self) -> tuple[torch.Tensor, ...]:
        return tuple(torch.from_numpy(a) for a in (self.X, self.y, self.X_test, self.y_test))


def synthetic(n: int, n_test: int, shape: tuple[int, ...]) -> Data:
    """Two kinds of stripes under fixed shades, of any shape; nothing is downloaded."""
    rng = np.random.default_rng(0)
    total = n + n_test
    y = rng.integers(0, 2, total)
    rows, columns = np.indices(shape[-2:])
    stripes = np.where(y[:, None, None] == 0, (rows // 4) % 2, (columns // 4) % 2)
    X = 0.6 * stripes[:, None] + 0.4 * rng.random((total, *shape), dtype=np.float32)
    X = X.astype(np.float32)
    return Data(X[:n], y[:n], X[n:], y[n:], "synthetic")


def mnist01() -> Data:
    """MNIST's zeros and ones, or synthetic images of the same shape and number."""
    try:
        X, y, X_test, y_test = cs.datasets.load_mnist(DATA, classes=(0, 1))
    except cs.exceptions.CertssbError:
        return synthetic(12_665, 2115, (1, 28, 28))
    return Data(X, y, X_test, y_test, "MNIST 0/1")


def cifar() -> Data:
    """CIFAR-10's airplanes and birds, or synthetic images of the same shape and number."""
    try:
        X, y, X_test, y_test = cs.datasets.load_cifar10(DATA, classes=("airplane", "bird"))
    except cs.exceptions.CertssbError:
        return synthetic(10_000, 2000, (3, 32, 32))
    return Data(X, y, X_test, y_test, "CIFAR airplane/bird")


def members_row(
    name: str,
    data: Data,
    speeds: Speeds,
    *,
    model: str,
    members: int,
    epochs: int,
    rounds: int,
    subsample: int | None = None,
    reference_members: int | None = None,
    sigma: float = 0.5,
    device: str = "cpu",
    learning_rate: float = 1e-3,
    precision: str = "f32",
) -> Row:
    """The same members, epochs and batches by the reference loop and by certssb; seconds of one member.

    With fewer `reference_members` their seconds per member are taken for all: the loop trains one after another. On the
    CPU the loop runs with one thread and with all, because threads inside small operations may wait for each other
    longer than they compute, and what is faster counts.
    """
    X, y, X_test, y_test = data.tensors()
    law = cs.Gaussian(sigma) if subsample is None else cs.Subsample(cs.Gaussian(sigma), size=subsample)
    few = reference_members or members

    def ours() -> cs.CertifiedClassifier:
        clf = cs.CertifiedClassifier(
            model, law, n_members=members, epochs=epochs, device=device, seed=0, progress=False, alpha=0.9,
            learning_rate=learning_rate, precision=precision,
        )  # fmt: skip
        return clf.fit(data.X, data.y)

    def theirs(threads: int) -> list[torch.nn.Module]:
        with measure.threads(threads):
            return reference.train_members(
                few, X, y, model=model, sigma=sigma, epochs=epochs, subsample=subsample, device=device,
                learning_rate=learning_rate,
            )  # fmt: skip

    cuda = device != "cpu"
    counts = [torch.get_num_threads()] if cuda else measure.thread_counts()
    loops = {f"reference, {n} threads": functools.partial(theirs, n) for n in counts}
    every = measure.alternate({"ours": ours, **loops}, rounds, cuda)
    times = dict(zip(counts, (every[name] for name in loops), strict=True))
    best = min(times, key=lambda n: measure.median(times[n]))
    runs = {"ours": every["ours"], "reference": times[best]}
    clf, loop = runs["ours"][-1].result, runs["reference"][-1].result
    right = clf.votes(data.X_test) == data.y_test
    drawn = subsample or len(data.X)
    flops = training_flops(model, data.X.shape[1:]) * drawn * epochs
    # A member's noised set is written once and read once an epoch.
    moved = 4.0 * data.X[0].size * drawn * (1 + epochs)
    return Row(
        name,
        "s a member",
        measure.median(runs["ours"]) / members,
        measure.median(runs["reference"]) / few,
        speeds.floor(flops, moved),
        {side: measure.peak(times) for side, times in runs.items()},
        {
            "ours": float(right.mean()),
            "reference": reference.accuracy(loop, X_test, y_test, device),
            "test samples": len(y_test),
        },
        {
            "processor s a member": {
                "ours": measure.processor(runs["ours"]) / members,
                "reference": measure.processor(runs["reference"]) / few,
            },
            "data": data.source, "n_train": len(data.X), "model": model, "members": members, "epochs": epochs,
            "reference members": few, "subsample": subsample, "batch size": 128, "rounds": len(runs["ours"]),
            "device": device, "precision": precision, "reference threads": best,
            "reference s a member by threads": {str(n): measure.median(own) / few for n, own in times.items()},
        },
        measure.surroundings(*every.values()),
    )  # fmt: skip


def knn_row(data: Data, speeds: Speeds, points: int, rounds: int) -> Row:
    """1-NN certified exactly. At least every distance is computed, and the training set is read once for 8 points."""
    knn = cs.CertifiedKNN(sigma=1.0).fit(data.X, data.y)
    runs = measure.alternate({"ours": lambda: knn.certify(data.X_test[:points])}, rounds)["ours"]
    size = float(data.X.size)
    floor = speeds.floor(3 * size, 4 * size / 8)
    used = measure.processor(runs) / points
    facts = {"data": data.source, "n_train": len(data.X), "points": points, "processor s": used}
    name = "1-NN exact, a test point"
    seconds, memory = measure.median(runs) / points, {"ours": measure.peak(runs)}
    return Row(name, "s", seconds, None, floor, memory, {}, facts, measure.surroundings(runs))


def votes_of(members: int, samples: int, n_classes: int) -> np.ndarray:
    """Votes of samples whose difficulty spreads from certain to a coin."""
    rng = np.random.default_rng(0)
    sure = 0.3 + 0.7 * rng.random(samples, dtype=np.float32)
    votes = np.empty((members, samples), np.uint16)
    for row in votes:
        others = rng.integers(0, n_classes, samples, dtype=np.uint16)
        row[:] = np.where(rng.random(samples, dtype=np.float32) < sure, 0, others)
    return votes


def certification_row(samples: int, members: int, n_classes: int, speeds: Speeds) -> Row:
    """Votes, bounds, certificates, radii; at least the votes are read once."""
    # A few members' votes, repeated: drawing them all would take longer than everything that is measured.
    few = votes_of(min(members, 50), samples, n_classes)
    votes = np.tile(few, (-(-members // len(few)), 1))[:members]

    def work() -> float:
        table = cs.certify_votes(votes, cs.Gaussian(0.5), n_train=60_000, n_classes=n_classes)
        return float((table.radius > 0).mean())

    runs = [measure.run(work) for _ in range(3)]
    name = f"{samples:,} samples x {n_classes} classes x {members} votes to radii, one core"
    facts = {"certified": runs[-1].result, "wall s": measure.median(runs)}
    floor = speeds.floor(0.0, float(votes.nbytes))
    # One thread: its processor's seconds are what one core of its own would take.
    used, memory = measure.processor(runs), {"ours": measure.peak(runs)}
    return Row(name, "processor s", used, None, floor, memory, {}, facts, measure.surroundings(runs))


def sigma_row(data: Data, speeds: Speeds, samples: int, members: int, quick: bool) -> Row:
    """The search for each test sample's noise; at least its networks' products are computed."""
    steps, copies = (2, 2) if quick else (20, 16)
    law = cs.SampleSpecific(0.5, steps=steps, samples=copies)
    size = 64 if quick else 1000
    clf = cs.CertifiedClassifier(
        "cnn",
        cs.Subsample(law, size=size),
        n_members=members,
        epochs=2,
        device="cpu",
        seed=0,
        progress=False,
        alpha=0.9,
    ).fit(data.X, data.y)
    runs = [measure.run(lambda: clf.noise_magnitudes(data.X_test[:samples])) for _ in range(2)]
    # Forward, and back to the inputs: two thirds of what a training step takes.
    flops = training_flops("cnn", data.X.shape[1:]) * 2 / 3 * steps * copies
    used = measure.processor(runs) / samples / members
    facts = {"steps": steps, "copies": copies, "samples": samples, "members": members, "processor s": used}
    seconds = measure.median(runs) / samples / members
    name = "sigma search, a member and test sample"
    memory, beside = {"ours": measure.peak(runs)}, measure.surroundings(runs)
    return Row(name, "s", seconds, None, speeds.floor(flops), memory, {}, facts, beside)


def cpu_rows(quick: bool) -> Iterator[Row]:
    """All rows that need no GPU."""

    def fresh() -> Speeds:
        """Measured again for every row: a machine may be busier now than before."""
        return measure.speeds(256, 0.01) if quick else measure.speeds()

    speeds = fresh()
    digits = synthetic(96, 40, (1, 28, 28)) if quick else mnist01()
    planes = synthetic(32, 16, (3, 32, 32)) if quick else cifar().first(512, 512)
    rounds, few = (1, 2) if quick else (3, None)
    yield Row("(GEMM, all cores)", "flop/s", speeds.flops)
    yield Row("(copy, one array to another)", "byte/s", speeds.bytes)

    def row(name: str, data: Data, **settings: object) -> Row:
        return members_row(name, data, fresh(), rounds=rounds, **settings)

    cores = os.cpu_count() or 1
    full = {"members": few or cores, "epochs": 1 if quick else 2}
    yield row(f"{digits.source}, cnn, full noisy sets", digits, model="cnn", **full)
    size = 20 if quick else 100
    small = {"subsample": size, "epochs": 2 if quick else 20}
    name = f"{digits.source}, Subsample({size}), {small['epochs']} epochs"
    yield row(f"{name}, cnn", digits, model="cnn", members=few or 12, **small)
    many = {"members": few or 1000, "reference_members": few or 20}
    yield row(f"{name}, linear", digits, model="linear", learning_rate=0.01, **many, **small)
    yield row(
        f"{planes.source}, {len(planes.X)} images, resnet", planes, model="resnet", members=cores, epochs=1
    )
    yield knn_row(digits, fresh(), 8 if quick else 200, rounds)
    for members in [20] if quick else [100, 1000]:
        yield certification_row(1000 if quick else 1_000_000, members, 10, fresh())
    yield sigma_row(digits, fresh(), 4 if quick else 64, 2, quick)
