"""What came out of a run: shares over sizes of the change, as numbers, text and picture."""

from __future__ import annotations

import argparse
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

import certssb as cs
from certssb import metrics
from certssb._extras import needed
from certssb.certificates._budget import Budget, exactly
from certssb.certificates._shares import share_down, share_up
from certssb.cli._laws import leaves_features
from certssb.displays._style import FAINT, write_note
from certssb.report._counted import KINDS, attack_sentence, counted, saved_budget

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Outcome:
    """Tables with their truth, what they are asked for, and what the run's own attack was.

    Attributes
    ----------
    tables : dict of CertificateTable
        Certificates of each set of test samples, by name.
    truth : dict of ndarray
        Their true classes, by the same names.
    budget : Budget
        What the run certifies against.
    attack : Budget or None
        What its own attack changed.
    target : label or None
        The attack's class.
    """

    tables: dict[str, cs.CertificateTable]
    truth: dict[str, npt.NDArray[Any]]
    budget: Budget
    attack: Budget | None
    target: Any

    @property
    def law(self) -> cs.Law:
        return next(iter(self.tables.values())).law

    @property
    def n_train(self) -> int:
        # Known wherever the command line certifies: it has trained, or was told.
        return next(iter(self.tables.values())).n_train or 0

    def sizes(self) -> dict[str, list[float]]:
        """The sizes of changes that shares are computed for, the same for all tables."""
        tables = list(self.tables.values())
        if isinstance(self.law, cs.Discrete):
            flips = [int(table.n_flips().max(initial=0)) for table in tables]
            return {"flips": _whole(max(flips) + 1)}
        sizes: dict[str, list[float]] = {}
        change = replace(self.budget, trigger_norm=None).change()
        if leaves_features(self.law):
            norms = np.zeros(1)
        else:
            norms = np.concatenate([table.trigger_norm(**change) for table in tables])
        finite = norms[np.isfinite(norms)]
        # Where all norms are 0 or infinite, the number of samples says all there is to say.
        if finite.any() or tables[0].radius is not None:
            # The attack's own norm and number beside sizes that end with what is certified.
            norms_known = {self._attack_norm()} - {math.inf}
            sizes["trigger_norms"] = sorted({*_round_sizes(float(finite.max(initial=0.0))), *norms_known})
        radii = [table.radius for table in tables if table.radius is not None]
        if radii:
            sizes["radii"] = _round_sizes(max(float(np.max(radius, initial=0.0)) for radius in radii))
        else:
            survived = replace(self.budget, n_poisoned=None).change()
            most = max(int(table.n_poisoned(**survived).max(initial=0)) for table in tables)
            known = [budget.n_poisoned or 0 for budget in (self.budget, self.attack) if budget is not None]
            sizes["counts"] = sorted({*_whole(min(most + 1, self.n_train)), *map(float, known)})
        return sizes

    def _attack_norm(self) -> float:
        return 0.0 if self.attack is None or self.attack.trigger_norm is None else self.attack.trigger_norm

    def results(self) -> dict[str, dict[str, Any]]:
        """Shares of each table."""
        sizes = self.sizes()
        return {name: self._results(table, self.truth[name], sizes) for name, table in self.tables.items()}

    def _results(
        self, table: cs.CertificateTable, y: npt.NDArray[Any], sizes: dict[str, list[float]]
    ) -> dict[str, Any]:
        results: dict[str, Any] = {
            "n_samples": len(table),
            "accuracy": metrics.empirical_robust_accuracy(y, table.prediction),
            "certified_ratio": metrics.certified_ratio(~table.abstained),
            **sizes,
        }
        if self.target is not None:
            results["attack_success_rate"] = metrics.attack_success_rate(y, table.prediction, self.target)
        if "radii" in sizes:
            results["certified_accuracy"] = _floats(table.certified_accuracy(y, radii=sizes["radii"]))
        if "flips" in sizes:
            flips = np.where(table.abstained, -1, table.n_flips())
            results["certified_accuracy_flips"] = [
                metrics.certified_accuracy(y, table.prediction, flips >= size) for size in sizes["flips"]
            ]
        budget = replace(self.budget, trigger_norm=None).change()
        if "trigger_norms" in sizes:
            norms = sizes["trigger_norms"]
            results["certified_accuracy_budget"] = _floats(
                table.certified_accuracy(y, trigger_norm=norms, **budget)
            )
        if "counts" in sizes:
            survived = replace(self.budget, n_poisoned=None).change()
            results["certified_accuracy_counts"] = [
                float(table.certified_accuracy(y, **survived, n_poisoned=int(count)))
                for count in sizes["counts"]
            ]
        return results

    def against_attack(self) -> dict[str, float | None]:
        """Share of each set that is predicted right and certified against the run's own attack."""
        assert self.attack is not None
        change = {"n_poisoned": self.attack.n_poisoned, "trigger_norm": self.attack.trigger_norm}
        shares: dict[str, float | None] = {}
        for name, table in self.tables.items():
            try:
                shares[name] = float(table.certified_accuracy(self.truth[name], **change, labels=True))
            except cs.ParameterError:
                shares[name] = None
        return shares if self.law_is_proof() else dict.fromkeys(shares)

    def law_is_proof(self) -> bool:
        return all(table.sound for table in self.tables.values())


