"""Cert-SSBD beside fixed noise: one table and one plot on MNIST 1 vs 0 and CIFAR-10 airplane vs bird.

    python benches/cert_ssbd.py                      # all six attacks
    python benches/cert_ssbd.py mnist one-pixel      # one of them
    python benches/cert_ssbd.py --plot               # table and plot from the rows that are there

Per attack: fixed Gaussian noise of sigma 1, 0.5, 0.25, 0.12, the cascade over these four (with the very same
members), sample-specific noise in the sound and in the published form, and an undefended model. Certified accuracy at
radii 0, 0.25 ... 2.5 on the clean test set and on triggered test samples of the non-target class, against their true
class; empirical robust accuracy and attack success rate on the latter. Radii are total L2 norms over the training set
with labels as received; those of the published form prove nothing.

Members are two-layer perceptrons on the lowest cosine coefficients of an image, a fixed map that lengthens no change.
Rows are kept in benches/results/cert_ssbd.json; table and plot are written beside it.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import certssb as cs

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
RESULTS = ROOT / "benches" / "results"
SIGMAS = (1.0, 0.5, 0.25, 0.12)
RADII = np.arange(0, 2.51, 0.25)
ALPHA = 0.001
MARK = "<!-- what follows is written by benches/cert_ssbd.py -->"
TRIGGERS = {
    "one-pixel": cs.triggers.OnePixel(norm=1.0),
    "four-pixel": cs.triggers.FourPixel(norm=1.0),
    "blend": cs.triggers.Blend(norm=1.0),
}
Row = dict[str, Any]
Arrays = tuple[Any, Any, Any, Any]


class Attack:
    """A poisoned training set, the clean test set and triggered test samples of the non-target class."""

    def __init__(self, data: str, trigger: str, members: int, seed: int) -> None:
        X, y, X_test, y_test = load(data)
        self.data, self.trigger = data, trigger
        rate = 0.02 if data == "mnist" else 0.05
        mark = TRIGGERS[trigger]
        self.X, self.y, index = cs.triggers.poison(X, y, mark, rate=rate, target=0, seed=seed)
        others = y_test == 1
        self.tests = {"clean": (X_test, y_test), "triggered": (mark(X_test[others]), y_test[others])}
        self.settings: Row = {
            "n_members": members,
            "seed": seed,
            "epochs": 4,
            "batch_size": 512,
            "learning_rate": 3e-3,
        }
        self.settings |= {"progress": False, "features": cs.features.Cosine(10 if data == "mnist" else 8)}
        self.n_poisoned = len(index)

    def fit(self, law: cs.Law, **settings: Any) -> cs.CertifiedClassifier:
        settings = {"model": "mlp", **self.settings, **settings}
        return cs.CertifiedClassifier(law=law, **settings).fit(self.X, self.y)

    def row(self, method: str, law: str, members: int, seconds: float, **results: Row) -> Row:
        what: Row = {"data": self.data, "trigger": self.trigger, "method": method, "law": law}
        what |= {"n_members": members, "alpha": ALPHA, "n_poisoned": self.n_poisoned}
        return what | {"seconds": None if np.isnan(seconds) else round(seconds, 1)} | results


def load(data: str) -> Arrays:
    if data == "mnist":
        return cs.datasets.load_mnist(DATA, classes=(0, 1))
    return cs.datasets.load_cifar10(DATA / "cifar10-jpeg.zip", classes=("airplane", "bird"))


def down(values: npt.ArrayLike) -> Any:
    """Four digits, rounded down."""
    return (np.floor(np.asarray(values) * 1e4 + 1e-9) / 1e4).tolist()


def judged(certs: cs.CertificateTable, y: Any) -> Row:
    right = certs.prediction == y
    radius = np.where(right, certs.radius, 0.0)
    return {
        "accuracy": down(np.mean(right)),
        "certified": down(certs.certified_accuracy(y, radii=RADII)),
        "area": down(radius.mean()),
        "target": down(np.mean(certs.prediction == 0)),
        "sound": certs.sound,
    }


def rows(attack: Attack, options: argparse.Namespace) -> Any:
    yield undefended(attack, "mlp on cosine coefficients")
    yield undefended(
        attack, "cnn on pixels", model="cnn", features=None, epochs=10, batch_size=128, learning_rate=1e-3
    )
    started = time.monotonic()
    clf = attack.fit(cs.Cascade([cs.Gaussian(sigma) for sigma in SIGMAS]))
    trained = time.monotonic() - started
    votes = {name: clf.votes(X) for name, (X, _) in attack.tests.items()}
    if options.votes:
        path = options.votes / f"{attack.data}-{attack.trigger}.npz"
        np.savez_compressed(path, seconds=np.array(trained), **votes)
    yield from levels(attack, votes, trained)
    for guarantee in ("sound", "published"):
        for sigma in options.specific:
            law = cs.SampleSpecific(sigma, guarantee, steps=4, samples=2)
            started = time.monotonic()
            clf = attack.fit(law)
            certified = {name: (clf.certify(X), y) for name, (X, y) in attack.tests.items()}
            seconds = time.monotonic() - started
            results = {name: judged(*pair) for name, pair in certified.items()}
            yield attack.row(guarantee, repr(law), attack.settings["n_members"], seconds, **results)


def levels(attack: Attack, votes: dict[str, Any], seconds: float) -> Any:
    """Fixed noise and cascades from the votes of the same members."""
    n_train, n_members = len(attack.X), votes["clean"].shape[1]
    fixed: dict[str, list[cs.CertificateTable]] = {name: [] for name in attack.tests}
    for g, sigma in enumerate(SIGMAS):
        law = cs.Gaussian(sigma)
        for name in attack.tests:
            fixed[name].append(cs.certify_votes(votes[name][g], law, n_train, 2, alpha=ALPHA))
        results = {name: judged(fixed[name][g], y) for name, (_, y) in attack.tests.items()}
        yield attack.row("fixed", repr(law), n_members, seconds / len(SIGMAS), **results)
    for law in cascades():
        results = {}
        for name, (_, y) in attack.tests.items():
            own = votes[name][len(SIGMAS) - len(law.levels) :]
            certs = cs.certify_votes(own, law, n_train, 2, alpha=ALPHA)
            results[name] = judged(certs, y) | {"behind": behind(certs, law, fixed[name], y)}
        yield attack.row("cascade", repr(law), n_members, seconds, **results)


def behind(certs: cs.CertificateTable, law: cs.Cascade, fixed: list[cs.CertificateTable], y: Any) -> float:
    """The most by which the best fixed sigma at r + 2 tau is above the cascade at r, tau its largest threshold."""
    radii = np.arange(0, 2.5, 0.01)
    shifted = radii + 2 * max(law.thresholds)
    best = np.max([one.certified_accuracy(y, radii=shifted) for one in fixed], axis=0)
    gap = float(np.max(best - certs.certified_accuracy(y, radii=radii)))
    return max(0.0, float(np.ceil(gap * 1e4 - 1e-9) / 1e4))


def again(attack: Attack, options: argparse.Namespace) -> Any:
    """The rows of fixed noise and cascades from votes that were kept."""
    with np.load(options.votes / f"{attack.data}-{attack.trigger}.npz") as kept:
        votes = {name: kept[name] for name in attack.tests}
        seconds = float(kept["seconds"]) if "seconds" in kept else float("nan")
    yield from levels(attack, votes, seconds)


def cascades() -> list[cs.Cascade]:
    """The rule's thresholds, smaller and larger ones, and the cascade without its first level."""
    levels = [cs.Gaussian(sigma) for sigma in SIGMAS]
    given = [[factor * sigma for sigma in SIGMAS[:3]] for factor in (0.05, 0.1, 0.3, 0.6)]
    return [cs.Cascade(levels), *(cs.Cascade(levels, thresholds=t) for t in given), cs.Cascade(levels[1:])]


