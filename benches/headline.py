"""The settings of `make run`, chosen on a held-out quarter of the clean training images: a table in Markdown.

    python benches/headline.py

Certificates are those of n = 1,346 and r = 27 samples changed in any way, labels included; members are trained on the
other three quarters, and the held-out ones are what is certified. No test image is read.
"""

import math

import numpy as np

import certssb as cs

N_POISONED = 27


def shares(size: int, cosine: int | None, n_members: int, model: str) -> list[float]:
    """Right and certified against 27 changed samples, and right."""
    X, y, _, _ = cs.datasets.load_digits(split=True)
    order = np.random.default_rng(1).permutation(len(X))
    held, rest = order[: len(X) // 4], order[len(X) // 4 :]
    law = cs.Subsample(size=size)
    features = None if cosine is None else cs.features.Cosine(cosine)
    clf = cs.CertifiedClassifier(
        model, law, n_members, learning_rate=0.01, features=features, seed=1, progress=False
    ).fit(X[rest], y[rest], classes=range(10))
    certs = cs.certify_votes(clf.votes(X[held]), law, len(X), 10)
    certified = certs.certified_accuracy(y[held], n_poisoned=N_POISONED, trigger_norm=math.inf, labels=True)
    return [certified, float((certs.prediction == y[held]).mean())]


if __name__ == "__main__":
    settings = [(s, c, 20_000, "discriminant") for c in (None, 4, 5, 6) for s in (10, 13, 16, 20)]
    settings += [(13, 5, n, "discriminant") for n in (1_000, 5_000, 50_000)]
    settings += [(13, None, 1_000, model) for model in ("linear", "mlp")]
    print("| model | cosine | size | members | certified | right |\n|---|---|---|---|---|---|")
    for size, cosine, n_members, model in settings:
        values = " | ".join(f"{share:.3f}" for share in shares(size, cosine, n_members, model))
        print(f"| {model} | {cosine or '-'} | {size} | {n_members:,} | {values} |", flush=True)