def _round_sizes(largest: float) -> list[float]:
    """About ten round sizes from 0 to beyond the largest."""
    step = next(
        (s for s in (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0) if s * 10 >= largest), 10.0
    )
    return [round(step * i, 6) for i in range(11)]


def _whole(largest: int) -> list[float]:
    """At most eleven round whole numbers from 0 to the largest or beyond it."""
    steps = (factor * 10**power for power in range(19) for factor in (1, 2, 5))
    step = next(step for step in steps if step * 10 >= largest)
    return [float(number) for number in range(0, largest + 1, step)]


def _floats(values: npt.ArrayLike) -> list[float]:
    return [float(value) for value in np.ravel(np.asarray(values))]


def text(summary: dict[str, Any], outcome: Outcome, options: argparse.Namespace) -> str:
    """What the terminal shows."""
    lines = ["", summary["guarantee"], ""]
    for name, results in summary["results"].items():
        line = f"{name} test samples: {results['n_samples']}, accuracy {share_down(results['accuracy']):.4f}"
        rate = results.get("attack_success_rate")
        lines.append(line + ("" if rate is None else f", given the target class {share_up(rate):.4f}"))
    lines.append("")
    for kind in KINDS:
        rows = {name: results for name, results in summary["results"].items() if kind.sizes in results}
        for number, (name, results) in enumerate(rows.items()):
            if number == 0:
                lines.append(
                    "Predicted right and certified, "
                    + counted(kind, outcome.budget, outcome.n_train, outcome.law)
                )
                lines.append(_row(kind.unit.split(" (")[0], [exactly(size) for size in results[kind.sizes]]))
            lines.append(_row(name, [f"{share_down(share):.4f}" for share in results[kind.shares]]))
        if rows:
            lines.append("")
    if all(bool(table.abstained.all()) for table in outcome.tables.values()):
        lines += [
            "No prediction is certified, not even against no change: members agree too little. Let each see more:",
            "larger subsamples, as a smaller --n-poisoned makes them, or less noise. Or raise --members, with which a",
            "smaller majority is enough.",
            "",
        ]
    if summary.get("own_attack"):
        lines += [summary["own_attack"]["sentence"], ""]
    seconds = summary["seconds"]
    memory = summary["peak_memory_mb"]
    lines.append(
        f"{outcome.n_train:,} training samples{_beside(summary)}, {options.members:,} members, "
        f"{seconds['training']:.0f} s training, {seconds['total']:.0f} s in all"
        + ("" if memory is None else f", {memory:.0f} MB at most")
    )
    return "\n".join(lines)


def _beside(summary: dict[str, Any]) -> str:
    n_trusted = summary.get("n_trusted", 0)
    return f" and {n_trusted:,} trusted ones" if n_trusted else ""