def undefended(attack: Attack, what: str, **settings: Any) -> Row:
    """One network on the received data as they are."""
    started = time.monotonic()
    clf = attack.fit(cs.Subsample(size=len(attack.X)), n_members=3, alpha=0.5, **settings)
    results: Row = {}
    for name, (X, y) in attack.tests.items():
        vote = clf.votes(X)[0]
        results[name] = {"accuracy": down(np.mean(vote == y)), "target": down(np.mean(vote == 0))}
    return attack.row("undefended", what, 1, time.monotonic() - started, **results)


def keep(row: Row) -> None:
    """Append the row, in place of an earlier run of the same."""
    path = RESULTS / "cert_ssbd.json"
    known: list[Row] = json.loads(path.read_text()) if path.exists() else []
    same = ("data", "trigger", "method", "law")
    for old in known:
        if row["seconds"] is None and all(old[key] == row[key] for key in same):
            row["seconds"] = old["seconds"]
    known = [old for old in known if any(old[key] != row[key] for key in same)]
    path.write_text(json.dumps([*known, row], indent=1) + "\n")


# --- table and plot


def label(row: Row) -> str:
    names = {
        "undefended": "undefended",
        "sound": "sample-specific, sound",
        "published": "sample-specific, published (no proof)",
    }
    law = row["law"].replace("sigma=", "").replace(", guarantee='sound', steps=4, samples=2", "")
    law = law.replace(", guarantee='published', steps=4, samples=2", "")
    return f"{names.get(row['method'], row['method'])} {law}"


