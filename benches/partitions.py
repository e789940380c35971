"""Certificates without chance on CIFAR-10, MNIST and Fashion-MNIST, beside what is published: ``python benches/partitions.py``.

Learners are in closed form on scattering features of a part's samples and of changed copies of them; they see nothing else.
Everything is a function of a part as a set: samples are sorted by their content, and copies are drawn by the place in that
order. Settings were chosen on 5,000 training images that no learner saw (``--tune``), before the test images were looked at.
Scores of learners are kept in ``--cache``, so that a table that was interrupted is gone on with.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# One thread for each part; the products of two parts go side by side.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np
import numpy.typing as npt

import certssb as cs

Array = npt.NDArray[Any]
ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
KEY = b"certssb benches/partitions"
HELD_OUT = 5_000
TOGETHER = 500
"""Images whose features are computed in one go."""


@dataclass(frozen=True)
class Setting:
    """One table's learners."""

    data: str
    parts: int
    form: str
    penalty: float
    copies: int
    overlap: int = 1
    angles: int = 8
    scales: int = 2

    def name(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


SETTINGS = {
    "cifar10": [
        Setting("cifar10", 250, "discriminant", 10.0, 3),
        Setting("cifar10", 100, "discriminant", 5.0, 3),
        Setting("cifar10", 50, "discriminant", 3.0, 3),
    ],
    "mnist": [
        Setting("mnist", 2_000, "discriminant", 1.0, 8),
        Setting("mnist", 1_200, "discriminant", 1.0, 8),
    ],
    "fashion-mnist": [Setting("fashion-mnist", parts, "discriminant", 10.0, 0) for parts in (500, 1_000)],
}
COLUMNS = {
    "cifar10": [0, 5, 10, 15, 20, 40, 60],
    "mnist": [0, 100, 200, 300, 400, 500],
    "fashion-mnist": [0, 50, 100, 150, 200, 300],
}
FASHION = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts it."""
PUBLISHED = {
    "cifar10": {
        "best published at each number, networks": [0.7037, 0.6256, 0.5255, 0.3883, 0.3856, 0.2361, 0.1306]
    },
    "mnist": {"DPA, 1,200 parts, networks": [0.958], "DPA, 3,000 parts, networks": [0.934]},
    "fashion-mnist": {},
}
MEDIANS = {"DPA, 1,200 parts, networks": 448, "DPA, 3,000 parts, networks": 509}

# An orthonormal change of colours: brightness, and two differences.
COLOURS = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]], np.float32)
COLOURS /= np.linalg.norm(COLOURS, axis=1, keepdims=True)


def load(data: str, fashion: Path) -> tuple[Array, Array, Array, Array]:
    if data == "mnist":
        return cs.datasets.load_mnist(DATA)
    if data == "fashion-mnist":
        return cs.datasets.load_mnist(fashion)
    return cs.datasets.load_cifar10(DATA)


BRIGHTNESS, AVERAGES, FLOOR = 2.0, 0.3, 1.0
"""Weights of brightness beside colours and of plain averages beside wavelets, and what divides a dark place's features."""


class Picture(cs.features.FeatureMap):
    """Scattering features of colour images: brightness and colour differences, each place divided by what is there.

    Roots of the features at a place are divided by their norm there, and by that of the whole image, so that contrast says
    little; brightness counts twice, averages that no wavelet has seen three tenths.
    """

    lipschitz = math.inf
    rows_alone = True

    def __init__(self, scales: int = 2, angles: int = 8) -> None:
        self.transform = cs.features.Scattering(scales, angles, root=True)
        paths = np.ones(1 + scales * angles + angles**2 * scales * (scales - 1) // 2, np.float32)
        paths[0] = AVERAGES
        self.weights = np.concatenate([BRIGHTNESS * paths, paths, paths])[:, None, None]

    def __call__(self, X: Array) -> Array:
        channels = np.einsum("ij,njhw->nihw", COLOURS, X).astype(np.float32)
        found = self.transform(np.ascontiguousarray(channels))
        norm = np.sqrt((found**2).sum(axis=1, keepdims=True))
        floor = FLOOR * norm.mean(axis=(2, 3), keepdims=True)
        flat = (found / (norm + floor + 1e-9) * self.weights).reshape(len(X), -1)
        return flat / (np.linalg.norm(flat, axis=1, keepdims=True) + 1e-9)

    def describe(self) -> str:
        return f"{self.transform.describe()}, of brightness and colour differences, with gains by place"


def feature_map(setting: Setting) -> cs.features.FeatureMap:
    if setting.data == "cifar10":
        return Picture(setting.scales, setting.angles)
    return cs.features.Scattering(setting.scales, setting.angles, root=True, normalize=True)


def features(images: Array, setting: Setting) -> Array:
    """Features of images, flat."""
    transform = feature_map(setting)
    parts = [images[start : start + TOGETHER] for start in range(0, len(images), TOGETHER)]
    return np.concatenate([transform(np.ascontiguousarray(part)).reshape(len(part), -1) for part in parts])


def mirrored(images: Array) -> Array:
    return np.ascontiguousarray(images[..., ::-1])


WARP = cs.augment.Compose(
    [
        cs.augment.Affine(angle=12.0, translate=0.06, scale=(0.9, 1.12), shear=8.0),
        cs.augment.Elastic(1.2, 4.0),
    ]
)
MOVE = cs.augment.Affine(angle=10.0, translate=0.06, scale=(0.85, 1.15), shear=5.0)


def copies(images: Array, setting: Setting) -> list[Array]:
    """Changed copies of a part's samples, which lie in the order of their content."""
    if setting.data != "cifar10":
        return [WARP(images, number) for number in range(setting.copies)]
    later = [
        MOVE(mirrored(images) if number % 2 else images, number - 1) for number in range(1, setting.copies)
    ]
    return [mirrored(images), *later][: setting.copies]


def asked_features(images: Array, setting: Setting) -> Array:
    """Features that learners are asked about; those of CIFAR-10 are the mean of an image's and its mirror image's."""
    if setting.data != "cifar10":
        return features(images, setting)
    return (features(images, setting) + features(mirrored(images), setting)) / 2


def solved(
    X: Array, y: Array, asked: list[tuple[str, float]], n_classes: int = 10
) -> list[tuple[Array, Array]]:
    """Weights and biases of the package's `discriminant` or `ridge` for each form and penalty, in the dual form."""
    n, mean = len(X), X.mean(0)
    X = X - mean
    counts = np.bincount(y, minlength=n_classes)
    sums = np.stack([X[y == c].sum(0) for c in range(n_classes)])
    means = sums / (counts[:, None] + 1)
    products: dict[str, Array] = {}
    out = []
    for form, penalty in asked:
        rows = X if form == "ridge" else X - means[y]
        if form not in products:
            products[form] = (rows @ rows.T).astype(np.float64)
        system, trace = products[form].copy(), np.trace(products[form])
        if form == "ridge":
            system[np.diag_indices(n)] += penalty * trace / n + 1e-6
            weights = np.linalg.solve(system, np.eye(n_classes)[y] - counts / n).astype(np.float32).T @ rows
            biases = counts / n - weights @ mean
        else:
            freedom = max(1, n - n_classes)
            ridge = penalty * trace / freedom / X.shape[1] + 1e-6
            system[np.diag_indices(n)] += freedom * ridge
            shares = np.linalg.solve(system, rows @ means.T.astype(np.float32)).astype(np.float32)
            weights = ((means - shares.T @ rows) / ridge).astype(np.float32)
            biases = -0.5 * (weights * means).sum(1) - weights @ mean
        out.append((weights, np.where(counts > 0, biases, -1e9).astype(np.float32)))
    return out


def parts_of(X: Array, y: Array, setting: Setting) -> list[Array]:
    """Samples of each learner, sorted by content: a keyed hash of it decides the bucket."""
    law = cs.Partition(setting.parts, overlap=setting.overlap)
    digests = [
        hashlib.blake2b(image.tobytes() + int(label).to_bytes(4, "little"), digest_size=16, key=KEY).digest()
        for image, label in zip(X, y, strict=True)
    ]
    order = np.array(sorted(range(len(X)), key=digests.__getitem__))
    bucket = np.array([int.from_bytes(digest[:8], "little") % law.n_learners for digest in digests])
    learners = [(bucket[order] + shift) % law.n_learners for shift in law.shifts]
    own = [order[np.any([learner == m for learner in learners], axis=0)] for m in range(law.n_learners)]
    return own


def scores(
    setting: Setting, X: Array, y: Array, asked: Array, cache: Path, tuned: list[tuple[str, float]]
) -> Array:
    """Scores (forms, learners, asked, classes) of the learners, from the cache where they are there."""
    cache.mkdir(parents=True, exist_ok=True)
    known = asked_features(asked, setting)
    parts = parts_of(X, y, setting)

    def one(number: int) -> Array:
        file = cache / f"{number:05}.npy"
        if file.exists():
            return np.load(file)
        own = parts[number]
        if len(own) == 0:
            return np.zeros((len(tuned), len(asked), 10), np.float32)
        images = X[own]
        rows = features(np.concatenate([images, *copies(images, setting)]), setting)
        labels = np.tile(y[own], len(rows) // len(own))
        out = []
        for weights, biases in solved(rows, labels, tuned):
            logits = known @ weights.T + biases
            # Only the order within a learner's counts.
            out.append(logits - logits.max(axis=1, keepdims=True))
        table = np.stack(out).astype(np.float32)
        draft = file.with_suffix(f".{os.getpid()}.npy")
        np.save(draft, table)
        draft.rename(file)
        return table

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return np.stack(list(pool.map(one, range(len(parts)))), axis=1)


def row(table: Array, setting: Setting, y: Array, election: str) -> tuple[list[float], int]:
    """Certified shares at the columns, and the certified median (0 for what is wrong)."""
    law = cs.Partition(setting.parts, overlap=setting.overlap)
    certs = cs.certify_scores(table, law, election=election)
    right = np.where(certs.prediction == y, certs.n_buckets, -1)
    return [float((right >= r).mean()) for r in COLUMNS[setting.data]], int(np.median(right))


def tables(data: str, cache: Path, n_asked: int | None, fashion: Path) -> list[str]:
    X, y, X_test, y_test = load(data, fashion)
    if n_asked is not None:
        X_test, y_test = X_test[:n_asked], y_test[:n_asked]
    head = [
        f"| {data}, any change of r samples, symmetric difference | "
        + " | ".join(map(str, COLUMNS[data]))
        + " | median |"
    ]
    lines = [*head, "|---" * (len(COLUMNS[data]) + 2) + "|"]
    for name, shares in PUBLISHED[data].items():
        cells = [f"{share:.4f}" for share in shares] + ["-"] * (len(COLUMNS[data]) - len(shares))
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {MEDIANS.get(name, '-')} |")
    for setting in SETTINGS[data]:
        start = time.monotonic()
        table = scores(
            setting,
            X,
            y,
            X_test,
            cache / f"{setting.name()}-{len(X_test)}",
            [(setting.form, setting.penalty)],
        )[0]
        member = float((table.argmax(2) == y_test).mean())
        for election in ("plurality", "run-off"):
            shares, median = row(table, setting, y_test, election)
            name = f"{setting.parts:,} parts, {election}, members {member:.3f}"
            lines.append(f"| {name} | " + " | ".join(f"{share:.4f}" for share in shares) + f" | {median} |")
        print(f"{setting}: {time.monotonic() - start:.0f} s on {len(X_test):,} test images", flush=True)
    return lines


def tune(data: str, cache: Path, n_asked: int, fashion: Path) -> None:
    """Certified shares on held-out training images; the test images are not read."""
    X, y, _, _ = load(data, fashion)
    order = np.random.default_rng(0).permutation(len(X))
    fitted, asked = order[:-HELD_OUT], order[-HELD_OUT:][:n_asked]
    tuned = [("discriminant", p) for p in (1.0, 3.0, 10.0, 30.0)] + [("ridge", p) for p in (0.1, 0.3)]
    for setting in SETTINGS[data]:
        table = scores(
            setting, X[fitted], y[fitted], X[asked], cache / f"tune-{setting.name()}-{n_asked}", tuned
        )
        for (form, penalty), each in zip(tuned, table, strict=True):
            member = float((each.argmax(2) == y[asked]).mean())
            told = {e: row(each, setting, y[asked], e) for e in ("plurality", "run-off")}
            print(f"{data} {setting.parts} {form} {penalty}: members {member:.3f} {told}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="*", default=[*SETTINGS], help=", ".join(SETTINGS))
    parser.add_argument("--fashion", type=Path, default=FASHION, help="folder of Fashion-MNIST")
    parser.add_argument("--cache", type=Path, default=ROOT / "runs" / "partitions")
    parser.add_argument("--tune", action="store_true", help="choose settings on held-out training images")
    parser.add_argument("--asked", type=int, help="test images; all by default")
    options = parser.parse_args()
    if options.tune:
        for data in options.data:
            tune(data, options.cache, options.asked or 2_000, options.fashion)
        return
    lines = [
        line
        for data in options.data
        for line in [*tables(data, options.cache, options.asked, options.fashion), ""]
    ]
    text = "\n".join(["# Certificates without chance", "", *lines])
    print(text)
    if options.asked is None:
        (ROOT / "benches" / "results" / "partitions.md").write_text(text)


if __name__ == "__main__":
    main()
