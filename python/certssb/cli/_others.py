"""The commands beside the run: plan, certify, report and ledger."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

import certssb as cs
from certssb._checks import parameter_error
from certssb.cli._inputs import check_target, read_arrays
from certssb.cli._laws import needed_law
from certssb.cli._options import _settings
from certssb.report import write_report
from certssb.storage import _files


def plan(options: argparse.Namespace) -> None:
    law = needed_law(options)
    plan = law.plan(
        options.n_train, options.n_poisoned, options.norm, options.labels, options.alpha, options.n_classes,
        options.n_features,
    )  # fmt: skip
    print(plan)


def report(options: argparse.Namespace) -> None:
    if not Path(options.folder).is_dir():
        raise parameter_error("folder", "a folder that certssb run wrote", f"'{options.folder}'")
    if options.out is not None:
        check_target("--out", options.out)
    print(f"Written to {write_report(options.folder, options.out)}")


def _ledger(options: argparse.Namespace) -> cs.Ledger:
    if not Path(options.ledger).is_file():
        raise parameter_error("ledger", "a ledger's file", f"'{options.ledger}'")
    return cs.Ledger(options.ledger, read_only=True)


def ledger_show(options: argparse.Namespace) -> None:
    with _ledger(options) as ledger:
        frame = ledger.to_frame()
        print(f"{ledger.n_updates} updates, {len(ledger)} regions, dimension {ledger.dimension}")
        for outcome, count in frame["outcome"].value_counts().items():
            print(f"  {outcome:<10}{count:>8}")
        print(frame.tail(10).to_string(index=False))


def ledger_verify(options: argparse.Namespace) -> None:
    with _ledger(options) as ledger:
        report = ledger.verify(progress=sys.stderr is not None and sys.stderr.isatty())
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in report.outcomes.items())
    print(
        f"Clean: {report.updates} updates ({outcomes}), {report.regions} regions, none contradicts another."
    )


def ledger_export(options: argparse.Namespace) -> None:
    if not options.out.endswith((".csv", ".npz")):
        raise parameter_error("out", "a file name that ends in .csv or .npz", repr(options.out))
    check_target("out", options.out)
    with _ledger(options) as ledger:
        frame = ledger.to_frame()
        if options.out.endswith(".csv"):
            content = frame.to_csv(index=False, float_format="%.17g").encode()
        else:
            columns = {name: frame[name].fillna(-1).to_numpy() for name in frame if name != "outcome"}
            outcome = frame["outcome"].to_numpy(dtype=str)
            content = _files.npz({"centres": ledger.centres(), "outcome": outcome, **columns})
    _files.write(options.out, content)
    print(f"Written to {options.out}: {len(frame)} entries")


def certify(options: argparse.Namespace) -> None:
    check_target("--out", options.out)
    expected = "a .npy file of votes or scores"
    ballots = read_arrays("votes", expected, options.votes)
    if not isinstance(ballots, np.ndarray):
        raise parameter_error("votes", expected, f"'{options.votes}'")
    law, settings = needed_law(options), _settings(options)
    if ballots.ndim == 3 and not isinstance(law, cs.Cascade):
        table = cs.certify_scores(ballots, law, options.n_train, n_features=options.n_features, **settings)
    else:
        if options.n_classes is None:
            raise parameter_error("--n-classes", "given with votes", "nothing")
        table = cs.certify_votes(
            ballots, law, options.n_train, options.n_classes, n_features=options.n_features, **settings
        )
    asked = table.to_frame(
        n_poisoned=options.n_poisoned, trigger_norm=options.norm, labels=bool(options.labels)
    )
    table.save(options.out)
    print(table.guarantee)
    print(asked.describe().to_string())
    for name in asked:
        if str(name).startswith("holds("):
            print(f"{name}: {int(asked[name].sum())} of {len(asked)} predictions")
    print(f"Written to {options.out}")
