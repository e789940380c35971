"""The commands beside the run: plan, recommend, certify, report, audit and ledger."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np

import certssb as cs
from certssb._checks import parameter_error
from certssb.certificates._budget import asked_budget
from certssb.certificates._printed import Shown, aligned
from certssb.cli._inputs import check_target, read_arrays
from certssb.cli._laws import asked_election, asked_threat, needed_law
from certssb.cli._options import _settings
from certssb.report import write_comparison, write_report
from certssb.storage import _files
from certssb.storage._tables import csv_bytes

_LAST = 10
"""Entries that are shown."""


def plan(options: argparse.Namespace) -> None:
    law = needed_law(options)
    if isinstance(law, cs.Partition):
        expected = (
            "left out: its certificates are counted, not bounded; certssb recommend says what partitions need"
        )
        raise parameter_error("--partition", expected, options.partition)
    settings = {"alpha": options.alpha, "n_classes": options.n_classes, "n_features": options.n_features}
    if options.threat is not None:
        asked_threat(options, options.n_train, "n_poisoned", "norm", "labels")
        print(law.plan(cs.Threat.parse(options.threat), n_train=options.n_train, **settings))
        return
    for name in ("n_poisoned", "norm"):
        if getattr(options, name) is None:
            raise parameter_error(f"--{name.replace('_', '-')}", "given, or else --threat", "nothing")
    print(law.plan(options.n_train, options.n_poisoned, options.norm, options.labels, **settings))


def recommend(options: argparse.Namespace) -> None:
    found = cs.recommend(
        cs.Threat.parse(options.threat),
        options.n_train,
        options.n_classes,
        options.shape,
        n_members=options.members,
        alpha=options.alpha,
    )
    print(json.dumps(found._as_json(), indent=2) if options.json else found)


def report(options: argparse.Namespace) -> None:
    for name in ("folder", "other"):
        place = getattr(options, name)
        if place is not None and not Path(place).is_dir():
            raise parameter_error(name, "a folder that certssb run wrote", f"'{place}'")
    if options.out is not None:
        check_target("--out", options.out)
    if options.other is None:
        print(f"Written to {write_report(options.folder, options.out)}")
    else:
        print(f"Written to {write_comparison(options.folder, options.other, options.out)}")


def audit(options: argparse.Namespace) -> int:
    found = cs.audit(
        options.folder,
        members=options.members,
        data=options.data,
        table=options.table,
        fingerprint=options.fingerprint,
        seed=options.seed,
        tolerance=options.tolerance,
        device=options.device,
        n_jobs=options.jobs,
        progress=not options.quiet,
    )
    print(found)
    return 1 if not found.ok else 0 if found.complete else 2


def completion(options: argparse.Namespace) -> None:
    from certssb.cli._completion import script

    print(script(options.shell), end="")


def _ledger(options: argparse.Namespace) -> cs.Ledger:
    if not Path(options.ledger).is_file():
        raise parameter_error("ledger", "a ledger's file", f"'{options.ledger}'")
    return cs.Ledger(options.ledger, read_only=True)


def ledger_show(options: argparse.Namespace) -> None:
    with _ledger(options) as ledger:
        columns = ledger._columns()
        print(f"{ledger.n_updates} updates, {len(ledger)} regions, dimension {ledger.dimension}")
    for outcome, count in Counter(columns["outcome"].tolist()).most_common():
        print(f"  {outcome:<10}{count:>8}")
    last = {name: column[-_LAST:].tolist() for name, column in columns.items()}
    last["cause"] = ["" if cause < 0 else cause for cause in last["cause"]]
    print(aligned([list(last), *(list(map(str, row)) for row in zip(*last.values(), strict=True))]))


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
        columns = ledger._columns()
        if options.out.endswith(".csv"):
            causes = ["" if cause < 0 else str(cause) for cause in columns["cause"].tolist()]
            content = csv_bytes(columns | {"cause": np.array(causes, dtype=str)})
        else:
            content = _files.npz({"centres": ledger.centres(), **columns})
    _files.write(options.out, content)
    print(f"Written to {options.out}: {len(columns['number'])} entries")


def certify(options: argparse.Namespace) -> None:
    check_target("--out", options.out)
    expected = "a .npy file of votes or scores"
    ballots = read_arrays("votes", expected, options.votes)
    if not isinstance(ballots, np.ndarray):
        raise parameter_error("votes", expected, f"'{options.votes}'")
    law, settings = needed_law(options), _settings(options)
    settings["election"] = asked_election(options)
    if ballots.ndim == 3 and not isinstance(law, cs.Cascade):
        table = cs.certify_scores(ballots, law, options.n_train, n_features=options.n_features, **settings)
    else:
        if options.n_classes is None:
            raise parameter_error("--n-classes", "given with votes", "nothing")
        table = cs.certify_votes(
            ballots, law, options.n_train, options.n_classes, n_features=options.n_features, **settings
        )
    budget = asked_threat(options, options.n_train, "n_poisoned", "norm", "labels")
    if budget is None:
        budget = asked_budget(options.n_poisoned, options.norm, bool(options.labels))
    columns = table._columns(budget)
    table.save(options.out)
    print(Shown(columns, table.guarantee, table.sound))
    print(f"Not abstained: {int((~table.abstained).sum())} of {len(table)} predictions")
    for name, column in columns.items():
        if name.startswith("holds("):
            print(f"{name}: {int(column.sum())} of {len(table)} predictions")
    if options.threat is not None:
        print(table.statement(cs.Threat.parse(options.threat)))
    print(f"Written to {options.out}")
