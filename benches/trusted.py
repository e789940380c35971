"""What trusted samples buy: ``python benches/trusted.py`` prints the tables of `results/trusted.md`.

Members are discriminants in closed form, on scattering features of ten digits and on `Cosine(8)` of two, as in
`results/laws.md`. Sizes of draws, rates and numbers of parts were chosen on 2,000
of the last 5,000 training images (``--tune``), with members trained on the other 55,000, before a test image was looked
at; those of the tables train on all. Trusted samples are the first of a fixed order; where data are poisoned, the
first that are not.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import certssb as cs

Array = npt.NDArray[Any]
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
HELD_OUT = 5_000
MEMBERS, TUNING = 1_000, 300
COUNTS = (60, 300, 1_200)
SIZES = {0: (10, 20, 40, 80, 160, 320), 500: (5, 10, 20, 40, 80, 160, 320)}
CHOSEN = {0: {60: 160, 300: 40, 1_200: 10}, 500: {60: 80, 300: 5, 1_200: 5}}
"""Size of the draw for each number of trusted samples and of changed ones."""
PAIR_SIZES = (5, 8, 10, 12, 16, 20)
PAIR = {0: (5, 12), 100: (5,)}
"""The same for 1 against 0 and 253 changed samples; 12 is the size of `results/laws.md`."""
PAIR_PARTS = (1_500, 2_500, 4_000)
PARTS = {0: 2_500, 100: 2_500}
RATES = (0.0004, 0.0008, 0.0012, 0.0016)
RATE = {0: 0.0008, 100: 0.0008}


class Data(NamedTuple):
    """Features and labels: of training, and of images that are asked about."""

    X: Array
    y: Array
    asked: Array
    truth: Array


def features(images: Array, pair: bool) -> Array:
    if pair:
        return cs.features.Cosine(8)(images).reshape(len(images), -1)
    transform = cs.features.Scattering(2, 4, root=True, normalize=True)
    parts = [transform(images[i : i + 1_000]).reshape(-1, 1_225) for i in range(0, len(images), 1_000)]
    return np.concatenate(parts)


def load(classes: tuple[int, ...], tune: bool, poisoned: bool = False) -> tuple[Data, Array]:
    """The data, and the numbers of training samples in the order in which they are trusted."""
    X, y, X_test, y_test = cs.datasets.load_mnist(DATA, classes=classes)
    if tune:
        order = np.random.default_rng(7).permutation(HELD_OUT)[:2_000] + len(X) - HELD_OUT
        X_test, y_test = X[order], y[order]
        X, y = X[:-HELD_OUT], y[:-HELD_OUT]
    bad = np.zeros(0, dtype=np.int64)
    if poisoned:
        trigger = cs.triggers.OnePixel(position=(23, 23), norm=1.0)
        X, y, bad = cs.triggers.poison(X, y, trigger, rate=0.02, target=0, seed=0)
    order = np.random.default_rng(1).permutation(len(X))
    pair = len(classes) == 2
    return Data(features(X, pair), y, features(X_test, pair), y_test), order[~np.isin(order, bad)]


def certified(
    law: cs.Law, data: Data, trusted: Array, n_members: int | None
) -> tuple[cs.CertificateTable, float, float]:
    start = time.monotonic()
    clf = cs.CertifiedClassifier("discriminant", law, n_members, seed=1, progress=False, n_jobs=2)
    n_classes = int(data.y.max()) + 1
    clf.fit(data.X, data.y, classes=range(n_classes), trusted=trusted)
    certs = clf.certify(data.asked)
    return certs, float((certs.prediction == data.truth).mean()), time.monotonic() - start


def share(certs: cs.CertificateTable, data: Data, threat: cs.Threat) -> float:
    return float(certs.certified_accuracy(data.truth, threat))


def any_change(number: int, **edits: Any) -> cs.Threat:
    return cs.Threat(number, trigger_norm=math.inf, labels=True, **edits)


def row(*cells: Any) -> None:
    print("| " + " | ".join(f"{c:.4f}" if isinstance(c, float) else str(c) for c in cells) + " |", flush=True)


def alone(data: Data, trusted: Array) -> float:
    """Accuracy of one member on the trusted samples alone, which no change of the others reaches."""
    law = cs.Subsample(rate=1e-9)
    clf = cs.CertifiedClassifier("discriminant", law, 50, alpha=0.9, seed=1, progress=False)
    clf.fit(data.X, data.y, classes=range(int(data.y.max()) + 1), trusted=trusted)
    return float((clf.predict(data.asked) == data.truth).mean())


def digits(tune: bool) -> None:
    data, order = load(tuple(range(10)), tune)
    print("\n| trusted | law | right | " + " | ".join(f"r = {r:,}" for r in COUNTS) + " | s |")
    print("|---|---|---|" + "---|" * len(COUNTS) + "---|")
    row(500, "the trusted ones alone", alone(data, order[:500]), *["as right"] * len(COUNTS), "")
    n_members = TUNING if tune else MEMBERS
    for n_trusted in (0, 500):
        sizes = SIZES[n_trusted] if tune else sorted(set(CHOSEN[n_trusted].values()), reverse=True)
        for size in sizes:
            certs, right, seconds = certified(cs.Subsample(size=size), data, order[:n_trusted], n_members)
            shares = [share(certs, data, any_change(r)) for r in COUNTS]
            row(n_trusted, f"Subsample(size={size})", right, *shares, f"{seconds:.0f}")


def pair(tune: bool) -> None:
    data, order = load((1, 0), tune, poisoned=True)
    print(
        "\n| trusted | law | right | r = 253 changed | inserted | deleted | s |\n|---|---|---|---|---|---|---|"
    )
    row(100, "the trusted ones alone", alone(data, order[:100]), "as right", "as right", "as right", "")
    threats = [any_change(253), *(any_change(253, edits=kind) for kind in ("inserted", "deleted"))]
    for n_trusted in (0, 100):
        sizes = PAIR_SIZES if tune else PAIR[n_trusted]
        rates = RATES if tune else (RATE[n_trusted],)
        parts = PAIR_PARTS if tune else (PARTS[n_trusted],)
        laws: list[tuple[cs.Law, int | None]] = [(cs.Subsample(size=size), MEMBERS) for size in sizes]
        laws += [(cs.Subsample(rate=rate), MEMBERS) for rate in rates]
        laws += [(cs.Partition(n), None) for n in parts]
        for law, number in laws:
            certs, right, seconds = certified(law, data, order[:n_trusted], number)
            shares = [share(certs, data, threat) for threat in threats]
            row(n_trusted, repr(law), right, *shares, f"{seconds:.0f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tune", action="store_true", help="on held-out training images, with every setting")
    parser.add_argument("--only", choices=["pair", "digits"])
    options = parser.parse_args()
    if options.only != "digits":
        pair(options.tune)
    if options.only != "pair":
        digits(options.tune)
