"""What the laws certify on real data, every figure by the public API.

    python benches/laws.py mnist01 mnist10 cifar knn discrete     # or some of them

Reads MNIST, CIFAR-10 and spambase from ../shared/data beside the repository, prints one line per row and
keeps the rows in benches/results/laws.json. Certified accuracies are shares of *all* stated test samples.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

import certssb as cs

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
RESULTS = ROOT / "benches" / "results" / "laws.json"
MACHINE = "2 shared cores"

Row = dict[str, Any]
Tests = dict[str, tuple[Any, Any]]


def down(share: float) -> float:
    """Four digits, rounded down."""
    return float(np.floor(share * 1e4 + 1e-9) / 1e4)


def ensemble_row(
    section: str,
    what: str,
    train: tuple[Any, Any],
    tests: Tests,
    budgets: Iterable[tuple[int, float, bool]],
    options: argparse.Namespace,
    **settings: Any,
) -> Row:
    """Train one ensemble and certify all tests against all budgets."""
    started = time.monotonic()
    clf = cs.CertifiedClassifier(progress=False, seed=options.seed, **settings).fit(*train)
    trained = time.monotonic()
    shown = {key: repr(value) if key in ("law", "features") else value for key, value in settings.items()}
    row: Row = {"section": section, "what": what, "machine": MACHINE, "alpha": clf.alpha}
    row |= {"n_train": len(train[0]), "settings": shown, "results": {}}
    for name, (X, y) in tests.items():
        certs = clf.certify(X)
        result: Row = {
            "n_samples": len(y),
            "accuracy": down(float(np.mean(certs.prediction == y))),
            "member_accuracy": down(float(np.mean(clf.classes_[clf.votes(X)] == y))),
        }
        for r, t, labels in budgets:
            key = f"r={r} t={t:g}{' labels' if labels else ''}"
            result[key] = down(certs.certified_accuracy(y, n_poisoned=r, trigger_norm=t, labels=labels))
        row["results"][name] = result
        row["guarantee"] = certs.guarantee
    row["seconds"] = {"training": round(trained - started, 1), "all": round(time.monotonic() - started, 1)}
    return row


# --- MNIST 1 vs 0, the attack of the literature


def mnist01(options: argparse.Namespace) -> Iterable[Row]:
    X, y, X_test, y_test = cs.datasets.load_mnist(DATA, classes=(0, 1))
    noised = cs.Gaussian(1.0)
    fast: Row = {"model": "discriminant", "features": cs.features.Cosine(8)}
    rows: list[tuple[str, Row]] = [
        ("features", {**fast, "law": cs.Subsample(noised, size=100)}),
        ("features", {"model": "linear", "law": cs.Subsample(noised, size=100), "learning_rate": 3e-3}),
        ("labels by bagging", {**fast, "law": cs.Subsample(size=20)}),
        ("labels by bagging", {**fast, "law": cs.Subsample(size=12)}),
        ("both at once", {**fast, "law": cs.Subsample(noised, size=20)}),
        ("labels by label noise", {**fast, "law": cs.Subsample(noised & cs.LabelNoise(0.2), size=50)}),
        ("labels by label noise", {**fast, "law": cs.Subsample(noised & cs.LabelNoise(0.1), size=30)}),
    ]
    triggers = {
        "one pixel": cs.triggers.OnePixel(norm=1.0),
        "four pixels": cs.triggers.FourPixel(norm=1.0),
        "blend": cs.triggers.Blend(norm=1.0),
    }
    for name, trigger in triggers.items():
        X_bad, y_bad, index = cs.triggers.poison(X, y, trigger, rate=0.02, target=0, seed=0)
        ones = y_test == 1
        tests = {"clean": (X_test, y_test), "triggered ones": (trigger(X_test[ones]), y_test[ones])}
        budgets = [(len(index), 1.0, False), (len(index), 1.0, True)]
        for what, settings in rows:
            settings = {**settings, "n_members": options.members}
            yield ensemble_row(
                "mnist01", f"{name}; {what}", (X_bad, y_bad), tests, budgets, options, **settings
            )
    yield full_set(len(X), 253, options)


def full_set(n_train: int, r: int, options: argparse.Namespace) -> Row:
    """Full-set Gaussian noise at its very best: all members agree. An upper bound, no training."""
    votes = np.ones((options.members, 1), dtype=np.int64)
    row: Row = {"section": "mnist01", "what": "full-set Gaussian, upper bound: all members agree"}
    row |= {
        "machine": MACHINE,
        "alpha": 0.001,
        "n_train": n_train,
        "settings": {"n_members": options.members},
        "results": {},
    }
    for sigma in (0.5, 1.0):
        certs = cs.certify_votes(votes, cs.Gaussian(sigma), n_train, 2)
        row["results"][f"sigma={sigma:g}"] = {
            "largest trigger norm": down(certs.trigger_norm(n_poisoned=r)[0]),
            f"r={r} t=1": float(certs.holds(n_poisoned=r, trigger_norm=1.0)[0]),
        }
    return row


# --- MNIST, ten digits


def mnist10(options: argparse.Namespace) -> Iterable[Row]:
    X, y, X_test, y_test = cs.datasets.load_mnist(DATA)
    budgets = [(r, 1.0, False) for r in (1200, 300, 60)]
    grid = [(3000, 6.0), (800, 3.0), (1600, 2.2), (600, 1.0)]
    for size, sigma in options.grid or grid:
        law = cs.Subsample(cs.Gaussian(sigma), size=size)
        settings = {
            "model": "discriminant",
            "features": cs.features.Cosine(8),
            "law": law,
            "n_members": options.members,
        }
        yield ensemble_row(
            "mnist10", "ten digits", (X, y), {"clean": (X_test, y_test)}, budgets, options, **settings
        )


# --- CIFAR-10, two classes


def cifar(options: argparse.Namespace) -> Iterable[Row]:
    trigger = cs.triggers.OnePixel(norm=1.0)
    for classes in (("airplane", "bird"), ("automobile", "dog")):
        X, y, X_test, y_test = cs.datasets.load_cifar10(DATA / "cifar10-jpeg.zip", classes=classes)
        X_bad, y_bad, index = cs.triggers.poison(X, y, trigger, rate=0.05, target=0, seed=0)
        others, r = y_test == 1, len(index)
        tests = {"clean": (X_test, y_test), "triggered": (trigger(X_test[others]), y_test[others])}
        budgets = [(r, 1.0, False), (r // 10, 1.0, False), (r, 0.1, False)]
        for size, sigma, q in ((50, 1.0, 4), (400, 3.0, 4), (2000, 7.0, 4), (800, 4.0, 6), (800, 1.0, 8)):
            law, features = cs.Subsample(cs.Gaussian(sigma), size=size), cs.features.Cosine(q)
            settings = {
                "model": "discriminant",
                "features": features,
                "law": law,
                "n_members": options.members,
            }
            yield ensemble_row(
                "cifar", " vs ".join(classes), (X_bad, y_bad), tests, budgets, options, **settings
            )


# --- 1-NN, exactly


def knn(options: argparse.Namespace) -> Iterable[Row]:
    radii = [0, 0.2, 0.5, 1, 2, 5]
    sets = {
        "spambase": cs.datasets.load_spambase(DATA / "spambase.data", split=True),
        "MNIST 0/1": cs.datasets.load_mnist(DATA, classes=(0, 1)),
    }
    for name, (X, y, X_test, y_test) in sets.items():
        pick = np.random.default_rng(0).permutation(len(X_test))[: options.knn_tests]
        for sigma in (0.5, 1.0, 2.0):
            model = cs.CertifiedKNN(sigma=sigma).fit(X, y)
            started = time.monotonic()
            certs = model.certify(X_test[pick])
            seconds = time.monotonic() - started
            shares = certs.certified_accuracy(y_test[pick], radii=radii)
            result: Row = {
                "n_samples": len(pick),
                "accuracy": down(float(np.mean(certs.prediction == y_test[pick]))),
            }
            result |= {f"radius={radius:g}": down(share) for radius, share in zip(radii, shares, strict=True)}
            row: Row = {
                "section": "knn",
                "what": name,
                "machine": MACHINE,
                "n_train": len(X),
                "settings": {"sigma": sigma},
            }
            row |= {"results": {"clean": result}, "guarantee": certs.guarantee}
            yield row | {
                "seconds": {"all": round(seconds, 2), "per test point": round(seconds / len(pick), 5)}
            }


# --- discrete noise


def discrete(options: argparse.Namespace) -> Iterable[Row]:
    X, y, X_test, y_test = cs.datasets.load_mnist(DATA, classes=(1, 7))
    X, X_test = (X > 0.5).astype(np.float32), (X_test > 0.5).astype(np.float32)
    pick = np.sort(np.random.default_rng(options.seed).permutation(len(X))[:100])
    for keep_chance in (0.7, 0.8, 0.9):
        for test_input in (False, True):
            law = cs.Discrete(keep=keep_chance, labels=True, test_input=test_input)
            settings: Row = {
                "model": "linear",
                "law": law,
                "n_members": options.members,
                "epochs": 30,
                "learning_rate": 3e-3,
            }
            started = time.monotonic()
            clf = cs.CertifiedClassifier(progress=False, seed=options.seed, **settings).fit(X[pick], y[pick])
            certs = clf.certify(X_test)
            flips = np.where(certs.abstained | (certs.prediction != y_test), -1, certs.n_flips())
            result: Row = {
                "n_samples": len(y_test),
                "accuracy": down(float(np.mean(certs.prediction == y_test))),
            }
            result |= {f"flips={n}": down(float(np.mean(flips >= n))) for n in range(int(flips.max()) + 2)}
            row: Row = {
                "section": "discrete",
                "what": "MNIST 1 vs 7 binarised, 100 training images",
                "machine": MACHINE,
            }
            row |= {"alpha": clf.alpha, "n_train": 100, "settings": {**settings, "law": repr(law)}}
            row |= {"results": {"clean": result}, "guarantee": certs.guarantee}
            yield row | {"seconds": {"all": round(time.monotonic() - started, 1)}}


SECTIONS: dict[str, Callable[[argparse.Namespace], Iterable[Row]]] = {
    "mnist01": mnist01,
    "mnist10": mnist10,
    "cifar": cifar,
    "knn": knn,
    "discrete": discrete,
}


def show(row: Row) -> None:
    settings = " ".join(f"{key}={value}" for key, value in row["settings"].items())
    print(f"[{row['section']}] {row['what']} | {settings} | {row.get('seconds', {})}", flush=True)
    for name, result in row["results"].items():
        print(f"    {name:>16}: " + "  ".join(f"{key} {value}" for key, value in result.items()), flush=True)


def keep(row: Row) -> None:
    """Append the row, in place of an earlier run of the same."""
    rows: list[Row] = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    same = ("section", "what", "settings")
    rows = [old for old in rows if any(old[key] != row[key] for key in same)]
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps([*rows, row], indent=1) + "\n")


def pair(text: str) -> tuple[int, float]:
    size, sigma = text.split(",")
    return int(size), float(sigma)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all by default"
    )
    parser.add_argument("--members", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--knn-tests", type=int, default=1000, help="test points of the 1-NN section")
    parser.add_argument("--grid", type=pair, nargs="+", help="size,sigma pairs instead of those of mnist10")
    parser.add_argument("--dry", action="store_true", help="print only")
    options = parser.parse_args()
    unknown = set(options.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"unknown sections: {', '.join(sorted(unknown))}")
    for section in options.sections or SECTIONS:
        for row in SECTIONS[section](options):
            show(row)
            if not options.dry:
                keep(row)


if __name__ == "__main__":
    main()