def table(known: list[Row]) -> str:
    lines = []
    for data, trigger in attacks(known):
        own = [row for row in known if (row["data"], row["trigger"]) == (data, trigger)]
        lines += [f"\n## {data}, {trigger}, {own[0]['n_poisoned']} poisoned samples, trigger norm 1\n"]
        head = ["method", "N", *(f"{r:g}" for r in RADII), "area", "behind", "accuracy", "robust", "ASR", "s"]
        lines += ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
        for row in own:
            clean, hit = row["clean"], row["triggered"]
            # Four digits, as they were rounded down.
            shares = [f"{share:.4f}" for share in clean.get("certified", [])] or [""] * len(RADII)
            cells = [
                label(row),
                str(row["n_members"]),
                *shares,
                f"{clean['area']:.4f}" if "area" in clean else "",
                f"{clean['behind']:.4f}" if "behind" in clean else "",
            ]
            cells += [f"{clean['accuracy']:.4f}", f"{hit['accuracy']:.4f}", f"{hit['target']:.4f}"]
            lines += ["| " + " | ".join([*cells, f"{row['seconds'] or 0:.0f}"]) + " |"]
    return "\n".join(lines)


def attacks(known: list[Row]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((row["data"], row["trigger"]) for row in known))


def plot(known: list[Row], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(15, 8), sharey="row", layout="constrained")
    colours = dict(zip(SIGMAS, plt.get_cmap("viridis")(np.linspace(0.85, 0.1, 4)), strict=True))
    for ax, (data, trigger) in zip(axes.flat, sorted(attacks(known), reverse=True), strict=False):
        for row in known:
            if (row["data"], row["trigger"]) != (data, trigger) or row["method"] == "undefended":
                continue
            usual = row["law"] in {repr(law) for law in cascades()[:1]} or row["method"] != "cascade"
            if not usual:
                continue
            style: Row = {"fixed": {"lw": 1.5}, "cascade": {"lw": 3, "color": "crimson"}}.get(
                row["method"], {}
            )
            if row["method"] == "fixed":
                style["color"] = colours[float(row["law"][15:-1])]
            if row["method"] in ("sound", "published"):
                style = {"ls": "--" if row["method"] == "sound" else ":", "lw": 2}
            name = label(row) if row["method"] != "cascade" else "cascade over all four"
            ax.plot(RADII, row["clean"]["certified"], marker="o", ms=3, label=name, **style)
        ax.set(title=f"{data}, {trigger}", xlabel="total L2 radius", ylabel="certified accuracy")
        ax.grid(alpha=0.3)
    axes[0, 2].legend(fontsize=8)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="?", choices=("mnist", "cifar"))
    parser.add_argument("trigger", nargs="?", choices=tuple(TRIGGERS))
    parser.add_argument("--members", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--specific", type=float, nargs="*", default=[0.5], help="sigmas of sample-specific noise"
    )
    parser.add_argument("--votes", type=Path, help="directory in which votes are kept")
    parser.add_argument(
        "--plot", action="store_true", help="only write table and plot of the rows that are there"
    )
    parser.add_argument(
        "--again", action="store_true", help="certify the votes that were kept, train nothing"
    )
    options = parser.parse_args()
    for trigger in () if options.plot else TRIGGERS:
        for data in ("mnist", "cifar"):
            if options.data in (None, data) and options.trigger in (None, trigger):
                attack = Attack(data, trigger, options.members, options.seed)
                for row in (again if options.again else rows)(attack, options):
                    print(
                        data, trigger, label(row), row["clean"], row["triggered"], row["seconds"], flush=True
                    )
                    keep(row)
    known = json.loads((RESULTS / "cert_ssbd.json").read_text())
    page = RESULTS / "cert_ssbd.md"
    page.write_text(page.read_text().split(MARK)[0] + MARK + "\n" + table(known) + "\n")
    plot(known, RESULTS / "cert_ssbd.png")


if __name__ == "__main__":
    main()
