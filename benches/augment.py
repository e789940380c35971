"""What augmentation is worth: MNIST, ten digits, members that see 50 samples without noise.

    python benches/augment.py FOLDER_OF_MNIST [--members 200] [--test 2000] [--out benches/results/augment.md]

Every member is the same with and without augmentation but for the augmentation: same seed, same samples, same settings. The
certified share is that of test samples whose prediction is right and survives any change of so many of the 60,000 training
samples.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

import certssb as cs
from certssb.augment import Affine, Compose, Elastic, Shift

BUDGETS = (200, 400)
AUGMENT = Compose([Affine(angle=15, scale=(0.85, 1.15), shear=10), Elastic(alpha=1.0, sigma=4.0), Shift(1)])


class Own(nn.Sequential):
    """A small convolutional network of the user's."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(1568, 64), nn.ReLU(), nn.Linear(64, 10),
        )  # fmt: skip


LEARNERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "discriminant": ("discriminant", {}),
    "cnn": ("cnn", {"epochs": 60, "batch_size": 25}),
    "own CNN": (Own, {"epochs": 60, "batch_size": 25}),
}
WAYS: dict[str, Any] = {"without": None, "with": AUGMENT}


def measured(name: str, way: str, members: int, data: Any) -> tuple[float, ...]:
    """Accuracy of a member, of the ensemble, certified shares, seconds of training for a member."""
    X, y, test, truth = data
    model, settings = LEARNERS[name]
    copies = {"copies": 24} if name == "discriminant" and WAYS[way] is not None else {}
    clf = cs.CertifiedClassifier(
        model,
        cs.Subsample(size=50),
        n_members=members,
        augment=WAYS[way],
        seed=0,
        progress=False,
        **copies,
        **settings,
    )
    begun = time.perf_counter()
    clf.fit(X, y, classes=range(10))
    seconds = time.perf_counter() - begun
    table = clf.certify(test)
    member = float((clf.votes(test) == truth).mean())
    certified = [
        table.certified_accuracy(truth, n_poisoned=budget, trigger_norm=np.inf, labels=True)
        for budget in BUDGETS
    ]
    return member, clf.score(test, truth), *certified, seconds / members


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--members", type=int, default=200)
    parser.add_argument("--test", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "augment.md")
    parser.add_argument("--learners", nargs="*", default=list(LEARNERS), choices=list(LEARNERS))
    options = parser.parse_args()
    X, y, test, truth = cs.datasets.load_mnist(options.data)
    chosen = np.random.default_rng(0).permutation(len(test))[: options.test]
    data = X, y, test[chosen], truth[chosen]
    budgets = "".join(f" certified, {budget} changed |" for budget in BUDGETS)
    lines = [
        f"# Augmentation: MNIST, ten digits, `Subsample(50)` without noise, {options.members} members, {options.test} test images",
        "",
        f"`python benches/augment.py FOLDER --members {options.members} --test {options.test}`; seed 0, alpha 0.001.",
        "",
        f"Augmentation: `{AUGMENT}`; discriminant with `copies=24`.",
        "",
        f"| learner | augment | accuracy of a member | of the ensemble |{budgets} seconds a member |",
        "|---|---|---|---|" + "---|" * len(BUDGETS) + "---|",
    ]
    for name in options.learners:
        gains = []
        for way in WAYS:
            row = measured(name, way, options.members, data)
            gains.append(row)
            cells = " | ".join(f"{value:.3f}" for value in row)
            lines.append(f"| {name} | {way} | {cells} |")
            print(lines[-1], flush=True)
        points = [100 * (b - a) for a, b in zip(*gains, strict=True)]
        shown = " | ".join(f"{value:+.1f} points" for value in points[:-1])
        lines.append(f"| {name} | gain | {shown} | x{gains[1][-1] / gains[0][-1]:.1f} |")
        print(lines[-1], flush=True)
    options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