def _row(name: str, cells: Sequence[str]) -> str:
    return f"  {name:<12}" + "".join(f"{cell:>8}" for cell in cells)


def plot(outcome: Outcome, sentence: str | None) -> bytes:
    """Draw what is certified, over the number of samples, over norm or radius, or over entries; a PNG."""
    needed("matplotlib", "A plot", "plot")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    kinds = [kind for kind in KINDS if kind.sizes in outcome.sizes()]
    if any(kind.sizes == "radii" for kind in kinds):
        kinds = [kind for kind in kinds if kind.sizes == "radii"]
    figure = Figure(figsize=(7, 0.7 + 4.1 * len(kinds)), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(kinds), squeeze=False)[:, 0]
    for ax, kind in zip(axes, kinds, strict=True):
        for name, table in outcome.tables.items():
            display = _display(kind.sizes, table, outcome, name)
            display.title = f"Predicted right and certified, {counted(kind, outcome.budget, outcome.n_train, outcome.law)}"
            display.plot(ax=ax)
        _mark_attack(ax, kind.sizes, outcome)
    if sentence is not None:
        write_note(axes[-1], sentence, below=44)
    drawn = io.BytesIO()
    figure.savefig(drawn)
    return drawn.getvalue()


def _display(
    sizes: str, table: cs.CertificateTable, outcome: Outcome, name: str
) -> cs.CertifiedAccuracyDisplay:
    y, budget, label = outcome.truth[name], outcome.budget, f"{name} test samples"
    make = cs.CertifiedAccuracyDisplay.from_certificates
    if sizes == "radii":
        return make(table, y, name=label)
    if sizes == "counts":
        return make(table, y, **replace(budget, n_poisoned=None).change(), name=label)
    if sizes == "trigger_norms":
        return make(table, y, **replace(budget, trigger_norm=None).change(), name=label)
    flips = np.where(table.abstained, -1, table.n_flips())
    grid = np.arange(int(flips.max(initial=0)) + 2)
    shares = [metrics.certified_accuracy(y, table.prediction, flips >= size) for size in grid]
    return cs.CertifiedAccuracyDisplay(
        grid, np.array(shares, dtype=float), name=label, xlabel="Changed entries (at most)", sound=table.sound
    )


def _mark_attack(ax: Axes, sizes: str, outcome: Outcome) -> None:
    """A line where the run's own attack stands, if these sizes count what it changed."""
    attack, budget = outcome.attack, outcome.budget
    if attack is None or not budget.labels:
        return
    assert attack.n_poisoned is not None and attack.trigger_norm is not None
    assert budget.n_poisoned is not None and budget.trigger_norm is not None
    if sizes == "counts" and budget.trigger_norm >= attack.trigger_norm:
        place = float(attack.n_poisoned)
    elif sizes == "trigger_norms" and budget.n_poisoned >= attack.n_poisoned:
        place = attack.trigger_norm
    else:
        return
    ax.set_xlim(0, max(ax.get_xlim()[1], place * 1.05))
    ax.axvline(place, color=FAINT, linewidth=1.2, linestyle=(0, (2, 2)), label="this run's attack")
    handles, labels = ax.get_legend_handles_labels()
    legend = ax.get_legend()
    ax.legend(handles, labels, **_legend_options(legend))


def _legend_options(legend: Any) -> dict[str, Any]:
    return {
        "frameon": False, "fontsize": 9, "handlelength": 2.6, "loc": "upper left",
        "bbox_to_anchor": (1.02, 1.0), "borderaxespad": 0.0,
        "labelcolor": legend.get_texts()[0].get_color() if legend is not None else None,
    }  # fmt: skip


def own_attack(outcome: Outcome) -> dict[str, Any] | None:
    """What the run's own attack changed, and whether what is certified covers it."""
    attack = outcome.attack
    if attack is None:
        return None
    shares = outcome.against_attack()
    sentence = attack_sentence(attack, outcome.budget, shares, outcome.n_train)
    covered = any(shares.values()) and "NOT covered" not in sentence
    return {**saved_budget(attack), "certified_accuracy": shares, "covered": covered, "sentence": sentence}
