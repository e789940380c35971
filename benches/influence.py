"""Whether poison shows among the training samples whose presence moves votes: precision and recall over members and laws.

    python benches/influence.py            # digits and MNIST (0 and 1), writes results/influence.md
    python benches/influence.py --quick    # digits with few members, seconds, writes nothing

2 % of the training samples get a one-pixel trigger and the attacker's label. Suspicious inputs are test samples of the other
classes with the trigger; what is counted are votes for the attacker's class ("told"), as somebody would ask who knows which
class they were given, or for the predicted one ("predicted"). MNIST is read from ../shared/data beside the repository.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

import certssb as cs

RESULTS = Path(__file__).resolve().parent / "results" / "influence.md"
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
RATE, TARGET, INPUTS = 0.02, 0, 200


class Case(NamedTuple):
    """One ensemble on one poisoned training set."""

    name: str
    law: cs.Law
    trigger: cs.triggers.Trigger
    model: str = "discriminant"


SMALL, LARGE = cs.triggers.OnePixel(norm=1.0), cs.triggers.Patch(norm=4.0)
DIGITS = [
    Case("digits", cs.Subsample(size=30), SMALL),
    Case("digits", cs.Subsample(size=100), SMALL),
    Case("digits", cs.Subsample(rate=0.075), SMALL),
    Case("digits", cs.Subsample(size=300), SMALL),
    Case("digits", cs.Subsample(cs.Gaussian(0.25), size=100), SMALL),
    Case("digits", cs.Subsample(size=300), LARGE),
]
MNIST = [
    Case("MNIST 0, 1", cs.Subsample(size=40), SMALL, "linear"),
    Case("MNIST 0, 1", cs.Subsample(size=400), SMALL, "linear"),
    Case("MNIST 0, 1", cs.Subsample(size=400), LARGE, "linear"),
]
HEAD = (
    "data", "law", "trigger", "members", "drew a sample", "given the class", "inputs", "precision@10", "precision@20",
    "recall@poisoned", "average precision", "ROC", "beyond chance", "of them poisoned", "one input: precision@10", "seconds",
)  # fmt: skip


def load(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    if name == "digits":
        return cs.datasets.load_digits(split=True, seed=0)
    return cs.datasets.load_mnist(DATA, classes=(0, 1))


def rows(case: Case, members: list[int]) -> list[list[str]]:
    X, y, X_test, y_test = load(case.name)
    X_bad, y_bad, index = cs.triggers.poison(X, y, case.trigger, rate=RATE, target=TARGET, seed=0)
    poisoned = np.zeros(len(X), dtype=bool)
    poisoned[index] = True
    clean = X_test[y_test != TARGET][:INPUTS]
    triggered = case.trigger(clean)
    found = []
    for n in members:
        clf = cs.CertifiedClassifier(
            case.model,
            case.law,
            n_members=n,
            epochs=10,
            learning_rate=0.02,
            seed=0,
            progress=False,
            alpha=0.01,
        )
        clf.fit(X_bad, y_bad, classes=np.unique(y))
        told = [TARGET] * len(clean)
        for words, inputs, targets in (
            ("triggered, told", triggered, told),
            ("triggered, predicted", triggered, None),
            ("clean, told", clean, told),
        ):
            given = (clf.predict(inputs) == TARGET).mean()
            started = time.perf_counter()
            result = clf.influence(inputs, targets)
            seconds = time.perf_counter() - started
            score, beyond = result.score, result.beyond
            right = poisoned[result.order]
            found.append(
                [
                    case.name, f"`{case.law!r}`", type(case.trigger).__name__, f"{n:,}", f"{result.n_drew.mean():,.0f}",
                    f"{given:.1%}", words, f"{right[:10].mean():.2f}", f"{right[:20].mean():.2f}",
                    f"{right[: poisoned.sum()].mean():.2f}", f"{average_precision_score(poisoned, score):.2f}",
                    f"{roc_auc_score(poisoned, score):.2f}", f"{beyond.sum()}", f"{poisoned[beyond].sum()}",
                    f"{poisoned[result.index[:, :10]].mean():.2f}", f"{seconds:.2f}",
                ]
            )  # fmt: skip
            print(" | ".join(found[-1]), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        for case in DIGITS[:2]:
            rows(case, [200])
        return
    table = [row for case in [*DIGITS, *MNIST] for row in rows(case, [1000, 10_000])]
    RESULTS.write_text(
        TEXT
        + "\n".join("| " + " | ".join(row) + " |" for row in [list(HEAD), ["---"] * len(HEAD), *table])
        + "\n"
    )
    print(f"Written to {RESULTS}", file=sys.stderr)


TEXT = """# Does poison show in influence?

`python benches/influence.py`. A row is one ensemble, asked about 200 test samples of the other classes: with the trigger, counting
votes for the attacker's class ("told") or for the predicted one; and without the trigger. "Drew a sample":
by how many members a training sample was seen on average. "Given the class": share of the inputs for which the attack worked.
Precision and recall are of the ranking by score over all training samples, of which 2 % are poisoned: chance is 0.02.
"Beyond chance" counts samples that at least 30 members drew, with a score above the limit that the largest of all passes by
chance in 5 % of ensembles if none moves a vote.

What it says:

- With about 200 draws of a sample or more, the first ranks are poison on both data sets; on digits nearly all of it is found
  (recall 0.96 to 1.00 with 10,000 members), on MNIST about half (0.43 and 0.53), since among 12,665 samples one of 253 poisoned ones
  moves little.
- With few draws it fails: of 3 draws a sample (MNIST, 1,000 members, size 40) a tenth is found. What one draw tells depends on the size:
  32 draws find half of it in subsamples of 40, where one sample matters, and a tenth in subsamples of 400.
- Counting votes for the *predicted* class finds nothing where the attack failed, which is what these laws are for: poison lowers those
  votes and stands at the end of the ranking (ROC near 0). Where the attack works (the patch), the predicted class finds it too.
- The inputs without the trigger find much of the one-pixel poison: what shows is the wrong label. Against the patch, whose poison
  teaches the trigger and not the label, they find next to nothing.
- One input alone finds less than a group, in every row.
- "Beyond chance" was passed by clean samples as well: wherever the first of the two numbers is the larger one, a harmless sample moved
  votes more than chance would. It is a hint, no verdict.

"""

if __name__ == "__main__":
    main()
